"""Reconstruction metrics and baselines shared by several studies."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Metric, mean_over_batches, pca_error
from lstm_ae.models.network import Network

if TYPE_CHECKING:
    from lstm_ae.models.inference import InferenceBatch


def code_size(model: Network) -> int | None:
    """Return the size of a `vector` code; None if the code has one state per step."""
    return model.code[1] if len(model.code) == 2 else None


def measure_reconstruction(
    model: Network, data: Data, split: Split, *others: "Callable[[InferenceBatch], Array]"
) -> tuple[Metric, list[float]]:
    """Return the scaled MSE of the reconstructions of a split, and the means of other quantities.

    The baselines are the mean training sequence and, for a `vector` code, PCA of equal size.

    Args:
        model: the model.
        data: its data.
        split: the split.
        others: functions from a batch of outputs to the values of the other quantities.
    """
    from lstm_ae.models.inference import predict_split

    def squared_error(batch: "InferenceBatch") -> Array:
        reconstructed, window = (
            data.scale.scaled(values, batch.window, batch.lines)
            for values in (batch.outputs["reconstruction"], batch.window)
        )
        return (reconstructed - window) ** 2

    functions = (squared_error, *others)
    mse, *means = mean_over_batches(
        [function(batch) for function in functions] for batch in predict_split(model, split)
    )
    train, other = (_flat(data, each) for each in (data.train, split))
    baselines = {"mean sequence": float(np.mean((other - train.mean(axis=0)) ** 2, dtype=np.float64))}
    if size := code_size(model):
        size = min(size, len(train))
        baselines[f"PCA with {size} numbers"] = pca_error(train, other, size)
    return Metric(mse, "scaled", baselines), means


def _flat(data: Data, split: Split) -> Array:
    windows = split.windows()
    return data.scale.scaled(windows, windows, split.lines()).reshape(split.samples, -1)
