"""`lstmae report`: one HTML file of runs and searches, or of the whole source report."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_count

from .backend import import_tensorflow
from .console import Console
from .errors import resumable
from .options import command, complete_runs, named, refuse_options, switch
from .results import show_files

if TYPE_CHECKING:
    from lstm_ae.config import Config
    from lstm_ae.json_types import JsonObject
    from lstm_ae.tour.trainings import TourData, TourTraining

PAGE_NAME = "report.html"


def show_tour(name: str, out: Path | None, digits: str | None, prices: str | None, console: Console) -> None:
    """Train the missing runs of a tour and write its page.

    Args:
        name: name of the level.
        out: directory for the trainings and the page; None for that of the level.
        digits, prices: values of `--data` of the studies.
        console: the output.
    """
    from lstm_ae.report.page import render_page, require_report_path, write_report
    from lstm_ae.run import command_line
    from lstm_ae.tour.evaluation import evaluate_part
    from lstm_ae.tour.findings import tour_parts
    from lstm_ae.tour.levels import find_level
    from lstm_ae.tour.trainings import TourData, TourDirectory, plan_tour

    level = find_level(name)
    folder = out or Path("runs") / f"tour-{level.name}"
    if folder.suffix.lower() in (".html", ".htm"):
        raise ConfigError(
            f"--out must be a directory with --tour, for the trainings and the page. Received: {str(folder)!r}"
        )
    require_report_path(folder / PAGE_NAME)
    directory, about = TourDirectory(folder), {"tour": 2}
    directory.require_same(about)
    import_tensorflow(console)
    data = TourData(level, folder, digits, prices)
    for note in data.notes:
        console.say(note)
    parts = tour_parts(level, data.sources)
    trainings = plan_tour(parts, level.seeds, folder, data.hashes)
    command = command_line()
    with directory.claim(about):
        facts, missing = _train(trainings, data, command, console)
        results = [evaluate_part(part, level.seeds, facts) for part in parts]
        decisions = [(result.part.key, text, each) for result in results for text, each in result.decisions.items()]
        counts = Counter(decision.verdict for _, _, decision in decisions)
        html = render_page(
            "tour.html",
            title="Tour of the source report",
            level=level,
            results=results,
            counts=counts,
            missing=missing,
        )
        path = write_report(folder / PAGE_NAME, html)
    for sentence in missing:
        console.say(sentence)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    console.show(f"{format_count(len(decisions), 'finding')} of the source report: {verdicts}")
    if not level.whole:
        console.show(f"Level {level.name}: the values and verdicts hold only for a part of the data.")
    show_files(console, {"report": path, "runs": folder})
    if console.verbose:
        console.table(["part", "the report", "verdict"], [(key, text, each.verdict) for key, text, each in decisions])
    findings = [{"part": key, "finding": text, **decision._asdict()} for key, text, decision in decisions]
    console.document({"level": level.name, "report": path, "findings": findings, "missing": missing})


def _train(
    trainings: "list[TourTraining]", data: "TourData", command: str, console: Console
) -> "tuple[dict[Config, JsonObject], list[str]]":
    """Train the missing runs; return the facts of all runs by config, and a sentence for each run without facts."""
    from lstm_ae.tour.trainings import read_runs, run_tour

    bar = console.progress()

    def notify(text: str) -> None:
        bar.clear()
        console.say(text)

    progress = bar if bar.live or console.verbose else lambda progress: None
    with resumable("finished trainings", f"Resume with: {command}", bar.clear):
        run_tour(trainings, data.load, command, notify, progress)
    return read_runs(trainings)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "report", "lstmae report latest")
    def report(
        runs: Annotated[
            list[str] | None,
            typer.Argument(help="Runs and searches: directories, or latest.", autocompletion=complete_runs),
        ] = None,
        *,
        out: Annotated[
            Path | None,
            named("<path>", "HTML file (default: report.html, of one run in its directory); with --tour a directory."),
        ] = None,
        tour: Annotated[bool, switch("tour", "Repeat the source report and check its findings; resumes.")] = False,
        level: Annotated[
            str | None,
            named("smoke|short|full", "With --tour: minutes, half an hour, or about two hours (default: smoke)."),
        ] = None,
        digits: Annotated[str | None, named("<path>", "With --tour: as --data of lstmae mnist.")] = None,
        prices: Annotated[str | None, named("<file>", "With --tour: as --data of lstmae snp.")] = None,
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
            refuse_options({"--level": level, "--digits": digits, "--prices": prices}, "runs", ", or pass --tour")
            _report_runs(runs, out, console)
        else:
            show_tour(level or "smoke", out, digits, prices, console)


def _report_runs(runs: list[str], out: Path | None, console: Console) -> None:
    from lstm_ae.report.page import gather_sources, render_report, require_report_path, write_report

    if out is not None:
        require_report_path(out)
    subjects = gather_sources(runs)
    path = out or (subjects[0].directory if len(subjects) == 1 else Path()) / PAGE_NAME
    write_report(path, render_report(subjects))
    show_files(console, {"report": path})
    records = [{"directory": each.name, "kind": each.kind, "task": each.about["task"]} for each in subjects]
    console.document({"report": path, "subjects": records})
