"""Figures of a search: scores of a grid, all trials as parallel coordinates, the objective over the epochs."""

import math
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.figures import base
from lstm_ae.figures.base import BLACK, GREY, VERMILLION, Floats, label, legend, number, short

Scale = tuple[Callable[[Any], float], dict[float, str]]
PANELS = 6
BEST: dict[str, Any] = {"color": VERMILLION, "linewidth": 2.5, "zorder": 5}
MARKS: dict[str, dict[str, Any]] = {
    "Best": {"fill": False, "edgecolor": VERMILLION, "linewidth": 2.2, "zorder": 3},
    "Failed": {"hatch": "xxxx", "edgecolor": "#b5b5b5", "facecolor": "white", "linewidth": 0.6},
    "Not tried": {"hatch": "///", "edgecolor": "#b5b5b5", "facecolor": "white", "linewidth": 0.6},
}
# Behind texts that lie on lines.
PLATE: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}


def heat(
    names: Sequence[str],
    levels: Sequence[Sequence[Any]],
    settings: Sequence[Sequence[Any]],
    scores: ArrayLike,
    *,
    best: int | None = None,
    higher_is_better: bool = False,
    quantity: str = "Score",
) -> Figure:
    """Scores of a grid: the two options with the most values make rows and columns, the others a panel a combination.

    The darker, the better. Of several trials with one setting the best score is shown; of more than six panels those
    with the best scores.

    Args:
        names: the options, one or more.
        levels: for each option, its values in the order to draw.
        settings: for each trial, its value of each option; what is not here has not been tried, and what is not
            listed has no place.
        scores: `(trials,)`; NaN or infinite for a trial that failed.
        best: the trial to mark; that with the best score where None.
    """
    sign = -1 if higher_is_better else 1
    costs = sign * _finite(scores)
    chosen = best if best is not None else int(np.nanargmin(costs)) if np.isfinite(costs).any() else -1
    two = sorted(sorted(range(len(names)), key=lambda k: -len(levels[k]))[:2])
    # A wide map has no room for its numbers, a high one has.
    if len(levels[two[-1]]) > max(8, len(levels[two[0]])):
        two.reverse()
    row, column = two[0], two[-1]
    rest = [k for k in range(len(names)) if k not in two]
    shape = (len(levels[row]) if row != column else 1, len(levels[column]))
    panels: dict[tuple[int, ...], Floats] = {}
    where = []
    for setting, cost in zip(settings, costs, strict=True):
        pairs = list(zip(levels, setting, strict=True))
        places = [list(each).index(value) if value in each else -1 for each, value in pairs]
        key, cell = tuple(places[k] for k in rest), (places[row] if row != column else 0, places[column])
        where.append((key, cell))
        if min(places) >= 0:
            panel = panels.setdefault(key, np.full(shape, np.nan))
            panel[cell] = np.fmin(panel[cell], cost)
    panels, tried = panels or {(): np.full(shape, np.nan)}, set(where)
    lowest = {key: np.fmin.reduce(panel, axis=None, initial=np.inf) for key, panel in panels.items()}
    if chosen >= 0:
        lowest[where[chosen][0]] = -np.inf
    shown = sorted(sorted(panels, key=lambda key: lowest[key])[:PANELS])
    for least in (0.56, 0.35):
        high = math.ceil(len(shown) / max(1, min(3, int(5.4 / (least * shape[1])))))
        wide = math.ceil(len(shown) / high)
        cell_width = 5.0 / wide / shape[1]
        # Numbers that are wider than their cell stand upright, and need its height.
        upright = cell_width < 0.33
        cell_height = min(max(0.5 if upright else 0.22, min(0.62, 2.2 / shape[0])), 18 / high / shape[0])
        height = high * (cell_height * shape[0] + 0.45) + 1.0
        if height < 9:
            break
    legible = cell_height > 0.4 and cell_width > 0.1 if upright else cell_height > 0.15
    drawn = base.figure(high, wide, height, sharex=True, sharey=True)
    norm = _norm(sign * costs)
    across = [_lines(value) for value in levels[column]]
    turned = max(len(line) for words in across for line in words.split("\n")) * 0.075 > cell_width
    marks: dict[str, Any] = {}
    for k, (axes, key) in enumerate(zip(drawn.axes, shown, strict=False)):
        values = sign * panels[key]
        image = axes.imshow(values, cmap="Blues" if higher_is_better else "Blues_r", norm=norm, aspect="auto")
        shades = np.asarray(norm(values), float)
        for (y, x), score in np.ndenumerate(values):
            kind = "Failed" if (key, (y, x)) in tried else "Not tried"
            if known := math.isfinite(score):
                kind = "Best" if (key, (y, x)) == where[chosen] else ""
            if kind:
                marks[kind] = axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, clip_on=False, **MARKS[kind]))
            text = number(float(score)) if known else "failed" if kind == "Failed" else ""
            if text and legible:
                shade = shades[y, x] if known else 0.5
                colour = "white" if (shade > 0.55 if higher_is_better else shade < 0.45) else BLACK
                words = axes.text(x, y, text, ha="center", va="center", color=colour, bbox=None if known else PLATE)
                words.set(fontsize=7 if cell_width > 0.43 else 5.5, rotation=90 if upright else 0)
        axes.grid(False)
        axes.spines[:].set(visible=True, color=GREY, linewidth=0.6)
        left, bottom = k % wide == 0 and row != column, k + wide >= len(shown)
        axes.set_xticks(range(shape[1]), across, parse_math=False, rotation=90 if turned else 0)
        axes.set_yticks(range(shape[0]), map(_lines, levels[row][: shape[0]]), parse_math=False)
        axes.tick_params(length=0, labelbottom=bottom, labelleft=left)
        given = ", ".join(f"{_name(names[o])} {_word(levels[o][at])}" for o, at in zip(rest, key, strict=False))
        label(axes, title=short(given, 80 // wide), x=bottom * _name(names[column]), y=left * _name(names[row]))
    for spare in drawn.axes[len(shown) :]:
        spare.remove()
    legend(drawn, [marks[kind] for kind in sorted(marks)], sorted(marks))
    if chosen < 0:
        return base.titled(drawn, "No trial has a score")
    bar = drawn.colorbar(image, ax=drawn.axes, pad=0.02, aspect=6 * height)
    bar.set_label(_name(quantity), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8)
    if len(shown) < len(panels):
        base.titled(drawn, f"The best {len(shown)} of {len(panels):,} combinations of the options above the panels")
    return drawn


def parallel(
    names: Sequence[str],
    levels: Sequence[Sequence[Any]],
    settings: Sequence[Sequence[Any]],
    scores: ArrayLike,
    *,
    best: int | None = None,
    ranges: Mapping[str, bool] = {},
    higher_is_better: bool = False,
    quantity: str = "Score",
) -> Figure:
    """All trials as lines across one vertical axis an option, and the score; the darker, the better, the best in red.

    Listed numbers that are spaced evenly in logarithms get a logarithmic axis, names stand evenly. Lines with the same
    listed value run a little apart, the best exactly through it.

    Args:
        names, settings, best: as for `heat`; up to eight options stay legible.
        levels: for each option, its listed values, or the two ends of its range.
        scores: `(trials,)`; where NaN or infinite, the line ends before the last axis.
        ranges: of the options with a range, whether it is logarithmic.
    """
    found = _finite(scores)
    count, last, scored = len(found), len(names), int(np.isfinite(found).sum())
    norm = _norm(found)
    scales = [_scale(each, ranges.get(name), _lines) for name, each in zip(names, levels, strict=True)]
    scales.append(_scale([norm.vmin, norm.vmax], isinstance(norm, LogNorm), number))
    drawn = base.figure(height=3.6, width=max(base.WIDTH, 0.95 * (last + 1)))
    axes = drawn.axes[0]
    x = np.arange(last + 1)
    axes.vlines(x, 0, 1, color=GREY, linewidth=0.9, zorder=3)
    # The winner first, those without a score last.
    order = np.argsort(-found if higher_is_better else found, kind="stable").tolist()
    order.sort(key=lambda k: k != best)
    rows = [[*settings[k], found[k]] for k in order]
    paths = [np.c_[x, [place(value) for (place, _), value in zip(scales, row, strict=True)]] for row in rows]
    listed = [k for k, name in enumerate(names) if name not in ranges]
    for rank, path in enumerate(paths[1:], 1):
        path[listed, 1] += 0.05 * (rank / count - 0.5)
    handles: dict[str, Any] = {}
    if scored:
        handles[f"Best: {number(rows[0][-1])}"] = axes.plot(*paths[0].T, marker="o", markersize=4, **BEST)[0]
    if scored > 1:
        colours = matplotlib.colormaps["Blues"](0.95 - 0.7 * np.arange(1, scored) / count)
        # From the worst up, so that the better lie on top.
        axes.add_collection(LineCollection(paths[1:scored][::-1], colors=colours[::-1], linewidth=0.8, zorder=2))
        handles["Other trials: the darker, the better"] = Line2D([], [], color=colours[0], linewidth=1.5)
    if scored < count:
        # Half a step beyond the last option: with a single option there is no other line to see.
        ends = [np.r_[path[:-1], [[last - 0.75, path[-2, 1]]]] for path in paths[scored:]]
        handles["No score"] = axes.add_collection(
            LineCollection(ends, color=GREY, linestyle=":", linewidth=1, zorder=1)
        )
    for k, (_, ticks) in enumerate(scales if scored else scales[:-1]):
        side, gap = ("left", 0.05) if k == last else ("right", -0.05)
        for at, text in ticks.items():
            axes.text(k + gap, at, text, ha=side, va="center", fontsize=7, zorder=6, parse_math=False, bbox=PLATE)
    words = [textwrap.fill(_name(name), 14) for name in (*names, quantity)]
    axes.set_xticks(x, words, parse_math=False, fontsize=8)
    axes.tick_params(length=0, pad=6, labelcolor=BLACK)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(yticks=[], xlim=(-0.4, last + 0.4), ylim=(-0.04, 1.04))
    label(axes, title=f"{count:,} trial{'s' * (count != 1)}{'' if scored else ', none with a score'}")
    if handles:
        legend(drawn, list(handles.values()), list(handles))
    return drawn


def curves(
    histories: Sequence[ArrayLike],
    *,
    pruned: Collection[int] = (),
    best: Collection[int] = (),
    quantity: str = "Score",
) -> Figure:
    """The objective over the epochs, one thin line a training: dashed where it was pruned, bold and on top the best.

    Args:
        histories: the values after each epoch, one sequence a training; they may differ in length or be empty.
        pruned, best: which of them; several are best where the winner was trained with several seeds.
    """
    rows = [_finite(values) for values in histories]
    drawn = base.figure(height=3.4)
    axes = drawn.axes[0]
    thin: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 0.8, "zorder": 2}
    looks: dict[str, dict[str, Any]] = {
        "Best": BEST,
        "Others": thin,
        "Pruned": {**thin, "linestyle": (0, (3, 2)), "marker": "x", "markersize": 3.5, "markevery": [-1]},
    }
    handles: dict[str, Any] = {}
    for k, row in enumerate(rows):
        kind = "Best" if k in best else "Pruned" if k in pruned else "Others"
        if np.isfinite(row).any():
            dot = {"marker": "o", "markersize": 3.5} if np.isfinite(row).sum() == 1 else {}
            handles[kind] = axes.plot(np.arange(1, len(row) + 1), row, **{**dot, **looks[kind]})[0]
    if isinstance(_norm(np.concatenate([*rows, np.empty(0)])), LogNorm):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(base.Thousands())
    if handles:
        legend(drawn, [handles[kind] for kind in sorted(handles)], sorted(handles))
    else:
        axes.set(xticks=[], yticks=[])
    note = ", none with a score" if not handles else f", {len(set(pruned)):,} pruned" if pruned else ""
    label(axes, x="Epoch", y=_name(quantity), title=f"{len(rows):,} training{'s' * (len(rows) != 1)}{note}")
    return drawn


def _scale(levels: Sequence[Any], log: bool | None, say: Callable[[Any], str]) -> Scale:
    """For listed values (`log` None) or the two ends of a range: where a value stands, from 0 to 1, and the ticks."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in levels):
        spots = {str(value): (k + 0.5) / len(levels) for k, value in enumerate(levels)}
        return lambda value: spots.get(str(value), math.nan), {spots[str(value)]: say(value) for value in levels}
    low, high = ends = min(levels), max(levels)
    if log is None:
        ticks = sorted(levels)
        log = len(ticks) > 2 and low > 0 and _uneven(np.log(ticks)) < _uneven(ticks) - 1e-9
    elif log:
        ticks = [10.0**power for power in range(*(math.ceil(math.log10(end)) for end in ends))]
    else:
        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low < tick < high]
    first, last = (math.log(end) if log else end for end in ends)

    def place(value: Any) -> float:
        if not isinstance(value, int | float) or (log and value <= 0):
            return math.nan
        return ((math.log(value) if log else value) - first) / (last - first) if last > first else 0.5

    kept: dict[float, str] = {}
    for tick in (*ends, *ticks):
        if all(abs(place(tick) - other) > 0.05 for other in kept):
            kept[place(tick)] = say(tick)
    return place, kept


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, float)
    return np.where(np.isfinite(array), array, np.nan)


def _norm(values: Floats) -> Normalize:
    """From the lowest to the highest; logarithmic where all are positive and span more than ten times."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)


def _uneven(values: ArrayLike) -> float:
    steps = np.diff(np.asarray(values, float))
    return float(steps.std() / steps.mean())


def _name(option: str) -> str:
    return short(option.replace("_", " "), 40)


def _word(value: Any) -> str:
    return f"{value:g}".replace("-", "−") if isinstance(value, float) else str(value)


def _lines(value: Any) -> str:
    """A value as a tick's label: long names break at their hyphens."""
    return textwrap.fill(short(_word(value), 40), 16)
