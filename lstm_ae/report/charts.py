"""The charts of a report, as SVG that stands inside a page, each with its text alternative."""

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from lstm_ae.formatting import format_epoch, format_name, format_number, shorten_paths
from lstm_ae.plots.anomalies import thinned
from lstm_ae.plots.base import BLACK, BLUE, GREY, PALE, SKY, VERMILLION, Thousands, figure, label, legend
from lstm_ae.plots.base import short as brief
from lstm_ae.plots.comparison import training_style
from lstm_ae.plots.lines import format_date_axis, time_numbers

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

# The page's style sheet has these for light and for dark.
_COLOURS = {
    BLACK: "--ink",
    GREY: "--quiet",
    PALE: "--line",
    BLUE: "--blue",
    SKY: "--sky",
    VERMILLION: "--red",
    "#009E73": "--green",
    "#CC79A7": "--pink",
    "#E69F00": "--orange",
}

_NAMES = {colour.lower(): f"var({name})" for colour, name in _COLOURS.items()}

_NUMBERS = itertools.count(1)

_COLOUR = re.compile("|".join(_NAMES))


def svg(drawn: Figure, *, title: str, text: str, themed: bool = True) -> str:
    """A figure as an `<svg>` element.

    Args:
        title: its name, for who cannot see it.
        text: what it shows, likewise.
        themed: whether its lines take the page's colours, so that it can stand on light and on dark ground; else it
            keeps its own, and needs white ground.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Texts stay texts; names that matplotlib gives to shapes follow from what is drawn, not from chance.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        drawn.savefig(buffer, format="svg", metadata=nothing, facecolor="none", transparent=themed)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    # Names must be the page's only ones of their kind, and every figure of matplotlib's has the same.
    own = f"c{next(_NUMBERS)}"
    for element in root.iter():
        _rename(element, own, themed)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{own}-title {own}-text", "class": "themed" if themed else "own"}
    for place, (tag, words) in enumerate((("title", title), ("desc", text))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{own}-{'title' if tag == 'title' else 'text'}"})
        element.text = words
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _rename(element: ElementTree.Element, own: str, themed: bool) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{own}-{value}")
        elif key == f"{{{_LINK}}}href" and value.startswith("#"):
            element.set(key, f"#{own}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{own}-"))
        elif themed and key == "style":
            element.set(key, _COLOUR.sub(lambda match: _NAMES[match[0]], value))


# In inches. A phone shows a chart at about this size, a screen puts several side by side, or shows a wide one.
NARROW, WIDE = 3.4, 6.8

_ASIDE = ("epoch", "seconds", "learning_rate")


class ReportChart(NamedTuple):
    """A chart: its name, what it shows in words, and the drawing."""

    title: str
    text: str
    svg: str


def training_charts(history: Mapping[str, Sequence[float]], best_epoch: int | None) -> list[ReportChart]:
    """A chart of each quantity of a history over the epochs, training and validation together, and the learning rate.

    Args:
        history: columns of equal length, "epoch" among them.
        best_epoch: the epoch whose weights were kept; it is marked.
    """
    bases = dict.fromkeys(name.removeprefix("val_") for name in history if name not in _ASIDE)
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
    """A chart of each measure of validation that all trainings have; none where they have none in common.

    Args:
        histories: by the name of the training, as `training_charts` takes them.
    """
    first = next(iter(histories.values()), {})
    shared = [name for name in first if name.startswith("val_") and all(name in each for each in histories.values())]
    charts = []
    for name in shared:
        drawn = figure(height=2.6 + 0.2 * len(histories), width=NARROW)
        axes, what = drawn.axes[0], format_name(name)
        values: list[float] = []
        for place, history in enumerate(histories.values()):
            _line(axes, history["epoch"], history[name], **training_style(place))
            values += history[name]
        _finish(axes, what, values)
        legend(drawn, axes.lines, [brief(name, 36) for name in shorten_paths(list(histories), 36)])
        said = "; ".join(f"{each}: {_told(history['epoch'], history[name])}" for each, history in histories.items())
        title = _headed(what)
        charts.append(_chart(drawn, title, f"{title} over the epochs. {said}."))
    return charts


def normal_score_chart(values: Sequence[float], threshold: float | None) -> ReportChart:
    """The scores of normal rows that a threshold rests on, one after the other."""
    drawn = figure(height=2.6, width=WIDE)
    axes = drawn.axes[0]
    array = np.asarray(values, float)
    axes.plot(*thinned(np.arange(len(array)), array), color=BLUE, linewidth=0.8)
    text = f"{len(array):,} scores of normal rows, from {format_number(array.min())} to {format_number(array.max())}."
    if threshold is not None:
        axes.axhline(threshold, color=VERMILLION, linestyle="--", linewidth=1.2)
        text += (
            f" The threshold is {format_number(threshold)}; {int((array > threshold).sum()):,} of them are above it."
        )
    _finish(axes, "score", array, across="Row of the validation part")
    if threshold is not None:
        legend(drawn, axes.lines, ["score", "threshold"])
    return _chart(drawn, "Scores of normal rows", text)


def score_chart(
    times: NDArray[Any], values: ArrayLike, marked: NDArray[np.bool_], threshold: float | None
) -> ReportChart:
    """The scores of a table's rows, and where they are anomalies.

    Args:
        times: `(rows,)` datetime64, or row numbers.
        values: `(rows,)`, NaN where there is none.
        marked: `(rows,)`, which of them are anomalies.
    """
    drawn = figure(height=3.0, width=WIDE)
    axes, array = drawn.axes[0], np.asarray(values, float)
    dates = np.issubdtype(times.dtype, np.datetime64)
    x = time_numbers(times) if dates else np.asarray(times, float)
    axes.plot(*thinned(x, array), color=BLUE, linewidth=0.8)
    edges = np.flatnonzero(np.diff(np.r_[False, marked, False].astype(np.int8))).reshape(-1, 2)
    step = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    for first, end in edges:
        axes.axvspan(x[first] - step / 2, x[end - 1] + step / 2, color=VERMILLION, alpha=0.25, linewidth=0)
    handles, names = [*axes.lines, *axes.patches[:1]], ["score", *["anomaly"] * bool(len(edges))]
    text = f"{len(array):,} rows, {int(marked.sum()):,} of them anomalies, in {len(edges):,} stretches."
    if threshold is not None:
        handles.append(axes.axhline(threshold, color=BLACK, linestyle="--", linewidth=1))
        names.append("threshold")
        text += f" The threshold is {format_number(threshold)}."
    _finish(axes, "score", array[np.isfinite(array)], across="Time (UTC)" if dates else "Row")
    if dates:
        format_date_axis(axes)
    legend(drawn, handles, names)
    return _chart(drawn, "Scores of the table's rows", text)


def _over_epochs(
    name: str, epochs: Sequence[float], lines: Mapping[str, Sequence[float]], best: int | None
) -> ReportChart:
    drawn = figure(height=2.6, width=NARROW)
    axes, what = drawn.axes[0], format_name(name)
    looks = {"validation": {"color": VERMILLION, "linestyle": "--"}}
    for kind, values in lines.items():
        _line(axes, epochs, values, **looks.get(kind, {"color": BLUE, "linestyle": "-"}))
    names = list(lines)
    handles: list[Any] = [*axes.lines]
    if best is not None and best in epochs:
        handles.append(axes.axvline(best, color=GREY, linestyle=":", linewidth=1.2, zorder=1))
        names.append(f"epoch kept: {best}")
    _finish(axes, what, np.concatenate([np.asarray(values, float) for values in lines.values()]))
    if any(names):
        legend(drawn, handles, names)
    title = _headed(what)
    said = "; ".join(f"{kind} {_told(epochs, values)}".strip() for kind, values in lines.items())
    kept = f" The weights of {format_epoch(best)} were kept." if best is not None else ""
    trained = sum(epoch >= 1 for epoch in epochs)
    return _chart(drawn, title, f"{title} over {trained:,} epochs: {said}.{kept}")


def _line(axes: Axes, epochs: Sequence[float], values: Sequence[float], **look: Any) -> None:
    x, y = np.asarray(epochs, float), np.asarray(values, float)
    dot: dict[str, Any] = {"marker": "o", "markersize": 3} if np.isfinite(y).sum() == 1 else {}
    axes.plot(*thinned(x, y), linewidth=1.5, **dot, **look)


def _finish(axes: Axes, what: str, values: ArrayLike, across: str = "Epoch") -> None:
    """Scales and names of the axes: a logarithmic one where the values span more than ten times."""
    array = np.asarray(values, float)
    positive = array[np.isfinite(array) & (array > 0)]
    if (
        "accuracy" not in what
        and positive.size == np.count_nonzero(~np.isnan(array))
        and positive.max(initial=0) > 10 * positive.min(initial=1)
    ):
        axes.set_yscale("log", nonpositive="mask")
        # Within two powers of ten, those alone would be too few.
        narrow = positive.max() < 100 * positive.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(Thousands())
    label(axes, x=across, y=_headed(what))


def _told(epochs: Sequence[float], values: Sequence[float]) -> str:
    """From where to where, in words."""
    known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if np.isfinite(value)]
    if not known:
        return "no numbers"
    epochs, array = [epoch for epoch, _ in known], np.array([value for _, value in known])
    if len(array) == 1:
        return format_number(array[0])
    low, high = int(array.argmin()), int(array.argmax())
    ends = f"from {format_number(array[0])} to {format_number(array[-1])}"
    lowest, highest = (f"{format_number(array[at])} in epoch {epochs[at]:,.0f}" for at in (low, high))
    return f"{ends}, lowest {lowest}, highest {highest}"


def _headed(what: str) -> str:
    return what[0].upper() + what[1:]


def _chart(drawn: Figure, title: str, text: str) -> ReportChart:
    return ReportChart(title, text, svg(drawn, title=title, text=text))
