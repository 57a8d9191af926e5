"""Files that cannot be opened, compressed or huge files, and columns of numbers by name."""

import gzip
import io
import os
import pathlib
import socket

import numpy as np
import pytest

from lstm_ae.arrays import Float32Array
from lstm_ae.config import Reading
from lstm_ae.data import text as lines_module
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
    assert "cannot be opened (Permission denied)" in refusal(path)


def test_limit_of_bytes_is_enforced(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, gzip.compress((HEAD + "A,d,1,2\n" * 1000).encode()))
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(lines_module, "MAX_BYTES", 3000)
    assert "more than 3000 bytes" in refusal(path)


def test_line_without_an_end_is_refused_before_the_file_is_read() -> None:
    file = io.BytesIO(b"1" * lines_module.MAX_LINE * 9)
    with pytest.raises(DataError) as caught:
        list(lines_module.decode_file(file, "t.csv", None))
    assert caught.value.code is Code.FILE_FORMAT
    assert file.tell() == 2 * lines_module.MAX_LINE
