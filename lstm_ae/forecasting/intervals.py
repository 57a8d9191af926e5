"""Prediction intervals by split-conformal calibration, sampled errors, and the CRPS.

Errors are divided by the volatility of their window (Lei et al. 2018, "Distribution-free predictive inference for
regression", section 5.2), so that calm stocks get narrow intervals and volatile stocks wide ones. They come from the
validation split, which the weights were not fitted to. Sampled paths add such errors step by step (filtered
historical simulation, Barone-Adesi, Giannopoulos, and Vosper 1999).

Errors of overlapping forecasts, of series that move together, or of a drifting level contain less information than the
same number of independent errors. The quantiles are therefore widened by the ratio of Student's t to the normal
distribution, for the effective number of errors (Thiebaux and Zwiers 1984, "The interpretation and estimation of
effective sample size").
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.artifacts import Artifact, StoredArray
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import evenly_spaced

# Quantiles in steps of 0.5% contain the bounds of every interval level in whole percent.
QUANTILES = np.arange(1, 200) / 200

# The weight of a day relative to the following day follows RiskMetrics (1996).
VOLATILITY_DECAY = 0.94

# A floor as a share of the mean volatility keeps errors of constant windows finite.
MIN_VOLATILITY_SHARE = 0.1

# At most this many one-step errors are stored for sampling.
MAX_RESIDUALS = 2000

# Fewer errors per step do not determine quantiles.
MIN_ERRORS = 5


class Calibration(NamedTuple):
    """The validation errors in multiples of the volatility.

    Args:
        quantiles: `(horizon, 199)`.
        residuals: `(any, features)` one-step errors, all features of a day together.
        calmest: The lower limit of the volatility.
    """

    # Single precision is far more exact than the error quantiles themselves.
    quantiles: Annotated[Array, StoredArray("errors_0", np.floating, "horizon", "quantiles", stored_as=np.float32)]
    residuals: Annotated[Array, StoredArray("errors_1", np.floating, "errors", "features", stored_as=np.float32)]
    calmest: float

    def require_finite(self) -> None:
        """Raise `ValueError` if a quantile is infinite, as in files of earlier versions."""
        if not np.isfinite(self.quantiles).all():
            raise ValueError("the quantiles of errors must be finite")

    def volatility(self, past: Array) -> Array:
        """Return the volatility `(samples,)` after each window `(samples, steps, features)` of scaled values."""
        return np.maximum(recent_volatility(past), self.calmest)

    def offsets(self, past: Array) -> Array:
        """Return the offset of each quantile from a point forecast, `(samples, horizon, 1, 199)`, scaled."""
        return self.volatility(past)[:, None, None, None] * self.quantiles[:, None]

    def scores(self, past: Array, errors: Array) -> Array:
        """Return the continuous ranked probability score of each error.

        Args:
            past: `(samples, steps, features)` scaled windows.
            errors: `(samples, days ahead)` truth minus forecast, scaled.

        Returns:
            `(samples, days ahead)`.
        """
        quantiles = self.quantiles[: errors.shape[1]]
        return crps(self.volatility(past)[:, None, None] * quantiles, errors)

    def shocks(self, past: Array, horizon: int, seed: int) -> Array:
        """Return random errors for every step of sampled paths after the windows, `(samples, horizon, features)`
        float32.
        """
        random = np.random.default_rng([seed, horizon])
        drawn = self.residuals[random.integers(len(self.residuals), size=(len(past), horizon))]
        return (self.volatility(past)[:, None, None] * drawn).astype(np.float32)


@dataclass(frozen=True)
class PriceCalibration(Artifact):
    """The calibration of the intervals of a price forecaster.

    Args:
        calibration: The validation errors.
        scale: The scale of the prices.
        until: The last day of the validation split.
    """

    file = "calibration.npz"

    calibration: Calibration
    scale: Scale
    until: str

    def __post_init__(self) -> None:
        self.calibration.require_finite()


@dataclass(frozen=True)
class ErrorQuantiles(Artifact):
    """The calibration of the intervals of a forecaster of tables.

    Args:
        quantiles: `(features, horizon, 199)` quantiles of the scaled validation errors.
        scale: The scale of the values.
    """

    file = "spread.npz"

    quantiles: Annotated[
        Array, StoredArray("errors_0", np.floating, "features", "horizon", "quantiles", stored_as=np.float32)
    ]
    scale: Scale


def recent_volatility(past: Array) -> Array:
    """Return the exponentially weighted mean absolute change of the first feature, `(samples,)`; 0 for one step."""
    change = abs(np.diff(past[..., 0].astype(np.float64), axis=1))
    if not change.shape[1]:
        return np.zeros(len(past))
    moved: Array = np.average(change, axis=1, weights=VOLATILITY_DECAY ** np.arange(change.shape[1])[::-1])
    return moved


def calibrate_intervals(errors: Array, residuals: Array, volatilities: Array, moments: Array) -> Calibration | None:
    """Calibrate intervals on validation errors, see `predictive_quantiles`; return None for fewer than five.

    Args:
        errors: `(samples, horizon)` truth minus forecast, scaled.
        residuals: `(samples, features)` one-step errors of all forecast features.
        volatilities: `(samples,)` as returned by `recent_volatility`.
        moments: `(samples,)` the moment of each forecast.
    """
    if len(errors) < MIN_ERRORS:
        return None
    calmest = max(MIN_VOLATILITY_SHARE * float(np.mean(volatilities)), 1e-12)
    of = np.maximum(volatilities, calmest)[:, None]
    kept = evenly_spaced(len(residuals), MAX_RESIDUALS)
    scores = errors / of
    quantiles = predictive_quantiles(scores, effective_sample_size(scores, moments))
    return Calibration(quantiles, (residuals / of)[kept], calmest)


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
    there = counts > 0
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=there)
    count, times = known.sum(axis=0), there.sum(axis=1)
    power = np.nansum(np.square(errors), axis=0) / np.maximum(count, 1)
    shared = np.square(means).sum(axis=1) / np.maximum(times, 1)
    variance = shared * _correlation_time(means, there) / np.maximum(times, 1)
    found = np.divide(power, variance, out=count.astype(np.float64), where=variance > 0)
    limited: Array = np.clip(found, 1, np.maximum(count, 1))
    return limited


def _correlation_time(values: Array, there: Array) -> Array:
    """Return the number of steps of each series that count as one independent value, `(n, steps)` to `(n,)`.

    Args:
        values: `(n, steps)`, 0 where a value is missing.
        there: `(n, steps)` bool, False where a value is missing.
    """
    steps = values.shape[1]
    size = 1 << int(2 * steps - 1).bit_length()

    def products(numbers: Array) -> Array:
        return np.fft.irfft(abs(np.fft.rfft(numbers, size)) ** 2, size)[:, : max(steps // 2, 1)]

    found = np.ones(len(values))
    for place, (row, held) in enumerate(zip(values, there, strict=True)):
        covariance = (products(row[None]) / np.maximum(np.rint(products(held[None].astype(float))), 1))[0]
        if covariance[0] > 0:
            positive = covariance[: int((covariance <= 0).argmax()) or len(covariance)] / covariance[0]
            lags = np.arange(1, len(positive))
            found[place] = 1 + 2 * float((positive[1:] * (1 - lags / steps)).sum())
    return found


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
    found = np.where(QUANTILES < 0.5, -np.inf, np.inf) * np.ones((errors.shape[1], 1))
    for step, (column, number) in enumerate(zip(errors.T.astype(np.float64), independent, strict=True)):
        known = column[~np.isnan(column)]
        if len(known) < MIN_ERRORS:
            continue
        counted, median = conformal_quantiles(known[:, None])[0], np.median(known)
        deviation = np.sqrt(np.square(known - median).sum() / (len(known) - 1))
        tails = median + normal * deviation
        outer = np.where(QUANTILES < 0.5, np.minimum(tails, known.min()), np.maximum(tails, known.max()))
        counted = np.where(np.isfinite(counted), counted, outer)
        wider = np.ones_like(normal)
        np.divide(stdtrit(max(number - 1, 1.0), QUANTILES), normal, out=wider, where=QUANTILES != 0.5)
        found[step] = median + (counted - median) * wider * np.sqrt(1 + 1 / number)
    return found


def error_quantiles(errors: Array, moments: Array, longer: Array, longer_moments: Array, share: float) -> Array:
    """Return the quantiles of forecast errors by feature and step ahead, `(features, horizon, 199)` float32; infinite
    if too few errors are known.

    The effective number of errors is the smaller of two estimates: from these errors, and from those of a longer
    period, which shows slower drifts of the level.

    Args:
        errors: `(samples, horizon, features)` truth minus forecast, scaled, NaN where the truth is missing.
        moments: `(samples,)` the moment of each forecast.
        longer: Errors of the longer period like `errors`.
        longer_moments: Their moments.
        share: The length of the period of `errors`, as a share of the longer one.
    """
    found = []
    for feature in range(errors.shape[2]):
        own = effective_sample_size(errors[..., feature], moments)
        extrapolated = share * effective_sample_size(longer[..., feature], longer_moments)
        found.append(predictive_quantiles(errors[..., feature], np.maximum(np.minimum(own, extrapolated), 1)))
    return np.array(found, np.float32)


def interval_bounds(level: int) -> tuple[int, int]:
    """Return the indices of the two quantiles that bound the central `level` percent."""
    return 99 - level, 99 + level


def interval_hits(errors: Array, offsets: Array, level: int) -> Array:
    """Return 1 where the truth is in the interval, 0 where it is not, and NaN where a bound or the truth is unknown.

    Args:
        errors: Truth minus forecast.
        offsets: `(..., 199)` offsets of the quantiles from a forecast, which broadcast with `errors`; infinite where
            too few errors determine a quantile.
        level: Interval level in percent.
    """
    low, high = (offsets[..., at] for at in interval_bounds(level))
    known = np.isfinite(low) & np.isfinite(high) & ~np.isnan(errors)
    return np.where(known, (low <= errors) & (errors <= high), np.nan)


def prediction_intervals(
    scale: Scale, predicted: Array, past: Array, offsets: Array, level: int, lines: NDArray[np.int32] | None = None
) -> tuple[Array, Array]:
    """Return the lower and upper bounds of the intervals around forecasts, in the data's units.

    The bounds are NaN beyond the horizon of `offsets` and where there were too few errors.

    Args:
        scale: The scale of the values.
        predicted: `(samples, steps, features)` scaled forecasts.
        past: `(samples, window, features)` windows in the data's units that the forecasts follow.
        offsets: `(samples or 1, horizon, features, 199)` scaled offsets of the quantiles from a forecast, as returned
            by `Calibration.offsets` and `quantile_offsets`.
        level: Interval level in percent.
        lines: `(samples,)` lines of the scale table if each series has its own scale.
    """
    known = min(predicted.shape[1], offsets.shape[1])
    ends = []
    for at in interval_bounds(level):
        offset = np.full((len(offsets), *predicted.shape[1:]), np.nan, offsets.dtype)
        inner = offsets[:, :known, :, at]
        offset[:, :known] = np.where(np.isfinite(inner), inner, np.nan)
        ends.append(scale.unscaled(predicted + offset, past, lines))
    low, high = ends
    return low, high


def quantile_offsets(quantiles: Array) -> Array:
    """Return error quantiles `(features, horizon, 199)` as offsets `(1, horizon, features, 199)` from any forecast."""
    return quantiles.swapaxes(0, 1)[None]


def crps(quantiles: Array, truth: Array) -> Array:
    """Return the continuous ranked probability score: twice the mean pinball loss over the quantiles.

    See Gneiting and Raftery (2007), section 4.2.

    Args:
        quantiles: `(..., 199)`.
        truth: `(...)`.

    Returns:
        `(...)`.
    """
    below = truth[..., None] - quantiles
    scores: Array = 2 * np.mean(np.maximum(QUANTILES * below, (QUANTILES - 1) * below), axis=-1)
    return scores
