"""Where a server listens, and the names that it answers to."""

import asyncio
import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from lstm_ae.errors import ConfigError
from lstm_ae.serving import http
from lstm_ae.serving.config import RequestLimits
from lstm_ae.serving.connections import BusyConnections, reset_unread_connections
from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.http import _RequestBody, _RsgiApplication, allowed_hosts, any_host_paths, parse_host
from lstm_ae.serving.limiter import RequestLimiter
from lstm_ae.serving.ports import resolve_address, wait_until_listening


def test_a_name_becomes_an_address() -> None:
    address, port = resolve_address("localhost", 0)
    assert address in ("127.0.0.1", "::1")
    assert port > 0
    assert resolve_address("127.0.0.1", 0)[0] == "127.0.0.1"
    assert resolve_address("0.0.0.0", 0)[0] == "0.0.0.0"
    with pytest.raises(ConfigError, match=r"--rest-port 8501 is not available on no\.such\.host\.invalid"):
        resolve_address("no.such.host.invalid", 8501)


def test_of_several_addresses_one_that_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = ("192.0.2.1", 0), ("127.0.0.1", 0)  # the first is nobody's
    kinds = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    both: list[Any] = [(socket.AF_INET6, *kinds[1:], ("::1", 0, 0, 0)), (*kinds, taken), (*kinds, free)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **named: both)
    assert resolve_address("name", 0)[0] == "127.0.0.1"
    both[:] = [(*kinds, taken)]
    with pytest.raises(ConfigError, match="is not available on name"):
        resolve_address("name", 0)


def test_what_ends_before_it_listens_is_not_announced() -> None:
    async def work(error: Exception | None) -> None:
        async def serve() -> None:
            if error is not None:
                raise error

        await wait_until_listening(*resolve_address("127.0.0.1", 0), asyncio.create_task(serve()))

    with pytest.raises(ValueError, match="no address"):
        asyncio.run(work(ValueError("no address")))
    with pytest.raises(ConfigError, match="ended before it listened"):
        asyncio.run(work(None))


@pytest.mark.parametrize(
    ("address", "near"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.1.1", "127.0.1.1"), ("fe80::1%lo", "fe80::1%lo")],
)
def test_a_server_at_all_addresses_is_asked_at_one(address: str, near: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows wants it."""
    asked = []

    async def connect(*where: Any) -> Any:
        asked.append(where)
        return None, SimpleNamespace(close=lambda: None)

    async def work() -> None:
        await wait_until_listening(address, 8501, asyncio.create_task(asyncio.Event().wait()))

    monkeypatch.setattr(asyncio, "open_connection", connect)
    asyncio.run(work())
    assert asked == [(near, 8501)]


@pytest.mark.parametrize(
    ("address", "name", "hosts", "known", "unknown"),
    [
        ("127.0.0.1", "localhost", (), {"localhost", "127.0.0.1", "::1"}, {"x.example"}),
        ("127.0.1.1", "Machine", (), {"machine", "localhost"}, {"x.example"}),
        ("127.0.0.1", "127.0.0.1", ("Proxy.example",), {"proxy.example", "localhost"}, {"x.example"}),
        ("0.0.0.0", "0.0.0.0", ("a.example",), {"a.example", "localhost"}, {"x.example", "10.0.0.1"}),
    ],
)
def test_names_that_are_answered(
    address: str, name: str, hosts: tuple[str, ...], known: set[str], unknown: set[str]
) -> None:
    found = allowed_hosts(address, name, hosts)
    assert found is not None
    assert known <= found
    assert not unknown & found


def test_probes_are_answered_by_any_name() -> None:
    assert any_host_paths("127.0.0.1") == any_host_paths("::1") == {"/health", "/ready"}
    assert (
        any_host_paths("0.0.0.0")
        == any_host_paths("fe80::1%lo")
        == {"/health", "/ready", "/monitoring/prometheus/metrics"}
    )
    assert [status_for(path, [("Host", "10.0.0.7:8501")]) for path in ("/health", "/v1/models/plus")] == [200, 403]
    assert [status_for(path, []) for path in ("/health", "/v1/models/plus")] == [200, 400]


def status_for(path: str, headers: Any, authority: str | None = None) -> int:
    """The status of an answer by a server that is called localhost."""
    service: Any = SimpleNamespace(page=False, limits=RequestLimits(), limiter=RequestLimiter(), busy=BusyConnections())
    application = _RsgiApplication(service, frozenset({"localhost"}), any_host_paths("127.0.0.1"))
    told: list[int] = []
    protocol = SimpleNamespace(response_bytes=lambda status, *_: told.append(status))
    given = SimpleNamespace(items=lambda: headers)
    scope = SimpleNamespace(headers=given, method="GET", path=path, authority=authority, client="127.0.0.1:9")
    asyncio.run(application.__rsgi__(scope, protocol))
    return told[0]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8501", "localhost"),
        ("localhost:", "localhost"),
        ("[::1]:8501", "::1"),
        ("10.0.0.7", "10.0.0.7"),
        ("localhost:evil", None),
        ("localhost:85:01", None),
        ("[::1]x", None),
        ("[::1", None),
        ("evil@localhost", None),
        ("localhost evil", None),
        ("localhost\u0661", "localhost\u0661"),
        ("", None),
        (":80", None),
    ],
)
def test_a_host_header_is_read_as_a_whole(host: str, name: str | None) -> None:
    assert parse_host(None, [("accept", "*/*"), ("Host", host)]) == name


def test_a_request_calls_the_server_by_exactly_one_name() -> None:
    twice = [("host", "localhost"), ("host", "evil.example")]
    assert parse_host(None, []) is parse_host(None, twice) is None
    # A target that is a whole URL counts instead of the header.
    assert status_for("/v2", [("host", "localhost")], "evil.example:80") == 403
    assert status_for("/v2", [("host", "evil.example")], "localhost:80") == 404
    assert status_for("/v2", twice) == 400


class Coming:
    """A body as granian hands it on: an empty part at its end, and one more where it is cut off."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)

    def __aiter__(self) -> "Coming":
        return self

    async def __anext__(self) -> bytes:
        if not self.parts:
            raise StopAsyncIteration
        return self.parts.pop(0)


@pytest.mark.parametrize(
    ("headers", "parts", "body"),
    [
        ({"content-length": "4"}, (b"ab", b"cd", b""), b"abcd"),
        ({"content-length": "0"}, (), b""),
        ({}, (), b""),
        ({"transfer-encoding": "chunked"}, (b"ab", b"cd", b""), b"abcd"),
        ({"content-length": "5"}, (b"ab", b"cd", b""), 400),
        ({"content-length": "4"}, (b"ab", b"", b""), 400),
        ({"transfer-encoding": "chunked"}, (b"ab", b"", b""), 400),
        ({"content-length": "9"}, (b"abcdefghi", b""), 413),
        ({"transfer-encoding": "chunked"}, (b"abcdefghi", b""), 413),
    ],
)
def test_a_body_is_whole_or_refused(headers: dict[str, str], parts: tuple[bytes, ...], body: Any) -> None:
    async def work() -> Any:
        try:
            return await _RequestBody(headers, Coming(*parts), 8).read()
        except Refusal as refusal:
            return refusal.http

    assert asyncio.run(work()) == body


def test_a_body_must_come_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Coming):
        async def __anext__(self) -> bytes:
            if len(self.parts) == 1:
                await asyncio.Event().wait()
            return await super().__anext__()

    async def work(*parts: bytes) -> int:
        with pytest.raises(Refusal) as caught:
            await _RequestBody({"content-length": "99"}, Slow(*parts), 100).read()
        return caught.value.http

    monkeypatch.setattr(http, "BODY_GRACE_SECONDS", 0.01)
    assert asyncio.run(work(b"a", b"b")) == 408
    # What has come earns time.
    monkeypatch.setattr(http, "MIN_BODY_RATE", 1e-3)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(work(b"a", b"b"), 0.1))


@pytest.mark.parametrize(
    ("headers", "unread"),
    [
        ({"content-length": "4"}, True),
        ({"transfer-encoding": "chunked"}, True),
        ({"content-length": "4", "expect": "100-continue"}, False),  # nothing is on its way
        ({"content-length": "0"}, False),
        ({}, False),
    ],
)
def test_only_a_body_that_may_be_coming_is_unread(headers: dict[str, str], unread: bool) -> None:
    assert _RequestBody(headers, Coming(), 8).unread is unread


@pytest.mark.parametrize(("parts", "left"), [((b"abcd", b""), 0), ((b"ab",) * 6, 2)])  # up to the limit of 8 bytes
def test_what_nobody_has_read_is_discarded(parts: tuple[bytes, ...], left: int) -> None:
    coming = Coming(*parts)
    asyncio.run(_RequestBody({"content-length": "4"}, coming, 8).discard())
    assert len(coming.parts) == left


def test_the_rest_of_a_body_must_come_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trickling(Coming):
        async def __anext__(self) -> bytes:
            await asyncio.sleep(0.005)
            return await super().__anext__()

    monkeypatch.setattr(http, "DISCARD_PAUSE", 0.02)
    coming = Trickling(*[b"x"] * 1000)
    asyncio.run(_RequestBody({"content-length": "1000"}, coming, 1000).discard())
    assert len(coming.parts) > 900


def test_discarding_keeps_no_connection_open_and_has_few_places() -> None:
    """Who sends the bodies of refused requests slowly needs no place among the requests."""

    async def work() -> None:
        service: Any = SimpleNamespace(
            page=False, limits=RequestLimits(), limiter=RequestLimiter(4, 2), busy=BusyConnections()
        )
        application = _RsgiApplication(service, frozenset({"localhost"}), frozenset())
        read, go = [], asyncio.Event()

        class Protocol:
            def __init__(self, number: int) -> None:
                self.number = number

            def response_bytes(self, *_: Any) -> None:
                assert peers[self.number] in service.busy

            def __aiter__(self) -> "Protocol":
                return self

            async def __anext__(self) -> bytes:
                read.append(self.number)
                await go.wait()
                raise StopAsyncIteration

        peers = [f"127.0.0.{client}:{number}" for number, client in enumerate((1, 1, 1, 2))]
        given = {"Host": "stranger", "Content-Length": "1000"}
        tasks = [
            asyncio.create_task(
                application.__rsgi__(
                    SimpleNamespace(headers=given, method="POST", path="/", authority=None, client=peer),
                    Protocol(number),
                )
            )
            for number, peer in enumerate(peers)
        ]
        while len(read) < 3:
            await asyncio.sleep(0)
        assert read == [0, 1, 3]
        assert tasks[2].done()
        assert not any(peer in service.busy for peer in peers)
        go.set()
        await asyncio.gather(*tasks)

    asyncio.run(work())


def test_a_server_for_others_answers_to_any_name() -> None:
    assert allowed_hosts("0.0.0.0", "0.0.0.0", ()) is None
    assert allowed_hosts("10.0.0.1", "machine.example", ()) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends such connections by itself")
def test_connections_have_a_limit_for_what_nobody_reads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as other:
        port = listening.getsockname()[1]
        assert reset_unread_connections(port, 2.5)
        for server, wanted in ((listening, 2500), (other, 0)):
            with socket.create_connection(server.getsockname()):
                connection, _ = server.accept()
                with connection:
                    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == wanted
    assert not reset_unread_connections(port, 2.5)
