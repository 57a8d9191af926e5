"""`lstmae runs`: what has been trained here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import RunArgument, command, runs_like
from .results import plain, show_metrics
from .talk import Talk

app = typer.Typer(name="runs", help="List, show and compare runs.\n\nExample: lstmae runs list", no_args_is_help=True)

Root = Annotated[Path | None, typer.Argument(help="Directory that holds the runs.", show_default="runs")]


@command(app, "list", "lstmae runs list")
def list_(root: Root = None, *, talk: Talk) -> None:
    """List the runs, newest first."""
    from lstm_ae.errors import DataError
    from lstm_ae.run import RUNS, all_runs

    if root is not None and not root.is_dir():
        raise DataError(f"{str(root)!r} is not a directory; give the one that holds the runs")
    rows = []
    for run in all_runs(root):
        about = run.about()
        leaky = "leaky" if about["data"]["leaky"] else ""
        rows.append((str(run.directory), about["task"], about["created"][:19], *_headline(run), leaky))
    if not rows:
        talk.say(f"There is no run in {str(root or RUNS)!r}")
    else:
        talk.table(["run", "task", "created", "test measure", "value", ""], rows)
    names = ("run", "task", "created", "measure", "value", "leaky")
    talk.document({"runs": [dict(zip(names, row, strict=True)) for row in rows]})


@command(app, "show", "lstmae runs show latest")
def show(run: RunArgument, *, talk: Talk) -> None:
    """Show what a run was asked and what came out."""
    from lstm_ae.run import open_run

    opened = open_run(run)
    about = opened.about()
    metrics = opened.metrics() if opened.finished else {}
    talk.show(f"{opened.directory}: {about['task']}, {about['created'][:19]}")
    talk.show(f"command: {about['command']}")
    talk.show(
        f"data: {about['data']['text']} (sha256 {about['data']['sha256'][:12]}, licence: {about['data']['licence']})"
    )
    for note in about["data"]["notes"]:
        talk.show(f"  {note}")
    talk.table(["option", "value"], [(name, plain(value)) for name, value in about["config"].items()])
    if metrics:
        show_metrics(talk, metrics, about["data"]["leaky"])
    else:
        talk.show("unfinished")
    talk.document({"run": str(opened.directory), "about": about, "metrics": metrics})


@command(app, "compare", "lstmae runs compare latest latest")
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more runs: directories, or latest.", autocompletion=lambda incomplete: runs_like(incomplete)
        ),
    ],
    *,
    talk: Talk,
) -> None:
    """Put runs side by side: the options in which they differ, then their measures."""
    from lstm_ae.errors import ConfigError
    from lstm_ae.run import open_run

    if len(runs) < 2:
        raise ConfigError(f"runs compare needs at least two runs. Received: {len(runs)}")
    opened = [open_run(run) for run in runs]
    configs = [_choices(run.about()) for run in opened]
    measures = [_measures(run) for run in opened]
    names = [str(run.directory) for run in opened]
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in keys if len({str(config.get(key)) for config in configs}) > 1]
    talk.table(["option", *names], [(key, *(plain(config.get(key)) for config in configs)) for key in differing])
    if not differing:
        talk.show("(no option differs)")
    talk.show("")
    keys = dict.fromkeys(sorted((key for row in measures for key in row), key=lambda key: key.startswith("training")))
    talk.table(["measure", *names], [(key, *(row.get(key) for row in measures)) for key in keys])
    talk.document(
        {"runs": names, "differing": {key: [c.get(key) for c in configs] for key in differing}, "measures": measures}
    )


def _choices(about: dict[str, Any]) -> dict[str, Any]:
    """What a run was asked, as options; whether its results are leaky follows from them."""
    return {"task": about["task"], **about["config"], "leaky": "LEAKY" if about["data"]["leaky"] else None}


def _measures(run: Any) -> dict[str, float]:
    from lstm_ae.run import measured

    metrics = run.metrics() if run.finished else {}
    return {
        f"{part} {name}": metric["value"] for part, row in measured(metrics).items() for name, metric in row.items()
    } | {f"training {key}": value for key, value in metrics.get("training", {}).items() if key in ("epochs", "seconds")}


def _headline(run: Any) -> tuple[str, float | None]:
    from lstm_ae.errors import DataError

    try:
        measures = _measures(run)
    except DataError:
        return "unreadable", None
    for key, value in measures.items():
        if key.startswith("test "):
            return key.removeprefix("test "), value
    return "unfinished", None
