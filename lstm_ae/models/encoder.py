"""The encoder: inputs with missing values, recurrent layers, and pooling of their states."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers, ops

from lstm_ae.config import Config
from lstm_ae.models.network import FILL


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


def recurrent_layer(config: Config, name: str, *, sequences: bool = True, decoder: bool = False) -> layers.LSTM:
    """Return an LSTM layer with `config.units` units, in a decoder with `config.decoder_units` if set.

    Args:
        config: units.
        name: name of the layer.
        sequences: return the hidden state of every step, `(batch, steps, units)`, else of the last, `(batch, units)`.
        decoder: whether the layer belongs to a decoder.
    """
    units = config.decoder_units if decoder and config.decoder_units else config.units
    return layers.LSTM(units, return_sequences=sequences, name=name)


def apply_dropout(config: Config, hidden: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Apply dropout after a recurrent layer if `config.dropout` is not 0."""
    # Dropout acts between layers, since recurrent dropout has no cuDNN kernel.
    return layers.Dropout(config.dropout, name=f"{name}_dropout")(hidden) if config.dropout else hidden


def encode(
    config: Config, sequence: keras.KerasTensor, *, sequences: bool, bidirectional: bool, prefix: str = ""
) -> keras.KerasTensor:
    """Apply the encoder: `config.layers` recurrent layers, dropout between them.

    Args:
        config: units, layers, and dropout.
        sequence: `(batch, steps, features)`.
        sequences: return the states of all steps instead of the last ones.
        bidirectional: read the sequence in both directions.
        prefix: prefix of the names of the layers.

    Returns:
        `(batch, steps, n)` where `sequences`, else `(batch, n)`; n is units, or twice units when bidirectional.
    """
    hidden = sequence
    for number in range(1, config.layers + 1):
        layer = recurrent_layer(config, f"{prefix}encoder_{number}", sequences=sequences or number < config.layers)
        if bidirectional:
            layer = layers.Bidirectional(layer, name=f"{prefix}encoder_{number}_both")
        hidden = apply_dropout(config, layer(hidden), f"{prefix}encoder_{number}")
    return hidden


def pool_last(states: keras.KerasTensor, *, bidirectional: bool) -> keras.KerasTensor:
    """Return the final states `(batch, n)`: the last step's, and the first step's of a backward layer."""
    if not bidirectional:
        return states[:, -1]
    units = states.shape[-1] // 2
    return ops.concatenate([states[:, -1, :units], states[:, 0, units:]], axis=1)


def pool_mean(states: keras.KerasTensor, missing: keras.KerasTensor | None = None) -> keras.KerasTensor:
    """Return the mean of the states over time, `(batch, n)`.

    Args:
        states: `(batch, steps, n)`.
        missing: `(batch, steps, features)` bool mask; steps without any value are ignored. The mean of a window
            without any value is 0.
    """
    if missing is None:
        return ops.mean(states, axis=1)
    present = ops.cast(ops.any(ops.logical_not(missing), axis=2, keepdims=True), "float32")
    return ops.sum(states * present, axis=1) / ops.maximum(ops.sum(present, axis=1), 1.0)
