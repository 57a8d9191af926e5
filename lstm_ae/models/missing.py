"""How a network reads a window with missing values (NaN)."""

from typing import NamedTuple

import keras
from keras import ops


class PastMissing(NamedTuple):
    """A window `(batch, steps, features)` as a network can read it.

    Args:
        filled: 0 in place of what is missing.
        absent: which values are missing, bool, of the same shape.
        read: what recurrent layers read: `filled`, and behind it, where the network is told, `absent` as 0 and 1.
    """

    filled: keras.KerasTensor
    absent: keras.KerasTensor
    read: keras.KerasTensor


def past_missing(sequence: keras.KerasTensor, *, told: bool) -> PastMissing:
    """Fill what is missing of a window in scaled values.

    Args:
        told: whether the network is told which values are missing. Where no value was missing in training it would
            learn nothing of that.
    """
    absent = ops.isnan(sequence)
    # 0 is the mean where values are scaled by mean and deviation.
    filled = ops.where(absent, ops.zeros_like(sequence), sequence)
    read = ops.concatenate([filled, ops.cast(absent, "float32")], axis=2) if told else filled
    return PastMissing(filled, absent, read)
