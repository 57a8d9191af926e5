"""`lstmae series classify`: the class of every row of a table, or of every series."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.formatting import format_count, format_heading, format_names

from .console import Console
from .options import OUTPUT, GivenOptions, LabelColumn, RunArgument, Table, command
from .results import require_table, show_files, show_note
from .training import open_table_run

if TYPE_CHECKING:
    from lstm_ae.apply.classify import ClassificationQuality, ClassifiedTable


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "classify", "lstmae series classify latest walks.csv --out classes.csv", reads=True)
    def classify(
        run: RunArgument,
        data: Table,
        *,
        out: Annotated[
            Path,
            typer.Option(
                metavar="<file>",
                help="Classes as a .csv or .parquet file.",
                rich_help_panel=OUTPUT,
            ),
        ],
        label_col: LabelColumn = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Classify each row by the window that ends with it, or each whole series."""
        require_table("--out", out, data)
        opened = open_table_run(run, console)
        from lstm_ae.apply import classify as classification
        from lstm_ae.apply.run_table import TableRequest
        from lstm_ae.data.checks import collect_new_table_warnings
        from lstm_ae.table_files import write_table

        with console.progress() as bar:
            answers = classification.classify(opened, TableRequest(data, label_col, given, bar.reading))
        show_note(collect_new_table_warnings(answers.prepared), console)
        path = write_table(out, classification.class_columns(answers))
        counts, judged = classification.count_classes(answers), classification.evaluate_classification(answers)
        _show_classes(answers, counts, judged, console)
        show_files(console, {"classes": path})
        console.document(
            {
                "run": str(opened.directory),
                "of": "series" if answers.by_series else "rows",
                "windows": int(answers.known.sum()),
                "classes": counts,
                "unknown": list(answers.unknown),
                "metrics": None if judged is None else judged._asdict(),
                "out": str(path),
            }
        )


def _show_classes(
    answers: "ClassifiedTable", counts: dict[str, int], judged: "ClassificationQuality | None", console: Console
) -> None:
    """Show the number of windows of each class, and the accuracy if the classes are known."""
    of = "series" if answers.by_series else "rows"
    total = sum(counts.values())
    if judged is not None:
        console.show(
            f"accuracy {judged.accuracy:.2%}, macro-F1 {judged.macro_f1:.3f} of {judged.windows:,} labelled {of}"
        )
    console.table(
        ["class", of, "share"],
        [(format_heading(name), number, f"{number / max(total, 1):.1%}") for name, number in counts.items() if number],
    )
    prepared = answers.prepared
    # Of rows that have met in one time there is one.
    missing = (len(prepared.table.ids) if answers.by_series else int(prepared.grid.known.sum())) - total
    if missing:
        why = "it holds no value" if answers.by_series else "no whole window with a value ends there"
        console.show(f"{missing:,} {of} without a class: {why}")
    if answers.unknown:
        names = format_names(list(map(format_heading, answers.unknown)))
        console.show(f"{format_count(len(answers.unknown), 'label')} unknown to the run and not judged: {names}")
