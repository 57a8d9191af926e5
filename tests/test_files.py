"""Test atomic writing and strict reading of files."""

import os
from pathlib import Path

import pytest

from lstm_ae.errors import DataError
from lstm_ae.files import is_own, read_object, read_regular, sync, write, write_own


def test_sync_opens_the_file_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows can only flush files that are open for writing."""
    (tmp_path / "x").write_bytes(b"abc")
    told: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: told.append(os.write(number, b"")))
    sync(tmp_path / "x")
    assert told == [0]
    assert (tmp_path / "x").read_bytes() == b"abc"


def test_concurrent_writers_of_one_file_do_not_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = tmp_path / "x.json", os.fsync

    def meanwhile(number: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        write(path, b"other")
        fsync(number)

    monkeypatch.setattr(os, "fsync", meanwhile)
    assert write(path, b"one").read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_read_regular_refuses_pipes_devices_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, zero, plain = tmp_path / "pipe", tmp_path / "zero", tmp_path / "plain"
    os.mkfifo(pipe)
    zero.symlink_to("/dev/zero")
    plain.write_bytes(b"abc")
    assert read_regular(plain, 3) == b"abc"
    for path in (pipe, zero, tmp_path):
        with pytest.raises(DataError, match="not a regular file"):
            read_regular(path, 10)
    with pytest.raises(DataError, match="larger than 2 bytes"):
        read_regular(plain, 2)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 10)
    # Simulate a file that is replaced after its status was read.
    status = os.stat(plain)
    monkeypatch.setattr(os, "stat", lambda path: status)
    for path in (pipe, zero):
        with pytest.raises(DataError, match="not a regular file"):
            read_regular(path, 10)


def test_read_object_names_the_reason_of_a_refused_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a directory, not a regular file\. Remove it\.$"):
        read_object(tmp_path)


def test_read_regular_refuses_a_file_that_grows_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    status = os.stat(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"abcdef")
    monkeypatch.setattr(os, "stat", lambda path: status)
    monkeypatch.setattr(os, "fstat", lambda number: status)
    with pytest.raises(DataError, match="larger than 3 bytes"):
        read_regular(tmp_path / "x", 3)


def test_write_own_overwrites_only_marked_files(tmp_path: Path) -> None:
    own, other, link, pipe = (tmp_path / name for name in ("own", "other", "link", "pipe"))
    for text in ("# mine: 1", "# mine: 2"):
        assert write_own(own, "# mine", text) == own
        assert own.read_text() == text
    other.write_text("notes")
    link.symlink_to("nowhere")
    os.mkfifo(pipe)
    for path in (other, link, pipe, tmp_path):
        assert not is_own(path, "# mine")
        with pytest.raises(FileExistsError):
            write_own(path, "# mine", "# mine: 1")
    assert other.read_text() == "notes"
