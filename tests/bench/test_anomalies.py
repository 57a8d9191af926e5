"""The benchmark of labeled series: its protocol, unusable files, published results, and resuming."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from processes import CEILING
from searches import call

from lstm_ae import startup
from lstm_ae.bench import anomalies
from lstm_ae.bench.anomalies import (
    DetectorResult,
    EventResult,
    SeriesResult,
    TrainingOptions,
    evaluate_file,
    rank_detectors,
    read_published,
)
from lstm_ae.errors import ConfigError, DataError, LstmAeError

BASELINES = {
    "Mahalanobis, two windows",
    "Mahalanobis",
    "PCA distance",
    "PCA reconstruction",
    "k-means",
    "nearest neighbor",
    "raw values",
}


EVENT_DETECTORS = [
    f"{name}{online}" for online in ("", ", online") for name in ("LSTM autoencoder", "PCA", "Mahalanobis")
]


def write_series(folder: Path, name: str = "1_made_tr_300_1st_400.csv", *, rows: int = 500, columns: int = 1) -> Path:
    """Write a sine with a labeled range in which it is constant."""
    row = np.arange(rows)
    values = np.sin(2 * np.pi * row / 20)[:, None] + np.random.default_rng(0).normal(0, 0.1, (rows, columns))
    values[rows - 100 : rows - 60] = 0.5
    labels = (row >= rows - 100) & (row < rows - 60)
    lines = [
        ",".join([*(f"{value:.6g}" for value in line), str(int(label))])
        for line, label in zip(values, labels, strict=True)
    ]
    path = folder / name
    path.write_text("\n".join([",".join([*(f"v{k}" for k in range(columns)), "Label"]), *lines]) + "\n")
    return path


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluate in this process, as starting processes takes seconds."""

    def run(files: Sequence[Path], training: TrainingOptions | None, jobs: int, threads: int) -> Iterator[SeriesResult]:
        yield from (evaluate_file(path, training) for path in files)

    monkeypatch.setattr(anomalies, "_run_in_processes", run)


@pytest.mark.parametrize("columns", [1, 3])
def test_all_rows_are_scored_by_every_baseline(tmp_path: Path, columns: int) -> None:
    result = evaluate_file(write_series(tmp_path, columns=columns), None)
    assert result.error == ""
    assert (result.file, result.rows, result.features) == ("1_made_tr_300_1st_400.csv", 500, columns)
    assert (result.window, result.buffer) == (20, 20)
    assert set(result.detectors) == BASELINES
    assert result.detectors["Mahalanobis"].vus_pr > 0.9
    assert result.detectors["raw values"].vus_pr < 0.3
    assert all(0 < found.auc_pr <= 1 and found.seconds > 0 for found in result.detectors.values())


def test_labels_do_not_affect_scores(tmp_path: Path) -> None:
    series = anomalies.read_labeled_series(write_series(tmp_path))
    other = series._replace(labels=~series.labels)
    for (_, score), (_, again) in zip(
        anomalies.baseline_scorers(series, 20), anomalies.baseline_scorers(other, 20), strict=True
    ):
        assert (score() == again()).all()


def test_rows_after_the_training_prefix_do_not_affect_scores_before_it(tmp_path: Path) -> None:
    series = anomalies.read_labeled_series(write_series(tmp_path))
    changed = series.values.copy()
    changed[350:] += 5
    for (name, score), (_, again) in zip(
        anomalies.baseline_scorers(series, 20),
        anomalies.baseline_scorers(series._replace(values=changed), 20),
        strict=True,
    ):
        assert score()[:300] == pytest.approx(again()[:300]), name


def edit(path: Path, line: int, text: str) -> Path:
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")
    return path


def test_unusable_files_are_listed_and_the_others_evaluated(tmp_path: Path, in_this_process: None) -> None:
    write_series(tmp_path)
    write_series(tmp_path, "no_number.csv")
    write_series(tmp_path, "long_tr_500_1st_1.csv")
    edit(write_series(tmp_path, "no_label_tr_300_1st_1.csv"), 0, "v0,Mark")
    edit(write_series(tmp_path, "missing_tr_300_1st_1.csv"), 7, ",0")
    edit(write_series(tmp_path, "text_tr_300_1st_1.csv"), 7, "high,0")
    (tmp_path / "empty_tr_300_1st_1.csv").write_text("")
    constant = write_series(tmp_path, "constant_tr_300_1st_1.csv")
    head, *lines = constant.read_text().splitlines()
    constant.write_text("\n".join([head, *(["5,0"] * 300), *lines[300:]]) + "\n")
    unlabeled = write_series(tmp_path, "unlabeled_tr_300_1st_1.csv")
    unlabeled.write_text(unlabeled.read_text().replace(",1\n", ",0\n"))
    said = call(f"bench anomalies {tmp_path} --no-network --json")
    assert said.code == 0, said.err
    series = {row["file"].partition("_tr_")[0]: row for row in json.loads(said.out)["series"]}
    assert set(series["1_made"]["detectors"]) == BASELINES
    facts = {
        "no_number.csv": "[LAE116] 'no_number.csv': the name does not contain tr_N",
        "long": "tr_500 in the name must be 2 to 499, as there are 500 rows",
        "no_label": "[LAE116] 'no_label_tr_300_1st_1.csv': there is no column Label",
        "missing": "row 7 has no value in 'v0'",
        "text": "[LAE104]",
        "empty": "[LAE116] 'empty_tr_300_1st_1.csv': there is no column Label",
        "constant": "all values are constant in the 300 training rows",
        "unlabeled": "the column Label must hold 0 and 1",
    }
    for name, fact in facts.items():
        assert fact in series[name]["error"]
        assert series[name]["detectors"] == {}
    assert set(series) == {"1_made", *facts}


def test_no_usable_file_is_an_error(tmp_path: Path, in_this_process: None) -> None:
    assert call(f"bench anomalies {tmp_path / 'none'} --no-network").code == 2
    assert "--link must be one of baseline, none" in call(f"bench anomalies {tmp_path} --link pca").err
    said = call(f"bench anomalies {tmp_path} --no-network")
    assert said.code == 3
    assert "contains no .csv" in said.err
    write_series(tmp_path, "no_number.csv")
    said = call(f"bench anomalies {tmp_path} --no-network")
    assert said.code == 3
    assert "[LAE116] No file can be evaluated" in said.err


def result(file: str, **volumes: float) -> SeriesResult:
    return SeriesResult(file, 9, 1, 3, 3, {name: DetectorResult(v, v / 2, 2.0) for name, v in volumes.items()})


def test_detectors_are_ranked_with_published_ones(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text("file,source,KNN,Other,None\na.csv,NAB,0.5,0.1,\nb.csv.gz,NAB,0.1,-,nan\nz.csv,NAB,1,1,inf\n")
    published = read_published(path)
    assert set(published) == {"KNN", "Other"}
    assert published["Other"] == {"a.csv": 0.1, "z.csv": 1}
    standings = rank_detectors(
        [result("a.csv", ours=0.4), result("b.csv", ours=0.1), SeriesResult("c.csv", error="x")], published
    )
    assert [tuple(standing) for standing in standings] == [
        ("KNN (published)", 2, 0.3, 0.3, None, None, 2),
        ("ours", 2, 0.25, 0.25, 0.125, 2.0, 1),
        ("Other (published)", 1, 0.1, 0.1, None, None, 0),
    ]


@pytest.mark.parametrize("text", ["", "name,KNN\na.csv,1\n", "file,source\na.csv,NAB\n"])
def test_published_results_need_files_and_numbers(tmp_path: Path, text: str) -> None:
    (tmp_path / "published.csv").write_text(text)
    with pytest.raises(DataError, match="must have a column file"):
        read_published(tmp_path / "published.csv")


def test_interrupted_benchmark_resumes_with_equal_options_and_data(tmp_path: Path, in_this_process: None) -> None:
    files = [write_series(tmp_path, f"{k}_tr_300_1st_1.csv") for k in range(3)]
    out, done = tmp_path / "out", list[str]()

    def stop(found: SeriesResult) -> None:
        done.append(found.file)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anomalies.evaluate_files(files, None, jobs=1, out=out, done=stop)
    first = (out / "series.jsonl").read_text()
    assert len(first.splitlines()) == 2
    assert not (out / "series.csv").exists()
    results = anomalies.evaluate_files(files, None, jobs=1, out=out, done=lambda _: None)
    assert [found.file for found in results] == [path.name for path in files]
    assert (out / "series.jsonl").read_text().startswith(first)
    head, *rows = (out / "series.csv").read_text().splitlines()
    assert {"file", "window", "Mahalanobis vus_pr", "k-means seconds"} <= set(head.split(","))
    assert len(rows) == 3
    with pytest.raises(ConfigError, match="other options or data"):
        anomalies.evaluate_files(files[:2], None, jobs=1, out=out, done=lambda _: None)
    content = files[1].read_text()
    files[1].write_text(content[:-2] + ("1" if content[-2] == "0" else "0") + content[-1])
    with pytest.raises(ConfigError, match="other options or data"):
        anomalies.evaluate_files(files, None, jobs=1, out=out, done=lambda _: None)
    files[1].write_text(content)
    (out / "series.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="damaged"):
        anomalies.evaluate_files(files, None, jobs=1, out=out, done=lambda _: None)


@pytest.mark.slow
def test_killed_benchmark_resumes_without_importing_keras(tmp_path: Path) -> None:
    for k in range(4):
        write_series(tmp_path, f"{k}_tr_300_1st_1.csv", rows=2000)
    code = """
import sys
from lstm_ae_cli import main
code = main(sys.argv[1:])
assert not {"tensorflow", "keras"} & set(sys.modules)
sys.exit(code)
"""
    line = [sys.executable, "-c", code, *f"bench anomalies {tmp_path} --no-network --jobs 2 --json --out".split()]
    process = subprocess.Popen([*line, str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal, end = tmp_path / "out" / "series.jsonl", time.monotonic() + CEILING
    while not journal.exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = journal.read_text()
    done = subprocess.run([*line, str(tmp_path / "out")], capture_output=True, text=True, timeout=CEILING)
    assert done.returncode == 0, done.stderr
    assert journal.read_text().startswith(before)
    assert [row["error"] for row in json.loads(done.stdout)["series"]] == [""] * 4


@pytest.mark.slow
def test_bench_anomalies_evaluates_the_network(tmp_path: Path) -> None:
    write_series(tmp_path, rows=400, name="1_tr_200_1st_300.csv")
    said = call(f"bench anomalies {tmp_path} --jobs 1 --json")
    assert said.code == 0, said.err
    (row,) = json.loads(said.out)["series"]
    assert row["error"] == ""
    assert set(row["detectors"]) == {"LSTM autoencoder", *BASELINES}
    assert [each["name"] for each in json.loads(said.out)["events"]] == list(row["events"]) == EVENT_DETECTORS
    for events in row["events"].values():
        assert (events["ranges"], events["found"]) == (1, 1)
        assert events["false"] <= 2
        assert 0 < events["expected"] < 1
        assert 0 <= events["delay"] < 40, "the range has 40 rows"
    assert "LSTM autoencoder, online  1 of 1" in call(f"bench anomalies {tmp_path} --jobs 1").out


@pytest.mark.slow
@pytest.mark.parametrize("labeled", ["before", "nowhere after"])
def test_events_need_rows_after_the_training_ones(
    tmp_path: Path, labeled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels before the end of the training rows count for the scores only; too few rows after it have no events."""
    from lstm_ae.estimators import AnomalyDetector

    short = functools.partial(AnomalyDetector, epochs=1, units=4)
    monkeypatch.setattr("lstm_ae.estimators.AnomalyDetector", short)
    path = write_series(tmp_path, f"1_tr_{485 if labeled == 'before' else 460}_1st_1.csv")
    found = evaluate_file(path, TrainingOptions())
    assert found.error == ""
    assert found.detectors["LSTM autoencoder"].vus_pr > 0
    assert {events.ranges for events in found.events.values()} == (set() if labeled == "before" else {0})


def test_events_are_summarized_by_series() -> None:
    rows = [
        SeriesResult(f"{k}.csv", 9, 1, window, events={"ours": EventResult(*numbers, 1.0)})
        for k, (window, numbers) in enumerate(
            [(10, (4, 1, 0, 0.2, 5)), (20, (1, 1, 3, 1.2, 30)), (10, (0, 0, 6, 6.0, None))]
        )
    ]
    (summary,) = anomalies.summarize_events([*rows, SeriesResult("x.csv", error="x")])
    assert tuple(summary) == ("ours", 3, 5, 2, 0.625, 3, pytest.approx(7.4 / 3), 3, pytest.approx(2 / 3), 1.0)


def test_network_is_trained_with_the_given_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    class Detector:
        def __init__(self, **options: object) -> None:
            given.append(options)

        window_ = 10**6

        def fit(self, rows: np.ndarray) -> None:
            assert len(rows) == 300

        def score_samples(self, rows: np.ndarray) -> np.ndarray:
            return -np.abs(rows[:, 0])

    monkeypatch.setattr("lstm_ae.estimators.AnomalyDetector", Detector)
    evaluate_file(write_series(tmp_path), TrainingOptions("none", 7))
    assert given == [{"random_state": 7, "options": {"freq": "rows", "link": "none"}}]


def test_options_of_the_network_need_a_network(tmp_path: Path) -> None:
    write_series(tmp_path)
    for option in ("--seed 1", "--link none"):
        said = call(f"bench anomalies {tmp_path} --no-network {option}")
        assert said.code == 2
        assert option.split()[0] in said.err


def die(*_: object) -> None:
    os._exit(3)


@pytest.mark.slow
def test_error_of_a_dead_process_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "run_child_process", die)
    with pytest.raises(LstmAeError, match=r"1_made.*its process died 3 times"):
        list(anomalies._run_in_processes([write_series(tmp_path)], None, 1, 1))
