"""From the errors of overlapping windows to a score for every row.

A window starts at every row, so that a row stands in up to `window` of them, each time at another place. Its score is
the mean of its errors over all of them, and, where scores are smoothed, over the rows around it: a day that is a little
wrong throughout has no high score anywhere, yet a high mean. The score does not depend on where the series was cut, but
for the first and the last rows, which stand in fewer windows. It is final once the rows that it depends on have come,
`window - 1 + smooth // 2` of them.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Numbers = NDArray[Any]

Floats = NDArray[np.float64]

# Numbers that are added up at a time: a block that stays in the processor's cache.
BLOCK = 1 << 18

# Of a feature's variance, the least error that tells how well it is given back.
LEAST = 1e-4


class RowSums(NamedTuple):
    """What windows at every row add to the rows that they hold, so that the windows themselves need not be kept.

    Args:
        sums: `(windows + window - 1, features)` float64; the first row is the one on which the first window starts.
        counts: alike, how many numbers were added.
        window: rows of a window.
    """

    sums: Floats
    counts: Floats
    window: int


def sum_windows(values: Numbers) -> RowSums:
    """Numbers of windows `(windows, window[, features])`, each one row after the one before it, added row by row.

    NaN takes no part.

    Raises:
        ValueError: they have another shape.
    """
    values = np.asarray(values)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.shape[1] or not values.shape[2]:
        raise ValueError(f"errors must be (windows, window[, features]). Received: shape {values.shape}")
    count, window, features = values.shape
    sums, counts = np.zeros((2, count + window - 1, features))
    for first in range(0, count, size := max(1, BLOCK // (window * features))):
        block = values[first : first + size]
        valid = ~np.isnan(block)
        whole = bool(valid.all())
        block = block if whole else np.where(valid, block, 0)
        for place in range(window):
            rows = slice(first + place, first + place + len(block))
            sums[rows] += block[:, place]
            counts[rows] += 1 if whole else valid[:, place]
    return RowSums(sums, counts, window)


class Overlap:
    """The rows of one unbroken series whose scores are not final yet; feed it windows in the order of their rows.

    Args:
        smooth: rows that a score is the mean of, `smooth // 2` on either side; 0 and 1 for the row alone.

    >>> overlap = Overlap()
    >>> overlap.add(np.array([[1.0, 3.0], [5.0, 7.0]])).ravel().tolist()
    [1.0, 4.0]
    >>> overlap.rest().ravel().tolist()
    [7.0]
    """

    def __init__(self, smooth: int = 1) -> None:
        if smooth < 0:
            raise ValueError(f"smooth must be 0 or more. Received: {smooth}")
        self.half = smooth // 2
        self.sums: Floats | None = None  # (window - 1, features), of rows that windows to come will hold
        self.counts = np.empty((0, 0))
        self.means = np.empty((0, 0))  # (2 * half, features), of rows before those; NaN before the first row

    def add(self, errors: Numbers | RowSums) -> Floats:
        """Take the next windows, any number of them, and return the scores that became final.

        Args:
            errors: `(windows, window, features)` or `(windows, window)`, each window one row after the one before it.
                NaN where a value was missing: it takes no part. Or their sums.

        Returns:
            `(rows, features)`, those that follow the rows returned before; without smoothing, the rows on which these
            windows start. NaN for a row without any error.

        Raises:
            ValueError: the windows have another shape than those before them.
        """
        added = errors if isinstance(errors, RowSums) else sum_windows(errors)
        (rows, features), window = added.sums.shape, added.window
        if self.sums is None:
            self.sums, self.counts = np.zeros((window - 1, features)), np.zeros((window - 1, features))
            self.means = np.full((self.half, features), np.nan)
        if self.sums.shape != (window - 1, features):
            had = (len(self.sums) + 1, self.sums.shape[1])
            raise ValueError(f"All windows must have one shape. Received: {(window, features)} after {had}")
        sums, counts = added.sums.copy(), added.counts.copy()
        sums[: window - 1] += self.sums
        counts[: window - 1] += self.counts
        count = rows - window + 1
        self.sums, self.counts = sums[count:], counts[count:]
        self.means = np.concatenate([self.means, _means(sums[:count], counts[:count])])
        final = _smoothed(self.means, self.half)
        self.means = self.means[len(final) :]
        return final

    def rest(self) -> Floats:
        """The provisional scores of the rows not returned yet, the last ones `(rows, features)`, as of now."""
        if self.sums is None:
            return np.empty((0, 1))
        after = np.full((self.half, self.sums.shape[1]), np.nan)
        return _smoothed(np.concatenate([self.means, _means(self.sums, self.counts), after]), self.half)


def _means(sums: Numbers, counts: Numbers) -> Floats:
    means: Floats = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0)
    return means


def _smoothed(means: Floats, half: int) -> Floats:
    """Means over `2 * half + 1` rows `(rows - 2 * half, features)`, without the rows that are NaN."""
    if not half:
        return means
    if len(means) <= 2 * half:
        return means[:0]
    valid = ~np.isnan(means)
    # Summed anew for every row: a running sum would carry the rounding of one huge score into all that follow.
    sums = sliding_window_view(np.where(valid, means, 0), 2 * half + 1, axis=0).sum(axis=-1)
    return _means(sums, sliding_window_view(valid, 2 * half + 1, axis=0).sum(axis=-1))


def mean_errors(blocks: Numbers | Iterable[Numbers | RowSums], smooth: int = 1) -> Floats:
    """The mean error of every row and feature over the windows in which it stands, see `Overlap`.

    Args:
        blocks: `(windows, window[, features])` errors of windows at every row, at once or in blocks of any size, or the
            sums of blocks.
        smooth: rows that a score is the mean of.

    Returns:
        `(windows + window - 1, features)`: nothing but this and one block is held.
    """
    overlap = Overlap(smooth)
    final = [overlap.add(block) for block in ([blocks] if isinstance(blocks, np.ndarray) else blocks)]
    return np.concatenate([*final, overlap.rest()])


def weight_errors(errors: Callable[[Numbers], RowSums], weights: Numbers) -> Callable[[Numbers], RowSums]:
    """The same errors with those of each feature times its weight, `(features,)`."""

    def adding(rows: Numbers) -> RowSums:
        found = errors(rows)
        return found._replace(sums=found.sums * weights)

    return adding


def feature_weights(by_feature: Numbers, spread: Numbers) -> Floats:
    """What brings the usual errors of all features nearer to one another, `(features,)`; 1 for one alone.

    A score is the mean over the features, in which the one that is told worst would hide what befalls the others. Each
    counts by the root of its mean error: in multiples of that error itself, what an anomaly of one feature does to the
    window's code, and so to the others that are told well, would be as loud as the anomaly. (So flow was blamed for the
    bearing of the pump of `lstm_ae.data.synthetic`; by the root, vibration is.) All are times the root of the mean over
    the features, so that a score stays of the size of an error. Errors of less than a hundredth of the standard
    deviation are no smaller than that, and a feature that never varies is weighed no more than the mean.

    Args:
        by_feature: `(rows, features)` errors of normal rows; NaN where there is none.
        spread: `(features,)` variances of these features in normal rows.
    """
    valid = ~np.isnan(by_feature)
    usual = _means(np.where(valid, by_feature, 0).sum(axis=0), valid.sum(axis=0))
    if not (usual > 0).any():
        return np.ones(len(usual))
    mean = np.nanmean(usual)
    least = np.where(spread > 0, LEAST * spread, mean)
    weights: Floats = np.where(np.isnan(usual), 1.0, np.sqrt(mean / np.maximum(usual, least)))
    return weights


def row_scores(by_feature: Numbers) -> Floats:
    """One score a row, the mean over the features that are there: `(rows, features)` to `(rows,)`."""
    by_feature = np.asarray(by_feature, np.float64)
    valid = ~np.isnan(by_feature)
    return _means(np.where(valid, by_feature, 0).sum(axis=1), valid.sum(axis=1))
