"""What a run keeps to find anomalies by: how normal rows were scored, and the baseline beside the model."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lstm_ae.config.threshold import UNITS, Rule, parse_threshold
from lstm_ae.data.measurements import Progress
from lstm_ae.data.scaling import Scale, read_scale
from lstm_ae.detection.baselines import PrincipalComponents
from lstm_ae.detection.events import Event, find_events
from lstm_ae.detection.scores import RowSums, mean_errors, row_scores, sum_windows, weight_errors
from lstm_ae.detection.thresholds import Threshold, fit_threshold
from lstm_ae.files import load_state, save_state

Numbers = NDArray[Any]

# From rows `(windows + window - 1, features)` in own units to what the windows at every row add to them.
Adding = Callable[[Numbers], RowSums]

# Windows that are judged at a time.
BATCH = 2048

# Fewer windows, or rows, in the time of a budget leave it no room.
FEW_WINDOWS, FEW_ROWS = 4, 200


class NormalScores(NamedTuple):
    """Scores of normal rows that the model was not trained on, and what they were found with.

    Args:
        scores: `(rows,)` of the model.
        baseline: `(rows,)` of the principal components.
        segment: `(rows,)`, which rows belong together.
        components: the baseline.
        smooth: rows that a score is the mean of.
        step: nanoseconds from row to row; 0 where they are not even.
        weights: `(2, features)` what errors of the model and of the components are multiplied by, see
            `scores.weights_of`; None for ones.
    """

    scores: Numbers
    baseline: Numbers
    segment: Numbers
    components: PrincipalComponents
    smooth: int
    step: int
    weights: Numbers | None = None

    @property
    def window(self) -> int:
        """Steps of a window."""
        return len(self.components.mean)

    def weigh(self, model: Adding, components: Adding) -> tuple[Adding, Adding]:
        """Errors of both with each feature's times its weight."""
        if self.weights is None:
            return model, components
        return weight_errors(model, self.weights[0]), weight_errors(components, self.weights[1])

    def threshold(self, rule: Rule, scores: Numbers | None = None) -> Threshold:
        """The threshold that a rule gives on these rows; for the baseline give its scores."""
        return fit_threshold(
            rule,
            self.scores if scores is None else scores,
            self.window,
            smooth=self.smooth,
            step=np.timedelta64(self.step, "ns") if self.step else None,
            segment=self.segment,
        )


class ScoredSeries(NamedTuple):
    """What a series was found to hold.

    Args:
        by_feature: `(rows, features)` scores of each column; NaN where a row stands in no window.
        scores: `(rows,)` their means.
        threshold: from which score on a step is an anomaly.
        p: `(rows,)` the probability that a normal row scores as high.
        events: in the order of time.
    """

    by_feature: Numbers
    scores: Numbers
    threshold: Threshold
    p: Numbers
    events: list[Event]


def default_rule(step: int, window: int) -> Rule:
    """The rule where none is asked for: a false alarm a month; without even steps by probability.

    Chosen on the artificial files of the Numenta Anomaly Benchmark. Alarms less than a window apart are one, so that
    a month of few windows holds hardly more alarms than the budget, and one in a month of few rows marks many of them:
    there it is a year's, and where a year is as short, the probability.

    Args:
        step: nanoseconds from row to row; 0 where they are not even, or of no calendar.
    """
    for unit in ("month", "year"):
        if 0 < step * max(window * FEW_WINDOWS, FEW_ROWS) <= UNITS[unit] * 10**9:
            return parse_threshold(f"budget:1/{unit}")
    return parse_threshold("pot:1e-3")


def default_smooth(window: int) -> int:
    """Rows that a score is the mean of where none are asked for."""
    return max(1, window // 8)


def windowwise(errors: Callable[[Numbers], Numbers], window: int) -> Adding:
    """The same of rows, by a function of whole windows `(windows, window, features)` to errors, alike."""

    def adding(rows: Numbers) -> RowSums:
        return sum_windows(errors(sliding_windows(rows, window)))

    return adding


def sliding_windows(rows: Numbers, window: int) -> Numbers:
    """A copy of the windows at every row, `(windows, window, features)`."""
    return np.ascontiguousarray(np.moveaxis(sliding_window_view(rows, window, axis=0), -1, 1))


def score_rows(
    errors: Adding, series: Numbers, segment: Numbers, window: int, smooth: int, progress: Progress | None = None
) -> Numbers:
    """The score of every row and feature, from windows at every row: `(rows, features)`.

    Args:
        errors: of the windows at every row of some rows.
        series: `(rows, features)` in own units, NaN where missing.
        segment: `(rows,)`; no window crosses from one into another. Rows of one shorter than a window are NaN.
        progress: is told the rows done so far, and their share.
    """
    found = np.full(series.shape, np.nan)

    def added(first: int, end: int) -> Iterator[RowSums]:
        for rows in window_blocks(first, end, window):
            yield errors(series[rows])
            if progress:
                progress(rows.stop, rows.stop / len(series))

    for first, end in window_segments(segment, window):
        found[first:end] = mean_errors(added(first, end), smooth)
    return found


def window_blocks(first: int, end: int, window: int) -> Iterator[slice]:
    """The rows of all windows that start from `first` on and stop before `end`, `BATCH` windows at a time."""
    for start in range(first, end - window + 1, BATCH):
        yield slice(start, min(start + BATCH + window - 1, end))


def window_segments(segment: Numbers, window: int) -> Iterator[tuple[int, int]]:
    """First row and end of each segment that holds a window."""
    bounds = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1], True]).tolist()
    for first, end in itertools.pairwise(bounds):
        if end - first >= window:
            yield first, end


def find_anomalies(
    by_feature: Numbers, normal: NormalScores, threshold: Threshold, segment: Numbers, series: Numbers
) -> ScoredSeries:
    """Events and p-values of scored rows."""
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


def read_normal_scores(path: Path) -> tuple[NormalScores, Scale]:
    """What `write_normal_scores` has written; raises `DataError` where it is damaged."""
    meta, groups = load_state(path, {"scores": 3, "components": 2, "scale": 2})
    if meta.get("weighted"):
        _, groups = load_state(path, {"scores": 3, "components": 2, "scale": 2, "weights": 1})
    weights = groups["weights"][0] if "weights" in groups else None
    scores, baseline, segment = groups["scores"]
    components = PrincipalComponents(*groups["components"])
    return NormalScores(scores, baseline, segment, components, meta["smooth"], meta["step"], weights), read_scale(
        meta, groups
    )


def write_normal_scores(path: Path, normal: NormalScores, scale: Scale) -> None:
    """Write how normal rows were scored, and the scale."""
    groups = {
        "scores": [normal.scores, normal.baseline, normal.segment],
        "components": [normal.components.mean, normal.components.axes],
        "scale": [scale.offset, scale.range],
    }
    meta = {"smooth": normal.smooth, "step": normal.step, "kind": scale.kind}
    if normal.weights is not None:
        meta["weighted"], groups["weights"] = True, [normal.weights]
    save_state(path, meta, groups)
