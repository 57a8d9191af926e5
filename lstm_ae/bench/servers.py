"""The servers that are measured: ours in two forms and the one that most people would write, each in its process."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.errors import ConfigError, DataError

PLAIN = "FastAPI, model.predict"
# Seconds within which a server must have answered once.
PATIENCE = 180.0


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


def sample_request(folder: Path) -> tuple[str, dict[str, Any]]:
    """The one input of the newest version below `folder`, and an instance of it."""
    from lstm_ae.serving.folders import versions_in
    from lstm_ae.serving.servable import parse_signature, signature_definitions
    from lstm_ae.serving.signatures import DEFAULT

    versions = versions_in(folder)
    if not versions:
        raise DataError(f"{str(folder)!r} holds no exported model; make one: lstmae export {folder}")
    definitions = signature_definitions(versions[max(versions)])
    if DEFAULT not in definitions:
        raise DataError(f"{str(versions[max(versions)])!r} has no signature {DEFAULT}; export it by lstmae export")
    signature = parse_signature(DEFAULT, definitions[DEFAULT])
    if len(signature.inputs) != 1:
        raise ConfigError(f"The model must have one input. Received: {', '.join(signature.inputs)}")
    ((name, spec),) = signature.inputs.items()
    shape = [size or 50 for size in (spec.shape or ())[1:]]
    values = np.random.default_rng(0).uniform(0, 1, shape).round(4)
    return name, {"instances": [values.tolist()]}


@contextlib.contextmanager
def start_servers(folder: Path, *, plain: bool) -> Iterator[dict[str, Server]]:
    """Our server with and without batching and, where asked for, the plain one, all answering."""
    if plain and not (folder / "model.keras").is_file():
        raise ConfigError(f"The plain server needs {str(folder / 'model.keras')!r}; give a run, or add --no-plain")
    _, body = sample_request(folder)
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
            found[PLAIN] = stack.enter_context(_running(line, port, "/predict", content, 0))
        yield found


@contextlib.contextmanager
def _running(line: list[str], port: int, path: str, body: bytes, grpc: int) -> Iterator[Server]:
    began = time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _answers(port, path, body):
                if process.poll() is not None:
                    raise ChildProcessError(f"A server ended with exit code {process.returncode}: {' '.join(line)}")
                if time.perf_counter() - began > PATIENCE:
                    raise DataError(
                        f"No answer within {PATIENCE:.0f} seconds, so no model was loaded: {' '.join(line)}"
                    )
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
