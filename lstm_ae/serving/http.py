"""REST over HTTP by granian: reads requests with every size limited and hands them on.

granian because it closes connections that send no header in time, which uvicorn cannot; what it lacks, a limit of the
body, stands here: bytes are counted while they come, whatever Content-Length says.
"""

import asyncio
import logging
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from lstm_ae.serving.refusals import Code, Refusal
from lstm_ae.serving.rest import Answer, Asked, answer, too_large
from lstm_ae.serving.service import Service

LOG = logging.getLogger(__name__)


def http_server(service: Service, host: str, port: int, *, connections: int, header_seconds: float) -> Server:
    """A server that is not yet listening.

    Args:
        connections: at the same time; further ones wait.
        header_seconds: a connection that has not sent its headers by then is closed.
    """
    return Server(
        _Application(service),
        address=host,
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


class _Application:
    """The program that granian calls for every request (RSGI)."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        headers = {name.lower(): value for name, value in scope.headers.items()}
        asked = Asked(scope.method, scope.path, headers, lambda: self._body(headers, protocol))
        try:
            found = await answer(self.service, asked)
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

    async def _body(self, headers: dict[str, str], protocol: Any) -> bytes:
        limit = self.service.limits.body
        declared = headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
            raise too_large(limit)
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.service.limits.seconds):
                async for part in protocol:
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise too_large(limit)
        except TimeoutError:
            raise Refusal(Code.DEADLINE_EXCEEDED, "The body did not come in time", http=408) from None
        return b"".join(parts)
