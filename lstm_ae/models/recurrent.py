"""Stacks of recurrent layers, the one thing that every model here is made of."""

import keras
from keras import layers, ops

from lstm_ae.config import Config


def recurrent(
    config: Config, name: str, *, sequences: bool = True, states: bool = False, decoder: bool = False
) -> layers.RNN:
    """One LSTM or GRU layer of `config.units` units, or `config.decoder_units` where it is the decoder's.

    Args:
        sequences: return the hidden state of every step, `(batch, steps, units)`, else of the last, `(batch, units)`.
        states: return the final states as well: `[output, h, c]` (LSTM) or `[output, h]` (GRU).
    """
    kind = {"lstm": layers.LSTM, "gru": layers.GRU}[config.cell]
    units = config.decoder_units if decoder and config.decoder_units else config.units
    return kind(units, return_sequences=sequences, return_state=states, name=name)


def encode(
    config: Config, sequence: keras.KerasTensor, *, sequences: bool, bidirectional: bool, prefix: str = ""
) -> keras.KerasTensor:
    """The encoder: `config.layers` recurrent layers, dropout between them.

    Returns:
        `(batch, steps, n)` where `sequences`, else `(batch, n)`; n is units, or twice units when bidirectional.
    """
    hidden = sequence
    for number in range(1, config.layers + 1):
        layer = recurrent(config, f"{prefix}encoder_{number}", sequences=sequences or number < config.layers)
        if bidirectional:
            layer = layers.Bidirectional(layer, name=f"{prefix}encoder_{number}_both")
        hidden = _dropped(config, layer(hidden), f"{prefix}encoder_{number}")
    return hidden


def decode(
    config: Config, hidden: keras.KerasTensor, *, start: keras.KerasTensor | None = None, prefix: str = ""
) -> keras.KerasTensor:
    """The decoder's recurrent layers: `(batch, steps, n)` to `(batch, steps, decoder units)`.

    Args:
        start: `(batch, m)`, the hidden state that the first layer starts from; through a dense layer where m is another
            number than the decoder's units.
    """
    for number in range(1, config.layers + 1):
        layer = recurrent(config, f"{prefix}decoder_{number}", decoder=True)
        state = None
        if start is not None and number == 1:
            if start.shape[-1] != layer.units:
                start = layers.Dense(layer.units, name=f"{prefix}from_code")(start)
            # An LSTM's cell starts empty: what it would hand over counts as well.
            state = [start, ops.zeros_like(start)] if config.cell == "lstm" else [start]
        hidden = layer(hidden, initial_state=state)
        if number < config.layers:
            hidden = _dropped(config, hidden, f"{prefix}decoder_{number}")
    return hidden


def _dropped(config: Config, hidden: keras.KerasTensor, name: str) -> keras.KerasTensor:
    # Between layers, not inside the recurrence: recurrent dropout has no cuDNN kernel.
    return layers.Dropout(config.dropout, name=f"{name}_dropout")(hidden) if config.dropout else hidden
