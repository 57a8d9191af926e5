"""Where a server listens, and the names that it answers to."""

import asyncio
import socket
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import grpc
import pytest

from lstm_ae.errors import ConfigError
from lstm_ae.serving.http import _Application, names_of, open_paths
from lstm_ae.serving.ports import end_unread, place, until_it_listens
from lstm_ae.serving.rpc import grpc_server
from lstm_ae.serving.service import Limits


def test_a_name_becomes_an_address() -> None:
    address, port = place("localhost", 0)
    assert address in ("127.0.0.1", "::1")
    assert port > 0
    assert place("127.0.0.1", 0)[0] == "127.0.0.1"
    assert place("0.0.0.0", 0)[0] == "0.0.0.0"
    with pytest.raises(ConfigError, match=r"--rest-port 8501 of no\.such\.host\.invalid cannot be had"):
        place("no.such.host.invalid", 8501)


def test_of_several_addresses_one_that_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = ("192.0.2.1", 0), ("127.0.0.1", 0)  # the first is nobody's
    kinds = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    both: list[Any] = [(socket.AF_INET6, *kinds[1:], ("::1", 0, 0, 0)), (*kinds, taken), (*kinds, free)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **named: both)
    assert place("name", 0)[0] == "127.0.0.1"
    both[:] = [(*kinds, taken)]
    with pytest.raises(ConfigError, match="of name cannot be had"):
        place("name", 0)


def test_what_ends_before_it_listens_is_not_announced() -> None:
    async def work(error: Exception | None) -> None:
        async def serve() -> None:
            if error is not None:
                raise error

        await until_it_listens(*place("127.0.0.1", 0), asyncio.create_task(serve()))

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
        await until_it_listens(address, 8501, asyncio.create_task(asyncio.sleep(60)))

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
    found = names_of(address, name, hosts)
    assert found is not None
    assert known <= found
    assert not unknown & found


def test_probes_are_answered_by_any_name() -> None:
    assert open_paths("127.0.0.1") == open_paths("::1") == {"/health", "/ready"}
    assert open_paths("0.0.0.0") == open_paths("fe80::1%lo") == {"/health", "/ready", "/monitoring/prometheus/metrics"}
    service: Any = SimpleNamespace(page=False)
    application = _Application(service, frozenset({"localhost"}), open_paths("127.0.0.1"))
    told = []
    protocol = SimpleNamespace(response_bytes=lambda status, *_: told.append(status))
    for path in ("/health", "/v1/models/plus"):
        scope = SimpleNamespace(headers={"Host": "10.0.0.7:8501"}, method="GET", path=path)
        asyncio.run(application.__rsgi__(scope, protocol))
    assert told == [200, 403]


def test_calls_over_grpc_are_limited_as_well() -> None:
    service: Any = SimpleNamespace(limits=Limits())
    with mock.patch.object(grpc.aio, "server") as made:
        grpc_server(service, mock.AsyncMock(), 7)
    assert made.call_args.kwargs["maximum_concurrent_rpcs"] == 7


def test_a_server_for_others_answers_to_any_name() -> None:
    assert names_of("0.0.0.0", "0.0.0.0", ()) is None
    assert names_of("10.0.0.1", "machine.example", ()) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends such connections by itself")
def test_connections_have_a_limit_for_what_nobody_reads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as other:
        port = listening.getsockname()[1]
        assert end_unread(port, 2.5)
        for server, wanted in ((listening, 2500), (other, 0)):
            with socket.create_connection(server.getsockname()):
                connection, _ = server.accept()
                with connection:
                    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == wanted
    assert not end_unread(port, 2.5)
