"""Dates and times of day in two columns: refused if they belong together, and never used as series names."""

import datetime
import pathlib
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

from lstm_ae.config import Reading
from lstm_ae.data.panel import Panel
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import DataError

HOURS = np.datetime64("2024-01-30T00") + np.arange(96)


def written(header: str, rows: list[str], name: str = "t.csv") -> str:
    pathlib.Path(name).write_text("\n".join((header, *rows)) + "\n")
    return name


def write_hours(header: str) -> None:
    """Write a table of `HOURS`."""
    hours = [hour.astype(datetime.datetime) for hour in HOURS]
    written(header, [f"{hour:%d/%m/%Y;%H:%M:%S};{k % 7};{k % 5}.5" for k, hour in enumerate(hours)])


def read(path: str = "t.csv", **options: Any) -> Panel:
    return read_panel(Reading(data=path, **options))


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


def test_dates_and_times_of_day_are_refused_in_tables_of_a_run_and_in_parquet() -> None:
    write_hours("Date;Time;a;b")
    options: dict[str, Any] = {"time_col": "Date", "value_cols": ("a",)}
    with pytest.raises(DataError, match="'Time' holds the time of day"):
        read_panel(Reading(data="t.csv", **options), of_run=True)
    for dates in ({}, {"time_format": "%d/%m/%Y"}):
        with pytest.raises(DataError, match="'Time' holds the time of day"):
            read(duplicates="mean", **dates)
    # Rows of a day are merged on request only.
    assert len(np.unique(read(duplicates="mean", **options).times)) == 4
    moments = [hour.astype(datetime.datetime) for hour in HOURS]
    columns = {"Date": [m.date() for m in moments], "Time": [m.time() for m in moments], "a": np.arange(96.0)}
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    with pytest.raises(DataError, match="'Time' holds the time of day"):
        read("t.parquet")
