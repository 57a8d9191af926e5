"""Events: runs of rows above the threshold, with their peaks, p-values, and the shares of the columns.

One anomalous row raises the scores of up to `window - 1` rows on either side of it. Rows above the threshold with fewer
than `join` rows between them are therefore one run; `join` should be the window length. An event is the section of a
run whose own errors cause its scores, from the first to the last such row; a run with several such sections, a window
apart, is several events.

Of online scores, which are known when a row arrives, a run is an event. It begins with its first row above the
threshold, and is over after `join` rows that are not, or after a long gap. A row whose largest error is in the column
of an earlier event begins an event only if its score also reaches that event's bound: twice the highest score of the
event, which decays to the threshold over tens of windows. A disturbance that persists or fades is one alarm. Columns
that are constant or binary count as one: switches change often, and in ways that the normal rows do not show.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.data.panel import run_bounds, run_starts
from lstm_ae.detection.row_means import mean_over_features
from lstm_ae.json_types import JsonMapping, JsonObject

# The bound of an earlier event in units of its peak, and the windows in which its logarithm falls by a factor of e.
PEAK_FACTOR, PEAK_WINDOWS = 2.0, 50

# Runs of online scores above the threshold per event, in normal rows.
ONLINE_EVENTS = 3.5

# Largest finite number; it replaces an infinite score, which JSON cannot express.
LARGEST = float(np.finfo(np.float64).max)


class Event(NamedTuple):
    """Rows that cause scores above the threshold.

    Args:
        first: number of the first row; in a stream its time, as for the other rows.
        last: last row so far.
        peak: row with the largest error; for online scores, the row with the highest score.
        score: the highest score.
        p: probability that a normal row has a score at least as high.
        shares: `(features,)` share of each feature in the error at the peak, or for online scores at the first row; the
            sum is 1, and missing features have 0.
        provisional: whether later rows may still change its scores or extend it.
        alarm: row at whose arrival the event is certain, because its first score above the threshold is final.
        below: rows since the last row above the threshold, in an event of online scores that is not over.
    """

    first: int
    last: int
    peak: int
    score: float
    p: float
    shares: tuple[float, ...]
    provisional: bool
    alarm: int
    below: int = 0

    @classmethod
    def from_json(cls, content: JsonMapping) -> "Event":
        """Return the event whose fields were stored as JSON."""
        return cls(**{**content, "shares": tuple(content["shares"])})


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


def find_events(
    scores: Array,
    errors: Array,
    p: Array,
    threshold: float,
    join: int,
    segment: Array,
    series: Array,
    *,
    find_causes: Callable[[Array, int], Array],
    pending: int,
) -> list[Event]:
    """Return the events of final scores in the order of time; the list may be empty.

    Args:
        scores: `(rows,)`; NaN is not above any threshold.
        errors: `(rows, features)` errors of the values, NaN where missing.
        p: `(rows,)` p-values of the scores.
        threshold: rows with larger scores are above it.
        join: gaps with fewer rows than this are bridged, see `true_ranges`; usually the window length.
        segment: `(rows,)` segment of each row, see `true_ranges`.
        series: `(rows,)` series of each row, series contiguous. Later rows of a series continue its last segment only.
        find_causes: function of the mean errors of a run of rows and `join` that returns which rows cause its scores,
            `(rows,)` bool. Causes at least `join` rows apart are separate events.
        pending: rows at the end of a series whose scores are provisional, `window - 1`.
    """
    above, by_row, events = np.asarray(scores) > threshold, mean_over_features(errors), list[Event]()
    series_ends = {end for _, end in run_bounds(series)}
    segment_ends = np.array([end for _, end in run_bounds(segment)])
    for start, stop in true_ranges(above, join, segment).tolist():
        end = int(segment_ends[np.searchsorted(segment_ends, stop)])
        causes = true_ranges(find_causes(by_row[start:stop], join), join) + start
        # The scores of a cause within a bridged gap are below the threshold.
        spans = [span for span in causes.tolist() if above[slice(*span)].any()] or [(start, stop)]
        for number, (first, after) in enumerate(spans):
            rows = slice(first, after)
            first_above = first + int(np.argmax(above[rows])) if number else start
            by_score = np.isnan(by_row[rows]).all()
            peak = first + int(np.nanargmax((scores if by_score else by_row)[rows]))
            events.append(
                Event(
                    first,
                    after - 1,
                    peak,
                    score=float(np.nanmax(scores[rows])),
                    p=float(np.nanmin(p[rows])),
                    shares=_shares(errors[peak]),
                    provisional=end in series_ends and end - stop < max(pending, join),
                    alarm=min(first_above + pending, end - 1),
                )
            )
    return events


def _shares(errors: Array) -> tuple[float, ...]:
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


class OnlineEvents(NamedTuple):
    """State of the events of online scores of a series.

    Args:
        event: the open event; None if there is none.
        peaks: for the group of each column with the largest share in an event that is over, the highest score of the
            last one, and the rows since its last one above the threshold.
    """

    event: Event | None = None
    peaks: Mapping[int, tuple[float, int]] = MappingProxyType({})

    def to_json(self) -> JsonObject:
        """Return the state in JSON types."""
        peaks = [[group, *peak] for group, peak in self.peaks.items()]
        return {"event": self.event and self.event._asdict(), "peaks": peaks}

    @classmethod
    def from_json(cls, content: JsonMapping) -> "OnlineEvents":
        """Return the state that `to_json` returned."""
        peaks = {group: (score, rows) for group, score, rows in content["peaks"]}
        return cls(content["event"] and Event.from_json(content["event"]), peaks)


def find_changes(
    state: OnlineEvents,
    times: Int64Array,
    errors: Array,
    scores: Array,
    p: Array,
    threshold: float,
    begins: BoolArray,
    join: int,
    groups: Int64Array,
) -> tuple[OnlineEvents, list[Change]]:
    """Return the state after further rows of a series, and the events that began or ended with them.

    Args:
        state: the state before these rows.
        times: `(rows,)` times, or the numbers of the rows.
        errors: `(rows, features)` errors of the values, NaN where there is none.
        scores: `(rows,)` scores.
        p: `(rows,)` p-values.
        threshold: rows with larger scores are above it.
        begins: `(rows,)` whether a row follows a long gap.
        join: rows below the threshold after which an event is over.
        groups: `(features,)` group of each column. The bound of an event holds for the columns of its group.
    """
    above, event = np.flatnonzero(scores > threshold).tolist(), state.event
    if event is None and not above:  # fast path for the usual case
        return state._replace(
            peaks={group: (score, len(times) + rows) for group, (score, rows) in state.peaks.items()}
        ), []
    changes, begun = list[Change](), np.cumsum(begins)
    # Scores of events that are over, and the indices of their last rows.
    peaks = {group: (score, -1 - rows) for group, (score, rows) in state.peaks.items()}

    def end(over: Event) -> None:
        changes.append(Change("resolved", over._replace(provisional=False)))
        peaks[int(groups[np.argmax(over.shares)])] = over.score, last

    # Index of the last row above the threshold, and how many gaps were before it.
    last, gaps = -1 - (event.below if event else 0), 0
    for row in above:
        if event is not None and (row - last > join or begun[row] > gaps):
            end(event)
            event = None
        time, score = int(times[row]), finite(scores[row])
        if event is None:
            shares = _shares(errors[row])
            peak, over = peaks.get(int(groups[np.argmax(shares)]), (threshold, row))
            if score < _bound(threshold, peak, (row - over) / (PEAK_WINDOWS * join)):
                continue
            event = Event(time, time, time, score, float(p[row]), shares, True, time)
            changes.append(Change("firing", event))
        elif score > event.score:
            event = event._replace(last=time, peak=time, score=score, p=float(p[row]), below=0)
        else:
            event = event._replace(last=time, below=0)
        last, gaps = row, int(begun[row])
    if event is not None:
        event = event._replace(below=len(times) - 1 - last)
        if event.below >= join or (len(begun) and begun[-1] > gaps):
            end(event)
            event = None
    return OnlineEvents(event, {group: (score, len(times) - 1 - row) for group, (score, row) in peaks.items()}), changes


def _bound(threshold: float, peak: float, age: float) -> float:
    """Return the score at which an event begins after one with this peak; its logarithm decreases with age."""
    if not 0 < threshold < peak:
        return threshold
    return math.exp(math.log(threshold) + math.log(PEAK_FACTOR * peak / threshold) * math.exp(-age))


def finite(score: Any) -> float:
    """Return a score, or the largest number for an infinite one."""
    return min(float(score), LARGEST)


def find_online_events(
    scores: Array,
    errors: Array,
    p: Array,
    threshold: float,
    join: int,
    segment: Array,
    series: Array,
    groups: Int64Array,
) -> list[Event]:
    """Return the events of online scores in the order of time; see `find_events` and `find_changes`."""
    events, begins = list[Event](), run_starts(segment)
    for first, end in run_bounds(series):
        rows = slice(first, end)
        arguments = (np.arange(first, end), errors[rows], scores[rows], p[rows], threshold, begins[rows])
        state, changes = find_changes(OnlineEvents(), *arguments, join, groups)
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
