"""Figure of a search: the heat map of a grid."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lstm_ae.arrays import FloatArray
from lstm_ae.plots import base
from lstm_ae.plots.base import BLACK, GRAY, VERMILLION, Style, label, number, shorten

BEST_CELL: Style = {"fill": False, "edgecolor": VERMILLION, "linewidth": 2.2, "zorder": 3}

# Largest numbers of columns and rows with numbers in the cells, and height of the largest figure in inches.
MAX_COLUMNS, MAX_ROWS, MAX_HEIGHT = 12, 56, 18.0


def score_colors(values: FloatArray) -> Normalize:
    """Return the color scale of scores; logarithmic if all are positive and the highest is over 10 times the lowest."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)


def _spell_name(option: str) -> str:
    return shorten(option.replace("_", " "), 40)


def _spell_value(value: object) -> str:
    return f"{value:g}".replace("-", "−") if isinstance(value, float) else shorten(str(value), 40)


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
    """Draw the scores of a grid search as a heat map, where darker is better and a cell without a score is white.

    The two options with the most values are the rows and columns. A cell shows the best score over the values of the
    other options.

    Args:
        names: names of the options, at least one.
        levels: values of each option in the order to draw.
        settings: value of each option in each trial, at least one.
        scores: `(trials,)` scores; NaN or infinite for a failed trial.
        best: index of the trial to mark; None for no mark.
        higher_is_better: whether a higher score is better.
        quantity: name of the score.
    """
    values: FloatArray = np.asarray(scores, float)
    values[~np.isfinite(values)] = np.nan
    order = sorted(range(len(levels)), key=lambda k: -len(levels[k]))
    column, rows = max(order[:2]), [min(order[:2])] if len(levels) > 1 else []
    shape = [len(levels[k]) for k in (*rows, column)]
    height, width = shape if rows else (1, *shape)
    grid, cells = np.full((height, width), np.nan), []
    for setting, score in zip(settings, values, strict=True):
        place = [list(levels[k]).index(setting[k]) for k in (*rows, column)]
        cells.append((place[0] if rows else 0, place[-1]))
        grid[cells[-1]] = (np.fmax if higher_is_better else np.fmin)(grid[cells[-1]], score)
    fig = base.figure(height=min(0.3 * height + 1.6, MAX_HEIGHT))
    axes, norm = fig.axes[0], score_colors(values)
    image = axes.imshow(grid, cmap="Blues" if higher_is_better else "Blues_r", norm=norm, aspect="auto")
    if width <= MAX_COLUMNS and height <= MAX_ROWS:
        for y, x in set(cells):
            shade = float(norm(grid[y, x]))
            color = "white" if (shade > 0.55 if higher_is_better else shade < 0.45) else BLACK
            text = number(grid[y, x]) if math.isfinite(grid[y, x]) else "failed"
            axes.text(x, y, text, ha="center", va="center", fontsize=7, color=color)
    if best is not None:
        y, x = cells[best]
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, clip_on=False, **BEST_CELL))
    axes.grid(False)
    axes.spines[:].set(visible=True, color=GRAY, linewidth=0.6)
    ticks = [textwrap.fill(_spell_value(value), 16) for value in levels[column]]
    axes.set_xticks(range(width), ticks, parse_math=False, rotation=90 if max(map(len, ticks)) > 8 else 0)
    axes.set_yticks(range(height), [_spell_value(value) for k in rows for value in levels[k]] or [""], parse_math=False)
    axes.tick_params(length=0)
    other_options = [names[k] for k in range(len(names)) if k not in (*rows, column)]
    title = f"Best over the values of {', '.join(map(_spell_name, other_options))}" if other_options else ""
    label(axes, title=shorten(title, 80), x=_spell_name(names[column]), y="".join(_spell_name(names[k]) for k in rows))
    bar = fig.colorbar(image, ax=axes, pad=0.02)
    bar.set_label(_spell_name(quantity), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8)
    return fig
