"""The options of the server."""

import dataclasses
import re
from functools import partial
from typing import NamedTuple

from lstm_ae.config.options import Options, option
from lstm_ae.errors import ConfigError

# Largest count, and number of seconds.
MAX_COUNT = 2**31 - 1


class Ports(NamedTuple):
    """The host and ports of the server.

    Args:
        host: The host name or address to listen at.
        rest: The port of the REST interface; 0 selects a free one.
        grpc: The port of the gRPC interface; 0 selects a free one, None turns it off.
    """

    host: str = "127.0.0.1"
    rest: int = 8501
    grpc: int | None = 8500


class BatchingConfig(NamedTuple):
    """The batching options.

    Args:
        size: The largest number of samples in a call; 1 turns batching off.
        wait: Seconds that a request may wait for others.
        queue: The largest number of waiting samples per model, in multiples of `size`. Further requests are refused
            as UNAVAILABLE.
        threads: The number of concurrent calls, not counting calls that take long.
        sizes: The allowed batch sizes, ascending, the last one equal to `size`. Smaller batches are padded with
            copies of their last row. Empty for any size.
    """

    size: int = 64
    wait: float = 0.0
    queue: int = 100
    threads: int = 2
    sizes: tuple[int, ...] = ()


class RequestLimits(NamedTuple):
    """The limits of one request.

    Args:
        body: Bytes of the body.
        instances: Rows.
        window: Steps, or any other size that a model leaves variable.
        horizon: Steps of a rollout.
        elements: Numbers and texts of all inputs together, and of all outputs together.
        seconds: Duration, including the time to receive and read the body.
    """

    body: int = 16 * 2**20
    instances: int = 10_000
    window: int = 100_000
    horizon: int = 10_000
    elements: int = 1_000_000
    seconds: float = 60.0


BATCHING, LIMITS = "Batching", "Limits"

_batch = partial(option, group=BATCHING, minimum=1, maximum=MAX_COUNT)
_limit = partial(option, group=LIMITS, minimum=1, maximum=MAX_COUNT)
_seconds = partial(option, group=LIMITS, minimum=0, maximum=MAX_COUNT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig(Options):
    """The options of the server; sizes and times are those of `BatchingConfig` and `RequestLimits`."""

    host: str = option("127.0.0.1", "Address to listen at.", "")
    allowed_host: tuple[str, ...] = option(
        (), "Another name of this server, such as a proxy's; may be repeated.", "", repeated=True
    )
    rest_port: int = option(8501, "Port of REST; 0 takes a free one.", "", minimum=0, maximum=65535)
    grpc_port: int = option(8500, "Port of gRPC; 0 takes a free one.", "", minimum=0, maximum=65535)
    versions: str = option("latest", "Versions of every model to serve: latest, all, or numbers.", "")
    label: tuple[str, ...] = option(
        (), "Label of a version of a model, model:label=1; may be repeated.", "", repeated=True
    )
    poll: float = option(
        1.0, "Seconds between checks for new versions.", "", advanced=True, minimum=0.05, maximum=MAX_COUNT
    )
    engine: str = option(
        "tensorflow",
        "What computes models; numba is faster for networks of tables.",
        "",
        advanced=True,
        choices=("tensorflow", "numba"),
    )
    max_batch_size: int = _batch(64, "Maximum number of samples per call; 1 for no batching.")
    batch_timeout_micros: int = _batch(0, "Microseconds a request waits for others.", advanced=True, minimum=0)
    max_enqueued_batches: int = _batch(100, "Maximum number of waiting batches.", advanced=True)
    num_batch_threads: int = _batch(2, "Batches computed at the same time.", advanced=True, maximum=256)
    allowed_batch_sizes: tuple[str, ...] = _batch((), "Sizes of batches, ascending.", advanced=True)
    max_body: int = _limit(16 * 2**20, "Maximum bytes of a request.")
    max_instances: int = _limit(10_000, "Maximum rows of a request.", advanced=True)
    max_window: int = _limit(100_000, "Maximum steps of a row.", advanced=True)
    max_horizon: int = _limit(10_000, "Maximum steps of a forecast.", advanced=True)
    max_elements: int = _limit(1_000_000, "Maximum elements of a request's inputs, and of its outputs.", advanced=True)
    max_concurrency: int = _limit(256, "Requests at the same time; others wait.")
    max_concurrency_per_client: int | None = _limit(
        None, "Requests of one client at the same time (default: three quarters).", advanced=True
    )
    timeout: float = _seconds(60.0, "Maximum seconds of a request.", minimum=0.001)
    header_timeout: float = _seconds(
        10.0, "Maximum seconds for headers, or the message of a gRPC call.", advanced=True, minimum=0.1
    )
    load_timeout: float = _seconds(300.0, "Maximum seconds to load and warm up a version.", advanced=True, minimum=0.1)
    drain: float = _seconds(20.0, "Seconds for a graceful shutdown.")
    grace: float = _seconds(0.0, "Seconds of --drain in which the server still accepts requests.", advanced=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grace > self.drain:
            raise ConfigError(f"--grace must be at most --drain ({self.drain:g}). Received: {self.grace:g}")
        words, sizes = self.allowed_batch_sizes, self.sizes
        largest = self.max_batch_size
        if words and (len(sizes) < len(words) or list(sizes) != sorted(set(sizes)) or sizes[-1] != largest):
            raise ConfigError(
                f"--allowed-batch-sizes must be ascending numbers, the last one --max-batch-size ({largest}). "
                f"Received: {','.join(words)!r}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The allowed sizes of batches, without texts that are no sizes."""
        return tuple(int(word) for word in self.allowed_batch_sizes if re.fullmatch("[1-9][0-9]{0,8}", word))

    @property
    def batching(self) -> BatchingConfig:
        """The batching options."""
        wait = self.batch_timeout_micros / 1e6
        return BatchingConfig(self.max_batch_size, wait, self.max_enqueued_batches, self.num_batch_threads, self.sizes)

    @property
    def limits(self) -> RequestLimits:
        """The limits of one request."""
        return RequestLimits(
            self.max_body, self.max_instances, self.max_window, self.max_horizon, self.max_elements, self.timeout
        )
