"""Test the limits on requests in progress and on connections."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import CEILING, wait_for, wait_on_loop

from lstm_ae.serving import connections
from lstm_ae.serving.config import RequestLimits
from lstm_ae.serving.connections import BusyConnections, ConnectionSweeper, client_key, connection_limit, normalize_peer
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.grpc_server import make_grpc_server
from lstm_ae.serving.limiter import RequestLimiter


@pytest.mark.parametrize(
    ("address", "peer", "client"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1"),
        ("ipv4:127.0.0.1:80", "127.0.0.1:80", "127.0.0.1"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1:80", "10.0.0.1"),
        ("[2001:db8:0:1:2:3:4:5]:80", "[2001:db8:0:1:2:3:4:5]:80", "2001:db8:0:1::/64"),
        ("ipv6:%5B2001:db8:0:1::9%5D:80", "[2001:db8:0:1::9]:80", "2001:db8:0:1::/64"),
        ("2001:db8:0:1::9:80", "[2001:db8:0:1::9]:80", "2001:db8:0:1::/64"),  # as reported by a socket
        ("[fe80::1%2]:80", "[fe80::1]:80", "fe80::/64"),
    ],
)
def test_peer_address_is_normalized_to_client_key(address: str, peer: str, client: str) -> None:
    assert normalize_peer(address) == peer
    assert client_key(peer) == client


class Requests:
    """Requests to a limiter; each occupies a slot until its body has arrived or it is canceled."""

    def __init__(self, limiter: RequestLimiter) -> None:
        self.limiter = limiter
        self.inside: list[str] = []

    def come(self, client: str, *, body: Any = None, seconds: float = 600.0) -> "asyncio.Task[Any]":
        loop = asyncio.get_running_loop()

        async def request() -> None:
            async with self.limiter.enter(client, loop.time() + seconds) as place:
                self.inside.append(client)
                try:
                    if body is not None:
                        await place.receive(body.wait(), loop.time() + seconds)
                    else:
                        await asyncio.Event().wait()
                finally:
                    self.inside.remove(client)

        return loop.create_task(request())


async def settle() -> None:
    """Run all tasks until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def end(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def refused(task: "asyncio.Task[Any]") -> StatusCode:
    with pytest.raises(Refusal) as caught:
        await task
    return caught.value.code


def test_one_client_cannot_occupy_all_slots() -> None:
    async def work() -> None:
        made = Requests(RequestLimiter(4))
        tasks = [made.come("a") for _ in range(5)]
        await settle()
        assert made.inside == ["a"] * 3
        other = made.come("b")
        await settle()
        assert made.inside == ["a"] * 3 + ["b"]
        # Waiting requests get free slots in turn.
        await end(tasks[0])
        await settle()
        assert made.inside == ["a", "a", "b", "a"]
        await end(*tasks, other)
        assert not made.limiter._occupied
        assert not made.limiter._queue
        assert not made.limiter._counts

    asyncio.run(work())


def test_waiting_requests_are_refused_at_queue_limit_and_deadline() -> None:
    async def work() -> None:
        made = Requests(RequestLimiter(2, 2))
        tasks = [made.come("a") for _ in range(6)]
        await settle()
        assert await refused(made.come("a")) == StatusCode.UNAVAILABLE
        await end(tasks.pop())
        assert await refused(made.come("a", seconds=0.01)) == StatusCode.DEADLINE_EXCEEDED
        await end(*tasks)
        assert not made.limiter._queue

    asyncio.run(work())


def test_request_canceled_while_waiting_occupies_no_slot() -> None:
    async def work() -> None:
        made = Requests(RequestLimiter(1, 1))
        first, second, third = made.come("a"), made.come("b"), made.come("c")
        await settle()
        first.cancel()
        await asyncio.sleep(0)  # the second request gets the slot and is canceled before it resumes
        second.cancel()
        await settle()
        assert made.inside == ["c"]
        await end(third)
        assert not made.limiter._occupied

    asyncio.run(work())


def test_slow_request_bodies_yield_slots_to_waiting_requests() -> None:
    async def work() -> None:
        never, made = asyncio.Event(), Requests(RequestLimiter(4, 3, slow=0.05))
        slow = [made.come("a", body=never) for _ in range(3)]
        working = made.come("b")
        await asyncio.sleep(0.2)
        assert made.inside == ["a", "a", "a", "b"]  # no request waits
        waiting = [made.come("a"), made.come("c")]
        assert await refused(slow[0]) == await refused(slow[1]) == StatusCode.DEADLINE_EXCEEDED
        await wait_on_loop(lambda: "c" in made.inside, made.inside)
        assert sorted(made.inside) == ["a", "a", "b", "c"]
        assert not slow[2].done()
        await end(slow[2], working, *waiting)

    asyncio.run(work())


def test_slot_of_expired_request_body_is_released_once() -> None:
    """A request arrives at the moment at which the body of another request times out."""

    async def work() -> None:
        made = Requests(RequestLimiter(1, slow=0.0))
        slow = made.come("a", body=asyncio.Event())
        await settle()
        (place,) = made.limiter._occupied
        assert place.coming
        place.coming.reschedule(0.0)
        other = made.come("b")  # starts after the timeout and before the slow request handles it
        assert await refused(slow) == StatusCode.DEADLINE_EXCEEDED
        await settle()
        assert made.inside == ["b"]
        await end(other)
        assert not made.limiter._occupied
        assert not made.limiter._queue
        assert not made.limiter._counts

    asyncio.run(work())


def test_enter_if_free_takes_a_slot_without_waiting() -> None:
    limiter = RequestLimiter(3, 2)
    with limiter.enter_if_free("a") as first, limiter.enter_if_free("a") as second:
        with limiter.enter_if_free("a") as third, limiter.enter_if_free("b") as fourth:
            assert (first, second, third, fourth) == (True, True, False, True)
        with limiter.enter_if_free("b") as fifth, limiter.enter_if_free("c") as sixth:
            assert (fifth, sixth) == (True, False)
    assert not limiter._occupied
    assert not limiter._counts


def test_request_body_past_its_deadline_is_refused() -> None:
    async def work() -> StatusCode:
        return await refused(Requests(RequestLimiter()).come("a", body=asyncio.Event(), seconds=0.01))

    assert asyncio.run(work()) == StatusCode.DEADLINE_EXCEEDED


@contextlib.contextmanager
def connected(count: int) -> Iterator[tuple[int, list[tuple[socket.socket, socket.socket]]]]:
    """Yield the port of a server, and the client and server sockets of connections to it."""
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
        port = listening.getsockname()[1]
        pairs = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            pairs.append((client, stack.enter_context(listening.accept()[0])))
        yield port, pairs


def ended(pairs: list[tuple[socket.socket, socket.socket]]) -> list[int]:
    found = []
    for number, (client, _) in enumerate(pairs):
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            found += [number] if client.recv(1) == b"" else []
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process its sockets")
def test_sweeper_closes_idle_connections_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client sockets are in this process as well.
    monkeypatch.setattr(connections.os, "listdir", lambda path, listed=connections.os.listdir: listed(path) * 2)
    with connected(12) as (port, pairs), connected(1) as (_, (other,)):
        busy = BusyConnections()
        sweeper = ConnectionSweeper([port], 8, busy)
        peers = [normalize_peer("{}:{}".format(*client.getsockname())) for client, _ in pairs]
        with busy.during(peers[0]), busy.during(peers[3]):
            assert sweeper.sweep() == 0  # any connection may be about to send a request
            assert sweeper.sweep() == 6
            closed = ended(pairs)
            assert len(closed) == 6
            assert not {0, 3} & set(closed)
        assert ended([other]) == []
        for number in closed:
            for one in pairs[number]:
                one.close()
        assert sweeper.sweep() == sweeper.sweep() == 0


def test_sweeper_closes_connections_of_the_busiest_client_first(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [open_connection(number, f"10.0.0.{1 if number < 3 else 2}") for number in range(10)]
    sweep = sweeping(monkeypatch, there, 8)
    assert sweep() == []
    closed = sweep()
    assert len(closed) == 4
    assert all(peer.startswith("10.0.0.2:") for peer in closed)


def open_connection(number: int, address: str = "10.0.0.1", *, unsent: bool = False) -> Any:
    return connections._Connection(number, 80, f"{address}:{number}", unsent)


def sweeping(monkeypatch: pytest.MonkeyPatch, there: list[Any], most: int) -> Callable[[], list[str]]:
    """Return a function that sweeps these connections and returns the peers that it closes."""
    closed: list[str] = []
    monkeypatch.setattr(connections.os, "listdir", lambda path: there * 9)  # the process has other open files too
    monkeypatch.setattr(connections, "_list_connections", lambda ports: iter(there))
    monkeypatch.setattr(connections, "_close_connection", lambda number, peer: closed.append(peer) or True)
    monkeypatch.setattr(connections.sys, "platform", "linux")
    sweeper = ConnectionSweeper([80], most, BusyConnections())

    def sweep() -> list[str]:
        closed.clear()
        sweeper.sweep()
        return list(closed)

    return sweep


def test_sweeper_closes_connections_idle_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [open_connection(9), open_connection(8)]
    sweep = sweeping(monkeypatch, there, 4)
    assert sweep() == []
    there[:0] = [open_connection(7)]
    assert sweep() == []  # fewer connections than the limit
    there[:0] = [open_connection(5), open_connection(6)]
    assert sweep() == ["10.0.0.1:9", "10.0.0.1:8"]
    there[:0] = [open_connection(4)]
    del there[-2:]
    assert sweep() == ["10.0.0.1:7"]


def test_sweeper_closes_connections_with_unsent_data_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """This order applies per client; otherwise, a client could keep all its connections."""
    there = [open_connection(number, unsent=number < 3) for number in range(6)]
    sweep = sweeping(monkeypatch, [*there, open_connection(9, "10.0.0.2")], 4)
    sweep()
    assert sweep() == [f"10.0.0.1:{number}" for number in (3, 4, 5, 0)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process its sockets")
def test_connection_has_unsent_data_until_the_client_reads_it() -> None:
    with connected(1) as (port, ((client, server),)):

        def unsent() -> bool:
            return next(one.unsent for one in connections._list_connections({port}) if one.number == server.fileno())

        assert not unsent()
        server.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += server.send(bytes(2**20))
        assert unsent()
        while sent:
            sent -= len(client.recv(2**20))
        wait_for(lambda: not unsent(), "still unsent")


def test_connection_limit_reserves_file_descriptors() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = connection_limit(10**6)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert hard == before[1]
    assert 1 <= most <= max(1, (soft - connections.OTHER_FILES) // 2)
    assert connection_limit(1) <= connections.MIN_CONNECTIONS


class Serving:
    """A gRPC server without models, and calls to it."""

    def __init__(self, seconds: float, limits: RequestLimits = RequestLimits()) -> None:  # noqa: B008
        self.service: Any = SimpleNamespace(
            limits=limits, limiter=RequestLimiter(4), busy=BusyConnections(), ready=lambda: True, catalog=None
        )
        self.seconds = seconds

    async def ask(self, work: Any) -> Any:
        async def reload(models: Any) -> None:
            raise AssertionError

        server = make_grpc_server(self.service, reload, 100, self.seconds)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        own = [("grpc.use_local_subchannel_pool", 1)]  # one connection per channel
        async with contextlib.AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", own)) for _ in range(20)
            ]
            try:
                return await work(*channels)
            finally:
                await server.stop(0)


def silent(channel: Any, method: str) -> Any:
    """Start a call that sends no message."""
    made = channel.stream_unary(method, request_serializer=bytes, response_deserializer=bytes)
    return made(timeout=CEILING)


CHECK, PREDICT = "/grpc.health.v1.Health/Check", "/tensorflow.serving.PredictionService/Predict"


def test_grpc_message_of_wrong_type_is_refused() -> None:
    async def work(channel: Any, *_: Any) -> Any:
        call = channel.unary_unary(PREDICT, request_serializer=bytes, response_deserializer=bytes)
        answer = call(b"\xff", timeout=CEILING)
        return await answer.code(), await answer.details()

    code, details = asyncio.run(Serving(CEILING).ask(work))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "PredictRequest" in details


def test_grpc_call_without_message_is_ended_at_the_timeout() -> None:
    async def work(channel: Any, *_: Any) -> Any:
        codes = [await silent(channel, method).code() for method in (CHECK, PREDICT)]
        none = channel.stream_unary(PREDICT, request_serializer=bytes, response_deserializer=bytes)(timeout=CEILING)
        await none.done_writing()
        return [*codes, await none.code()]

    assert asyncio.run(Serving(0.05).ask(work)) == [
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INVALID_ARGUMENT,
    ]


def test_grpc_calls_without_messages_do_not_block_health_checks() -> None:
    async def work(channel: Any, *others: Any) -> Any:
        calls = [silent(other, method) for method in (PREDICT, CHECK) for other in others for _ in range(5)]
        await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls], return_when="FIRST_COMPLETED")
        stub, found = health_pb2_grpc.HealthStub(channel), None
        while found is None:  # calls of the same client may fill the queue briefly
            with contextlib.suppress(grpc.aio.AioRpcError):
                found = await stub.Check(health_pb2.HealthCheckRequest(), timeout=CEILING)
        for call in calls:
            call.cancel()
        return found.status

    # Only the client limits the time of calls.
    assert asyncio.run(Serving(600.0, RequestLimits(seconds=600.0)).ask(work)) == health_pb2.HealthCheckResponse.SERVING
