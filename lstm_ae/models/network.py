"""Trained models as functions of arrays by name: the interface that NumPy and Keras both implement.

A `Network` is what a run or a trained model is applied with. `lstm_ae.models.numpy_network` computes stored models
without TensorFlow; `lstm_ae.models.keras_network` computes a Keras model in memory.
"""

import abc
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.data.preparation import SeriesScales
from lstm_ae.data.scaling import Scale, fixed_scale
from lstm_ae.json_types import JsonMapping

if TYPE_CHECKING:
    import keras

# Name of the layer that holds the values that replace missing ones, where these are not 0.
FILL = "fill"

# Names of the linear encoder and decoder beside the recurrent ones of an autoencoder, and of the dense
# layer after its recurrent decoder.
LINEAR_ENCODER, LINEAR_DECODER, RESIDUAL = "linear_encoder", "linear_decoder", "residual"

# Largest scaled value that the linear encoder reads, unless values are not scaled.
LINEAR_LIMIT = 1e4

# Periods of the position embedding per sequence. Without it, the decoder's input is constant over time.
POSITION_PERIODS = tuple(2**k for k in range(5))

# Shape of a tensor with the batch first; None where the size is not fixed.
Shape = tuple[int | None, ...]


class Layer(NamedTuple):
    """Layer of a network.

    Args:
        kind: name of its Keras class.
        config: its Keras config.
        weights: its weights in Keras' order; those of a recurrent layer are kernel, recurrent kernel, and bias.
        directions: the forward and the backward layer of a `Bidirectional` layer.
    """

    kind: str
    config: JsonMapping
    weights: tuple[Float32Array, ...] = ()
    directions: tuple["Layer", ...] = ()


class Network(abc.ABC):
    """Functional model that maps arrays by name to arrays by name."""

    @property
    @abc.abstractmethod
    def inputs(self) -> Mapping[str, Shape]:
        """Shapes of the inputs by name."""

    @property
    @abc.abstractmethod
    def outputs(self) -> Mapping[str, Shape]:
        """Shapes of the outputs by name."""

    @property
    @abc.abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """Layers with a Keras class, without inputs, operations, and submodels, by name."""

    @abc.abstractmethod
    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Float32Array]:
        """Return the outputs for a batch of inputs."""

    @property
    @abc.abstractmethod
    def submodels(self) -> Mapping[str, "Network"]:
        """Nested models by name."""

    @abc.abstractmethod
    def part(self, inputs: Sequence[str], outputs: Sequence[str]) -> "Network":
        """Return the network between layers.

        Args:
            inputs: names of the inputs or layers whose output is given.
            outputs: names of the layers whose output is returned.
        """

    @abc.abstractmethod
    def keras_model(self) -> "keras.Model":
        """Return the Keras model of a model in original units."""

    @cached_property
    def inner(self) -> "Network":
        """The inner network, which works on scaled values, of a model in original units."""
        return self.submodels["network"]

    @cached_property
    def scaling(self) -> "Network":
        """The submodel from the inputs of a model in original units to `scaled`, `offset`, and `range`."""
        return self.submodels["scaling"]

    def scaling_inputs(self, values: Array, lines: Array | None = None) -> dict[str, Array]:
        """Return the inputs of a model in original units whose only other input is the row of the scale table.

        Args:
            values: `(batch, steps, features)`.
            lines: `(batch,)` rows of the scale table; None for row 0, which is the common scale of all series.
        """
        first, *others = self.scaling.inputs
        lines = np.zeros(len(values), np.int32) if lines is None else lines
        return {first: values} | dict.fromkeys(others, lines)

    def undo_scaling(self, values: Array, scaled: Mapping[str, Array]) -> Float32Array:
        """Return scaled values in original units.

        Args:
            values: `(batch, any, features)` scaled values.
            scaled: the output of `scaling`, with the offset and range of each sample.
        """
        inputs = unscaling_inputs(values, scaled)
        if "unscaling" not in self.submodels:
            # A model that returns no series, such as a classifier, has no such layer and never a logarithmic scale.
            return np.asarray(inputs["offset"] + values * inputs["range"], np.float32)
        (own,) = self.submodels["unscaling"](inputs).values()
        return own

    def series_scales(self, names: Sequence[str]) -> SeriesScales:
        """Return the scale of each series stored in the model; the identity if it has no such scales."""
        if "series" not in self.inputs:
            return SeriesScales(fixed_scale())
        (table,) = self.scaling.layers["table"].weights
        offset, span = np.split(table, 2, axis=1)
        return SeriesScales(Scale("series", offset, span), names)


def unscaling_inputs(values: Any, scaled: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of the submodel `unscaling`, in its order, for arrays or tensors; see `undo_scaling`."""
    # A forecast may hold only the first features.
    features = values.shape[-1]
    return {"scaled": values} | {name: scaled[name][..., :features] for name in ("offset", "range")}


def one_step(network: Network) -> bool:
    """Return whether a forecaster returns the next step of a window of any length, not a fixed horizon."""
    return network.inputs["past"][1] is None
