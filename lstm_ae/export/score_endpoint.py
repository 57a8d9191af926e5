"""The `score` endpoint of anomaly detection models, which scores the rows of series of any length in a graph.

Long gaps divide a series into segments as in `lstm_ae.data.grid`, and no window crosses a gap. Scores and alarms are
those of `lstm_ae.detection`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.config import Series
from lstm_ae.detection.calibration import NormalScores
from lstm_ae.detection.views import MAX_DEVIATIONS, NETWORK, VALUES, Calibration, View
from lstm_ae.model_store import ModelStore
from lstm_ae.models.keras_network import Specs, Tensors, input_signature
from lstm_ae.models.scaling import inner_network, inner_scaling, shift_to_series_scale, with_series_scale

# Larger blocks of windows would need more memory.
BLOCK_WINDOWS = 1024


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


class ScoreParameters(NamedTuple):
    """The parameters of a run's alarm score and threshold.

    Args:
        threshold: A row with a higher score is an anomaly.
        views: The views of the alarm score by name.
        max_gap: The largest number of consecutive rows without a value that a window may cross.
    """

    threshold: float
    views: Mapping[str, View]
    max_gap: int


def score_parameters(run: ModelStore) -> ScoreParameters | None:
    """Return the score parameters of a run; None if it has no threshold."""
    threshold = run.metrics().get("threshold")
    if not threshold:
        return None
    config, normal = run.config(), run.artifact(NormalScores)
    assert isinstance(config, Series)
    assert config.max_gap is not None
    views = {name: view for name, view in normal.views.items() if view.alarms}
    return ScoreParameters(threshold["value"], views, config.max_gap)


def make_score_function(model: keras.Model, detector: ScoreParameters) -> tuple[Callable[[Tensors], Tensors], Specs]:
    """Return the `score` function and its signature.

    The function takes `sequence` `(batch, rows, features)` and, if the model does, `series` `(batch,)`. It returns
    `score`, `anomaly`, whether the score is above the threshold, and `alarm`, whether the row begins an event, all
    `(batch, rows)`, and `threshold` `(batch,)`. Missing values are NaN. The score is NaN for rows without a value and
    at which no window ends. A series that is shorter than a window is an error, because its rows would all count as
    normal.

    Args:
        model: An autoencoder with inputs and outputs in the data's units.
        detector: The parameters of the score.
    """
    network = inner_network(model)
    window, features = network.input["sequence"].shape[1:]
    # Constants would be a part of the graph, whose size is limited, and of each of its copies.
    axes = {
        name: tf.Variable(view.calibration.distance.axes, trainable=False, name=f"{name}_axes")
        for name, view in detector.views.items()
    }

    def score_windows(windows: tf.Tensor) -> tf.Tensor:
        scaled = inner_scaling(model)(with_series_scale(model, windows), training=False)["scaled"]
        residuals = network({"sequence": scaled}, training=False)["reconstruction"] - scaled
        sources, terms = {NETWORK: residuals, VALUES: scaled}, []
        for name, view in detector.views.items():
            deviations = measure_deviations(view.calibration, view.graph(sources[view.source]))
            units = view.calibration.units
            distances = squared_distances(view.calibration, axes[name], deviations) / units.distance
            errors = _mean_of_known(tf.square(deviations[:, -1])) / units.error
            terms.append((tf.math.log1p(distances) + tf.math.log1p(errors)) / 2)
        return tf.math.expm1(_mean_of_known(tf.stack(terms, axis=1)))

    def score(inputs: Tensors) -> Tensors:
        series = shift_to_series_scale(model, inputs)
        rule = f"a series must have at least {window} rows, a window of the model. Received:"
        # This is not tf.debugging.assert_greater_equal, whose message begins with the tensors.
        tf.debugging.Assert(tf.shape(series)[1] >= window, [rule, tf.shape(series)[1]])
        first = first_rows(segment_ids(series, detector.max_gap))
        scores = _score_rows(score_windows, series, first, window)
        above = scores > detector.threshold
        shape = tf.shape(series)[:2]
        return {
            "score": tf.reshape(scores, shape),
            "threshold": tf.fill(shape[:1], np.float32(detector.threshold)),
            "anomaly": tf.reshape(above, shape),
            "alarm": tf.reshape(find_alarms(above, first, window), shape),
        }

    rows = tf.TensorSpec((None, None, features), tf.float32, name="sequence")
    return score, input_signature(model) | {"sequence": rows}


def first_rows(segment: tf.Tensor) -> tf.Tensor:
    """Return the first row of the segment of each row, as places in the rows of all series, one below the other.

    Args:
        segment: `(batch, rows)`, see `segment_ids`.

    Returns:
        `(batch * rows,)` int32.
    """
    change = segment[:, 1:] != segment[:, :-1]
    begins = tf.reshape(tf.pad(change, ((0, 0), (1, 0)), constant_values=True), (-1,))
    return tf.gather(tf.cast(tf.where(begins)[:, 0], tf.int32), tf.cumsum(tf.cast(begins, tf.int32)) - 1)


def find_alarms(above: tf.Tensor, first: tf.Tensor, join: int) -> tf.Tensor:
    """Return which rows begin an event: none of the `join` rows before in its segment is above the threshold.

    Args:
        above: `(rows,)` bool.
        first: `(rows,)`, see `first_rows`.
        join: Rows below the threshold after which an event is over.
    """
    counts = tf.cumsum(tf.cast(above, tf.int32), exclusive=True)
    earlier = counts - tf.gather(counts, tf.maximum(tf.range(tf.size(first)) - join, first))
    return above & (earlier == 0)


def _score_rows(
    score_windows: Callable[[tf.Tensor], tf.Tensor], series: tf.Tensor, first: tf.Tensor, window: int
) -> tf.Tensor:
    """Return the scores of the windows that end at each row, `(batch * rows,)`; NaN where none does.

    The windows are processed in blocks: all of them together would be several times as large as the series, and the
    network's activations a hundred times as large again.
    """
    rows = tf.reshape(series, (-1, series.shape[2]))
    ends = tf.range(tf.size(first))
    ends = tf.boolean_mask(ends, ends - window + 1 >= first)
    steps = tf.range(1 - window, 1)

    def block(start: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        places = ends[start : start + BLOCK_WINDOWS, None]
        scored = score_windows(tf.gather(rows, places + steps))
        return start + BLOCK_WINDOWS, tf.tensor_scatter_nd_update(scores, places, scored)

    _, scores = tf.while_loop(
        lambda start, _: start < tf.size(ends),
        block,
        [0, tf.fill(tf.shape(rows)[:1], np.float32(np.nan))],
        shape_invariants=[tf.TensorShape(()), tf.TensorShape((None,))],
        parallel_iterations=1,
    )
    return scores


def measure_deviations(calibration: Calibration, windows: tf.Tensor) -> tf.Tensor:
    """Return what `Calibration.measure` returns as deviations of `(windows, window, features)`."""
    deviations = tf.clip_by_value(windows / calibration.deviation, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    return tf.where(tf.math.is_nan(windows), windows, deviations)


def squared_distances(calibration: Calibration, axes: tf.Variable, deviations: tf.Tensor) -> tf.Tensor:
    """Return the distance of each window, as `Calibration.measure` computes it.

    Args:
        calibration: The calibration.
        axes: The axes of its distance, `(axes, window * features)`.
        deviations: `(windows, window, features)`, NaN where a value is missing.

    Returns:
        `(windows,)`; NaN for windows without a value.
    """
    distance, missing = calibration.distance, tf.math.is_nan(deviations)
    centered = tf.where(missing, tf.zeros_like(deviations), deviations - distance.mean)
    # In double precision, as in `CovarianceDistance.distances`.
    centered = tf.cast(tf.reshape(centered, (-1, distance.mean.size)), tf.float64)
    projected = tf.square(tf.matmul(centered, tf.cast(axes, tf.float64), transpose_b=True))
    rest = tf.reduce_sum(tf.square(centered), axis=1) - tf.reduce_sum(projected, axis=1)
    weights = 1 / distance.variances.astype(np.float64)
    sums = tf.cast(tf.linalg.matvec(projected, weights) + tf.nn.relu(rest) / distance.floor, tf.float32)
    return _divide_or_nan(sums, tf.reduce_sum(tf.cast(~missing, tf.float32), axis=(1, 2)))


def _mean_of_known(values: tf.Tensor) -> tf.Tensor:
    """Return the mean over the columns that are not NaN: `(rows, columns)` to `(rows,)`; NaN without any."""
    known = ~tf.math.is_nan(values)
    sums = tf.reduce_sum(tf.where(known, values, tf.zeros_like(values)), axis=1)
    return _divide_or_nan(sums, tf.reduce_sum(tf.cast(known, tf.float32), axis=1))


def _divide_or_nan(sums: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    return tf.where(counts > 0, sums / tf.maximum(counts, 1.0), tf.constant(float("nan")))
