"""What a network is trained on: windows cut, scaled and paired with targets inside TensorFlow's graph.

Only the numbers of the samples come from outside, so a training step copies no batch from place to place.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import OPEN, Split


class Batches:
    """Cuts the samples of a split for a network, in scaled values.

    Args:
        split: where windows are cut. A series in memory is taken over once; of one in a file (`numpy.memmap`) only
            the rows of the batch are read.
        scale: as fitted on the training part.
        network: its outputs say what the targets are: "reconstruction" the sequence itself, "label" its class,
            "future" what follows the steps that the network reads; where it reads any number of them, the window
            shifted by one step, or its last step where the network returns one step. Where its inputs hold "open",
            they get that of the last day.
    """

    def __init__(self, split: Split, scale: Scale, network: Any) -> None:
        self.split, self.scale, self.outputs = split, scale, network.output
        self.with_open = "open" in network.input
        # Of a window's steps those that the network is given.
        self.given = slice(network.input["past"].shape[1] or -1) if "future" in self.outputs else slice(None)
        self.samples = split.samples
        self.mapped = isinstance(split.series, np.memmap)
        # What does not depend on the window is scaled once, not in every step.
        # A variable, because what a graph has captured stays in memory where an operation has a gradient of its own.
        free = tf.TensorShape((None, split.features))
        self.series = None if self.mapped else tf.Variable(self._scaled_rows(), trainable=False, shape=free)
        self.starts = tf.constant(split.starts)
        self.label = None if split.label is None else tf.constant(split.label)

    def release(self) -> None:
        """Give back the memory of the series; nothing can be cut afterwards."""
        if self.series is not None:
            self.series.assign(np.zeros((0, self.split.features), np.float32))

    def cut(self, index: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The inputs and targets of the samples of these numbers, `(batch,)` int64."""
        starts = tf.gather(self.starts, index)
        forecast = "future" in self.outputs
        window = self._windows(starts)
        if self.scale.kind == "window":
            window = _by_its_own_range(window, window[:, self.given])
        inputs = {"past" if forecast else "sequence": window[:, self.given]}
        targets = {}
        if forecast:
            _, steps, features = self.outputs["future"].shape
            last = slice(1, None) if steps is None else slice(-steps, None)
            targets["future"] = window[:, last, :features]
        if self.with_open:
            inputs["open"] = window[:, -1, OPEN, None]
        if "reconstruction" in self.outputs:
            targets["reconstruction"] = window
        if "label" in self.outputs:
            targets["label"] = tf.gather(self.label, index)
        return inputs, targets

    def _scaled_rows(self) -> Any:
        """The series, scaled where the scale is one of rows."""
        offset, width = self._of_rows(slice(None))
        return (self.scale.plain(self.split.series) - offset) / width

    def _of_rows(self, rows: Any) -> tuple[Any, Any]:
        """Offset and range of rows of the series; 0 and 1 where each window has its own."""
        if self.scale.kind == "window":
            return np.float32(0), np.float32(1)
        if self.scale.kind in ("fixed", "log") or self.split.company is None:
            return self.scale.offset, self.scale.range
        line = self.split.company[rows]
        return self.scale.offset[line], self.scale.range[line]

    def _windows(self, starts: Any) -> Any:
        """`(batch, span, features)`, scaled where the scale is one of rows."""
        if not self.mapped:
            return tf.gather(self.series, starts[:, None] + tf.range(self.split.span, dtype=tf.int64))

        def read(first: Any) -> Any:
            rows = first[:, None] + np.arange(self.split.span)
            offset, width = self._of_rows(rows)
            return ((self.scale.plain(self.split.series[rows]) - offset) / width).astype(np.float32)

        windows = tf.numpy_function(read, [starts], tf.float32, stateful=False)
        windows.set_shape((None, self.split.span, self.split.features))
        return windows


def _by_its_own_range(window: Any, past: Any) -> Any:
    """Each window in multiples of the range of what is read of it; a constant one is divided by 1."""
    low = tf.reduce_min(past, axis=1, keepdims=True)
    width = tf.reduce_max(past, axis=1, keepdims=True) - low
    return (window - low) / tf.where(width > 0, width, 1.0)


def shuffled_order(samples: int, seed: int, epoch: int) -> Any:
    """The samples' numbers in an order drawn from (seed, epoch) alone, so that resuming an epoch finds it again."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(samples, dtype=tf.int64), tf.constant([seed, epoch], tf.int64)
    )
