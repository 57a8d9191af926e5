"""Kinds of sources and sinks of other packages: the example of the documentation, and packages that are broken."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from detectors import detector_of
from watching import drain, messages, monitor_of, use_run

from lstm_ae.errors import ConfigError
from lstm_ae.watch.config import parse_watch
from lstm_ae.watch.monitor import Monitor
from lstm_ae.watch.mqtt import MqttTopic
from lstm_ae.watch.sinks import JsonLines, JsonLinesSink, SinkOptions
from lstm_ae.watch.sql import SqlTable
from lstm_ae.watch.watcher import Watcher

PAGE = Path(__file__).parents[2] / "docs/pages/how-to/watch-plugins.md"
SINK = {"name": "log", "kind": "syslog"}


def install(monkeypatch: pytest.MonkeyPatch, project: dict[str, Any], module: str, code: str) -> None:
    """Write a package with the metadata that an installer writes, and put it on the path of this process."""
    folder = Path("packages")
    metadata = folder / f"{project['name'].replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    (folder / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder.resolve()))
    monkeypatch.delitem(sys.modules, module, raising=False)


def document(kind: str = "load", sinks: Any = (), **source: Any) -> dict[str, Any]:
    monitor = {"name": "pump", "run": "run", "source": {"kind": kind, **source}}
    return {"monitors": [monitor], "sinks": list(sinks)}


def test_example_of_the_documentation_is_installed_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    project, code, used = (
        text for _, text in re.findall(r"^```(toml|python)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    )
    install(monkeypatch, tomllib.loads(project)["project"], "lstmae_machine", code)
    config = parse_watch(tomllib.loads(used))
    use_run(monkeypatch, detector_of(time_col="time", value_cols=("load",), freq="10s"))
    logged: list[tuple[int, str]] = []
    monkeypatch.setattr("syslog.syslog", lambda level, text: logged.append((level, text)))
    clock = [1_704_067_200.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    options = config.sinks["log"]
    watcher = Watcher(config, stored=False)
    assert [(check.name, check.problem) for check in watcher.check()] == [
        ("source of machine: load of this machine", ""),
        ("sink log", ""),
    ]
    watcher.close()
    for number in range(24):
        # A row arrives every 10 seconds, which is asked for twice; each second time in a new process.
        monitor = monitor_of(config.monitors[0].source, {"log": options.open()})
        monkeypatch.setattr("os.getloadavg", lambda number=number: (20.0 if number == 20 else 0.5, 0, 0))
        drain(monitor)
        monitor.close()
        clock[0] += 5
    assert monitor.status.rows == 12
    assert [re.sub(r"\w{16}", "ID", text) for _, text in logged] == ["pump anomaly firing ID-firing"]


CODE = """
import dataclasses
from lstm_ae.watch.sinks import Sink, SinkOptions
from lstm_ae.watch.sources import RowSource, SourceOptions
number = 1
class Bad(SourceOptions):
    def open(self, reading):
        return BadSource()
class Shut(SourceOptions):
    def open(self, reading):
        return 1 / 0
class BadSource(RowSource):
    name = "bad"
    def read(self, cursor):
        return 1 / 0
"""
SOURCES = {"load": "broken:number", "tape": "broken:absent", "shut": "broken:Shut"}
SOURCES |= dict.fromkeys(("bad", "file"), "broken:Bad")
ENTRIES = {"lstm_ae.sources": SOURCES, "lstm_ae.sinks": {"gone": "no_such_module:Sink"}}


def test_package_that_cannot_be_used_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {"name": "broken-kinds", "entry-points": ENTRIES}, "broken", CODE)
    for given, problem in (
        (
            document("load"),
            r"source\]: kind 'load' of broken-kinds cannot be used \(TypeError: not a subclass of SourceOptions",
        ),
        (document("tape"), r"'tape' of broken-kinds cannot be used \(AttributeError: .*'absent'\)"),
        (
            document("other"),
            r"kind must be one of bad, file, load, mqtt, .*sql, stdin, tape\. Received: 'other'",
        ),
        (document("bad", x=1), "Unknown key 'x'"),
        # A kind of this package cannot be replaced silently.
        (document("file", path="a.csv"), "kind 'file' is provided by broken-kinds and lstm-ae. Remove one"),
        (
            document("bad", [{"name": "log", "kind": "gone"}]),
            r"\[\[sinks\]\] 'log': kind 'gone' of broken-kinds cannot be used \(ModuleNotFoundError: .*Repair",
        ),
    ):
        with pytest.raises(ConfigError, match=problem):
            parse_watch(given)


def test_errors_of_other_packages_are_reported_and_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {"name": "broken-kinds", "entry-points": ENTRIES}, "broken", CODE)
    use_run(monkeypatch)
    watcher = Watcher(parse_watch(document("bad")), stored=False)
    assert [check.problem for check in watcher.check()] == ["ZeroDivisionError: division by zero"]
    watcher.close()

    class BrokenSink(JsonLinesSink):
        def send(self, messages: Any) -> None:
            raise KeyError("hidden attribute")

    sinks = {"broken": BrokenSink(Path("x")), "file": JsonLines(path="alarms.jsonl").open()}
    Path("live.csv").write_text(
        "time,value 0\n" + "".join(f"2024-01-01T00:{n:02},{20 * (n == 5)}\n" for n in range(20))
    )
    monitor: Monitor = monitor_of(sinks=sinks)
    drain(monitor)
    assert [each["status"] for each in messages()] == ["firing", "resolved"]
    assert monitor.outboxes["broken"].backoff.error == "unexpected error: KeyError: 'hidden attribute'"
    assert {name: outbox.waiting for name, outbox in monitor.outboxes.items()} == {"broken": 2, "file": 0}
    monitor.close()


def test_sinks_are_closed_if_a_source_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {"name": "broken-kinds", "entry-points": ENTRIES}, "broken", CODE)
    use_run(monkeypatch)
    closed = list[str]()
    monkeypatch.setattr(JsonLinesSink, "close", lambda sink: closed.append(sink.path.name))
    with pytest.raises(ZeroDivisionError):
        Watcher(parse_watch(document("shut", [{"name": "log", "kind": "jsonl", "path": "a"}])), stored=False)
    assert closed == ["a"]


@pytest.mark.parametrize(
    ("kind", "package", "module", "options"),
    [
        ("sql", "sqlalchemy", "sqlalchemy", SqlTable(url="sqlite:///a.db")),
        ("mqtt", "paho-mqtt", "paho", MqttTopic(url="mqtt://host")),
    ],
)
def test_absent_package_is_reported_with_its_installation(
    kind: str, package: str, module: str, options: SinkOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.startswith("paho")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"kind = '{kind}' needs {package}: pip install .*\[{kind}\]"):
        options.open()
