"""Dates and times of day in two columns: refused if they belong together, and never used as series names."""

import datetime
import pathlib
from typing import Any

import numpy as np
import pytest

from lstm_ae.config import Reading
from lstm_ae.data.panel import Panel
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import Code, DataError

HOURS = np.datetime64("2024-01-30T00") + np.arange(96)


def written(header: str, rows: list[str], name: str = "t.csv") -> str:
    pathlib.Path(name).write_text("\n".join((header, *rows)) + "\n")
    return name


def of_hours(header: str, date: str = "%d/%m/%Y", clock: str = "%H:%M:%S", mark: str = ";") -> str:
    """Write a table of `HOURS`."""
    hours = [hour.astype(datetime.datetime) for hour in HOURS]
    return written(
        header, [mark.join((f"{h:{date}}", f"{h:{clock}}", str(k % 7), f"{k % 5}.5")) for k, h in enumerate(hours)]
    )


def read(path: str = "t.csv", **options: Any) -> Panel:
    return read_panel(Reading(data=path, **options))


def hours(table: Panel) -> list[np.datetime64]:
    return table.times.astype("datetime64[ns]").astype("datetime64[h]").tolist()


@pytest.mark.parametrize(
    ("names", "date", "clock"),
    [
        ("Date;Time", "%d/%m/%Y", "%H:%M:%S"),
        ("Datum;Uhrzeit", "%d.%m.%Y", "%H:%M"),
        ("date;Time (UTC)", "%Y-%m-%d", "%I:%M %p"),
        ("day;local_time", "%Y/%m/%d", "%H:%M:%S.000"),
        ("date;hh:mm:ss", "%Y%m%d", "%H:%M:%S"),
        ("Date;Time", "%d/%m/%Y", "%H.%M.%S"),
    ],
)
def test_the_time_of_day_beside_dates_is_refused(names: str, date: str, clock: str) -> None:
    of_hours(f"{names};a;b", date, clock)
    days, times = names.split(";")
    with pytest.raises(DataError) as caught:
        read()
    assert caught.value.code is Code.TIME_VALUE
    assert f"line 1: the column {times!r}" in str(caught.value)
    assert f"frame.pop({days!r}).astype(str) + ' ' + frame.pop({times!r}).astype(str)" in str(caught.value)


@pytest.mark.parametrize("heading", ["Time", "sunrise"])
def test_clock_column_beside_unique_dates_is_left_out(heading: str) -> None:
    """A time of day can be a value, such as a sunrise or a duration; several series may share dates."""
    days = np.datetime_as_string(np.datetime64("2024-01-01") + np.arange(60))
    rows = [f"{name},{day},0{7 - k // 30}:{k % 60:02},{k % 7}" for name in "xy" for k, day in enumerate(days)]
    written(f"place,Date,{heading},a", rows)
    table = read(id_col=("place",))
    assert table.times[:60].astype("datetime64[ns]").astype("datetime64[m]").astype(str).tolist() == [
        f"{day}T00:00" for day in days
    ]
    written(f"place,Date,{heading},a", rows[:60])
    assert len(read().times) == 60


def test_clock_column_beside_full_timestamps_or_months_is_left_out() -> None:
    rows = [f"{np.datetime_as_string(h, 'm')},0{k % 9}:30,{k}" for k, h in enumerate(HOURS)]
    written("time,Time of day,a", rows)
    assert hours(read()) == HOURS.tolist()
    written("time,Time,a", [f"2024-{1 + k // 4:02},0{k % 4}:00,{k}" for k in range(20)])
    assert len(read().times) == 20, "a month is no day"


def test_dates_and_times_of_day_are_refused_in_tables_of_a_run_and_in_parquet() -> None:
    of_hours("Date;Time;a;b")
    options: dict[str, Any] = {"time_col": "Date", "value_cols": ("a",)}
    with pytest.raises(DataError, match="'Time' holds the time of day"):
        read_panel(Reading(data="t.csv", **options), of_run=True)
    # Rows of a day are merged on request only.
    assert len(np.unique(read(duplicates="mean", **options).times)) == 4
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra [parquet] is not installed")
    pyarrow = pytest.importorskip("pyarrow")
    moments = [hour.astype(datetime.datetime) for hour in HOURS]
    columns = {"Date": [m.date() for m in moments], "Time": [m.time() for m in moments], "a": np.arange(96.0)}
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    with pytest.raises(DataError, match="'Time' holds the time of day"):
        read("t.parquet")


def test_time_of_day_alone_is_no_time() -> None:
    with pytest.raises(DataError, match="'02:00', a time of day"):
        read(written("Date,Time,a", ["2024-01-03,02:00,1"]), time_col="Time")
