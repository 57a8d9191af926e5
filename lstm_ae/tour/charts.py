"""A chart of a part: what each setting reached, seed by seed, beside the source report's number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lstm_ae.figures.base import BLACK, BLUE, GREY, VERMILLION, figure, label, legend, short
from lstm_ae.report.charts import NARROW, Chart
from lstm_ae.report.vectors import svg
from lstm_ae.tour.measuring import Quantity
from lstm_ae.tour.results import Row
from lstm_ae.words import number


def reached(rows: Sequence[Row], place: int, quantity: Quantity) -> Chart | None:
    """Each setting on a line of its own, its name above; None where fewer than two settings have
    the quantity: nothing is compared then.

    Args:
        place: the quantity's in the rows. The source report's numbers are for the first.
    """
    rows = [row for row in rows if row.reached[place][0].values]
    if len(rows) < 2:
        return None
    drawn = figure(height=1.15 + 0.44 * len(rows), width=NARROW)
    axes, times = drawn.axes[0], 100 if quantity.unit == "%" else 1
    handles: dict[str, Any] = {}
    for line, row in enumerate(reversed(rows)):
        ours, baseline = row.reached[place]
        values = times * np.asarray(ours.values)
        axes.plot([values.min(), values.max()], [line, line], color=BLUE, linewidth=1.5)
        handles["a seed"] = axes.plot(values, np.full(len(values), line), "o", color=BLUE, markersize=5)[0]
        if row.reported is not None and place == 0:
            (handles["source report"],) = axes.plot(
                [times * row.reported], [line], "D", color=VERMILLION, markersize=6, markerfacecolor="none"
            )
        if baseline is not None:
            at = times * float(np.mean(baseline.values))
            (handles[f"baseline: {quantity.rival}"],) = axes.plot(
                [at], [line], "|", color=GREY, markersize=10, markeredgewidth=1.5
            )
        axes.annotate(
            short(row.name, 46),
            (0, line + 0.26),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=BLACK,
            va="bottom",
            parse_math=False,
        )
    axes.set_ylim(-0.5, len(rows) - 0.1)
    axes.set_yticks([])
    _across(axes, quantity)
    unit = f" ({quantity.unit})" if quantity.unit else ""
    label(axes, x=f"{quantity.words[0].upper()}{quantity.words[1:]}{unit}")
    legend(drawn, list(handles.values()), list(handles))
    title = f"{quantity.words[0].upper()}{quantity.words[1:]} of each setting"
    text = f"{title}: " + "; ".join(_told(row, place, times, quantity) for row in rows) + "."
    return Chart(title, text, svg(drawn, title=title, text=text))


def _across(axes: Any, quantity: Quantity) -> None:
    """A logarithmic axis where the values span powers of ten."""
    low, high = axes.get_xlim()
    seen = np.concatenate([np.asarray(line.get_xdata(), float) for line in axes.lines])
    if quantity.log and seen.min() > 0 and seen.max() > 10 * seen.min():
        axes.set_xscale("log", nonpositive="mask")
        narrow = seen.max() < 100 * seen.min()
        far = seen.max() > 1e5 * seen.min()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if narrow else (1.0,), numticks=5 if far else 9))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(float(f"{value:.6g}"))))


def _told(row: Row, place: int, times: int, quantity: Quantity) -> str:
    ours, baseline = row.reached[place]
    text = f"{row.name}: {ours}"
    if row.reported is not None and place == 0:
        text += f", in the source report {number(times * row.reported)}{' %' if times == 100 else ''}"
    return text + (f", {quantity.rival} {baseline}" if baseline is not None else "")
