"""Alarms and events of scored rows, in a table as in a stream.

A row above the limit raises an alarm and begins an event. The event is over after `join` rows that are not above it,
`join` being the window length, or after a long gap: one anomalous row raises the scores of the rows after it for a
window, and the scores of rows between them may be below the limit. Within an event, a score of twice the highest one of
its first window of rows is another alarm and begins another event.

The limit is the threshold, and rises with the usual highest scores of the last windows: in a series that became
different, scores above the threshold are usual. The first of them that is below the limit is an alarm of its own kind,
and the others are counted. Rows after an alarm do not count as usual, or else anomalies would hide the next ones.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.data.panel import run_bounds
from lstm_ae.detection.tail import RECENT_BLOCKS, SMALLEST_SCORE, usual_limit
from lstm_ae.json_types import JsonMapping, JsonObject

# Kinds of events.
ANOMALY, CHANGED = "anomaly", "changed"

# Within an open event, a score of this many times the highest one of the first window of rows is another alarm.
ESCALATION = 2

# Windows of rows from an alarm on that do not count as usual: an anomaly of a window raises the scores of two.
DISTURBED = 2

# Facts of an event that are columns of a table of events.
EVENT_COLUMNS = ("start", "end", "peak", "alarm", "kind", "score", "p", "columns", "provisional")

# Largest number of columns, and their smallest share, in the text of the causes.
MAX_CAUSES, MIN_SHARE = 3, 0.005

# Largest finite number; it replaces an infinite score, which JSON cannot express.
LARGEST = float(np.finfo(np.float64).max)


class ScoredRows(NamedTuple):
    """Scored rows of one series or of several, grouped by series and ordered by time.

    Args:
        series: `(rows,)` name or number of the series of each row.
        times: `(rows,)` int64 times, or numbers of the rows.
        begins: `(rows,)` whether a row is the first of a segment: the first of its series, or after a long gap.
        scores: `(rows,)` alarm scores, NaN where no window ends at the row or it has no value.
        p: `(rows,)` probability that a normal row has a score at least as high.
        windows: `(rows,)` distances of the windows that end at the rows, see `lstm_ae.detection.scorer.RowScores`.
        errors: `(rows, features)` squared deviations of the values, NaN where missing.
    """

    series: Array
    times: Int64Array
    begins: BoolArray
    scores: Array
    p: Array
    windows: Array
    errors: Array

    def select(self, rows: slice | Int64Array) -> "ScoredRows":
        """Return some rows."""
        columns: list[Any] = [column[rows] for column in self]
        return ScoredRows(*columns)

    def by_series(self) -> "Iterator[tuple[Any, ScoredRows]]":
        """Yield each series with its rows."""
        for first, end in run_bounds(self.series):
            yield self.series[first], self.select(slice(first, end))


class Event(NamedTuple):
    """Rows that cause scores above the limit.

    Args:
        kind: `ANOMALY`, or `CHANGED` for the first scores above the threshold in a series whose usual scores are.
        first: number of the first row; in a stream its time, as for the other rows.
        last: last row so far.
        peak: row with the highest score.
        alarm: row at whose arrival the alarm is raised.
        begun: the highest score of the first window of rows.
        score: the highest score.
        p: probability that a normal row has a score at least as high.
        errors: `(features,)` sums of the squared deviations of its rows above the limit, divided by one plus the rows
            since the alarm: later rows also show what follows. 0 for missing features.
        provisional: whether later rows may still extend it.
    """

    kind: str
    first: int
    last: int
    peak: int
    alarm: int
    begun: float
    score: float
    p: float
    errors: tuple[float, ...]
    provisional: bool

    @classmethod
    def from_json(cls, content: JsonMapping) -> "Event":
        """Return the event whose fields were stored as JSON."""
        return cls(**{**content, "errors": tuple(content["errors"])})

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of each feature in the errors, `(features,)`; the sum is 1."""
        return error_shares(np.array(self.errors))

    def extend(self, rows: ScoredRows, row: int, since: int, join: int) -> "Event":
        """Return the event with a further row, so many rows after its alarm; see `AlarmRule` for `join`."""
        time, score = int(rows.times[row]), finite(rows.scores[row])
        with np.errstate(over="ignore"):
            weighted = np.array(finite_errors(rows.errors[row])) / (1 + since)
            errors = finite_errors(np.array(self.errors) + weighted)
        event = self._replace(last=time, errors=errors)
        if score <= self.score:
            return event
        begun = score if since < join else self.begun
        return event._replace(peak=time, begun=begun, score=score, p=float(rows.p[row]))

    def facts(self, names: Sequence[str], format_time: Callable[[int], Any]) -> JsonObject:
        """Return everything that a message, a file, or a table of events says of the event, by name.

        Args:
            names: `(features,)` names of the columns.
            format_time: function that returns how a row or a time is written.

        Returns:
            `EVENT_COLUMNS`, of which `columns` is the text of the largest `causes`, and `causes`, the share of each
            column.
        """
        times = {"start": self.first, "end": self.last, "peak": self.peak, "alarm": self.alarm}
        largest = sorted(zip(self.shares, names, strict=True), reverse=True)[:MAX_CAUSES]
        return {name: format_time(time) for name, time in times.items()} | {
            "kind": self.kind,
            "score": self.score,
            "p": self.p,
            "columns": ", ".join(f"{name} {share:.0%}" for share, name in largest if share >= MIN_SHARE),
            "provisional": self.provisional,
            "causes": dict(zip(names, self.shares, strict=True)),
        }


def true_ranges(above: Array, join: int = 1, segment: Array | None = None) -> Int64Array:
    """Return start and stop (exclusive) of each run of true rows, `(runs, 2)`.

    Args:
        above: `(rows,)` bool.
        join: runs with fewer rows than this between them are merged.
        segment: `(rows,)` segment of each row, segments contiguous; runs do not cross segment boundaries.

    >>> true_ranges(np.array([0, 1, 1, 0, 1, 0, 0, 1], bool), join=2).tolist()
    [[1, 5], [7, 8]]
    """
    rows = np.flatnonzero(above)
    if not len(rows):
        return np.empty((0, 2), np.int64)
    separate = np.diff(rows) > max(join, 1)
    if segment is not None:
        separate |= segment[rows[1:]] != segment[rows[:-1]]
    ends = np.flatnonzero(separate)
    return np.stack([rows[np.r_[0, ends + 1]], rows[np.r_[ends, len(rows) - 1]] + 1], axis=1).astype(np.int64)


def finite_errors(errors: Array) -> tuple[float, ...]:
    """Return `(features,)` errors, of which missing ones are 0 and infinite ones the largest number."""
    return tuple(np.nan_to_num(errors, posinf=LARGEST).tolist())


def error_shares(errors: Array) -> tuple[float, ...]:
    """Return the share of each value in the sum of `(features,)` errors."""
    shares = np.nan_to_num(errors, posinf=LARGEST)
    tiny = np.finfo(np.float64).tiny
    # The sum of several large errors may be infinite.
    shares = shares / max(float(shares.max()), tiny)
    return tuple((shares / max(float(shares.sum()), tiny)).tolist())


class Change(NamedTuple):
    """Beginning or end of an event.

    Args:
        status: "firing" for an event that begins, "resolved" for one that is over.
        event: the event; one that begins has only its first row.
    """

    status: str
    event: Event


class AlarmRule(NamedTuple):
    """Rule by which scored rows raise alarms.

    Args:
        threshold: rows with larger scores are above it.
        join: rows below the threshold after which an event is over, usually the window length.
        maxima: logarithms of the highest scores of the last windows of normal rows; None for a limit that is always the
            threshold.
    """

    threshold: float
    join: int
    maxima: tuple[float, ...] | None = None

    def limit(self, maxima: tuple[float, ...]) -> float:
        """Return the score above which the next row raises an alarm, at least the threshold.

        Args:
            maxima: as those of normal rows, of the series so far.
        """
        if self.maxima is None:
            return self.threshold
        return self.threshold * max(1, usual_limit(self.maxima + maxima) / self.usual)

    @property
    def usual(self) -> float:
        """The limit of the usual highest scores of windows of normal rows, or the threshold if that is higher."""
        return max(self.threshold, usual_limit(self.maxima or ()), SMALLEST_SCORE)


class AlarmState(NamedTuple):
    """State of the alarms of a series.

    Args:
        event: the open event; None if there is none.
        below: rows since the last row of the event.
        quiet: rows since the last row above the threshold.
        since: rows since the last alarm.
        maxima: logarithms of the highest scores of the last windows that no alarm disturbed.
        highest: the highest score of the window that is not complete.
        counted: rows of this window.
        changed: whether the usual scores are above the threshold, and an alarm said so.
        suppressed: runs of scores above the threshold that raised no alarm, because they were usual by then.
        scored: rows with a score.
        alarms: alarms that they raised.
    """

    event: Event | None = None
    below: int = 0
    quiet: int = 0
    since: int = 0
    maxima: tuple[float, ...] = ()
    highest: float = 0.0
    counted: int = 0
    changed: bool = False
    suppressed: int = 0
    scored: int = 0
    alarms: int = 0

    def to_json(self) -> JsonObject:
        """Return the state in JSON types."""
        return {**self._asdict(), "event": self.event and self.event._asdict()}

    @classmethod
    def from_json(cls, content: JsonMapping) -> "AlarmState":
        """Return the state that `to_json` returned."""
        event = content["event"] and Event.from_json(content["event"])
        return cls(**{**content, "event": event, "maxima": tuple(content["maxima"])})


def find_changes(state: AlarmState, rows: ScoredRows, rule: AlarmRule) -> tuple[AlarmState, list[Change]]:
    """Return the state after further rows of a series, and the events that began or ended with them.

    Args:
        state: the state before these rows.
        rows: rows of one series.
        rule: the rule.
    """
    changes, limit = list[Change](), rule.limit(state.maxima)
    event, below, quiet, since, maxima, highest, counted, changed, suppressed, *_ = state

    def begin(kind: str) -> Event:
        time, score = int(rows.times[row]), finite(rows.scores[row])
        begun = Event(
            kind=kind,
            first=time,
            last=time,
            peak=time,
            alarm=time,
            begun=score,
            score=score,
            p=float(rows.p[row]),
            errors=finite_errors(rows.errors[row]),
            provisional=True,
        )
        changes.append(Change("firing", begun))
        return begun

    def end() -> None:
        if event is not None:
            changes.append(Change("resolved", event._replace(provisional=False)))

    disturbed = DISTURBED * rule.join
    for row, (score, begins) in enumerate(zip(rows.scores.tolist(), rows.begins.tolist(), strict=True)):
        below, quiet, since = below + 1, quiet + 1, since + 1
        if begins:  # No window contains rows on both sides of a long gap.
            end()
            event, quiet, since = None, rule.join + 1, disturbed
        extends = False
        if score > limit:
            if event is not None and event.kind == ANOMALY:
                extends = since < rule.join or score <= ESCALATION * event.begun
            if not extends:
                end()
                event, below, since = begin(ANOMALY), 0, 0
        elif score > rule.threshold:
            extends = event is not None and event.kind == CHANGED
            if event is None and not changed:
                event, below, changed = begin(CHANGED), 0, True
            elif event is None and quiet > rule.join:
                suppressed += 1
        if extends and event is not None:
            event, below = event.extend(rows, row, since, rule.join), 0
        elif event is not None and below >= rule.join:
            end()
            event = None
        if score > rule.threshold:
            quiet = 0
        # A comparison with NaN is false.
        if since >= disturbed and score >= 0:
            highest, counted = max(highest, score), counted + 1
            if counted == rule.join:
                logarithm = math.log(min(max(highest, SMALLEST_SCORE), LARGEST))
                maxima, highest, counted = (*maxima, logarithm)[-RECENT_BLOCKS:], 0.0, 0
                limit = rule.limit(maxima)
                changed = changed and limit > rule.threshold
    state = AlarmState(
        event=event,
        below=below,
        quiet=min(quiet, rule.join + 1),
        since=min(since, disturbed),
        maxima=maxima,
        highest=highest,
        counted=counted,
        changed=changed,
        suppressed=suppressed,
        scored=state.scored + int(np.count_nonzero(~np.isnan(rows.scores))),
        alarms=state.alarms + sum(change.status == "firing" for change in changes),
    )
    return state, changes


def finite(score: Any) -> float:
    """Return a score, or the largest number for an infinite one."""
    return min(float(score), LARGEST)


class FoundEvents(NamedTuple):
    """Events of a table.

    Args:
        events: the events of all series, in the order of the rows.
        suppressed: number of runs of scores above the threshold that raised no alarm, because they were usual by then.
    """

    events: list[Event]
    suppressed: int


def find_events(rows: ScoredRows, rule: AlarmRule) -> FoundEvents:
    """Return the events of all series of a table; see `find_changes`."""
    events, suppressed = list[Event](), 0
    for _, own in rows.by_series():
        state, changes = find_changes(AlarmState(), own, rule)
        events += [change.event for change in changes if change.status == "resolved"]
        events += [] if state.event is None else [state.event]
        suppressed += state.suppressed
    return FoundEvents(events, suppressed)


def largest_contributors(events: Sequence[Event], columns: int, count: int) -> list[int]:
    """Return the `count` columns with the largest shares in the events, or the first ones if there are no events.

    Args:
        events: The events with the shares of their columns.
        columns: The number of columns.
        count: The number of columns to return, if there are as many.

    Returns:
        The column indices in ascending order.

    Examples:
        >>> from types import SimpleNamespace as Event
        >>> largest_contributors([Event(shares=[0.1, 0.2, 0.7])], 3, 2)
        [1, 2]
    """
    shares = np.sum([event.shares for event in events], axis=0) if events else np.zeros(columns)
    return sorted(np.argsort(-shares, kind="stable")[:count].tolist())
