"""`lstmae watch` with the real Prometheus and Alertmanager of Debian."""

import itertools
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from detectors import detector_of
from processes import wait_for
from programs import ALERTMANAGER, PROMETHEUS, alertmanager_server, needs, prometheus_server
from watching import HEADER, NOW, Clock, drain, lines, messages, monitor_of, use_run, webhook_server

from lstm_ae.config import Reading
from lstm_ae.errors import DataError
from lstm_ae.watch.config import FILES
from lstm_ae.watch.metrics import MetricsServer
from lstm_ae.watch.prometheus import Prometheus, PrometheusSource
from lstm_ae.watch.sinks import Alertmanager

pytestmark = pytest.mark.slow
CONFIG = """
route: {{ receiver: hook, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}
receivers: [{{ name: hook, webhook_configs: [{{ url: "{url}", send_resolved: true }}] }}]
"""


def alerts(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v2/alerts") as answer:
        return json.load(answer)


def notified(received: list[Any]) -> list[Any]:
    """Return the notifications of Alertmanager to a webhook."""
    return [json.loads(body) for _, body in received]


@needs(ALERTMANAGER, "prometheus-alertmanager")
def test_fault_is_one_alert_that_is_resolved_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    use_run(monkeypatch)
    values, live = [0.0] * 23, Path("live.csv")
    values[20] = 20.0
    with webhook_server() as hook, alertmanager_server(CONFIG.format(url=hook.url)) as url:
        options = Alertmanager(url=url)
        sink = options.open()
        sink.check()
        live.write_text(HEADER + lines(values))
        monitor = monitor_of(sinks={"alerts": (options, sink)})
        drain(monitor)
        wait_for(lambda: len(hook.received) == 1, "no notification")
        (alert,) = alerts(url)
        assert alert["status"]["state"] == "active"
        assert alert["labels"]["monitor"] == "pump"
        assert alert["startsAt"] == "2024-01-01T00:20:00.000Z"
        fingerprint = alert["fingerprint"]
        for _ in range(3):
            monitor.outboxes["alerts"].refreshed = float("-inf")
            drain(monitor)
        assert [each["fingerprint"] for each in alerts(url)] == [fingerprint]
        with live.open("a") as file:
            file.write(lines([0.0] * 10, 23))
        drain(monitor)
        wait_for(lambda: len(hook.received) == 2, "the alert was not resolved")
        assert alerts(url) == []
    found = notified(hook.received)
    assert [each["status"] for each in found] == ["firing", "resolved"]
    assert {alert["fingerprint"] for each in found for alert in each["alerts"]} == {fingerprint}


@needs(PROMETHEUS, "prometheus")
def test_past_values_of_prometheus_are_scored_like_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pumps with a gap of 20 minutes, NaN, and a fault, and a query that Prometheus refuses."""
    use_run(monkeypatch, detector_of(time_col="time", id_col=("pump",)))
    begin, rows = round(NOW) - 3600, list[str]()
    for pump, minute in itertools.product("ab", range(60)):
        value = "NaN" if minute == 5 else 20 if pump == "a" and minute == 12 else 0
        if not 20 <= minute < 40:
            rows.append(f'flow{{pump="{pump}"}} {value} {begin + 60 * minute}')
    Path("past.txt").write_text("\n".join(["# TYPE flow gauge", *rows, "# EOF", ""]))
    promtool = Path(str(PROMETHEUS)).with_name("promtool")
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"], check=True)
    clock = Clock()
    monkeypatch.setattr(PrometheusSource.__init__, "__defaults__", (clock.time,))
    with prometheus_server("{}") as url:
        source = Prometheus(url=url, queries=("value 0=max by (pump) (flow)",), history="3600s")
        for _ in range(2):
            monitor = monitor_of(source, clock=clock)
            drain(monitor)
            monitor.close()
        # Prometheus repeats a value for 5 minutes, whose last moment counts before version 3.
        assert monitor.status.rows in (2 * (20 + 5 + 20), 2 * (20 + 4 + 20))
        assert not monitor.status.refused
        times = [each["start"] for each in messages()]
        assert times == ["2024-01-01T23:12:00+00:00"] * 2
        reading = Reading(time_col="time", value_cols=("x",), freq="1min")
        with pytest.raises(DataError, match=r"query of 'x': invalid parameter .query.: 1:\d: parse error"):
            Prometheus(url=url, queries=("x=flow)",)).open(reading).read(None)
        with pytest.raises(DataError, match="has no result now"):
            Prometheus(url=url, queries=("x=absent_metric",)).open(reading).check()


RULES = """
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }}
rule_files: [{rules}]
scrape_configs: [{{ job_name: watch, static_configs: [{{ targets: ["127.0.0.1:{port}"] }}] }}]
"""


@needs(PROMETHEUS, "prometheus")
def test_dashboard_and_rules_have_results_in_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    use_run(monkeypatch)
    Path("live.csv").write_text(HEADER + lines([*[0.0] * 20, 20.0]) + "2024-01-01T00:30,high\n")
    monitor = monitor_of()
    drain(monitor)
    clock = Clock()
    server = MetricsServer("127.0.0.1", 0, [monitor], clock)
    board = json.loads((FILES / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    values = {"$__rate_interval": "5s", "$__range": "5s", "$monitor": ".*", "$series": ".*"}
    with prometheus_server(RULES.format(rules=FILES / "rules.yaml", port=server.port)) as url:

        def ask(path: str, **fields: str) -> Any:
            with urllib.request.urlopen(f"{url}/api/v1/{path}?{urlencode(fields)}") as answer:
                return json.load(answer)["data"]

        def firing() -> set[str]:
            return {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing"}

        try:
            wait_for(lambda: "AnomalyScoreAboveThreshold" in firing(), "no alert")
            clock.now += 2 * 86_400
            wait_for(lambda: firing() == {"AnomalyScoreAboveThreshold", "WatchHasNoNewRows"}, "other alerts")
            (group,) = ask("rules")["groups"]
            assert {rule["health"] for rule in group["rules"]} == {"ok"}
            for expression in expressions:
                for name, value in values.items():
                    expression = expression.replace(name, value)
                wait_for(lambda: ask("query", query=expression)["result"], expression)  # noqa: B023
        finally:
            server.close()
            monitor.close()
