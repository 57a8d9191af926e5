"""How good scores and events are where anomalies are labelled.

Ranking of the rows: average precision (AUC-PR), AUC-ROC, and the same with a buffer round every labelled range as
volumes (VUS), since a label's borders are seldom exact. Events: how many labelled ranges are touched, how many events
touch none, how late the first step is.

Never point-adjusted scores, which count a whole labelled range as found when one of its rows is: with them random
scores beat the best methods (Kim et al. 2022, "Towards a rigorous evaluation of time-series anomaly detection").

A row without a score, NaN, takes no part in any measure, nor does a labelled range that has no score at all. A measure
that does not exist, as the precision of no event, is NaN.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.detection.events import Event, true_ranges
from lstm_ae.errors import DataError

Numbers = NDArray[Any]

Floats = NDArray[np.float64]


class RankingMetrics(NamedTuple):
    """How well scores rank labelled rows above others; AUC-ROC of random scores is 0.5, AUC-PR the share of labels."""

    vus_pr: float
    vus_roc: float
    auc_pr: float
    auc_roc: float


class EventMetrics(NamedTuple):
    """How well events meet labelled ranges.

    Args:
        precision: the share of events that touch a labelled range.
        recall: the share of labelled ranges that an event touches.
        f1: their harmonic mean.
        found, ranges: labelled ranges touched, and all of them.
        false, events: events that touch no labelled range, and all of them.
        delays: steps from the start of each range that was found to the first event's first step in it, 0 for an event
            that began before.
    """

    precision: float
    recall: float
    f1: float
    found: int
    ranges: int
    false: int
    events: int
    delays: tuple[int, ...]


def ranking_metrics(labels: Numbers, scores: Numbers, buffer: int, segment: Numbers | None = None) -> RankingMetrics:
    """All measures of the ranking.

    Args:
        labels: `(rows,)` bool.
        scores: `(rows,)`, higher for rows that are more unusual.
        buffer: the largest buffer of the volumes, in rows; the length of a period, or of a window.
        segment: `(rows,)`, see `events.ranges`.

    Raises:
        DataError: labels and scores differ in length, or a score is infinite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, scores = _checked(labels, scores)
    known = ~np.isnan(scores)
    some, all_ = labels[known].any(), labels[known].all()
    auc_pr = float(average_precision_score(labels[known], scores[known])) if some else np.nan
    auc_roc = float(roc_auc_score(labels[known], scores[known])) if some and not all_ else np.nan
    return RankingMetrics(*volume_under_surface(labels, scores, buffer, segment), auc_pr, auc_roc)


def volume_under_surface(
    labels: Numbers, scores: Numbers, buffer: int, segment: Numbers | None = None
) -> tuple[float, float]:
    """VUS-PR and VUS-ROC (Paparrizos et al. 2022, "Volume under the surface", sections 3.2 and 3.3).

    For every buffer length from 0 to `buffer` each labelled range gets slopes, from half a buffer before it to half a
    buffer after, whose rows count as labelled in part; a range is rewarded for existing above the threshold. The mean
    of the areas under the curves is the volume. As the authors compute it: slopes that overlap add up to 1 at most,
    and ranges whose slopes meet are one; half a buffer is rounded down; recall and false positive rate end at 1, and
    the precision of no row is 1. Unlike them, every score is a threshold, where they take 250.

    A constant score ranks nothing: its precision-recall area is then the share of labels, not half way up to 1.

    Args: see `ranking_metrics`.

    Returns:
        NaN for both without a label, and for VUS-ROC where nothing but labels is left.
    """
    labels, scores = _checked(labels, scores)
    known = ~np.isnan(scores)
    if not labels[known].any():
        return np.nan, np.nan
    order = np.flatnonzero(known)[np.argsort(-scores[known], kind="stable")]
    # The last place of each distinct score: a threshold lets all of the same score in.
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    thresholds, found = scores[order][ends], ends + 1.0
    reach = _slopes(labels, segment)
    first, second, distance = (part[order] for part in reach)
    nearest = np.argsort(first, kind="stable")
    hard = labels[order].astype(np.float64)
    labelled = np.count_nonzero(hard)
    half, existing = 0, _existing(labels, scores, thresholds, segment)
    precise, rates = [], []
    for length in range(buffer + 1):
        if length > 1 and length // 2 > half:
            half = length // 2
            existing = _existing(labels | (reach[0] <= half), scores, thresholds, segment)
        near = nearest[: np.searchsorted(first, half, side="right", sorter=nearest)] if half else nearest[:0]
        soft = hard.copy()
        soft[near] = np.where(second[near] <= half, 1, np.sqrt(1 - distance[near] / max(length, 1)))
        true = np.cumsum(soft)[ends]
        positive = (labelled + true[-1]) / 2
        recall = np.minimum(true / positive, 1) * existing
        precision = true / found
        constant = len(ends) == 1
        precise.append(float(precision[0]) if constant else _area(np.r_[0, recall], np.r_[1, precision]))
        if len(order) > positive:
            false = np.minimum((found - true) / (len(order) - positive), 1)
            rates.append(_area(np.r_[0, false, 1], np.r_[0, recall, 1]))
    return float(np.mean(precise)), float(np.mean(rates)) if rates else np.nan


def _checked(labels: Numbers, scores: Numbers) -> tuple[NDArray[np.bool_], Floats]:
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise DataError(f"Labels and scores must have one value a row. Received: {labels.shape} and {scores.shape}")
    if np.isinf(scores).any():
        raise DataError("Scores must be finite, or NaN where a row has none. Received: an infinite one")
    return labels, scores


def _area(x: Floats, y: Floats) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]))) / 2


def _slopes(labels: NDArray[np.bool_], segment: Numbers | None) -> tuple[Numbers, Numbers, Numbers]:
    """For each row outside of labels the half buffer from which on a slope reaches it, a second one, and the distance.

    The slope before a range reaches one row further than the one after it, as its end is its last row. Two slopes are
    never lower than the root of a half each, so that they always add up to 1: only how many there are matters.
    """
    rows = len(labels)
    far = np.iinfo(np.int64).max // 4
    reach = np.full((4, rows), far)
    borders = np.zeros(rows, np.int64) if segment is None else np.cumsum(np.r_[0, segment[1:] != segment[:-1]])
    found = true_ranges(labels, 1, segment)
    if len(found):
        row = np.arange(rows)
        before = np.searchsorted(found[:, 1], row, side="right") - 1  # the last range that ended
        after = np.searchsorted(found[:, 0], row, side="right")  # the next one that starts
        for slot, (place, edge, sign) in enumerate(
            [(before, 1, 1), (before - 1, 1, 1), (after, 0, -1), (after + 1, 0, -1)]
        ):
            there = (place >= 0) & (place < len(found))
            at = found[np.clip(place, 0, len(found) - 1), edge] - (edge == 1)
            there &= borders[at] == borders
            reach[slot, there] = sign * (row - at)[there] + edge
    two = np.partition(reach, 1, axis=0)
    nearest = np.minimum(reach[0] - 1, reach[2])
    # After a range the slope has the distance d and needs a half of d + 1; before one, of d.
    distance = np.where(reach[0] <= reach[2], reach[0] - 1, reach[2]) if len(found) else nearest
    two[:, labels] = far
    return two[0], two[1], distance


def _existing(soft: NDArray[np.bool_], scores: Floats, thresholds: Floats, segment: Numbers | None) -> Floats:
    """The share of ranges that have a row at or above each threshold, the thresholds descending."""
    found = true_ranges(soft, 1, segment)
    filled = np.where(np.isnan(scores), -np.inf, scores)
    # Padded, as a range may stop after the last row; every other part lies between two ranges.
    tops = np.maximum.reduceat(np.r_[filled, -np.inf], found.ravel())[::2]
    tops = np.sort(tops[tops > -np.inf])
    shares: Floats = (len(tops) - np.searchsorted(tops, thresholds, side="left")) / len(tops)
    return shares


def event_metrics(
    labels: Numbers, scores: Numbers, events: Sequence[Event], segment: Numbers | None = None
) -> EventMetrics:
    """How the events meet the labelled ranges: an event that touches one counts once, a range touched is found.

    Args:
        labels: `(rows,)` bool.
        scores: `(rows,)` from which the events are; a range without any score is left out.
        events: as `events.find_events` finds them.
        segment: `(rows,)`, see `events.ranges`.
    """
    labels, scores = _checked(labels, scores)
    labelled = true_ranges(labels, 1, segment)
    labelled = labelled[[bool(np.isfinite(scores[start:stop]).any()) for start, stop in labelled]]
    spans = np.array([(event.first, event.last + 1) for event in events], np.int64).reshape(-1, 2)
    touch = (spans[:, None, 0] < labelled[None, :, 1]) & (spans[:, None, 1] > labelled[None, :, 0])
    good, found = int(touch.any(axis=1).sum()), int(touch.any(axis=0).sum())
    precision = good / len(spans) if len(spans) else np.nan
    recall = found / len(labelled) if len(labelled) else np.nan
    f1 = 2 * precision * recall / (precision + recall) if good else 0.0 if len(labelled) else np.nan
    delays = tuple(
        max(0, int(spans[touch[:, place], 0].min() - start))
        for place, (start, _) in enumerate(labelled)
        if touch[:, place].any()
    )
    return EventMetrics(precision, recall, f1, found, len(labelled), len(spans) - good, len(spans), delays)
