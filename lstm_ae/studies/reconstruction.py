"""Reconstruction metrics and baselines shared by several studies."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Metric, RunningMean, pca_error
from lstm_ae.models.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lstm_ae.models.inference import InferenceBatch


def code_size(model: Network) -> int | None:
    """Return the size of a `vector` code; None if the code has one state per step."""
    return model.code[1] if len(model.code) == 2 else None


def measure_reconstruction(
    batches: "Iterable[InferenceBatch]", data: Data, error: RunningMean
) -> "Iterator[InferenceBatch]":
    """Yield the batches unchanged and add their squared scaled reconstruction errors to `error`."""
    for batch in batches:
        reconstructed, window = (
            data.scale.scaled(values, batch.window, batch.lines)
            for values in (batch.outputs["reconstruction"], batch.window)
        )
        error.add((reconstructed - window) ** 2)
        yield batch


def reconstruction(model: Network, data: Data, split: Split, error: RunningMean) -> Metric:
    """Return the scaled MSE with those of the mean training sequence and, for a `vector` code, of PCA of equal size."""
    train, other = _flat(data, data.train), _flat(data, split)
    baselines = {"mean sequence": float(np.mean((other - train.mean(axis=0)) ** 2, dtype=np.float64))}
    if size := code_size(model):
        size = min(size, len(train))
        baselines[f"PCA with {size} numbers"] = pca_error(train, other, size)
    return Metric(error.value, "scaled", baselines)


def _flat(data: Data, split: Split) -> Array:
    windows = split.windows()
    return data.scale.scaled(windows, windows, split.lines()).reshape(split.samples, -1)
