"""Turn config fields into command-line options; options that commands share."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from lstm_ae.config import Config, Reading, task_of
from lstm_ae.config.options import (
    DATA,
    GROUPS,
    RARE,
    Declared,
    Option,
    Options,
    declared_options,
    flag_name,
    parse_text,
    require_known_keys,
)
from lstm_ae.config.reading import REREAD
from lstm_ae.config.space import is_searchable, parse_axis
from lstm_ae.errors import Code, ConfigError
from lstm_ae.parallel import Engine

from .console import Console


def make_option(field: Declared, *, lists: bool = False) -> Any:
    """Return the annotation of a config field's option.

    Args:
        field: the declared field.
        lists: whether an option that can be searched takes several values.
    """
    rule, name, several = field.option, flag_name(field.name), lists and is_searchable(field)
    details: dict[str, Any] = {"help": rule.help, "rich_help_panel": rule.group or None, "hidden": rule.advanced}
    if field.kind is bool:
        return Annotated[bool | None, typer.Option(f"{name}/--no-{name[2:]}", **details)]
    if rule.repeated:
        return Annotated[list[str] | None, typer.Option(name, metavar="<text>", **details)]
    if rule.choices:
        details |= {"help": _list_choices(rule), "autocompletion": lambda: list(rule.choices)}
    items = "a,b" if field.kind is tuple else "name" if rule.choices else field.kind.__name__
    metavar = f"<{items},...>" if several or field.kind is tuple else f"<{items}>"

    return Annotated[str | None, typer.Option(name, metavar=metavar, **details)]


def _list_choices(rule: Option) -> str:
    """Return the help of an option with its choices, before the default."""
    if all(choice in rule.help for choice in rule.choices):
        return rule.help
    phrase, parenthesis, default = rule.help.removesuffix(".").partition(" (default: ")
    return f"{phrase}: {', '.join(rule.choices)}{parenthesis}{default}."


def make_parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    """Return a parameter of a command's function for Typer."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


# Headings of options that belong to no config, in a help after those of `GROUPS`.
SEARCH, RUN, OUTPUT = "Search", "Run", "Output"
_PANELS = (*GROUPS, SEARCH, RUN, OUTPUT)


def complete_runs(incomplete: str) -> list[str]:
    """Return the runs whose path starts with a text, for shell completion."""
    from lstm_ae.run import Run

    return [path for path in ("latest", *(str(run.directory) for run in Run.list_all())) if path.startswith(incomplete)]


def named(metavar: str, help: str, panel: str = "", **details: Any) -> Any:
    """Return an option with a value."""
    return typer.Option(metavar=metavar, help=help, rich_help_panel=panel, **details)


def switch(name: str, help: str, panel: str = "", **details: Any) -> Any:
    """Return an option without a value."""
    return typer.Option(f"--{name}", help=help, rich_help_panel=panel, **details)


Out = Annotated[Path | None, named("<folder>", "New or empty directory, or with --resume the one to continue.", RUN)]

Folder = Annotated[
    Path | None, named("<folder>", "Directory for the results; an interrupted command resumes in it.", RUN)
]

Resume = Annotated[bool, switch("resume", "Continue the unfinished run or search at --out.", RUN)]

RunArgument = Annotated[
    str,
    typer.Argument(help="Run directory, or latest.", autocompletion=complete_runs),
]

ChosenRun = Annotated[
    str | None,
    named(
        "<run>", "Run directory, or latest (default: the latest with these options).", RUN, autocompletion=complete_runs
    ),
]

Table = Annotated[str, typer.Argument(metavar="DATA", help="Table with the columns of the training table.")]

_NEW_TABLE = typer.Argument(metavar="DATA", help="Table: CSV or Parquet; text may be compressed.")

NewTable = Annotated[str, _NEW_TABLE]

OptionalTable = Annotated[str | None, _NEW_TABLE]

LabelColumn = Annotated[
    str | None, named("<name>", "Column of true classes or anomalies, to compare the results with.", DATA)
]

Figure = Annotated[Path | None, named("<file>", "PNG file for the figure (default: in the run).", OUTPUT)]

Trust = Annotated[bool, switch("trust", "Also load models with operations that may access files.")]

Levels = Annotated[
    str,
    named("<int,...>", "Coverage of the prediction intervals in percent.", hidden=True),
]

Folds = Annotated[int, named("<int>", "Number of folds.", min=2, max=100)]

FoldJobs = Annotated[int, named("<int>", "Trainings that run at once.", RUN, hidden=True, min=1, max=1024)]

Address = Annotated[
    str | None, named("<address>", "Address of the cluster (default: one on this machine).", RUN, hidden=True)
]

Jobs = Annotated[
    int | None,
    named("<int>", "Trials that run at once (default: one per core for small models).", SEARCH, min=1, max=1024),
]

Repeats = Annotated[
    int | None,
    named(
        *("<int>", "Trainings of each setting, each with another seed (default: 1).", SEARCH),
        hidden=True,
        min=1,
        max=1000,
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsRequest:
    """Arguments and options of a command that writes a row for each row of a table."""

    run: RunArgument
    data: Table
    out: Annotated[Path, named("<file>", "Results as a .csv or .parquet file.", OUTPUT)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of the training of a fleet, or of a detection in a data set or with a fleet, in several processes."""

    engine: Annotated[
        str | None, named("<name>", "Process a data set or a fleet: local, ray, dask, or spark.", RUN, hidden=True)
    ] = None
    jobs: Annotated[
        int | None, named("<int>", "Series at once (default: one per core).", RUN, min=1, max=1024, hidden=True)
    ] = None
    address: Address = None

    @property
    def given(self) -> dict[str, object]:
        """The values by option."""
        return {flag_name(name): value for name, value in vars(self).items()}

    def choose(self, jobs: int | None = None) -> Engine:
        """Return where jobs run: by default in `jobs` processes of this machine, or one per core."""
        return Engine(self.engine or "local", self.jobs if any(self.given.values()) else jobs, self.address)


def require_directory(out: Path | None) -> Path:
    """Return the directory to resume in; raise `ConfigError` without one."""
    if out is None:
        raise ConfigError("--resume needs --out, the directory to continue in", code=Code.MISSING_OPTION)
    return out


def refuse_options(values: Mapping[str, object], scope: str, hint: str = "") -> None:
    """Refuse options that do not apply.

    Args:
        values: values by option; None or False for an option that was not given.
        scope: what they do not apply to.
        hint: what else can be done than remove the option, such as " or --engine".

    Raises:
        ConfigError: one of them was given.
    """
    for name, value in values.items():
        if value is not None and value is not False:
            raise ConfigError(f"{name} does not apply to {scope}. Remove {name}{hint}", code=Code.OPTION_NOT_APPLICABLE)


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

_CONFIG_FILE = Annotated[
    Path | None, named("<file>", "Options of a run or its config.json; others override them.", RUN)
]


def _settings(names: Iterable[str]) -> Any:
    """Return the annotation of `--set` for these rare options."""
    help = f"Rare option ({', '.join(names)}); may be repeated."
    return Annotated[list[str] | None, named("<name=value>", help, RUN, hidden=True)]


def parse_settings(texts: Iterable[str], rare: Mapping[str, Declared], lists: bool) -> dict[str, Any]:
    """Return the values of rare options.

    Args:
        texts: settings such as `beta_2=0.995`.
        rare: the options that may be set, by name.
        lists: whether options that can be searched take lists.

    Raises:
        ConfigError: a text is no setting, names another option, names an option again, or its value is not allowed.
    """
    result = dict[str, Any]()
    for each in texts:
        name, sign, text = each.partition("=")
        if not sign:
            raise ConfigError(f"--set must be NAME=VALUE, as in --set schedule=cosine. Received: {each[:60]!r}")
        require_known_keys([name], list(rare), "--set")
        if name in result:
            raise ConfigError(f"--set {name} is given twice. Pass it once", code=Code.CONFLICTING_OPTIONS)
        result[name] = _parse_option(rare[name], text, lists)
    return result


def _parse_option(field: Declared, text: str, lists: bool) -> Any:
    return parse_axis(field, text) if lists and is_searchable(field) else parse_text(field, text)


class GivenOptions(dict[str, Any]):
    """Options given on the command line, by field, and the file or the preset that they override."""

    file: Path | None = None
    preset: str | None = None

    def config(self, kind: type[Chosen], **fixed: Any) -> Chosen:
        """Return the config: the base, overridden by the given options and then by those that the command fixes."""
        return kind.merge(self.base(kind), self | fixed)

    def base(self, kind: type[Options]) -> dict[str, Any]:
        """Return the values of the file or the preset, which the given options override."""
        if not issubclass(kind, Config):
            return {}
        from lstm_ae.config.presets import load_preset
        from lstm_ae.run import read_config

        name = task_of(kind())
        if self.file and self.preset:
            raise ConfigError(
                "--preset and --config exclude each other. Pass only one of them", code=Code.CONFLICTING_OPTIONS
            )
        return read_config(self.file, name) if self.file else load_preset(name, self.preset) if self.preset else {}


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
    fields. Two are special: `given` receives the options of the config class, and `console` the output options. The
    first sentence of the docstring is the help.

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
    fields = [field for field in (declared_options(config) if config else ()) if field.name not in hide]
    if reads:
        fields = [_replacement_option(field) for field in declared_options(Reading) if field.name in REREAD]
    flagged = {
        field.name: field._replace(option=field.option._replace(advanced=True)) if field.name in advanced else field
        for field in fields
        if field.name not in RARE
    }
    rare = {field.name: field for field in fields if field.name in RARE}
    study = config if config and issubclass(config, Config) else None

    def register(function: Callable[..., None]) -> Callable[..., None]:
        signature = [
            each
            for each in inspect.signature(function).parameters.values()
            if each.name not in ("given", "console", *without)
        ]
        groups = {each.name: _group_parameters(each.annotation) for each in signature}
        parameters = [
            make_parameter("context", typer.Context, inspect.Parameter.empty),
            *(option for each in signature for option in groups[each.name] or [_as_keyword(each)]),
            *(
                make_parameter(name, make_option(field, lists=lists), None if field.default == () else field.default)
                for name, field in flagged.items()
            ),
            *([make_parameter("set", _settings(rare))] if rare else []),
            *(_study_parameters(study) if study else []),
            *(make_parameter(key, kind, False) for key, kind in _OUTPUT_OPTIONS.items()),
            make_parameter("help_all", _HELP_ALL, False),
        ]

        @functools.wraps(function)
        def run(context: typer.Context, **values: Any) -> None:
            console = Console(*(values.pop(key) for key in _OUTPUT_OPTIONS))
            del values["help_all"]
            if console.quiet and console.verbose:
                raise ConfigError(
                    "--quiet and --verbose exclude each other. Pass only one of them", code=Code.CONFLICTING_OPTIONS
                )
            if fields:
                given = GivenOptions(_take_typed_options(context, flagged, values, lists))
                given |= parse_settings(values.pop("set", None) or (), rare, lists)
                given.file, given.preset = values.pop("config", None), values.pop("preset", None)
                values["given"] = given
            if reads:
                Reading(**values["given"])  # refused before anything is loaded
            for each in signature:
                if options := groups[each.name]:
                    chosen = {option.name: values.pop(option.name) for option in options}
                    values[each.name] = each.annotation(**chosen)
            function(console=console, **values)

        run.__signature__ = inspect.Signature(sorted(parameters, key=_panel_order))  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        sentence = " ".join((function.__doc__ or "").split("\n\n")[0].split())
        app.command(name, cls=_Command, help=f"{sentence}\n\nExample: {example}")(run)
        return function

    return register


def _as_keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _study_parameters(study: type[Config]) -> list[inspect.Parameter]:
    """Return `--preset`, if a study has presets, and `--config`."""
    from lstm_ae.config.presets import PRESETS

    names = list(PRESETS[task_of(study())])
    preset = named("<name>", f"Named settings: {', '.join(names)}.", RUN)
    presets = [make_parameter("preset", Annotated[str | None, preset])] if names else []
    return [*presets, make_parameter("config", _CONFIG_FILE)]


class TypelessFlags:
    """Mixin of a Typer command or group whose help shows no type for options without a value."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters."""
        parameters: Any = super().get_params(ctx)  # type: ignore[misc]
        for each in parameters:
            if getattr(each, "is_flag", False):
                each.metavar = ""
        return parameters


class _Command(TypelessFlags, TyperCommand):
    """Command whose help lists `--help` among the output options."""

    def get_help_option(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Return the option `--help`."""
        option: Any = super().get_help_option(ctx)
        option.rich_help_panel = OUTPUT
        return option


def _print_full_help(context: typer.Context, requested: bool) -> None:
    """Print the help with all options, the advanced ones too; the command may be used again in this process."""
    if not requested:
        return
    advanced: list[Any] = [parameter for parameter in context.command.params if getattr(parameter, "hidden", False)]
    for parameter in advanced:
        parameter.hidden = False
    typer.echo(context.get_help())
    for parameter in advanced:
        parameter.hidden = True
    raise typer.Exit


_HELP_ALL = Annotated[
    bool,
    switch("help-all", "Show all options, including advanced ones.", OUTPUT, callback=_print_full_help, is_eager=True),
]


def _panel_order(parameter: inspect.Parameter) -> int:
    """Return the place of an option's panel in a help; parameters without one of `_PANELS` come first."""
    details = get_args(parameter.annotation)[1:]
    panel = getattr(details[0], "rich_help_panel", None) if details else None
    return _PANELS.index(panel) + 1 if panel in _PANELS else 0


def _group_parameters(group: Any) -> list[inspect.Parameter]:
    """Return the parameters of the options in a dataclass: its annotated fields; of another type, none."""
    if not isinstance(group, type) or not dataclasses.is_dataclass(group):
        return []
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


def _replacement_option(field: Declared) -> Declared:
    """Return the option that overrides the choice of a run for one table."""
    sentence = field.option.help.partition(" (default: ")[0].removesuffix(".")
    return field._replace(default=None, option=field.option._replace(help=f"{sentence} (default: as trained)."))


def _take_typed_options(
    context: typer.Context, fields: Mapping[str, Declared], values: dict[str, Any], lists: bool
) -> dict[str, Any]:
    """Remove the config's options from the values and return those that were given on the command line."""
    typed = {}
    for name, field in fields.items():
        value, source = values.pop(name), context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            typed[name] = _parse_option(field, value, lists) if isinstance(value, str) else value
            if isinstance(value, list):
                typed[name] = tuple(value)
    return typed
