"""Source and sink of `lstmae watch` for MQTT 5, through paho-mqtt.

A source is a persistent session with QoS 1: the broker keeps messages while the watch is down, and sends a message
until it is acknowledged, which happens after the watch has stored its rows. A message that the broker sends again after
a kill is recognized by its packet identifier and content, which are a part of the cursor.
"""

import collections
import contextlib
import dataclasses
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import unquote, urlsplit

from lstm_ae.config import Reading
from lstm_ae.config.options import option, redefault
from lstm_ae.config.reading import parse_duration
from lstm_ae.data.text import MAX_LINE
from lstm_ae.errors import Code, ConfigError, DataError, require_extra
from lstm_ae.files import parse_json
from lstm_ae.json_types import JsonMapping
from lstm_ae.watch.servers import TIMEOUT, AddressOptions, RemoteError, describe_failure, read_secret, report_as_source
from lstm_ae.watch.sinks import Message, Sink, SinkOptions, report_as_sink
from lstm_ae.watch.sources import (
    BATCH_RECORDS,
    BLOCK_BYTES,
    Batch,
    Record,
    RowSource,
    SourceOptions,
    read_json_object,
    time_cells,
)

if TYPE_CHECKING:
    from paho.mqtt.client import Client

LOG = logging.getLogger(__name__)

# Seconds after which the broker ends a connection without traffic is one and a half times this.
KEEPALIVE = 60

# Messages that the broker may send before they are acknowledged. The cursor identifies as many.
UNACKNOWLEDGED = 200

# Seconds to wait for the first message after a connection or an acknowledgment, and for further ones. The broker sends
# messages in the place of the acknowledged ones only after a round trip.
FIRST_WAIT, NEXT_WAIT = 0.5, 0.02

# Reasons for which a broker refuses the message itself.
REFUSED = ("Packet too large", "Payload format invalid", "Topic name invalid")


class Login(NamedTuple):
    """How to reach a broker.

    Args:
        host, port: its address.
        tls: whether the connection is encrypted.
        ca_file: certificates to trust, in place of those of the system.
        user, password: credentials; None for none.
    """

    host: str
    port: int
    tls: bool
    ca_file: str | None
    user: str | None
    password: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class BrokerOptions(AddressOptions):
    """Options of a broker of MQTT."""

    schemes: ClassVar[tuple[str, ...]] = ("mqtt", "mqtts")

    url: str | None = redefault(AddressOptions, "url", None, help="Broker: mqtt://USER@HOST:PORT, or mqtts for TLS.")
    password_env: str | None = option(None, "Environment variable of the password of USER.", "")
    password_file: str | None = option(None, "File of the password of USER.", "")
    ca_file: str | None = option(None, "Certificates to trust, such as that of a private broker.", "")

    def login(self) -> Login:
        """Return how to reach the broker.

        Raises:
            ConfigError: a secret or a package is missing, or the address has a path.
        """
        with require_extra("kind = 'mqtt'", "mqtt", "paho-mqtt"):
            import paho.mqtt.client  # noqa: F401
        parts = urlsplit(self.address())
        if parts.path.strip("/") or parts.query:
            raise ConfigError("url must end with the host or the port. Write the topic as topic")
        given = read_secret("password", self.password_env, self.password_file)
        user, password = (unquote(each) if each else None for each in (parts.username, parts.password))
        if given is not None and (user is None or password is not None):
            raise ConfigError("password_env and password_file need a url with a user and without a password")
        tls = parts.scheme == "mqtts"
        if self.ca_file is not None and not tls:
            raise ConfigError("ca_file needs an address that begins with mqtts://")
        if self.ca_file is not None and not Path(self.ca_file).is_file():
            raise ConfigError(f"There is no file {self.ca_file!r}. Correct ca_file")
        return Login(
            parts.hostname or "", parts.port or (8883 if tls else 1883), tls, self.ca_file, user, given or password
        )


class Broker:
    """Connection to a broker, whose packets are read and written while a method runs.

    Args:
        login: how to reach the broker.
        client_id: name of the session; "" for a new one that ends with the connection.
        expiry: seconds for which the broker keeps the session without a connection.
        receive: function that receives each message.
    """

    def __init__(
        self,
        login: Login,
        client_id: str = "",
        expiry: int = 0,
        receive: Callable[[Any], None] = lambda message: None,
    ) -> None:
        self.login, self.client_id, self.expiry, self.receive = login, client_id, expiry, receive
        self.client: Client | None = None
        # Answers to the packets that were sent: of the connection, and by packet identifier.
        self.accepted: Any = None
        self.present = False
        self.answers: dict[int, str] = {}
        self.ended = ""

    def open(self) -> bool:
        """Connect; return whether the broker has the session.

        Raises:
            RemoteError: the broker cannot be reached, or refuses the connection.
        """
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.close()
        self.accepted, self.answers, self.ended = None, {}, ""
        client = Client(
            CallbackAPIVersion.VERSION2, self.client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        client.connect_timeout = TIMEOUT
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda client, data, message: self.receive(message)
        client.on_publish = lambda client, data, number, code, properties: self._on_answer(number, [code])
        client.on_subscribe = lambda client, data, number, codes, properties: self._on_answer(number, codes)
        client.on_unsubscribe = lambda client, data, number, codes, properties: self._on_answer(number, codes)
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self.expiry
        properties.ReceiveMaximum = UNACKNOWLEDGED
        # The broker discards larger messages.
        properties.MaximumPacketSize = 2 * MAX_LINE
        login = self.login
        if login.user is not None:
            client.username_pw_set(login.user, login.password)
        problem = ""
        try:
            if login.tls:
                client.tls_set(login.ca_file)
            client.connect(login.host, login.port, KEEPALIVE, clean_start=not self.client_id, properties=properties)
        except (OSError, ValueError) as error:
            problem = describe_failure(error)
        if problem:
            # Outside the block, so that this error does not keep the socket of a failed handshake.
            raise RemoteError(f"The broker cannot be reached: {problem}")
        self.client = client
        self.wait(lambda: self.accepted is not None)
        if self.accepted.is_failure:
            reason = str(self.accepted)
            self.close()
            raise RemoteError(f"The broker refuses the connection: {reason}")
        self.loop(0)
        return self.present

    def _on_connect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.accepted, self.present = code, bool(flags.session_present)

    def _on_disconnect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        # paho-mqtt gives these if the broker gave no reason, or, before version 2.2, whatever it gave.
        self.ended = "" if str(code) in ("Unspecified error", "Normal disconnection") else str(code)

    def _on_answer(self, number: int, codes: Sequence[Any]) -> None:
        self.answers[number] = next((str(code) for code in codes if code.is_failure), "")

    def loop(self, seconds: float) -> None:
        """Read and write packets, and wait for the first one at most so many seconds.

        Raises:
            RemoteError: the connection has ended.
        """
        if self.client is None or self.client.loop(seconds):
            reason = self.ended
            self.close()
            raise RemoteError(f"The broker has ended the connection{f': {reason}' if reason else ''}")

    def wait(self, true: Callable[[], bool]) -> None:
        """Read and write packets until a condition is true; raise `RemoteError` after `TIMEOUT`."""
        end = time.monotonic() + TIMEOUT
        while not true():
            if time.monotonic() >= end:
                self.close()
                raise RemoteError(f"The broker has not answered for {TIMEOUT:.0f} s")
            # An answer and the end of the connection can arrive together.
            try:
                self.loop(0.1)
            except RemoteError:
                if true():
                    return
                raise

    def subscribe(self, topic: str) -> None:
        """Subscribe to a topic with QoS 1; raise `RemoteError` if the broker refuses it."""
        from paho.mqtt.subscribeoptions import SubscribeOptions

        if self.client is None:
            raise RemoteError("There is no connection")
        # A retained message arrives once, not after each connection.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        number = self.client.subscribe(topic, options=options)[1]
        self.wait(lambda: number in self.answers)
        if reason := self.answers[number]:  # type: ignore[index]
            self.close()
            raise RemoteError(f"The broker refuses the subscription: {reason}")

    def unsubscribe(self, topic: str) -> None:
        """End a subscription of the session, which may have ended before."""
        if self.client is None:
            raise RemoteError("There is no connection")
        number = self.client.unsubscribe(topic)[1]
        self.wait(lambda: number in self.answers)

    def close(self) -> None:
        """Disconnect; the session stays."""
        client, self.client = self.client, None
        if client is not None:
            with contextlib.suppress(OSError, ValueError):
                client.disconnect()
                client.loop(0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mqtt(BrokerOptions, SourceOptions):
    """JSON messages of a topic of an MQTT broker."""

    topic: str | None = option(None, "Topic; + stands for one level, and # for all further ones.", "")
    client_id: str | None = option(None, "Name of the session at the broker, of this monitor alone.", "")
    topic_col: str | None = option(None, "Column that gets the level of +, or the whole topic.", "")
    stamp: bool = option(False, "Whether rows get the time of their arrival.", "")
    expiry: str = option("7d", "How long the broker keeps messages while the watch is down.", "")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("topic", "client_id"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is missing. Add it", code=Code.MISSING_OPTION)
        assert self.topic
        if self.topic.startswith("$share/"):
            raise ConfigError(f"topic must not be a shared subscription. Received: {self.topic[:60]!r}")
        levels = self.topic.split("/")
        if any(set(level) & set("+#\0") and level not in ("+", "#") for level in levels) or "#" in levels[:-1]:
            raise ConfigError(
                f"topic must have + as a whole level, and # as the last one. Received: {self.topic[:60]!r}"
            )
        if parse_duration("expiry", self.expiry) >= 2**32 - 1:
            raise ConfigError("expiry must be less than 136 years")

    def open(self, reading: Reading) -> RowSource:
        """Return the topic."""
        if self.topic_col is not None and self.topic_col not in reading.id_col:
            raise ConfigError(
                f"topic_col must be a column of the run's id_col. Received: {self.topic_col!r}",
                code=Code.UNKNOWN_NAME,
            )
        if self.stamp and reading.time_col is None:
            raise ConfigError("stamp is for runs with a column of times. Remove it")
        return MqttSource(self, self.login(), reading)


class MqttSource(RowSource):
    """Messages of a topic.

    Args:
        options: the options of the source.
        login: how to reach the broker.
        reading: the settings with which the run reads tables.
    """

    plain = True

    def __init__(self, options: Mqtt, login: Login, reading: Reading) -> None:
        assert options.topic
        assert options.client_id
        self.topic, self.options, self.login, self.reading = options.topic, options, login, reading
        self.name = f"MQTT topic {self.topic}"
        self.broker = Broker(login, options.client_id, round(parse_duration("expiry", options.expiry)), self._receive)
        self.arrived: collections.deque[Arrival] = collections.deque()
        # The last batch that was returned, and its packets that this connection has not acknowledged.
        self.last: Batch | None = None
        self.unacknowledged: list[int] = []
        self.wait, self.read_at = FIRST_WAIT, time.monotonic()

    def _receive(self, message: Any) -> None:
        self.arrived.append(Arrival(message, time.time_ns()))

    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the messages that have arrived, after the rows of those before them are stored."""
        if self.last is not None and cursor != self.last.cursor:
            return self.last  # it could not be stored
        self.last = None
        with report_as_source(self.name):
            self._connect(cursor)
            return self._read(cursor)

    def _connect(self, cursor: JsonMapping | None) -> None:
        # A broker ends the connection of a client that was silent for too long, such as one with a long `poll`.
        silent = time.monotonic() - self.read_at > KEEPALIVE
        self.read_at = time.monotonic()
        if self.broker.client is not None and not silent:
            return
        # The broker sends what is not acknowledged again.
        self.arrived.clear()
        self.unacknowledged.clear()
        present = self.broker.open()
        if cursor is not None and not present:
            LOG.warning(
                "%s: the broker does not know the session %r any more. Messages that arrived meanwhile are lost",
                self.name,
                self.options.client_id,
            )
        # A session keeps its subscriptions.
        if cursor is not None and present and (former := cursor["topic"]) != self.topic:
            self.broker.unsubscribe(former)
        self.broker.subscribe(self.topic)
        self.wait = FIRST_WAIT

    def _is_full(self) -> bool:
        return (
            len(self.arrived) >= UNACKNOWLEDGED
            or sum(len(each.message.payload) for each in self.arrived) >= BLOCK_BYTES
        )

    def _read(self, cursor: JsonMapping | None) -> Batch:
        self._acknowledge(self.unacknowledged)
        self.unacknowledged = []
        end = time.monotonic() + self.wait
        while not self._is_full():
            before = len(self.arrived)
            self.broker.loop(NEXT_WAIT)
            if len(self.arrived) == before and (before or time.monotonic() >= end):
                break
        self.wait = NEXT_WAIT
        state: JsonMapping = {"count": 0, "recent": [], **(cursor or {}), "topic": self.topic}
        recent, count = collections.deque[str](state["recent"], UNACKNOWLEDGED), int(state["count"])
        records, lines, refused = list[Record](), list[int](), list[DataError]()
        known, packets = set(recent), list[int]()
        while self.arrived and len(records) < BATCH_RECORDS:
            message, moment = self.arrived.popleft()
            key = f"{message.mid} {hashlib.blake2b(message.payload, digest_size=8).hexdigest()}"
            if message.qos:
                packets.append(message.mid)
            if (message.dup and key in known) or not self._is_own(message):
                continue
            if message.qos:
                recent.append(key)
            count += 1
            found, problems = self._parse(message, moment, f"{self.name}, line {count}")
            records += found
            lines += [count] * len(found)
            refused += problems
        if count == state["count"]:
            self._acknowledge(packets)
            return Batch([], [], [], state, more=bool(self.arrived))
        self.unacknowledged, self.wait = packets, FIRST_WAIT
        self.last = Batch(records, lines, refused, {**state, "count": count, "recent": list(recent)}, more=True)
        return self.last

    def _is_own(self, message: Any) -> bool:
        """Return whether a message is of the topic, not of a former subscription of the session."""
        from paho.mqtt.client import topic_matches_sub

        try:
            return bool(topic_matches_sub(self.topic, message.topic))
        except ValueError:  # A topic that is not UTF-8 is refused like such a message.
            return True

    def _acknowledge(self, packets: Sequence[int]) -> None:
        for number in packets:
            if self.broker.client is not None:
                self.broker.client.ack(number, 1)
        if packets:
            self.broker.loop(0)

    def _parse(self, message: Any, moment: int, where: str) -> tuple[list[Record], list[DataError]]:
        """Return the records of a message, one JSON object or an array of them, and the errors of the others."""
        records, refused = list[Record](), list[DataError]()
        if len(message.payload) > MAX_LINE:
            text = f"{where}: is longer than {MAX_LINE} bytes. Send one row per message"
            return [], [DataError(text, code=Code.FILE_FORMAT)]
        try:
            topic = str(message.topic)
            content = parse_json(message.payload.decode())
        except (ValueError, RecursionError) as error:
            text = f"{where}: not JSON ({str(error)[:100]}). Send a JSON object"
            return [], [DataError(text, code=Code.FILE_FORMAT)]
        added: dict[str, str] = {}
        if self.options.stamp:
            added |= time_cells(moment, self.reading)
            if isinstance(content, list):
                text = f"{where}: is an array, whose rows would get one time. Send one object per message"
                return [], [DataError(text, code=Code.FILE_FORMAT)]
        if self.options.topic_col is not None:
            added[self.options.topic_col] = match_level(self.topic, topic)
        for each in content if isinstance(content, list) else [content]:
            try:
                records.append({**read_json_object(each, where), **added})
            except DataError as error:
                refused.append(error)
        return records, refused

    def check(self) -> Batch:
        """Connect and subscribe with another session, which takes no message from a watch that runs."""
        broker = Broker(self.login)
        try:
            with report_as_source(self.name):
                broker.open()
                broker.subscribe(self.topic)
        finally:
            broker.close()
        return Batch([], [], [], None)

    def close(self) -> None:
        """Acknowledge nothing further, and disconnect."""
        self.broker.close()


class Arrival(NamedTuple):
    """A message and the time of its arrival in nanoseconds since 1970."""

    message: Any
    time: int


def match_level(pattern: str, topic: str) -> str:
    """Return the level of a topic that the only + of a pattern stands for, else the whole topic.

    >>> match_level("plant/+/state", "plant/pump 1/state"), match_level("plant/#", "plant/a/b")
    ('pump 1', 'plant/a/b')
    """
    levels = pattern.split("/")
    return topic.split("/")[levels.index("+")] if levels.count("+") == 1 else topic


@dataclasses.dataclass(frozen=True, kw_only=True)
class MqttTopic(BrokerOptions, SinkOptions):
    """A topic of an MQTT broker, to which each message is published as JSON with QoS 1."""

    topic: str | None = option(None, "Topic (default: lstmae/events or lstmae/scores).", "")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.topic is not None and (not self.topic or set(self.topic) & set("+#\0")):
            raise ConfigError(f"topic must be a text without + and #. Received: {self.topic[:60]!r}")

    def open(self) -> Sink:
        """Return the topic."""
        return MqttSink(self.login(), self.topic or f"lstmae/{self.send}")


class MqttSink(Sink):
    """A topic to which messages are published.

    Args:
        login: how to reach the broker.
        topic: the topic.
    """

    batch = 100

    def __init__(self, login: Login, topic: str) -> None:
        self.broker, self.topic, self.lock = Broker(login), topic, threading.Lock()

    def check(self) -> None:
        """Connect."""
        with self.lock, report_as_sink():
            self.broker.open()

    def send(self, messages: Sequence[Message]) -> None:
        """Publish the messages, and wait until the broker has confirmed all of them."""
        content = [message.to_json().encode() for message in messages]
        with self.lock, report_as_sink():
            self._publish(content)

    def _publish(self, content: Sequence[bytes]) -> None:
        try:
            # A connection without traffic may have ended.
            self.broker.loop(0)
        except RemoteError:
            self.broker.open()
        client = self.broker.client
        assert client
        numbers = [client.publish(self.topic, each, qos=1).mid for each in content]
        self.broker.wait(lambda: all(number in self.broker.answers for number in numbers))
        reasons = {reason for number in numbers if (reason := self.broker.answers.pop(number))}
        if reasons:
            text = f"The broker refuses the message: {min(reasons)}"
            raise RemoteError(text, refused=reasons <= set(REFUSED))

    def close(self) -> None:
        """Disconnect."""
        self.broker.close()
