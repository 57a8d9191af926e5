"""Score the accepted rows of a monitor, find events, and write the messages about them."""

import collections
import dataclasses
import logging

import numpy as np

from lstm_ae.apply.detect import RunDetector
from lstm_ae.apply.stream import DetectionStream, StreamedScores, rows_by_series
from lstm_ae.arrays import Int64Array
from lstm_ae.data.stream import Refuse
from lstm_ae.detection.events import Change, OnlineEvents, find_changes
from lstm_ae.detection.shift import describe_shifts
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.watch.acceptor import AcceptedRows
from lstm_ae.watch.config import MonitorOptions
from lstm_ae.watch.rows import format_utc
from lstm_ae.watch.sinks import Message, event_id
from lstm_ae.watch.state import State
from lstm_ae.watch.status import LatestScore, Status

LOG = logging.getLogger(__name__)

# Number of rows that are removed by one query, since each removal takes time.
SPARE_ROWS = 10


@dataclasses.dataclass
class Track:
    """The progress of a series.

    Args:
        recent: times of the last scored rows, at least as many as the next score may need.
        emitted: time of the last row that was scored; None before the first one.
        events: the open event, and the bounds of earlier ones.
        stream: state of the stream of the series, see `DetectionStream.state`.
    """

    recent: list[int] = dataclasses.field(default_factory=list)
    emitted: int | None = None
    events: OnlineEvents = dataclasses.field(default_factory=OnlineEvents)
    stream: JsonObject | None = None

    def to_json(self) -> JsonObject:
        """Return the values that a restart needs, in JSON types."""
        return {"emitted": self.emitted, "events": self.events.to_json(), "stream": self.stream}


class RowScorer:
    """A scorer of rows by a version of a run.

    Args:
        options: the options of the monitor.
        detector: the detector of the run.
        version: directory of the run, and the time of its creation.
        command: the command that trains the run again.
        status: status whose numbers are updated.
    """

    def __init__(
        self, options: MonitorOptions, detector: RunDetector, version: tuple[str, str], command: str, status: Status
    ) -> None:
        self.name, self.detector, self.status = options.name, detector, status
        self.version, self.command = version, command
        self.stream = DetectionStream(detector, options.threshold, adapt=options.adapt)
        # The stored states of streams depend on the normal scores of a version.
        self.identity = [*version, options.adapt]
        # Number of rows on which the next score depends, and the same number with a gap before them.
        self.context, self.groups = detector.normal.window + 1, detector.normal.groups
        self.recent = self.context + (detector.config.max_gap or 0) + 1
        self.tracks = collections.defaultdict[str, Track](Track)

    @property
    def threshold(self) -> float:
        """Return the threshold of scores."""
        return self.stream.threshold.value

    def restore(self, state: State, series: JsonMapping) -> list[Message]:
        """Rebuild the stream from the stored rows; return messages as `add` does.

        Args:
            state: the stored state, in a transaction.
            series: what `Track.to_json` returned, by series.
        """
        # The stream is reset and not made again, because fitting its threshold takes long.
        self.stream.tracks.clear()
        self.stream.restored.clear()
        is_same_version = state.fact("scorer", self.identity) == self.identity
        state.set_fact("scorer", self.identity)
        self.tracks.clear()
        messages = list[Message]()
        for name, facts in series.items():
            track = self.tracks[name]
            track.emitted, track.stream = facts["emitted"], facts["stream"] if is_same_version else None
            track.events = OnlineEvents.from_json(facts["events"])
            if not is_same_version:
                # The scores of another version are not comparable with these peaks.
                track.events = track.events._replace(peaks={})
            elif score := facts.get("score"):
                self.status.scores[name] = LatestScore(*score)
            if track.stream is not None:
                self.stream.restored[name] = track.stream
                self._show_shift(name, track)
            rows = state.rows(name)
            if len(rows.times):
                # Refused rows are stored as well. They are refused again, without another message.
                messages += self.add(rows, lambda error: None, state)
        return messages

    def add(self, rows: AcceptedRows, refuse: Refuse, state: State) -> list[Message]:
        """Score rows and return the messages that follow.

        Args:
            rows: the rows.
            refuse: function that receives the error of each row that does not fit the sampling interval.
            state: state from which rows are removed that no later score needs.
        """
        streamed = self.stream.push(rows.values, rows.times, rows.series, refuse)
        messages = list[Message]()
        for name, places in rows_by_series(streamed.series).items():
            track = self.tracks[name]
            track.stream = self.stream.state(name)
            self._show_shift(name, track)
            track.recent += streamed.times[places].tolist()
            if track.emitted is not None:  # rows that are scored again after a restart
                places = places[streamed.times[places] > track.emitted]
            if not len(places):
                continue
            changes = self._find_changes(track, streamed, places)
            messages += [self.event_message(name, change) for change in changes]
            self._count(name, streamed, places)
            if len(track.recent) >= self.recent + SPARE_ROWS:
                track.recent = track.recent[-self.recent :]
                state.remove_rows(name, track.recent[-self.context], track.recent[0])
        if series := self.stream.take_shifted():
            LOG.warning("%s: %s", self.name, describe_shifts(series, self.stream.limits.length, self.command))
        return messages

    def _find_changes(self, track: Track, streamed: StreamedScores, places: Int64Array) -> list[Change]:
        times = streamed.times[places]
        track.events, changes = find_changes(
            track.events,
            times,
            streamed.errors[places],
            streamed.scores[places],
            streamed.p[places],
            self.threshold,
            streamed.begins[places],
            self.detector.normal.window,
            self.groups,
        )
        track.emitted = int(times[-1])
        self.status.events += sum(change.status == "firing" for change in changes)
        return changes

    def _count(self, name: str, streamed: StreamedScores, places: Int64Array) -> None:
        """Count rows without a score, and show the latest score."""
        scored = places[~np.isnan(streamed.scores[places])]
        self.status.unscored += len(places) - len(scored)
        if len(scored):
            score, time = float(streamed.scores[scored[-1]]), int(streamed.times[scored[-1]])
            ratio = score / max(self.threshold, np.finfo(float).tiny)
            self.status.scores[name] = LatestScore(score, ratio, time)

    def _show_shift(self, name: str, track: Track) -> None:
        if track.stream is not None:
            self.status.shifted[name] = track.stream["shift"]["since"] is not None

    # Messages

    def open_events(self) -> list[Message]:
        """Return messages on the open events."""
        return [
            self.event_message(series, Change("firing", track.events.event))
            for series, track in self.tracks.items()
            if track.events.event is not None
        ]

    def event_message(self, series: str, change: Change) -> Message:
        """Return the message on an event that began or ended."""
        event = change.event
        start, last, peak = format_utc(np.array([event.first, event.last, event.peak], np.int64))
        facts = {
            "start": start,
            "end": last if change.status == "resolved" else None,
            "peak": peak,
            "score": event.score,
            "threshold": self.threshold,
            "p": event.p,
            "causes": dict(zip(self.detector.config.value_cols, event.shares, strict=True)),
        }
        return self.message("anomaly", change.status, event_id(self.name, series, event.first), series, facts)

    def message(self, kind: str, status: str, event: str, series: str, facts: JsonMapping) -> Message:
        """Return a message on an event, or on a silence.

        Args:
            kind: "anomaly" or "silence".
            status: "firing" at the start, "resolved" at the end.
            event: identifier of the event.
            series: the series; "" for all.
            facts: further fields of the body.
        """
        head = {"kind": kind, "status": status, "event": event, "monitor": self.name, "series": series}
        return Message(f"{event}-{status}", {**head, **facts, "run": self.version[0], "version": self.version[1]})
