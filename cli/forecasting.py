"""`lstmae series forecast`: what follows a table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_ae.config import Series
from lstm_ae.options import checked, declared

from .backend import import_tensorflow
from .options import RunArgument, command
from .results import require_png, require_table, show_files
from .snp import Level, levels
from .talk import Talk

_HORIZON = next(field for field in declared(Series) if field.name == "horizon")
# Lines of the table that is shown.
MOST = 12


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "forecast", "lstmae series forecast latest pump.csv --out next.csv")
    def forecast(
        run: RunArgument,
        data: Annotated[str, typer.Argument(help="The table to go on from, with the columns of the one trained on.")],
        *,
        out: Annotated[
            Path, typer.Option(metavar="<file>", help="The .csv or .parquet file to write, a row for each step ahead.")
        ],
        horizon: Annotated[
            int | None,
            typer.Option(
                metavar="<int>",
                help="Steps to forecast (default: as trained); further ahead the model reads its own forecasts.",
            ),
        ] = None,
        level: Level = "80,95",
        figure: Annotated[
            Path | None, typer.Option(metavar="<file>", help="Where the figure goes (default: into the run).")
        ] = None,
        talk: Talk,
    ) -> None:
        """Forecast what follows a table, from the last rows of every series on."""
        from lstm_ae.run import open_run

        require_table("--out", out)
        if figure is not None:
            require_png(figure)
        asked = levels(level)
        checked(_HORIZON, horizon)
        found = open_run(run, "series")
        metrics = found.metrics()
        import_tensorflow(talk)
        from lstm_ae import outlook
        from lstm_ae.detection import write_table
        from lstm_ae.figures.base import png
        from lstm_ae.files import write

        bar = talk.progress()
        ahead = outlook.forecast_file(found, data, horizon=horizon, levels=asked, progress=bar.reading)
        bar.clear()
        columns = outlook.columns(ahead)
        _show(columns, ahead, talk)
        for part, verdict in metrics.get("verdict", {}).items():
            talk.show(f"Of its training, on {part}: {verdict['text']}")
        drawn = png(outlook.figure(ahead))
        files = {
            "forecast": write_table(out, columns),
            "figure": write(figure, drawn) if figure is not None else found.write_figure("outlook", drawn),
        }
        show_files(talk, files)
        talk.document(
            {
                "run": str(found.directory),
                "series": len(ahead.ids),
                "left_out": list(ahead.short),
                "steps": ahead.future.shape[1],
                "baseline": ahead.baseline,
                **{name: str(path) for name, path in files.items()},
            }
        )


def _show(columns: dict[str, Any], ahead: Any, talk: Talk) -> None:
    """The first lines, what is left out, and how far intervals reach."""
    rows = len(next(iter(columns.values())))
    shown = list(columns)[:8]
    first = f", the first {MOST} lines" if rows > MOST else ""
    more = f", {len(shown)} of {len(columns)} columns" if len(columns) > len(shown) else ""
    talk.show(f"{ahead.table.name}: {ahead.future.shape[1]:,} steps ahead{first}{more}")
    talk.table(shown, [tuple(_plain(columns[name][row]) for name in shown) for row in range(min(rows, MOST))])
    if ahead.short:
        names = ", ".join(ahead.short[:3]) + (", ..." if len(ahead.short) > 3 else "")
        talk.show(f"Left out, without {ahead.past.shape[1]} rows in a row at their end: {names}")
    if ahead.intervals and ahead.future.shape[1] > ahead.known:
        talk.show(f"No intervals after step {ahead.known}: nobody has measured how far off the forecasts are there")


def _plain(cell: Any) -> Any:
    return cell.item() if hasattr(cell, "item") else cell
