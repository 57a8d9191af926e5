"""Programs of Debian that tests start: databases and servers, each with data of its own and a free port."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for


def find_program(name: str, pattern: str = "") -> str | None:
    """Return the path of a program on the path or, from several versions of a pattern, of the newest."""
    found = sorted(map(str, Path("/").glob(pattern))) if pattern else []
    # Debian does not put the folder of servers on the path of all users.
    return found[-1] if found else shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


ALERTMANAGER = find_program("prometheus-alertmanager")
MOSQUITTO = find_program("mosquitto")
POSTGRES = find_program("postgres", "usr/lib/postgresql/*/bin/postgres")
PROMETHEUS = find_program("prometheus")


def needs(program: str | None, name: str) -> pytest.MarkDecorator:
    """Return the mark of a slow test that is skipped without a program."""
    return pytest.mark.slow if program else pytest.mark.skip(reason=f"{name} is not installed")


def free_port() -> int:
    """Return a port that no process uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def accepts(port: int) -> bool:
    """Return whether a process listens at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def program(words: Sequence[str], ready: Callable[[], bool], **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, wait until it is ready, and kill it at the end."""
    with Path(f"{Path(words[0]).name}.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, **more)  # type: ignore[call-overload]
        with process:
            try:
                wait_for(lambda: ready() or process.poll() is not None, f"{words[0]} did not start")
                assert process.poll() is None, Path(log.name).read_text()
                yield process
            finally:
                process.kill()


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start PostgreSQL with new data; return its address with the user `watch` and the password `hidden`."""
    folder, port, more = Path(tempfile.mkdtemp()), free_port(), dict[str, Any]()
    try:
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            entry = pwd.getpwnam("postgres")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            more = {"user": entry.pw_uid, "group": entry.pw_gid, "cwd": folder}
        secret, server = folder / "secret", Path(str(POSTGRES))
        secret.write_text("hidden\n")
        secret.chmod(0o644)
        words = ["-D", str(folder / "data"), "-U", "watch", "-A", "scram-sha-256", "--no-sync", f"--pwfile={secret}"]
        subprocess.run([server.with_name("initdb"), *words], check=True, capture_output=True, **more)
        address = ["-h", "127.0.0.1", "-p", str(port)]
        ready = [server.with_name("pg_isready"), "-q", *address]
        words = [str(server), "-D", str(folder / "data"), "-k", "", "-F", *address]
        with program(words, lambda: not subprocess.run(ready).returncode, **more) as process:
            yield f"postgresql://watch:hidden@127.0.0.1:{port}/postgres"
            process.send_signal(signal.SIGINT)  # a server that is killed leaves shared memory
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers(url: str) -> bool:
    """Return whether a server answers a request with success."""
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def prometheus_server(config: str, data: str = "data") -> Iterator[str]:
    """Start Prometheus with a configuration and a folder of data; return its address."""
    Path("prometheus.yml").write_text(config)
    url = f"http://127.0.0.1:{free_port()}"
    words = ["--config.file=prometheus.yml", f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=100y"]
    words.append(f"--web.listen-address={url.removeprefix('http://')}")
    with program([str(PROMETHEUS), *words], lambda: answers(f"{url}/-/ready")):
        yield url


@contextmanager
def alertmanager_server(config: str) -> Iterator[str]:
    """Start Alertmanager with a configuration; return its address."""
    Path("alertmanager.yml").write_text(config)
    url = f"http://127.0.0.1:{free_port()}"
    words = ["--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address="]
    words.append(f"--web.listen-address={url.removeprefix('http://')}")
    with program([str(ALERTMANAGER), *words], lambda: answers(f"{url}/-/ready")):
        yield url


@contextmanager
def mosquitto_server(lines: str = "allow_anonymous true", port: int = 0) -> Iterator[str]:
    """Start a broker of MQTT; return its address.

    Args:
        lines: further lines of its configuration.
        port: its port; 0 for a free one.
    """
    port = port or free_port()
    user = ["user root"] if os.getuid() == 0 else []
    Path("mosquitto.conf").write_text("\n".join([f"listener {port} 127.0.0.1", *user, lines, ""]))
    with program([str(MOSQUITTO), "-c", "mosquitto.conf"], lambda: accepts(port)):
        yield f"mqtt://127.0.0.1:{port}"
