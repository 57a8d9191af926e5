"""What the engines on clusters have in common: their error, and checks before a connection."""

import importlib
import socket
from typing import Any

from lstm_ae.errors import Code, LstmAeError, install_hint


class ClusterLostError(LstmAeError):
    """Raised if a cluster cannot be reached; what the jobs have written remains on disk."""

    code = Code.CLUSTER_LOST


def import_package(module: str, name: str, extra: str = "") -> Any:
    """Return a module.

    Args:
        module: name of the module.
        name: the package in messages, as pip knows it.
        extra: the extra of this package that contains it; "" for none.

    Raises:
        ClusterLostError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        command = install_hint(extra) if extra else f"pip install {name}"
        raise ClusterLostError(f"{name} is not installed. Install it with: {command}") from None


def require_reachable(address: str, what: str) -> None:
    """Check that `[scheme://]host:port` accepts connections, because clients retry for many minutes.

    Args:
        address: the address.
        what: what is there, such as "a Ray cluster".

    Raises:
        ClusterLostError: nothing answers.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterLostError(f"Cannot reach {what} at {address!r} ({error})") from error


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, up to 200 characters."""
    # An exception of Java has the message of the cause; its text is a stack trace.
    java = getattr(error, "java_exception", None)
    text = str(java.getMessage() if java is not None else error)
    return " ".join(text.split("\n")[0].split())[:200]
