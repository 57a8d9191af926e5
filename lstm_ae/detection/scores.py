"""Anomaly scores of rows from the errors of overlapping windows.

A window starts at every row, so that a row belongs to up to `window` windows, at a different position in each. Its
score is the mean of its errors over all of them and, with smoothing, over the rows around it, which reveals long
anomalies of small amplitude. The score does not depend on where the series was cut, except for the first and last rows,
which belong to fewer windows. It is final after `window - 1 + smooth // 2` further rows.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ae.arrays import Array, Float64Array

# Values per block, such that a block stays in the processor's cache.
BLOCK = 1 << 18

# Minimum mean error of a feature, relative to its variance, in the weights.
LEAST = 1e-4


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


def sum_windows(values: Array) -> RowSums:
    """Sum the values of windows at every row per row; NaN is ignored.

    Args:
        values: `(windows, window[, features])`, each window one row after the previous one.

    Raises:
        ValueError: the shape is different.

    >>> sum_windows(np.array([[1.0, 3.0], [5.0, 7.0]])).sums.ravel().tolist()
    [1.0, 8.0, 7.0]
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
        for step in range(window):
            rows = slice(first + step, first + step + len(block))
            sums[rows] += block[:, step]
            counts[rows] += 1 if whole else valid[:, step]
    return RowSums(sums, counts, window)


class Overlap:
    """Incremental scores of one segment from windows in the order of their rows.

    Args:
        smooth: number of rows that a score averages, `smooth // 2` on either side; 0 and 1 for no smoothing.

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
        self.sums: Float64Array | None = None  # (window - 1, features), of rows that later windows contain
        self.counts = np.empty((0, 0))
        self.means = np.empty((0, 0))  # (2 * half, features), of rows before those; NaN before the first row

    def add(self, errors: Array | RowSums) -> Float64Array:
        """Add any number of windows and return the scores that became final.

        Args:
            errors: `(windows, window, features)` or `(windows, window)`, each window one row after the previous one,
                NaN where a value was missing; or the sums of such windows.

        Returns:
            `(rows, features)` scores of the rows after those returned before; without smoothing, of the first row of
            each window. NaN for rows without any error.

        Raises:
            ValueError: the shape of the windows differs from that of earlier windows.
        """
        added = errors if isinstance(errors, RowSums) else sum_windows(errors)
        (rows, features), window = added.sums.shape, added.window
        if self.sums is None:
            self.sums, self.counts = np.zeros((window - 1, features)), np.zeros((window - 1, features))
            self.means = np.full((self.half, features), np.nan)
        if self.sums.shape != (window - 1, features):
            before = (len(self.sums) + 1, self.sums.shape[1])
            raise ValueError(f"All windows must have the same shape. Received: {(window, features)} after {before}")
        sums, counts = added.sums.copy(), added.counts.copy()
        sums[: window - 1] += self.sums
        counts[: window - 1] += self.counts
        count = rows - window + 1
        self.sums, self.counts = sums[count:], counts[count:]
        self.means = np.concatenate([self.means, _means(sums[:count], counts[:count])])
        final = _smoothed(self.means, self.half)
        self.means = self.means[len(final) :]
        return final

    def rest(self) -> Float64Array:
        """Return the provisional scores of the rows that are not final yet, `(rows, features)`."""
        if self.sums is None:
            return np.empty((0, 1))
        after = np.full((self.half, self.sums.shape[1]), np.nan)
        return _smoothed(np.concatenate([self.means, _means(self.sums, self.counts), after]), self.half)


def _means(sums: Array, counts: Array) -> Float64Array:
    means: Float64Array = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0)
    return means


def _smoothed(means: Float64Array, half: int) -> Float64Array:
    """Return moving averages over `2 * half + 1` rows, `(rows - 2 * half, features)`, ignoring NaN."""
    if not half:
        return means
    if len(means) <= 2 * half:
        return means[:0]
    valid = ~np.isnan(means)
    # Each sum is computed separately: a running sum would carry the rounding error of a huge score into later rows.
    sums = sliding_window_view(np.where(valid, means, 0), 2 * half + 1, axis=0).sum(axis=-1)
    return _means(sums, sliding_window_view(valid, 2 * half + 1, axis=0).sum(axis=-1))


def mean_errors(blocks: Array | Iterable[Array | RowSums], smooth: int = 1) -> Float64Array:
    """Return the mean error of every row and feature over the windows that contain it, see `Overlap`.

    Args:
        blocks: `(windows, window[, features])` errors of windows at every row, as one array, as blocks of any size, or
            as sums of blocks. Only one block is in memory at a time.
        smooth: number of rows that a score averages.

    Returns:
        `(windows + window - 1, features)`.
    """
    overlap = Overlap(smooth)
    final = [overlap.add(block) for block in ([blocks] if isinstance(blocks, np.ndarray) else blocks)]
    return np.concatenate([*final, overlap.rest()])


def weight_errors(errors: Callable[[Array], RowSums], weights: Array) -> Callable[[Array], RowSums]:
    """Return the error function with each feature's errors multiplied by its weight, `(features,)`."""

    def weighted(rows: Array) -> RowSums:
        unweighted = errors(rows)
        return unweighted._replace(sums=unweighted.sums * weights)

    return weighted


def feature_weights(by_feature: Array, spread: Array) -> Float64Array:
    """Return weights that reduce differences between the typical errors of features, `(features,)`; 1 for one feature.

    A score is the mean over the features, in which the feature with the largest errors would dominate. Each weight is
    proportional to the reciprocal root of the feature's mean error. Dividing by the mean error itself would overweight
    well reconstructed features, which an anomaly of another feature affects through the code: for the bearing failure
    of the pump in `lstm_ae.data.synthetic` it ranks flow above vibration. Weights are scaled so that scores keep the
    magnitude of errors. Mean errors are at least 1% of the standard deviation, squared, and a constant feature has at
    most the weight of a feature with the mean error.

    Args:
        by_feature: `(rows, features)` errors of normal rows; NaN where there is none.
        spread: `(features,)` variances of the features in normal rows.
    """
    valid = ~np.isnan(by_feature)
    usual = _means(np.where(valid, by_feature, 0).sum(axis=0), valid.sum(axis=0))
    if not (usual > 0).any():
        return np.ones(len(usual))
    mean = np.nanmean(usual)
    least = np.where(spread > 0, LEAST * spread, mean)
    weights: Float64Array = np.where(np.isnan(usual), 1.0, np.sqrt(mean / np.maximum(usual, least)))
    return weights


def row_scores(by_feature: Array) -> Float64Array:
    """Return the mean over the features that have a score: `(rows, features)` to `(rows,)`."""
    by_feature = np.asarray(by_feature, np.float64)
    valid = ~np.isnan(by_feature)
    return _means(np.where(valid, by_feature, 0).sum(axis=1), valid.sum(axis=1))
