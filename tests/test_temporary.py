"""Test that temporary folders of killed processes are removed, and those of running processes are not."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_ae import temporary
from lstm_ae.temporary import temporary_folder

HOLDER = """
import sys
from pathlib import Path
from lstm_ae.temporary import temporary_folder
with temporary_folder("export", Path(sys.argv[1])) as folder:
    (folder / "saved_model.pb").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_temporary_folder_is_removed_on_exit(tmp_path: Path) -> None:
    with temporary_folder("export", tmp_path) as folder:
        (folder / "x").touch()
        assert folder.parent == tmp_path
    assert not list(tmp_path.iterdir())
    with temporary_folder("export", tmp_path) as folder:
        folder.rename(tmp_path / "1")
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    with pytest.raises(ValueError, match="wrong"), temporary_folder("export", tmp_path):
        raise ValueError("wrong")
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_only_temporary_folders_of_killed_processes_are_removed(tmp_path: Path) -> None:
    for name in ("1", ".export-mine", ".export-part-short", ".other-part-abcdefgh"):
        (tmp_path / name).mkdir()
    (tmp_path / ".export-part-abcdefgh").symlink_to(tmp_path / "1")
    (tmp_path / ".export-part-abcdefg_").touch()
    others = set(tmp_path.iterdir())
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with temporary_folder("export", tmp_path):
            assert (left / "saved_model.pb").exists()  # its process is still running
        process.kill()
    assert left.exists()
    with temporary_folder("export", tmp_path) as folder:
        assert set(tmp_path.iterdir()) == {*others, folder}


def test_temporary_folder_removed_before_locking_is_recreated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, locked = [], temporary._lock

    def meanwhile(folder: Path) -> int:
        if not made:
            made.append(folder)
            folder.rmdir()
        return locked(folder)

    monkeypatch.setattr(temporary, "_lock", meanwhile)
    with temporary_folder("export", tmp_path) as folder:
        assert folder.is_dir()
        assert folder != made[0]


@pytest.mark.parametrize("there", [True, False])
def test_temporary_folders_are_not_removed_without_file_locks(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    left = tmp_path / ".export-part-abcdefgh"
    left.mkdir()
    if there:
        monkeypatch.setattr(temporary.fcntl, "flock", refuse)
    else:
        monkeypatch.setattr(temporary, "fcntl", None)
    with temporary_folder("export", tmp_path) as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == [left]
