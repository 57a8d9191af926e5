"""Source and sink of `lstmae watch` with the real PostgreSQL of Debian."""

import contextlib
import datetime
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from programs import POSTGRES, Postgres, needs, postgres  # noqa: F401
from watching import EVENT

from lstm_ae.config import Reading
from lstm_ae.errors import DataError
from lstm_ae.watch.sinks import Message, RefusedMessageError, SinkError
from lstm_ae.watch.sql import Sql, SqlTable

pytestmark = [pytest.mark.slow, needs(POSTGRES, "postgresql")]
READING = Reading(time_col="Time", value_cols=("x",))


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:  # noqa: F811
    """Return a connection to a running server, whose address is in the variable DB."""
    monkeypatch.setenv("DB", postgres.url)
    with postgres.running():
        engine = sa.create_engine(postgres.url.replace("postgresql", "postgresql+pg8000"))
        yield engine
        engine.dispose()


def execute(database: sa.Engine, *statements: str) -> None:
    with database.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement.replace(":", r"\:")))


def rows_of(database: sa.Engine, query: str) -> list[Any]:
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.mark.parametrize(
    ("kind", "times", "wrong", "shown"),
    [
        (
            "timestamptz",
            ["2024-01-01 00:00:00+01", "2024-01-01 00:00:00.000001+01"],
            ["infinity", "2099-01-01"],
            "2023-12-31T23:00:00+00:00",
        ),
        (
            "timestamp",
            ["2024-01-01 00:00:00", "2024-01-01 00:01:00.5"],
            ["infinity", "2099-01-01"],
            "2024-01-01T00:00:00",
        ),
    ],
)
def test_rows_are_read_once_and_wrong_times_block_nothing(
    database: sa.Engine, kind: str, times: list[str], wrong: list[str], shown: str
) -> None:
    execute(database, 'DROP TABLE IF EXISTS "Live"', f'CREATE TABLE "Live" ("Time" {kind}, x real)')
    # The zone of the session must not matter.
    execute(database, "ALTER ROLE watch SET timezone = 'Asia/Tokyo'")
    execute(database, *(f"""INSERT INTO "Live" VALUES ('{time}', 9)""" for time in wrong))
    cursor, found = None, list[Any]()
    for step, moment in enumerate(times):
        execute(database, *[f"""INSERT INTO "Live" VALUES ('{moment}', {step}.5)"""] * 2)
        for _ in range(2):
            with contextlib.closing(Sql(url_env="DB", table="public.Live").open(READING)) as source:
                batch = source.read(cursor)
            cursor = json.loads(json.dumps(batch.cursor))
            found += batch.records
    assert [record["x"] for record in found] == ["0.5", "0.5", "1.5", "1.5"]
    assert found[0]["Time"] == shown


@pytest.mark.parametrize(
    ("kind", "value", "cursor", "problem"),
    [
        ("text", "2024-01-01", "Time", "has the type str"),
        ("date", "2024-01-01", "Time", "has the type date"),
        ("bigint", "1704067200", "Time", "has numbers as times"),
        ("timestamptz", "2024-01-01", "x", "has too few digits"),
    ],
)
def test_cursor_that_gives_no_position_is_refused(
    database: sa.Engine, kind: str, value: str, cursor: str, problem: str
) -> None:
    execute(database, 'DROP TABLE IF EXISTS "Live"', f'CREATE TABLE "Live" ("Time" {kind}, x real)')
    execute(database, f"""INSERT INTO "Live" VALUES ('{value}', 0.1)""")
    with (
        contextlib.closing(Sql(url_env="DB", table="Live", cursor=cursor).open(READING)) as source,
        pytest.raises(DataError, match=problem),
    ):
        source.read(source.read(None).cursor)


def test_delay_reads_the_rows_of_a_transaction_that_ends_late(database: sa.Engine) -> None:
    execute(database, 'CREATE TABLE late ("Time" timestamptz DEFAULT now(), x real)')
    source = Sql(url_env="DB", table="late", delay="1s").open(READING)
    cursor = source.read(None).cursor
    with database.begin() as open_one:
        open_one.execute(sa.text("INSERT INTO late (x) VALUES (1)"))
        execute(database, "INSERT INTO late (x) VALUES (2)")
        assert source.read(cursor).records == []
    time.sleep(1.1)
    assert [record["x"] for record in source.read(cursor).records] == ["1.0", "2.0"]
    source.close()


def test_server_that_stops_is_reported_and_read_again(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("DB", postgres.url)
    with postgres.running():
        engine = sa.create_engine(postgres.url.replace("postgresql", "postgresql+pg8000"))
        series = "generate_series('2024-01-01'::date, '2024-01-02', '1h') AS hour"
        execute(engine, f'CREATE VIEW hours AS SELECT hour::timestamptz AS "Time", 1 AS x FROM {series}')
        engine.dispose()
    source = Sql(url_env="DB", table="hours").open(READING)
    sink = SqlTable(url_env="DB", table="again").open()
    for _ in range(2):
        with postgres.running():
            assert len(source.read(None).records) == 25
            sink.check()
        with pytest.raises(DataError, match=r"postgresql table hours: .*(refused|connection|create)") as error:
            source.read(None)
        assert "hidden" not in str(error.value)
        with pytest.raises(SinkError, match="The database cannot be used"):
            sink.check()
    monkeypatch.setenv("DB", postgres.url.replace("hidden", "wrong"))
    with postgres.running():
        with pytest.raises(DataError, match=r"password authentication failed for user") as error:
            Sql(url_env="DB", table="hours").open(READING).read(None)
        assert "wrong" not in str(error.value)
    source.close()
    sink.close()


def test_event_is_one_row_and_a_score_is_stored_once(database: sa.Engine) -> None:
    """Messages are sent again, as after a kill between their delivery and its record."""
    execute(database, "CREATE SCHEMA alarms")
    score = {"kind": "score", "monitor": "pump", "series": "", "score": 1.5, "threshold": 2.0, "p": 0.5}
    score |= {"anomaly": False, "time": EVENT["start"]}
    events = SqlTable(url_env="DB", table="alarms.events").open()
    scores = SqlTable(url_env="DB", send="scores").open()
    for status in ("firing", "resolved", "firing"):
        events.send([Message(f"4309-{status}", EVENT | {"status": status})])
        scores.send([Message("1", score)])
    ((status, start, causes),) = rows_of(
        database, "SELECT status, start_time, causes::json ->> 'flow' FROM alarms.events"
    )
    assert (status, start, float(causes)) == ("resolved", datetime.datetime.fromisoformat(str(EVENT["start"])), 0.75)
    assert rows_of(database, "SELECT key, score, anomaly FROM lstmae_scores") == [("1", 1.5, False)]
    with pytest.raises(RefusedMessageError, match=r"The database refuses a row: .*0x00"):
        events.send([Message("1", EVENT | {"event": "1", "series": "a\0b"})])
    for sink in (events, scores):
        sink.check()
        sink.close()
