"""`lstmae mnist compare` and `weights`: test the source report's findings about its classifiers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from lstm_ae.config import CLASSIFIERS, Mnist
from lstm_ae.config.space import Axis

from .console import Console
from .options import GivenOptions, command
from .results import show_files
from .search import GridRequest, SearchRequest, request_grid, search, show_search_estimate
from .search_results import require_results

if TYPE_CHECKING:
    from lstm_ae.tour.findings import Part

MODELS = (*CLASSIFIERS.values(), "head-on-code")


def register(app: typer.Typer) -> None:
    """Add the commands to the study of digits."""

    @command(app, "compare", _example("compare"), Mnist, hide=("model",), dry_run=_dry_run("compare"))
    def compare(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        """Train and compare the report's four classifiers and the head on the code."""
        from lstm_ae.tour.findings import variants_part

        part = variants_part(Mnist())
        _compare(given, request, "compare", part, list(part.findings)[:2], console)

    @command(app, "weights", _example("weights"), Mnist, hide=("reconstruction_weight",), dry_run=_dry_run("weights"))
    def weights(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        """Train with several weights of the reconstruction loss, and compare both tasks."""
        from lstm_ae.tour.findings import weights_part

        part = weights_part(Mnist())
        _compare(given, request, "weights", part, list(part.findings)[2:3], console)


def _example(verb: str) -> str:
    return f"lstmae mnist {verb} --units 2 --epochs 1 --jobs 1"


def _request(given: GivenOptions, request: GridRequest, verb: str) -> tuple[GivenOptions, SearchRequest]:
    """Return a grid over the option of a command, which keeps no models and does not read the test digits."""
    from lstm_ae.tour.levels import WEIGHTS

    axis = Axis("model", MODELS) if verb == "compare" else Axis("reconstruction_weight", WEIGHTS)
    return request_grid(given, axis, request, verb, keep=0)


def _dry_run(verb: str) -> Callable[..., None]:
    def estimate(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        show_search_estimate(*_request(given, request, verb), Mnist, console)

    return estimate


def _compare(
    given: GivenOptions, request: GridRequest, verb: str, part: "Part", findings: Sequence[str], console: Console
) -> None:
    """Search a grid over the option of a command, and decide findings of a part on its trials."""
    from lstm_ae.tour.evaluation import COLUMNS, decide_finding, trial_numbers

    options, full_request = _request(given, request, verb)
    folder, plan, result, _ = search(options, Mnist, full_request, console)
    require_results(folder, result)
    option = plan.axes[0].name
    trials = sorted(result.trials, key=lambda trial: plan.axes[0].values.index(trial.values[option]))
    measures = {"accuracy": COLUMNS["accuracy"], "reconstruction": COLUMNS["reconstruction_mse"]}
    table: dict[str, list[object]] = {option: [trial.values[option] for trial in trials]}
    for name, column in (measures | {"parameters": "parameters"}).items():
        table[name], table[f"{name} spread"] = map(list, zip(*(each.measure(column) for each in trials), strict=True))
    del table["parameters spread"]
    table["seconds per training"] = [round(each.seconds / max(len(each.executions), 1), 1) for each in trials]
    table["status"] = [trial.reason or trial.status for trial in trials]
    folder.write_table("table", table)
    numbers = trial_numbers(part, trials, option)
    decisions = {text: decide_finding(part.findings[text], numbers, plan.repeats, whole=False) for text in findings}
    for text, decision in decisions.items():
        console.show(f'"{text}": {decision}')
    show_files(console, {"table": folder.directory / "table.csv"})
    if console.verbose:
        console.table(list(table), list(zip(*table.values(), strict=True)))
    rows = [{"values": trial.values, "executions": [e._asdict() for e in trial.executions]} for trial in trials]
    decided = {text: decision._asdict() for text, decision in decisions.items()}
    console.document({"search": str(folder.directory), "trials": rows, "findings": decided})
