"""The rules that decide a finding of the source report: from one number a seed to a verdict and its figures.

Two settings are compared by Welch's test (1947), since their spreads differ: with p < 0.05 the better one is better,
else it is not decidable, and so it is with a single seed. That two settings are alike is decided by two such tests
one-sided (Schuirmann 1987): alike where the 90 % interval of the difference lies within a margin, not alike where it
lies outside. A single number is held against a threshold and its baseline, and several seeds must agree. Numbers that
span powers of ten are compared as logarithms.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.words import number

CONFIRMED, REFUTED, OPEN = "confirmed", "not confirmed", "not decidable"
SIGNIFICANT = 0.05


class Sample(NamedTuple):
    """What a setting reached.

    Args:
        name: the setting's.
        values: one number a seed.
        unit: "%" for shares, which are told in per cent; "" for none.
        higher: whether more is better.
        log: whether the logarithms are compared; the values are then above 0.
    """

    name: str
    values: tuple[float, ...]
    unit: str = ""
    higher: bool = False
    log: bool = False

    def __str__(self) -> str:
        """Mean and spread, as in "97.10 % ± 0.20".

        >>> str(Sample("V3", (0.97, 0.98), "%")), str(Sample("loss", (0.0002,)))
        ('97.50 % ± 0.71', '0.0002')
        """
        if not self.values:
            return "no number"
        mean = float(np.mean(self.values))
        spread = float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None
        if self.unit == "%" and 0 < mean < 5e-4:
            return f"{number(float(f'{100 * mean:.2g}'))} %"
        if self.unit == "%":
            return f"{100 * mean:.2f} %" + (f" ± {100 * spread:.2f}" if spread is not None else "")
        unit = f" {self.unit}" if self.unit else ""
        return number(mean) + (f" ± {number(float(f'{spread:.2g}'))}" if spread is not None else "") + unit

    @property
    def compared(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The values as they are compared: larger is better."""
        values = np.asarray(self.values, np.float64)
        values = np.log10(values) if self.log else values
        return values if self.higher else -values


class Judged(NamedTuple):
    """A verdict, the figures that decide it in words, and why they do not where they do not; "" where they do."""

    verdict: str
    figures: str
    why: str = ""

    def __str__(self) -> str:
        """All of it: "0.3 (one), the threshold is 0.2: not decidable, since the seeds do not agree"."""
        return f"{self.figures}: {self.verdict}" + (f", since {self.why}" if self.why else "")


class Difference(NamedTuple):
    """The difference of two means: its value, its 90 % interval, and the two-sided p-value of none."""

    value: float
    low: float
    high: float
    p: float


def difference(ours: Sample, theirs: Sample) -> Difference | None:
    """How much better ours is, by Welch's test; None with fewer than two numbers on a side."""
    from scipy import stats

    one, two = ours.compared, theirs.compared
    if min(len(one), len(two)) < 2:
        return None
    found = float(one.mean() - two.mean())
    parts = [float(values.var(ddof=1)) / len(values) for values in (one, two)]
    error = math.sqrt(sum(parts))
    # Seeds that agree to the last bit leave nothing to chance.
    if error == 0:
        return Difference(found, found, found, float(found == 0))
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (one, two), strict=True))
    reach = float(stats.t.ppf(1 - SIGNIFICANT, freedom)) * error
    return Difference(found, found - reach, found + reach, float(2 * stats.t.sf(abs(found) / error, freedom)))


def better(ours: Sample, theirs: Sample, by: float = 0.0) -> Judged:
    """Whether one setting is better than another; where a claim says how much, `by` at least so much.

    Where logarithms are compared that is a factor.
    """
    text = f"{_named(ours)} against {_named(theirs)}"
    found = difference(ours, theirs)
    if found is None:
        return _few(ours, theirs, text)
    text += f" over {_seeds(ours, theirs)}, p {_p(found.p)}"
    if not by:
        if found.p >= SIGNIFICANT:
            return Judged(OPEN, text, f"p is not below {SIGNIFICANT}")
        return Judged(CONFIRMED if found.value > 0 else REFUTED, text)
    wide, told = (math.log10(by), f"a factor of {by:g}") if ours.log else (by, _told(by, ours))
    if found.low >= wide:
        return Judged(CONFIRMED, f"{text}, surely by {told} or more")
    if found.high < wide:
        return Judged(REFUTED, f"{text}, surely by less than {told}")
    return Judged(OPEN, text, f"the 90 % interval of the difference reaches over {told}")


def alike(ours: Sample, theirs: Sample, margin: float) -> Judged:
    """Whether two settings differ by less than a margin, which is a factor where logarithms are compared."""
    wide = math.log10(margin) if ours.log else margin
    told = f"a factor of {margin:g}" if ours.log else _told(margin, ours)
    text = f"{_named(ours)} against {_named(theirs)}"
    found = difference(ours, theirs)
    if found is None:
        return _few(ours, theirs, text)
    text += f" over {_seeds(ours, theirs)}"
    if -wide < found.low and found.high < wide:
        return Judged(CONFIRMED, f"{text}, surely within {told}")
    if found.low > wide or found.high < -wide:
        return Judged(REFUTED, f"{text}, surely more than {told} apart")
    return Judged(OPEN, text, f"the 90 % interval of the difference reaches over {told}")


def reaches(ours: Sample, threshold: float, *, whole: bool, baseline: Sample | None = None) -> Judged:
    """Whether a setting comes to a threshold, and past its baseline, with all seeds.

    Args:
        whole: whether it was trained as long, and on as much, as the claim is about. If not, missing the threshold
            says nothing: more may reach it.
    """
    level = Sample("", (threshold,), ours.unit, ours.higher, ours.log)
    text = f"{_named(ours)}, the threshold is {level}"
    if baseline is not None and baseline.values:
        text += f", the baseline {baseline.name} has {baseline}"
    text += _over(ours)
    if not ours.values:
        return Judged(OPEN, text, "a number is missing")
    over = ours.compared >= level.compared[0]
    if baseline is not None and baseline.values:
        over &= ours.compared > baseline.compared.max()
    if over.all():
        return Judged(CONFIRMED, text)
    if not whole:
        return Judged(
            OPEN, text, "what is missed with less data or training than the report's may be reached with more"
        )
    return Judged(OPEN, text, "the seeds do not agree") if over.any() else Judged(REFUTED, text)


def fails(ours: Sample, threshold: float, *, whole: bool) -> Judged:
    """Whether a setting stays worse than a threshold: the reverse of `reaches`, without a baseline."""
    judged = reaches(ours, threshold, whole=whole)
    turned = {CONFIRMED: REFUTED, REFUTED: CONFIRMED, OPEN: OPEN}
    return judged._replace(verdict=turned[judged.verdict])


def compromise(middle: Sequence[Sample], others: Sequence[Sequence[Sample]]) -> Judged:
    """Whether the middle setting is the best of all in all measures, which leaves nothing to weigh.

    Confirmed where each of the others is worse in all of them; not confirmed where one is better in all of them; both
    by Welch's test. Where some are better in one and worse in another, it is a matter of taste. Each setting is a
    sequence of the same measures.
    """
    said = " and ".join(map(str, middle))
    text = f"{middle[0].name} has {said}"
    found = [[better(one, other) for one, other in zip(each, middle, strict=True)] for each in others]
    fewest = min((sample for each in (middle, *others) for sample in each), key=lambda sample: len(sample.values))
    if len(fewest.values) < 2:
        return _few(fewest, fewest, text)
    above = [each[0].name for each, row in zip(others, found, strict=True) if all(x.verdict == CONFIRMED for x in row)]
    below = [each[0].name for each, row in zip(others, found, strict=True) if all(x.verdict == REFUTED for x in row)]
    text += f" over {_seeds(middle[0], middle[0])}"
    if above:
        return Judged(REFUTED, f"{text}, better in both: {', '.join(above)}")
    if len(below) == len(others):
        return Judged(CONFIRMED, f"{text}, each of the other {len(others)} is worse in both")
    unsure = ", ".join(each[0].name for each in others if each[0].name not in below)
    return Judged(OPEN, text, f"neither surely better nor surely worse in both: {unsure}")


def every(judged: Sequence[Judged]) -> Judged:
    """A claim of several comparisons: confirmed where all are, not confirmed where one is not."""
    verdicts = [each.verdict for each in judged]
    verdict = REFUTED if REFUTED in verdicts else OPEN if OPEN in verdicts else CONFIRMED
    # Why some of them decide nothing explains a verdict that is open, and no other.
    whys = dict.fromkeys(each.why for each in judged if each.why and verdict == OPEN)
    return Judged(verdict, "; ".join(each.figures for each in judged), "; ".join(whys))


def _few(ours: Sample, theirs: Sample, text: str) -> Judged:
    least = min(len(ours.values), len(theirs.values))
    return Judged(OPEN, text, "one seed is too few to tell" if least else "a number is missing")


def _named(sample: Sample) -> str:
    return f"{sample} ({sample.name})"


def _told(margin: float, sample: Sample) -> str:
    return f"{100 * margin:g} point{'s' * (margin != 0.01)}" if sample.unit == "%" else f"{margin:g}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def _over(sample: Sample) -> str:
    return f", over {_seeds(sample, sample)}" if len(sample.values) > 1 else ""


def _seeds(ours: Sample, theirs: Sample) -> str:
    counts = sorted({len(ours.values), len(theirs.values)})
    return " and ".join(map(str, counts)) + " seeds"
