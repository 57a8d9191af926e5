"""Dates and times of day in two columns: joined if they belong together, and never used as series names."""

import datetime
import io
import pathlib
from typing import Any

import numpy as np
import pytest
from run_tables import read_prepared

from lstm_ae.config import Reading, Series
from lstm_ae.data.checks import inspect_table
from lstm_ae.data.frames import row_id_columns
from lstm_ae.data.panel import Panel
from lstm_ae.data.stream import read_incoming
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.studies.series import defaults

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
def test_the_time_of_day_is_joined_to_the_date(names: str, date: str, clock: str) -> None:
    of_hours(f"{names};a;b", date, clock)
    table, column = read(), names.split(";")[1]
    assert hours(table) == HOURS.tolist()
    assert (table.layout.clock, table.layout.values) == (column, ("a", "b"))
    assert table.layout.inferred["clock_col"] == f"{column!r}, as it holds the time of day"
    found = inspect_table(Reading(data="t.csv", window=4))
    assert found.usable
    assert str(found.step) == "1h"
    assert (found.findings, found.others) == ((), {})


def test_clock_column_may_precede_the_date_or_be_given_by_option() -> None:
    hour = [str(h).replace("T", " ").split() for h in np.datetime_as_string(HOURS, "m")]
    written("Time,a,Date", [f"{clock},{k},{date}" for k, (date, clock) in enumerate(hour)])
    assert hours(read()) == HOURS.tolist()
    assert hours(read(time_zone="Europe/Berlin"))[0] == HOURS[0] - np.timedelta64(1, "h")
    written("from,to,a,Date", [f"{clock},23:59,{k},{date}" for k, (date, clock) in enumerate(hour)])
    assert hours(read(clock_col="from")) == HOURS.tolist()
    written("c1,c2,c3", [])
    path = written(f"{hour[0][0]},{hour[0][1]},1", [f"{date},{clock},{k}" for k, (date, clock) in enumerate(hour[1:])])
    with pytest.raises(DataError, match="--columns time,clock,c3"):
        read(path)
    assert hours(read(path, columns=("time", "clock", "c3"))) == HOURS.tolist()


def test_check_suggests_clock_column_for_duplicate_timestamps() -> None:
    of_hours("Date;from;a;b")
    finding = inspect_table(Reading(data="t.csv")).findings[0]
    assert finding.text.startswith("92 rows with a duplicate timestamp")
    assert finding.fixes == ({"clock_col": "from"}, {"duplicates": "mean"})
    assert inspect_table(Reading(data="t.csv", clock_col="from", window=4)).usable
    with pytest.raises(DataError, match=r"Add --clock-col 'from'; or .*--duplicates mean"):
        defaults.load_complete(Series(data="t.csv", freq="1d"))
    written("Date,from,a", [f"2024-01-01,{k:02}:00,{k % 3}" for k in range(24)])
    assert {"clock_col": "from"} in inspect_table(Reading(data="t.csv")).findings[0].fixes
    written("Date,Hour,a", [f"{str(h)[:10]},{int(str(h)[11:13])},{k % 3}.5" for k, h in enumerate(HOURS)])
    finding = inspect_table(Reading(data="t.csv")).findings[0]
    assert finding.fixes == ({"clock_col": "Hour"}, {"duplicates": "mean"})
    found = inspect_table(Reading(data="t.csv", clock_col="Hour", window=4))
    assert found.usable
    assert (str(found.step), found.table.layout.values) == ("1h", ("a",))
    assert found.table.times.view("datetime64[ns]").astype("datetime64[h]").tolist() == HOURS.tolist()


@pytest.mark.parametrize("heading", ["Time", "sunrise"])
def test_clock_column_is_not_joined_to_unique_dates(heading: str) -> None:
    """A time of day can be a value, such as a sunrise or a duration; several series may share dates."""
    days = np.datetime_as_string(np.datetime64("2024-01-01") + np.arange(60))
    rows = [f"{name},{day},0{7 - k // 30}:{k % 60:02},{k % 7}" for name in "xy" for k, day in enumerate(days)]
    written(f"place,Date,{heading},a", rows)
    table = read(id_col=("place",))
    assert table.layout.clock is None
    assert table.times[:60].astype("datetime64[ns]").astype("datetime64[m]").astype(str).tolist() == [
        f"{day}T00:00" for day in days
    ]
    written(f"place,Date,{heading},a", rows[:60])
    assert read().layout.clock is None


def test_clock_column_is_not_joined_to_full_timestamps_or_months() -> None:
    rows = [f"{np.datetime_as_string(h, 'm')},0{k % 9}:30,{k}" for k, h in enumerate(HOURS)]
    written("time,Time of day,a", rows)
    assert (hours(read()), read().layout.clock) == (HOURS.tolist(), None)
    written("time,Time,a", [f"2024-{1 + k // 4:02},0{k % 4}:00,{k}" for k in range(20)])
    assert read().layout.clock is None, "a month is no day"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2024-01-03,,1", "line 98, column 'Date': the time is missing"),
        ("2024-01-03,NA,1", "line 98, column 'Date': the time is missing"),
        (",01:00,1", "line 98, column 'Date': the time is missing"),
        ("2024-01-03,24:00,1", "line 98, column 'Date': '2024-01-03 24:00' is not a moment"),
        ("2024-01-03 01:00,02:00,1", "line 98, column 'Date': '2024-01-03 01:00 02:00' is not a time"),
    ],
)
def test_row_without_a_valid_date_and_time_of_day_is_rejected(row: str, problem: str) -> None:
    rows = [f"{str(h)[:10]},{str(h)[11:]}:00,{k}" for k, h in enumerate(HOURS)]
    written("Date,Time,a", [*rows, row])
    with pytest.raises(DataError, match=problem):
        read(clock_col="Time", time_col="Date")


@pytest.mark.parametrize(
    ("header", "row", "options", "problem"),
    [
        ("Date,a", "2024-01-03,1", {"clock_col": "x"}, "--clock-col names 'x', no column"),
        ("x,a", "7,1", {"clock_col": "x"}, "--clock-col needs a column of dates, and no column holds dates"),
        ("t,x,a", "2024-01-03 01:00,02:00,1", {"clock_col": "x"}, "'t' does not hold only dates. Leave it out"),
        ("t,x,a", "2024-01-03,02:00,1", {"clock_col": "x", "id_col": ("x",)}, "--clock-col and --id-col both name 'x'"),
        (
            "Date,Time,a",
            "2024-01-03,02:00,1",
            {"time_col": "Time"},
            "'02:00', a time of day",
        ),
        (
            "Date,x,a",
            "2024-01-03,noon,1",
            {"clock_col": "x"},
            "Its first cell is '2024-01-03 noon'",
        ),
    ],
)
def test_clock_col_rejects_columns_that_cannot_be_joined(
    header: str, row: str, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=problem):
        read(written(header, [row]), **options)


def test_run_stores_clock_col_for_tables_and_streams() -> None:
    of_hours("Date;Time;a;b")
    config = defaults.load_complete(Series(data="t.csv", window=4)).config
    assert (config.time_col, config.clock_col, config.freq, config.date_order) == ("Date", "Time", "1h", "dmy")
    table = read_prepared(config, "t.csv")
    # Stream one row at a time, so that the first rows allow no inference.
    rows = pathlib.Path("t.csv").read_text().splitlines(keepends=True)
    pieces = iter([*(row.encode() for row in rows), b""])
    _, chunks = read_incoming(lambda size: next(pieces), "standard input", config)
    assert np.concatenate([chunk.times for chunk in chunks]).tolist() == table.table.times.tolist()
    # Written times can be read again.
    cells = row_id_columns(table)["Date"].tolist()
    again = written("Date,a,b", [f"{cell},{k},1" for k, cell in enumerate(cells)], "again.csv")
    assert read_prepared(config, again).table.times.tolist() == table.table.times.tolist()
    _, chunks = read_incoming(io.BytesIO(pathlib.Path(again).read_bytes()).read, "standard input", config)
    assert np.concatenate([chunk.times for chunk in chunks]).tolist() == table.table.times.tolist()
    days = written("Date,a,b", [f"0{k + 1}/02/2024,{k},1" for k in range(9)], "days.csv")
    with pytest.raises(ConfigError, match="--clock-col names 'Time', no column"):
        read_prepared(config, days)


@pytest.mark.parametrize("kind", ["days", "moments", "text"])
@pytest.mark.parametrize("clock", ["times", "text"])
def test_time_of_day_in_parquet_is_joined_to_the_date(kind: str, clock: str) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    moments = [hour.astype(datetime.datetime) for hour in HOURS]
    days: dict[str, Any] = {
        "days": pyarrow.array([moment.date() for moment in moments]),
        "moments": pyarrow.array([moment.replace(hour=0) for moment in moments]),
        "text": pyarrow.array([f"{moment:%d.%m.%Y}" for moment in moments]),
    }
    clocks: dict[str, Any] = {
        "times": pyarrow.array([moment.time() for moment in moments]),
        "text": pyarrow.array([f"{moment:%H:%M}" for moment in moments]),
    }
    columns = {"Date": days[kind], "Time": clocks[clock], "a": np.arange(96.0)}
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    table = read("t.parquet")
    assert (hours(table), table.layout.clock) == (HOURS.tolist(), "Time")
    columns["Time"] = pyarrow.array([*clocks[clock].to_pylist()[:-1], None], clocks[clock].type)
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    with pytest.raises(DataError, match="row 96, column 'Date': the time is missing"):
        read("t.parquet")
