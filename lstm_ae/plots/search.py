"""Figures of a search: heat maps of a grid, and the objective over the epochs."""

import math
import textwrap
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.arrays import FloatArray
from lstm_ae.plots import base
from lstm_ae.plots.base import BLACK, GRAY, VERMILLION, Style, label, legend, number, shorten

BEST: Style = {"color": VERMILLION, "linewidth": 2.5, "zorder": 5}

# Background of text on lines.
TEXT_BACKGROUND: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}


def finite(values: ArrayLike) -> FloatArray:
    """Return scores with NaN for infinite values."""
    array = np.asarray(values, float)
    return np.where(np.isfinite(array), array, np.nan)


def score_colors(values: FloatArray) -> Normalize:
    """Return the color scale of scores; logarithmic if all are positive and the highest is over 10 times the lowest."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)


def spell_option_name(option: str) -> str:
    """Return the name of an option for display."""
    return shorten(option.replace("_", " "), 40)


def spell_value(value: object) -> str:
    """Return the value of an option for display."""
    return f"{value:g}".replace("-", "−") if isinstance(value, float) else str(value)


def format_tick(value: object) -> str:
    """Return the value of an option as a tick label; long names break at hyphens."""
    return textwrap.fill(shorten(spell_value(value), 40), 16)


PANELS = 6

MARKS: dict[str, Style] = {
    "Best": {"fill": False, "edgecolor": VERMILLION, "linewidth": 2.2, "zorder": 3},
    "Failed": {"hatch": "xxxx", "edgecolor": "#b5b5b5", "facecolor": "white", "linewidth": 0.6},
    "Not tried": {"hatch": "///", "edgecolor": "#b5b5b5", "facecolor": "white", "linewidth": 0.6},
}

Key = tuple[int, ...]

Cell = tuple[int, int]


def heat(
    names: Sequence[str],
    levels: Sequence[Sequence[object]],
    settings: Sequence[Sequence[object]],
    scores: ArrayLike,
    *,
    best: int | None = None,
    higher_is_better: bool = False,
    quantity: str = "Score",
) -> Figure:
    """Draw the scores of a grid search as heat maps, where darker is better.

    The two options with the most values are the rows and columns. Each combination of the other options has a panel,
    of which the six with the best scores are drawn. A cell with several trials shows the best score.

    Args:
        names: names of the options, at least one.
        levels: values of each option in the order to draw.
        settings: value of each option in each trial; values that are not in `levels` are left out.
        scores: `(trials,)` scores; NaN or infinite for a failed trial.
        best: index of the trial to mark; None for the one with the best score.
        higher_is_better: whether a higher score is better.
        quantity: name of the score.
    """
    sign = -1 if higher_is_better else 1
    costs = sign * finite(scores)
    marked = best if best is not None else int(np.nanargmin(costs)) if np.isfinite(costs).any() else -1
    grid = _grid(levels, settings, costs)
    shown = _shown(grid, marked)
    size = _size(len(shown), grid.shape)
    fig = base.figure(size.rows, size.columns, size.height, sharex=True, sharey=True)
    norm = score_colors(sign * costs)
    x_labels = [format_tick(value) for value in levels[grid.column]]
    rotated = max(len(line) for text in x_labels for line in text.split("\n")) * 0.075 > size.cell_width
    marks: dict[str, Artist] = {}
    for k, (axes, key) in enumerate(zip(fig.axes, shown, strict=False)):
        kinds = _kinds(grid, key, marked)
        values = sign * grid.panels[key]
        image = axes.imshow(values, cmap="Blues" if higher_is_better else "Blues_r", norm=norm, aspect="auto")
        for (y, x), kind in kinds.items():
            marks[kind] = axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, clip_on=False, **MARKS[kind]))
        if size.legible:
            _write(axes, values, kinds, norm, size, higher_is_better)
        axes.grid(False)
        axes.spines[:].set(visible=True, color=GRAY, linewidth=0.6)
        left, bottom = k % size.columns == 0 and grid.row != grid.column, k + size.columns >= len(shown)
        axes.set_xticks(range(grid.shape[1]), x_labels, parse_math=False, rotation=90 if rotated else 0)
        axes.set_yticks(range(grid.shape[0]), map(format_tick, levels[grid.row][: grid.shape[0]]), parse_math=False)
        axes.tick_params(length=0, labelbottom=bottom, labelleft=left)
        title = ", ".join(
            f"{spell_option_name(names[o])} {spell_value(levels[o][index])}"
            for o, index in zip(grid.rest, key, strict=False)
        )
        x_name, y_name = bottom * spell_option_name(names[grid.column]), left * spell_option_name(names[grid.row])
        label(axes, title=shorten(title, 80 // size.columns), x=x_name, y=y_name)
    for spare in fig.axes[len(shown) :]:
        spare.remove()
    legend(fig, [marks[kind] for kind in sorted(marks)], sorted(marks))
    if marked < 0:
        return base.with_title(fig, "No trial has a score")
    bar = fig.colorbar(image, ax=fig.axes, pad=0.02, aspect=6 * size.height)
    bar.set_label(spell_option_name(quantity), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8)
    if len(shown) < len(grid.panels):
        total = len(grid.panels)
        base.with_title(fig, f"The best {len(shown)} of {total:,} combinations of the options above the panels")
    return fig


class _Grid(NamedTuple):
    """Layout of the trials.

    Args:
        row: option of the rows.
        column: option of the columns; equal to `row` if there is only one option.
        rest: the other options.
        shape: rows and columns of a panel.
        panels: lowest cost of each cell, NaN without one, by the indices of the values of `rest`.
        positions: panel and cell of each trial.
    """

    row: int
    column: int
    rest: list[int]
    shape: tuple[int, int]
    panels: dict[Key, FloatArray]
    positions: list[tuple[Key, Cell]]


def _grid(levels: Sequence[Sequence[object]], settings: Sequence[Sequence[object]], costs: FloatArray) -> _Grid:
    two = sorted(sorted(range(len(levels)), key=lambda k: -len(levels[k]))[:2])
    # A tall map has space for its numbers, unlike a wide one.
    if len(levels[two[-1]]) > max(8, len(levels[two[0]])):
        two.reverse()
    row, column = two[0], two[-1]
    rest = [k for k in range(len(levels)) if k not in two]
    shape = (len(levels[row]) if row != column else 1, len(levels[column]))
    panels: dict[Key, FloatArray] = {}
    positions = []
    for setting, cost in zip(settings, costs, strict=True):
        pairs = list(zip(levels, setting, strict=True))
        indices = [list(each).index(value) if value in each else -1 for each, value in pairs]
        key, cell = tuple(indices[k] for k in rest), (indices[row] if row != column else 0, indices[column])
        positions.append((key, cell))
        if min(indices) >= 0:
            panel = panels.setdefault(key, np.full(shape, np.nan))
            panel[cell] = np.fmin(panel[cell], cost)
    return _Grid(row, column, rest, shape, panels or {(): np.full(shape, np.nan)}, positions)


def _shown(grid: _Grid, marked: int) -> list[Key]:
    """Return the panels with the lowest costs, including that of the marked trial."""
    lowest = {key: np.fmin.reduce(panel, axis=None, initial=np.inf) for key, panel in grid.panels.items()}
    if marked >= 0:
        lowest[grid.positions[marked][0]] = -np.inf
    return sorted(sorted(grid.panels, key=lambda key: lowest[key])[:PANELS])


class _Size(NamedTuple):
    """Size of the figure.

    Args:
        columns: columns of panels.
        rows: rows of panels.
        height: height of the figure in inches.
        cell_width: width of a cell in inches.
        upright: whether numbers are rotated.
        legible: whether numbers fit into the cells.
    """

    columns: int
    rows: int
    height: float
    cell_width: float
    upright: bool
    legible: bool


def _size(panels: int, shape: tuple[int, int]) -> _Size:
    for min_width in (0.56, 0.35):
        rows = math.ceil(panels / max(1, min(3, int(5.4 / (min_width * shape[1])))))
        columns = math.ceil(panels / rows)
        cell_width = 5.0 / columns / shape[1]
        # Numbers that are wider than their cell are rotated and need its height.
        upright = cell_width < 0.33
        cell_height = min(max(0.5 if upright else 0.22, min(0.62, 2.2 / shape[0])), 18 / rows / shape[0])
        height = rows * (cell_height * shape[0] + 0.45) + 1.0
        if height < 9:
            break
    legible = cell_height > 0.4 and cell_width > 0.1 if upright else cell_height > 0.15
    return _Size(columns, rows, height, cell_width, upright, legible)


def _kinds(grid: _Grid, key: Key, marked: int) -> dict[Cell, str]:
    """Return the kind of mark of each marked cell of a panel."""
    tried, kinds = set(grid.positions), {}
    for (y, x), cost in np.ndenumerate(grid.panels[key]):
        position = (key, (y, x))
        if not math.isfinite(cost):
            kinds[y, x] = "Failed" if position in tried else "Not tried"
        elif position == grid.positions[marked]:
            kinds[y, x] = "Best"
    return kinds


def _write(
    axes: Axes, values: FloatArray, kinds: dict[Cell, str], norm: Normalize, size: _Size, higher_is_better: bool
) -> None:
    """Write the numbers of a panel in a color that contrasts with the cell."""
    shades = np.asarray(norm(values), float)
    for (y, x), score in np.ndenumerate(values):
        finite_score = math.isfinite(score)
        text = number(float(score)) if finite_score else "failed" if kinds[y, x] == "Failed" else ""
        if text:
            shade = shades[y, x] if finite_score else 0.5
            color = "white" if (shade > 0.55 if higher_is_better else shade < 0.45) else BLACK
            background = None if finite_score else TEXT_BACKGROUND
            artist = axes.text(x, y, text, ha="center", va="center", color=color, bbox=background)
            artist.set(fontsize=7 if size.cell_width > 0.43 else 5.5, rotation=90 if size.upright else 0)


def curves(
    histories: Sequence[ArrayLike],
    *,
    pruned: Collection[int] = (),
    best: Collection[int] = (),
    quantity: str = "Score",
) -> Figure:
    """Draw the objective over the epochs, one line per training.

    Args:
        histories: the values after each epoch of each training; their lengths may differ.
        pruned: indices of the pruned trainings, which are dashed.
        best: indices of the trainings of the best trial, which are bold.
        quantity: name of the objective.
    """
    rows = [finite(values) for values in histories]
    fig = base.figure(height=3.4)
    axes = fig.axes[0]
    thin: Style = {"color": "#9a9a9a", "linewidth": 0.8, "zorder": 2}
    styles: dict[str, Style] = {
        "Best": BEST,
        "Others": thin,
        "Pruned": {**thin, "linestyle": (0, (3, 2)), "marker": "x", "markersize": 3.5, "markevery": [-1]},
    }
    handles: dict[str, Artist] = {}
    for k, row in enumerate(rows):
        kind = "Best" if k in best else "Pruned" if k in pruned else "Others"
        if np.isfinite(row).any():
            dot = {"marker": "o", "markersize": 3.5} if np.isfinite(row).sum() == 1 else {}
            handles[kind] = axes.plot(np.arange(1, len(row) + 1), row, **{**dot, **styles[kind]})[0]
    if isinstance(score_colors(np.concatenate([*rows, np.empty(0)])), LogNorm):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(base.Thousands())
    if handles:
        legend(fig, [handles[kind] for kind in sorted(handles)], sorted(handles))
    else:
        axes.set(xticks=[], yticks=[])
    note = ", none with a score" if not handles else f", {len(set(pruned)):,} pruned" if pruned else ""
    label(axes, x="Epoch", y=spell_option_name(quantity), title=f"{len(rows):,} training{'s' * (len(rows) != 1)}{note}")
    return fig
