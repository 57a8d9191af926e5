"""How far a forecast may be off: intervals by split-conformal calibration, sampled futures, and their scores.

Errors are taken in multiples of the window's own volatility (Lei et al. 2018, "Distribution-free predictive inference
for regression", section 5.2), so that a calm stock gets narrow intervals and a wild one wide ones. The multiples are
counted on validation, on windows that the weights were not fitted to. Futures are drawn by adding such errors step by
step (filtered historical simulation, Barone-Adesi, Giannopoulos and Vosper 1999).

Errors of forecasts that overlap, or of a level that drifts, say less than as many independent ones. For a table, the
quantiles are therefore widened as Student's t distribution is beside a normal one, for the effective number of errors
(Thiebaux and Zwiers 1984, "The interpretation and estimation of effective sample size").
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.scaling import Scale, read_scale
from lstm_ae.files import load_state, save_state

Numbers = NDArray[Any]

# The quantiles that are kept: every half per cent.
QUANTILES = np.arange(1, 200) / 200

# A day's weight in the volatility against that of the day after it (RiskMetrics 1996).
VOLATILITY_DECAY = 0.94

# Of the usual volatility: below that a window counts as no calmer.
MIN_VOLATILITY_SHARE = 0.1

# One-step errors kept to draw futures from.
MAX_RESIDUALS = 2000

# Errors of a step that quantiles can be counted from.
MIN_ERRORS = 5


class Calibration(NamedTuple):
    """What the errors on validation were, in multiples of the volatility.

    Args:
        quantiles: `(horizon, 199)`, infinite where there were too few windows to tell.
        residuals: `(any, features)` of one step, all features of a day together.
        calmest: the smallest volatility that counts.
    """

    quantiles: Numbers
    residuals: Numbers
    calmest: float

    def volatility(self, past: Numbers) -> Numbers:
        """The volatility after each window `(samples, steps, features)` of scaled values, `(samples,)`."""
        return np.maximum(recent_volatility(past), self.calmest)

    def spread(self, past: Numbers) -> Numbers:
        """What each quantile adds to a point forecast, `(samples, horizon, 199)`."""
        return self.volatility(past)[:, None, None] * self.quantiles

    def scores(self, past: Numbers, errors: Numbers) -> Numbers:
        """The continuous ranked probability score of errors `(samples, days ahead)` after these windows, alike.

        Quantiles that are not known count as the outermost one that is.
        """
        known = np.where(np.isfinite(self.quantiles), self.quantiles, np.nan)
        low, high = np.nanmin(known, axis=1, keepdims=True), np.nanmax(known, axis=1, keepdims=True)
        quantiles = np.clip(self.quantiles, low, high)[: errors.shape[1]]
        return crps(self.volatility(past)[:, None, None] * quantiles, errors)

    def shocks(self, past: Numbers, horizon: int, seed: int) -> Numbers:
        """Drawn errors for every step of futures that start from the windows, `(samples, horizon, features)`."""
        random = np.random.default_rng([seed, horizon])
        drawn = self.residuals[random.integers(len(self.residuals), size=(len(past), horizon))]
        return (self.volatility(past)[:, None, None] * drawn).astype(np.float32)


def recent_volatility(past: Numbers) -> Numbers:
    """Mean absolute change of the first feature, later days weighing more, `(samples,)`; 0 for one step."""
    change = abs(np.diff(past[..., 0].astype(np.float64), axis=1))
    if not change.shape[1]:
        return np.zeros(len(past))
    moved: Numbers = np.average(change, axis=1, weights=VOLATILITY_DECAY ** np.arange(change.shape[1])[::-1])
    return moved


def calibrate_intervals(errors: Numbers, residuals: Numbers, volatilities: Numbers) -> Calibration:
    """Count the errors of validation.

    Args:
        errors: `(samples, horizon)` truth minus forecast, scaled.
        residuals: `(samples, features)` the same one step ahead, for all that is forecast.
        volatilities: `(samples,)` as `recent_volatility` finds them.
    """
    calmest = max(MIN_VOLATILITY_SHARE * float(np.mean(volatilities)), 1e-12)
    of = np.maximum(volatilities, calmest)[:, None]
    kept = np.unique(np.linspace(0, len(residuals) - 1, MAX_RESIDUALS).astype(int))
    return Calibration(conformal_quantiles(errors / of), (residuals / of)[kept], calmest)


def conformal_quantiles(scores: Numbers) -> Numbers:
    """The quantiles of `scores` `(samples, horizon)` that hold for a new one, `(horizon, 199)`.

    Of n exchangeable scores the k-th smallest is above a new one with probability k / (n + 1) (Vovk et al. 2005), so
    that is rounded outwards; a quantile past the outermost score is infinite.
    """
    count = len(scores)
    ordered = np.concatenate([np.full((1, scores.shape[1]), -np.inf), np.sort(scores, axis=0)])
    ordered = np.concatenate([ordered, np.full((1, scores.shape[1]), np.inf)])
    rank = (count + 1) * QUANTILES
    # Rounded first: 0.95 * 200 is a bit more than 190.
    rank = np.where(QUANTILES < 0.5, np.floor(rank.round(9)), np.ceil(rank.round(9))).astype(int)
    quantiles: Numbers = ordered[rank].T
    return quantiles


def effective_sample_size(errors: Numbers, moments: Numbers) -> Numbers:
    """Return how many independent errors say as much about the mean error as these, `(horizon,)`.

    The errors of forecasts of the same moment are averaged; the means are taken as a stationary series around 0, whose
    autocorrelations count up to the first that is not positive (Geyer 1992, "Practical Markov chain Monte Carlo").

    Args:
        errors: `(samples, horizon)`, NaN where the truth is missing.
        moments: `(samples,)` when each forecast was made.
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
    limited: Numbers = np.clip(found, 1, np.maximum(count, 1))
    return limited


def _correlation_time(values: Numbers, there: Numbers) -> Numbers:
    """Return how many steps of each series count as one independent value, `(n, steps)` to `(n,)`.

    Args:
        values: 0 where a value is missing.
        there: `(n, steps)` where none is missing.
    """
    steps = values.shape[1]
    size = 1 << int(2 * steps - 1).bit_length()

    def products(numbers: Numbers) -> Numbers:
        return np.fft.irfft(abs(np.fft.rfft(numbers, size)) ** 2, size)[:, : max(steps // 2, 1)]

    found = np.ones(len(values))
    for place, (row, held) in enumerate(zip(values, there, strict=True)):
        covariance = (products(row[None]) / np.maximum(np.rint(products(held[None].astype(float))), 1))[0]
        if covariance[0] > 0:
            positive = covariance[: int((covariance <= 0).argmax()) or len(covariance)] / covariance[0]
            lags = np.arange(1, len(positive))
            found[place] = 1 + 2 * float((positive[1:] * (1 - lags / steps)).sum())
    return found


def predictive_quantiles(errors: Numbers, independent: Numbers) -> Numbers:
    """Return quantiles that hold for a new error, `(horizon, 199)`; infinite where fewer than five errors are known.

    They are the conformal quantiles, and beyond the outermost error those of a normal distribution. Deviations from the
    median are multiplied by the ratio of Student's t to the normal distribution and by the uncertainty of the mean.

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


def interval_bounds(level: int) -> tuple[int, int]:
    """Places among the quantiles between which `level` per cent lie."""
    return 99 - level, 99 + level


def crps(quantiles: Numbers, truth: Numbers) -> Numbers:
    """The continuous ranked probability score, twice the mean pinball loss over the quantiles (Gneiting and Raftery
    2007, section 4.2); `(..., 199)` and `(...)` to `(...)`.
    """
    below = truth[..., None] - quantiles
    scores: Numbers = 2 * np.mean(np.maximum(QUANTILES * below, (QUANTILES - 1) * below), axis=-1)
    return scores


def read_calibration(path: Path) -> tuple[Calibration, Scale, str]:
    """What `write_calibration` has written; raises `DataError` where it is damaged."""
    meta, groups = load_state(path, {"errors": 2, "scale": 2})
    quantiles, residuals = groups["errors"]
    return Calibration(quantiles, residuals, meta["calmest"]), read_scale(meta, groups), meta["until"]


def write_calibration(path: Path, calibration: Calibration, scale: Scale, until: str) -> None:
    """Write how far forecasts were off, their scale, and the last day that this was measured on."""
    # In single precision: what is written down is a tenth of a per cent of a volatility at best.
    errors = [values.astype(np.float32) for values in (calibration.quantiles, calibration.residuals)]
    meta = {"calmest": calibration.calmest, "kind": scale.kind, "until": until}
    save_state(path, meta, {"errors": errors, "scale": [scale.offset, scale.range]})


def read_error_quantiles(path: Path) -> tuple[Numbers, Scale]:
    """What `write_error_quantiles` has written; raises `DataError` where it is damaged."""
    meta, groups = load_state(path, {"errors": 1, "scale": 2})
    return groups["errors"][0], read_scale(meta, groups)


def write_error_quantiles(path: Path, quantiles: Numbers, scale: Scale) -> None:
    """Write quantiles of errors `(features, horizon, 199)`, and the scale that they are in."""
    groups = {"errors": [quantiles.astype(np.float32)], "scale": [scale.offset, scale.range]}
    save_state(path, {"kind": scale.kind}, groups)
