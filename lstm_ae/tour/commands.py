"""From a config to the command that a person can paste."""

import shlex
from collections.abc import Container
from pathlib import Path

from lstm_ae.config import Config, task_of
from lstm_ae.options import declared, flag
from lstm_ae.presets import PRESETS


def command_of(config: Config, out: Path) -> str:
    """The command that trains a config into a directory."""
    return f"lstmae {task_of(config)} train {options_of(config)} --out {shlex.quote(str(out))}"


def options_of(config: Config, leave_out: Container[str] = ()) -> str:
    """The options that make a config: from the report's preset where that is shorter.

    Args:
        leave_out: fields that the command says by itself.
    """
    preset = PRESETS[task_of(config)].get("report", {})
    plain = _differing(config, type(config)(), leave_out)
    short = ["--preset", "report", *_differing(config, type(config).from_dict(preset), leave_out)]
    return shlex.join(short if preset and len(short) < len(plain) else plain)


def _differing(config: Config, base: Config, leave_out: Container[str]) -> list[str]:
    words: list[str] = []
    for field in declared(type(config)):
        value = getattr(config, field.name)
        if value == getattr(base, field.name) or field.name in leave_out:
            continue
        if field.kind is bool:
            words.append(flag(field.name) if value else flag(f"no_{field.name}"))
        else:
            words += [flag(field.name), ",".join(value) if isinstance(value, tuple) else f"{value}"]
    return words
