"""Future times of a table by calendar and time zone, with hand-computed values."""

import datetime
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae.config import Reading
from lstm_ae.config.reading import TimeStep, parse_step
from lstm_ae.data.frames import RowCodes, panel_from_rows
from lstm_ae.data.grid import future_times
from lstm_ae.data.panel import Panel
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import format_times

BERLIN = "Europe/Berlin"


def table_of(times: Any, zone: str | None = None, series: list[str] | None = None) -> Panel:
    """Return a table whose times are local times of a zone."""
    index = pd.DatetimeIndex(times)
    index = index if zone is None else index.tz_localize(zoneinfo.ZoneInfo(zone))
    names = sorted(set(series or [""]))
    places = np.array([names.index(name) for name in series or [""] * len(index)], np.int32)
    marked = None if series is None else RowCodes(("id",), places, tuple(names))
    found = panel_from_rows(np.zeros((len(index), 1)), ["a"], index, series=marked)
    return found._replace(zone=None if zone is None else zoneinfo.ZoneInfo(zone))


def test_future_times_of_a_counter_continue_after_the_last_step() -> None:
    Path("t.csv").write_text("n,a\n" + "".join(f"{10 * k},{k}\n" for k in range(9)))
    table = read_panel(Reading(data="t.csv", time_col="n", time_zone=None))
    ahead = future_times(table, np.array([0]), table.times[-1:], TimeStep(steps=10), 3)
    assert ahead.tolist() == [[90, 100, 110]]
    assert format_times(ahead[0], table.zone).tolist() == [90, 100, 110]
    assert table.axis(ahead[0]).dtype == np.float64


def following(table: Panel, freq: str, horizon: int = 3) -> list[list[str]]:
    """Return the future local times of each series; midnight is shown as the date alone."""
    last = np.flatnonzero(np.r_[table.series[1:] != table.series[:-1], True])
    step = parse_step(freq)
    assert step is not None
    ahead = future_times(table, table.series[last], table.times[last], step, horizon)
    assert ahead.shape == (len(last), horizon)
    told = [pd.DatetimeIndex(row.view("datetime64[ns]"), tz="UTC").tz_convert(table.zone or "UTC") for row in ahead]
    return [[f"{moment:%Y-%m-%d %H:%M}".removesuffix(" 00:00") for moment in row] for row in told]


@pytest.mark.parametrize(
    ("times", "freq", "expected"),
    [
        (["2024-01-31 06:00"], "1mo", ["2024-02-29 06:00", "2024-03-31 06:00", "2024-04-30 06:00"]),
        (["2024-02-28 23:00"], "1h", ["2024-02-29", "2024-02-29 01:00", "2024-02-29 02:00"]),
        (["2024-03-31 23:59", "2024-04-30 23:59"], "1mo", ["2024-05-31 23:59", "2024-06-30 23:59", "2024-07-31 23:59"]),
        (["2023-11-30", "2024-02-29"], "3mo", ["2024-05-31", "2024-08-31", "2024-11-30"]),
        (["2023-02-28", "2024-02-29"], "1y", ["2025-02-28", "2026-02-28", "2027-02-28"]),
        # Not all are last days of a month, but all are the 30th, or the last day if there is no 30th.
        (["2024-01-30", "2024-02-29"], "1mo", ["2024-03-30", "2024-04-30", "2024-05-30"]),
        # The last working days share no day of the month.
        (["2024-02-29", "2024-03-29", "2024-04-30"], "1mo", ["2024-05-30", "2024-06-30", "2024-07-30"]),
    ],
)
def test_future_times_follow_the_calendar(times: list[str], freq: str, expected: list[str]) -> None:
    assert following(table_of(times), freq) == [expected]
    for zone in ("UTC", BERLIN, "Pacific/Auckland", "America/Los_Angeles"):
        assert following(table_of(times, zone), freq) == [expected], zone


@pytest.mark.parametrize(
    ("times", "freq", "expected"),
    [
        (["2024-03-29 12:00", "2024-03-30 12:00"], "1d", ["2024-03-31 12:00", "2024-04-01 12:00", "2024-04-02 12:00"]),
        (["2024-09-01", "2024-10-01"], "1mo", ["2024-11-01", "2024-12-01", "2025-01-01"]),
        # 02:30 does not exist on 2024-03-31, and 02:00 occurs twice on 2024-10-27.
        (["2024-03-29 02:30", "2024-03-30 02:30"], "1d", ["2024-03-31 03:30", "2024-04-01 02:30", "2024-04-02 02:30"]),
        (["2024-10-25 02:00", "2024-10-26 02:00"], "1d", ["2024-10-27 02:00", "2024-10-28 02:00", "2024-10-29 02:00"]),
        # Steps in hours are elapsed time.
        (["2024-03-31 00:00", "2024-03-31 01:00"], "1h", ["2024-03-31 03:00", "2024-03-31 04:00", "2024-03-31 05:00"]),
    ],
)
def test_future_times_handle_daylight_saving_changes(times: list[str], freq: str, expected: list[str]) -> None:
    assert following(table_of(times, BERLIN), freq) == [expected]


def test_future_times_use_the_days_of_each_series() -> None:
    names = ["a"] * 2 + ["b"] * 2 + ["c"] * 2
    times = ["2024-01-31", "2024-02-29", "2024-01-29", "2024-02-29", "2024-03-01", "2024-04-01"]
    assert following(table_of(times, BERLIN, names), "1mo", 2) == [
        ["2024-03-31", "2024-04-30"],
        ["2024-03-29", "2024-04-29"],
        ["2024-05-01", "2024-06-01"],
    ]


@given(
    st.dates(datetime.date(1990, 1, 1), datetime.date(2037, 1, 1)),
    st.sampled_from(["D", "W-MON", "MS", "ME", "QE-FEB", "YE"]),
    st.integers(3, 30),
    st.sampled_from([None, BERLIN, "Australia/Lord_Howe", "America/St_Johns"]),
)
def test_future_times_match_pandas_date_range(start: datetime.date, rule: str, rows: int, zone: str | None) -> None:
    freq = {"D": "1d", "W-MON": "1w", "MS": "1mo", "ME": "1mo", "QE-FEB": "3mo", "YE": "1y"}[rule]
    days = pd.date_range(start, periods=rows + 5, freq=rule) + np.timedelta64(12, "h")
    table = table_of(days[:rows], zone)
    assert following(table, freq, 5) == [[f"{day:%Y-%m-%d 12:00}" for day in days[rows:]]]
