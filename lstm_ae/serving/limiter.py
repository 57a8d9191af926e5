"""Limits for the number of requests in progress, in total and per client.

A request has a slot from before its body arrives until it is answered. Further requests wait. While requests wait,
requests with slow bodies lose their slots. Health, readiness, and metrics do not use these slots.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from lstm_ae.serving.errors import Refusal, StatusCode

T = TypeVar("T")

# The number of waiting requests is limited to this multiple of the slots.
WAITING_PER_REQUEST = 2


class RequestSlot:
    """A request in progress.

    Attributes:
        body_timeout: The time limit of the body while it arrives; None otherwise.
        evicted: Whether it has lost its slot to another request.
    """

    def __init__(self, client: str) -> None:
        self.client, self.since = client, 0.0
        self.body_timeout: asyncio.Timeout | None = None
        self.evicted = False

    async def receive(self, message: Awaitable[T], deadline: float) -> T:
        """Wait for the body or message of the request.

        Args:
            message: The awaitable body or message.
            deadline: Time on the event loop's clock.

        Raises:
            Refusal: If it did not arrive by the deadline, or was slow while others waited.
        """
        self.since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline) as self.body_timeout:
                return await message
        except TimeoutError:
            reason = (
                "The request arrived too slowly while others waited"
                if self.evicted
                else "The request did not arrive in time"
            )
            raise Refusal(StatusCode.DEADLINE_EXCEEDED, f"{reason}. Send it again.", http=408) from None
        finally:
            self.body_timeout = None

    def evict(self) -> None:
        """Stop waiting for the body."""
        # An expired time limit cannot be rescheduled; the request is refused anyway.
        if self.body_timeout is not None and not self.body_timeout.expired():
            self.evicted = True
            self.body_timeout.reschedule(asyncio.get_running_loop().time())


class RequestLimiter:
    """A limiter of the number of requests in progress, of which a client may have three quarters.

    Args:
        slots: The number of slots.
        slow: Seconds that a body or message may take while others wait for its slot.
    """

    def __init__(self, slots: int, slow: float = 1.0) -> None:
        self.slots, self.per_client, self._slow = slots, max(1, slots * 3 // 4), slow
        self._occupied: set[RequestSlot] = set()
        self._counts: Counter[str] = Counter()
        self._queue: deque[tuple[RequestSlot, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def enter(self, client: str, deadline: float) -> AsyncIterator[RequestSlot]:
        """Wait for a slot and hold it until the block ends.

        Args:
            client: The client, see `lstm_ae.serving.connections.client_key`.
            deadline: Time on the event loop's clock.

        Raises:
            Refusal: If too many requests are waiting, or the deadline has passed.
        """
        slot = RequestSlot(client)
        if self._has_room(client):
            self._occupy(slot)
        else:
            await self._wait(slot, deadline)
        try:
            yield slot
        finally:
            self._release(slot)

    def _has_room(self, client: str) -> bool:
        return len(self._occupied) < self.slots and self._counts[client] < self.per_client

    def _occupy(self, slot: RequestSlot) -> None:
        self._occupied.add(slot)
        self._counts[slot.client] += 1

    async def _wait(self, slot: RequestSlot, deadline: float) -> None:
        count = sum(other.client == slot.client for other, _ in self._queue)
        if len(self._queue) >= WAITING_PER_REQUEST * self.slots or count >= WAITING_PER_REQUEST * self.per_client:
            raise Refusal(StatusCode.UNAVAILABLE, "Too many concurrent requests. Try again later.")
        turn = asyncio.get_running_loop().create_future()
        waiter = slot, turn
        self._queue.append(waiter)
        try:
            if self._timer is None:
                self._evict_slow_requests()
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as error:
            if slot in self._occupied:
                self._release(slot)
            else:
                self._queue.remove(waiter)
            if isinstance(error, TimeoutError):
                raise Refusal(StatusCode.DEADLINE_EXCEEDED, "Too many concurrent requests. Try again later.") from None
            raise

    def _release(self, slot: RequestSlot) -> None:
        self._occupied.discard(slot)
        self._counts[slot.client] -= 1
        if not self._counts[slot.client]:
            del self._counts[slot.client]
        for waiter in list(self._queue):
            if len(self._occupied) >= self.slots:
                break
            other, turn = waiter
            if not turn.done() and self._has_room(other.client):
                self._queue.remove(waiter)
                self._occupy(other)
                turn.set_result(None)

    def _evict_slow_requests(self) -> None:
        """Evict slow bodies, one for each request that waits for a slot."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._slow / 4, self._evict_slow_requests) if self._queue else None
        latest_start = loop.time() - self._slow
        slow = [slot for slot in self._occupied if slot.body_timeout and not slot.evicted and slot.since < latest_start]
        slow.sort(key=lambda slot: slot.since)
        for waiting, _ in self._queue:
            is_full = self._counts[waiting.client] >= self.per_client
            for slot in slow:
                if slot.client == waiting.client or not is_full:
                    slot.evict()
                    slow.remove(slot)
                    break
