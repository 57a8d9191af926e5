"""Detection in data sets of several files: results, resuming, damaged files, and refused requests."""

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import filelock
import numpy as np
import pandas as pd
import pytest
from partitioned import RUN, damage, machine_rows, pa, parquet, read_scores, results, write_dataset, write_table
from searches import call, refused

from lstm_ae.apply.part_detection import load_part_detector
from lstm_ae.apply.partition import PartTask, load_record
from lstm_ae.data.dataset import find_files
from lstm_ae.data.parquet import ParquetPart
from lstm_ae.distributed import dataset
from lstm_ae.distributed.dataset import apply_to_dataset, open_output
from lstm_ae.distributed.jobs import PartJob, PartOutcome, RunTask, run_part
from lstm_ae.errors import DataError, LstmAeError
from lstm_ae.run import open_run
from lstm_ae.workers.jobs import InProcessExecutor, LostJob

DETECT = f"series detect {RUN} data --id-col machine --engine local --jobs 1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data set and its results, which no test changes."""
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = call(f"{DETECT} --out out --json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["parts"] == 6
    return folder


def test_scores_have_the_partitions_of_the_data(place: Path) -> None:
    names = [str(path.relative_to(place / "data")) for path in sorted((place / "data").rglob("*.parquet"))]
    assert [
        str(path.relative_to(place / "out/scores")) for path in sorted((place / "out/scores").rglob("*.parquet"))
    ] == names
    scores = pd.read_parquet(place / "out/scores/machine=a/day=1/part.parquet", partitioning=None)
    data = pd.read_parquet(place / "data/machine=a/day=1/part.parquet", partitioning=None)
    assert list(scores) == ["time", "score", "p", "anomaly", "error flow", "error pressure", "error vibration"]
    assert (scores["time"] == data["time"]).all()


def test_scores_equal_those_of_one_file_and_of_one_table(place: Path) -> None:
    write_table(Path("table.parquet"))
    assert call(f"{DETECT} --out one".replace(" data ", " table.parquet ")).code == 0
    divided, one = read_scores(place / "out"), read_scores(Path("one"))
    for name in ("score", "p", "error flow", "error vibration"):
        assert divided[name].to_numpy().tobytes() == one[name].to_numpy().tobytes()
    assert call(f"series detect {RUN} table.parquet --id-col machine --scores s.parquet --events e.parquet").code == 0
    table = pd.read_parquet("s.parquet")
    np.testing.assert_allclose(divided["score"], table["score"], rtol=1e-5)  # kernels
    assert divided["anomaly"].tolist() == table["anomaly"].tolist()
    found, expected = (pd.read_parquet(path) for path in (place / "out/events.parquet", "e.parquet"))
    assert len(found) == len(expected) > 0
    # An event crosses the border of the first two days.
    border = pd.read_parquet(place / "data/machine=a/day=1/part.parquet", partitioning=None)["time"][0]
    assert ((pd.to_datetime(found["start"]) < border) & (pd.to_datetime(found["end"]) >= border)).any()
    for name in expected:
        if name in ("score", "p"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4)
        else:
            assert found[name].tolist() == expected[name].tolist()


@pytest.mark.parametrize(
    ("command", "folder", "column"), [("encode", "codes", "code0"), ("reconstruct", "reconstructions", "flow")]
)
def test_rows_equal_those_of_one_table(place: Path, command: str, folder: str, column: str) -> None:
    said = call(f"series {command} {RUN} {place}/data --id-col machine --engine local --jobs 1 --out out --json")
    assert said.code == 0, said.err
    assert {"parts": 6, "reused": 0, "rows": 960, "failed": []}.items() <= json.loads(said.out).items()
    write_table(Path("table.parquet"))
    assert call(f"series {command} {RUN} table.parquet --id-col machine --out rows.parquet").code == 0
    expected = pd.read_parquet("rows.parquet")
    found = read_scores(Path("out"), folder)
    assert found["machine"].tolist() == expected["machine"].tolist()
    np.testing.assert_allclose(found[column], expected[column], rtol=1e-4, atol=1e-5)  # kernels


def test_wrong_option_leaves_no_directory(place: Path) -> None:
    said = call(f"{DETECT} --out out".replace(" data ", f" {place}/data ").replace("--id-col machine", "--id-col pump"))
    assert said.code == 3
    assert "--id-col names 'pump', no column of" in said.err.splitlines()[-1]
    assert not Path("out").exists()


@pytest.mark.parametrize(("error", "kept"), [(DataError("a"), []), (LstmAeError("a"), ["dataset.json", "workers.log"])])
def test_directory_remains_for_resuming_unless_the_request_is_wrong(error: LstmAeError, kept: list[str]) -> None:
    """The first process has died with a message before any part was complete."""
    task = RunTask(str(RUN), "detect", {})

    def fail() -> None:
        with open_output(Path("out"), "data", task):
            Path("out", dataset.LOG).write_text("killed")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert sorted(path.name for path in Path("out").glob("*")) == kept
    with open_output(Path("out"), "data", task):
        pass


def test_directory_of_another_task_is_refused(place: Path) -> None:
    shutil.copytree(place / "out", "out")
    said = call(f"series encode {RUN} {place}/data --id-col machine --engine local --jobs 1 --out out")
    assert said.code == 2
    assert "'out' was started with other options or data. Pass another folder" in said.err


def test_events_do_not_depend_on_the_groups_of_series(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each series has a group of its own.
    monkeypatch.setattr(dataset, "EVENT_ROWS", 1)
    assert call(f"{DETECT} --out out".replace(" data ", f" {place}/data ")).code == 0
    assert parquet.ParquetFile("out/events.parquet").num_row_groups == 2
    assert parquet.ParquetFile(place / "out/events.parquet").num_row_groups == 1
    assert pd.read_parquet("out/events.parquet").equals(pd.read_parquet(place / "out/events.parquet"))


def test_pattern_selects_partitions(place: Path) -> None:
    said = call(f"{DETECT} --out some --json".replace(" data ", f" '{place}/data/machine=b/*/*.parquet' "))
    assert said.code == 0, said.err
    assert json.loads(said.out)["parts"] == 3
    expected = {name: content for name, content in results(place / "out").items() if "machine=b" in name}
    assert {name: content for name, content in results(Path("some")).items() if name != "events.parquet"} == expected


def test_damaged_file_is_reported_and_the_rest_is_finished(place: Path) -> None:
    write_dataset(Path("data"))
    broken = Path("data/machine=a/day=1/part.parquet")
    whole = damage(broken)
    said = call(f"{DETECT} --out out")
    assert said.code == 3
    lines = [line for line in said.err.splitlines() if "damaged" in line]
    assert lines[0].startswith("no results: machine=a/day=1/part.parquet: ")
    assert said.err.splitlines()[-1].startswith("lstmae: [LAE101] 1 part of the data set has no results; the first: ")
    assert len(list(Path("out/scores").rglob("*.parquet"))) == 5
    kept = Path("out/scores/machine=b/day=0/part.parquet").stat().st_mtime_ns
    whole.rename(broken)
    said = call(f"{DETECT} --out out --json")
    assert said.code == 0, said.err
    # The days before and after the damaged one were scored without it, and those of the other machine stay.
    assert json.loads(said.out)["reused"] == 3
    assert Path("out/scores/machine=b/day=0/part.parquet").stat().st_mtime_ns == kept
    assert results(Path("out")) == results(place / "out")


def test_results_of_earlier_data_are_removed() -> None:
    write_dataset(Path("data"))
    assert call(f"{DETECT} --out out").code == 0
    # Scores without a record, as a detection leaves that is killed between the two writes.
    shutil.copy("out/scores/machine=b/day=0/part.parquet", "out/scores/machine=b/day=0/part.00001.parquet")
    changed = Path("data/machine=b/day=2/part.parquet")
    rows = parquet.ParquetFile(changed).read()
    parquet.write_table(rows.take([0, *range(len(rows))]), changed)
    said = call(f"{DETECT} --out out")
    # The other days of the machine need the rows around them.
    assert (said.code, said.err.count("no results: "), said.err.count("has the time of row 1")) == (3, 3, 4)
    assert {path.parts[2] for path in Path("out/scores").rglob("*.parquet")} == {"machine=a"}


def test_several_parts_without_scores_are_counted() -> None:
    Path("data").mkdir()
    Path("data/a.parquet").touch()
    Path("data/b.parquet").touch()
    write_table(Path("data/c.parquet"), "a")
    said = call(f"{DETECT} --out out --json")
    assert said.code == 3
    assert "2 parts of the data set have no results; the first: a.parquet: " in said.err.splitlines()[-1]
    assert [part["name"] for part in json.loads(said.out)["failed"]] == ["a.parquet", "b.parquet"]


def test_files_with_the_same_path_of_scores_are_refused() -> None:
    Path("data").mkdir()
    for name in ("x", "x.parquet"):
        write_table(Path("data") / name, "a")
    said = call(f"{DETECT} --out out".replace(" data ", " 'data/*' "))
    assert said.code == 3
    assert "The results of 'x' and 'x.parquet' have the same path, 'x.parquet'. Rename one" in said.err


@pytest.mark.parametrize("command", ["detect", "encode", "reconstruct"])
def test_data_set_without_a_complete_window_fails_as_a_table_does(command: str) -> None:
    write_table(Path("rows.parquet"), "a")
    parquet.write_table(parquet.read_table("rows.parquet").slice(0, 100), "few.parquet")
    said = call(f"series {command} {RUN} few.parquet --id-col machine --engine local --jobs 1 --out out --json")
    assert said.code == 3
    assert json.loads(said.out)["results"] == 0
    assert said.err.splitlines()[-1] == (
        "lstmae: [LAE108] The data set has no complete window: 144 rows without a gap of more than 14 steps. "
        "Pass more rows of each series"
    )
    output = "--scores" if command == "detect" else "--out"
    assert call(f"series {command} {RUN} few.parquet --id-col machine {output} out.csv").code == 3


def test_data_set_without_rows_is_refused() -> None:
    write_table(Path("rows.parquet"), "a")
    parquet.write_table(parquet.read_table("rows.parquet").slice(0, 0), "none.parquet")
    said = call(f"{DETECT} --out out".replace(" data ", " none.parquet "))
    assert (said.code, said.out) == (3, "")
    assert "The data set has no rows. Pass files with rows" in said.err


def test_border_of_parts_moves_out_of_a_repeated_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second pass of the hour from 2 to 3 in Berlin begins after 200 rows.
    utc = pd.date_range("2024-10-25T15:40", periods=480, freq="10min", tz="UTC")
    times = utc.tz_convert("Europe/Berlin").tz_localize(None).as_unit("us")
    assert str(times[200]) == "2024-10-27 02:00:00"
    parquet.write_table(pa.table({**machine_rows("a"), "time": times}), "table.parquet")
    detect = f"series detect {RUN} table.parquet --engine local --jobs 1 --time-zone Europe/Berlin --out"
    assert call(f"{detect} whole").code == 0
    ranges = [ParquetPart(0, 203, {}), ParquetPart(203, 205, {}), ParquetPart(205, 480, {})]
    monkeypatch.setattr(dataset, "divide_file", lambda file: ranges)
    said = call(f"{detect} out")
    assert said.code == 0, said.err
    # No row is left of the second part.
    parts = sorted(Path("out/scores").glob("*.parquet"))
    assert [parquet.read_metadata(part).num_rows for part in parts] == [206, 274]
    scores = pd.concat(map(pd.read_parquet, parts), ignore_index=True)
    assert scores.equals(pd.read_parquet("whole/scores/table.parquet"))


def test_current_directory_may_hold_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(Path("a.parquet"), "a")
    Path("out").mkdir()
    monkeypatch.chdir("out")
    assert call(f"{DETECT} --out .".replace(" data ", " ../a.parquet ")).code == 0
    assert os.listdir("scores") == ["a.parquet"]


def test_second_process_on_one_directory_is_refused(place: Path) -> None:
    write_dataset(Path("data"))
    with filelock.FileLock(".out.lock"):
        said = call(f"{DETECT} --out out")
    assert (said.code, said.out) == (2, "")
    assert "Another process is writing to 'out'. Wait for it or pass another --out" in said.err


def test_directory_of_another_detection_is_refused(place: Path) -> None:
    write_dataset(Path("data"))
    assert call(f"{DETECT} --out out").code == 0
    for other in (f"{DETECT} --threshold fixed:3", DETECT.replace(" data ", " data/machine=a ")):
        said = call(f"{other} --out out")
        assert said.code == 2
        assert "'out' was started with other options or data. Pass another folder" in said.err
    assert results(Path("out")) == results(place / "out")


class FailingExecutor:
    """Executor all of whose processes die."""

    slots, processes, started = 1, 1, 0

    def start(self, job: PartJob) -> None:
        self.job = job
        self.started += 1

    def wait(self, timeout: float | None) -> list[PartOutcome | LostJob]:
        return [LostJob(self.job.number, "it was killed (SIGKILL)")]

    def stop(self) -> None:
        pass


def test_parts_are_not_tried_if_all_processes_die() -> None:
    write_dataset(Path("data"))
    executor = FailingExecutor()
    with pytest.raises(LstmAeError, match=r"9 processes died in a row .*: it was killed \(SIGKILL\)\. Complete"):
        apply_to_dataset(find_files("data"), mock.Mock(), executor, Path("out"))
    assert executor.started == 9


def test_death_of_the_processes_of_the_only_file_is_no_error_of_the_data() -> None:
    write_table(Path("t.parquet"), "a")
    with pytest.raises(LstmAeError, match=r"could be read: its process died 3 times.*Pass fewer --jobs") as raised:
        apply_to_dataset(find_files("t.parquet"), mock.Mock(), FailingExecutor(), Path("out"))
    # After an error of the data, the command would not resume.
    assert not isinstance(raised.value, DataError)


class LosingExecutor(InProcessExecutor[PartJob, PartOutcome]):
    """Executor whose processes die whenever they compute the part in one of the files.

    Args:
        task: what is computed.
        folder: folder of the file.
    """

    def __init__(self, task: PartTask, folder: str) -> None:
        super().__init__(partial(run_part, task))
        self.folder = folder

    def wait(self, timeout: float | None) -> list[PartOutcome | LostJob]:
        if self.job is not None and self.job.context and f"/{self.folder}/" in self.job.source.path:
            return [LostJob(self.job.number, "it was killed (SIGKILL)")]
        return super().wait(timeout)


def test_event_does_not_cross_a_part_without_results() -> None:
    """The rows of three days are far above the threshold, and the second day has no scores."""
    write_dataset(Path("data"), "a")
    task = load_part_detector(open_run(RUN), {"id_col": ("machine",)}, rule="fixed:0.01")
    result = apply_to_dataset(find_files("data"), task, LosingExecutor(task, "day=1"), Path("out"))
    assert [part.name for part in result.failed] == ["machine=a/day=1/part.parquet"]
    found = pd.read_parquet("out/events.parquet")
    assert [time[:10] for time in found["start"]] == ["2024-03-01", "2024-03-03"]
    assert result.events == 2
    again = apply_to_dataset(find_files("data"), task, LosingExecutor(task, "none"), Path("out"))
    assert (again.parts, again.reused, again.events) == (3, 2, 1)


def test_record_of_a_part_is_read_once_and_without_the_rows_of_its_events(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str] | None] = []

    def count(path: Path, names: list[str] | None = None) -> Any:
        read.append(names)
        return load_record(path, names)

    monkeypatch.setattr(dataset, "load_record", count)
    shutil.copytree(place / "out", "out")
    said = call(f"{DETECT} --out out --json".replace(" data ", f" {place}/data "))
    assert json.loads(said.out)["reused"] == 6
    # Once for each part, and once more for the rows of events.
    assert (len(read), read.count(None)) == (12, 0)
    assert [list(names or ()) for names in read[:6]] == [[]] * 6


def test_missing_ray_is_named_with_its_extra(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    write_dataset(Path("data"))
    said = call(f"{DETECT} --out out".replace("local --jobs 1", "ray"))
    assert said.code == 1
    assert "Ray is not installed. Install it with: " in said.err.splitlines()[-1]
    assert "ray" in said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("data --engine spark --out out", 2, "--engine must be one of local, ray, fugue. Received: 'spark'"),
        ("data --engine local", 2, "--engine needs --out, the directory for the results"),
        ("data", 2, "'data' is a data set of several files. Add --engine local --out DIR, or pass one file"),
        ("t.csv --jobs 2", 2, "--jobs is for data sets. Add --engine local, or remove --jobs"),
        (
            "t.csv --out out",
            2,
            "--out is for data sets. Add --engine local, or name the files with --scores and --events",
        ),
        ("none --engine local --out out", 3, "'none' does not exist. Check the path"),
        ("'data/*.parquet' --engine local --out out", 3, "No file matches 'data/*.parquet'. Check the pattern"),
        ("data --engine local --out out --scores s.csv", 2, "--scores does not apply to a data set"),
        ("data --engine local --out out --keep-formulas", 2, "--keep-formulas does not apply to a data set"),
        ("data --engine local --out out --address a:1", 2, "--address is for --engine ray"),
        ("data --engine local --out s.csv", 2, "With --engine, --out is a directory, and 's.csv' is a file or named"),
    ],
)
def test_requests_that_cannot_be_run_are_refused(words: str, code: int, text: str) -> None:
    Path("data").mkdir()
    assert text in refused(f"series detect {RUN} {words}", code)


@pytest.mark.parametrize("command", ["encode", "reconstruct", "classify", "forecast"])
def test_data_sets_need_an_engine(command: str) -> None:
    Path("data").mkdir()
    text = refused(f"series {command} {RUN} data --out out", 2)
    assert "'data' is a data set of several files. Add --engine local --out DIR, or pass one file" in text


@pytest.mark.parametrize(
    ("command", "code", "text"), [("classify", 3, "is not a classifier"), ("forecast", 2, "is a run of --task anomaly")]
)
def test_runs_of_other_tasks_are_refused(place: Path, command: str, code: int, text: str) -> None:
    assert text in refused(f"series {command} {RUN} {place}/data --engine local --out out", code)


def test_files_that_overlap_in_time_are_refused() -> None:
    write_table(Path("data.parquet"), "a")
    Path("data").mkdir()
    for name in "xy":
        Path(f"data/{name}.parquet").write_bytes(Path("data.parquet").read_bytes())
    said = call(f"series detect {RUN} data --id-col machine --engine local --jobs 1 --out out")
    assert said.code == 3
    assert "overlap in time. Partition the data set by series or date" in said.err.splitlines()[-1]
    assert "Traceback" not in said.err
