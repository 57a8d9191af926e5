"""Configs as TOML files, commented for people; the same document as a run's `config.json`."""

import datetime
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

from lstm_ae.config import TASKS, Config
from lstm_ae.config.options import GROUPS, Declared, Options, declared_options
from lstm_ae.config.presets import PRESETS
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.json_types import JsonObject

WIDTH = 100

# Largest TOML file in bytes.
LARGEST_TOML = 2**20

# `tomllib` takes quadratic time and memory for a key of many parts, and Python converts no number of many digits.
_TOO_LONG = re.compile(r"(?:\.[ \t]*+[\w-]++[ \t]*+){10}|(?<![\w+.-])[\w+-]{1001}")
_STRINGS_AND_COMMENTS = re.compile(
    r""""{3}(?:\\.|[^\\])*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*""", re.DOTALL
)


def render_template(task: str) -> str:
    """Return a TOML file with all options of a study at their defaults, with their ranges and help as comments.

    Options without a default value are commented out, so that the file loads to exactly the defaults.
    """
    kind = TASKS[task]
    lines = [
        f"# Options of lstmae {task}. Use this file with --config FILE.",
        "# Options on the command line override those of the file. Lines that start with # have no effect.",
    ]
    if PRESETS[task]:
        lines.append(f"# Instead of this file, --preset NAME sets named options: {', '.join(PRESETS[task])}.")
    lines += ["", f'task = "{task}"', "", "[config]"]
    for group, fields in group_options(kind).items():
        lines += ["", f"# ---- {group} ".ljust(WIDTH, "-")]
        for field in fields:
            lines += ["", *comment_option(field)]
            lines.append(
                f"# {field.name} =" if field.default is None else f"{field.name} = {render_value(field.default)}"
            )
    return "\n".join(lines) + "\n"


def group_options(kind: type[Options]) -> dict[str, list[Declared]]:
    """Return the options of a config class by group, in the order of a help."""
    fields = declared_options(kind)
    groups = {group: [field for field in fields if field.option.group == group] for group in GROUPS}
    return {group: members for group, members in groups.items() if members}


def parse_config(text: str, path: Path) -> Config:
    """Return the config in the text of a TOML file; `path` is for errors.

    Raises:
        DataError: the text is not TOML.
        ConfigError: the study or a key is unknown, or a value is not allowed.
    """
    document = parse_toml(text, path)
    task, values = document.pop("task", None), document.pop("config", {})
    if task is None:
        raise ConfigError(
            f"{str(path)!r} has no 'task'. Begin the file with a line such as "
            f'task = "series" (one of {", ".join(TASKS)}), followed by [config] and the options',
            code=Code.CONFIG_FILE,
        )
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(
            f"{str(path)!r}: 'task' must be one of {', '.join(TASKS)}. Received: {task!r}",
            code=Code.CONFIG_FILE,
        )
    if document:
        key = next(iter(document))
        raise ConfigError(
            f"{str(path)!r}: key {key!r} is outside [config]. Put the options below a line [config]",
            code=Code.CONFIG_FILE,
        )
    if not isinstance(values, dict):
        raise ConfigError(
            f"{str(path)!r}: 'config' must be a table with the options. Received: {values!r}", code=Code.CONFIG_FILE
        )
    try:
        return TASKS[task].from_dict({key: _plain(value) for key, value in values.items()})
    except ConfigError as error:
        raise ConfigError(f"{str(path)!r}: {error}", code=Code.CONFIG_FILE) from None


def comment_option(field: Declared) -> Iterator[str]:
    """Yield the lines of a comment on an option: its help and its allowed values."""
    rule = field.option
    default = "" if field.default is not None else " Not set by default."
    advanced = " Advanced." if rule.advanced else ""
    for text in (rule.help, rule.details, f"Allowed: {rule.rule(field.kind)}.{default}{advanced}"):
        yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def render_value(value: object) -> str:
    """Return a value in TOML; its strings, booleans, and lists of strings are those of JSON."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(value: object) -> object:
    """Return a date without quotation marks as text."""
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value


def parse_toml(text: str, path: Path) -> JsonObject:
    """Return the content of a TOML file; `path` is for errors.

    Raises:
        DataError: the text is not TOML, or a key or number is too long.
    """
    bare = _STRINGS_AND_COMMENTS.sub(lambda match: "_" + "\n" * match[0].count("\n"), text)
    if long := _TOO_LONG.search(bare):
        what = "a key has more than ten parts" if long[0][0] == "." else "a word has more than 1,000 characters"
        number = bare.count("\n", 0, long.start()) + 1
        raise DataError(f"{str(path)!r}, line {number}: {what}. Shorten it", code=Code.CONFIG_FILE)
    try:
        return tomllib.loads(text)
    except RecursionError:
        problem = "it is nested too deeply"
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
    raise DataError(
        f"{str(path)!r} is not TOML: {problem}. Write options as in units = 16, with text in quotation marks",
        code=Code.CONFIG_FILE,
    )
