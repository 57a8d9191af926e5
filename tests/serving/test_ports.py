"""Test the addresses on which a server listens, its allowed host names, and how it reads request bodies."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from processes import CEILING

from lstm_ae.errors import ConfigError
from lstm_ae.serving import http
from lstm_ae.serving.config import ServerConfig
from lstm_ae.serving.http import _RequestBody, _RsgiApplication, allowed_hosts, any_host_paths, parse_host
from lstm_ae.serving.limiter import RequestLimiter
from lstm_ae.serving.ports import resolve_address, wait_until_listening


def test_host_name_resolves_to_an_address() -> None:
    address, port = resolve_address("localhost", 0)
    assert address in ("127.0.0.1", "::1")
    assert port > 0
    assert resolve_address("127.0.0.1", 0)[0] == "127.0.0.1"
    assert resolve_address("0.0.0.0", 0)[0] == "0.0.0.0"
    with pytest.raises(ConfigError, match=r"--rest-port 8501 is not available on no\.such\.host\.invalid"):
        resolve_address("no.such.host.invalid", 8501)


def test_server_that_ends_before_listening_raises() -> None:
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
async def test_wildcard_address_is_probed_at_loopback(address: str, near: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows cannot connect to a wildcard address."""
    asked = []

    async def connect(*where: Any) -> Any:
        asked.append(where)
        return None, SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(asyncio, "open_connection", connect)
    await wait_until_listening(address, 8501, asyncio.create_task(asyncio.Event().wait()))
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
def test_allowed_hosts_include_local_and_configured_names(
    address: str, name: str, hosts: tuple[str, ...], known: set[str], unknown: set[str]
) -> None:
    found = allowed_hosts(address, name, hosts)
    assert found is not None
    assert known <= found
    assert not unknown & found


def test_health_endpoints_accept_any_host_name() -> None:
    assert any_host_paths("127.0.0.1") == any_host_paths("::1") == {"/health", "/ready"}
    assert (
        any_host_paths("0.0.0.0")
        == any_host_paths("fe80::1%lo")
        == {"/health", "/ready", "/monitoring/prometheus/metrics"}
    )
    assert [status_for(path, [("Host", "10.0.0.7:8501")]) for path in ("/health", "/v1/models/plus")] == [200, 403]
    assert [status_for(path, []) for path in ("/health", "/v1/models/plus")] == [200, 400]


def status_for(path: str, headers: Any, authority: str | None = None) -> int:
    """Return the status of a response from a server named localhost."""
    service: Any = SimpleNamespace(config=ServerConfig(), limiter=RequestLimiter(256))
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
def test_host_header_is_parsed_or_rejected(host: str, name: str | None) -> None:
    assert parse_host(None, [("accept", "*/*"), ("Host", host)]) == name


def test_request_must_have_exactly_one_host_name() -> None:
    twice = [("host", "localhost"), ("host", "evil.example")]
    assert parse_host(None, []) is parse_host(None, twice) is None
    # The host of an absolute URL takes precedence over the header.
    assert status_for("/v2", [("host", "localhost")], "evil.example:80") == 403
    assert status_for("/v2", [("host", "evil.example")], "localhost:80") == 404
    assert status_for("/v2", twice) == 400


class Coming:
    """A body as Granian passes it on: an empty part at the end, and a second one if the body is incomplete."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)

    def __aiter__(self) -> "Coming":
        return self

    async def __anext__(self) -> bytes:
        if not self.parts:
            raise StopAsyncIteration
        return self.parts.pop(0)


@pytest.mark.parametrize(
    ("headers", "unread"),
    [
        ({"content-length": "4"}, True),
        ({"transfer-encoding": "chunked"}, True),
        ({"content-length": "4", "expect": "100-continue"}, False),  # the client waits before it sends the body
        ({"content-length": "0"}, False),
        ({}, False),
    ],
)
def test_request_body_is_unread_only_if_data_may_arrive(headers: dict[str, str], unread: bool) -> None:
    assert _RequestBody(headers, Coming(), 8).unread is unread


@pytest.mark.parametrize(("parts", "left"), [((b"abcd", b""), 0), ((b"ab",) * 6, 2)])  # up to the limit of 8 bytes
def test_unread_request_body_is_discarded_up_to_the_limit(parts: tuple[bytes, ...], left: int) -> None:
    coming = Coming(*parts)
    asyncio.run(_RequestBody({"content-length": "4"}, coming, 8).discard())
    assert len(coming.parts) == left


def test_public_address_allows_any_host_name() -> None:
    assert allowed_hosts("0.0.0.0", "0.0.0.0", ()) is None
    assert allowed_hosts("10.0.0.1", "machine.example", ()) is None


async def test_discarding_ends_soon_for_a_slow_request_body(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Coming):
        async def __anext__(self) -> bytes:
            await asyncio.Event().wait()
            return b""

    monkeypatch.setattr(http, "DISCARD_SECONDS", 0.01)
    await asyncio.wait_for(_RequestBody({"content-length": "1000"}, Silent(), 1000).discard(), CEILING)
