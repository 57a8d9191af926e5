"""Batches for training: windows are cut, scaled, and paired with targets inside the TensorFlow graph.

Only the indices of the samples are passed in, so that a training step copies no batch.
"""

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.arrays import Array
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Split


class Batches:
    """Source of a network's inputs and targets, in scaled values.

    Args:
        split: source of the windows. Its series is copied to TensorFlow once.
        scale: scale fitted on the training split.
        network: its outputs determine the targets: "reconstruction" is the sequence itself, "label" its class, and
            "future" the steps after those that the network reads. If the network reads any number of steps, "future"
            is the window shifted by one step, or its last step only. An input
            "known" gets the last features of the steps after those that the network reads.
    """

    def __init__(self, split: Split, scale: Scale, network: keras.Model) -> None:
        self.split, self.scale, self.outputs = split, scale, network.output
        self.known = network.input["known"].shape[2] if "known" in network.input else 0
        # Steps of a window that are inputs.
        self.inputs = slice(network.input["past"].shape[1] or -1) if "future" in self.outputs else slice(None)
        self.samples = split.samples
        # Scaling that does not depend on the window is applied once, not in every step. The series is a variable, so
        # that `release` can free it: constants that a graph has captured stay in memory.
        free = tf.TensorShape((None, split.features))
        self.series = tf.Variable(self._scaled_rows(), trainable=False, shape=free)
        self.starts = tf.constant(split.starts)
        self.label = None if split.label is None else tf.constant(split.label)

    def release(self) -> None:
        """Release the memory of the series; `cut` fails afterwards."""
        self.series.assign(np.zeros((0, self.split.features), np.float32))

    def cut(self, index: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Return the inputs and targets, by name, of the samples `index`, `(batch,)` int64."""
        starts = tf.gather(self.starts, index)
        forecast = "future" in self.outputs
        # (batch, span, features), scaled unless each window has its own scale.
        window = tf.gather(self.series, starts[:, None] + tf.range(self.split.span, dtype=tf.int64))
        if self.scale.kind == "window":
            window = _scale_by_range(window, window[:, self.inputs])
        inputs = {"past" if forecast else "sequence": window[:, self.inputs]}
        targets = {}
        if forecast:
            _, steps, features = self.outputs["future"].shape
            last = slice(1, None) if steps is None else slice(-steps, None)
            targets["future"] = window[:, last, :features]
        if self.known:
            inputs["known"] = window[:, self.inputs.stop :, -self.known :]
        if "reconstruction" in self.outputs:
            targets["reconstruction"] = window
        if "label" in self.outputs:
            targets["label"] = tf.gather(self.label, index)
        return inputs, targets

    def _scaled_rows(self) -> Array:
        """Return the series, scaled unless each window has its own scale."""
        if self.scale.kind == "window":
            return self.split.series
        offset, width, line = self.scale.offset, self.scale.range, self.split.line
        if self.scale.kind not in ("fixed", "log") and line is not None:
            offset, width = offset[line], width[line]
        return (self.scale.plain(self.split.series) - offset) / width


def _scale_by_range(window: tf.Tensor, past: tf.Tensor) -> tf.Tensor:
    """Scale each window by the minimum and range of its inputs; the range of constant inputs is 1."""
    low = tf.reduce_min(past, axis=1, keepdims=True)
    width = tf.reduce_max(past, axis=1, keepdims=True) - low
    return (window - low) / tf.where(width > 0, width, 1.0)


def shuffled_order(samples: int, seed: int, epoch: int) -> tf.Tensor:
    """Return the sample indices, int64, in a random order that depends on (seed, epoch) only."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(samples, dtype=tf.int64), tf.constant([seed, epoch], tf.int64)
    )
