"""Files that cannot be opened, compressed or huge files, and columns of numbers by name."""

import gzip
import itertools
import os
import pathlib
import socket
import tracemalloc
import types
from collections.abc import Callable

import numpy as np
import pytest
from sampling import sampled

from lstm_ae.arrays import Float32Array
from lstm_ae.config import Reading
from lstm_ae.data import text as lines_module
from lstm_ae.data.csv_reader import read_number_columns
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import Code, DataError

HEAD = "name,day,x,y\n"
GOOD = HEAD + "A,2020-01-01,1,2.5\nB,2020-01-02,-3,4e2\n"


def read(path: str | os.PathLike[str]) -> Float32Array:
    return read_panel(Reading(data=os.fspath(path), value_cols=("x", "y"), freq="rows")).values


def written(folder: pathlib.Path, content: bytes | str, name: str = "t.csv") -> pathlib.Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: str | os.PathLike[str]) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert text.isprintable(), "the text must be one line without control characters"
    assert len(text) < 700
    return text


def same(values: Float32Array) -> bool:
    return values.dtype == np.float32 and values.tolist() == [[1, 2.5], [-3, 400]]


def test_paths_that_are_not_regular_files_are_rejected(tmp_path: pathlib.Path) -> None:
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.close()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, piece in (
        (tmp_path / "none.csv", "does not exist"),
        ("", "does not exist"),
        ("a\0b", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
        (loop, "cannot be opened"),
        (tmp_path, "is a directory"),
        (fifo, "not a regular file"),
        (tmp_path / "s", "not a regular file"),
        ("/dev/zero", "not a regular file"),
    ):
        text = refusal(path)
        assert piece in text
        assert text.count("'") == 2, "the path stands there once, in quotes"


def test_fifo_that_replaces_the_file_is_rejected(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    status = os.stat(written(tmp_path, GOOD))
    monkeypatch.setattr(os, "stat", lambda path: status)
    assert "not a regular file" in refusal(fifo)


def test_file_without_read_permission_is_rejected(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, GOOD)
    monkeypatch.setattr(os, "open", refuse)
    assert "may not be read" in refusal(path)


def test_disk_read_error_is_reported(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(lines_module, "decompress", lambda file: types.SimpleNamespace(read=fail))
    assert "Input/output error" in refusal(written(tmp_path, GOOD))


def test_limits_of_lines_and_bytes_are_enforced(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, gzip.compress((HEAD + "A,d,1,2\n" * 1000).encode()))
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(lines_module, "MAX_LINES", 500)
    assert "more than 500 lines" in refusal(path)
    monkeypatch.setattr(lines_module, "MAX_BYTES", 3000)
    assert "more than 3000 bytes" in refusal(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_compressions_line_endings_and_encodings_are_accepted(
    pack: Callable[[bytes], bytes], end: str, encoding: str, tmp_path: pathlib.Path
) -> None:
    assert same(read(written(tmp_path, pack(GOOD.replace("\n", end).encode(encoding)))))
    bad = written(tmp_path, pack((GOOD + "C,2020-01-03,1,two\n").replace("\n", end).encode(encoding)))
    assert "line 4, column 'y'" in refusal(bad)


@pytest.mark.parametrize(
    "name", ["a b.csv", "a\nb.csv", "-rf.csv", "\u682a\u5f0f.csv", "t.png", os.fsdecode(b"\xff.csv")]
)
def test_unusual_file_names_are_accepted(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert same(read(written(tmp_path, GOOD, name).name))
    assert "header and no rows" in refusal(written(tmp_path, HEAD, name).name)


def test_number_columns_match_in_any_order_and_case_among_others(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, 'Y ,comment, DAY,NAME,"X",\n2.5,"a, b",d,A,1,\n4e2,,d, B ,NA,\n')
    np.testing.assert_array_equal(read_number_columns(path, ("x", "y")), [[1, 2.5], [np.nan, 400]])


@pytest.mark.parametrize(
    ("content", "code", "facts"),
    [
        ("", Code.EMPTY_COLUMN, ("x, y",)),
        (HEAD, Code.EMPTY_COLUMN, ()),
        ("A,2020-01-01,1,2\n", Code.TABLE_HEADER, ("line 1", "x,y", "'2020-01-01'")),
        ("\n\nname,x,z\nA,1,3\n", Code.TABLE_HEADER, ("line 3", "lacks y", "'z'")),
        ("name,day,x,X ,y\nA,d,1,2,3\n", Code.TABLE_HEADER, ("line 1", "'x'")),
        (GOOD.replace(",", ";").replace(".", ","), Code.TABLE_HEADER, ("semicolons",)),
        (GOOD.replace(",", "\t"), Code.TABLE_HEADER, ("tabs",)),
        (GOOD + "C,d,1\n", Code.TABLE_HEADER, ("line 4", "3 cells")),
        (GOOD + 'C,d,"45,07",2\n', Code.CELL_VALUE, ("line 4", "'x'", "'45,07'")),
    ],
)
def test_number_columns_are_refused(content: str, code: Code, facts: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError) as caught:
        read_number_columns(written(tmp_path, content), ("x", "y"))
    assert caught.value.code is code
    assert [fact for fact in facts if fact not in str(caught.value)] == []


@pytest.mark.slow
def test_line_of_100_mb_is_rejected_with_bounded_memory(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, HEAD.encode() + b"A" * 100_000_000)
    tracemalloc.start()
    assert "line 2: is longer" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


@pytest.mark.slow
def test_sparse_file_of_2_gb_is_rejected(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, GOOD)
    os.truncate(path, 2 << 30)
    # The file is zeros to its end, so reading stops within the first blocks.
    assert "binary" in refusal(path) or "longer than" in refusal(path)


@pytest.mark.parametrize(
    "row",
    sampled((b"A" * 1023 + b"\n", b"\n" * 1024, b"A,d,1,2\n" * 128), slow=(b"A" * 1023 + b"\n",)),
    ids=["wide", "blank", "rows"],
)
def test_gzip_bomb_is_rejected_at_the_limits(
    row: bytes, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real limits are 4 GiB and 50 million lines; a fortieth keeps this short.
    monkeypatch.setattr(lines_module, "MAX_BYTES", 100 << 20)
    monkeypatch.setattr(lines_module, "MAX_LINES", 1_250_000)
    path = tmp_path / "bomb.csv"
    with gzip.open(path, "wb", 1) as file:
        file.write(HEAD.encode())
        for _ in itertools.repeat(None, 115):
            file.write(row * 1024)
    text = refusal(path)
    assert any(piece in text for piece in ("more than", "line 2: 1 cells"))
