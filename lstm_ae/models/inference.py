"""Apply a model to a whole split, batch by batch, in the data's own units."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lstm_ae.data.scaling import OF_MANY
from lstm_ae.data.windows import OPEN, Split
from lstm_ae.errors import DataError

Floats = NDArray[np.float32]


class InferenceBatch(NamedTuple):
    """Samples, what the model was given of them, and what it returned, all in own units.

    Args:
        samples: which samples of the split.
        window: `(samples, span, features)`, everything a sample covers.
        company: `(samples,)` lines of the scale table, of companies or series, or None.
        outputs: the model's outputs by name.
    """

    samples: slice
    window: Floats
    company: NDArray[np.int32] | None
    outputs: dict[str, Floats]


def predict_split(model: Any, split: Split, *, steps: int | None = None, size: int = 1024) -> Iterator[InferenceBatch]:
    """Run the model over every sample of the split, none dropped.

    Args:
        model: a model in own units with one series input, and one for lines where the split has them.
        steps: how many steps of each sample the model reads; all of them where None.
        size: samples in a batch.

    Raises:
        DataError: the model reads other windows than the split has.
    """
    (reads,) = (spec.shape[1:] for spec in input_signature(model).values() if len(spec.shape) == 3)
    has = (split.span if steps is None else steps, split.features)
    if reads[1] != has[1] or reads[0] not in (None, has[0]):
        raise DataError(f"The model reads windows of {tuple(reads)} and the data has some of {has}; give its own data")
    call = tf.function(lambda inputs: model(inputs, training=False), input_signature=[input_signature(model)])
    for index in split.batches(size):
        window, company = split.windows(index), split.companies(index)
        following = None if steps is None else window[:, steps:]
        outputs = call(model_inputs(model, window[:, :steps], company, following))
        yield InferenceBatch(index, window, company, {key: value.numpy() for key, value in outputs.items()})


def input_signature(model: Any) -> dict[str, Any]:
    """The model's inputs as TensorFlow specifies them: one trace then serves every batch size and length."""
    return {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in model.input.items()}


def model_inputs(
    model: Any, series: Floats, company: NDArray[np.int32] | None, following: Floats | None = None
) -> dict[str, Any]:
    """The model's inputs by name; an absent company, or series, is "unknown".

    Args:
        following: `(samples, any, features)`, the days after the series: a model may be told the open of the first.
    """
    names = list(model.input)
    inputs = {name: tf.constant(series) for name in names if name not in (*OF_MANY, "open")}
    if "open" in names:
        assert following is not None
        inputs["open"] = tf.constant(following[:, 0, OPEN])
    for name in set(names).intersection(OF_MANY):
        inputs[name] = tf.constant(np.zeros(len(series), np.int32) if company is None else company)
    return inputs
