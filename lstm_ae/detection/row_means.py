"""Windows of rows, in batches, and means per row over the windows that contain the row.

Windows start at every `stride`-th row of a segment, and one more ends at its last row, so that each row belongs to
about `ROW_WINDOWS` windows, at a different position in each. Its mean is that over all of them. More windows hardly
change it, as they overlap almost completely.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.panel import run_bounds

# Windows that contain a row, if the window is at least that long.
ROW_WINDOWS = 16

# Windows per batch, and values of these windows.
MAX_BATCH, BATCH_VALUES = 2048, 1 << 23


class RowSums(NamedTuple):
    """Sums per row over the windows of a batch that contain the row, so that the windows need not be stored.

    Args:
        first: row at which the first window starts.
        sums: `(rows, features)` float64, from that row to the end of the last window.
        counts: number of values in each sum, of the same shape.
    """

    first: int
    sums: Float64Array
    counts: Float64Array

    def join(self, other: "RowSums") -> "RowSums":
        """Return the sums of both batches, of which the other one starts at a later row."""
        skipped = other.first - self.first
        rows = max(len(self.sums), skipped + len(other.sums))
        sums, counts = np.zeros((2, rows, self.sums.shape[1]))
        for joined, mine, theirs in ((sums, self.sums, other.sums), (counts, self.counts, other.counts)):
            joined[: len(mine)] = mine
            joined[skipped : skipped + len(theirs)] += theirs
        return RowSums(self.first, sums, counts)


# A function from rows `(rows, features)` in original units and a stride to the residuals of the windows at every
# `stride`-th row, that is, reconstructions minus values in scaled units, `(windows, window, features)`; NaN where a
# value is missing.
Residuals = Callable[[Array, int], Array]


def mean_stride(window: int) -> int:
    """Return the distance of windows over which rows have means.

    >>> mean_stride(60), mean_stride(10)
    (3, 1)
    """
    return max(1, window // ROW_WINDOWS)


def view_windows(rows: Array, window: int, stride: int = 1) -> Array:
    """Return a view of the windows at every `stride`-th row, `(windows, window, features)`."""
    return np.moveaxis(sliding_window_view(rows, window, axis=0)[::stride], -1, 1)


def sliding_windows(rows: Array, window: int, stride: int = 1) -> Array:
    """Return a copy of the windows at every `stride`-th row, `(windows, window, features)`.

    >>> sliding_windows(np.array([[1], [2], [3]]), 2).tolist()
    [[[1], [2]], [[2], [3]]]
    """
    return np.ascontiguousarray(view_windows(rows, window, stride))


def batch_size(window: int, features: int) -> int:
    """Return the number of windows per batch.

    >>> batch_size(window=60, features=3), batch_size(window=1440, features=20)
    (2048, 291)
    """
    return max(1, min(MAX_BATCH, BATCH_VALUES // (window * features)))


def batches_at_once(window: int, features: int) -> int:
    """Return the number of batches that may be in memory at the same time."""
    return max(2, BATCH_VALUES // (batch_size(window, features) * window * features))


def window_blocks(first: int, end: int, window: int, features: int, stride: int = 1) -> Iterator[slice]:
    """Yield the rows of all windows from row `first` to row `end` - 1, one batch of windows at a time.

    Windows start at every `stride`-th row. If none of them ends at the last row, the last block is the one that does.

    Args:
        first, end: the rows.
        window: steps per window.
        features: values of a row.
        stride: rows from one window to the next.

    >>> list(window_blocks(0, 10, window=4, features=1, stride=4))
    [slice(0, 8, None), slice(6, 10, None)]
    """
    size = batch_size(window, features) * stride
    starts = end - window + 1
    for start in range(first, starts, size):
        last = min(start + size, starts) - 1
        yield slice(start, last - (last - start) % stride + window)
    if starts > first and (starts - 1 - first) % stride:
        yield slice(starts - 1, end)


def window_segments(segment: Array, window: int) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each segment with at least one window.

    >>> list(window_segments(np.array([0, 0, 0, 1, 2, 2]), window=2))
    [(0, 3), (4, 6)]
    """
    for first, end in run_bounds(segment):
        if end - first >= window:
            yield first, end


def sum_windows(values: Array, stride: int = 1, first: int = 0) -> RowSums:
    """Sum the values of windows per row; NaN is ignored.

    Args:
        values: `(windows, window, features)`, each window `stride` rows after the previous one.
        stride: rows from one window to the next.
        first: row at which the first window starts.

    >>> sum_windows(np.array([[[1.0], [3.0]], [[5.0], [7.0]]])).sums.ravel().tolist()
    [1.0, 8.0, 7.0]
    """
    count, window, features = values.shape
    valid = ~np.isnan(values)
    filled = np.where(valid, values, 0)
    rows = (count - 1) * stride + window
    sums, counts = np.zeros((2, count - 1 + -(-window // stride), stride, features))
    # Steps of all windows that are less than a stride apart belong to different rows.
    for number, step in enumerate(range(0, window, stride)):
        width = min(stride, window - step)
        sums[number : number + count, :width] += filled[:, step : step + width]
        counts[number : number + count, :width] += valid[:, step : step + width]
    return RowSums(first, sums.reshape(-1, features)[:rows], counts.reshape(-1, features)[:rows])


def mean_windows(blocks: Iterable[RowSums]) -> Float64Array:
    """Return the mean of every row and feature over the windows that contain it, `(rows, features)`.

    Args:
        blocks: sums of at least one batch of windows, in the order of their first rows. Only those of one batch are in
            memory at a time.
    """
    remaining = iter(blocks)
    unfinished, means = next(remaining), []
    for block in remaining:
        final = block.first - unfinished.first
        means.append(divide(unfinished.sums[:final], unfinished.counts[:final]))
        unfinished = RowSums(block.first, unfinished.sums[final:], unfinished.counts[final:]).join(block)
    return np.concatenate([*means, divide(unfinished.sums, unfinished.counts)])


def mean_over_features(values: Array) -> Float64Array:
    """Return the mean over the features that have a value: `(rows, features)` to `(rows,)`; NaN where none has."""
    values = np.asarray(values, np.float64)
    valid = ~np.isnan(values)
    return divide(np.where(valid, values, 0).sum(axis=1), valid.sum(axis=1))


def divide(sums: Array, counts: Array) -> Float64Array:
    """Return the quotients of sums and counts; NaN where the count is 0."""
    means: Float64Array = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0)
    return means
