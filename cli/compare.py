"""`lstmae mnist compare` and `lstmae mnist weights`: the report's findings on its classifiers, checked."""

from typing import Annotated, Any

import typer

from lstm_ae.config import Mnist
from lstm_ae.options import checked

from .options import Given, Out, command, option
from .talk import Talk
from .tune import JOBS, REPEATS

Resume = Annotated[
    bool, typer.Option("--resume", metavar="", help="Go on with the one at --out, or the latest search.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the study of digits."""

    @command(app, "compare", "lstmae mnist compare --units 2 --epochs 1 --jobs 1", Mnist, hide=("model",))
    def compare(
        *,
        repeats: option(REPEATS) = None,  # type: ignore[valid-type]
        jobs: option(JOBS) = None,  # type: ignore[valid-type]
        resume: Resume = False,
        out: Out = None,
        given: Given,
        talk: Talk,
    ) -> None:
        """Train the report's four classifiers and the head on the shared code alike, and compare them."""
        from lstm_ae.search.digits import MODELS, classifier_findings

        _compare(given, talk, "model", MODELS, classifier_findings, repeats=repeats, jobs=jobs, resume=resume, out=out)

    @command(
        app, "weights", "lstmae mnist weights --units 2 --epochs 1 --jobs 1", Mnist, hide=("reconstruction_weight",)
    )
    def weights(
        *,
        repeats: option(REPEATS) = None,  # type: ignore[valid-type]
        jobs: option(JOBS) = None,  # type: ignore[valid-type]
        resume: Resume = False,
        out: Out = None,
        given: Given,
        talk: Talk,
    ) -> None:
        """Train with several shares of the reconstruction in the loss, and compare what both tasks gain and lose."""
        from lstm_ae.search.digits import WEIGHTS, weight_findings

        name = "reconstruction_weight"
        _compare(given, talk, name, WEIGHTS, weight_findings, repeats=repeats, jobs=jobs, resume=resume, out=out)


def _compare(given: Given, talk: Talk, name: str, values: tuple[Any, ...], findings: Any, **asked: Any) -> None:
    """A grid over one option, of which no model is kept and no test digit is read."""
    from lstm_ae.search.digits import rows

    from . import searching
    from .found import require_some

    listed = Given(given | {name: searching.listed(name, values)})
    listed.file, listed.preset = given.file, given.preset
    asked["repeats"], asked["jobs"] = checked(REPEATS, asked["repeats"]), checked(JOBS, asked["jobs"])
    folder, plan, found, _ = searching.search(listed, Mnist, searching.Asked(keep=0, **asked), talk)
    require_some(folder, plan, found)
    header, table = rows(found.trials, name, values)
    folder.write_table({column: [row[place] for row in table] for place, column in enumerate(header)})
    talk.table(header, table)
    told = [str(line) for line in findings(found.trials)]
    for line in told:
        talk.show(line)
    talk.show(f"table: {folder.directory / 'table.csv'}")
    talk.document(
        {
            "search": str(folder.directory),
            "trials": [{"values": t.values, "executions": [e._asdict() for e in t.executions]} for t in found.trials],
            "findings": told,
        }
    )
