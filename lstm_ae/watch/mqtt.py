"""A source and a sink of `lstmae watch` for MQTT 5, based on paho-mqtt.

A source is a persistent session with QoS 1. The broker keeps messages while the watch is down, and sends each message
until it is acknowledged. The source acknowledges a message after the watch has stored its row.
"""

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from urllib.parse import SplitResult, unquote, urlsplit

from lstm_ae.config import Reading
from lstm_ae.config.options import option, redefault
from lstm_ae.data.text import MAX_LINE
from lstm_ae.errors import Code, ConfigError, DataError, require_extra
from lstm_ae.json_types import JsonMapping
from lstm_ae.watch.servers import TIMEOUT, AddressOptions, RefusedError, RemoteError, describe_failure, report_as_source
from lstm_ae.watch.sinks import Message, Sink, SinkOptions
from lstm_ae.watch.sources import Batch, BufferedSource, Record, RowSource, SourceOptions, read_json_record

LOG = logging.getLogger(__name__)

# Keep-alive interval in seconds. The broker ends a connection after 1.5 times this without traffic.
KEEPALIVE = 60

# Seconds for which the broker keeps a session without a connection.
SESSION_SECONDS = 7 * 86_400

# Largest number of messages that the broker sends without an acknowledgment.
UNACKNOWLEDGED = 200

# Seconds that a read waits for a message.
WAIT = 0.5

# Reasons by which a broker refuses the content of a message, so that sending it again cannot help.
REFUSED = ("Packet too large", "Payload format invalid", "Topic name invalid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BrokerOptions(AddressOptions):
    """Options of an MQTT broker."""

    schemes: ClassVar[tuple[str, ...]] = ("mqtt", "mqtts")

    url: str | None = redefault(AddressOptions, "url", None, help="Broker: mqtt://HOST:PORT, or mqtts for TLS.")

    def broker(self) -> SplitResult:
        """Return the address of the broker, with its user and password.

        Raises:
            ConfigError: a secret or a package is missing, or the address has a path.
        """
        with require_extra("kind = 'mqtt'", "mqtt", "paho-mqtt"):
            import paho.mqtt.client  # noqa: F401
        broker = urlsplit(self.address())
        if broker.path.strip("/") or broker.query:
            raise ConfigError("url must end with the host or the port. Write the topic as topic")
        return broker


class Connection:
    """A connection to a broker. A thread of paho-mqtt opens it again when it ends.

    Args:
        broker: address of the broker, see `BrokerOptions.broker`.
        client_id: name of a session that the broker keeps; "" for one that ends with the connection.
        topic: topic to subscribe to; "" for none.
        receive: function that receives each message of the topic, and the number of the connection.

    Raises:
        RemoteError: the broker cannot be reached, or refuses the connection or the subscription.
    """

    def __init__(
        self,
        broker: SplitResult,
        client_id: str = "",
        topic: str = "",
        receive: Callable[[tuple[Any, int]], None] = lambda arrival: None,
    ) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.topic, self.answered = topic, threading.Event()
        # The reason why the connection cannot be used now; "" if it can.
        self.problem = f"has not answered for {TIMEOUT:.0f} s"
        # Number of connections so far, and whether the broker knew the session at the last one.
        self.number, self.session_present = 0, False
        # Reasons for which the broker refused messages, by packet identifier.
        self.refusals: dict[int, str] = {}
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        self.client.connect_timeout = TIMEOUT
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = lambda client, data, number, codes, properties: self._on_answer(codes)
        self.client.on_publish = self._on_publish
        # Other messages of the session belong to a former topic or have an invalid one.
        self.client.on_message = self._ignore
        if topic:
            self.client.message_callback_add(topic, lambda client, data, message: receive((message, self.number)))
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_SECONDS if client_id else 0
        properties.ReceiveMaximum = UNACKNOWLEDGED
        # The broker discards larger messages.
        properties.MaximumPacketSize = MAX_LINE
        if broker.username:
            self.client.username_pw_set(unquote(broker.username), unquote(broker.password or "") or None)
        problem, tls = "", broker.scheme == "mqtts"
        host, port = broker.hostname or "", broker.port or (8883 if tls else 1883)
        try:
            if tls:
                self.client.tls_set()
            self.client.connect(host, port, KEEPALIVE, clean_start=not client_id, properties=properties)
        except (OSError, ValueError) as error:
            problem = describe_failure(error)
        if problem:
            # Raised outside the block, because the context of the error would keep the socket of a failed handshake.
            raise RemoteError(f"The broker cannot be reached: {problem}")
        self.client.loop_start()
        self.answered.wait(TIMEOUT)
        if self.problem:
            self.close()
            self.require()

    def require(self) -> None:
        """Raise `RemoteError` if the connection cannot be used now."""
        if self.problem:
            raise RemoteError(f"The broker {self.problem}")

    def _on_connect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        self.number += 1
        self.session_present = bool(flags.session_present)
        if code.is_failure:
            self.problem = f"refuses the connection: {code}"
            self.answered.set()
        elif self.topic:
            # Otherwise a retained message would arrive after each connection.
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            client.subscribe(self.topic, options=options)
        else:
            self._on_answer([])

    def _on_answer(self, codes: Sequence[Any]) -> None:
        refused = next((str(code) for code in codes if code.is_failure), "")
        self.problem = refused and f"refuses the subscription: {refused}"
        self.answered.set()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        # These mean no reason. Before version 2.2, paho-mqtt does not pass on the reason of the broker.
        reason = "" if str(code) in ("Unspecified error", "Normal disconnection") else f": {code}"
        self.problem = self.problem or f"has ended the connection{reason}"

    def _ignore(self, client: Any, data: Any, message: Any) -> None:
        client.ack(message.mid, message.qos)

    def _on_publish(self, client: Any, data: Any, number: int, code: Any, properties: Any) -> None:
        if code.is_failure:
            self.refusals[number] = str(code)

    def publish(self, topic: str, contents: Sequence[bytes]) -> None:
        """Publish messages, and wait until the broker has confirmed all of them.

        Raises:
            RemoteError: the connection cannot be used, or the broker has not confirmed a message.
            RefusedError: the broker refuses the content of the messages.
        """
        self.require()
        publications = [self.client.publish(topic, content, qos=1) for content in contents]
        end = time.monotonic() + TIMEOUT
        while not all(each.is_published() for each in publications):
            self.require()
            if time.monotonic() >= end:
                raise RemoteError(f"The broker has not confirmed a message for {TIMEOUT:.0f} s")
            next(each for each in publications if not each.is_published()).wait_for_publish(0.1)
        reasons = {reason for each in publications if (reason := self.refusals.pop(each.mid, ""))}
        if reasons:
            kind = RefusedError if reasons <= set(REFUSED) else RemoteError
            raise kind(f"The broker refuses the message: {min(reasons)}")

    def close(self) -> None:
        """Disconnect; the session stays."""
        self.client.disconnect()
        self.client.loop_stop()
        # The client closes its last sockets when it is freed. Its callbacks refer to this object.
        del self.client


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mqtt(BrokerOptions, SourceOptions):
    """JSON messages of a topic of an MQTT broker."""

    topic: str = option("", "Topic; + stands for one level, and # for all further ones.", required=True)
    client_id: str = option("", "Name of the session at the broker, of this monitor alone.", required=True)
    topic_col: str | None = option(None, "Column that gets the level of +, or the whole topic.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.topic.startswith("$share/"):
            raise ConfigError(f"topic must not be a shared subscription. Received: {self.topic[:60]!r}")
        levels = self.topic.split("/")
        if any(set(level) & set("+#\0") and level not in ("+", "#") for level in levels) or "#" in levels[:-1]:
            raise ConfigError(
                f"topic must have + as a whole level, and # as the last one. Received: {self.topic[:60]!r}"
            )

    @property
    def exclusive(self) -> str:
        """Return the session. A broker ends a connection when another client uses the name of its session."""
        return f"the client_id {self.client_id!r} of {self.url or self.url_env}"

    def open(self, reading: Reading) -> RowSource:
        """Return the topic."""
        if self.topic_col is not None and self.topic_col not in reading.id_col:
            raise ConfigError(
                f"topic_col must be a column of the run's id_col. Received: {self.topic_col!r}", code=Code.UNKNOWN_NAME
            )
        return MqttSource(self, self.broker())


class MqttSource(BufferedSource):
    """Messages of a topic.

    Args:
        options: the options of the source.
        broker: address of the broker.
    """

    plain = True

    def __init__(self, options: Mqtt, broker: SplitResult) -> None:
        super().__init__()
        self.topic, self.options, self.broker = options.topic, options, broker
        self.name = f"MQTT topic {self.topic}"
        self.connection: Connection | None = None
        # Messages that have arrived, with the numbers of their connections.
        self.arrivals = queue.SimpleQueue[tuple[Any, int]]()
        # Messages whose rows are not stored yet, and the number of messages so far.
        self.unacknowledged: list[tuple[Any, int]] = []
        self.count = 0

    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the messages that have arrived, after the rows of those before them are stored."""
        with report_as_source(self.name):
            if self.connection is None:
                self.arrivals = queue.SimpleQueue()
                self.connection = Connection(self.broker, self.options.client_id, self.topic, self.arrivals.put)
                if cursor is not None and not self.connection.session_present:
                    LOG.warning(
                        "%s: the broker has removed the session %r. Messages since the last connection are lost",
                        self.name,
                        self.options.client_id,
                    )
            return super().read(cursor)

    def stored(self) -> None:
        """Acknowledge the messages of this connection. The broker sends those of a former connection again."""
        for message, number in self.unacknowledged:
            if self.connection and number == self.connection.number:
                self.connection.client.ack(message.mid, message.qos)

    def take(self) -> Batch:
        """Return the messages that have arrived."""
        assert self.connection
        messages = list[tuple[Any, int]]()
        try:
            messages.append(self.arrivals.get(timeout=WAIT))
            while len(messages) < UNACKNOWLEDGED:
                messages.append(self.arrivals.get_nowait())
        except queue.Empty:
            pass
        self.unacknowledged = [each for each in messages if each[1] == self.connection.number]
        if not self.unacknowledged:
            self.connection.require()
        records, lines, refused = list[Record](), list[int](), list[DataError]()
        for message, _ in self.unacknowledged:
            self.count += 1
            try:
                record = read_json_record(message.payload, self.count, self.name)
                if column := self.options.topic_col:
                    record = {**record, column: match_level(self.topic, message.topic)}
                records.append(record)
                lines.append(self.count)
            except DataError as error:
                refused.append(error)
        return Batch(records, lines, refused, None, more=bool(self.unacknowledged))

    def check(self) -> Batch:
        """Connect and subscribe with another session, so that a running watch misses no message."""
        with report_as_source(self.name):
            Connection(self.broker, topic=self.topic).close()
        return Batch()

    def close(self) -> None:
        """Disconnect. The broker sends messages that are not acknowledged again."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def match_level(pattern: str, topic: str) -> str:
    """Return the level of a topic at the + of a pattern, or the whole topic unless the pattern has exactly one +.

    >>> match_level("plant/+/state", "plant/pump 1/state"), match_level("plant/#", "plant/a/b")
    ('pump 1', 'plant/a/b')
    """
    levels = pattern.split("/")
    return topic.split("/")[levels.index("+")] if levels.count("+") == 1 else topic


@dataclasses.dataclass(frozen=True, kw_only=True)
class MqttTopic(BrokerOptions, SinkOptions):
    """A topic of an MQTT broker, to which each message is published as JSON with QoS 1."""

    topic: str = option("lstmae/events", "Topic.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.topic or set(self.topic) & set("+#\0"):
            raise ConfigError(f"topic must be text without + and #. Received: {self.topic[:60]!r}")

    def open(self) -> Sink:
        """Return the topic."""
        return MqttSink(self.broker(), self.topic)


class MqttSink(Sink):
    """A topic to which messages are published.

    Args:
        broker: address of the broker.
        topic: the topic.
    """

    batch = 100

    def __init__(self, broker: SplitResult, topic: str) -> None:
        self.broker, self.topic, self.lock = broker, topic, threading.Lock()
        self.connection: Connection | None = None

    def check(self) -> None:
        """Connect."""
        Connection(self.broker).close()

    def send(self, messages: Sequence[Message]) -> None:
        """Publish the messages, and wait until the broker has confirmed all of them."""
        content = [message.to_json().encode() for message in messages]
        with self.lock:
            # The broker may have ended a connection without traffic.
            if self.connection is not None and self.connection.problem:
                self.close()
            if self.connection is None:
                self.connection = Connection(self.broker)
            try:
                self.connection.publish(self.topic, content)
            except Exception:  # of paho-mqtt if the connection ends at the same moment
                # Otherwise paho-mqtt would also send unconfirmed messages again, in addition to the outbox.
                self.close()
                raise

    def close(self) -> None:
        """Disconnect."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
