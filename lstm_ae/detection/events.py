"""Events: runs of rows above the threshold, with their peaks, p-values, and the shares of the columns.

One anomalous row raises the scores of up to `window - 1` rows on either side of it. Rows above the threshold with fewer
than `join` rows between them are therefore one run; `join` should be the window length. An event is the part of a run
whose own errors cause its scores, from the first to the last such row; a run with several such parts, a window apart,
is several events.

Of online scores, which are known when a row arrives, a run is an event. It begins with its first row above the
threshold, and is over after `join` rows that are not, or after a long gap.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.data.panel import run_bounds, run_starts
from lstm_ae.data.sliding import mean_over_features
from lstm_ae.json_types import JsonMapping, JsonObject

# Largest finite number, in place of an infinite score, which JSON cannot express.
LARGEST = float(np.finfo(np.float64).max)


class Event(NamedTuple):
    """Rows that cause scores above the threshold.

    Args:
        first: first row.
        last: last row.
        peak: row with the largest error, of online scores that with the highest score.
        score: the highest score.
        p: probability that a normal row has a score at least as high.
        shares: `(features,)` share of each feature in the error at the peak, of online scores in that at the first row;
            the sum is 1, missing features have 0.
        provisional: whether later rows may still change its scores or extend it.
        alarm: row with whose arrival the event is known, that is, its first score above the threshold is final.
    """

    first: int
    last: int
    peak: int
    score: float
    p: float
    shares: tuple[float, ...]
    provisional: bool
    alarm: int


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
    threshold: float,
    join: int,
    *,
    find_causes: Callable[[Array, int], Array],
    pending: int = 0,
    p_values: Callable[[Array], Array] | None = None,
    segment: Array | None = None,
    series: Array | None = None,
) -> list[Event]:
    """Return the events of final scores in the order of time; the list may be empty.

    Args:
        scores: `(rows,)`; NaN is not above any threshold.
        errors: `(rows, features)` errors of the values, NaN where missing.
        threshold: rows with larger scores are above it.
        join: gaps with fewer rows than this are bridged, see `true_ranges`; usually the window length.
        find_causes: function from the mean errors of a run of rows, and `join`, to those that cause its scores,
            `(rows,)` bool.
            Causes at least `join` rows apart are events of their own.
        pending: rows at the end of a series whose scores are provisional, `window - 1 + smooth // 2`.
        p_values: function from scores to p-values, `Threshold.p_values`; None for NaN.
        segment: `(rows,)` segment of each row, see `true_ranges`.
        series: `(rows,)` series of each row, series contiguous; None for one series. Later rows of a series continue
            its last segment only.
    """
    above = np.asarray(scores) > threshold
    ranges = true_ranges(above, join, segment)
    if not len(ranges):
        return []
    series_ends = _ends(len(scores), series)[ranges[:, 1] - 1]
    segment_ends = series_ends if segment is None else _ends(len(scores), segment)[ranges[:, 1] - 1]
    by_row = mean_over_features(errors)
    events = []
    for (start, stop), series_end, segment_end in zip(ranges, series_ends, segment_ends, strict=True):
        provisional = bool(segment_end == series_end and series_end - stop < max(pending, join))
        causes = true_ranges(find_causes(by_row[start:stop], join), join) + start
        # Causes in a gap that is bridged are less than the threshold.
        reported = [part for part in causes.tolist() if above[slice(*part)].any()] or [(start, stop)]
        for number, (first, end) in enumerate(reported):
            part = slice(int(first), int(end))
            noticed = part.start + int(np.argmax(above[part])) if number else int(start)
            by_score = np.isnan(by_row[part]).all()
            peak = part.start + int(np.nanargmax((scores if by_score else by_row)[part]))
            shares = np.nan_to_num(errors[peak])
            shares = shares / max(float(shares.sum()), np.finfo(np.float64).tiny)
            events.append(
                Event(
                    first=part.start,
                    last=part.stop - 1,
                    peak=peak,
                    score=float(np.nanmax(scores[part])),
                    p=math.nan,
                    shares=tuple(shares.tolist()),
                    provisional=provisional,
                    alarm=min(noticed + pending, int(segment_end) - 1),
                )
            )
    p = np.full(len(events), np.nan) if p_values is None else p_values(np.array([event.score for event in events]))
    return [event._replace(p=float(chance)) for event, chance in zip(events, p, strict=True)]


class OpenEvent(NamedTuple):
    """Event that is not over.

    Args:
        start: time of the first row above the threshold.
        last: time of the last one so far.
        peak: time of the highest score so far.
        score: the highest score so far.
        p: probability that a normal row has a score at least as high.
        shares: share of each column in the error of the first row; the sum is 1.
        below: rows since the last row above the threshold.
    """

    start: int
    last: int
    peak: int
    score: float
    p: float
    shares: tuple[float, ...]
    below: int

    def to_json(self) -> JsonObject:
        """Return the fields in JSON types."""
        return self._asdict() | {"shares": list(self.shares)}

    @classmethod
    def from_json(cls, content: JsonMapping) -> "OpenEvent":
        """Return the event of `to_json`."""
        return cls(**{**content, "shares": tuple(content["shares"])})


class Change(NamedTuple):
    """Begin or end of an event.

    Args:
        status: "firing" for an event that begins, "resolved" for one that is over.
        event: the event; one that begins has only its first row.
    """

    status: str
    event: OpenEvent


def find_changes(
    event: OpenEvent | None,
    times: Int64Array,
    errors: Array,
    scores: Array,
    p: Array,
    anomaly: BoolArray,
    begins: BoolArray,
    join: int,
) -> tuple[OpenEvent | None, list[Change]]:
    """Return the open event after further rows of a series, and the events that began or ended with them.

    Args:
        event: the open event before these rows; None if there is none.
        times: `(rows,)` times.
        errors: `(rows, features)` errors of the values, NaN where there is none.
        scores: `(rows,)` scores.
        p: `(rows,)` p-values.
        anomaly: `(rows,)` whether the score is above the threshold.
        begins: `(rows,)` whether a row follows a long gap.
        join: rows below the threshold after which an event is over.
    """
    changes = list[Change]()
    begun = np.cumsum(begins)
    # Index of the last row above the threshold, and how many gaps were before it.
    last, gaps = -1 - (event.below if event else 0), 0
    for row in np.flatnonzero(anomaly).tolist():
        if event is not None and (row - last > join or begun[row] > gaps):
            changes.append(Change("resolved", event))
            event = None
        shares = np.nan_to_num(errors[row], posinf=LARGEST)
        shares = shares / max(float(shares.max()), np.finfo(np.float64).tiny)
        now = OpenEvent(
            start=int(times[row]),
            last=int(times[row]),
            peak=int(times[row]),
            score=finite(scores[row]),
            p=float(p[row]),
            shares=tuple((shares / max(float(shares.sum()), np.finfo(np.float64).tiny)).tolist()),
            below=0,
        )
        if event is None:
            changes.append(Change("firing", now))
            event = now
        elif now.score > event.score:
            event = now._replace(start=event.start, shares=event.shares)
        else:
            event = event._replace(last=now.last, below=0)
        last, gaps = row, int(begun[row])
    if event is not None:
        event = event._replace(below=len(times) - 1 - last)
        if event.below >= join or (len(begun) and begun[-1] > gaps):
            changes.append(Change("resolved", event))
            event = None
    return event, changes


def finite(score: Any) -> float:
    """Return a score, or the largest number for an infinite one."""
    return min(float(score), LARGEST)


def find_online_events(
    scores: Array,
    errors: Array,
    threshold: float,
    join: int,
    p_values: Callable[[Array], Array],
    segment: Array,
    series: Array,
) -> list[Event]:
    """Return the events of online scores in the order of time; see `find_events` for the arguments."""
    events, begins = list[Event](), run_starts(segment)
    p, above = p_values(scores), scores > threshold
    for first, end in run_bounds(series):
        times, rows = np.arange(first, end), slice(first, end)
        unfinished, changes = find_changes(
            None, times, errors[rows], scores[rows], p[rows], above[rows], begins[rows], join
        )
        found = [change.event for change in changes if change.status == "resolved"]
        for each in [*found, *([unfinished] if unfinished else [])]:
            numbers = each.start, each.last, each.peak, each.score, each.p, each.shares
            events.append(Event(*numbers, provisional=each is unfinished, alarm=each.start))
    return events


def _ends(rows: int, group: Array | None) -> Int64Array:
    """Return the end of the group that each row belongs to, `(rows,)`."""
    if group is None:
        return np.full(rows, rows)
    bounds = np.array(run_bounds(group), np.int64).reshape(-1, 2)
    return np.repeat(bounds[:, 1], bounds[:, 1] - bounds[:, 0])


def largest_contributors(events: Sequence[Event], columns: int, most: int) -> list[int]:
    """Return the `most` columns with the largest shares in the events, or the first ones if there are no events.

    Args:
        events: The events with the shares of their columns.
        columns: The number of columns.
        most: The largest number of columns to return.

    Returns:
        The column indices in ascending order.

    Examples:
        >>> from types import SimpleNamespace as Event
        >>> largest_contributors([Event(shares=[0.1, 0.2, 0.7])], 3, 2)
        [1, 2]
    """
    shares = np.sum([event.shares for event in events], axis=0) if events else np.zeros(columns)
    return sorted(np.argsort(-shares, kind="stable")[:most].tolist())
