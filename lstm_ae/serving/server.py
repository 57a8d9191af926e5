"""REST, gRPC and the models on one event loop, from the first look at the folder to the last answer."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from lstm_ae.serving.batching import Batcher, Batching
from lstm_ae.serving.folders import Model
from lstm_ae.serving.http import http_server
from lstm_ae.serving.metrics import Metrics
from lstm_ae.serving.models import Catalogue
from lstm_ae.serving.ports import Ports, bind, end_unread, place, until_it_listens
from lstm_ae.serving.refusals import Code, Refusal
from lstm_ae.serving.rpc import grpc_server
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.service import Limits, Service

LOG = logging.getLogger(__name__)


class Manners(NamedTuple):
    """How the server treats folders and connections.

    Args:
        poll: seconds between two looks at the folder.
        connections: at the same time; further ones wait.
        header_seconds: within which a connection must have sent its headers.
        drain_seconds: that running requests get to end once the server is told to stop.
        hosts: see `http_server`.
    """

    poll: float = 1.0
    connections: int = 256
    header_seconds: float = 10.0
    drain_seconds: float = 20.0
    hosts: tuple[str, ...] = ()


async def serve(
    root: Path,
    wanted: Callable[[], Iterable[Model]],
    load: Callable[[str, int, Path], Servable],
    *,
    ports: Ports,
    manners: Manners,
    batching: Batching,
    limits: Limits,
    page: bool,
    listening: Callable[[Ports, Service], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then let what runs end.

    Args:
        root: the folder; a configuration that comes over gRPC may name only folders in it.
        wanted: says at every look which models are to be served.
        load: see `lstm_ae.serving.loading`.
        page: whether there is a page at `/`.
        listening: called once requests are taken, with the ports; models may still be on their way into memory.

    Raises:
        ConfigError: the address or a port cannot be had.
    """
    catalogue, batcher = Catalogue(wanted, load), Batcher(batching)
    service = Service(catalogue, batcher, Metrics(), limits, page=page)

    async def reload(models: list[Model]) -> None:
        for model in models:
            if not model.base.resolve().is_relative_to(root.resolve()):
                raise Refusal(Code.PERMISSION_DENIED, f"The base_path of {model.name!r} is not in the served folder")
        await catalogue.follow(models)

    address, port = place(ports.host, ports.rest)
    ports = ports._replace(rest=port)
    rpc = None if ports.grpc is None else grpc_server(service, reload)
    if rpc is not None:
        ports = ports._replace(grpc=bind(rpc, ports, address))
        await rpc.start()
    http = http_server(
        service,
        address,
        ports.rest,
        name=ports.host,
        connections=manners.connections,
        header_seconds=manners.header_seconds,
        hosts=manners.hosts,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    at_signals(loop, stop.set)
    looking = asyncio.create_task(_look(catalogue, manners.poll))
    serving = asyncio.create_task(http.serve())
    try:
        await until_it_listens(address, ports.rest, serving)
        end_unread(ports.rest, limits.seconds)
        listening(ports, service)
        await asyncio.wait([asyncio.create_task(stop.wait()), serving, looking], return_when=asyncio.FIRST_COMPLETED)
        for task in (looking, serving):
            if task.done() and task.exception():
                raise task.exception() or AssertionError
    finally:
        looking.cancel()
        service.draining = True
        LOG.info("draining", extra={"running": service.running})
        end = time.monotonic() + manners.drain_seconds
        while service.running and time.monotonic() < end:
            await asyncio.sleep(0.01)
        if rpc is not None:
            await rpc.stop(max(0.0, end - time.monotonic()))
        http.stop()  # type: ignore[no-untyped-call]
        with contextlib.suppress(Exception):
            await asyncio.wait_for(serving, max(1.0, end - time.monotonic()))
        batcher.close()
        service.apart.close()
        LOG.info("stopped")


def at_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Call `stop` on the loop at SIGTERM and SIGINT, which the loops of Windows know nothing of."""
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


async def _look(catalogue: Catalogue, poll: float) -> None:
    while True:
        try:
            await catalogue.refresh()
        except Exception:
            # A folder that cannot be read now may be readable at the next look.
            LOG.exception("looking at the folder failed")
        await asyncio.sleep(poll)
