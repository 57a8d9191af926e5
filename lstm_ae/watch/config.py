"""Read the file of `lstmae watch`, and check its options."""

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lstm_ae.config.options import Options, declared_options, option, require_known_keys
from lstm_ae.config.reading import REREAD, Reading, parse_duration
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.files import open_regular
from lstm_ae.formatting import quote
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.watch.sinks import SinkOptions
from lstm_ae.watch.sources import SourceOptions

# Largest file, and longest line of it, in bytes: tomllib takes minutes for a long key with many dots.
LARGEST_FILE, LONGEST_LINE = 2**20, 1_000

# Groups of the entry points that add kinds of sources and sinks.
SOURCE_GROUP, SINK_GROUP = "lstm_ae.sources", "lstm_ae.sinks"

# Names of monitors and sinks, which become names of files and labels of metrics.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

# An example with all options, alert rules of Prometheus, and a dashboard of Grafana.
FILES = Path(__file__).parent / "files"

_Kind = TypeVar("_Kind", bound=Options)

# Sections of the file.
SECTIONS = ("http", "sinks", "monitors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch(Options):
    """Options of the whole process."""

    state: str = option("watch-state", "Folder of the state, which must survive restarts.")
    poll: float = option(1.0, "Seconds between two reads of a source without new rows.", minimum=0.01, maximum=3600)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Http(Options):
    """Options of the endpoint for Prometheus."""

    host: str = option("127.0.0.1", "Address to listen at.")
    port: int = option(9464, "Port; 0 takes a free one.", minimum=0, maximum=65535)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorOptions(Options):
    """Options of a monitor: a run that scores the rows of a source."""

    name: str = option("", "Name in messages and metrics: letters, digits, and - _ .")
    run: str = option("", "Run directory, or latest for the latest finished one in runs.", required=True)
    threshold: str | None = option(None, "Threshold rule, such as budget:1/week (default: as trained).")
    adapt: int | None = option(None, "Rows over which the threshold follows slow change (default: never).", minimum=2)
    sinks: tuple[str, ...] = option((), "Names of the sinks (default: all).")
    silence: str | None = option(None, "Time without a row after which an alarm is sent, such as 1h.")
    max_series: int = option(
        10_000, "Largest number of series; rows of others are refused.", minimum=1, maximum=1_000_000
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_name(self.name)
        if self.threshold is not None:
            parse_threshold(self.threshold)
        if self.silence is not None:
            parse_duration("silence", self.silence)


class MonitorConfig(NamedTuple):
    """A monitor with its source.

    Args:
        options: the options of the monitor.
        source: the source.
        reading: reading options that differ from those of the run, by field.
    """

    options: MonitorOptions
    source: SourceOptions
    reading: JsonMapping


class WatchConfig(NamedTuple):
    """The content of a file of `lstmae watch`.

    Args:
        options: the options of the process.
        http: the endpoint for Prometheus; None for none.
        sinks: the sinks by name.
        monitors: the monitors.
    """

    options: Watch
    http: Http | None
    sinks: Mapping[str, SinkOptions]
    monitors: Sequence[MonitorConfig]


def load_watch(path: Path) -> WatchConfig:
    """Read a file of `lstmae watch`.

    Raises:
        ConfigError: the file does not exist, or contains a key or a value that is not allowed.
        DataError: the file is not TOML.
    """
    try:
        with open_regular(path, LARGEST_FILE) as file:
            content = file.read()
        for number, line in enumerate(content.split(b"\n"), 1):
            if len(line) > LONGEST_LINE:
                raise DataError(
                    f"{quote(path)}, line {number} has more than {LONGEST_LINE:,} bytes. Divide it, such as an array "
                    "by its values",
                    code=Code.CONFIG_FILE,
                )
        document = tomllib.loads(content.decode("utf-8-sig"))
    except DataError:
        raise
    except FileNotFoundError:
        raise ConfigError(
            f"There is no file {quote(path)}. Write one with: lstmae watch {path} --init", code=Code.CONFIG_FILE
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{quote(path)} cannot be read as TOML: {reason}. Write keys as in port = 9464, and quote text",
            code=Code.CONFIG_FILE,
        ) from None
    try:
        return parse_watch(document)
    except ConfigError as error:
        raise ConfigError(f"{quote(path)}: {error}", code=error.code) from None


def parse_watch(document: JsonMapping) -> WatchConfig:
    """Return the config in a TOML document.

    Raises:
        ConfigError: a key or a value is not allowed.
    """
    top = {key: value for key, value in document.items() if key not in SECTIONS}
    options = _build(Watch, top, "", SECTIONS)
    http = _build(Http, _table(document["http"], "[http]"), "[http]") if "http" in document else None
    sinks: dict[str, SinkOptions] = {}
    for place, values in _tables(document, "sinks"):
        name = values.pop("name", None)
        with_place(place, _check_name, name)
        if name in sinks:
            raise ConfigError(f"{place}: another sink has this name. Change one", code=Code.CONFIG_FILE)
        sinks[name] = _build_kind(SINK_GROUP, SinkOptions, values, place)
    monitors = [_parse_monitor(values, place, tuple(sinks)) for place, values in _tables(document, "monitors")]
    if not monitors:
        raise ConfigError("There is no [[monitors]]. Add one with name, run, and source", code=Code.CONFIG_FILE)
    resources = [f"the name {monitor.options.name!r}" for monitor in monitors]
    resources += [monitor.source.exclusive for monitor in monitors if monitor.source.exclusive]
    if duplicate := next((each for each in resources if resources.count(each) > 1), None):
        raise ConfigError(f"Only one of the [[monitors]] can use {duplicate}. Change one", code=Code.CONFIG_FILE)
    return WatchConfig(options, http, sinks, monitors)


def _parse_monitor(values: JsonObject, place: str, sinks: tuple[str, ...]) -> MonitorConfig:
    source, reading = values.pop("source", {}), values.pop("reading", {})
    options = _build(MonitorOptions, values, place, ("source", "reading"))
    reading_place = f"{place}, [monitors.reading]"
    reading = {
        key: tuple(value) if isinstance(value, list) else value for key, value in _table(reading, reading_place).items()
    }
    require_known_keys(reading, REREAD, reading_place)
    with_place(reading_place, _naming_keys, Reading.from_dict, reading)
    if name := next((each for each in options.sinks if each not in sinks), None):
        problem = f"sinks contains {name!r}, which no [[sinks]] has as its name. Names: {', '.join(sinks) or 'none'}"
        raise ConfigError(f"{place}: {problem}", code=Code.UNKNOWN_NAME)
    source_options = _build_kind(
        SOURCE_GROUP, SourceOptions, _table(source, f"{place}, source"), f"{place}, [monitors.source]"
    )
    return MonitorConfig(dataclasses.replace(options, sinks=options.sinks or sinks), source_options, reading)


def _build_kind(group: str, base: type[_Kind], values: JsonMapping, place: str) -> _Kind:
    """Return the options of a source or a sink.

    Args:
        group: entry points of the kinds.
        base: class of all kinds.
        values: the values of the table by key.
        place: the table in errors.
    """
    kind, kinds = values.get("kind"), sorted(entry_points(group=group).names)
    if kind not in kinds:
        raise ConfigError(f"{place}: kind must be one of {', '.join(kinds)}. Received: {kind!r}", code=Code.CONFIG_FILE)
    options_class: type[_Kind] = with_place(place, load_kind, group, kind, base)
    return _build(options_class, {key: value for key, value in values.items() if key != "kind"}, place)


def load_kind(group: str, kind: str, base: type[_Kind]) -> type[_Kind]:
    """Return the class of a kind.

    Args:
        group: entry points of the kinds.
        kind: the name of one of them.
        base: class of all kinds.

    Raises:
        ConfigError: the class cannot be imported, is no subclass of `base`, or is provided by two packages.
    """
    entries = list(entry_points(group=group, name=kind))
    packages = " and ".join(sorted(each.dist.name if each.dist else "another package" for each in entries))
    if len(entries) > 1:
        raise ConfigError(f"kind {kind!r} is provided by {packages}. Remove one of the packages", code=Code.CONFIG_FILE)
    try:
        options_class: object = entries[0].load()
        if not (isinstance(options_class, type) and issubclass(options_class, base)):
            raise TypeError(f"not a subclass of {base.__name__}")
    except Exception as error:  # whatever the module does
        raise ConfigError(
            f"kind {kind!r} of {packages} cannot be used ({type(error).__name__}: {error}). Repair or remove the "
            "package",
            code=Code.MISSING_PACKAGE,
        ) from None
    return options_class


def _build(kind: type[_Kind], values: JsonMapping, place: str, other_keys: Sequence[str] = ()) -> _Kind:
    """Return options by the values of a table.

    Args:
        kind: class of the options.
        values: the values by key.
        place: the table in errors; "" for the top of the file.
        other_keys: keys of the table that are no options.
    """
    require_known_keys(values, [*(field.name for field in declared_options(kind)), *other_keys], place or "the file")
    options: _Kind = with_place(place, _naming_keys, kind.from_dict, values)
    return options


def with_place(place: str, function: Any, *arguments: Any) -> Any:
    """Call a function, and begin the message of its `ConfigError` or `DataError` with a place unless that is ""."""
    try:
        return function(*arguments)
    except (ConfigError, DataError) as error:
        kind = ConfigError if isinstance(error, ConfigError) else DataError
        raise kind(f"{place}: {error}" if place else str(error), code=error.code) from None


def _naming_keys(function: Any, *arguments: Any) -> Any:
    """Call a function, and name keys in its errors instead of options of the command line."""
    try:
        return function(*arguments)
    except ConfigError as error:
        text = re.sub(r"--([a-z][a-z-]*)", lambda match: match[1].replace("-", "_"), str(error))
        raise ConfigError(text, code=error.code) from None


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"name must consist of letters, digits, and - _ . (at most 64). Received: {name!r}")


def _table(value: object, place: str) -> JsonMapping:
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must be a table. Received: {str(value)[:60]!r}", code=Code.CONFIG_FILE)
    return value


def _tables(document: JsonMapping, section: str) -> Iterator[tuple[str, JsonObject]]:
    """Yield the place in errors and a copy of each table of a section."""
    entries = document.get(section, [])
    if not isinstance(entries, list):
        raise ConfigError(f"{section} must be written as [[{section}]]", code=Code.CONFIG_FILE)
    for number, entry in enumerate(entries, 1):
        values = dict(_table(entry, f"[[{section}]]"))
        name = values.get("name")
        yield f"[[{section}]] {name!r}" if isinstance(name, str) else f"[[{section}]] number {number}", values


def template_files(file: Path) -> dict[Path, str]:
    """Return the texts of a new file of `lstmae watch`, of alert rules, and of a dashboard, by path.

    Args:
        file: path of the first file; the names of the others begin with its stem.

    Raises:
        ConfigError: the path is a directory.
    """
    if not file.name or file.is_dir():
        raise ConfigError(f"{quote(file)} is a directory. Pass the path of a new file", code=Code.OUTPUT_EXISTS)
    templates = {file: "watch.toml"}
    templates |= {file.with_name(f"{file.stem}-{name}"): name for name in ("rules.yaml", "dashboard.json")}
    return {path: (FILES / name).read_text(encoding="utf-8") for path, name in templates.items()}
