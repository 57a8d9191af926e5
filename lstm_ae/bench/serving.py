"""Requests a second and waiting times of the server, beside the one that most people would write."""

import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.bench.load import Load, apply_load
from lstm_ae.bench.servers import PLAIN, Server
from lstm_ae.bench.turns import Spread, ratios, silence, spread

CLIENTS = (1, 8, 64)
SIZES = (16, 64, 256, 1024)
# Seconds of load before anything is counted.
WARMING = 1.0


class ServingRow(NamedTuple):
    """What one server did under so many clients.

    Args:
        rate: good answers a second, over rounds.
        times: how many times the plain server's rate of the same round; None where that did not run.
        p50, p95, p99: milliseconds, each the median over rounds.
        failed: of all rounds.
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
    """Samples a second at one batch size, over rounds.

    Args:
        direct: by calling the SavedModel in a loop, without any server.
        grpc, rest: over these.
        grpc_share, rest_share: in parts of `direct`, round by round.
    """

    batch: int
    direct: Spread
    grpc: Spread
    rest: Spread
    grpc_share: Spread
    rest_share: Spread


def measure_load(
    found: dict[str, Server], body: bytes, *, rounds: int, seconds: float, done: Callable[[str], None]
) -> list[ServingRow]:
    """Every server under 1, 8 and 64 clients, in turn, some rounds after one that only warms up.

    Every other round goes backwards, so that nobody always follows the same one.
    """
    laps: dict[tuple[str, int], list[Load]] = {(by, n): [] for n in CLIENTS for by in found}
    for number in range(rounds + 1):
        for by, clients in reversed(laps) if number % 2 else laps:
            server, span = found[by], seconds if number else min(seconds, WARMING)
            load = apply_load(server.port, server.path, body, clients=clients, seconds=span)
            if number:
                laps[by, clients].append(load)
        done(f"round {number} of {rounds}" if number else "warmed up")
    return [_row(by, clients, taken, laps.get((PLAIN, clients))) for (by, clients), taken in laps.items()]


def _row(by: str, clients: int, taken: list[Load], plain: list[Load] | None) -> ServingRow:
    rates = [load.rate for load in taken]
    # A server that answers nothing has no rate to be compared with.
    slow = [load.rate for load in plain or ()]
    times = ratios(rates, slow) if slow and all(slow) else None
    p50, p95, p99 = (statistics.median(column) for column in zip(*(load[1:4] for load in taken), strict=True))
    return ServingRow(by, clients, spread(rates), times, p50, p95, p99, sum(load.failed for load in taken))


def measure_batch_sizes(folder: Path, server: Server, *, rounds: int, seconds: float) -> list[BatchShare]:
    """Samples a second at several batch sizes: gRPC and REST beside calling the SavedModel directly in a loop."""
    with multiprocessing.get_context("spawn").Pool(1, silence) as pool:
        places = (str(folder), f"grpc://127.0.0.1:{server.grpc}", f"http://127.0.0.1:{server.port}")
        # A round that only loads and warms up goes before those that count.
        laps: dict[int, list[list[float]]] = {size: [] for size in SIZES}
        for number in range(rounds + 1):
            for size, rates in laps.items():
                span = seconds if number else 0.1
                row = [pool.apply(_rate, (place, folder.resolve().name, size, span)) for place in places]
                rates += [row] if number else []
    return [_share(size, *(list(column) for column in zip(*rates, strict=True))) for size, rates in laps.items()]


def _share(size: int, direct: list[float], grpc: list[float], rest: list[float]) -> BatchShare:
    return BatchShare(size, spread(direct), spread(grpc), spread(rest), ratios(grpc, direct), ratios(rest, direct))


_CALLERS: dict[str, Any] = {}


def _rate(where: str, model: str, size: int, seconds: float) -> float:
    from lstm_ae.serving.client import connect

    if where not in _CALLERS:
        _CALLERS[where] = connect(where, model, None, "")
    found = _CALLERS[where]
    ((name, spec),) = found.signature.inputs.items()
    shape = [size, *(length or 50 for length in (spec.shape or ())[1:])]
    inputs = {name: np.random.default_rng(0).uniform(0, 1, shape).round(4).astype(spec.dtype)}
    found.call(inputs)
    calls, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        found.call(inputs)
        calls += 1
    return calls * size / (time.perf_counter() - began)


def measure_memory(
    server: Server, body: bytes, *, requests: int, done: Callable[[str], None]
) -> list[tuple[int, float]]:
    """Resident megabytes of the server's process after so many requests, ten times.

    Raises `ChildProcessError` where requests fail: a server that answers nothing needs no memory.
    """
    found = [(0, _resident(server))]
    part = max(1, requests // 10)
    for tenth in range(1, 11):
        load = apply_load(server.port, server.path, body, clients=64, seconds=3600, requests=part)
        if load.failed:
            raise ChildProcessError(
                f"{load.failed} of {part} requests failed; the memory of such a server says nothing"
            )
        found.append((tenth * part, _resident(server)))
        done(f"{found[-1][0]:,} requests: {found[-1][1]:.0f} MB")
    return found


def _resident(server: Server) -> float:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measure_import() -> float:
    """Seconds in which a new process imports TensorFlow, the median of three."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import tensorflow"], check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
