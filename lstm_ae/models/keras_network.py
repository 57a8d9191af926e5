"""Keras models as functions of arrays: those that were just trained, and those that NumPy does not compute."""

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.config import Config
from lstm_ae.models.archive import archive_content
from lstm_ae.models.network import ArrayFunction, Network, Shape, unscaling_inputs
from lstm_ae.models.numpy_network import UnsupportedError, load_network
from lstm_ae.models.scaling import inner_network, inner_scaling

LOG = logging.getLogger(__name__)

# Inputs or outputs of a model by name, and their types.
Tensors = dict[str, tf.Tensor]
Specs = dict[str, tf.TensorSpec]

# Traced functions by model, because tracing takes longer than computing a small split.
_TRACED: "weakref.WeakKeyDictionary[keras.Model, Callable[[Tensors], Tensors]]" = weakref.WeakKeyDictionary()


def traced(model: keras.Model) -> Callable[[Tensors], Tensors]:
    """Return a function from a model's inputs to its outputs by name that is traced once for all batch sizes.

    It reads the weights that the model has when it is called, and does not keep the model alive.
    """
    if model not in _TRACED:
        alive: Callable[[], Any] = weakref.ref(model)
        _TRACED[model] = trace(lambda inputs: alive()(inputs, training=False), input_signature(model))
    return _TRACED[model]


def trace(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """Trace a function once.

    TensorFlow counts every `tf.function` of the same line of code as a retracing when it is called, and would warn
    after some models.

    Args:
        function: function of tensors.
        arguments: tensors of the shapes that it is called with, or their `tf.TensorSpec`; or nested lists or dicts.

    Returns:
        The graph of the function. A `tf.GradientTape` outside it cannot differentiate custom gradients within.
    """
    # The traced function has no defaults for parameters without a signature.
    positional = tf.function(lambda *tensors: function(*tensors), autograph=False)
    with _forget_custom_gradients():
        graph: Callable[..., Any] = positional.get_concrete_function(*arguments)
    return graph


@contextmanager
def _forget_custom_gradients() -> Iterator[None]:
    """Delete the custom gradients that TensorFlow registers within the context.

    `tf.custom_gradient`, which the kernels and Keras' optimizers call, registers a function at each call and never
    removes it. The function refers to its graph, which would stay in memory to the end of the process.
    """
    registered = ops.gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        for name in set(registered) - before:
            if name.startswith("CustomGradient-"):
                registered.pop(name, None)


def input_signature(model: keras.Model) -> Specs:
    """Return a `tf.TensorSpec` per model input, so that one trace serves every batch size and length."""
    return {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in model.input.items()}


class KerasFunction(ArrayFunction):
    """Keras model that is traced once for all batch sizes.

    Args:
        model: a functional model with inputs and outputs by name.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.inputs = {name: tuple(tensor.shape) for name, tensor in model.input.items()}
        self.outputs = {name: tuple(tensor.shape) for name, tensor in model.output.items()}

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Float32Array]:
        """Return the outputs for a batch of inputs."""
        tensors = {name: tf.constant(inputs[name], tensor.dtype) for name, tensor in self.model.input.items()}
        return {name: value.numpy() for name, value in traced(self.model)(tensors).items()}


class KerasNetwork(KerasFunction, Network):
    """Keras model in original units."""

    inner: KerasFunction

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        scaling = inner_scaling(model)
        self.inner, self._scaling = KerasFunction(inner_network(model)), KerasFunction(scaling)
        self.keras_model = lambda: model
        tables = [layer for layer in scaling.layers if layer.name == "table"]
        self.table = np.asarray(tables[0].weights[0]) if tables else None

    @property
    def code(self) -> Shape:  # type: ignore[override]
        """Shape of the code of an autoencoder."""
        return tuple(self.inner.model.get_layer("code").output.shape)

    def without_keras(self, config: Config) -> Network:
        """Return the network that its file would be loaded as: computed by NumPy if possible."""
        try:
            return load_network(archive_content(self.model), config, None, self.keras_model)
        except UnsupportedError as error:
            LOG.info("Keras computes the model, since NumPy does not compute %s", error)
            return self

    def scaling(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return `scaled`, `offset`, and `range` of the inputs of the model."""
        return self._scaling(inputs)

    def undo_scaling(self, values: Array, scaled: Mapping[str, Array]) -> Float32Array:
        """Return scaled values in original units."""
        inputs = unscaling_inputs(values, scaled)
        for layer in self.model.layers:
            if layer.name == "unscaling":
                return np.asarray(layer([np.asarray(each, np.float32) for each in inputs.values()]))
        # A model that returns no series, such as a classifier, has no such layer and never a logarithmic scale.
        return np.asarray(inputs["offset"] + values * inputs["range"], np.float32)
