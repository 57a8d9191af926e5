"""The `score` endpoint of anomaly detection models, which scores the rows of series of any length in a graph.

Long gaps divide a series into segments as in `lstm_ae.data.grid`, and no window crosses a gap.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.config import Series
from lstm_ae.detection.baselines import LARGEST_VALUE, MIN_SHAPE_DEVIATION, ShapeMemory
from lstm_ae.detection.calibration import MAX_DEVIATIONS, DetectorCalibration, NormalScores, are_mixed
from lstm_ae.detection.row_means import mean_stride
from lstm_ae.model_store import ModelStore
from lstm_ae.models.keras_network import Specs, Tensors, input_signature
from lstm_ae.models.scaling import inner_network, inner_scaling, shift_to_series_scale, with_series_scale


def segment_ids(series: tf.Tensor, max_gap: int) -> tf.Tensor:
    """Return the segment of each row of a series, counted from 0: `(batch, rows)` int32.

    Args:
        series: `(batch, rows, features)`, NaN where missing.
        max_gap: The largest number of consecutive rows without a value in a segment. A longer gap is a segment
            of its own.
    """
    missing = tf.reduce_all(tf.math.is_nan(series), axis=2)
    batch, rows = tf.shape(missing)[0], tf.shape(missing)[1]
    # All rows of a gap have the same number of rows with a value before them, which identifies the gap.
    runs = tf.cumsum(tf.cast(~missing, tf.int32), axis=1) + (rows + 1) * tf.range(batch)[:, None]
    lengths = tf.math.unsorted_segment_sum(tf.cast(missing, tf.int32), runs, batch * (rows + 1))
    gaps = missing & (tf.gather(lengths, runs) > max_gap)
    begins = tf.concat([tf.zeros_like(gaps[:, :1]), gaps[:, 1:] != gaps[:, :-1]], axis=1)
    return tf.cumsum(tf.cast(begins, tf.int32), axis=1)


class ScoredWindows(NamedTuple):
    """Windows over which the scores of rows are means, as places in the rows of all series, one below the other.

    Args:
        ends: `(windows,)` int32, last row of each window.
        begins: `(windows,)` int32, first row of its segment. Rows before it do not belong to the window.
    """

    ends: tf.Tensor
    begins: tf.Tensor


def find_windows(segment: tf.Tensor, window: int) -> ScoredWindows:
    """Return the windows at every `mean_stride`-th row of each segment, and the window that ends it.

    Args:
        segment: `(batch, rows)`, see `segment_ids`.
        window: Rows per window.
    """
    change = segment[:, 1:] != segment[:, :-1]
    begins, ends = (
        tf.reshape(tf.pad(change, ((0, 0), side), constant_values=True), (-1,)) for side in ((1, 0), (0, 1))
    )
    first = tf.gather(tf.cast(tf.where(begins)[:, 0], tf.int32), tf.cumsum(tf.cast(begins, tf.int32)) - 1)
    last = tf.range(tf.size(first))
    place = last - window + 1 - first
    scored = (place >= 0) & (ends | (place % mean_stride(window) == 0))
    return ScoredWindows(tf.boolean_mask(last, scored), tf.boolean_mask(first, scored))


# Larger blocks of windows would need more memory.
BLOCK_WINDOWS = 1024


class ScoreParameters(NamedTuple):
    """The parameters of a run's anomaly score and threshold.

    Args:
        threshold: A row with a higher score is an anomaly.
        network: How residuals of the network become scores.
        shape: The same for differences from the shapes of training windows; None without this view.
        max_gap: The largest number of consecutive rows without a value that a window may cross.
        windows: How windows become scores, and the columns that count, `(features,)`; None without this view.
    """

    threshold: float
    network: DetectorCalibration
    shape: tuple[DetectorCalibration, ShapeMemory] | None
    max_gap: int
    windows: tuple[DetectorCalibration, BoolArray] | None = None


def score_parameters(run: ModelStore) -> ScoreParameters | None:
    """Return the score parameters of a run; None if it has no threshold."""
    threshold = run.metrics().get("threshold")
    if not threshold:
        return None
    config, normal = run.config(), run.artifact(NormalScores)
    assert isinstance(config, Series)
    assert config.max_gap is not None
    views = normal.view_names(online=False)
    selected = normal.continuous if are_mixed(normal.continuous) else np.ones_like(normal.continuous)
    return ScoreParameters(
        threshold["value"],
        normal.network.calibration,
        (normal.shape.calibration, normal.shape_memory) if "shape" in views else None,
        config.max_gap,
        (normal.windows.calibration, selected) if "windows" in views else None,
    )


def make_score_function(model: keras.Model, detector: ScoreParameters) -> tuple[Callable[[Tensors], Tensors], Specs]:
    """Return the `score` function and its signature.

    The function takes `sequence` `(batch, rows, features)` and, if the model does, `series` `(batch,)`. It returns
    `score` and `anomaly` `(batch, rows)`, and `threshold` `(batch,)`. A score is computed as in `lstm_ae.detection`:
    by each view, the mean of the distances of the windows that contain the row, and these are combined. The shapes
    are those of the training and do not grow. The scores of the last `window - 1` rows are provisional. Missing values
    are NaN. The score is NaN for rows without a value and in segments shorter than a window. A series that is shorter
    than a window is an error, because its rows would all count as normal.

    Args:
        model: An autoencoder with inputs and outputs in the data's units.
        detector: The parameters of the score.
    """
    network = inner_network(model)
    window, features = network.input["sequence"].shape[1:]
    # Constants would be a part of the graph, whose size is limited, and of each of its copies.
    axes = tf.Variable(detector.network.distance.axes, trainable=False, name="axes")
    shape_scores, memory = detector.shape or (None, None)
    shapes = tf.Variable(memory.shapes, trainable=False, name="shapes") if memory else None
    window_scores, columns = detector.windows or (None, None)
    window_axes = None
    if window_scores:
        window_axes = tf.Variable(window_scores.distance.axes, trainable=False, name="window_axes")

    def distances(windows: tf.Tensor) -> tf.Tensor:
        scaled = inner_scaling(model)(with_series_scale(model, windows), training=False)["scaled"]
        residuals = network({"sequence": scaled}, training=False)["reconstruction"] - scaled
        by_view = [squared_distances(detector.network, axes, residuals)]
        if shape_scores and memory:
            differences = shape_residuals(shapes, memory.deviation, scaled)
            by_view.append(squared_distances(shape_scores, shape_scores.distance.axes, differences))
        if window_scores:
            selected = tf.boolean_mask(scaled, columns, axis=2)
            by_view.append(squared_distances(window_scores, window_axes, selected))
        # Rows without a value have no score.
        missing = tf.reduce_all(tf.math.is_nan(scaled), axis=2, keepdims=True)
        return tf.where(missing, tf.constant(float("nan")), tf.stack(by_view, axis=1)[:, None])

    views = 1 + (shape_scores is not None) + (window_scores is not None)

    def score(inputs: Tensors) -> Tensors:
        series = shift_to_series_scale(model, inputs)
        segment = segment_ids(series, detector.max_gap)
        rule = f"a series must have at least {window} rows, a window of the model. Received:"
        # This is not tf.debugging.assert_greater_equal, whose message begins with the tensors.
        tf.debugging.Assert(tf.shape(series)[1] >= window, [rule, tf.shape(series)[1]])
        windows = find_windows(segment, window)
        by_view = tf.math.log1p(_mean_over_windows(distances, views, series, window, windows))
        known = ~tf.math.is_nan(by_view)
        sums = tf.reduce_sum(tf.where(known, by_view, tf.zeros_like(by_view)), axis=2)
        scores = tf.math.expm1(_mean_or_nan(sums, tf.reduce_sum(tf.cast(known, tf.float32), axis=2)))
        threshold = tf.fill(tf.shape(series)[:1], np.float32(detector.threshold))
        return {"score": scores, "threshold": threshold, "anomaly": scores > detector.threshold}

    rows = tf.TensorSpec((None, None, features), tf.float32, name="sequence")
    return score, input_signature(model) | {"sequence": rows}


def shape_residuals(remembered: tf.Variable, deviation: Array, scaled: tf.Tensor) -> tf.Tensor:
    """Return the residuals of `ShapeMemory`, `(windows, window, features)`.

    Args:
        remembered: The shapes of the memory, `(memories, window * features)`.
        deviation: Its deviations, `(features,)`.
        scaled: `(windows, window, features)` scaled windows, NaN where a value is missing.
    """
    missing, zero = tf.math.is_nan(scaled), tf.zeros((), tf.float64)
    values = tf.clip_by_value(tf.cast(scaled, tf.float64) / deviation, -LARGEST_VALUE, LARGEST_VALUE)
    values = tf.where(missing, zero, values)
    present = tf.maximum(tf.reduce_sum(tf.cast(~missing, tf.float64), axis=1, keepdims=True), 1.0)
    values = tf.where(missing, zero, values - tf.reduce_sum(values, axis=1, keepdims=True) / present)
    spread = tf.sqrt(tf.reduce_sum(tf.square(values), axis=1, keepdims=True) / present)
    shapes = tf.reshape(values / tf.maximum(spread, MIN_SHAPE_DEVIATION), (-1, remembered.shape[1]))
    exact = tf.cast(remembered, tf.float64)
    similarity = tf.matmul(shapes, exact, transpose_b=True) - tf.reduce_sum(tf.square(exact), axis=1) / 2
    residuals = tf.cast(tf.gather(exact, tf.argmax(similarity, axis=1)) - shapes, tf.float32)
    return tf.where(missing, tf.constant(float("nan")), tf.reshape(residuals, tf.shape(scaled)))


def squared_distances(calibration: DetectorCalibration, axes: Array | tf.Variable, residuals: tf.Tensor) -> tf.Tensor:
    """Return the score of each window, as `DetectorCalibration.sums` computes it.

    Args:
        calibration: The calibration.
        axes: The axes of its distance, `(axes, window * features)`.
        residuals: `(windows, window, features)`, NaN where a value is missing.

    Returns:
        `(windows,)`; NaN for windows without a value.
    """
    distance, missing = calibration.distance, tf.math.is_nan(residuals)
    deviations = tf.where(missing, distance.mean, residuals / calibration.deviation)
    deviations = tf.clip_by_value(deviations, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    # In double precision, as in `CovarianceDistance.distances`.
    centered = tf.cast(tf.reshape(deviations - distance.mean, (-1, distance.mean.size)), tf.float64)
    projected = tf.square(tf.matmul(centered, tf.cast(axes, tf.float64), transpose_b=True))
    rest = tf.reduce_sum(tf.square(centered), axis=1) - tf.reduce_sum(projected, axis=1)
    weights = 1 / distance.variances.astype(np.float64)
    sums = tf.cast(tf.linalg.matvec(projected, weights) + tf.nn.relu(rest) / distance.floor, tf.float32)
    present = tf.reduce_sum(tf.cast(~missing, tf.float32), axis=(1, 2))
    return _mean_or_nan(sums, present) / calibration.unit


def _mean_over_windows(
    distances: Callable[[tf.Tensor], tf.Tensor], views: int, series: tf.Tensor, window: int, windows: ScoredWindows
) -> tf.Tensor:
    """Return the mean distances of the windows that contain a row, `(batch, rows, views)`; NaN without one.

    The windows are processed in blocks: all of them together would be several times as large as the series, and the
    network's activations a hundred times as large again.
    """
    rows = tf.reshape(series, (-1, series.shape[2]))
    count, steps = tf.size(windows.ends), tf.range(1 - window, 1)

    def block(start: tf.Tensor, totals: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ends, begins = (each[start : start + BLOCK_WINDOWS, None] for each in windows)
        places = ends + steps
        in_segment, places = (places >= begins)[..., None], tf.maximum(places, 0)
        by_row = distances(tf.where(in_segment, tf.gather(rows, places), tf.constant(float("nan"))))
        missing = tf.math.is_nan(by_row)
        terms = tf.concat([tf.where(missing, tf.zeros_like(by_row), by_row), tf.cast(~missing, tf.float32)], axis=-1)
        totals += tf.math.unsorted_segment_sum(terms, places, tf.shape(rows)[0])
        return start + BLOCK_WINDOWS, totals

    _, totals = tf.while_loop(
        lambda start, _: start < count,
        block,
        [0, tf.zeros((tf.shape(rows)[0], 2 * views))],
        shape_invariants=[tf.TensorShape(()), tf.TensorShape((None, 2 * views))],
        parallel_iterations=1,
    )
    sums, counts = tf.split(tf.reshape(totals, (*tf.unstack(tf.shape(series)[:2]), 2 * views)), 2, axis=2)
    return _mean_or_nan(sums, counts)


def _mean_or_nan(sums: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    return tf.where(counts > 0, sums / tf.maximum(counts, 1.0), tf.constant(float("nan")))
