"""Endpoints: one function for each operation of a model, with inputs and outputs in the data's units.

| endpoint          | model               | outputs                                                              |
|-------------------|---------------------|----------------------------------------------------------------------|
| `serving_default` | every model         | the outputs of the model                                             |
| `reconstruct`     | autoencoders        | `reconstruction` `(batch, steps, features)`                          |
| `encode`          | autoencoders        | `code` `(batch, n)`; with the latent `steps` `(batch, steps, n)`     |
| `score`           | autoencoders        | `score` `(batch, steps)`; for anomaly detection see `detector`       |
| `classify`        | classifiers         | `label` `(batch, classes)`, the probabilities; `class` `(batch,)`    |
| `predict`         | forecasters         | `future`, one step ahead, or the horizon of the training             |
| `forecast`        | forecasters         | `future` `(batch, max(horizon), columns)`                            |

A forecaster has no `encode` endpoint, because its decoder receives layer states and shares the work with a direct
linear path, so there is no code of the window. It has no `score` endpoint, because it does not reconstruct the
window.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import layers

from lstm_ae.export.score_endpoint import ScoreParameters, make_score_function
from lstm_ae.models.keras_network import Specs, Tensors, input_signature
from lstm_ae.models.rollout_graph import HORIZON, rollout
from lstm_ae.models.scaling import inner_network, inner_scaling


class EndpointFunction(NamedTuple):
    """An endpoint before its export.

    Args:
        name: The name of the endpoint.
        call: Function from inputs to outputs by name, which can be traced into a graph.
        specs: The types of the inputs by name.
    """

    name: str
    call: Callable[[Tensors], Tensors]
    specs: Specs


def make_endpoints(model: keras.Model, detector: ScoreParameters | None = None) -> list[EndpointFunction]:
    """Return the endpoints of a model; `serving_default` is first.

    Args:
        model: A model with inputs and outputs in the data's units.
        detector: If given, `score` returns one score per row, with `threshold` and `anomaly`.
    """
    own = input_signature(model)
    functions: dict[str, tuple[Callable[[Tensors], Tensors], Specs]] = {
        "serving_default": (lambda inputs: model(inputs, training=False), own)
    }
    if "reconstruction" in model.output:
        functions["reconstruct"] = _select_output(model, "reconstruction"), own
        functions["encode"] = _make_encode(model), own
        functions["score"] = make_score_function(model, detector) if detector else (_make_score(model), own)
    if "label" in model.output:
        functions["classify"] = _make_classify(model), own
    if "future" in model.output:
        functions["predict"] = _select_output(model, "future"), own
        ahead = {"known": tf.TensorSpec((None, None, own["known"].shape[2]), name="known")} if "known" in own else {}
        functions["forecast"] = _make_forecast(model), own | ahead | {"horizon": HORIZON}
    return [EndpointFunction(name, *function) for name, function in functions.items()]


def _select_output(model: keras.Model, output: str) -> Callable[[Tensors], Tensors]:
    return lambda inputs: {output: model(inputs, training=False)[output]}


def _make_encode(model: keras.Model) -> Callable[[Tensors], Tensors]:
    """Return the `encode` function, which returns the encoder's output."""
    network = inner_network(model)
    encoder = keras.Model(network.input, network.get_layer("code").output, name="encoder")

    def encode(inputs: Tensors) -> Tensors:
        return {"code": encoder(_network_inputs(model, inputs), training=False)}

    return encode


def _make_score(model: keras.Model) -> Callable[[Tensors], Tensors]:
    """Return the `score` function: for each step, the mean over the features of the squared error of scaled values.

    In the data's units, the feature with the largest numbers would dominate: a volume of millions next to a price.
    With scaled values all features have the same weight, the mean over the steps is the `reconstruction_mse` of the
    metrics, and a threshold from validation data applies to every company. Missing values (NaN) are ignored; the
    score of a step without any value is NaN.
    """
    network = inner_network(model)

    def score(inputs: Tensors) -> Tensors:
        scaled = _network_inputs(model, inputs)
        (window,) = scaled.values()
        missing = tf.math.is_nan(window)
        error = tf.square(network(scaled, training=False)["reconstruction"] - window)
        total = tf.reduce_sum(tf.where(missing, tf.zeros_like(error), error), axis=-1)
        return {"score": total / tf.reduce_sum(tf.cast(~missing, total.dtype), axis=-1)}

    return score


def _network_inputs(model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> Tensors:
    """Return the input of an autoencoder's network, the scaled window, by name."""
    (name,) = inner_network(model).input
    return {name: inner_scaling(model)(inputs, training=False)["scaled"]}


def _make_classify(model: keras.Model) -> Callable[[Tensors], Tensors]:
    def classify(inputs: Tensors) -> Tensors:
        label = model(inputs, training=False)["label"]
        return {"label": label, "class": tf.argmax(label, axis=-1, output_type=tf.int32)}

    return classify


def _make_forecast(model: keras.Model) -> Callable[[Tensors], Tensors]:
    """Return the `forecast` function, which rolls the model out.

    Its additional input `horizon` is int32, one per row; steps beyond a row's horizon are NaN. An input `known` may
    have any number of steps; steps beyond them are NaN.
    """
    roll = rollout(model)

    def forecast(inputs: Tensors) -> Tensors:
        past = {name: tensor for name, tensor in inputs.items() if name != "horizon"}
        return {"future": roll(past, inputs["horizon"])}

    return forecast


@contextmanager
def without_cudnn(model: keras.Model) -> Iterator[None]:
    """Disable cuDNN while the model is traced: a graph with its operations does not load on a machine without a GPU."""
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, layers.LSTM)]
    before = [layer.use_cudnn for layer in recurrent]
    for layer in recurrent:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in zip(recurrent, before, strict=True):
            layer.use_cudnn = value
