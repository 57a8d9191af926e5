"""What a run was asked: the content of its `config.json`, and the config in it."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lstm_ae.config import TASKS, Config, task_of
from lstm_ae.data.windows import Source
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import read_object

FORMAT = 1


def asked(config: Config, source: Source, symbols: Sequence[str], command: str, now: datetime) -> dict[str, Any]:
    """Everything that decides a result, and when and where it was asked for."""
    return {
        "format": FORMAT,
        "task": task_of(config),
        "config": config.to_dict(),
        "data": source._asdict() | {"symbols": list(symbols)},
        "command": command,
        "created": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def read_about(path: Path) -> dict[str, Any]:
    """The content of a `config.json`, of a known format and task."""
    about = read_object(path)
    number = about.get("format", FORMAT)
    if not isinstance(number, int) or number > FORMAT:
        raise DataError(f"{str(path)!r} has format {number!r}, newer than this version knows; update lstm-ae")
    task = about.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(f"{str(path)!r}: 'task' must be one of {', '.join(TASKS)}. Received: {task!r}")
    return about


def read_config(path: Path, task: str) -> dict[str, Any]:
    """The config values of a study in a run's `config.json`, or in a file of the same form."""
    if not path.exists():
        raise ConfigError(f"There is no file {str(path)!r}; give a run's config.json by --config")
    if path.is_dir():
        path = path / "config.json"
    about = read_about(path)
    if about["task"] != task:
        raise ConfigError(f"{str(path)!r} is a config of {about['task']}; give one of {task}")
    return config_from(about, path).to_dict()


def config_from(about: Mapping[str, Any], path: Path) -> Config:
    """The config in the content of a `config.json`."""
    values = about.get("config")
    if not isinstance(values, dict):
        raise ConfigError(f"{str(path)!r} has no config: the key 'config' must hold the options. Received: {values!r}")
    try:
        # What means nothing beside the rest was once kept as it was typed.
        return TASKS[about["task"]].chosen(values, {})
    except ConfigError as error:
        raise ConfigError(f"{str(path)!r}: {error}") from None


def versions() -> dict[str, str]:
    """Versions of everything that decides a result."""
    names = ("lstm-ae", "tensorflow", "keras", "numpy", "numba")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def of_other_versions(made: Sequence[Mapping[str, str]], what: str) -> str:
    """How many of several trainings were made with other versions than those at work, in words; "" where none was.

    Args:
        made: the versions of each; {} where they are not known.
        what: they are called, in the plural.
    """
    now = versions()
    others = [{name: version for name, version in each.items() if now.get(name) != version} for each in made]
    told = sorted({f"{name} {version}" for each in others for name, version in each.items()})
    return f"{sum(map(bool, others))} of {len(made)} {what} are of other versions: {', '.join(told)}" if told else ""


def command_line() -> str:
    """The command that runs now, as a person would type it again."""
    return shlex.join(["lstmae", *sys.argv[1:]])
