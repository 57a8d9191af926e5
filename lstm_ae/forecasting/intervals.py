"""Prediction intervals by split-conformal calibration.

Errors are divided by the volatility of their window (Lei et al. 2018, "Distribution-free predictive inference for
regression", section 5.2), so that calm stocks get narrow intervals and volatile stocks wide ones. They come from the
validation split, which the weights were not fitted to.

Errors of overlapping forecasts, of series that move together, or of a drifting level contain less information than the
same number of independent errors. The quantiles are therefore widened by the ratio of Student's t to the normal
distribution, for the effective number of errors (Thiebaux and Zwiers 1984, "The interpretation and estimation of
effective sample size").

Errors after the validation split may be larger or smaller than its errors. The width of the intervals follows them
(Gibbs and Candes 2021, "Adaptive conformal inference under distribution shift", with the logarithm of the width in
place of the level): each error outside the interval widens the next ones, each error inside narrows them, such that
as many as intended are outside in the long run. Each step ahead has a width of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, SampleIndex, Split, evenly_spaced
from lstm_ae.forecasting.baselines import forecast_windows
from lstm_ae.models.network import Network

# Quantiles in steps of 0.5% contain the bounds of every interval level in whole percent.
QUANTILES = np.arange(1, 200) / 200

# Index of the median among the quantiles.
MEDIAN = 99

# The weight of a day relative to the following day follows RiskMetrics (1996).
VOLATILITY_DECAY = 0.94

# A floor as a share of the mean volatility keeps errors of constant windows finite.
MIN_VOLATILITY_SHARE = 0.1

# The number of errors is limited to save memory, but long horizons must not leave too few windows for the quantiles.
MAX_INTERVAL_WINDOWS, MAX_INTERVAL_NUMBERS, MIN_INTERVAL_WINDOWS = 20_000, 20_000_000, 2_000

# Fewer errors per step do not determine quantiles.
MIN_ERRORS = 5

# The width follows the errors outside the interval of this level.
TRACKED_LEVEL = 80

# Errors of overlapping forecasts leave the interval together. The rate at which an error changes the logarithm of a
# width is therefore this one divided by the steps ahead.
RATE = 0.5

# Largest rate. With larger ones, the widths of few steps ahead are mostly noise.
MAX_RATE = 0.1

# Largest and, inverted, smallest width relative to that of the validation errors.
MAX_WIDTH = 10.0

# The widths follow this number of forecasts per horizon, and for forecasts of a table at most the latest ones.
FORECASTS_PER_HORIZON, RECENT_FORECASTS = 8, 160


@dataclass(frozen=True)
class ErrorQuantiles(Artifact):
    """The calibration of the intervals of a forecaster.

    Args:
        quantiles: `(features, horizon, 199)` quantiles of the scaled validation errors, or of their ratios to the
            volatility; infinite if too few errors are known.
        scale: The scale of the values.
        calmest: The lower limit of the volatility; 0 if errors are not divided by it.
    """

    file = "spread.npz"

    # Single precision is far more exact than the error quantiles themselves.
    quantiles: Annotated[
        Array, StoredArray("errors_0", np.floating, "features", "horizon", "quantiles", stored_as=np.float32)
    ]
    scale: Scale
    calmest: float = 0.0

    @property
    def known(self) -> bool:
        """Whether all quantiles are known."""
        return bool(np.isfinite(self.quantiles).all())

    def ahead(self, horizon: int) -> Array:
        """Return the quantiles of the first steps ahead, `(horizon, features, 199)`."""
        return self.quantiles.swapaxes(0, 1)[:horizon]

    def sizes(self, past: Array) -> Array:
        """Return the unit of the errors after each scaled window `(samples, steps, features)`, `(samples, 1, 1)`."""
        if not self.calmest:
            return np.ones((len(past), 1, 1), np.float32)
        return np.maximum(recent_volatility(past), self.calmest)[:, None, None]


def recent_volatility(past: Array) -> Array:
    """Return the exponentially weighted mean absolute change of the first feature, `(samples,)`; 0 for one step."""
    change = abs(np.diff(past[..., 0].astype(np.float64), axis=1))
    if not change.shape[1]:
        return np.zeros(len(past))
    moved: Array = np.average(change, axis=1, weights=VOLATILITY_DECAY ** np.arange(change.shape[1])[::-1])
    return moved


class ForecastMethod(NamedTuple):
    """A forecasting function with its window length and horizon.

    Args:
        predict: Function of windows `(samples, steps, features)`, the indices of their scales or None, and the rows
            after the windows, of which it may read the known covariates. Returns `(samples, horizon, any)` in the
            data's units, with the targets first.
        steps: Steps of a window.
        horizon: Steps to forecast.
    """

    predict: Callable[[Array, Array | None, Array], Array]
    steps: int
    horizon: int

    def inputs(self, split: Split, index: SampleIndex = slice(None)) -> tuple[Array, Array | None, Array]:
        """Return the arguments of `predict` for samples of a split."""
        rows = split.windows(index)
        return rows[:, : self.steps], split.lines(index), rows[:, self.steps :]


def forecast_method(model: Network, span: int) -> ForecastMethod:
    """Return the forecasting function of a model for samples of `span` rows, the window and the rows to forecast.

    A model for any number of steps forecasts the last row.
    """
    from lstm_ae.models.inference import model_inputs

    steps = model.inputs["past"][1] or span - 1

    def predict(past: Array, lines: Array | None, following: Array) -> Array:
        future: Array = model(model_inputs(model.inputs, past, lines, following))["future"][:, steps - span :]
        return future

    return ForecastMethod(predict, steps, span - steps)


class LongerErrors(NamedTuple):
    """Errors of a longer period than that of the validation split.

    Args:
        errors: `(samples, horizon, features)` truth minus forecast, scaled, NaN where the truth is missing.
        moments: `(samples,)` the moment of each forecast.
        share: The length of the validation period, as a share of the longer one.
    """

    errors: Array
    moments: Array
    share: float


def calibrate_intervals(
    method: ForecastMethod, data: Data, *, relative: bool = False, longer: LongerErrors | None = None
) -> ErrorQuantiles:
    """Calibrate the intervals of a forecaster on the validation split.

    Args:
        method: The forecaster.
        data: The data set.
        relative: Whether to divide the errors by the volatility of their windows.
        longer: Further errors, which show slower drifts of the level. The effective number of errors is the smaller of
            the estimates from both.
    """
    split = data.recut(data.validation, method.steps + method.horizon)
    if not split.samples:
        return ErrorQuantiles(np.full((data.targets, method.horizon, 199), np.inf, np.float32), data.scale)
    index = evenly_spaced_windows(split, method.steps, MAX_INTERVAL_WINDOWS)
    selected = split.select(index)
    errors, volatilities = list[Array](), list[Array]()
    for batch in selected.batches():
        past, lines, following = method.inputs(selected, batch)
        predicted = method.predict(past, lines, following)[..., : data.targets]
        windows = forecast_windows(data, selected, batch, method.steps)
        errors.append(windows.truth - data.scale.scaled(predicted, past, lines))
        if relative:
            volatilities.append(recent_volatility(windows.past))
    scores, calmest = np.concatenate(errors), 0.0
    if relative:
        volatility = np.concatenate(volatilities)
        calmest = max(MIN_VOLATILITY_SHARE * float(np.mean(volatility)), 1e-12)
        scores = scores / np.maximum(volatility, calmest)[:, None, None]
    moments = split.moments(method.steps)[index]
    return ErrorQuantiles(error_quantiles(scores, moments, longer), data.scale, calmest)


def evenly_spaced_windows(split: Split, steps: int, max_windows: int) -> Int64Array:
    """Return the indices of evenly spaced windows of a split, fewer if they are large."""
    limit = max(MAX_INTERVAL_NUMBERS // ((split.span - steps) * split.features), MIN_INTERVAL_WINDOWS)
    return evenly_spaced(split.samples, min(max_windows, limit))


def conformal_quantiles(scores: Array) -> Array:
    """Return the quantiles of `scores` `(samples, horizon)` that hold for a new score, `(horizon, 199)`.

    The k-th smallest of n exchangeable scores is at least as large as a new score with probability k / (n + 1) (Vovk
    et al. 2005). Ranks are rounded outwards; a quantile beyond the outermost score is infinite.
    """
    count = len(scores)
    ordered = np.concatenate([np.full((1, scores.shape[1]), -np.inf), np.sort(scores, axis=0)])
    ordered = np.concatenate([ordered, np.full((1, scores.shape[1]), np.inf)])
    rank = (count + 1) * QUANTILES
    # Floating-point products such as 0.95 * 200 may be slightly above a whole number, so they are rounded first.
    rank = np.where(QUANTILES < 0.5, np.floor(rank.round(9)), np.ceil(rank.round(9))).astype(int)
    quantiles: Array = ordered[rank].T
    return quantiles


def effective_sample_size(errors: Array, moments: Array) -> Array:
    """Return the number of independent errors that determine the mean error as precisely as these, `(horizon,)`.

    The errors of forecasts made at the same moment are averaged. The averages are treated as a stationary series
    around 0, whose autocorrelations count up to the first that is not positive (Geyer 1992, "Practical Markov chain
    Monte Carlo").

    Args:
        errors: `(samples, horizon)`, NaN where the truth is missing.
        moments: `(samples,)` the moment of each forecast.
    """
    which = np.unique(moments, return_inverse=True)[1]
    known = ~np.isnan(errors)
    counts = np.array([np.bincount(which, column) for column in known.T])
    sums = np.array([np.bincount(which, column) for column in np.where(known, errors, 0).T])
    present = counts > 0
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=present)
    count, times = known.sum(axis=0), present.sum(axis=1)
    power = np.nansum(np.square(errors), axis=0) / np.maximum(count, 1)
    shared = np.square(means).sum(axis=1) / np.maximum(times, 1)
    variance = shared * _correlation_time(means, present) / np.maximum(times, 1)
    sizes = np.divide(power, variance, out=count.astype(np.float64), where=variance > 0)
    limited: Array = np.clip(sizes, 1, np.maximum(count, 1))
    return limited


def _correlation_time(values: Array, present: Array) -> Array:
    """Return the number of steps of each series that count as one independent value, `(n, steps)` to `(n,)`.

    Args:
        values: `(n, steps)`, 0 where a value is missing.
        present: `(n, steps)` bool, False where a value is missing.
    """
    steps = values.shape[1]
    size = 1 << int(2 * steps - 1).bit_length()

    def products(numbers: Array) -> Array:
        return np.fft.irfft(abs(np.fft.rfft(numbers, size)) ** 2, size)[:, : max(steps // 2, 1)]

    times = np.ones(len(values))
    for place, (row, filled) in enumerate(zip(values, present, strict=True)):
        covariance = (products(row[None]) / np.maximum(np.rint(products(filled[None].astype(float))), 1))[0]
        if covariance[0] > 0:
            positive = covariance[: int((covariance <= 0).argmax()) or len(covariance)] / covariance[0]
            lags = np.arange(1, len(positive))
            times[place] = 1 + 2 * float((positive[1:] * (1 - lags / steps)).sum())
    return times


def predictive_quantiles(errors: Array, independent: Array) -> Array:
    """Return the quantiles that hold for a new error, `(horizon, 199)`; infinite with fewer than five known errors.

    These are the conformal quantiles, and those of a normal distribution beyond the outermost error. Deviations from
    the median are multiplied by the ratio of Student's t to the normal distribution and by the uncertainty of the
    mean.

    Args:
        errors: `(samples, horizon)`, NaN where the truth is missing.
        independent: `(horizon,)` the effective number of errors.
    """
    from scipy.special import ndtri, stdtrit

    normal = ndtri(QUANTILES)
    quantiles = np.where(QUANTILES < 0.5, -np.inf, np.inf) * np.ones((errors.shape[1], 1))
    for step, (column, number) in enumerate(zip(errors.T.astype(np.float64), independent, strict=True)):
        known = column[~np.isnan(column)]
        if len(known) < MIN_ERRORS:
            continue
        conformal, median = conformal_quantiles(known[:, None])[0], np.median(known)
        deviation = np.sqrt(np.square(known - median).sum() / (len(known) - 1))
        tails = median + normal * deviation
        outer = np.where(QUANTILES < 0.5, np.minimum(tails, known.min()), np.maximum(tails, known.max()))
        conformal = np.where(np.isfinite(conformal), conformal, outer)
        widening = np.ones_like(normal)
        np.divide(stdtrit(max(number - 1, 1.0), QUANTILES), normal, out=widening, where=QUANTILES != 0.5)
        quantiles[step] = median + (conformal - median) * widening * np.sqrt(1 + 1 / number)
    return quantiles


def error_quantiles(errors: Array, moments: Array, longer: LongerErrors | None = None) -> Array:
    """Return the quantiles of forecast errors by feature and step ahead, `(features, horizon, 199)` float32; infinite
    if too few errors are known.

    Args:
        errors: `(samples, horizon, features)` truth minus forecast, NaN where the truth is missing.
        moments: `(samples,)` the moment of each forecast.
        longer: See `calibrate_intervals`.
    """
    quantiles = []
    for feature in range(errors.shape[2]):
        independent = effective_sample_size(errors[..., feature], moments)
        if longer:
            extrapolated = longer.share * effective_sample_size(longer.errors[..., feature], longer.moments)
            independent = np.maximum(np.minimum(independent, extrapolated), 1)
        quantiles.append(predictive_quantiles(errors[..., feature], independent))
    return np.array(quantiles, np.float32)


def interval_bounds(level: int) -> tuple[int, int]:
    """Return the indices of the two quantiles that bound the central `level` percent."""
    return MEDIAN - level, MEDIAN + level


class RecentErrors(NamedTuple):
    """Errors of earlier forecasts, which the widths of intervals follow.

    Args:
        relative: `(samples, horizon, features)`, see `relative_errors`.
        moments: `(samples,)` int64 moment of each forecast.
        known: `(samples, horizon)` int64 moment from which each true value is known.
        groups: `(samples,)` int64. The errors of a group, one after the other, change its widths; errors of forecasts
            of the same moment count by their mean.
        spacing: steps between two forecasts of a group.
    """

    relative: Array
    moments: Array
    known: Array
    groups: Array
    spacing: int = 1

    def track(self) -> "IntervalWidths":
        """Return the widths that follow these errors."""
        _, horizon, features = self.relative.shape
        rates = np.minimum(MAX_RATE, RATE * self.spacing / np.arange(1, horizon + 1))[:, None]
        order = np.lexsort((self.moments, self.groups))
        names, firsts = np.unique(self.groups[order], return_index=True)
        tracks = {}
        for name, samples in zip(names.tolist(), np.split(order, firsts)[1:], strict=True):
            begins = np.flatnonzero(np.diff(self.moments[samples], prepend=self.moments[samples[0]] - 1))
            logarithms = np.zeros((len(begins) + 1, horizon, features))
            known = np.empty((len(begins), horizon), np.int64)
            for place, same in enumerate(np.split(samples, begins[1:])):
                relative = self.relative[same]
                present = ~np.isnan(relative)
                outside = (relative > np.exp(logarithms[place])) - (1 - TRACKED_LEVEL / 100)
                mean = np.where(present, outside, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
                changed = logarithms[place] + rates * mean
                logarithms[place + 1] = np.clip(changed, -np.log(MAX_WIDTH), np.log(MAX_WIDTH))
                known[place] = self.known[same].max(axis=0)
            tracks[name] = np.maximum.accumulate(known), np.exp(logarithms)
        return IntervalWidths((horizon, features), tracks)


class IntervalWidths(NamedTuple):
    """Widths of intervals at all moments, relative to those of the validation errors.

    Args:
        shape: horizon and number of features.
        tracks: by group, the moments from which each of `n` errors is known, `(n, horizon)` int64, and the widths
            before the first and after each of them, `(n + 1, horizon, features)`.
    """

    shape: tuple[int, int]
    tracks: Mapping[int, tuple[Array, Array]]

    def at(self, moments: Array, groups: Array) -> Array:
        """Return the widths of the intervals of forecasts, `(forecasts, horizon, features)`; 1 if no error is known.

        Args:
            moments: `(forecasts,)` int64 moments; a width follows the errors known by then.
            groups: `(forecasts,)` int64.
        """
        selected = np.ones((len(moments), *self.shape))
        for group in np.unique(groups).tolist():
            if group not in self.tracks:
                continue
            (known, widths), which = self.tracks[group], np.flatnonzero(groups == group)
            for step in range(self.shape[0]):
                selected[which, step] = widths[np.searchsorted(known[:, step], moments[which], side="right"), step]
        return selected


def select_moments(moments: Array, groups: Array, spacing: int) -> BoolArray:
    """Return a mask of the forecasts at every `spacing`-th moment of each group, `(samples,)`."""
    unique, place = np.unique(moments, return_inverse=True)
    pairs, which = np.unique(groups * len(unique) + place, return_inverse=True)
    group = pairs // max(len(unique), 1)
    selected: BoolArray = ((np.arange(len(pairs)) - np.searchsorted(group, group)) % spacing == 0)[which]
    return selected


def forecast_moments(split: Split, steps: int, *, pooled: bool = False) -> tuple[Int64Array, Int64Array]:
    """Return the time of each forecast, and the group of its widths, `(samples,)` each.

    Args:
        split: The windows.
        steps: Input steps of a window.
        pooled: Whether the widths of all series are one group; otherwise a group is a segment.
    """
    moments, segments = split.times([steps - 1])[:, 0].astype(np.int64), split.segment_ids()[split.starts]
    return moments, np.zeros_like(moments) if pooled else segments.astype(np.int64)


def adaptation_spacing(horizon: int) -> int:
    """Return the number of steps between the forecasts whose errors the width of intervals follows."""
    return max(1, horizon // FORECASTS_PER_HORIZON)


def relative_errors(errors: Array, quantiles: Array) -> Array:
    """Return the distances of errors from their median, relative to the bound of the tracked interval on their side.

    Args:
        errors: `(samples, horizon, features)` truth minus forecast.
        quantiles: `(horizon, features, 199)`.

    Returns:
        `(samples, horizon, features)`, above 1 outside the interval; NaN where the truth or the interval is unknown,
        or where the interval has no width, which no factor can change.
    """
    low, high = (quantiles[..., at] for at in interval_bounds(TRACKED_LEVEL))
    with np.errstate(invalid="ignore", divide="ignore"):
        median = quantiles[..., MEDIAN]
        distance = errors - median
        bound = np.where(distance > 0, high - median, median - low)
        relative: Array = np.where(np.isfinite(bound) & (bound > 0), abs(distance) / bound, np.nan)
    return relative


def widen(quantiles: Array, widths: Array, places: Sequence[int] = range(len(QUANTILES))) -> Array:
    """Return quantiles with other distances from their median, `(..., places)`.

    Args:
        quantiles: `(..., 199)`.
        widths: relative widths, which broadcast with the other axes.
        places: indices of the quantiles to return.
    """
    with np.errstate(invalid="ignore"):
        median = quantiles[..., MEDIAN : MEDIAN + 1]
        widened: Array = median + widths[..., None] * (quantiles[..., list(places)] - median)
    return widened


def interval_offsets(quantiles: Array, widths: Array, level: int) -> tuple[Array, Array]:
    """Return the offsets of the bounds of intervals from point forecasts, `(samples, horizon, features)` each.

    They are not finite where too few errors are known.

    Args:
        quantiles: `(horizon, features, 199)` scaled errors.
        widths: `(samples or 1, horizon, features)`, see `IntervalWidths`.
        level: interval level in percent.
    """
    low, high = np.moveaxis(widen(quantiles, widths, interval_bounds(level)), -1, 0)
    return low, high


def interval_hits(errors: Array, low: Array, high: Array) -> Array:
    """Return 1 where the truth is in the interval, 0 where it is not, and NaN where a bound or the truth is unknown.

    Args:
        errors: Truth minus forecast.
        low, high: Offsets of the bounds from the forecast, which broadcast with `errors`; not finite where too few
            errors determine them.
    """
    known = np.isfinite(low) & np.isfinite(high) & ~np.isnan(errors)
    return np.where(known, (low <= errors) & (errors <= high), np.nan)


def forecast_intervals(
    calibration: ErrorQuantiles,
    widths: Array,
    predicted: Array,
    past: Array,
    levels: Sequence[int],
    lines: NDArray[np.int32] | None = None,
) -> dict[int, tuple[Array, Array]]:
    """Return the lower and upper bounds of the intervals around forecasts by level, in the data's units.

    The bounds are NaN beyond the horizon of the widths and where too few errors are known.

    Args:
        calibration: The calibration of the intervals.
        widths: `(samples, horizon, features)` their widths, see `IntervalWidths`.
        predicted: `(samples, steps, features)` forecasts in the data's units.
        past: `(samples, window, features)` windows that the forecasts follow.
        levels: Interval levels in percent.
        lines: `(samples,)` lines of the scale table if each series has its own scale.
    """
    scale, quantiles = calibration.scale, calibration.ahead(widths.shape[1])
    point, sizes = scale.scaled(predicted, past, lines), calibration.sizes(scale.scaled(past, past, lines))
    steps, intervals = min(point.shape[1], widths.shape[1]), {}
    for level in levels:
        known = sizes * np.stack(interval_offsets(quantiles, widths, level))[:, :, :steps]
        offsets = np.full((2, *point.shape), np.nan, np.float32)
        offsets[:, :, :steps] = np.where(np.isfinite(known), known, np.nan)
        low, high = (scale.unscaled(point + offset, past, lines) for offset in offsets)
        intervals[level] = low, high
    return intervals


class IntervalScores(NamedTuple):
    """Scores of the intervals of a split by step ahead.

    Args:
        widths: The widths at all moments.
        hits: By level in percent, the number of true values in the interval and of those with a known one,
            `(2, horizon)`.
    """

    widths: IntervalWidths
    hits: dict[int, Array]

    def coverage(self, step: int | None = None) -> dict[int, float]:
        """Return the share of true values in the intervals by level, one step ahead or over all steps; without the
        levels of which no interval is known.
        """
        steps = slice(None) if step is None else slice(step - 1, step)
        sums = {level: hits[:, steps].sum(axis=1) for level, hits in self.hits.items()}
        return {level: float(hits / known) for level, (hits, known) in sums.items() if known}


class IntervalTracker:
    """Intervals of the windows of a split with their true values, batch by batch.

    Errors are stored for the windows that the widths follow, and for those on which the intervals are scored. Widths of
    relative errors follow those of all series together; others begin again after a gap, that is, with each segment.

    Args:
        calibration: The calibration of the intervals.
        split: The windows.
        steps: Input steps of a window.
    """

    def __init__(self, calibration: ErrorQuantiles, split: Split, steps: int) -> None:
        self.calibration, self.split, self.steps = calibration, split, steps
        self.quantiles, self.pooled = calibration.ahead(split.span - steps), calibration.calmest > 0
        horizon, features, _ = self.quantiles.shape
        # A larger spacing limits the number of errors.
        values = split.samples * horizon * features
        self.spacing = max(adaptation_spacing(horizon), -(-values // MAX_INTERVAL_NUMBERS))
        self.tracked = select_moments(*forecast_moments(split, steps, pooled=self.pooled), self.spacing)
        self.scored = np.zeros(split.samples, bool)
        self.scored[evenly_spaced_windows(split, steps, MAX_INTERVAL_WINDOWS)] = True
        self.stored = self.tracked | self.scored
        self.errors: list[Array] = []
        self.seen = 0

    def add(self, errors: Array, past: Array) -> None:
        """Add the errors of the next windows, `(samples, horizon, features)` truth minus forecast, and the windows, all
        scaled.
        """
        stored = self.stored[self.seen : self.seen + len(errors)]
        self.errors.append(errors[stored] / self.calibration.sizes(past)[stored])
        self.seen += len(errors)

    def score(self, levels: Sequence[int]) -> IntervalScores:
        """Return the scores of the intervals of these levels, in percent."""
        errors = np.concatenate(self.errors)
        tracked, scored = self.tracked[self.stored], self.scored[self.stored]
        widths = self._track(self.split.select(self.tracked), errors[tracked])
        split, errors = self.split.select(self.scored), errors[scored]
        hits = {level: np.zeros((2, len(self.quantiles))) for level in levels}
        for batch in split.batches():
            moments = forecast_moments(split._replace(starts=split.starts[batch]), self.steps, pooled=self.pooled)
            batch_widths = widths.at(*moments)
            for level in levels:
                is_hit = interval_hits(errors[batch], *interval_offsets(self.quantiles, batch_widths, level))
                hits[level] += np.nansum(is_hit, axis=(0, 2)), (~np.isnan(is_hit)).sum(axis=(0, 2))
        return IntervalScores(widths, hits)

    def _track(self, split: Split, errors: Array) -> IntervalWidths:
        """Return the widths at all moments, which follow the errors of a split, `(samples, horizon, features)`.

        Without dates, the widths are constant, because later rows cannot be distinguished from those of the training.
        """
        if split.time is None:
            return IntervalWidths(self.quantiles.shape[:2], {})
        moments, groups = forecast_moments(split, self.steps, pooled=self.pooled)
        known = split.times(slice(self.steps, None)).astype(np.int64)
        return RecentErrors(relative_errors(errors, self.quantiles), moments, known, groups, self.spacing).track()
