"""Benchmark of anomaly detection in files of the TSB-AD form, by its protocol.

A file has columns of values and a column `Label`, and its name contains `tr_N`: detectors are fitted on the first N
rows without their labels, and all rows are scored and evaluated. See Liu and Paparrizos 2024, "The elephant in the
room: towards a reliable time-series anomaly detection benchmark".
"""

import csv
import hashlib
import itertools
import json
import math
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Float32Array
from lstm_ae.config import Series
from lstm_ae.data.csv_reader import read_column_names, read_number_columns
from lstm_ae.data.frames import panel_from_rows
from lstm_ae.data.scaling import fit_scale
from lstm_ae.data.sliding import view_windows
from lstm_ae.detection.baselines import (
    MAHALANOBIS,
    WindowBaseline,
    average_logarithms,
    fit_clusters,
    fit_covariance,
    fit_mean,
    fit_neighbors,
    fit_principal_components,
    row_distances,
)
from lstm_ae.detection.metrics import ranking_metrics, tsb_ad_buffer, tsb_ad_vus_pr
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import claim, parse_json, write
from lstm_ae.formatting import quote
from lstm_ae.json_types import JsonObject
from lstm_ae.studies.series.defaults import complete_from_table, default_code_size
from lstm_ae.table_files import write_table
from lstm_ae.workers.jobs import Report, run_jobs
from lstm_ae.workers.processes import ProcessPool, import_tensorflow

if TYPE_CHECKING:
    from lstm_ae.estimators import AnomalyDetector

NETWORK = "LSTM autoencoder"

LABEL = "label"

# Files of a resumable benchmark.
ABOUT, JOURNAL, TABLE = "anomalies.json", "series.jsonl", "series.csv"


class LabeledSeries(NamedTuple):
    """Series of the benchmark.

    Args:
        name: file name without `.gz`.
        values: `(rows, features)`.
        labels: `(rows,)`.
        prefix: number of rows to train on.
    """

    name: str
    values: Float32Array
    labels: BoolArray
    prefix: int


class TrainingOptions(NamedTuple):
    """Options of the training of the autoencoder; all others have their defaults.

    Args:
        link: see `lstmae series train --link`.
        seed: seed of the training.
    """

    link: str = Series.link
    seed: int = Series.seed


class DetectorResult(NamedTuple):
    """Result of a detector on a series: VUS-PR, AUC-PR, and the seconds to fit it and to score all rows."""

    vus_pr: float
    auc_pr: float
    seconds: float


class EventResult(NamedTuple):
    """Events of a detector after the training rows, by the default threshold.

    Args:
        ranges: number of labeled ranges.
        found: number of those that an event overlaps.
        false: number of events that overlap none.
        expected: false events to expect in as many normal rows.
        delay: median rows from the start of a found range to its alarm; None without one.
        seconds: seconds to score these rows.
    """

    ranges: int
    found: int
    false: int
    expected: float
    delay: float | None
    seconds: float


class SeriesResult(NamedTuple):
    """Results on a series.

    Args:
        file: file name without `.gz`.
        rows: number of rows.
        features: number of value columns.
        window: rows of the default window.
        buffer: largest buffer of VUS-PR.
        detectors: results by detector; empty if the file cannot be used.
        events: events by detector; empty without a network.
        error: error code and text if the file cannot be used, else "".
        unreadable: whether the file could not be opened, which may be over in the next call.
    """

    file: str
    rows: int = 0
    features: int = 0
    window: int = 0
    buffer: int = 0
    detectors: Mapping[str, DetectorResult] = {}
    events: Mapping[str, EventResult] = {}
    error: str = ""
    unreadable: bool = False

    def as_json(self) -> JsonObject:
        """Return the line of the journal."""
        return self._asdict() | {
            field: {name: result._asdict() for name, result in getattr(self, field).items()}
            for field in ("detectors", "events")
        }

    @classmethod
    def from_json(cls, content: JsonObject) -> "SeriesResult":
        """Return the result in a line of the journal."""
        detectors = {name: DetectorResult(**result) for name, result in content["detectors"].items()}
        events = {name: EventResult(**result) for name, result in content["events"].items()}
        return cls(**content | {"detectors": detectors, "events": events})


class Standing(NamedTuple):
    """Row of the table of detectors.

    Args:
        name: name of the detector.
        series: number of series with a result.
        mean, median: VUS-PR over these series.
        auc_pr: mean AUC-PR; None for published results.
        seconds: mean seconds per series; None for published results.
        wins: number of series on which no detector has a larger VUS-PR.
    """

    name: str
    series: int
    mean: float
    median: float
    auc_pr: float | None
    seconds: float | None
    wins: int


class EventSummary(NamedTuple):
    """Row of the table of events.

    Args:
        name: name of the detector.
        series: number of series.
        ranges, found: labeled ranges after the training rows, and those found.
        found_share: mean share of the ranges of a series that are found.
        false, expected: mean numbers of false events per series, found and expected.
        median_false: median number of false events.
        within: share of the series with at most as many false events as expected, rounded up.
        delay: median over the series of the delay, in windows; NaN without a found range.
    """

    name: str
    series: int
    ranges: int
    found: int
    found_share: float
    false: float
    expected: float
    median_false: float
    within: float
    delay: float


def find_series_files(folder: Path) -> list[Path]:
    """Return the `.csv` and `.csv.gz` files of a folder, in alphabetical order.

    Raises:
        DataError: there are none.
    """
    files = sorted(path for path in folder.glob("*") if path.name.endswith((".csv", ".csv.gz")) and path.is_file())
    if not files:
        raise DataError(
            f"{str(folder)!r} contains no .csv or .csv.gz file. Pass a folder of benchmark files",
            code=Code.FILE_UNREADABLE,
        )
    return files


def read_labeled_series(path: Path) -> LabeledSeries:
    """Read a file of the benchmark.

    Raises:
        DataError: the file cannot be read or does not have the form of the benchmark.
    """

    def refuse(text: str) -> DataError:
        return DataError(f"{quote(path.name)}: {text}", code=Code.BENCHMARK_FILE)

    found = re.search(r"_tr_(\d+)(?=[_.])", path.name)
    if not found:
        raise refuse("the name does not contain tr_N, the number of training rows. Rename the file")
    names = [name.lower() for name in read_column_names(path)]
    if LABEL not in names:
        raise refuse("there is no column Label. Add it, with 0 and 1")
    values_names = [name for name in names if name != LABEL]
    if not values_names:
        raise refuse("there is no column of values. Add one")
    table = read_number_columns(path, [*values_names, LABEL])
    prefix = int(found[1])
    if not 1 < prefix < len(table):
        raise refuse(f"tr_{prefix} in the name must be 2 to {len(table) - 1:,}, as there are {len(table):,} rows")
    if np.isnan(table).any():
        row, column = np.argwhere(np.isnan(table))[0]
        raise refuse(f"row {row + 1:,} has no value in {(*values_names, LABEL)[column]!r}. Fill it or remove the row")
    if (np.abs(table) > np.finfo(np.float32).max).any():
        raise refuse("a value is too large for single precision. Divide the column by a power of ten")
    labels = table[:, -1]
    if not np.isin(labels, (0, 1)).all() or not 0 < labels.sum() < len(labels):
        raise refuse("the column Label must hold 0 and 1, each at least once")
    values = table[:, :-1].astype(np.float32)
    if not np.ptp(values[:prefix], axis=0).any():
        raise refuse(f"all values are constant in the {prefix:,} training rows. Use more training rows")
    return LabeledSeries(path.name.removesuffix(".gz"), values, labels == 1, prefix)


def evaluate_file(path: Path, training: TrainingOptions | None) -> SeriesResult:
    """Evaluate the detectors on a file, see `evaluate_series`; an unusable file gives a result with an error."""
    try:
        return evaluate_series(read_labeled_series(path), training)
    except (DataError, ConfigError) as error:
        return SeriesResult(path.name.removesuffix(".gz"), error=f"[{error.code}] {error}")
    except OSError as error:
        text = f"[{Code.FILE_UNREADABLE}] {quote(path.name)} cannot be read: {error.strerror or error}"
        return SeriesResult(path.name.removesuffix(".gz"), error=text, unreadable=True)


def evaluate_series(series: LabeledSeries, training: TrainingOptions | None) -> SeriesResult:
    """Fit all detectors on the first rows of a series and evaluate their scores of all rows.

    Args:
        series: a series of the benchmark.
        training: options of the autoencoder of this package; None to evaluate the baselines alone.

    Raises:
        DataError: there are too few training rows.
    """
    window, buffer = default_window(series), tsb_ad_buffer(series.values[:, 0])
    detectors, events = {}, {}
    scorers = dict(baseline_scorers(series, window))
    if training:
        network = fit_network(series, training)
        scorers = {NETWORK: lambda: network.scores} | scorers
        events = dict(evaluate_events(network.detector, series))
    for name, score in scorers.items():
        start = time.perf_counter()
        scores = score()
        seconds = time.perf_counter() - start
        filled = np.where(np.isnan(scores), np.nanmin(scores), scores)
        auc_pr = ranking_metrics(series.labels, filled, 0).auc_pr
        detectors[name] = DetectorResult(tsb_ad_vus_pr(series.labels, filled, buffer), auc_pr, seconds)
    if training:
        detectors[NETWORK] = detectors[NETWORK]._replace(seconds=network.seconds)
    rows, features = series.values.shape
    return SeriesResult(series.name, rows, features, window, buffer, detectors, events)


def default_window(series: LabeledSeries) -> int:
    """Return the default window of `lstmae series train` for the training rows."""
    names = [f"value {number}" for number in range(series.values.shape[1])]
    panel = panel_from_rows(series.values[: series.prefix], names, name=series.name)
    window = complete_from_table(Series(task="anomaly", freq="rows"), panel).config.window
    assert window is not None
    return window


def baseline_scorers(series: LabeledSeries, window: int) -> Iterator[tuple[str, Callable[[], Array]]]:
    """Yield the name of each baseline and a function that fits it and returns the scores of all rows.

    Args:
        series: a series of the benchmark.
        window: rows of a window. "Mahalanobis, two windows" also uses windows of twice as many rows.
    """
    scale = fit_scale("standard", series.values[: series.prefix])
    rows = scale.scaled(series.values[None], series.values[None])[0]
    longer = max(window, min(2 * window, series.prefix // 2))
    code = min(default_code_size(window * rows.shape[1]), series.prefix - window + 1)

    def score(fit: Callable[[Array], WindowBaseline], window: int) -> Array:
        windows = view_windows(rows[: series.prefix], window)
        return row_distances(fit(windows), rows, window)

    def mahalanobis() -> Array:
        return average_logarithms([score(fit_covariance, length) for length in (window, longer)])

    yield f"{MAHALANOBIS}, two windows", mahalanobis
    yield MAHALANOBIS, lambda: score(fit_covariance, window)
    yield "PCA distance", lambda: score(lambda windows: fit_covariance(windows).within_components, window)
    yield "PCA reconstruction", lambda: score(lambda windows: fit_principal_components(windows, code), window)
    yield "k-means", lambda: score(fit_clusters, window)
    yield "nearest neighbor", lambda: score(fit_neighbors, window)
    yield "raw values", lambda: row_distances(fit_mean(rows[: series.prefix]), rows, 1)


class FittedNetwork(NamedTuple):
    """Autoencoder that was trained on the first rows of a series, its scores of all rows, and the seconds for both."""

    detector: "AnomalyDetector"
    scores: Array
    seconds: float


def fit_network(series: LabeledSeries, training: TrainingOptions) -> FittedNetwork:
    """Train the autoencoder and score all rows."""
    from lstm_ae.estimators import AnomalyDetector

    start = time.perf_counter()
    detector = AnomalyDetector(random_state=training.seed, options={"freq": "rows", "link": training.link})
    detector.fit(series.values[: series.prefix])
    scores: Array = -np.asarray(detector.score_samples(series.values))
    return FittedNetwork(detector, scores, time.perf_counter() - start)


def evaluate_events(detector: "AnomalyDetector", series: LabeledSeries) -> Iterator[tuple[str, EventResult]]:
    """Yield the events in the rows after the training ones, by final scores and by online scores, and by the baselines.

    The baselines are those of `lstmae series detect`, with thresholds by the same rule from the same validation rows.
    """
    from lstm_ae.apply.detect import load_detector

    rows, labels = series.values[series.prefix :], series.labels[series.prefix :]
    if len(rows) < (detector.window_ or 0):
        return
    loaded = detector._fitted.load(load_detector)
    normal, distances = loaded.normal, loaded.distances
    scorers = {"model": (NETWORK, normal.model), "PCA": ("PCA", normal.baseline)}
    if distances is not None:
        scorers[MAHALANOBIS] = (MAHALANOBIS, distances.windows)
    for online in (False, True):
        start = time.perf_counter()
        detection = detector._detect(rows, labels=labels, online=online)
        seconds = time.perf_counter() - start
        unlabeled = int(np.count_nonzero(~detection.labeled_rows() & ~np.isnan(detection.model.scores)))
        for key, (name, fitted) in scorers.items():
            events = detection.metrics[key].events
            assert events is not None
            alarms = normal.threshold(loaded.rule(), fitted, online=online).alarms
            delay = statistics.median(events.delays) if events.delays else None
            yield (
                f"{name}, online" if online else name,
                EventResult(events.ranges, events.found, events.false, alarms.expected * unlabeled, delay, seconds),
            )


def evaluate_files(
    files: Sequence[Path],
    training: TrainingOptions | None,
    *,
    jobs: int,
    threads: int = 1,
    out: Path | None = None,
    done: Callable[[SeriesResult], None],
) -> list[SeriesResult]:
    """Evaluate the detectors on files, each in one of several processes.

    Args:
        files: the files.
        training: see `evaluate_series`.
        jobs: number of processes.
        threads: threads of each process.
        out: a new folder, or that of an interrupted call with the same arguments, which is continued. It holds one
            line of JSON per series, and at the end a CSV.
        done: called with each result, including those of the interrupted call.

    Returns:
        The results in the order of the files.

    Raises:
        ConfigError: the folder is of another command.
        LstmAeError: processes died.
    """
    results: dict[str, SeriesResult] = {}
    if out is not None:
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        claim(out, ABOUT, {"training": training and training._asdict(), "files": hashes})
        results = {result.file: result for result in read_journal(out / JOURNAL)}
    for result in results.values():
        done(result)
    left = [path for path in files if path.name.removesuffix(".gz") not in results]
    for result in _run_in_processes(left, training, min(jobs, len(left)), threads):
        results[result.file] = result
        if out is not None:
            lines = [
                json.dumps(each.as_json(), ensure_ascii=False) + "\n"
                for each in results.values()
                if not each.unreadable
            ]
            write(out / JOURNAL, "".join(lines).encode(errors="backslashreplace"))
        done(result)
    ordered = [results[path.name.removesuffix(".gz")] for path in files]
    if out is not None:
        write_table(out / TABLE, result_columns(ordered))
    return ordered


def read_journal(path: Path) -> list[SeriesResult]:
    """Return the results of an interrupted call; empty if there is no file.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        return [SeriesResult.from_json(parse_json(line)) for line in path.read_text("utf-8").splitlines()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{str(path)!r} is damaged or of another version. Delete it and run the same command to recreate it",
            code=Code.RUN_DAMAGED,
        ) from error


class _FileJob(NamedTuple):
    """File to evaluate, with its number."""

    number: int
    path: Path


class _FileOutcome(NamedTuple):
    """Result of a file, with its number."""

    number: int
    result: SeriesResult


class _FileWork(NamedTuple):
    """What the evaluations have in common: how they train the network."""

    training: TrainingOptions | None

    def prepare(self, threads: int) -> None:
        from threadpoolctl import threadpool_limits

        if self.training:
            import_tensorflow(threads)
        threadpool_limits(threads)

    def load(self, report: Report) -> Callable[[_FileJob], _FileOutcome]:
        return lambda job: _FileOutcome(job.number, evaluate_file(job.path, self.training))


def _run_in_processes(
    files: Sequence[Path], training: TrainingOptions | None, jobs: int, threads: int
) -> Iterator[SeriesResult]:
    """Yield the results of files in the order in which processes complete them."""
    pool = ProcessPool(_FileWork(training), jobs, threads, None)
    try:
        for outcome in run_jobs(
            itertools.starmap(_FileJob, enumerate(files)), pool, lambda number: files[number].name, what="file"
        ):
            yield outcome.result
    finally:
        pool.stop()


def result_columns(results: Iterable[SeriesResult]) -> dict[str, list[object]]:
    """Return the results of the series as table columns, with an empty cell where there is none."""
    results = list(results)
    columns: dict[str, list[object]] = {
        name: [getattr(result, name) or None for result in results]
        for name in ("file", "rows", "features", "window", "buffer", "error")
    }
    for name in dict.fromkeys(name for result in results for name in result.detectors):
        for field in DetectorResult._fields:
            columns[f"{name} {field}"] = [
                getattr(result.detectors[name], field) if name in result.detectors else None for result in results
            ]
    for name in dict.fromkeys(name for result in results for name in result.events):
        for field in ("ranges", "found", "false", "expected", "delay"):
            columns[f"{name} {field}"] = [
                getattr(result.events[name], field) if name in result.events else None for result in results
            ]
    return columns


def read_published(path: Path) -> dict[str, dict[str, float]]:
    """Read published VUS-PR by detector and file.

    Args:
        path: CSV with the column `file` and a column of numbers per detector; cells that are not finite numbers, and
            columns without any, are ignored.

    Raises:
        DataError: there is no column `file` or no column of numbers.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("file")]
    published: dict[str, dict[str, float]] = {}
    for name in rows[0] if rows else ():
        if name != "file" and name is not None:
            cells = {row["file"].removesuffix(".gz"): _parse_finite(row[name]) for row in rows}
            if numbers := {file: number for file, number in cells.items() if number is not None}:
                published[name] = numbers
    if not published:
        raise DataError(
            f"{str(path)!r} must have a column file and a column of numbers for each published detector",
            code=Code.TABLE_HEADER,
        )
    return published


def summarize_events(results: Iterable[SeriesResult]) -> list[EventSummary]:
    """Return the table of events, in the order of the results; empty without a network."""
    by_name: dict[str, list[tuple[EventResult, int]]] = {}
    for result in results:
        for name, events in result.events.items():
            by_name.setdefault(name, []).append((events, result.window))
    return [
        EventSummary(
            name,
            len(rows),
            sum(row.ranges for row, _ in rows),
            sum(row.found for row, _ in rows),
            statistics.fmean([row.found / row.ranges for row, _ in rows if row.ranges] or [math.nan]),
            statistics.fmean(row.false for row, _ in rows),
            statistics.fmean(row.expected for row, _ in rows),
            statistics.median(row.false for row, _ in rows),
            statistics.fmean(row.false <= math.ceil(row.expected) for row, _ in rows),
            statistics.median([row.delay / window for row, window in rows if row.delay is not None] or [math.nan]),
        )
        for name, rows in by_name.items()
    ]


def _parse_finite(cell: str | None) -> float | None:
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def rank_detectors(
    results: Iterable[SeriesResult], published: Mapping[str, Mapping[str, float]] | None = None
) -> list[Standing]:
    """Return the table of detectors, the largest mean VUS-PR first.

    Args:
        results: results of the series; those with an error are ignored.
        published: VUS-PR by detector and file, see `read_published`.
    """
    results = [result for result in results if not result.error]
    measured: dict[str, dict[str, DetectorResult]] = {}
    for result in results:
        for name, found in result.detectors.items():
            measured.setdefault(name, {})[result.file] = found
    volumes = {name: {file: found.vus_pr for file, found in row.items()} for name, row in measured.items()}
    files = {result.file for result in results}
    for name, row in (published or {}).items():
        known = {file: value for file, value in row.items() if file in files}
        if known:
            volumes[f"{name} (published)"] = known
    best = {file: max(row[file] for row in volumes.values() if file in row) for file in files}
    table = []
    for name, by_file in volumes.items():
        own = list(measured.get(name, {}).values())
        table.append(
            Standing(
                name,
                len(by_file),
                statistics.fmean(by_file.values()),
                statistics.median(by_file.values()),
                statistics.fmean(found.auc_pr for found in own) if own else None,
                statistics.fmean(found.seconds for found in own) if own else None,
                sum(value >= best[file] for file, value in by_file.items()),
            )
        )
    return sorted(table, key=lambda standing: -standing.mean)
