"""Figures of a search: heat maps of a grid, and the objective over the epochs."""

import math
import textwrap
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.arrays import FloatArray
from lstm_ae.plots import base
from lstm_ae.plots.base import BLACK, GRAY, VERMILLION, Style, label, number, shorten

# Combinations of the other options that a heat map shows.
MAX_PANELS = 6

BEST_CELL: Style = {"fill": False, "edgecolor": VERMILLION, "linewidth": 2.2, "zorder": 3}
BEST_CURVE: Style = {"color": VERMILLION, "linewidth": 2.5, "zorder": 5}
OTHER_CURVE: Style = {"color": "#9a9a9a", "linewidth": 0.8, "zorder": 2}

# Width and height of a cell in inches that a number fits into, and height of the largest figure.
NUMBER_WIDTH, NUMBER_HEIGHT, MAX_HEIGHT = 0.4, 0.2, 18.0


def finite(values: ArrayLike) -> FloatArray:
    """Return scores with NaN for infinite values."""
    array = np.asarray(values, float)
    return np.where(np.isfinite(array), array, np.nan)


def score_colors(values: FloatArray) -> Normalize:
    """Return the color scale of scores; logarithmic if all are positive and the highest is over 10 times the lowest."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)


def _spell_name(option: str) -> str:
    return shorten(option.replace("_", " "), 40)


def _spell_value(value: object) -> str:
    return f"{value:g}".replace("-", "−") if isinstance(value, float) else shorten(str(value), 40)


class _Grid(NamedTuple):
    """Scores of a grid by panel and cell.

    Args:
        row: option of the rows.
        column: option of the columns; equal to `row` if there is only one option.
        rest: the other options, whose combinations are the panels.
        scores: best score of each cell by the panel's values; NaN without one.
        tried: panels and cells that have a trial.
    """

    row: int
    column: int
    rest: list[int]
    scores: dict[tuple[object, ...], FloatArray]
    tried: list[tuple[tuple[object, ...], tuple[int, int]]]


def _arrange(
    levels: Sequence[Sequence[object]], settings: Sequence[Sequence[object]], scores: FloatArray, higher: bool
) -> _Grid:
    """Make the two options with the most values the rows and columns."""
    two = sorted(sorted(range(len(levels)), key=lambda k: -len(levels[k]))[:2])
    row, column = two[0], two[-1]
    rest = [k for k in range(len(levels)) if k not in two]
    shape = (len(levels[row]) if row != column else 1, len(levels[column]))
    panels: dict[tuple[object, ...], FloatArray] = {}
    places = []
    for setting, score in zip(settings, scores, strict=True):
        key = tuple(setting[k] for k in rest)
        cell = (
            list(levels[row]).index(setting[row]) if row != column else 0,
            list(levels[column]).index(setting[column]),
        )
        panel = panels.setdefault(key, np.full(shape, np.nan))
        panel[cell] = (np.fmax if higher else np.fmin)(panel[cell], score)
        places.append((key, cell))
    return _Grid(row, column, rest, panels, places)


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
    """Draw the scores of a grid search as heat maps, where darker is better and a cell without a score is white.

    The two options with the most values are the rows and columns. Each combination of the other options has a panel,
    of which the six with the best scores are drawn. A cell with several trials shows the best score.

    Args:
        names: names of the options, at least one.
        levels: values of each option in the order to draw.
        settings: value of each option in each trial, at least one.
        scores: `(trials,)` scores; NaN or infinite for a failed trial.
        best: index of the trial to mark; None for no mark.
        higher_is_better: whether a higher score is better.
        quantity: name of the score.
    """
    values = finite(scores)
    grid = _arrange(levels, settings, values, higher_is_better)
    marked = None if best is None else grid.tried[best]
    sign = -1 if higher_is_better else 1
    order = {key: np.fmin.reduce(sign * panel, axis=None, initial=np.inf) for key, panel in grid.scores.items()}
    ranked = sorted(order, key=lambda key: (marked is None or key != marked[0], order[key]))
    shown = [key for key in grid.scores if key in ranked[:MAX_PANELS]]
    height, width = grid.scores[shown[0]].shape
    columns = max(1, min(len(shown), 3, int(5 / (NUMBER_WIDTH * width))))
    rows = math.ceil(len(shown) / columns)
    size = min(rows * (0.3 * height + 0.6) + 1, MAX_HEIGHT)
    legible = 5 / columns / width > NUMBER_WIDTH and size / rows / height > NUMBER_HEIGHT
    fig = base.figure(rows, columns, size, sharex=True, sharey=True)
    norm = score_colors(values)
    for axes, key in zip(fig.axes, shown, strict=False):
        image = axes.imshow(grid.scores[key], cmap="Blues" if higher_is_better else "Blues_r", norm=norm, aspect="auto")
        if legible:
            _write_numbers(axes, grid, key, norm, higher_is_better)
        if marked and marked[0] == key:
            y, x = marked[1]
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, clip_on=False, **BEST_CELL))
        axes.grid(False)
        axes.spines[:].set(visible=True, color=GRAY, linewidth=0.6)
        ticks = [textwrap.fill(_spell_value(value), 16) for value in levels[grid.column]]
        axes.set_xticks(range(width), ticks, parse_math=False, rotation=90 if max(map(len, ticks)) > 8 else 0)
        axes.set_yticks(range(height), map(_spell_value, levels[grid.row][:height]), parse_math=False)
        axes.tick_params(length=0, labelleft=grid.row != grid.column)
        title = ", ".join(
            f"{_spell_name(names[k])} {_spell_value(value)}" for k, value in zip(grid.rest, key, strict=True)
        )
        y_name = _spell_name(names[grid.row]) if grid.row != grid.column else ""
        label(axes, title=shorten(title, 80 // columns), x=_spell_name(names[grid.column]), y=y_name)
        axes.label_outer()
    for spare in fig.axes[len(shown) :]:
        spare.remove()
    bar = fig.colorbar(image, ax=fig.axes, pad=0.02, aspect=6 * size)
    bar.set_label(_spell_name(quantity), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8)
    if len(shown) < len(grid.scores):
        total = len(grid.scores)
        base.with_title(fig, f"The best {len(shown)} of {total:,} combinations of the options above the panels")
    return fig


def _write_numbers(axes: Axes, grid: _Grid, key: tuple[object, ...], norm: Normalize, higher_is_better: bool) -> None:
    """Write the scores of a panel in a color that contrasts with the cell."""
    shades = np.asarray(norm(grid.scores[key]), float)
    for (y, x), score in np.ndenumerate(grid.scores[key]):
        if math.isfinite(score):
            color = "white" if (shades[y, x] > 0.55 if higher_is_better else shades[y, x] < 0.45) else BLACK
            axes.text(x, y, number(float(score)), ha="center", va="center", fontsize=7, color=color)
        elif (key, (y, x)) in grid.tried:
            axes.text(x, y, "failed", ha="center", va="center", fontsize=7, color=GRAY)


def curves(histories: Sequence[ArrayLike], *, best: Collection[int] = (), quantity: str = "Score") -> Figure:
    """Draw the objective over the epochs, one line per training.

    Args:
        histories: the values after each epoch of each training; their lengths may differ.
        best: indices of the trainings of the best trial, which are bold.
        quantity: name of the objective.
    """
    rows = [finite(values) for values in histories]
    fig = base.figure(height=3.4)
    axes = fig.axes[0]
    for k, row in enumerate(rows):
        marker = "o" if np.isfinite(row).sum() == 1 else ""
        axes.plot(np.arange(1, len(row) + 1), row, marker=marker, **(BEST_CURVE if k in best else OTHER_CURVE))
    if isinstance(score_colors(np.concatenate([*rows, np.empty(0)])), LogNorm):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(base.Thousands())
    title = f"{len(rows):,} training{'s' * (len(rows) != 1)}" + ", bold: the best trial's" * bool(best)
    label(axes, x="Epoch", y=_spell_name(quantity), title=title)
    return fig
