"""The whole command line on one page."""

import sys
from typing import Annotated

import typer

from . import export, runs, studies
from .errors import guarded

app = typer.Typer(
    name="lstmae",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="LSTM autoencoders for sequences: reconstruct, classify, forecast.\n\nExample: lstmae snp predict --multistep",
)
for study in studies.apps():
    app.add_typer(study)
app.add_typer(runs.app)
export.register(app)


def _version(asked: bool) -> None:
    if asked:
        from lstm_ae import __version__

        print(f"lstmae {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(arguments: list[str] | None = None) -> int:
    """Run `lstmae`; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return guarded(lambda: app(args=arguments, prog_name="lstmae", standalone_mode=False), arguments)
