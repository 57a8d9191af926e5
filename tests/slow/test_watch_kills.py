"""Kills of `lstmae watch` lose no row, and repeat messages only with their keys: at every write of its state."""

import contextlib
import functools
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from detectors import detector_of
from processes import forked
from programs import MOSQUITTO, mosquitto_server, needs
from watching import HEADER, approximate, drain, lines, messages, monitor_of, opened, use_run, webhook_server

from lstm_ae.watch.mqtt import Mqtt, MqttSource, MqttTopic
from lstm_ae.watch.servers import HttpClient
from lstm_ae.watch.sinks import JsonLines, JsonLinesSink, Message, Webhook
from lstm_ae.watch.sources import File, SourceOptions
from lstm_ae.watch.sql import SqlSink, SqlTable
from lstm_ae.watch.state import State


def killer(kill_at: int) -> Callable[..., None]:
    """Return a function whose given call kills this process; no call does for 0."""
    left = kill_at

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def _run_in(place: Path, watch: Callable[..., None], kill_at: int = 0) -> None:
    os.chdir(place)
    watch(killer(kill_at))


RANDOM = random.Random(0)
# Each peak is twice as high as the one before, so that each begins an event.
VALUES = [20.0 * 2 ** (number // 9) if number % 9 == 5 else round(RANDOM.gauss(0, 1), 2) for number in range(66)]
ROWS = lines(VALUES).splitlines()


class Feed(NamedTuple):
    """A kind of source.

    Args:
        source: function that returns its options for a folder.
        add: function that adds rows for a folder.
    """

    source: Callable[[Path], SourceOptions]
    add: Callable[[Path, list[str]], None]


@contextlib.contextmanager
def file_feed() -> Iterator[Feed]:
    def add(place: Path, rows: list[str]) -> None:
        with (place / "live.csv").open("a") as file:
            file.write("".join(f"{row}\n" for row in [*([] if file.tell() else [HEADER.strip()]), *rows]))

    yield Feed(lambda place: File(path="live.csv", start="beginning"), add)


@contextlib.contextmanager
def mosquitto_feed() -> Iterator[Feed]:
    with mosquitto_server() as url, contextlib.closing(MqttTopic(url=url).open()) as sink:

        def add(place: Path, rows: list[str]) -> None:
            sink.topic = place.name
            cells = [dict(zip(HEADER.strip().split(","), row.split(","), strict=True)) for row in rows]
            sink.send([Message("", each) for each in cells])

        yield Feed(lambda place: Mqtt(url=url, topic=place.name, client_id=place.name), add)


def _watch(source: SourceOptions, url: str, count: Any) -> None:
    """Process what is there; count the steps of transactions, sinks, and acknowledgments."""

    def around(function: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            count()
            result = function(*arguments)
            count()
            return result

        return counted

    steps = (JsonLinesSink, "send"), (SqlSink, "send"), (HttpClient, "post"), (State, "remove_messages")
    with pytest.MonkeyPatch.context() as patch:
        use_run(patch, detector_of(time_col="time"))
        for owner, name in (*steps, (MqttSource, "stored")):
            patch.setattr(owner, name, around(getattr(owner, name)))
        sinks = opened(
            file=JsonLines(path="alarms.jsonl"), hook=Webhook(url=url), database=SqlTable(url="sqlite:///out.db")
        )
        monitor = monitor_of(source, sinks)
        monitor.state.connection.set_trace_callback(lambda statement: count() if statement == "COMMIT" else None)
        drain(monitor).close()


FEEDS = {"file": file_feed, "mosquitto": mosquitto_feed}


@pytest.mark.parametrize(
    "kind",
    [pytest.param("file", marks=pytest.mark.slow), pytest.param("mosquitto", marks=needs(MOSQUITTO, "mosquitto"))],
)
def test_kill_at_any_step_loses_no_row_and_no_message(kind: str, tmp_path: Path) -> None:
    """A few rows arrive before each start, and each start is killed a little later than the one before."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with webhook_server() as hook, webhook_server() as other, FEEDS[kind]() as feed:
        run, run_killed = (
            functools.partial(forked, _run_in, place, functools.partial(_watch, feed.source(place), server.url))
            for place, server in ((whole, hook), (killed, other))
        )
        for place, start in ((whole, run), (killed, run_killed)):
            place.mkdir()
            feed.add(place, ROWS[:0])
            assert start() == 0  # a session of the broker begins
        feed.add(whole, ROWS)
        assert run() == 0
        kills, row = 0, 0
        for number in range(200):
            feed.add(killed, ROWS[row : row + 6])
            row += 6
            code = run_killed(1 + number % 13)
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
            if row >= len(ROWS) and code == 0:
                break
        assert kills > 10
        assert run_killed() == 0
    # What the next rows depend on, which each row changes.
    states = [State(place / "state/pump.sqlite") for place in (whole, killed)]
    ended, again = ([state.series(), state.fact("counts")] for state in states)
    again[1]["refused"] = {}  # rows that arrived again
    assert again == approximate(ended)
    for state in states:
        state.close()
    # Messages name the directory of the run. Copies have the key and the content of the first one.
    expected, found = (
        [each | {"run": ""} for each in messages(str(place / "alarms.jsonl"))] for place in (whole, killed)
    )
    assert len(expected) >= 10
    by_key = {each["key"]: each for each in reversed(found)}
    assert list(reversed(by_key)) == [each["key"] for each in expected]
    assert all(each == by_key[each["key"]] for each in found)
    assert [by_key[each["key"]] for each in expected] == approximate(expected)
    with contextlib.closing(sqlite3.connect(killed / "out.db")) as connection:
        rows = connection.execute("SELECT event, status FROM lstmae_events ORDER BY start_time").fetchall()
    assert [f"{event}-{status}" for event, status in rows] == [each["key"] for each in expected[1::2]]  # each once
    bodies: dict[str, set[bytes]] = {}
    for headers, body in other.received:
        bodies.setdefault(headers["Idempotency-Key"], set()).add(body)
    assert {headers["Idempotency-Key"] for headers, _ in hook.received} == set(bodies)
    assert {len(copies) for copies in bodies.values()} == {1}
