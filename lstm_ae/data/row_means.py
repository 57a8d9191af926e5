"""Windows at every row, in batches, and means per row over all windows that contain the row.

A window starts at every row, so that a row belongs to up to `window` windows, at a different position in each. Its
mean is that over all of them. It does not depend on where the series was cut, except for the first and last rows, which
belong to fewer windows. It is final after `window - 1` further rows.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.panel import run_bounds

# Values per block, such that a block stays in the processor's cache.
BLOCK = 1 << 18

# Windows per batch, and values of these windows.
MAX_BATCH, BATCH_VALUES = 2048, 1 << 23


class RowSums(NamedTuple):
    """Sums per row over all windows that contain the row, so that the windows need not be stored.

    Args:
        sums: `(windows + window - 1, features)` float64; the first window starts at the first row.
        counts: number of values in each sum, of the same shape.
        window: rows per window.
    """

    sums: Float64Array
    counts: Float64Array
    window: int


# A function from rows `(windows + window - 1, features)` in original units to the sums over their windows.
RowFunction = Callable[[Array], RowSums]

# A function from such rows to the residuals of their windows, that is, reconstructions minus values in scaled units,
# `(windows, window, features)`; NaN where a value is missing.
Residuals = Callable[[Array], Array]


def view_windows(rows: Array, window: int) -> Array:
    """Return a view of the windows at every row, `(windows, window, features)`."""
    return np.moveaxis(sliding_window_view(rows, window, axis=0), -1, 1)


def sliding_windows(rows: Array, window: int) -> Array:
    """Return a copy of the windows at every row, `(windows, window, features)`.

    >>> sliding_windows(np.array([[1], [2], [3]]), 2).tolist()
    [[[1], [2]], [[2], [3]]]
    """
    return np.ascontiguousarray(view_windows(rows, window))


def batch_size(window: int, features: int) -> int:
    """Return the number of windows per batch.

    >>> batch_size(window=60, features=3), batch_size(window=1440, features=20)
    (2048, 291)
    """
    return max(1, min(MAX_BATCH, BATCH_VALUES // (window * features)))


def batches_at_once(window: int, features: int) -> int:
    """Return the number of batches that may be in memory at the same time."""
    return max(2, BATCH_VALUES // (batch_size(window, features) * window * features))


def window_blocks(first: int, end: int, window: int, features: int) -> Iterator[slice]:
    """Yield the rows of all windows from row `first` to row `end` - 1, one batch of windows at a time.

    Args:
        first, end: the rows.
        window: steps per window.
        features: values of a row.
    """
    size = batch_size(window, features)
    for start in range(first, end - window + 1, size):
        yield slice(start, min(start + size + window - 1, end))


def window_segments(segment: Array, window: int) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each segment with at least one window.

    >>> list(window_segments(np.array([0, 0, 0, 1, 2, 2]), window=2))
    [(0, 3), (4, 6)]
    """
    for first, end in run_bounds(segment):
        if end - first >= window:
            yield first, end


def sum_windows(values: Array) -> RowSums:
    """Sum the values of windows at every row per row; NaN is ignored.

    Args:
        values: `(windows, window[, features])`, each window one row after the previous one.

    >>> sum_windows(np.array([[1.0, 3.0], [5.0, 7.0]])).sums.ravel().tolist()
    [1.0, 8.0, 7.0]
    """
    values = np.asarray(values)
    values = values[..., None] if values.ndim == 2 else values
    count, window, features = values.shape
    sums, counts = np.zeros((2, count + window - 1, features))
    for first in range(0, count, size := max(1, BLOCK // (window * features))):
        block = values[first : first + size]
        # A value that is repeated in all rows of its window is examined only once.
        missing = np.isnan(block[:, :1] if block.strides[1] == 0 else block)
        valid = None
        if missing.any():
            valid = ~np.broadcast_to(missing, block.shape)
            block = np.where(valid, block, 0)
        else:
            ends = np.arange(1, len(block) + window)
            containing = np.minimum(np.minimum(ends, ends[::-1]), min(window, len(block)))
            counts[first : first + len(ends)] += containing[:, None]
        if len(block) < window:
            # The windows of a row are added in the same order as below, the last one first.
            for number in range(len(block) - 1, -1, -1):
                rows = slice(first + number, first + number + window)
                sums[rows] += block[number]
                if valid is not None:
                    counts[rows] += valid[number]
            continue
        rows = slice(first, first + len(block) + window - 1)
        sums[rows] += _sum_diagonals(block)
        if valid is not None:
            counts[rows] += _sum_diagonals(valid)
    return RowSums(sums, counts, window)


def _sum_diagonals(values: Array) -> Float64Array:
    """Return the sums `(windows + window - 1, features)` of `(windows, window, features)` per row.

    NumPy adds all steps in one operation, during which other threads can run.
    """
    count, window, features = values.shape
    # One step stands for all of equal ones.
    steps = 1 if values.strides[1] == 0 else window
    padded = np.zeros((steps, features, count + 2 * window - 2), values.dtype)
    padded[..., window - 1 : window - 1 + count] = values[:, :steps].transpose(1, 2, 0)
    step, feature, one = padded.strides
    step = step if steps > 1 else 0
    # The window whose row `t` is row `r` starts at `r - t`.
    shape, strides = (window, features, count + window - 1), (step - one, feature, one)
    diagonals = as_strided(padded[..., window - 1 :], shape, strides, writeable=False)
    sums: Float64Array = np.add.reduce(diagonals, axis=0, dtype=np.float64)
    return sums.T


class Overlap:
    """Incremental means per row of one segment from windows in the order of their rows.

    >>> overlap = Overlap()
    >>> overlap.add(np.array([[1.0, 3.0], [5.0, 7.0]])).ravel().tolist()
    [1.0, 4.0]
    >>> overlap.rest().ravel().tolist()
    [7.0]
    """

    def __init__(self) -> None:
        self.sums: Float64Array | None = None  # (window - 1, features), of rows that later windows contain
        self.counts = np.empty((0, 0))

    def add(self, values: Array | RowSums) -> Float64Array:
        """Add any number of windows and return the means that became final.

        Args:
            values: `(windows, window, features)` or `(windows, window)`, each window one row after the previous one,
                NaN where a value is missing; or the sums of such windows.

        Returns:
            `(windows, features)` means of the first row of each window. NaN for rows without any value.
        """
        added = values if isinstance(values, RowSums) else sum_windows(values)
        (rows, features), window = added.sums.shape, added.window
        if self.sums is None:
            self.sums, self.counts = np.zeros((window - 1, features)), np.zeros((window - 1, features))
        sums, counts = added.sums.copy(), added.counts.copy()
        sums[: window - 1] += self.sums
        counts[: window - 1] += self.counts
        count = rows - window + 1
        self.sums, self.counts = sums[count:], counts[count:]
        return _means(sums[:count], counts[:count])

    def rest(self) -> Float64Array:
        """Return the provisional means of the rows that are not final yet, `(rows, features)`."""
        if self.sums is None:
            return np.empty((0, 1))
        return _means(self.sums, self.counts)


def _means(sums: Array, counts: Array) -> Float64Array:
    means: Float64Array = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0)
    return means


def mean_windows(blocks: Array | Iterable[Array | RowSums]) -> Float64Array:
    """Return the mean of every row and feature over the windows that contain it, see `Overlap`.

    Args:
        blocks: `(windows, window[, features])` values of windows at every row, as one array, as blocks of any size, or
            as sums of blocks. Only one block is in memory at a time.

    Returns:
        `(windows + window - 1, features)`.
    """
    overlap = Overlap()
    final = [overlap.add(block) for block in ([blocks] if isinstance(blocks, np.ndarray) else blocks)]
    return np.concatenate([*final, overlap.rest()])


def mean_over_features(values: Array) -> Float64Array:
    """Return the mean over the features that have a value: `(rows, features)` to `(rows,)`; NaN where none has."""
    values = np.asarray(values, np.float64)
    valid = ~np.isnan(values)
    return _means(np.where(valid, values, 0).sum(axis=1), valid.sum(axis=1))
