"""The processing of requests that REST and gRPC share: checks, limits, batching, and metrics."""

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from lstm_ae.arrays import Array
from lstm_ae.serving.batching import Batcher, Run
from lstm_ae.serving.catalog import ModelCatalog
from lstm_ae.serving.config import ServerConfig
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument
from lstm_ae.serving.limiter import RequestLimiter
from lstm_ae.serving.metrics import ServerMetrics
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import HORIZON, SentTensor, Signature, check_tensors, count_samples
from lstm_ae.serving.tensors import Tensors

T = TypeVar("T")


class RequestHandler:
    """The models and the processing of their requests.

    Args:
        catalog: The models.
        config: The server options.

    Attributes:
        batcher: The batcher that calls the models.
        metrics: The metrics.
        limiter: The limiter of concurrent requests.
        draining: Whether the server stops and new requests are refused.
        running: The number of requests in progress.
    """

    def __init__(self, catalog: ModelCatalog, config: ServerConfig) -> None:
        self.catalog, self.config = catalog, config
        self.batcher, self.metrics = Batcher(config), ServerMetrics()
        self.limiter = RequestLimiter(config.max_concurrency)
        self.draining, self.running = False, 0

    def ready(self) -> bool:
        """Return whether the server is ready for requests."""
        return not self.draining and self.catalog.ready()

    def admit(self) -> None:
        """Refuse a request if the server is stopping; requests that have started continue."""
        if self.draining:
            raise Refusal(StatusCode.UNAVAILABLE, "The server is shutting down. Use another one.")

    async def predict(
        self, servable: Servable, signature: Signature, inputs: Mapping[str, Array], seconds: float | None = None
    ) -> Tensors:
        """Call a signature and return its outputs.

        Args:
            servable: The model version.
            signature: The signature.
            inputs: The input arrays by name.
            seconds: Time until the client's deadline; the server's limit applies if it is None or longer.

        Raises:
            Refusal: If the inputs do not fit the signature or the limits, the server is overloaded, or the call
                fails.
        """
        self.check(signature, inputs)
        rows = count_samples(signature, inputs)
        limit = self.config.timeout
        deadline = asyncio.get_running_loop().time() + (limit if seconds is None else min(seconds, limit))
        shapes = tuple(array.shape[1:] for array in inputs.values())
        # A rollout has as many steps for all rows as the longest one needs, so only equal horizons share a batch.
        horizons = inputs.get(HORIZON)
        horizon = float(horizons.max(initial=0)) if horizons is not None and horizons.dtype.kind in "iuf" else 0
        key = (signature.name, shapes, horizon)
        self._limit_outputs(signature, inputs, rows)
        run = self._run(servable, signature)
        outputs = await self.batcher.submit(servable, key, run, dict(inputs), rows, deadline=deadline)
        # The shapes of some outputs are unknown before the call.
        self._limit_elements("outputs", sum(array.size for array in outputs.values()))
        return outputs

    def _run(self, servable: Servable, signature: Signature) -> Run:
        def run(inputs: Tensors) -> Tensors:
            start = time.perf_counter()
            try:
                return servable.run(signature.name, inputs)
            finally:
                self.metrics.record_call(
                    servable.name, count_samples(signature, inputs) or 1, time.perf_counter() - start
                )

        return run

    def check(self, signature: Signature, inputs: Mapping[str, Array | SentTensor]) -> None:
        """Refuse inputs, or their headers, that do not fit the signature or the limits."""
        check_tensors(signature, inputs)
        limit = self.config.max_steps
        for name, array in inputs.items():
            sizes = array.shape[1:] if signature.batched else array.shape
            if max(sizes, default=0) > limit:
                raise invalid_argument(f"Input {name!r} may have at most {limit} steps. Received: {max(sizes)}")
        self._limit_elements("inputs", sum(math.prod(array.shape) for array in inputs.values()))

    def _limit_elements(self, kind: str, count: int) -> None:
        if count > self.config.max_elements:
            raise invalid_argument(
                f"The {kind} of a request may have at most {self.config.max_elements} elements. Send fewer rows or "
                f"steps. Received: {count}"
            )

    def _limit_outputs(self, signature: Signature, inputs: Mapping[str, Array], rows: int) -> None:
        """Refuse a rollout or outputs above the limits."""
        steps = free_size(signature, inputs)
        if HORIZON in inputs and inputs[HORIZON].dtype.kind in "iu":
            for steps in (int(inputs[HORIZON].min(initial=0)), int(inputs[HORIZON].max(initial=0))):
                if not 0 <= steps <= self.config.max_steps:
                    raise invalid_argument(f"Input {HORIZON!r} must be 0 to {self.config.max_steps}. Received: {steps}")
        self._limit_elements("outputs", count_outputs(signature, rows, steps))

    async def record(self, protocol: str, model: str, work: Awaitable[T]) -> T:
        """Await the work of a request and record its outcome.

        Args:
            protocol: "rest" or "grpc".
            model: The name of the model; unknown names are counted as "unknown".
            work: The awaitable response.
        """
        start, code = time.perf_counter(), "OK"
        self.running += 1
        try:
            return await work
        except Refusal as refusal:
            code = refusal.code.name
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"  # The client has disconnected or its deadline has passed.
            raise
        except BaseException:
            code = "INTERNAL"
            raise
        finally:
            self.running -= 1
            label = model if self.catalog.serves(model) else "unknown"
            self.metrics.record_request(protocol, label, code, time.perf_counter() - start)


def free_size(signature: Signature, inputs: Mapping[str, Array]) -> int:
    """Return the largest input size that the signature leaves variable, apart from the number of rows."""
    longest = 1
    for name, array in inputs.items():
        spec = signature.inputs[name].shape
        expected = spec if spec is not None and len(spec) == array.ndim else (None,) * array.ndim
        sizes = [size for size, expected_size in zip(array.shape, expected, strict=True) if expected_size is None]
        longest = max([longest, *sizes[signature.batched :]])
    return longest


def count_outputs(signature: Signature, rows: int, steps: int) -> int:
    """Return the number of output elements as the signature defines it.

    Args:
        signature: The signature.
        rows: The number of samples.
        steps: The number that a variable size counts as.
    """
    shapes = [spec.shape for spec in signature.outputs.values() if spec.shape is not None]
    if signature.batched:
        shapes = [(rows, *shape[1:]) for shape in shapes]
    return sum(math.prod(steps if size is None else size for size in shape) for shape in shapes)
