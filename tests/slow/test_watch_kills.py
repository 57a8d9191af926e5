"""Kills of `lstmae watch` lose no row and repeat no message: at every write of its state, and while its file grows."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from detectors import detector_of
from processes import CEILING, wait_for
from watching import HEADER, lines, messages, monitor_of, use_run, webhook_server

from lstm_ae.watch.servers import HttpClient
from lstm_ae.watch.sinks import JsonLines, JsonLinesSink, Webhook
from lstm_ae.watch.sql import SqlSink, SqlTable

pytestmark = pytest.mark.slow

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["lstm_ae.watch.watcher", "watching"])
RANDOM = random.Random(0)
VALUES = [20.0 if number % 17 == 9 else round(RANDOM.gauss(0, 1), 2) for number in range(100)]


def _sinks(url: str) -> dict[str, Any]:
    options = {
        "events": JsonLines(path="events.jsonl"),
        "scores": JsonLines(path="scores.jsonl", send="scores"),
        "hook": Webhook(url=url),
        "database": SqlTable(url="sqlite:///out.db", send="scores"),
    }
    return {name: (each, each.open()) for name, each in options.items()}


def _watch(place: str, url: str, kill_at: int) -> None:
    """Process what is there; kill this process at a step of a transaction or of a sink."""
    os.chdir(place)
    left = kill_at

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

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
        while monitor.step():
            pass
        monitor.close()


def _run(place: Path, url: str, kill_at: int = 0) -> int | None:
    process = FORKS.Process(target=_watch, args=(str(place), url, kill_at))
    process.start()
    process.join(CEILING)
    return process.exitcode


def test_kill_at_any_step_changes_no_message(tmp_path: Path) -> None:
    """The file grows by a few rows before each start, and each start is killed a little later than the one before."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with webhook_server() as hook, webhook_server() as other:
        for place in (whole, killed):
            place.mkdir()
            (place / "live.csv").write_text(HEADER)
        with (whole / "live.csv").open("a") as file:
            file.write(lines(VALUES))
        assert _run(whole, hook.url) == 0
        kills, row = 0, 0
        for start in range(300):
            with (killed / "live.csv").open("a") as file:
                file.write(lines(VALUES[row : row + 4], row))
            row += 4
            code = _run(killed, other.url, kill_at=1 + start % 13)
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
            if row >= len(VALUES) and code == 0:
                break
        assert kills > 20
        assert _run(killed, other.url) == 0
    for name in ("events.jsonl", "scores.jsonl"):
        # Messages on events name the directory of the run.
        expected, found = ([each | {"run": ""} for each in messages(str(place / name))] for place in (whole, killed))
        assert len(expected) >= 10
        assert [each["key"] for each in found] == [each["key"] for each in expected]
        for one, two in zip(found, expected, strict=True):
            assert one == {
                key: pytest.approx(value, rel=1e-5) if isinstance(value, float) else value for key, value in two.items()
            }
    with contextlib.closing(sqlite3.connect(killed / "out.db")) as connection:
        rows = connection.execute("SELECT key FROM lstmae_scores ORDER BY time").fetchall()
    assert [key for (key,) in rows] == [each["key"] for each in messages(str(whole / "scores.jsonl"))]
    bodies: dict[str, set[bytes]] = {}
    for headers, body in other.received:
        bodies.setdefault(headers["Idempotency-Key"], set()).add(body)
    assert {headers["Idempotency-Key"] for headers, _ in hook.received} == set(bodies)
    assert {len(copies) for copies in bodies.values()} == {1}


PROGRAM = "import sys; from lstm_ae_cli import main; sys.exit(main())"
CONFIG = """
poll = 0.01
[[monitors]]
name = "pump"
run = "pump"
threshold = "quantile:0.99"
source = {{ kind = "file", path = "live.csv", start = "beginning" }}
[[sinks]]
name = "events"
kind = "jsonl"
path = "events.jsonl"
[[sinks]]
name = "scores"
kind = "jsonl"
path = "scores.jsonl"
send = "scores"
[[sinks]]
name = "hook"
kind = "webhook"
url = "{url}"
"""


@pytest.mark.exhaustive
def test_kills_of_the_command_while_its_file_grows_and_rotates() -> None:
    from searches import call

    assert call("series example pump.csv").code == 0
    options = "--window 12 --units 2 --stride 24 --epochs 1 --value-cols flow --out pump"
    assert call(f"series train pump.csv {options}").code == 0
    header, *rows = Path("pump.csv").read_text().splitlines(keepends=True)
    live, written = Path("live.csv"), 0
    live.write_text(header)

    def grow(count: int) -> None:
        nonlocal written
        with live.open("a") as file:
            file.write("".join(rows[written : written + count]))
        written += count

    def rotate() -> None:
        live.rename(f"live.csv.{written}")
        live.write_text(header)

    def scored() -> int:
        return len(messages("scores.jsonl"))

    with webhook_server() as hook:
        Path("watch.toml").write_text(CONFIG.format(url=hook.url))
        grow(20)
        assert call("watch watch.toml --once").code == 0
        for _ in range(6):
            grow(200)
            rotate()
            grow(7)
            with subprocess.Popen([sys.executable, "-c", PROGRAM, "watch", "watch.toml", "--quiet"]) as process:
                try:
                    for _ in range(3):
                        before = scored()
                        grow(50)
                        wait_for(lambda: scored() > before or process.poll() is not None, "no score")  # noqa: B023
                        assert process.poll() is None
                        rotate()
                    grow(50)
                finally:
                    process.kill()
        said = call("watch watch.toml --once --json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["monitors"]["pump"]["rows"] == written
    scores = messages("scores.jsonl")
    Path("all.csv").write_text(header + "".join(rows[:written]))
    assert (
        call(
            "series detect pump all.csv --threshold quantile:0.99 --online --events e.csv --scores all-scores.csv"
        ).code
        == 0
    )
    expected = [line for line in Path("all-scores.csv").read_text().splitlines()[1:] if line.split(",")[1]]
    assert len(expected) == len(scores)
    assert [each["time"].removesuffix("+00:00") for each in scores] == [
        line.split(",")[0].replace(" ", "T") for line in expected
    ]
    events = messages("events.jsonl")
    assert events
    assert len({each["key"] for each in events}) == len(events)
    assert {headers["Idempotency-Key"] for headers, _ in hook.received} == {each["key"] for each in events}
