"""The root command with its groups and single commands."""

from collections.abc import MutableMapping
from functools import cache, cached_property
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import explain, export, predict, report, serve, watch
from .options import TypelessFlags


def _load_group(name: str) -> typer.Typer:
    """Import the commands of a group."""
    if name in ("series", "runs", "bench"):
        loaded: typer.Typer = import_module(f".{name}", __package__).app
        return loaded
    from .studies import study_app

    return study_app(name)


# Groups in the order of the help, with their help and an example.
GROUPS = {
    "toy": (
        "A synthetic signal with a damped stretch: reconstruct it.",
        "lstmae toy train --sequences 1000 --epochs 1",
    ),
    "mnist": (
        "Handwritten digits read as sequences: reconstruct and classify them together.",
        "lstmae mnist train --units 4 --epochs 1",
    ),
    "snp": (
        "Stock prices: forecast one day or many, or reconstruct them.",
        "lstmae snp train --symbols IBM --start 2009-01-01 --epochs 1",
    ),
    "series": (
        "Your own table of measurements, CSV or Parquet.",
        "lstmae series check pump.csv",
    ),
    "runs": ("List and show runs.", "lstmae runs list"),
    "bench": (
        "Compare this package with others on this machine.",
        "lstmae bench train --rounds 3 --shapes 4x10x1x32",
    ),
}


class LazyGroup(TypelessFlags, TyperGroup):
    """Group whose commands are imported and built when one of them is needed.

    Building the options of all commands takes as long as the rest of the start-up.
    """

    def __init__(self, name: str, help: str) -> None:
        super().__init__(name=name, help=help, no_args_is_help=True)
        del self.commands  # the empty one that the base class has set

    @cached_property
    def commands(self) -> MutableMapping[str, Any]:  # type: ignore[override]
        """Commands by name."""
        return typer.main.get_group(_load_group(str(self.name))).commands


class Root(TypelessFlags, TyperGroup):
    """Root whose help lists the groups before the single commands."""

    def __init__(self, *, commands: MutableMapping[str, Any], **settings: Any) -> None:
        groups = {name: LazyGroup(name, f"{help}\n\nExample: {example}") for name, (help, example) in GROUPS.items()}
        super().__init__(commands={**groups, **commands}, **settings)


app = typer.Typer(
    name="lstmae",
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="LSTM autoencoders for sequences: reconstruct, classify, forecast.\n\nExample: lstmae snp predict --multistep",
)
for module in (export, report, serve, predict, watch, explain):
    module.register(app)


def _print_version(requested: bool) -> None:
    if requested:
        from lstm_ae import __version__

        typer.echo(f"lstmae {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read the options before the command."""


@cache
def command() -> TyperGroup:
    """Return the command of `app`, which Typer builds anew from all options at each call of `app`."""
    built = typer.main.get_command(app)
    assert isinstance(built, TyperGroup)
    return built
