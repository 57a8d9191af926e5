"""Decisions on claims by Welch's test, equivalence tests, and thresholds over the seeds of settings."""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Float64Array
from lstm_ae.formatting import format_number

CONFIRMED, REFUTED, OPEN = "confirmed", "not confirmed", "not decidable"

SIGNIFICANT = 0.05


class Quantity(NamedTuple):
    """Quantity of a run.

    Args:
        label: its displayed name.
        name: name of the measure.
        source: a split ("validation", "test"), "seconds" (per epoch), or "first step" or "last step" of a forecast of
            many days.
        unit: "%" for shares, which are formatted in percent; "" for none.
        higher: whether larger values are better.
        log: whether to compare the logarithms; the values are positive then.
        baseline: name of the baseline or its beginning; "" for none.
        share: whether the value is divided by that baseline.
    """

    label: str
    name: str
    source: str = "test"
    unit: str = ""
    higher: bool = False
    log: bool = False
    baseline: str = ""
    share: bool = False

    def format(self, values: Sequence[float]) -> str:
        """Return the mean and standard deviation of values, as in "97.10% ± 0.20".

        Examples:
            >>> Quantity("accuracy", "accuracy", unit="%").format((0.97, 0.98)), Quantity("loss", "mse").format([2e-4])
            ('97.50% ± 0.71', '0.0002')
        """
        if not values:
            return "no value"
        mean = float(np.mean(values))
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        if self.unit == "%" and 0 < mean < 5e-4:
            return f"{format_number(float(f'{100 * mean:.2g}'))}%"
        if self.unit == "%":
            return f"{100 * mean:.2f}%" + (f" ± {100 * spread:.2f}" if spread is not None else "")
        text = format_number(mean) + (f" ± {format_number(float(f'{spread:.2g}'))}" if spread is not None else "")
        return f"{text} {self.unit}".rstrip()

    def format_amount(self, amount: float) -> str:
        """Return an amount by which values differ; it is a factor if logarithms are compared."""
        if self.log:
            return f"a factor of {amount:g}"
        return f"{100 * amount:g} point{'s' * (amount != 0.01)}" if self.unit == "%" else f"{amount:g}"

    def compared(self, values: Sequence[float]) -> Float64Array:
        """Return values, or their logarithms, with the sign for which larger is better."""
        array = np.asarray(values, np.float64)
        array = np.log10(array) if self.log else array
        return array if self.higher else -array


class SettingResult(NamedTuple):
    """Result of a setting: its name, the quantity, and one value per seed."""

    name: str
    quantity: Quantity
    values: tuple[float, ...]

    def __str__(self) -> str:
        return self.quantity.format(self.values)

    @property
    def compared(self) -> Float64Array:
        """The values as they are compared."""
        return self.quantity.compared(self.values)


class Decision(NamedTuple):
    """A verdict on a claim, the figures that it is based on, and the reason if it is not decidable ("" otherwise)."""

    verdict: str
    figures: str
    why: str = ""


class Difference(NamedTuple):
    """The difference of two means: its value, its 90% interval, and the two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def welch_difference(ours: SettingResult, theirs: SettingResult) -> Difference:
    """Return how much better `ours` is with Welch's test; both have two or more values."""
    from scipy import stats

    one, two = ours.compared, theirs.compared
    difference = float(one.mean() - two.mean())
    # Without any variance the difference is exact.
    if np.ptp(one) == np.ptp(two) == 0:
        return Difference(difference, difference, difference, float(difference == 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nearly equal values
        test = stats.ttest_ind(one, two, equal_var=False)
    low, high = test.confidence_interval(1 - 2 * SIGNIFICANT)
    return Difference(difference, float(low), float(high), float(test.pvalue))


def decide_comparison(
    ours: SettingResult,
    theirs: SettingResult,
    amount: float = 0.0,
    *,
    alike: bool = False,
    baseline: SettingResult | None = None,
) -> Decision:
    """Decide whether one setting is better than another, or equivalent.

    Args:
        ours: the setting.
        theirs: the other setting.
        amount: the least difference of the claim, or the margin of the equivalence; 0 for any difference. A factor if
            logarithms are compared.
        alike: whether the claim is that they differ by less than the margin.
        baseline: the baseline that one of the settings must exceed on average, because a comparison of two settings
            that have not learned anything is not conclusive.
    """
    text = f"{ours} ({ours.name}) against {theirs} ({theirs.name})"
    if (least := min(len(ours.values), len(theirs.values))) < 2:
        return Decision(OPEN, text, "one seed is not enough" if least else "a value is missing")
    difference = welch_difference(ours, theirs)
    text += f" over {least} seeds, p {'< 0.0001' if difference.p < 1e-4 else f'= {difference.p:.2g}'}"
    if baseline is not None and baseline.values:
        level = baseline.compared.mean()
        if not max(ours.compared.mean(), theirs.compared.mean()) > level:
            return Decision(OPEN, text, f"neither is better than the {baseline.name}, which has {baseline}")
    if not amount:
        if difference.p >= SIGNIFICANT:
            return Decision(OPEN, text, f"p is not below {SIGNIFICANT}")
        return Decision(CONFIRMED if difference.value > 0 else REFUTED, text)
    limit = math.log10(amount) if ours.quantity.log else amount
    words = ours.quantity.format_amount(amount)
    text += f", claimed: {'less than' if alike else 'at least'} {words}"
    low, high = difference.low, difference.high
    confirmed = -limit < low and high < limit if alike else low >= limit
    refuted = low > limit or high < -limit if alike else high < limit
    if not (confirmed or refuted):
        return Decision(OPEN, text, f"the 90% interval of the difference includes {words}")
    return Decision(CONFIRMED if confirmed else REFUTED, text)


def decide_reached(
    ours: SettingResult, threshold: float, *, whole: bool, baseline: SettingResult | None = None, reverse: bool = False
) -> Decision:
    """Decide whether a setting reaches a threshold, and exceeds its baseline, with all seeds.

    Args:
        ours: the setting.
        threshold: the threshold.
        whole: whether it was trained for as long and on as much data as the claim is about. Otherwise missing the
            threshold is not conclusive, because more training may reach it.
        baseline: the setting to exceed.
        reverse: whether the claim is that it does not reach the threshold.
    """
    text = f"{ours} ({ours.name}), the threshold is {ours.quantity.format([threshold])}"
    if not ours.values:
        return Decision(OPEN, text, "a value is missing")
    over = ours.compared >= ours.quantity.compared([threshold])
    if baseline is not None and baseline.values:
        text += f", the baseline {baseline.name} has {baseline}"
        over &= ours.compared > baseline.compared.max()
    if len(ours.values) > 1:
        text += f", over {len(ours.values)} seeds"
    if over.all():
        return Decision(REFUTED if reverse else CONFIRMED, text)
    if not whole:
        return Decision(OPEN, text, "more data or training, as in the report, may reach it")
    if over.any():
        return Decision(OPEN, text, "the seeds disagree")
    return Decision(CONFIRMED if reverse else REFUTED, text)


def decide_all(decisions: Sequence[Decision]) -> Decision:
    """Decide a finding of several claims: confirmed if all are confirmed, not confirmed if one is not confirmed."""
    verdicts = [each.verdict for each in decisions]
    verdict = REFUTED if REFUTED in verdicts else OPEN if OPEN in verdicts else CONFIRMED
    # The reasons of undecided comparisons explain an open verdict only.
    reasons = dict.fromkeys(each.why for each in decisions if each.why and verdict == OPEN)
    return Decision(verdict, "; ".join(each.figures for each in decisions), "; ".join(reasons))
