"""Keras models as functions of arrays: those that were just trained, and those that NumPy does not compute."""

import json
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.models.network import Layer, Network, Shape
from lstm_ae.models.numpy_network import UnsupportedError, build_network, number_layers

LOG = logging.getLogger(__name__)

# Inputs or outputs of a model by name, and their types.
Tensors = dict[str, tf.Tensor]
Specs = dict[str, tf.TensorSpec]

# The traced functions of the models that exist: tracing takes longer than a small split.
_TRACED: "weakref.WeakKeyDictionary[keras.Model, Callable[[Tensors], Tensors]]" = weakref.WeakKeyDictionary()


def traced(model: keras.Model) -> Callable[[Tensors], Tensors]:
    """Return a function from a model's inputs to its outputs by name that is traced once for all batch sizes.

    It reads the weights that the model has when it is called, and does not keep the model alive.
    """
    if model not in _TRACED:
        alive: Callable[[], Any] = weakref.ref(model)
        _TRACED[model] = trace(lambda inputs: alive()(inputs, training=False), input_signature(model))
    return _TRACED[model]


def trace(function: Callable[..., Any], *signature: Specs | tf.TensorSpec) -> Callable[..., Any]:
    """Trace a function once, for arguments of this signature.

    A `tf.function` that is called counts as retraced if the one of another model was made at the same place, so that
    TensorFlow would warn after some models.
    """
    # The traced function has no defaults for parameters without a signature.
    positional = tf.function(lambda *arguments: function(*arguments), autograph=False)
    graph: Callable[..., Any] = positional.get_concrete_function(*signature)
    return graph


def input_signature(model: keras.Model) -> Specs:
    """Return a `tf.TensorSpec` per model input, so that one trace serves every batch size and length."""
    return {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in model.input.items()}


class KerasNetwork(Network):
    """Keras model that is traced once for all batch sizes.

    Args:
        model: a functional model with inputs and outputs by name.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Shapes of the inputs by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.model.input.items()}

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """Shapes of the outputs by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.model.output.items()}

    @property
    def layers(self) -> Mapping[str, Layer]:
        """Layers with a Keras class by name."""
        others = keras.Model | layers.InputLayer
        return {layer.name: _layer_of(layer) for layer in self.model.layers if not isinstance(layer, others)}

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Float32Array]:
        """Return the outputs for a batch of inputs."""
        tensors = {name: tf.constant(inputs[name], tensor.dtype) for name, tensor in self.model.input.items()}
        return {name: value.numpy() for name, value in traced(self.model)(tensors).items()}

    @cached_property
    def submodels(self) -> Mapping[str, Network]:
        """Nested models by name."""
        found: dict[str, Network] = {}
        for layer in self.model.layers:
            if isinstance(layer, keras.Model):
                named = isinstance(layer.input, dict)
                found[layer.name] = KerasNetwork(
                    layer if named else _by_name(layer, [tensor.name for tensor in layer.inputs], ("0",))
                )
        return found

    def keras_model(self) -> keras.Model:
        """Return the Keras model."""
        return self.model

    def part(self, inputs: Sequence[str], outputs: Sequence[str]) -> "KerasNetwork":
        """Return the network between layers."""
        given = [self.model.input.get(name) for name in inputs]
        given = [
            self.model.get_layer(name).output if tensor is None else tensor
            for name, tensor in zip(inputs, given, strict=True)
        ]
        model = keras.Model(given, [self.model.get_layer(name).output for name in outputs])
        return KerasNetwork(_by_name(model, inputs, outputs))


def _by_name(model: keras.Model, inputs: Sequence[str], outputs: Sequence[str]) -> keras.Model:
    """Return a model with a list of inputs and outputs as one with inputs and outputs by name."""
    given = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in zip(inputs, model.inputs, strict=True)
    }
    results = model(list(given.values()))
    results = results if isinstance(results, list) else [results]
    return keras.Model(given, dict(zip(outputs, results, strict=True)))


def _layer_of(layer: layers.Layer) -> Layer:
    both = [layer.forward_layer, layer.backward_layer] if isinstance(layer, layers.Bidirectional) else []
    weights = () if both else tuple(np.asarray(weight) for weight in layer.weights)
    return Layer(type(layer).__name__, layer.get_config(), weights, tuple(map(_layer_of, both)))


def convert_model(model: keras.Model) -> Network:
    """Return a model in memory as the network that its file would be loaded as, without writing a file."""
    try:
        return build_network(
            json.loads(json.dumps(keras.saving.serialize_keras_object(model))),
            dict(_stored_weights(model)),
            lambda: model,
        )
    except UnsupportedError as error:
        LOG.info("Keras computes the model, since NumPy does not compute %s", error)
        return KerasNetwork(model)


def _stored_weights(model: keras.Model, path: str = "") -> Iterator[tuple[str, Array]]:
    """Yield the weights of a model with their paths in its file."""
    numbered = number_layers((type(layer).__name__ for layer in model.layers), path)
    for layer, place in zip(model.layers, numbered, strict=True):
        if isinstance(layer, keras.Model):
            yield from _stored_weights(layer, place)
            continue
        both = isinstance(layer, layers.Bidirectional)
        parts = (
            {"forward_layer/": layer.forward_layer, "backward_layer/": layer.backward_layer} if both else {"": layer}
        )
        for prefix, part in parts.items():
            cell = "cell/" * isinstance(part, layers.RNN)
            for number, weight in enumerate(part.weights):
                yield f"{place}{prefix}{cell}vars/{number}", np.asarray(weight)
