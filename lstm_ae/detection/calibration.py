"""Calibration of anomaly detection: scores of normal rows by the model and by the baseline, stored with a run."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ae.arrays import Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.config.threshold import UNITS, Rule, parse_threshold
from lstm_ae.data.scaling import Scale
from lstm_ae.data.table_reader import Progress
from lstm_ae.detection.baselines import CovarianceDistance, PrincipalComponents
from lstm_ae.detection.events import Event, find_events
from lstm_ae.detection.scores import RowSums, mean_errors, row_scores, sum_windows, weight_errors
from lstm_ae.detection.thresholds import Threshold, fit_threshold

# A function from rows `(windows + window - 1, features)` in original units to the sums over their windows.
Adding = Callable[[Array], RowSums]

# Windows per batch.
BATCH = 2048

# Minimum numbers of windows and of rows in the period of an alarm budget.
FEW_WINDOWS, FEW_ROWS = 4, 200


@dataclass(frozen=True)
class NormalScores(Artifact):
    """Scores of normal rows that the model was not trained on, and how they were computed.

    Args:
        scores: `(rows,)` of the model.
        baseline: `(rows,)` of the principal components.
        segment: `(rows,)` segment of each row.
        components: the baseline.
        smooth: number of rows that a score averages.
        step: sampling interval in nanoseconds; 0 if it is not constant.
        scale: scale of the rows.
        weights: `(2, features)` factors of the errors of the model and of the components, see
            `scores.feature_weights`; None for ones.
    """

    file = "normal.npz"
    advice = "It is not an anomaly detector; train one with lstmae series train --task anomaly"

    scores: Annotated[Array, StoredArray("scores_0", np.floating, "rows")]
    baseline: Annotated[Array, StoredArray("scores_1", np.floating, "rows")]
    segment: Annotated[Array, StoredArray("scores_2", np.integer, "rows")]
    components: PrincipalComponents
    smooth: int
    step: int
    scale: Scale
    weights: Annotated[Array | None, StoredArray("weights_0", np.floating, "scorers", "features", flag="weighted")] = (
        None
    )

    @property
    def window(self) -> int:
        """Steps per window."""
        return len(self.components.mean)

    def weigh(self, model: Adding, components: Adding) -> tuple[Adding, Adding]:
        """Return both error functions with each feature's errors multiplied by its weight."""
        if self.weights is None:
            return model, components
        return weight_errors(model, self.weights[0]), weight_errors(components, self.weights[1])

    def threshold(self, rule: Rule, scores: Array | None = None, smooth: int | None = None) -> Threshold:
        """Fit the threshold of a rule on these rows.

        Args:
            rule: see `lstm_ae.config.threshold.parse_threshold`.
            scores: `(rows,)` scores to use instead of the model's, such as `baseline`.
            smooth: rows per averaged score; None for that of the model's scores.
        """
        return fit_threshold(
            rule,
            self.scores if scores is None else scores,
            self.window,
            smooth=self.smooth if smooth is None else smooth,
            step=np.timedelta64(self.step, "ns") if self.step else None,
            segment=self.segment,
        )


@dataclass(frozen=True)
class NormalDistances(Artifact):
    """Mahalanobis distances of the rows of `NormalScores`, a baseline where labels exist.

    Args:
        scores: `(rows,)`.
        covariance: the distance of scaled windows.
    """

    file = "distances.npz"

    scores: Annotated[Array, StoredArray("distances_0", np.floating, "rows")]
    covariance: CovarianceDistance


class ScoredSeries(NamedTuple):
    """Scores, p-values, and events of a series.

    Args:
        by_feature: `(rows, features)` scores per column; NaN for rows in no window.
        scores: `(rows,)` means over the columns.
        threshold: rows with larger scores are anomalies.
        p: `(rows,)` probability that a normal row has a score at least as high.
        events: in the order of time.
    """

    by_feature: Array
    scores: Array
    threshold: Threshold
    p: Array
    events: list[Event]


def default_rule(step: int, window: int) -> Rule:
    """Return the default threshold rule: one false alarm per month, or per year if a month has few rows or windows.

    If a year has too few rows as well, or the sampling interval is not constant, the rule is a tail probability of
    1e-3. The defaults were chosen on the artificial files of the Numenta Anomaly Benchmark.

    Args:
        step: sampling interval in nanoseconds; 0 if it is not constant or rows have no dates.
        window: steps per window. Alarms less than a window apart are one event, so that a period of few windows cannot
            contain many alarms.

    >>> str(default_rule(3600 * 10**9, window=24))
    'budget:1/month'
    >>> str(default_rule(0, window=24))
    'pot:0.001'
    """
    for unit in ("month", "year"):
        if 0 < step * max(window * FEW_WINDOWS, FEW_ROWS) <= UNITS[unit] * 10**9:
            return parse_threshold(f"budget:1/{unit}")
    return parse_threshold("pot:1e-3")


def default_smooth(window: int) -> int:
    """Return the default number of rows that a score averages, an eighth of a window."""
    return max(1, window // 8)


def windowwise(errors: Callable[[Array], Array], window: int) -> Adding:
    """Return a function of rows from a function of windows `(windows, window, features)` to errors of that shape."""

    def adding(rows: Array) -> RowSums:
        return sum_windows(errors(sliding_windows(rows, window)))

    return adding


def sliding_windows(rows: Array, window: int) -> Array:
    """Return a copy of the windows at every row, `(windows, window, features)`.

    >>> sliding_windows(np.array([[1], [2], [3]]), 2).tolist()
    [[[1], [2]], [[2], [3]]]
    """
    return np.ascontiguousarray(np.moveaxis(sliding_window_view(rows, window, axis=0), -1, 1))


def score_rows(
    errors: Adding, series: Array, segment: Array, window: int, smooth: int, progress: Progress | None = None
) -> Array:
    """Return the score of every row and feature, `(rows, features)`, from windows at every row.

    Args:
        errors: function from rows to the sums of their windows' errors.
        series: `(rows, features)` in original units, NaN where missing.
        segment: `(rows,)`; no window crosses a segment boundary. Scores in segments shorter than a window are NaN.
        window: steps per window.
        smooth: number of rows that a score averages.
        progress: called with the number of rows done and their share.
    """
    scores = np.full(series.shape, np.nan)

    def added(first: int, end: int) -> Iterator[RowSums]:
        for rows in window_blocks(first, end, window):
            yield errors(series[rows])
            if progress:
                progress(rows.stop, rows.stop / len(series))

    for first, end in window_segments(segment, window):
        scores[first:end] = mean_errors(added(first, end), smooth)
    return scores


def window_blocks(first: int, end: int, window: int) -> Iterator[slice]:
    """Yield the rows of all windows from row `first` to row `end` - 1, `BATCH` windows at a time."""
    for start in range(first, end - window + 1, BATCH):
        yield slice(start, min(start + BATCH + window - 1, end))


def window_segments(segment: Array, window: int) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each segment with at least one window.

    >>> list(window_segments(np.array([0, 0, 0, 1, 2, 2]), window=2))
    [(0, 3), (4, 6)]
    """
    bounds = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1], True]).tolist()
    for first, end in itertools.pairwise(bounds):
        if end - first >= window:
            yield first, end


def find_anomalies(
    by_feature: Array, normal: NormalScores, threshold: Threshold, segment: Array, series: Array
) -> ScoredSeries:
    """Return events and p-values of scored rows.

    Args:
        by_feature: `(rows, features)` scores, see `score_rows`.
        normal: calibration of the detector.
        threshold: threshold of the scores.
        segment: `(rows,)` segment of each row.
        series: `(rows,)` series of each row.
    """
    scores = row_scores(by_feature)
    pending = normal.window - 1 + normal.smooth // 2
    events = find_events(
        by_feature,
        scores,
        threshold.value,
        normal.window,
        pending=pending,
        p_values=threshold.p_values,
        segment=segment,
        series=series,
    )
    return ScoredSeries(by_feature, scores, threshold, threshold.p_values(scores), events)
