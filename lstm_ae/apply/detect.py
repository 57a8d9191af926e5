"""Detect anomalies in a table with a trained run."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.run_table import LoadedRun, run_config, slide_run, too_few_rows
from lstm_ae.arrays import Array, BoolArray
from lstm_ae.checks.table import collect_new_table_warnings
from lstm_ae.config.threshold import Rule, parse_threshold
from lstm_ae.data.anomaly_labels import known_anomalies
from lstm_ae.data.panel import run_bounds, run_starts
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.scaling import SeriesScales
from lstm_ae.data.table_reader import Progress
from lstm_ae.data.time_zones import format_each_time
from lstm_ae.detection.calibration import NormalScores
from lstm_ae.detection.events import Event, ScoredRows, find_events
from lstm_ae.detection.row_means import Residuals, window_segments
from lstm_ae.detection.scorer import Scorer
from lstm_ae.detection.shift import Shift
from lstm_ae.detection.thresholds import ExpectedAlarms, Threshold
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series import reconstruction

# Rows of a block in the search for shifts, which needs many times the memory of its rows.
SHIFT_ROWS = 100_000


class Detection(NamedTuple):
    """The scores and events of a table.

    Args:
        prepared: The table on its time grid.
        normal: The scores of normal rows.
        threshold: The threshold of the alarm scores.
        rows: The rows with their alarm scores; they are numbered instead of timed.
        final: `(rows,)` final scores, which rank rows; NaN for rows in no window or without a value.
        events: The events, in the order of the rows.
        suppressed: Number of runs of scores above the threshold that raised no alarm, see `lstm_ae.detection.events`.
    """

    prepared: PreparedTable
    normal: NormalScores
    threshold: Threshold
    rows: ScoredRows
    final: Array
    events: list[Event]
    suppressed: int

    @property
    def several(self) -> bool:
        """Whether the table has several series."""
        return len(self.prepared.table.ids) > 1

    @property
    def anomaly(self) -> BoolArray:
        """Whether each row is above the threshold, `(rows,)`."""
        return np.asarray(self.rows.scores > self.threshold.value)

    @property
    def scored(self) -> int:
        """Number of rows with a score."""
        return int(np.count_nonzero(~np.isnan(self.rows.scores)))

    @property
    def expected(self) -> ExpectedAlarms:
        """Expected false alarms in as many normal rows."""
        return self.threshold.alarms.per(self.scored)

    def format_time(self, row: int) -> str:
        """Return the time of a grid row with its time of day, or its number if the table has no time column."""
        time, table = int(self.prepared.grid.times[row]), self.prepared.table
        if table.layout.time is None:
            return str(time)
        return str(format_each_time(np.array([time]), table.zone)[0]).replace("T", " ")

    def labeled_rows(self) -> BoolArray:
        """Return which rows are known anomalies, `(rows,)` bool."""
        return known_anomalies(self.prepared.grid)


@dataclasses.dataclass(frozen=True)
class RunDetector(LoadedRun):
    """The detector of a run.

    Args:
        normal: The scores of normal rows, with the views.
        sources: The functions that return the windows of each source, see `lstm_ae.detection.views`.
    """

    normal: NormalScores
    sources: Mapping[str, Residuals]

    def rule(self, text: str | None = None) -> Rule:
        """Parse a threshold rule; None returns the rule of the run."""
        return parse_threshold(text) if text else reconstruction.threshold_rule(self.config, self.normal)

    def scorer(self) -> Scorer:
        """Return the scorer of the views."""
        return self.normal.scorer(self.sources)


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
    sources = reconstruction.window_sources(slide_run(run, config, repeated=streaming).residuals, normal)
    return RunDetector(config, SeriesScales(normal.scale, run.symbols), normal, sources)


def detect(
    detector: RunDetector,
    prepared: PreparedTable,
    rule: str | None = None,
    progress: Progress | None = None,
    *,
    adapt: int | None = None,
) -> Detection:
    """Detect anomalies in a table that is on its time grid, as if its rows arrived one after the other.

    Args:
        detector: The detector of a run.
        prepared: The table.
        rule: The threshold rule; None for the detector's own rule.
        progress: Function that is called with the number of rows scored and their share.
        adapt: Rows over which the threshold follows slow change, see `lstm_ae.detection.drift`; None for a constant
            threshold. Alarm scores are then relative to their recent level.

    Raises:
        ConfigError: `adapt` is shorter than a window.
        DataError: No window ends in the table.
    """
    grid, normal = prepared.grid, detector.normal
    if not any(window_segments(grid.segment, normal.window)):
        raise too_few_rows(prepared, normal.window, need="the window that ends at a row")
    parsed, values, scorer = detector.rule(rule), detector.scales.to_common(grid).values, detector.scorer()
    scored = scorer.score_rows(values, grid.segment, progress)
    if adapt is None:
        scores, threshold = scored.scores, normal.threshold(parsed)
    else:
        adaptation, threshold = normal.adapt(parsed, adapt)
        scores = adaptation.relative(scored.scores, threshold.value, grid.segment, grid.series)
    rows = ScoredRows(
        series=grid.series,
        times=np.arange(len(values)),
        begins=run_starts(grid.segment),
        scores=scores,
        p=threshold.p_values(scores),
        windows=scored.windows,
        errors=scored.errors,
    )
    found = find_events(rows, threshold.alarm_rule(normal.window))
    return Detection(
        prepared=prepared,
        normal=normal,
        threshold=threshold,
        rows=rows,
        final=scorer.final_scores(scored, values, grid.segment),
        events=found.events,
        suppressed=found.suppressed,
    )


def find_shifts(detector: RunDetector, detection: Detection) -> dict[str, Shift]:
    """Return the shifts of the series whose last rows are outside the training range, by name."""
    grid, limits, shifts = detection.prepared.grid, detection.normal.shift_limits(), {}
    values, scores = detector.scales.to_common(grid).values, detection.rows.scores
    for first, end in run_bounds(grid.series):
        shift = Shift(limits, values.shape[1])
        for start in range(first, end, SHIFT_ROWS):
            rows = slice(start, min(start + SHIFT_ROWS, end))
            shift.add(values[rows], scores[rows], grid.times[rows])
        if shift.since is not None:
            shifts[str(detection.prepared.table.ids[grid.series[first]])] = shift
    return shifts


def collect_detection_warnings(run: ModelStore, detection: Detection, shifts: Mapping[str, Shift]) -> list[str]:
    """Return the warnings about the rows of a detection with these shifts."""
    # A shift says more than the share of values outside the training range.
    shifted = any(shift.active[:-1].any() for shift in shifts.values())
    scale = None if shifted else detection.normal.scale
    return collect_new_table_warnings(detection.prepared, scale, run.symbols)
