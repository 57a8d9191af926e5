"""Addresses, secrets, and HTTP requests of sources and sinks of `lstmae watch`."""

import dataclasses
import logging
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from urllib.parse import urlsplit

from lstm_ae.addresses import contains_password
from lstm_ae.config.options import Options, option
from lstm_ae.errors import Code, ConfigError, DataError, require_extra

# Longest time in seconds until the next bytes of an answer.
TIMEOUT = 10.0

# Largest answer in bytes, and the longest time in seconds until it is complete.
MAX_ANSWER, MAX_SECONDS = 64 << 20, 60.0

# Status codes by which a server refuses the content of a request, so that sending it again cannot help.
REFUSED = (400, 413, 422)


class RemoteError(Exception):
    """A server, a database, a broker, or a file that cannot be reached or does not accept a request.

    Args:
        text: the reason, without any secret.
        wait: seconds until the next attempt; None if the server states none.
        content: first bytes of the body of an answer.
    """

    def __init__(self, text: str, wait: float | None = None, *, content: bytes = b"") -> None:
        super().__init__(text)
        self.wait, self.content = wait, content


class RefusedError(RemoteError):
    """A request whose content is refused, so that sending it again cannot help."""


@contextmanager
def report_as_source(name: str) -> Iterator[None]:
    """Convert a `RemoteError` of the block to a `DataError` that begins with the name of a source."""
    try:
        yield
    except RemoteError as error:
        raise DataError(f"{name}: {error}", code=Code.SERVER_UNAVAILABLE) from None


def read_secret(name: str, env: str | None) -> str | None:
    """Return a secret from an environment variable; None without a variable.

    Args:
        name: the secret in errors.
        env: name of the variable; surrounding blanks of its value are removed.

    Raises:
        ConfigError: the variable is not set, or the secret has several lines.
    """
    if env is None:
        return None
    if not (secret := os.environ.get(env, "").strip()):
        raise ConfigError(f"The environment variable {env!r} of {name}_env is not set. Set it")
    if any(ord(each) < 32 or ord(each) == 127 for each in secret):
        raise ConfigError(
            f"The environment variable {env!r} of {name}_env contains a line break or another control character. "
            "Write only the secret into it"
        )
    return secret


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddressOptions(Options):
    """Options of an address, which may be secret."""

    schemes: ClassVar[tuple[str, ...]] = ("http", "https")
    # Schemes of addresses without a host.
    local_schemes: ClassVar[tuple[str, ...]] = ()

    url: str | None = option(None, "Address, http or https.")
    url_env: str | None = option(None, "Environment variable of an address that is secret.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.url is None) == (self.url_env is None):
            raise ConfigError("Set either url or url_env", code=Code.MISSING_OPTION)
        if self.url is not None:
            self._check(self.url)

    def address(self) -> str:
        """Return the address, which must not appear in errors and logs.

        Raises:
            ConfigError: the secret is missing or not an address.
        """
        url = self.url or read_secret("url", self.url_env) or ""
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
            address = urlsplit(url)
            scheme = address.scheme.partition("+")[0]
            valid = scheme in self.schemes and bool(address.hostname) and address.port != 0
            valid |= scheme in self.local_schemes and not address.netloc
        except ValueError:
            valid = False
        if contains_password(url) and not secret:
            raise ConfigError("url contains a password. Use url_env, so that the file contains no secret")
        if not valid:
            *others, last = (f"{scheme}://" for scheme in (*self.local_schemes, *self.schemes))
            # Text with @ may contain a password that was not recognized.
            received = "another text" if secret or "@" in url else repr(url)
            raise ConfigError(
                f"url must be an address that begins with {', '.join(others)} or {last}. Received: {received}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class HttpOptions(AddressOptions):
    """Options of an HTTP server."""

    token_env: str | None = option(None, "Environment variable of the token for the header Authorization.")

    def client(self, path: str = "") -> "HttpClient":
        """Return a client of a path of the server.

        Raises:
            ConfigError: a secret is missing, or a token cannot be sent in a header.
        """
        url, token = self.address(), read_secret("token", self.token_env)
        if token is not None and not token.isascii():
            raise ConfigError("The token contains characters that are not ASCII. Correct token_env")
        return HttpClient(url.rstrip("/") + path if path else url, token)


class HttpClient:
    """A client that posts documents and follows no redirect. Errors contain neither the address nor a secret.

    Args:
        url: address; its user and password are sent in the header Authorization.
        token: token for the header Authorization; None for none.

    Raises:
        ConfigError: httpx is not installed.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        with require_extra("HTTP", "watch"):
            import httpx
        # The logs of these packages contain the address.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.url, self.errors = url, (httpx.HTTPError, httpx.InvalidURL, ValueError)
        self.headers = {"Content-Type": "application/json", "User-Agent": "lstmae-watch"}
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        self.client = httpx.Client(timeout=TIMEOUT)
        # Close the connections even if `close` is not called.
        weakref.finalize(self, self.client.close)

    def connect(self) -> None:
        """Check that a server answers with any status; raise `RemoteError` otherwise."""
        try:
            self.client.head(self.url)
        except self.errors as error:
            raise RemoteError(f"The server cannot be reached: {describe_failure(error)}") from None

    def post(self, content: bytes, headers: dict[str, str]) -> bytes:
        """Post a document and return the body of the answer.

        Raises:
            RemoteError: the server cannot be reached, or answers with an error.
        """
        body, end = b"", time.monotonic() + MAX_SECONDS
        try:
            with self.client.stream("POST", self.url, content=content, headers=self.headers | headers) as answer:
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise RemoteError(f"The answer of the server is larger than {MAX_ANSWER >> 20} MiB")
                    if time.monotonic() > end:
                        raise RemoteError(f"The answer of the server takes longer than {MAX_SECONDS:.0f} s")
                code, reason, wait = answer.status_code, answer.reason_phrase, answer.headers.get("Retry-After")
        # The message of an error may contain a header or the address.
        except self.errors as error:
            raise RemoteError(f"The server cannot be reached: {describe_failure(error)}") from None
        if not 200 <= code < 300:
            kind = RefusedError if code in REFUSED else RemoteError
            seconds = float(wait) if wait and wait.isdecimal() else None
            raise kind(f"The server answers {code} {reason}", seconds, content=body[: 1 << 16])
        return body

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def describe_failure(error: Exception) -> str:
    """Return the reason of a failed connection without its address.

    >>> describe_failure(ConnectionRefusedError(111, "Connection refused"))
    'Connection refused'
    """
    cause: BaseException | None = error
    while cause is not None:
        # The cause of an error of httpx is an error of the system.
        if text := getattr(cause, "strerror", None):
            return str(text)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
