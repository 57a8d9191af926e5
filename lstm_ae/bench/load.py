"""A load of HTTP requests: so many clients on loopback, each of which asks again as soon as it is answered."""

import asyncio
import multiprocessing
import time
from typing import NamedTuple

import numpy as np

from lstm_ae.bench.turns import silence


class Load(NamedTuple):
    """What clients have seen.

    Args:
        rate: good answers a second, all clients together.
        p50, p95, p99: milliseconds within which so many of a hundred answers came.
        failed: answers other than 200, and connections that broke.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    failed: int


def apply_load(port: int, path: str, body: bytes, *, clients: int, seconds: float, requests: int = 0) -> Load:
    """Ask a server on loopback, from a process of its own.

    Args:
        seconds: for which new requests are sent.
        requests: at most so many, where not 0.
    """
    with multiprocessing.get_context("spawn").Pool(1, silence) as pool:
        return pool.apply(_load, (port, path, body, clients, seconds, requests))


def _load(port: int, path: str, body: bytes, clients: int, seconds: float, requests: int) -> Load:
    kind = "Host: localhost\r\nContent-Type: application/json"
    message = f"POST {path} HTTP/1.1\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    taken: list[float] = []
    failed = 0
    left = requests or 2**62

    async def client(until: float) -> None:
        nonlocal failed, left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until and left > 0:
            left -= 1
            began = time.perf_counter()
            writer.write(message)
            try:
                failed += not await _answered(reader)
            except (OSError, asyncio.IncompleteReadError):
                failed += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            taken.append(time.perf_counter() - began)
        writer.close()

    async def all_of_them() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(client(began + seconds) for _ in range(clients)))
        return time.perf_counter() - began

    whole = asyncio.run(all_of_them())
    p50, p95, p99 = (1000 * float(np.percentile(taken, share)) for share in (50, 95, 99))
    return Load((len(taken) - failed) / whole, p50, p95, p99, failed)


async def _answered(reader: asyncio.StreamReader) -> bool:
    """Read an answer; whether it is a good one."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
    await reader.readexactly(int(length))
    return b" 200 " in head.split(b"\r\n", 1)[0]
