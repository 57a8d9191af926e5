"""Addresses, secrets, and HTTP requests, which sources and sinks of `lstmae watch` share."""

import base64
import dataclasses
import email.utils
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from lstm_ae.addresses import contains_password
from lstm_ae.config.options import Options, option
from lstm_ae.errors import Code, ConfigError, DataError

# Seconds that a request may take.
TIMEOUT = 10.0

# Largest answer in bytes.
MAX_ANSWER = 64 << 20


# Answers by which a server refuses the content of a request, so that sending it again cannot help.
REFUSED = (400, 413, 422)


class RemoteError(Exception):
    """A server, a database, or a broker cannot be reached, or does not accept a request.

    Args:
        text: the reason, without any secret.
        refused: whether it refuses the content of the request, so that sending it again cannot help.
        wait: seconds after which it wants to be asked again; None for no wish.
    """

    def __init__(self, text: str, *, refused: bool = False, wait: float | None = None) -> None:
        super().__init__(text)
        self.refused, self.wait = refused, wait


class ServerError(RemoteError):
    """Error of an HTTP server.

    Args:
        text: the reason, without any secret.
        code: status code of the answer; None if there is none.
        wait: seconds after which the server wants to be asked again; None for no wish.
        content: first bytes of the body of the answer.
    """

    def __init__(self, text: str, code: int | None = None, wait: float | None = None, content: bytes = b"") -> None:
        super().__init__(text, refused=code in REFUSED, wait=wait)
        self.content = content


@contextmanager
def report_as_source(name: str) -> Iterator[None]:
    """Raise a `RemoteError` of the block as the `DataError` of a source with a name."""
    try:
        yield
    except RemoteError as error:
        raise DataError(f"{name}: {error}", code=Code.SERVER_UNAVAILABLE) from None


def read_secret(name: str, env: str | None, file: str | None) -> str | None:
    """Return a secret from an environment variable or a file; None if neither is given.

    Args:
        name: the secret in errors.
        env: environment variable.
        file: path of the file; blanks around its content are removed.

    Raises:
        ConfigError: the variable is not set, the file cannot be read or is empty, or the secret has several lines.
    """
    secret = _find_secret(name, env, file)
    if secret is not None and any(ord(each) < 32 or ord(each) == 127 for each in secret):
        place = (
            f"The file {file!r} of {name}_file" if env is None else f"The environment variable {env!r} of {name}_env"
        )
        raise ConfigError(f"{place} contains a line break or another control character. Write only the secret into it")
    return secret


def _find_secret(name: str, env: str | None, file: str | None) -> str | None:
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
class AddressOptions(Options):
    """Options of an address, which can be a secret."""

    schemes: ClassVar[tuple[str, ...]] = ("http", "https")
    # Schemes of addresses without a host.
    local_schemes: ClassVar[tuple[str, ...]] = ()

    url: str | None = option(None, "Address, http or https.", "")
    url_env: str | None = option(None, "Environment variable of an address that is secret.", "")
    url_file: str | None = option(None, "File of an address that is secret.", "")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [each for each in (self.url, self.url_env, self.url_file) if each is not None]
        if len(given) != 1:
            raise ConfigError(
                f"One of url, url_env, and url_file must be given. Received: {len(given)}", code=Code.MISSING_OPTION
            )
        if self.url is not None:
            self._check(self.url)

    def address(self) -> str:
        """Return the address, which errors and logs must not contain.

        Raises:
            ConfigError: the secret is missing or not an address.
        """
        url = self.url or read_secret("url", self.url_env, self.url_file) or ""
        self._check(url, secret=self.url is None)
        return url

    def _check(self, url: str, *, secret: bool = False) -> None:
        """Check an address.

        Args:
            url: the address.
            secret: whether errors must not contain it, and it may contain a password.

        Raises:
            ConfigError: the text is not an address, or contains a password.
        """
        try:
            parts = urlsplit(url)
            scheme = parts.scheme.partition("+")[0]
            valid = scheme in self.schemes and bool(parts.hostname) and parts.port != 0
            valid |= scheme in self.local_schemes and not parts.netloc
        except ValueError:
            valid = False
        if contains_password(url) and not secret:
            raise ConfigError("url contains a password. Use url_env or url_file, so that the file contains no secret")
        if not valid:
            *others, last = (f"{scheme}://" for scheme in (*self.local_schemes, *self.schemes))
            # Text with @ may contain a password that was not recognized as one.
            received = "another text" if secret or "@" in url else repr(url)
            raise ConfigError(
                f"url must be an address that begins with {', '.join(others)} or {last}. Received: {received}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class HttpOptions(AddressOptions):
    """Options of an HTTP server."""

    token_env: str | None = option(None, "Environment variable of the token for the header Authorization.", "")
    token_file: str | None = option(None, "File of the token for the header Authorization.", "")

    def client(self, path: str = "") -> "HttpClient":
        """Return a client of a path of the server.

        Raises:
            ConfigError: a secret is missing, or a token cannot be sent in a header.
        """
        url, token = self.address(), read_secret("token", self.token_env, self.token_file)
        if token is not None and not token.isascii():
            raise ConfigError("The token contains characters that are not ASCII. Correct token_env or token_file")
        return HttpClient(url.rstrip("/") + path if path else url, token)


class _RefuseRedirects(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect, since urllib would change a POST to a GET."""

    def redirect_request(self, *_: object) -> None:
        """Return no request, so that the response is an error."""


class HttpClient:
    """Client that posts documents. Errors name neither the address nor a secret.

    Args:
        url: address; a user and a password in it are sent in the header Authorization.
        token: token for the header Authorization; None for none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.headers = {"Content-Type": "application/json", "User-Agent": "lstmae-watch"}
        parts = urlsplit(url)
        user, mark, host = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=host).geturl() if mark else url
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        elif mark:
            self.headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
        self.opener = urllib.request.build_opener(_RefuseRedirects)

    def connect(self) -> None:
        """Open and close a connection; raise `ServerError` if that fails."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), TIMEOUT).close()
        except (OSError, ValueError) as error:
            raise ServerError(f"The server cannot be reached: {describe_failure(error)}") from None

    def post(self, content: bytes, headers: dict[str, str]) -> bytes:
        """Post a document and return the body of the answer.

        Raises:
            ServerError: the server cannot be reached, or answers with an error.
        """
        request = urllib.request.Request(self.url, content, self.headers | headers, method="POST")
        try:
            with self.opener.open(request, timeout=TIMEOUT) as response:
                body: bytes = response.read(MAX_ANSWER + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise ServerError(
                    f"The server answers {error.code} {error.reason}",
                    error.code,
                    _parse_wait(error.headers.get("Retry-After")),
                    error.read(1 << 16),
                ) from None
        # The text of a ValueError can contain a header or the address.
        except (OSError, HTTPException, ValueError) as error:
            raise ServerError(f"The server cannot be reached: {describe_failure(error)}") from None
        if len(body) > MAX_ANSWER:
            raise ServerError(f"The answer of the server is larger than {MAX_ANSWER >> 20} MiB")
        return body


def describe_failure(error: Exception) -> str:
    """Return why a connection failed, without its address.

    >>> describe_failure(ConnectionRefusedError(111, "Connection refused"))
    'Connection refused'
    >>> describe_failure(urllib.error.URLError(TimeoutError()))
    'TimeoutError'
    """
    # The reason of an error of urllib is an error itself, that of TLS a code.
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, Exception) else error
    return str(getattr(cause, "strerror", None) or type(cause).__name__)


def _parse_wait(text: str | None) -> float | None:
    """Return the seconds of a header Retry-After, which holds a number or a date."""
    if text is None:
        return None
    try:
        return float(text) if text.isdigit() else email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
