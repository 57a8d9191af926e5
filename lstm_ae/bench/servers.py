"""Servers of the benchmark: three of this package, and the plain one, each in its own process."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.json_types import JsonObject

PLAIN = "FastAPI, model.predict"
# The server of this package with its defaults, without the assembly of batches, and without TensorFlow's arithmetic.
BATCHING, SINGLE, NUMBA = "ours, batching", "ours, one by one", "ours, numba"
# Seconds within which a server must answer for the first time.
START_TIMEOUT = 180.0


class Server(NamedTuple):
    """Running server.

    Args:
        process: its process.
        port: port of HTTP.
        path: path of the endpoint.
        grpc: port of gRPC; 0 for none.
        started: seconds from its start to its first answer.
    """

    process: subprocess.Popen[bytes]
    port: int
    path: str
    grpc: int
    started: float


def sample_request(folder: Path) -> tuple[str, JsonObject]:
    """Return the input name of the newest exported version and a request with one random instance.

    Args:
        folder: directory with exported versions.

    Raises:
        DataError: there is no exported version with the default signature.
        ConfigError: the model has several inputs.
    """
    from lstm_ae.export.layout import find_versions
    from lstm_ae.serving.servable import parse_signature, read_serving_graph
    from lstm_ae.serving.signatures import DEFAULT_SIGNATURE

    versions = find_versions(folder)
    if not versions:
        raise DataError(
            f"{str(folder)!r} has no exported model. Create one with: lstmae export {folder}", code=Code.MODEL_NOT_FOUND
        )
    definitions = read_serving_graph(versions[max(versions)]).signature_def
    if DEFAULT_SIGNATURE not in definitions:
        raise DataError(
            f"{str(versions[max(versions)])!r} has no signature {DEFAULT_SIGNATURE}. Export it with lstmae export.",
            code=Code.MODEL_UNUSABLE,
        )
    signature = parse_signature(DEFAULT_SIGNATURE, definitions[DEFAULT_SIGNATURE])
    if len(signature.inputs) != 1:
        raise ConfigError(f"The model must have one input. Received: {', '.join(signature.inputs)}")
    ((name, spec),) = signature.inputs.items()
    shape = [size or 50 for size in (spec.shape or ())[1:]]
    values = np.random.default_rng(0).uniform(0, 1, shape).round(4)
    return name, {"instances": [values.tolist()]}


@contextlib.contextmanager
def start_servers(folder: Path, *, plain: bool) -> Iterator[dict[str, Server]]:
    """Start the servers and return a context with them; they end with the context.

    Args:
        folder: run directory with an exported version.
        plain: whether to start the plain server as well.

    Raises:
        ConfigError: the plain server has no model.
        DataError: a server does not answer within `START_TIMEOUT`.
        ChildProcessError: a server ended.
    """
    if plain and not (folder / "model.keras").is_file():
        raise ConfigError(
            f"The plain server needs {str(folder / 'model.keras')!r}. Pass a run or --no-plain.",
            code=Code.MISSING_OPTION,
        )
    _, body = sample_request(folder)
    content = json.dumps(body).encode()
    start = [sys.executable, "-c", "import sys; from lstm_ae_cli import main; sys.exit(main())", "serve", str(folder)]
    path = f"/v1/models/{folder.resolve().name}:predict"
    with contextlib.ExitStack() as stack:
        servers = {}
        variants = {BATCHING: [], SINGLE: ["--max-batch-size", "1"], NUMBA: ["--engine", "numba"]}
        for by, options in variants.items():
            port, grpc = _free_port(), _free_port()
            line = [*start, "--rest-port", str(port), "--grpc-port", str(grpc), "--quiet", *options]
            servers[by] = stack.enter_context(_start_server(line, port, path, content, grpc))
        if plain:
            port = _free_port()
            line = [sys.executable, "-m", "lstm_ae.bench.plain", str(folder / "model.keras"), str(port)]
            servers[PLAIN] = stack.enter_context(_start_server(line, port, "/predict", content, 0))
        yield servers


@contextlib.contextmanager
def _start_server(line: list[str], port: int, path: str, body: bytes, grpc: int) -> Iterator[Server]:
    start = time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _answers(port, path, body):
                if process.poll() is not None:
                    raise ChildProcessError(f"A server ended with exit code {process.returncode}: {' '.join(line)}")
                if time.perf_counter() - start > START_TIMEOUT:
                    raise DataError(
                        f"A server did not load a model within {START_TIMEOUT:.0f} seconds: {' '.join(line)}",
                        code=Code.MODEL_UNUSABLE,
                    )
                time.sleep(0.01)
            yield Server(process, port, path, grpc, time.perf_counter() - start)
        finally:
            process.kill()


def _answers(port: int, path: str, body: bytes) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
