"""Significance tests (Diebold-Mariano, McNemar, Welch, and equivalence tests) and the verdicts based on them."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray
from lstm_ae.evaluation import Verdict, skill
from lstm_ae.formatting import format_number

# The skill of an error twice as large as the baseline's, which is not called a tie even without significance.
CLEARLY_WORSE = -1.0

# A forecaster starts as a baseline and keeps this start if training does not improve on it.
UNIMPROVED = "the model equals it"


def hardest(losses: Mapping[str, Array], counts: Array | None = None) -> str:
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
    middle = len(days) // 2
    first, second = (diebold_mariano(half, steps, kernel)[0] for half in (difference[:middle], difference[middle:]))
    # The margin is relative to the baseline's loss, like the skill.
    unit = float(counts @ baseline) / max(float(counts.sum()), 1.0) or float("nan")
    margin = float(stats.t.ppf(0.975, len(days) - 1)) * _standard_error(difference, steps, kernel) / unit
    windows = -(-len(days) // steps)
    return Verdict(outcome, name, gained, p, statistic, (first, second), words, margin=margin, windows=windows)


def against_each(
    errors: Array,
    baselines: Mapping[str, Array],
    days: Array,
    *,
    steps: int,
    counts: Array,
    rounding: Array | float = 0.0,
) -> dict[str, Verdict]:
    """Compare a forecast with every baseline, the one with the smallest error first; see `compare_forecasts`."""
    first = hardest(baselines, counts)
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


CONFIRMED, REFUTED, OPEN = "confirmed", "not confirmed", "not decidable"

SIGNIFICANT = 0.05


class SettingResult(NamedTuple):
    """The results of a setting.

    Args:
        name: The name of the setting.
        values: One value per seed.
        unit: "%" for shares, which are formatted in percent; "" for none.
        higher: Whether larger values are better.
        log: Whether to compare the logarithms; the values are positive then.
    """

    name: str
    values: tuple[float, ...]
    unit: str = ""
    higher: bool = False
    log: bool = False

    def __str__(self) -> str:
        """Return the mean and standard deviation, as in "97.10% ± 0.20".

        Examples:
            >>> str(SettingResult("V3", (0.97, 0.98), "%")), str(SettingResult("loss", (0.0002,)))
            ('97.50% ± 0.71', '0.0002')
        """
        if not self.values:
            return "no value"
        mean = float(np.mean(self.values))
        spread = float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None
        if self.unit == "%" and 0 < mean < 5e-4:
            return f"{format_number(float(f'{100 * mean:.2g}'))}%"
        if self.unit == "%":
            return f"{100 * mean:.2f}%" + (f" ± {100 * spread:.2f}" if spread is not None else "")
        unit = f" {self.unit}" if self.unit else ""
        return (
            format_number(mean) + (f" ± {format_number(float(f'{spread:.2g}'))}" if spread is not None else "") + unit
        )

    @property
    def compared(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the values, or their logarithms if `log` is set, with the sign for which larger is better."""
        values = np.asarray(self.values, np.float64)
        values = np.log10(values) if self.log else values
        return values if self.higher else -values


class Decision(NamedTuple):
    """A verdict on a claim, the figures that it is based on, and the reason if it is not decidable ("" otherwise)."""

    verdict: str
    figures: str
    why: str = ""

    def __str__(self) -> str:
        """Return, for example, "0.3 (one), the threshold is 0.2: not decidable, since the seeds disagree"."""
        return f"{self.figures}: {self.verdict}" + (f", since {self.why}" if self.why else "")


class Difference(NamedTuple):
    """The difference of two means: its value, its 90% interval, and the two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def welch_difference(ours: SettingResult, theirs: SettingResult) -> Difference | None:
    """Return how much better `ours` is with Welch's test; None with fewer than two values on a side."""
    from scipy import stats

    one, two = ours.compared, theirs.compared
    if min(len(one), len(two)) < 2:
        return None
    difference = float(one.mean() - two.mean())
    parts = [float(values.var(ddof=1)) / len(values) for values in (one, two)]
    error = math.sqrt(sum(parts))
    # Without any variance the difference is exact.
    if error == 0:
        return Difference(difference, difference, difference, float(difference == 0))
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (one, two), strict=True))
    reach = float(stats.t.ppf(1 - SIGNIFICANT, freedom)) * error
    return Difference(
        difference, difference - reach, difference + reach, float(2 * stats.t.sf(abs(difference) / error, freedom))
    )


def decide_better(
    ours: SettingResult, theirs: SettingResult, by: float = 0.0, baseline: SettingResult | None = None
) -> Decision:
    """Decide whether one setting is better than another, by at least `by` if the claim states an amount.

    Args:
        ours: The setting.
        theirs: The other setting.
        by: The amount; a factor if logarithms are compared.
        baseline: The baseline that one of the settings must exceed on average, because a comparison of two settings
            that have not learned anything is not conclusive.
    """
    text = f"{_named(ours)} against {_named(theirs)}"
    difference = welch_difference(ours, theirs)
    if difference is None:
        return _few(ours, theirs, text)
    text += f" over {_seeds(ours, theirs)}, p {_p(difference.p)}"
    if baseline is not None and baseline.values:
        level = baseline.compared.mean()
        if not max(ours.compared.mean(), theirs.compared.mean()) > level:
            return Decision(OPEN, text, f"neither is better than the {baseline.name}, which has {baseline}")
    if not by:
        if difference.p >= SIGNIFICANT:
            return Decision(OPEN, text, f"p is not below {SIGNIFICANT}")
        return Decision(CONFIRMED if difference.value > 0 else REFUTED, text)
    limit, amount = (math.log10(by), f"a factor of {by:g}") if ours.log else (by, _format_margin(by, ours))
    if difference.low >= limit:
        return Decision(CONFIRMED, f"{text}, by at least {amount}")
    if difference.high < limit:
        return Decision(REFUTED, f"{text}, by less than {amount}")
    return Decision(OPEN, text, f"the 90% interval of the difference includes {amount}")


def decide_alike(ours: SettingResult, theirs: SettingResult, margin: float) -> Decision:
    """Decide whether two settings differ by less than a margin, which is a factor if logarithms are compared."""
    limit = math.log10(margin) if ours.log else margin
    amount = f"a factor of {margin:g}" if ours.log else _format_margin(margin, ours)
    text = f"{_named(ours)} against {_named(theirs)}"
    difference = welch_difference(ours, theirs)
    if difference is None:
        return _few(ours, theirs, text)
    text += f" over {_seeds(ours, theirs)}"
    if -limit < difference.low and difference.high < limit:
        return Decision(CONFIRMED, f"{text}, equivalent within {amount}")
    if difference.low > limit or difference.high < -limit:
        return Decision(REFUTED, f"{text}, more than {amount} apart")
    return Decision(OPEN, text, f"the 90% interval of the difference extends beyond {amount}")


def decide_reached(
    ours: SettingResult, threshold: float, *, whole: bool, baseline: SettingResult | None = None
) -> Decision:
    """Decide whether a setting reaches a threshold, and exceeds its baseline, with all seeds.

    Args:
        ours: The setting.
        threshold: The threshold.
        whole: Whether it was trained for as long and on as much data as the claim is about. Otherwise missing the
            threshold is not conclusive, because more training may reach it.
        baseline: The setting to exceed.
    """
    level = SettingResult("", (threshold,), ours.unit, ours.higher, ours.log)
    text = f"{_named(ours)}, the threshold is {level}"
    if baseline is not None and baseline.values:
        text += f", the baseline {baseline.name} has {baseline}"
    text += _over(ours)
    if not ours.values:
        return Decision(OPEN, text, "a value is missing")
    over = ours.compared >= level.compared[0]
    if baseline is not None and baseline.values:
        over &= ours.compared > baseline.compared.max()
    if over.all():
        return Decision(CONFIRMED, text)
    if not whole:
        return Decision(OPEN, text, "more data or training, as in the report, may reach it")
    return Decision(OPEN, text, "the seeds disagree") if over.any() else Decision(REFUTED, text)


def decide_missed(ours: SettingResult, threshold: float, *, whole: bool) -> Decision:
    """Decide whether a setting is worse than a threshold: the reverse of `decide_reached`, without a baseline."""
    judged = decide_reached(ours, threshold, whole=whole)
    turned = {CONFIRMED: REFUTED, REFUTED: CONFIRMED, OPEN: OPEN}
    return judged._replace(verdict=turned[judged.verdict])


def decide_compromise(middle: Sequence[SettingResult], others: Sequence[Sequence[SettingResult]]) -> Decision:
    """Decide whether the middle setting is the best in all measures, so that there is no trade-off.

    The claim is confirmed if each of the others is worse in all measures, and not confirmed if one is better in all
    measures, both by Welch's test. It is not decidable otherwise. Each setting is a sequence of the same measures.
    """
    results = " and ".join(map(str, middle))
    text = f"{middle[0].name} has {results}"
    decisions = [[decide_better(one, other) for one, other in zip(each, middle, strict=True)] for each in others]
    fewest = min((sample for each in (middle, *others) for sample in each), key=lambda sample: len(sample.values))
    if len(fewest.values) < 2:
        return _few(fewest, fewest, text)
    above = [
        each[0].name for each, row in zip(others, decisions, strict=True) if all(x.verdict == CONFIRMED for x in row)
    ]
    below = [
        each[0].name for each, row in zip(others, decisions, strict=True) if all(x.verdict == REFUTED for x in row)
    ]
    text += f" over {_seeds(middle[0], middle[0])}"
    if above:
        return Decision(REFUTED, f"{text}, better in both: {', '.join(above)}")
    if len(below) == len(others):
        return Decision(CONFIRMED, f"{text}, each of the other {len(others)} is worse in both")
    others_undecided = ", ".join(each[0].name for each in others if each[0].name not in below)
    return Decision(OPEN, text, f"not significantly better or worse in both: {others_undecided}")


def decide_all(judged: Sequence[Decision]) -> Decision:
    """Decide a claim of several comparisons: confirmed if all are confirmed, not confirmed if one is not confirmed."""
    verdicts = [each.verdict for each in judged]
    verdict = REFUTED if REFUTED in verdicts else OPEN if OPEN in verdicts else CONFIRMED
    # The reasons of undecided comparisons explain an open verdict only.
    whys = dict.fromkeys(each.why for each in judged if each.why and verdict == OPEN)
    return Decision(verdict, "; ".join(each.figures for each in judged), "; ".join(whys))


def _few(ours: SettingResult, theirs: SettingResult, text: str) -> Decision:
    least = min(len(ours.values), len(theirs.values))
    return Decision(OPEN, text, "one seed is not enough" if least else "a value is missing")


def _named(sample: SettingResult) -> str:
    return f"{sample} ({sample.name})"


def _format_margin(margin: float, sample: SettingResult) -> str:
    return f"{100 * margin:g} point{'s' * (margin != 0.01)}" if sample.unit == "%" else f"{margin:g}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def _over(sample: SettingResult) -> str:
    return f", over {_seeds(sample, sample)}" if len(sample.values) > 1 else ""


def _seeds(ours: SettingResult, theirs: SettingResult) -> str:
    counts = sorted({len(ours.values), len(theirs.values)})
    return " and ".join(map(str, counts)) + " seeds"
