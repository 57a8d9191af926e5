"""Significance tests (Diebold-Mariano and McNemar) and the verdicts based on them."""

from collections.abc import Mapping

import numpy as np

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.evaluation import Verdict, skill

# Skill at which the error is twice the baseline's; a result at or below it is not called a tie without significance.
CLEARLY_WORSE = -1.0

# A forecaster starts as a baseline and keeps this start if training does not improve on it.
UNIMPROVED = "the model equals it"


def best_baseline(losses: Mapping[str, Array], counts: Array | None = None) -> str:
    """Return the name of the baseline with the smallest mean loss; the first one in case of a tie.

    The baseline is selected on the same samples as the verdict, which can only make the verdict stricter.

    Args:
        losses: `(samples,)` losses by baseline.
        counts: `(samples,)` number of forecasts that each loss is the mean of; None for one each.
    """
    return min(losses, key=lambda name: float(np.average(losses[name], weights=counts)))


def compare_forecasts(
    errors: Array,
    baseline: Array,
    days: Array,
    *,
    name: str,
    steps: int,
    kernel: str = "uniform",
    counts: Array | None = None,
    rounding: Array | float = 0.0,
) -> Verdict:
    """Compare two forecasts with the Diebold-Mariano test, as corrected by Harvey, Leybourne, and Newbold (1997).

    Series are correlated within a day, so the test uses the daily means of the loss difference. Its variance
    includes the autocovariances of `steps` - 1 lags, since forecasts of `steps` steps overlap, and is at least Newey
    and West's. The skill is over all samples. The outcome is undecided if the skill and the statistic have opposite
    signs, or if the error is at least twice the baseline's and the test is not significant; if the test cannot be
    computed, such a forecast is worse.

    If all forecasts are equal, the verdict says so.

    Args:
        errors, baseline: `(samples,)` losses (squared errors) of the model and of the baseline.
        days: `(samples,)` the day of each forecast.
        name: The name of the baseline.
        steps: The horizon of the forecasts.
        kernel: See `diebold_mariano`.
        counts: `(samples,)` number of forecasts that each loss is the mean of; None for one each.
        rounding: `(samples,)` largest difference of the losses due to rounding of the forecasts; losses that differ
            by no more are treated as equal.
    """
    from scipy import stats

    days, which = np.unique(days, return_inverse=True)
    counts = np.ones(len(errors)) if counts is None else counts
    errors = np.where(abs(errors - baseline) <= rounding, baseline, errors)
    difference = np.bincount(which, counts * (errors - baseline)) / np.bincount(which, counts)
    gained = skill(float(counts @ errors), float(counts @ baseline))
    statistic, p = diebold_mariano(difference, steps, kernel)
    outcome, words = "beats" if statistic > 0 else "loses to", ""
    if np.isnan(p):
        untested = "is worse than" if gained <= CLEARLY_WORSE else "undecided against"
        outcome = untested if difference.any() else "ties with"
        words = "" if difference.any() else UNIMPROVED
    elif p >= 0.05:
        outcome = "undecided against" if gained <= CLEARLY_WORSE else "ties with"
    elif gained * statistic < 0:
        # If few days have many samples, the mean over days and the mean over samples may have opposite signs.
        outcome = "undecided against"
    # The margin is relative to the baseline's loss, like the skill.
    unit = float(counts @ baseline) / max(float(counts.sum()), 1.0) or float("nan")
    margin = float(stats.t.ppf(0.975, len(days) - 1)) * _standard_error(difference, steps, kernel) / unit
    windows = -(-len(days) // steps)
    return Verdict(outcome, name, gained, p, statistic, words, margin=margin, windows=windows)


def compare_with_each(
    errors: Array,
    baselines: Mapping[str, Array],
    days: Array,
    *,
    steps: int,
    counts: Array,
    rounding: Array | float = 0.0,
) -> dict[str, Verdict]:
    """Compare a forecast with every baseline, the one with the smallest error first; see `compare_forecasts`."""
    first = best_baseline(baselines, counts)
    order = [first, *(name for name in baselines if name != first)]
    return {
        name: compare_forecasts(errors, baselines[name], days, name=name, steps=steps, counts=counts, rounding=rounding)
        for name in order
    }


def compare_classifiers(ours: BoolArray, theirs: BoolArray, *, name: str, what: str) -> Verdict:
    """Compare two classifiers with McNemar's exact test on the samples that only one of them classifies correctly.

    See McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages".
    The samples must be independent.

    Args:
        ours, theirs: `(samples,)` whether the model, and the baseline, are correct.
        name: The name of the baseline.
        what: The plural noun for the samples.
    """
    from scipy import stats

    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    p = float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
    outcome = "ties with" if p >= 0.05 else "beats" if better > worse else "loses to"
    words = f"accuracy {ours.mean():.2%} against {theirs.mean():.2%} in {len(ours):,} {what}"
    statistic = (better - worse) / max(better + worse, 1) ** 0.5
    gained = skill(float(1 - ours.mean()), float(1 - theirs.mean()))
    return Verdict(outcome, name, gained, p, statistic, words=words, windows=len(ours))


def diebold_mariano(difference: Array, steps: int, kernel: str = "uniform") -> tuple[float, float]:
    """Return the test statistic of a mean loss difference and its two-sided p-value.

    The statistic is positive if the mean difference is negative. Both are NaN with too few days or without variance.

    Args:
        difference: `(days,)` the loss minus that of the baseline.
        steps: The number of consecutive days that are dependent.
        kernel: The weights of the autocovariances: "uniform" if they are 0 from `steps` days on, as for overlapping
            forecasts; "bartlett" (Newey and West) if `steps` is a rule of thumb.
    """
    from scipy import stats

    error = _standard_error(difference, steps, kernel)
    if np.isnan(error):
        return error, error
    statistic = -float(np.mean(difference)) / error
    return statistic, float(2 * stats.t.sf(abs(statistic), len(difference) - 1))


def _standard_error(difference: Array, steps: int, kernel: str) -> float:
    """Return the standard error of a mean loss difference for `diebold_mariano`; NaN if it cannot be computed."""
    from statsmodels.stats.sandwich_covariance import S_hac_simple, weights_bartlett, weights_uniform

    days = len(difference)
    if days < max(10, 2 * steps) or np.ptp(difference) == 0:
        return float("nan")
    centred = (difference - np.mean(difference))[:, None]
    # With few days per horizon, the variance with the uniform kernel may be far too small or even negative.
    weights = (weights_bartlett, weights_uniform) if kernel == "uniform" else (weights_bartlett,)
    variance = max(S_hac_simple(centred, steps - 1, each).item() for each in weights) / days
    harvey = (days + 1 - 2 * steps + steps * (steps - 1) / days) / days
    return float(np.sqrt(variance / (days * harvey)))
