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
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.detection.calibration import NormalScores
from lstm_ae.detection.events import DISTURBED, ESCALATION, LARGEST, AlarmRule
from lstm_ae.detection.tail import (
    FEW_BLOCKS,
    LARGEST_LOGARITHM,
    MAD_DEVIATION,
    PRIOR_SPREAD,
    RECENT_BLOCKS,
    SMALLEST_SCORE,
    UNUSUAL,
)
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
    """The parameters of a run's alarm score and alarms.

    Args:
        rule: The rule by which rows raise alarms.
        views: The views of the alarm score by name.
        max_gap: The largest number of consecutive rows without a value that a window may cross.
    """

    rule: AlarmRule
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
    rule = normal.threshold(parse_threshold(threshold["rule"])).alarm_rule(normal.window)
    return ScoreParameters(rule, views, config.max_gap)


def make_score_function(model: keras.Model, detector: ScoreParameters) -> tuple[Callable[[Tensors], Tensors], Specs]:
    """Return the `score` function and its signature.

    The function takes `sequence` `(batch, rows, features)` and, if the model does, `series` `(batch,)`. It returns
    `score`, `anomaly`, whether the score is above the threshold, and `alarm`, whether the row raises an alarm if these
    are the first rows of their series, all `(batch, rows)`, and `threshold` `(batch,)`. Missing values are NaN. The
    score is NaN for rows without a value and at which no window ends. A series that is shorter than a window is an
    error, because its rows would all count as normal.

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
        shape = tf.shape(series)[:2]
        scores = tf.reshape(scores, shape)
        begins = tf.reshape(first == tf.range(tf.size(first)), shape)
        return {
            "score": scores,
            "threshold": tf.fill(shape[:1], np.float32(detector.rule.threshold)),
            "anomaly": scores > detector.rule.threshold,
            "alarm": find_alarms(scores, begins, detector.rule),
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


def find_alarms(scores: tf.Tensor, begins: tf.Tensor, rule: AlarmRule) -> tf.Tensor:
    """Return which rows raise an alarm, as `lstm_ae.detection.events.find_changes` finds them.

    Args:
        scores: `(batch, rows)` scores of series from their beginning.
        begins: `(batch, rows)` whether each row is the first of a segment.
        rule: The rule.

    Returns:
        `(batch, rows)` bool.
    """
    quiet = tf.zeros_like(begins)
    return tf.cond(tf.reduce_any(scores > rule.threshold), lambda: _find_alarms(scores, begins, rule), lambda: quiet)


class _Alarms(NamedTuple):
    """State of the alarms of a batch of series, see `lstm_ae.detection.events.AlarmState`.

    `kind` is 0 without an open event, 1 in one of an anomaly, and 2 in one of a change. The `known` last of the maxima
    are known.
    """

    kind: tf.Tensor
    begun: tf.Tensor
    below: tf.Tensor
    since: tf.Tensor
    maxima: tf.Tensor
    known: tf.Tensor
    highest: tf.Tensor
    counted: tf.Tensor
    changed: tf.Tensor
    limit: tf.Tensor


def _find_alarms(scores: tf.Tensor, begins: tf.Tensor, rule: AlarmRule) -> tf.Tensor:
    batch, threshold, join = tf.shape(scores)[0], np.float32(rule.threshold), rule.join
    prior, disturbed = rule.maxima or (), DISTURBED * join

    def filled(value: float | bool, dtype: tf.DType = tf.int32) -> tf.Tensor:
        return tf.fill((batch,), tf.constant(value, dtype))

    def step(state: _Alarms, row: tuple[tf.Tensor, tf.Tensor]) -> tuple[_Alarms, tf.Tensor]:
        score, begin = row
        below, kind = state.below + 1, tf.where(begin, 0, state.kind)
        since = tf.where(begin, disturbed, state.since + 1)
        above, over = score > state.limit, score > threshold
        escalates = (kind != 1) | ((since >= join) & (score > ESCALATION * state.begun))
        changes = over & ~above & (kind == 0) & ~state.changed
        anomaly, extends = above & escalates, (above & ~escalates) | (over & ~above & (kind == 2))
        kind = tf.where(anomaly, 1, tf.where(changes, 2, kind))
        below = tf.where(anomaly | changes | extends, 0, below)
        grows = extends & (since < join) & (score > state.begun)
        since = tf.where(anomaly, 0, since)
        counts = (since >= disturbed) & (score >= 0)
        highest = tf.where(counts, tf.maximum(state.highest, score), state.highest)
        counted = state.counted + tf.cast(counts, tf.int32)
        complete = counted >= join
        logarithm = tf.math.log(tf.clip_by_value(tf.cast(highest, tf.float64), SMALLEST_SCORE, LARGEST))
        maxima = tf.concat([state.maxima[:, 1:], logarithm[:, None]], axis=1)
        maxima = tf.where(complete[:, None], maxima, state.maxima)
        known = tf.where(complete, tf.minimum(state.known + 1, RECENT_BLOCKS), state.known)
        limit = tf.cond(tf.reduce_any(complete), lambda: _limit(maxima, known, rule), lambda: state.limit)
        following = _Alarms(
            kind=tf.where(below >= join, 0, kind),
            begun=tf.where(anomaly | changes | grows, score, state.begun),
            below=below,
            since=since,
            maxima=maxima,
            known=known,
            highest=tf.where(complete, 0.0, highest),
            counted=tf.where(complete, 0, counted),
            changed=tf.where(complete, (state.changed | changes) & (limit > threshold), state.changed | changes),
            limit=limit,
        )
        return following, anomaly | changes

    padded = np.zeros(RECENT_BLOCKS)
    padded[RECENT_BLOCKS - len(prior) :] = prior
    first = _Alarms(
        kind=filled(0),
        begun=filled(0.0, tf.float32),
        below=filled(0),
        since=filled(disturbed),
        maxima=tf.tile(tf.constant(padded)[None], (batch, 1)),
        known=filled(len(prior)),
        highest=filled(0.0, tf.float32),
        counted=filled(0),
        changed=filled(False, tf.bool),
        limit=filled(rule.limit(()), tf.float32),
    )
    alarms = tf.scan(
        lambda before, row: step(before[0], row),
        (tf.transpose(scores), tf.transpose(begins)),
        (first, filled(False, tf.bool)),
    )[1]
    return tf.transpose(alarms)


def _limit(maxima: tf.Tensor, known: tf.Tensor, rule: AlarmRule) -> tf.Tensor:
    """Return what `AlarmRule.limit` returns, for the `known` last of the maxima of each series."""
    if rule.maxima is None:
        return tf.fill(tf.shape(known), np.float32(rule.threshold))
    unknown = tf.range(RECENT_BLOCKS) < RECENT_BLOCKS - known[:, None]

    def median(values: tf.Tensor) -> tf.Tensor:
        ordered = tf.sort(tf.where(unknown, tf.constant(np.inf, tf.float64), values), axis=1)
        middle = tf.stack([(known - 1) // 2, known // 2], axis=1)
        return tf.reduce_mean(tf.gather(ordered, tf.maximum(middle, 0), axis=1, batch_dims=1), axis=1)

    center = median(maxima)
    spread = tf.maximum(MAD_DEVIATION * median(tf.abs(maxima - center[:, None])), PRIOR_SPREAD)
    usual = tf.exp(tf.minimum(center + UNUSUAL * spread, LARGEST_LOGARITHM))
    usual = tf.where(known >= FEW_BLOCKS, usual, tf.zeros_like(usual))
    return tf.cast(rule.threshold * tf.maximum(usual / rule.usual, 1), tf.float32)


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
