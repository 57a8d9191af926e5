"""A network that reads a window of anyone's own table and says its class.

What decides is read in two ways: the last state, which has seen the whole window, and the mean of the states over the
steps that hold a value, in which what was read long ago counts as much as what was read just now.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

from lstm_ae.config import Series
from lstm_ae.models.missing import past_missing
from lstm_ae.models.recurrent import encode


def reader(
    config: Series, *, steps: int, features: int, classes: int, missing: bool, usual: Sequence[float] = ()
) -> keras.Model:
    """A network from `sequence` `(batch, steps, features)`, scaled, to `label` `(batch, classes)`, probabilities.

    Args:
        steps: length of the windows.
        features: numbers a step.
        classes: numbers of classes.
        missing: whether values may be missing (NaN): the network is then told which.
        usual: `(features,)` what is read in place of a missing value; 0 where empty.
    """
    sequence = keras.Input((steps, features), name="sequence")
    _, absent, read = past_missing(sequence, told=missing, usual=usual)
    states = encode(config, read, sequences=True, bidirectional=config.bidirectional)
    there = ops.cast(ops.any(ops.logical_not(absent), axis=2, keepdims=True), "float32")
    # A window without any value has no step to take the mean over, and gets 0.
    mean = ops.sum(states * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
    last = states[:, -1]
    if config.bidirectional:
        # Of the layer that reads backwards it is the first step's that has seen all.
        last = ops.concatenate([last[:, : config.units], states[:, 0, config.units :]], axis=1)
    label = layers.Dense(classes, activation="softmax", name="label")(ops.concatenate([mean, last], axis=1))
    return keras.Model({"sequence": sequence}, {"label": label}, name="network")
