"""Long gaps within a graph: they part a series as `lstm_ae.data.grid` parts a table, and no window crosses one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from lstm_ae.models.inference import input_signature
from lstm_ae.models.scaling import inner_network, inner_scaling, shift_to_series_scale, with_series_scale

# Of what stands before and behind a series.
NO_SEGMENT = -1


def segment_ids(series: Any, max_gap: int) -> Any:
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


def mask_other_segments(windows: Any, segment: Any, *, pads: bool) -> Any:
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


Tensors = dict[str, Any]

# Windows that the network takes at a time.
BLOCK_WINDOWS = 1024


class ScoreParameters(NamedTuple):
    """What a run adds to its model.

    Args:
        threshold: from which score on a row is an anomaly.
        smooth: of how many rows a score is.
        weights: by which the errors of each feature are multiplied, see `lstm_ae.detection.scores.feature_weights`.
        max_gap: rows in a row without any value that a window may cross; any number where None.
        pads: whether what is shorter than a window, between long gaps, is one with missing rows before it.
    """

    threshold: float
    smooth: int
    weights: tuple[float, ...] = ()
    max_gap: int | None = None
    pads: bool = False


def make_score_function(model: Any, detector: ScoreParameters) -> tuple[Callable[[Tensors], Tensors], dict[str, Any]]:
    """The function of `sequence` `(batch, rows, features)` and its signature; `series` `(batch,)` as of the model.

    It returns `score` and `anomaly` `(batch, rows)`, and `threshold` `(batch,)`. A score is what `lstm_ae.detection`
    makes of windows at every row: the mean over all windows in which the row stands and over the rows around it. The
    last `window - 1 + smooth // 2` rows are provisional. A missing value is NaN; a row without any has no score, NaN,
    and none has between long gaps where there are fewer rows than a window, unless they are padded.
    """
    network = inner_network(model)
    window, features = network.input["sequence"].shape[1:]
    half = detector.smooth // 2

    def errors(windows: Any) -> Any:
        scaled = inner_scaling(model)(with_series_scale(model, windows), training=False)["scaled"]
        squared = tf.square(network({"sequence": scaled}, training=False)["reconstruction"] - scaled)
        return squared * tf.constant(detector.weights, tf.float32) if detector.weights else squared

    def score(inputs: Tensors) -> Tensors:
        series = shift_to_series_scale(model, inputs)
        segment = None if detector.max_gap is None else segment_ids(series, detector.max_gap)
        sums, counts = _sum_over_windows(errors, series, window, features, segment, pads=detector.pads)
        by_feature = _mean_or_nan(
            _sum_around(_ratio(sums, counts), half, segment), _sum_around(_has_values(counts), half, segment)
        )
        known = tf.cast(~tf.math.is_nan(by_feature), tf.float32)
        scores = _ratio(tf.reduce_sum(_nan_to_zero(by_feature), axis=1), tf.reduce_sum(known, axis=1))
        scores = tf.where(tf.reduce_sum(known, axis=1) > 0, scores, tf.constant(float("nan")))
        threshold = tf.constant(detector.threshold, tf.float32)
        return {"score": scores, "threshold": tf.fill(tf.shape(series)[:1], threshold), "anomaly": scores > threshold}

    rows = tf.TensorSpec((None, None, features), tf.float32, name="sequence")
    return score, input_signature(model) | {"sequence": rows}


def _sum_over_windows(
    errors: Callable[[Any], Any], series: Any, window: int, features: int, segment: Any, *, pads: bool
) -> tuple[Any, Any]:
    """Sums of the errors over the windows that hold a row, and how many are no NaN: `(batch, features, rows)` each.

    Windows that begin at rows beside one another are cut, judged and summed together, some at a time, and what they say
    of rows that later windows hold as well is handed on: all windows are `window` times as large as the series, and
    what the network holds of each is a hundred times as large again. None is whole that holds rows of two segments,
    `(batch, rows)`, see `gaps`.
    """
    asked = tf.shape(series)[1]
    if segment is not None:
        # So that a window ends at each row, the first ones too.
        front = window - 1 if pads else 0
        series = tf.pad(series, ((0, 0), (front, 0), (0, 0)), constant_values=float("nan"))
        segment = tf.pad(segment, ((0, 0), (front, 1)), constant_values=NO_SEGMENT)
    batch, rows = tf.shape(series)[0], tf.shape(series)[1]
    starts = tf.maximum(rows - window + 1, 0)
    step = tf.maximum(BLOCK_WINDOWS // tf.maximum(batch, 1), 1)
    done = tf.TensorArray(
        tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=(None, None, 2 * features)
    )

    def block(place: Any, done: Any, open_: Any) -> Any:
        begin = place * step
        count = tf.minimum(step, starts - begin)
        windows = tf.signal.frame(series[:, begin : begin + count + window - 1], window, 1, axis=1)
        if segment is not None:
            windows = mask_other_segments(windows, segment[:, begin : begin + count + window], pads=pads)
        squared = _compute_in_blocks(errors, tf.reshape(windows, (-1, window, features)))
        missing = tf.math.is_nan(squared)
        both = tf.concat([tf.where(missing, tf.zeros_like(squared), squared), tf.cast(~missing, tf.float32)], axis=-1)
        both = tf.transpose(tf.reshape(both, (batch, count, window, 2 * features)), (0, 3, 1, 2))
        # By row, then of which series, then of which feature: a block is joined to the next by rows.
        summed = tf.transpose(tf.signal.overlap_and_add(both, 1), (2, 0, 1))
        summed = tf.concat([summed[: window - 1] + open_, summed[window - 1 :]], axis=0)
        return place + 1, done.write(place, summed[:count]), summed[count:]

    # Once at least, so that there is something to join; without any window, of no window.
    blocks = tf.maximum(1, (starts + step - 1) // step)
    _, done, open_ = tf.while_loop(
        lambda place, *_: place < blocks,
        block,
        [0, done, tf.zeros((window - 1, batch, 2 * features))],
        shape_invariants=[tf.TensorShape(()), None, tf.TensorShape((None, None, 2 * features))],
        parallel_iterations=1,
    )
    whole = tf.transpose(tf.concat([done.concat(), open_], axis=0)[rows - asked : rows], (1, 2, 0))
    return whole[:, :features], whole[:, features:]


def _compute_in_blocks(errors: Callable[[Any], Any], windows: Any) -> Any:
    """The errors of windows, some at a time: there may be more series than windows in a block."""
    count = tf.shape(windows)[0]
    found = tf.TensorArray(
        tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=(None, *windows.shape[1:])
    )

    def block(place: Any, found: Any) -> Any:
        return place + 1, found.write(place, errors(windows[place * BLOCK_WINDOWS : (place + 1) * BLOCK_WINDOWS]))

    blocks = tf.maximum(1, (count + BLOCK_WINDOWS - 1) // BLOCK_WINDOWS)
    _, found = tf.while_loop(lambda place, _: place < blocks, block, [0, found], parallel_iterations=1)
    return tf.ensure_shape(found.concat(), windows.shape)


def _ratio(sums: Any, counts: Any) -> Any:
    return sums / tf.maximum(counts, 1.0)


def _has_values(counts: Any) -> Any:
    return tf.cast(counts > 0, tf.float32)


def _sum_around(values: Any, half: int, segment: Any) -> Any:
    """Sums over `half` rows of its segment on either side: `(batch, features, rows)` alike."""
    if not half:
        return values
    rows = tf.shape(values)[2]
    padded = tf.pad(values, ((0, 0), (0, 0), (half, half)))
    beside = None if segment is None else tf.pad(segment, ((0, 0), (half, half)), constant_values=NO_SEGMENT)

    def add(place: Any, sums: Any) -> Any:
        more = padded[..., place : place + rows]
        if beside is not None:
            more = tf.where((beside[:, place : place + rows] == segment)[:, None], more, 0.0)
        return place + 1, sums + more

    # One after the other: side by side they are as many times as large as there are rows to either side.
    _, sums = tf.while_loop(lambda place, _: place <= 2 * half, add, [0, tf.zeros_like(values)], parallel_iterations=1)
    return sums


def _mean_or_nan(sums: Any, counts: Any) -> Any:
    return tf.where(counts > 0, sums / tf.maximum(counts, 1.0), tf.constant(float("nan")))


def _nan_to_zero(values: Any) -> Any:
    return tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)
