"""Monitors with a detector whose scores can be calculated by hand, a clock that tests set, and a server of webhooks."""

import dataclasses
import functools
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectors import detector_of
from processes import wait_for

from lstm_ae.apply.run_table import read_with_run_config
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.detection.calibration import NormalScores
from lstm_ae.detection.thresholds import Threshold
from lstm_ae.watch import monitor as monitors
from lstm_ae.watch.config import MonitorConfig, MonitorOptions
from lstm_ae.watch.monitor import Monitor
from lstm_ae.watch.sinks import JsonLines, Sink, SinkOptions
from lstm_ae.watch.sources import File, SourceOptions
from lstm_ae.watch.watcher import Watcher

_fit = NormalScores.threshold
START = np.datetime64("2024-01-01T00:00")
# The first wall-clock time of tests, a day after `START`.
NOW = 1_704_067_200.0 + 86_400


@dataclasses.dataclass
class Clock:
    """A clock that moves when a test moves it."""

    now: float = NOW
    # Seconds by which the wall clock was put back.
    back: float = 0.0

    def time(self) -> float:
        return self.now - self.back

    def monotonic(self) -> float:
        return self.now


@dataclasses.dataclass
class FakeRun:
    """A run whose detector is given.

    Args:
        created: its version.
    """

    detector: Any
    created: str = "first"
    directory: Path = Path("run")
    finished: bool = True
    name: str = "run"

    def about(self) -> dict[str, str]:
        return {"created": self.created}


@functools.cache
def _fit_once(rule: str) -> Threshold:
    """Fit a threshold on the scores of `detector_of`, once, since that takes longer than a test."""
    return _fit(detector_of().normal, parse_threshold(rule))


def use_run(monkeypatch: Any, detector: Any = None) -> FakeRun:
    """Let every monitor use a detector; return its run, which a test may change."""
    run = FakeRun(detector or detector_of(time_col="time"))

    monkeypatch.setattr(NormalScores, "threshold", lambda self, rule: _fit_once(str(rule)))

    def load(run: FakeRun, reading: Any, *, streaming: bool = False) -> Any:
        return dataclasses.replace(run.detector, config=read_with_run_config(run.detector.config, reading))

    monkeypatch.setattr(monitors, "open_run", lambda where, task: run)
    monkeypatch.setattr(monitors, "run_config", lambda run, task, reading: load(run, reading).config)
    monkeypatch.setattr(monitors, "load_detector", load)
    return run


def monitor_of(
    source: SourceOptions | None = None,
    sinks: dict[str, Sink] | None = None,
    clock: Clock | None = None,
    reading: Any = None,
    **options: Any,
) -> Monitor:
    """Return a monitor of `live.csv` that writes to `alarms.jsonl`."""
    if sinks is None:
        sinks = opened(file=JsonLines(path="alarms.jsonl"))
    config = MonitorConfig(
        MonitorOptions(**{"name": "pump", "run": "run", "threshold": "fixed:20", "sinks": tuple(sinks)} | options),
        source or File(path="live.csv", start="beginning"),
        reading or {},
    )
    return Monitor(config, sinks, Path("state"), clock or Clock())


def drain(monitor: Monitor) -> Monitor:
    """Let a monitor process all records that its source has, and send all messages; return it."""
    while True:
        more = monitor.step()
        deliver(monitor)
        if not more:
            return monitor


def deliver(monitor: Monitor) -> None:
    """Send the messages of a monitor, which threads of a watch do otherwise."""
    for outbox in monitor.outboxes.values():
        outbox.deliver(threading.Event())


def live(text: str, mode: str = "a") -> None:
    """Write rows to `live.csv`."""
    with Path("live.csv").open(mode) as file:
        file.write(text)


def watched(text: str, *arguments: Any, **options: Any) -> Monitor:
    """Write rows to `live.csv`, and return a new monitor that has processed them."""
    live(text)
    return drain(monitor_of(*arguments, **options))


def feed(monitor: Monitor, text: str) -> None:
    """Write rows to `live.csv`, and let a monitor process them."""
    live(text)
    drain(monitor)


def opened(**sinks: SinkOptions) -> dict[str, Sink]:
    """Return open sinks."""
    return {name: options.open() for name, options in sinks.items()}


def lines(values: Any, first: int = 0, minutes: Any = None) -> str:
    """Return rows of a CSV file, one a minute from row `first`."""
    minutes = range(first, first + len(values)) if minutes is None else minutes
    times = [START + np.timedelta64(minute, "m") for minute in minutes]
    return "".join(f"{time},{value}\n" for time, value in zip(times, values, strict=True))


HEADER = "time,value 0\n"
# The message of an event that has begun.
EVENT = {
    "kind": "anomaly",
    "status": "firing",
    "event": "4309",
    "monitor": "pump",
    "series": "",
    "start": "2024-02-25T00:00:00+00:00",
    "end": None,
    "peak": "2024-02-25T00:00:00+00:00",
    "alarm": "2024-02-25T00:00:00+00:00",
    "score": 2.5,
    "threshold": 2.0,
    "p": 0.25,
    "causes": {"flow": 0.75, "Tür": 0.25},
    "run": "runs/pump",
    "version": "first",
}


def messages(path: str = "alarms.jsonl") -> list[dict[str, Any]]:
    """Return the messages in a file; a process may still be writing the last one."""
    file = Path(path)
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def approximate(content: Any) -> Any:
    """Return JSON values whose numbers equal others that are almost the same."""
    if isinstance(content, dict):
        return {key: approximate(value) for key, value in content.items()}
    if isinstance(content, list):
        return [approximate(value) for value in content]
    return pytest.approx(content, rel=1e-5, nan_ok=True) if isinstance(content, float) else content


@dataclasses.dataclass
class Hook:
    """A server of webhooks.

    Args:
        url: its address.
        received: headers and body of each request.
        answers: status codes of the next requests; 200 afterwards.
    """

    url: str = ""
    received: list[tuple[dict[str, str], bytes]] = dataclasses.field(default_factory=list)
    answers: list[int | tuple[int, dict[str, str]]] = dataclasses.field(default_factory=list)


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Start a server on a free port, and return the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def webhook_server() -> Iterator[Hook]:
    """Start a server of webhooks."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = hook.answers.pop(0) if hook.answers else 200
            code, headers = answer if isinstance(answer, tuple) else (answer, {})
            hook.received.append((dict(self.headers), body))
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http_server(Handler) as port:
        hook.url = f"http://127.0.0.1:{port}/hook"
        yield hook


class RunningWatch:
    """A watch in a thread, which is stopped at the end of the block."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher, self.stop, self.ports = watcher, threading.Event(), list[int | None]()
        self.thread = threading.Thread(target=watcher.run, args=(self.stop, self.ports.append))

    def __enter__(self) -> "RunningWatch":
        self.thread.start()
        wait_for(lambda: self.ports or not self.thread.is_alive(), "the watch did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.watcher.close()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[0]}{path}") as answer:
            return str(answer.read().decode())
