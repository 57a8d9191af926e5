"""Sinks: what all of them promise, and what is special of JSON lines, webhooks, and Alertmanager."""

import contextlib
import json
import sqlite3
import time
from http.server import BaseHTTPRequestHandler
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from watching import EVENT, Hook, http_server, messages, webhook_server

from lstm_ae.errors import ConfigError
from lstm_ae.watch import servers
from lstm_ae.watch.config import SINK_GROUP
from lstm_ae.watch.mqtt import MqttTopic
from lstm_ae.watch.sinks import (
    Alertmanager,
    AlertmanagerSink,
    JsonLines,
    Message,
    RefusedMessageError,
    SinkError,
    Webhook,
)
from lstm_ae.watch.sql import SqlTable

ONE, TWO = Message("1-firing", {"text": "Tür"}), Message("2-firing", {"text": None})


OVER = EVENT | {"status": "resolved", "end": "2024-02-25T02:10:00+00:00"}
FIRING, RESOLVED = Message("4309-firing", EVENT), Message("4309-resolved", OVER)


def _jsonl_keys(hook: Hook) -> list[str]:
    return [each["key"] for each in messages("out.jsonl")]


def _posted_keys(hook: Hook) -> list[str]:
    keys = [headers["Idempotency-Key"] for headers, _ in hook.received]
    assert keys == [json.loads(body)["key"] for _, body in hook.received]
    return keys


def _alert_keys(hook: Hook) -> list[str]:
    """Return the keys of messages by the labels that identify an alert, and by its end."""
    alerts = [json.loads(body)[0] for _, body in hook.received]
    over = "2024-02-25T02:10:00+00:00"
    return [f"{each['labels']['event']}-{'resolved' if each['endsAt'] == over else 'firing'}" for each in alerts]


def _row_keys(hook: Hook) -> list[str]:
    with contextlib.closing(sqlite3.connect("out.db")) as connection:
        return [f"{event}-{status}" for event, status in connection.execute("SELECT event, status FROM lstmae_events")]


# Options of a sink, the keys that its receiver has, and these after two messages and copies of them.
BOTH = ["4309-firing", "4309-resolved"]
CONTRACT: dict[str, Any] = {
    "jsonl": (lambda url: JsonLines(path="out.jsonl"), _jsonl_keys, BOTH * 2),
    "webhook": (lambda url: Webhook(url=url), _posted_keys, BOTH * 2),
    "alertmanager": (lambda url: Alertmanager(url=url), _alert_keys, BOTH * 2),
    "sql": (lambda url: SqlTable(url="sqlite:///out.db"), _row_keys, ["4309-resolved"]),
}


@pytest.mark.parametrize("kind", CONTRACT)
def test_every_sink_delivers_all_messages_and_copies_have_their_keys(kind: str) -> None:
    options, keys, expected = CONTRACT[kind]
    with webhook_server() as hook:
        sink = options(hook.url).open()
        sink.check()
        assert keys(hook) == [] if kind != "sql" else not Path("out.db").exists()
        for message in (FIRING, RESOLVED) * 2:
            sink.send([message])
        assert keys(hook) == expected
        sink.close()


@pytest.mark.parametrize(
    "options",
    [
        JsonLines(path="missing/out.jsonl"),
        Webhook(url="http://127.0.0.1:1/"),
        Alertmanager(url="http://127.0.0.1:1"),
        SqlTable(url="sqlite:///missing/out.db"),
        MqttTopic(url="mqtt://127.0.0.1:1"),
    ],
    ids=lambda options: type(options).__name__,
)
def test_every_sink_that_cannot_be_reached_reports_it(options: Any) -> None:
    sink = options.open()
    for call in (sink.check, lambda: sink.send([FIRING])):
        with pytest.raises(SinkError):
            call()
    sink.close()


def test_every_kind_of_sink_is_in_the_contract() -> None:
    assert {*CONTRACT, "mqtt"} == entry_points(group=SINK_GROUP).names


@pytest.mark.parametrize("line", ['{"key":"b","of":"another program"}', '{"key":"1-fir', "text"])
def test_line_without_an_end_is_kept_apart(line: str) -> None:
    """A process that was killed left it, or another program."""
    Path("out.jsonl").write_text(line)
    JsonLines(path="out.jsonl").open().send([ONE])
    assert Path("out.jsonl").read_text() == line + '\n{"key":"1-firing","text":"Tür"}\n'


def test_failed_write_leaves_no_part_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    sink = JsonLines(path="out.jsonl").open()
    sink.send([ONE])
    before = Path("out.jsonl").read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(SinkError, match="No space left"):
            sink.send([TWO])
    assert Path("out.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "kind", "wait"),
    [
        (400, RefusedMessageError, None),
        (422, RefusedMessageError, None),
        (401, SinkError, None),
        (500, SinkError, None),
        ((302, {"Location": "/other"}), SinkError, None),
        ((429, {"Retry-After": "7"}), SinkError, 7.0),
        ((503, {"Retry-After": "soon"}), SinkError, None),
    ],
)
def test_answers_of_a_webhook(answer: Any, kind: type[Exception], wait: float | None) -> None:
    with webhook_server() as hook:
        hook.answers += [answer]
        with pytest.raises(kind, match="The server answers") as error:
            Webhook(url=hook.url).open().send([ONE])
    assert len(hook.received) == 1
    assert getattr(error.value, "wait", None) == wait


def test_secret_that_no_header_can_contain_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hidden\n# rotated")
    monkeypatch.setenv("UMLAUT", "hiddén")
    for options, problem in (
        ({"token_env": "TOKEN"}, "The environment variable 'TOKEN' of token_env contains a line break"),
        ({"token_env": "UMLAUT"}, "The token contains characters that are not ASCII"),
        ({"url": "https://user:hid/den@host/x"}, "url contains a password"),
        ({"url": "http//user:hidden@host/x"}, "url must be an address .* Received: another text$"),
    ):
        with pytest.raises(ConfigError, match=problem) as error:
            Webhook(**{"url": "http://host"} | options).open()  # type: ignore[arg-type]
        assert "hid" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/hiddén", "http://127.0.0.1:1/hid den", f"http://{'hidden' * 20}.example/"]
)
def test_error_of_a_client_contains_no_part_of_the_address(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    sink = Webhook(url=url).open()
    with pytest.raises(SinkError, match="The server cannot be reached: ") as error:
        sink.send([ONE])
    sink.close()
    assert "hid" not in str(error.value) + caplog.text


def test_alert_has_labels_that_identify_the_event() -> None:
    with webhook_server() as hook:
        options = Alertmanager(url=f"{hook.url}/")
        sink = AlertmanagerSink(options.client("/api/v2/alerts"))
        sink.now = lambda: 0.0
        sink.check()
        sink.send([FIRING])
        sink.send([RESOLVED])
    assert sink.client.url == f"{hook.url}/api/v2/alerts"
    ((firing,), (resolved,)) = (json.loads(body) for _, body in hook.received)
    assert firing == {
        "labels": {"alertname": "lstmae_anomaly", "monitor": "pump", "kind": "anomaly", "event": "4309"},
        "annotations": {
            "score": "2.5",
            "threshold": "2.0",
            "p": "0.25",
            "version": "first",
            "causes": "flow 75%, Tür 25%",
        },
        "startsAt": "2024-02-25T00:00:00+00:00",
        "endsAt": "1970-01-01T00:05:00+00:00",
    }
    assert resolved == firing | {"endsAt": "2024-02-25T02:10:00+00:00"}


def test_answer_that_never_ends_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MAX_SECONDS", 0.1)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "20")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(20):
                    self.wfile.write(b"x")
                    time.sleep(0.05)

    with http_server(Handler) as port:
        sink = Webhook(url=f"http://127.0.0.1:{port}").open()
        with pytest.raises(SinkError):
            sink.send([ONE])
        sink.close()
