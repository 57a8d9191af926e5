"""Sinks of messages for `lstmae watch`: JSON lines, webhooks, and Alertmanager.

A message is stored before it is sent, and removed after the sink has accepted it. If the process is killed in between,
the message arrives twice. Both copies have the same key, so that receivers can ignore the second one.
"""

import abc
import dataclasses
import datetime
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lstm_ae.config.options import Options, option
from lstm_ae.json_types import JsonObject
from lstm_ae.watch.servers import HttpClient, HttpOptions, RefusedError, RemoteError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOG = logging.getLogger(__name__)

# Seconds after which an alert ends unless it is sent again.
ALERT_SECONDS = 300.0


class Message(NamedTuple):
    """A message to a sink.

    Args:
        key: text that identifies the message; a copy has the same key.
        body: the content in JSON types.
    """

    key: str
    body: JsonObject

    def to_json(self) -> str:
        """Return the key and the content as one JSON object.

        >>> Message("1", {"series": "Tür"}).to_json()
        '{"key":"1","series":"Tür"}'
        """
        return to_json({"key": self.key} | self.body)


def event_id(*parts: object) -> str:
    """Return the identifier of an event, which depends only on these parts.

    >>> event_id("pump", "", 1_704_067_200_000_000_000)
    '2e579fda803aa5cc'
    """
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


# A sink cannot accept messages now, or will never accept a message.
SinkError, RefusedMessageError = RemoteError, RefusedError


class Sink(abc.ABC):
    """A receiver of messages. Several threads may use it.

    Args:
        batch: largest number of messages that `send` takes.
        refresh: seconds after which messages on open events are sent again; 0 for never.
    """

    batch: int = 1
    refresh: float = 0

    @abc.abstractmethod
    def check(self) -> None:
        """Check that the sink can be reached, without sending a message; raise `SinkError` otherwise."""

    @abc.abstractmethod
    def send(self, messages: Sequence[Message]) -> None:
        """Send all messages, or none if an error is raised.

        Raises:
            SinkError: the sink cannot accept messages now.
            RefusedMessageError: the sink will never accept this message.
        """

    def close(self) -> None:  # noqa: B027
        """Release connections; called once at the end."""


def call_sink(function: Callable[..., None], *arguments: object) -> None:
    """Call a method of a sink, and raise unexpected errors as `SinkError`."""
    try:
        function(*arguments)
    except SinkError:
        raise
    except Exception as error:
        LOG.info("A sink failed with an unexpected error", exc_info=True)
        raise SinkError(f"unexpected error: {type(error).__name__}: {error}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinkOptions(Options):
    """Options of a sink. A subclass is a kind of sink, which `kind` names in a file."""

    def open(self) -> Sink:
        """Return the sink.

        Raises:
            ConfigError: a secret is missing.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class JsonLines(SinkOptions):
    """A file to which each message is appended as a line of JSON."""

    path: str = option("", "File; it is created if it does not exist.", required=True)

    def open(self) -> Sink:
        """Return the file."""
        return JsonLinesSink(Path(self.path))


class JsonLinesSink(Sink):
    """A file of messages.

    Args:
        path: the file.
    """

    batch = 1000

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()

    def check(self) -> None:
        """Check that the folder can be written."""
        folder = self.path.parent
        if not folder.is_dir() or not os.access(self.path if self.path.exists() else folder, os.W_OK):
            raise SinkError(f"{str(self.path)!r} cannot be written. Create the folder, or change its permissions")

    def send(self, messages: Sequence[Message]) -> None:
        """Append the messages and flush them to the disk."""
        content = "".join(f"{message.to_json()}\n" for message in messages).encode()
        try:
            with self.lock, self.path.open("ab+") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)  # another process may write to the file
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                if file.read(1) not in (b"", b"\n"):
                    # A killed process has left part of a line. Its message is sent again.
                    content = b"\n" + content
                try:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(self.path, size)
                    raise
        except OSError as error:
            raise SinkError(f"{str(self.path)!r} cannot be written: {error.strerror}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Webhook(HttpOptions, SinkOptions):
    """A URL to which each message is posted as JSON."""

    def open(self) -> Sink:
        """Return the webhook."""
        return WebhookSink(self.client())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alertmanager(HttpOptions, SinkOptions):
    """Prometheus Alertmanager, which receives an alert for each event through version 2 of its API."""

    def open(self) -> Sink:
        """Return the Alertmanager."""
        return AlertmanagerSink(self.client("/api/v2/alerts"))


class HttpSink(Sink):
    """A server to which messages are posted.

    Args:
        client: client of the server.
    """

    def __init__(self, client: HttpClient) -> None:
        self.client = client

    def check(self) -> None:
        """Connect to the server."""
        self.client.connect()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


class WebhookSink(HttpSink):
    """A URL to which messages are posted."""

    def send(self, messages: Sequence[Message]) -> None:
        """Post each message with its key as a header."""
        for message in messages:
            self.client.post(message.to_json().encode(), {"Idempotency-Key": message.key})


class AlertmanagerSink(HttpSink):
    """An Alertmanager that receives an alert for each event.

    The labels identify an alert, and are constant during the event. The alert of an open event ends after
    `ALERT_SECONDS` unless it is sent again, so that no alert outlives a stopped watch.
    """

    refresh = ALERT_SECONDS / 5
    # Seconds since 1970, which tests set.
    now: Callable[[], float] = staticmethod(time.time)

    def send(self, messages: Sequence[Message]) -> None:
        """Post an alert for each message."""
        self.client.post(to_json([self._alert(body) for _, body in messages]).encode(), {})

    def _alert(self, body: JsonObject) -> JsonObject:
        labels = {name: body[name] for name in ("monitor", "series", "kind", "event")}
        causes = ", ".join(f"{name} {share:.0%}" for name, share in body.get("causes", {}).items())
        annotations = {name: str(body[name]) for name in ("score", "threshold", "p", "version") if name in body}
        alert: JsonObject = {
            "labels": {"alertname": f"lstmae_{body['kind']}", **{name: text for name, text in labels.items() if text}},
            "annotations": annotations | ({"causes": causes} if causes else {}),
        }
        ends = datetime.datetime.fromtimestamp(self.now() + ALERT_SECONDS, datetime.UTC).isoformat()
        return alert | {"startsAt": body["start"], "endsAt": body["end"] or ends}


def to_json(content: object) -> str:
    """Return JSON without blanks."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
