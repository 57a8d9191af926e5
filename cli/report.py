"""`lstmae report`: one HTML file of runs and searches, or of the whole source report."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_count

from .backend import import_tensorflow
from .console import Console, TrainingBar
from .errors import Interrupted
from .options import command, complete_runs
from .results import show_files

if TYPE_CHECKING:
    from lstm_ae.json_types import JsonObject
    from lstm_ae.tour.claims import TourPart
    from lstm_ae.tour.levels import TourLevel
    from lstm_ae.tour.runs import TourProgress, TourTraining

PAGE_NAME = "report.html"


class TourRequest(NamedTuple):
    """What was typed; `digits` and `prices` are places of data, as `--data` of the studies takes them."""

    level: str
    out: Path | None
    digits: str | None
    prices: str | None
    dry_run: bool


def show_tour(request: TourRequest, console: Console) -> None:
    """Train what is missing and write the page; with `dry_run`, list the trainings alone."""
    from lstm_ae.report.page import require_report_path
    from lstm_ae.tour import digits, stocks, toy
    from lstm_ae.tour.data import choose_data, read_source_data
    from lstm_ae.tour.levels import find_level
    from lstm_ae.tour.runs import open_tour, plan_tour

    level = find_level(request.level)
    folder = request.out or Path("runs") / f"tour-{level.name}"
    if folder.suffix.lower() in (".html", ".htm"):
        raise ConfigError(
            f"--out must be a directory with --tour, for the trainings and the page. Received: {str(folder)!r}"
        )
    open_tour(folder, create=False)
    require_report_path(folder / PAGE_NAME)
    sources = read_source_data(request.digits, request.prices)
    for note in sources.notes:
        console.say(note)
    with TemporaryDirectory() as scratch:
        if not request.dry_run:
            open_tour(folder)
        ground, load = choose_data(level, sources, folder, Path(scratch) if request.dry_run else None)
        parts = [part for module in (toy, digits, stocks) for part in module.parts(level, ground)]
        legs = plan_tour(parts, level.seeds, folder, load.sha256)
        if request.dry_run:
            _list_trainings(legs, level, folder, console)
            return
    _run_tour(parts, legs, level, folder, load, sources.notes, console)


def _list_trainings(legs: Sequence["TourTraining"], level: "TourLevel", folder: Path, console: Console) -> None:
    from lstm_ae.tour.runs import OUTDATED, STATES, THERE

    rows = [(leg.part, leg.setting, leg.config.seed, leg.config.epochs, leg.state) for leg in legs]
    console.table(["part", "setting", "seed", "epochs", "state"], rows)
    counts = {state: sum(leg.state == state for leg in legs) for state in STATES}
    epochs = sum(leg.config.epochs for leg in legs if leg.state != THERE)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state != OUTDATED)
    console.show(f"{len(legs)} trainings in {folder}: {summary}; at most {epochs:,} epochs to train")
    console.show(f"The whole level {level.name} takes {level.duration} on two cores")
    keys = ("part", "setting", "seed", "epochs", "state")
    trainings = [
        dict(zip(keys, row, strict=True)) | {"run": str(leg.directory), "command": leg.command}
        for row, leg in zip(rows, legs, strict=True)
    ]
    console.document({"folder": str(folder), **counts, "epochs_to_train": epochs, "trainings": trainings})


def _run_tour(
    parts: Sequence["TourPart"],
    legs: Any,
    level: "TourLevel",
    folder: Path,
    load: Any,
    notes: Sequence[str],
    console: Console,
) -> None:
    from datetime import UTC, datetime

    from lstm_ae.report.page import write_report
    from lstm_ae.run import command_line
    from lstm_ae.tour.page import draw_data, render_tour
    from lstm_ae.tour.results import read_results
    from lstm_ae.tour.runs import run_tour

    import_tensorflow(console)
    bar = console.progress()
    with _add_resume_command(bar):
        draw_data(parts, load, folder)
        diverged = run_tour(legs, load, _progress_printer(console, bar))
    for sentence in diverged:
        console.say(sentence)
    results = read_results(parts, level.seeds, legs)
    page = render_tour(
        results,
        legs,
        folder,
        level,
        command=command_line(),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        notes=(*notes, *diverged),
    )
    path = write_report(folder / PAGE_NAME, page.html)
    for sentence in results.missing:
        console.say(sentence)
    for name in page.left_out:
        console.say(f"the report has no room for the figure {name}")
    answers = [(outcome.part.key, claim) for outcome in results.outcomes for claim in outcome.claims]
    counts = Counter(answer.decision.verdict for _, answer in answers)
    console.show(
        f"{format_count(len(answers), 'claim')} of the report: "
        + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    )
    if not level.whole:
        console.show(level.note)
    show_files(console, {"report": path, "runs": folder})
    if console.verbose:
        console.table(
            ["part", "the report", "verdict"], [(key, a.claim.statement, a.decision.verdict) for key, a in answers]
        )
    findings = [
        {"part": key, "said": a.claim.statement, **a.decision._asdict(), "rule": a.claim.rule_text}
        for key, a in answers
    ]
    console.document(
        {
            "level": level.name,
            "report": str(path),
            "bytes": path.stat().st_size,
            "findings": findings,
            "missing": [*results.missing, *diverged],
            "left_out": list(page.left_out),
        }
    )


def _progress_printer(console: Console, bar: TrainingBar) -> Callable[["TourProgress"], None]:
    """Return a function that prints a line for each training, and its progress on a terminal."""
    from lstm_ae.tour.runs import OUTDATED

    def tell(event: "TourProgress") -> None:
        if event.progress is None:
            bar.clear()
            leg = event.training
            anew = ", restarted: it was started with other versions and cannot resume" if leg.state == OUTDATED else ""
            console.say(
                f"training {event.number} of {event.total}: {leg.part}, {leg.setting}, seed {leg.config.seed}{anew}"
            )
        elif bar.live or console.verbose:
            bar(event.progress)

    return tell


@contextmanager
def _add_resume_command(bar: TrainingBar) -> Iterator[None]:
    from lstm_ae.run import command_line

    try:
        yield
    except KeyboardInterrupt:
        bar.clear()
        raise Interrupted(f"Interrupted; what is done is kept. Resume with: {command_line()}") from None


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "report", "lstmae report latest")
    def report(
        runs: Annotated[
            list[str] | None,
            typer.Argument(
                help="Runs and searches: directories, or latest.",
                autocompletion=lambda incomplete: complete_runs(incomplete),
            ),
        ] = None,
        *,
        out: Annotated[
            Path | None,
            typer.Option(
                metavar="<path>",
                help="HTML file (default: report.html); with --tour a directory for everything.",
            ),
        ] = None,
        tour: Annotated[
            bool,
            typer.Option(
                "--tour",
                metavar="",
                help="Repeat the source report and check its findings; resumes.",
            ),
        ] = False,
        level: Annotated[
            str | None,
            typer.Option(
                metavar="smoke|short|full",
                help="With --tour: minutes, half an hour, or about two hours (default: smoke).",
            ),
        ] = None,
        digits: Annotated[
            str | None, typer.Option(metavar="<path>", help="With --tour: as --data of lstmae mnist.")
        ] = None,
        prices: Annotated[
            str | None, typer.Option(metavar="<file>", help="With --tour: as --data of lstmae snp.")
        ] = None,
        dry_run: Annotated[
            bool,
            typer.Option("--dry-run", metavar="", help="With --tour: list the trainings without training."),
        ] = False,
        console: Console,
    ) -> None:
        """Write a report of runs and searches as one self-contained HTML file."""
        if tour == bool(runs):
            given = "both" if tour else "neither"
            raise ConfigError(
                f"Pass runs to report on, or --tour for the whole source report. Received: {given}",
                code=Code.MISSING_OPTION,
            )
        if runs:
            for name, value in (("level", level), ("digits", digits), ("prices", prices), ("dry-run", dry_run)):
                if value:
                    raise ConfigError(f"--{name} is for --tour; leave it out", code=Code.OPTION_NOT_APPLICABLE)
            _report_runs(runs, out, console)
        else:
            show_tour(TourRequest(level or "smoke", out, digits, prices, dry_run), console)


def _report_runs(runs: list[str], out: Path | None, console: Console) -> None:
    from datetime import UTC, datetime

    from lstm_ae.report.page import gather_sources, render_report, require_report_path, write_report
    from lstm_ae.run import command_line

    if out is not None:
        require_report_path(out)
    subjects = gather_sources(runs)
    path = out or (subjects[0].directory if len(subjects) == 1 else Path()) / "report.html"
    require_report_path(path)
    page = render_report(subjects, command=command_line(), written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    write_report(path, page.html)
    for subject in subjects:
        for sentence in subject.missing:
            console.say(f"{subject.name}: {sentence}")
    for name in page.left_out:
        console.say(f"the report has no room for the figure {name}")
    show_files(console, {"report": path})
    console.document(
        {
            "report": str(path),
            "bytes": path.stat().st_size,
            "subjects": [_subject_record(subject) for subject in subjects],
            "left_out": list(page.left_out),
        }
    )


def _subject_record(subject: Any) -> "JsonObject":
    task = subject.request.task if subject.request else None
    return {"directory": str(subject.directory), "kind": subject.kind, "task": task, "missing": list(subject.missing)}
