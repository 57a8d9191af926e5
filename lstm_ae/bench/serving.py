"""Benchmark of the server: requests per second, latency, and memory, with the plain server as reference."""

import asyncio
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.bench.runner import Spread, ratios, silence, spread
from lstm_ae.bench.servers import BATCHING, PLAIN, Server

if TYPE_CHECKING:
    from lstm_ae.serving.client import SignatureClient


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


CLIENTS = (1, 8, 64)

SIZES = (16, 64, 256, 1024)

# Seconds of load in the warm-up round.
WARMUP_SECONDS = 1.0


class ServingRow(NamedTuple):
    """Results of one server with one number of clients.

    Args:
        by: the server.
        clients: number of clients.
        rate: successful answers per second, over the rounds.
        times: ratio to the rate of the reference server in the same round; None if it gave no answer.
        p50: median latency in milliseconds, median over the rounds.
        p95: 95th percentile of the latency in milliseconds, median over the rounds.
        p99: 99th percentile of the latency in milliseconds, median over the rounds.
        failed: failed requests of all rounds.
    """

    by: str
    clients: int
    rate: Spread
    times: Spread | None
    p50: float
    p95: float
    p99: float
    failed: int


class BatchShare(NamedTuple):
    """Samples per second at one batch size, over the rounds.

    Args:
        batch: the batch size.
        direct: rate of calling the SavedModel in a loop without a server.
        grpc: rate over gRPC.
        rest: rate over REST.
        grpc_share: ratio of `grpc` and `direct` of the same round.
        rest_share: ratio of `rest` and `direct` of the same round.
    """

    batch: int
    direct: Spread
    grpc: Spread
    rest: Spread
    grpc_share: Spread
    rest_share: Spread


def measure_load(
    servers: dict[str, Server], body: bytes, *, rounds: int, seconds: float, done: Callable[[str], None]
) -> list[ServingRow]:
    """Measure every server with 1, 8, and 64 clients in turn, after a warm-up round.

    The order is reversed in every other round, so that no server always follows the same one.

    Args:
        servers: the servers by name.
        body: body of the requests.
        rounds: number of measured rounds.
        seconds: duration of each load.
        done: called with each finished round, as text.
    """
    laps: dict[tuple[str, int], list[Load]] = {(by, n): [] for n in CLIENTS for by in servers}
    for number in range(rounds + 1):
        for by, clients in reversed(laps) if number % 2 else laps:
            server, span = servers[by], seconds if number else min(seconds, WARMUP_SECONDS)
            load = apply_load(server.port, server.path, body, clients=clients, seconds=span)
            if number:
                laps[by, clients].append(load)
        done(f"round {number} of {rounds}" if number else "warmed up")
    reference = reference_server(servers)
    return [_row(by, clients, loads, laps[reference, clients]) for (by, clients), loads in laps.items()]


def reference_server(servers: Iterable[str]) -> str:
    """Return the server that the others are compared with: the plain one, if it runs."""
    return PLAIN if PLAIN in servers else BATCHING


def _row(by: str, clients: int, loads: list[Load], reference: list[Load]) -> ServingRow:
    rates, reference_rates = ([load.rate for load in each] for each in (loads, reference))
    # There is no ratio to a server without successful answers.
    times = ratios(rates, reference_rates) if all(reference_rates) else None
    p50, p95, p99 = (statistics.median(column) for column in zip(*(load[1:4] for load in loads), strict=True))
    return ServingRow(by, clients, spread(rates), times, p50, p95, p99, sum(load.failed for load in loads))


def measure_batch_sizes(folder: Path, server: Server, *, rounds: int, seconds: float) -> list[BatchShare]:
    """Measure the samples per second over gRPC, over REST, and without a server at several batch sizes.

    Args:
        folder: run directory with an exported version.
        server: the server of this run.
        rounds: number of measured rounds.
        seconds: duration of each measurement.
    """
    with multiprocessing.get_context("spawn").Pool(1, silence) as pool:
        targets = (str(folder), f"grpc://127.0.0.1:{server.grpc}", f"http://127.0.0.1:{server.port}")
        # The first round loads the models and is not measured.
        laps: dict[int, list[list[float]]] = {size: [] for size in SIZES}
        for number in range(rounds + 1):
            for size, rates in laps.items():
                span = seconds if number else 0.1
                row = [pool.apply(_rate, (target, folder.resolve().name, size, span)) for target in targets]
                rates += [row] if number else []
    return [_share(size, *(list(column) for column in zip(*rates, strict=True))) for size, rates in laps.items()]


def _share(size: int, direct: list[float], grpc: list[float], rest: list[float]) -> BatchShare:
    return BatchShare(size, spread(direct), spread(grpc), spread(rest), ratios(grpc, direct), ratios(rest, direct))


_CALLERS: "dict[str, SignatureClient]" = {}


def _rate(target: str, model: str, size: int, seconds: float) -> float:
    from lstm_ae.serving.client import connect

    if target not in _CALLERS:
        _CALLERS[target] = connect(target, model, None, "")
    caller = _CALLERS[target]
    ((name, spec),) = caller.signature.inputs.items()
    shape = [size, *(length or 50 for length in (spec.shape or ())[1:])]
    inputs = {name: np.random.default_rng(0).uniform(0, 1, shape).round(4).astype(spec.dtype)}
    caller.call(inputs)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        caller.call(inputs)
        calls += 1
    return calls * size / (time.perf_counter() - start)


def measure_memory(
    server: Server, body: bytes, *, requests: int, done: Callable[[str], None]
) -> list[tuple[int, float]]:
    """Measure the resident memory of a server at its start and ten times during a load.

    Args:
        server: the server.
        body: body of the requests.
        requests: number of all requests.
        done: called after each measurement with its result, as text.

    Returns:
        Numbers of requests and megabytes.

    Raises:
        ChildProcessError: requests failed, so that the memory is not representative.
    """
    measurements = [(0, _resident_megabytes(server))]
    part = max(1, requests // 10)
    for tenth in range(1, 11):
        load = apply_load(server.port, server.path, body, clients=64, seconds=3600, requests=part)
        if load.failed:
            raise ChildProcessError(
                f"{load.failed} of {part} requests failed, so the memory of the server is not representative"
            )
        measurements.append((tenth * part, _resident_megabytes(server)))
        done(f"{measurements[-1][0]:,} requests: {measurements[-1][1]:.0f} MB")
    return measurements


def _resident_megabytes(server: Server) -> float:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measure_import() -> float:
    """Return the seconds in which a new process imports TensorFlow, the median of three measurements."""
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import tensorflow"], check=True, capture_output=True)
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)
