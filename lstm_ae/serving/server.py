"""The server: REST, gRPC, and the models on one event loop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from lstm_ae.serving.catalog import ModelCatalog
from lstm_ae.serving.config import Ports, ServerConfig
from lstm_ae.serving.connections import connection_limit
from lstm_ae.serving.grpc_server import make_grpc_server
from lstm_ae.serving.http import make_http_server
from lstm_ae.serving.model_folders import ModelVersions
from lstm_ae.serving.ports import bind_grpc, resolve_address, wait_until_listening
from lstm_ae.serving.request_handler import RequestHandler
from lstm_ae.serving.servable import Servable

LOG = logging.getLogger(__name__)


async def serve(
    find: Callable[[], ModelVersions],
    load: Callable[[str, int, Path], Servable],
    config: ServerConfig,
    *,
    listening: Callable[[Ports, RequestHandler], None],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set, then let running requests finish.

    Calls and loads that exceed the time for the shutdown continue in their threads.

    Args:
        find: Function that returns the versions to serve; called in every scan of the folder.
        load: Function that loads a version, see `lstm_ae.serving.loading`.
        config: The server options.
        listening: Function that is called with the ports once requests are accepted; models may still be loading.
        stop: Event that stops the server.

    Raises:
        ConfigError: If the address or a port is not available.
    """
    catalog = ModelCatalog(find, load)
    handler = RequestHandler(catalog, config)
    connections = connection_limit(config.max_concurrency)

    address, port = resolve_address(config.host, config.rest_port)
    rpc = make_grpc_server(handler, connections)
    ports = Ports(config.host, port, bind_grpc(rpc, config, address))
    await rpc.start()
    http = make_http_server(handler, address, port, connections)
    scanning = asyncio.create_task(_refresh_catalog(catalog, config.poll))
    serving = asyncio.create_task(http.serve())
    stopping = asyncio.create_task(stop.wait())
    startup = asyncio.create_task(wait_until_listening(address, port, serving))
    try:
        await asyncio.wait([startup, stopping], return_when=asyncio.FIRST_COMPLETED)
        if startup.done():
            startup.result()
            listening(ports, handler)
            await asyncio.wait([stopping, serving, scanning], return_when=asyncio.FIRST_COMPLETED)
        for task in (scanning, serving):
            if task.done() and task.exception():
                raise task.exception() or AssertionError
    finally:
        startup.cancel()
        scanning.cancel()
        handler.draining = True
        LOG.info("draining", extra={"running": handler.running})
        end = time.monotonic() + config.drain
        while handler.running and time.monotonic() < end:
            await asyncio.sleep(0.01)
        await rpc.stop(max(0.0, end - time.monotonic()))
        http.stop()  # type: ignore[no-untyped-call]
        with contextlib.suppress(Exception):
            await asyncio.wait_for(serving, max(1.0, end - time.monotonic()))
        handler.batcher.close()
        catalog.close()
        LOG.info("stopped")


async def _refresh_catalog(catalog: ModelCatalog, poll: float) -> None:
    while True:
        try:
            await catalog.scan()
        except Exception:
            # A folder that cannot be read now may be readable in the next scan.
            LOG.exception("the folder cannot be read")
        await asyncio.sleep(poll)
