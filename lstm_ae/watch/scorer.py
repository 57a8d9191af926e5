"""Score the accepted rows of a monitor, find events, and write the messages about them."""

import collections
import dataclasses
import logging

import numpy as np

from lstm_ae.apply.detect import RunDetector
from lstm_ae.apply.stream import DetectionStream
from lstm_ae.data.stream import Refuse
from lstm_ae.detection.events import AlarmState, Change, ScoredRows, find_changes
from lstm_ae.detection.shift import describe_shifts
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.watch.acceptor import AcceptedRows
from lstm_ae.watch.config import MonitorOptions
from lstm_ae.watch.rows import format_utc
from lstm_ae.watch.sinks import Message, event_id
from lstm_ae.watch.state import State
from lstm_ae.watch.status import Account, LatestScore, Status

LOG = logging.getLogger(__name__)

# Number of rows that are removed by one query, since each removal takes time.
SPARE_ROWS = 10


@dataclasses.dataclass
class Track:
    """The progress of a series.

    Args:
        recent: times of the last scored rows, at least as many as the next score may need.
        emitted: time of the last row that was scored; None before the first one.
        alarms: state of the alarms of the series.
        stream: state of the stream of the series, see `DetectionStream.state`.
    """

    recent: list[int] = dataclasses.field(default_factory=list)
    emitted: int | None = None
    alarms: AlarmState = dataclasses.field(default_factory=AlarmState)
    stream: JsonObject | None = None

    def to_json(self) -> JsonObject:
        """Return the values that a restart needs, in JSON types."""
        return {"emitted": self.emitted, "alarms": self.alarms.to_json(), "stream": self.stream}


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
        self.rule = self.stream.threshold.alarm_rule(detector.normal.window)
        # Number of rows on which the next score depends, and the same number with a gap before them.
        self.context = detector.normal.window + 1
        self.recent = self.context + (detector.config.max_gap or 0) + 1
        self.tracks = collections.defaultdict[str, Track](Track)

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
            track.alarms = AlarmState.from_json(facts["alarms"])
            if not is_same_version:  # Its usual scores and its account are those of other scores.
                track.alarms = AlarmState(event=track.alarms.event, below=track.alarms.below)
            self._account(name, track)
            if is_same_version and (score := facts.get("score")):
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
        for name, scored in streamed.by_series():
            track = self.tracks[name]
            track.stream = self.stream.state(name)
            self._show_shift(name, track)
            track.recent += scored.times.tolist()
            if track.emitted is not None:  # rows that are scored again after a restart
                scored = scored.select(np.flatnonzero(scored.times > track.emitted))
            if not len(scored.times):
                continue
            track.alarms, changes = find_changes(track.alarms, scored, self.rule)
            track.emitted = int(scored.times[-1])
            self._account(name, track)
            messages += [self.event_message(name, change) for change in changes]
            self._count(name, scored)
            if len(track.recent) >= self.recent + SPARE_ROWS:
                track.recent = track.recent[-self.recent :]
                state.remove_rows(name, track.recent[-self.context], track.recent[0])
        if series := self.stream.take_shifted():
            LOG.warning("%s: %s", self.name, describe_shifts(series, self.stream.limits.length, self.command))
        return messages

    def _count(self, name: str, rows: ScoredRows) -> None:
        """Count rows without a score, and show the latest score."""
        scored = np.flatnonzero(~np.isnan(rows.scores))
        self.status.unscored += len(rows.scores) - len(scored)
        if len(scored):
            score, time = float(rows.scores[scored[-1]]), int(rows.times[scored[-1]])
            ratio = score / max(self.rule.threshold, np.finfo(float).tiny)
            self.status.scores[name] = LatestScore(score, ratio, time)

    def _account(self, name: str, track: Track) -> None:
        """Show the account of the alarms; say once if there are far more than expected."""
        state, expected = track.alarms, self.stream.threshold.alarms.per(track.alarms.scored)
        excessive, before = expected.exceeded_by(state.alarms), self.status.accounts.get(name)
        if excessive and before is not None and not before.excessive:
            LOG.warning(
                "%s: series %r has raised %d alarms, far more than the %.3g expected in normal rows: either there are "
                "many anomalies, or its rows differ from those of the training. If the events are normal, train again "
                "with such rows, or set adapt to follow slow change",
                self.name,
                name,
                state.alarms,
                expected.expected,
            )
        self.status.accounts[name] = Account(
            alarms=state.alarms,
            expected=expected,
            suppressed=state.suppressed,
            changed=state.changed,
            excessive=excessive,
        )

    def _show_shift(self, name: str, track: Track) -> None:
        if track.stream is not None:
            self.status.shifted[name] = track.stream["shift"]["since"] is not None

    # Messages

    def open_events(self) -> list[Message]:
        """Return messages on the open events."""
        return [
            self.event_message(series, Change("firing", track.alarms.event))
            for series, track in self.tracks.items()
            if track.alarms.event is not None
        ]

    def event_message(self, series: str, change: Change) -> Message:
        """Return the message on an event that began or ended."""
        event = change.event
        facts = event.facts(self.detector.config.value_cols, lambda time: format_utc(np.array([time], np.int64))[0])
        for name in ("columns", "provisional"):  # The shares say more, and the status says whether it is over.
            del facts[name]
        if change.status == "firing":
            facts["end"] = None
        facts["threshold"] = self.rule.threshold
        return self.message(facts.pop("kind"), change.status, event_id(self.name, series, event.alarm), series, facts)

    def message(self, kind: str, status: str, event: str, series: str, facts: JsonMapping) -> Message:
        """Return a message on an event, or on a silence.

        Args:
            kind: the kind of the event, or "silence".
            status: "firing" at the start, "resolved" at the end.
            event: identifier of the event.
            series: the series; "" for all.
            facts: further fields of the body.
        """
        head = {"kind": kind, "status": status, "event": event, "monitor": self.name, "series": series}
        return Message(f"{event}-{status}", {**head, **facts, "run": self.version[0], "version": self.version[1]})
