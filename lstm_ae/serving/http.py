"""REST over HTTP by granian: reads requests with every size limited and hands them on.

granian because it closes connections that send no header in time, which uvicorn cannot; what it lacks, a limit of the
body, stands here: bytes are counted while they come, whatever Content-Length says.
"""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from lstm_ae.serving.openapi import METRICS
from lstm_ae.serving.refusals import Refusal
from lstm_ae.serving.rest import Answer, Asked, answer, too_large
from lstm_ae.serving.service import Service

LOG = logging.getLogger(__name__)


# Seconds that a client whose body is too large may pause before it is answered.
LINGER = 0.5
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


def http_server(
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
        connections: at the same time; further ones wait.
        header_seconds: a connection that has not sent its headers by then is closed.
        hosts: see `names_of`.
    """
    return Server(
        _Application(service, names_of(address, name, hosts), open_paths(address)),
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        # Where it looks for HTTP/2 first, a connection that says nothing at all is never closed.
        http=HTTPModes.http1,
        websockets=False,
        backpressure=connections,
        backlog=max(128, connections),
        http1_settings=HTTP1Settings(header_read_timeout=round(1000 * header_seconds)),
        log_enabled=False,
    )


def open_paths(address: str) -> frozenset[str]:
    """What a server answers by whatever name it is called: probes and Prometheus come by the address.

    The metrics of one that listens on this machine only are left out: they name its models.
    """
    probes = frozenset(("/health", "/ready"))
    return probes if _is_loopback(address) else probes | {METRICS}


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def names_of(address: str, name: str, hosts: Iterable[str]) -> frozenset[str] | None:
    """The names by which clients may call a server; None where any will do.

    One that listens on this machine only answers to its own names and `hosts`: a page from elsewhere could reach it by
    a name of its own that leads here (DNS rebinding). Any other server does so where there are `hosts`.
    """
    hosts = frozenset(hosts)
    if not hosts and not _is_loopback(address):
        return None
    return frozenset(one.lower() for one in LOOPBACK | hosts | {address, name})


STRANGER = Answer(403, b'{"error": "This server is not known by that name; see --allowed-host"}')


class _Application:
    """The program that granian calls for every request (RSGI)."""

    def __init__(self, service: Service, hosts: frozenset[str] | None, paths: frozenset[str]) -> None:
        self.service, self.hosts, self.paths = service, hosts, paths

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        headers = {name.lower(): value for name, value in scope.headers.items()}
        asked = Asked(scope.method, scope.path, headers, lambda: self._body(headers, protocol))
        try:
            known = scope.path in self.paths or self._knows(headers.get("host", "localhost"))
            found = await answer(self.service, asked) if known else STRANGER
        except asyncio.CancelledError:
            raise
        except Exception:
            LOG.exception("request failed", extra={"path": scope.path[:200]})
            found = Answer(500, b'{"error": "Internal error; the log of the server says more"}')
        sent = [("content-type", found.kind), *found.headers]
        if scope.method == "HEAD":
            protocol.response_empty(found.status, [*sent, ("content-length", str(len(found.content)))])
        else:
            protocol.response_bytes(found.status, sent, found.content)

    def _knows(self, host: str) -> bool:
        name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
        return self.hosts is None or name.lower() in self.hosts

    async def _body(self, headers: dict[str, str], protocol: Any) -> bytes:
        limit = self.service.limits.body
        declared = headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
            raise await self._too_large(aiter(protocol))
        parts, size, coming = [], 0, aiter(protocol)
        while (part := await _next(coming)) is not None:
            parts.append(part)
            size += len(part)
            if size > limit:
                raise await self._too_large(coming)
        return b"".join(parts)

    async def _too_large(self, coming: Any) -> Refusal:
        """The refusal, once a client that keeps sending has had its say: it would be cut off before it reads it."""
        left = self.service.limits.body
        with contextlib.suppress(TimeoutError):
            while left > 0:
                async with asyncio.timeout(LINGER):
                    part = await _next(coming)
                if part is None:
                    break
                left -= len(part)
        return too_large(self.service.limits.body)


async def _next(coming: Any) -> bytes | None:
    """The next part of a body, None at its end; granian can be asked to begin a body once only."""
    # anext's own default ends the process: Python 3.11 cannot combine it with granian's iterator.
    try:
        part: bytes = await anext(coming)
    except StopAsyncIteration:
        return None
    return part
