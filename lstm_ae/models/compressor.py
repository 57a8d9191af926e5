"""The autoencoder of anyone's own table: a window, a code of a few numbers, the window again.

Other than the studies' autoencoder it reads past missing values, its code has a size of its own, and its decoder is
told at every step where in the window it is: a code repeated a few hundred times tells an LSTM little of the time.
"""

import math
from collections.abc import Sequence

import keras
from keras import layers, ops

from lstm_ae.config import Series
from lstm_ae.models.missing import past_missing
from lstm_ae.models.recurrent import decode, encode

# Waves over the window, by which the decoder knows the place: 1, 2, 4, 8 and 16 of them.
WAVES = tuple(2**k for k in range(5))


def compressor(config: Series, *, steps: int, features: int, missing: bool, usual: Sequence[float] = ()) -> keras.Model:
    """A network from `sequence` to `reconstruction`, both `(batch, steps, features)`, in scaled values.

    Args:
        steps: length of the windows.
        features: numbers a step.
        missing: whether values may be missing: the network is then told which.
        usual: `(features,)` what is read in place of a missing value; 0 where empty.
    """
    sequence = keras.Input((steps, features), name="sequence")
    filled, _, read = past_missing(sequence, told=missing, usual=usual)
    hidden = encode(config, read, sequences=True, bidirectional=config.bidirectional)
    # The mean knows all steps alike, the last state the latest best.
    whole = ops.concatenate([ops.mean(hidden, axis=1), hidden[:, -1]], axis=1)
    code = layers.Identity(name="code")(layers.Dense(config.code, name="to_code")(whole))
    repeated = layers.RepeatVector(steps, name="repeat")(code)
    # Of the shape of the input and nothing else.
    ones = ops.sum(ops.zeros_like(filled), axis=2, keepdims=True) + 1
    place = ops.cumsum(ones, axis=1) * (2 * math.pi / steps)
    waves = [wave(place * number) for number in WAVES for wave in (ops.sin, ops.cos)]
    hidden = decode(config, ops.concatenate([repeated, *waves], axis=2))
    reconstruction = layers.Dense(features, name="reconstruction")(hidden)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction}, name="network")
