"""Test the options of `lstmae serve`."""

from pathlib import Path

import pytest
from searches import call


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("nowhere", 3, "There is no folder 'nowhere'"),
        (".", 3, "contains no exported model"),
        ("served --versions all", 2, "--versions must be latest, or numbers"),
        ("served --versions 1,", 2, "--versions must be latest, or numbers"),
        (". --rest-port 70000", 2, "--rest-port must be a whole number at least 0 and at most 65535. Received: 70000"),
        (". --max-batch-size 0", 2, "--max-batch-size must be a whole number at least 1"),
        ("served --versions 7", 3, "with the versions 7"),
    ],
)
def test_serve_refuses_invalid_options_in_one_line(tmp_path: Path, line: str, code: int, words: str) -> None:
    for version in "12":
        (tmp_path / "served" / "toy" / version).mkdir(parents=True)
        (tmp_path / "served" / "toy" / version / "saved_model.pb").touch()
    said = call(f"serve {line}")
    assert said.code == code, said.err
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
