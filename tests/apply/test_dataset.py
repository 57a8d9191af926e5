"""Detection in data sets of several files: results, resuming, failures, and refused requests."""

import json
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
from partitioned import ROWS, RUN, parquet, results, write_dataset, write_table
from searches import answer, call, done, refused

from lstm_ae.apply import dataset

DETECT = f"series detect {RUN} data --id-col machine --jobs 1 --out out"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data set and its results, which no test changes."""
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = call(f"{DETECT} --json")
    assert said.code == 0, said.err
    assert {"groups": 2, "reused": 0, "rows": 2 * ROWS, "failed": []}.items() <= json.loads(said.out).items()
    return folder


@pytest.mark.parametrize(("rows", "groups"), [(1, 2), (10_000, 1)])
def test_results_equal_those_of_one_table(place: Path, monkeypatch: pytest.MonkeyPatch, rows: int, groups: int) -> None:
    """The rows of a machine are in three files, in one file with those of the other one, or in a table."""
    write_table(Path("data.parquet"))
    monkeypatch.setattr(dataset, "GROUP_ROWS", rows)
    said = done(f"{DETECT} --json".replace(" data ", " data.parquet "))
    assert json.loads(said.out)["groups"] == groups
    table = call(f"series detect {RUN} data.parquet --id-col machine --scores s.parquet --events e.parquet --json")
    assert json.loads(said.out)["threshold"] == json.loads(table.out)["threshold"]
    expected, rows_of_events = pd.read_parquet("s.parquet"), pd.read_parquet("e.parquet")
    for folder in (Path("out"), place / "out"):
        scores, events = results(folder)
        assert scores["machine"].tolist() == expected["series"].tolist()
        assert scores["anomaly"].tolist() == expected["anomaly"].tolist()
        for name in ("score", "p", "final_score", "error flow", "error vibration"):
            # The errors are squares of small differences.
            rtol, atol = (1e-3, 1e-6) if name.startswith("error") else (1e-5, 0.0)
            np.testing.assert_allclose(scores[name], expected[name], rtol=rtol, atol=atol)
        assert len(events) == len(rows_of_events) > 0
        for name in rows_of_events:
            if name in ("score", "p"):
                np.testing.assert_allclose(events[name], rows_of_events[name], rtol=1e-4)
            else:
                assert events[name].tolist() == rows_of_events[name].tolist()


def test_changed_file_costs_the_group_of_its_series(place: Path) -> None:
    write_dataset(Path("data"))
    assert call(DETECT).code == 0
    kept = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.parquet")}
    changed = Path("data/machine=b/day=2/part.parquet")
    parquet.write_table(parquet.read_table(changed, partitioning=None).slice(0, 100), changed)
    said = answer(DETECT)
    assert (said["groups"], said["reused"], said["rows"]) == (2, 1, 2 * ROWS - ROWS // 3 + 100)
    left = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.parquet")}
    assert len(left) == 4
    assert len(kept.items() & left.items()) == 2


def test_series_that_cannot_be_scored_are_named_and_the_others_are_finished(place: Path) -> None:
    write_dataset(Path("data"))
    twice = Path("data/machine=b/day=2/part.parquet")
    rows = parquet.read_table(twice, partitioning=None)
    parquet.write_table(rows.take([0, *range(len(rows))]), twice)
    said = call(f"{DETECT} --json")
    assert said.code == 3
    assert [failure["series"] for failure in json.loads(said.out)["failed"]] == ["'b'"]
    assert said.last.startswith("1 group of series without results; the first: 'b': ")
    assert set(results(Path("out"))[0]["machine"]) == {"a"}
    parquet.write_table(rows, twice)
    assert answer(DETECT)["reused"] == 1
    assert results(Path("out"))[0]["score"].equals(results(place / "out")[0]["score"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("damaged", "part.parquet' is a damaged Parquet file"),
        ("text", "part.parquet' is not a Parquet file"),
        ("id", "machine=a/day=0/part.parquet has no column 'pump'"),
        ("few", "The data set has no complete window"),
        ("none", "The data set has no rows"),
    ],
)
def test_data_set_that_cannot_be_used_is_refused(change: str, words: str) -> None:
    write_dataset(Path("data"), "a")
    path = Path("data/machine=a/day=0/part.parquet")
    rows = parquet.read_table(path, partitioning=None)
    if change == "damaged":
        path.write_bytes(path.read_bytes()[:-40])
    if change == "text":
        path.write_text("a,b\n1,2\n")
    if change in ("few", "none"):
        parquet.write_table(rows.slice(0, 100 if change == "few" else 0), "some.parquet")
    line = DETECT.replace(" data ", " some.parquet ") if change in ("few", "none") else DETECT
    if change in ("few", "none"):
        parquet.write_table(
            parquet.read_table("some.parquet").append_column("machine", [["a"] * (100 * (change == "few"))]),
            "some.parquet",
        )
    said = call(line.replace("--id-col machine", "--id-col pump") if change == "id" else line)
    assert said.code == 3
    assert words in said.last
    assert Path("out/dataset.json").exists() == (change == "few")


def test_directory_of_another_detection_or_in_use_is_refused(place: Path) -> None:
    write_dataset(Path("data"))
    Path("out").mkdir()
    with filelock.FileLock("out/.lock"):
        said = call(DETECT)
    assert (said.code, said.out) == (2, "")
    assert "Another process is writing to 'out'" in said.last
    assert call(DETECT).code == 0
    for other in (f"{DETECT} --threshold fixed:3", DETECT.replace(" data ", " data/machine=a ")):
        said = call(other)
        assert said.code == 2
        assert "'out' was started with other options or data" in said.last


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--out out.csv", "--out is a directory"),
        ("--out out --adapt 200", "--adapt does not apply to a data set"),
        ("--engine fugue --out out", "--engine must be one of local, ray, dask, spark"),
        ("", "'data' is a data set of several files. Add --out DIR"),
    ],
)
def test_options_that_do_not_fit_a_data_set_are_refused(options: str, words: str) -> None:
    write_dataset(Path("data"), "a")
    assert words in refused(f"series detect {RUN} data --id-col machine {options}", 2)
