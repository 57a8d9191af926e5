"""The whole command line on one page."""

from functools import cache
from typing import Annotated

import typer
from typer.core import TyperGroup

from . import bench, config, export, predict, report, runs, series, serve, studies


class OrderedGroup(TyperGroup):
    """Group whose help lists the subgroups before the single commands."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names in the order of the help."""
        return sorted(self.commands, key=lambda name: not isinstance(self.commands[name], TyperGroup))


app = typer.Typer(
    name="lstmae",
    cls=OrderedGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="LSTM autoencoders for sequences: reconstruct, classify, forecast.\n\nExample: lstmae snp predict --multistep",
)
for study in studies.study_apps():
    app.add_typer(study)
app.add_typer(series.app)
app.add_typer(runs.app)
app.add_typer(config.app)
app.add_typer(bench.app)
export.register(app)
report.register(app)
serve.register(app)
predict.register(app)


def _print_version(asked: bool) -> None:
    if asked:
        from lstm_ae import __version__

        print(f"lstmae {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", metavar="", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@cache
def command() -> TyperGroup:
    """Return the command of `app`, which Typer builds anew from all options at each call of `app`."""
    built = typer.main.get_command(app)
    assert isinstance(built, TyperGroup)
    return built
