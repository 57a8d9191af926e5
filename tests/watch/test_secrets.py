"""Secrets of sources and sinks that cannot be reached appear nowhere: not in logs, metrics, checks, or the state."""

from pathlib import Path
from typing import Any

import pytest
from detectors import detector_of
from processes import wait_for
from programs import free_port
from watching import Clock, RunningWatch, use_run

from lstm_ae.watch.config import parse_watch
from lstm_ae.watch.watcher import Watcher

SOURCES: dict[str, dict[str, Any]] = {
    "sql": {"table": "rows"},
    "prometheus": {"queries": ["value 0=flow"]},
    "mqtt": {"topic": "pump", "client_id": "watch"},
}
SCHEMES = {"sql": "postgresql", "mqtt": "mqtt"}


def test_secrets_appear_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    use_run(monkeypatch, detector_of(time_col="time"))
    caplog.set_level("DEBUG")
    for kind in ("sql", "prometheus", "mqtt", "webhook", "alertmanager"):
        url = f"{SCHEMES.get(kind, 'http')}://someone:hidden@localhost:{free_port()}"
        monkeypatch.setenv(kind.upper(), f"{url}/name" if kind == "sql" else url)
    monkeypatch.setenv("TOKEN", "hidden")
    monitors = [
        {"name": f"of-{kind}", "run": "run", "source": {"kind": kind, "url_env": kind.upper(), **more}, "silence": "1s"}
        for kind, more in SOURCES.items()
    ]
    # The silence of a file gives each sink a message.
    Path("live.csv").write_text("time,value 0\n")
    monitors.append({"name": "file", "run": "run", "source": {"kind": "file", "path": "live.csv"}, "silence": "1s"})
    sinks: list[dict[str, Any]] = [
        {"name": f"to-{kind}", "kind": kind, "url_env": kind.upper()}
        for kind in ("sql", "mqtt", "webhook", "alertmanager")
    ]
    sinks[-1]["token_env"] = "TOKEN"
    clock = Clock()
    config = {"poll": 0.01, "http": {"port": 0}, "monitors": monitors, "sinks": sinks}
    watcher = Watcher(parse_watch(config), clock)
    with RunningWatch(watcher) as running:
        clock.now += 10
        *remote, file = watcher.monitors
        wait_for(lambda: all(each.backoff.failures for each in remote), "a source works")
        wait_for(lambda: all(each.backoff.failures for each in file.outboxes.values()), "a sink works")
        metrics = running.get("/metrics")
        problems = [check.problem for check in watcher.check()]
    assert all(problems[: len(SOURCES)])
    assert all(problems[-len(sinks) :])
    state = [path.read_bytes().decode("latin-1") for path in Path("watch-state").iterdir()]
    assert len(state) >= len(monitors)
    for text in (metrics, *problems, *state, caplog.text):
        assert "hidden" not in text
        assert "someone" not in text
