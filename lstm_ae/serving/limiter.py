"""How many requests are in progress at a time, in all and for one client.

A request has its place from before its body comes until it is answered. Further ones wait, and while they do, bodies
that are slow to come lose their places. Health, readiness and metrics need none.
"""

import asyncio
import contextlib
import ipaddress
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import TypeVar
from urllib.parse import unquote

from lstm_ae.serving.errors import Refusal, StatusCode

T = TypeVar("T")

# So many requests wait for each that is in progress.
WAITING_PER_REQUEST = 2


class RequestSlot:
    """A request in progress.

    Attributes:
        coming: the limit of time for its body, while that comes.
        evicted: whether it has lost its place to another request.
    """

    def __init__(self, client: str) -> None:
        self.client, self.since = client, 0.0
        self.coming: asyncio.Timeout | None = None
        self.evicted = False

    async def receive(self, message: Awaitable[T], deadline: float) -> T:
        """Await the request's body or message.

        Raises:
            Refusal: it did not come by the deadline, or was slow while others waited.
        """
        self.since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline) as self.coming:
                return await message
        except TimeoutError:
            told = "The request came slowly while others waited" if self.evicted else "The request did not come in time"
            raise Refusal(StatusCode.DEADLINE_EXCEEDED, f"{told}; send it again", http=408) from None
        finally:
            self.coming = None

    def evict(self) -> None:
        """End the wait for the body."""
        # A limit that has passed already cannot be moved any more; the request is about to learn of it.
        if self.coming is not None and not self.coming.expired():
            self.evicted = True
            self.coming.reschedule(asyncio.get_running_loop().time())


class RequestLimiter:
    """Lets so many requests be in progress.

    Args:
        places: requests at a time.
        per_client: of these for one client; three quarters where 0.
        slow: seconds that a body or message may take while others wait for its place.
    """

    def __init__(self, places: int = 256, per_client: int = 0, slow: float = 1.0) -> None:
        self.places, self.per_client, self._slow = places, per_client or max(1, places * 3 // 4), slow
        self._taken: set[RequestSlot] = set()
        self._counts: Counter[str] = Counter()
        self._queue: deque[tuple[RequestSlot, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def enter(self, client: str, deadline: float) -> AsyncIterator[RequestSlot]:
        """A place, once there is one.

        Args:
            client: see `client_key`.
            deadline: by the event loop's clock.

        Raises:
            Refusal: too many wait already, or the deadline has passed.
        """
        place = RequestSlot(client)
        if self._has_room(client):
            self._take(place)
        else:
            await self._wait(place, deadline)
        try:
            yield place
        finally:
            self._leave(place)

    @contextlib.contextmanager
    def enter_if_free(self, client: str) -> Iterator[bool]:
        """Take a place if there is one now; yields whether there is.

        Args:
            client: see `client_key`.
        """
        if not self._has_room(client):
            yield False
            return
        place = RequestSlot(client)
        self._take(place)
        try:
            yield True
        finally:
            self._leave(place)

    def _has_room(self, client: str) -> bool:
        return len(self._taken) < self.places and self._counts[client] < self.per_client

    def _take(self, place: RequestSlot) -> None:
        self._taken.add(place)
        self._counts[place.client] += 1

    async def _wait(self, place: RequestSlot, deadline: float) -> None:
        own = sum(other.client == place.client for other, _ in self._queue)
        if len(self._queue) >= WAITING_PER_REQUEST * self.places or own >= WAITING_PER_REQUEST * self.per_client:
            raise Refusal(StatusCode.UNAVAILABLE, "Too many requests at a time; try again later")
        turn = asyncio.get_running_loop().create_future()
        waiter = place, turn
        self._queue.append(waiter)
        try:
            if self._timer is None:
                self._relieve()
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as error:
            if place in self._taken:
                self._leave(place)
            else:
                self._queue.remove(waiter)
            if isinstance(error, TimeoutError):
                raise Refusal(StatusCode.DEADLINE_EXCEEDED, "Too many requests at a time; try again later") from None
            raise

    def _leave(self, place: RequestSlot) -> None:
        self._taken.discard(place)
        self._counts[place.client] -= 1
        if not self._counts[place.client]:
            del self._counts[place.client]
        for waiter in list(self._queue):
            if len(self._taken) >= self.places:
                break
            other, turn = waiter
            if not turn.done() and self._has_room(other.client):
                self._queue.remove(waiter)
                self._take(other)
                turn.set_result(None)

    def _relieve(self) -> None:
        """End the wait for slow bodies, one for each request that waits for a place."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._slow / 4, self._relieve) if self._queue else None
        begun = loop.time() - self._slow
        slow = [place for place in self._taken if place.coming and not place.evicted and place.since < begun]
        slow.sort(key=lambda place: place.since)
        for waiting, _ in self._queue:
            own = self._counts[waiting.client] >= self.per_client
            for place in slow:
                if place.client == waiting.client or not own:
                    place.evict()
                    slow.remove(place)
                    break


def normalize_peer(address: str) -> str:
    """Return the address and port of the other side of a connection, in one form.

    Args:
        address: as granian says it ("127.0.0.1:80", "[::1]:80") or as gRPC does ("ipv4:127.0.0.1:80",
            "ipv6:%5B::1%5D:80").
    """
    host, _, port = unquote(address).removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")
    host = host.strip("[]").partition("%")[0].removeprefix("::ffff:" if "." in host else "")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def client_key(peer: str) -> str:
    """Return who is at the other side: an address of IPv4, or the network of one of IPv6, whose owner has them all."""
    host = peer.rpartition(":")[0].strip("[]")
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host
