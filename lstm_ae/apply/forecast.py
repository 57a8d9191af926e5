"""Forecast the continuation of each series of a table with a trained run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.run_table import LoadedRun, TableRequest, grid_run_table, read_run_table, run_config, too_few_rows
from lstm_ae.arrays import Array, Int64Array
from lstm_ae.checks.table import collect_new_table_warnings
from lstm_ae.config import Reading, Series
from lstm_ae.config.reading import TimeStep
from lstm_ae.data.calendar import calendar_values
from lstm_ae.data.columns import split_id_columns
from lstm_ae.data.grid import future_times, require_static
from lstm_ae.data.panel import Panel, run_bounds
from lstm_ae.data.preparation import KnownFuture, PreparedTable, read_known_future
from lstm_ae.data.scaling import SeriesScales
from lstm_ae.data.time_zones import format_time, format_times
from lstm_ae.detection.events import true_ranges
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.forecasting.baselines import season_name, seasonal_naive
from lstm_ae.forecasting.intervals import (
    MIN_ERRORS,
    RECENT_FORECASTS,
    ErrorQuantiles,
    RecentErrors,
    adaptation_spacing,
    forecast_intervals,
    relative_errors,
)
from lstm_ae.formatting import format_count, format_heading, format_headings, format_names, quote
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.models.rollout import Rollout
from lstm_ae.table_files import TableColumns

BATCH_WINDOWS = 1024


@dataclass(frozen=True)
class RunForecaster(LoadedRun):
    """The forecaster of a run.

    Args:
        rollout: The forecasts of the model.
        calibration: The calibration of the intervals.
        seasons: The season of each column, see `lstm_ae.forecasting.baselines.Baselines`.
        known_until: The time of the last row that the run was trained or selected on, nanoseconds in UTC; None if its
            rows had no dates.
    """

    rollout: Rollout
    calibration: ErrorQuantiles
    seasons: tuple[int | None, ...]
    known_until: int | None = None

    @property
    def recent_steps(self) -> int:
        """Number of steps before the end of a series that the widths of its intervals depend on."""
        config = self.config
        assert config.window is not None
        assert config.horizon is not None
        return RECENT_FORECASTS * adaptation_spacing(config.horizon) + config.window + config.horizon


class TableForecast(NamedTuple):
    """Forecasts for every series of a table that ends with a complete window.

    Args:
        table: The table.
        ids: `(n,)` indices of the series in `table.ids`.
        skipped: Names of the skipped series, which have a long gap or too few rows before their end.
        timed: Whether the forecast steps have times.
        times, ahead: `(n, window)` and `(n, horizon)` int64 nanoseconds in UTC, or row numbers.
        past: `(n, window, features)` in the data's units, NaN where missing.
        future, naive: `(n, horizon, targets)` forecasts of the model and of the baseline; NaN where the column has
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
    features = len(calibration.quantiles)
    seasons = run.metrics().get("seasons", [config.season] * features)
    allowed = [None, *range(2, (config.window or 0) + 1)]
    if not isinstance(seasons, list) or len(seasons) != features or not all(season in allowed for season in seasons):
        raise DataError(
            f"The metrics.json of {run.name!r} is damaged at 'seasons'; train a new run", code=Code.RUN_DAMAGED
        )
    scales = SeriesScales(calibration.scale, run.symbols)
    until = run.training_period and run.training_period[1]
    return RunForecaster(config, scales, Rollout(run.network()), calibration, tuple(seasons), until)


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


def count_steps(config: Series, horizon: int | None) -> int:
    """Return the number of steps to forecast.

    Raises:
        ConfigError: If `horizon` is not between 1 and 100,000 steps.
    """
    steps = config.horizon if horizon is None else horizon
    assert steps is not None
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or not 1 <= steps <= 100_000:
        raise ConfigError(f"--horizon must be 1 to 100,000. Received: {steps!r}")
    return int(steps)


def find_last_windows(prepared: PreparedTable) -> Int64Array:
    """Return the last grid row of each series that ends with a complete window, `(n,)`."""
    grid, window = prepared.grid, prepared.window
    last = np.array([end - 1 for _, end in run_bounds(grid.series)])
    complete = np.array([row >= window - 1 and grid.segment[row] == grid.segment[row - window + 1] for row in last])
    ends: Int64Array = last[complete & grid.valued[last]]
    return ends


def forecast_table(
    forecaster: RunForecaster,
    prepared: PreparedTable,
    *,
    horizon: int | None = None,
    levels: tuple[int, ...] = (),
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
    steps = count_steps(config, horizon)
    grid, table = prepared.grid, prepared.table
    series = grid.series if prepared.plan is None else np.r_[grid.series, prepared.plan.series]
    last = find_last_windows(prepared)
    if not len(last):
        raise too_few_rows(prepared, window, place=" at the end of a series")
    rows = last[:, None] + np.arange(-window + 1, 1)
    past = grid.values[rows]
    if config.scale == "window" and np.isnan(past).any():
        raise DataError(
            f"{table.name} has missing values in its last {window} rows, which --scale window cannot read",
            code=Code.MISSING_VALUES,
        )
    timed = _has_future_times(prepared)
    # The network computes whole blocks, whose known covariates also affect the steps before the end of the horizon.
    read = forecaster.rollout.read_steps(steps)
    if timed:
        ahead = future_times(table, grid.series[last], grid.times[last], prepared.step, read)
    else:
        ahead = last[:, None] + np.arange(1, read + 1)
    known = _require_known_future(prepared, config, last, ahead, steps) if config.known_future else None
    covariates = [] if known is None else [known.values]
    if config.static_cols:
        require_static(grid.take(last), config.static_cols)
        places = [table.layout.values.index(name) for name in config.static_cols]
        covariates.append(np.repeat(grid.values[last][:, None, places], read, axis=1))
    if config.calendar:
        covariates.append(calendar_values(config.calendar, ahead, grid.zone))
    ahead = ahead[:, :steps]
    lines = forecaster.scales.lines(prepared.grid)[last]
    future = forecaster.rollout(
        past, lines, steps, known=np.concatenate(covariates, axis=2) if covariates else None, size=BATCH_WINDOWS
    )
    targets = past[..., : future.shape[2]]
    naive = seasonal_naive(targets, steps, forecaster.seasons)
    # A column without a value in the window has no basis for a forecast.
    unknown = np.broadcast_to(np.isnan(targets).all(axis=1, keepdims=True), future.shape)
    future, naive = (np.where(unknown, np.float32(np.nan), values) for values in (future, naive))
    intervals = {}
    if levels:
        widths = _interval_widths(forecaster, prepared, last)
        intervals = forecast_intervals(forecaster.calibration, widths, future, past, levels, lines)
    return TableForecast(
        table,
        grid.series[last].astype(np.int64),
        tuple(table.ids[place] for place in np.setdiff1d(series, grid.series[last])),
        timed,
        grid.times[rows] if timed else rows,
        ahead,
        past,
        future,
        naive,
        season_name(forecaster.seasons),
        intervals,
        config.horizon,
        (
            *collect_new_table_warnings(prepared, symbols=forecaster.scales.names),
            *(_describe_missing_intervals(forecaster.calibration.quantiles[:, :steps], table) if levels else ()),
            *([] if known is None else _describe_missing_steps(known, config.known_future, steps)),
        ),
    )


def _interval_widths(forecaster: RunForecaster, prepared: PreparedTable, last: Int64Array) -> Array:
    """Return the widths of the intervals around the forecasts after the given rows, `(n, horizon, targets)`.

    They follow the errors of earlier forecasts within each series.
    """
    quantiles, lines = forecaster.calibration.quantiles.swapaxes(0, 1), forecaster.scales.lines(prepared.grid)
    horizon, targets, _ = quantiles.shape
    widths = np.ones((len(last), horizon, targets))
    for place, row in enumerate(last):
        starts = _recent_windows(forecaster, prepared, int(row))
        if not len(starts):
            continue
        errors = _forecast_errors(forecaster, prepared, starts, lines[starts])
        origins, group = starts + prepared.window - 1, np.zeros_like(starts)
        known = origins[:, None] + np.arange(1, horizon + 1)
        recent = RecentErrors(relative_errors(errors, quantiles), origins, known, group, adaptation_spacing(horizon))
        widths[place] = recent.track().at(row[None], group[:1])[0]
    return widths


def _forecast_errors(forecaster: RunForecaster, prepared: PreparedTable, starts: Int64Array, lines: Array) -> Array:
    """Return the errors of the forecasts from windows of one series, `(windows, horizon, targets)`, scaled.

    Each series is computed on its own, so that its intervals do not depend on the other series of the table.
    """
    targets, horizon, _ = forecaster.calibration.quantiles.shape
    scale = forecaster.scales.scale
    window = prepared.grid.values[starts[:, None] + np.arange(prepared.window + horizon)]
    past, known = window[:, : prepared.window], prepared.grid.layout.covariates.known
    ahead = window[:, prepared.window :, window.shape[2] - known :] if known else None
    future = forecaster.rollout(past, lines, horizon, known=ahead, size=len(starts))
    truth = scale.scaled(window, past, lines)[:, prepared.window :, :targets]
    # A column without a value in the window has no forecast.
    unknown = np.isnan(past[..., :targets]).all(axis=1, keepdims=True)
    return np.where(unknown, np.nan, truth - scale.scaled(future, past, lines))


def _recent_windows(forecaster: RunForecaster, prepared: PreparedTable, last: int) -> Int64Array:
    """Return the first grid rows of the latest windows whose horizons end by a row of the same segment.

    Their true values are later than all rows that the run was trained or selected on. The array is empty without dates.
    """
    grid, horizon = prepared.grid, int(forecaster.calibration.quantiles.shape[1])
    until = forecaster.known_until
    if until is None or not prepared.table.layout.dated:
        return np.zeros(0, np.int64)
    begin = int(np.searchsorted(grid.segment, grid.segment[last]))
    begin = max(begin, last + 1 - forecaster.recent_steps)
    starts = np.arange(begin, last - prepared.window - horizon + 2)
    starts = starts[grid.times[starts + prepared.window] > until]
    return starts[::-1][:: adaptation_spacing(horizon)][:RECENT_FORECASTS][::-1]


def _require_known_future(
    prepared: PreparedTable, config: Reading, last: Int64Array, ahead: Array, steps: int
) -> KnownFuture:
    """Return the known covariates of the steps that the network reads, up to the end of the plan.

    Args:
        prepared: The table.
        config: The configuration of the run.
        last: `(n,)` last grid row of each series to forecast.
        ahead: `(n, read steps)` times or row numbers of the steps.
        steps: Number of steps to forecast.

    Raises:
        DataError: If a value is missing in a step to forecast. Steps without a row are allowed between others, as in
            the training, up to the longest gap within a window.
    """
    table, grid, read = prepared.table, prepared.grid, ahead.shape[1]
    # The last step to forecast may be in a gap, such as a weekend, that a later row ends.
    known_steps = max(read, steps + prepared.max_gap)
    known = read_known_future(prepared, config.known_future, last, known_steps, config.duplicates)
    columns = format_names([quote(name) for name in config.known_future])
    for place, row in enumerate(last):
        present = known.present[place]
        missing = present & np.isnan(known.values[place]).any(axis=1)
        absent = [begin for begin, end in true_ranges(~present).tolist() if end - begin > prepared.max_gap]
        step = min([*np.flatnonzero(missing).tolist(), *absent], default=steps)
        if step < steps:
            name = table.name + (f", series {quote(table.ids[grid.series[row]])}" if len(table.ids) > 1 else "")
            timed = _has_future_times(prepared)
            first, until = (f" ({format_time(int(ahead[place, k]), table.zone)})" * timed for k in (step, steps - 1))
            raise DataError(
                f"{name}: the known future of {columns} has no value at step {step + 1}{first}. Add values up to step "
                f"{steps:,}{until}, or pass a shorter --horizon",
                code=Code.MISSING_VALUES,
            )
    return KnownFuture(known.values[:, :read], known.present[:, :read])


def _has_future_times(prepared: PreparedTable) -> bool:
    """Return whether the times of future rows are known, which needs a regular sampling interval."""
    return prepared.table.layout.time is not None and prepared.step != TimeStep()


def _describe_missing_steps(known: KnownFuture, columns: Sequence[str], steps: int) -> list[str]:
    """Return a note on steps of the known future of columns without a row; an empty list if there are none."""
    missing = int((~known.present[:, :steps]).sum())
    names = format_headings(columns)
    text = f"{format_count(missing, 'step')} of the known future of {names} have no row and count as missing"
    return [text] if missing else []


def _describe_missing_intervals(quantiles: Array, table: Panel) -> list[str]:
    """Return a note that names the columns with steps without an interval; an empty list if there are none."""
    names = [format_heading(table.layout.targets[k]) for k in np.flatnonzero(np.isinf(quantiles).any(axis=(1, 2)))]
    if not names:
        return []
    return [
        f"{format_names(names)} {'has' if len(names) == 1 else 'have'} steps without an interval, which "
        f"needs {MIN_ERRORS} validation errors. Train with more rows, or with a larger validation share of --split"
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
    if "step" in (*columns, *layout.targets):
        raise ConfigError(
            "The table has a column 'step', the name of an output column. Rename it", code=Code.TABLE_HEADER
        )
    columns["step"] = np.tile(np.arange(1, horizon + 1), len(forecast.ids))
    for k, name in enumerate(layout.targets):
        columns[name] = forecast.future[..., k].ravel()
        columns[f"{name} {forecast.baseline}"] = forecast.naive[..., k].ravel()
        for level, (low, high) in forecast.intervals.items():
            columns[f"{name} low_{level}"] = low[..., k].ravel()
            columns[f"{name} high_{level}"] = high[..., k].ravel()
    return columns
