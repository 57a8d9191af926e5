"""Source and sink of `lstmae watch` with the real Mosquitto of Debian."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectors import detector_of
from processes import CEILING, wait_for
from programs import MOSQUITTO, Mosquitto, needs
from watch_kills import run_watch
from watching import START, drain, messages, monitor_of, opened, use_run

from lstm_ae.config import Reading
from lstm_ae.errors import DataError
from lstm_ae.watch.mqtt import Connection, Mqtt, MqttSource, MqttTopic
from lstm_ae.watch.sinks import JsonLines, Message, SinkError

pytestmark = [pytest.mark.slow, needs(MOSQUITTO, "mosquitto")]
READING = Reading(time_col="time", value_cols=("x",))


def publish(url: str, *payloads: Any, topic: str = "pump") -> None:
    sink = MqttTopic(url=url, topic=topic).open()
    sink.send([Message("key", each) for each in payloads])
    sink.close()


def source_of(url: str, **options: Any) -> MqttSource:
    source = Mqtt(**{"url": url, "topic": "pump", "client_id": "watch"} | options).open(READING)
    assert isinstance(source, MqttSource)
    return source


def read_all(source: Any, cursor: Any = None, count: int = 0) -> tuple[list[str], Any]:
    """Return the values of all rows; wait until there are so many, since a busy broker pauses between messages."""
    found: list[str] = []

    def read() -> bool:
        nonlocal cursor
        batch = source.read(cursor)
        cursor = json.loads(json.dumps(batch.cursor))
        found.extend(record["x"] for record in batch.records)
        return not batch.more and len(found) >= count

    wait_for(read, "rows are missing")
    return found, cursor


def test_messages_of_a_former_topic_of_the_session_are_ignored() -> None:
    broker = Mosquitto()
    with broker.running():
        source = source_of(broker.url, topic="old/deep/+")
        _, cursor = read_all(source)
        source.close()
        publish(broker.url, {"x": 0}, topic="old/deep/a")
        source = source_of(broker.url, topic="plant/+")
        assert read_all(source, cursor)[0] == []
        publish(broker.url, {"x": 1}, topic="plant/a")
        publish(broker.url, {"x": 0}, topic="old/deep/a")
        publish(broker.url, {"x": 2}, topic="plant/b")
        assert read_all(source, cursor, 2)[0] == ["1", "2"]
        source.close()


def test_rows_that_arrive_while_the_watch_or_the_broker_is_down_are_read_once() -> None:
    broker = Mosquitto()
    with broker.running():
        source = source_of(broker.url)
        assert read_all(source)[0] == []
        publish(broker.url, {"x": 0}, {"x": 1})
        found, cursor = read_all(source, count=2)
        assert found == ["0", "1"]
        source.check()  # another session, so that this one stays
        publish(broker.url, {"x": 2})
        batch = next(batch for _ in range(500) if (batch := source.read(cursor)).records)
        source.close()  # stored, and not acknowledged
        publish(broker.url, *({"x": number} for number in range(3, 500)))
        source = source_of(broker.url)
        found, cursor = read_all(source, batch.cursor, 498)
        # The message that was not acknowledged arrives again.
        assert found == [str(number) for number in range(2, 500)]
    with pytest.raises(DataError, match=r"The broker has ended the connection|cannot be reached"):
        source.read(cursor)
    with broker.running():
        publish(broker.url, {"x": 500})
        assert read_all(source, cursor, 1)[0] == ["500"]
    source.close()


def test_retained_message_arrives_once_and_two_sessions_of_one_name_are_reported() -> None:
    broker = Mosquitto()
    with broker.running():
        publisher = Connection(MqttTopic(url=broker.url).login())
        publisher.client.publish("pump", '{"x": 7}', qos=1, retain=True).wait_for_publish(CEILING)
        publisher.close()
        source = source_of(broker.url)
        found, cursor = read_all(source, count=1)
        assert found == ["7"]
        source.close()
        assert read_all(source, cursor)[0] == []
        other = source_of(broker.url)
        # paho-mqtt before version 2.2 does not give the reason.
        with pytest.raises(DataError, match=r"The broker has ended the connection(: Session taken over)?$"):
            read_all(other, cursor, 1)
        source.close()
        other.close()


def test_refusals_of_the_broker_are_reported_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("passwords").touch(0o600)
    subprocess.run(
        [shutil.which("mosquitto_passwd") or "mosquitto_passwd", "-b", "passwords", "watch", "hidden"], check=True
    )
    Path("rules").write_text("user watch\ntopic read pump\n")
    Path("rules").chmod(0o600)
    here = Path.cwd()
    broker = Mosquitto(f"allow_anonymous false\npassword_file {here}/passwords\nacl_file {here}/rules")
    url = broker.url.replace("//", "//watch@")
    monkeypatch.setenv("RIGHT", "hidden")
    monkeypatch.setenv("WRONG", "secret")
    monkeypatch.setenv("URL", broker.url.replace("//", "//watch:hidden@"))
    with broker.running():
        assert read_all(source_of(url, password_env="RIGHT"))[0] == []
        with pytest.raises(DataError, match="The broker refuses the connection: Not authorized") as error:
            source_of(url, password_env="WRONG").read(None)
        assert "secret" not in str(error.value)
        with pytest.raises(DataError, match="The broker refuses the connection: Not authorized"):
            source_of(broker.url).check()
        sink = MqttTopic(url_env="URL").open()
        sink.check()
        for _ in range(2):
            with pytest.raises(SinkError, match="The broker refuses the message: Not authorized"):
                sink.send([Message("1", {})])
        sink.close()


# paho-mqtt leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_encrypted_connection_needs_a_trusted_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *words.split(), "-keyout", "key.pem", "-out", "ca.pem"], check=True, capture_output=True)
    here = Path.cwd()
    broker = Mosquitto(f"allow_anonymous true\ncertfile {here}/ca.pem\nkeyfile {here}/key.pem")
    url = broker.url.replace("mqtt:", "mqtts:")
    with broker.running():
        with pytest.raises(SinkError, match="certificate verify failed"):
            MqttTopic(url=url).open().check()
        monkeypatch.setenv("SSL_CERT_FILE", "ca.pem")
        MqttTopic(url=url).open().check()


def test_sink_connects_again_after_the_broker_was_down() -> None:
    broker = Mosquitto()
    sink = MqttTopic(url=broker.url, topic="alarms").open()
    reader = source_of(broker.url, topic="alarms")
    with broker.running():
        read_all(reader)
        sink.send([Message("1-firing", {"x": 1}), Message("2-firing", {"x": None})])
    with pytest.raises(SinkError, match=r"The broker (cannot be reached|has ended the connection)"):
        sink.send([Message("3-firing", {"x": 3})])
    with broker.running():
        sink.send([Message("3-firing", {"x": 3})])
        reader.close()
        assert read_all(reader, count=3)[0] == ["1", "", "3"]
    sink.close()
    reader.close()


VALUES = [20.0 if number % 17 == 9 else float(number % 3) for number in range(90)]


def _watch(url: str, count: Any) -> None:
    """Process what is there; count transactions and the steps of acknowledgments."""
    with pytest.MonkeyPatch.context() as patch:
        use_run(patch, detector_of(time_col="time"))
        stored = MqttSource.stored
        patch.setattr(MqttSource, "stored", lambda self: (count(), stored(self), count()))
        source = Mqtt(url=url, topic="pump", client_id="watch")
        monitor = monitor_of(source, opened(scores=JsonLines(path="scores.jsonl", send="scores")))
        monitor.state.connection.set_trace_callback(lambda text: count() if text == "COMMIT" else None)
        drain(monitor).close()


def test_kills_lose_no_message(tmp_path: Path) -> None:
    """A row that arrives again has the time of one before, and is refused."""
    broker, place = Mosquitto(), tmp_path / "killed"
    place.mkdir()
    rows = [{"time": str(START + np.timedelta64(minute, "m")), "value 0": value} for minute, value in enumerate(VALUES)]
    with broker.running():
        assert run_watch(_watch, place, broker.url) == 0  # begins the session
        codes = []
        for sent in range(0, len(VALUES), 10):
            publish(broker.url, *rows[sent : sent + 10])
            codes.append(run_watch(_watch, place, broker.url, kill_at=2 + sent // 10))
        assert set(codes) <= {0, -signal.SIGKILL}
        assert run_watch(_watch, place, broker.url) == 0
    assert codes.count(-signal.SIGKILL) > 4
    found = {each["key"]: each["time"] for each in messages(str(place / "scores.jsonl"))}
    assert [time[:16] for time in found.values()] == [row["time"] for row in rows[2:]]
