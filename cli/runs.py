"""`lstmae runs`: list and show runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import TASKS
from lstm_ae.formatting import format_option

from .console import Console
from .options import RunArgument, command
from .results import show_metrics

if TYPE_CHECKING:
    from lstm_ae.run import Run
    from lstm_ae.search.directory import SearchDirectory

app = typer.Typer(name="runs")

Root = Annotated[Path | None, typer.Argument(help="Directory that contains the runs.", show_default="runs")]


@command(app, "list", "lstmae runs list")
def list_(root: Root = None, *, console: Console) -> None:
    """List the runs and searches, newest first."""
    from lstm_ae.errors import Code, DataError
    from lstm_ae.run import Run
    from lstm_ae.search.directory import SearchDirectory
    from lstm_ae.workdir import RUNS

    if root is not None and not root.is_dir():
        raise DataError(
            f"{str(root)!r} is not a directory. Pass the one that contains the runs", code=Code.RUN_NOT_FOUND
        )
    rows = []
    for run in Run.list_all(root):
        about = run.about()
        leaky = "leaky" if about["data"]["leaky"] else ""
        rows.append((run.directory, about["task"], about["created"][:19], *_run_headline(run), leaky))
    for search in SearchDirectory.list_all(root):
        about = search.about()
        leaky = "leaky" if about["data"].get("leaky") else ""
        name = f"{about['task']} tune"
        rows.append((search.directory, name, str(about["created"])[:19], *_best_result(search), leaky))
    rows.sort(key=lambda row: row[2], reverse=True)
    if not rows:
        console.say(f"There is no run in {str(root or RUNS)!r}; train one, as with lstmae toy train")
    else:
        console.table(["run", "task", "created", "measure", "value", ""], rows)
    names = ("run", "task", "created", "measure", "value", "leaky")
    console.document({"runs": [dict(zip(names, row, strict=True)) for row in rows]})


@command(app, "show", "lstmae runs show latest")
def show(run: RunArgument, *, console: Console) -> None:
    """Show the results of a run, its data, and its options."""
    from lstm_ae.run import open_run

    opened = open_run(run)
    about = opened.about()
    metrics = opened.metrics() if opened.finished else {}
    console.show(f"{opened.directory}: {about['task']}, {about['created'][:19]}")
    console.show(f"command: {about['command']}")
    console.show(
        f"data: {about['data']['text']} (sha256 {about['data']['sha256'][:12]}, license: {about['data']['license']})"
    )
    for note in about["data"]["notes"]:
        console.show(f"  {note}")
    if metrics:
        show_metrics(console, metrics, about["data"]["leaky"])
    else:
        console.show("unfinished")
    usual = TASKS[about["task"]]().to_dict()
    options = {name: value for name, value in about["config"].items() if console.verbose or value != usual.get(name)}
    if options:
        console.show("Options:" if console.verbose else "Options that differ from their defaults:")
        console.table(["option", "value"], [(name, format_option(value)) for name, value in options.items()])
    console.document({"run": opened.directory, "about": about, "metrics": metrics})


def _best_result(search: "SearchDirectory") -> tuple[str, float | None]:
    """Return the objective of a search and its best value."""
    from lstm_ae.errors import ConfigError, DataError
    from lstm_ae.search.trial import rank_trials

    try:
        objective = search.plan().objective
        best = next(iter(rank_trials(search.journal.trials(), objective)), None)
    except (ConfigError, DataError):
        return "unreadable", None
    return (f"best {objective.name}", best.score) if best and best.completed else ("no trial yet", None)


def _run_headline(run: "Run") -> tuple[str, float | None]:
    """Return the first measure of the last split of a run and its value."""
    from lstm_ae.errors import DataError
    from lstm_ae.run import measured_splits

    try:
        splits = list(measured_splits(run.metrics()).items()) if run.finished else []
    except DataError:
        return "unreadable", None
    for split, measures in reversed(splits):
        for name, metric in measures.items():
            return name if split == "test" else f"{split} {name}", metric["value"]
    return "unfinished", None
