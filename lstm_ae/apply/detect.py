"""Detect anomalies in a table with a trained run, and compare the scores with a baseline and with labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.run_table import LoadedRun, run_config, slide_run, too_few_rows
from lstm_ae.arrays import Array
from lstm_ae.checks.table import collect_new_table_warnings
from lstm_ae.config.threshold import Rule, parse_threshold
from lstm_ae.data.anomaly_labels import known_anomalies
from lstm_ae.data.panel import Panel, run_bounds
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.scaling import SeriesScales
from lstm_ae.data.table_reader import Progress
from lstm_ae.data.time_zones import format_each_time
from lstm_ae.detection.baselines import MAHALANOBIS
from lstm_ae.detection.calibration import DETECTOR, PCA, VIEWS, NormalScores, RowScores, ScoredSeries, find_anomalies
from lstm_ae.detection.events import Event
from lstm_ae.detection.metrics import EventMetrics, RankingMetrics, event_metrics, ranking_metrics
from lstm_ae.detection.row_means import mean_over_features, window_segments
from lstm_ae.detection.scorer import View, score_rows
from lstm_ae.detection.shift import Shift, ShiftLimits
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series import reconstruction

# Rows of a block in the search for shifts, which needs many times the memory of its rows.
SHIFT_ROWS = 100_000

_ScoresAndEvents = tuple[Array, Sequence[Event] | None]


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
        shifts: Shifts of the series whose last rows are outside the training range, by name.
        online: Whether the scores are online scores.
    """

    prepared: PreparedTable
    normal: NormalScores
    model: ScoredSeries
    baseline: ScoredSeries
    metrics: dict[str, LabelMetrics]
    shifts: dict[str, Shift]
    online: bool

    @property
    def several(self) -> bool:
        """Whether the table has several series."""
        return len(self.prepared.table.ids) > 1

    def format_time(self, row: int) -> str:
        """Return the time of a grid row with its time of day, or its number if the table has no time column."""
        time, table = int(self.prepared.grid.times[row]), self.prepared.table
        if table.layout.time is None:
            return str(time)
        return str(format_each_time(np.array([time]), table.zone)[0]).replace("T", " ")

    def labeled_rows(self) -> Array:
        """Return which rows are known anomalies, `(rows,)` bool."""
        return known_anomalies(self.prepared.grid)


@dataclasses.dataclass(frozen=True)
class RunDetector(LoadedRun):
    """The detector of a run.

    Args:
        normal: The scores of normal rows.
        views: The views by their names in `normal`.
    """

    normal: NormalScores
    views: Mapping[str, View]

    def rule(self, text: str | None = None) -> Rule:
        """Parse a threshold rule; None returns the rule of the run."""
        return parse_threshold(text) if text else reconstruction.threshold_rule(self.config, self.normal)

    def scorer(self, name: str = DETECTOR, *, online: bool) -> list[View]:
        """Return the views of a scorer, see `NormalScores.view_names`."""
        return [self.views[view] for view in self.normal.view_names(name, online=online)]


def load_detector(run: ModelStore, reading: JsonMapping | None = None, *, streaming: bool = False) -> RunDetector:
    """Load the detector of a run.

    Args:
        run: A finished anomaly detection run.
        reading: Reading options of the tables that differ from the run's.
        streaming: Whether the detector scores a stream, for which fast scoring matters more than fast loading.

    Raises:
        ConfigError, DataError: If the run is damaged or is not an anomaly detection run.
    """
    config = run_config(run, reading=reading)
    # The default rule may change in a later version, but the threshold of a run must not.
    rule = run.metrics().get("threshold", {}).get("rule")
    config = dataclasses.replace(config, threshold=config.threshold or rule)
    normal = run.artifact(NormalScores)
    residuals = slide_run(run, config, repeated=streaming).residuals
    views = reconstruction.make_views(residuals, normal)
    return RunDetector(config, SeriesScales(normal.scale, run.symbols), normal, views)


def detect_prepared(
    detector: RunDetector,
    prepared: PreparedTable,
    rule: str | None = None,
    progress: Progress | None = None,
    *,
    online: bool = False,
    adapt: int | None = None,
) -> Detection:
    """Detect anomalies in a table that is on its time grid.

    Args:
        detector: The detector of a run.
        prepared: The table.
        rule: The threshold rule; None for the detector's own rule.
        progress: Function that is called with the number of rows scored and their share.
        online: Whether to score each row as if it were the last one.
        adapt: Rows over which the threshold of online scores follows slow change, see `lstm_ae.detection.drift`; None
            for a constant threshold. Scores are then relative to their recent level.

    Raises:
        ConfigError: `adapt` is shorter than a window, or the scores are not online scores.
        DataError: No row has an online score.
    """
    if adapt is not None and not online:
        raise ConfigError(
            "--adapt follows online scores. Add --online, or remove --adapt", code=Code.OPTION_NOT_APPLICABLE
        )
    normal, grid, parsed = detector.normal, prepared.grid, detector.rule(rule)
    values = detector.scales.to_common(grid).values
    if online and not any(window_segments(grid.segment, normal.window)):
        raise too_few_rows(prepared, normal.window, need="the window that ends at a row")

    def find(name: str, scored: RowScores) -> ScoredSeries:
        if adapt is None:
            threshold = normal.threshold(parsed, name, online=online)
        else:
            adaptation, threshold = normal.adapt(name, parsed, adapt)
            relative = adaptation.relative(scored.scores, threshold.value, grid.segment, grid.series)
            scored = scored._replace(scores=relative)
        usual = detector.scorer(name, online=online)[0].calibration.usual
        return find_anomalies(scored, normal, usual, threshold, grid.segment, grid.series, online=online)

    scores = {}
    for name in VIEWS:
        if name != MAHALANOBIS or grid.labels is not None:
            # Only the detector reports progress: the baselines take much less time.
            report = progress if name == DETECTOR else None
            views = detector.scorer(name, online=online)
            scores[name] = score_rows(views, values, grid.segment, report, online=online)
    series = {name: find(name, scored) for name, scored in scores.items()}
    shifts = _find_shifts(normal.shift_limits(online=online), prepared, values, scores[DETECTOR].scores)
    metrics = {}
    if grid.labels is not None:
        by_scorer: dict[str, _ScoresAndEvents] = {name: (each.scores, each.events) for name, each in series.items()}
        if parsed.kind == "fixed" and MAHALANOBIS in by_scorer:
            # A fixed threshold is in units of the model's scores.
            by_scorer[MAHALANOBIS] = series[MAHALANOBIS].scores, None
        scale = detector.scales.scale.common
        if scale.kind == "fixed":
            distances = np.square((values - scale.offset) / scale.range)
            by_scorer["raw values"] = mean_over_features(distances), None
        metrics = _evaluate_on_labels(grid, by_scorer, normal.window)
    return Detection(prepared, normal, series[DETECTOR], series[PCA], metrics, shifts, online)


def collect_detection_warnings(run: ModelStore, detection: Detection) -> list[str]:
    """Return the warnings about the rows of a detection."""
    # A shift says more than the share of values outside the training range.
    shifted = any(shift.active[:-1].any() for shift in detection.shifts.values())
    scale = None if shifted else detection.normal.scale
    return collect_new_table_warnings(detection.prepared, scale, run.symbols)


def _find_shifts(limits: ShiftLimits, prepared: PreparedTable, values: Array, scores: Array) -> dict[str, Shift]:
    """Return the shifts of the series whose last rows are outside the training range, by name."""
    shifts, grid = {}, prepared.grid
    for first, end in run_bounds(grid.series):
        shift = Shift(limits, values.shape[1])
        for start in range(first, end, SHIFT_ROWS):
            rows = slice(start, min(start + SHIFT_ROWS, end))
            shift.add(values[rows], scores[rows], grid.times[rows])
        if shift.since is not None:
            shifts[str(prepared.table.ids[grid.series[first]])] = shift
    return shifts


def _evaluate_on_labels(grid: Panel, by_scorer: Mapping[str, _ScoresAndEvents], window: int) -> dict[str, LabelMetrics]:
    """Return the metrics of scores and events on the labels, by scorer.

    Rows without a label count as normal, and rows without a score have the lowest score. Metrics that need both
    labeled and unlabeled rows are NaN otherwise.
    """
    labels, metrics = known_anomalies(grid), {}
    for name, (scores, events) in by_scorer.items():
        filled = np.where(np.isnan(scores), np.nanmin(scores), scores)
        metrics[name] = LabelMetrics(
            ranking_metrics(labels, filled, window, grid.segment),
            None if events is None else event_metrics(labels, events, grid.segment),
        )
    return metrics
