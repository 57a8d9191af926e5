"""Calendar features: computed from local times, on circles, and refused where times do not determine them."""

import builtins
import datetime
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.config import Series
from lstm_ae.data.calendar import calendar_columns, calendar_values, weekday_numbers
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import ConfigError

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def nanoseconds(*times: str) -> np.ndarray:
    return np.array(times, "datetime64[ns]").astype(np.int64)


def values(*features: str, times: tuple[str, ...], zone: datetime.tzinfo | None = None) -> np.ndarray:
    return calendar_values(features, nanoseconds(*times), zone)


def test_weekday_numbers_of_dates() -> None:
    days = np.array(["1969-12-31", "1970-01-01", "2024-01-01", "2024-02-29", "2023-12-31"], "datetime64[D]")
    assert weekday_numbers(days).tolist() == [2, 3, 0, 3, 6]


def test_features_are_points_on_a_circle() -> None:
    found = values("hour", times=("2024-01-01T00:00", "2024-01-01T06:00", "2024-01-01T12:00", "1969-12-31T18:00"))
    np.testing.assert_allclose(found, [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-6)
    found = values("weekday", "month", times=("2024-01-01T05:00", "2024-04-08T00:00"))
    np.testing.assert_allclose(found, [[0, 1, 0, 1], [0, 1, 1, 0]], atol=1e-6)
    assert calendar_columns(["weekday", "month"]) == ("weekday sine", "weekday cosine", "month sine", "month cosine")
    assert values("hour", times=()).shape == (0, 2)


def test_features_are_those_of_local_times() -> None:
    """23:00 in UTC is midnight in Berlin in winter, and one o'clock in summer."""
    winter, summer = values("hour", times=("2024-01-01T23:00", "2024-07-01T23:00"), zone=BERLIN)
    np.testing.assert_allclose(winter, [0, 1], atol=1e-6)
    np.testing.assert_allclose(summer, [np.sin(np.pi / 12), np.cos(np.pi / 12)], atol=1e-6)


def test_holidays_of_a_country() -> None:
    pytest.importorskip("holidays")
    times = ("2024-10-03T12:00", "2024-10-02T23:00", "2024-07-04T12:00")
    assert values("holiday:DE", times=times).ravel().tolist() == [1, 0, 0]
    assert values("holiday:DE", times=times, zone=BERLIN).ravel().tolist() == [1, 1, 0]
    assert values("holiday:US", times=times).ravel().tolist() == [0, 0, 1]
    with pytest.raises(ConfigError, match="holiday:QQ: the package holidays does not know this country"):
        values("holiday:QQ", times=times)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "holidays":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"holiday:DE needs the package holidays: .*\[holidays\]"):
        values("holiday:DE", times=("2024-10-03T12:00",))


def grid(step: str, *calendar: str, time: bool = True, **options: Any) -> Any:
    index = pd.date_range("2024-03-30", periods=90, freq=step, name="time")
    frame = pd.DataFrame({"a": np.arange(90.0) ** 2}, index if time else None)
    frame = frame.drop(frame.index[50])
    frame.to_csv("t.csv", index=time)
    config = Series(data="t.csv", task="forecast", window=4, horizon=2, calendar=calendar, max_gap=1, **options)
    return prepare_table(config, read_panel(config)).grid


def test_grid_has_calendar_features_of_missing_rows_too() -> None:
    found = grid("h", "hour", "weekday")
    assert found.layout.known == ("hour sine", "hour cosine", "weekday sine", "weekday cosine")
    assert len(found.values) == 90
    assert np.isnan(found.values[50]).tolist() == [True, False, False, False, False]
    np.testing.assert_array_equal(found.values[:, 1:], calendar_values(["hour", "weekday"], found.times, None))
    # They do not count as values of a row.
    assert not found.is_observed[50]


def test_calendar_uses_the_time_zone_of_the_table() -> None:
    found = grid("h", "hour", time_zone="Asia/Tokyo", time_col="time")
    np.testing.assert_allclose(found.values[0, 1:], [0, 1], atol=1e-6)


def test_calendar_needs_regular_dates() -> None:
    with pytest.raises(ConfigError, match=r"--calendar needs a column of dates, which 't.csv' does not have"):
        grid("h", "hour", time=False)
    with pytest.raises(ConfigError, match="--calendar needs a regular sampling interval"):
        grid("h", "hour", freq="rows")
