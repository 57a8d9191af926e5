"""Connections that ask for nothing: the server closes some before they keep others out.

granian and gRPC limit how many connections there are, and close those that send no request in time, but neither limits
how many come from one client. Where the system lets a process look at its own sockets, as Linux does, those without a
request are closed once there are many, of the clients that have most of them first.
"""

import contextlib
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from lstm_ae.serving.limiter import client_key, normalize_peer

# Seconds between two looks.
SWEEP_SECONDS = 0.25
# Connections of each protocol, at least; for each request at a time there are so many.
MIN_CONNECTIONS, CONNECTIONS_PER_REQUEST = 1024, 4
# Open files that the server has besides connections.
OTHER_FILES = 512


def connection_limit(requests: int) -> int:
    """Return how many connections of each protocol a server takes for so many requests at a time.

    The limit of open files of this process is raised for them as far as the system allows.
    """
    wanted = max(MIN_CONNECTIONS, CONNECTIONS_PER_REQUEST * requests)
    try:
        import resource
    except ModuleNotFoundError:  # as on Windows, which has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * wanted + OTHER_FILES
    if soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(wanted, (soft - OTHER_FILES) // 2))


class BusyConnections:
    """The connections that have a request in progress, by `normalize_peer`."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __contains__(self, peer: str) -> bool:
        return self._counts[peer] > 0

    @contextlib.contextmanager
    def during(self, peer: str) -> Iterator[None]:
        """Count a request of a connection."""
        self._counts[peer] += 1
        try:
            yield
        finally:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]


class ConnectionSweeper:
    """Closes connections without a request, where there are too many.

    Args:
        ports: of this server.
        most: connections of each.
    """

    def __init__(self, ports: list[int], most: int, busy: BusyConnections) -> None:
        self._ports, self._most, self._busy = ports, most, busy
        # Those that had no request at the last look, the longest first: others may be about to send one.
        self._idle: dict[str, None] = {}

    def sweep(self) -> int:
        """Close connections without a request until one in four of each port is free; returns how many.

        Of one client, those go first that have nothing left to send, and of these those that have been idle longest.
        """
        limit, closed = self._most * 3 // 4, 0
        if sys.platform != "linux" or len(os.listdir("/proc/self/fd")) <= limit:
            self._idle.clear()
            return 0
        found: dict[int, dict[str, _Connection]] = {port: {} for port in self._ports}
        for one in _list_connections(set(self._ports)):
            found[one.port][one.peer] = one
        idle: dict[str, None] = {}
        for ours in found.values():
            old = [peer for peer in self._idle if peer in ours and peer not in self._busy]
            new = [peer for peer in ours if peer not in self._idle and peer not in self._busy]
            idle |= dict.fromkeys((*old, *new))
            counts = Counter(map(client_key, (*old, *new)))
            candidates = [ours[peer] for peer in old]
            candidates.sort(key=lambda one: (-counts[client_key(one.peer)], one.unsent))
            for one in candidates[: max(0, len(ours) - limit)]:
                closed += _close_connection(one.number, one.peer)
        self._idle = idle
        return closed


class _Connection(NamedTuple):
    """A connection of this process.

    Args:
        number: of its file.
        unsent: whether the other side has not yet taken all that was sent.
    """

    number: int
    port: int
    peer: str
    unsent: bool = False


def _list_connections(ports: set[int]) -> Iterator[_Connection]:
    """Yield each connection to one of these ports."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # no socket, not connected, or closed in between
            found = socket.socket(fileno=int(name))
            try:
                port = found.getsockname()[1] if found.family in (socket.AF_INET, socket.AF_INET6) else 0
                if port in ports:
                    yield _Connection(int(name), port, _socket_peer(found), _has_unsent(found))
            finally:
                found.detach()


def _has_unsent(connection: socket.socket) -> bool:
    """Return whether an answer is still on its way; on Linux."""
    import fcntl
    import termios

    return any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))


def _close_connection(number: int, peer: str) -> bool:
    """Shut a connection down; its owner sees its end. By a copy, since the number may be another file's meanwhile."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
        if _socket_peer(found) == peer:
            found.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _socket_peer(connection: socket.socket) -> str:
    host, port = connection.getpeername()[:2]
    return normalize_peer(f"{host}:{port}")
