"""How long a window should be: a season, found by autocorrelation, where the values repeat themselves."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import UNITS, Step
from lstm_ae.data.cadence import slots
from lstm_ae.data.columns import heading
from lstm_ae.data.measurements import Measurements

# Steps of a window that nobody chose; a season that is longer is not looked for.
SHORTEST, LONGEST, USUAL = 4, 366, 30
# Places on the grid that are looked at.
SEEN = 20_000
# A season's autocorrelation, at least; shorter ones that come so near to the best are preferred.
CLEAR, NEAR = 0.3, 0.8
# By how much a longer one must be better to count as the strongest.
SURE = 0.03
# Means over this share of the rows, which are a trend or a far longer wave, are taken away where they hide a season.
MOVING = 1 / 8


class Usual(NamedTuple):
    """Steps that nobody chose.

    Args:
        season: the shortest after which values clearly repeat themselves, else a day, else 30.
        strongest: those after which they do most; a day may be the shortest and a week the strongest.
        why: of the shortest, in words.
        found: whether values repeat themselves after these steps.
    """

    season: int
    strongest: int
    why: str
    found: bool = False


def usual_steps(table: Measurements, step: Step, share: float) -> Usual:
    """What the longest series suggests.

    Args:
        share: of the series' rows, those at its beginning that may be looked at.
    """
    day = UNITS["d"] // step.nanoseconds if step.nanoseconds else 0
    has_days = 2 * SHORTEST <= day <= LONGEST
    if found := seasons(table, step, share) or (None if has_days else seasons(table, step, share, trend=True)):
        shortest, strongest, column = found
        of = f" of {heading(table.layout.values[column])}" if column else ""
        why = f"{shortest} steps, after which the values{of} repeat themselves most"
        return Usual(shortest, strongest, why, found=True)
    if has_days:
        return Usual(day, day, f"{day} steps, a day")
    return Usual(USUAL, USUAL, f"{USUAL} steps, as no season was found")


def seasons(table: Measurements, step: Step, share: float, *, trend: bool = False) -> tuple[int, int, int] | None:
    """Where the longest series clearly repeats itself, by the first feature that does; None without a season.

    Args:
        trend: whether values move slowly as well, which is taken away.

    Returns:
        The shortest lag, the one at which the values repeat themselves most, and the feature's place.
    """
    longest = int(np.bincount(table.series).argmax())
    rows = np.flatnonzero(table.series == longest)
    rows = rows[: max(int(share * len(rows)), 1)]
    places = slots(table, step)[rows]
    rows, places = rows[places - places[0] < SEEN], places[places - places[0] < SEEN]
    if len(rows) < 3 * SHORTEST:
        return None
    for column, cells in enumerate(table.values[rows].T):
        values = np.full(int(places[-1] - places[0]) + 1, np.nan)
        values[places - places[0]] = cells
        if found := _season(_without_trend(values) if trend else values):
            return *found, column
    return None


def _season(values: NDArray[np.float64]) -> tuple[int, int] | None:
    """The shortest lag at which a series `(steps,)` repeats itself, and that at which it does most."""
    if (~np.isnan(values)).sum() < 3 * SHORTEST:
        return None
    correlation = autocorrelation(values, min(LONGEST + LONGEST // 10, len(values) // 3))
    peaks = _peaks(correlation)
    if not peaks:
        return None
    # Twice a season is as good as one, but for chance.
    most = correlation[peaks].max()
    return peaks[0], next(lag for lag in peaks if correlation[lag] >= most - SURE)


def _without_trend(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import pandas as pd

    size = max(int(MOVING * len(values)), 3 * SHORTEST)
    less: NDArray[np.float64] = values - pd.Series(values).rolling(size, center=True, min_periods=1).mean().to_numpy()
    return less


def _peaks(correlation: NDArray[np.float64]) -> list[int]:
    """The lags of clear peaks that come near to the best, ascending."""
    below = np.flatnonzero(correlation <= 0)
    if not len(below):
        return []
    lags = np.arange(max(int(below[0]), SHORTEST), min(LONGEST + 1, len(correlation)))
    if not len(lags) or correlation[lags].max() < CLEAR:
        return []

    def peak(lag: int) -> bool:
        near = correlation[max(lag - lag // 10 - 1, 0) : lag + lag // 10 + 2]
        return bool(correlation[lag] >= near.max()) and lag + 1 < len(correlation)

    return [int(lag) for lag in lags[correlation[lags] >= NEAR * correlation[lags].max()] if peak(lag)]


def autocorrelation(values: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """The correlation of a series `(steps,)` with itself `0..lags` steps later, over the pairs that have no NaN."""
    held = ~np.isnan(values)
    centred = np.where(held, values - np.nanmean(values), 0)
    size = 1 << int(2 * len(values) - 1).bit_length()

    def products(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.fft.irfft(abs(np.fft.rfft(numbers, size)) ** 2, size)[: lags + 1]

    pairs = np.maximum(np.rint(products(held.astype(float))), 1)
    covariance = products(centred) / pairs
    return covariance / covariance[0] if covariance[0] > 0 else np.zeros(lags + 1)
