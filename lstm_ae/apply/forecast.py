"""Forecast the continuation of each series of a table with a trained run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.apply.run_table import LoadedRun, TableRequest, grid_run_table, read_run_table, run_config, too_few_rows
from lstm_ae.arrays import Array, Int64Array
from lstm_ae.config.reading import TimeStep
from lstm_ae.data.checks import collect_new_table_warnings
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.grid import future_times
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable, SeriesScales
from lstm_ae.data.time_zones import format_times
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.forecasting.baselines import season_name, seasonal_naive
from lstm_ae.forecasting.intervals import MIN_ERRORS, ErrorQuantiles, prediction_intervals, quantile_offsets
from lstm_ae.formatting import format_heading, format_names
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import keras

BATCH_WINDOWS = 1024


@dataclass(frozen=True)
class RunForecaster(LoadedRun):
    """The forecaster of a run.

    Args:
        model: The Keras model.
        error_quantiles: `(features, horizon, 199)` quantiles of the scaled validation errors.
        seasons: The season of each column, see `lstm_ae.forecasting.baselines.TableBaselines`.
    """

    model: "keras.Model"
    error_quantiles: Array
    seasons: tuple[int | None, ...]


class TableForecast(NamedTuple):
    """Forecasts for every series of a table that ends with a complete window.

    Args:
        table: The table.
        ids: `(n,)` indices of the series in `table.ids`.
        skipped: Names of the skipped series, which have a long gap or too few rows before their end.
        timed: Whether the forecast steps have times.
        times, ahead: `(n, window)` and `(n, horizon)` int64 nanoseconds in UTC, or row numbers.
        past: `(n, window, features)` in the data's units, NaN where missing.
        future, naive: `(n, horizon, features)` forecasts of the model and of the baseline; NaN where the column has
            no value in the window.
        baseline: The name of the baseline.
        intervals: Lower and upper bounds by level in percent, each shaped like `future`; NaN after step
            `trained_horizon`.
        trained_horizon: Number of steps that the run was trained to forecast.
        notes: Notes about the table.
    """

    table: Panel
    ids: Int64Array
    skipped: tuple[str, ...]
    timed: bool
    times: Array
    ahead: Array
    past: Array
    future: Array
    naive: Array
    baseline: str
    intervals: dict[int, tuple[Array, Array]]
    trained_horizon: int
    notes: tuple[str, ...] = ()


def load_forecaster(run: ModelStore, reading: JsonMapping | None = None) -> RunForecaster:
    """Load the forecaster of a run.

    Args:
        run: A finished forecasting run.
        reading: Reading options of the tables that differ from the run's.

    Raises:
        ConfigError, DataError: If the run is damaged or is not a forecasting run.
    """
    config = run_config(run, "forecast", reading=reading)
    calibration = run.artifact(ErrorQuantiles)
    quantiles = calibration.quantiles
    features = len(quantiles)
    seasons = run.metrics().get("seasons", [config.season] * features)
    allowed = [None, *range(2, (config.window or 0) + 1)]
    if not isinstance(seasons, list) or len(seasons) != features or not all(season in allowed for season in seasons):
        raise DataError(
            f"The metrics.json of {run.name!r} is damaged at 'seasons'; train a new run", code=Code.RUN_DAMAGED
        )
    return RunForecaster(config, SeriesScales(calibration.scale, run.symbols), run.model(), quantiles, tuple(seasons))


def forecast_file(
    run: ModelStore, request: TableRequest, *, horizon: int | None = None, levels: tuple[int, ...] = ()
) -> TableForecast:
    """Forecast the continuation of a file; see `forecast_table`.

    Args:
        run: A finished forecasting run.
        request: The table, without labels.
        horizon: Steps to forecast.
        levels: Interval levels in percent.
    """
    forecaster = load_forecaster(run, request.reading)
    # Only the last window of each series must be complete.
    prepared = grid_run_table(forecaster.config, read_run_table(forecaster.config, request))
    return forecast_table(forecaster, prepared, horizon=horizon, levels=levels)


def forecast_table(
    forecaster: RunForecaster, prepared: PreparedTable, *, horizon: int | None = None, levels: tuple[int, ...] = ()
) -> TableForecast:
    """Forecast the continuation of a table on its time grid.

    Args:
        forecaster: The forecaster of a run.
        prepared: The table.
        horizon: Steps to forecast; None for the horizon of the run. Beyond that horizon the model reads its own
            forecasts.
        levels: Interval levels in percent.

    Raises:
        ConfigError: If `horizon` is not between 1 and 100,000 steps.
        DataError: If no series ends with a complete window.
    """
    from lstm_ae.models.rollout import Rollout

    config, window = forecaster.config, prepared.window
    assert config.horizon is not None
    steps = config.horizon if horizon is None else horizon
    if not 1 <= steps <= 100_000:
        raise ConfigError(f"--horizon must be 1 to 100,000. Received: {steps}")
    grid, table = prepared.grid, prepared.table
    last = np.flatnonzero(np.r_[grid.series[1:] != grid.series[:-1], True])
    complete = np.array([row >= window - 1 and grid.segment[row] == grid.segment[row - window + 1] for row in last])
    complete &= grid.valued[last]
    if not complete.any():
        raise too_few_rows(table, window, where=" at its end")
    last = last[complete]
    rows = last[:, None] + np.arange(-window + 1, 1)
    past = grid.values[rows]
    if config.scale == "window" and np.isnan(past).any():
        raise DataError(
            f"{table.name} has missing values in its last {window} rows, which --scale window cannot read",
            code=Code.MISSING_VALUES,
        )
    scale, lines = forecaster.scales.scale, forecaster.scales.lines(prepared)[last]
    future = Rollout(forecaster.model)(past, lines, steps, size=BATCH_WINDOWS)
    naive = seasonal_naive(past, steps, forecaster.seasons)
    # A column without a value in the window has no basis for a forecast.
    unknown = np.broadcast_to(np.isnan(past).all(axis=1, keepdims=True), future.shape)
    future, naive = (np.where(unknown, np.float32(np.nan), values) for values in (future, naive))
    scaled, offsets = scale.scaled(future, past, lines), quantile_offsets(forecaster.error_quantiles)
    # Rows without a regular sampling interval have times, but the times of future rows are unknown.
    timed = table.layout.time is not None and prepared.step != TimeStep()
    if timed:
        ahead = future_times(table, grid.series[last], grid.times[last], prepared.step, steps)
    else:
        ahead = last[:, None] + np.arange(1, steps + 1)
    return TableForecast(
        table,
        grid.series[last].astype(np.int64),
        tuple(table.ids[place] for place in np.setdiff1d(grid.series, grid.series[last])),
        timed,
        grid.times[rows] if timed else rows,
        ahead,
        past,
        future,
        naive,
        season_name(forecaster.seasons),
        {level: prediction_intervals(scale, scaled, past, offsets, level, lines) for level in levels},
        config.horizon,
        (
            *collect_new_table_warnings(prepared, symbols=forecaster.scales.names),
            *(_describe_missing_intervals(forecaster.error_quantiles[:, :steps], table) if levels else ()),
        ),
    )


def _describe_missing_intervals(quantiles: Array, table: Panel) -> list[str]:
    """Return a note that names the columns with steps without an interval; an empty list if there are none."""
    names = [format_heading(table.layout.values[k]) for k in np.flatnonzero(np.isinf(quantiles).any(axis=(1, 2)))]
    if not names:
        return []
    return [
        f"{format_names(names)} {'has' if len(names) == 1 else 'have'} steps without an interval: fewer "
        f"than {MIN_ERRORS} "
        "validation errors are known there. Train with more rows, or with a larger validation share of --split"
    ]


def forecast_columns(forecast: TableForecast) -> TableColumns:
    """Return the forecasts as table columns, one row per series and step.

    The columns are series, time, step, and for each value column its forecast, the baseline's forecast, and the two
    bounds of each interval level.

    Raises:
        ConfigError: If the table has a column `step`.
    """
    layout, horizon = forecast.table.layout, forecast.future.shape[1]
    ids = [forecast.table.ids[place] for place in forecast.ids.repeat(horizon)]
    columns: TableColumns = dict(split_id_columns(layout.ids, ids))
    if forecast.timed:
        columns[str(layout.time)] = format_times(forecast.ahead.ravel(), forecast.table.zone)
    if "step" in (*columns, *layout.values):
        raise ConfigError(
            "The table has a column 'step', which the steps ahead are called. Rename it", code=Code.TABLE_HEADER
        )
    columns["step"] = np.tile(np.arange(1, horizon + 1), len(forecast.ids))
    for k, name in enumerate(layout.values):
        columns[name] = forecast.future[..., k].ravel()
        columns[f"{name} {forecast.baseline}"] = forecast.naive[..., k].ravel()
        for level, (low, high) in forecast.intervals.items():
            columns[f"{name} low_{level}"] = low[..., k].ravel()
            columns[f"{name} high_{level}"] = high[..., k].ravel()
    return columns
