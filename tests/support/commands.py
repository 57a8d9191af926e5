"""Parse command lines without running them."""

import re
import shlex
from typing import Any

from lstm_ae_cli.app import command as root_command


def parse_command(line: str) -> dict[str, Any]:
    """Return the parameters that a line such as "lstmae serve saved_models" has; empty if it only names a group."""
    program, *words = shlex.split(line)
    assert program == "lstmae"
    command: Any = root_command()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        assert all(word.startswith("--") for word in words), line
        return {}
    if not words or words == ["--help"]:
        return {}
    typed: dict[str, Any] = command.make_context(command.name, words).params
    ranges = "search" in typed and any(
        re.match(r"[\d.e-]+\.\.\d", value) for value in typed.values() if isinstance(value, str)
    )
    assert not ranges or typed["search"] in ("random", "bayesian"), line
    return typed
