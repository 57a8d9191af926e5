"""Deliver the messages of a monitor to a sink, in a thread for each sink."""

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from lstm_ae.watch.sinks import Message, RefusedMessageError, Sink, SinkError, call_sink
from lstm_ae.watch.state import State
from lstm_ae.watch.status import Backoff, Clock

LOG = logging.getLogger(__name__)

# Number of waiting messages at which the source waits as well.
MAX_WAITING = 10_000

# Longest time in seconds between two checks for messages, because a retry can be due without a new message.
LOOK_SECONDS = 1.0


class Outbox:
    """Messages that wait for a sink.

    A message is stored in the transaction of its rows, sent, and removed when the sink has accepted it. After a kill
    between the last two steps, it is sent again with the same key.

    Args:
        monitor: name of the monitor, for logs.
        name: name of the sink.
        sink: the sink.
        state: state of the monitor.
        clock: the module `time`, or a replacement.
        open_events: function that returns messages on the open events.
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
        # Time of the last messages on open events.
        self.refreshed = -math.inf
        self.added = threading.Event()
        self.dropped: int = state.fact(f"dropped {name}", 0)

    @property
    def waiting(self) -> int:
        """Return the number of waiting messages."""
        return self.state.waiting(self.name)

    def add(self, messages: Sequence[Message]) -> None:
        """Store messages in the open transaction."""
        if messages:
            self.state.add_messages(self.name, messages)
            self.added.set()

    def run(self, stop: threading.Event, ended: threading.Event, poll: float) -> None:
        """Deliver messages until the watch is stopped, or once more after the sources have ended.

        Args:
            stop: event that stops the watch.
            ended: event after which no message is added.
            poll: seconds between two checks for messages.
        """
        while not stop.is_set():
            is_final = ended.is_set()
            try:
                self.deliver(stop)
            except Exception as error:  # of the state, such as a full disk
                if self.backoff.fail(f"{type(error).__name__}: {error}"):
                    LOG.exception("%s: messages for the sink %s cannot be sent", self.monitor, self.name)
            if is_final:
                return
            self.added.wait(min(poll, LOOK_SECONDS))
            self.added.clear()

    def deliver(self, stop: threading.Event) -> None:
        """Send the waiting messages, unless the next attempt is not due yet.

        Args:
            stop: event that ends the delivery between two calls of the sink.
        """
        try:
            while self.backoff.ready and (messages := self.state.messages(self.name, self.sink.batch)):
                if stop.is_set():
                    return
                self._send(messages)
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
        """Send messages on open events again if the sink needs them; return whether any were sent."""
        if not self.sink.refresh or self.clock.monotonic() - self.refreshed < self.sink.refresh:
            return False
        messages = self.open_events()
        for start in range(0, len(messages), self.sink.batch):
            try:
                call_sink(self.sink.send, messages[start : start + self.sink.batch])
            except RefusedMessageError as error:  # the first message on the event has been counted
                LOG.info("%s: the sink %s refuses a message: %s", self.monitor, self.name, error)
        self.refreshed = self.clock.monotonic()
        return bool(messages)

    def _send(self, messages: Mapping[int, Message]) -> None:
        """Send messages together. If the sink refuses them, send each alone, and drop each that is refused."""
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
