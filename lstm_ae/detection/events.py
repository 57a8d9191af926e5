"""Events: runs of rows above the threshold, with their peaks, p-values, and the shares of the columns.

One anomalous row can raise the scores of up to `window - 1` rows on either side of it, and averaged scores drop between
two anomalous rows less than a window apart. Rows above the threshold with fewer than `join` rows between them are
therefore one event; `join` should be the window length. The start and end of an event are its first and last row above
the threshold. They may lie up to `window - 1` rows outside the anomaly; the peak locates it best.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Int64Array


class Event(NamedTuple):
    """Run of rows above the threshold.

    Args:
        first: first row above the threshold.
        last: last row above the threshold.
        peak: row of the highest score.
        score: the highest score.
        p: probability that a normal row has a score at least as high.
        shares: `(features,)` share of each feature in the score at the peak; the sum is 1, missing features have 0.
        provisional: whether later rows may still change its scores or extend it.
    """

    first: int
    last: int
    peak: int
    score: float
    p: float
    shares: tuple[float, ...]
    provisional: bool


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
    by_feature: Array,
    scores: Array,
    threshold: float,
    join: int,
    *,
    pending: int = 0,
    p_values: Callable[[Array], Array] | None = None,
    segment: Array | None = None,
    series: Array | None = None,
) -> list[Event]:
    """Return the events in the order of time; the list may be empty.

    Args:
        by_feature: `(rows, features)` scores, see `scores.mean_errors`.
        scores: `(rows,)` scores, see `scores.row_scores`; NaN is not above any threshold.
        threshold: rows with larger scores are above it.
        join: gaps with fewer rows than this are bridged, see `true_ranges`; usually the window length.
        pending: rows at the end of a series whose scores are provisional, `window - 1 + smooth // 2`.
        p_values: function from scores to p-values, `Threshold.p_values`; None for NaN.
        segment: `(rows,)` segment of each row, see `true_ranges`.
        series: `(rows,)` series of each row, series contiguous; None for one series. Later rows of a series continue
            its last segment only.
    """
    ranges = true_ranges(np.asarray(scores) > threshold, join, segment)
    if not len(ranges):
        return []
    ends = _ends(len(scores), series)[ranges[:, 1] - 1]
    continues = np.ones(len(ranges), bool) if segment is None else _ends(len(scores), segment)[ranges[:, 1] - 1] == ends
    peaks = np.array([start + int(np.nanargmax(scores[start:stop])) for start, stop in ranges])
    p = np.full(len(ranges), np.nan) if p_values is None else p_values(scores[peaks])
    parts = np.nan_to_num(by_feature[peaks])
    parts = parts / np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return [
        Event(
            first=int(start),
            last=int(stop) - 1,
            peak=int(peak),
            score=float(scores[peak]),
            p=float(chance),
            shares=tuple(share.tolist()),
            provisional=bool(open_ended and end - stop < max(pending, join)),
        )
        for (start, stop), end, open_ended, peak, chance, share in zip(
            ranges, ends, continues, peaks, p, parts, strict=True
        )
    ]


def _ends(rows: int, group: Array | None) -> Int64Array:
    """Return the end of the group that each row belongs to, `(rows,)`."""
    borders = np.r_[np.flatnonzero(group[1:] != group[:-1]) + 1 if group is not None else [], rows].astype(np.int64)
    ends: Int64Array = borders[np.searchsorted(borders, np.arange(rows), side="right")]
    return ends


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
