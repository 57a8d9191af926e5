"""How a network reads a window with missing values (NaN)."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers, ops

# The layer that holds what is read in place of a missing value, where that is not 0.
USUAL = "usual"


class PastMissing(NamedTuple):
    """A window `(batch, steps, features)` as a network can read it.

    Args:
        filled: the usual value in place of what is missing.
        absent: which values are missing, bool, of the same shape.
        read: what recurrent layers read: `filled`, and behind it, where the network is told, `absent` as 0 and 1.
    """

    filled: keras.KerasTensor
    absent: keras.KerasTensor
    read: keras.KerasTensor


def past_missing(sequence: keras.KerasTensor, *, told: bool, usual: Sequence[float] = ()) -> PastMissing:
    """Fill what is missing of a window in scaled values.

    Args:
        told: whether the network is told which values are missing. Where no value was missing in training it would
            learn nothing of that.
        usual: `(features,)` what is read in their place; 0 where empty, the mean where values are scaled by mean and
            deviation.
    """
    absent, instead = ops.isnan(sequence), ops.zeros_like(sequence)
    if usual:
        instead = layers.Rescaling(1.0, offset=list(usual), name=USUAL)(instead)
    filled = ops.where(absent, instead, sequence)
    read = ops.concatenate([filled, ops.cast(absent, "float32")], axis=2) if told else filled
    return PastMissing(filled, absent, read)
