"""Where a server listens: from what was asked for to an address and ports that can be had."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
from typing import NamedTuple

import grpc

from lstm_ae.errors import ConfigError


class Ports(NamedTuple):
    """Where the server listens; 0 takes any free port, a gRPC port of None none at all."""

    host: str = "127.0.0.1"
    rest: int = 8501
    grpc: int | None = 8500


def resolve_address(host: str, port: int) -> tuple[str, int]:
    """The address that a host's name stands for, and the port there, a free one for 0.

    granian takes addresses only, and says little where it cannot have a port. Of several addresses the first of IPv4
    that can be had is taken, else the first of IPv6.

    Raises:
        ConfigError: none can be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _port_error(host, port, error) from error
    first: OSError | None = None
    for family, kind, _, _, where in sorted(found, key=lambda one: one[0] != socket.AF_INET):
        try:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                return str(where[0]), int(probe.getsockname()[1])
        except OSError as error:
            first = first or error
    raise _port_error(host, port, first)


def bind_grpc(server: grpc.aio.Server, ports: Ports, address: str) -> int:
    """Let a gRPC server listen at an address; returns the port."""
    try:
        return int(server.add_insecure_port(f"{bracket_host(address)}:{ports.grpc or 0}"))
    except RuntimeError as error:
        raise ConfigError(
            f"--grpc-port {ports.grpc} of {ports.host} cannot be had; "
            "give another one, 0 for any that is free, or --no-grpc"
        ) from error


def bracket_host(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


async def wait_until_listening(address: str, port: int, serving: "asyncio.Task[None]") -> None:
    """Wait until a server takes connections, which granian does not say; raises what ended it before it did."""
    where = ipaddress.ip_address(address.partition("%")[0])
    # Windows connects to no address that stands for all.
    near = {4: "127.0.0.1", 6: "::1"}[where.version] if where.is_unspecified else address
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(near, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    serving.result()
    raise ConfigError(f"The server of HTTP ended before it listened at {address}:{port}; give another --host")


def reset_unread_connections(port: int, seconds: float) -> bool:
    """Let the system end connections to a port whose client takes nothing of what is sent for so long.

    granian writes without a limit of time, so that a few such clients would hold all connections for ever; and as it
    keeps its sockets to itself, the one that listens is looked for. Connections have their limits from that one.

    Returns:
        Whether the system can, as Linux does.
    """
    limited = False
    if sys.platform == "linux":
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # a file, or closed in between
                found = socket.socket(fileno=int(name))
                try:
                    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    if listens and found.family != socket.AF_UNIX and found.getsockname()[1] == port:
                        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(1000 * seconds)))
                        limited = True
                finally:
                    found.detach()
    return limited


def _port_error(host: str, port: int, error: Exception | None) -> ConfigError:
    return ConfigError(
        f"--rest-port {port} of {host} cannot be had ({getattr(error, 'strerror', None) or error}); "
        "give another one, or 0 for any that is free"
    )
