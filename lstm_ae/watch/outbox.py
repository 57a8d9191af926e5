"""Messages of a monitor that wait for a sink, and their delivery in a thread of its own."""

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from lstm_ae.watch.sinks import Message, RefusedMessageError, Sink, SinkError, call_sink
from lstm_ae.watch.state import State
from lstm_ae.watch.status import Backoff, Clock

LOG = logging.getLogger(__name__)

# Messages that may wait for a sink before the source waits.
MAX_WAITING = 10_000

# Longest time in seconds between two looks for messages, such as those whose next attempt is due.
LOOK_SECONDS = 1.0


class Outbox:
    """Messages that wait for a sink.

    A message is stored in the transaction of the rows from which it follows, sent, and removed when the sink has
    accepted it. A kill between the last two steps sends it again, with the same key.

    Args:
        monitor: name of the monitor, for logs.
        name: name of the sink.
        sink: the sink.
        state: state of the monitor.
        clock: the module `time`, or a replacement.
        open_events: function that returns the messages on events that are not over.
    """

    def __init__(
        self,
        monitor: str,
        name: str,
        sink: Sink,
        state: State,
        clock: Clock,
        open_events: Callable[[], Sequence[Message]],
    ) -> None:
        self.monitor, self.name, self.state, self.clock, self.open_events = monitor, name, state, clock, open_events
        self.sink, self.backoff = sink, Backoff(clock)
        # When messages on open events were sent for the last time.
        self.refreshed = -math.inf
        self.added = threading.Event()
        self.dropped: int = state.fact(f"dropped {name}", 0)

    @property
    def waiting(self) -> int:
        """Return the number of messages that the sink has not received."""
        return self.state.waiting(self.name)

    def add(self, messages: Sequence[Message]) -> None:
        """Store messages in the transaction that is open."""
        if messages:
            self.state.add_messages(self.name, messages)
            self.added.set()

    def run(self, stop: threading.Event, ended: threading.Event, poll: float) -> None:
        """Deliver messages until the watch is stopped, or what waits at the end of the sources was tried.

        Args:
            stop: event that stops the watch.
            ended: event after which no message is added.
            poll: seconds between two looks for messages.
        """
        while not stop.is_set():
            last = ended.is_set()
            try:
                self.deliver(stop)
            except Exception as error:  # such as a full disk
                if self.backoff.fail(f"{type(error).__name__}: {error}"):
                    LOG.exception("%s: messages for the sink %s cannot be sent", self.monitor, self.name)
            if last:
                return
            self.added.wait(min(poll, LOOK_SECONDS))
            self.added.clear()

    def deliver(self, stop: threading.Event) -> None:
        """Send the messages that wait, unless the sink failed a short time ago.

        Args:
            stop: event that ends the delivery between two calls of the sink.
        """
        try:
            while self.backoff.ready and (waiting := self.state.messages(self.name, self.sink.batch)):
                if stop.is_set():
                    return
                self._send(waiting)
                self._succeed()
            if self.backoff.ready and self._refresh():
                self._succeed()
        except SinkError as error:
            if self.backoff.fail(str(error), error.wait):
                LOG.warning("%s: the sink %s fails, and messages wait: %s", self.monitor, self.name, error)

    def _succeed(self) -> None:
        if self.backoff.succeed():
            LOG.info("%s: the sink %s accepts messages again", self.monitor, self.name)

    def _refresh(self) -> bool:
        """Send messages on open events again to a sink that forgets them; return whether there were any."""
        if not self.sink.refresh or self.clock.monotonic() - self.refreshed < self.sink.refresh:
            return False
        messages = self.open_events()
        for start in range(0, len(messages), self.sink.batch):
            try:
                call_sink(self.sink.send, messages[start : start + self.sink.batch])
            except RefusedMessageError as error:  # counted when it was refused for the first time
                LOG.info("%s: the sink %s refuses a message: %s", self.monitor, self.name, error)
        self.refreshed = self.clock.monotonic()
        return bool(messages)

    def _send(self, messages: Mapping[int, Message]) -> None:
        """Send messages at once. If the sink refuses them, send each alone, and drop those that it refuses."""
        try:
            call_sink(self.sink.send, list(messages.values()))
        except RefusedMessageError as error:
            if len(messages) > 1:
                for number, message in messages.items():
                    self._send({number: message})
                return
            self.dropped += 1
            LOG.error("%s: the sink %s refuses a message: %s", self.monitor, self.name, error)
        with self.state.transaction():
            self.state.remove_messages(list(messages))
            self.state.set_fact(f"dropped {self.name}", self.dropped)
