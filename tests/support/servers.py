"""Run `lstmae serve` in a separate process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from processes import CEILING

PROGRAM = "import sys; from lstm_ae_cli import main; sys.exit(main())"


class Live(NamedTuple):
    """Running server.

    Args:
        log: the lines of stderr so far.
    """

    process: subprocess.Popen[str]
    rest: int
    grpc: int
    log: list[str]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.rest}{path}"

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
        """Return the status and the JSON of a response."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url(path), content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=CEILING) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def raw(self, *parts: bytes | None, wait: float = CEILING) -> bytes:
        """Return the response to these bytes until the connection ends; None shuts down the sending side."""
        with socket.create_connection(("127.0.0.1", self.rest), timeout=wait) as connection:
            try:
                for part in parts:
                    if part is None:
                        connection.shutdown(socket.SHUT_WR)
                    else:
                        connection.sendall(part)
                return b"".join(iter(lambda: connection.recv(65536), b""))
            except (TimeoutError, ConnectionError) as error:
                return type(error).__name__.encode()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the server and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(CEILING)


@contextmanager
def live(folder: Path, *options: str, ready: bool = True, program: str = PROGRAM) -> Iterator[Live]:
    """Start a server of a folder's models on free ports, `ready` or just listening, and kill it at the end.

    Args:
        program: what Python runs with the arguments of `lstmae`.
    """
    line = ["serve", str(folder), "--rest-port", "0", "--grpc-port", "0", "--json", "--poll", "0.1", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *line],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    with process:
        try:
            assert process.stdout
            assert process.stderr
            told = threading.Thread(target=lambda stream: log.extend(stream), args=(process.stderr,), daemon=True)
            told.start()
            said = ""
            while not said.endswith("}\n"):
                line_ = process.stdout.readline()
                assert line_, "".join(log)
                said += line_
            ports = json.loads(said)
            server = Live(process, ports["rest"], ports["grpc"], log)
            while ready and server.ask("/ready")[0] != 200:
                assert process.poll() is None, "".join(log)
            yield server
        finally:
            process.kill()
            process.wait()
            told.join(5)
