"""Whether a model beats a baseline, by tests of equal accuracy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.evaluation import Verdict, skill

Numbers = NDArray[Any]

# The skill of an error twice as large as the baseline's. Without a significant test it is no tie.
ROUT = -1.0


def hardest(losses: Mapping[str, Numbers], counts: Numbers | None = None) -> str:
    """Return the name of the baseline with the smallest mean loss; of equal ones the first.

    It is chosen on the very samples that the verdict is about. That can only make the verdict on the model stricter.

    Args:
        losses: `(samples,)` by baseline.
        counts: `(samples,)` forecasts that each loss is the mean of; None for one each.
    """
    return min(losses, key=lambda name: float(np.average(losses[name], weights=counts)))


def verdict(
    errors: Numbers,
    baseline: Numbers,
    days: Numbers,
    *,
    name: str,
    steps: int,
    kernel: str = "uniform",
    counts: Numbers | None = None,
) -> Verdict:
    """Compare two forecasts by Diebold and Mariano's test with the correction of Harvey, Leybourne and Newbold (1997).

    Series that share a day move together, so the test is on the daily means of the loss difference; its variance has
    the autocovariances of `steps` - 1 lags, since forecasts of `steps` steps overlap, and is at least Newey and West's.
    The skill is over all samples: where it has the other sign, nothing is decided. Nor is it where the error is at
    least twice the baseline's and the test finds no difference; where the test cannot be computed, it is worse.

    Args:
        errors, baseline: `(samples,)` losses (squared errors) of the model and of the baseline.
        days: `(samples,)` the day of each forecast.
        name: the baseline's name.
        steps: horizon of the forecasts.
        kernel: as `diebold_mariano` takes it.
        counts: `(samples,)` forecasts that each loss is the mean of; None for one each.
    """
    from scipy import stats

    days, which = np.unique(days, return_inverse=True)
    counts = np.ones(len(errors)) if counts is None else counts
    difference = np.bincount(which, counts * (errors - baseline)) / np.bincount(which, counts)
    gained = skill(float(counts @ errors), float(counts @ baseline))
    statistic, p = diebold_mariano(difference, steps, kernel)
    outcome = "beats" if statistic > 0 else "loses to"
    if np.isnan(p):
        untested = "is worse than" if gained <= ROUT else "undecided against"
        outcome = untested if difference.any() else "ties with"
    elif p >= 0.05:
        outcome = "undecided against" if gained <= ROUT else "ties with"
    elif gained * statistic < 0:
        # A few crowded days against many others: better by the day, worse by the sample, or the reverse.
        outcome = "undecided against"
    middle = len(days) // 2
    first, second = (diebold_mariano(half, steps, kernel)[0] for half in (difference[:middle], difference[middle:]))
    # In shares of the baseline's loss, as the skill is.
    unit = float(counts @ baseline) / max(float(counts.sum()), 1.0) or float("nan")
    margin = float(stats.t.ppf(0.975, len(days) - 1)) * _standard_error(difference, steps, kernel) / unit
    return Verdict(outcome, name, gained, p, statistic, (first, second), margin=margin)


def against_each(
    errors: Numbers, baselines: Mapping[str, Numbers], days: Numbers, *, steps: int, counts: Numbers
) -> dict[str, Verdict]:
    """Compare a forecast with every baseline, the one with the smallest error first; the rest as `verdict` takes it."""
    first = hardest(baselines, counts)
    order = [first, *(name for name in baselines if name != first)]
    return {name: verdict(errors, baselines[name], days, name=name, steps=steps, counts=counts) for name in order}


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], *, name: str, what: str) -> Verdict:
    """Compare two classifiers by McNemar's exact test: of the samples that one of them alone names rightly, half each.

    McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages". The
    samples must be independent of one another.

    Args:
        ours, theirs: `(samples,)` whether the model, and the baseline, are right.
        name: the baseline's name.
        what: the noun of a sample, in the plural.
    """
    from scipy import stats

    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    p = float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
    outcome = "ties with" if p >= 0.05 else "beats" if better > worse else "loses to"
    words = f"accuracy {ours.mean():.2%} against {theirs.mean():.2%} in {len(ours):,} {what}"
    statistic = (better - worse) / max(better + worse, 1) ** 0.5
    return Verdict(outcome, name, skill(float(1 - ours.mean()), float(1 - theirs.mean())), p, statistic, words=words)


def diebold_mariano(difference: Numbers, steps: int, kernel: str = "uniform") -> tuple[float, float]:
    """The statistic of a mean loss difference, above 0 where it is negative, and its two-sided p-value.

    Both are NaN with too few days or without any variance.

    Args:
        difference: `(days,)` the loss less that of the baseline.
        steps: so many days following one another are dependent.
        kernel: weights of the autocovariances: "uniform" where those of `steps` or more days apart are 0, as of
            forecasts that overlap; "bartlett" (Newey and West) where `steps` is a rule of thumb.
    """
    from scipy import stats

    error = _standard_error(difference, steps, kernel)
    if np.isnan(error):
        return error, error
    statistic = -float(np.mean(difference)) / error
    return statistic, float(2 * stats.t.sf(abs(statistic), len(difference) - 1))


def _standard_error(difference: Numbers, steps: int, kernel: str) -> float:
    """Of a mean loss difference, as `diebold_mariano` takes it; NaN where that is."""
    from statsmodels.stats.sandwich_covariance import S_hac_simple, weights_bartlett, weights_uniform

    days = len(difference)
    if days < max(10, 2 * steps) or np.ptp(difference) == 0:
        return float("nan")
    centred = (difference - np.mean(difference))[:, None]
    # The uniform kernel's may be far too small, even below 0, where there are few days a horizon.
    weights = (weights_bartlett, weights_uniform) if kernel == "uniform" else (weights_bartlett,)
    variance = max(S_hac_simple(centred, steps - 1, each).item() for each in weights) / days
    harvey = (days + 1 - 2 * steps + steps * (steps - 1) / days) / days
    return float(np.sqrt(variance / (days * harvey)))
