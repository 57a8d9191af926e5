"""`lstmae mnist compare` and `weights`: test the source report's findings about its classifiers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from lstm_ae.config import CLASSIFIERS, Mnist
from lstm_ae.config.space import Axis
from lstm_ae.tour.levels import WEIGHTS

from .console import Console
from .options import GivenOptions, command
from .results import show_files
from .search import GridRequest, SearchRequest, request_grid, search, show_search_estimate
from .search_results import require_results

if TYPE_CHECKING:
    from lstm_ae.tour.findings import Part

MODELS = (*CLASSIFIERS.values(), "head-on-code")

AXES = {"compare": Axis("model", MODELS), "weights": Axis("reconstruction_weight", WEIGHTS)}


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
    return request_grid(given, AXES[verb], request, verb, keep=0)


def _dry_run(verb: str) -> Callable[..., None]:
    def estimate(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        show_search_estimate(*_request(given, request, verb), Mnist, console)

    return estimate


def _compare(
    given: GivenOptions, request: GridRequest, verb: str, part: "Part", findings: Sequence[str], console: Console
) -> None:
    """Search a grid over the option of a command, and decide findings of a part on its trials."""
    from lstm_ae.search.results import result_columns
    from lstm_ae.tour.evaluation import COLUMNS, decide_finding, trial_numbers

    options, full_request = _request(given, request, verb)
    folder, plan, result, _ = search(options, Mnist, full_request, console)
    require_results(folder, result)
    trials = sorted(result.trials, key=lambda trial: trial.number)
    columns = result_columns(plan, trials)
    for name, column in {"reconstruction": COLUMNS["reconstruction_mse"], "parameters": "parameters"}.items():
        columns[name] = [trial.measure(column)[0] for trial in trials]
    columns["spread of reconstruction"] = [trial.measure(COLUMNS["reconstruction_mse"])[1] for trial in trials]
    numbers = trial_numbers(part, trials, plan.axes[0].name)
    decisions = {text: decide_finding(part.findings[text], numbers, plan.repeats, whole=False) for text in findings}
    for text, decision in decisions.items():
        console.show(f'"{text}": {decision}')
    show_files(console, {"table": folder.write_table("table", columns)})
    if console.verbose:
        console.table(list(columns), list(zip(*columns.values(), strict=True)))
    decided = {text: decision._asdict() for text, decision in decisions.items()}
    shown = [trial.to_dict() for trial in trials]
    console.document({"search": str(folder.directory), "trials": shown, "findings": decided})
