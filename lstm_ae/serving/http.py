"""The HTTP server of the REST interface, based on granian, with limits for every size.

granian closes connections that send no headers in time, which uvicorn cannot. This module adds what granian lacks: a
limit of the body size (received bytes are counted, regardless of Content-Length), the detection of truncated bodies,
and the check of the Host header.
"""

import asyncio
import contextlib
import ipaddress
import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from lstm_ae.serving import metrics
from lstm_ae.serving.connections import client_key
from lstm_ae.serving.errors import invalid_argument
from lstm_ae.serving.request_handler import RequestHandler
from lstm_ae.serving.rest import RestRequest, RestResponse, body_too_large, respond

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol
    from granian.rsgi import Scope


LOG = logging.getLogger(__name__)


# The time within which the unread body of a refused request is discarded. A refused request has no slot.
DISCARD_SECONDS = 2.0
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


def make_http_server(handler: RequestHandler, address: str, port: int, connections: int) -> Server:
    """Return a server that is not yet listening.

    Args:
        handler: The handler of the requests.
        address: The IP address.
        port: The port.
        connections: The connection limit; further connections wait until others are closed.
    """
    config = handler.config
    hosts = allowed_hosts(address, config.host, config.allowed_host)
    return Server(
        _RsgiApplication(handler, hosts, any_host_paths(address)),
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        # With HTTP/2 detection, a connection that sends nothing would never be closed.
        http=HTTPModes.http1,
        websockets=False,
        backpressure=connections,
        backlog=connections,
        http1_settings=HTTP1Settings(header_read_timeout=round(1000 * config.header_timeout)),
        log_enabled=False,
    )


def any_host_paths(address: str) -> frozenset[str]:
    """Return the paths that are served for any Host header, because health probes and Prometheus use the address.

    A server on a loopback address excludes its metrics, which contain the names of its models.
    """
    probes = frozenset(("/health", "/ready"))
    return probes if _is_loopback(address) else probes | {metrics.PATH}


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def allowed_hosts(address: str, name: str, hosts: Iterable[str]) -> frozenset[str] | None:
    """Return the host names that clients may use in lower case; None for any name.

    A server on a loopback address accepts its own names and `hosts` only, because a web page could otherwise reach
    it through its own domain name (DNS rebinding). Other servers check the name only if there are `hosts`.

    Args:
        address: The IP address that the server listens at.
        name: The host name or address of `--host`.
        hosts: Additional names of `--allowed-host`.
    """
    hosts = frozenset(hosts)
    if not hosts and not _is_loopback(address):
        return None
    return frozenset(one.lower() for one in LOOPBACK | hosts | {address, name})


UNKNOWN_HOST_RESPONSE = RestResponse(403, b'{"error": "This host name is not allowed. See --allowed-host."}')
MISSING_HOST_RESPONSE = RestResponse(400, b'{"error": "A request needs one Host header, such as localhost:8501"}')
# The pattern accepts a name, an IPv4 address, or an IPv6 address in brackets, with an optional port.
_HOST_PATTERN = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]]+))(?::[0-9]*)?", re.IGNORECASE | re.ASCII)


def parse_host(authority: str | None, headers: Iterable[tuple[str, str]]) -> str | None:
    """Return the host name of a request in lower case; None if it has no valid one.

    Args:
        authority: The authority of the request's target if that is a whole URL. The Host header is ignored then.
        headers: Pairs of name and value. granian omits values that are not ASCII.
    """
    names = [value for name, value in headers if name.lower() == "host"] if authority is None else [authority]
    host = _HOST_PATTERN.fullmatch(names[0].strip()) if len(names) == 1 else None
    return (host[1] or host[2]).lower() if host else None


class _RsgiApplication:
    """The application that granian calls for every request (RSGI)."""

    def __init__(self, handler: RequestHandler, hosts: frozenset[str] | None, paths: frozenset[str]) -> None:
        self.handler, self.hosts, self.paths = handler, hosts, paths

    async def __rsgi__(self, scope: "Scope", protocol: "RSGIHTTPProtocol") -> None:
        client = client_key(scope.client)
        headers = {name.lower(): value for name, value in scope.headers.items()}
        body = _RequestBody(headers, protocol, self.handler.config.max_body)
        await self._serve(scope, protocol, client, headers, body)
        if body.unread:
            await body.discard()

    async def _serve(
        self,
        scope: "Scope",
        protocol: "RSGIHTTPProtocol",
        client: str,
        headers: Mapping[str, str],
        body: "_RequestBody",
    ) -> None:
        try:
            response = self._refuse_host(scope) or await respond(
                self.handler, RestRequest(scope.method, scope.path, headers, body.read, client)
            )
        except asyncio.CancelledError:
            raise
        except Exception:
            LOG.exception("request failed", extra={"path": scope.path[:200]})
            response = RestResponse(500, b'{"error": "Internal error. See the log of the server."}')
        fields = [("content-type", response.kind), *response.headers]
        if scope.method == "HEAD":
            protocol.response_empty(response.status, [*fields, ("content-length", str(len(response.content)))])
        else:
            protocol.response_bytes(response.status, fields, response.content)

    def _refuse_host(self, scope: "Scope") -> RestResponse | None:
        """Return the refusal of a request without an allowed host name; None if the name is allowed."""
        if self.hosts is None or scope.path in self.paths:
            return None
        name = parse_host(scope.authority, scope.headers.items())
        if name is None:
            return MISSING_HOST_RESPONSE
        return None if name in self.hosts else UNKNOWN_HOST_RESPONSE


class _RequestBody:
    """The body of a request, which is read once or discarded.

    Args:
        headers: The headers with names in lower case.
        protocol: granian's protocol object.
        limit: The largest number of bytes to read, and to discard.
    """

    def __init__(self, headers: Mapping[str, str], protocol: "RSGIHTTPProtocol", limit: int) -> None:
        self._protocol, self._limit = protocol, limit
        length = headers.get("content-length", "")
        # hyper has already refused lengths that are not numbers.
        self._length = int(length) if length.isdecimal() else None
        # A client with an Expect header sends no body until it is asked to.
        self._expects_continue = "expect" in headers
        self._ended = self._length in (None, 0) and "transfer-encoding" not in headers
        self._chunks: AsyncIterator[bytes] | None = None

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            Refusal: If the body is too large or truncated.
        """
        if self._length is not None and self._length > self._limit:
            raise body_too_large(self._limit)
        chunks, size, ends = [], 0, 0
        while (chunk := await self._next()) is not None:
            chunks.append(chunk)
            size += len(chunk)
            ends += not chunk
            if size > self._limit:
                raise body_too_large(self._limit)
        # granian has no error for a connection that ends early or an invalid chunk: it yields an empty part instead,
        # and another one at the end. A body with trailers looks the same and is refused as well.
        if ends > 1 or self._length not in (None, size):
            raise invalid_argument("The body is incomplete, or its chunks are damaged. Send the request again.")
        return b"".join(chunks)

    @property
    def unread(self) -> bool:
        """Return whether the client may still be sending the body."""
        return not self._ended and (self._chunks is not None or not self._expects_continue)

    async def discard(self) -> None:
        """Discard the unread body, up to the limit, for a short time.

        A client that sends its whole request before it reads would lose the response, because closing a connection
        with unread data resets it.
        """
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while size < self._limit and (chunk := await self._next()) is not None:
                    size += len(chunk)

    async def _next(self) -> bytes | None:
        """Return the next part of the body; None at its end."""
        if self._ended:
            return None
        if self._chunks is None:
            # The protocol can be iterated only once.
            self._chunks = aiter(self._protocol)
        # The default argument of anext would crash the process in Python 3.11 with granian's iterator.
        try:
            chunk: bytes = await anext(self._chunks)
        except StopAsyncIteration:
            self._ended = True
            return None
        return chunk
