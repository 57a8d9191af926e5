"""Databases: each row is read once, and written once; secrets stay secret."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from detectors import detector_of
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import EVENT, drain, lines, monitor_of, opened, use_run

from lstm_ae.config import Reading
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.watch import sql
from lstm_ae.watch.sinks import Message, RefusedMessageError, SinkError
from lstm_ae.watch.sql import Sql, SqlTable

READING = Reading(time_col="time", value_cols=("x",))


@pytest.fixture
def base() -> Iterator[sqlite3.Connection]:
    """Return a connection to `live.db`, which has a table `rows`."""
    connection = sqlite3.connect("live.db", isolation_level=None)
    connection.execute("CREATE TABLE rows (n INTEGER, x REAL, time)")
    with contextlib.closing(connection):
        yield connection


def insert(base: sqlite3.Connection, *rows: tuple[Any, Any]) -> None:
    """Insert rows with their values of the cursor."""
    base.executemany("INSERT INTO rows (n, x) VALUES (?, ?)", rows)


class Reader:
    """Read a source, with a new object for each read, as after a kill."""

    def __init__(self, reading: Reading = READING, **options: Any) -> None:
        self.reading, self.cursor = reading, None
        self.options = {"url": "sqlite:///live.db", "table": "rows", "cursor": "n"} | options

    def open(self) -> Any:
        return Sql(**self.options).open(self.reading)

    def read(self) -> list[str]:
        """Return the values of all records that are there."""
        found = []
        while True:
            with contextlib.closing(self.open()) as source:
                batch = source.read(self.cursor)
            self.cursor = json.loads(json.dumps(batch.cursor))
            found += [record["x"] for record in batch.records]
            if not batch.more:
                return found


def test_records_have_the_columns_of_the_run_and_are_numbered(base: sqlite3.Connection) -> None:
    insert(base, (2, 2), (1, 1), (None, 0))
    source = Reader().open()
    first = source.read(None)
    assert first.records == [{"time": "", "x": f"{number}.0", "n": str(number)} for number in (1, 2)]
    assert list(first.lines) == [1, 2]
    insert(base, (3, None))
    second = source.read(first.cursor)
    assert ([record["x"] for record in second.records], list(second.lines)) == ([""], [3])
    source.close()


@settings(max_examples=12)
@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=6), st.integers(1, 3))
def test_rows_of_any_times_are_read_once(groups: list[list[int]], limit: int) -> None:
    """Rows of one time are stored together, and there are more of them than in a batch."""
    Path("live.db").unlink(missing_ok=True)
    base = sqlite3.connect("live.db", isolation_level=None)
    base.execute("CREATE TABLE rows (n INTEGER, x INTEGER, time)")
    reader, last, found, expected = Reader(), 0, list[str](), list[str]()
    with contextlib.closing(base), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "BATCH_RECORDS", limit)
        for group in groups:
            insert(base, *((last + 1 + step, last + 1 + step) for step in group))
            expected += [str(last + 1 + step) for step in sorted(group)]
            last += 1 + max(group, default=0)
            found += reader.read()
    assert found == expected


def test_too_many_rows_of_one_value_are_an_error(base: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BATCH_RECORDS", 2)
    monkeypatch.setattr(sql, "MAX_TIES", 3)
    insert(base, *[(1, 1)] * 4)
    with pytest.raises(DataError, match=r"'n' of the cursor has one value in more than 3 rows"):
        Reader().read()


@pytest.mark.parametrize(
    ("value", "options", "problem"),
    [
        ("2024-01-01", {"cursor": "time"}, "'time' of the cursor has the type str. Use whole numbers or timestamps"),
        (1.5, {"cursor": "time"}, "'time' of the cursor has the type float"),
        (1_704_067_200, {"cursor": None}, "'time' of the cursor has numbers as times. Use timestamps, or a counter"),
        (0, {"delay": "30s"}, "'n' of the cursor has numbers as times"),
    ],
)
def test_cursor_without_positions_is_refused(base: sqlite3.Connection, value: Any, options: Any, problem: str) -> None:
    base.execute("INSERT INTO rows VALUES (1, 1, ?)", (value,))
    with pytest.raises(DataError, match=problem) as error:
        Reader(**options).read()
    assert error.value.code is Code.TABLE_HEADER


def test_missing_file_table_or_column_is_an_error_that_is_retried(base: sqlite3.Connection) -> None:
    absent = Reader(url="sqlite:///absent.db")
    with pytest.raises(DataError, match=r"There is no file 'absent\.db'\. Check url"):
        absent.read()
    assert not Path("absent.db").exists()
    for reader, problem in (
        (Reader(table="other"), "sqlite table other: no such table: other"),
        (Reader(Reading(time_col="time", value_cols=("value 0",))), "no such column: rows.value 0"),
    ):
        with pytest.raises(DataError, match=problem):
            reader.read()
    Path("live.db").write_text("no database, but a text that is long enough")
    with pytest.raises(DataError, match="file is not a database"):
        Reader().read()


def test_file_that_is_replaced_is_read(base: sqlite3.Connection) -> None:
    insert(base, (1, 1))
    source = Reader().open()
    cursor = source.read(None).cursor
    with contextlib.closing(sqlite3.connect("new.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE rows (n INTEGER, x REAL, time)")
        insert(other, (2, 2))
    Path("new.db").replace("live.db")
    assert [record["x"] for record in source.read(cursor).records] == ["2.0"]
    source.close()


def test_text_that_is_not_utf8_is_refused_alone(base: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    use_run(monkeypatch, detector_of(time_col="time"))
    base.execute("CREATE TABLE texts (n INTEGER PRIMARY KEY, time TEXT, 'value 0')")
    add = "INSERT INTO texts (time, 'value 0') VALUES "
    for minute in range(4):
        base.execute(f"{add} (?, ?)", (f"2024-01-01 00:0{minute}", minute))
    base.execute(f"{add} ('2024-01-01 00:04', CAST(x'ff41' AS TEXT)), (CAST(x'323032342d30312d303120ff' AS TEXT), 5)")
    base.execute(f"{add} ('2024-01-01 00:05', 5)")
    monitor = drain(monitor_of(Sql(url="sqlite:///live.db", table="texts", cursor="n")))
    assert (monitor.status.rows, dict(monitor.status.refused)) == (5, {"text": 2})
    monitor.close()


@pytest.mark.parametrize("wrong", ["n/a", float("inf"), b"\xff"])
def test_value_without_an_order_does_not_block_later_rows(base: sqlite3.Connection, wrong: object) -> None:
    insert(base, (0, 0), (wrong, 9))
    reader = Reader()
    assert reader.read() == ["0.0"]
    insert(base, (1, 1))
    assert (reader.read(), reader.read()) == (["1.0"], [])


def test_several_series_need_a_delay_or_another_cursor(base: sqlite3.Connection) -> None:
    """A row that is stored after another one of its time would not be read."""
    reading = Reading(time_col="time", value_cols=("x",), id_col=("id",))
    with pytest.raises(ConfigError, match="Add delay, such as delay = '30s', or a cursor") as error:
        Reader(reading, cursor=None).open()
    assert error.value.code is Code.MISSING_OPTION
    for options in ({"delay": "30s", "cursor": None}, {"cursor": "n"}):
        Reader(reading, **options).open().close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "sqlite:///a.db", "table": "a.b.c"}, r"table must be TABLE or SCHEMA\.TABLE. Received: 'a.b.c'"),
        ({"url": "mysql://host/db", "table": "a"}, "begins with sqlite:// or postgresql://. Received: 'mysql://host"),
        ({"url": "postgresql:///db", "table": "a"}, "url must be an address"),
        ({"url": "postgresql://u:hidden@host/db", "table": "a"}, "url contains a password. Use url_env"),
        ({"url": "postgresql://u@host/db?password=hidden", "table": "a"}, "url contains a password"),
        ({"url": "sqlite://", "table": "a"}, "url names no file of SQLite"),
        ({"url": "postgresql+psycopg://h/db", "table": "a"}, "names the driver 'psycopg'. Write postgresql://"),
        ({"url": "sqlite+pysqlcipher:///a.db", "table": "a"}, "names the driver 'pysqlcipher'. Write sqlite://"),
    ],
)
def test_invalid_options_are_refused(options: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        Sql(**options).open(READING)
    assert "hidden" not in str(error.value)


# The sink

OVER = EVENT | {"status": "resolved", "end": "2024-02-25T02:10:00.5+00:00", "score": 3.5}


def rows_of(table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect("out.db")) as connection:
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall()


def test_row_of_an_event_is_updated_and_never_opened_again() -> None:
    sink = SqlTable(url="sqlite:///out.db").open()
    sink.check()
    assert not Path("out.db").exists()
    firing, resolved = Message("4309-firing", EVENT), Message("4309-resolved", OVER)
    columns = "event, status, start_time, end_time, score, causes"
    for messages, status, end, score in (
        ([firing], "firing", None, 2.5),
        ([firing, resolved], "resolved", "2024-02-25 02:10:00.500000", 3.5),
        ([firing], "resolved", "2024-02-25 02:10:00.500000", 3.5),
    ):
        sink.send(messages)
        expected = ("4309", status, "2024-02-25 00:00:00.000000", end, score, '{"flow": 0.75, "Tür": 0.25}')
        assert rows_of("lstmae_events", columns) == [expected]
    sink.check()
    common = {name: EVENT[name] for name in ("status", "monitor", "series", "start")}
    silence = {"kind": "silence", "event": "1", **common}
    sink.send([Message("1-firing", silence)])
    assert rows_of("lstmae_events", "kind, score, causes")[1] == ("silence", None, None)
    assert json.loads(rows_of("lstmae_events", "message")[1][0]) == {"key": "1-firing"} | silence
    sink.close()


def test_table_that_cannot_be_written_is_a_sink_error(tmp_path: Path) -> None:
    message = Message("4309-firing", EVENT)
    with contextlib.closing(sqlite3.connect("out.db")) as connection:
        connection.execute("CREATE TABLE lstmae_events (event TEXT PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE narrow (event TEXT PRIMARY KEY CHECK (event > '5'), monitor, series, kind, "
            "status, start_time, end_time, peak_time, alarm_time, score, threshold, p, causes, run, version, message)"
        )
    sink = SqlTable(url="sqlite:///out.db").open()
    sink.check()
    with pytest.raises(SinkError, match="has no column named monitor"):
        sink.send([message])
    with pytest.raises(RefusedMessageError, match=r"surrogates not allowed"):
        SqlTable(url="sqlite:///other.db").open().send([Message("1", EVENT | {"series": "\ud800"})])
    with pytest.raises(RefusedMessageError, match="CHECK constraint failed"):
        SqlTable(url="sqlite:///out.db", table="narrow").open().send([message])


def test_deleted_file_or_table_of_a_sink_is_created_again() -> None:
    sink = SqlTable(url="sqlite:///out.db").open()
    sink.send([Message("1-firing", EVENT)])
    Path("out.db").unlink()
    sink.send([Message("2-firing", EVENT)])
    with contextlib.closing(sqlite3.connect("out.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE lstmae_events")
    sink.send([Message("3-firing", EVENT)])
    assert rows_of("lstmae_events", "event") == [("4309",)]


def test_monitor_reads_and_writes_databases(monkeypatch: pytest.MonkeyPatch, base: sqlite3.Connection) -> None:
    """A row that the sink refuses is dropped alone."""
    use_run(monkeypatch, detector_of(time_col="time"))
    base.execute("CREATE TABLE live (time TEXT, 'value 0' REAL)")
    text = lines([{15: 20.0, 45: 80.0}.get(minute, 0.0) for minute in range(60)])
    base.executemany("INSERT INTO live VALUES (?, ?)", [row.split(",") for row in text.split()])
    with contextlib.closing(sqlite3.connect("out.db")) as connection:
        connection.execute(
            "CREATE TABLE lstmae_events (event PRIMARY KEY, monitor, series, kind, status, end_time, peak_time, "
            "alarm_time, score, threshold, p, causes, run, version, message, "
            "start_time CHECK (start_time < '2024-01-01 00:30:00'))"
        )
    for _ in range(2):
        monitor = drain(
            monitor_of(
                Sql(url="sqlite:///live.db", table="live", cursor="rowid"),
                opened(events=SqlTable(url="sqlite:///out.db")),
            )
        )
        monitor.close()
    assert monitor.status.rows == 60
    assert monitor.outboxes["events"].dropped == 2
    assert rows_of("lstmae_events", "status, start_time") == [("resolved", "2024-01-01 00:15:00.000000")]
