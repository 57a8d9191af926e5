"""Common parts of all figures: size, colors, line styles, number formats, and training curves.

Figures use neither pyplot nor rcParams, so they can be drawn in any thread. The colors are those of Okabe and Ito
(jfly.uni-koeln.de/color), which color-blind readers can distinguish. Each has its own line style or marker for black
and white print. Text is not parsed as mathtext, because names come from users' files.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.formatting import format_epoch

WIDTH = 6.5

BLACK, GRAY, PALE, SKY, BLUE, VERMILLION = "#000000", "#6e6e6e", "#ececec", "#56B4E9", "#0072B2", "#D55E00"


def tick_label(value: float, position: float = 0.0) -> str:
    """Return the label of a tick.

    >>> tick_label(1250), tick_label(0.1 + 0.2), tick_label(-2.5)
    ('1,250', '0.3', '−2.5')
    """
    return f"{round(value, 12) + 0.0:,.10g}".replace("-", "−")


def number(value: float) -> str:
    """Return a number with three significant digits; "n/a" for NaN and infinity.

    >>> number(1234.5), number(0.0123), number(float("nan"))
    ('1,234', '0.0123', 'n/a')
    """
    if not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e9:
        text = f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    else:
        digits, power = f"{value:.2e}".split("e")
        text = f"{digits}e{int(power)}"
    return text.replace("-", "−")


def shorten(name: str, limit: int = 22) -> str:
    """Return a name as one line of at most `limit` characters that the font can draw.

    >>> shorten("a\\nlong name", 8)
    'a long …'
    """
    font = get_font(findfont(FontProperties()))
    parts = "".join(c for c in name if c.isprintable() or c.isspace()).split()
    name = "".join(c if font.get_char_index(ord(c)) else "?" for c in " ".join(parts))
    return name if len(name) <= limit else name[: limit - 1] + "…"


def mean(values: ArrayLike) -> float:
    """Return the mean of the finite values; NaN, without a warning, if there are none."""
    array = np.asarray(values, float)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if finite.size else math.nan


# Keyword arguments of a drawing function of matplotlib.
Style = dict[str, Any]


def rmse(truth: ArrayLike, other: ArrayLike) -> float:
    """Return the root mean squared difference over the positions where both values are finite."""
    return math.sqrt(mean((np.asarray(truth, float) - np.asarray(other, float)) ** 2))


def largest(values: ArrayLike, minimum: float = 0.0) -> float:
    """Return the largest finite absolute value, but at least `minimum`."""
    array = np.abs(np.asarray(values, float))
    return float(array[np.isfinite(array)].max(initial=minimum))


def figure(rows: int = 1, columns: int = 1, height: float = 3.0, *, width: float = WIDTH, **grid: Any) -> Figure:
    """Return a styled figure with `rows * columns` axes.

    Args:
        rows: number of rows.
        columns: number of columns.
        height: height in inches.
        width: width in inches.
        grid: passed to `Figure.subplots`.
    """
    fig = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(fig)
    fig.subplots(rows, columns, **grid)
    for axes in fig.axes:
        style(axes)
    return fig


def style(axes: Axes) -> None:
    """Set small ticks and a pale grid behind the data, and remove the box."""
    axes.tick_params(which="both", labelsize=8, color=GRAY, width=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GRAY, linewidth=0.7)
    axes.grid(color=PALE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(tick_label)
    axes.yaxis.get_offset_text().set_fontsize(8)


def label(axes: Axes, *, x: str = "", y: str = "", title: str = "") -> None:
    """Set the labels of the axes and the title; an empty text changes nothing."""
    if x:
        axes.set_xlabel(x, fontsize=9, parse_math=False)
    if y:
        axes.set_ylabel(y, fontsize=9, parse_math=False)
    if title:
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)


def legend(fig: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Add one legend below all panels, where it covers no data.

    Args:
        fig: the figure.
        handles: the artists.
        labels: their labels.
    """
    # An inch holds 15 characters, and a column is as wide as its longest label and its handle of nine characters.
    columns = max(1, int(fig.get_figwidth() * 15) // (max(map(len, labels)) + 9))
    # matplotlib leaves out labels that begin with "_", so the labels are set afterwards.
    box = fig.legend(
        list(handles),
        ["?"] * len(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=2.6,
    )
    for text, content in zip(box.get_texts(), labels, strict=True):
        text.set(text=content, parse_math=False)


def with_title(fig: Figure, text: str) -> Figure:
    """Add a title above all panels, such as the reason why results are optimistic, and return the figure."""
    wrapped = "\n".join(textwrap.wrap(text, int(fig.get_figwidth() * 11)))
    fig.suptitle(wrapped, fontsize=9, fontweight="bold", parse_math=False)
    return fig


def png(fig: Figure) -> bytes:
    """Return a figure as PNG with 200 dots per inch; it has no version and no time, so the bytes are reproducible."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


class HistoryPanel(NamedTuple):
    """Panel of a quantity over the epochs.

    Args:
        column: column of the history.
        label: label of the axis.
        kind: scale of the axis; "percent" multiplies the values by 100.
    """

    column: str
    label: str
    kind: Literal["linear", "log", "percent"] = "linear"


def curves(history: Mapping[str, Sequence[float]], panels: Sequence[HistoryPanel]) -> Figure:
    """Draw training and validation over the epochs, one panel per quantity, and mark the lowest validation loss.

    There is no mark without a finite validation loss.

    Args:
        history: columns of equal length: "epoch", the column of each panel, and "val_" + column if there is one.
        panels: the quantities. A logarithmic scale is used only if the largest value is over 10 times the smallest.
    """
    epochs = np.asarray(history["epoch"], float)
    columns = len(panels) if len(panels) <= 3 else 2
    rows = math.ceil(len(panels) / columns)
    fig = figure(rows, columns, 2.3 * rows + 0.4)
    for spare in fig.axes[len(panels) :]:
        spare.remove()
    losses = np.asarray(history.get("val_loss", ()), float)
    mark = int(np.nanargmin(losses)) if np.isfinite(losses).any() else None
    handles: dict[str, Artist] = {}
    for axes, panel in zip(fig.axes, panels, strict=True):
        positive = np.empty(0)
        styles: tuple[tuple[str, str, Style], ...] = (
            ("Training", panel.column, {"color": BLUE, "linestyle": "-", "marker": "o"}),
            ("Validation", "val_" + panel.column, {"color": VERMILLION, "linestyle": "--", "marker": "s"}),
        )
        for name, column, line_style in styles:
            if column in history:
                values = np.asarray(history[column], float) * (100 if panel.kind == "percent" else 1)
                size = 3.5 if len(epochs) <= 30 else 0
                handles[name] = axes.plot(epochs, values, linewidth=1.3, markersize=size, **line_style)[0]
                positive = np.r_[positive, values[values > 0]]
        if mark is not None:
            name = f"Lowest validation loss: {format_epoch(int(epochs[mark]))}"
            handles[name] = axes.axvline(epochs[mark], color=GRAY, linestyle=":", linewidth=1.1, zorder=1)
        if len(epochs) == 1:
            axes.set_xlim(epochs[0] - 0.9, epochs[0] + 0.9)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(tick_label)
        # A logarithmic axis within one power of ten may have no labeled tick.
        if panel.kind == "log" and positive.size and positive.max() > 10 * positive.min():
            axes.set_yscale("log", nonpositive="mask")
        if panel.kind == "percent" and axes.get_ylim()[1] > 102:
            # The automatic limits of a constant share are far above 100%, which no share exceeds.
            axes.set_ylim(top=102)
        label(axes, x="Epoch", y=panel.label + (" (%)" if panel.kind == "percent" else ""))
    legend(fig, list(handles.values()), list(handles))
    return fig
