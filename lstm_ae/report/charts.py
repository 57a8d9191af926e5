"""Charts of a report as inline SVG, each with a text alternative."""

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.formatting import format_epoch, format_name, format_number, shorten_paths
from lstm_ae.plots.anomalies import reduce_points
from lstm_ae.plots.base import (
    BLACK,
    BLUE,
    GRAY,
    VERMILLION,
    Style,
    Thousands,
    figure,
    label,
    legend,
    shorten,
)
from lstm_ae.plots.comparison import training_style
from lstm_ae.plots.lines import format_date_axis, time_numbers

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

_NUMBERS = itertools.count(1)


def svg(drawing: Figure, *, title: str, text: str) -> str:
    """Return a figure as an `<svg>` element.

    Args:
        drawing: the figure.
        title: its title for screen readers.
        text: its description for screen readers.
    """
    buffer = io.BytesIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # The text stays text, and a fixed salt makes the ids that matplotlib creates reproducible.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        drawing.savefig(buffer, format="svg", metadata=no_metadata, facecolor="none")
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    # All figures of matplotlib have the same ids, which must be unique in a page.
    prefix = f"c{next(_NUMBERS)}"
    for element in root.iter():
        _rename(element, prefix)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-text",
    }
    for index, (tag, name, content) in enumerate((("title", "title", title), ("desc", "text", text))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{prefix}-{name}"})
        element.text = content
        root.insert(index, element)
    return ElementTree.tostring(root, encoding="unicode")


def _rename(element: ElementTree.Element, prefix: str) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{prefix}-{value}")
        elif key == f"{{{_LINK}}}href" and value.startswith("#"):
            element.set(key, f"#{prefix}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{prefix}-"))


# Widths in inches. A narrow chart fits a phone, and several of them fit a row on a screen.
NARROW, WIDE = 3.4, 6.8

# Columns of a history that are no measures.
_NO_MEASURES = ("epoch", "seconds", "learning_rate")


class ReportChart(NamedTuple):
    """Chart of a report.

    Args:
        title: its title.
        text: its description.
        svg: the `<svg>` element.
    """

    title: str
    text: str
    svg: str


def training_charts(history: Mapping[str, Sequence[float]], best_epoch: int | None) -> list[ReportChart]:
    """Draw each measure of a history over the epochs, for training and validation, and the learning rate.

    Args:
        history: columns of equal length, including "epoch".
        best_epoch: the epoch with the best weights, which is marked; None for no mark.
    """
    bases = dict.fromkeys(name.removeprefix("val_") for name in history if name not in _NO_MEASURES)
    charts = []
    for name in bases:
        lines = {"training": history.get(name), "validation": history.get(f"val_{name}")}
        charts.append(
            _over_epochs(name, history["epoch"], {k: v for k, v in lines.items() if v is not None}, best_epoch)
        )
    if len({rate for rate in history.get("learning_rate", ()) if rate == rate}) > 1:
        charts.append(_over_epochs("learning_rate", history["epoch"], {"": history["learning_rate"]}, None))
    return charts


def compare_charts(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> list[ReportChart]:
    """Draw each validation measure that all trainings have in common.

    Args:
        histories: the history of each training by name; see `training_charts`.
    """
    first = next(iter(histories.values()), {})
    shared = [name for name in first if name.startswith("val_") and all(name in each for each in histories.values())]
    charts = []
    for name in shared:
        drawing = figure(height=2.6 + 0.2 * len(histories), width=NARROW)
        axes, quantity = drawing.axes[0], format_name(name)
        values: list[float] = []
        for index, history in enumerate(histories.values()):
            _line(axes, history["epoch"], history[name], **training_style(index))
            values += history[name]
        _finish(axes, quantity, values)
        legend(drawing, axes.lines, [shorten(name, 36) for name in shorten_paths(list(histories), 36)])
        curves = "; ".join(
            f"{each}: {_describe_curve(history['epoch'], history[name])}" for each, history in histories.items()
        )
        title = _capitalize(quantity)
        charts.append(_chart(drawing, title, f"{title} over the epochs. {curves}."))
    return charts


def score_chart(times: Array, values: ArrayLike, anomalies: BoolArray, threshold: float | None) -> ReportChart:
    """Draw the scores of a table's rows and its anomalies.

    Args:
        times: `(rows,)` datetime64 or row numbers.
        values: `(rows,)` scores, NaN for a row without a score.
        anomalies: `(rows,)` whether a row is an anomaly.
        threshold: the threshold; None if there is none.
    """
    drawing = figure(height=3.0, width=WIDE)
    axes, array = drawing.axes[0], np.asarray(values, float)
    dates = np.issubdtype(times.dtype, np.datetime64)
    x = time_numbers(times) if dates else np.asarray(times, float)
    axes.plot(*reduce_points(x, array), color=BLUE, linewidth=0.8)
    edges = np.flatnonzero(np.diff(np.r_[False, anomalies, False].astype(np.int8))).reshape(-1, 2)
    step = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    for first, end in edges:
        axes.axvspan(x[first] - step / 2, x[end - 1] + step / 2, color=VERMILLION, alpha=0.25, linewidth=0)
    handles, names = [*axes.lines, *axes.patches[:1]], ["score", *["anomaly"] * bool(len(edges))]
    text = f"{len(array):,} rows, {int(anomalies.sum()):,} of them anomalies, in {len(edges):,} segments."
    if threshold is not None:
        handles.append(axes.axhline(threshold, color=BLACK, linestyle="--", linewidth=1))
        names.append("threshold")
        text += f" The threshold is {format_number(threshold)}."
    _finish(axes, "score", array[np.isfinite(array)], x_label="Time (UTC)" if dates else "Row")
    if dates:
        format_date_axis(axes)
    legend(drawing, handles, names)
    return _chart(drawing, "Scores of the table's rows", text)


def _over_epochs(
    name: str, epochs: Sequence[float], lines: Mapping[str, Sequence[float]], best: int | None
) -> ReportChart:
    drawing = figure(height=2.6, width=NARROW)
    axes, quantity = drawing.axes[0], format_name(name)
    styles = {"validation": {"color": VERMILLION, "linestyle": "--"}}
    for kind, values in lines.items():
        _line(axes, epochs, values, **styles.get(kind, {"color": BLUE, "linestyle": "-"}))
    names = list(lines)
    handles: list[Artist] = [*axes.lines]
    if best is not None and best in epochs:
        handles.append(axes.axvline(best, color=GRAY, linestyle=":", linewidth=1.2, zorder=1))
        names.append(f"best epoch: {best}")
    _finish(axes, quantity, np.concatenate([np.asarray(values, float) for values in lines.values()]))
    if any(names):
        legend(drawing, handles, names)
    title = _capitalize(quantity)
    curves = "; ".join(f"{kind} {_describe_curve(epochs, values)}".strip() for kind, values in lines.items())
    weights = f" The run has the weights of {format_epoch(best)}." if best is not None else ""
    trained = sum(epoch >= 1 for epoch in epochs)
    return _chart(drawing, title, f"{title} over {trained:,} epochs: {curves}.{weights}")


def _line(axes: Axes, epochs: Sequence[float], values: Sequence[float], **style: Any) -> None:
    x, y = np.asarray(epochs, float), np.asarray(values, float)
    dot: Style = {"marker": "o", "markersize": 3} if np.isfinite(y).sum() == 1 else {}
    axes.plot(*reduce_points(x, y), linewidth=1.5, **dot, **style)


def _finish(axes: Axes, quantity: str, values: ArrayLike, x_label: str = "Epoch") -> None:
    """Set the scales and labels of the axes; y is logarithmic if the largest value is over 10 times the smallest."""
    array = np.asarray(values, float)
    positive = array[np.isfinite(array) & (array > 0)]
    if (
        "accuracy" not in quantity
        and positive.size == np.count_nonzero(~np.isnan(array))
        and positive.max(initial=0) > 10 * positive.min(initial=1)
    ):
        axes.set_yscale("log", nonpositive="mask")
        # A range below two powers of ten needs ticks between them.
        narrow = positive.max() < 100 * positive.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(Thousands())
    label(axes, x=x_label, y=_capitalize(quantity))


def _describe_curve(epochs: Sequence[float], values: Sequence[float]) -> str:
    """Describe the first, last, lowest, and highest value of a curve."""
    finite = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if np.isfinite(value)]
    if not finite:
        return "no values"
    epochs, array = [epoch for epoch, _ in finite], np.array([value for _, value in finite])
    if len(array) == 1:
        return format_number(array[0])
    low, high = int(array.argmin()), int(array.argmax())
    ends = f"from {format_number(array[0])} to {format_number(array[-1])}"
    lowest, highest = (f"{format_number(array[at])} in epoch {epochs[at]:,.0f}" for at in (low, high))
    return f"{ends}, lowest {lowest}, highest {highest}"


def _capitalize(name: str) -> str:
    return name[0].upper() + name[1:]


def _chart(drawing: Figure, title: str, text: str) -> ReportChart:
    return ReportChart(title, text, svg(drawing, title=title, text=text))
