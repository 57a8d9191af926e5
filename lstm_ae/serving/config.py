"""The options of the server."""

import dataclasses
from functools import partial
from typing import NamedTuple

from lstm_ae.config.options import Options, option

# Largest count, and number of seconds.
MAX_COUNT = 2**31 - 1


class Ports(NamedTuple):
    """The host and ports at which the server listens.

    Args:
        host: The host name or address to listen at.
        rest: The port of the REST interface.
        grpc: The port of the gRPC interface.
    """

    host: str
    rest: int
    grpc: int


BATCHING, LIMITS = "Batching", "Limits"

_batch = partial(option, group=BATCHING, minimum=1, maximum=MAX_COUNT)
_limit = partial(option, group=LIMITS, minimum=1, maximum=MAX_COUNT)
_seconds = partial(option, group=LIMITS, minimum=0, maximum=MAX_COUNT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig(Options):
    """The options of the server.

    `max_enqueued_batches` counts the waiting requests of a model in batches of `max_batch_size` samples; further ones
    are refused as UNAVAILABLE. `max_steps` also limits any other size that a model leaves variable. `timeout` includes
    the time to receive and read the body.
    """

    host: str = option("127.0.0.1", "Address to listen at.")
    allowed_host: tuple[str, ...] = option(
        (), "Another name of this server, such as a proxy's; may be repeated.", repeated=True
    )
    rest_port: int = option(8501, "Port of REST; 0 takes a free one.", minimum=0, maximum=65535)
    grpc_port: int = option(8500, "Port of gRPC; 0 takes a free one.", minimum=0, maximum=65535)
    versions: str = option("latest", "Versions of every model to serve: latest, or numbers.")
    poll: float = option(
        1.0, "Seconds between checks for new versions.", advanced=True, minimum=0.05, maximum=MAX_COUNT
    )
    max_batch_size: int = _batch(64, "Maximum number of samples per call; 1 for no batching.")
    batch_timeout_micros: int = _batch(0, "Microseconds a request waits for others.", advanced=True, minimum=0)
    max_enqueued_batches: int = _batch(100, "Maximum number of waiting batches.", advanced=True)
    num_batch_threads: int = _batch(2, "Batches of a model computed at the same time.", advanced=True, maximum=256)
    max_body: int = _limit(16 * 2**20, "Maximum bytes of a request.")
    max_steps: int = _limit(100_000, "Maximum steps of a window or a forecast.", advanced=True)
    max_elements: int = _limit(1_000_000, "Maximum elements of a request's inputs, and of its outputs.", advanced=True)
    max_concurrency: int = _limit(256, "Requests at the same time, three quarters for one client; others wait.")
    timeout: float = _seconds(60.0, "Maximum seconds of a request.", minimum=0.001)
    header_timeout: float = _seconds(
        10.0, "Maximum seconds for headers, or the message of a gRPC call.", advanced=True, minimum=0.1
    )
    drain: float = _seconds(20.0, "Seconds for a graceful shutdown.")
