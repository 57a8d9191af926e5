"""Long gaps within a graph: they part a series as `lstm_ae.data.grid` parts a table, and no window crosses one."""

from typing import Any

import tensorflow as tf

# Of what stands before and behind a series.
NONE = -1


def segments_of(series: Any, max_gap: int) -> Any:
    """Which segment each row of a series belongs to, counted from 0: `(batch, rows)` int32.

    Args:
        series: `(batch, rows, features)`, NaN where missing.
        max_gap: rows in a row without any value that a segment may hold; more are a segment of their own.
    """
    missing = tf.reduce_all(tf.math.is_nan(series), axis=2)
    batch, rows = tf.shape(missing)[0], tf.shape(missing)[1]
    # Rows without a value have the number of those with one before them in common.
    runs = tf.cumsum(tf.cast(~missing, tf.int32), axis=1) + (rows + 1) * tf.range(batch)[:, None]
    lengths = tf.math.unsorted_segment_sum(tf.cast(missing, tf.int32), runs, batch * (rows + 1))
    apart = missing & (tf.gather(lengths, runs) > max_gap)
    begins = tf.concat([tf.zeros_like(apart[:, :1]), apart[:, 1:] != apart[:, :-1]], axis=1)
    return tf.cumsum(tf.cast(begins, tf.int32), axis=1)


def within(windows: Any, segment: Any, *, pads: bool) -> Any:
    """Windows without what is of another segment than their last row; all of a window is NaN that is no whole one.

    Args:
        windows: `(batch, count, window, features)`, one row after the other.
        segment: `(batch, count + window)` of their rows, and of the row that follows them.
        pads: whether the last rows of a segment shorter than a window are one, with missing rows before them.
    """
    window = windows.shape[2]
    segments = tf.signal.frame(segment[:, :-1], window, 1, axis=1)
    own = segments == segments[..., -1:]
    counts = tf.reduce_all(own, axis=2)
    if pads:
        counts |= segment[:, window - 1 : -1] != segment[:, window:]
    return tf.where((own & counts[..., None])[..., None], windows, tf.constant(float("nan")))
