"""The options of the server."""

from typing import NamedTuple


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


class ServerConfig(NamedTuple):
    """The options of the server.

    Args:
        ports: The host and ports.
        batching: The batching options.
        limits: The request limits.
        page: Whether to serve a page at `/`.
        poll: Seconds between two scans of the folder.
        concurrency: The number of concurrent requests; further ones wait.
        per_client: The number of concurrent requests per client; 0 for three quarters of all.
        header_seconds: The time limit for receiving the headers of a connection, and the message of a gRPC call.
        drain_seconds: The time limit for running requests after the server is told to stop.
        grace_seconds: The first part of `drain_seconds`, in which the server still accepts requests but reports that
            it is not ready.
        hosts: Further host names of the server, see `lstm_ae.serving.http.allowed_hosts`.
        load_seconds: The time limit for loading a version and its warm-up.
        tensor_content: Whether gRPC responses contain numbers as bytes instead of typed values.
    """

    ports: Ports = Ports()
    batching: BatchingConfig = BatchingConfig()
    limits: RequestLimits = RequestLimits()
    page: bool = True
    poll: float = 1.0
    concurrency: int = 256
    per_client: int = 0
    header_seconds: float = 10.0
    drain_seconds: float = 20.0
    grace_seconds: float = 0.0
    hosts: tuple[str, ...] = ()
    load_seconds: float = 300.0
    tensor_content: bool = False
