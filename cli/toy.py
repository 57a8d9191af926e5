"""`lstmae toy limits`: the error that a code of k numbers allows, trained and not."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Toy
from lstm_ae.config.space import Axis
from lstm_ae.errors import ConfigError
from lstm_ae.formatting import format_count, format_value

from .console import Console
from .options import GivenOptions, command
from .results import show_files
from .search import GridRequest, SearchRequest, request_grid, search, show_search_estimate
from .search_results import require_results

if TYPE_CHECKING:
    from lstm_ae.data.windows import Data
    from lstm_ae.search.directory import SearchDirectory
    from lstm_ae.search.plan import SearchPlan
    from lstm_ae.search.search import SearchResult

DEFAULT_SIZES = "8,16,32,50"

DEFAULT_PRESET = "code"


CodeSizes = Annotated[
    str | None, typer.Option(metavar="<int,...>", help=f"Sizes of the code (default: {DEFAULT_SIZES}).")
]


def register(app: typer.Typer) -> None:
    """Add the command to the toy study."""

    @command(
        app,
        "limits",
        "lstmae toy limits --sizes 2,4 --sequences 500 --epochs 1 --jobs 1",
        Toy,
        hide=("latent", "code"),
        preset=DEFAULT_PRESET,
        dry_run=_dry_run,
    )
    def limits(
        *,
        sizes: CodeSizes = None,
        request: GridRequest,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train autoencoders with codes of several sizes, and compare them with linear codes."""
        options, full_request = _request_limits(given, sizes, request)
        folder, plan, result, data = search(options, Toy, full_request, console)
        _show_limits(console, folder, plan, result, data)


def _dry_run(*, sizes: str | None, request: GridRequest, given: GivenOptions, console: Console) -> None:
    show_search_estimate(*_request_limits(given, sizes, request), Toy, console)


def _request_limits(given: GivenOptions, sizes: str | None, request: GridRequest) -> tuple[GivenOptions, SearchRequest]:
    """Return the options with a grid over sizes of the code, and the search request."""
    options = GivenOptions(given | {"latent": "vector"}).resting(given)
    if not (given.file or given.preset or request.resume):
        options.preset = DEFAULT_PRESET
    if sizes is None and request.resume:
        return options, SearchRequest(**vars(request), verb="limits", varied="code")
    numbers = _parse_sizes(sizes or DEFAULT_SIZES)
    if not request.resume:
        options.config(Toy, code=max(numbers))
    return request_grid(options, Axis("code", numbers), request, "limits", keep=len(numbers))


def _parse_sizes(text: str) -> tuple[int, ...]:
    try:
        numbers = [int(item) for item in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"--sizes must be different whole numbers from 1, such as {DEFAULT_SIZES}. Received: {text!r}"
        )
    return tuple(sorted(numbers))


def _show_limits(
    console: Console, folder: "SearchDirectory", plan: "SearchPlan", result: "SearchResult", data: "Data"
) -> None:
    from lstm_ae.studies.toy import load
    from lstm_ae.studies.toy_code_limits import baseline_errors

    require_results(folder, result)
    # Each repeat has signals of its own.
    assert isinstance(plan.config, Toy)
    seeds = range(plan.config.seed + 1, plan.config.seed + plan.repeats)
    every = [data, *(load(dataclasses.replace(plan.config, seed=seed % 2**32)) for seed in seeds)]
    rows = []
    for trial in sorted(result.trials, key=lambda trial: trial.values["code"]):
        size, error = trial.values["code"], trial.score if trial.scored else None
        pca, last, mean = baseline_errors(every, size)
        ratio = error / pca if error is not None and pca else None
        rows.append((size, error, trial.spread, pca, ratio, last, mean))
        text = "no result" if error is None else f"mse {format_value(error)}"
        comparison = "" if ratio is None else f", {ratio:.3g} times that of PCA"
        console.show(f"code of {format_count(size, 'number')}: {text}{comparison}")
    header = ["numbers", "mse", "spread", "mse of PCA", "times PCA", "last values", "mean"]
    table = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    folder.write_table("table", table)
    show_files(console, {"table": folder.directory / "table.csv", "runs": folder.directory / "trials"})
    if console.verbose:
        console.table(header, rows)
    limits = [
        dict(zip(("size", "model", "spread", "pca", "times_pca", "last", "mean"), row, strict=True)) for row in rows
    ]
    console.document({"search": str(folder.directory), "limits": limits})
