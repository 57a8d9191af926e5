"""Sinks: lines of JSON, and signed webhooks."""

import hashlib
import hmac
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from watching import EVENT, messages, webhook_server

from lstm_ae.errors import ConfigError
from lstm_ae.watch.servers import HttpClient, ServerError
from lstm_ae.watch.sinks import (
    Alertmanager,
    AlertmanagerSink,
    JsonLines,
    Message,
    RefusedMessageError,
    SinkError,
    Webhook,
)

ONE, TWO = Message("1-firing", {"text": "Tür"}), Message("2-firing", {"text": None})


def test_json_lines_are_appended_and_their_keys_found() -> None:
    sink = JsonLines(path="out.jsonl").open()
    assert sink.position() == 0
    assert sink.received_keys(0) == set()
    sink.send([ONE])
    position = sink.position()
    sink.send([TWO])
    assert messages("out.jsonl") == [{"key": "1-firing", "text": "Tür"}, {"key": "2-firing", "text": None}]
    assert sink.received_keys(position) == {"2-firing"}
    assert sink.received_keys(position + 1000) == {"1-firing", "2-firing"}  # the file was replaced by a shorter one


@pytest.mark.parametrize("part", ['{"ke', '{"key":"1', '{"key":"' + 5000 * "1"])
@pytest.mark.parametrize("whole", ["", '{"key": "0-firing"}\n'])
def test_line_that_was_cut_by_a_crash_is_removed(whole: str, part: str) -> None:
    Path("out.jsonl").write_text(whole + part)
    sink = JsonLines(path="out.jsonl").open()
    position = sink.position()
    assert position == len(whole)
    sink.send([ONE])
    assert Path("out.jsonl").read_text() == whole + '{"key":"1-firing","text":"Tür"}\n'
    assert sink.received_keys(position) == {"1-firing"}


@pytest.mark.parametrize("line", ['{"key":"b","of":"another program"}', '{"notes": [1,', "text"])
def test_line_of_another_program_is_kept(line: str) -> None:
    Path("out.jsonl").write_text(line)
    JsonLines(path="out.jsonl").open().send([ONE])
    assert Path("out.jsonl").read_text() == line + '\n{"key":"1-firing","text":"Tür"}\n'


def test_file_that_cannot_be_written_is_a_sink_error() -> None:
    sink = JsonLines(path="missing/out.jsonl").open()
    for call in (sink.check, lambda: sink.send([ONE])):
        with pytest.raises(SinkError, match=r"'missing/out\.jsonl' cannot be written"):
            call()
    Path("missing").mkdir()
    sink.check()


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


def test_webhook_posts_signed_json_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s")
    monkeypatch.setenv("TOKEN", "t")
    with webhook_server() as hook:
        sink = Webhook(url=hook.url, secret_env="SECRET", token_env="TOKEN").open()
        sink.check()
        sink.send([ONE])
    ((headers, body),) = hook.received
    assert json.loads(body) == {"key": "1-firing", "text": "Tür"}
    assert headers["Idempotency-Key"] == "1-firing"
    assert headers["Authorization"] == "Bearer t"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Lstmae-Signature"] == "sha256=" + hmac.new(b"s", body, hashlib.sha256).hexdigest()


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
    Path("token").write_text("hidden\nrotated\n")
    monkeypatch.setenv("UMLAUT", "hiddén")
    for options, problem in (
        ({"token_env": "TOKEN"}, "The environment variable 'TOKEN' of token_env contains a line break"),
        ({"token_file": "token"}, "The file 'token' of token_file contains a line break"),
        ({"token_env": "UMLAUT"}, "The token contains characters that are not ASCII"),
        ({"url": "https://user:hid/den@host/x"}, "url contains a password"),
        ({"url": "http//user:hidden@host/x"}, "url must be an address .* Received: another text$"),
    ):
        with pytest.raises(ConfigError, match=problem) as error:
            Webhook(**{"url": "http://host"} | options).open()  # type: ignore[arg-type]
        assert "hid" not in str(error.value)


def test_error_of_a_client_contains_no_part_of_the_address_or_a_header() -> None:
    for url in ("http://127.0.0.1:1/hiddén", "http://127.0.0.1:1/hid den", f"http://{'hidden' * 20}.example/"):
        with pytest.raises(SinkError, match=r"The server cannot be reached: \w+$") as error:
            Webhook(url=url).open().send([ONE])
        assert "hid" not in str(error.value)
    client = HttpClient("http://127.0.0.1:1")
    client.headers["Authorization"] = "Bearer hidden\nline"
    with pytest.raises(ServerError, match=r"^The server cannot be reached: \w+$"):
        client.post(b"", {})


def test_answer_that_is_not_http_is_a_sink_error() -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"hello\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SinkError, match="cannot be reached: BadStatusLine"):
            Webhook(url=f"http://127.0.0.1:{server.getsockname()[1]}/").open().send([ONE])
        thread.join()


def test_alert_has_labels_that_identify_the_event() -> None:
    with webhook_server() as hook:
        options = Alertmanager(url=f"{hook.url}/")
        sink = AlertmanagerSink(options.client("/api/v2/alerts"), lambda: 0.0)
        sink.check()
        sink.send([Message("4309-firing", EVENT)])
        sink.send([Message("4309-resolved", EVENT | {"status": "resolved", "end": "2024-02-25T02:10:00+00:00"})])
        sink.send([Message("4309-resolved", EVENT | {"status": "resolved", "start": 7.5, "end": 9.5})])
    assert sink.client.url == f"{hook.url}/api/v2/alerts"
    ((firing,), (resolved,), (numbered,)) = (json.loads(body) for _, body in hook.received)
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
    assert (numbered["endsAt"], "startsAt" in numbered) == ("1970-01-01T00:00:00+00:00", False)
