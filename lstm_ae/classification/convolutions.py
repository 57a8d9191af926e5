"""Features of windows: random dilated convolutions, pooled over time.

A feature is the share of a window's steps at which a convolution exceeds a limit (Dempster, Schmidt, and Webb 2021,
"MiniRocket: A very fast (almost) deterministic transform for time series classification"). A linear classifier on such
features recognizes shapes anywhere in the window, which a linear map of the window itself cannot.

Values are rounded to whole numbers before the convolutions, whose weights are whole numbers as well. All sums are
then exact in single precision, so that every runtime of an exported model computes the same features.
"""

import itertools
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.artifacts import StoredArray

# Steps that a convolution reads, three of them with the weight 2 and six with -1: 84 kernels.
LENGTH = 9

# Limits of each kernel, shared among the dilations.
LIMITS = 12

# Maximum number of columns that a kernel reads.
MAX_COLUMNS = 9

# Standardized values are counted in units of 1 / RESOLUTION, up to MAX_DEVIATIONS standard deviations from the mean.
RESOLUTION, MAX_DEVIATIONS = 1024, 16

# Windows whose convolutions provide the limits.
SAMPLED_WINDOWS = 32

# The shares are centered and scaled so that they vary as much as standardized values do.
CENTER, GAIN = 0.5, 8.0

# Positions of one batch, which bounds the memory.
BATCH_POSITIONS = 1 << 15


class Convolutions(NamedTuple):
    """Convolutions of windows.

    Args:
        gains: `(columns,)` float32, the factor of each column.
        offsets: `(columns,)` float32, added after multiplication; both together standardize the column.
        dilations: `(dilations,)` steps between the values that a kernel reads.
        weights: `(dilations, LENGTH, columns, kernels)` float32 whole numbers.
        limits: `(dilations, limits, kernels)` float32, halves, which no value equals.
    """

    gains: Annotated[Float32Array, StoredArray("gains", np.floating, "input columns")]
    offsets: Annotated[Float32Array, StoredArray("offsets", np.floating, "input columns")]
    dilations: Annotated[NDArray[np.int64], StoredArray("dilations", np.integer, "dilations")]
    weights: Annotated[
        Float32Array, StoredArray("kernels", np.floating, "dilations", "kernel steps", "input columns", "kernels")
    ]
    limits: Annotated[Float32Array, StoredArray("limits", np.floating, "dilations", "limits", "kernels")]

    def features(self, windows: Array) -> Float32Array:
        """Return the features of `(samples, steps, columns)` scaled windows, `(samples, features)`.

        A missing value (NaN) counts as the mean of its column.
        """
        size = max(BATCH_POSITIONS // windows.shape[1], 1)
        batches = [self._batch_features(windows[start : start + size]) for start in range(0, len(windows), size)]
        return np.concatenate(batches) if batches else np.empty((0, self.limits.size), np.float32)

    def _batch_features(self, windows: Array) -> Float32Array:
        whole = whole_values(windows, self.gains, self.offsets)
        counts = []
        for dilation, weights, limits in zip(self.dilations, self.weights, self.limits, strict=True):
            values = convolve(whole, int(dilation), weights)
            # Sums of zeros and ones are exact in single precision, and the fastest.
            counts += [np.einsum("ntk->nk", (values > limit).astype(np.float32)) for limit in limits]
        shares: Float32Array = np.divide(np.concatenate(counts, axis=1), np.float32(windows.shape[1]), dtype=np.float32)
        return (shares - np.float32(CENTER)) * np.float32(GAIN)


def draw_convolutions(windows: Array) -> Convolutions:
    """Draw convolutions for training windows.

    The dilations are the powers of 2 with which a kernel fits into a window. Each kernel reads a random subset of the
    columns. Its limits are quantiles of its own values in random windows.

    Args:
        windows: `(samples, steps, columns)` scaled values, NaN where missing.
    """
    random = np.random.default_rng(0)
    steps, columns = windows.shape[1:]
    mean, spread = _column_moments(windows)
    gains = (1 / spread).astype(np.float32)
    offsets = (-mean / spread).astype(np.float32)
    dilations = [1 << power for power in range(LIMITS) if power == 0 or (LENGTH - 1) << power < steps]
    kernels = _kernels()
    repeated = LIMITS // len(dilations)
    sample = whole_values(windows[np.sort(random.permutation(len(windows))[:SAMPLED_WINDOWS])], gains, offsets)
    levels = _spread_levels()
    weights, limits = [], []
    for dilation in dilations:
        read = np.array([_draw_columns(random, columns) for _ in kernels], np.float32)
        # (LENGTH, columns, kernels)
        own = kernels.T[:, None, :] * read.T[None]
        values = convolve(sample, dilation, own)
        quantiles = np.empty((repeated, len(kernels)), np.float32)
        for number in range(len(kernels)):
            window_values = values[random.integers(len(sample)), :, number]
            chosen = [next(levels) for _ in range(repeated)]
            quantiles[:, number] = np.quantile(window_values, chosen, method="lower")
        limits.append(quantiles + np.float32(0.5))
        weights.append(own)
    return Convolutions(gains, offsets, np.array(dilations), np.array(weights), np.array(limits))


def whole_values(windows: Array, gains: Float32Array, offsets: Float32Array) -> Float32Array:
    """Return standardized windows in whole units of 1 / RESOLUTION; 0 where missing."""
    limit = np.float32(RESOLUTION * MAX_DEVIATIONS)
    scaled = (np.asarray(windows, np.float32) * gains + offsets) * np.float32(RESOLUTION)
    whole: Float32Array = np.rint(np.clip(np.where(np.isnan(scaled), np.float32(0), scaled), -limit, limit))
    return whole


def convolve(windows: Float32Array, dilation: int, weights: Array) -> Float32Array:
    """Return the convolutions of windows padded with zeros on both sides, `(samples, steps, filters)`.

    Args:
        windows: `(samples, steps, columns)`.
        dilation: steps between the values that a kernel reads.
        weights: `(LENGTH, columns, filters)`.
    """
    samples, steps, _ = windows.shape
    reach = LENGTH // 2 * dilation
    padded = np.pad(windows, ((0, 0), (reach, reach), (0, 0)))
    read = np.concatenate([padded[:, at * dilation : at * dilation + steps] for at in range(LENGTH)], axis=2)
    summed: Float32Array = read.reshape(samples * steps, -1) @ weights.reshape(-1, weights.shape[-1])
    return summed.reshape(samples, steps, -1)


def _kernels() -> Float32Array:
    """Return all kernels with three weights of 2 and six of -1, `(84, LENGTH)`."""
    places = list(itertools.combinations(range(LENGTH), 3))
    kernels = np.full((len(places), LENGTH), -1, np.float32)
    np.put_along_axis(kernels, np.array(places), 2, axis=1)
    return kernels


def _draw_columns(random: np.random.Generator, columns: int) -> Float32Array:
    """Return 1 for each column that a kernel reads, else 0; a number of columns is as likely as twice that number."""
    count = int(2 ** random.uniform(0, np.log2(min(columns, MAX_COLUMNS) + 1)))
    read = np.zeros(columns, np.float32)
    read[random.permutation(columns)[:count]] = 1
    return read


def _spread_levels() -> Iterator[float]:
    """Yield quantile levels that fill the unit interval evenly: multiples of the golden ratio, modulo 1."""
    golden = (np.sqrt(5) + 1) / 2
    return (number * golden % 1 for number in itertools.count(1))


def _column_moments(windows: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each column; 0 and 1 for a column without values or without variance."""
    values = windows.reshape(-1, windows.shape[-1]).astype(np.float64)
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    variance = np.where(known, np.square(values - mean), 0).sum(axis=0) / count
    return mean, np.sqrt(np.where(variance > 0, variance, 1))
