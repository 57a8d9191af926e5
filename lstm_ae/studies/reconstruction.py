"""What the studies share that give a sequence back: its measures and their baselines."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_ae.data.windows import Data, Split
from lstm_ae.evaluation import Metric, RunningMean, pca_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lstm_ae.models.inference import InferenceBatch


def code_size(model: Any) -> int | None:
    """Numbers in the code of a `vector` latent; None where the decoder sees every step."""
    from lstm_ae.models.scaling import inner_network

    shape = inner_network(model).get_layer("code").output.shape
    return int(shape[1]) if len(shape) == 2 else None


def measure_reconstruction(
    batches: "Iterable[InferenceBatch]", data: Data, error: RunningMean
) -> "Iterator[InferenceBatch]":
    """Pass the batches on and add their squared scaled errors of reconstruction."""
    for batch in batches:
        given_back, window = (
            data.scale.scaled(values, batch.window, batch.company)
            for values in (batch.outputs["reconstruction"], batch.window)
        )
        error.add((given_back - window) ** 2)
        yield batch


def reconstruction(model: Any, data: Data, split: Split, error: RunningMean) -> Metric:
    """Scaled MSE beside that of the mean training sequence, and of PCA with as many numbers where there is a code."""
    train, other = _flat(data, data.train), _flat(data, split)
    baselines = {"mean sequence": float(np.mean((other - train.mean(axis=0)) ** 2, dtype=np.float64))}
    if size := code_size(model):
        size = min(size, len(train))
        baselines[f"PCA with {size} numbers"] = pca_error(train, other, size)
    return Metric(error.value, "scaled", baselines)


def _flat(data: Data, split: Split) -> Any:
    windows = split.windows()
    return data.scale.scaled(windows, windows, split.companies()).reshape(split.samples, -1)
