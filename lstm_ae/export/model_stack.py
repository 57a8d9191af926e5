"""The models of several series in one graph, which the additional input `series` selects by name.

The models have the same layers, which are traced once. Each of their weights is stored as one variable with a first
axis of series, and a call gathers the weights of its series. A batch with rows of several series is divided by series:
the model of a series runs once for all of its rows, so that a batch of one series costs as much as with its own model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, DataError
from lstm_ae.export.endpoints import EndpointFunction, make_endpoints
from lstm_ae.export.samples import SERIES, encode_names
from lstm_ae.export.score_endpoint import ScoreParameters, ScoreTensors, score_arrays
from lstm_ae.models.keras_network import Tensors, trace


class StackedModel(NamedTuple):
    """The model of a series.

    Args:
        name: The name of the series.
        weights: The values of the variables of the template, in their order.
        detector: The parameters of its anomaly score; None if the models have none.
    """

    name: str
    weights: list[Array]
    detector: ScoreParameters | None = None


def make_stacked_endpoints(template: keras.Model, models: Sequence[StackedModel]) -> list[EndpointFunction]:
    """Return the endpoints of several models; each has the inputs of one model and `series` `(batch,)`, a text.

    A name that no model has is an error of the whole call.

    Args:
        template: A model with inputs and outputs in the data's units. Its variables need not have the values of any
            model. An input `series` of its own is always 0.
        models: The models, with names of their own.

    Raises:
        DataError: If the models have other parameters than values of variables in which they differ.
    """
    stack = _ModelStack(template, models)
    made = make_endpoints(template, models[0].detector, stack.current_detector)
    return [_select_by_series(each, stack) for each in made]


class _ModelStack:
    """The variables of all models, and the tensors of the one that is being traced."""

    def __init__(self, template: keras.Model, models: Sequence[StackedModel]) -> None:
        self.template, self.count = template, len(models)
        self.names = encode_names(each.name for each in models)
        self.weights = [
            tf.Variable(np.stack(values), trainable=False, name=variable.name)
            for variable, values in zip(
                template.weights, zip(*(each.weights for each in models), strict=True), strict=True
            )
        ]
        detectors = [each.detector for each in models if each.detector]
        if detectors and len(detectors) < len(models):
            raise DataError(
                "Some of the models have a threshold, and some have none. Train the fleet again",
                code=Code.RUN_DAMAGED,
            )
        self.detectors = _DetectorStack(detectors)
        self.selected: ScoreTensors | None = None

    def current_detector(self) -> ScoreTensors:
        assert self.selected is not None
        return self.selected

    @contextmanager
    def select(self, line: tf.Tensor) -> Iterator[None]:
        """Let the template compute with the tensors of one model."""
        pairs = zip(self.template.weights, self.weights, strict=True)
        self.selected = self.detectors.gather(line) if self.detectors.count else None
        with keras.StatelessScope([(variable, tf.gather(stacked, line)) for variable, stacked in pairs]):
            yield
        self.selected = None

    def find_lines(self, names: tf.Tensor) -> tf.Tensor:
        """Return the index of the model of each name, `(names,)` int32."""
        equal = tf.equal(names[:, None], tf.constant(self.names)[None])
        unknown = tf.boolean_mask(names, ~tf.reduce_any(equal, axis=1))
        # A slice, since the message is also computed if all are known.
        tf.debugging.Assert(
            tf.size(unknown) == 0,
            ["there is no model of this series; the manifest lists the names. Received:", unknown[:1]],
        )
        return tf.argmax(tf.cast(equal, tf.int8), axis=1, output_type=tf.int32)


class _DetectorStack:
    """The parameters of the anomaly scores of all models.

    The number of axes differs from model to model: they are stored one after the other.
    """

    def __init__(self, detectors: Sequence[ScoreParameters]) -> None:
        self.count = len(detectors)
        if not detectors:
            return
        if len({(each.smooth, each.max_gap, each.pads) for each in detectors}) > 1:
            raise DataError(
                "The models smooth their scores or treat gaps in different ways. Train the fleet again",
                code=Code.RUN_MISMATCH,
            )
        arrays = [score_arrays(each) for each in detectors]
        self.starts = np.cumsum([0, *(len(each.axes) for each in arrays)]).astype(np.int32)
        joined = {name: np.concatenate([getattr(each, name) for each in arrays]) for name in ("axes", "variances")}
        whole = {
            name: np.stack([getattr(each, name) for each in arrays])
            for name in ScoreTensors._fields
            if name not in joined
        }
        self.variables = {
            name: tf.Variable(values, trainable=False, name=name) for name, values in (whole | joined).items()
        }

    def gather(self, line: tf.Tensor) -> ScoreTensors:
        """Return the tensors of one model."""
        starts = tf.constant(self.starts)
        axes = tf.range(starts[line], starts[line + 1])
        return ScoreTensors(
            **{
                name: tf.gather(variable, axes if name in ("axes", "variances") else line)
                for name, variable in self.variables.items()
            }
        )


def _select_by_series(endpoint: EndpointFunction, stack: _ModelStack) -> EndpointFunction:
    """Return an endpoint that computes each row with the model of its series."""
    own = {name: spec for name, spec in endpoint.specs.items() if name != SERIES}

    def call_model(line: tf.Tensor, inputs: Tensors) -> Tensors:
        scale = {SERIES: tf.zeros_like(next(iter(inputs.values()))[:, 0, 0], tf.int32)}
        with stack.select(line):
            return endpoint.call(inputs | (scale if SERIES in endpoint.specs else {}))

    traced = trace(call_model, tf.TensorSpec((), tf.int32), own)
    results: dict[str, tf.TensorSpec] = traced.structured_outputs  # type: ignore[attr-defined]

    def call(inputs: Tensors) -> Tensors:
        names, place = tf.unique(inputs[SERIES])
        lines = stack.find_lines(names)
        lists = {
            name: tf.TensorArray(spec.dtype, tf.size(names), infer_shape=False, element_shape=spec.shape)
            for name, spec in results.items()
        }
        order = tf.TensorArray(tf.int32, tf.size(names), infer_shape=False, element_shape=(None,))

        def compute(number: tf.Tensor, order: tf.TensorArray, lists: dict[str, tf.TensorArray]) -> tuple[object, ...]:
            rows = tf.cast(tf.where(place == number)[:, 0], tf.int32)
            outputs = traced(lines[number], {name: tf.gather(inputs[name], rows) for name in own})
            lists = {name: each.write(number, outputs[name]) for name, each in lists.items()}
            return number + 1, order.write(number, rows), lists

        _, order, lists = tf.while_loop(
            lambda number, *_: number < tf.size(names), compute, [tf.constant(0), order, lists]
        )
        places = tf.math.invert_permutation(order.concat())
        return {
            name: tf.ensure_shape(tf.gather(each.concat(), places), results[name].shape) for name, each in lists.items()
        }

    series = tf.TensorSpec((None,), tf.string, name=SERIES)
    return EndpointFunction(endpoint.name, call, own | {SERIES: series})
