"""`lstmae series classify`: the class of every row of a table, or of every series."""

from typing import TYPE_CHECKING

import typer

from lstm_ae.formatting import format_heading

from .console import Console
from .options import GivenOptions, RowsRequest, command
from .results import require_table, show_files, show_note
from .training import open_finished_run

if TYPE_CHECKING:
    from lstm_ae.apply.classify import ClassifiedTable


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "classify", "lstmae series classify latest walks.csv --out classes.csv", reads=True)
    def classify(*, request: RowsRequest, given: GivenOptions, console: Console) -> None:
        """Classify each row by the window that ends with it, or each whole series."""
        require_table("--out", request.out, request.data)
        opened = open_finished_run(request.run, console)
        from lstm_ae.apply import classify as classification
        from lstm_ae.apply.run_table import TableRequest, read_run_table
        from lstm_ae.checks.table import collect_new_table_warnings
        from lstm_ae.table_files import write_table

        with console.progress() as bar:
            classifier = classification.load_classifier(opened, given)
            table = read_run_table(classifier.config, TableRequest(request.data, reading=given, progress=bar.reading))
            answers = classification.classify_table(classifier, table)
        show_note(collect_new_table_warnings(answers.prepared), console)
        path = write_table(request.out, classification.class_columns(answers))
        counts = classification.count_classes(answers)
        _show_classes(answers, counts, console)
        show_files(console, {"classes": path})
        console.document(
            {
                "run": opened.directory,
                "of": "series" if answers.by_series else "rows",
                "windows": int(answers.known.sum()),
                "classes": counts,
                "out": path,
            }
        )


def _show_classes(answers: "ClassifiedTable", counts: dict[str, int], console: Console) -> None:
    """Show the number of windows of each class."""
    unit = "series" if answers.by_series else "rows"
    total = sum(counts.values())
    console.table(
        ["class", unit, "share"],
        [(format_heading(name), number, f"{number / max(total, 1):.1%}") for name, number in counts.items() if number],
    )
    prepared = answers.prepared
    # Rows of the same time count once.
    missing = (len(prepared.table.ids) if answers.by_series else int(prepared.grid.known.sum())) - total
    if missing:
        why = "it has no value" if answers.by_series else "no complete window with a value ends there"
        console.show(f"{missing:,} {unit} without a class: {why}")
