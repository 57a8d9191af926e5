"""`lstmae runs`: what has been trained here."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import TASKS
from lstm_ae.formatting import format_option

from .console import Console
from .options import RunArgument, command, complete_runs
from .results import show_metrics

if TYPE_CHECKING:
    from lstm_ae.json_types import JsonMapping, JsonObject
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
        name = f"{about['task']} {about['plan'].get('verb', 'tune')}"
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
    from lstm_ae.config.options import REMOVED
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
    usual = {**REMOVED, **TASKS[about["task"]]().to_dict()}
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
            help="Two or more runs (directories, or latest), or searches.",
            autocompletion=lambda incomplete: complete_runs(incomplete),
        ),
    ],
    *,
    console: Console,
) -> None:
    """Compare runs or searches: the options that differ, and the metrics."""
    from lstm_ae.errors import Code, ConfigError
    from lstm_ae.run import open_run
    from lstm_ae.search.directory import SearchDirectory

    if len(runs) < 2:
        raise ConfigError(f"runs compare needs at least two runs. Received: {len(runs)}", code=Code.MISSING_OPTION)
    searches = [SearchDirectory(Path(where)).begun for where in runs]
    if all(searches):
        return _compare_searches(runs, console)
    if any(searches):
        raise ConfigError(
            f"{runs[searches.index(True)]!r} is a search; compare runs with runs, searches with searches",
            code=Code.RUN_MISMATCH,
        )
    opened = [open_run(run) for run in runs]
    names = [str(run.directory) for run in opened]
    choices, measures = [_run_options(run) for run in opened], [_run_measures(run) for run in opened]
    _show_comparison("runs", names, choices, measures, console)
    return None


def _compare_searches(places: list[str], console: Console) -> None:
    """Show the options and settings in which searches differ, then their results."""
    from lstm_ae.search.directory import open_search, summarize_search

    opened = [open_search(place) for place in places]
    summaries = [summarize_search(search) for search in opened]
    settings = [each.best.values if each.best else {} for each in summaries]
    measures = [
        each.measures | {f"its {name}": format_option(value) for name, value in setting.items()}
        for each, setting in zip(summaries, settings, strict=True)
    ]
    names, choices = [str(search.directory) for search in opened], [each.choices for each in summaries]
    _show_comparison("searches", names, choices, measures, console)


def _show_comparison(
    what: str,
    names: list[str],
    choices: Sequence["JsonMapping"],
    measures: Sequence["JsonMapping"],
    console: Console,
) -> None:
    keys = dict.fromkeys(key for config in choices for key in config)
    differing = [key for key in keys if len({str(config.get(key)) for config in choices}) > 1]
    console.table(
        ["option", *names], [(key, *(format_option(config.get(key)) for config in choices)) for key in differing]
    )
    if not differing:
        console.show("(no option differs)")
    console.show("")
    keys = dict.fromkeys(sorted((key for row in measures for key in row), key=lambda key: key.startswith("training")))
    console.table(["measure", *names], [(key, *(row.get(key) for row in measures)) for key in keys])
    differences = {key: [config.get(key) for config in choices] for key in differing}
    console.document({what: names, "differing": differences, "measures": measures})


def _run_options(run: "Run") -> "JsonObject":
    """Return the options of a run, with the leakage and the hash of its data."""
    from lstm_ae.errors import ConfigError

    about = run.about()
    data = about["data"]
    try:
        # An older version did not write what was not there yet: it has its usual value.
        config = run.config().to_dict()
    except ConfigError:
        config = about["config"]
    leaky, sha256 = "LEAKY" if data["leaky"] else None, str(data["sha256"])[:12]
    return {"study": about["task"], **config, "leaky": leaky, "sha256 of the data": sha256}


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
    from lstm_ae.search.directory import summarize_search

    try:
        summary = summarize_search(search)
    except (ConfigError, DataError):
        return "unreadable", None
    return (f"best {summary.objective}", summary.best.score) if summary.best else ("nothing yet", None)


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
