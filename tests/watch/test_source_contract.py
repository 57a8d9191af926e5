"""What every kind of source promises: no row is lost or repeated, also across restarts, and a check changes nothing."""

import contextlib
import datetime
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa
from processes import wait_for
from programs import MOSQUITTO, POSTGRES, mosquitto_server, needs, postgres_server

from lstm_ae.config import Reading
from lstm_ae.watch import mqtt
from lstm_ae.watch.config import SOURCE_GROUP
from lstm_ae.watch.mqtt import Mqtt, MqttTopic
from lstm_ae.watch.prometheus import Prometheus
from lstm_ae.watch.sinks import Message
from lstm_ae.watch.sources import File, StreamSource
from lstm_ae.watch.sql import Sql

READING = Reading(time_col="time", value_cols=("x",), freq="1min")
# The first time in seconds since 1970.
START = 1_704_067_200


class Case(NamedTuple):
    """A kind of source.

    Args:
        open: function that opens the source.
        add: function that adds a row, whose value is the number of its minute.
    """

    open: Callable[[], Any]
    add: Callable[[int], None]


@contextlib.contextmanager
def file_case() -> Iterator[Case]:
    path = Path("live.csv")
    path.write_text("time,x\n")

    def add(minute: int) -> None:
        with path.open("a") as file:
            file.write(f"{START + 60 * minute},{minute}\n")

    yield Case(lambda: File(path="live.csv", start="beginning").open(READING), add)


@contextlib.contextmanager
def stdin_case() -> Iterator[Case]:
    read, write = os.pipe()
    os.write(write, b"time,x\n")
    source = StreamSource("csv", READING, read)
    # It cannot be opened again.
    yield Case(lambda: source, lambda minute: (os.write(write, f"{START + 60 * minute},{minute}\n".encode()), None)[1])
    os.close(read)
    os.close(write)


@contextlib.contextmanager
def sql_case() -> Iterator[Case]:
    with contextlib.closing(sqlite3.connect("live.db", isolation_level=None)) as base:
        base.execute("CREATE TABLE rows (time INTEGER, x INTEGER)")

        def add(minute: int) -> None:
            base.execute("INSERT INTO rows VALUES (?, ?)", (START + 60 * minute, minute))

        yield Case(lambda: Sql(url="sqlite:///live.db", table="rows", cursor="rowid").open(READING), add)


@contextlib.contextmanager
def prometheus_case() -> Iterator[Case]:
    minutes: list[int] = []

    def post(content: bytes, headers: Any) -> bytes:
        fields = {name: float(value) for name, (value,) in parse_qs(content.decode()).items() if name != "query"}
        moments = [START + 60 * minute for minute in minutes]
        values = [[each, str((each - START) // 60)] for each in moments if fields["start"] <= each <= fields["end"]]
        result = [{"metric": {}, "values": values}]
        return json.dumps({"data": {"resultType": "matrix", "result": result}}).encode()

    def open_source() -> Any:
        source: Any = Prometheus(url="http://host", queries=("x=x",), delay="1s").open(READING)
        source.client.close()
        source.client = SimpleNamespace(post=post, close=lambda: None)
        source.now = lambda: START + 60 * max(minutes, default=-1) + 1
        return source

    yield Case(open_source, minutes.append)


@contextlib.contextmanager
def mqtt_case() -> Iterator[Case]:
    waiting: dict[int, bytes] = {}
    opened: list[Any] = []

    def connect(login: Any, client_id: str = "", topic: str = "", receive: Any = None) -> Any:
        connection = SimpleNamespace(number=1, session_present=True, require=lambda: None, close=lambda: None)
        connection.client = SimpleNamespace(ack=lambda number, qos: waiting.pop(number))
        connection.deliver = lambda number: (
            receive and receive((SimpleNamespace(mid=number, payload=waiting[number], qos=1, topic=topic), 1))
        )
        opened.append(connection)
        for number in list(waiting):
            connection.deliver(number)
        return connection

    def add(minute: int) -> None:
        waiting[minute + 1] = json.dumps({"time": START + 60 * minute, "x": minute}).encode()
        for connection in opened[-1:]:
            connection.deliver(minute + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mqtt, "Connection", connect)
        patch.setattr(mqtt, "WAIT", 0.01)
        yield Case(lambda: Mqtt(url="mqtt://host", topic="pump", client_id="one").open(READING), add)


@contextlib.contextmanager
def postgres_case() -> Iterator[Case]:
    with postgres_server() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DB", url)
        engine = sa.create_engine(url.replace("postgresql", "postgresql+pg8000"))
        live = sa.Table("Live", sa.MetaData(), sa.Column("time", sa.DateTime(timezone=True)), sa.Column("x", sa.REAL()))
        live.metadata.create_all(engine)

        def add(minute: int) -> None:
            moment = datetime.datetime.fromtimestamp(START + 60 * minute, datetime.UTC)
            with engine.begin() as connection:
                connection.execute(live.insert().values(time=moment, x=minute))

        yield Case(lambda: Sql(url_env="DB", table="public.Live").open(READING), add)
        engine.dispose()


@contextlib.contextmanager
def mosquitto_case() -> Iterator[Case]:
    with mosquitto_server() as url, contextlib.closing(MqttTopic(url=url, topic="pump").open()) as sink:

        def open_source() -> Any:
            return Mqtt(url=url, topic="pump", client_id="one").open(READING)

        def add(minute: int) -> None:
            sink.send([Message("", {"time": START + 60 * minute, "x": minute})])

        with contextlib.closing(open_source()) as source:
            source.read(None)  # the session begins
        yield Case(open_source, add)


FUNCTIONS = (file_case, stdin_case, sql_case, prometheus_case, mqtt_case, postgres_case, mosquitto_case)
CASES = {function.__name__.removesuffix("_case"): function for function in FUNCTIONS}
PROGRAMS = {"postgres": needs(POSTGRES, "postgresql"), "mosquitto": needs(MOSQUITTO, "mosquitto")}
KINDS = [pytest.param(kind, marks=PROGRAMS.get(kind, ())) for kind in CASES]


def read_all(source: Any, cursor: Any, count: int = 0) -> tuple[list[int], Any]:
    """Return the values of all rows that are there, at least so many, and the stored cursor."""
    found = list[int]()

    def read() -> bool:
        nonlocal cursor
        batch = source.read(cursor)
        assert len(batch.records) == len(batch.lines)
        assert not batch.refused
        cursor = json.loads(json.dumps(batch.cursor))
        found.extend(int(float(record["x"])) for record in batch.records)
        return not batch.more and len(found) >= count

    wait_for(read, "rows are missing")
    return found, cursor


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_returns_each_row_once(kind: str) -> None:
    with CASES[kind]() as case:
        source = case.open()
        assert read_all(source, None)[0] == []
        case.add(0)
        case.add(1)
        found, cursor = read_all(source, None, 2)
        assert found == [0, 1]
        assert read_all(source, cursor) == ([], cursor)
        source.close()
        source = case.open()
        case.add(2)
        assert read_all(source, cursor, 1)[0] == [2]
        source.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_returns_a_batch_again_that_was_not_stored(kind: str) -> None:
    with CASES[kind]() as case:
        source = case.open()
        _, before = read_all(source, None)
        case.add(0)
        while not (batch := source.read(before)).records:
            before = batch.cursor
        assert source.read(before).records == batch.records
        case.add(1)
        found, _ = read_all(source, batch.cursor, 1)
        assert found == [1]
        source.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.values != ("stdin",)])
def test_check_of_every_source_changes_nothing(kind: str) -> None:
    with CASES[kind]() as case:
        case.add(0)
        source = case.open()
        source.check()
        source.close()
        source = case.open()
        assert read_all(source, None, 1)[0] == [0]
        source.close()


def test_every_kind_of_source_is_in_the_contract() -> None:
    assert CASES.keys() - PROGRAMS.keys() == entry_points(group=SOURCE_GROUP).names
