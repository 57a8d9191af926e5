"""What all figures share: size, colours, line styles, number formats, and the curves of a training.

Figures are built without pyplot and without touching rcParams, so they draw on any thread and any machine. Colours are
those of Okabe and Ito (jfly.uni-koeln.de/color), which colour-blind readers tell apart; each also has its own line
style or marker, so that black and white print works. Texts never pass as mathtext: names come from users' files.
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
from matplotlib.ticker import Formatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from lstm_ae.formatting import format_epoch

Floats = NDArray[np.floating[Any]]

WIDTH = 6.5

BLACK, GREY, PALE, SKY, BLUE, VERMILLION = "#000000", "#6e6e6e", "#ececec", "#56B4E9", "#0072B2", "#D55E00"


class Thousands(Formatter):
    """Tick labels like 1,250 or 0.25: a comma every three digits, as many decimals as the ticks need."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick at `x` on its own."""
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The labels of all ticks of an axis."""
        ticks = np.asarray(values, float)
        close = 1e-6 * np.abs(ticks).max(initial=0)
        fitting = (d for d in range(6) if np.allclose(ticks, np.round(ticks, d), rtol=0, atol=close))
        decimals = next(fitting, None)
        if decimals is None:
            return [number(x).replace(".00e", "e") for x in values]
        return [f"{x + 0.0:,.{decimals}f}".replace("-", "−") for x in np.round(ticks, decimals)]


def number(value: float) -> str:
    """Three digits for people: 1,234, 0.0123, 1.67e−4; "n/a" for NaN.

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


def short(name: str, limit: int = 22) -> str:
    """A name from a user's file as one line of at most `limit` characters, all of them in the font."""
    font = get_font(findfont(FontProperties()))
    words = "".join(c for c in name if c.isprintable() or c.isspace()).split()
    name = "".join(c if font.get_char_index(ord(c)) else "?" for c in " ".join(words))
    return name if len(name) <= limit else name[: limit - 1] + "…"


def mean(values: ArrayLike) -> float:
    """Mean of the finite values; NaN, without a warning, where there are none."""
    array = np.asarray(values, float)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if finite.size else math.nan


def rmse(truth: ArrayLike, other: ArrayLike) -> float:
    """Root of the mean squared difference over the places where both are finite."""
    return math.sqrt(mean((np.asarray(truth, float) - np.asarray(other, float)) ** 2))


def largest(values: ArrayLike, least: float = 0.0) -> float:
    """The largest finite magnitude in `values`, or `least` where that is more."""
    array = np.abs(np.asarray(values, float))
    return float(array[np.isfinite(array)].max(initial=least))


def figure(rows: int = 1, columns: int = 1, height: float = 3.0, *, width: float = WIDTH, **grid: Any) -> Figure:
    """A styled figure (sizes in inches) with `rows * columns` axes; `grid` goes to `Figure.subplots`."""
    made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    made.subplots(rows, columns, **grid)
    for axes in made.axes:
        style(axes)
    return made


def style(axes: Axes) -> None:
    """Small ticks, a pale grid behind the data, no box."""
    axes.tick_params(which="both", labelsize=8, color=GREY, width=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.7)
    axes.grid(color=PALE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(Thousands())
    axes.yaxis.get_offset_text().set_fontsize(8)


def label(axes: Axes, *, x: str = "", y: str = "", title: str = "") -> None:
    """Name an axis, or both, and the panel; what is not given stays as it is."""
    if x:
        axes.set_xlabel(x, fontsize=9, parse_math=False)
    if y:
        axes.set_ylabel(y, fontsize=9, parse_math=False)
    if title:
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)


def legend(drawn: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """One legend below all panels, where no data can be."""
    # As many columns as fit, by a letter's usual width. Columns are filled one after the other, and each is as wide as
    # its longest label with its handle, which takes some nine letters.
    room = int(drawn.get_figwidth() * 15)
    columns = next(n for n in range(len(labels), 0, -1) if n == 1 or _letters(labels, n) <= room)
    # matplotlib leaves out labels that begin with "_", so the texts are set after it has been made.
    made = drawn.legend(
        list(handles),
        ["?"] * len(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=2.6,
    )
    for text, words in zip(made.get_texts(), labels, strict=True):
        text.set(text=words, parse_math=False)


def _letters(labels: Sequence[str], columns: int) -> int:
    """How wide a legend of so many columns is; the first ones hold one label more where they are not equally long."""
    rows, more = divmod(len(labels), columns)
    ends = np.cumsum([rows + (k < more) for k in range(columns)])
    return sum(max(map(len, part.tolist())) + 9 for part in np.split(np.array(labels, object), ends[:-1]))


def with_title(drawn: Figure, text: str) -> Figure:
    """The same figure with a line above all panels: what it shows, or why its results flatter the model."""
    wrapped = "\n".join(textwrap.wrap(text, int(drawn.get_figwidth() * 11)))
    drawn.suptitle(wrapped, fontsize=9, fontweight="bold", parse_math=False)
    return drawn


def png(drawn: Figure) -> bytes:
    """The figure as PNG at 200 dots an inch; the same bytes for the same figure, as no version or time is stored."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


class HistoryPanel(NamedTuple):
    """One quantity over the epochs: the history's column, its axis label, and the kind of axis."""

    column: str
    label: str
    kind: Literal["linear", "log", "percent"] = "linear"


def curves(history: Mapping[str, Sequence[float]], panels: Sequence[HistoryPanel], *, best: str = "val_loss") -> Figure:
    """Training and validation over the epochs, one panel a quantity; the epoch whose weights count is marked.

    Args:
        history: columns of equal length: "epoch", each panel's column and, where there is one, "val_" + column.
        panels: what to draw. "percent" shows shares as %; "log" is linear where the values span less than 10 times.
        best: the column whose lowest value chooses the marked epoch; no mark where it is missing or has no number.
    """
    epochs = np.asarray(history["epoch"], float)
    columns = len(panels) if len(panels) <= 3 else 2
    rows = math.ceil(len(panels) / columns)
    drawn = figure(rows, columns, 2.3 * rows + 0.4)
    for spare in drawn.axes[len(panels) :]:
        spare.remove()
    chosen = np.asarray(history.get(best, ()), float)
    mark = int(np.nanargmin(chosen)) if np.isfinite(chosen).any() else None
    shown: dict[str, Artist] = {}
    for axes, panel in zip(drawn.axes, panels, strict=True):
        positive = np.empty(0)
        looks: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("Training", panel.column, {"color": BLUE, "linestyle": "-", "marker": "o"}),
            ("Validation", "val_" + panel.column, {"color": VERMILLION, "linestyle": "--", "marker": "s"}),
        )
        for words, column, look in looks:
            if column in history:
                values = np.asarray(history[column], float) * (100 if panel.kind == "percent" else 1)
                size = 3.5 if len(epochs) <= 30 else 0
                shown[words] = axes.plot(epochs, values, linewidth=1.3, markersize=size, **look)[0]
                positive = np.r_[positive, values[values > 0]]
        if mark is not None:
            words = f"Lowest {best.replace('val_', 'validation ')}: {format_epoch(int(epochs[mark]))}"
            shown[words] = axes.axvline(epochs[mark], color=GREY, linestyle=":", linewidth=1.1, zorder=1)
        if len(epochs) == 1:
            axes.set_xlim(epochs[0] - 0.9, epochs[0] + 0.9)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(Thousands())
        # Within one power of ten a log axis has no round number to label.
        if panel.kind == "log" and positive.size and positive.max() > 10 * positive.min():
            axes.set_yscale("log", nonpositive="mask")
        label(axes, x="Epoch", y=panel.label + (" (%)" if panel.kind == "percent" else ""))
    legend(drawn, list(shown.values()), list(shown))
    return drawn
