"""Score the rows of a source by a run, find events, and send messages about them."""

import collections
import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from lstm_ae.apply.detect import load_detector
from lstm_ae.apply.run_table import run_config
from lstm_ae.apply.stream import DetectionStream, StreamedScores
from lstm_ae.arrays import BoolArray, Int64Array
from lstm_ae.config.options import declared_options
from lstm_ae.config.reading import Reading, parse_duration
from lstm_ae.data.chunks import Chunk
from lstm_ae.detection.events import Change, Event, find_changes, finite
from lstm_ae.detection.shift import describe_shifts
from lstm_ae.errors import Code, ConfigError, DataError, LstmAeError
from lstm_ae.formatting import format_count, format_heading, quote
from lstm_ae.json_types import JsonObject
from lstm_ae.run import Run, open_run
from lstm_ae.watch.config import MonitorConfig, open_kind
from lstm_ae.watch.rows import RowParser, TimeNotation, reason_of
from lstm_ae.watch.sinks import (
    Message,
    RefusedMessageError,
    Sink,
    SinkError,
    SinkOptions,
    call_sink,
    message_id,
)
from lstm_ae.watch.sources import Batch, RowSource
from lstm_ae.watch.state import State
from lstm_ae.workdir import RUNS

LOG = logging.getLogger(__name__)

# Refused rows that are logged one by one; then one is logged at every doubling of their number.
MAX_LOGGED = 10

# Longest time in seconds between two attempts to reach a source or a sink.
MAX_WAIT = 60.0

# Seconds between two looks for a new version of a run.
RELOAD_SECONDS = 5.0

# Messages in memory at a time for a sink that takes one by one.
SEND_COUNT = 100


class Clock(Protocol):
    """The part of the module `time` that a monitor uses."""

    def time(self) -> float:
        """Return the seconds since 1970."""

    def monotonic(self) -> float:
        """Return the seconds since any point in time."""


class Backoff:
    """Times at which to try something again that failed, at doubling distances."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.failures, self.until, self.error = clock, 0, 0.0, ""

    @property
    def ready(self) -> bool:
        """Whether it is time for an attempt."""
        return not self.failures or self.clock.monotonic() >= self.until

    def fail(self, error: str, wait: float | None = None) -> bool:
        """Record a failure; return whether it is the first one, or has another reason than the one before.

        Args:
            error: the reason.
            wait: seconds to wait at least; None for no wish.
        """
        new, self.error = error != self.error, error
        pause = min(MAX_WAIT, 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.until = self.clock.monotonic() + max(pause, min(wait or 0, 10 * MAX_WAIT))
        return new

    def succeed(self) -> bool:
        """Record a success; return whether it follows a failure."""
        failed, self.failures, self.error = bool(self.failures), 0, ""
        return failed


class LatestScore(NamedTuple):
    """The latest score of a series.

    Args:
        score: the score.
        ratio: the score divided by the threshold.
        time: time of its row in nanoseconds, or its number.
    """

    score: float
    ratio: float
    time: int


@dataclasses.dataclass
class Status:
    """What a monitor reports; another thread may read it.

    Args:
        version: when the run was created.
        rows: rows that were accepted.
        refused: records that could not be used, by reason.
        unscored: rows that got no score, because they are missing or no window contains them.
        events: events that began.
        dropped: messages that sinks refused, by sink.
        waiting: messages that wait, by sink.
        newest: time of the newest row in seconds since 1970; None without dates.
        scores: the latest score of each series.
        shifted: whether each series has left the training range.
        source: attempts to read the source.
        sinks: attempts to reach the sinks.
    """

    source: Backoff
    sinks: dict[str, Backoff]
    version: str = ""
    rows: int = 0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    unscored: int = 0
    events: int = 0
    dropped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    waiting: dict[str, int] = dataclasses.field(default_factory=dict)
    newest: float | None = None
    scores: dict[str, LatestScore] = dataclasses.field(default_factory=dict)
    shifted: dict[str, bool] = dataclasses.field(default_factory=dict)

    def counts(self) -> JsonObject:
        """Return the numbers that survive a restart."""
        return {
            "rows": self.rows,
            "refused": dict(self.refused),
            "unscored": self.unscored,
            "events": self.events,
            "dropped": dict(self.dropped),
        }


@dataclasses.dataclass
class _Track:
    """Facts of a series.

    Args:
        newest: time of the newest row; None before the first one.
        emitted: time of the last row that was scored; None before the first one.
        event: the open event; None if there is none.
        recent: times of the last rows that were scored, as many as the next score may need.
        stream: state of the stream of the series, see `DetectionStream.state`.
        arrived: when the newest row arrived, in seconds since 1970.
    """

    newest: int | None = None
    emitted: int | None = None
    event: Event | None = None
    recent: collections.deque[int] = dataclasses.field(default_factory=collections.deque)
    stream: JsonObject | None = None
    arrived: float = 0.0

    def to_json(self) -> JsonObject:
        """Return what a restart needs, in JSON types."""
        event = self.event and self.event._asdict()
        facts = {"newest": self.newest, "emitted": self.emitted, "event": event, "stream": self.stream}
        return facts | {"arrived": self.arrived}


class Monitor:
    """A run that scores the rows of a source as they arrive.

    Args:
        config: the monitor.
        sinks: options and sinks by name.
        folder: folder of the state; None for a state in memory, as for a check.
        clock: the module `time`, or a replacement.

    Raises:
        ConfigError, DataError: the run, the state, or an option cannot be used.
    """

    def __init__(
        self,
        config: MonitorConfig,
        sinks: Mapping[str, tuple[SinkOptions, Sink]],
        folder: Path | None,
        clock: Clock = time,
    ) -> None:
        self.options, self.reading, self.clock = config.options, config.reading, clock
        self.name, self.sinks = config.options.name, {name: sinks[name] for name in config.sinks}
        self.ahead = parse_duration("ahead", self.options.ahead)
        self.silence = parse_duration("silence", self.options.silence) if self.options.silence else None
        self.expire = parse_duration("expire", self.options.expire) if self.options.expire else None
        self.status = Status(Backoff(clock), {name: Backoff(clock) for name in self.sinks})
        self.ended = False
        # When the source was read for the last time.
        self.read_at = clock.time()
        # When to look for a new version of the run, and attempts to load one.
        self.look_at, self.loading = clock.monotonic() + RELOAD_SECONDS, Backoff(clock)
        run = self._find_run()
        self.source_options, self.source_reading = config.source, run_config(run, "anomaly", reading=self.reading)
        if self.expire is not None and self.source_reading.time_col is None:
            # The numbers of its rows would begin again, and events have identifiers by these.
            raise ConfigError(
                f"expire needs rows with times, and {self.options.run!r} counts its rows. Remove expire",
                code=Code.OPTION_NOT_APPLICABLE,
            )
        self.source = self._open_source(self.source_reading)
        self._use(run)
        self.state = State(folder and folder / f"{self.name}.sqlite")
        try:
            if removed := self.state.remove_other_sinks(list(self.sinks)):
                LOG.warning("%s: %s for former sinks removed", self.name, format_count(removed, "message"))
            # Sinks whose received messages are compared with the stored ones before the first message is sent.
            self.unsure = set(self.sinks)
            # When messages on open events were sent to a sink for the last time.
            self.refreshed = dict.fromkeys(self.sinks, -math.inf)
            self.restored = False
            self._restore()
        except BaseException:
            self.state.close()
            raise

    def close(self) -> None:
        """Close the source and the state."""
        self.source.close()
        self.state.close()

    # The run

    def _find_run(self) -> Run:
        """Return the run of the options; the latest one is that of the latest finished detector."""
        if self.options.run != "latest":
            return open_run(self.options.run, "series")
        for run in Run.list_all():
            if run.finished and run.about()["task"] == "series" and run.config().to_dict()["task"] == "anomaly":
                return run
        raise DataError(
            f"There is no finished run of --task anomaly in {str(RUNS)!r}. Train one or pass its directory",
            code=Code.RUN_NOT_FOUND,
        )

    def _open_source(self, reading: Reading) -> RowSource:
        """Open the source for a run that reads tables in this way."""
        source: RowSource = open_kind(RowSource, self.source_options, reading)
        source.ahead = self.ahead
        return source

    def _use(self, run: Run) -> None:
        """Load a version of the run; the former one stays in use if this raises an error."""
        reading = {"decimal": "point", **self.reading} if self.source.plain else self.reading
        version, detector = _version(run), load_detector(run, reading, streaming=True)
        stream = DetectionStream(
            detector, self.options.threshold, online=True, adapt=self.options.adapt, corrections=False
        )
        own = run_config(run, "anomaly", reading=self.reading)
        if not self.source.once and _reading_options(own) != _reading_options(self.source_reading):
            former, self.source, self.source_reading = self.source, self._open_source(own), own
            former.close()
        self.stream = stream
        self.version, self.detector, self.restored = version, detector, False
        # The command that trains again.
        self.command = str(run.about().get("command", "lstmae series train"))
        self.parser = RowParser(detector.config, self.source.name)
        # Rows on which the score of the next one depends, and these with a gap before them.
        self.context = detector.normal.window + 1
        self.recent = self.context + (detector.config.max_gap or 0) + 1
        self.status.version = version[1]

    def _reload(self) -> None:
        """Load a new version of the run if there is one, which scores the next rows."""
        if self.clock.monotonic() < self.look_at or not self.loading.ready:
            return
        self.look_at = self.clock.monotonic() + RELOAD_SECONDS
        try:
            run = self._find_run()
            if not run.finished or _version(run) == self.version:
                return
            self._use(run)
        except (OSError, LstmAeError) as error:
            # It may be incomplete while it is copied.
            if self.loading.fail(str(error)):
                LOG.warning("%s: the new version of %s cannot be used: %s", self.name, self.options.run, error)
            return
        self.loading.succeed()
        LOG.info("%s: loaded the version of %s of %s", self.name, self.version[1], quote(run.name))

    # Rows

    def find_source_problem(self) -> str:
        """Return why the next records cannot be read or none of them can be used; "" if there is no problem."""
        refused: list[DataError] = []
        try:
            batch = self.source.check()
            rows = RowParser(self.detector.config, self.source.name).parse(batch, refused.append)
        except (OSError, DataError) as error:
            return str(error).removeprefix(f"{self.source.name}: ")
        except Exception as error:  # of a source of another package
            LOG.info("%s: unexpected error", self.name, exc_info=True)
            return f"{type(error).__name__}: {error}"
        refused = [*batch.refused, *refused]
        return str(refused[0]) if refused and not rows else ""

    def step(self) -> bool:
        """Read and score the next records and send messages; return whether further records can be read at once.

        Raises:
            OSError, DataError: the source cannot be read now. Nothing is lost; call `step` again later.
        """
        self._reload()
        if not self.restored:
            self._restore()
        self.deliver()
        if any(self.state.waiting(name) >= self.options.max_waiting for name in self.sinks):
            return False
        cursor = self.state.fact("cursor")
        try:
            batch = self.source.read(cursor)
        except Exception:
            # A source that cannot be read is silent too.
            self.store_silence()
            raise
        self.read_at = self.clock.time()
        expired = [] if batch.more else self._expired_series()
        if changed := batch.records or batch.refused or batch.cursor != cursor or self._is_silent() or expired:
            self.restored = False  # until all changes are stored
            with self.state.transaction():
                rows = self._add(batch)
                self.state.set_fact("cursor", batch.cursor)
                self._watch_silence(rows)
                if expired:  # rows of some of them may have arrived
                    self._forget_series(self._expired_series())
                self.state.set_fact("counts", self.status.counts())
            self.restored = True
        if self.status.source.succeed():
            LOG.info("%s: %s can be read again", self.name, self.source.name)
        self.ended = batch.ended
        if changed:
            self.deliver()
        return batch.more

    def _expired_series(self) -> list[str]:
        """Return the series that have sent no row for too long, as far as all rows of the source are read."""
        if self.expire is None:
            return []
        until = self.clock.time() - self.expire
        return [name for name, track in self.tracks.items() if track.arrived <= until]

    def _forget_series(self, names: Sequence[str]) -> None:
        """End the events of series that do not go on, and make room for others."""
        for name in names:
            LOG.info("%s: the series %s has sent no row for %s and ends", self.name, quote(name), self.options.expire)
            track = self.tracks.pop(name)
            if track.event is not None:
                for sink, (options, _) in self.sinks.items():
                    if options.send == "events":
                        self._store(sink, [self._event_message(name, Change("resolved", track.event))])
            for by_series in (self.stream.tracks, self.stream.restored, self.status.scores, self.status.shifted):
                by_series.pop(name, None)
            self.state.remove_series(name)

    def store_silence(self) -> None:
        """Store and send the message on a silence, if one has begun; for the time when the source is not read."""
        # After a restart, rows may have arrived that only the next attempt can read.
        unread = self.clock.time() - self.read_at
        if self.restored and self.silence is not None and unread >= self.silence and self._is_silent():
            with self.state.transaction():
                self._watch_silence(0)
            self.deliver()

    def _restore(self) -> None:
        """Rebuild the stream from the stored rows."""
        # The threshold stays: to fit it takes longer than to score the rows.
        self.stream.tracks.clear()
        self.stream.scored.clear()
        self.stream.restored.clear()
        for name, value in self.state.fact("counts", Status(self.status.source, {}).counts()).items():
            setattr(self.status, name, collections.Counter(value) if isinstance(value, dict) else value)
        columns = list(self.detector.config.value_cols)
        with self.state.transaction():
            kind = type(self.source_options).__name__
            if self.state.fact("source", kind) != kind:
                LOG.warning("%s: the source is of another kind than before, and begins as on a first start", self.name)
                self.state.set_fact("cursor", None)
            self.state.set_fact("source", kind)
            changed = self.state.fact("columns", columns) != columns
            # Levels and limits are those of the normal scores of a version.
            scorer = [*self.version, self.options.adapt]
            same = self.state.fact("scorer", scorer) == scorer
            self.state.set_fact("scorer", scorer)
            if changed:
                LOG.warning("%s: the run has other columns than before, so that scores start anew", self.name)
                self.state.clear_rows()
            self.state.set_fact("columns", columns)
            self.notation = TimeNotation(self.state.fact("unit", self.parser.notation.unit))
            self.tracks = {
                name: _Track(
                    facts["newest"],
                    facts["emitted"],
                    facts["event"] and Event.from_json(facts["event"] | ({"shares": []} if changed else {})),
                    collections.deque(maxlen=self.recent),
                    facts.get("stream") if same and not changed else None,
                    facts.get("arrived", self.clock.time()),
                )
                for name, facts in self.state.series().items()
            }
            for name, track in self.tracks.items():
                if track.stream is not None:
                    self.stream.restored[name] = track.stream
                    self._show_shift(name, track)
                rows = self.state.rows(name)
                if len(rows.times):
                    ids = [name] * len(rows.times)
                    # Rows that were refused are stored as well, and are refused again.
                    found = self.stream.push(rows.values, rows.times, ids, refuse=lambda error: None)
                    self._take(found)
            newest = [track.newest for track in self.tracks.values() if track.newest is not None]
            if newest and self.notation.dated and self.parser.config.time_col is not None:
                self.status.newest = max(newest) / 1e9
            if self.state.fact("arrived") is None:
                self.state.set_fact("arrived", self.clock.time())
            self.state.set_fact("counts", self.status.counts())
        self.restored = True

    def _add(self, batch: Batch) -> int:
        """Score the records of a batch; return the number of accepted rows."""
        for error in batch.refused:
            self._refuse(error)
        before = self.status.rows
        for chunk in self.parser.parse(batch, self._refuse):
            if self.notation != self.parser.notation:
                self.notation = self.parser.notation
                self.state.set_fact("unit", self.notation.unit)
            ids = [""] * len(chunk.values) if chunk.ids is None else list(chunk.ids)
            times, accepted = self._check(chunk, ids)
            values, times = chunk.values[accepted], times[accepted]
            series = [name for name, good in zip(ids, accepted.tolist(), strict=True) if good]
            self.status.rows += len(times)
            self.state.add_rows(series, times, values)
            found = self.stream.push(values, times, series, refuse=self._refuse_accepted)
            self._take(found)
            for name in dict.fromkeys(series):
                self.state.set_series(name, self.tracks[name].to_json())
        return self.status.rows - before

    def _check(self, chunk: Chunk, ids: Sequence[str]) -> tuple[Int64Array, BoolArray]:
        """Return the times of rows, and which of them are accepted; the others are refused.

        Rows without times get numbers that continue those of the rows before.
        """
        accepted = np.ones(len(ids), bool)
        times = np.zeros(len(ids), np.int64) if chunk.times is None else chunk.times
        latest = np.iinfo(np.int64).max
        if chunk.times is not None and self.notation.dated:
            latest = int((self.clock.time() + self.ahead) * 1e9)
        for name, rows in _rows_by_series(ids).items():
            if name not in self.tracks and len(self.tracks) >= self.options.max_series:
                accepted[rows] = False
                text = f"the series {format_heading(name)} exceeds max_series = {self.options.max_series}. Increase it"
                for _ in rows:
                    self._count_refused("series", text)
                continue
            track = self.tracks.setdefault(name, _Track(recent=collections.deque(maxlen=self.recent)))
            if chunk.times is None:
                times[rows] = np.arange(len(rows)) + (0 if track.newest is None else track.newest + 1)
            own = times[rows]
            future = own > latest
            first = np.iinfo(np.int64).min if track.newest is None else track.newest
            before = np.maximum.accumulate(np.r_[first, np.where(future, np.iinfo(np.int64).min, own)])[:-1]
            late = ~future & (own < before)
            again = ~future & (own == before) & (self.detector.config.duplicates == "error")
            for reason, wrong, rule in (
                ("future", future, f"is more than {self.options.ahead} ahead of the clock. Set the clocks"),
                ("late", late, "comes after a later one. Send rows in the order of time"),
                ("duplicate", again, "has the time of the one before. Send one row per time, or set duplicates"),
            ):
                for row in rows[wrong].tolist():
                    self._count_refused(
                        reason,
                        f"{self.parser.name}, line {chunk.lines[row]}: the row{f' of {name!r}' if name else ''} at "
                        f"{self.notation.format(times[row : row + 1])[0]} {rule}",
                    )
            accepted[rows] = ~(future | late | again)
            if accepted[rows].any():
                track.newest, track.arrived = int(own[accepted[rows]][-1]), self.clock.time()
        if self.notation.dated and chunk.times is not None and accepted.any():
            self.status.newest = max(self.status.newest or 0.0, float(times[accepted].max()) / 1e9)
        return times, accepted

    def _refuse(self, error: DataError) -> None:
        self._count_refused(reason_of(error), str(error))

    def _refuse_accepted(self, error: DataError) -> None:
        """Refuse a row that does not fit the sampling interval."""
        self.status.rows -= 1
        self._refuse(error)

    def _count_refused(self, reason: str, text: str) -> None:
        self.status.refused[reason] += 1
        number = self.status.refused[reason]
        if number <= MAX_LOGGED or not number & (number - 1):  # a power of two
            LOG.warning("%s: row refused (%s, number %d): %s", self.name, reason, number, text)

    # Scores and messages

    def _take(self, found: StreamedScores) -> None:
        """Find events in the scores of rows that arrived, and store messages about them."""
        messages: dict[str, list[Message]] = {"events": [], "scores": []}
        for name, rows in _rows_by_series(found.series).items():
            track = self.tracks[name]
            track.stream = self.stream.state(name)
            self._show_shift(name, track)
            track.recent.extend(found.times[rows].tolist())
            if track.emitted is not None:  # a restart scores some rows again
                rows = rows[found.times[rows] > track.emitted]
            if not len(rows):
                continue
            times, scores = found.times[rows], found.scores[rows]
            track.event, changes = find_changes(
                track.event,
                times,
                found.errors[rows],
                scores,
                found.p[rows],
                found.anomaly[rows],
                found.begins[rows],
                self.detector.normal.window,
            )
            track.emitted = int(times[-1])
            self.state.set_series(name, track.to_json())
            messages["events"] += [self._event_message(name, change) for change in changes]
            self.status.events += sum(change.status == "firing" for change in changes)
            scored = np.flatnonzero(~np.isnan(scores))
            self.status.unscored += len(scores) - len(scored)
            if len(scored):
                last = int(scored[-1])
                self.status.scores[name] = LatestScore(
                    float(scores[last]), float(scores[last]) / self._threshold, int(times[last])
                )
            if any(options.send == "scores" for options, _ in self.sinks.values()):
                messages["scores"] += self._score_messages(name, found, rows[scored])
            if len(track.recent) == self.recent:
                self.state.remove_rows(name, track.recent[-self.context], track.recent[0])
        if shifted := self.stream.take_shifted():
            LOG.warning("%s: %s", self.name, describe_shifts(shifted, self.stream.limits.length, self.command))
        for sink, (options, _) in self.sinks.items():
            self._store(sink, messages[options.send])

    def _show_shift(self, name: str, track: _Track) -> None:
        if track.stream is not None:
            self.status.shifted[name] = track.stream["shift"]["since"] is not None

    @property
    def _threshold(self) -> float:
        return max(self.stream.threshold.value, float(np.finfo(np.float64).tiny))

    def _event_message(self, series: str, change: Change) -> Message:
        event, (start, last, peak) = (
            change.event,
            self.notation.format(np.array([change.event.first, change.event.last, change.event.peak], np.int64)),
        )
        identifier = message_id(self.name, series, event.first)
        body = {
            "kind": "anomaly",
            "status": change.status,
            "event": identifier,
            "monitor": self.name,
            "series": series,
            "start": start,
            "end": last if change.status == "resolved" else None,
            "peak": peak,
            "score": event.score,
            "threshold": self.stream.threshold.value,
            "p": event.p,
            "causes": dict(zip(self.detector.config.value_cols, event.shares, strict=False)),
            "run": self.version[0],
            "version": self.version[1],
        }
        return Message(f"{identifier}-{change.status}", body)

    def _score_messages(self, series: str, found: StreamedScores, rows: Int64Array) -> list[Message]:
        times = self.notation.format(found.times[rows])
        columns = (found.times[rows], found.scores[rows], found.p[rows], found.anomaly[rows])
        return [
            Message(
                message_id(self.name, series, number, "score"),
                {
                    "kind": "score",
                    "monitor": self.name,
                    "series": series,
                    "time": shown,
                    "score": finite(score),
                    "threshold": self.stream.threshold.value,
                    "p": p,
                    "anomaly": anomaly,
                },
            )
            for shown, number, score, p, anomaly in zip(times, *(each.tolist() for each in columns), strict=True)
        ]

    def _is_silent(self) -> bool:
        """Return whether the source has been silent for so long that an event begins."""
        if self.silence is None or self.state.fact("silent") is not None:
            return False
        return self.clock.time() - float(self.state.fact("arrived")) >= self.silence

    def _watch_silence(self, rows: int) -> None:
        """Begin an event if the source has been silent for too long, and end it with the first row."""
        begun = self.state.fact("silent")
        if rows:
            self.state.set_fact("arrived", self.clock.time())
            if begun is not None:
                self._store_silence(begun, self.clock.time())
        elif self._is_silent():
            LOG.warning("%s: %s has sent no row for %s", self.name, self.source.name, self.options.silence)
            self._store_silence(self.state.fact("arrived"), None)

    def _store_silence(self, begun: float, end: float | None) -> None:
        """Store the message on the begin or the end of a silence."""
        self.state.set_fact("silent", begun if end is None else None)
        for sink, (options, _) in self.sinks.items():
            if options.send == "events":
                self._store(sink, [self._silence_message(begun, end)])

    def _silence_message(self, begun: float, end: float | None) -> Message:
        status = "firing" if end is None else "resolved"
        moments = TimeNotation().format((np.array([begun, end or begun]) * 1e3).astype(np.int64) * 10**6)
        identifier = message_id(self.name, "silence", begun)
        body: JsonObject = {
            "kind": "silence",
            "status": status,
            "event": identifier,
            "monitor": self.name,
            "series": "",
            "start": moments[0],
            "end": None if end is None else moments[1],
            "run": self.version[0],
            "version": self.version[1],
        }
        return Message(f"{identifier}-{status}", body)

    def _store(self, sink: str, messages: Sequence[Message]) -> None:
        if messages:
            if not self.state.waiting(sink):
                # Without a position, all that the sink has received is compared.
                position = 0
                with contextlib.suppress(SinkError, RefusedMessageError):
                    position = call_sink(self.sinks[sink][1].position)
                self.state.set_fact(f"position {sink}", position)
            self.state.add_messages(sink, messages)

    def deliver(self) -> None:
        """Send the messages that wait, unless a sink failed a short time ago."""
        for name, (_, sink) in self.sinks.items():
            backoff = self.status.sinks[name]
            try:
                while backoff.ready and (waiting := self.state.messages(name, max(sink.batch, SEND_COUNT))):
                    self._send(name, sink, waiting)
                    if backoff.succeed():
                        LOG.info("%s: the sink %s accepts messages again", self.name, name)
                if backoff.ready and self._refresh(name, sink) and backoff.succeed():
                    LOG.info("%s: the sink %s accepts messages again", self.name, name)
            except SinkError as error:
                if backoff.fail(str(error), error.wait):
                    LOG.warning("%s: the sink %s fails, and messages wait: %s", self.name, name, error)
            self.status.waiting[name] = self.state.waiting(name)

    def _refresh(self, name: str, sink: Sink) -> bool:
        """Send messages on open events again to a sink that forgets them; return whether there were any."""
        if not sink.refresh or self.clock.monotonic() - self.refreshed[name] < sink.refresh:
            return False
        messages = [
            self._event_message(series, Change("firing", track.event))
            for series, track in self.tracks.items()
            if track.event is not None
        ]
        if (begun := self.state.fact("silent")) is not None:
            messages.append(self._silence_message(begun, None))
        for start in range(0, len(messages), sink.batch):
            with contextlib.suppress(RefusedMessageError):  # it was refused before, and counted then
                call_sink(sink.send, messages[start : start + sink.batch])
        self.refreshed[name] = self.clock.monotonic()
        return bool(messages)

    def _send(self, name: str, sink: Sink, waiting: Mapping[int, Message]) -> None:
        """Send messages by number, and remove them from the state."""
        if name in self.unsure:
            received = call_sink(sink.received_keys, self.state.fact(f"position {name}", 0))
            copies = [
                number
                for number, message in self.state.messages(name, self.state.waiting(name)).items()
                if message.key in received
            ]
            self._remove(copies)
            self.unsure.discard(name)
            waiting = {number: message for number, message in waiting.items() if number not in set(copies)}
        numbers = list(waiting)
        for start in range(0, len(numbers), sink.batch):
            self._send_some(name, sink, {number: waiting[number] for number in numbers[start : start + sink.batch]})

    def _send_some(self, name: str, sink: Sink, messages: Mapping[int, Message]) -> None:
        """Send messages at once. If the sink refuses them, send each alone, and drop those that it refuses."""
        try:
            call_sink(sink.send, list(messages.values()))
        except RefusedMessageError as error:
            if len(messages) > 1:
                for number, message in messages.items():
                    self._send_some(name, sink, {number: message})
                return
            self.status.dropped[name] += 1
            LOG.error("%s: the sink %s refuses a message: %s", self.name, name, error)
            self.state.set_fact("counts", self.status.counts())
        self._remove(list(messages))

    def _remove(self, numbers: Sequence[int]) -> None:
        if numbers:
            with self.state.transaction():
                self.state.remove_messages(numbers)


def _rows_by_series(names: Sequence[str]) -> dict[str, Int64Array]:
    """Return the indices of the rows of each series."""
    found: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        found.setdefault(name, []).append(row)
    return {name: np.array(rows, np.int64) for name, rows in found.items()}


def _reading_options(config: Reading) -> JsonObject:
    """Return how a run reads tables, whatever table it was trained on."""
    return {field.name: getattr(config, field.name) for field in declared_options(Reading) if field.name != "data"}


def _version(run: Run) -> tuple[str, str]:
    """Return what identifies a version of a run: its directory and when it was created."""
    return str(run.directory.resolve()), str(run.about()["created"])


def waiting_error(monitors: Sequence[Monitor]) -> DataError | None:
    """Return the error of messages that no sink has received; None if there are none."""
    for monitor in monitors:
        for name, count in monitor.status.waiting.items():
            if count:
                reason: Any = monitor.status.sinks[name].error or "it was not tried"
                return DataError(
                    f"{monitor.name}: {format_count(count, 'message')} wait for the sink {name} ({reason}). The next "
                    "start sends them",
                    code=Code.SERVER_UNAVAILABLE,
                )
    return None
