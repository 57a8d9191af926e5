"""Score the rows of a source by a run, find events, and store messages about them."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from lstm_ae.apply.detect import load_detector
from lstm_ae.apply.run_table import run_config
from lstm_ae.config.reading import REREAD, parse_duration
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, quote
from lstm_ae.run import open_run
from lstm_ae.watch.acceptor import Acceptor
from lstm_ae.watch.config import MonitorConfig
from lstm_ae.watch.outbox import MAX_WAITING, Outbox
from lstm_ae.watch.rows import RowParser, format_utc
from lstm_ae.watch.scorer import RowScorer
from lstm_ae.watch.sinks import Message, Sink, event_id
from lstm_ae.watch.sources import Batch
from lstm_ae.watch.state import State
from lstm_ae.watch.status import Backoff, Clock, Status

LOG = logging.getLogger(__name__)


class Monitor:
    """A run that scores the rows of a source as they arrive.

    Args:
        config: the monitor.
        sinks: the sinks by name.
        folder: folder of the state; None for a state in memory, as for a check.
        clock: the module `time`, or a replacement.

    Raises:
        ConfigError, DataError: the run, the state, or an option cannot be used.
    """

    def __init__(self, config: MonitorConfig, sinks: Mapping[str, Sink], folder: Path | None, clock: Clock) -> None:
        self.options, self.clock, self.name = config.options, clock, config.options.name
        self.silence = parse_duration("silence", self.options.silence) if self.options.silence else None
        self.status, self.backoff, self.ended = Status(), Backoff(clock), False
        run = open_run(self.options.run, "series")
        settings = run_config(run, "anomaly", reading=config.reading)
        if settings.time_col is None:
            raise ConfigError(
                f"{quote(run.name)} reads rows without times. Train it with --time-col", code=Code.RUN_MISMATCH
            )
        with ExitStack() as stack:
            self.source = config.source.open(settings)
            stack.callback(lambda: self.source.close())
            reading = {"decimal": "point", **config.reading} if self.source.plain else config.reading
            about, detector = run.about(), load_detector(run, reading, streaming=True)
            version, command = str(about["created"]), str(about.get("command", "lstmae series train"))
            identity = str(run.directory.resolve()), version
            self.scorer = RowScorer(self.options, detector, identity, command, self.status)
            self.acceptor = Acceptor(
                self.name, detector.config, self.source.name, self.options.max_series, self.status, clock
            )
            self.state = State(folder and folder / f"{self.name}.sqlite")
            stack.callback(self.state.close)
            # The options of the run that determine how its source is read.
            options = {name: repr(getattr(settings, name)) for name in (*REREAD, "columns", "value_cols", "freq")}
            kind = json.dumps([type(config.source).__name__, options])
            if self.state.fact("source", kind) != kind:
                raise ConfigError(
                    f"The state of {self.name!r} belongs to another kind of source, or to a run that reads tables "
                    "differently. Move the state away, or rename the monitor",
                    code=Code.CONFIG_FILE,
                )
            self.state.set_fact("source", kind)
            if count := self.state.remove_other_sinks(self.options.sinks):
                LOG.warning("%s: %s for former sinks removed", self.name, format_count(count, "message"))
            self.outboxes = {
                name: Outbox(self.name, name, sinks[name], self.state, clock, self._open_events)
                for name in self.options.sinks
            }
            self.restored = False
            self._restore()
            # Time of the last row. If the clock was put back during a restart, the last row does not lie in the future.
            self.read_at = clock.monotonic()
            self.arrived = self.read_at - max(0.0, clock.time() - float(self.state.fact("arrived")))
            self._opened = stack.pop_all()

    def close(self) -> None:
        """Close the state and the source."""
        self._opened.close()

    # Rows

    def find_source_problem(self) -> str:
        """Return why the next records cannot be read or none of them can be used; "" if there is no problem."""
        errors: list[DataError] = []
        try:
            batch = self.source.check()
            rows = RowParser(self.acceptor.config, self.source.name).parse(batch, errors.append)
        except (OSError, DataError) as error:
            return str(error).removeprefix(f"{self.source.name}: ")
        except Exception as error:  # of a source of another package
            LOG.info("%s: unexpected error", self.name, exc_info=True)
            return f"{type(error).__name__}: {error}"
        errors = [*batch.refused, *errors]
        return str(errors[0]) if errors and not rows else ""

    def step(self) -> bool:
        """Read and score the next records; return whether further records can be read at once.

        Raises:
            OSError, DataError: the source cannot be read now. Nothing is lost; call `step` again later.
        """
        if not self.restored:
            self._restore()
        if any(outbox.waiting >= MAX_WAITING for outbox in self.outboxes.values()):
            return False
        cursor = self.state.fact("cursor")
        try:
            batch = self.source.read(cursor)
        except Exception:
            # A source that cannot be read is silent as well.
            self.check_silence()
            raise
        self.read_at = self.clock.monotonic()
        if batch.records or batch.refused or batch.cursor != cursor or self._is_silent():
            self.restored = False  # until all changes are stored
            with self.state.transaction():
                rows = self._add(batch)
                self.state.set_fact("cursor", batch.cursor)
                self._watch_silence(rows)
                self.state.set_fact("counts", self.status.counts())
            self.restored = True
            if rows:
                self.arrived = self.clock.monotonic()
        if self.backoff.succeed():
            LOG.info("%s: %s can be read again", self.name, self.source.name)
        self.ended = batch.ended
        return batch.more

    def _add(self, batch: Batch) -> int:
        """Score the records of a batch; return the number of accepted rows."""
        accepted, series = self.status.rows, dict[str, None]()
        for rows in self.acceptor.accept(batch):
            self.state.add_rows(rows)
            series |= dict.fromkeys(rows.series)
            self._store(self.scorer.add(rows, self.acceptor.refuse_accepted, self.state))
        self._store_series(series)
        return self.status.rows - accepted

    def _restore(self) -> None:
        """Rebuild the stream from the stored rows."""
        with self.state.transaction():
            self.status.restore(self.state.fact("counts", Status().counts()))
            series = self.state.series()
            self.acceptor.restore({name: facts["newest"] for name, facts in series.items()})
            self._store(self.scorer.restore(self.state, series))
            self._store_series(series)
            if self.state.fact("arrived") is None:
                self.state.set_fact("arrived", self.clock.time())
            self.state.set_fact("counts", self.status.counts())
        self.restored = True

    def _store_series(self, names: Iterable[str]) -> None:
        newest, tracks = self.acceptor.newest, self.scorer.tracks
        self.state.set_series(
            (name, {"newest": newest[name], "score": self.status.scores.get(name), **tracks[name].to_json()})
            for name in names
        )

    # Messages

    def _store(self, messages: Sequence[Message]) -> None:
        for outbox in self.outboxes.values():
            outbox.add(messages)

    def _open_events(self) -> list[Message]:
        """Return messages on the open events and the open silence. The threads of sinks call this function."""
        with self.state.lock:
            messages = self.scorer.open_events()
            if (start := self.state.fact("silent")) is not None:
                messages.append(self._silence_message(start, None))
        return messages

    # Silence

    def check_silence(self) -> None:
        """Begin an event if the source has been silent for too long, also while it cannot be read."""
        # After a restart, rows may be waiting, so the time of the last read counts as well.
        unread = self.clock.monotonic() - self.read_at
        if self.restored and self.silence is not None and unread >= self.silence and self._is_silent():
            with self.state.transaction():
                self._watch_silence(0)

    def _is_silent(self) -> bool:
        """Return whether the source has been silent for so long that an event begins."""
        if self.silence is None or self.state.fact("silent") is not None:
            return False
        return self.clock.monotonic() - self.arrived >= self.silence

    def _watch_silence(self, rows: int) -> None:
        """Begin an event if the source has been silent for too long, and end it when there are rows."""
        start = self.state.fact("silent")
        if rows:
            now = self.clock.time()
            self.state.set_fact("arrived", now)
            if start is not None:
                self._store_silence_message(start, now)
        elif self._is_silent():
            LOG.warning("%s: %s has sent no row for %s", self.name, self.source.name, self.options.silence)
            self._store_silence_message(self.state.fact("arrived"), None)

    def _store_silence_message(self, start: float, end: float | None) -> None:
        """Store the message on the start or the end of a silence."""
        self.state.set_fact("silent", start if end is None else None)
        self._store([self._silence_message(start, end)])

    def _silence_message(self, start: float, end: float | None) -> Message:
        moments = format_utc((np.array([start, end or start]) * 1e3).astype(np.int64) * 10**6)
        facts = {"start": moments[0], "end": None if end is None else moments[1]}
        status = "firing" if end is None else "resolved"
        return self.scorer.message("silence", status, event_id(self.name, "silence", start), "", facts)


def waiting_error(monitors: Sequence[Monitor]) -> DataError | None:
    """Return the error of messages that no sink has received; None if there are none."""
    for monitor in monitors:
        for name, outbox in monitor.outboxes.items():
            if count := outbox.waiting:
                return DataError(
                    f"{monitor.name}: {format_count(count, 'message')} wait for the sink {name} "
                    f"({outbox.backoff.error or 'not tried yet'}). The next start sends them",
                    code=Code.SERVER_UNAVAILABLE,
                )
    return None
