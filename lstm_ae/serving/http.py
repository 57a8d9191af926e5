"""REST over HTTP by granian: reads requests with every size limited and hands them on.

granian because it closes connections that send no header in time, which uvicorn cannot. What it lacks stands here: a
limit of the body (bytes are counted while they come, whatever Content-Length says), the detection of bodies that are
cut off, and the check of the Host header.
"""

import asyncio
import contextlib
import ipaddress
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument
from lstm_ae.serving.limiter import RequestLimiter, client_key, normalize_peer
from lstm_ae.serving.openapi import METRICS_PATH
from lstm_ae.serving.rest import RestRequest, RestResponse, body_too_large, respond
from lstm_ae.serving.service import Service

LOG = logging.getLogger(__name__)


# Bytes per second at which a body must come, and the seconds for which a slower one is forgiven.
MIN_BODY_RATE, BODY_GRACE_SECONDS = 1000, 5.0
# Seconds that a client may pause, and take in all, while the rest of a body that was not read is discarded.
DISCARD_PAUSE, DISCARD_SECONDS = 0.5, 10.0
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


def make_http_server(
    service: Service,
    address: str,
    port: int,
    *,
    name: str,
    connections: int,
    header_seconds: float,
    hosts: Iterable[str] = (),
) -> Server:
    """A server that is not yet listening.

    Args:
        address: of IP.
        name: by which the address was asked for.
        connections: at the same time; further ones wait until others are closed.
        header_seconds: a connection that has not sent its headers by then is closed.
        hosts: see `allowed_hosts`.
    """
    return Server(
        _RsgiApplication(service, allowed_hosts(address, name, hosts), any_host_paths(address)),
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        # Where it looks for HTTP/2 first, a connection that says nothing at all is never closed.
        http=HTTPModes.http1,
        websockets=False,
        backpressure=connections,
        backlog=connections,
        http1_settings=HTTP1Settings(header_read_timeout=round(1000 * header_seconds)),
        log_enabled=False,
    )


def any_host_paths(address: str) -> frozenset[str]:
    """What a server answers by whatever name it is called: probes and Prometheus come by the address.

    The metrics of one that listens on this machine only are left out: they name its models.
    """
    probes = frozenset(("/health", "/ready"))
    return probes if _is_loopback(address) else probes | {METRICS_PATH}


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def allowed_hosts(address: str, name: str, hosts: Iterable[str]) -> frozenset[str] | None:
    """The names by which clients may call a server; None where any will do.

    One that listens on this machine only answers to its own names and `hosts`: a page from elsewhere could reach it by
    a name of its own that leads here (DNS rebinding). Any other server does so where there are `hosts`.
    """
    hosts = frozenset(hosts)
    if not hosts and not _is_loopback(address):
        return None
    return frozenset(one.lower() for one in LOOPBACK | hosts | {address, name})


UNKNOWN_HOST_RESPONSE = RestResponse(403, b'{"error": "This server is not known by that name; see --allowed-host"}')
MISSING_HOST_RESPONSE = RestResponse(400, b'{"error": "A request needs one Host header, such as localhost:8501"}')
# A name or an address of IPv4, or one of IPv6 in brackets; then perhaps a port.
_HOST_PATTERN = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]]+))(?::[0-9]*)?", re.IGNORECASE | re.ASCII)


def parse_host(authority: str | None, headers: Iterable[tuple[str, str]]) -> str | None:
    """Return the name that a request calls the server by, in lower case; None where there is no valid one.

    Args:
        authority: of the request's target where that is a whole URL; the Host header does not count then.
        headers: pairs of name and value; granian leaves out values that are not ASCII.
    """
    given = [value for name, value in headers if name.lower() == "host"] if authority is None else [authority]
    found = _HOST_PATTERN.fullmatch(given[0].strip()) if len(given) == 1 else None
    return (found[1] or found[2]).lower() if found else None


class _RsgiApplication:
    """The program that granian calls for every request (RSGI)."""

    def __init__(self, service: Service, hosts: frozenset[str] | None, paths: frozenset[str]) -> None:
        self.service, self.hosts, self.paths = service, hosts, paths
        # A refused request has no place of its own while its body is discarded.
        self._discards = RequestLimiter(service.limiter.places, service.limiter.per_client)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        peer = normalize_peer(scope.client)
        client = client_key(peer)
        headers = {name.lower(): value for name, value in scope.headers.items()}
        body = _RequestBody(headers, protocol, self.service.limits.body)
        with self.service.busy.during(peer):
            await self._serve(scope, protocol, client, headers, body)
        # The connection counts as one without a request from here on, so that it can be closed if there are too many.
        if body.unread:
            with self._discards.enter_if_free(client) as free:
                if free:
                    await body.discard()

    async def _serve(
        self, scope: Any, protocol: Any, client: str, headers: Mapping[str, str], body: "_RequestBody"
    ) -> None:
        try:
            found = self._stranger(scope) or await respond(
                self.service, RestRequest(scope.method, scope.path, headers, body.read, client)
            )
        except asyncio.CancelledError:
            raise
        except Exception:
            LOG.exception("request failed", extra={"path": scope.path[:200]})
            found = RestResponse(500, b'{"error": "Internal error; the log of the server says more"}')
        sent = [("content-type", found.kind), *found.headers]
        if scope.method == "HEAD":
            protocol.response_empty(found.status, [*sent, ("content-length", str(len(found.content)))])
        else:
            protocol.response_bytes(found.status, sent, found.content)

    def _stranger(self, scope: Any) -> RestResponse | None:
        """The refusal of a request that calls the server by no name of its own."""
        if self.hosts is None or scope.path in self.paths:
            return None
        name = parse_host(scope.authority, scope.headers.items())
        if name is None:
            return MISSING_HOST_RESPONSE
        return None if name in self.hosts else UNKNOWN_HOST_RESPONSE


class _RequestBody:
    """A request's body: read once, or discarded.

    Args:
        limit: bytes that are read; as many more are discarded.
    """

    def __init__(self, headers: Mapping[str, str], protocol: Any, limit: int) -> None:
        self._protocol, self._limit = protocol, limit
        declared = headers.get("content-length", "")
        # hyper has refused a length that is no number.
        self._length = int(declared) if declared.isdecimal() else None
        # A client that asks before it sends has nothing on its way until then.
        self._waits = "expect" in headers
        self._ended = self._length in (None, 0) and "transfer-encoding" not in headers
        self._coming: Any = None

    async def read(self) -> bytes:
        """Return the whole body; refuse one that is too large, too slow or cut off."""
        if self._length is not None and self._length > self._limit:
            raise body_too_large(self._limit)
        parts, size, ends = [], 0, 0
        forgiven = asyncio.get_running_loop().time() + BODY_GRACE_SECONDS
        try:
            async with asyncio.timeout_at(forgiven) as time:
                while (part := await self._next()) is not None:
                    parts.append(part)
                    size += len(part)
                    ends += not part
                    if size > self._limit:
                        raise body_too_large(self._limit)
                    time.reschedule(forgiven + size / MIN_BODY_RATE)
        except TimeoutError:
            told = f"The body must come at {MIN_BODY_RATE} bytes a second or faster; send it again"
            raise Refusal(StatusCode.DEADLINE_EXCEEDED, told, http=408) from None
        # granian has no error for a connection that ends early or a chunk that is none: an empty part stands for it,
        # and another one for the end. A body with trailers looks alike, and is refused as well.
        if ends > 1 or self._length not in (None, size):
            raise invalid_argument("The body is cut off, or its chunks are damaged; send the request again")
        return b"".join(parts)

    @property
    def unread(self) -> bool:
        """Whether the client may be sending more of the body."""
        return not self._ended and (self._coming is not None or not self._waits)

    async def discard(self) -> None:
        """Take what was not read of the body, up to a limit, for as long as it comes at the required rate.

        A client that sends its whole request before it reads would lose the answer: closing a connection with unread
        data resets it.
        """
        now, size = asyncio.get_running_loop().time, 0
        begun = now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(begun + DISCARD_PAUSE) as time:
                while size < self._limit and (part := await self._next()) is not None:
                    size += len(part)
                    time.reschedule(
                        min(
                            now() + DISCARD_PAUSE, begun + DISCARD_PAUSE + size / MIN_BODY_RATE, begun + DISCARD_SECONDS
                        )
                    )

    async def _next(self) -> bytes | None:
        """The next part of the body, None at its end."""
        if self._ended:
            return None
        if self._coming is None:
            # It can be asked to begin once only.
            self._coming = aiter(self._protocol)
        # anext's own default ends the process: Python 3.11 cannot combine it with granian's iterator.
        try:
            part: bytes = await anext(self._coming)
        except StopAsyncIteration:
            self._ended = True
            return None
        return part
