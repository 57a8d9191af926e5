"""What both REST and gRPC do with a request once they have read it: find, check, limit, run together, count."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, TypeVar

from numpy.typing import NDArray

from lstm_ae.serving.apart import Apart
from lstm_ae.serving.batching import Batcher, Run
from lstm_ae.serving.metrics import Metrics
from lstm_ae.serving.models import Catalogue
from lstm_ae.serving.refusals import Code, Refusal, invalid
from lstm_ae.serving.servable import HORIZON, Sent, Servable, Signature, Tensors, check

T = TypeVar("T")


class Limits(NamedTuple):
    """What one request may ask for.

    Args:
        body: bytes.
        instances: rows.
        window: steps, or any other size that a model leaves open.
        horizon: steps of a rollout.
        seconds: that it may take, the coming of its body and the reading of it included.
    """

    body: int = 16 * 2**20
    instances: int = 10_000
    window: int = 100_000
    horizon: int = 10_000
    seconds: float = 60.0


class Service:
    """The models, and how their requests are run.

    Args:
        page: whether there is a page at `/`.
        leaving: set once the server is to stop, for load balancers, which ask for its readiness.
        draining: set once no new request is taken.
    """

    def __init__(
        self, catalogue: Catalogue, batcher: Batcher, metrics: Metrics, limits: Limits, *, page: bool = True
    ) -> None:
        self.catalogue, self.batcher, self.metrics, self.limits = catalogue, batcher, metrics, limits
        self.page, self.apart = page, Apart()
        self.leaving = self.draining = False
        self.running = 0
        metrics.watch(catalogue.states)

    def ready(self) -> bool:
        """Whether requests are welcome."""
        return not (self.leaving or self.draining) and self.catalogue.ready()

    def admit(self) -> None:
        """Refuse a request that comes once the server is stopping; what it has begun with it ends."""
        if self.draining:
            raise Refusal(Code.UNAVAILABLE, "The server is stopping; ask another one")

    async def predict(
        self, servable: Servable, signature: Signature, inputs: Mapping[str, NDArray[Any]], seconds: float | None = None
    ) -> Tensors:
        """The outputs of a signature.

        Args:
            seconds: that are left of the client's time; the server's own limit where None or longer.
        """
        self.check(signature, inputs)
        self._limit_horizon(inputs)
        rows = len(next(iter(inputs.values()))) if signature.batched else 0
        if signature.batched and not rows:
            raise invalid("There is no row in the inputs; send at least one")
        most = self.limits.seconds
        deadline = asyncio.get_running_loop().time() + (most if seconds is None else min(seconds, most))
        shapes = tuple(array.shape[1:] for array in inputs.values())
        # A rollout answers all rows with as many steps as its longest needs, so other horizons ride apart.
        horizon = float(inputs[HORIZON].max()) if HORIZON in inputs and inputs[HORIZON].dtype.kind in "iuf" else 0
        key = (id(servable), signature.name, shapes, horizon)
        return await self.batcher.submit(key, self._run(servable, signature), dict(inputs), rows, deadline=deadline)

    def _run(self, servable: Servable, signature: Signature) -> Run:
        def run(inputs: Tensors) -> Tensors:
            began = time.perf_counter()
            try:
                return servable.run(signature.name, inputs)
            finally:
                rows = len(next(iter(inputs.values()))) if signature.batched else 1
                self.metrics.ran(servable.name, rows, time.perf_counter() - began)

        return run

    def check(self, signature: Signature, inputs: Mapping[str, NDArray[Any] | Sent]) -> None:
        """Refuse inputs, or what is said of them, that are not the signature's, or larger than the limits."""
        check(signature, inputs)
        limits = self.limits
        for name, array in inputs.items():
            if signature.batched and array.shape[0] > limits.instances:
                raise invalid(f"At most {limits.instances} instances a request. Received: {array.shape[0]}")
            sizes = array.shape[1:] if signature.batched else array.shape
            if max(sizes, default=0) > limits.window:
                raise invalid(f"Input {name!r} may have at most {limits.window} steps. Received: {max(sizes)}")
            if 0 in sizes:
                raise invalid(f"Input {name!r} is empty. Received the shape: {array.shape}")

    def _limit_horizon(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        limits = self.limits
        if HORIZON in inputs and inputs[HORIZON].dtype.kind in "iu":
            for asked in (int(inputs[HORIZON].min(initial=0)), int(inputs[HORIZON].max(initial=0))):
                if not 0 <= asked <= limits.horizon:
                    raise invalid(f"Input {HORIZON!r} must be 0 to {limits.horizon}. Received: {asked}")
            if inputs[HORIZON].size * asked > 10 * limits.window:
                raise invalid(
                    f"All rows together may ask for at most {10 * limits.window} steps. "
                    f"Received: {inputs[HORIZON].size} rows of up to {asked}"
                )

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
