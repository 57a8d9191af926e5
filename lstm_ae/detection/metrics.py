"""Metrics of anomaly scores and events on labeled data.

Ranking of rows: average precision (AUC-PR), AUC-ROC, and the volumes under their surfaces (VUS) over buffers around
the labeled ranges, since the bounds of labels are rarely exact. Events: detected ranges, false events, and delays.

Point-adjusted scores, which count a labeled range as detected if one of its rows is, are not offered: random scores
then beat the best methods (Kim et al. 2022, "Towards a rigorous evaluation of time-series anomaly detection").

Rows without a score (NaN) and labeled ranges without any score are ignored. Undefined metrics, such as the precision
without events, are NaN.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Float64Array, Int64Array
from lstm_ae.data.panel import number_runs
from lstm_ae.detection.events import Event, true_ranges
from lstm_ae.errors import Code, DataError

# Number of thresholds of the TSB-AD benchmark.
BENCHMARK_THRESHOLDS = 250

# Period of the TSB-AD benchmark: rows and largest lag of the autocorrelation, its first lag, the largest distance of
# the highest maximum from that lag, and the buffer of series without a period.
ACF_ROWS, ACF_LAGS, FIRST_LAG, MAX_PEAK, DEFAULT_BUFFER = 20_000, 400, 3, 300, 125


class RankingMetrics(NamedTuple):
    """Ranking metrics of scores.

    Args:
        vus_pr: volume under the precision-recall surface over the buffer lengths.
        vus_roc: volume under the ROC surface.
        auc_pr: area under the precision-recall curve; for random scores the share of labeled rows.
        auc_roc: area under the ROC curve; for random scores 0.5.
    """

    vus_pr: float
    vus_roc: float
    auc_pr: float
    auc_roc: float


class EventMetrics(NamedTuple):
    """Metrics of events with respect to labeled ranges.

    Args:
        precision: share of events that overlap a labeled range.
        recall: share of labeled ranges that an event overlaps.
        f1: harmonic mean of precision and recall.
        found: number of detected ranges.
        ranges: number of labeled ranges.
        false: number of events that overlap no labeled range.
        events: number of events.
        delays: rows from the start of each detected range to the alarm; 0 if the alarm was earlier.
    """

    precision: float
    recall: float
    f1: float
    found: int
    ranges: int
    false: int
    events: int
    delays: tuple[int, ...]


def ranking_metrics(labels: Array, scores: Array, buffer: int, segment: Array | None = None) -> RankingMetrics:
    """Return all ranking metrics.

    Args:
        labels: `(rows,)` bool.
        scores: `(rows,)`, higher for more anomalous rows.
        buffer: largest buffer of the volumes in rows, such as the length of a period or a window.
        segment: `(rows,)` segment of each row, see `events.true_ranges`.

    Raises:
        DataError: labels and scores differ in length, or a score is infinite.
    """
    labels, scores = _checked(labels, scores)
    # Importing scikit-learn for the two areas would take longer than the detection in a table of thousands of rows.
    order, ends = _rank(scores)
    found = np.cumsum(labels[order])[ends]
    false = ends + 1 - found
    auc_pr = auc_roc = np.nan
    if labels[order].any():
        auc_pr = float(np.sum(np.diff(found, prepend=0) * found / (ends + 1)) / found[-1])
        if false[-1]:
            auc_roc = _area(np.r_[0, false], np.r_[0, found]) / (false[-1] * found[-1])
    return RankingMetrics(*volume_under_surface(labels, scores, buffer, segment), auc_pr, auc_roc)


def _rank(scores: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows with a score, highest first, and the last place of each distinct score among them.

    All rows with the same score are above the same thresholds.
    """
    known = np.flatnonzero(~np.isnan(scores))
    order = known[np.argsort(-scores[known], kind="stable")]
    return order, np.flatnonzero(np.diff(scores[order], append=-np.inf))


def volume_under_surface(
    labels: Array, scores: Array, buffer: int, segment: Array | None = None
) -> tuple[float, float]:
    """Return VUS-PR and VUS-ROC (Paparrizos et al. 2022, "Volume under the surface", sections 3.2 and 3.3).

    For every buffer length from 0 to `buffer`, each labeled range is extended by half a buffer on both sides; rows of
    these slopes have partial labels. Recall is multiplied by the share of ranges with a row above the threshold. The
    volume is the mean of the areas under the curves. As in the authors' code, overlapping slopes add up to at most 1,
    ranges whose slopes meet are merged, half a buffer is rounded down, recall and false positive rate end at 1, and the
    precision without any row is 1. Unlike in their code, every score is a threshold, not a sample of 250.

    The precision-recall area of a constant score is the share of labels, not the mean of that share and 1.

    Args:
        labels: `(rows,)` bool.
        scores: `(rows,)`, higher for more anomalous rows.
        buffer: largest buffer in rows.
        segment: `(rows,)` segment of each row.

    Returns:
        Both volumes; NaN for both without labels, and for VUS-ROC if all rows are labeled.

    Raises:
        DataError: labels and scores differ in length, or a score is infinite.
    """
    labels, scores = _checked(labels, scores)
    order, ends = _rank(scores)
    if not labels[order].any():
        return np.nan, np.nan
    thresholds, predicted = scores[order][ends], ends + 1.0
    reach = _slopes(labels, segment)
    first, second, distance = (part[order] for part in reach)
    nearest = np.argsort(first, kind="stable")
    hard = labels[order].astype(np.float64)
    labeled = np.count_nonzero(hard)
    half, existing = 0, _detected_share(labels, scores, thresholds, segment)
    precise, rates = [], []
    for length in range(buffer + 1):
        if length > 1 and length // 2 > half:
            half = length // 2
            existing = _detected_share(labels | (reach[0] <= half), scores, thresholds, segment)
        near = nearest[: np.searchsorted(first, half, side="right", sorter=nearest)] if half else nearest[:0]
        soft = hard.copy()
        soft[near] = np.where(second[near] <= half, 1, np.sqrt(1 - distance[near] / max(length, 1)))
        true = np.cumsum(soft)[ends]
        positive = (labeled + true[-1]) / 2
        recall = np.minimum(true / positive, 1) * existing
        precision = true / predicted
        constant = len(ends) == 1
        precise.append(float(precision[0]) if constant else _area(np.r_[0, recall], np.r_[1, precision]))
        if len(order) > positive:
            false = np.minimum((predicted - true) / (len(order) - positive), 1)
            rates.append(_area(np.r_[0, false, 1], np.r_[0, recall, 1]))
    return float(np.mean(precise)), float(np.mean(rates)) if rates else np.nan


def tsb_ad_vus_pr(labels: Array, scores: Array, buffer: int) -> float:
    """Return VUS-PR as the TSB-AD benchmark calculates it, to compare with its published results.

    It differs from `volume_under_surface`: thresholds are taken at evenly spaced ranks of the scores; slopes before and
    after a range have the same length; the number of positives counts only those rows of slopes that are above the
    threshold; ranges are merged if their slopes share a row; and the area is the sum of the precisions, each multiplied
    by the increase of the recall.

    Args:
        labels: `(rows,)` bool.
        scores: `(rows,)`, higher for more anomalous rows.
        buffer: largest buffer in rows, see `tsb_ad_buffer`.

    Returns:
        The volume; NaN without labels.

    Raises:
        DataError: labels and scores differ in length, or a score is NaN or infinite.
    """
    labels, scores = _checked(labels, scores)
    if np.isnan(scores).any():
        raise DataError(
            "Scores must be finite. Received: NaN. Give rows without a score the lowest score", code=Code.ARRAY_INPUT
        )
    if not labels.any():
        return np.nan
    ranks = np.linspace(0, len(scores) - 1, BENCHMARK_THRESHOLDS).astype(int)
    levels = -np.sort(-scores)[ranks]
    # The first threshold that each row reaches. The last one is the lowest score.
    reached = np.searchsorted(-levels, -scores, side="left")

    def accumulate(rows: Array, weights: Array | None = None) -> Float64Array:
        sums: Float64Array = np.cumsum(np.bincount(reached[rows], weights, BENCHMARK_THRESHOLDS))
        return sums

    predicted, hard = accumulate(np.arange(len(scores))), accumulate(np.flatnonzero(labels))
    ranges = true_ranges(labels, 1)
    first, second = np.partition(_distances(labels, ranges, np.zeros(len(labels))), 1, axis=0)[:2]
    nearest = np.argsort(first, kind="stable")
    areas = []
    half, detected = -1, hard
    for length in range(buffer + 1):
        if length // 2 > half:
            half = length // 2
            near = nearest[: np.searchsorted(first, half, side="right", sorter=nearest)]
            detected = _detected_at(scores, levels, _merge_ranges(ranges, half, len(scores)))
        # Two slopes add up to more than 1, the largest label of a row.
        weights = np.where(second[near] <= half, 1, np.sqrt(1 - first[near] / max(length, 1)))
        soft = accumulate(near, weights)
        recall = np.minimum((hard + soft) / (hard[-1] + soft / 2), 1) * detected
        areas.append(np.sum(np.diff(recall, prepend=0) * (hard + soft) / predicted))
    return float(np.mean(areas))


def tsb_ad_buffer(values: Array) -> int:
    """Return the largest buffer that the TSB-AD benchmark uses: the period of a series, or 125.

    The period is the lag of 6 to 303 rows at the highest local maximum of the autocorrelation, over lags up to 400 and
    the first 20,000 rows.

    Args:
        values: `(rows,)` values of the first column, without NaN.

    >>> tsb_ad_buffer(np.sin(np.arange(1000) * 2 * np.pi / 50))
    50
    """
    from scipy.fft import next_fast_len
    from scipy.signal import argrelextrema

    values = np.asarray(values, np.float64)[:ACF_ROWS]
    centered = values - values.mean()
    # The same sums, in the same order, as statsmodels: rounding decides between equal maxima.
    spectrum = np.fft.fft(centered, next_fast_len(2 * len(values) + 1, real=True))
    covariance = np.fft.ifft(spectrum * np.conjugate(spectrum))[: len(values)].real / len(values)
    if not covariance[0] > 0:
        return DEFAULT_BUFFER
    correlation = (covariance[: ACF_LAGS + 1] / covariance[0])[FIRST_LAG:]
    peaks = argrelextrema(correlation, np.greater)[0]
    if not len(peaks):
        return DEFAULT_BUFFER
    best = peaks[np.argsort(correlation[peaks])[-1]]
    return int(best) + FIRST_LAG if FIRST_LAG <= best <= MAX_PEAK else DEFAULT_BUFFER


def _checked(labels: Array, scores: Array) -> tuple[BoolArray, Float64Array]:
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise DataError(
            f"Labels and scores must have one value per row. Received: {labels.shape} and {scores.shape}",
            code=Code.ARRAY_INPUT,
        )
    if np.isinf(scores).any():
        raise DataError(
            "Scores must be finite, or NaN for rows without a score. Received: infinity", code=Code.ARRAY_INPUT
        )
    return labels, scores


def _area(x: Float64Array, y: Float64Array) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]))) / 2


def _slopes(labels: BoolArray, segment: Array | None) -> tuple[Array, Array, Array]:
    """Return, for each unlabeled row, the half buffers from which one and two slopes reach it, and its distance.

    The slope before a range reaches one row further than the slope after it, because a range ends on its last row. Each
    of two overlapping slopes is at least the root of 1/2, so that their sum is always capped at 1: only their number
    matters.
    """
    ranges = true_ranges(labels, 1, segment)
    distances = _distances(labels, ranges, number_runs(segment) if segment is not None else np.zeros(len(labels)))
    # At distance d, a slope after a range needs half a buffer of d + 1; a slope before a range, of d.
    first, second = np.partition(distances + np.array([[1], [1], [0], [0]]), 1, axis=0)[:2]
    return first, second, distances.min(axis=0)


def _distances(labels: BoolArray, ranges: Array, borders: Array) -> Array:
    """Return the distances of every unlabeled row to the last two ranges before it and to the two after it.

    Args:
        labels: `(rows,)`; labeled rows have no distances.
        ranges: starts and stops of the labeled ranges.
        borders: `(rows,)` number of the segment of each row; ranges in other segments have no distance.

    Returns:
        `(4, rows)`; a huge number where there is no distance.
    """
    rows = np.arange(len(labels))
    distances = np.full((4, len(labels)), np.iinfo(np.int64).max // 4)
    before = np.searchsorted(ranges[:, 1], rows, side="right") - 1
    after = np.searchsorted(ranges[:, 0], rows, side="right")
    for slot, (index, edge) in enumerate([(before, 1), (before - 1, 1), (after, 0), (after + 1, 0)]):
        valid = (index >= 0) & (index < len(ranges)) & ~labels
        at = ranges[index[valid], edge] - edge
        distances[slot, valid] = np.where(
            borders[at] == borders[valid], np.abs(rows[valid] - at), distances[slot, valid]
        )
    return distances


def _detected_share(
    soft: BoolArray, scores: Float64Array, thresholds: Float64Array, segment: Array | None
) -> Float64Array:
    """Return the share of ranges with a row at or above each of the descending thresholds."""
    return _detected_at(np.where(np.isnan(scores), -np.inf, scores), thresholds, true_ranges(soft, 1, segment))


def _merge_ranges(ranges: Array, half: int, rows: int) -> Array:
    """Return the ranges extended by `half` rows on both sides; those that share a row are merged."""
    starts, stops = ranges[:, 0] - half, ranges[:, 1] + half
    apart = stops[:-1] <= starts[1:]
    merged: Array = np.stack([starts[np.r_[True, apart]], stops[np.r_[apart, True]]], axis=1).clip(0, rows)
    return merged


def _detected_at(scores: Float64Array, thresholds: Float64Array, ranges: Array) -> Float64Array:
    """Return the share of ranges with a row at or above each of the descending thresholds."""
    # Padded, since a range may stop after the last row. Every other slice lies between two ranges.
    tops = np.maximum.reduceat(np.r_[scores, -np.inf], ranges.ravel())[::2]
    tops = np.sort(tops[tops > -np.inf])
    shares: Float64Array = (len(tops) - np.searchsorted(tops, thresholds, side="left")) / len(tops)
    return shares


def match_events(
    labels: Array, scores: Array, events: Sequence[Event], segment: Array | None = None
) -> tuple[Int64Array, BoolArray]:
    """Return the labeled ranges with a score, `(ranges, 2)`, and which events overlap which, `(events, ranges)`.

    Args:
        labels, scores, events, segment: see `event_metrics`.
    """
    labeled = true_ranges(labels, 1, segment)
    labeled = labeled[[bool(np.isfinite(scores[start:stop]).any()) for start, stop in labeled]]
    spans = np.array([(event.first, event.last + 1) for event in events], np.int64).reshape(-1, 2)
    return labeled, (spans[:, None, 0] < labeled[None, :, 1]) & (spans[:, None, 1] > labeled[None, :, 0])


def event_metrics(labels: Array, scores: Array, events: Sequence[Event], segment: Array | None = None) -> EventMetrics:
    """Return the metrics of events: a labeled range is detected if an event overlaps it.

    Args:
        labels: `(rows,)` bool.
        scores: `(rows,)` scores of the events; labeled ranges without any score are ignored.
        events: as returned by `events.find_events`.
        segment: `(rows,)` segment of each row, see `events.true_ranges`.

    Raises:
        DataError: labels and scores differ in length, or a score is infinite.
    """
    labels, scores = _checked(labels, scores)
    labeled, touch = match_events(labels, scores, events, segment)
    good, detected = int(touch.any(axis=1).sum()), int(touch.any(axis=0).sum())
    precision = good / len(touch) if len(touch) else np.nan
    recall = detected / len(labeled) if len(labeled) else np.nan
    f1 = 2 * precision * recall / (precision + recall) if good else 0.0 if len(labeled) else np.nan
    alarms = np.array([event.alarm for event in events], np.int64)
    delays = tuple(
        max(0, int(alarms[touch[:, index]].min() - start))
        for index, (start, _) in enumerate(labeled)
        if touch[:, index].any()
    )
    return EventMetrics(precision, recall, f1, detected, len(labeled), len(touch) - good, len(touch), delays)
