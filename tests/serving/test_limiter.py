"""Test the limits on requests in progress and on connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import CEILING, wait_on_loop

from lstm_ae.serving import connections
from lstm_ae.serving.config import ServerConfig
from lstm_ae.serving.connections import client_key, connection_limit
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.grpc_server import make_grpc_server
from lstm_ae.serving.limiter import RequestLimiter


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("127.0.0.1:80", "127.0.0.1"),
        ("ipv4:127.0.0.1:80", "127.0.0.1"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1"),
        ("[2001:db8:0:1:2:3:4:5]:80", "2001:db8:0:1::/64"),
        ("ipv6:%5B2001:db8:0:1::9%5D:80", "2001:db8:0:1::/64"),
        ("[fe80::1%2]:80", "fe80::/64"),
    ],
)
def test_address_identifies_a_client(address: str, client: str) -> None:
    assert client_key(address) == client


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


async def test_one_client_cannot_occupy_all_slots() -> None:
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


async def test_waiting_requests_are_refused_at_queue_limit_and_deadline() -> None:
    made = Requests(RequestLimiter(1))
    tasks = [made.come("a") for _ in range(3)]
    await settle()
    assert await refused(made.come("a")) == StatusCode.UNAVAILABLE
    await end(tasks.pop())
    assert await refused(made.come("a", seconds=0.01)) == StatusCode.DEADLINE_EXCEEDED
    await end(*tasks)
    assert not made.limiter._queue


async def test_request_canceled_while_waiting_occupies_no_slot() -> None:
    made = Requests(RequestLimiter(1))
    first, second, third = made.come("a"), made.come("b"), made.come("c")
    await settle()
    first.cancel()
    await asyncio.sleep(0)  # the second request gets the slot and is canceled before it resumes
    second.cancel()
    await settle()
    assert made.inside == ["c"]
    await end(third)
    assert not made.limiter._occupied


def test_slow_request_bodies_yield_slots_to_waiting_requests() -> None:
    async def work() -> None:
        never, made = asyncio.Event(), Requests(RequestLimiter(4, slow=0.05))
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


async def test_slot_of_expired_request_body_is_released_once() -> None:
    """A request arrives at the moment at which the body of another request times out."""

    made = Requests(RequestLimiter(1, slow=0.0))
    slow = made.come("a", body=asyncio.Event())
    await settle()
    (place,) = made.limiter._occupied
    assert place.body_timeout
    place.body_timeout.reschedule(0.0)
    other = made.come("b")  # starts after the timeout and before the slow request handles it
    assert await refused(slow) == StatusCode.DEADLINE_EXCEEDED
    await settle()
    assert made.inside == ["b"]
    await end(other)
    assert not made.limiter._occupied
    assert not made.limiter._queue
    assert not made.limiter._counts


async def test_request_body_past_its_deadline_is_refused() -> None:
    late = Requests(RequestLimiter(4)).come("a", body=asyncio.Event(), seconds=0.01)
    assert await refused(late) == StatusCode.DEADLINE_EXCEEDED


def test_connection_limit_reserves_file_descriptors() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = connection_limit(10**6)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert hard == before[1]
    assert 1 <= most <= max(1, (soft - connections.OTHER_FILES) // 2)
    assert connection_limit(1) <= connections.MIN_CONNECTIONS


@contextlib.asynccontextmanager
async def grpc_channels(**options: float) -> AsyncIterator[list[Any]]:
    """Start a gRPC server without models; return channels to it."""
    config = ServerConfig(**options)  # type: ignore[arg-type]
    service: Any = SimpleNamespace(config=config, limiter=RequestLimiter(4), ready=lambda: True, catalog=None)
    server = make_grpc_server(service, 100)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    own = [("grpc.use_local_subchannel_pool", 1)]  # one connection per channel
    async with contextlib.AsyncExitStack() as stack:
        made = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", own) for _ in range(20)]
        try:
            yield [await stack.enter_async_context(channel) for channel in made]
        finally:
            await server.stop(0)


def silent(channel: Any, method: str) -> Any:
    """Start a call that sends no message."""
    made = channel.stream_unary(method, request_serializer=bytes, response_deserializer=bytes)
    return made(timeout=CEILING)


CHECK, PREDICT = "/grpc.health.v1.Health/Check", "/tensorflow.serving.PredictionService/Predict"


async def test_grpc_message_of_wrong_type_is_refused() -> None:
    async with grpc_channels(header_timeout=CEILING) as (channel, *_):
        call = channel.unary_unary(PREDICT, request_serializer=bytes, response_deserializer=bytes)
        answer = call(b"\xff", timeout=CEILING)
        assert await answer.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "PredictRequest" in await answer.details()


async def test_grpc_call_without_message_is_ended_at_the_timeout() -> None:
    async with grpc_channels(header_timeout=0.1) as (channel, *_):
        for method in (CHECK, PREDICT):
            assert await silent(channel, method).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        none = silent(channel, PREDICT)
        await none.done_writing()
        assert await none.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_grpc_calls_without_messages_do_not_block_health_checks() -> None:
    # Only the client limits the time of calls.
    async with grpc_channels(header_timeout=600.0, timeout=600.0) as (channel, *others):
        calls = [silent(other, method) for method in (PREDICT, CHECK) for other in others for _ in range(5)]
        await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls], return_when="FIRST_COMPLETED")
        stub, found = health_pb2_grpc.HealthStub(channel), None
        while found is None:  # calls of the same client may fill the queue briefly
            with contextlib.suppress(grpc.aio.AioRpcError):
                found = await stub.Check(health_pb2.HealthCheckRequest(), timeout=CEILING)
        for call in calls:
            call.cancel()
        assert found.status == health_pb2.HealthCheckResponse.SERVING
