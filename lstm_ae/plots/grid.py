"""The figure of a grid search: its scores as a map, or as several."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lstm_ae.plots import base
from lstm_ae.plots.base import BLACK, GREY, VERMILLION, Floats, label, legend, number, short
from lstm_ae.plots.scores import PLATE, finite, format_tick, score_colours, spell_option_name, spell_value

PANELS = 6

MARKS: dict[str, dict[str, Any]] = {
    "Best": {"fill": False, "edgecolor": VERMILLION, "linewidth": 2.2, "zorder": 3},
    "Failed": {"hatch": "xxxx", "edgecolor": "#b5b5b5", "facecolor": "white", "linewidth": 0.6},
    "Not tried": {"hatch": "///", "edgecolor": "#b5b5b5", "facecolor": "white", "linewidth": 0.6},
}

Key = tuple[int, ...]

Cell = tuple[int, int]


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
    costs = sign * finite(scores)
    chosen = best if best is not None else int(np.nanargmin(costs)) if np.isfinite(costs).any() else -1
    grid = _grid(levels, settings, costs)
    shown = _shown(grid, chosen)
    size = _size(len(shown), grid.shape)
    drawn = base.figure(size.high, size.wide, size.height, sharex=True, sharey=True)
    norm = score_colours(sign * costs)
    across = [format_tick(value) for value in levels[grid.column]]
    turned = max(len(line) for words in across for line in words.split("\n")) * 0.075 > size.cell_width
    marks: dict[str, Any] = {}
    for k, (axes, key) in enumerate(zip(drawn.axes, shown, strict=False)):
        kinds = _kinds(grid, key, chosen)
        values = sign * grid.panels[key]
        image = axes.imshow(values, cmap="Blues" if higher_is_better else "Blues_r", norm=norm, aspect="auto")
        for (y, x), kind in kinds.items():
            marks[kind] = axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, clip_on=False, **MARKS[kind]))
        if size.legible:
            _write(axes, values, kinds, norm, size, higher_is_better)
        axes.grid(False)
        axes.spines[:].set(visible=True, color=GREY, linewidth=0.6)
        left, bottom = k % size.wide == 0 and grid.row != grid.column, k + size.wide >= len(shown)
        axes.set_xticks(range(grid.shape[1]), across, parse_math=False, rotation=90 if turned else 0)
        axes.set_yticks(range(grid.shape[0]), map(format_tick, levels[grid.row][: grid.shape[0]]), parse_math=False)
        axes.tick_params(length=0, labelbottom=bottom, labelleft=left)
        given = ", ".join(
            f"{spell_option_name(names[o])} {spell_value(levels[o][at])}" for o, at in zip(grid.rest, key, strict=False)
        )
        below, beside = bottom * spell_option_name(names[grid.column]), left * spell_option_name(names[grid.row])
        label(axes, title=short(given, 80 // size.wide), x=below, y=beside)
    for spare in drawn.axes[len(shown) :]:
        spare.remove()
    legend(drawn, [marks[kind] for kind in sorted(marks)], sorted(marks))
    if chosen < 0:
        return base.with_title(drawn, "No trial has a score")
    bar = drawn.colorbar(image, ax=drawn.axes, pad=0.02, aspect=6 * size.height)
    bar.set_label(spell_option_name(quantity), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8)
    if len(shown) < len(grid.panels):
        every = len(grid.panels)
        base.with_title(drawn, f"The best {len(shown)} of {every:,} combinations of the options above the panels")
    return drawn


class _Grid(NamedTuple):
    """Where trials stand.

    Args:
        row, column: the options along the panels' sides; the same where there is one alone.
        rest: the other options.
        shape: rows and columns of a panel.
        panels: by the places of the values of `rest`, the lowest costs of a panel's cells, NaN where there is none.
        where: for each trial, its panel and cell.
    """

    row: int
    column: int
    rest: list[int]
    shape: tuple[int, int]
    panels: dict[Key, Floats]
    where: list[tuple[Key, Cell]]


def _grid(levels: Sequence[Sequence[Any]], settings: Sequence[Sequence[Any]], costs: Floats) -> _Grid:
    two = sorted(sorted(range(len(levels)), key=lambda k: -len(levels[k]))[:2])
    # A wide map has no room for its numbers, a high one has.
    if len(levels[two[-1]]) > max(8, len(levels[two[0]])):
        two.reverse()
    row, column = two[0], two[-1]
    rest = [k for k in range(len(levels)) if k not in two]
    shape = (len(levels[row]) if row != column else 1, len(levels[column]))
    panels: dict[Key, Floats] = {}
    where = []
    for setting, cost in zip(settings, costs, strict=True):
        pairs = list(zip(levels, setting, strict=True))
        at = [list(each).index(value) if value in each else -1 for each, value in pairs]
        key, cell = tuple(at[k] for k in rest), (at[row] if row != column else 0, at[column])
        where.append((key, cell))
        if min(at) >= 0:
            panel = panels.setdefault(key, np.full(shape, np.nan))
            panel[cell] = np.fmin(panel[cell], cost)
    return _Grid(row, column, rest, shape, panels or {(): np.full(shape, np.nan)}, where)


def _shown(grid: _Grid, chosen: int) -> list[Key]:
    """The panels with the lowest costs, that of the marked trial among them."""
    lowest = {key: np.fmin.reduce(panel, axis=None, initial=np.inf) for key, panel in grid.panels.items()}
    if chosen >= 0:
        lowest[grid.where[chosen][0]] = -np.inf
    return sorted(sorted(grid.panels, key=lambda key: lowest[key])[:PANELS])


class _Size(NamedTuple):
    """Panels beside and above each other, inches of the figure and of a cell, and how a cell's number is written."""

    wide: int
    high: int
    height: float
    cell_width: float
    upright: bool
    legible: bool


def _size(panels: int, shape: tuple[int, int]) -> _Size:
    for least in (0.56, 0.35):
        high = math.ceil(panels / max(1, min(3, int(5.4 / (least * shape[1])))))
        wide = math.ceil(panels / high)
        cell_width = 5.0 / wide / shape[1]
        # Numbers that are wider than their cell stand upright, and need its height.
        upright = cell_width < 0.33
        cell_height = min(max(0.5 if upright else 0.22, min(0.62, 2.2 / shape[0])), 18 / high / shape[0])
        height = high * (cell_height * shape[0] + 0.45) + 1.0
        if height < 9:
            break
    legible = cell_height > 0.4 and cell_width > 0.1 if upright else cell_height > 0.15
    return _Size(wide, high, height, cell_width, upright, legible)


def _kinds(grid: _Grid, key: Key, chosen: int) -> dict[Cell, str]:
    """The cells of a panel that are marked, and as what."""
    tried, kinds = set(grid.where), {}
    for (y, x), cost in np.ndenumerate(grid.panels[key]):
        place = (key, (y, x))
        if not math.isfinite(cost):
            kinds[y, x] = "Failed" if place in tried else "Not tried"
        elif place == grid.where[chosen]:
            kinds[y, x] = "Best"
    return kinds


def _write(
    axes: Axes, values: Floats, kinds: dict[Cell, str], norm: Normalize, size: _Size, higher_is_better: bool
) -> None:
    """The numbers of a panel, each in what stands out from its cell."""
    dark = np.asarray(norm(values), float)
    for (y, x), score in np.ndenumerate(values):
        known = math.isfinite(score)
        text = number(float(score)) if known else "failed" if kinds[y, x] == "Failed" else ""
        if text:
            shade = dark[y, x] if known else 0.5
            colour = "white" if (shade > 0.55 if higher_is_better else shade < 0.45) else BLACK
            words = axes.text(x, y, text, ha="center", va="center", color=colour, bbox=None if known else PLATE)
            words.set(fontsize=7 if size.cell_width > 0.43 else 5.5, rotation=90 if size.upright else 0)
