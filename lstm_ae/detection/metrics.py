"""Metrics of anomaly scores and events on labeled data.

Ranking of rows: average precision (AUC-PR), and the volume under its surface (VUS-PR) over buffers around the labeled
ranges, since the bounds of labels are rarely exact. Events: detected ranges, false events, and delays.

Point-adjusted scores, which count a labeled range as detected if one of its rows is, are not offered: random scores
then beat the best methods (Kim et al. 2022, "Towards a rigorous evaluation of time-series anomaly detection").

Undefined metrics, such as the precision without events, are NaN.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Float64Array, Int64Array
from lstm_ae.data.panel import number_runs, run_bounds
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
        auc_pr: area under the precision-recall curve; for random scores the share of labeled rows.
    """

    vus_pr: float
    auc_pr: float


class EventMetrics(NamedTuple):
    """Metrics of events with respect to labeled ranges.

    Args:
        precision: share of events that overlap a labeled range.
        recall: share of labeled ranges that an event overlaps.
        f1: harmonic mean of precision and recall.
        detected: number of labeled ranges that an event overlaps.
        ranges: number of labeled ranges.
        false: number of events that overlap no labeled range.
        events: number of events.
        alarmed: number of labeled ranges in whose time an alarm is raised: from a quarter window before the range to a
            window after it. An event that began long before and lasts into the range detects it without an alarm.
        real: number of alarms that are raised in the time of a labeled range.
        delays: rows from the start of each detected range to the alarm; 0 if the alarm was earlier.
    """

    precision: float
    recall: float
    f1: float
    detected: int
    ranges: int
    false: int
    events: int
    alarmed: int
    real: int
    delays: tuple[int, ...]

    @property
    def alarmed_share(self) -> float:
        """Share of labeled ranges in whose time an alarm is raised."""
        return self.alarmed / self.ranges if self.ranges else np.nan


def ranking_metrics(labels: Array, scores: Array, buffer: int, segment: Array | None = None) -> RankingMetrics:
    """Return all ranking metrics.

    Args:
        labels: `(rows,)` bool.
        scores: `(rows,)`, higher for more anomalous rows.
        buffer: largest buffer of the volume in rows, such as the length of a period or a window.
        segment: `(rows,)` segment of each row, see `events.true_ranges`.

    Raises:
        DataError: labels and scores differ in length, or a score is NaN or infinite.
    """
    labels, scores = _checked(labels, scores)
    if not labels.any():
        return RankingMetrics(np.nan, np.nan)
    # Importing scikit-learn for the area would take longer than the detection in a table of thousands of rows.
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(labels[order])[ends]
    auc_pr = float(np.sum(np.diff(hits, prepend=0) * hits / (ends + 1)) / hits[-1])
    return RankingMetrics(_volume_under_surface(labels, scores, buffer, segment), auc_pr)


def _volume_under_surface(labels: BoolArray, scores: Float64Array, buffer: int, segment: Array | None) -> float:
    """Return VUS-PR (Paparrizos et al. 2022, "Volume under the surface") as the TSB-AD benchmark calculates it.

    For every buffer length from 0 to `buffer`, rows up to half a buffer before and after a labeled range have partial
    labels. The area under the precision-recall curve is the sum of the precisions, each multiplied by the increase of
    the recall, at 250 evenly spaced ranks of the scores. The recall is multiplied by the share of ranges with a row
    above the threshold; ranges are merged if their buffers share a row. The volume is the mean of the areas.
    """
    ranks = np.linspace(0, len(scores) - 1, BENCHMARK_THRESHOLDS).astype(int)
    levels = -np.sort(-scores)[ranks]
    # The first threshold that each row reaches. The last one is the lowest score.
    reached = np.searchsorted(-levels, -scores, side="left")

    def accumulate(rows: Array, weights: Array | None = None) -> Float64Array:
        sums: Float64Array = np.cumsum(np.bincount(reached[rows], weights, BENCHMARK_THRESHOLDS))
        return sums

    runs = np.zeros(len(labels), int) if segment is None else number_runs(segment)
    bounds = np.array(run_bounds(runs))
    predicted, hard = accumulate(np.arange(len(scores))), accumulate(np.flatnonzero(labels))
    ranges = true_ranges(labels, 1, runs)
    first, second = np.partition(_distances(labels, ranges, runs), 1, axis=0)[:2]
    nearest = np.argsort(first, kind="stable")
    areas = []
    half, detected = -1, hard
    for length in range(buffer + 1):
        if length // 2 > half:
            half = length // 2
            near = nearest[: np.searchsorted(first, half, side="right", sorter=nearest)]
            detected = _detected_share(scores, levels, _merge_ranges(ranges, half, bounds[runs[ranges[:, 0]]]))
        # Two buffers add up to more than 1, the largest label of a row.
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
    if not np.isfinite(scores).all():
        raise DataError(
            "Scores must be finite. Received: NaN or infinity. Give rows without a score the lowest score",
            code=Code.ARRAY_INPUT,
        )
    return labels, scores


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


def _merge_ranges(ranges: Array, half: int, bounds: Array) -> Array:
    """Return the ranges extended by `half` rows within their bounds; those that share a row are merged."""
    starts, stops = np.maximum(ranges[:, 0] - half, bounds[:, 0]), np.minimum(ranges[:, 1] + half, bounds[:, 1])
    apart = stops[:-1] <= starts[1:]
    merged: Array = np.stack([starts[np.r_[True, apart]], stops[np.r_[apart, True]]], axis=1)
    return merged


def _detected_share(scores: Float64Array, thresholds: Float64Array, ranges: Array) -> Float64Array:
    """Return the share of ranges with a row at or above each of the descending thresholds."""
    # Padded, since a range may stop after the last row. Every other slice lies between two ranges.
    tops = np.sort(np.maximum.reduceat(np.r_[scores, -np.inf], ranges.ravel())[::2])
    shares: Float64Array = (len(tops) - np.searchsorted(tops, thresholds, side="left")) / len(tops)
    return shares


def match_events(labels: Array, events: Sequence[Event], segment: Array | None = None) -> tuple[Int64Array, BoolArray]:
    """Return the labeled ranges, `(ranges, 2)`, and a mask of the events that overlap each, `(events, ranges)`.

    Args:
        labels, events, segment: see `event_metrics`.
    """
    labeled = true_ranges(labels, 1, segment)
    spans = np.array([(event.first, event.last + 1) for event in events], np.int64).reshape(-1, 2)
    return labeled, (spans[:, None, 0] < labeled[None, :, 1]) & (spans[:, None, 1] > labeled[None, :, 0])


def event_metrics(labels: Array, events: Sequence[Event], window: int, segment: Array | None = None) -> EventMetrics:
    """Return the metrics of events: a labeled range is detected if an event overlaps it.

    Args:
        labels: `(rows,)` bool.
        events: as returned by `events.find_events`.
        window: rows of a window.
        segment: `(rows,)` segment of each row, see `events.true_ranges`.
    """
    labeled, touch = match_events(labels, events, segment)
    correct, detected = int(touch.any(axis=1).sum()), int(touch.any(axis=0).sum())
    precision = correct / len(touch) if len(touch) else np.nan
    recall = detected / len(labeled) if len(labeled) else np.nan
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0 if len(labeled) else np.nan
    alarms = np.array([event.alarm for event in events], np.int64)
    timely = (alarms[:, None] >= labeled[:, 0] - window // 4) & (alarms[:, None] < labeled[:, 1] + window)
    delays = tuple(
        max(0, int(alarms[touch[:, index]].min() - start))
        for index, (start, _) in enumerate(labeled)
        if touch[:, index].any()
    )
    return EventMetrics(
        precision=precision,
        recall=recall,
        f1=f1,
        detected=detected,
        ranges=len(labeled),
        false=len(touch) - correct,
        events=len(touch),
        alarmed=int(timely.any(axis=0).sum()),
        real=int(timely.any(axis=1).sum()),
        delays=delays,
    )
