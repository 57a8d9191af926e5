"""The widths of the intervals of a forecast follow the errors of forecasts within the table."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from part_runs import SCALES, WINDOW, FunctionRollout, config_of
from scipy import stats

from lstm_ae.apply.forecast import RunForecaster, TableForecast, _forecast_errors, forecast_table
from lstm_ae.apply.run_table import grid_run_table
from lstm_ae.data.frames import RowCodes, panel_from_rows
from lstm_ae.data.panel import Panel
from lstm_ae.forecasting.intervals import QUANTILES, ErrorQuantiles

HORIZON = 2


def persistence(past: Any, lines: Any, steps: int, *, known: Any = None, size: int | None = None) -> Any:
    """Return the last known value; a large one without any, as networks return some value too."""
    present = ~np.isnan(past)
    last = WINDOW - 1 - present[:, ::-1].argmax(axis=1, keepdims=True)
    values = np.where(present.any(axis=1, keepdims=True), np.take_along_axis(past, last, axis=1), 1e6)
    return np.repeat(values, steps, axis=1).astype(np.float32)


def forecaster_of(**options: Any) -> RunForecaster:
    """Return a run whose forecast is the last value, and whose validation errors had a standard deviation of 1."""
    quantiles = np.tile(stats.norm.ppf(QUANTILES), (1, HORIZON, 1))
    config = config_of(task="forecast", horizon=HORIZON, **options)
    calibration = ErrorQuantiles(quantiles, SCALES.scale)
    return RunForecaster(config, SCALES, FunctionRollout(persistence), calibration, (None,), 0)  # type: ignore[arg-type]


def noise(rows: int, size: float, seed: int = 0) -> np.ndarray:
    """Return random numbers; persistence has errors with a standard deviation of `size`."""
    return size / np.sqrt(2) * np.random.default_rng(seed).normal(size=rows)


def table_of(*series: np.ndarray, begin: str = "2026-01-01") -> Panel:
    times = [pd.date_range(begin, periods=len(values), freq="1min") for values in series]
    codes = np.repeat(np.arange(len(series), dtype=np.int32), [len(values) for values in series])
    names = tuple(f"machine {number}" for number in range(len(series)))
    return panel_from_rows(
        np.concatenate(series)[:, None],
        ["value 0"],
        pd.DatetimeIndex(np.concatenate(times), name="time"),
        series=RowCodes(("machine",), codes, names),
    )


def forecast(forecaster: RunForecaster, table: Panel) -> TableForecast:
    return forecast_table(forecaster, grid_run_table(forecaster.config, table), levels=(80, 95))


def widths(forecaster: RunForecaster, *series: np.ndarray) -> np.ndarray:
    """Return the widths of the 80% intervals, `(series, horizon)`, relative to those of the validation errors."""
    low, high = forecast(forecaster, table_of(*series)).intervals[80]
    return (high - low)[..., 0] / (2 * stats.norm.ppf(0.9))


@pytest.mark.parametrize("size", [0.3, 1.0, 4.0])
def test_width_follows_the_errors_within_the_table(size: float) -> None:
    found = widths(forecaster_of(id_col=("machine",)), noise(400, size))
    np.testing.assert_allclose(found, size, rtol=0.35)


def test_width_is_that_of_the_validation_errors_without_forecasts_within_the_table() -> None:
    few = noise(WINDOW + HORIZON - 1, 9.0)
    np.testing.assert_allclose(widths(forecaster_of(id_col=("machine",)), few), 1, rtol=1e-6)


def test_both_levels_have_the_same_width() -> None:
    ends = forecast(forecaster_of(id_col=("machine",)), table_of(noise(400, 4.0))).intervals
    ratios = [float((high - low)[0, 0, 0]) / stats.norm.ppf(0.5 + level / 200) for level, (low, high) in ends.items()]
    assert ratios[0] == pytest.approx(ratios[1])


def test_series_do_not_affect_each_other() -> None:
    forecaster = forecaster_of(id_col=("machine",))
    calm, wild = noise(400, 0.3), noise(400, 4.0, seed=1)
    together = widths(forecaster, calm, wild, calm[:2], wild[200:])
    alone = [widths(forecaster, each)[0] for each in (calm, wild, wild[200:])]
    np.testing.assert_array_equal(together, alone)


def test_width_follows_the_latest_errors_only() -> None:
    forecaster = forecaster_of(id_col=("machine",))
    values = noise(2000, 4.0)
    values[:1000] = 0
    steps = forecaster.recent_steps
    np.testing.assert_array_equal(widths(forecaster, values), widths(forecaster, values[-steps:]))
    assert (widths(forecaster, values) != widths(forecaster, values[100 - steps :])).all()


def test_width_does_not_follow_errors_up_to_the_last_known_row() -> None:
    values, known = np.r_[noise(200, 0.1), noise(60, 4.0, seed=1)], 200
    forecaster = forecaster_of(id_col=("machine",))
    last = pd.Timestamp("2026-01-01") + pd.Timedelta(known - 1, "min")
    trained = dataclasses.replace(forecaster, known_until=last.value)
    np.testing.assert_array_equal(widths(trained, values), widths(forecaster, values[known - WINDOW :]))


@pytest.mark.parametrize("dated", [True, False])
def test_width_is_constant_without_dates(dated: bool) -> None:
    """A table without dates does not show which of its rows the run was trained on."""
    run = dataclasses.replace(forecaster_of(time_col=None, freq="rows", id_col=()), known_until=0 if dated else None)
    low, high = forecast(run, panel_from_rows(noise(400, 4.0)[:, None], ["value 0"])).intervals[80]
    np.testing.assert_allclose((high - low).ravel() / (2 * stats.norm.ppf(0.9)), 1, rtol=1e-6)


def test_windows_without_a_value_have_no_errors() -> None:
    forecaster = forecaster_of(id_col=("machine",))
    values = noise(20, 4.0)
    values[6:10] = np.nan
    config = dataclasses.replace(forecaster.config, max_gap=10)
    prepared = grid_run_table(config, table_of(values))
    starts = np.arange(len(values) - WINDOW - HORIZON + 1)
    errors = _forecast_errors(forecaster, prepared, starts, np.zeros(len(starts), np.int32))
    expected = [any(start + row not in range(6, 10) for row in range(WINDOW)) for start in starts]
    known = [start + WINDOW not in range(6, 10) for start in starts]
    assert (~np.isnan(errors[:, 0, 0])).tolist() == [a and b for a, b in zip(expected, known, strict=True)]
    assert not all(expected)
