"""Benchmark of the server: requests per second and latency, compared with FastAPI and `model.predict`."""

import asyncio
import contextlib
import multiprocessing
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lstm_ae.bench.runner import silence
from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonObject

OURS, PLAIN = "ours", "FastAPI, model.predict"

CLIENTS = (1, 8, 64)

# Seconds of load in the warm-up round.
WARMUP_SECONDS = 1.0
# Seconds within which a server must answer for the first time.
START_TIMEOUT = 180.0


class Server(NamedTuple):
    """Running server.

    Args:
        port: port of HTTP.
        path: path of the endpoint.
        started: seconds from the start of the server to its first answer.
    """

    port: int
    path: str
    started: float


class Load(NamedTuple):
    """Result of a load.

    Args:
        rate: successful answers per second, over all clients.
        p50: median latency in milliseconds.
        p95: 95th percentile of the latency.
        p99: 99th percentile of the latency.
        failed: answers other than 200, and broken connections.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    failed: int


def sample_request(folder: Path) -> JsonObject:
    """Return a request with one random instance for the newest exported version.

    Args:
        folder: directory with exported versions.

    Raises:
        DataError: there is no exported version.
        ConfigError: the model has several inputs.
    """
    from lstm_ae.serving.callable_signature import open_signature
    from lstm_ae.serving.signatures import DEFAULT_SIGNATURE

    inputs = open_signature(folder, DEFAULT_SIGNATURE).signature.inputs
    if len(inputs) != 1:
        raise ConfigError(f"The model must have one input. Received: {', '.join(inputs)}")
    (spec,) = inputs.values()
    shape = [size or 50 for size in (spec.shape or ())[1:]]
    return {"instances": [np.random.default_rng(0).uniform(0, 1, shape).round(4).tolist()]}


@contextlib.contextmanager
def start_servers(folder: Path, body: bytes, *, plain: bool) -> Iterator[dict[str, Server]]:
    """Start the servers and return a context with them; they end with the context.

    Args:
        folder: run directory with an exported version.
        body: body of a request.
        plain: whether to start the plain server as well.

    Raises:
        ConfigError: the plain server has no model.
        ChildProcessError: a server ended, or does not answer within `START_TIMEOUT`.
    """
    model, ports = folder / "model.keras", [_free_port() for _ in range(3)]
    if plain and not model.is_file():
        raise ConfigError(f"The plain server needs {str(model)!r}. Pass a run or --no-plain.", code=Code.MISSING_OPTION)
    start = ["-c", "import sys; from lstm_ae_cli import main; sys.exit(main())", "serve", str(folder), "--quiet"]
    ours = [*start, "--rest-port", str(ports[0]), "--grpc-port", str(ports[1])]
    with contextlib.ExitStack() as stack:
        path = f"/v1/models/{folder.resolve().name}:predict"
        servers = {OURS: stack.enter_context(_start_server(ours, ports[0], path, body))}
        if plain:
            line = ["-m", "lstm_ae.bench.plain", str(model), str(ports[2])]
            servers[PLAIN] = stack.enter_context(_start_server(line, ports[2], "/predict", body))
        yield servers


@contextlib.contextmanager
def _start_server(arguments: list[str], port: int, path: str, body: bytes) -> Iterator[Server]:
    line, start = [sys.executable, *arguments], time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _answers(port, path, body):
                if process.poll() is not None or time.perf_counter() - start > START_TIMEOUT:
                    raise ChildProcessError(
                        f"A server ended, or did not answer within {START_TIMEOUT:.0f} s: {' '.join(line)}"
                    )
                time.sleep(0.01)
            yield Server(port, path, time.perf_counter() - start)
        finally:
            process.kill()


def _answers(port: int, path: str, body: bytes) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.status) == 200
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def apply_load(port: int, path: str, body: bytes, *, clients: int, seconds: float) -> Load:
    """Send requests to a server on loopback from a separate process.

    Args:
        port: port of the server.
        path: path of the endpoint.
        body: body of the requests.
        clients: number of concurrent clients.
        seconds: how long to send new requests.
    """
    with multiprocessing.get_context("spawn").Pool(1, silence) as pool:
        return pool.apply(_load, (port, path, body, clients, seconds))


def _load(port: int, path: str, body: bytes, clients: int, seconds: float) -> Load:
    headers = "Host: localhost\r\nContent-Type: application/json"
    message = f"POST {path} HTTP/1.1\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    latencies: list[float] = []
    failed = 0

    async def client(until: float) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # A client that connects late still sends one request.
        while True:
            start = time.perf_counter()
            writer.write(message)
            try:
                failed += not await _read_answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                failed += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            end = time.perf_counter()
            latencies.append(end - start)
            if end >= until:
                break
        writer.close()

    async def run_clients() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(client(start + seconds) for _ in range(clients)))
        return time.perf_counter() - start

    duration = asyncio.run(run_clients())
    p50, p95, p99 = (1000 * np.percentile(latencies, (50, 95, 99))).tolist()
    return Load((len(latencies) - failed) / duration, p50, p95, p99, failed)


async def _read_answer(reader: asyncio.StreamReader) -> bool:
    """Read an answer and return whether its status is 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
    await reader.readexactly(int(length))
    return b" 200 " in head.split(b"\r\n", 1)[0]


def measure_load(
    servers: dict[str, Server], body: bytes, *, rounds: int, seconds: float, done: Callable[[str], None]
) -> pd.DataFrame:
    """Measure every server with 1, 8, and 64 clients in turn, after a warm-up round.

    The order is reversed in every other round, so that no server always follows the same one.

    Args:
        servers: the servers by name.
        body: body of the requests.
        rounds: number of measured rounds.
        seconds: duration of each load.
        done: called with each finished round, as text.

    Returns:
        A row for each load: the server as `by`, its `clients`, the `round`, and the fields of `Load`.
    """
    loads = [(by, clients) for clients in CLIENTS for by in servers]
    rows = []
    for number in range(rounds + 1):
        for by, clients in reversed(loads) if number % 2 else loads:
            server, span = servers[by], seconds if number else min(seconds, WARMUP_SECONDS)
            load = apply_load(server.port, server.path, body, clients=clients, seconds=span)
            rows.append({"by": by, "clients": clients, "round": number, **load._asdict()})
        done(f"round {number} of {rounds}" if number else "warmed up")
    return pd.DataFrame([row for row in rows if row["round"]])


def summarize_loads(loads: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each server and number of clients.

    Args:
        loads: see `measure_load`.

    Returns:
        Medians over the rounds, the range of the rate, its ratio to that of the plain server in the same round (NaN
        without its answers), and the number of failed requests.
    """
    plain = loads.assign(plain=loads["rate"].where((loads["by"] == PLAIN) & (loads["rate"] > 0)))
    ratios = loads["rate"] / plain.groupby(["clients", "round"])["plain"].transform("max")
    groups = loads.assign(times_plain=ratios).groupby(["clients", "by"])
    latencies = {name: (name, "median") for name in ("p50", "p95", "p99")}
    table = groups.agg(
        rate=("rate", "median"),
        low=("rate", "min"),
        high=("rate", "max"),
        times_plain=("times_plain", "median"),
        **latencies,
        failed=("failed", "sum"),
    )
    return table.reset_index()
