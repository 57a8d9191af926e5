"""Detect anomalies in the series of a table, each with its own model of a fleet."""

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from lstm_ae.apply.detect import (
    Detection,
    RunDetector,
    collect_detection_warnings,
    detect_prepared,
    load_detector,
    require_online,
)
from lstm_ae.apply.detection_output import count_scored_rows, event_rows, score_columns
from lstm_ae.apply.run_table import (
    TableRequest,
    describe_training_period,
    prepare_run_table,
    read_run_table,
    run_config,
)
from lstm_ae.arrays import Array
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


class DetectionTask(NamedTuple):
    """What the detections in all series have in common.

    Args:
        models: number of models of the fleet, which share an alarm budget.
        rule: the threshold rule; None for the rules of the runs.
        online: whether to score each row as if it were the last one.
        adapt: see `lstm_ae.apply.detect.detect_prepared`.
        reading: reading options of the table that differ from those of the fleet.
        scores: whether to return the scores of all rows.
    """

    models: int
    rule: str | None = None
    online: bool = False
    adapt: int | None = None
    reading: JsonMapping | None = None
    scores: bool = False

    def prepare(self, threads: int) -> None:
        """Limit the threads of the kernels and of BLAS in a new process."""
        limit_cores(threads)
        threadpool_limits(threads)

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
    """Result for one series of a table.

    Args:
        number: number of the series in the table.
        series: name of the series.
        unknown: whether the fleet does not know the series.
        failure: why there are no scores; "" if there are.
        threshold: threshold of the scores; None without scores.
        rule: rule of the whole fleet; "" without scores.
        events: records of the events, see `lstm_ae.apply.detection_output.event_rows`.
        rows, unscored: number of rows with a score, and without one.
        expected: false alarms to expect in as many normal rows.
        scores: scores of the rows as table columns; empty if they were not requested.
        trained_on: whether the table holds windows that the model was trained or selected on.
        shifted: whether the last rows are outside the training range.
        without_tail: whether the threshold is among the normal scores themselves, since no tail fits them.
        warnings: warnings about the rows of the series and about its threshold.
    """

    number: int
    series: str
    unknown: bool = False
    failure: str = ""
    threshold: float | None = None
    rule: str = ""
    events: tuple[JsonObject, ...] = ()
    rows: int = 0
    unscored: int = 0
    expected: ExpectedAlarms = ExpectedAlarms(0.0, 0.0, 0.0)
    scores: TableColumns = {}
    trained_on: bool = False
    shifted: bool = False
    without_tail: bool = False
    warnings: tuple[str, ...] = ()


class FleetDetection(NamedTuple):
    """Result for all series of a table.

    Args:
        unknown: series that the fleet does not know.
        failed: why a series has no scores, by its name.
        thresholds: threshold of each series with scores.
        rules: rules of the whole fleet, in alphabetical order.
        events: records of the events, see `lstm_ae.apply.detection_output.event_rows`.
        rows, unscored: number of rows with a score, and of those without one in the series that have scores.
        expected: false alarms to expect in as many normal rows of these series. The bounds are sums of those of the
            series, so that the interval is wider than one of 95%.
        trained_on: series with windows that their models were trained or selected on.
        shifted: series whose last rows are outside the training range.
        without_tail: series without a tail of normal scores, whose threshold is among the scores themselves.
        warnings: series with each warning.
        scores: scores of all rows as table columns; empty if they were not requested.
    """

    unknown: list[str]
    failed: dict[str, str]
    thresholds: dict[str, float]
    rules: list[str]
    events: list[JsonObject]
    rows: int
    unscored: int
    expected: ExpectedAlarms
    trained_on: list[str]
    shifted: list[str]
    without_tail: list[str]
    warnings: dict[str, list[str]]
    scores: TableColumns

    @property
    def series(self) -> int:
        """Number of series in the table."""
        return len(self.unknown) + len(self.failed) + len(self.thresholds)

    def to_json(self) -> JsonObject:
        """Return the result as a JSON object, without the scores of the rows."""
        expected = self.expected
        return {
            "series": self.series,
            "scored_series": len(self.thresholds),
            "unknown": self.unknown,
            "failed": self.failed,
            "trained_on": self.trained_on,
            "shifted": self.shifted,
            "warnings": self.warnings,
            "rules": self.rules,
            "thresholds": self.thresholds,
            "without_tail": self.without_tail,
            "rows": self.rows,
            "unscored_rows": self.unscored,
            "expected_false_alarms": {"mean": expected.expected, "low": expected.low, "high": expected.high},
            "anomalies": self.events,
        }


def read_fleet_table(fleet: Fleet, request: TableRequest) -> Panel:
    """Read a table as the fleet read that of its training.

    Raises:
        ConfigError, DataError: the fleet is unfinished or not one of anomaly detectors, or the table cannot be read.
    """
    fleet.require_finished()
    return read_run_table(run_config(fleet.common, "anomaly", reading=request.reading), request)


def summarize_detections(results: Iterable[SeriesDetection]) -> FleetDetection:
    """Return the result for all series of a table.

    Args:
        results: the results of its series, see `detect_series`.
    """
    results = list(results)
    scored = [result for result in results if result.threshold is not None]
    warnings: dict[str, list[str]] = {}
    columns: dict[str, list[Array]] = {}
    for result in scored:
        for text in result.warnings:
            warnings.setdefault(text, []).append(result.series)
        for name, cells in result.scores.items():
            columns.setdefault(name, []).append(np.asarray(cells))
    expected = np.sum([np.zeros(3), *(np.array(result.expected) for result in scored)], axis=0)
    return FleetDetection(
        unknown=[result.series for result in results if result.unknown],
        failed={result.series: result.failure for result in results if result.failure},
        thresholds={result.series: result.threshold for result in scored if result.threshold is not None},
        rules=sorted({result.rule for result in scored}),
        events=[event for result in scored for event in result.events],
        rows=sum(result.rows for result in scored),
        unscored=sum(result.unscored for result in scored),
        expected=ExpectedAlarms(*expected.tolist()),
        trained_on=[result.series for result in scored if result.trained_on],
        shifted=[result.series for result in scored if result.shifted],
        without_tail=[result.series for result in scored if result.without_tail],
        warnings=warnings,
        scores={name: np.concatenate(parts) for name, parts in columns.items()},
    )


def detect_series(
    fleet: Fleet,
    table: Panel,
    *,
    rule: str | None = None,
    online: bool = False,
    adapt: int | None = None,
    reading: JsonMapping | None = None,
    scores: bool = False,
    engine: Engine = THIS_PROCESS,
    observer: JobObserver = NO_OBSERVER,
) -> list[SeriesDetection]:
    """Return the result of each series of a table, in the order of the table.

    A budget is that of the whole fleet: each series that has a model gets an equal share of it, whether the table has
    rows of all of them or not.

    Args:
        fleet: a finished fleet of anomaly detectors.
        table: rows of the series, see `read_fleet_table`.
        rule, online, adapt, reading, scores: see `DetectionTask`.
        engine: where the series are scored; by default one after another in this process.
        observer: called for the series with a model; it counts the others as ended.

    Raises:
        ConfigError, DataError: a run is damaged, or the options do not fit.
    """
    if adapt is not None:
        require_online(online=online)
    if rule is not None:
        parse_threshold(rule)
    runs, results = fleet.runs(), list[SeriesDetection]()
    trained = {series: str(run.directory.absolute()) for series, run in runs.items() if run.finished}
    task = DetectionTask(len(trained), rule, online, adapt, reading, scores)
    for number, series in enumerate(table.ids):
        if series not in runs:
            results.append(SeriesDetection(number, series, unknown=True))
        elif series not in trained:
            results.append(SeriesDetection(number, series, failure="it has no model; see fleet.csv"))
    # Only the rows of the series that are being scored are in memory a second time.
    jobs = (
        DetectionJob(number, own, trained[series])
        for number, (series, own) in enumerate(take_series(table))
        if series in trained
    )

    def give_up(job: DetectionJob, reason: str) -> SeriesDetection:
        return SeriesDetection(job.number, job.title, failure=reason)

    if left := len(table.ids) - len(results):
        with closing(run_jobs(task, jobs, left, give_up, engine, observer)) as outcomes:
            for result in outcomes:
                results.append(result)
                observer.count(len(results), len(table.ids))
    return sorted(results, key=lambda result: result.number)


def _detect_series(task: DetectionTask, job: DetectionJob) -> SeriesDetection:
    """Return the result of a series that has a model."""
    (series,), run = job.table.ids, Run(Path(job.run))
    detector = load_detector(run, task.reading, streaming=task.online)
    whole = detector.rule(task.rule)
    rule = str(whole.divide(task.models))
    detection = _detect(detector, job.table, rule, online=task.online, adapt=task.adapt)
    if isinstance(detection, str):
        return SeriesDetection(job.number, series, failure=detection)
    warnings = tuple(collect_detection_warnings(run, detection))
    return _summarize_series(job.number, run, detection, str(whole), warnings, scores=task.scores)


def _summarize_series(
    number: int, run: Run, detection: Detection, rule: str, warnings: tuple[str, ...], *, scores: bool
) -> SeriesDetection:
    """Return the result of a series with scores, which is small enough to be sent to another process."""
    (series,), threshold = detection.prepared.table.ids, detection.model.threshold
    rows = count_scored_rows(detection)
    columns = score_columns(detection) if scores else {}
    return SeriesDetection(
        number,
        series,
        threshold=threshold.value,
        rule=rule,
        events=tuple(event_rows(detection, named=True)),
        rows=rows,
        unscored=len(detection.model.scores) - rows,
        expected=threshold.alarms.per(rows),
        scores={"series": np.full(len(detection.model.scores), series, object), **columns} if scores else {},
        trained_on=bool(describe_training_period(detection.prepared, run)),
        shifted=bool(detection.shifts),
        without_tail=threshold.fell_back,
        warnings=warnings,
    )


def _detect(detector: RunDetector, table: Panel, rule: str, *, online: bool, adapt: int | None) -> Detection | str:
    """Return the detection of a series, or why its rows have no scores."""
    try:
        prepared = prepare_run_table(detector.config, table)
    except (ConfigError, DataError) as error:  # With --scale window, a missing value is a `ConfigError`.
        return str(error)
    try:
        return detect_prepared(detector, prepared, rule, online=online, adapt=adapt)
    except DataError as error:
        return str(error)
