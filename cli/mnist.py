"""`lstmae mnist compare` and `weights`: test the source report's claims about its classifiers."""

from collections.abc import Callable
from typing import Any

import typer

from lstm_ae.config import Mnist
from lstm_ae.config.space import Axis

from .console import Console
from .options import GivenOptions, command
from .results import show_files
from .search import GridRequest, SearchRequest, request_grid, search, show_search_estimate
from .search_results import require_results


def register(app: typer.Typer) -> None:
    """Add the commands to the study of digits."""

    def models() -> tuple[Axis, Any]:
        from lstm_ae.search.report_claims import MODELS, classifier_findings

        return Axis("model", MODELS), classifier_findings

    def weights() -> tuple[Axis, Any]:
        from lstm_ae.search.report_claims import WEIGHTS, weight_findings

        return Axis("reconstruction_weight", WEIGHTS), weight_findings

    _add_comparison(
        app,
        "compare",
        "model",
        models,
        "Train and compare the report's four classifiers and the head on the code.",
    )
    _add_comparison(
        app,
        "weights",
        "reconstruction_weight",
        weights,
        "Train with several weights of the reconstruction loss, and compare both tasks.",
    )


def _add_comparison(
    app: typer.Typer, verb: str, option: str, claims: Callable[[], tuple[Axis, Any]], summary: str
) -> None:
    """Add a command that searches a grid over one option, without keeping models or reading test digits.

    Args:
        app: the group of the command.
        verb: name of the command.
        option: the option that is varied.
        claims: returns its values, and the function that judges the claims of the report about them.
        summary: help of the command.
    """

    def request_comparison(given: GivenOptions, request: GridRequest) -> tuple[GivenOptions, SearchRequest]:
        return request_grid(given, claims()[0], request, verb, keep=0)

    def estimate(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        show_search_estimate(*request_comparison(given, request), Mnist, console)

    def compare(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        from lstm_ae.search.report_claims import SHARING, classifier_rows

        axis, findings = claims()
        options, full_request = request_comparison(given, request)
        folder, plan, result, _ = search(options, Mnist, full_request, console)
        require_results(folder, result)
        header, table = classifier_rows(result.trials, axis.name, axis.values)
        folder.write_table({column: [row[place] for row in table] for place, column in enumerate(header)})
        lines = [str(line) for line in findings(result.trials)]
        for line in lines:
            console.show(line)
        show_files(console, {"table": folder.directory / "table.csv"})
        if console.verbose:
            console.table(header, table)
        console.document(
            {
                "search": str(folder.directory),
                "trials": [
                    {"values": trial.values, "executions": [each._asdict() for each in trial.executions]}
                    for trial in result.trials
                ],
                "findings": lines,
            }
        )
        assert isinstance(plan.config, Mnist)
        if option == "reconstruction_weight" and plan.config.model not in SHARING:
            console.say("The tasks of this model share no weights and do not compete for them; --model v2 shares them.")

    compare.__doc__ = summary
    example = f"lstmae mnist {verb} --units 2 --epochs 1 --jobs 1"
    command(app, verb, example, Mnist, hide=(option,), dry_run=estimate)(compare)
