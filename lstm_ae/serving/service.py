"""What both REST and gRPC do with a request once they have read it: find, check, limit, run together, count."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, TypeVar

from numpy.typing import NDArray

from lstm_ae.serving.batching import Batcher, Run
from lstm_ae.serving.connections import BusyConnections
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument, limit_instances
from lstm_ae.serving.json_workers import JsonWorkers
from lstm_ae.serving.limiter import RequestLimiter
from lstm_ae.serving.metrics import ServerMetrics
from lstm_ae.serving.models import Catalogue
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import HORIZON, SentTensor, Signature, check_tensors, count_samples
from lstm_ae.serving.tensors import Tensors

T = TypeVar("T")

LOG = logging.getLogger(__name__)
# Steps of a request whose call is known to take long: an LSTM takes one after the other, a tenth of a millisecond each
# or more. It runs beside others.
LONG_STEPS = 1000


class RequestLimits(NamedTuple):
    """What one request may ask for.

    Args:
        body: bytes.
        instances: rows.
        window: steps, or any other size that a model leaves open.
        horizon: steps of a rollout.
        elements: numbers and texts of all inputs together, and of all outputs.
        seconds: that it may take, the coming of its body and the reading of it included.
    """

    body: int = 16 * 2**20
    instances: int = 10_000
    window: int = 100_000
    horizon: int = 10_000
    elements: int = 1_000_000
    seconds: float = 60.0


class Service:
    """The models, and how their requests are run.

    Args:
        limiter: of requests in progress.
        page: whether there is a page at `/`.
        leaving: set once the server is to stop, for load balancers, which ask for its readiness.
        draining: set once no new request is taken.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        batcher: Batcher,
        metrics: ServerMetrics,
        limits: RequestLimits,
        *,
        limiter: RequestLimiter | None = None,
        page: bool = True,
    ) -> None:
        self.catalogue, self.batcher, self.metrics, self.limits = catalogue, batcher, metrics, limits
        self.limiter, self.busy = limiter or RequestLimiter(), BusyConnections()
        self.page, self.apart = page, JsonWorkers()
        self.leaving = self.draining = False
        self.running = 0
        metrics.watch(catalogue.states)
        batcher.watch(self._late, self._ended)

    def ready(self) -> bool:
        """Whether requests are welcome."""
        return not (self.leaving or self.draining) and self.catalogue.ready()

    def admit(self) -> None:
        """Refuse a request that comes once the server is stopping; what it has begun with it ends."""
        if self.draining:
            raise Refusal(StatusCode.UNAVAILABLE, "The server is stopping; ask another one")

    async def predict(
        self, servable: Servable, signature: Signature, inputs: Mapping[str, NDArray[Any]], seconds: float | None = None
    ) -> Tensors:
        """The outputs of a signature.

        Args:
            seconds: that are left of the client's time; the server's own limit where None or longer.
        """
        self.check(signature, inputs)
        rows = count_samples(signature, inputs)
        most = self.limits.seconds
        deadline = asyncio.get_running_loop().time() + (most if seconds is None else min(seconds, most))
        shapes = tuple(array.shape[1:] for array in inputs.values())
        # A rollout answers all rows with as many steps as its longest needs, so other horizons ride apart.
        asked = inputs.get(HORIZON)
        horizon = float(asked.max(initial=0)) if asked is not None and asked.dtype.kind in "iuf" else 0
        key = (id(servable), signature.name, shapes, horizon)
        steps = self._limit_steps(signature, inputs, rows)
        outputs = await self.batcher.submit(
            key,
            self._run(servable, signature),
            dict(inputs),
            rows,
            deadline=deadline,
            owner=servable,
            long=steps > LONG_STEPS,
        )
        # Of outputs whose shapes are unknown before they are there.
        self._limit_elements("outputs", sum(array.size for array in outputs.values()))
        return outputs

    def _late(self, servable: Servable, long: bool, reason: str) -> None:
        """Set a model aside whose call does not end; a long call that is late keeps other long ones out alone."""
        LOG.error("call is late", extra={"model": servable.name, "version": servable.version, "long": long})
        if not long:
            self.catalogue.set_aside(servable, reason)

    def _ended(self, servable: Servable, long: bool) -> None:
        if not long:
            self.catalogue.take_back(servable)

    def _run(self, servable: Servable, signature: Signature) -> Run:
        def run(inputs: Tensors) -> Tensors:
            began = time.perf_counter()
            try:
                return servable.run(signature.name, inputs)
            finally:
                self.metrics.ran(servable.name, count_samples(signature, inputs) or 1, time.perf_counter() - began)

        return run

    def check(self, signature: Signature, inputs: Mapping[str, NDArray[Any] | SentTensor]) -> None:
        """Refuse inputs, or what is said of them, that are not the signature's, or larger than the limits."""
        check_tensors(signature, inputs)
        limits = self.limits
        for name, array in inputs.items():
            if signature.batched and array.shape:
                limit_instances(array.shape[0], limits.instances)
            sizes = array.shape[1:] if signature.batched else array.shape
            if max(sizes, default=0) > limits.window:
                raise invalid_argument(f"Input {name!r} may have at most {limits.window} steps. Received: {max(sizes)}")
        self._limit_elements("inputs", sum(math.prod(array.shape) for array in inputs.values()))

    def _limit_elements(self, what: str, count: int) -> None:
        if count > self.limits.elements:
            raise invalid_argument(
                f"The {what} of a request may have at most {self.limits.elements} elements; send fewer rows or steps. "
                f"Received: {count}"
            )

    def _limit_steps(self, signature: Signature, inputs: Mapping[str, NDArray[Any]], rows: int) -> int:
        """Refuse a rollout over the limits, and what would answer more than they allow; returns the steps of a row."""
        steps = ahead = free_size(signature, inputs)
        if HORIZON in inputs and inputs[HORIZON].dtype.kind in "iu":
            for ahead in (int(inputs[HORIZON].min(initial=0)), int(inputs[HORIZON].max(initial=0))):
                if not 0 <= ahead <= self.limits.horizon:
                    raise invalid_argument(f"Input {HORIZON!r} must be 0 to {self.limits.horizon}. Received: {ahead}")
        self._limit_elements("outputs", count_outputs(signature, rows, ahead))
        return max(steps, ahead)

    async def counted(self, protocol: str, model: str, work: Awaitable[T]) -> T:
        """Await a request's work and count how it ended.

        Args:
            protocol: "rest" or "grpc".
            model: the model's name, of which unknown ones are counted as one.
        """
        began, code = time.perf_counter(), "OK"
        self.running += 1
        try:
            return await work
        except Refusal as refusal:
            code = refusal.code.name
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"  # the client has gone, or its time is over
            raise
        except BaseException:
            code = "INTERNAL"
            raise
        finally:
            self.running -= 1
            known = model if self.catalogue.serves(model) else "unknown"
            self.metrics.answered(protocol, known, code, time.perf_counter() - began)


def free_size(signature: Signature, inputs: Mapping[str, NDArray[Any]]) -> int:
    """Return the largest size of an input that the signature leaves open, besides the number of rows."""
    longest = 1
    for name, array in inputs.items():
        spec = signature.inputs[name].shape
        known = spec if spec is not None and len(spec) == array.ndim else (None,) * array.ndim
        sizes = [size for size, own in zip(array.shape, known, strict=True) if own is None]
        longest = max([longest, *sizes[signature.batched :]])
    return longest


def count_outputs(signature: Signature, rows: int, steps: int) -> int:
    """Return how many elements the outputs have, as far as the signature tells, where open sizes are of steps."""
    shapes = [spec.shape for spec in signature.outputs.values() if spec.shape is not None]
    if signature.batched:
        shapes = [(rows, *shape[1:]) for shape in shapes]
    return sum(math.prod(steps if size is None else size for size in shape) for shape in shapes)
