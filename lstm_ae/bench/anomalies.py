"""Benchmark of anomaly detection in files of the TSB-AD form, by its protocol.

A file has columns of values and a column `Label`, and its name contains `tr_N`: detectors are fitted on the first N
rows without their labels, and all rows are scored and evaluated. See Liu and Paparrizos 2024, "The elephant in the
room: towards a reliable time-series anomaly detection benchmark".
"""

import re
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lstm_ae.arrays import Array, BoolArray, Float32Array
from lstm_ae.config import Reading, Series
from lstm_ae.data.frames import panel_from_rows
from lstm_ae.data.scaling import fit_scale
from lstm_ae.data.table_reader import read_panel
from lstm_ae.detection import baselines
from lstm_ae.detection.baselines import MAHALANOBIS, WindowBaseline, mean_over_windows, window_distances
from lstm_ae.detection.metrics import ranking_metrics, tsb_ad_buffer
from lstm_ae.detection.row_means import view_windows
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import quote
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.startup import import_tensorflow
from lstm_ae.studies.series.defaults import complete_from_table, default_code_size

if TYPE_CHECKING:
    from lstm_ae.estimators import AnomalyDetector

NETWORK = "LSTM autoencoder"

# Name of the Mahalanobis distance of the column whose scores rank the labels best. Without labels, it is unknown.
BEST_COLUMN = f"{MAHALANOBIS}, best column"

# Rows of a moving variance.
VARIANCE_ROWS = 96

# Labeled ranges of a series with several of them.
SEVERAL_RANGES = 3

# Samples of a bootstrap, and the bounds of its interval.
BOOTSTRAPS, BOUNDS = 2000, (0.025, 0.975)


class LabeledSeries(NamedTuple):
    """Series of the benchmark.

    Args:
        values: `(rows, features)`.
        labels: `(rows,)`.
        prefix: number of rows to train on.
    """

    values: Float32Array
    labels: BoolArray
    prefix: int


def find_series_files(folder: Path) -> list[Path]:
    """Return the `.csv` and `.csv.gz` files of a folder, in alphabetical order.

    Raises:
        DataError: there are none.
    """
    files = sorted(path for path in folder.glob("*.csv*") if path.name.endswith((".csv", ".csv.gz")))
    if not files:
        text = f"{str(folder)!r} contains no .csv or .csv.gz file. Pass a folder of benchmark files"
        raise DataError(text, code=Code.FILE_UNREADABLE)
    return files


def read_labeled_series(path: Path) -> LabeledSeries:
    """Read a file of the benchmark.

    Raises:
        DataError: the file cannot be read or does not have the form of the benchmark.
    """

    def require(condition: object, text: str) -> None:
        if not condition:
            raise DataError(f"{quote(path.name)}: {text}", code=Code.BENCHMARK_FILE)

    match = re.search(r"_tr_(\d+)(?=[_.])", path.name)
    prefix = int(match[1]) if match else 0
    require(match, "the name does not contain tr_N, the number of training rows. Rename the file")
    try:
        columns = sorted(map(str, pd.read_csv(path, nrows=0)), key=lambda name: name.lower() == "label")
    except (OSError, ValueError):
        columns = []
    require(columns and columns[-1].lower() == "label", "there is no column Label. Add it, with 0 and 1")
    require(len(columns) > 1, "there is no column of values. Add one")
    table = read_panel(Reading(data=str(path), value_cols=tuple(columns), freq="rows")).values
    require(
        1 < prefix < len(table),
        f"tr_{prefix} in the name must be 2 to {len(table) - 1:,}, as there are {len(table):,} rows",
    )
    for row, column in np.argwhere(np.isnan(table)):
        require(None, f"row {row + 1:,} has no value in {columns[column]!r}. Fill it or remove the row")
    values, labels = table[:, :-1], table[:, -1]
    require(set(labels.tolist()) == {0, 1}, "the column Label must hold 0 and 1, each at least once")
    require(
        np.ptp(values[:prefix], axis=0).any(),
        f"all values are constant in the {prefix:,} training rows. Use more training rows",
    )
    return LabeledSeries(values, labels == 1, prefix)


def evaluate_file(job: "FileJob", network: JsonMapping | None) -> list[JsonObject]:
    """Evaluate the detectors on a file, see `evaluate_series`; an unusable file gives one row with an error."""
    file = job.title.removesuffix(".gz")
    try:
        results = evaluate_series(read_labeled_series(job.path), network)
        return [{"file": file, "detector": name, **row} for name, row in results.items()]
    except (DataError, ConfigError, OSError) as error:
        code = Code.FILE_UNREADABLE if isinstance(error, OSError) else error.code
        return [{"file": file, "error": f"[{code}] {error}"}]


class BenchmarkScores(NamedTuple):
    """Scores of all rows of a series, NaN where there is none.

    Args:
        final: `(rows,)` means over the windows that contain a row.
        online: `(rows,)` scores of the windows that end at a row, which depend on no later row.
    """

    final: Array
    online: Array


# A function that fits a detector on the first rows and returns one that scores all rows.
Fit = Callable[[], Callable[[], BenchmarkScores]]


def evaluate_series(series: LabeledSeries, network: JsonMapping | None) -> dict[str, JsonObject]:
    """Fit all detectors on the first rows of a series and evaluate their scores of all rows.

    Args:
        series: a series of the benchmark.
        network: parameters of `AnomalyDetector`; None to evaluate the baselines alone.

    Returns:
        By detector, the rows of the default `window`, the largest `buffer` of VUS-PR, `vus_pr`, `auc_pr`, the
        `online_vus_pr` of scores that depend on no later row, the `seconds` to fit it and to score all rows, the
        `rows_per_second` of scoring, and its events, see `evaluate_events`.

    Raises:
        DataError: there are too few training rows.
    """
    window, buffer = default_window(series), tsb_ad_buffer(series.values[:, 0])
    detectors = dict(baseline_detectors(series, window))
    if network is not None:
        from lstm_ae.estimators import AnomalyDetector

        detector = AnomalyDetector(**network)

        def fit_network() -> Callable[[], BenchmarkScores]:
            detector.fit(series.values[: series.prefix])

            def score() -> BenchmarkScores:
                detection = detector._detect(series.values)
                return BenchmarkScores(detection.final, detection.rows.scores)

            return score

        detectors = {NETWORK: fit_network} | detectors
    results = {name: _rank(series, fit, buffer) for name, fit in detectors.items()}
    if series.values.shape[1] > 1:
        columns = (
            series._replace(values=series.values[:, [column]]) for column in np.ptp(series.values, axis=0).nonzero()[0]
        )
        by_column = [_rank(series, dict(baseline_detectors(each, window))[MAHALANOBIS], buffer) for each in columns]
        results[BEST_COLUMN] = max(by_column, key=lambda row: row["vus_pr"])
    for name, events in evaluate_events(detector, series) if network is not None else ():
        results[name] = results.get(name, {}) | events
    return {name: {"window": window, **row} for name, row in results.items()}


def _rank(series: LabeledSeries, fit: Fit, buffer: int) -> JsonObject:
    """Return the measures of a detector's scores, see `evaluate_series`."""
    start = time.perf_counter()
    score = fit()
    fitted = time.perf_counter()
    scores = score()
    end = time.perf_counter()
    final, online = (
        ranking_metrics(series.labels, np.where(np.isnan(each), np.nanmin(each), each), buffer) for each in scores
    )
    times = {"seconds": end - start, "rows_per_second": len(series.labels) / (end - fitted)}
    return {"buffer": buffer, **final._asdict(), "online_vus_pr": online.vus_pr, **times}


def default_window(series: LabeledSeries) -> int:
    """Return the default window of `lstmae series train` for the training rows."""
    names = [f"value {number}" for number in range(series.values.shape[1])]
    panel = panel_from_rows(series.values[: series.prefix], names)
    window = complete_from_table(Series(task="anomaly", freq="rows"), panel).config.window
    assert window is not None
    return window


def baseline_detectors(series: LabeledSeries, window: int) -> Iterator[tuple[str, Fit]]:
    """Yield the name of each baseline and the function that fits it.

    Args:
        series: a series of the benchmark.
        window: rows of a window. "Mahalanobis, two windows" also uses windows of twice as many rows.
    """
    scale = fit_scale("standard", series.values[: series.prefix])
    rows = scale.scaled(series.values[None], series.values[None])[0]
    longer = max(window, min(2 * window, series.prefix // 2))
    code = min(default_code_size(window * rows.shape[1]), series.prefix - window + 1)

    def by_windows(fit: Callable[[Array], WindowBaseline], window: int = window) -> Fit:
        def fitted() -> Callable[[], BenchmarkScores]:
            baseline = fit(view_windows(rows[: series.prefix], window))

            def score() -> BenchmarkScores:
                distances = window_distances(baseline, rows, window)
                return BenchmarkScores(
                    mean_over_windows(distances, window), np.r_[np.full(window - 1, np.nan), distances]
                )

            return score

        return fitted

    def fit_two() -> Callable[[], BenchmarkScores]:
        both = [by_windows(baselines.fit_covariance, length)() for length in (window, longer)]
        return lambda: BenchmarkScores(
            *(baselines.average_logarithms(each) for each in zip(*(score() for score in both), strict=True))
        )

    yield f"{MAHALANOBIS}, two windows", fit_two
    yield MAHALANOBIS, by_windows(baselines.fit_covariance)
    yield "PCA reconstruction", by_windows(lambda windows: baselines.fit_principal_components(windows, code))
    yield "nearest neighbor", by_windows(baselines.fit_neighbors)
    yield "linear autoregression", by_windows(baselines.fit_autoregression)
    yield "moving variance", by_windows(lambda _: baselines.MovingVariance(), min(VARIANCE_ROWS, series.prefix))
    yield "raw values", by_windows(lambda windows: baselines.fit_mean(windows[:, 0]), 1)


def evaluate_events(
    detector: "AnomalyDetector", series: LabeledSeries
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Yield the alarms in the rows after the training ones, by the detector and by the baselines.

    The baselines are those of `lstmae series detect`, with thresholds by the same rule from the same validation rows.

    Yields:
        The name of a detector, and the number of labeled `ranges`, of those `found` by an event, of those `alarmed`,
        that is, with an alarm from a quarter window before to a window after the range, of alarms in these times
        (`real`) and `outside` of them, of false alarms `expected` in as many normal rows, and the median `delay` in
        rows from the start of a detected range to its alarm (None without one).
    """
    from lstm_ae.apply.compare import DETECTOR, compare, load_baselines
    from lstm_ae.apply.detect import load_detector

    rows, labels = series.values[series.prefix :], series.labels[series.prefix :]
    if len(rows) < (detector.window_ or 0):
        return
    loaded = detector._fitted.load(load_detector)
    detection = detector._detect(rows, labels=labels)
    comparison = compare(loaded, load_baselines(detector._fitted, loaded), detection)
    for key, each in {DETECTOR: detection, **comparison.baselines}.items():
        events = comparison.metrics[key].events
        assert events is not None
        unlabeled = int(np.count_nonzero(~each.labeled_rows() & ~np.isnan(each.rows.scores)))
        yield (
            NETWORK if key == DETECTOR else key,
            {
                "ranges": events.ranges,
                "found": events.detected,
                "alarmed": events.alarmed,
                "real": events.real,
                "outside": events.events - events.real,
                "expected": each.threshold.alarms.expected * unlabeled,
                "delay": statistics.median(events.delays) if events.delays else None,
            },
        )


class FileJob(NamedTuple):
    """File to evaluate, see `lstm_ae.parallel.NumberedJob`."""

    number: int
    path: Path

    @property
    def title(self) -> str:
        """The name of the file."""
        return self.path.name

    def give_up(self, reason: str) -> list[JsonObject]:
        """Return the results of a file whose process died."""
        return [{"file": self.title, "error": f"[{Code.SYSTEM}] {reason}"}]


class EvaluationWork(NamedTuple):
    """Evaluation of files, see `lstm_ae.parallel.Work` and, for the network, `evaluate_series`."""

    network: JsonMapping | None

    def prepare(self, threads: int) -> None:
        """Limit the threads of a new process."""
        from threadpoolctl import threadpool_limits

        if self.network is not None:
            import_tensorflow(threads)
        threadpool_limits(threads)

    def load(self) -> Callable[[FileJob], list[JsonObject]]:
        """Return the function that evaluates a file."""
        return partial(evaluate_file, network=self.network)


def rank_detectors(results: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the detectors, sorted by decreasing mean VUS-PR.

    Args:
        results: the rows of all files, see `evaluate_file`.

    Returns:
        A row per detector: the number of series; the mean and the median VUS-PR; the mean AUC-PR, VUS-PR of online
        scores, and seconds; the median rows per second; the number of series on which no detector has a larger VUS-PR;
        and the mean difference of the VUS-PR of `reference_detector` from it, with the bounds of its bootstrap interval
        over series and the p-value of Wilcoxon's signed-rank test (NaN for no difference).
    """
    scores = results.dropna(subset="vus_pr")
    scores = scores.assign(win=scores["vus_pr"] >= scores.groupby("file")["vus_pr"].transform("max"))
    measures = {"vus_pr": ["size", "mean", "median"], "auc_pr": "mean", "online_vus_pr": "mean", "seconds": "mean"}
    table = scores.groupby("detector").agg(measures | {"rows_per_second": "median", "win": "sum"})
    names = ["series", "mean", "median", "auc_pr", "online", "seconds", "rows_per_second", "wins"]
    table.columns = pd.Index(names)
    table = table.sort_values("mean", ascending=False)
    by_file = scores.pivot(index="file", columns="detector", values="vus_pr")
    table = table.reset_index()
    ours = by_file[reference_detector(table)]
    compared = [_compare((ours - by_file[name]).dropna().to_numpy()) for name in table["detector"]]
    table[["difference", "low", "high", "p"]] = compared
    return table


def reference_detector(ranked: pd.DataFrame) -> str:
    """Return the detector to compare the others with: the network, or else the best of those with the most series."""
    if (ranked["detector"] == NETWORK).any():
        return NETWORK
    return str(ranked["detector"].to_numpy()[ranked["series"].to_numpy().argmax()])


def _compare(differences: Array) -> tuple[float, float, float, float]:
    """Return the mean of paired differences, the bounds of its interval, and the p-value of Wilcoxon's test."""
    from scipy.stats import wilcoxon

    if not differences.any():
        return 0.0, np.nan, np.nan, np.nan
    drawn = np.random.default_rng(0).choice(differences, (BOOTSTRAPS, len(differences)))
    low, high = np.quantile(drawn.mean(axis=1), BOUNDS)
    return float(differences.mean()), float(low), float(high), float(wilcoxon(differences).pvalue)


def summarize_events(results: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the alarms of each detector, in the order of the results; empty without a network.

    Args:
        results: the rows of all files, see `evaluate_file`.

    Returns:
        A row per detector: numbers of labeled ranges, of those that an event overlaps, and of those alarmed; means over
        the series of the shares of ranges found and alarmed, and of the share alarmed in series with `SEVERAL_RANGES`
        and more; the share of alarms that are real; the mean and the median number of alarms outside of labeled ranges,
        and the mean of the expected false alarms; and the median delay in windows (NaN without a found range).
    """
    if "found" not in results:
        return pd.DataFrame()
    events = results.dropna(subset="found")
    alarmed = events["alarmed"] / events["ranges"]
    events = events.assign(
        found_share=events["found"] / events["ranges"],
        alarmed_share=alarmed,
        alarmed_of_several=alarmed.where(events["ranges"] >= SEVERAL_RANGES),
        delay=events["delay"].astype(float) / events["window"],
    )
    sums, means = ("ranges", "found", "alarmed"), ("found_share", "alarmed_share", "alarmed_of_several", "expected")
    by_detector = events.groupby("detector", sort=False)
    table = by_detector[[*sums, "real", "outside"]].sum().join(by_detector[list(means)].mean())
    table["real"] /= table["real"] + table["outside"]
    table["outside"], table["median_outside"] = by_detector["outside"].mean(), by_detector["outside"].median()
    table["delay"] = by_detector["delay"].median()
    order = [*sums, *means[:-1], "real", "outside", "median_outside", "expected", "delay"]
    return table[order].reset_index()
