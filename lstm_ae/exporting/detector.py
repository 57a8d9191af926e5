"""The `score` endpoint of a model that finds anomalies: rows in, what `series detect` says of them out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from lstm_ae.models.scaling import network_of, scaling_of

Tensors = dict[str, Any]

# Windows that the network takes at a time.
BLOCK = 1024


class Detector(NamedTuple):
    """What a run adds to its model: from which score on a row is an anomaly, and of how many rows a score is."""

    threshold: float
    smooth: int


def row_scores(model: Any, detector: Detector) -> tuple[Callable[[Tensors], Tensors], dict[str, Any]]:
    """The function of `sequence` `(batch, rows, features)` and its signature.

    It returns `score` and `anomaly` `(batch, rows)`, and `threshold` `(batch,)`. A score is what `lstm_ae.anomaly`
    makes of windows at every row: the mean over all windows in which the row stands and over the rows around it. The
    last `window - 1 + smooth // 2` rows are provisional. A missing value is NaN; a row without any has no score, NaN,
    and none has where there are fewer rows than a window.
    """
    network = network_of(model)
    window, features = network.input["sequence"].shape[1:]
    half = detector.smooth // 2

    def errors(windows: Any) -> Any:
        scaled = scaling_of(model)({"sequence": windows}, training=False)["scaled"]
        return tf.square(network({"sequence": scaled}, training=False)["reconstruction"] - scaled)

    def score(inputs: Tensors) -> Tensors:
        series = inputs["sequence"]
        batch, rows = tf.shape(series)[0], tf.shape(series)[1]
        windows = tf.reshape(tf.signal.frame(series, window, 1, axis=1), (-1, window, features))
        squared = _in_blocks(errors, windows)
        missing = tf.math.is_nan(squared)
        sums = _over_windows(tf.where(missing, tf.zeros_like(squared), squared), batch, rows, window, features)
        counts = _over_windows(tf.cast(~missing, tf.float32), batch, rows, window, features)
        by_feature = _mean(_around(_ratio(sums, counts), half), _around(_there(counts), half))
        known = tf.cast(~tf.math.is_nan(by_feature), tf.float32)
        scores = _ratio(tf.reduce_sum(_or_zero(by_feature), axis=1), tf.reduce_sum(known, axis=1))
        scores = tf.where(tf.reduce_sum(known, axis=1) > 0, scores, tf.constant(float("nan")))
        threshold = tf.constant(detector.threshold, tf.float32)
        return {"score": scores, "threshold": tf.fill((batch,), threshold), "anomaly": scores > threshold}

    return score, {"sequence": tf.TensorSpec((None, None, features), tf.float32, name="sequence")}


def _in_blocks(errors: Callable[[Any], Any], windows: Any) -> Any:
    """The errors of all windows, some at a time: what the network holds of each is a hundred times as large."""
    count = tf.shape(windows)[0]
    found = tf.TensorArray(
        tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=(None, *windows.shape[1:])
    )

    def block(place: Any, found: Any) -> Any:
        return place + 1, found.write(place, errors(windows[place * BLOCK : (place + 1) * BLOCK]))

    # Once at least, so that there is something to join.
    blocks = tf.maximum(1, (count + BLOCK - 1) // BLOCK)
    _, found = tf.while_loop(lambda place, _: place < blocks, block, [0, found], parallel_iterations=1)
    return tf.ensure_shape(found.concat(), windows.shape)


def _over_windows(values: Any, batch: Any, rows: Any, window: int, features: int) -> Any:
    """Sums over the windows that hold a row: `(batch * windows, window, features)` to `(batch, features, rows)`."""
    values = tf.transpose(tf.reshape(values, (batch, -1, window, features)), (0, 3, 1, 2))
    # Without any window it would give the rows of one, but for the last.
    return tf.signal.overlap_and_add(values, 1)[..., :rows]


def _ratio(sums: Any, counts: Any) -> Any:
    return sums / tf.maximum(counts, 1.0)


def _there(counts: Any) -> Any:
    return tf.cast(counts > 0, tf.float32)


def _around(values: Any, half: int) -> Any:
    """Sums over `half` rows on either side: `(batch, features, rows)` alike."""
    if not half:
        return values
    padded = tf.pad(values, ((0, 0), (0, 0), (half, half)))
    return tf.reduce_sum(tf.signal.frame(padded, 2 * half + 1, 1, axis=2), axis=-1)


def _mean(sums: Any, counts: Any) -> Any:
    return tf.where(counts > 0, sums / tf.maximum(counts, 1.0), tf.constant(float("nan")))


def _or_zero(values: Any) -> Any:
    return tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)
