"""Turn config fields into command-line options; options that commands share."""

import copy
import csv
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer

from lstm_ae.config import Config, Reading, task_of
from lstm_ae.config.options import Declared, Options, declared_options, flag_name
from lstm_ae.config.reading import REREAD
from lstm_ae.config.space import is_searchable, parse_axis
from lstm_ae.errors import ConfigError

from .console import Console

_TYPE_NAMES = {int: "int", float: "float"}


def make_option(field: Declared, *, lists: bool = False, **details: Any) -> Any:
    """Return the annotation of a declared field's option.

    Text that is not a number is passed on as text, so that `check_value` reports it in the words of the rule.

    Args:
        field: the declared field.
        lists: whether an option that can be searched takes several values.
        details: arguments of `typer.Option`.
    """
    rule = field.option
    details |= {"help": rule.help}
    if lists and is_searchable(field):
        details |= {"parser": _axis_parser(field), "metavar": f"<{_TYPE_NAMES.get(field.kind, 'name')},...>"}
        if rule.choices:
            choices = list(rule.choices)
            details["autocompletion"] = lambda: choices
        if not all(choice in rule.help for choice in rule.choices):
            details["help"] = f"{rule.help.removesuffix('.')}: {', '.join(rule.choices)}."
        return Annotated[str | None, typer.Option(flag_name(field.name), **details)]
    if field.kind is bool:
        return Annotated[bool, typer.Option(flag_name(field.name), metavar="", **details)]
    if rule.choices:
        choices, shown = list(rule.choices), "|".join(rule.choices)
        if len(shown) > 20:
            shown = "<name>"
            if not all(choice in rule.help for choice in choices):
                details["help"] = f"{rule.help.removesuffix('.')}: {', '.join(choices)}."
        details |= {"metavar": shown, "autocompletion": lambda: choices}
    elif rule.repeated:
        return Annotated[list[str] | None, typer.Option(flag_name(field.name), metavar="<text>", **details)]
    elif field.kind is tuple:
        details |= {"parser": _split_list, "metavar": "<a,b,...>"}
    elif field.kind in (int, float):
        details |= {"parser": _number_parser(field.kind), "metavar": f"<{field.kind.__name__}>"}
    return Annotated[str | None, typer.Option(flag_name(field.name), **details)]


def option_parameters(field: Declared, lists: bool) -> Iterator[inspect.Parameter]:
    """Yield the option of a field; for a switch also the hidden one that turns it off, for use with `--config`."""
    default = None if field.default in ("", ()) else field.default
    yield make_parameter(field.name, make_option(field, lists=lists, rich_help_panel="Configuration"), default)
    if field.kind is bool:
        yield make_parameter(
            switch_off_name(field), Annotated[bool, typer.Option(flag_name(switch_off_name(field)), hidden=True)], False
        )


def switch_off_name(field: Declared) -> str:
    """Return the name of the option that turns a switch off."""
    return f"no_{field.name}"


def make_parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """Return a parameter of a command's function for Typer."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _number_parser(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            return text

    return read


def _axis_parser(field: Declared) -> Callable[[Any], Any]:
    def several(text: Any) -> Any:
        return parse_axis(field, text) if isinstance(text, str) else text  # a default is no text

    return several


def _split_list(text: str) -> tuple[str, ...]:
    """Return the items between commas; an item that contains commas is quoted, as in CSV."""
    try:
        items = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a line break outside quotes
        items = text.split(",")
    return tuple(item.strip() for item in items)


Out = Annotated[
    Path | None,
    typer.Option(
        metavar="<folder>",
        help="Directory to make: new or empty; with --resume the one to continue (default: a new one below runs).",
    ),
]

RunPath = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="<run>",
        help="A run's directory, or latest (default: the latest of this configuration and data).",
        autocompletion=lambda incomplete: complete_runs(incomplete),
    ),
]

RunArgument = Annotated[
    str,
    typer.Argument(help="A run's directory, or latest.", autocompletion=lambda incomplete: complete_runs(incomplete)),
]

Retrain = Annotated[
    bool, typer.Option("--retrain", metavar="", help="Train anew even if a run of this configuration exists.")
]

Chosen = TypeVar("Chosen", bound=Options)

Register = Callable[[Callable[..., None]], Callable[..., None]]

_OUTPUT_OPTIONS = {
    "json_": Annotated[bool, typer.Option("--json", metavar="", help="Print the result as one JSON document.")],
    "quiet": Annotated[bool, typer.Option("--quiet", metavar="", help="Print only the result.")],
    "verbose": Annotated[
        bool, typer.Option("--verbose", metavar="", help="Say more, and show where an error came from.")
    ],
}

_CONFIG_FILE = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="<file>",
        help="A run's config.json; options beside it win (--no-deterministic and the like switch one off).",
    ),
]


def _preset_option(names: Iterable[str], usual: str | None) -> Any:
    from lstm_ae.config.presets import DESCRIPTIONS

    listed = ", ".join(f"{name} ({DESCRIPTIONS[name]})" for name in names)
    return Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="<name>",
            help=f"A set-up with a name: {listed}; options beside it win{f' (default: {usual})' if usual else ''}.",
            autocompletion=lambda incomplete: [name for name in names if name.startswith(incomplete)],
        ),
    ]


Formulas = Annotated[
    bool,
    typer.Option("--keep-formulas", metavar="", help="Keep text in a .csv that a spreadsheet would execute."),
]

_DRY_RUN = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        metavar="",
        help="Estimate time, memory, and disk usage without training.",
    ),
]

_INJECTED_PARAMETERS = ("given", "console")


class GivenOptions(dict[str, Any]):
    """Options given on the command line, by field, and their base: a file, a preset, or the options of a run."""

    file: Path | None = None
    preset: str | None = None
    before: Mapping[str, Any] = MappingProxyType({})

    def resting(self, other: "GivenOptions") -> "GivenOptions":
        """Return these options with the base of others."""
        self.file, self.preset, self.before = other.file, other.preset, other.before
        return self

    def config(self, kind: type[Chosen], **fixed: Any) -> Chosen:
        """Return the config: the base, overridden by the given options and then by those that the command fixes."""
        return kind.merge(self.base(kind), self | fixed)

    def base(self, kind: type[Options]) -> dict[str, Any]:
        """Return the values that the given options override."""
        if not issubclass(kind, Config):
            return dict(self.before)
        from lstm_ae.config.presets import load_preset
        from lstm_ae.run import read_config

        name = task_of(kind())
        if self.file and self.preset:
            raise ConfigError("--preset and --config exclude each other; give one of them")
        under = read_config(self.file, name) if self.file else load_preset(name, self.preset) if self.preset else {}
        return {**self.before, **under}


def command(
    app: typer.Typer,
    name: str,
    example: str,
    config: type[Options] | None = None,
    hide: tuple[str, ...] = (),
    lists: bool = False,
    dry_run: Callable[..., None] | None = None,
    without: tuple[str, ...] = (),
    preset: str | None = None,
    reads: bool = False,
) -> Register:
    """Register a function as a command.

    Its parameters become options, except two: `given: Given` becomes all options of the config class (but those to
    `hide`), with a study's `--preset` and `--config`, and `console: Talk` becomes `--json`, `--quiet` and `--verbose`.
    Its docstring's first sentence is the help, the example follows it. With `lists`, options that can be searched
    take lists. Parameters of the function that are named in `without` keep their defaults. With `dry_run`, the option
    of that name calls this function, with the same values, in its place. `preset` is the one whose values the function
    takes where no other is typed. Of a command that `reads` a table as a run says, `given` is what was typed of how
    this one is written.
    """
    from lstm_ae.config.presets import PRESETS

    study = config if config and issubclass(config, Config) else None
    names = PRESETS[task_of(study())] if study else {}
    presets = [make_parameter("preset", _preset_option(names, preset), None)] if names else []
    usual = names[preset] if preset else {}
    shared = [*presets, make_parameter("config_file", _CONFIG_FILE, None)] if study else []

    def register(function: Callable[..., None]) -> Callable[..., None]:
        fields = [
            field._replace(default=usual.get(field.name, field.default))
            for field in (declared_options(config) if config else [])
            if field.name not in hide
        ]
        if reads:
            fields = [_replacement_option(field) for field in declared_options(Reading) if field.name in REREAD]
        signature = inspect.signature(function).parameters
        own = [
            make_parameter(p.name, p.annotation, p.default)
            for p in signature.values()
            if p.name not in (*_INJECTED_PARAMETERS, *without)
        ]
        taken = [
            make_parameter("context", typer.Context),
            *own,
            *(each for field in fields for each in option_parameters(field, lists)),
            *shared,
            *([make_parameter("dry_run", _DRY_RUN, False)] if dry_run else []),
            *(make_parameter(key, kind, False) for key, kind in _OUTPUT_OPTIONS.items()),
        ]
        taken = [each.replace(annotation=_escape_help(each.annotation)) for each in taken]

        @functools.wraps(function)
        def run(context: typer.Context, **values: Any) -> None:
            console = Console(*(values.pop(key) for key in _OUTPUT_OPTIONS))
            if console.quiet and console.verbose:
                raise ConfigError("--quiet and --verbose exclude each other; give one of them")
            if fields:
                values["given"] = GivenOptions(_take_typed_options(context, fields, values))
            if reads:
                Reading(**values["given"])  # refused before anything is loaded
            if shared:
                values["given"].file, values["given"].preset = values.pop("config_file"), values.pop("preset", None)
            instead = dry_run if dry_run and values.pop("dry_run") else None
            (instead or function)(console=console, **values)

        run.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in taken}
        sentence = " ".join((function.__doc__ or "").split("\n\n")[0].split())
        app.command(name, help=_escape_markup(f"{sentence}\n\nExample: {example}"))(run)
        return function

    return register


def _escape_help(annotation: Any) -> Any:
    """Return an option whose help Rich prints as it is written."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, info = get_args(annotation)
    info = copy.copy(info)
    info.help = _escape_markup(info.help or "")
    return Annotated[kind, info]


def _escape_markup(text: str) -> str:
    """Return text in which Rich finds no markup: it takes the name of an extra, as in [ray], for a style."""
    return re.sub(r"\[(?=[a-z#/@][^\[]*\])", r"\\[", text)


def _replacement_option(field: Declared) -> Declared:
    """Return the option that overrides the choice of a run for one table."""
    sentence = field.option.help.partition(" (default: ")[0].removesuffix(".")
    return field._replace(default=None, option=field.option._replace(help=f"{sentence} (default: as trained)."))


def complete_runs(incomplete: str) -> list[str]:
    """Return the runs whose path starts with a text, for shell completion."""
    from lstm_ae.run import list_runs

    return [path for path in ("latest", *(str(run.directory) for run in list_runs())) if path.startswith(incomplete)]


def _take_typed_options(context: typer.Context, fields: list[Declared], values: dict[str, Any]) -> dict[str, Any]:
    """Remove the config's options from the values and return those that were given on the command line."""

    def typed(name: str) -> bool:
        source = context.get_parameter_source(name)
        return source is not None and source.name == "COMMANDLINE"

    result = {}
    for field in fields:
        value = values.pop(field.name)
        if typed(field.name):
            result[field.name] = tuple(value) if isinstance(value, list) else value
        if field.kind is bool and values.pop(switch_off_name(field)):
            if field.name in result:
                raise ConfigError(
                    f"{flag_name(field.name)} and {flag_name(switch_off_name(field))} exclude each other; "
                    "give one of them"
                )
            result[field.name] = False
    return result
