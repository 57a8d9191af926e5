"""The commands in the texts: each is one, and takes the options that it is shown with."""

import re
import shlex
from pathlib import Path

import pytest
from lstm_ae_cli.app import app
from searches import call
from typer.main import get_command

from lstm_ae.config.space import Axis

ROOT = Path(__file__).parents[1]


def lines():
    """The commands that stand in blocks or are a piece of code, but those in which something stands for others."""
    found = []
    for name in ("README.md", "saved_models/README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        found += re.findall(r"^    (?:.*[|&] )?(?:\.venv/bin/)?(lstmae .*)$", text, re.M)
        found += [" ".join(piece.split()) for piece in re.findall(r"`(lstmae [^`]+)`", text)]
    found = [line.split(" # ")[0].strip() for line in found]
    return sorted({line for line in found if not re.search(r"\.\.\.$|[|<]|--help$", line)})


@pytest.fixture(scope="module")
def root():
    return get_command(app)


@pytest.mark.parametrize("line", lines())
def test_the_command_is_one(root, line):
    """Options are read as they are typed; nothing is run."""
    _, *words = shlex.split(line)
    command = root
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        assert all(word.startswith("--") for word in words)
    elif words:
        typed = command.make_context(command.name, words).params
        ranges = [value for value in typed.values() if isinstance(value, Axis) and not value.values]
        assert not ranges or typed["search"] in ("random", "bayesian", "hyperband")


def examples():
    """The commands on tables that are made up, in their order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    chapter = text.split("\n## Your own measurements\n")[1].split("\n### Of any task\n")[0]
    return re.findall(r"^    lstmae (.*?)(?: +#.*)?$", chapter, re.M)


@pytest.mark.slow
def test_the_commands_on_made_up_tables_run_in_their_order():
    """Trained for an epoch, which says nothing of their results."""
    lines = examples()
    assert {line.split()[1] for line in lines} >= {"example", "check", "train", "detect", "forecast", "classify"}
    for line in lines:
        said = call(line + " --epochs 1" * (line.split()[1] in ("train", "backtest")))
        assert said.code == 0, (line, said.err)
