"""Events: runs of rows above the threshold, with their peaks, p-values, and the shares of the columns.

One anomalous row raises the scores of up to `window - 1` rows on either side of it. Rows above the threshold with fewer
than `join` rows between them are therefore one run; `join` should be the window length. An event is the part of a run
whose own errors cause its scores, from the first to the last such row; a run with several such parts, a window apart,
is several events.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Int64Array
from lstm_ae.data.panel import run_bounds
from lstm_ae.data.sliding import mean_over_features


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
    find_causes: Callable[[Array, int], Array] | None = None,
    pending: int = 0,
    p_values: Callable[[Array], Array] | None = None,
    segment: Array | None = None,
    series: Array | None = None,
) -> list[Event]:
    """Return the events in the order of time; the list may be empty.

    Args:
        scores: `(rows,)`; NaN is not above any threshold.
        errors: `(rows, features)` errors of the values, NaN where missing.
        threshold: rows with larger scores are above it.
        join: gaps with fewer rows than this are bridged, see `true_ranges`; usually the window length.
        find_causes: function from the mean errors of a run of rows, and `join`, to those that cause its scores,
            `(rows,)` bool.
            Causes at least `join` rows apart are events of their own. None for online scores: a run is an event, and
            its first row the cause, which the windows of the rows after it contain.
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
        causes = (
            true_ranges(find_causes(by_row[start:stop], join), join) + start
            if find_causes
            else np.array([[start, stop]])
        )
        # Causes in a gap that is bridged are less than the threshold.
        reported = [part for part in causes.tolist() if above[slice(*part)].any()] or [(start, stop)]
        for number, (first, end) in enumerate(reported):
            part = slice(int(first), int(end))
            noticed = part.start + int(np.argmax(above[part])) if number else int(start)
            by_score = find_causes is None or np.isnan(by_row[part]).all()
            peak = part.start + int(np.nanargmax((scores if by_score else by_row)[part]))
            shares = np.nan_to_num(errors[peak if find_causes else part.start])
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
