"""`lstmae series encode`, `reconstruct` and `plot`: a table in, a table or a figure out."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_ae.errors import ConfigError

from .backend import import_tensorflow
from .detecting import ENDINGS
from .options import RunArgument, command
from .results import require_png, show_files
from .talk import Talk

Table = Annotated[str, typer.Argument(metavar="DATA", help="The table, with the columns of the one trained on.")]
Rows = Annotated[Path, typer.Option(metavar="<file>", help="The .csv or .parquet file to write, a row for each row.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "encode", "lstmae series encode latest pump.csv --out codes.csv")
    def encode(run: RunArgument, data: Table, *, out: Rows, talk: Talk) -> None:
        """Write the code of the window that ends with each row; empty where no whole window does."""
        from lstm_ae.tables import code_columns

        _write(run, data, out, talk, code_columns)

    @command(app, "reconstruct", "lstmae series reconstruct latest pump.csv --out again.csv")
    def reconstruct(run: RunArgument, data: Table, *, out: Rows, talk: Talk) -> None:
        """Write every row as the model gives it back, missing values too: the mean over the windows that hold it."""
        from lstm_ae.tables import reconstruction_columns

        _write(run, data, out, talk, reconstruction_columns)

    @command(app, "plot", "lstmae series plot latest pump.csv")
    def plot(
        run: RunArgument,
        data: Table,
        *,
        figure: Annotated[
            Path | None, typer.Option(metavar="<file>", help="Where the figure goes (default: into the run).")
        ] = None,
        talk: Talk,
    ) -> None:
        """Draw a table's columns with what the model gives back of them."""
        from lstm_ae import tables
        from lstm_ae.figures.base import png
        from lstm_ae.files import write

        if figure is not None:
            require_png(figure)
        found, opened = _opened(run, data, talk)
        drawn = png(tables.figure(opened))
        path = write(figure, drawn) if figure is not None else found.write_figure("table", drawn)
        show_files(talk, {"figure": path})
        talk.document({"run": str(found.directory), "figure": str(path)})


def _opened(run: str, data: str, talk: Talk) -> tuple[Any, Any]:
    from lstm_ae.run import open_run

    found = open_run(run, "series")
    found.metrics()
    import_tensorflow(talk)
    from lstm_ae.tables import open_table

    bar = talk.progress()
    opened = open_table(found, data, bar.reading)
    bar.clear()
    return found, opened


def _write(run: str, data: str, out: Path, talk: Talk, columns: Callable[[Any], dict[str, Any]]) -> None:
    if out.suffix not in ENDINGS:
        raise ConfigError(f"--out must end in .csv or .parquet. Received: {str(out)!r}")
    found, opened = _opened(run, data, talk)
    from lstm_ae.files import write_table

    path = write_table(out, columns(opened))
    rows = len(opened.prepared.table.lines)
    show_files(talk, {"rows": path})
    talk.document({"run": str(found.directory), "rows": rows, "out": str(path)})
