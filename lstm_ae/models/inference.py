"""Apply a model to all samples of a split, in batches and in the data's original units."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lstm_ae.arrays import Float32Array
from lstm_ae.data.scaling import GROUPED_KINDS
from lstm_ae.data.windows import OPEN_FEATURE, Split
from lstm_ae.errors import Code, DataError

# Inputs or outputs of a model by name, and their types.
Tensors = dict[str, tf.Tensor]
Specs = dict[str, tf.TensorSpec]

# The traced functions of the models that exist: tracing takes longer than a small split.
_TRACED: "weakref.WeakKeyDictionary[keras.Model, Callable[[Tensors], Tensors]]" = weakref.WeakKeyDictionary()


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


def predict_split(
    model: keras.Model, split: Split, *, steps: int | None = None, size: int = 1024
) -> Iterator[InferenceBatch]:
    """Apply the model to every sample of the split; the last batch may be smaller.

    Args:
        model: a model in original units with one sequence input and, for splits of several series, an input for the
            row of the scale table.
        split: samples to predict.
        steps: number of steps of each sample that the model reads; None for all.
        size: samples per batch.

    Yields:
        One `InferenceBatch` per batch, in the order of the samples.

    Raises:
        DataError: window length or number of features differ from the model's.
    """
    (reads,) = (spec.shape[1:] for spec in input_signature(model).values() if len(spec.shape) == 3)
    has = (split.span if steps is None else steps, split.features)
    if reads[1] != has[1] or reads[0] not in (None, has[0]):
        raise DataError(
            f"The model reads windows of shape {tuple(reads)}; the data has windows of shape {has}. "
            "Pass data with the columns and the window length of the training data.",
            code=Code.PREDICTION_INPUT,
        )
    call = traced(model)
    for index in split.batches(size):
        window, lines = split.windows(index), split.lines(index)
        following = None if steps is None else window[:, steps:]
        outputs = call(model_inputs(model, window[:, :steps], lines, following))
        yield InferenceBatch(index, window, lines, {key: value.numpy() for key, value in outputs.items()})


def traced(model: keras.Model) -> Callable[[Tensors], Tensors]:
    """Return a function from a model's inputs to its outputs by name that is traced once for all batch sizes.

    It reads the weights that the model has when it is called, and does not keep the model alive.
    """
    if model not in _TRACED:
        alive: Callable[[], Any] = weakref.ref(model)
        _TRACED[model] = tf.function(
            lambda inputs: alive()(inputs, training=False), input_signature=[input_signature(model)], autograph=False
        )
    return _TRACED[model]


def input_signature(model: keras.Model) -> Specs:
    """Return a `tf.TensorSpec` per model input, so that one trace serves every batch size and length."""
    return {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in model.input.items()}


def model_inputs(
    model: keras.Model, series: Float32Array, lines: NDArray[np.int32] | None, following: Float32Array | None = None
) -> Tensors:
    """Return the model's inputs by name.

    Args:
        model: a model in original units.
        series: `(samples, steps, features)`.
        lines: `(samples,)` lines of the scale table; None for the unknown series.
        following: `(samples, any, features)`, the days after the series; required if the model reads the next open.
    """
    names = list(model.input)
    inputs = {name: tf.constant(series) for name in names if name not in (*GROUPED_KINDS, "open")}
    if "open" in names:
        assert following is not None
        inputs["open"] = tf.constant(following[:, 0, OPEN_FEATURE])
    for name in set(names).intersection(GROUPED_KINDS):
        inputs[name] = tf.constant(np.zeros(len(series), np.int32) if lines is None else lines)
    return inputs
