"""How long a window should be: a season, found by autocorrelation, where the values repeat themselves."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import UNITS, Step
from lstm_ae.data.cadence import slots
from lstm_ae.data.measurements import Measurements

# Steps of a window that nobody chose; a season that is longer is not looked for.
SHORTEST, LONGEST, USUAL = 4, 366, 30
# Places on the grid that are looked at.
SEEN = 20_000
# A season's autocorrelation, at least; shorter ones that come so near to the best are preferred.
CLEAR, NEAR = 0.3, 0.8
# By how much a longer one must be better to count as the strongest.
SURE = 0.03


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
    found = seasons(table, step, share)
    if found:
        return Usual(*found, f"{found[0]} steps, after which the values repeat themselves most", found=True)
    day = UNITS["d"] // step.nanoseconds if step.nanoseconds else 0
    if 2 * SHORTEST <= day <= LONGEST:
        return Usual(day, day, f"{day} steps, a day")
    return Usual(USUAL, USUAL, f"{USUAL} steps, as no season was found")


def seasons(table: Measurements, step: Step, share: float) -> tuple[int, int] | None:
    """The shortest lag at which the first feature of the longest series clearly repeats itself, and the one at which it
    does most; None without any."""
    longest = int(np.bincount(table.series).argmax())
    rows = np.flatnonzero(table.series == longest)
    rows = rows[: max(int(share * len(rows)), 1)]
    places = slots(table, step)[rows]
    rows, places = rows[places - places[0] < SEEN], places[places - places[0] < SEEN]
    if len(rows) < 3 * SHORTEST:
        return None
    values = np.full(int(places[-1] - places[0]) + 1, np.nan)
    values[places - places[0]] = table.values[rows, 0]
    if (~np.isnan(values)).sum() < 3 * SHORTEST:
        return None
    correlation = autocorrelation(values, min(LONGEST + LONGEST // 10, len(values) // 3))
    peaks = _peaks(correlation)
    if not peaks:
        return None
    # Twice a season is as good as one, but for chance.
    most = correlation[peaks].max()
    return peaks[0], next(lag for lag in peaks if correlation[lag] >= most - SURE)


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
