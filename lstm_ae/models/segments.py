"""Recurrent steps of several rows, with one network that all columns share: the corrections of long forecasts.

A long window is a short sequence of segments, so that the state has few steps to survive. Each segment of the horizon
is computed from the last state and its position alone, so that no error propagates (Lin et al. 2023, "SegRNN: Segment
recurrent neural network for long-term time series forecasting"). Each column is a sequence of its own for the same
weights, which therefore learn from all columns (Nie et al. 2023, "A time series is worth 64 words: Long-term
forecasting with transformers", section 3.1); a learned vector per column tells them apart.
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers, ops

from lstm_ae.config import Series
from lstm_ae.models.encoder import apply_dropout, encode


def fold_columns(own: Sequence[keras.KerasTensor], shared: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """Return a sequence for each column, `(batch * columns, steps, values)`.

    Args:
        own: tensors `(batch, steps, columns)` with a value of each column.
        shared: tensors `(batch, steps, any)` with values that the sequences of all columns contain.
    """
    _, steps, columns = own[0].shape
    values = [ops.reshape(ops.transpose(each, (0, 2, 1)), (-1, steps, 1)) for each in own]
    for each in shared:
        size = each.shape[2]
        repeated = layers.RepeatVector(columns)(ops.reshape(each, (-1, steps * size)))
        values.append(ops.reshape(repeated, (-1, steps, size)))
    return ops.concatenate(values, axis=2) if len(values) > 1 else values[0]


def cut_segments(sequence: keras.KerasTensor, length: int, *, pad_start: bool = False) -> keras.KerasTensor:
    """Return the segments of a sequence, `(batch, segments, length * values)`.

    Args:
        sequence: `(batch, steps, values)`.
        length: rows of a segment.
        pad_start: whether zeros before the first row complete the first segment, instead of zeros after the last one.
    """
    _, steps, values = sequence.shape
    missing = -steps % length
    if missing:
        zeros = ops.concatenate([ops.zeros_like(sequence[:, :1])] * missing, axis=1)
        sequence = ops.concatenate([zeros, sequence] if pad_start else [sequence, zeros], axis=1)
    return ops.reshape(sequence, (-1, (steps + missing) // length, length * values))


def segment_branch(
    config: Series, read: Sequence[keras.KerasTensor], known: keras.KerasTensor | None, *, targets: int, horizon: int
) -> Callable[[str], keras.KerasTensor]:
    """Return the function that builds a member: the correction of a forecast, zero before the training.

    The encoder reads the segments of a column. A hidden layer reads its last state, the known values of a segment of
    the horizon, and learned vectors of the segment's position and of the column. The output layer returns the rows of
    the segment.

    Args:
        config: cell, units, layers, dropout, direction, and rows of a segment.
        read: tensors `(batch, steps, features)`, the features to forecast first.
        known: `(batch, horizon, any)` values that are known in advance; None for none.
        targets: number of features to forecast.
        horizon: number of steps to forecast.

    Returns:
        A function from the prefix of the names of the layers to `(batch, horizon, targets)`.
    """
    own = [each[..., :targets] for each in read]
    shared = [each[..., targets:] for each in read if each.shape[2] > targets]
    sequence = cut_segments(fold_columns(own, shared), config.segment, pad_start=True)
    ahead = None if known is None else cut_segments(known, config.segment)
    ones = ops.ones_like(read[0][:, 0, :1])
    units, count = config.decoder_units or config.units, -(-horizon // config.segment)

    def build(prefix: str) -> keras.KerasTensor:
        state = encode(config, sequence, sequences=False, prefix=prefix)
        hidden = layers.Dense(units, name=f"{prefix}from_state")(state)
        # A dense layer of the number 1 is a table of learned vectors.
        position = layers.Dense(count * units, use_bias=False, name=f"{prefix}position")(ones)
        # The larger summand must be the second: Keras treats a second one with a single axis above 1 as a bias, and
        # confuses axes of the same size.
        hidden = ops.reshape(position, (-1, 1, count, units)) + ops.reshape(hidden, (-1, targets, 1, units))
        if targets > 1:
            column = layers.Dense(targets * units, use_bias=False, name=f"{prefix}column")(ones)
            hidden = ops.reshape(column, (-1, targets, 1, units)) + hidden
        if ahead is not None:
            from_known = layers.Dense(units, use_bias=False, name=f"{prefix}from_known")(ahead)
            hidden = ops.reshape(from_known, (-1, 1, count, units)) + hidden
        hidden = apply_dropout(config, ops.maximum(hidden, 0.0), f"{prefix}hidden")
        rows = layers.Dense(config.segment, kernel_initializer="zeros", name=f"{prefix}residual")(hidden)
        rows = ops.reshape(rows, (-1, targets, count * config.segment))
        return ops.transpose(rows[..., :horizon], (0, 2, 1))

    return build
