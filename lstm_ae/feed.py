"""Batches for training: windows cut, scaled and paired with targets in `tf.data`, shuffled by (seed, epoch)."""

from typing import Any, NamedTuple

import tensorflow as tf

from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Split


def steps_of(split: Split, batch_size: int) -> int:
    """Training steps in an epoch; the last batch may be short."""
    return -(-split.samples // batch_size)


class Shuffle(NamedTuple):
    """A new order for each of the epochs from `first` to `last` - 1, drawn from (seed, epoch)."""

    seed: int
    first: int
    last: int


def batches(split: Split, scale: Scale, network: Any, batch_size: int, shuffle: Shuffle | None = None) -> Any:
    """A dataset of `(inputs, targets)` in scaled values.

    Args:
        split: where windows are cut.
        scale: as fitted on the training part.
        network: its outputs say what the targets are: "reconstruction" the sequence itself, "label" its class,
            "future" the window shifted by one step, or its last step where the network returns one step.
        batch_size: samples in a batch; the last one of an epoch may be short.
        shuffle: None for a single pass in the split's own order.
    """
    outputs = network.output
    series = tf.constant(_scaled_rows(split, scale))
    starts = tf.constant(split.starts)
    labels = None if split.label is None else tf.constant(split.label)
    offsets = tf.range(split.span, dtype=tf.int64)
    forecast = "future" in outputs

    def cut(index: Any) -> Any:
        window = tf.gather(series, tf.gather(starts, index)[:, None] + offsets)
        past = window[:, :-1] if forecast else window
        if scale.kind == "window":
            low = tf.reduce_min(past, axis=1, keepdims=True)
            width = tf.reduce_max(past, axis=1, keepdims=True) - low
            width = tf.where(width > 0, width, 1.0)
            window, past = (window - low) / width, (past - low) / width
        targets = {}
        if forecast:
            targets["future"] = window[:, -1:] if outputs["future"].shape[1] == 1 else window[:, 1:]
        if "reconstruction" in outputs:
            targets["reconstruction"] = window
        if "label" in outputs:
            targets["label"] = tf.gather(labels, index)
        return {"past" if forecast else "sequence": past}, targets

    order = tf.range(split.samples, dtype=tf.int64)

    def shuffled(epoch: Any) -> Any:
        assert shuffle is not None
        seed = tf.stack([tf.constant(shuffle.seed, tf.int64), epoch])
        mixed = tf.random.experimental.stateless_shuffle(order, seed)
        return tf.data.Dataset.from_tensor_slices(mixed).batch(batch_size)

    if shuffle is None:
        index = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
    else:
        index = tf.data.Dataset.range(shuffle.first, shuffle.last).flat_map(shuffled)
    return index.map(cut).prefetch(2)


def _scaled_rows(split: Split, scale: Scale) -> Any:
    """The series scaled row by row, where the scale does not depend on the window."""
    if scale.kind == "window":
        return split.series
    if scale.kind == "fixed" or split.company is None:
        return (split.series - scale.offset) / scale.range
    return (split.series - scale.offset[split.company]) / scale.range[split.company]
