"""Detect anomalies in the series of a table, each with its own model of a fleet."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.detect import collect_detection_warnings, detect, find_shifts, load_detector
from lstm_ae.apply.detection_output import event_facts, expected_to_json, score_columns
from lstm_ae.apply.run_table import (
    TableRequest,
    describe_training_period,
    prepare_run_table,
    read_run_table,
    run_config,
)
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.panel import Panel
from lstm_ae.detection.thresholds import ExpectedAlarms
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.fleets.directory import Fleet, take_series
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.parallel import NO_OBSERVER, THIS_PROCESS, Engine, JobObserver, run_jobs
from lstm_ae.run import Run
from lstm_ae.startup import limit_cores
from lstm_ae.table_files import TableColumns

UNKNOWN = "it is not in the fleet"
DRIFTED = "the last rows are outside the training range; their scores mainly reflect the drift"


@dataclasses.dataclass(frozen=True)
class FleetDetector:
    """Settings that the detections in all series share.

    Args:
        rule: the threshold rule; None for the rules of the runs.
        reading: reading options of the table that differ from those of the fleet.
        scores: whether to return the scores of all rows.
        models: number of models of the fleet, which share an alarm budget.

    Raises:
        ConfigError: the options do not fit each other.
    """

    rule: str | None = None
    reading: JsonMapping | None = None
    scores: bool = False
    models: int = 1

    def __post_init__(self) -> None:
        """Check the options."""
        if self.rule is not None:
            parse_threshold(self.rule)

    def prepare(self, threads: int) -> None:
        """Limit the threads of the kernels and of BLAS in a new process."""
        limit_cores(threads)

    def load(self) -> "Callable[[DetectionJob], SeriesDetection]":
        """Return the function that scores a series."""
        return partial(_detect_series, self)


class DetectionJob(NamedTuple):
    """Series to detect anomalies in.

    Args:
        number: number of the series in the table.
        table: its rows.
        run: directory of its run.
    """

    number: int
    table: Panel
    run: str

    @property
    def title(self) -> str:
        """The name of the series."""
        return self.table.ids[0]


class SeriesDetection(NamedTuple):
    """Result for one series of a table, small enough to be sent to another process.

    Args:
        number: number of the series in the table.
        series: name of the series.
        failure: why there are no scores; "" if there are.
        threshold: threshold of the scores.
        rule: rule of the whole fleet.
        events: facts of the events, see `lstm_ae.apply.detection_output.event_facts`.
        rows, unscored: number of rows with a score, and without one.
        expected: false alarms to expect in as many normal rows.
        suppressed: see `lstm_ae.apply.detect.Detection`.
        scores: scores of the rows as table columns; empty if they were not requested.
        warnings: warnings about the rows of the series and about its threshold.
    """

    number: int
    series: str
    failure: str = ""
    threshold: float = np.nan
    rule: str = ""
    events: tuple[JsonObject, ...] = ()
    rows: int = 0
    unscored: int = 0
    expected: ExpectedAlarms = ExpectedAlarms(0.0, 0.0, 0.0)
    suppressed: int = 0
    scores: TableColumns = {}
    warnings: tuple[str, ...] = ()


class FleetDetection(NamedTuple):
    """Result for all series of a table, in the order of the table."""

    results: list[SeriesDetection]

    @property
    def scored(self) -> list[SeriesDetection]:
        """The series with scores."""
        return [result for result in self.results if not result.failure]

    @property
    def failed(self) -> dict[str, str]:
        """Why a series has no scores, by its name."""
        return {result.series: result.failure for result in self.results if result.failure}

    @property
    def warnings(self) -> dict[str, list[str]]:
        """The names of the series with each warning."""
        series = defaultdict(list)
        for result in self.scored:
            for text in result.warnings:
                series[text].append(result.series)
        return dict(series)

    @property
    def expected(self) -> ExpectedAlarms:
        """False alarms to expect in as many normal rows of these series.

        The bounds are sums of those of the series, so that the interval is wider than one of 95%.
        """
        return ExpectedAlarms(*np.sum([result.expected for result in self.results], axis=0).tolist())

    @property
    def suppressed(self) -> int:
        """Number of runs of scores above the thresholds that raised no alarm."""
        return sum(result.suppressed for result in self.scored)

    @property
    def events(self) -> list[JsonObject]:
        """The events of all series."""
        return [event for result in self.scored for event in result.events]

    @property
    def rules(self) -> list[str]:
        """Rules of the whole fleet, in alphabetical order."""
        return sorted({result.rule for result in self.scored})

    def scores(self) -> TableColumns:
        """Return the scores of all rows as table columns, if they were requested."""
        tables = [result.scores for result in self.scored]
        return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}

    def to_json(self) -> JsonObject:
        """Return the result as a JSON object, without the scores of the rows."""
        return {
            "series": len(self.results),
            "scored_series": len(self.scored),
            "failed": self.failed,
            "warnings": self.warnings,
            "rules": self.rules,
            "thresholds": {result.series: result.threshold for result in self.scored},
            "rows": sum(result.rows for result in self.scored),
            "unscored_rows": sum(result.unscored for result in self.scored),
            "alarms": len(self.events),
            "suppressed": self.suppressed,
            "expected_false_alarms": expected_to_json(self.expected),
            "anomalies": self.events,
        }


def detect_in_fleet(
    fleet: Fleet,
    request: TableRequest,
    detector: FleetDetector,
    engine: Engine = THIS_PROCESS,
    observer: JobObserver = NO_OBSERVER,
) -> FleetDetection:
    """Detect anomalies in each series of a table with its own model.

    A budget is that of the whole fleet: each series that has a model gets an equal share of it, whether the table has
    rows of all of them or not.

    Args:
        fleet: a finished fleet of anomaly detectors.
        request: the table, which is read as the fleet read that of its training.
        detector: options of the detection.
        engine: where the series are scored; by default one after another in this process.
        observer: called for the series with a model; it counts the others as ended.

    Raises:
        ConfigError, DataError: the fleet is unfinished or has no anomaly detectors, the table cannot be read, a run is
            damaged, or the options do not fit.
    """
    fleet.require_finished()
    config = run_config(fleet.common, "anomaly", reading=detector.reading)
    table, runs = read_run_table(config, request), fleet.runs()
    directories = {series: str(run.directory.absolute()) for series, run in runs.items() if run.finished}
    results = [
        SeriesDetection(number, name, "it has no model; see fleet.csv" if name in runs else UNKNOWN)
        for number, name in enumerate(table.ids)
        if name not in directories
    ]
    # Only the rows of the series that are being scored are in memory a second time.
    jobs = (
        DetectionJob(number, own, directories[series])
        for number, (series, own) in enumerate(take_series(table))
        if series in directories
    )
    waiting, work = len(table.ids) - len(results), dataclasses.replace(detector, models=len(directories))
    results += run_jobs(work, jobs, waiting, _give_up, engine, observer, completed=len(results))
    return FleetDetection(sorted(results, key=lambda result: result.number))


def _give_up(job: DetectionJob, reason: str) -> SeriesDetection:
    return SeriesDetection(job.number, job.title, reason)


def _detect_series(task: FleetDetector, job: DetectionJob) -> SeriesDetection:
    """Return the result of a series that has a model, or why its rows have no scores."""
    run = Run(Path(job.run))
    detector = load_detector(run, task.reading)
    rule = detector.rule(task.rule)
    try:
        prepared = prepare_run_table(detector.config, job.table)
    except (ConfigError, DataError) as error:  # With --scale window, a missing value is a `ConfigError`.
        return _give_up(job, str(error))
    try:
        detection = detect(detector, prepared, str(rule.divide(task.models)))
    except DataError as error:
        return _give_up(job, str(error))
    shifts, total = find_shifts(detector, detection), len(detection.final)
    warnings = [*collect_detection_warnings(run, detection, shifts), *describe_training_period(prepared, run)]
    if shifts:
        warnings.append(DRIFTED)
    return SeriesDetection(
        job.number,
        job.title,
        threshold=detection.threshold.value,
        rule=str(rule),
        events=tuple(event_facts(detection, named=True)),
        rows=detection.scored,
        unscored=total - detection.scored,
        expected=detection.expected,
        suppressed=detection.suppressed,
        scores={"series": np.full(total, job.title, object), **score_columns(detection)} if task.scores else {},
        warnings=tuple(warnings),
    )
