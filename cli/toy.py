"""`lstmae toy limits`: the error that a code of k numbers allows, trained and not."""

import dataclasses

import typer

from lstm_ae.config import Toy
from lstm_ae.config.space import Axis
from lstm_ae.formatting import format_count, format_value

from .console import Console
from .options import GivenOptions, command
from .results import show_files
from .search import GridRequest, SearchRequest, request_grid, search, show_search_estimate
from .search_results import require_results

DEFAULT_SIZES = (8, 16, 32, 50)

PRESET = "code"


def register(app: typer.Typer) -> None:
    """Add the command to the toy study."""

    def estimate(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        show_search_estimate(*_request(given, request), Toy, console)

    example = "lstmae toy limits --code 2,4 --sequences 500 --epochs 1 --jobs 1"

    @command(app, "limits", example, Toy, hide=("latent",), preset=PRESET, dry_run=estimate, lists=True)
    def limits(*, request: GridRequest, given: GivenOptions, console: Console) -> None:
        """Train autoencoders with codes of several sizes, and compare them with linear codes."""
        from lstm_ae.search.results import result_columns
        from lstm_ae.studies.toy import load
        from lstm_ae.studies.toy_code_limits import baseline_errors

        options, full_request = _request(given, request)
        folder, plan, result, data = search(options, Toy, full_request, console)
        require_results(folder, result)
        assert isinstance(plan.config, Toy)
        # Each repeat has signals of its own.
        seeds = [(plan.config.seed + number) % 2**32 for number in range(1, plan.repeats)]
        every = [data, *(load(dataclasses.replace(plan.config, seed=seed)) for seed in seeds)]
        trials = sorted(result.trials, key=lambda trial: trial.number)
        columns = result_columns(plan, trials) | {name: [] for name in ("times PCA", "PCA", "last values", "mean")}
        for trial in trials:
            pca, last, mean = baseline_errors(every, trial.values["code"])
            ratio = trial.score / pca if trial.completed and pca else None
            for name, value in {"times PCA": ratio, "PCA": pca, "last values": last, "mean": mean}.items():
                columns[name].append(value)
            text = f"mse {format_value(trial.score)}" if trial.completed else "no result"
            comparison = "" if ratio is None else f", {ratio:.3g} times that of PCA"
            console.show(f"code of {format_count(trial.values['code'], 'number')}: {text}{comparison}")
        show_files(console, {"table": folder.write_table("table", columns), "runs": folder.directory / "trials"})
        rows = list(zip(*columns.values(), strict=True))
        if console.verbose:
            console.table(list(columns), rows)
        shown = [dict(zip(columns, row, strict=True)) for row in rows]
        console.document({"search": str(folder.directory), "limits": shown})


def _request(given: GivenOptions, request: GridRequest) -> tuple[GivenOptions, SearchRequest]:
    """Return the options with a grid over sizes of the code, and the search request."""
    sizes = given.get("code", Axis("code", DEFAULT_SIZES))
    axis = sizes if isinstance(sizes, Axis) else Axis("code", (sizes,))
    if not request.resume:
        given = GivenOptions(given | {"latent": "vector"}).resting(given)
        given.preset = given.preset or (None if given.file else PRESET)
    return request_grid(given, axis, request, "limits", keep=len(axis.values))
