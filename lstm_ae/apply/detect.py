"""Detect anomalies in a table with a trained run, and compare the scores with a baseline and with labels."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.run_table import LoadedRun, TableRequest, run_config, slide_run
from lstm_ae.arrays import Array, BoolArray
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.anomaly_labels import known_anomalies
from lstm_ae.data.padding import original_rows, remove_padding
from lstm_ae.data.preparation import PreparedTable, SeriesScales
from lstm_ae.data.table_reader import Progress
from lstm_ae.data.time_zones import format_time
from lstm_ae.detection.baselines import MAHALANOBIS
from lstm_ae.detection.calibration import (
    Adding,
    NormalDistances,
    NormalScores,
    ScoredSeries,
    find_anomalies,
    score_rows,
    windowwise,
)
from lstm_ae.detection.events import Event
from lstm_ae.detection.metrics import EventMetrics, RankingMetrics, event_metrics, ranking_metrics
from lstm_ae.detection.scores import row_scores
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series import reconstruction


class LabelMetrics(NamedTuple):
    """The ranking metrics of scores on labeled rows and the event metrics on labeled ranges.

    The event metrics are None for scores without a threshold.
    """

    ranking: RankingMetrics
    events: EventMetrics | None


class Detection(NamedTuple):
    """The scores and events of a table.

    Args:
        prepared: The table on its time grid.
        normal: The scores of normal rows that the model was not trained on.
        model, baseline: Scores and events of the model, and of as many principal components as its code has numbers.
        metrics: Metrics by scorer ("model", "PCA", "Mahalanobis", "raw values"); empty if the table has no labels.
    """

    prepared: PreparedTable
    normal: NormalScores
    model: ScoredSeries
    baseline: ScoredSeries
    metrics: dict[str, LabelMetrics]

    def format_time(self, row: int) -> str:
        """Return the time of a grid row as text, or its number if the table has no time column."""
        time, table = int(self.prepared.grid.times[row]), self.prepared.table
        return format_time(time, table.zone) if table.layout.time is not None else str(time)

    def series_name(self, row: int) -> str | None:
        """Return the name of a row's series; None if there is one series."""
        ids = self.prepared.table.ids
        return ids[self.prepared.grid.series[row]] if len(ids) > 1 else None

    def labeled_rows(self) -> Array:
        """Return which rows are known anomalies, `(rows,)` bool."""
        return known_anomalies(self.prepared.grid)


@dataclasses.dataclass(frozen=True)
class RunDetector(LoadedRun):
    """The detector of a run.

    Args:
        normal: The scores of normal rows that the model was not trained on.
        model_errors, baseline_errors: Functions that return the squared window errors of scaled rows, for the model
            and for as many principal components as its code has numbers. The errors of each column are multiplied by
            its weight.
        distances: Mahalanobis distances of normal rows, a baseline where labels exist; None for runs without them.
    """

    normal: NormalScores
    model_errors: Adding
    baseline_errors: Adding
    distances: NormalDistances | None = None


def load_detector(run: ModelStore, reading: JsonMapping | None = None) -> RunDetector:
    """Load the detector of a run.

    Args:
        run: A finished anomaly detection run.
        reading: Reading options of the tables that differ from the run's.

    Raises:
        ConfigError, DataError: If the run is damaged or is not an anomaly detection run.
    """
    config = run_config(run, reading=reading)
    # The default rule may change in a later version, but the threshold of a run must not.
    rule = run.metrics().get("threshold", {}).get("rule")
    config = dataclasses.replace(config, threshold=config.threshold or rule)
    normal = run.artifact(NormalScores)
    by_components = windowwise(reconstruction.component_errors(normal.components, normal.scale.common), normal.window)
    errors = normal.weigh(slide_run(run, config.scale).errors, by_components)
    distances = run.find_artifact(NormalDistances)
    return RunDetector(config, SeriesScales(normal.scale, run.symbols), normal, *errors, distances)


def detect(run: ModelStore, request: TableRequest, *, rule: str | None = None) -> Detection:
    """Detect anomalies in a table.

    Args:
        run: A finished anomaly detection run.
        request: The table.
        rule: The threshold rule; None for the run's own rule.

    Raises:
        ConfigError, DataError: If the table cannot be read with these options, or the run is not an anomaly
            detection run.
    """
    # A damaged run is reported before a table that may be large is read.
    detector = load_detector(run, request.reading)
    return detect_prepared(detector, detector.read(request), rule)


def detect_prepared(
    detector: RunDetector, prepared: PreparedTable, rule: str | None = None, progress: Progress | None = None
) -> Detection:
    """Detect anomalies in a table that is on its time grid.

    Args:
        detector: The detector of a run.
        prepared: The table.
        rule: The threshold rule; None for the detector's own rule.
        progress: Function that is called with the number of rows scored and their share.
    """
    normal, grid, values = detector.normal, prepared.grid, detector.scales.to_common(prepared).grid.values
    threshold_rule = parse_threshold(rule) if rule else reconstruction.threshold_rule(detector.config, normal)
    original = original_rows(grid)
    prepared = remove_padding(prepared, original)
    rows: slice | BoolArray = slice(None) if prepared.grid is grid else original

    def score(errors: Adding, normal_scores: Array, smooth: int, progress: Progress | None = None) -> ScoredSeries:
        by_feature = score_rows(errors, values, grid.segment, normal.window, smooth, progress)
        threshold = normal.threshold(threshold_rule, normal_scores, smooth)
        return find_anomalies(by_feature[rows], normal, threshold, prepared.grid.segment, prepared.grid.series)

    model = score(detector.model_errors, normal.scores, normal.smooth, progress)
    # Only the model reports progress: the baseline takes much less time.
    baseline = score(detector.baseline_errors, normal.baseline, normal.smooth)
    metrics = {}
    if prepared.grid.labels is not None:
        scale, scorers = detector.scales.scale.common, {"model": model, "PCA": baseline}
        if distances := detector.distances:
            errors = windowwise(reconstruction.covariance_errors(distances.covariance, scale), normal.window)
            scorers[MAHALANOBIS] = score(errors, distances.scores, smooth=1)
        distance = np.square((values[rows] - scale.offset) / scale.range) if scale.kind == "fixed" else None
        raw = None if distance is None else row_scores(distance)
        # A fixed threshold is in units of the model's errors, and a distance has others.
        without_threshold = {MAHALANOBIS} if threshold_rule.kind == "fixed" else set()
        metrics = _evaluate_on_labels(prepared, scorers, without_threshold, raw, normal.window)
    return Detection(prepared, normal, model, baseline, metrics)


def _evaluate_on_labels(
    prepared: PreparedTable,
    scorers: Mapping[str, ScoredSeries],
    without_threshold: Collection[str],
    raw: Array | None,
    window: int,
) -> dict[str, LabelMetrics]:
    """Return the metrics of scores and events on the labels, by scorer.

    Rows without a label count as normal, and rows without a score have the lowest score. Metrics that need both
    labeled and unlabeled rows are NaN otherwise.
    """
    grid, labels = prepared.grid, known_anomalies(prepared.grid)
    metrics = {
        name: _label_metrics(
            labels, scored.scores, None if name in without_threshold else scored.events, window, grid.segment
        )
        for name, scored in scorers.items()
    }
    if raw is not None:
        metrics["raw values"] = _label_metrics(labels, raw, None, window, grid.segment)
    return metrics


def fill_scores(scores: Array) -> Array:
    """Return scores in which rows without one have the lowest."""
    return np.where(np.isnan(scores), np.nanmin(scores), scores)


def _label_metrics(
    labels: Array, scores: Array, events: Sequence[Event] | None, window: int, segment: Array
) -> LabelMetrics:
    filled = fill_scores(scores)
    return LabelMetrics(
        ranking_metrics(labels, filled, window, segment),
        None if events is None else event_metrics(labels, filled, events, segment),
    )
