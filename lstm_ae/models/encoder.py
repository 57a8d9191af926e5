"""The encoder: inputs with missing values, recurrent layers, and pooling of their states."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers, ops

from lstm_ae.config import Config, Series
from lstm_ae.config.base import ReconstructionConfig
from lstm_ae.models.network import FILL

# Configs with the direction of an encoder.
EncoderConfig = ReconstructionConfig | Series


class FilledWindow(NamedTuple):
    """Window `(batch, steps, features)` whose missing values (NaN) are filled and masked.

    Args:
        values: the window with fill values for missing ones.
        missing: bool mask of the missing values, of the same shape.
        inputs: inputs of the recurrent layers: `values`, and `missing` as 0 and 1 if the mask is appended.
    """

    values: keras.KerasTensor
    missing: keras.KerasTensor
    inputs: keras.KerasTensor


def fill_missing(sequence: keras.KerasTensor, *, mark: bool, fill: Sequence[float] = ()) -> FilledWindow:
    """Fill the missing values of a window in scaled values.

    Args:
        sequence: `(batch, steps, features)`, NaN where missing.
        mark: append the mask of missing values to the inputs. A network trained without missing values would learn
            nothing from it.
        fill: `(features,)` fill values; zeros if empty, which is the mean of standardized values.
    """
    missing, values = ops.isnan(sequence), ops.zeros_like(sequence)
    if fill:
        values = layers.Rescaling(1.0, offset=list(fill), name=FILL)(values)
    values = ops.where(missing, values, sequence)
    inputs = ops.concatenate([values, ops.cast(missing, "float32")], axis=2) if mark else values
    return FilledWindow(values, missing, inputs)


def apply_dropout(config: Config, hidden: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Apply dropout if `config.dropout` is not 0."""
    # Dropout acts between layers, since recurrent dropout has no cuDNN kernel.
    return layers.Dropout(config.dropout, name=f"{name}_dropout")(hidden) if config.dropout else hidden


def encode(
    config: EncoderConfig, sequence: keras.KerasTensor, *, sequences: bool = True, prefix: str = ""
) -> keras.KerasTensor:
    """Apply the encoder: `config.layers` recurrent layers, dropout between them.

    Args:
        config: units, layers, dropout, and direction.
        sequence: `(batch, steps, features)`.
        sequences: return the states of all steps instead of the last ones.
        prefix: prefix of the names of the layers.

    Returns:
        `(batch, steps, n)` where `sequences`, else `(batch, n)`; n is units, or twice units when bidirectional.
    """
    hidden = sequence
    for number in range(1, config.layers + 1):
        states = sequences or number < config.layers
        layer = layers.LSTM(config.units, return_sequences=states, name=f"{prefix}encoder_{number}")
        if config.bidirectional:
            layer = layers.Bidirectional(layer, name=f"{prefix}encoder_{number}_both")
        hidden = apply_dropout(config, layer(hidden), f"{prefix}encoder_{number}")
    return hidden


def summarize(
    config: EncoderConfig, sequence: keras.KerasTensor, missing: keras.KerasTensor | None = None, *, prefix: str = ""
) -> keras.KerasTensor:
    """Return the mean of the encoder's states over time and its final states, `(batch, n)`.

    Args:
        config: units, layers, dropout, and direction.
        sequence: `(batch, steps, any)`.
        missing: `(batch, steps, features)` bool mask; the mean ignores steps without any value. That of a window
            without any value is 0.
        prefix: prefix of the names of the layers.
    """
    states = encode(config, sequence, prefix=prefix)
    if missing is None:
        mean = ops.mean(states, axis=1)
    else:
        present = ops.cast(ops.any(ops.logical_not(missing), axis=2, keepdims=True), "float32")
        mean = ops.sum(states * present, axis=1) / ops.maximum(ops.sum(present, axis=1), 1.0)
    return ops.concatenate([mean, pool_last(config, states)], axis=1)


def pool_last(config: EncoderConfig, states: keras.KerasTensor) -> keras.KerasTensor:
    """Return the final states `(batch, n)`: the last step's, and the first step's of a backward layer."""
    if not config.bidirectional:
        return states[:, -1]
    units = states.shape[-1] // 2
    return ops.concatenate([states[:, -1, :units], states[:, 0, units:]], axis=1)
