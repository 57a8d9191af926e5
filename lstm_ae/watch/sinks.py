"""Sinks of messages for `lstmae watch`: JSON lines, and webhooks.

A watcher stores each message before it sends it and sends it until the sink has accepted it, so a message can arrive
twice if the process is killed in between. Both copies have the same key.
"""

import abc
import dataclasses
import datetime
import email.utils
import hashlib
import hmac
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lstm_ae.config.options import Options, option
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonObject

# Seconds that a request may take.
TIMEOUT = 10.0

# Seconds after which an alert ends unless it is sent again.
ALERT_SECONDS = 300.0

# Responses by which a server refuses the message itself, so that sending it again cannot help.
MESSAGE_REFUSED = (400, 413, 422)


class Message(NamedTuple):
    """Message to a sink.

    Args:
        key: text that identifies the message; a copy of it has the same key.
        body: the content in JSON types.
    """

    key: str
    body: JsonObject


class SinkError(Exception):
    """A sink cannot accept messages now.

    Args:
        text: the reason, without any secret.
        wait: seconds after which the sink wants to be asked again; None for no wish.
    """

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class RefusedMessageError(Exception):
    """A sink will never accept a message."""


class Sink(abc.ABC):
    """Receiver of messages, which several threads may use.

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
        """Send messages: all, or none if an error is raised.

        Raises:
            SinkError: the sink cannot accept messages now.
            RefusedMessageError: the sink will never accept this message.
        """

    def position(self) -> int:
        """Return the end of what the sink has received, for `received_keys`."""
        return 0

    def received_keys(self, position: int) -> set[str]:
        """Return the keys of messages after a position; empty if the sink itself ignores copies.

        Raises:
            SinkError: the sink cannot be read now.
        """
        return set()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinkOptions(Options):
    """Options of a sink. A subclass is a kind of sink, which `kind` names in a file."""

    send: str = option("events", "What to send: events, or the score of every row.", "", choices=("events", "scores"))

    def open(self) -> Sink:
        """Return the sink.

        Raises:
            ConfigError: a secret is missing.
        """
        raise NotImplementedError


def read_secret(name: str, env: str | None, file: str | None) -> str | None:
    """Return a secret from an environment variable or a file; None if neither is given.

    Args:
        name: the secret in errors.
        env: environment variable.
        file: path of the file; blanks around its content are removed.

    Raises:
        ConfigError: the variable is not set, or the file cannot be read or is empty.
    """
    if env is not None and file is not None:
        raise ConfigError(f"{name}_env and {name}_file exclude each other. Remove one", code=Code.CONFLICTING_OPTIONS)
    if env is not None:
        if not (value := os.environ.get(env, "").strip()):
            raise ConfigError(f"The environment variable {env!r} of {name}_env is not set. Set it")
        return value
    if file is None:
        return None
    try:
        value = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"The file {file!r} of {name}_file cannot be read: {reason}") from None
    if not value:
        raise ConfigError(f"The file {file!r} of {name}_file is empty. Write the secret into it")
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class JsonLines(SinkOptions):
    """A file to which each message is appended as a line of JSON."""

    path: str | None = option(None, "File; it is created if it does not exist.", "")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ConfigError("path is missing. Add the file to write", code=Code.MISSING_OPTION)

    def open(self) -> Sink:
        """Return the file."""
        assert self.path
        return JsonLinesSink(Path(self.path))


class JsonLinesSink(Sink):
    """A file of messages. A copy of a message that is already in the file is not written.

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

    def position(self) -> int:
        """Return the size of the file."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def received_keys(self, position: int) -> set[str]:
        """Return the keys of the lines after a position, from the first line if the file became shorter."""
        keys = set()
        try:
            with self.path.open("rb") as file:
                file.seek(position if position <= os.fstat(file.fileno()).st_size else 0)
                for line in file:
                    try:
                        keys.add(str(json.loads(line)["key"]))
                    except (ValueError, TypeError, KeyError):  # a line that was cut, or of another program
                        continue
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise SinkError(f"{str(self.path)!r} cannot be read: {error.strerror}") from None
        return keys

    def send(self, messages: Sequence[Message]) -> None:
        """Append the messages and flush them to the disk."""
        content = "".join(f"{_json({'key': key} | body)}\n" for key, body in messages).encode()
        try:
            with self.lock, self.path.open("ab+") as file:
                size = file.seek(0, os.SEEK_END)
                if size:
                    # A process that was killed can leave a part of a line.
                    file.seek(size - 1)
                    content = content if file.read(1) == b"\n" else b"\n" + content
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
class ServerOptions(SinkOptions):
    """Options of a server that receives JSON."""

    url: str | None = option(None, "Address, http or https.", "")
    url_env: str | None = option(None, "Environment variable of an address that is secret.", "")
    url_file: str | None = option(None, "File of an address that is secret.", "")
    token_env: str | None = option(None, "Environment variable of the token for the header Authorization.", "")
    token_file: str | None = option(None, "File of the token for the header Authorization.", "")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [each for each in (self.url, self.url_env, self.url_file) if each is not None]
        if len(given) != 1:
            raise ConfigError(
                f"One of url, url_env, and url_file must be given. Received: {len(given)}", code=Code.MISSING_OPTION
            )
        if self.url is not None:
            check_url(self.url)

    def client(self, path: str = "") -> "HttpClient":
        """Return a client of a path of the server.

        Raises:
            ConfigError: a secret is missing.
        """
        url = self.url or read_secret("url", self.url_env, self.url_file) or ""
        check_url(url, secret=self.url is None)
        return HttpClient(
            url.rstrip("/") + path if path else url, read_secret("token", self.token_env, self.token_file)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Webhook(ServerOptions):
    """An address to which each message is posted as JSON."""

    secret_env: str | None = option(None, "Environment variable of the secret that signs the messages.", "")
    secret_file: str | None = option(None, "File of the secret that signs the messages.", "")

    def open(self) -> Sink:
        """Return the webhook with its secrets."""
        return WebhookSink(self.client(), read_secret("secret", self.secret_env, self.secret_file))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alertmanager(ServerOptions):
    """Prometheus Alertmanager, whose API of version 2 gets an alert for each event."""

    send: str = option("events", "What to send.", "", choices=("events",))

    def open(self) -> Sink:
        """Return the Alertmanager."""
        return AlertmanagerSink(self.client("/api/v2/alerts"))


def check_url(url: str, *, secret: bool = False) -> None:
    """Check an address of a server.

    Args:
        url: the address.
        secret: whether errors must not contain it, and it may contain a password.

    Raises:
        ConfigError: the text is no address, or contains a password.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid, parts = False, urlsplit("")
    if parts.password and not secret:
        raise ConfigError("url contains a password. Use url_env or url_file, so that the file contains no secret")
    if not valid:
        received = "another text" if secret else repr(url)
        raise ConfigError(f"url must be an address that begins with http:// or https://. Received: {received}")


class _RefuseRedirects(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect, since urllib would change a POST to a GET."""

    def redirect_request(self, *_: object) -> None:
        """Return no request, so that the response is an error."""


class HttpClient:
    """Client that posts JSON. Errors name neither the address nor a secret.

    Args:
        url: address, without a password.
        token: token for the header Authorization; None for none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url, self.headers = url, {"Content-Type": "application/json", "User-Agent": "lstmae-watch"}
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        self.opener = urllib.request.build_opener(_RefuseRedirects)

    def connect(self) -> None:
        """Open and close a connection; raise `SinkError` if that fails."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), TIMEOUT).close()
        except OSError as error:
            raise SinkError(f"The server cannot be reached: {_reason(error)}") from None

    def post(self, content: bytes, headers: dict[str, str]) -> None:
        """Post a JSON document.

        Raises:
            SinkError: the server cannot be reached or is not ready.
            RefusedMessageError: the server refuses the document.
        """
        request = urllib.request.Request(self.url, content, self.headers | headers, method="POST")
        try:
            with self.opener.open(request, timeout=TIMEOUT) as response:
                response.read(1 << 16)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in MESSAGE_REFUSED:
                    raise RefusedMessageError(f"The server answers {error.code} {error.reason}") from None
                raise SinkError(
                    f"The server answers {error.code} {error.reason}", _parse_wait(error.headers.get("Retry-After"))
                ) from None
        except (OSError, HTTPException) as error:
            raise SinkError(f"The server cannot be reached: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or type(cause).__name__)


def _parse_wait(text: str | None) -> float | None:
    """Return the seconds of a header Retry-After, which holds a number or a date."""
    if text is None:
        return None
    try:
        return float(text) if text.isdigit() else email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


class WebhookSink(Sink):
    """Address to which messages are posted.

    Args:
        client: client of the address.
        secret: secret of the signature; None for no signature.
    """

    def __init__(self, client: HttpClient, secret: str | None = None) -> None:
        self.client, self.secret = client, secret

    def check(self) -> None:
        """Open a connection."""
        self.client.connect()

    def send(self, messages: Sequence[Message]) -> None:
        """Post a message with its key and signature as headers."""
        for key, body in messages:
            content = _json({"key": key} | body).encode()
            headers = {"Idempotency-Key": key}
            if self.secret is not None:
                headers["X-Lstmae-Signature"] = sign(content, self.secret)
            self.client.post(content, headers)


class AlertmanagerSink(Sink):
    """Alertmanager that gets an alert for each event.

    The labels identify an alert and stay the same while the event lasts. An alert of an event that lasts ends by itself
    after `ALERT_SECONDS`, so that it does not outlive a watch that has stopped.

    Args:
        client: client of the path of the alerts.
        now: function that returns the seconds since 1970.
    """

    refresh = ALERT_SECONDS / 5

    def __init__(self, client: HttpClient, now: Callable[[], float] = time.time) -> None:
        self.client, self.now = client, now

    def check(self) -> None:
        """Open a connection."""
        self.client.connect()

    def send(self, messages: Sequence[Message]) -> None:
        """Post an alert for each message."""
        self.client.post(_json([self._alert(body) for _, body in messages]).encode(), {})

    def _alert(self, body: JsonObject) -> JsonObject:
        labels = {name: body[name] for name in ("monitor", "series", "kind", "event")}
        causes = ", ".join(f"{name} {share:.0%}" for name, share in body.get("causes", {}).items())
        annotations = {name: str(body[name]) for name in ("score", "threshold", "p", "version") if name in body}
        alert: JsonObject = {
            "labels": {"alertname": f"lstmae_{body['kind']}", **{name: text for name, text in labels.items() if text}},
            "annotations": annotations | ({"causes": causes} if causes else {}),
        }
        moments = {"startsAt": body["start"], "endsAt": body["end"]}
        if body["status"] == "firing":
            moments["endsAt"] = self.now() + ALERT_SECONDS
        elif not isinstance(body["end"], str):  # a time that is no date
            moments["endsAt"] = self.now()
        for name, moment in moments.items():
            if isinstance(moment, float):
                moment = datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
            if isinstance(moment, str):
                alert[name] = moment
        return alert


def sign(content: bytes, secret: str) -> str:
    """Return the signature of a message, the HMAC-SHA256 of its body.

    >>> sign(b"{}", "secret")[:20]
    'sha256=77325902caca8'
    """
    return "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
