"""Anomaly detectors of tables: missing values, scores, events, and the commands on a small table of a pump."""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from detectors import compared, detect_file, detector_of, score_parameters
from loaded_once import loaded_once
from lstm_ae_cli.console import _replace_non_finite
from run_tables import read_prepared
from sampling import sampled
from searches import answer, call, call_unread, done, rows_of

from lstm_ae.apply import detect
from lstm_ae.apply.compare import Comparison
from lstm_ae.apply.detect import Detection, RunDetector, load_detector
from lstm_ae.apply.detection_output import describe_detection, detection_to_json, event_facts, event_table
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config import Series
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.frames import panel_from_rows
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.scaling import Scale, SeriesScales, fixed_scale
from lstm_ae.data.windows import Data, Source, Split, window_starts
from lstm_ae.detection import row_means
from lstm_ae.detection.baselines import PrincipalComponents
from lstm_ae.detection.calibration import NormalScores, default_rule
from lstm_ae.detection.events import EVENT_COLUMNS
from lstm_ae.detection.scorer import ArrivingSegment, Scorer
from lstm_ae.detection.thresholds import ExpectedAlarms
from lstm_ae.detection.views import MIN_UNIT, NETWORK, VALUES, Calibration, TrainingWindows, WindowsView, fit_views
from lstm_ae.errors import ConfigError
from lstm_ae.estimators import AnomalyDetector
from lstm_ae.experiment import open_trained
from lstm_ae.export import score_endpoint
from lstm_ae.export.score_endpoint import BLOCK_WINDOWS, ScoreParameters, make_score_function
from lstm_ae.models.autoencoder import pooled_autoencoder
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.scaling import in_own_units
from lstm_ae.run import measured_splits, open_run
from lstm_ae.studies import build_model
from lstm_ae.studies.series import defaults, reconstruction
from lstm_ae.studies.series.reconstruction import MahalanobisScores, PcaScores
from lstm_ae.training.steps import TrainingSteps

QUICK = "--window 24 --units 8 --code 4 --epochs 8 --batch-size 32 --learning-rate 0.01"


ORDER = ("time", "flow", "heat", "state")


def pump(path: Path, *, broken: bool, days: int = 40, order: tuple[str, ...] = ORDER) -> Path:
    """Write hourly rows of two columns with a daily season; if `broken`, `flow` is constant on day 30."""
    random = np.random.default_rng(1 if broken else 0)
    hours = np.arange(24 * days)
    flow = 50 + 10 * np.sin(2 * np.pi * hours / 24) + random.normal(0, 0.5, len(hours))
    heat = 20 + 3 * np.cos(2 * np.pi * hours / 24) + random.normal(0, 0.2, len(hours))
    state = np.zeros(len(hours), int)
    if broken:
        flow[24 * 30 : 24 * 31], state[24 * 30 : 24 * 31] = 41.0, 1
    times = np.datetime64("2024-01-01") + 60 * hours.astype("timedelta64[m]")
    columns = {"time": times.astype(str), "flow": flow.round(3), "heat": heat.round(3), "state": state}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(order)
        writer.writerows(zip(*(columns[name] for name in order), strict=True))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with a normal and a broken table, and a run of the normal one whose model no test changes."""
    folder = tmp_path_factory.mktemp("pump")
    with contextlib.chdir(folder):
        pump(Path("good.csv"), broken=False)
        pump(Path("bad.csv"), broken=True)
        said = call(f"series train {folder}/good.csv --value-cols flow,heat --out run {QUICK}")
    assert said.code == 0, said.err
    with loaded_once(detect, "load_detector", folder / "run"):
        yield folder


def test_training_stores_inferred_settings_and_baselines(place: Path) -> None:
    about = open_run(place / "run").about()["config"]
    found = {name: about[name] for name in ("time_col", "value_cols", "freq", "window", "task", "code")}
    assert found == {
        "time_col": "time",
        "value_cols": ["flow", "heat"],
        "freq": "1h",
        "window": 24,
        "task": "anomaly",
        "code": 4,
    }
    metrics = open_run(place / "run").metrics()
    assert metrics["threshold"]["rule"] == "budget:1/month:at-most"
    baselines = metrics["test"]["reconstruction_mse"]["baselines"]
    assert list(baselines) == ["PCA with 4 numbers", "mean of the window"]
    assert metrics["test"]["reconstruction_mse"]["value"] < 0.5 * baselines["mean of the window"]


def test_labeled_anomalies_are_excluded_from_metrics_and_verdict(tmp_path: Path) -> None:
    """A detector should reconstruct anomalies badly, so the test metrics must not depend on their errors."""
    rows = pump(tmp_path / "t.csv", broken=True).read_text().splitlines()
    found, model = [], None
    for value in ("41.0", "4100.0"):
        (tmp_path / "t.csv").write_text("\n".join(row.replace(",41.0,", f",{value},") for row in rows) + "\n")
        options = {"window": 24, "units": 2, "code": 2, "split": "0.6,0.1,0.3"}
        config = Series(data=str(tmp_path / "t.csv"), label_col="state", value_cols=("flow", "heat"), **options)
        complete, data = defaults.load_complete(config)
        model = model or KerasNetwork(build_model(complete, data))
        found.append(reconstruction.evaluate(model, data))
    held = data.test.samples - data.test.without_anomalies().samples
    assert held == 2 * 24 - 1
    assert found[0].metrics == found[1].metrics
    assert f"without {held} windows with labeled anomalies" in str(found[0].verdicts["test"])
    assert "without" not in str(found[0].verdicts["validation"])
    # If every window contains an anomaly, there are no windows to evaluate.
    marked = data._replace(test=data.test._replace(label=np.ones(data.test.samples, np.int32)))
    evaluation = reconstruction.evaluate(model, marked)
    assert list(evaluation.metrics) == ["validation"]
    (note,) = evaluation.notes
    assert f"No reconstruction error on test: each of its {data.test.samples} windows" in note
    assert evaluation.as_json()["notes"] == [note]
    assert list(measured_splits(evaluation.as_json())) == ["validation"]


def test_verdict_uses_windows_that_do_not_overlap() -> None:
    """The model has errors of 1; the baseline has errors of 2 in the first half of the rows and 1 in the second."""
    series = np.r_[np.full(300, 1.0), np.full(300, 2.0)].astype(np.float32)[:, None]
    series[40:50] = np.nan  # two windows without a value
    split = Split(series, np.arange(596), 5, np.zeros(600, np.int32))
    noise = np.random.default_rng(0)

    def ours(windows: np.ndarray) -> np.ndarray:
        return np.ones_like(windows) + 0 * windows

    def theirs(windows: np.ndarray) -> np.ndarray:
        return (3 - windows) + noise.uniform(-0.01, 0.01, windows.shape)

    found = reconstruction.judge_reconstruction(split, ours, theirs, "PCA with 4 numbers")
    assert (found.outcome, found.baseline) == ("beats", "PCA with 4 numbers")
    assert found.skill == pytest.approx(1 - 1 / (1.5 - 1 / 118), abs=0.01)
    # Components that reconstruct windows without loss are no baseline.
    it = PrincipalComponents(np.zeros((5, 1), np.float32), np.eye(5, dtype=np.float32))
    assert reconstruction.is_lossless(it)
    assert not reconstruction.is_lossless(it._replace(axes=it.axes[:4]))


def test_verdict_is_against_the_better_baseline(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the window is the baseline if its error is below that of the principal components."""
    monkeypatch.setattr(PrincipalComponents, "residuals", lambda self, windows: 10 + 0 * windows)
    with contextlib.chdir(place):
        found = open_trained(open_run("run")).evaluate()
    assert [verdict.baseline for verdict in found.verdicts.values()] == ["mean of the window"] * 2


def test_verdict_counts_correlated_series_once() -> None:
    """Series share shocks that last a day, and errors differ by chance only: few verdicts may be significant.

    If each window counted as independent, two in five would be significant.
    """
    random, rejected, rounds = np.random.default_rng(0), 0, 40
    hours, span, series = 24 * 60, 24, 24
    for _ in range(rounds):
        shocks = np.convolve(random.normal(size=hours + 23), np.ones(24), "valid").astype(np.float32)
        begins = range(series)
        values = np.concatenate([shocks[first:] for first in begins])[:, None]
        times = np.concatenate([np.arange(first, hours) for first in begins]) * 3600 * 10**9
        segment = np.repeat(np.arange(series, dtype=np.int32), [hours - first for first in begins])
        split = Split(values, window_starts(segment, span), span, segment, time=times.view("datetime64[ns]"))
        found = reconstruction.judge_reconstruction(
            split, lambda windows: 5 + windows, lambda windows: 5 + 0 * windows, "x"
        )
        rejected += found.p < 0.05
    assert rejected <= 0.2 * rounds


def test_detect_reports_the_labeled_anomaly_and_its_cause(place: Path, tmp_path: Path) -> None:
    document = answer(f"series detect {place}/run {place}/bad.csv --events e.csv --scores s.csv --label-col state")
    events = document["anomalies"]
    assert events[0]["alarm"] == events[0]["start"] == "2024-01-31 00:00:00"
    assert "2024-01-31 12" < events[-1]["end"] < "2024-02-02"
    assert all(event["columns"].startswith("flow ") for event in events)
    assert all(0 < event["p"] < 0.01 for event in events)
    assert document["alarms"] == len(events)
    assert list(document["metrics"]) == ["model", "PCA", "Mahalanobis", "raw values"]
    assert document["metrics"]["model"]["found"] == document["metrics"]["Mahalanobis"]["found"] == 1
    assert document["metrics"]["model"]["vus_pr"] > 0.5
    assert document["metrics"]["Mahalanobis"]["vus_pr"] > 0.5
    assert document["metrics"]["model"]["alarmed"] == 1
    assert not {"found", "alarmed", "false"} & set(document["metrics"]["raw values"])
    options = "--label-col state --threshold fixed:2 --events f.csv"
    fixed = answer(f"series detect {place}/run {place}/bad.csv {options}")
    # The fixed threshold of 2 applies to errors; distances have other units.
    assert "found" in fixed["metrics"]["model"]
    assert "found" not in fixed["metrics"]["Mahalanobis"]
    assert document["expected_false_alarms"]["low"] <= document["expected_false_alarms"]["mean"]
    assert [(row["peak"], row["alarm"]) for row in rows_of("e.csv")] == [
        (event["peak"], event["alarm"]) for event in events
    ]
    scores = rows_of("s.csv")
    assert list(scores[0]) == ["time", "score", "p", "anomaly", "final_score", "error flow", "error heat"]
    assert len(scores) == 960
    assert [row["time"] for row in scores[:2]] == ["2024-01-01T00:00:00", "2024-01-01T01:00:00"]
    # With paths for the results, the run is unchanged; without them, the run stores the results for its report.
    results = ("events.csv", "figures/detection.png")
    assert not any((place / "run" / name).exists() for name in results)
    said = done(f"series detect {place}/run {place}/bad.csv --label-col state")
    for name in results:
        assert said.out.count(str(place / "run" / name)) == 1
    assert (place / "run" / "events.csv").read_text() == (tmp_path / "e.csv").read_text()
    assert (place / "run" / "figures" / "detection.png").stat().st_size > 10_000


def test_normal_table_has_no_events(place: Path) -> None:
    said = done(f"series detect {place}/run {place}/good.csv")
    assert said.out.startswith("No anomaly found.\n")
    # A note names rows that overlap the training period.
    assert "overlap the training period (2024-01-01 to 2024-02-03" in said.err
    assert (place / "run" / "events.csv").read_text() == ",".join(EVENT_COLUMNS) + "\n"
    assert "PCA with 4 numbers: 0 events by the same rule" in said.out


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("detect {0}/run {0}/bad.csv --events e.csv --scores s.csv --figure f.png", ("e.csv", "s.csv", "f.png")),
        ("encode {0}/run {0}/bad.csv --out c.csv", ("c.csv",)),
        ("reconstruct {0}/run {0}/bad.csv --out c.csv", ("c.csv",)),
    ],
)
def test_output_files_are_written_if_stdout_is_closed(
    place: Path, line: str, files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = call_unread(f"series {line.format(place)}", monkeypatch)
    assert (said.code, said.out) == (0, "")
    assert all(Path(name).is_file() for name in files)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("detect {0}/run {0}/bad.csv --events e.txt", 2, "--events must end in .csv or .parquet"),
        ("detect {0}/run {0}/bad.csv --threshold often", 2, "--threshold must be quantile:Q"),
        ("detect {0}/run {0}/bad.csv --label-col heat", 2, "--label-col"),
        ("detect {0}/run few.csv", 3, "'few.csv' has 2 rows, and a window has 24"),
        ("detect {0}/run other.csv", 3, "has no column 'flow'"),
        ("detect {0}/run nowhere.csv", 3, "nowhere.csv"),
        ("detect nowhere {0}/bad.csv", 3, "There is no run at 'nowhere'"),
        ("train", 2, "Pass the table to train on"),
        ("train {0}/good.csv --out {0}/run", 2, "is not empty"),
        ("train rows.csv --window 10 --threshold budget:1/day", 2, "--threshold budget needs a constant sampling"),
        ("train rows.csv --window 10 --scale window", 2, "--scale window needs values without gaps"),
    ],
)
def test_invalid_options_and_tables_are_refused(place: Path, tmp_path: Path, line: str, code: int, words: str) -> None:
    (tmp_path / "few.csv").write_text("time,flow,heat\n2024-01-01,1,2\n2024-01-01 01:00,1,2\n")
    (tmp_path / "other.csv").write_text("time,power\n2024-01-01,1\n2024-01-01 01:00,1\n")
    (tmp_path / "rows.csv").write_text("v,w\n" + "".join(f"{k % 7 if k % 10 else ''},{k % 3}\n" for k in range(300)))
    before = sorted(tmp_path.iterdir())
    with mock.patch.object(detect, "detect") as detected:
        said = call("series " + line.format(place))
    assert said.code == code, said.err
    assert words in said.err
    assert said.err.count("lstmae: ") == 1
    assert "Traceback" not in said.err
    assert not detected.called
    assert sorted(tmp_path.iterdir()) == before


def test_missing_rows_and_values_do_not_distort_metrics() -> None:
    """A labeled range includes missing rows; a row with some values is scored by those values."""
    minutes = [minute for minute in range(60) if minute not in (5, 22, 23, 30)]
    rows = [
        f"2024-01-01 00:{minute:02},{9 * (20 <= minute < 30)},{'' if minute == 25 else 1},{int(20 <= minute < 30)}"
        for minute in minutes
    ]
    Path("t.csv").write_text("\n".join(("time,a,b,label", *rows)) + "\n")
    detector = detector_of(3, 2, value_cols=("a", "b"), time_col="time", label_col="label")
    prepared = read_prepared(detector.config, "t.csv")
    found, comparison = compared(detector, prepared, "fixed:1e9")
    assert np.flatnonzero(found.labeled_rows()).tolist() == [*range(20, 30)]
    assert comparison.metrics["model"].events.ranges == 1
    # The raw values rank all labeled rows first except the missing ones.
    assert comparison.metrics["raw values"].ranking.auc_pr == pytest.approx((8 + 9 / 59 + 10 / 60) / 10, abs=0.02)


def judged_by(labels: list[str], rule: str, **options: Any) -> tuple[Detection, Comparison]:
    """Detect anomalies in a table that has one at minutes 30 to 32, with these labels."""
    times = [f"2024-01-01 00:{minute:02}:{second:02}" for minute in range(60) for second in (0, 20)]
    values = [9 * (30 <= minute < 33) for minute in range(60)]
    if len(labels) == 60:
        times = times[::2]
    else:
        values = [value for value in values for _ in range(2)]
    rows = [",".join(map(str, row)) for row in zip(times, values, labels, strict=True)]
    Path("t.csv").write_text("\n".join(("time,a,label", *rows)) + "\n")
    detector = detector_of(3, value_cols=("a",), time_col="time", **options)
    return compared(detector, detector.read(TableRequest("t.csv", "label")), rule)


@pytest.mark.parametrize("words_", [("0", "1"), ("false", "TRUE"), ("0.0", "1.0"), ("False", "1"), ("", "1")])
def test_label_column_accepts_numbers_and_words(words_: tuple[str, str]) -> None:
    found, comparison = judged_by([words_[30 <= minute < 33] for minute in range(60)], "fixed:2")
    assert np.flatnonzero(found.labeled_rows()).tolist() == [30, 31, 32]
    events = comparison.metrics["model"].events
    assert events is not None
    assert (events.detected, events.alarmed, events.false) == (1, 1, 0)


@pytest.mark.parametrize(("label", "said"), [("0", "0 labeled ranges, 1 false event"), ("", "0 labeled ranges, 1")])
def test_events_are_reported_if_no_row_is_labeled_anomalous(label: str, said: str) -> None:
    found, comparison = judged_by([label] * 59 + ["0"], "fixed:2")
    lines = describe_detection(found, comparison)
    assert any(line.startswith(f"model: {said}") for line in lines)
    assert not any(line.startswith("raw values") or "VUS" in line for line in lines)
    document = detection_to_json(found, comparison, {})
    assert len(document["anomalies"]) == 1
    assert np.isnan(document["metrics"]["model"]["vus_pr"])
    assert json.loads(json.dumps(_replace_non_finite(document)))["metrics"]["model"] == {
        **dict.fromkeys(("vus_pr", "auc_pr")),
        "found": 0,
        "alarmed": 0,
        "false": 1,
        "delays": [],
    }
    every = judged_by(["1"] * 60, "fixed:2")[1].metrics["model"]
    assert (every.ranking.auc_pr, every.events.detected) == (1, 1)


@pytest.mark.parametrize(
    ("alarms", "normal", "said"),
    [
        ((0.16, 0.01, 2.44), 400, "about 0.2 (95% interval: 0 to 2.4"),
        ((0.004, 0.0, 0.6), 400, "fewer than 0.1 (95% interval: 0 to 0.6"),
        # In more rows than there are normal scores, fewer than one false alarm cannot be promised.
        ((0.16, 0.01, 2.44), 30, "up to 2, by the normal scores about 0.2 (95% interval: 0 to 2.4"),
        ((1.2, 0.01, 2.44), 30, "about 1.2 (95% interval: 0 to 2.4"),
    ],
)
def test_expected_false_alarms_are_rounded_in_text(alarms: tuple[float, float, float], normal: int, said: str) -> None:
    found, comparison = judged_by(["0"] * 60, "fixed:2")
    threshold = found.threshold._replace(
        alarms=ExpectedAlarms(*(number / found.scored for number in alarms)), normal=found.threshold.normal[:normal]
    )
    lines = describe_detection(found._replace(threshold=threshold), comparison)
    assert any(line.endswith(f"normal rows: {said}, from {normal} normal scores)") for line in lines)


def test_labels_are_checked_before_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scorer, "score_rows", lambda *_: pytest.fail("searched"))
    with pytest.raises(ConfigError, match=r"--label-col must hold 0 and 1, or false and true, .+ Received: broken, ok"):
        judged_by(["ok", "broken"] * 30, "fixed:2")


def test_mean_of_duplicates_is_labeled_if_any_of_them_is() -> None:
    labels = ["0"] * 120
    labels[15] = "1"
    for rule, marked in (("mean", [7]), ("first", []), ("last", [7])):
        found, _ = judged_by(labels, "fixed:2", duplicates=rule)
        assert np.flatnonzero(found.labeled_rows()).tolist() == marked


def test_events_of_several_series_have_a_series_column() -> None:
    rows = [f"2024-01-01 00:{k:02},{name},{9 * (k == 30) * (name == 'q')}" for name in "pq" for k in range(60)]
    Path("t.csv").write_text("\n".join(("time,id,a", *rows)) + "\n")
    detector = detector_of(3, value_cols=("a",), time_col="time", id_col=("id",))
    prepared = read_prepared(detector.config, "t.csv")
    found, comparison = compared(detector, prepared, "fixed:1")
    columns = event_table(event_facts(found), several=found.several)
    assert list(columns)[:5] == ["series", "start", "end", "peak", "alarm"]
    assert (columns["series"], columns["peak"]) == (["q"], ["2024-01-01 00:30:00"])
    (event,) = detection_to_json(found, comparison, {})["anomalies"]
    assert (event["series"], event["peak"]) == ("q", "2024-01-01 00:30:00")
    assert list(event_table(event_facts(detect.detect(detector, prepared, "fixed:1e9")), several=True)) == list(columns)


def test_missing_values_are_excluded_from_the_loss_and_its_gradients() -> None:
    import tensorflow as tf

    values = np.array([[1.0], [2.0], [np.nan], [4.0]], np.float32)
    split = Split(values, np.array([0, 2]), 2)
    config = Series(units=2, code=1)
    network = pooled_autoencoder(config, steps=2, features=1, missing=True)
    data = Data(split, split, split, fixed_scale(), Source("", "", ""))
    steps = TrainingSteps(network, None, data, batch_size=2, count=1, parts=1)
    windows = split.windows()
    given_back = network({"sequence": windows})["reconstruction"].numpy()
    assert np.isfinite(given_back).all()
    errors = (given_back - windows)[..., 0] ** 2
    # The second window has one value only.
    expected = (errors[0].mean() + errors[1, 1]) / 2
    assert steps.validate()["loss"] == pytest.approx(expected, rel=1e-5)
    gradients, _ = steps.gradients(tf.constant([0, 1], tf.int64))
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("told", [False, True])
def test_missing_values_are_imputed_by_the_training_mean(told: bool) -> None:
    """Without scaling, a missing value is read as the mean of the training rows, not as 0."""
    series = np.array([[1000.0, 5.0]] * 6 + [[1002.0, 7.0]] * 6, np.float32)
    if told:
        series[3, 0] = np.nan
    split = Split(series, np.arange(9), 4)
    data = Data(split, split, split, fixed_scale(), Source("", "", ""))
    assert data.scaled_means == pytest.approx((1001.090909 if told else 1001.0, 6.0))
    model = build_model(Series(units=3, code=2, scale="none"), data)
    windows = split.windows(slice(0, 1)).copy()
    windows[0, 2] = np.nan
    instead = windows.copy()
    instead[0, 2] = data.scaled_means
    one, other = (model({"sequence": each})["reconstruction"].numpy() for each in (windows, instead))
    assert np.isfinite(one).all()
    if not told:
        np.testing.assert_allclose(one, other, rtol=1e-6)
    standard = Scale("fixed", np.array([[1001, 6]], np.float32), np.ones((1, 2), np.float32))
    assert data._replace(scale=standard).scaled_means == (pytest.approx((0.090909, 0.0)) if told else ())


def test_network_distinguishes_missing_values_from_the_mean() -> None:
    network = pooled_autoencoder(Series(units=3, code=2), steps=4, features=1, missing=True)
    there, gone = np.zeros((1, 4, 1), np.float32), np.full((1, 4, 1), np.nan, np.float32)
    codes = [network({"sequence": window})["reconstruction"].numpy() for window in (there, gone)]
    assert not np.allclose(*codes)


def test_default_threshold_rules() -> None:
    hour = 3_600_000_000_000
    assert str(default_rule(hour, 24)) == str(default_rule(hour, 168)) == "budget:1/month:at-most"
    # A month has only 30 daily rows: a single window, or one row in 30 would be an alarm.
    assert str(default_rule(24 * hour, 30)) == str(default_rule(24 * hour, 7)) == "budget:1/year:at-most"
    assert str(default_rule(168 * hour, 30)) == str(default_rule(0, 8)) == "pot:0.001:at-most"


@pytest.mark.slow
def test_training_detection_and_export_accept_missing_values_in_every_window(tmp_path: Path) -> None:
    """Two sensors have different rates, so no window is complete."""
    rows = "".join(f"{np.sin(k / 3):.3f},{'' if k % 2 else k % 5}\n" for k in range(600))
    (tmp_path / "t.csv").write_text(f"v,w\n{rows}")
    done("series train t.csv --window 20 --out run --units 4 --epochs 1")
    found = detect_file(open_run("run"), TableRequest("t.csv"))
    assert np.isfinite(found.final).all()
    assert np.isfinite(found.rows.scores).tolist() == [False] * 19 + [True] * 581
    done("export run")


def test_normal_scores_load_after_saving(place: Path) -> None:
    run = open_run(place / "run")
    stored = [run.artifact(kind) for kind in (NormalScores, PcaScores, MahalanobisScores)]
    normal, pca, mahalanobis = stored
    assert (normal.window, normal.step) == (24, 3_600_000_000_000)
    assert normal.scale.kind == "fixed"
    opened = open_trained(run, defaults.load(run.config()))  # type: ignore[arg-type]
    again, _ = reconstruction.fit_detector(opened.model, opened.data, opened.config, pca.components)  # type: ignore[arg-type, attr-defined]
    for one, other in zip(again, stored, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)
        assert list(one.views) == list(other.views)
        for computed, read in zip(one.views.values(), other.views.values(), strict=True):
            assert (computed.alarms, computed.ranks) == (read.alarms, read.ranks)
            np.testing.assert_allclose(computed.calibration.deviation, read.calibration.deviation, rtol=1e-5)
            assert computed.calibration.units == pytest.approx(read.calibration.units, rel=1e-4)
        assert np.isnan(other.scores[:23]).all()
        assert np.mean(other.scores > 1) < 0.005
    assert [list(each.views) for each in stored] == [["network", "shape", "windows"], ["network"], ["windows"]]
    assert normal.views["network"].calibration.units != pca.views["network"].calibration.units
    assert normal.views["windows"].calibration.units.distance == mahalanobis.views["windows"].calibration.units.distance
    # The shapes differ so little that their scores are in the smallest unit.
    assert normal.views["shape"].calibration.units.usual == MIN_UNIT


def switched(rows: int = 400) -> np.ndarray:
    """Return a noisy sine and a switch."""
    row, random = np.arange(rows), np.random.default_rng(0)
    return np.stack([np.sin(row / 4) + random.normal(0, 0.1, rows), row // 20 % 2], axis=1).astype(np.float32)


def test_columns_that_measure_have_a_view_of_their_own() -> None:
    """The second column is a switch."""
    values, segment = switched(), np.zeros(400, np.int32)
    fitted = AnomalyDetector(window=8, epochs=1, random_state=0, options={"freq": "rows"}).fit(values)
    detector = fitted._fitted.load(load_detector)
    views = detector.normal.views
    measured = views["windows"]
    assert isinstance(measured, WindowsView)
    assert measured.columns.tolist() == [True, False]
    assert measured.calibration.distance.mean.shape == (8, 1)
    assert {name: (view.alarms, view.ranks) for name, view in views.items()} == {
        "network": (True, True),
        "shape": (False, True),
        "windows": (True, True),
    }
    scorer, parts = detector.scorer(), ArrivingSegment(8, 2)
    whole = scorer.score_rows(values, segment)
    scores = [scorer.score_arrived([parts.add(values[start : start + 7])]).scores for start in range(0, 400, 7)]
    np.testing.assert_allclose(np.concatenate(scores), whole.scores, rtol=1e-5)
    # Where nothing is measured, the network scores the rows.
    values[200:220, 0] = np.nan
    unmeasured = scorer.score_rows(values, segment).scores
    assert not np.isnan(unmeasured[200:220]).any()
    network = views["network"]
    alone = Scorer([network], detector.sources).score_rows(values, segment)
    distance, error, _ = network.calibration.units
    terms = (1 + alone.distances[:, 0] / distance) * (1 + alone.own[:, 0] / error)
    np.testing.assert_allclose(alone.scores, np.sqrt(terms) - 1, rtol=1e-9)
    # The window that ends at row 215 has no value of the first column.
    np.testing.assert_allclose(unmeasured[215], alone.scores[215], rtol=1e-9)


@pytest.mark.parametrize(
    ("continuous", "chosen", "ranking"),
    [
        ([True, False], (), ["network", "shape", "windows"]),
        ([True, True], (), ["network", "shape"]),
        ([False, False], (), ["network", "shape"]),
        ([True, True], ("network",), ["network"]),
        ([True, True], ("network", "windows"), ["network", "windows"]),
    ],
)
def test_views_that_rank_rows(continuous: list[bool], chosen: tuple[str, ...], ranking: list[str]) -> None:
    """Distances of all columns rank rows only if they are chosen."""
    windows = row_means.sliding_windows(switched(), 8)
    training = TrainingWindows(windows, windows, windows / 10, np.ones(2), 1e-6, np.array(continuous))
    views = fit_views(training, chosen)
    assert list(views) == list(chosen or ("network", "shape", "windows"))
    assert [name for name, view in views.items() if view.ranks] == ranking


def scored_network() -> tuple[Any, ScoreParameters, RunDetector]:
    """Return a model that reads windows of 5 rows, the parameters of its scores, and its detector."""
    import keras

    keras.utils.set_random_seed(0)
    scale, parameters = fixed_scale(2.0, 3.0), score_parameters(5, 2)
    network = pooled_autoencoder(Series(units=3, code=2), steps=5, features=2, missing=True)
    model = in_own_units(network, scale)
    residuals = reconstruction.model_residuals(KerasNetwork(model))
    sources = {
        NETWORK: reconstruction.sliding_residuals(residuals, scale, 5),
        VALUES: reconstruction.sliding_residuals(lambda scaled: scaled, scale, 5),
    }
    scores = np.random.default_rng(1).exponential(0.3, 60)
    normal = NormalScores(parameters.views, scores, np.zeros(60, np.int32), 5, 0, scale)
    config = Series(freq="rows", max_gap=2, window=5)
    return model, parameters, RunDetector(config, SeriesScales(scale), normal, sources)


@pytest.mark.parametrize(
    ("views", "rule"),
    [(("network", "windows"), "fixed:1"), (("network", "windows"), "pot:0.1"), (("network",), "fixed:1")],
)
def test_score_endpoint_equals_the_detection_in_a_table(views: tuple[str, ...], rule: str) -> None:
    """Gaps at the start, in the middle, and at the end: the scores and alarms equal those of the table on its grid."""
    import tensorflow as tf

    model, parameters, detector = scored_network()
    used = {name: parameters.views[name] for name in views}
    detector = dataclasses.replace(detector, normal=dataclasses.replace(detector.normal, views=used))
    threshold = detector.normal.threshold(parse_threshold(rule))
    parameters = parameters._replace(rule=threshold.alarm_rule(5), views=used)
    rows = np.random.default_rng(0).normal(2, 3, (4, 40, 2)).astype(np.float32)
    # Where nothing is measured, the other view scores the rows.
    rows[3, 10:20, 0] = np.nan
    for series_, gaps in enumerate(
        [[(10, 12), (20, 23)], [(0, 3), (5, 8), (36, 40)], [(3, 9), (12, 15), (16, 30)], []]
    ):
        for first, end in gaps:
            rows[series_, first:end] = np.nan
    call_, specs = make_score_function(model, parameters)
    graph = tf.function(call_, input_signature=[specs])
    got = {name: value.numpy() for name, value in graph({"sequence": tf.constant(rows)}).items()}
    for number, each in enumerate(rows):
        prepared = prepare_table(detector.config, panel_from_rows(each, ["a", "b"]))
        found = detect.detect(detector, prepared, rule)
        np.testing.assert_allclose(got["score"][number], found.rows.scores, rtol=1e-4)
        assert got["anomaly"][number].tolist() == found.anomaly.tolist()
        assert np.flatnonzero(got["alarm"][number]).tolist() == [event.alarm for event in found.events]
    assert 0 < got["alarm"].sum() < got["anomaly"].sum()
    assert got["threshold"].tolist() == pytest.approx([threshold.value] * 4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph({"sequence": tf.constant(rows[:, :3])})


SIZES = ((1, 5000), (3, 1500), (1500, 6), (2, 5))


@pytest.mark.parametrize(("series", "rows"), sampled(SIZES, slow=(SIZES[0], SIZES[2])))
def test_score_endpoint_limits_windows_in_memory(series: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    sizes, distances = [0], score_endpoint.squared_distances

    def spy(calibration: Calibration, axes: Any, deviations: Any) -> Any:
        sizes.append(len(deviations))
        return distances(calibration, axes, deviations)

    model, parameters, detector = scored_network()
    values = np.random.default_rng(0).normal(2, 3, (series, rows, 2)).astype(np.float32)
    values[0, rows // 2] = np.nan
    monkeypatch.setattr(score_endpoint, "squared_distances", spy)
    call_, _ = make_score_function(model, parameters)
    # Call the function eagerly, not as a graph, so that each size is available.
    got = call_({"sequence": tf.constant(values)})
    assert max(sizes) <= BLOCK_WINDOWS
    assert got["score"].shape == got["anomaly"].shape == got["alarm"].shape == (series, rows)
    assert got["threshold"].shape == (series,)
    for each in {0, series - 1} if rows >= 5 else ():
        expected = detector.scorer().score_rows(values[each], np.zeros(rows, np.int32)).scores
        np.testing.assert_allclose(got["score"][each], expected, rtol=1e-4)


def test_rows_that_leave_the_training_range_for_good_are_noted(place: Path) -> None:
    head, *rows = (place / "bad.csv").read_text().splitlines()
    column = head.split(",").index("heat")
    assert len(rows) > 400

    def shifted(row: str) -> str:
        cells = row.split(",")
        cells[column] = "1e4"
        return ",".join(cells)

    text = "\n".join([head, *rows[:100], *map(shifted, rows[100:])]) + "\n"
    Path("shifted.csv").write_text(text)
    said = done(f"series detect {place}/run shifted.csv --events e.csv --json")
    assert "note: Drift over 240 rows or more: most values of 'heat' " in said.err
    # Other notes on the same values are left out.
    assert "Far outside" not in said.err
    (found,) = json.loads(said.out)["shifts"]
    assert found["columns"] == ["heat"]
    assert found["scores"]
    noticed = rows[100 + 240 - 1].split(",")[head.split(",").index("time")]
    assert found["noticed"] <= noticed.replace("T", " ") + ":00"
    assert answer(f"series detect {place}/run {place}/bad.csv --events e.csv")["shifts"] == []
