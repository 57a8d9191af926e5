"""Requests a second and waiting times of the server, beside the one that most people would write."""

import contextlib
import json
import multiprocessing
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.bench.load import Load, put_under_load
from lstm_ae.bench.turns import Spread, silence, spread
from lstm_ae.errors import ConfigError, DataError

CLIENTS = (1, 8, 64)
SIZES = (16, 64, 256, 1024)


class Server(NamedTuple):
    """A server that runs.

    Args:
        started: seconds from its start to its first answer.
    """

    process: subprocess.Popen[bytes]
    port: int
    path: str
    grpc: int
    started: float


class Row(NamedTuple):
    """What one server did under so many clients; rates over rounds, waiting times of the median round."""

    by: str
    clients: int
    rate: Spread
    p50: float
    p95: float
    p99: float
    failed: int


class Share(NamedTuple):
    """Samples a second over gRPC, over REST and by calling the SavedModel in a loop, at one batch size."""

    batch: int
    direct: float
    grpc: float
    rest: float


def sample(folder: Path) -> tuple[str, dict[str, Any]]:
    """The one input of the newest version below `folder`, and an instance of it."""
    from lstm_ae.serving.models import versions_in
    from lstm_ae.serving.reading import DEFAULT
    from lstm_ae.serving.servable import signature_definitions, signature_of

    versions = versions_in(folder)
    if not versions:
        raise DataError(f"{str(folder)!r} holds no exported model; make one: lstmae export {folder}")
    signature = signature_of(DEFAULT, signature_definitions(versions[max(versions)])[DEFAULT])
    if len(signature.inputs) != 1:
        raise ConfigError(f"The model must have one input. Received: {', '.join(signature.inputs)}")
    ((name, spec),) = signature.inputs.items()
    shape = [size or 50 for size in (spec.shape or ())[1:]]
    values = np.random.default_rng(0).uniform(0, 1, shape).round(4)
    return name, {"instances": [values.tolist()]}


@contextlib.contextmanager
def servers(folder: Path, *, plain: bool) -> Iterator[dict[str, Server]]:
    """Our server with and without batching and, where asked for, the plain one, all answering."""
    _, body = sample(folder)
    content = json.dumps(body).encode()
    start = [sys.executable, "-c", "import sys; from lstm_ae_cli import main; sys.exit(main())", "serve", str(folder)]
    path = f"/v1/models/{folder.resolve().name}:predict"
    with contextlib.ExitStack() as stack:
        found = {}
        for by, options in (("ours, batching", []), ("ours, one by one", ["--max-batch-size", "1"])):
            port, rpc = _free(), _free()
            line = [*start, "--rest-port", str(port), "--grpc-port", str(rpc), "--quiet", *options]
            found[by] = stack.enter_context(_running(line, port, path, content, rpc))
        if plain:
            port = _free()
            line = [sys.executable, "-m", "lstm_ae.bench.plain", str(folder / "model.keras"), str(port)]
            found["FastAPI, model.predict"] = stack.enter_context(_running(line, port, "/predict", content, 0))
        yield found


@contextlib.contextmanager
def _running(line: list[str], port: int, path: str, body: bytes, grpc: int) -> Iterator[Server]:
    began = time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _answers(port, path, body):
                if process.poll() is not None:
                    raise ChildProcessError(f"A server ended with exit code {process.returncode}: {' '.join(line)}")
                time.sleep(0.01)
            yield Server(process, port, path, grpc, time.perf_counter() - began)
        finally:
            process.kill()


def _answers(port: int, path: str, body: bytes) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def under_load(
    found: dict[str, Server], body: bytes, *, rounds: int, seconds: float, done: Callable[[str], None]
) -> list[Row]:
    """Every server under 1, 8 and 64 clients, in turn, some rounds."""
    laps: dict[tuple[str, int], list[Load]] = {(by, n): [] for n in CLIENTS for by in found}
    for number in range(rounds):
        for (by, clients), taken in laps.items():
            server = found[by]
            taken.append(put_under_load(server.port, server.path, body, clients=clients, seconds=seconds))
        done(f"round {number + 1} of {rounds}")
    return [_row(by, clients, taken) for (by, clients), taken in laps.items()]


def _row(by: str, clients: int, taken: list[Load]) -> Row:
    middle = sorted(taken)[len(taken) // 2]
    failed = sum(load.failed for load in taken)
    return Row(by, clients, spread([load.rate for load in taken]), middle.p50, middle.p95, middle.p99, failed)


def shares(folder: Path, server: Server, *, rounds: int, seconds: float) -> list[Share]:
    """Samples a second at several batch sizes: gRPC and REST beside calling the SavedModel directly in a loop."""
    with multiprocessing.get_context("spawn").Pool(1, silence) as pool:
        places = (str(folder), f"grpc://127.0.0.1:{server.grpc}", f"http://127.0.0.1:{server.port}")
        rates = {
            size: [[pool.apply(_rate, (place, folder.resolve().name, size, seconds)) for place in places]]
            for size in SIZES
        }
        for _ in range(rounds - 1):
            for size, laps in rates.items():
                laps.append([pool.apply(_rate, (place, folder.resolve().name, size, seconds)) for place in places])
    return [
        Share(size, *(float(np.median(column)) for column in zip(*laps, strict=True))) for size, laps in rates.items()
    ]


_CALLERS: dict[str, Any] = {}


def _rate(where: str, model: str, size: int, seconds: float) -> float:
    from lstm_ae.serving.callers import caller

    if where not in _CALLERS:
        _CALLERS[where] = caller(where, model, None, "")
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


def memory(server: Server, body: bytes, *, requests: int, done: Callable[[str], None]) -> list[tuple[int, float]]:
    """Resident megabytes of the server's process after so many requests, ten times."""
    found = [(0, _resident(server))]
    for tenth in range(1, 11):
        put_under_load(server.port, server.path, body, clients=64, seconds=3600, requests=requests // 10)
        found.append((tenth * (requests // 10), _resident(server)))
        done(f"{found[-1][0]:,} requests: {found[-1][1]:.0f} MB")
    return found


def _resident(server: Server) -> float:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def importing() -> float:
    """Seconds in which a new process imports TensorFlow."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tensorflow"], check=True, capture_output=True)
    return time.perf_counter() - began
