"""A command that is killed at any moment and resumed writes the same files, bit by bit."""

from pathlib import Path

import pytest
from kills import COMMANDS, complete, complete_after_kills
from sampling import sampled

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", sampled(tuple(COMMANDS), slow=("run", "search", "fleet", "dataset")))
def test_killed_command_resumes_to_equal_results(kind: str, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    expected = complete(COMMANDS[kind], tmp_path / "whole")
    found = complete_after_kills(COMMANDS[kind], tmp_path / "killed")
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
