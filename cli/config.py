"""`lstmae config`: files with options, for `--config`."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_ae.config import TASKS
from lstm_ae.config.toml import describe_options, render_config, render_template
from lstm_ae.errors import Code, ConfigError

from .console import Console
from .options import OUTPUT, command, complete_runs
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
        console.toml(text)
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
    console.document(
        {"task": task, "file": None if out is None else str(out), "options": describe_options(TASKS[task])}
    )


@command(app, "show", "lstmae config show latest")
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE",
            help="Run directory, latest, or a config file (default: latest).",
            autocompletion=lambda incomplete: complete_runs(incomplete),
        ),
    ] = "latest",
    *,
    console: Console,
) -> None:
    """Print all options of a run or a config file, as TOML for --config."""
    from lstm_ae.config import task_of
    from lstm_ae.run import CONFIG_SUFFIXES, load_config, open_run

    path = Path(source)
    is_run = path.is_dir() or not (path.exists() or path.suffix.lower() in CONFIG_SUFFIXES)
    config = open_run(source).config() if is_run else load_config(path)
    console.toml(render_config(config))
    console.document({"task": task_of(config), "config": config.to_dict()})
