"""Test the directories of commands that resume."""

import json
from pathlib import Path

import filelock
import pytest

from lstm_ae.errors import Code, ConfigError, DataError, LstmAeError
from lstm_ae.workdir import Workdir


class Folds(Workdir):
    """Directory of a command with two folds."""

    ABOUT = "folds.json"


ABOUT = {"folds": 2, "units": (8, 16)}


@pytest.fixture
def folder(tmp_path: Path) -> Folds:
    return Folds(tmp_path / "out")


def test_claim_resumes_the_same_command_only(folder: Folds) -> None:
    folder.directory.mkdir()
    for name in (".lock", ".folds.json.part"):  # A process killed at its start leaves them.
        (folder.directory / name).touch()
    for _ in range(2):
        with folder.claim(ABOUT):
            assert json.loads(folder.about_file.read_text()) == {"folds": 2, "units": [8, 16]}
    with pytest.raises(ConfigError) as caught, folder.claim(ABOUT | {"folds": 3}):
        pass
    assert caught.value.code is Code.OUTPUT_EXISTS


def test_only_one_process_writes(folder: Folds) -> None:
    folder.directory.mkdir()
    with filelock.FileLock(folder.lock), pytest.raises(ConfigError) as caught, folder.claim(ABOUT):
        pass
    assert caught.value.code is Code.IN_USE
    assert not folder.begun


@pytest.mark.parametrize("made", [False, True])
def test_wrong_option_releases_a_directory_without_results(folder: Folds, made: bool) -> None:
    def fail(error: Exception, part: str = "") -> None:
        with folder.claim(ABOUT):
            if part:
                folder.write_part(part, {"loss": 0.5})
            raise error

    if made:
        folder.directory.mkdir()
    with pytest.raises(DataError):
        fail(DataError("a wrong option"))
    assert folder.directory.exists() == made
    assert not folder.begun
    with pytest.raises(LstmAeError):
        fail(LstmAeError("a lost cluster"))
    assert folder.begun
    with pytest.raises(ConfigError):
        fail(ConfigError("a wrong option"), "fold-1.json")
    assert folder.begun


def test_parts_are_read_whole_or_not_at_all(folder: Folds) -> None:
    assert folder.read_part("fold-1.json", ["loss"]) is None
    folder.write_part("fold-1.json", {"loss": 0.5})
    assert folder.read_part("fold-1.json", ["loss"]) == {"loss": 0.5}
    for keys, content in ((["loss", "epochs"], '{"loss": 0.5}'), (["loss"], "{")):
        (folder.directory / "fold-1.json").write_text(content)
        with pytest.raises(DataError) as caught:
            folder.read_part("fold-1.json", keys)
        assert caught.value.code is Code.RUN_DAMAGED
