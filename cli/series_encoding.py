"""`lstmae series encode`, `reconstruct`, and `evaluate`: a table in; a table or measures out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config.options import flag_name
from lstm_ae.errors import Code, ConfigError, DataError

from .console import Console
from .options import GivenOptions, LabelColumn, RowsRequest, RunArgument, command
from .results import require_table, show_files, show_metrics, show_note
from .training import open_finished_run

if TYPE_CHECKING:
    from lstm_ae.apply.encode import RunAutoencoder
    from lstm_ae.data.preparation import PreparedTable
    from lstm_ae.table_files import TableColumns


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "encode", "lstmae series encode latest pump.csv --out codes.csv", reads=True)
    def encode(*, request: RowsRequest, given: GivenOptions, console: Console) -> None:
        """Write the code of the window that ends with each row."""
        from lstm_ae.apply.encode import code_columns

        _write_output(request, given, console, code_columns)

    @command(app, "reconstruct", "lstmae series reconstruct latest pump.csv --out again.csv", reads=True)
    def reconstruct(*, request: RowsRequest, given: GivenOptions, console: Console) -> None:
        """Write the reconstruction of each row, the mean over windows with the row."""
        from lstm_ae.apply.encode import reconstruction_columns

        _write_output(request, given, console, reconstruction_columns)

    @command(app, "evaluate", "lstmae series evaluate latest pump.csv", reads=True)
    def evaluate(
        run: RunArgument,
        data: Annotated[
            str | None, typer.Argument(metavar="DATA", help="Table to evaluate on (default: the training table).")
        ] = None,
        *,
        label_col: LabelColumn = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Evaluate a run and its baselines on another table, or on its own splits."""
        options = [*([] if label_col is None else ["label_col"]), *given]
        if data is None and options:
            raise ConfigError(
                f"{flag_name(options[0])} is for another table. Pass it as DATA", code=Code.OPTION_NOT_APPLICABLE
            )
        opened_run = open_finished_run(run, console)
        from lstm_ae.experiment import open_trained

        if data is None:
            opened = open_trained(opened_run)
            evaluation, leaky = opened.evaluate(), opened.data.source.leaky
            if not evaluation.metrics:
                raise DataError(
                    f"The run {run!r} has no split that it was not trained on. Pass a table: lstmae series evaluate "
                    f"{run} DATA",
                    code=Code.TOO_FEW_ROWS,
                )
        else:
            from lstm_ae.apply.evaluate import evaluate_table
            from lstm_ae.apply.run_table import TableRequest

            notes: list[str] = []
            with console.progress() as bar:
                request = TableRequest(data, label_col, given, bar.reading)
                evaluation = evaluate_table(opened_run, request, notify=notes.append)
            show_note(notes, console)
            leaky = ""
        metrics = evaluation.as_json()
        show_metrics(console, metrics, leaky)
        console.document({"run": opened_run.directory, "data": data, "metrics": metrics})


def _write_output(
    request: RowsRequest,
    given: GivenOptions,
    console: Console,
    columns: Callable[["RunAutoencoder", "PreparedTable"], "TableColumns"],
) -> None:
    """Write the columns that a function computes from the autoencoder of a run and a table."""
    require_table("--out", request.out, request.data)
    opened = open_finished_run(request.run, console)
    from lstm_ae.apply.encode import load_autoencoder
    from lstm_ae.apply.run_table import TableRequest
    from lstm_ae.checks.table import collect_new_table_warnings
    from lstm_ae.table_files import write_table

    autoencoder = load_autoencoder(opened, given)
    with console.progress() as bar:
        table = autoencoder.read(TableRequest(request.data, progress=bar.reading))
    show_note(collect_new_table_warnings(table, symbols=autoencoder.scales.names), console)
    path = write_table(request.out, columns(autoencoder, table))
    rows = len(table.table.lines)
    show_files(console, {"rows": path})
    console.document({"run": opened.directory, "rows": rows, "out": path})
