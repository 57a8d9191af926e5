"""`lstmae report`: one HTML file of runs and searches, or of the whole source report, to be read anywhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_ae.errors import ConfigError

from . import tour as tours
from .options import command, runs_like
from .results import show_files
from .talk import Talk


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "report", "lstmae report latest")
    def report(
        runs: Annotated[
            list[str] | None,
            typer.Argument(
                help="Runs and searches: directories, or latest.",
                autocompletion=lambda incomplete: runs_like(incomplete),
            ),
        ] = None,
        *,
        out: Annotated[
            Path | None,
            typer.Option(
                metavar="<path>",
                help="Where the report goes: a file (default: report.html in the run; of several, in this directory), "
                "or with --tour a folder, which its trainings go to as well (default: runs/tour-<level>).",
            ),
        ] = None,
        tour: Annotated[
            bool,
            typer.Option(
                "--tour",
                metavar="",
                help="The whole source report again, with every finding checked; trains what is missing, and the same "
                "command goes on after an interruption.",
            ),
        ] = False,
        level: Annotated[
            str | None,
            typer.Option(
                metavar="smoke|short|full",
                help="With --tour: a few minutes that show that all runs, parts of the data with two seeds, or all of "
                "it with three (default: smoke).",
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
            typer.Option("--dry-run", metavar="", help="With --tour: list what is there and what would be trained."),
        ] = False,
        talk: Talk,
    ) -> None:
        """Write a report of runs and searches: one HTML file that needs no network and no other file."""
        if tour == bool(runs):
            given = "both" if tour else "neither"
            raise ConfigError(f"Give runs to report on, or --tour for the whole source report. Received: {given}")
        if runs:
            for name, value in (("level", level), ("digits", digits), ("prices", prices), ("dry-run", dry_run)):
                if value:
                    raise ConfigError(f"--{name} is for --tour; leave it out")
            _report(runs, out, talk)
        else:
            tours.show_tour(tours.Asked(level or "smoke", out, digits, prices, dry_run), talk)


def _report(runs: list[str], out: Path | None, talk: Talk) -> None:
    from datetime import UTC, datetime

    from lstm_ae.about import command_line
    from lstm_ae.report.page import gather_all, render, require_own, write_report

    if out is not None:
        require_own(out)
    subjects = gather_all(runs)
    path = out or (subjects[0].directory if len(subjects) == 1 else Path()) / "report.html"
    require_own(path)
    page = render(subjects, command=command_line(), written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    write_report(path, page.html)
    for subject in subjects:
        for sentence in subject.missing:
            talk.say(f"{subject.name}: {sentence}")
    for name in page.left_out:
        talk.say(f"no room for the figure {name}")
    show_files(talk, {"report": path})
    talk.document(
        {
            "report": str(path),
            "bytes": path.stat().st_size,
            "subjects": [_subject(subject) for subject in subjects],
            "left_out": list(page.left_out),
        }
    )


def _subject(subject: Any) -> dict[str, Any]:
    task = subject.asked.task if subject.asked else None
    return {"directory": str(subject.directory), "kind": subject.kind, "task": task, "missing": list(subject.missing)}
