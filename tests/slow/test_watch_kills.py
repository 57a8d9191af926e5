"""Kills of `lstmae watch` lose no row, and repeat messages only with their keys: at every write of its state."""

import contextlib
import random
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from detectors import detector_of
from watch_kills import run_watch
from watching import HEADER, drain, lines, messages, monitor_of, opened, use_run, webhook_server

from lstm_ae.watch.servers import HttpClient
from lstm_ae.watch.sinks import JsonLines, JsonLinesSink, Webhook
from lstm_ae.watch.sql import SqlSink, SqlTable

pytestmark = pytest.mark.slow

RANDOM = random.Random(0)
# Each peak is twice as high as the one before, so that each begins an event.
VALUES = [20.0 * 2 ** (number // 17) if number % 17 == 9 else round(RANDOM.gauss(0, 1), 2) for number in range(100)]


def _sinks(url: str) -> dict[str, Any]:
    return opened(
        events=JsonLines(path="events.jsonl"),
        scores=JsonLines(path="scores.jsonl", send="scores"),
        hook=Webhook(url=url),
        database=SqlTable(url="sqlite:///out.db", send="scores"),
    )


def _watch(url: str, count: Any) -> None:
    """Process what is there; count the steps of transactions and of sinks."""

    def around(function: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            count()
            result = function(*arguments)
            count()
            return result

        return counted

    with pytest.MonkeyPatch.context() as patch:
        use_run(patch, detector_of(time_col="time"))
        monitor = monitor_of(sinks=_sinks(url))
        monitor.state.connection.set_trace_callback(lambda statement: count() if statement == "COMMIT" else None)
        patch.setattr(JsonLinesSink, "send", around(JsonLinesSink.send))
        patch.setattr(SqlSink, "send", around(SqlSink.send))
        patch.setattr(HttpClient, "post", around(HttpClient.post))
        patch.setattr(type(monitor.state), "remove_messages", around(type(monitor.state).remove_messages))
        drain(monitor).close()


def test_kill_at_any_step_loses_no_message_and_changes_none(tmp_path: Path) -> None:
    """The file grows by a few rows before each start, and each start is killed a little later than the one before."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with webhook_server() as hook, webhook_server() as other:
        for place in (whole, killed):
            place.mkdir()
            (place / "live.csv").write_text(HEADER)
        with (whole / "live.csv").open("a") as file:
            file.write(lines(VALUES))
        assert run_watch(_watch, whole, hook.url) == 0
        kills, row = 0, 0
        for start in range(300):
            with (killed / "live.csv").open("a") as file:
                file.write(lines(VALUES[row : row + 4], row))
            row += 4
            code = run_watch(_watch, killed, other.url, kill_at=1 + start % 13)
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
            if row >= len(VALUES) and code == 0:
                break
        assert kills > 20
        assert run_watch(_watch, killed, other.url) == 0
    for name in ("events.jsonl", "scores.jsonl"):
        # Messages on events name the directory of the run.
        expected, found = ([each | {"run": ""} for each in messages(str(place / name))] for place in (whole, killed))
        assert len(expected) >= 10
        # Copies have the key and the content of the first message.
        by_key = {each["key"]: each for each in reversed(found)}
        assert list(reversed(by_key)) == [each["key"] for each in expected]
        assert all(each == by_key[each["key"]] for each in found)
        for two in expected:
            assert by_key[two["key"]] == {
                key: pytest.approx(value, rel=1e-5) if isinstance(value, float) else value for key, value in two.items()
            }
    with contextlib.closing(sqlite3.connect(killed / "out.db")) as connection:
        rows = connection.execute("SELECT key FROM lstmae_scores ORDER BY time").fetchall()
    assert [key for (key,) in rows] == [each["key"] for each in messages(str(whole / "scores.jsonl"))]  # each once
    bodies: dict[str, set[bytes]] = {}
    for headers, body in other.received:
        bodies.setdefault(headers["Idempotency-Key"], set()).add(body)
    assert {headers["Idempotency-Key"] for headers, _ in hook.received} == set(bodies)
    assert {len(copies) for copies in bodies.values()} == {1}
