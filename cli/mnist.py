"""`lstmae mnist compare` and `weights`: test the source report's claims about its classifiers."""

from typing import Any

import typer

from lstm_ae.config import Mnist
from lstm_ae.config.options import check_value
from lstm_ae.config.space import Axis

from . import dry_run
from .console import Console
from .options import GivenOptions, Out, command, make_option
from .tune import JOBS_OPTION, REPEATS_OPTION, Repair, Resume


def register(app: typer.Typer) -> None:
    """Add the commands to the study of digits."""

    def dry_compare(*, given: GivenOptions, console: Console, **values: Any) -> None:
        from lstm_ae.search.report_claims import MODELS

        dry_run.show_search_estimate(*_grid_request("compare", given, Axis("model", MODELS), **values), Mnist, console)

    def dry_weights(*, given: GivenOptions, console: Console, **values: Any) -> None:
        from lstm_ae.search.report_claims import WEIGHTS

        axis = Axis("reconstruction_weight", WEIGHTS)
        dry_run.show_search_estimate(*_grid_request("weights", given, axis, **values), Mnist, console)

    @command(
        app,
        "compare",
        "lstmae mnist compare --units 2 --epochs 1 --jobs 1",
        Mnist,
        hide=("model",),
        dry_run=dry_compare,
    )
    def compare(
        *,
        repeats: make_option(REPEATS_OPTION) = None,  # type: ignore[valid-type]
        jobs: make_option(JOBS_OPTION) = None,  # type: ignore[valid-type]
        resume: Resume = False,
        repair: Repair = False,
        out: Out = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train the report's four classifiers and the head on the shared code alike, and compare them."""
        from lstm_ae.search.report_claims import MODELS, classifier_findings

        asked = {"repeats": repeats, "jobs": jobs, "resume": resume, "repair": repair, "out": out}
        _run_comparison("compare", given, console, Axis("model", MODELS), classifier_findings, **asked)

    @command(
        app,
        "weights",
        "lstmae mnist weights --units 2 --epochs 1 --jobs 1",
        Mnist,
        hide=("reconstruction_weight",),
        dry_run=dry_weights,
    )
    def weights(
        *,
        repeats: make_option(REPEATS_OPTION) = None,  # type: ignore[valid-type]
        jobs: make_option(JOBS_OPTION) = None,  # type: ignore[valid-type]
        resume: Resume = False,
        repair: Repair = False,
        out: Out = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train with several shares of the reconstruction in the loss, and compare what both tasks gain and lose (which
        share weights with --model v2 and head-on-code only)."""
        from lstm_ae.search.report_claims import SHARING, WEIGHTS, weight_findings

        asked = {"repeats": repeats, "jobs": jobs, "resume": resume, "repair": repair, "out": out}
        config = _run_comparison(
            "weights", given, console, Axis("reconstruction_weight", WEIGHTS), weight_findings, **asked
        )
        if config.model not in SHARING:
            console.say(
                "the two tasks of this model share no weights and do not compete for them; --model v2 lets them"
            )


def _grid_request(verb: str, given: GivenOptions, axis: Axis, **asked: Any) -> tuple[GivenOptions, Any]:
    """Return the options with a grid over one of them, and the search request."""
    from . import search

    listed = GivenOptions(given | {axis.name: axis}).resting(given)
    for field in (REPEATS_OPTION, JOBS_OPTION):
        check_value(field, asked[field.name])
    return listed, search.SearchRequest(verb, keep=0, varied=axis.name, **asked)


def _run_comparison(verb: str, given: GivenOptions, console: Console, axis: Axis, findings: Any, **asked: Any) -> Any:
    """Search a grid over one option without keeping models or reading test digits; return the shared config."""
    from lstm_ae.search.report_claims import classifier_rows

    from . import search
    from .search import require_results

    listed, typed = _grid_request(verb, given, axis, **asked)
    folder, plan, found, _ = search.search(listed, Mnist, typed, console)
    require_results(folder, found)
    header, table = classifier_rows(found.trials, axis.name, axis.values)
    folder.write_table({column: [row[place] for row in table] for place, column in enumerate(header)})
    console.table(header, table)
    told = [str(line) for line in findings(found.trials)]
    for line in told:
        console.show(line)
    console.show(f"table: {folder.directory / 'table.csv'}")
    console.document(
        {
            "search": str(folder.directory),
            "trials": [{"values": t.values, "executions": [e._asdict() for e in t.executions]} for t in found.trials],
            "findings": told,
        }
    )
    return plan.config
