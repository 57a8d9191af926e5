"""What was asked of a run or a search, as a reader needs it: the content of its `config.json` or `search.json`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lstm_ae.config import Config
from lstm_ae.options import declared


class Asked(NamedTuple):
    """All but the options: the study, the command, the data, and where it was run."""

    task: str
    command: str
    created: str
    data: str
    sha256: str
    licence: str
    notes: tuple[str, ...]
    leaky: str
    symbols: tuple[str, ...]
    versions: Mapping[str, str]
    machine: str


class Choice(NamedTuple):
    """An option: its value and its default, as they are typed, what it is for, and whether the two differ."""

    name: str
    value: str
    default: str
    help: str
    differs: bool


def asked_of(about: Mapping[str, Any]) -> Asked:
    """The content of a file that holds a task and data; whatever else stands there is taken as text."""
    data, versions = about["data"], about.get("versions")
    several = {key: data[key] if isinstance(data.get(key), list | tuple) else () for key in ("notes", "symbols")}
    return Asked(
        task=str(about["task"]),
        command=str(about.get("command", "")),
        created=str(about.get("created", ""))[:19].replace("T", " "),
        data=str(data.get("text", "")),
        sha256=str(data.get("sha256", "")),
        licence=str(data.get("licence", "")),
        notes=tuple(map(str, several["notes"])),
        leaky=str(data.get("leaky") or ""),
        symbols=tuple(str(symbol) for symbol in several["symbols"] if symbol),
        versions={str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {},
        machine=str(about.get("machine", "")),
    )


def choices_of(config: Config | None, values: Any = None) -> list[Choice]:
    """The options in the order of declaration.

    Args:
        config: None where it is not one of this version.
        values: the options as they stand in the file, for that case.
    """
    if config is None:
        values = values if isinstance(values, dict) else {}
        return [Choice(str(name), typed(value), "", "", True) for name, value in values.items()]
    found = []
    for field in declared(type(config)):
        value = getattr(config, field.name)
        found.append(Choice(field.name, typed(value), typed(field.default), field.option.help, value != field.default))
    return found


def typed(value: Any) -> str:
    """An option's value as it is typed; "-" for none."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)
