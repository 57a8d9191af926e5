"""`lstmae series forecast` and `backtest`: forecast a table, and test a forecaster on earlier periods of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Series
from lstm_ae.config.options import TASK, check_value, declared_options
from lstm_ae.formatting import format_count, format_names

from .backtest import show_backtest
from .console import Console
from .options import (
    OUTPUT,
    Figure,
    Folder,
    FoldJobs,
    Folds,
    GivenOptions,
    Levels,
    NewTable,
    RunArgument,
    Table,
    command,
    named,
    parse_levels,
)
from .results import require_png, require_table, show_files, show_metrics, show_note, show_rows
from .training import open_finished_run

if TYPE_CHECKING:
    from lstm_ae.apply.forecast import TableForecast
    from lstm_ae.json_types import JsonMapping
    from lstm_ae.table_files import TableColumns

_HORIZON = next(field for field in declared_options(Series) if field.name == "horizon")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = "lstmae series backtest pump.csv --folds 2 --epochs 1"

    @command(app, "backtest", example, Series, hide=("data", "task", "split_by", "test"))
    def backtest(
        data: NewTable,
        *,
        folds: Folds = 5,
        out: Folder = None,
        jobs: FoldJobs = 1,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train and test a forecaster on successive periods of time."""
        # The folds are periods of time, also of files whose series are divided by default.
        config = given.config(Series, data=data, task="forecast", split_by=None)
        show_backtest(console, out, folds, jobs, config)

    @command(app, "forecast", "lstmae series forecast latest pump.csv --out next.csv", reads=True)
    def forecast(
        run: RunArgument,
        data: Table,
        *,
        out: Annotated[Path, named("<file>", "Forecasts as a .csv or .parquet file.", OUTPUT)],
        horizon: Annotated[int | None, named("<int>", "Steps to forecast (default: as trained).", TASK)] = None,
        level: Levels = "80,95",
        figure: Figure = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Forecast the rows that follow a table, for every series."""
        levels = parse_levels(level)
        check_value(_HORIZON, horizon)
        require_table("--out", out, data)
        if figure is not None:
            require_png(figure)
        opened = open_finished_run(run, console)
        metrics = opened.metrics()
        from lstm_ae.apply.forecast import forecast_columns, forecast_file
        from lstm_ae.apply.run_table import TableRequest
        from lstm_ae.files import write
        from lstm_ae.table_files import write_table

        with console.progress() as bar:
            request = TableRequest(data, reading=given, progress=bar.reading)
            ahead = forecast_file(opened, request, horizon=horizon, levels=levels)
        columns = forecast_columns(ahead)
        try:
            # Drawing takes longer than a forecast.
            _show_forecast(columns, ahead, metrics, opened.about()["data"]["leaky"], console)
            console.flush()
        finally:
            # A reader of the output may close it early.
            image = _draw(ahead)
            files = {
                "forecast": write_table(out, columns),
                "figure": write(figure, image) if figure is not None else opened.write_figure("outlook", image),
            }
        show_files(console, files)
        console.document(
            {
                "run": opened.directory,
                "series": len(ahead.ids),
                "left_out": list(ahead.skipped),
                "steps": ahead.future.shape[1],
                "baseline": ahead.baseline,
                **files,
            }
        )


def _draw(ahead: "TableForecast") -> bytes:
    """Return the figure as a PNG file; Matplotlib takes longer to import than a forecast."""
    from lstm_ae.apply.figures import forecast_figure
    from lstm_ae.plots.base import png

    return png(forecast_figure(ahead))


def _show_forecast(
    columns: "TableColumns", ahead: "TableForecast", metrics: "JsonMapping", leaky: str, console: Console
) -> None:
    """Show the size of a forecast, the results of the training, the first rows, and the series without a forecast."""
    show_note(ahead.notes, console)
    console.show(
        f"{ahead.table.name}: {format_count(ahead.future.shape[1], 'step')} ahead of "
        f"{format_count(len(ahead.table.layout.targets), 'column')}"
    )
    console.show("Results of the training:")
    show_metrics(console, metrics, leaky)
    show_rows(columns, console)
    if ahead.skipped:
        console.show(
            f"No forecast without {ahead.past.shape[1]} consecutive rows at the end: {format_names(ahead.skipped)}"
        )
    if ahead.intervals and ahead.future.shape[1] > ahead.trained_horizon:
        console.show(f"No intervals after step {ahead.trained_horizon}: there are no validation errors beyond it")
