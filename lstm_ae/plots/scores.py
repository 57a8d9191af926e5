"""Common parts of search figures: colors of scores, positions of values on an axis, and names of options."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.arrays import FloatArray
from lstm_ae.plots.base import VERMILLION, Style, shorten

Positions = tuple[Callable[[object], float], dict[float, str]]

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


def axis_positions(levels: Sequence[Any], log: bool | None, format_value: Callable[[Any], str]) -> Positions:
    """Return the positions of an option's values on an axis from 0 to 1.

    Args:
        levels: the listed values, or the two ends of a range.
        log: whether the range is logarithmic; None for listed values.
        format_value: returns the label of a value.

    Returns:
        A function from values to positions, and the labels of the ticks by position.
    """
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in levels):
        spots = {str(value): (k + 0.5) / len(levels) for k, value in enumerate(levels)}
        ticks_of_names = {spots[str(value)]: format_value(value) for value in levels}
        return lambda value: spots.get(str(value), math.nan), ticks_of_names
    low, high = ends = min(levels), max(levels)
    if log is None:
        ticks = sorted(levels)
        log = len(ticks) > 2 and low > 0 and _unevenness(np.log(ticks)) < _unevenness(ticks) - 1e-9
    elif log:
        ticks = [10.0**power for power in range(*(math.ceil(math.log10(end)) for end in ends))]
    else:
        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low < tick < high]
    first, last = (math.log(end) if log else end for end in ends)

    def position(value: object) -> float:
        if not isinstance(value, int | float) or (log and value <= 0):
            return math.nan
        return ((math.log(value) if log else value) - first) / (last - first) if last > first else 0.5

    labels: dict[float, str] = {}
    for tick in (*ends, *ticks):
        if all(abs(position(tick) - other) > 0.05 for other in labels):
            labels[position(tick)] = format_value(tick)
    return position, labels


def _unevenness(values: ArrayLike) -> float:
    steps = np.diff(np.asarray(values, float))
    return float(steps.std() / steps.mean())


def spell_option_name(option: str) -> str:
    """Return the name of an option for display."""
    return shorten(option.replace("_", " "), 40)


def spell_value(value: object) -> str:
    """Return the value of an option for display."""
    return f"{value:g}".replace("-", "−") if isinstance(value, float) else str(value)


def format_tick(value: object) -> str:
    """Return the value of an option as a tick label; long names break at hyphens."""
    return textwrap.fill(shorten(spell_value(value), 40), 16)
