"""Command lines that train a config."""

import shlex
from collections.abc import Container
from pathlib import Path

from lstm_ae.config import Config, task_of
from lstm_ae.config.options import declared_options, option_words
from lstm_ae.config.presets import PRESETS


def training_command(config: Config, out: Path) -> str:
    """Return the command that trains a config into a directory."""
    return f"lstmae {task_of(config)} train {command_options(config)} --out {shlex.quote(str(out))}"


def command_options(config: Config, leave_out: Container[str] = ()) -> str:
    """Return the options of a config, starting from the preset "report" if that is shorter.

    Args:
        config: the config.
        leave_out: names of options to omit.
    """
    preset = PRESETS[task_of(config)].get("report", {})
    from_defaults = _differing(config, type(config)(), leave_out)
    from_preset = ["--preset", "report", *_differing(config, type(config).from_dict(preset), leave_out)]
    return shlex.join(from_preset if preset and len(from_preset) < len(from_defaults) else from_defaults)


def _differing(config: Config, base: Config, leave_out: Container[str]) -> list[str]:
    values = {
        field.name: getattr(config, field.name)
        for field in declared_options(type(config))
        if getattr(config, field.name) != getattr(base, field.name)
        and field.name not in leave_out
        # Values of a preset that do not apply are dropped without being named.
        and config.applies(field.name)
    }
    return option_words(type(config), values)
