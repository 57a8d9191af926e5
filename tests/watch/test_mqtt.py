"""MQTT: messages are acknowledged after their rows are stored."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from lstm_ae.config import Reading
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.watch import mqtt
from lstm_ae.watch.mqtt import Mqtt, MqttSource, MqttTopic
from lstm_ae.watch.servers import RemoteError
from lstm_ae.watch.sinks import Message, SinkError, call_sink

READING = Reading(time_col="time", value_cols=("x",), id_col=("pump",))
OPTIONS = {"url": "mqtt://host", "topic": "plant/+/state", "client_id": "one"}


def message(number: int, payload: Any, *, qos: int = 1, topic: str = "plant/a/state") -> Any:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return SimpleNamespace(mid=number, payload=content, qos=qos, topic=topic)


class FakeConnection:
    """A connection whose messages a test delivers, and which records what is acknowledged."""

    def __init__(self, source: MqttSource, *messages: Any) -> None:
        self.source, self.number, self.session_present, self.problem = source, 1, True, ""
        self.acknowledged: list[int] = []
        self.client = SimpleNamespace(ack=lambda number, qos: self.acknowledged.append(number))
        source.connection = self  # type: ignore[assignment]
        self.deliver(*messages)

    def deliver(self, *messages: Any) -> None:
        for each in messages:
            self.source.arrivals.put((each, self.number))

    def require(self) -> None:
        if self.problem:
            raise RemoteError(f"The broker {self.problem}")


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "WAIT", 0.01)


def source_of(reading: Reading = READING, **options: Any) -> MqttSource:
    source = Mqtt(**OPTIONS | {"topic_col": "pump"} | options).open(reading)
    assert isinstance(source, MqttSource)
    return source


def values(batch: Any) -> list[str]:
    return [record["x"] for record in batch.records]


def test_messages_are_acknowledged_after_they_are_stored() -> None:
    source = source_of()
    broker = FakeConnection(source, message(1, {"x": 1.5}), message(2, {"x": None}), message(3, [{"x": 1}]))
    first = source.read(None)
    assert first.records == [{"x": "1.5", "pump": "a"}, {"x": "", "pump": "a"}]
    assert (list(first.lines), len(first.refused), first.more, broker.acknowledged) == ([1, 2], 1, True, [])
    broker.deliver(message(4, {"x": 3}))
    assert source.read(None) is first  # it was not stored
    assert broker.acknowledged == []
    second = source.read(json.loads(json.dumps(first.cursor)))
    assert (values(second), broker.acknowledged) == (["3"], [1, 2, 3])
    third = source.read(second.cursor)
    assert (third.records, third.cursor, third.more) == ([], second.cursor, False)
    assert broker.acknowledged == [1, 2, 3, 4]


def test_messages_of_a_lost_connection_are_not_acknowledged_on_the_next_one() -> None:
    """The broker sends them again with other packet identifiers."""
    source = source_of()
    broker = FakeConnection(source, message(1, {"x": 1}))
    first = source.read(None)
    broker.deliver(message(2, {"x": 2}))
    broker.problem = "has ended the connection"
    broker.number = 2
    with pytest.raises(DataError, match=r"^MQTT topic plant/\+/state: The broker has ended the connection$"):
        source.read(first.cursor)
    broker.problem = ""
    broker.deliver(message(7, {"x": 1}), message(8, {"x": 2}))
    second = source.read(first.cursor)
    assert (values(second), broker.acknowledged) == (["1", "2"], [])
    source.read(second.cursor)
    assert broker.acknowledged == [7, 8]


def test_session_that_the_broker_has_forgotten_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def open_connection(broker: Any, client_id: str, topic: str, receive: Any) -> Any:
        connection = FakeConnection(source)
        connection.session_present = False
        return connection

    monkeypatch.setattr(mqtt, "Connection", open_connection)
    source = source_of()
    source.read(None)
    assert not caplog.text
    source.connection = None
    source.read({"batch": "a"})
    assert "has removed the session 'one'" in caplog.text


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        *((b"", "not JSON"), (b"\xff", "not JSON"), (b"1.5", "not a JSON object"), (b'{"x": NaN}', "not JSON")),
        *((b"[2]", "not a JSON object"), (b"[" * 100_000, "not JSON"), (b'{"x": 1, "x": 2}', "not JSON")),
    ],
)
def test_message_that_is_not_a_row_is_refused(payload: bytes, problem: str) -> None:
    source = source_of()
    broker = FakeConnection(source, message(1, payload), message(2, {"x": 1}))
    batch = source.read(None)
    assert values(batch) == ["1"]
    assert str(batch.refused[0]).startswith(f"MQTT topic plant/+/state, line 1: {problem}")
    source.read(batch.cursor)
    assert broker.acknowledged == [1, 2]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://host"}, r"begins with mqtt:// or mqtts://\. Received: 'http://host'"),
        ({"url": "mqtt://a:hidden@host"}, "url contains a password"),
        ({"url": "mqtt://host/topic"}, "url must end with the host or the port"),
        ({"topic": ""}, "topic is missing"),
        ({"topic": "a/b+"}, r"topic must have \+ as a whole level"),
        ({"topic": "#/a"}, r"topic must have \+ as a whole level"),
        ({"topic": "$share/g/plant/+"}, r"topic must not be a shared subscription"),
        ({"client_id": ""}, "client_id is missing"),
        ({"topic_col": "x"}, "topic_col must be a column of the run's id_col. Received: 'x'"),
    ],
)
def test_invalid_options_are_refused(options: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        source_of(**options)
    assert "hidden" not in str(error.value)


def test_topic_of_a_sink_has_no_wildcards() -> None:
    for topic in ("a/+", "#", ""):
        with pytest.raises(ConfigError, match=r"topic must be text without \+ and #"):
            MqttTopic(url="mqtt://host", topic=topic)


@pytest.mark.parametrize("error", [RemoteError("no"), RuntimeError("The client is not currently connected.")])
def test_connection_that_may_send_messages_again_is_closed(error: Exception) -> None:
    closed: list[bool] = []

    def publish(topic: str, contents: Any) -> None:
        raise error

    sink: Any = MqttTopic(url="mqtt://host", topic="a").open()
    sink.connection = SimpleNamespace(problem="", publish=publish, close=lambda: closed.append(True))
    with pytest.raises(SinkError):
        call_sink(sink.send, [Message("1", {})])
    assert (closed, sink.connection) == ([True], None)
