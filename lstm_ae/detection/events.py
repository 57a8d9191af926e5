"""From scores and a threshold to events: what happened, when, how unusual it is and which columns caused it.

A window sees `window` rows, so that one bad row can raise the scores of up to `window - 1` rows on either side of it,
and the averaged score comes down between two bad rows less than a window apart. Steps above the threshold with fewer
than `join` steps between them are therefore one event; a join of one window is right for that reason. The start and end
of an event are its first and last step above the threshold, nothing is cut off: they may lie up to `window - 1` rows
outside of what happened, and the peak is the place to look at.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


class Event(NamedTuple):
    """Steps above the threshold that belong together.

    Args:
        first, last: rows of the first and the last step above it, both included.
        peak: the row of the highest score.
        score: that score.
        p: the probability that a normal row scores as high.
        shares: `(features,)` of each feature in the score at the peak; they sum to 1, 0 for one that was missing.
        provisional: rows to come may still change its scores or be joined to it.
    """

    first: int
    last: int
    peak: int
    score: float
    p: float
    shares: tuple[float, ...]
    provisional: bool


def true_ranges(above: Numbers, join: int = 1, segment: Numbers | None = None) -> NDArray[np.int64]:
    """Where runs of true steps start and stop, `(runs, 2)`; a run that ends on the last row stops after it.

    Args:
        above: `(rows,)` bool.
        join: runs with fewer steps than that between them are one.
        segment: `(rows,)`, which rows belong together, side by side; a run never crosses from one into another.

    >>> true_ranges(np.array([0, 1, 1, 0, 1, 0, 0, 1], bool), join=2).tolist()
    [[1, 5], [7, 8]]
    """
    rows = np.flatnonzero(above)
    if not len(rows):
        return np.empty((0, 2), np.int64)
    apart = np.diff(rows) > max(join, 1)
    if segment is not None:
        apart |= segment[rows[1:]] != segment[rows[:-1]]
    ends = np.flatnonzero(apart)
    return np.stack([rows[np.r_[0, ends + 1]], rows[np.r_[ends, len(rows) - 1]] + 1], axis=1).astype(np.int64)


def find_events(
    by_feature: Numbers,
    scores: Numbers,
    threshold: float,
    join: int,
    *,
    pending: int = 0,
    p_values: Callable[[Numbers], Numbers] | None = None,
    segment: Numbers | None = None,
    series: Numbers | None = None,
) -> list[Event]:
    """The events of a series in the order of time; none is a possible answer.

    Args:
        by_feature: `(rows, features)` as `scores.averages` finds them.
        scores: `(rows,)` as `scores.row_scores` finds them; NaN is not above any threshold.
        threshold: a step is above it where its score is larger.
        join: steps that an event bridges, see `true_ranges`; the window as a rule.
        pending: rows at the end of a series whose scores are provisional, `window - 1 + smooth // 2`, see `scores`.
        p_values: from scores to p-values, `Threshold.p_values`; without it they are NaN.
        segment: `(rows,)`, see `true_ranges`.
        series: `(rows,)`, of which series each row is, side by side; of one where None. Rows to come go on with the
            last segment of each, and change no other.
    """
    found = true_ranges(np.asarray(scores) > threshold, join, segment)
    if not len(found):
        return []
    ends = _ends(len(scores), series)[found[:, 1] - 1]
    goes_on = np.ones(len(found), bool) if segment is None else _ends(len(scores), segment)[found[:, 1] - 1] == ends
    peaks = np.array([start + int(np.nanargmax(scores[start:stop])) for start, stop in found])
    p = np.full(len(found), np.nan) if p_values is None else p_values(scores[peaks])
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
            found, ends, goes_on, peaks, p, parts, strict=True
        )
    ]


def _ends(rows: int, of: Numbers | None) -> NDArray[np.int64]:
    """Where what each row belongs to ends, `(rows,)`."""
    borders = np.r_[np.flatnonzero(of[1:] != of[:-1]) + 1 if of is not None else [], rows].astype(np.int64)
    ends: NDArray[np.int64] = borders[np.searchsorted(borders, np.arange(rows), side="right")]
    return ends
