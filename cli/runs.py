"""`lstmae runs`: list, show, and compare runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import TASKS
from lstm_ae.formatting import format_option

from .console import Console
from .options import RunArgument, command, complete_runs
from .results import show_metrics

if TYPE_CHECKING:
    from lstm_ae.run import Run
    from lstm_ae.search.directory import SearchDirectory

app = typer.Typer(name="runs")

Root = Annotated[Path | None, typer.Argument(help="Directory that holds the runs.", show_default="runs")]


@command(app, "list", "lstmae runs list")
def list_(root: Root = None, *, console: Console) -> None:
    """List the runs and searches, newest first."""
    from lstm_ae.errors import Code, DataError
    from lstm_ae.run import Run
    from lstm_ae.search.directory import SearchDirectory
    from lstm_ae.workdir import RUNS

    if root is not None and not root.is_dir():
        raise DataError(f"{str(root)!r} is not a directory. Pass the one that holds the runs", code=Code.RUN_NOT_FOUND)
    rows = []
    for run in Run.list_all(root):
        about = run.about()
        leaky = "leaky" if about["data"]["leaky"] else ""
        rows.append((str(run.directory), about["task"], about["created"][:19], *_run_headline(run), leaky))
    for search in SearchDirectory.list_all(root):
        about = search.about()
        leaky = "leaky" if about["data"].get("leaky") else ""
        name = f"{about['task']} tune"
        rows.append((str(search.directory), name, str(about["created"])[:19], *_best_result(search), leaky))
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
        f"data: {about['data']['text']} (sha256 {about['data']['sha256'][:12]}, license: {about['data']['licence']})"
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
    console.document({"run": str(opened.directory), "about": about, "metrics": metrics})


@command(app, "compare", "lstmae runs compare latest latest")
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more runs (directories, or latest).",
            autocompletion=lambda incomplete: complete_runs(incomplete),
        ),
    ],
    *,
    console: Console,
) -> None:
    """Compare runs: the options that differ, and the metrics."""
    from lstm_ae.errors import Code, ConfigError
    from lstm_ae.formatting import format_measure
    from lstm_ae.report.comparison import compare_runs
    from lstm_ae.report.facts import gather_run

    if len(runs) < 2:
        raise ConfigError(f"runs compare needs at least two runs. Received: {len(runs)}", code=Code.MISSING_OPTION)
    comparison = compare_runs([gather_run(run) for run in runs])
    console.table(["option", *comparison.names], [(row.name, *row.values) for row in comparison.options])
    if not comparison.options:
        console.show("(no option differs)")
    console.show("")
    rows = [(row.name, *(format_measure(row.measure, value) for value in row.values)) for row in comparison.measures]
    console.table(["measure", *comparison.names], rows)
    if comparison.note:
        console.show(comparison.note)
    differences = {row.name: row.values for row in comparison.options}
    measures = [
        {row.name: row.values[number] for row in comparison.measures} for number in range(len(comparison.names))
    ]
    console.document(
        {"runs": comparison.names, "differing": differences, "measures": measures, "note": comparison.note}
    )


def _run_measures(run: "Run") -> dict[str, float]:
    from lstm_ae.run import measured_splits

    metrics = run.metrics() if run.finished else {}
    return {
        f"{split} {name}": metric["value"]
        for split, row in measured_splits(metrics).items()
        for name, metric in row.items()
    } | {f"training {key}": value for key, value in metrics.get("training", {}).items() if key in ("epochs", "seconds")}


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
    from lstm_ae.errors import DataError

    try:
        measures = _run_measures(run)
    except DataError:
        return "unreadable", None
    for key, value in measures.items():
        if key.startswith("test "):
            return key.removeprefix("test "), value
    return "unfinished", None
