"""The addresses and ports of the server."""

import asyncio
import ipaddress
import socket

import grpc

from lstm_ae.errors import Code, ConfigError
from lstm_ae.serving.config import ServerConfig


def resolve_address(host: str, port: int) -> tuple[str, int]:
    """Return the IP address of a host name and an available port; port 0 selects a free one.

    granian accepts IP addresses only, and its errors about unavailable ports are not clear. The first available IPv4
    address is preferred, then the first IPv6 address.

    Raises:
        ConfigError: If no address is available.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _port_error(host, port, error) from error
    first_error: OSError | None = None
    for family, kind, _, _, socket_address in sorted(addresses, key=lambda one: one[0] != socket.AF_INET):
        try:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(socket_address)
                return str(socket_address[0]), int(probe.getsockname()[1])
        except OSError as error:
            first_error = first_error or error
    raise _port_error(host, port, first_error)


def bind_grpc(server: grpc.aio.Server, config: ServerConfig, address: str) -> int:
    """Bind a gRPC server to an address and return its port.

    Raises:
        ConfigError: If the port is not available.
    """
    try:
        return int(server.add_insecure_port(f"{bracket_host(address)}:{config.grpc_port}"))
    except RuntimeError as error:
        raise ConfigError(
            f"--grpc-port {config.grpc_port} is not available on {config.host}. Choose another port, or 0 for a free "
            "one.",
            code=Code.IN_USE,
        ) from error


def bracket_host(host: str) -> str:
    """Return a host in the form that may precede a port: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


async def wait_until_listening(address: str, port: int, serving: "asyncio.Task[None]") -> None:
    """Wait until a server accepts connections, which granian does not report.

    Raises:
        ConfigError: If the server ends before it listens. If it ended with an error, that error is raised.
    """
    ip_address = ipaddress.ip_address(address.partition("%")[0])
    # Windows cannot connect to an unspecified address such as 0.0.0.0.
    target = {4: "127.0.0.1", 6: "::1"}[ip_address.version] if ip_address.is_unspecified else address
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(target, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    serving.result()
    raise ConfigError(
        f"The HTTP server ended before it listened at {address}:{port}. Choose another --host.", code=Code.IN_USE
    )


def _port_error(host: str, port: int, error: Exception | None) -> ConfigError:
    return ConfigError(
        f"--rest-port {port} is not available on {host} ({getattr(error, 'strerror', None) or error}). "
        "Choose another port, or 0 for a free one.",
        code=Code.IN_USE,
    )
