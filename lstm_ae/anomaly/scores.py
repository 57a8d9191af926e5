"""From the errors of overlapping windows to a score for every row.

A window starts at every row, so that a row stands in up to `window` of them, each time at another place. Its score is
the mean of its errors over all of them, and, where scores are smoothed, over the rows around it: a day that is a little
wrong throughout has no high score anywhere, yet a high mean. The score does not depend on where the series was cut, but
for the first and the last rows, which stand in fewer windows. It is final once the rows that it depends on have come,
`window - 1 + smooth // 2` of them.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

# Numbers that are added up at a time: a block that stays in the processor's cache.
BLOCK = 1 << 18


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

    def add(self, errors: Numbers) -> Floats:
        """Take the next windows, any number of them, and return the scores that became final.

        Args:
            errors: `(windows, window, features)` or `(windows, window)`, each window one row after the one before it.
                NaN where a value was missing: it takes no part.

        Returns:
            `(rows, features)`, those that follow the rows returned before; without smoothing, the rows on which these
            windows start. NaN for a row without any error.

        Raises:
            ValueError: the windows have another shape than those before them.
        """
        errors = np.asarray(errors)
        errors = errors[..., None] if errors.ndim == 2 else errors
        if errors.ndim != 3 or not errors.shape[1] or not errors.shape[2]:
            raise ValueError(f"errors must be (windows, window[, features]). Received: shape {errors.shape}")
        _, window, features = errors.shape
        if self.sums is None:
            self.sums, self.counts = np.zeros((window - 1, features)), np.zeros((window - 1, features))
            self.means = np.full((self.half, features), np.nan)
        if self.sums.shape != (window - 1, features):
            had = (len(self.sums) + 1, self.sums.shape[1])
            raise ValueError(f"All windows must have one shape. Received: {(window, features)} after {had}")
        size = max(1, BLOCK // (window * features))
        means = [self.means] + [self._add(errors[start : start + size]) for start in range(0, len(errors), size)]
        self.means = np.concatenate(means)
        final = _smoothed(self.means, self.half)
        self.means = self.means[len(final) :]
        return final

    def rest(self) -> Floats:
        """The provisional scores of the rows not returned yet, the last ones `(rows, features)`, as of now."""
        if self.sums is None:
            return np.empty((0, 1))
        after = np.full((self.half, self.sums.shape[1]), np.nan)
        return _smoothed(np.concatenate([self.means, _means(self.sums, self.counts), after]), self.half)

    def _add(self, errors: Numbers) -> Floats:
        assert self.sums is not None
        count, window, features = errors.shape
        sums = np.concatenate([self.sums, np.zeros((count, features))])
        counts = np.concatenate([self.counts, np.zeros((count, features))])
        valid = ~np.isnan(errors)
        whole = bool(valid.all())
        errors = errors if whole else np.where(valid, errors, 0)
        for place in range(window):
            sums[place : place + count] += errors[:, place]
            counts[place : place + count] += 1 if whole else valid[:, place]
        self.sums, self.counts = sums[count:], counts[count:]
        return _means(sums[:count], counts[:count])


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


def averages(blocks: Numbers | Iterable[Numbers], smooth: int = 1) -> Floats:
    """The mean error of every row and feature over the windows in which it stands, see `Overlap`.

    Args:
        blocks: `(windows, window[, features])` errors of windows at every row, at once or in blocks of any size.
        smooth: rows that a score is the mean of.

    Returns:
        `(windows + window - 1, features)`: nothing but this and one block is held.
    """
    overlap = Overlap(smooth)
    final = [overlap.add(block) for block in ([blocks] if isinstance(blocks, np.ndarray) else blocks)]
    return np.concatenate([*final, overlap.rest()])


def row_scores(by_feature: Numbers) -> Floats:
    """One score a row, the mean over the features that are there: `(rows, features)` to `(rows,)`."""
    by_feature = np.asarray(by_feature, np.float64)
    valid = ~np.isnan(by_feature)
    return _means(np.where(valid, by_feature, 0).sum(axis=1), valid.sum(axis=1))
