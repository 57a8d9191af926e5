"""Forecast the continuation of each series of a table with a trained run."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Int64Array
from lstm_ae.config import Series
from lstm_ae.config.reading import TimeStep
from lstm_ae.data.checks import collect_new_table_warnings
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.grid import future_times
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.preparation import PreparedTable, SeriesScales, prepare_table
from lstm_ae.data.time_zones import format_times
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.forecasting.baselines import season_name, seasonal_naive
from lstm_ae.forecasting.intervals import MIN_ERRORS, prediction_intervals, quantile_offsets
from lstm_ae.formatting import format_heading, format_names
from lstm_ae.run import Run
from lstm_ae.studies.series.defaults import config_of, read_with_run_config

BATCH_WINDOWS = 1024


class RunForecaster(NamedTuple):
    """The model of a forecasting run, with its scales and error quantiles.

    Args:
        config: The run's settings.
        model: The Keras model.
        levels: The scales of the series.
        spread: `(features, horizon, 199)` quantiles of the scaled validation errors.
        seasons: The season of each column, see `lstm_ae.forecasting.baselines.TableBaselines`.
    """

    config: Series
    model: Any
    levels: SeriesScales
    spread: Array
    seasons: tuple[int | None, ...]


class TableForecast(NamedTuple):
    """Forecasts for every series of a table that ends with a complete window.

    Args:
        table: The table.
        ids: `(n,)` indices of the series in `table.ids`.
        short: Names of the skipped series, which have a long gap or too few rows before their end.
        timed: Whether the forecast steps have times.
        times, ahead: `(n, window)` and `(n, horizon)` int64 nanoseconds in UTC, or row numbers.
        past: `(n, window, features)` in the data's units, NaN where missing.
        future, naive: `(n, horizon, features)` forecasts of the model and of the baseline; NaN where the column has
            no value in the window.
        baseline: The name of the baseline.
        intervals: Lower and upper bounds by level in percent, each shaped like `future`; NaN after step `known`.
        known: Number of steps that the run was trained to forecast.
        remarks: Notes about the table.
    """

    table: Measurements
    ids: Int64Array
    short: tuple[str, ...]
    timed: bool
    times: Array
    ahead: Array
    past: Array
    future: Array
    naive: Array
    baseline: str
    intervals: dict[int, tuple[Array, Array]]
    known: int
    remarks: tuple[str, ...] = ()


def load_forecaster(run: Run) -> RunForecaster:
    """Load the forecaster of a run.

    Raises:
        ConfigError, DataError: If the run is damaged or is not a forecasting run.
    """
    config = config_of(run, "forecast")
    spread, scale = run.spread()
    seasons = run.metrics().get("seasons", [config.season] * len(spread))
    known = [None, *range(2, (config.window or 0) + 1)]
    if not isinstance(seasons, list) or len(seasons) != len(spread) or not all(season in known for season in seasons):
        raise DataError(f"The metrics.json of {str(run.directory)!r} is damaged at 'seasons'; train a new run")
    return RunForecaster(config, run.model(), SeriesScales(scale, run.symbols), spread, tuple(seasons))


def forecast_file(
    run: Run,
    data: str,
    *,
    horizon: int | None = None,
    levels: tuple[int, ...] = (),
    reading: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> TableForecast:
    """Forecast the continuation of a file; see `forecast_table`.

    Args:
        run: A finished forecasting run.
        data: The table, with the columns of the training table in any order.
        horizon: Steps to forecast.
        levels: Interval levels in percent.
        reading: Reading options that differ from the run's, see `settling.read_as`.
    """
    config = config_of(run, "forecast")
    run.spread()  # Report a damaged run before reading a table that may be large.
    config = dataclasses.replace(read_with_run_config(config, reading), data=data, label_col=None)
    table = read_measurements(config, progress, of_run=True)
    return forecast_table(load_forecaster(run), prepare_table(config, table), horizon=horizon, levels=levels)


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
    config, window = forecaster.config, prepared.window
    assert config.horizon is not None
    steps = config.horizon if horizon is None else horizon
    if not 1 <= steps <= 100_000:
        raise ConfigError(f"--horizon must be 1 to 100,000. Received: {steps}")
    grid, table = prepared.grid, prepared.table
    last = np.flatnonzero(np.r_[grid.series[1:] != grid.series[:-1], True])
    held = np.array([row >= window - 1 and grid.segment[row] == grid.segment[row - window + 1] for row in last])
    held &= grid.valued[last]
    if not held.any():
        raise DataError(
            f"{table.name} has no {window} rows in a row at its end, without a long gap, as a window needs; give more "
            "rows"
        )
    last = last[held]
    rows = last[:, None] + np.arange(-window + 1, 1)
    past = grid.values[rows]
    if config.scale == "window" and np.isnan(past).any():
        raise DataError(f"{table.name} has missing values in its last {window} rows, which --scale window cannot read")
    scale, lines = forecaster.levels.scale, forecaster.levels.lines(prepared)[last]
    future = _roll_forecasts(forecaster.model, past, lines, steps)
    naive = seasonal_naive(past, steps, forecaster.seasons)
    # A column without a value in the window has no basis for a forecast.
    unknown = np.broadcast_to(np.isnan(past).all(axis=1, keepdims=True), future.shape)
    future, naive = (np.where(unknown, np.float32(np.nan), values) for values in (future, naive))
    said = scale.scaled(future, past, lines)
    # Rows without a regular sampling interval have times, but the times of future rows are unknown.
    timed = table.layout.time is not None and grid.step != TimeStep()
    if timed:
        ahead = future_times(table, grid.series[last], grid.times[last], grid.step, steps)
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
        {
            level: prediction_intervals(scale, said, past, quantile_offsets(forecaster.spread), level, lines)
            for level in levels
        },
        config.horizon,
        (
            *collect_new_table_warnings(prepared, symbols=forecaster.levels.names),
            *(_describe_missing_intervals(forecaster.spread[:, :steps], table) if levels else ()),
        ),
    )


def _describe_missing_intervals(spread: Array, table: Measurements) -> list[str]:
    """Return a note that names the columns with steps without an interval; an empty list if there are none."""
    names = [format_heading(table.layout.values[k]) for k in np.flatnonzero(np.isinf(spread).any(axis=(1, 2)))]
    if not names:
        return []
    return [
        f"{format_names(names)} {'has' if len(names) == 1 else 'have'} steps without an interval: fewer "
        f"than {MIN_ERRORS} "
        "validation errors are known there. Train with more rows, or with a larger validation share of --split"
    ]


def _roll_forecasts(model: Any, past: Array, lines: NDArray[np.int32], horizon: int) -> Array:
    """Return the model's rollout, `(n, horizon, features)`, in the data's units."""
    import tensorflow as tf

    from lstm_ae.models.inference import input_signature, model_inputs
    from lstm_ae.models.rollout import HORIZON, rollout

    roll = tf.function(rollout(model), input_signature=[input_signature(model), HORIZON])
    found = []
    for start in range(0, len(past), BATCH_WINDOWS):
        piece = slice(start, start + BATCH_WINDOWS)
        given = model_inputs(model, past[piece], lines[piece])
        found.append(roll(given, np.full(len(past[piece]), horizon, np.int32)).numpy())
    return np.concatenate(found)


def forecast_columns(forecast: TableForecast) -> dict[str, Any]:
    """Return the forecasts as table columns, one row per series and step.

    The columns are series, time, step, and for each value column its forecast, the baseline's forecast, and the two
    bounds of each interval level.

    Raises:
        ConfigError: If the table has a column `step`.
    """
    layout, horizon = forecast.table.layout, forecast.future.shape[1]
    found: dict[str, Any] = {}
    found |= split_id_columns(layout.ids, [forecast.table.ids[place] for place in forecast.ids.repeat(horizon)])
    if forecast.timed:
        found[str(layout.time)] = format_times(forecast.ahead.ravel(), forecast.table.zone)
    if "step" in (*found, *layout.values):
        raise ConfigError("The table has a column 'step', which the steps ahead are called. Rename it")
    found["step"] = np.tile(np.arange(1, horizon + 1), len(forecast.ids))
    for k, name in enumerate(layout.values):
        found[name] = forecast.future[..., k].ravel()
        found[f"{name} {forecast.baseline}"] = forecast.naive[..., k].ravel()
        for level, (low, high) in forecast.intervals.items():
            found[f"{name} low_{level}"] = low[..., k].ravel()
            found[f"{name} high_{level}"] = high[..., k].ravel()
    return found


def forecast_figure(forecast: TableForecast, most: int = 4) -> Figure:
    """Plot the first `most` forecasts, one panel per series and column."""
    from lstm_ae.plots.table_forecasts import forecasts as forecasts_figure

    table = forecast.table
    names = table.layout.values
    whole = len(forecast.ids) * len(names)
    panels = [(n, k) for n in range(len(forecast.ids)) for k in range(len(names))][:most]
    which, column = (np.array(places) for places in zip(*panels, strict=True))
    times, ahead = (values[which] for values in (forecast.times, forecast.ahead))
    if forecast.timed:
        times, ahead = table.axis(times), table.axis(ahead)

    def taken(values: Array) -> Array:
        return values[which, :, column]

    return forecasts_figure(
        times,
        taken(forecast.past),
        ahead,
        taken(forecast.future),
        taken(forecast.naive),
        baseline=forecast.baseline,
        names=[table.ids[forecast.ids[n]] for n in which],
        quantities=[names[k] for k in column],
        intervals={level: (taken(low), taken(high)) for level, (low, high) in forecast.intervals.items()},
        zone=table.clock,
        title=f"The first {most} of {whole:,} forecasts, a column of a series each" if whole > most else "",
    )
