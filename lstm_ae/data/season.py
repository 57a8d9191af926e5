"""How long a window should be: a season, found by autocorrelation, where the values repeat themselves."""

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.series import UNITS, Step
from lstm_ae.data.cadence import slots
from lstm_ae.data.measurements import Measurements

# Steps of a window that nobody chose; a season that is longer is not looked for.
SHORTEST, LONGEST, USUAL = 4, 366, 30
# Places on the grid that are looked at.
SEEN = 20_000
# A season's autocorrelation, at least; shorter ones that come so near to the best are preferred.
CLEAR, NEAR = 0.3, 0.8


def usual_window(table: Measurements, step: Step, share: float) -> tuple[int, str]:
    """A window for the longest series, and why: its season, else a day, else 30 steps.

    Args:
        share: of the series' rows, those at its beginning that may be looked at.
    """
    found = season(table, step, share)
    if found:
        return found, f"{found} steps, after which the values repeat themselves most"
    day = UNITS["d"] // step.nanoseconds if step.nanoseconds else 0
    if 2 * SHORTEST <= day <= LONGEST:
        return day, f"{day} steps, a day"
    return USUAL, f"{USUAL} steps, as no season was found"


def season(table: Measurements, step: Step, share: float) -> int | None:
    """The shortest lag at which the first feature of the longest series clearly repeats itself; None without one."""
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
    return _peak(correlation)


def _peak(correlation: NDArray[np.float64]) -> int | None:
    below = np.flatnonzero(correlation <= 0)
    if not len(below):
        return None
    lags = np.arange(max(int(below[0]), SHORTEST), min(LONGEST + 1, len(correlation)))
    if not len(lags) or correlation[lags].max() < CLEAR:
        return None
    for lag in lags[correlation[lags] >= NEAR * correlation[lags].max()]:
        near = correlation[max(lag - lag // 10 - 1, 0) : lag + lag // 10 + 2]
        if correlation[lag] >= near.max() and lag + 1 < len(correlation):
            return int(lag)
    return None


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
