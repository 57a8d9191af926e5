"""The benchmark of labeled series: its protocol, unusable files, and events."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import call, done

from lstm_ae.bench import anomalies
from lstm_ae.bench.anomalies import (
    BEST_COLUMN,
    NETWORK,
    FileJob,
    baseline_detectors,
    evaluate_file,
    rank_detectors,
    summarize_events,
)
from lstm_ae.detection.baselines import MAHALANOBIS
from lstm_ae.errors import Code
from lstm_ae.json_types import JsonObject

BASELINES = {
    "Mahalanobis, two windows",
    "Mahalanobis",
    "PCA reconstruction",
    "nearest neighbor",
    "linear autoregression",
    "moving variance",
    "raw values",
}


EVENT_DETECTORS = {"LSTM autoencoder", "PCA", "Mahalanobis"}


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


def evaluated(path: Path) -> list[JsonObject]:
    return evaluate_file(FileJob(0, path), None)


@pytest.mark.parametrize("columns", [1, 3])
def test_all_rows_are_scored_by_every_baseline(tmp_path: Path, columns: int) -> None:
    rows = {row["detector"]: row for row in evaluated(write_series(tmp_path, columns=columns))}
    assert set(rows) == BASELINES | ({BEST_COLUMN} if columns > 1 else set())
    assert {(row["file"], row["window"], row["buffer"]) for row in rows.values()} == {
        ("1_made_tr_300_1st_400.csv", 20, 20)
    }
    assert rows["Mahalanobis"]["vus_pr"] > 0.9
    assert rows["raw values"]["vus_pr"] < 0.3
    assert rows["moving variance"]["vus_pr"] < rows["linear autoregression"]["online_vus_pr"] < 1
    for row in rows.values():
        assert 0 < row["auc_pr"] <= 1
        assert min(row["seconds"], row["rows_per_second"]) > 0


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_online_scores_do_not_depend_on_later_rows_or_labels(tmp_path: Path, name: str) -> None:
    series = anomalies.read_labeled_series(write_series(tmp_path))
    changed = series._replace(
        values=np.concatenate([series.values[:450], series.values[450:] + 5]), labels=~series.labels
    )
    one, other = (dict(baseline_detectors(each, 20))[name]()() for each in (series, changed))
    np.testing.assert_allclose(one.online[:450], other.online[:450], rtol=1e-5)
    assert not np.array_equal(one.final[:450], other.final[:450], equal_nan=True) or name == "raw values"


def edit(path: Path, line: int, text: str) -> Path:
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")
    return path


def test_unusable_files_are_listed_and_the_others_evaluated(tmp_path: Path) -> None:
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
    said = done(f"bench anomalies {tmp_path} --no-network --jobs 1 --json --out {tmp_path / 'out.csv'}")
    document = json.loads(said.out)
    assert document["reference"] == document["detectors"][0]["detector"]
    rows = document["series"]
    assert {row["detector"] for row in rows if row["file"].startswith("1_made")} == BASELINES
    facts = {
        "no_number.csv": (Code.BENCHMARK_FILE, "tr_N"),
        "long": (Code.BENCHMARK_FILE, "500 rows"),
        "no_label": (Code.BENCHMARK_FILE, "Label"),
        "missing": (Code.BENCHMARK_FILE, "row 7 has no value in 'v0'"),
        "text": (Code.CELL_VALUE, "high"),
        "empty": (Code.BENCHMARK_FILE, "Label"),
        "constant": (Code.BENCHMARK_FILE, "300 training rows"),
        "unlabeled": (Code.BENCHMARK_FILE, "0 and 1"),
    }
    errors = {row["file"].partition("_tr_")[0]: row["error"] for row in rows if "error" in row}
    assert set(errors) == set(facts)
    for name, (code, fact) in facts.items():
        assert errors[name].startswith(f"[{code}]")
        assert fact in errors[name]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + len(BASELINES) + len(facts)


def test_no_usable_file_is_an_error(tmp_path: Path) -> None:
    write_series(tmp_path, "no_number.csv")
    for folder, code in ((tmp_path / "none", Code.FILE_UNREADABLE), (tmp_path, Code.BENCHMARK_FILE)):
        said = call(f"bench anomalies {folder} --no-network --jobs 1")
        assert said.code == 3
        assert f"[{code}]" in said.err
    (row,) = FileJob(3, tmp_path / "a.csv").give_up("its process died twice")
    assert (row["file"], row["error"]) == ("a.csv", f"[{Code.SYSTEM}] its process died twice")


def result(file: str, **volumes: float) -> list[JsonObject]:
    return [
        {"file": file, "detector": name, "vus_pr": value, "auc_pr": value / 2, "online_vus_pr": value / 4}
        | {"seconds": 2.0, "rows_per_second": 50.0}
        for name, value in volumes.items()
    ]


def test_detectors_are_ranked_by_mean() -> None:
    results = [*result("a.csv", ours=0.4, other=0.5), *result("b.csv", ours=0.3), {"file": "c.csv", "error": "x"}]
    first, second = rank_detectors(pd.DataFrame(results)).to_numpy().tolist()
    assert first[:9] == ["other", 1, 0.5, 0.5, 0.25, 0.125, 2.0, 50.0, 1]
    assert second[:9] == ["ours", 2, 0.35, 0.35, 0.175, pytest.approx(0.0875), 2.0, 50.0, 1]
    # The reference is the best of the detectors on the most series.
    assert first[9:] == pytest.approx([-0.1, -0.1, -0.1, 1.0])
    assert second[9] == 0


def test_differences_from_the_network_are_paired_by_series() -> None:
    """Wilcoxon's test of 8 positive differences has the p-value 2 / 2**8."""
    results = [
        row for n in range(8) for row in result(f"{n}.csv", other=0.1 * n, **{NETWORK: 0.1 * n + 0.01 * (n + 1)})
    ]
    network, other = rank_detectors(pd.DataFrame(results)).to_dict("records")
    assert (network["detector"], network["difference"]) == (NETWORK, 0)
    assert (other["difference"], other["p"]) == (pytest.approx(0.045), pytest.approx(2 / 2**8))
    assert 0.02 < other["low"] < 0.045 < other["high"] < 0.07


@pytest.mark.slow
def test_bench_anomalies_evaluates_the_network(tmp_path: Path) -> None:
    write_series(tmp_path, rows=400, name="1_tr_200_1st_300.csv")
    said = done(f"bench anomalies {tmp_path} --jobs 1 --json")
    document = json.loads(said.out)
    assert {each["detector"] for each in document["detectors"]} == {"LSTM autoencoder", *BASELINES}
    assert document["reference"] == NETWORK
    assert {each["detector"] for each in document["events"]} == EVENT_DETECTORS
    for events in document["events"]:
        # The range is shorter than a window, which lies in normal rows as well.
        assert events["alarmed"] == (events["detector"] != MAHALANOBIS)
        assert events["ranges"] == 1
        assert events["outside"] <= 2
        assert 0 < events["expected"] < 1


def test_events_are_summarized_by_series() -> None:
    names = ("window", "ranges", "found", "alarmed", "real", "outside", "expected", "delay")
    rows = [(10, 4, 1, 2, 3, 0, 0.2, 5), (20, 1, 1, 0, 0, 3, 1.2, 30), (10, 0, 0, 0, 0, 6, 6.0, None)]
    results = [{"file": "a", "detector": "ours", **dict(zip(names, row, strict=True))} for row in rows]
    (summary,) = summarize_events(pd.DataFrame([*results, {"file": "x", "error": "x"}])).to_dict("records")
    assert summary == {
        "detector": "ours",
        "ranges": 5,
        "found": 2,
        "alarmed": 2,
        "found_share": 0.625,
        "alarmed_share": 0.25,
        "alarmed_of_several": 0.5,
        "real": 0.25,
        "outside": 3,
        "median_outside": 3,
        "expected": pytest.approx(7.4 / 3),
        "delay": 1.0,
    }
