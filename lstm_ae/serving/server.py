"""The server: REST, gRPC, and the models on one event loop."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from lstm_ae.serving.batching import CALL_THREAD_PREFIX, Batcher, BatchingConfig
from lstm_ae.serving.connections import SWEEP_SECONDS, ConnectionSweeper, connection_limit
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.folders import ServedModel
from lstm_ae.serving.grpc_server import make_grpc_server
from lstm_ae.serving.http import make_http_server
from lstm_ae.serving.limiter import RequestLimiter
from lstm_ae.serving.metrics import ServerMetrics
from lstm_ae.serving.models import LOAD_THREAD_PREFIX, Catalogue
from lstm_ae.serving.ports import Ports, bind_grpc, reset_unread_connections, resolve_address, wait_until_listening
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.service import RequestLimits, Service

LOG = logging.getLogger(__name__)


class ServerConfig(NamedTuple):
    """The options for folders and connections.

    Args:
        poll: Seconds between two looks at the folder.
        concurrency: The number of concurrent requests; further ones wait.
        per_client: The number of concurrent requests per client; 0 for three quarters of all.
        header_seconds: The time limit for receiving the headers of a connection, and the message of a gRPC call.
        drain_seconds: The time limit for running requests after the server is told to stop.
        grace_seconds: The first part of `drain_seconds`, in which the server still accepts requests but reports that
            it is not ready.
        hosts: See `make_http_server`.
        load_seconds: The time limit for loading a version and its warm-up.
        tensor_content: Whether gRPC responses contain numbers as bytes instead of typed values.
    """

    poll: float = 1.0
    concurrency: int = 256
    per_client: int = 0
    header_seconds: float = 10.0
    drain_seconds: float = 20.0
    grace_seconds: float = 0.0
    hosts: tuple[str, ...] = ()
    load_seconds: float = 300.0
    tensor_content: bool = False


async def serve(
    root: Path,
    wanted: Callable[[], Iterable[ServedModel]],
    load: Callable[[str, int, Path], Servable],
    *,
    ports: Ports,
    manners: ServerConfig,
    batching: BatchingConfig,
    limits: RequestLimits,
    page: bool,
    listening: Callable[[Ports, Service], None],
    stop: asyncio.Event,
) -> bool:
    """Serve until `stop` is set, then let running requests finish.

    Args:
        root: The served folder; a configuration received over gRPC may only refer to folders within it.
        wanted: Function that returns the models to serve; called in every look at the folder.
        load: Function that loads a version, see `lstm_ae.serving.loading`.
        ports: The host and ports.
        manners: The server options.
        batching: The batching options.
        limits: The request limits.
        page: Whether to serve a page at `/`.
        listening: Function that is called with the ports once requests are accepted; models may still be loading.
        stop: Event that stops the server.

    Returns:
        Whether a call or load of a model is still running. Python cannot stop its thread and would wait for it.

    Raises:
        ConfigError: If the address or a port is not available.
    """
    catalogue, batcher = Catalogue(wanted, load, limit=manners.load_seconds), Batcher(batching, limits.seconds)
    limiter = RequestLimiter(manners.concurrency, manners.per_client)
    service = Service(catalogue, batcher, ServerMetrics(), limits, limiter=limiter, page=page)
    connections = connection_limit(manners.concurrency)

    async def reload(models: list[ServedModel]) -> None:
        for model in models:
            if not model.base.resolve().is_relative_to(root.resolve()):
                raise Refusal(
                    StatusCode.PERMISSION_DENIED, f"The base_path of {model.name!r} is not in the served folder"
                )
        await catalogue.follow(models)

    address, port = resolve_address(ports.host, ports.rest)
    ports = ports._replace(rest=port)
    rpc = None
    if ports.grpc is not None:
        rpc = make_grpc_server(service, reload, connections, manners.header_seconds, content=manners.tensor_content)
        ports = ports._replace(grpc=bind_grpc(rpc, ports, address))
        await rpc.start()
    http = make_http_server(
        service,
        address,
        ports.rest,
        name=ports.host,
        connections=connections,
        header_seconds=manners.header_seconds,
        hosts=manners.hosts,
    )
    looking = asyncio.create_task(_refresh_catalogue(catalogue, manners.poll))
    own = [port for port in (ports.rest, ports.grpc) if port is not None]
    sweeping = asyncio.create_task(_sweep_connections(ConnectionSweeper(own, connections, service.busy)))
    serving = asyncio.create_task(http.serve())
    stopping = asyncio.create_task(stop.wait())
    begun = asyncio.create_task(wait_until_listening(address, ports.rest, serving))
    end = None
    try:
        await asyncio.wait([begun, stopping], return_when=asyncio.FIRST_COMPLETED)
        if begun.done():
            begun.result()
            reset_unread_connections(ports.rest, limits.seconds)
            listening(ports, service)
            await asyncio.wait([stopping, serving, looking], return_when=asyncio.FIRST_COMPLETED)
        for task in (looking, serving):
            if task.done() and task.exception():
                raise task.exception() or AssertionError
        end = time.monotonic() + manners.drain_seconds
        service.leaving = True
        await asyncio.wait([serving], timeout=min(manners.grace_seconds, manners.drain_seconds))
    finally:
        begun.cancel()
        looking.cancel()
        sweeping.cancel()
        service.draining = True
        LOG.info("draining", extra={"running": service.running})
        end = end or time.monotonic() + manners.drain_seconds
        while service.running and time.monotonic() < end:
            await asyncio.sleep(0.01)
        if rpc is not None:
            await rpc.stop(max(0.0, end - time.monotonic()))
        http.stop()  # type: ignore[no-untyped-call]
        with contextlib.suppress(Exception):
            await asyncio.wait_for(serving, max(1.0, end - time.monotonic()))
        batcher.close()
        catalogue.close()
        service.apart.close()
        LOG.info("stopped")
    return is_busy()


def is_busy(seconds: float = 0.2) -> bool:
    """Return whether a thread that calls or loads a model still runs after `seconds`; idle threads end at once."""
    end = time.monotonic() + seconds
    threads = [
        thread for thread in threading.enumerate() if thread.name.startswith((CALL_THREAD_PREFIX, LOAD_THREAD_PREFIX))
    ]
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return any(thread.is_alive() for thread in threads)


async def _sweep_connections(sweeper: ConnectionSweeper) -> None:
    while True:
        if closed := sweeper.sweep():
            LOG.warning("connections without a request closed", extra={"connections": closed})
        await asyncio.sleep(SWEEP_SECONDS)


async def _refresh_catalogue(catalogue: Catalogue, poll: float) -> None:
    while True:
        try:
            await catalogue.look()
        except Exception:
            # A folder that cannot be read now may be readable in the next look.
            LOG.exception("looking at the folder failed")
        await asyncio.sleep(poll)
