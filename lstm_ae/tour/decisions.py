"""Decisions on claims by Welch's test, equivalence tests, and thresholds over the seeds of settings."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Float64Array
from lstm_ae.formatting import format_number

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
    def compared(self) -> Float64Array:
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
    ours: SettingResult, threshold: float, *, whole: bool, baseline: SettingResult | None = None, reverse: bool = False
) -> Decision:
    """Decide whether a setting reaches a threshold, and exceeds its baseline, with all seeds.

    Args:
        ours: The setting.
        threshold: The threshold.
        whole: Whether it was trained for as long and on as much data as the claim is about. Otherwise missing the
            threshold is not conclusive, because more training may reach it.
        baseline: The setting to exceed.
        reverse: Whether the claim is that it does not reach the threshold.
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
        return Decision(REFUTED if reverse else CONFIRMED, text)
    if not whole:
        return Decision(OPEN, text, "more data or training, as in the report, may reach it")
    if over.any():
        return Decision(OPEN, text, "the seeds disagree")
    return Decision(CONFIRMED if reverse else REFUTED, text)


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
