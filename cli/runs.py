"""`lstmae runs`: what has been trained here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import command
from .results import show_metrics
from .talk import Talk

app = typer.Typer(name="runs", help="List, show and compare runs.\n\nExample: lstmae runs list", no_args_is_help=True)

Root = Annotated[Path | None, typer.Argument(help="Directory that holds the runs.", show_default="runs")]


@command(app, "list", "lstmae runs list")
def list_(root: Root = None, *, talk: Talk) -> None:
    """List the runs, newest first."""
    from lstm_ae.run import RUNS, all_runs

    rows = []
    for run in all_runs(root):
        about = run.about()
        rows.append((str(run.directory), about["task"], about.get("created", "-"), *_headline(run)))
    if not rows:
        talk.say(f"There is no run in {str(root or RUNS)!r}")
    else:
        talk.table(["run", "task", "created", "test measure", "value"], rows)
    names = ("run", "task", "created", "measure", "value")
    talk.document({"runs": [dict(zip(names, row, strict=True)) for row in rows]})


@command(app, "show", "lstmae runs show latest")
def show(run: Annotated[str, typer.Argument(help="A run's directory, or latest.")], *, talk: Talk) -> None:
    """Show what a run was asked and what came out."""
    from lstm_ae.run import open_run

    opened = open_run(run)
    about = opened.about()
    talk.show(f"{opened.directory}: {about['task']}, {about.get('created', '-')}")
    talk.show(f"command: {about.get('command', '-')}")
    talk.show(
        f"data: {about['data']['text']} (sha256 {about['data']['sha256'][:12]}, licence: {about['data']['licence']})"
    )
    for note in about["data"]["notes"]:
        talk.show(f"  {note}")
    talk.table(["option", "value"], [(name, _plain(value)) for name, value in about["config"].items()])
    metrics = opened.metrics() if opened.finished else {}
    if metrics:
        show_metrics(talk, metrics)
    else:
        talk.show("unfinished")
    talk.document({"run": str(opened.directory), "about": about, "metrics": metrics})


@command(app, "compare", "lstmae runs compare latest latest")
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs: directories, or latest.")], *, talk: Talk
) -> None:
    """Put runs side by side: the options in which they differ, then their measures."""
    from lstm_ae.errors import ConfigError
    from lstm_ae.run import open_run

    if len(runs) < 2:
        raise ConfigError(f"runs compare needs at least two runs. Received: {len(runs)}")
    opened = [open_run(run) for run in runs]
    configs = [{"task": run.about()["task"], **run.about()["config"]} for run in opened]
    measures = [_measures(run) for run in opened]
    names = [str(run.directory) for run in opened]
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in keys if len({str(config.get(key)) for config in configs}) > 1]
    talk.table(["option", *names], [(key, *(_plain(config.get(key)) for config in configs)) for key in differing])
    if not differing:
        talk.show("(no option differs)")
    talk.show("")
    keys = dict.fromkeys(key for row in measures for key in row)
    talk.table(["measure", *names], [(key, *(row.get(key) for row in measures)) for key in keys])
    talk.document(
        {"runs": names, "differing": {key: [c.get(key) for c in configs] for key in differing}, "measures": measures}
    )


def _measures(run: Any) -> dict[str, float]:
    metrics = run.metrics() if run.finished else {}
    return {
        f"{part} {name}": metric["value"]
        for part, row in metrics.items()
        if part != "training"
        for name, metric in row.items()
    } | {f"training {key}": value for key, value in metrics.get("training", {}).items() if key in ("epochs", "seconds")}


def _headline(run: Any) -> tuple[str, float | None]:
    for key, value in _measures(run).items():
        if key.startswith("test "):
            return key.removeprefix("test "), value
    return "unfinished", None


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)
