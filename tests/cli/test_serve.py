"""Test the options of `lstmae serve`."""

from pathlib import Path

import pytest
from searches import call

TENSORFLOW = "model_platform: 'tensorflow'"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("nowhere", 3, "There is no folder 'nowhere'"),
        (".", 3, "contains no exported model"),
        (". --versions x", 2, "--versions must be latest, all, or numbers"),
        (". --versions 1,", 2, "--versions must be latest, all, or numbers"),
        (". --label x", 2, "--label must be model:label=version"),
        (". --label a:b=c", 2, "--label must be model:label=version"),
        (". --allowed-batch-sizes 4,2,64", 2, "must be ascending numbers"),
        (". --allowed-batch-sizes 4,8", 2, "the last one --max-batch-size (64)"),
        (". --allowed-batch-sizes 0,64", 2, "must be ascending numbers"),
        (". --rest-port 70000", 2, "--rest-port must be a whole number at least 0 and at most 65535. Received: 70000"),
        (". --grace 21", 2, "--grace must be at most --drain (20). Received: 21"),
        (". --max-batch-size 0", 2, "--max-batch-size must be a whole number at least 1"),
        ("served --versions 7", 3, "No version to serve: 'toy' (versions 7) in '"),
        ("served --label tyo:beta=1", 2, "--label must begin with one of toy. Received: 'tyo'"),
        ("served --label toy:stable=9", 2, "The label 'stable' refers to version 9 of 'toy', which is not served"),
        ("served --label toy:stable=1", 2, "is not served (versions latest). Serve it, or remove the label"),
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
