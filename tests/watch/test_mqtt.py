"""MQTT: messages are acknowledged after their rows are stored, and repeated ones are recognized."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lstm_ae.config import Reading
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.watch import mqtt
from lstm_ae.watch.mqtt import Mqtt, MqttSource, MqttTopic
from lstm_ae.watch.servers import RemoteError

READING = Reading(time_col="time", value_cols=("x",), id_col=("pump",))
OPTIONS = {"url": "mqtt://host", "topic": "plant/+/state", "client_id": "one"}


def message(number: int, payload: Any, *, dup: bool = False, qos: int = 1, topic: str = "plant/a/state") -> Any:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return SimpleNamespace(mid=number, payload=content, dup=dup, qos=qos, topic=topic)


class FakeBroker:
    """A broker that delivers lists of messages, one list a loop, and records what is acknowledged."""

    def __init__(self, source: MqttSource, *loops: list[Any], present: bool = True) -> None:
        self.source, self.loops, self.present = source, list(loops), present
        self.acknowledged: list[int] = []
        self.opened, self.client, self.former = 0, None, ""
        source.broker = self  # type: ignore[assignment]

    def open(self) -> bool:
        self.opened += 1
        self.client = SimpleNamespace(ack=lambda number, qos: self.acknowledged.append(number))  # type: ignore[assignment]
        return self.present

    def subscribe(self, topic: str) -> None:
        assert topic == self.source.topic

    def unsubscribe(self, topic: str) -> None:
        self.former = topic

    def loop(self, seconds: float) -> None:
        found: Any = self.loops.pop(0) if seconds and self.loops else []
        if isinstance(found, str):
            self.client = None
            raise RemoteError(found)
        for each in found:
            self.source._receive(each)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "FIRST_WAIT", 0)


def source_of(reading: Reading = READING, **options: Any) -> MqttSource:
    source = Mqtt(**OPTIONS | {"topic_col": "pump"} | options).open(reading)
    assert isinstance(source, MqttSource)
    return source


def values(batch: Any) -> list[str]:
    return [record["x"] for record in batch.records]


def test_messages_are_acknowledged_after_they_are_stored() -> None:
    source = source_of()
    broker = FakeBroker(
        source, [message(1, {"x": 1.5}), message(2, [{"x": 2}, {"x": None}])], [], [message(3, {"x": 3})]
    )
    first = source.read(None)
    assert first.records == [{"x": "1.5", "pump": "a"}, {"x": "2", "pump": "a"}, {"x": "", "pump": "a"}]
    assert (list(first.lines), first.more, broker.acknowledged) == ([1, 2, 2], True, [])
    assert source.read(None) is first  # it was not stored
    assert broker.acknowledged == []
    second = source.read(json.loads(json.dumps(first.cursor)))
    assert (values(second), broker.acknowledged) == (["3"], [1, 2])
    third = source.read(second.cursor)
    assert (third.records, third.cursor, third.more) == ([], second.cursor, False)
    assert broker.acknowledged == [1, 2, 3]


def test_message_that_arrives_again_after_a_kill_is_used_once() -> None:
    """The first one was stored and not acknowledged; another one has its packet identifier, or its content."""
    source = source_of()
    FakeBroker(source, [message(1, {"x": 1}), message(2, {"x": 2})])
    cursor = source.read(None).cursor
    again = source_of()
    one, two = message(1, {"x": 1}, dup=True), message(2, {"x": 5}, dup=True)
    broker = FakeBroker(again, [one, two, message(7, {"x": 1}, dup=True), message(1, {"x": 1})])
    batch = again.read(cursor)
    assert values(batch) == ["5", "1", "1"]
    again.read(batch.cursor)
    assert broker.acknowledged == [1, 2, 7, 1]
    only = source_of()
    broker = FakeBroker(only, [one])
    assert only.read(cursor).cursor == cursor
    assert broker.acknowledged == [1]


def test_cursor_holds_as_many_messages_as_the_broker_may_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "UNACKNOWLEDGED", 3)
    source = source_of()
    broker = FakeBroker(source, [message(number, {"x": number}) for number in range(1, 4)], [message(4, {"x": 4})])
    first = source.read(None)
    second = source.read(first.cursor)
    assert [len(each.cursor["recent"]) for each in (first, second)] == [3, 3]  # type: ignore[index]
    assert broker.acknowledged == [1, 2, 3]
    # Messages of QoS 0 are not repeated.
    broker.loops = [[message(0, {"x": number}, qos=0) for number in range(3)]]
    third = source.read(second.cursor)
    assert third.cursor["recent"] == second.cursor["recent"]  # type: ignore[index]
    source.read(third.cursor)
    assert broker.acknowledged == [1, 2, 3, 4]


def test_lost_connection_is_an_error_and_its_messages_arrive_again(caplog: Any) -> None:
    source = source_of()
    broker = FakeBroker(source, [message(1, {"x": 1})])
    first = source.read(None)
    broker.loops = [[message(2, {"x": 2})], "The broker has ended the connection"]
    with pytest.raises(DataError, match=r"^MQTT topic plant/\+/state: The broker has ended the connection$"):
        source.read(first.cursor)
    broker.loops = [[message(1, {"x": 1}, dup=True), message(2, {"x": 2}, dup=True)]]
    second = source.read(first.cursor)
    assert (values(second), broker.opened) == (["2"], 2)
    assert "lost" not in caplog.text
    broker.client, broker.present, broker.loops = None, False, []
    source.read(second.cursor)
    assert "does not know the session 'one' any more" in caplog.text
    assert broker.acknowledged == [1]


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        *((b"", "not JSON"), (b"\xff", "not JSON"), (b"1.5", "not a JSON object"), (b'{"x": NaN}', "not JSON")),
        *((b"[2]", "not a JSON object"), (b"[" * 100_000, "not JSON"), (b'{"x": 1, "x": 2}', "not JSON")),
        (b" " * (mqtt.MAX_LINE + 1), "is longer than"),
    ],
)
def test_message_that_is_not_a_row_is_refused(payload: bytes, problem: str) -> None:
    source = source_of()
    broker = FakeBroker(source, [message(1, payload), message(2, {"x": 1})])
    batch = source.read(None)
    assert values(batch) == ["1"]
    assert str(batch.refused[0]).startswith(f"MQTT topic plant/+/state, line 1: {problem}")
    source.read(batch.cursor)
    assert broker.acknowledged == [1, 2]


def test_array_loses_only_what_is_not_an_object() -> None:
    source = source_of()
    FakeBroker(source, [message(1, [{"x": 1}, None, {"x": 2}, 3])])
    batch = source.read(None)
    assert (values(batch), list(batch.lines)) == (["1", "2"], [1, 1])
    assert [str(error) for error in batch.refused] == [
        "MQTT topic plant/+/state, line 1: not a JSON object. Write one object per row"
    ] * 2


def test_messages_of_a_former_topic_are_ignored_and_its_subscription_ends() -> None:
    old = source_of(topic="old/deep/topic/+")
    FakeBroker(old)
    cursor = json.loads(json.dumps(old.read(None).cursor))
    source = source_of()
    stray = [message(number, {"x": 0}, topic=topic) for number, topic in enumerate(("old", "old/deep/topic/z"), 1)]
    broker = FakeBroker(source, [stray[0], message(3, {"x": 1}), stray[1]], [stray[0]])
    batch = source.read(cursor)
    assert (broker.former, batch.records, list(batch.lines)) == ("old/deep/topic/+", [{"x": "1", "pump": "a"}], [1])
    last = source.read(batch.cursor)
    assert (last.records, last.cursor, broker.acknowledged) == ([], batch.cursor, [1, 3, 2, 1])


def test_message_whose_topic_is_not_text_is_refused_alone() -> None:
    class Odd(SimpleNamespace):
        @property
        def topic(self) -> str:
            return b"\xff".decode()

    source = source_of()
    FakeBroker(source, [Odd(mid=1, payload=b"{}", dup=False, qos=1), message(2, {"x": 1})])
    batch = source.read(None)
    assert (values(batch), len(batch.refused)) == (["1"], 1)


def test_batch_is_limited_and_leaves_messages_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "BATCH_RECORDS", 3)
    monkeypatch.setattr(mqtt, "BLOCK_BYTES", 50)
    source = source_of()
    loops = [[message(number, [{"x": number}] * 2)] for number in range(1, 7)]
    broker, cursor, sizes = FakeBroker(source, *loops), None, list[int]()
    while (batch := source.read(cursor)).records:
        cursor = batch.cursor
        sizes.append(len(batch.records))
        assert len(source.arrived) <= 3
    assert sizes == [4, 4, 4]
    assert broker.acknowledged == [1, 2, 3, 4, 5, 6]


def test_array_with_one_time_of_arrival_is_refused() -> None:
    source = source_of(stamp=True)
    FakeBroker(source, [message(1, [{"x": 1}, {"x": 2}]), message(2, {"x": 3})])
    batch = source.read(None)
    assert (values(batch), len(batch.refused)) == (["3"], 1)
    assert "is an array, whose rows would get one time" in str(batch.refused[0])


def test_rows_get_the_time_of_their_arrival() -> None:
    source = source_of(stamp=True)
    FakeBroker(source, [message(1, {"x": 1, "time": "?"})])
    (record,) = source.read(None).records
    assert record["time"].startswith("20")
    assert record["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": None}, "One of url, url_env, and url_file must be given"),
        ({"url": "http://host"}, r"begins with mqtt:// or mqtts://\. Received: 'http://host'"),
        ({"url": "mqtt://a:hidden@host"}, "url contains a password"),
        ({"url": "mqtt://host/topic"}, "url must end with the host or the port"),
        ({"topic": None}, "topic is missing"),
        ({"topic": "a/b+"}, r"topic must have \+ as a whole level"),
        ({"topic": "#/a"}, r"topic must have \+ as a whole level"),
        ({"topic": "$share/g/plant/+"}, r"topic must not be a shared subscription"),
        ({"client_id": ""}, "client_id is missing"),
        ({"topic_col": "x"}, "topic_col must be a column of the run's id_col. Received: 'x'"),
        ({"expiry": "200y"}, "expiry must be a whole number"),
        ({"expiry": "20000w"}, "expiry must be"),
        ({"ca_file": "ca.pem"}, "ca_file needs an address that begins with mqtts://"),
        ({"url": "mqtts://host", "ca_file": "ca.pem"}, r"There is no file 'ca\.pem'"),
        ({"password_env": "SECRET"}, "password_env and password_file need a url with a user"),
    ],
)
def test_invalid_options_are_refused(options: Any, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    with pytest.raises(ConfigError, match=problem) as error:
        source_of(**options)
    assert "hidden" not in str(error.value)


def test_options_that_need_a_column_of_the_run_are_refused() -> None:
    with pytest.raises(ConfigError, match="stamp is for runs with a column of times"):
        source_of(Reading(value_cols=("x",), id_col=("pump",)), stamp=True)
    for topic in ("a/+", "#", ""):
        with pytest.raises(ConfigError, match=r"topic must be a text without \+ and #"):
            MqttTopic(url="mqtt://host", topic=topic)


def test_login_is_read_from_the_address_and_a_file() -> None:
    Path("secret").write_text("hidden\n")
    login = Mqtt(**OPTIONS | {"url": "mqtts://us%40r@host", "password_file": "secret"}).login()
    assert login == mqtt.Login("host", 8883, True, None, "us@r", "hidden")
