"""The connections of the server: their clients, and their number.

granian and gRPC limit the number of connections and close those that send no request in time.
"""

import contextlib
import ipaddress
from urllib.parse import unquote

# The limit per protocol is a multiple of the concurrent requests, because clients keep idle connections open.
MIN_CONNECTIONS, CONNECTIONS_PER_REQUEST = 1024, 4
# The server also needs open files other than connections.
OTHER_FILES = 512


def client_key(address: str) -> str:
    """Return the identity of a client: its IPv4 address, or its IPv6 /64 network, which has one owner.

    Args:
        address: Address and port in the format of granian ("127.0.0.1:80", "[::1]:80") or gRPC ("ipv4:127.0.0.1:80",
            "ipv6:%5B::1%5D:80").
    """
    host = unquote(address).removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0].strip("[]").partition("%")[0]
    host = host.removeprefix("::ffff:" if "." in host else "")
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host


def connection_limit(requests: int) -> int:
    """Return the connection limit of each protocol for a number of concurrent requests.

    The limit of open files of this process is raised as needed and as far as the system allows.
    """
    connections = max(MIN_CONNECTIONS, CONNECTIONS_PER_REQUEST * requests)
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit.
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * connections + OTHER_FILES
    if soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(connections, (soft - OTHER_FILES) // 2))
