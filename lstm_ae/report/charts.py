"""The charts of a report: each small enough for a phone, with its text alternative, as SVG."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from lstm_ae.figures.anomalies import thinned
from lstm_ae.figures.base import BLACK, BLUE, GREY, VERMILLION, Thousands, figure, label, legend
from lstm_ae.figures.base import short as brief
from lstm_ae.figures.comparison import look
from lstm_ae.figures.lines import dated, moments
from lstm_ae.report.vectors import svg
from lstm_ae.words import apart, epoch_name, number, words

# In inches. A phone shows a chart at about this size, a screen puts several side by side, or shows a wide one.
NARROW, WIDE = 3.4, 6.8
_ASIDE = ("epoch", "seconds", "learning_rate")


class Chart(NamedTuple):
    """A chart: its name, what it shows in words, and the drawing."""

    title: str
    text: str
    svg: str


def training(history: Mapping[str, Sequence[float]], best_epoch: int | None) -> list[Chart]:
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


def together(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Chart]:
    """A chart of each measure of validation that all trainings have; none where they have none in common.

    Args:
        histories: by the name of the training, as `training` takes them.
    """
    first = next(iter(histories.values()), {})
    shared = [name for name in first if name.startswith("val_") and all(name in each for each in histories.values())]
    charts = []
    for name in shared:
        drawn = figure(height=2.6 + 0.2 * len(histories), width=NARROW)
        axes, what = drawn.axes[0], words(name)
        values: list[float] = []
        for place, history in enumerate(histories.values()):
            _line(axes, history["epoch"], history[name], **look(place))
            values += history[name]
        _finish(axes, what, values)
        legend(drawn, axes.lines, [brief(name, 36) for name in apart(list(histories), 36)])
        said = "; ".join(f"{each}: {_told(history['epoch'], history[name])}" for each, history in histories.items())
        title = _headed(what)
        charts.append(_chart(drawn, title, f"{title} over the epochs. {said}."))
    return charts


def scores(values: Sequence[float], threshold: float | None) -> Chart:
    """The scores of normal rows that a threshold rests on, one after the other."""
    drawn = figure(height=2.6, width=WIDE)
    axes = drawn.axes[0]
    array = np.asarray(values, float)
    axes.plot(*thinned(np.arange(len(array)), array), color=BLUE, linewidth=0.8)
    text = f"{len(array):,} scores of normal rows, from {number(array.min())} to {number(array.max())}."
    if threshold is not None:
        axes.axhline(threshold, color=VERMILLION, linestyle="--", linewidth=1.2)
        text += f" The threshold is {number(threshold)}; {int((array > threshold).sum()):,} of them are above it."
    _finish(axes, "score", array, across="Row of the validation part")
    if threshold is not None:
        legend(drawn, axes.lines, ["score", "threshold"])
    return _chart(drawn, "Scores of normal rows", text)


def detected(times: NDArray[Any], values: ArrayLike, marked: NDArray[np.bool_], threshold: float | None) -> Chart:
    """The scores of a table's rows, and where they are anomalies.

    Args:
        times: `(rows,)` datetime64, or row numbers.
        values: `(rows,)`, NaN where there is none.
        marked: `(rows,)`, which of them are anomalies.
    """
    drawn = figure(height=3.0, width=WIDE)
    axes, array = drawn.axes[0], np.asarray(values, float)
    dates = np.issubdtype(times.dtype, np.datetime64)
    x = moments(times) if dates else np.asarray(times, float)
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
        text += f" The threshold is {number(threshold)}."
    _finish(axes, "score", array[np.isfinite(array)], across="Time (UTC)" if dates else "Row")
    if dates:
        dated(axes)
    legend(drawn, handles, names)
    return _chart(drawn, "Scores of the table's rows", text)


def _over_epochs(name: str, epochs: Sequence[float], lines: Mapping[str, Sequence[float]], best: int | None) -> Chart:
    drawn = figure(height=2.6, width=NARROW)
    axes, what = drawn.axes[0], words(name)
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
    kept = f" The weights of {epoch_name(best)} were kept." if best is not None else ""
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
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
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
        return number(array[0])
    low, high = int(array.argmin()), int(array.argmax())
    ends = f"from {number(array[0])} to {number(array[-1])}"
    lowest, highest = (f"{number(array[at])} in epoch {epochs[at]:,.0f}" for at in (low, high))
    return f"{ends}, lowest {lowest}, highest {highest}"


def _headed(what: str) -> str:
    return what[0].upper() + what[1:]


def _chart(drawn: Figure, title: str, text: str) -> Chart:
    return Chart(title, text, svg(drawn, title=title, text=text))
