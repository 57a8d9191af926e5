"""Calibration of anomaly detection: scores of normal rows by the model and by the baseline, stored with a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Float32Array, Float64Array, Int64Array
from lstm_ae.artifacts import Artifact, OwnNames, StoredArray
from lstm_ae.config.threshold import UNITS, Rule, parse_threshold
from lstm_ae.data.scaling import Scale
from lstm_ae.detection.baselines import MAHALANOBIS, CovarianceDistance, PrincipalComponents, ShapeMemory
from lstm_ae.detection.drift import Adaptation, fit_adaptation
from lstm_ae.detection.events import ONLINE_EVENTS, Event, find_events, find_online_events
from lstm_ae.detection.row_means import mean_over_features
from lstm_ae.detection.shift import HIGH_QUANTILE, SHIFT_WINDOWS, ShiftLimits
from lstm_ae.detection.thresholds import ROUNDING, Threshold, fit_threshold

# Names of scorers in results: the detector, and its baselines.
DETECTOR, PCA = "model", "PCA"

# The views of each scorer, as the fields of `NormalScores`: those of final scores and those of online scores.
VIEWS = {
    DETECTOR: (("network", "shape", "windows"), ("network", "windows")),
    PCA: (("baseline",), ("baseline",)),
    MAHALANOBIS: (("windows",), ("windows",)),
}

# The group of the columns that are not continuous.
DISCRETE = -1

# Minimum numbers of windows and of rows in the period of an alarm budget.
FEW_WINDOWS, FEW_ROWS = 4, 200

# Smallest deviation of the residuals of a feature, relative to the standard deviation of its values.
MIN_DEVIATION = 0.01

# Rounding error of scaled values in single precision, for values of the size of their range.
VALUE_ROUNDING = 1e-6

# Smallest variance of residuals in units of their deviation.
MIN_VARIANCE = MIN_DEVIATION**2

# Smallest unit of scores: below it, residuals are at their smallest deviation and differ by rounding.
MIN_UNIT = 0.01

# Residuals beyond this number of deviations are no more unusual, and their squares might be infinite.
MAX_DEVIATIONS = 1e12

# Quantile of the errors of normal rows that serves as their highest error.
HIGHEST_QUANTILE = 0.999


class UsualErrors(NamedTuple):
    """Errors of normal rows, as means over the features.

    Args:
        median: median error.
        highest: quantile `HIGHEST_QUANTILE` of the errors.
    """

    median: float
    highest: float

    def find_causes(self, errors: Array, window: int) -> Array:
        """Return which rows of a run above the threshold cause its scores, `(rows,)` bool; all rows if none stands out.

        Windows that contain an anomaly also contain rows before and after it. These rows have usual errors, and those
        of the anomaly are above the geometric mean of the usual error and the largest one. Rows at least a window
        away have no window in common with the anomaly, so further anomalies among them are found in the same way.

        Args:
            errors: `(rows,)` mean errors of the rows, NaN where there is none.
            window: rows per window.
        """
        causes, unexplained = np.zeros(len(errors), bool), np.nan_to_num(errors)
        count = len(errors)
        while count and (largest := unexplained.max()) > self.highest:
            rows = np.flatnonzero(unexplained >= np.sqrt(self.median * largest))
            causes[rows] = True
            starts, ends = np.maximum(rows - window + 1, 0), np.minimum(rows + window, count)
            # A row is within a window of a cause if more of their neighborhoods start before it than end.
            changes = np.bincount(starts, minlength=count + 1) - np.bincount(ends, minlength=count + 1)
            unexplained[np.cumsum(changes)[:count] > 0] = 0
        return causes if causes.any() else ~causes


class OnlineUnits(NamedTuple):
    """Units of online scores: high quantiles of normal rows.

    Args:
        distance: unit of the distance of the window that ends at a row.
        error: unit of the mean error of the row itself.
    """

    distance: float
    error: float

    def scores(self, distances: Array, errors: Array) -> Array:
        """Return the online scores `(rows,)` of distances and mean errors `(rows,)`; NaN for rows without a value.

        A term with an infinite unit is omitted.
        """
        pairs = zip((distances, errors), self, strict=True)
        terms = [np.log1p(values / unit) for values, unit in pairs if unit < np.inf]
        combined: Array = np.expm1(np.sum(terms, axis=0) / len(terms))
        return combined


class MeasuredWindows(NamedTuple):
    """Residuals of windows in units of their features' deviations, and the distances of the windows.

    Args:
        deviations: `(windows, window, features)`, NaN where missing.
        distances: `(windows,)`, NaN for windows without a value.
    """

    deviations: Array
    distances: Float64Array


class DetectorCalibration(NamedTuple):
    """Scores and errors of rows from the residuals of their windows.

    The score of a window is the squared Mahalanobis distance of its residuals from those of training windows, and the
    score of a row is the mean of the scores of the windows that contain it. An error is the squared residual of a value
    in units of its feature's deviation; it says which rows and features cause a high score.

    The online score of a row is known when the row arrives: the distance of the window that ends at it and the error of
    the row in that window, each in units of a high quantile of normal rows, combined as in `combine_scores`.

    Args:
        deviation: `(features,)` root mean square of the residuals of each feature in training windows.
        distance: distance of residuals in units of their deviation.
        unit: median distance of normal rows, so that usual scores are about 1.
        usual: errors of normal rows.
        online: units of online scores.
    """

    deviation: Annotated[Float32Array, StoredArray("deviation_0", np.floating, "features")]
    distance: CovarianceDistance
    unit: float
    usual: UsualErrors
    online: Annotated[OnlineUnits, OwnNames()]

    def measure(self, residuals: Array) -> MeasuredWindows:
        """Return the distances of windows.

        Args:
            residuals: see `Residuals`.
        """
        flat, deviation = residuals, self.deviation
        if residuals.flags.c_contiguous:
            # NumPy is faster on one long row per window than on short rows of features.
            flat, deviation = residuals.reshape(len(residuals), -1), np.tile(deviation, residuals.shape[1])
        # Clip before the division, which might overflow.
        limit = MAX_DEVIATIONS * deviation
        deviations: Array = np.minimum(flat, limit)
        np.maximum(deviations, -limit, out=deviations)
        deviations /= deviation
        deviations = deviations.reshape(residuals.shape)
        return MeasuredWindows(deviations, self.distance.distances(deviations))

    def scores(self, measured: MeasuredWindows) -> Float64Array:
        """Return the scores of windows, `(windows,)`."""
        return measured.distances / self.unit

    def last_rows(self, measured: MeasuredWindows) -> "RowScores":
        """Return the online scores and the errors of the last row of each window."""
        # Sums depend on the order of the values in memory.
        errors = np.square(np.ascontiguousarray(measured.deviations[:, -1]), dtype=np.float64)
        return RowScores(self.online.scores(measured.distances, mean_over_features(errors)), errors)


class RowScores(NamedTuple):
    """Scores of rows, and the errors that cause them.

    Args:
        scores: `(rows,)`, about 1 for normal rows; NaN for rows in no window or without a value.
        errors: `(rows, features)`, about 1 for normal rows; NaN for missing values.
    """

    scores: Array
    errors: Array


def combine_scores(scores: Sequence[Array]) -> Array:
    """Return the combined scores of several views, `(rows,)`; NaN for rows to which no view gives a score.

    A combined score is the geometric mean of one plus the scores, minus one: several views that find a row somewhat
    unusual count as much as one that finds it very unusual, and no view outweighs all others.
    """
    if len(scores) == 1:
        return scores[0]
    combined: Array = np.expm1(mean_over_features(np.log1p(np.stack(scores, axis=1))))
    return combined


class CalibratedScores(NamedTuple):
    """A view: its calibration with the scores of the normal rows that it was fitted on.

    Args:
        calibration: the calibration.
        scores, online: `(rows,)` scores and online scores; NaN for a view that has no online scores.
    """

    calibration: DetectorCalibration
    scores: Annotated[Array, StoredArray("scores", np.floating, "rows")]
    online: Annotated[Array, StoredArray("online", np.floating, "rows")]

    def select(self, *, online: bool) -> Array:
        """Return the online scores or the scores."""
        return self.online if online else self.scores

    def rounding(self, *, online: bool) -> float:
        """Return the rounding error of the roots of scores, which are squared residuals in their own unit."""
        return float(ROUNDING / np.sqrt(min(self.calibration.online) if online else self.calibration.unit))


@dataclass(frozen=True)
class NormalScores(Artifact):
    """Scores of normal rows that no view was fitted on, and the parameters of the views.

    Args:
        network: scores by the residuals of the network.
        shape: scores by the difference of the shape of a window from the most similar shape of a training window.
        windows: scores by the Mahalanobis distance of the continuous columns of a window; of all columns if none is
            continuous.
        baseline: scores by the residuals of the principal components.
        segment: `(rows,)` segment of each row.
        continuous: `(features,)` whether each column is continuous, see `find_continuous`.
        shape_memory: shapes of training windows.
        components: principal components, the baseline.
        step: sampling interval in nanoseconds; 0 if it is not constant.
        scale: scale of the rows.
        chosen: views of the detector, separated by commas; "" for the default ones.

    Raises:
        ValueError: the numbers of rows differ.
    """

    file = "normal.npz"
    advice = "It is not an anomaly detector; train one with lstmae series train --task anomaly"
    repair = "restore it, or train a new run: the scores of earlier versions are different"

    network: Annotated[CalibratedScores, OwnNames()]
    shape: Annotated[CalibratedScores, OwnNames()]
    windows: Annotated[CalibratedScores, OwnNames()]
    baseline: Annotated[CalibratedScores, OwnNames()]
    segment: Annotated[Array, StoredArray("segment", np.integer, "rows")]
    continuous: Annotated[BoolArray, StoredArray("continuous", np.bool_, "features")]
    shape_memory: ShapeMemory
    components: PrincipalComponents
    step: int
    scale: Scale
    chosen: str = ""

    def __post_init__(self) -> None:
        views = (self.network, self.shape, self.windows, self.baseline)
        rows = {len(scores) for view in views for scores in (view.scores, view.online)}
        if rows != {len(self.segment)}:
            raise ValueError(f"scores must have {len(self.segment)} rows. Received: {sorted(rows)}")

    @property
    def groups(self) -> Int64Array:
        """The group of each column, `(features,)`, see `lstm_ae.detection.events.find_changes`."""
        return np.where(self.continuous, np.arange(len(self.continuous)), DISCRETE)

    def view_names(self, scorer: str = DETECTOR, *, online: bool) -> list[str]:
        """Return the views of a scorer, see `VIEWS`.

        By default, the windows are a view of the final scores of the detector only if some columns are continuous and
        others are not: distances of all columns rank rows worse than the network and the shape.
        """
        names = VIEWS[scorer][online]
        if scorer == DETECTOR and self.chosen:
            return [name for name in names if name in self.chosen.split(",")]
        excluded = "windows" if scorer == DETECTOR and not online and not are_mixed(self.continuous) else ""
        return [name for name in names if name != excluded]

    def scores(self, scorer: str = DETECTOR, *, online: bool = False) -> Array:
        """Return the scores of the normal rows by a scorer, `(rows,)`."""
        names = self.view_names(scorer, online=online)
        return combine_scores([getattr(self, name).select(online=online) for name in names])

    @property
    def window(self) -> int:
        """Steps per window."""
        return len(self.components.mean)

    @property
    def pending(self) -> int:
        """Later rows after which the score of a row is final."""
        return self.window - 1

    def threshold(self, rule: Rule, scorer: str = DETECTOR, *, online: bool = False) -> Threshold:
        """Fit the threshold of a rule on these rows.

        Args:
            rule: see `lstm_ae.config.threshold.parse_threshold`.
            scorer: a key of `VIEWS`.
            online: whether the scores are online scores.
        """
        # The other views compute in double precision.
        rounding = getattr(self, VIEWS[scorer][online][0]).rounding(online=online)
        return self._fit_threshold(rule, self.scores(scorer, online=online), rounding, online=online)

    def _fit_threshold(self, rule: Rule, scores: Array, rounding: float, *, online: bool) -> Threshold:
        return fit_threshold(
            rule,
            scores,
            self.window,
            step=np.timedelta64(self.step, "ns") if self.step else None,
            segment=self.segment,
            rounding=rounding,
            runs_per_event=ONLINE_EVENTS if online else 1.0,
        )

    def shift_limits(self, *, online: bool) -> ShiftLimits:
        """Return the limits of the training range for values and for the detector's scores or online scores."""
        scores = self.scores(online=online)
        known = scores[~np.isnan(scores)]
        limit = float(np.quantile(known, HIGH_QUANTILE)) if len(known) else np.inf
        scale = self.scale.common if self.scale.ranged else None
        return ShiftLimits(scale, limit, SHIFT_WINDOWS * self.window)

    def adapt(self, scorer: str, rule: Rule, memory: int) -> tuple[Adaptation, Threshold]:
        """Return an adaptation to the recent level of online scores, and the threshold of relative scores.

        Args:
            scorer: a key of `VIEWS`.
            rule: see `threshold`.
            memory: rows of the level, see `lstm_ae.detection.drift.ScoreLevel`.

        Raises:
            ConfigError: the memory is shorter than a window.
        """
        adaptation = fit_adaptation(self.scores(scorer, online=True), self.segment, memory, self.window)
        # Relative scores of rounding errors vary as much as others.
        threshold = self._fit_threshold(rule, adaptation.scores, ROUNDING, online=True)
        return adaptation, threshold._replace(how=f"{threshold.how}; times the level of the last {memory:,} rows")


class ScoredSeries(NamedTuple):
    """Scores, p-values, and events of a series.

    Args:
        scores: `(rows,)`.
        errors: `(rows, features)`, see `DetectorCalibration`.
        threshold: rows with larger scores are anomalies.
        p: `(rows,)` probability that a normal row has a score at least as high.
        events: in the order of time.
    """

    scores: Array
    errors: Array
    threshold: Threshold
    p: Array
    events: list[Event]

    @property
    def anomaly(self) -> BoolArray:
        """Whether each row has a score above the threshold, `(rows,)`."""
        return np.asarray(self.scores > self.threshold.value)

    @property
    def outside_events(self) -> BoolArray:
        """Whether each row is an anomaly and in no event, `(rows,)`."""
        outside = self.anomaly
        for event in self.events:
            outside[event.first : event.last + 1] = False
        return outside


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


def find_continuous(values: Array) -> BoolArray:
    """Return which columns have more than two values, `(features,)`; the others are constant or binary.

    Args:
        values: `(rows, features)` normal rows, NaN where missing.
    """
    between = (values > np.fmin.reduce(values)) & (values < np.fmax.reduce(values))
    return np.asarray(between.any(axis=0))


def are_mixed(continuous: BoolArray) -> bool:
    """Return whether some columns are continuous and others are not, see `find_continuous`."""
    return bool(continuous.any() and not continuous.all())


def fit_deviation(residuals: Array, spread: Array, rounding: Array | float = VALUE_ROUNDING) -> Float32Array:
    """Return the root mean square of the residuals of each feature, `(features,)`, with a lower bound.

    A change of a feature that is constant in normal rows is very unusual: such a feature gets the lower bound of a
    feature with the mean spread. If all features are constant, the bound is a rounding error.

    Args:
        residuals: `(windows, window, features)` of training windows, NaN where missing.
        spread: `(features,)` variances of the values.
        rounding: rounding errors of the scaled values, one or `(features,)`.
    """
    squares = mean_over_features(np.square(residuals, dtype=np.float64).reshape(-1, len(spread)).T)
    varying = spread > 0
    if varying.any():
        least = MIN_DEVIATION**2 * np.where(varying, spread, spread[varying].mean())
    else:
        least = np.full(len(spread), np.nanmean(squares) if (squares > 0).any() else 0)
    least = np.fmax(least, np.square(rounding))
    return np.sqrt(np.fmax(squares, least)).astype(np.float32)


def calibrate_detector(
    distance: CovarianceDistance,
    deviation: Array,
    score: Callable[[DetectorCalibration, bool], RowScores],
    *,
    online: bool = True,
) -> CalibratedScores:
    """Fit the calibration of a view.

    Args:
        distance: distance of residuals in units of their deviation.
        deviation: `(features,)`, see `DetectorCalibration`.
        score: function from a calibration to the scores, or if its second argument is true to the online scores, of
            normal rows.
        online: False for a view without online scores.
    """
    # If residuals are always the same, their deviations differ by rounding.
    distance = distance._replace(
        variances=np.maximum(distance.variances, np.float32(MIN_VARIANCE)), floor=max(distance.floor, MIN_VARIANCE)
    )
    # The online scores are the distances.
    raw = DetectorCalibration(deviation, distance, 1.0, UsualErrors(0.0, 0.0), OnlineUnits(1.0, np.inf))
    scores, by_feature = score(raw, False)
    errors = mean_over_features(by_feature)
    unit, usual, units = raw.unit, raw.usual, OnlineUnits(1.0, 1.0)
    if not np.isnan(scores).all():
        unit = max(float(np.nanmedian(scores)), MIN_UNIT)
        usual = UsualErrors(float(np.nanmedian(errors)), float(np.nanquantile(errors, HIGHEST_QUANTILE)))
    online_scores = np.full(len(scores), np.nan)
    if online:
        distances, last = score(raw, True)
        last_errors = mean_over_features(last)
        # There are no online scores if all segments are shorter than a window.
        if not np.isnan(distances).all() and not np.isnan(last_errors).all():
            terms = (distances, last_errors)
            units = OnlineUnits(*(max(float(np.nanquantile(term, HIGHEST_QUANTILE)), MIN_UNIT) for term in terms))
        online_scores = units.scores(distances, last_errors)
    return CalibratedScores(raw._replace(unit=unit, usual=usual, online=units), scores / unit, online_scores)


def find_anomalies(
    scored: RowScores,
    normal: NormalScores,
    usual: UsualErrors,
    threshold: Threshold,
    segment: Array,
    series: Array,
    *,
    online: bool = False,
) -> ScoredSeries:
    """Return events and p-values of scored rows.

    Args:
        scored: scores and errors of the rows.
        normal: calibration of the detector.
        usual: errors of normal rows.
        threshold: threshold of the scores.
        segment: `(rows,)` segment of each row.
        series: `(rows,)` series of each row.
        online: whether the scores are online scores, whose events begin when they are noticed.
    """
    p = threshold.p_values(scored.scores)
    rows = (*scored, p, threshold.value, normal.window, segment, series)
    if online:
        # The Mahalanobis distance has errors of the continuous columns only.
        groups = normal.groups
        groups = groups if len(groups) == scored.errors.shape[1] else groups[normal.continuous]
        events = find_online_events(*rows, groups)
    else:
        events = find_events(*rows, find_causes=usual.find_causes, pending=normal.pending)
    return ScoredSeries(*scored, threshold, p, events)
