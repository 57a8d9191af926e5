"""Run the monitors of a file: once, or until they are stopped."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.errors import DataError, require_extra
from lstm_ae.watch.config import WatchConfig, with_place
from lstm_ae.watch.monitor import Monitor, waiting_error
from lstm_ae.watch.sinks import Sink, SinkError, call_sink
from lstm_ae.watch.status import Clock

if TYPE_CHECKING:
    from lstm_ae.watch.metrics import MetricsServer

LOG = logging.getLogger(__name__)


class Check(NamedTuple):
    """The result of a check.

    Args:
        name: the source or the sink.
        problem: the reason why it cannot be used; "" if it can.
    """

    name: str
    problem: str


class Watcher:
    """The monitors of a file with their sinks.

    Args:
        config: content of the file.
        clock: the module `time`, or a replacement.
        stored: whether the state is stored; a check keeps it in memory.

    Raises:
        ConfigError, DataError: a run, a state, or a sink cannot be used.
    """

    def __init__(self, config: WatchConfig, clock: Clock = time, *, stored: bool = True) -> None:
        self.config = config
        self.monitors: list[Monitor] = []
        self.sinks: dict[str, Sink] = {}
        folder = Path(config.options.state) if stored else None
        with ExitStack() as stack:
            for name, options in config.sinks.items():
                self.sinks[name] = with_place(f"[[sinks]] {name!r}", options.open)
                stack.callback(self.sinks[name].close)
            for each in config.monitors:
                place = f"[[monitors]] {each.options.name!r}"
                monitor = with_place(place, Monitor, each, self.sinks, folder, clock)
                stack.callback(monitor.close)
                self.monitors.append(monitor)
            self._opened = stack.pop_all()

    def close(self) -> None:
        """Close sources, sinks, and states."""
        self._opened.close()

    def check(self) -> Iterator[Check]:
        """Read the first records of each source and connect to each sink."""
        for monitor in self.monitors:
            yield Check(f"source of {monitor.name}: {monitor.source.name}", monitor.find_source_problem())
        for name, sink in self.sinks.items():
            problem = ""
            try:
                call_sink(sink.check)
            except SinkError as error:
                problem = str(error)
            yield Check(f"sink {name}", problem)

    def run(self, stop: threading.Event, listening: Callable[[int | None], object]) -> None:
        """Run until the sources end or the watch is stopped. Failures are logged and retried.

        Each source and each sink has a thread of its own, so that none of them delays another one.

        Args:
            stop: event that stops the watch.
            listening: function that is called when all monitors run, with the port of the endpoint or None.

        Raises:
            ConfigError: the address of the endpoint cannot be used.
            DataError: all sources have ended, and messages wait for a sink that fails. The next start sends them.
        """
        endpoint, ended, poll = self._open_endpoint(), threading.Event(), self.config.options.poll
        sources = [self._start(self._follow, monitor, stop) for monitor in self.monitors]
        sinks = [
            self._start(outbox.run, stop, ended, poll)
            for monitor in self.monitors
            for outbox in monitor.outboxes.values()
        ]
        try:
            listening(endpoint.port if endpoint else None)
            _join(sources)
            ended.set()
            _join(sinks)
            if not stop.is_set() and (error := waiting_error(self.monitors)):
                raise error
        finally:
            stop.set()
            _join([*sources, *sinks])
            if endpoint:
                endpoint.close()

    def _start(self, function: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        return thread

    def _open_endpoint(self) -> "MetricsServer | None":
        http = self.config.http
        if http is None:
            return None
        with require_extra("[http]", "watch"):
            from lstm_ae.watch.metrics import MetricsServer
        return MetricsServer(http.host, http.port, self.monitors)

    def _follow(self, monitor: Monitor, stop: threading.Event) -> None:
        """Call `step` of a monitor until the watch is stopped or the source ends."""
        backoff = monitor.backoff
        while not stop.is_set() and not monitor.ended:
            more = False
            try:
                if backoff.ready:
                    more = monitor.step()
                else:
                    monitor.check_silence()
            except (OSError, DataError, sqlite3.Error) as error:
                if backoff.fail(str(error)):
                    LOG.warning("%s: %s. Trying again", monitor.name, str(error).rstrip("."))
            except Exception as error:
                # No record, and no error of a source of another package, may end the watch.
                backoff.fail(f"{type(error).__name__}: {error}")
                LOG.exception("%s: unexpected error. Trying again", monitor.name)
            if not more:
                stop.wait(self.config.options.poll)


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads to end."""
    for thread in threads:
        while thread.is_alive():  # a call without a time limit could delay the handler of a signal
            thread.join(0.2)
