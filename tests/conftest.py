"""Every test runs in an empty directory of its own, so that no run is ever left in the repository."""

import os
from pathlib import Path

import pytest

# Before anything imports TensorFlow: its start-up chatter would bury what a failing test says.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
