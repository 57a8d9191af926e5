"""The decoder: recurrent layers that turn a code, repeated over time, into a sequence."""

import math

import keras
from keras import layers, ops

from lstm_ae.config import Config
from lstm_ae.models.encoder import apply_dropout
from lstm_ae.models.network import POSITION_PERIODS


def decode(
    config: Config, hidden: keras.KerasTensor, *, start: keras.KerasTensor | None = None, prefix: str = ""
) -> keras.KerasTensor:
    """Apply the decoder's recurrent layers: `(batch, steps, n)` to `(batch, steps, decoder units)`.

    Args:
        config: units, layers, and dropout.
        hidden: `(batch, steps, n)`, usually the repeated code.
        start: `(batch, m)` initial hidden state of the first layer; a dense layer projects it if m differs from the
            decoder's number of units.
        prefix: prefix of the layer names.
    """
    for number in range(1, config.layers + 1):
        units = config.decoder_units or config.units
        layer = layers.LSTM(units, return_sequences=True, name=f"{prefix}decoder_{number}")
        state = None
        if start is not None and number == 1:
            if start.shape[-1] != units:
                start = layers.Dense(units, name=f"{prefix}from_code")(start)
            # The cell state starts at zero: a second initial state would enlarge the code.
            state = [start, ops.zeros_like(start)]
        hidden = layer(hidden, initial_state=state)
        if number < config.layers:
            hidden = apply_dropout(config, hidden, f"{prefix}decoder_{number}")
    return hidden


def repeat_with_position(code: keras.KerasTensor, steps: int, *, prefix: str = "") -> keras.KerasTensor:
    """Repeat a code `(batch, n)` over time and append a positional encoding: `(batch, steps, n + 10)`.

    The encoding is sines and cosines of the step (Vaswani et al. 2017, "Attention is all you need", section 3.5).
    The name of the layer begins with `prefix`.
    """
    repeated = layers.RepeatVector(steps, name=f"{prefix}repeat")(code)
    # Derived from the shape only, so that the batch size may be unknown.
    ones = ops.sum(ops.zeros_like(repeated), axis=2, keepdims=True) + 1
    position = ops.cumsum(ones, axis=1) * (2 * math.pi / steps)
    waves = [wave(position * periods) for periods in POSITION_PERIODS for wave in (ops.sin, ops.cos)]
    return ops.concatenate([repeated, *waves], axis=2)
