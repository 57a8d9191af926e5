"""Load generator for HTTP: concurrent clients on loopback that send the next request after each answer."""

import asyncio
import multiprocessing
import time
from typing import NamedTuple

import numpy as np

from lstm_ae.bench.turns import silence


class Load(NamedTuple):
    """Result of a load.

    Args:
        rate: successful answers per second, over all clients.
        p50: median latency in milliseconds.
        p95: 95th percentile of the latency in milliseconds.
        p99: 99th percentile of the latency in milliseconds.
        failed: answers other than 200, and broken connections.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    failed: int


def apply_load(port: int, path: str, body: bytes, *, clients: int, seconds: float, requests: int = 0) -> Load:
    """Send requests to a server on loopback from a separate process.

    Args:
        port: port of the server.
        path: path of the endpoint.
        body: body of the requests.
        clients: number of concurrent clients.
        seconds: how long to send new requests.
        requests: largest number of requests; 0 for no limit.
    """
    with multiprocessing.get_context("spawn").Pool(1, silence) as pool:
        return pool.apply(_load, (port, path, body, clients, seconds, requests))


def _load(port: int, path: str, body: bytes, clients: int, seconds: float, requests: int) -> Load:
    headers = "Host: localhost\r\nContent-Type: application/json"
    message = f"POST {path} HTTP/1.1\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    latencies: list[float] = []
    failed = 0
    left = requests or 2**62

    async def client(until: float) -> None:
        nonlocal failed, left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until and left > 0:
            left -= 1
            start = time.perf_counter()
            writer.write(message)
            try:
                failed += not await _read_answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                failed += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            latencies.append(time.perf_counter() - start)
        writer.close()

    async def run_clients() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(client(start + seconds) for _ in range(clients)))
        return time.perf_counter() - start

    duration = asyncio.run(run_clients())
    p50, p95, p99 = (1000 * float(np.percentile(latencies, share)) for share in (50, 95, 99))
    return Load((len(latencies) - failed) / duration, p50, p95, p99, failed)


async def _read_answer(reader: asyncio.StreamReader) -> bool:
    """Read an answer and return whether its status is 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
    await reader.readexactly(int(length))
    return b" 200 " in head.split(b"\r\n", 1)[0]
