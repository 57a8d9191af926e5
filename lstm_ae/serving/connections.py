"""The connections of the server: their clients, and limits, so that idle connections do not block other clients.

granian and gRPC limit the number of connections and close those that send no request in time, but neither limits the
number per client. On Linux, where a process can list its own sockets, connections without a request are closed when
there are many, starting with the clients that have the most.
"""

import contextlib
import ipaddress
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

SWEEP_SECONDS = 0.25
# The limit per protocol is a multiple of the concurrent requests, because clients keep idle connections open.
MIN_CONNECTIONS, CONNECTIONS_PER_REQUEST = 1024, 4
# The server also needs open files other than connections.
OTHER_FILES = 512


def normalize_peer(address: str) -> str:
    """Return the address and port of a client in a uniform format.

    Args:
        address: The format of granian ("127.0.0.1:80", "[::1]:80") or gRPC ("ipv4:127.0.0.1:80",
            "ipv6:%5B::1%5D:80").
    """
    host, _, port = unquote(address).removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")
    host = host.strip("[]").partition("%")[0].removeprefix("::ffff:" if "." in host else "")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def client_key(peer: str) -> str:
    """Return the identity of a client: its IPv4 address, or its IPv6 /64 network, which has one owner."""
    host = peer.rpartition(":")[0].strip("[]")
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host


def connection_limit(requests: int) -> int:
    """Return the connection limit of each protocol for a number of concurrent requests.

    The limit of open files of this process is raised as needed and as far as the system allows.
    """
    wanted = max(MIN_CONNECTIONS, CONNECTIONS_PER_REQUEST * requests)
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit.
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
    """The connections that have a request in progress, in the form of `normalize_peer`."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __contains__(self, peer: str) -> bool:
        return self._counts[peer] > 0

    @contextlib.contextmanager
    def during(self, peer: str) -> Iterator[None]:
        """Mark a connection as busy until the block ends."""
        self._counts[peer] += 1
        try:
            yield
        finally:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]


class ConnectionSweeper:
    """A sweeper that closes connections without a request if there are too many.

    Args:
        ports: The ports of this server.
        most: The connection limit of each port.
        busy: The connections with a request.
    """

    def __init__(self, ports: list[int], most: int, busy: BusyConnections) -> None:
        self._ports, self._most, self._busy = ports, most, busy
        # Only connections that were already idle in the previous sweep are closed, longest first: new ones may be
        # about to send a request.
        self._idle: dict[str, None] = {}

    def sweep(self) -> int:
        """Close connections without a request until a quarter of each port's limit is free, and return their number.

        The clients with the most idle connections come first. Within a client, connections without unsent data come
        first, and among these the ones that have been idle longest.
        """
        limit, closed = self._most * 3 // 4, 0
        if sys.platform != "linux" or len(os.listdir("/proc/self/fd")) <= limit:
            self._idle.clear()
            return 0
        connections: dict[int, dict[str, _Connection]] = {port: {} for port in self._ports}
        for one in _list_connections(set(self._ports)):
            connections[one.port][one.peer] = one
        idle: dict[str, None] = {}
        for ours in connections.values():
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
        number: The file descriptor.
        port: The port of this server.
        peer: The client's address and port.
        unsent: Whether the client has not yet received all sent data.
    """

    number: int
    port: int
    peer: str
    unsent: bool = False


def _list_connections(ports: set[int]) -> Iterator[_Connection]:
    """Yield each connection to one of the given ports."""
    for number, connection in _own_sockets():
        with contextlib.suppress(OSError):  # The socket may not be connected, or closed by now.
            port = connection.getsockname()[1] if connection.family in (socket.AF_INET, socket.AF_INET6) else 0
            if port in ports:
                yield _Connection(number, port, _socket_peer(connection), _has_unsent(connection))


def _own_sockets() -> Iterator[tuple[int, socket.socket]]:
    """Yield each socket of this process with its file descriptor. Linux only."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # The file may be no socket, or closed by now.
            own = socket.socket(fileno=int(name))
            try:
                yield int(name), own
            finally:
                own.detach()


def _has_unsent(connection: socket.socket) -> bool:
    """Return whether a connection has data that the client has not yet received. Linux only."""
    import fcntl
    import termios

    return any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))


def _close_connection(number: int, peer: str) -> bool:
    """Shut a connection down if it still belongs to this peer, and return whether it was.

    The descriptor is duplicated, because its number may be reused for another file at any time.
    """
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
        if _socket_peer(connection) == peer:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _socket_peer(connection: socket.socket) -> str:
    host, port = connection.getpeername()[:2]
    return normalize_peer(f"{host}:{port}")


def reset_unread_connections(port: int, seconds: float) -> bool:
    """Make the system close connections to a port whose client does not read the sent data for some time.

    granian writes without a time limit, so a few such clients could hold all connections indefinitely. It does not
    expose its sockets, so the listening one is searched for; connections inherit the limit from it.

    Args:
        port: The port.
        seconds: The time limit.

    Returns:
        Whether the limit was set, which is possible on Linux only.
    """
    limited = False
    for _, listener in _own_sockets() if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and listener.family != socket.AF_UNIX and listener.getsockname()[1] == port:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(1000 * seconds)))
                limited = True
    return limited
