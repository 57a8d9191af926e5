"""Run the docstring examples of the library."""

import doctest
import importlib
from pathlib import Path

import pytest

import lstm_ae

ROOT = Path(lstm_ae.__file__).parent
# The examples of the estimators train models; tests/estimators runs them.
SOURCES = [
    path
    for path in sorted(ROOT.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8") and path.parent.name != "estimators"
]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", [module_name(path) for path in SOURCES])
def test_docstring_examples_of_the_library(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
