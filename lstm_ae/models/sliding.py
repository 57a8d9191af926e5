"""Apply a table's autoencoder to windows of its rows."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Float32Array
from lstm_ae.config import Series
from lstm_ae.detection.row_means import Residuals, sliding_windows
from lstm_ae.errors import Code, DataError
from lstm_ae.kernels.choice import FEW_STEPS
from lstm_ae.models.network import Network
from lstm_ae.models.numpy_network import NumpyNetwork


class SlidingAutoencoder(NamedTuple):
    """Encoder and decoder of an autoencoder, applied to windows of rows.

    Rows are `(rows, features)` in the common scale of all series, NaN where missing.

    Args:
        window: steps per window.
        features: values per step.
        code: size of the code.
        encode: rows to the codes of the windows at every row, `(windows, code)`.
        rebuild: rows and a stride to the reconstructions of the windows at every `stride`-th row, `(windows, window,
            features)`; NaN for windows without any value.
        residuals: rows and a stride to the residuals of these windows.
    """

    window: int
    features: int
    code: int
    encode: Callable[[Array], Float32Array]
    rebuild: Residuals
    residuals: Residuals


def empty_windows(rows: Array, window: int) -> BoolArray:
    """Return which windows contain no value: `(windows + window - 1, features)` to `(windows,)`."""
    counts = np.r_[0, np.cumsum(~np.isnan(rows).all(axis=1))]
    return np.asarray(counts[window:] == counts[:-window])


def slide(network: Network, config: Series, *, repeated: bool = False) -> SlidingAutoencoder:
    """Split a trained model into encoder and decoder for sliding windows.

    Args:
        network: in original units, as stored in a run on a table.
        config: config of its run.
        repeated: whether the kernels of this package compute all windows, because equal rows must give equal results
            each time; else NumPy computes the first ones, so that few are computed without importing Numba.

    Raises:
        DataError: Keras must compute the model.
    """
    computed = network.without_keras(config)
    if not isinstance(computed, NumpyNetwork):
        raise DataError("The model is no autoencoder that NumPy computes. Train a new run", code=Code.MODEL_UNUSABLE)
    choice, (window, features) = computed.layers.choice, computed.inner.input_sizes["sequence"]
    choice.few = min(choice.few, 0 if repeated else FEW_STEPS)
    code = computed.encode(np.zeros((0, window, features), np.float32)).shape[1]

    def scaled(rows: Array, stride: int) -> Array:
        if config.scale == "window":
            return computed.scaling({"sequence": sliding_windows(rows, window, stride)})["scaled"]
        # All windows have the same scale, so that each row is scaled once.
        return sliding_windows(computed.scaling({"sequence": rows[None]})["scaled"][0], window, stride)

    def residuals(rows: Array, stride: int) -> Float32Array:
        windows = scaled(rows, stride)
        reconstructions = computed.inner({"sequence": windows})["reconstruction"]
        with np.errstate(over="ignore", invalid="ignore"):
            reconstructions -= windows
        return reconstructions

    def rebuild(rows: Array, stride: int) -> Float32Array:
        windows = computed({"sequence": sliding_windows(rows, window, stride)})["reconstruction"]
        windows[empty_windows(rows, window)[::stride]] = np.nan
        return windows

    return SlidingAutoencoder(window, features, code, lambda rows: computed.encode(scaled(rows, 1)), rebuild, residuals)
