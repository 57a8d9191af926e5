"""`lstmae report`: one HTML file of runs and searches, to be read anywhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import command, runs_like
from .results import show_files
from .talk import Talk


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "report", "lstmae report latest")
    def report(
        runs: Annotated[
            list[str],
            typer.Argument(
                help="Runs and searches: directories, or latest.",
                autocompletion=lambda incomplete: runs_like(incomplete),
            ),
        ],
        *,
        out: Annotated[
            Path | None,
            typer.Option(
                metavar="<file>",
                help="Where the report goes (default: report.html in the run; of several, in this directory).",
            ),
        ] = None,
        talk: Talk,
    ) -> None:
        """Write a report of runs and searches: one HTML file that needs no network and no other file."""
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
