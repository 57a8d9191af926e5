"""`lstmae config`: files with options, for `--config`."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_ae.config import TASKS
from lstm_ae.config.toml import render_template
from lstm_ae.errors import Code, ConfigError

from .console import Console
from .options import OUTPUT, command
from .results import show_files

app = typer.Typer(name="config")


@command(app, "init", "lstmae config init toy")
def init(
    task: Annotated[
        str,
        typer.Argument(
            metavar="|".join(TASKS),
            help="Study, or series for your own table.",
            autocompletion=lambda incomplete: [name for name in TASKS if name.startswith(incomplete)],
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="<file>", help="New .toml file (default: standard output).", rich_help_panel=OUTPUT),
    ] = None,
    console: Console,
) -> None:
    """Write a commented TOML file with all options of a study and their defaults."""
    if task not in TASKS:
        raise ConfigError(f"TASK must be one of {', '.join(TASKS)}. Received: {task[:40]!r}")
    text = render_template(task)
    if out is None:
        console.show(text.removesuffix("\n"))
    else:
        if out.suffix != ".toml" or out.exists():
            raise ConfigError(
                f"--out must be a new file that ends in .toml. Received: {str(out)!r}", code=Code.OUTPUT_EXISTS
            )
        from lstm_ae.files import write

        write(out, text.encode())
        show_files(console, {"config": out})
        where = "DATA " if task == "series" else ""
        console.say(f"next: edit the file, then lstmae {task} train {where}--config {out}")
    console.document({"task": task, "file": None if out is None else str(out), "template": text})
