"""Alarms and events of scored rows, in a table as in a stream.

A row above the threshold raises an alarm and begins an event. The event is over after `join` rows that are not above
it, `join` being the window length, or after a long gap: one anomalous row raises the scores of the rows after it for
a window, and the scores of rows between them may be below the threshold.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.data.panel import run_bounds
from lstm_ae.json_types import JsonMapping, JsonObject

# Runs of scores above the threshold per event, in normal rows.
RUNS_PER_ALARM = 3.5

# Facts of an event that are columns of a table of events.
EVENT_COLUMNS = ("start", "end", "peak", "alarm", "score", "p", "columns", "provisional")

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
    """Rows that cause scores above the threshold.

    Args:
        first: number of the first row; in a stream its time, as for the other rows.
        last: last row so far.
        peak: row with the highest score.
        alarm: row at whose arrival the alarm is raised.
        score: the highest score.
        p: probability that a normal row has a score at least as high.
        shares: `(features,)` share of each feature in the error; the sum is 1, and missing features have 0.
        provisional: whether later rows may still extend it.
        below: rows since the last row above the threshold, in an event that is not over.
    """

    first: int
    last: int
    peak: int
    alarm: int
    score: float
    p: float
    shares: tuple[float, ...]
    provisional: bool
    below: int = 0

    @classmethod
    def from_json(cls, content: JsonMapping) -> "Event":
        """Return the event whose fields were stored as JSON."""
        return cls(**{**content, "shares": tuple(content["shares"])})

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
    """

    threshold: float
    join: int


class AlarmState(NamedTuple):
    """State of the alarms of a series.

    Args:
        event: the open event; None if there is none.
    """

    event: Event | None = None

    def to_json(self) -> JsonObject:
        """Return the state in JSON types."""
        return {"event": self.event and self.event._asdict()}

    @classmethod
    def from_json(cls, content: JsonMapping) -> "AlarmState":
        """Return the state that `to_json` returned."""
        return cls(content["event"] and Event.from_json(content["event"]))


def find_changes(state: AlarmState, rows: ScoredRows, rule: AlarmRule) -> tuple[AlarmState, list[Change]]:
    """Return the state after further rows of a series, and the events that began or ended with them.

    Args:
        state: the state before these rows.
        rows: rows of one series.
        rule: the rule.
    """
    above, event = np.flatnonzero(rows.scores > rule.threshold).tolist(), state.event
    if event is None and not above:  # fast path for the usual case
        return state, []
    changes, begun = list[Change](), np.cumsum(rows.begins)

    def end(over: Event) -> None:
        changes.append(Change("resolved", over._replace(provisional=False)))

    # Index of the last row above the threshold, and how many gaps were before it.
    last, gaps = -1 - (event.below if event else 0), 0
    for row in above:
        if event is not None and (row - last > rule.join or begun[row] > gaps):
            end(event)
            event = None
        time, score, p = int(rows.times[row]), finite(rows.scores[row]), float(rows.p[row])
        if event is None:
            event = Event(
                first=time,
                last=time,
                peak=time,
                alarm=time,
                score=score,
                p=p,
                shares=error_shares(rows.errors[row]),
                provisional=True,
            )
            changes.append(Change("firing", event))
        elif score > event.score:
            event = event._replace(last=time, peak=time, score=score, p=p, below=0)
        else:
            event = event._replace(last=time, below=0)
        last, gaps = row, int(begun[row])
    if event is not None:
        event = event._replace(below=len(rows.times) - 1 - last)
        if event.below >= rule.join or (len(begun) and begun[-1] > gaps):
            end(event)
            event = None
    return AlarmState(event), changes


def finite(score: Any) -> float:
    """Return a score, or the largest number for an infinite one."""
    return min(float(score), LARGEST)


def find_events(rows: ScoredRows, rule: AlarmRule) -> list[Event]:
    """Return the events of all series of a table, in the order of the rows; see `find_changes`."""
    events = list[Event]()
    for _, own in rows.by_series():
        state, changes = find_changes(AlarmState(), own, rule)
        events += [change.event for change in changes if change.status == "resolved"]
        events += [] if state.event is None else [state.event]
    return events


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
