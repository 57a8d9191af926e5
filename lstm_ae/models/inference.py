"""Apply a network to all samples of a split, in batches and in the data's original units."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.data.scaling import GROUPED_KINDS
from lstm_ae.data.windows import Split
from lstm_ae.errors import Code, DataError
from lstm_ae.models.network import Network, series_input

BATCH_SIZE = 1024


class InferenceBatch(NamedTuple):
    """Batch of samples and the model's outputs for them, in original units.

    Args:
        samples: slice of the split's samples.
        window: `(samples, span, features)` all steps of each sample.
        lines: `(samples,)` lines of the scale table, or None.
        outputs: the model's outputs by name.
    """

    samples: slice
    window: Float32Array
    lines: NDArray[np.int32] | None
    outputs: dict[str, Float32Array]


def predict_split(network: Network, split: Split, *, steps: int | None = None) -> Iterator[InferenceBatch]:
    """Apply the network to every sample of the split; the last batch may be smaller.

    Args:
        network: a model in original units with one sequence input and, for splits of several series, an input for the
            row of the scale table.
        split: samples to predict.
        steps: number of steps of each sample that the model reads; None for all.

    Yields:
        One `InferenceBatch` per batch, in the order of the samples.

    Raises:
        DataError: window length or number of features differ from the model's.
    """
    reads = network.inputs[series_input(network.inputs)][1:]
    has = (split.span if steps is None else steps, split.features)
    if reads[1] != has[1] or reads[0] not in (None, has[0]):
        raise DataError(
            f"The model reads windows of shape {tuple(reads)}; the data has windows of shape {has}. "
            "Pass data with the columns and the window length of the training data.",
            code=Code.PREDICTION_INPUT,
        )
    for index in split.batches(BATCH_SIZE):
        window, lines = split.windows(index), split.lines(index)
        following = None if steps is None else window[:, steps:]
        outputs = network(model_inputs(network.inputs, window[:, :steps], lines, following))
        yield InferenceBatch(index, window, lines, outputs)


def model_inputs(
    specs: Mapping[str, Any], series: Array, lines: NDArray[np.int32] | None, following: Array | None = None
) -> dict[str, Array]:
    """Return the inputs of a model in original units by name.

    Args:
        specs: inputs by name, shapes or Keras tensors.
        series: `(samples, steps, features)`.
        lines: `(samples,)` lines of the scale table; None for the unknown series.
        following: `(samples, any, features)`, the rows after the series; required if the model reads values of them
            that are known in advance, which are the last features.
    """
    inputs: dict[str, Array] = {}
    for name, spec in specs.items():
        if name in GROUPED_KINDS:
            inputs[name] = np.zeros(len(series), np.int32) if lines is None else lines
        elif name == "known":
            assert following is not None
            inputs[name] = following[..., -getattr(spec, "shape", spec)[-1] :]
        else:
            inputs[name] = series
    return inputs
