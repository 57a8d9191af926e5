"""The encoder: how a network reads a window, its recurrent layers, and how their states become one vector."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers, ops

from lstm_ae.config import Config

# The layer that holds the values read in place of missing ones, where these are not 0.
FILL = "fill"


class FilledWindow(NamedTuple):
    """A window `(batch, steps, features)` with missing values (NaN), as a network can read it.

    Args:
        values: the window with the fill value in place of each missing one.
        missing: which values are missing, bool, of the same shape.
        inputs: what the recurrent layers read: `values` and, where missing values are marked, `missing` as 0 and 1.
    """

    values: keras.KerasTensor
    missing: keras.KerasTensor
    inputs: keras.KerasTensor


def fill_missing(sequence: keras.KerasTensor, *, mark: bool, fill: Sequence[float] = ()) -> FilledWindow:
    """Fill the missing values of a window in scaled values.

    Args:
        mark: append which values are missing to the inputs. A network that saw no missing value in training would
            learn nothing from that.
        fill: `(features,)` the values to fill in; 0 where empty, the mean where values are standardized.
    """
    missing, values = ops.isnan(sequence), ops.zeros_like(sequence)
    if fill:
        values = layers.Rescaling(1.0, offset=list(fill), name=FILL)(values)
    values = ops.where(missing, values, sequence)
    inputs = ops.concatenate([values, ops.cast(missing, "float32")], axis=2) if mark else values
    return FilledWindow(values, missing, inputs)


def recurrent_layer(
    config: Config, name: str, *, sequences: bool = True, states: bool = False, decoder: bool = False
) -> layers.RNN:
    """Return one LSTM or GRU layer of `config.units` units, or `config.decoder_units` where it is the decoder's.

    Args:
        sequences: return the hidden state of every step, `(batch, steps, units)`, else of the last, `(batch, units)`.
        states: return the final states as well: `[output, h, c]` (LSTM) or `[output, h]` (GRU).
    """
    kind = {"lstm": layers.LSTM, "gru": layers.GRU}[config.cell]
    units = config.decoder_units if decoder and config.decoder_units else config.units
    return kind(units, return_sequences=sequences, return_state=states, name=name)


def apply_dropout(config: Config, hidden: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Apply dropout after a recurrent layer where the config has some."""
    # Between layers, not inside the recurrence: recurrent dropout has no cuDNN kernel.
    return layers.Dropout(config.dropout, name=f"{name}_dropout")(hidden) if config.dropout else hidden


def encode(
    config: Config, sequence: keras.KerasTensor, *, sequences: bool, bidirectional: bool, prefix: str = ""
) -> keras.KerasTensor:
    """Apply the encoder: `config.layers` recurrent layers, dropout between them.

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
    """Return the states `(batch, n)` that have seen the whole window: a backward layer's is the first step's."""
    if not bidirectional:
        return states[:, -1]
    units = states.shape[-1] // 2
    return ops.concatenate([states[:, -1, :units], states[:, 0, units:]], axis=1)


def pool_mean(states: keras.KerasTensor, missing: keras.KerasTensor | None = None) -> keras.KerasTensor:
    """Return the mean of the states over time, `(batch, n)`: early steps count as much as late ones.

    Args:
        missing: `(batch, steps, features)`, steps without any value take no part; a window without any gives 0.
    """
    if missing is None:
        return ops.mean(states, axis=1)
    present = ops.cast(ops.any(ops.logical_not(missing), axis=2, keepdims=True), "float32")
    return ops.sum(states * present, axis=1) / ops.maximum(ops.sum(present, axis=1), 1.0)
