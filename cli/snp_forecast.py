"""Show the forecasts of `lstmae snp predict`: one day ahead, or many."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lstm_ae.formatting import format_names

from .backend import import_tensorflow
from .console import Console
from .results import show_files, show_metrics, show_rows

if TYPE_CHECKING:
    from pathlib import Path

    from lstm_ae.evaluation import Verdict
    from lstm_ae.experiment import RunWithData
    from lstm_ae.json_types import JsonObject
    from lstm_ae.run import Run
    from lstm_ae.studies.snp.forecasting import PriceForecast

HOLIDAY_NOTE = "the days of the week of a company's rows; holidays are not known"


def show_forecast(
    opened: "RunWithData", console: Console, levels: Sequence[int], horizon: int | None, *, multistep: bool
) -> None:
    """Write the forecasts; show the first of them, the verdict, how far ahead they are useful, and the files.

    Args:
        opened: the opened run. Data without a training split is new to it.
        console: the output.
        levels: levels of the intervals in percent.
        horizon: days to forecast with `multistep`; None for the second half of a window.
        multistep: forecast many days instead of one.
    """
    from lstm_ae.studies.snp.forecasting import ALL_DAYS, forecast_prices

    run, data, new = opened.run, opened.data, opened.data.train.samples == 0
    # Keras computes the networks of prices.
    import_tensorflow(console)
    ahead, store = horizon if multistep else 1, run if new else None
    forecast = forecast_prices(opened.model, data, ahead, all_windows=not multistep, levels=levels, store=store)
    files = _write_files(run, forecast, "forecast" if multistep else "predictions", "-new" * new)
    table, by_day = forecast.table, forecast.evaluation.as_json()
    verdicts, persistence = by_day.pop("verdict", {}), forecast.persistence
    latest = [row for row, actual in enumerate(table["actual"]) if multistep or actual is None]
    if latest:
        show_rows({name: [column[row] for row in latest] for name, column in table.items()}, console)
    last = str(len(by_day))
    split = f"day {last}" if multistep else "new data" if new else "test"
    metrics = {} if multistep or new else run.metrics()
    if not by_day:
        console.show("No window is followed by enough days in this data, so there are no errors")
    else:
        if multistep or new:
            metrics = {split: by_day[last], "verdict": {split: verdicts[last]}}
        if multistep:
            verdict = forecast.evaluation.verdicts[ALL_DAYS]
            console.show(f"Verdict over all days ahead, in {forecast.windows:,} test windows: {verdict}")
        show_metrics(console, metrics, data.source.leaky, compare_by_day(persistence))
    beyond = HOLIDAY_NOTE if None in table["actual"] else ""
    if beyond:
        console.show(f"Dates after the data: {beyond}")
    assert data.test.line is not None
    symbols = {data.symbols[line] for line in set(data.test.line.tolist())}
    if missing := sorted(symbols.difference(table["symbol"][row] for row in latest)):
        console.show(f"Left out, without {data.test.span - 1} consecutive rows at their end: {format_names(missing)}")
    show_files(console, files)
    document: JsonObject = {"leaky": data.source.leaky}
    if multistep:
        steps = [{"step": int(day), "metrics": row, "verdict": verdicts[day]} for day, row in by_day.items()]
        document |= {"steps": steps, "verdict": verdicts.get(ALL_DAYS), "windows": forecast.windows, "dates": beyond}
    else:
        document |= {"metrics": metrics, "verdict": metrics.get("verdict", {}).get(split)}
        document["persistence"] = persistence[ALL_DAYS].as_json() if persistence else None
    console.document(document | files)


def _write_files(run: "Run", forecast: "PriceForecast", title: str, end: str) -> "dict[str, Path]":
    """Write the table and the figures of a forecast, with `end` after their names, and return the paths by title."""
    files = {title: run.write_table(title + end, forecast.table)}
    for path in run.write_figures({name + end: figure for name, figure in forecast.figures.items()}):
        files[path.stem.removesuffix(end).replace("_", " ")] = path
    return files | {"figures": run.directory / "figures", "run": run.directory}


def compare_by_day(persistence: "Mapping[str, Verdict]") -> list[str]:
    """Return lines that compare forecasts with persistence over all days, and say how many days ahead they are better.

    Args:
        persistence: the comparison by day ahead, and over `ALL_DAYS`.
    """
    from lstm_ae.studies.snp.forecasting import ALL_DAYS

    outcomes = [verdict.outcome for day, verdict in persistence.items() if day != ALL_DAYS]
    reach = next((day for day, outcome in enumerate(outcomes) if outcome != "beats"), len(outcomes))
    days = "over all days ahead" if len(outcomes) > 1 else "one day ahead"
    useful = f"Useful up to day {reach} of {len(outcomes)}: significantly better than persistence."
    useless = "Not useful: one day ahead it is not significantly better than persistence."
    return [
        f'Against persistence ("tomorrow = today"), {days}: {persistence[ALL_DAYS]}',
        useful if reach else useless,
    ]
