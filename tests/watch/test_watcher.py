"""The whole watch: threads, the endpoint, checks, and failures that end nothing."""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for
from prometheus_client.parser import text_string_to_metric_families
from watching import HEADER, NOW, Clock, RunningWatch, lines, messages, use_run

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.watch.config import parse_watch
from lstm_ae.watch.sinks import Sink
from lstm_ae.watch.sources import FileSource, StreamSource
from lstm_ae.watch.watcher import Watcher

VALUES = [*[0.0] * 20, 20.0, *[0.0] * 20]


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    return use_run(monkeypatch)


def watcher_of(*names: str, clock: Clock | None = None, stored: bool = True, **more: Any) -> Watcher:
    monitors = [
        {
            "name": name,
            "run": "run",
            "threshold": "fixed:20",
            "source": {"kind": "file", "path": f"{name}.csv", "start": "beginning"},
        }
        for name in names or ["pump"]
    ]
    sinks = [{"name": "file", "kind": "jsonl", "path": "alarms.jsonl"}]
    return Watcher(
        parse_watch({"poll": 0.01, "monitors": monitors, "sinks": sinks, **more}), clock or Clock(), stored=stored
    )


def samples_of(running: RunningWatch) -> dict[tuple[str, ...], float]:
    """Return the metrics by name and labels."""
    families = text_string_to_metric_families(running.get("/metrics"))
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("fails", [False, True])
def test_watch_of_standard_input_ends_with_it(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """What feeds it may be slower than the watch; messages that no sink has are an error."""
    read, write = os.pipe()
    if fails:
        Path("alarms.jsonl").mkdir()
    watcher = watcher_of()
    watcher.monitors[0].source = StreamSource("csv", use_run(monkeypatch).detector.config, read)
    text = HEADER + lines(VALUES)

    def feed() -> None:
        for part in (text[:200], text[200:]):
            os.write(write, part.encode())
            time.sleep(0.2)
        os.close(write)

    thread = threading.Thread(target=feed)
    thread.start()
    waiting = pytest.raises(DataError, match=r"pump: 2 messages wait for the sink file \(.*The next start sends them")
    with waiting if fails else contextlib.nullcontext():
        watcher.run(threading.Event(), lambda port: None)
    thread.join()
    assert watcher.monitors[0].status.rows == len(VALUES)
    assert fails or [each["status"] for each in messages()] == ["firing", "resolved"]
    watcher.close()
    os.close(read)


def test_metrics() -> None:
    path, clock = Path("pump.csv"), Clock()
    path.write_text(HEADER + lines(VALUES) + "2024-01-01,high\n")
    with RunningWatch(watcher_of(clock=clock, http={"port": 0})) as running:
        newest = NOW - 86_400 + 40 * 60
        scored = ("lstmae_watch_last_score_timestamp_seconds", "pump", "")
        wait_for(lambda: samples_of(running).get(scored) == newest, "no scores")
        # The thread of the sink sends the messages later.
        wait_for(lambda: not samples_of(running)[("lstmae_watch_waiting_messages", "pump", "file")], "messages wait")
        samples = samples_of(running)
        assert samples[("lstmae_watch_rows_total", "pump")] == 41
        assert samples[("anomaly_score", "pump", "")] == samples[("anomaly_score_ratio", "pump", "")] == 0
        assert samples[("lstmae_watch_refused_rows_total", "pump", "value")] == 1
        assert samples[("lstmae_alarms_total", "pump", "")] == 1
        assert 0 < samples[("lstmae_false_alarms_announced_total", "pump", "")] < 1
        assert samples[("lstmae_alarms_suppressed_total", "pump", "")] == samples[("lstmae_changed", "pump", "")] == 0
        assert samples[("lstmae_watch_last_row_timestamp_seconds", "pump")] == newest
        assert samples[("lstmae_watch_model_info", "pump", "run", "first")] == 1
        assert samples[("lstmae_watch_source_up", "pump")] == samples[("lstmae_watch_sink_up", "pump", "file")] == 1
        path.unlink()
        wait_for(lambda: not samples_of(running)[("lstmae_watch_source_up", "pump")], "the source is still up")
        path.write_text(HEADER + lines(VALUES[:5], 41))
        clock.now += 100
        wait_for(lambda: samples_of(running)[("lstmae_watch_rows_total", "pump")] == 46, "the source did not recover")
        # The source is up after its rows are stored.
        wait_for(lambda: samples_of(running)[("lstmae_watch_source_up", "pump")], "the source is not up")


def test_unexpected_error_of_a_source_is_logged_and_retried(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    Path("pump.csv").write_text(HEADER + lines(VALUES))
    clock, read = Clock(), FileSource.read
    monkeypatch.setattr(FileSource, "read", lambda *_: 1 / 0)
    watcher = watcher_of(clock=clock)
    with RunningWatch(watcher):
        wait_for(lambda: "unexpected error" in caplog.text, "no failure")
        monkeypatch.setattr(FileSource, "read", read)
        clock.now += 100
        wait_for(lambda: watcher.monitors[0].status.rows == 41, "it did not go on")


def test_check_reports_each_source_and_sink_and_changes_nothing() -> None:
    Path("fan.csv").write_text("time,other\n" + lines(VALUES))
    Path("pump.csv").write_text(HEADER + lines(VALUES))
    Path("alarms.jsonl").mkdir()
    running, watcher = watcher_of("pump"), watcher_of("pump", "fan", "gone", stored=False)
    found = {each.name: each.problem for each in watcher.check()}
    assert found.pop("source of pump: pump.csv") == ""
    assert "no column 'value 0'" in found.pop("source of fan: fan.csv")
    assert "There is no file 'gone.csv'" in found.pop("source of gone: gone.csv")
    assert found == {"sink file": ""}
    assert watcher.monitors[0].status.rows == 0
    watcher.close()
    running.close()
    assert [path.name for path in Path("watch-state").iterdir()] == ["pump.sqlite"]


class WaitingSink(Sink):
    """A sink that accepts a message and never answers, until a test ends it."""

    def __init__(self) -> None:
        self.called, self.release = threading.Event(), threading.Event()

    def check(self) -> None:
        """Accept everything."""

    def send(self, messages: Any) -> None:
        self.called.set()
        self.release.wait()


def test_sink_that_never_answers_delays_neither_other_sinks_nor_the_source() -> None:
    path, waiting = Path("pump.csv"), WaitingSink()
    path.write_text(HEADER + lines(VALUES))
    sinks = [{"name": name, "kind": "jsonl", "path": f"{name}.jsonl"} for name in ("stuck", "file")]
    watcher = watcher_of(sinks=sinks)
    (monitor,) = watcher.monitors
    monitor.outboxes["stuck"].sink = waiting
    with RunningWatch(watcher):
        wait_for(waiting.called.is_set, "nothing was sent")
        wait_for(lambda: len(messages("file.jsonl")) == 2, "the other sink waits")
        path.write_text(HEADER + lines([*VALUES, *VALUES]))
        wait_for(lambda: len(messages("file.jsonl")) == 4, "the source waits")
        assert monitor.outboxes["stuck"].waiting == 4
        waiting.release.set()


def test_port_in_use_is_refused() -> None:
    Path("pump.csv").write_text(HEADER)
    with socket.create_server(("127.0.0.1", 0)) as server:
        watcher = watcher_of(http={"port": server.getsockname()[1]})
        with pytest.raises(ConfigError, match=r"\[http\]: 127.0.0.1:\d+ cannot be used: Address already in use"):
            watcher.run(threading.Event(), lambda port: None)
        watcher.close()
