"""What figures of searches share: shades of scores, places of values on an axis, options and values in words."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.plots.base import VERMILLION, Floats, short

Places = tuple[Callable[[Any], float], dict[float, str]]

BEST: dict[str, Any] = {"color": VERMILLION, "linewidth": 2.5, "zorder": 5}

# Behind texts that lie on lines.
PLATE: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}


def finite(values: ArrayLike) -> Floats:
    """Scores with NaN for what is not finite."""
    array = np.asarray(values, float)
    return np.where(np.isfinite(array), array, np.nan)


def score_colours(values: Floats) -> Normalize:
    """From the lowest to the highest; logarithmic where all are positive and span more than ten times."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)


def axis_positions(levels: Sequence[Any], log: bool | None, say: Callable[[Any], str]) -> Places:
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


def _uneven(values: ArrayLike) -> float:
    steps = np.diff(np.asarray(values, float))
    return float(steps.std() / steps.mean())


def spell_option_name(option: str) -> str:
    """An option as people read it."""
    return short(option.replace("_", " "), 40)


def spell_value(value: Any) -> str:
    """A value of an option."""
    return f"{value:g}".replace("-", "−") if isinstance(value, float) else str(value)


def format_tick(value: Any) -> str:
    """A value as a tick's label: long names break at their hyphens."""
    return textwrap.fill(short(spell_value(value), 40), 16)
