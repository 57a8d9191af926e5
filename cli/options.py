"""Turn config fields into command-line options; options that commands share."""

import copy
import csv
import dataclasses
import functools
import inspect
import math
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo

from lstm_ae.config import Config, Reading, task_of
from lstm_ae.config.options import (
    DATA,
    GROUPS,
    RARE,
    Declared,
    Option,
    Options,
    check_value,
    declared_options,
    flag_name,
    require_known_keys,
)
from lstm_ae.config.reading import REREAD
from lstm_ae.config.space import is_searchable, parse_axis
from lstm_ae.errors import Code, ConfigError
from lstm_ae.parallel import Engine

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
    details |= {"help": rule.help, "rich_help_panel": rule.group or details.get("rich_help_panel")}
    details |= {"hidden": rule.advanced or details.get("hidden", False)}
    if parser := _value_parser(field, lists):
        details["parser"] = parser
    if lists and is_searchable(field):
        details |= {"metavar": f"<{_TYPE_NAMES.get(field.kind, 'name')},...>"}
        if rule.choices:
            choices = list(rule.choices)
            details["autocompletion"] = lambda: choices
            details["help"] = _list_choices(rule)
        return Annotated[str | None, typer.Option(flag_name(field.name), **details)]
    if field.kind is bool:
        return Annotated[bool, typer.Option(flag_name(field.name), metavar="", **details)]
    if rule.choices:
        choices, shown = list(rule.choices), "|".join(rule.choices)
        if len(shown) > 20:
            shown = "<name>"
            details["help"] = _list_choices(rule)
        details |= {"metavar": shown, "autocompletion": lambda: choices}
    elif rule.repeated:
        return Annotated[list[str] | None, typer.Option(flag_name(field.name), metavar="<text>", **details)]
    elif field.kind is tuple:
        details |= {"metavar": "<a,b,...>"}
    elif field.kind in (int, float):
        details |= {"metavar": f"<{field.kind.__name__}>"}
    return Annotated[str | None, typer.Option(flag_name(field.name), **details)]


def _value_parser(field: Declared, lists: bool) -> Callable[[str], Any] | None:
    """Return the function that parses the text of an option; None if its value is the text."""
    if lists and is_searchable(field):
        return _axis_parser(field)
    if field.kind is tuple and not field.option.repeated:
        return _split_list
    return _number_parser(field.kind) if field.kind in (int, float) else None


def _list_choices(rule: Option) -> str:
    """Return the help of an option with its choices, before the default."""
    if all(choice in rule.help for choice in rule.choices):
        return rule.help
    phrase, parenthesis, default = rule.help.removesuffix(".").partition(" (default: ")
    return f"{phrase}: {', '.join(rule.choices)}{parenthesis}{default}."


def option_parameters(field: Declared, lists: bool) -> Iterator[inspect.Parameter]:
    """Yield the option of a field; for a switch also the one that turns it off, for use with `--config`."""
    default = None if field.default in ("", ()) else field.default
    yield make_parameter(field.name, make_option(field, lists=lists), default)
    if field.kind is bool:
        help = f"Turn off {flag_name(field.name)} of a config or a preset."
        off = switch(flag_name(switch_off_name(field))[2:], help, field.option.group, hidden=True)
        yield make_parameter(switch_off_name(field), Annotated[bool, off], False)


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


def declare(name: str, kind: type, help: str, group: str = "", *, default: Any = None, **rules: Any) -> Declared:
    """Return the declaration of an option that belongs to no config: its value is checked by these rules."""
    return Declared(name, kind, optional=default is None, default=default, option=Option(help, group, **rules))


# Headings of options that belong to no config, in a help after those of `GROUPS`.
SEARCH, RUN, OUTPUT = "Search", "Run", "Output"
_PANELS = (*GROUPS, SEARCH, RUN, OUTPUT)


# Options that several commands have. A declared one is checked before the command begins.


def named(metavar: str, help: str, panel: str = RUN, **details: Any) -> Any:
    """Return an option with a value."""
    return typer.Option(metavar=metavar, help=help, rich_help_panel=panel, **details)


def switch(name: str, help: str, panel: str = RUN, **details: Any) -> Any:
    """Return an option without a value."""
    return typer.Option(f"--{name}", metavar="", help=help, rich_help_panel=panel, **details)


Out = Annotated[Path | None, named("<folder>", "New or empty directory, or with --resume the one to continue.")]

Folder = Annotated[Path | None, named("<folder>", "Directory for the results; an interrupted command resumes in it.")]

Resume = Annotated[bool, switch("resume", "Continue the unfinished run at --out, or the latest one.")]

RunArgument = Annotated[
    str,
    typer.Argument(help="Run directory, or latest.", autocompletion=lambda incomplete: complete_runs(incomplete)),
]

Table = Annotated[str, typer.Argument(metavar="DATA", help="Table with the columns of the training table.")]

_NEW_TABLE = typer.Argument(metavar="DATA", help="Table: CSV or Parquet; text may be compressed.")

NewTable = Annotated[str, _NEW_TABLE]

OptionalTable = Annotated[str | None, _NEW_TABLE]

LabelColumn = Annotated[
    str | None, named("<name>", "Column of true classes or anomalies, to compare the results with.", DATA)
]

Figure = Annotated[Path | None, named("<file>", "PNG file for the figure (default: in the run).", OUTPUT)]

Trust = Annotated[
    bool, typer.Option("--trust", metavar="", help="Also load models with operations that may access files.")
]

Levels = Annotated[
    str,
    typer.Option("--level", metavar="<int,...>", help="Coverage of the prediction intervals in percent.", hidden=True),
]

Folds = Annotated[int, declare("folds", int, "Number of folds.", default=5, minimum=2, maximum=100)]

FoldJobs = Annotated[
    int, declare("jobs", int, "Trainings that run at once.", RUN, default=1, advanced=True, minimum=1, maximum=1024)
]

_SKILL_HELP = "Exit with code 4 unless the skill on test reaches this."
RequiredSkill = Annotated[
    float | None, declare("require_skill", float, _SKILL_HELP, OUTPUT, advanced=True, minimum=-1e6, maximum=1)
]

Address = Annotated[
    str | None, named("<address>", "Address of the cluster (default: one on this machine).", hidden=True)
]

_JOBS_HELP = "Trials that run at once (default: one per core for small models)."
Jobs = Annotated[int | None, declare("jobs", int, _JOBS_HELP, SEARCH, minimum=1, maximum=1024)]

_REPEATS_HELP = "Trainings of each setting, each with another seed (default: 1)."
Repeats = Annotated[int | None, declare("repeats", int, _REPEATS_HELP, SEARCH, advanced=True, minimum=1, maximum=1000)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunChoice:
    """Options of the commands that use a run of a study, and train it if there is none."""

    run: Annotated[
        str | None,
        named(
            "<run>",
            "Run directory, or latest (default: the latest with these options).",
            autocompletion=lambda incomplete: complete_runs(incomplete),
        ),
    ] = None
    retrain: Annotated[bool, switch("retrain", "Train again even if a run with these options exists.")] = False
    out: Annotated[Path | None, named("<folder>", "Train again in this new or empty directory.")] = None

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        for name in ("retrain", "out"):
            if self.run is not None and getattr(self, name):
                raise ConfigError(
                    f"--{name} and --run exclude each other. Pass only one of them", code=Code.CONFLICTING_OPTIONS
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of the training of a fleet, or of a detection in a data set or with a fleet, in several processes."""

    engine: Annotated[
        str | None, named("<name>", "Process a data set or a fleet: local, ray, dask, or spark.", hidden=True)
    ] = None
    jobs: Annotated[
        int | None, named("<int>", "Series at once (default: one per core).", min=1, max=1024, hidden=True)
    ] = None
    address: Address = None

    @property
    def given(self) -> dict[str, object]:
        """The values by option."""
        return {flag_name(name): value for name, value in vars(self).items()}

    def choose(self, jobs: int | None = None) -> Engine:
        """Return where jobs run; without an option in `jobs` processes of this machine, None for one per core."""
        return Engine(self.engine or "local", self.jobs if any(self.given.values()) else jobs, self.address)

    def requested(self, data: str, out: Path | None) -> bool:
        """Return whether DATA is a data set.

        Args:
            data: the table or data set.
            out: directory of the results.

        Raises:
            ConfigError: an option or the data needs --engine.
        """
        if self.engine is not None:
            return True
        for name, value in {"--jobs": self.jobs, "--address": self.address, "--out": out}.items():
            if value is not None:
                instead = "name the files with --scores and --events" if name == "--out" else f"remove {name}"
                raise ConfigError(f"{name} is for data sets. Add --engine local, or {instead}")
        if data != "-":
            from lstm_ae.data.dataset import is_dataset

            if is_dataset(data):
                raise ConfigError(
                    f"{data!r} is a data set of several files. Add --engine local --out DIR, or pass one file",
                    code=Code.MISSING_OPTION,
                )
        return False


def refuse_options(
    given: Mapping[str, object], what: str, other: str = "", hints: Mapping[str, str] | None = None
) -> None:
    """Refuse options that do not apply.

    Args:
        given: values by option; None or False for an option that was not given.
        what: what they do not apply to.
        other: what else can be done than remove the option, such as " or --engine".
        hints: what to do instead, by option.

    Raises:
        ConfigError: one of them was given.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            hint = (hints or {}).get(name, "")
            raise ConfigError(
                f"{name} does not apply to {what}{hint}. Remove {name}{other}", code=Code.OPTION_NOT_APPLICABLE
            )


def parse_levels(text: str) -> tuple[int, ...]:
    """Parse the levels of intervals."""
    items = [item.strip() for item in text.split(",")]
    plain = all(item.isascii() and item.isdigit() and len(item) < 3 and int(item) for item in items)
    if not plain or len(set(items)) != len(items):
        raise ConfigError(f"--level must be different whole numbers from 1 to 99, as in 80,95. Received: {text[:60]!r}")
    return tuple(sorted(map(int, items)))


Chosen = TypeVar("Chosen", bound=Options)

Register = Callable[[Callable[..., None]], Callable[..., None]]

_OUTPUT_OPTIONS = {
    name: Annotated[bool, switch(name.removesuffix("_"), help, OUTPUT)]
    for name, help in (
        ("json_", "Print the result as one JSON document."),
        ("quiet", "Print only the result."),
        ("verbose", "Print all tables, logs, and the traceback of an error."),
    )
}

_CONFIG_HELP = "Options from a .toml file or a run's config.json; others override them."
_CONFIG_FILE = Annotated[
    Path | None, typer.Option("--config", metavar="<file>", help=_CONFIG_HELP, rich_help_panel=RUN)
]


def _preset_option(names: Iterable[str]) -> Any:
    return Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="<name>",
            help=f"Named settings: {', '.join(names)}.",
            rich_help_panel=RUN,
            autocompletion=lambda incomplete: [name for name in names if name.startswith(incomplete)],
        ),
    ]


_SET_HELP = "Rare option, as lstmae config init lists; may be repeated."
_SETTINGS = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="<name=value>", help=_SET_HELP, rich_help_panel=RUN, hidden=True),
]

_INJECTED_PARAMETERS = ("given", "console")


def parse_settings(texts: Iterable[str], rare: list[Declared], lists: bool) -> dict[str, Any]:
    """Return the values of rare options.

    Args:
        texts: settings such as `beta_2=0.995`.
        rare: the options that may be set.
        lists: whether options that can be searched take lists.

    Raises:
        ConfigError: a text is no setting, names another option, or names an option again.
    """
    fields, result = {field.name: field for field in rare}, dict[str, Any]()
    for each in texts:
        name, sign, text = each.partition("=")
        if not sign:
            raise ConfigError(f"--set must be NAME=VALUE, as in --set {rare[0].name}=VALUE. Received: {each[:60]!r}")
        require_known_keys([name], list(fields), "--set")
        if name in result:
            raise ConfigError(f"--set {name} is given twice. Pass it once", code=Code.CONFLICTING_OPTIONS)
        if parser := _value_parser(fields[name], lists):
            result[name] = parser(text)
        else:
            result[name] = {"true": True, "false": False}.get(text, text) if fields[name].kind is bool else text
    return result


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
            raise ConfigError(
                "--preset and --config exclude each other. Pass only one of them", code=Code.CONFLICTING_OPTIONS
            )
        under = read_config(self.file, name) if self.file else load_preset(name, self.preset) if self.preset else {}
        return {**self.before, **under}


def command(
    app: typer.Typer,
    name: str,
    example: str,
    config: type[Options] | None = None,
    hide: tuple[str, ...] = (),
    lists: bool = False,
    without: tuple[str, ...] = (),
    reads: bool = False,
    advanced: tuple[str, ...] = (),
) -> Register:
    """Register a function as a command.

    Its parameters become options. One whose annotation is a dataclass stands for the options that are the annotated
    fields. One that is annotated with a declaration is checked by it. Two are special: `given` receives the options of
    the config class, and `console` the output options. The first sentence of the docstring is the help.

    Args:
        app: the group of the command.
        name: the name of the command.
        example: a command line for the help.
        config: class whose fields become options, with `--preset` and `--config` for a study.
        hide: fields of the config without an option.
        lists: whether options that can be searched take lists.
        without: parameters of the function that keep their defaults.
        reads: whether `given` receives the options that override how a run reads its table.
        advanced: further fields of the config that only `--help-all` shows.
    """
    from lstm_ae.config.presets import PRESETS

    study = config if config and issubclass(config, Config) else None
    names = PRESETS[task_of(study())] if study else {}
    presets = [make_parameter("preset", _preset_option(names), None)] if names else []
    shared = [*presets, make_parameter("config_file", _CONFIG_FILE, None)] if study else []

    def register(function: Callable[..., None]) -> Callable[..., None]:
        fields = [field for field in (declared_options(config) if config else []) if field.name not in hide]
        if reads:
            fields = [_replacement_option(field) for field in declared_options(Reading) if field.name in REREAD]
        fields = [
            field._replace(option=field.option._replace(advanced=True)) if field.name in advanced else field
            for field in fields
        ]
        rare = [field for field in fields if field.name in RARE]
        signature = inspect.signature(function).parameters.values()
        own = [p for p in signature if p.name not in (*_INJECTED_PARAMETERS, *without)]
        groups = {
            p.name: _group_parameters(p.annotation)
            for p in own
            if isinstance(p.annotation, type) and dataclasses.is_dataclass(p.annotation)
        }
        own = [each for p in own for each in groups.get(p.name, [p])]
        checked = {p.name: rule for p in own if (rule := _find_declaration(p.annotation) or _declare_number(p))}
        parameters = [
            make_parameter("context", typer.Context),
            *(
                make_parameter(p.name, make_option(checked[p.name]) if p.name in checked else p.annotation, p.default)
                for p in own
            ),
            *(each for field in fields if field.name not in RARE for each in option_parameters(field, lists)),
            *([make_parameter("settings", _SETTINGS, None)] if rare else []),
            *shared,
            *(make_parameter(key, kind, False) for key, kind in _OUTPUT_OPTIONS.items()),
            make_parameter("help_all", _HELP_ALL, False),
        ]
        parameters = [
            each.replace(annotation=_escape_help(each.annotation)) for each in sorted(parameters, key=_panel_order)
        ]

        annotations = {p.name: p.annotation for p in signature}

        @functools.wraps(function)
        def run(context: typer.Context, **values: Any) -> None:
            console = Console(*(values.pop(key) for key in _OUTPUT_OPTIONS))
            del values["help_all"]
            if console.quiet and console.verbose:
                raise ConfigError(
                    "--quiet and --verbose exclude each other. Pass only one of them", code=Code.CONFLICTING_OPTIONS
                )
            values |= {name: check_value(rule, values[name]) for name, rule in checked.items()}
            for name, options in groups.items():
                chosen = {option.name: values.pop(option.name) for option in options}
                values[name] = annotations[name](**chosen)
            if fields:
                flagged = [field for field in fields if field.name not in RARE]
                settings = parse_settings(values.pop("settings", None) or (), rare, lists)
                values["given"] = GivenOptions(_take_typed_options(context, flagged, values) | settings)
            if reads:
                Reading(**values["given"])  # refused before anything is loaded
            if shared:
                values["given"].file, values["given"].preset = values.pop("config_file"), values.pop("preset", None)
            function(console=console, **values)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        sentence = " ".join((function.__doc__ or "").split("\n\n")[0].split())
        app.command(name, cls=_Command, help=_escape_markup(f"{sentence}\n\nExample: {example}"))(run)
        return function

    return register


class _Command(TyperCommand):
    """Command whose help lists `--help` among the output options."""

    def get_help_option(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Return the option `--help`."""
        option: Any = super().get_help_option(ctx)
        option.rich_help_panel, option.metavar = OUTPUT, ""
        return option

    def shell_complete(self, ctx: typer.Context, incomplete: str) -> Any:  # type: ignore[override]
        """Complete the names of all options, the advanced ones too."""
        with _all_shown(self):
            return super().shell_complete(ctx, incomplete)


def _print_full_help(context: typer.Context, requested: bool) -> None:
    """Print the help with all options, the advanced ones too."""
    if requested:
        with _all_shown(context.command):
            typer.echo(context.get_help())
        raise typer.Exit


@contextmanager
def _all_shown(command: Any) -> Iterator[None]:
    """Show the advanced options of a command, and hide them again, as it is used several times in a process."""
    hidden = [parameter for parameter in command.params if getattr(parameter, "hidden", False)]
    for parameter in hidden:
        parameter.hidden = False
    try:
        yield
    finally:
        for parameter in hidden:
            parameter.hidden = True


_HELP_ALL = Annotated[
    bool,
    switch("help-all", "Show all options, including advanced ones.", OUTPUT, callback=_print_full_help, is_eager=True),
]


def _panel_order(parameter: inspect.Parameter) -> int:
    """Return the place of an option's panel in a help; parameters without one of `_PANELS` come first."""
    details = get_args(parameter.annotation)[1:]
    panel = getattr(details[0], "rich_help_panel", None) if details else None
    return _PANELS.index(panel) + 1 if panel in _PANELS else 0


def _group_parameters(group: type) -> list[inspect.Parameter]:
    """Return the parameters of the options in a dataclass: its annotated fields."""
    kinds = get_type_hints(group, include_extras=True)
    return [
        make_parameter(
            field.name,
            kinds[field.name],
            inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
        )
        for field in dataclasses.fields(group)
        if get_origin(kinds[field.name]) is Annotated
    ]


def _find_declaration(annotation: Any) -> Declared | None:
    return next((each for each in get_args(annotation)[1:] if isinstance(each, Declared)), None)


def _declare_number(parameter: inspect.Parameter) -> Declared | None:
    """Return the declaration of an option for a number, so that errors use the wording of this package."""
    if get_origin(parameter.annotation) is not Annotated:
        return None
    kind, info = get_args(parameter.annotation)
    members = set(get_args(kind) or [kind]) - {types.NoneType}
    # In an annotation, Typer keeps the first name of an option as its default.
    if not isinstance(info, OptionInfo) or isinstance(info.default, str):
        return None
    if len(members) > 1 or not members <= {int, float}:
        return None
    rule = Option(
        info.help or "",
        info.rich_help_panel or "",
        advanced=info.hidden,
        minimum=-math.inf if info.min is None else info.min,
        maximum=math.inf if info.max is None else info.max,
    )
    return Declared(parameter.name, members.pop(), types.NoneType in get_args(kind), parameter.default, rule)


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
    from lstm_ae.run import Run

    return [path for path in ("latest", *(str(run.directory) for run in Run.list_all())) if path.startswith(incomplete)]


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
                    f"{flag_name(field.name)} and {flag_name(switch_off_name(field))} exclude each other. "
                    "Pass only one of them",
                    code=Code.CONFLICTING_OPTIONS,
                )
            result[field.name] = False
    return result
