"""Trained models as functions of arrays by name: the interface that NumPy and Keras both implement.

A `Network` is what a run or a trained model is applied with. `lstm_ae.models.numpy_network` computes models on tables
without TensorFlow; `lstm_ae.models.keras_network` computes all others, and a Keras model in memory.
"""

import abc
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.config import Config
from lstm_ae.data.scaling import Scale, SeriesScales, fixed_scale

if TYPE_CHECKING:
    from collections.abc import Callable

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


class ArrayFunction(abc.ABC):
    """Function that maps arrays by name to arrays by name.

    Attributes:
        inputs: shapes of the inputs by name.
        outputs: shapes of the outputs by name.
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]

    @abc.abstractmethod
    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Float32Array]:
        """Return the outputs for a batch of inputs."""


class Network(ArrayFunction):
    """Trained model in original units: a network that works on scaled values, between a scaling and its inverse.

    Attributes:
        inner: the inner network, which works on scaled values.
        code: shape of the code of an autoencoder.
        table: offsets and ranges of the series, `(series, 2 * features)`; None if all have the same scale.
        keras_model: function that returns the Keras model.
    """

    inner: ArrayFunction
    code: Shape
    table: Float32Array | None
    keras_model: "Callable[[], keras.Model]"

    @abc.abstractmethod
    def scaling(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return `scaled`, `offset`, and `range` of the inputs of the model."""

    @abc.abstractmethod
    def undo_scaling(self, values: Array, scaled: Mapping[str, Array]) -> Float32Array:
        """Return scaled values in original units.

        Args:
            values: `(batch, any, features)` scaled values.
            scaled: the output of `scaling`, with the offset and range of each sample.
        """

    def without_keras(self, config: Config) -> "Network":
        """Return the network that its file would be loaded as: computed by NumPy if possible."""
        return self

    def series_scales(self, names: Sequence[str]) -> SeriesScales:
        """Return the scale of each series stored in the model; the identity if it has no such scales."""
        if "series" not in self.inputs or self.table is None:
            return SeriesScales(fixed_scale())
        offset, span = np.split(self.table, 2, axis=1)
        return SeriesScales(Scale("series", offset, span), names)


def series_input(names: Iterable[str]) -> str:
    """Return the name of the input of a model that holds its windows."""
    return next(name for name in names if name in ("past", "sequence"))


def positional_encoding(steps: int) -> Float32Array:
    """Return the encoding that `lstm_ae.models.decoder.repeat_with_position` appends, `(steps, 10)`."""
    position = np.arange(1, steps + 1, dtype=np.float32) * np.float32(2 * math.pi / steps)
    waves = [wave(position * np.float32(number)) for number in POSITION_PERIODS for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=1)


def unscaling_inputs(values: Any, scaled: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of the submodel `unscaling`, in its order, for arrays or tensors; see `undo_scaling`."""
    # A forecast may hold only the first features.
    features = values.shape[-1]
    return {"scaled": values} | {name: scaled[name][..., :features] for name in ("offset", "range")}


def one_step(network: Network) -> bool:
    """Return whether a forecaster returns the next step of a window of any length, not a fixed horizon."""
    return network.inputs["past"][1] is None
