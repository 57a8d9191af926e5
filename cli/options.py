"""From a config class to the options of a command, and the options that commands share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_ae.config import Config, task_of
from lstm_ae.errors import ConfigError
from lstm_ae.options import Declared, declared, flag

from .talk import Talk

Out = Annotated[
    Path | None,
    typer.Option(help="Directory of the new run; must be new or empty.", show_default="runs/<task>-<time>-<id>"),
]
RunPath = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="RUN", help="A run's directory, or latest.", show_default="latest of this configuration"
    ),
]
Retrain = Annotated[bool, typer.Option("--retrain", help="Train anew even if a run of this configuration exists.")]

Register = Callable[[Callable[..., None]], Callable[..., None]]

_TALK = {
    "json_": Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")],
    "quiet": Annotated[bool, typer.Option("--quiet", help="Say nothing but the result.")],
    "verbose": Annotated[bool, typer.Option("--verbose", help="Say more, and show where an error came from.")],
}
_CONFIG_FILE = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A run's config.json; options beside it win.")
]


class Given(dict[str, Any]):
    """The config options that were typed, by field, and the file they rest on."""

    file: Path | None = None

    def config(self, kind: type[Config], **fixed: Any) -> Config:
        """The config they make: file first, then what was typed, then what the command itself fixes."""
        from lstm_ae.run import read_config

        base = read_config(self.file, task_of(kind())) if self.file else {}
        return kind.from_dict(base | self | fixed)


def command(
    app: typer.Typer, name: str, example: str, config: type[Config] | None = None, hide: tuple[str, ...] = ()
) -> Register:
    """Register a function as a command.

    Its parameters become options, except two: `given: Given` becomes all options of the config class (but those to
    `hide`) and `--config`, and `talk: Talk` becomes `--json`, `--quiet` and `--verbose`. Its docstring's first
    sentence is the help, the example follows it.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        fields = [field for field in declared(config) if field.name not in hide] if config else []
        own = [p for p in inspect.signature(function).parameters.values() if p.name not in ("given", "talk")]
        parameters = [
            *own,
            *(_parameter(field.name, _annotation(field), None) for field in fields),
            *([_parameter("config_file", _CONFIG_FILE, None)] if config else []),
            *(_parameter(key, kind, False) for key, kind in _TALK.items()),
        ]

        @functools.wraps(function)
        def run(**values: Any) -> None:
            talk = Talk(*(values.pop(key) for key in _TALK))
            if config:
                given = Given({f.name: v for f in fields if (v := values.pop(f.name)) is not None})
                given.file = values.pop("config_file")
                values["given"] = given
            if talk.quiet and talk.verbose:
                raise ConfigError("--quiet and --verbose exclude each other; give one of them")
            function(talk=talk, **values)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        sentence = " ".join((function.__doc__ or "").split("\n\n")[0].split())
        app.command(name, help=f"{sentence}\n\nExample: {example}")(run)
        return function

    return register


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _annotation(field: Declared) -> Any:
    rule, shown = field.option, field.default
    if isinstance(shown, tuple):
        shown = ",".join(shown) or None
    details: dict[str, Any] = {
        "help": rule.help,
        "show_default": f"{shown:g}" if isinstance(shown, float) else str(shown) if shown not in (None, "") else False,
        "rich_help_panel": "Configuration",
    }
    if field.kind is bool:
        return Annotated[bool | None, typer.Option(f"{flag(field.name)}/--no-{flag(field.name)[2:]}", **details)]
    if rule.choices:
        choices = list(rule.choices)
        details |= {
            "metavar": "|".join(choices) if len("|".join(choices)) < 40 else "NAME",
            "autocompletion": lambda: choices,
        }
    if field.kind is tuple:
        details |= {"parser": _listed, "metavar": "A,B,..."}
    kind: Any = {int: int, float: float}.get(field.kind, str)
    return Annotated[kind | None, typer.Option(flag(field.name), **details)]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
