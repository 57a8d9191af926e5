"""Files of partitioned data sets are found and read with the columns of their paths."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_ae.data.dataset import find_files
from lstm_ae.data.parquet import iterate_rows
from lstm_ae.errors import DataError


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(data: str, results: Path | None = None) -> list[str]:
    return [file.name for file in find_files(data, results)]


def test_directories_named_like_files_are_not_files() -> None:
    touch("data/a.parquet/part-0.parquet", "data/a.parquet/_SUCCESS", "data/b.parquet", "data/.c.parquet")
    assert names("data") == ["a.parquet/part-0.parquet", "b.parquet"]


def test_directory_of_a_partition_keeps_its_keys() -> None:
    touch("data/day=1/a.parquet", "data/day=1/note.txt", "data/day=2/b.parquet", "data/c.pq")
    assert names("data") == ["day=1/a.parquet", "day=2/b.parquet"]
    assert names("data/day=1") == ["day=1/a.parquet"]
    assert [file.keys for file in find_files("data/day=1")] == [{"day": "1"}]


def test_results_within_the_data_set_are_left_out() -> None:
    touch("data/a.parquet", "data/out/scores/a.parquet")
    assert names("data", Path("data/out")) == ["a.parquet"]


def test_directory_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("data/a.parquet", "data/b/c.parquet")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        find_files("data")


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "is not a Parquet file"), (b"a,b\n1,2\n", "is not a Parquet file"), (b"PAR1", "is a damaged Parquet file")],
)
def test_other_files_are_refused(content: bytes, text: str) -> None:
    Path("t.parquet").write_bytes(content)
    with pytest.raises(DataError, match=f"'t.parquet' {text}"):
        list(iterate_rows("t.parquet", {}, ("a",)))


def test_columns_are_those_of_the_file_and_of_its_path() -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "time": [1, 2]}), "a.parquet")
    (batch,) = iterate_rows("a.parquet", {"id": "c", "day": "3"}, ("time", "id", "day", "other"))
    assert batch.to_pydict() == {"time": [1, 2], "id": ["a", "b"], "day": ["3", "3"]}
    (batch,) = iterate_rows("a.parquet", {"day": "3"}, ("day",))
    assert batch["day"].to_pylist() == ["3", "3"]
