"""`lstmae watch` with the real Prometheus, Alertmanager, PostgreSQL, and Mosquitto of Debian."""

import contextlib
import itertools
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from detectors import detector_of
from processes import wait_for
from programs import (
    ALERTMANAGER,
    MOSQUITTO,
    POSTGRES,
    PROMETHEUS,
    alertmanager_server,
    free_port,
    mosquitto_server,
    needs,
    postgres_server,
    prometheus_server,
)
from watching import EVENT, HEADER, NOW, Clock, drain, lines, messages, monitor_of, opened, use_run, webhook_server

from lstm_ae.config import Reading
from lstm_ae.errors import DataError
from lstm_ae.watch import prometheus
from lstm_ae.watch.config import FILES
from lstm_ae.watch.metrics import MetricsServer
from lstm_ae.watch.mqtt import Mqtt, MqttTopic
from lstm_ae.watch.prometheus import Prometheus
from lstm_ae.watch.sinks import Alertmanager, Message, RefusedMessageError, SinkError
from lstm_ae.watch.sources import RowSource
from lstm_ae.watch.sql import Sql, SqlTable

CONFIG = """
route: {{ receiver: hook, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}
receivers: [{{ name: hook, webhook_configs: [{{ url: "{url}", send_resolved: true }}] }}]
"""


READING = Reading(time_col="time", value_cols=("x",))


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
        sinks = opened(alerts=Alertmanager(url=url))
        sinks["alerts"].check()
        live.write_text(HEADER + lines(values))
        monitor = monitor_of(sinks=sinks)
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
    monkeypatch.setattr(prometheus, "time", clock)
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
    server = MetricsServer("127.0.0.1", 0, [monitor])
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
            wait_for(lambda: firing() == {"AnomalyFound", "WatchHasNoNewRows"}, "other alerts")
            (group,) = ask("rules")["groups"]
            assert {rule["health"] for rule in group["rules"]} == {"ok"}
            for expression in expressions:
                for name, value in values.items():
                    expression = expression.replace(name, value)
                wait_for(lambda: ask("query", query=expression)["result"], expression)  # noqa: B023
        finally:
            server.close()
            monitor.close()


@needs(POSTGRES, "postgresql")
def test_postgres_reads_late_transactions_and_stores_an_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that no later row follows block nothing; errors contain no secret."""
    reading = Reading(time_col="time", value_cols=("x",))
    with postgres_server() as url:
        monkeypatch.setenv("DB", url)
        engine = sa.create_engine(url.replace("postgresql", "postgresql+pg8000"))
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE late (time timestamptz DEFAULT now(), x real)"))
            connection.execute(sa.text("INSERT INTO late VALUES ('infinity', 9), ('2099-01-01', 9)"))
        source = Sql(url_env="DB", table="late", delay="1s").open(reading)
        cursor = source.read(None).cursor
        insert = sa.text("INSERT INTO late (x) VALUES (1)")
        with engine.begin() as first:
            first.execute(insert)
            with engine.begin() as second:
                second.execute(insert)
            assert source.read(cursor).records == []
        wait_for(lambda: len(source.read(cursor).records) == 2, "rows are missing")
        sink = SqlTable(url_env="DB", table="events").open()
        for status in ("firing", "resolved", "firing"):
            sink.send([Message(f"4309-{status}", EVENT | {"status": status})])
        with engine.begin() as connection:
            assert connection.execute(sa.text("SELECT event, status FROM events")).all() == [("4309", "resolved")]
        with pytest.raises(RefusedMessageError, match=r"0x00"):
            sink.send([Message("1", EVENT | {"event": "1", "series": "a\0b"})])
        monkeypatch.setenv("DB", url.replace("hidden", "wrong"))
        with pytest.raises(DataError, match="password authentication failed") as error:
            Sql(url_env="DB", table="late").open(reading).read(None)
        assert "wrong" not in str(error.value)
        engine.dispose()
    with pytest.raises(DataError, match=r"refused|connection"):
        source.read(cursor)
    source.close()
    sink.close()


@needs(MOSQUITTO, "mosquitto")
def test_mosquitto_refuses_and_ends_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of another topic, a second one of the same name, a wrong password, and a topic that is not allowed."""
    words = ["mosquitto_passwd", "-b", "-c", "passwords", "watch", "hidden"]
    subprocess.run(words, check=True, capture_output=True)
    Path("rules").write_text("user watch\ntopic read pump\ntopic readwrite old/#\n")
    for name in ("passwords", "rules"):
        Path(name).chmod(0o600)
    here = Path.cwd()
    with mosquitto_server(f"allow_anonymous false\npassword_file {here}/passwords\nacl_file {here}/rules") as url:
        for name, password in (("RIGHT", "hidden"), ("WRONG", "secret")):
            monkeypatch.setenv(name, url.replace("//", f"//watch:{password}@"))

        def source_of(topic: str, env: str = "RIGHT") -> RowSource:
            return Mqtt(url_env=env, topic=topic, client_id="one").open(READING)

        with pytest.raises(DataError, match="The broker refuses the connection: Not authorized") as error:
            source_of("pump", "WRONG").read(None)
        assert "secret" not in str(error.value)
        sink = MqttTopic(url_env="RIGHT", topic="pump").open()
        with pytest.raises(SinkError, match="The broker refuses the message: Not authorized"):
            sink.send([Message("1", {})])
        sink.close()
        former = source_of("old/a")
        cursor = former.read(None).cursor
        former.close()
        sink = MqttTopic(url_env="RIGHT", topic="old/a").open()
        sink.send([Message("1", {"x": 1})])
        sink.close()
        source = source_of("pump")
        assert source.read(cursor).records == []
        other = source_of("pump")
        other.read(cursor)
        with pytest.raises(DataError, match="The broker has ended the connection"):
            wait_for(lambda: source.read(cursor).records, "the connection did not end")
        source.close()
        other.close()


@needs(MOSQUITTO, "mosquitto")
def test_source_and_sink_connect_again_after_the_broker_restarts() -> None:
    port, cursor, values = free_port(), None, list[str]()
    source = Mqtt(url=f"mqtt://127.0.0.1:{port}", topic="pump", client_id="one").open(READING)
    sink = MqttTopic(url=f"mqtt://127.0.0.1:{port}", topic="pump").open()

    def reads() -> bool:
        nonlocal cursor
        with contextlib.suppress(DataError):
            batch = source.read(cursor)
            cursor = batch.cursor
            values.extend(record["x"] for record in batch.records)
            return True
        return False

    for expected in (["0"], ["0", "1"]):
        with mosquitto_server(port=port):
            wait_for(reads, "the source did not connect")
            sink.send([Message("", {"x": int(expected[-1])})])
            wait_for(lambda expected=expected: reads() and values == expected, "the message did not arrive")
        wait_for(lambda: not reads(), "the connection did not end")
        with pytest.raises(SinkError, match="The broker "):
            sink.send([Message("", {})])
    source.close()
    sink.close()


# paho-mqtt drops the socket of a failed handshake without closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs(MOSQUITTO, "mosquitto")
def test_broker_with_tls_must_have_a_certificate_that_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    words += ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    here = Path.cwd()
    with mosquitto_server(f"allow_anonymous true\ncertfile {here}/cert.pem\nkeyfile {here}/key.pem") as url:
        options = Mqtt(url=url.replace("mqtt", "mqtts"), topic="pump", client_id="one")
        with pytest.raises(DataError, match="The broker cannot be reached: "):
            options.open(READING).check()
        monkeypatch.setenv("SSL_CERT_FILE", str(here / "cert.pem"))
        options.open(READING).check()
