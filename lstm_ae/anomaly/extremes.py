"""The tail of normal scores: peaks over a high level follow a generalised Pareto distribution, if anything does.

The level is passed in clusters, since scores of neighbouring rows share windows. Clusters are told apart by the times
between exceedances, without a run length to choose (Ferro and Segers 2003, "Inference for clusters of extreme values"),
and only the highest score of each is fitted: these are nearly independent, which the likelihood, its test and the
interval rest on. The fit is Grimshaw's (1993, "Computing maximum likelihood estimates for the generalized Pareto
distribution"), which Siffer et al. (2017, "Anomaly detection in streams with extreme value theory") brought to anomaly
detection. A fit that its own test refuses is not used.

Few peaks tell no shape. They are taken as exponential, shape 0: the limit of every tail that is neither bounded nor
heavy, and on the safe side of a bounded one, so that only a heavier one refuses it.

How much of the tail lies above a score is the mean over all shapes and scales that the peaks make likely, not the value
of the best fit, which promises too few alarms: on exponential scores of 600 rows three times too few for one a month.
For exponential excesses it is exact: of n with the sum s, a new one is above y with probability (1 + y / s) ** -n.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.anomaly.pareto import (
    DRAWS,
    SHAPES,
    anderson_darling,
    exponential,
    goodness,
    greenwood,
    grimshaw,
    likely_exponentials,
    likely_tails,
    survival,
)

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

# Quantiles of the scores that are tried as the level, the lowest first: it leaves the most peaks. The lowest one that
# passes is taken (after Bader, Yan and Zhang 2018, "Automated threshold selection for extreme value analysis").
LEVELS = (0.9, 0.95, 0.98, 0.99)
# Peaks from which a shape is told; with fewer they are taken as exponential, from two, as one is not unequal to any.
PEAKS = 30
FEW_PEAKS = 2
# Peaks that are fitted at most: more cost time, and a test on more refuses every tail of real data.
MOST_PEAKS = 1000
# In means: where the tail is told, and read off between.
EXCESSES = np.geomspace(1e-4, 1e6, 400)
# A fit is refused if fewer of its own samples lie this far from it.
REFUSED = 0.05


class Tail(NamedTuple):
    """What was fitted above the level.

    Args:
        level: scores above it are in the tail.
        share: of all rows that lie above the level.
        rate: clusters above the level for a row.
        shape, scale: of the generalised Pareto distribution that fits best.
        peaks: clusters that were fitted.
        fit: the share of samples of the fitted distribution that lie as far from their fit as the peaks do.
        draws: `(4000, 3)` rates, shapes and scales as likely as the peaks make them.
        curve: `(2, points)` logarithms of excesses over the level and of the part of the tail above them.
    """

    level: float
    share: float
    rate: float
    shape: float
    scale: float
    peaks: int
    fit: float
    draws: Floats
    curve: Floats

    def survival(self, scores: Numbers) -> Floats:
        """The part of the tail that lies above each score, 1 up to the level."""
        excess = np.maximum(np.asarray(scores, np.float64) - self.level, np.exp(self.curve[0, 0]))
        parts: Floats = np.exp(np.interp(np.log(excess), *self.curve))
        return parts

    def score_at(self, part: float) -> float:
        """The score above which that part of the tail lies, 0 < part <= 1."""
        return self.level + float(np.exp(np.interp(-np.log(part), -self.curve[1], self.curve[0])))

    def clusters(self, score: float) -> tuple[float, float, float]:
        """Clusters above a score in the tail for a row, with the ends of their 95 per cent interval."""
        rate, shape, scale = self.draws.T
        low, high = np.quantile(rate * survival(np.full(len(rate), score - self.level), shape, scale), (0.025, 0.975))
        return self.rate * float(self.survival(np.array(score))), float(low), float(high)


def fit_tail(scores: Numbers, apart: int = 1, segment: Numbers | None = None, seed: int = 0) -> tuple[Tail | None, str]:
    """The tail of normal scores at the lowest level where it passes its test, or None and the reason.

    Args:
        scores: `(rows,)`; NaN for a row without one.
        apart: exceedances no more rows apart than that are never two clusters.
        segment: `(rows,)`, which rows belong together; a cluster never crosses from one into another.
        seed: of the samples for the test.
    """
    known = scores[~np.isnan(scores)]
    reason = "no scores"
    for quantile in LEVELS if len(known) else ():
        level = float(np.quantile(known, quantile))
        peaks = cluster_peaks(scores, level, apart, segment)
        if len(peaks) < FEW_PEAKS:
            # Above a higher level are fewer still.
            return None, f"{len(peaks)} peaks of the {FEW_PEAKS} needed" if quantile == LEVELS[0] else reason
        tail, refusal = _tail(peaks, level, known, seed)
        if tail is not None:
            return tail, ""
        reason = f"{len(peaks)} peaks above the {quantile:g} quantile {refusal}"
    return None, reason


def _tail(peaks: Floats, level: float, known: Floats, seed: int) -> tuple[Tail | None, str]:
    excess = peaks - level
    if len(excess) > MOST_PEAKS:
        excess = np.random.default_rng([seed, 1]).choice(excess, MOST_PEAKS, replace=False)
    few = len(excess) < PEAKS
    estimate, statistic = (exponential, greenwood) if few else (grimshaw, anderson_darling)
    shape, scale = estimate(excess)
    if not SHAPES[0] < shape < SHAPES[1]:
        return None, f"fail their test, the shape is {shape:.2f}"
    fit = goodness(excess, estimate, statistic, np.random.default_rng([seed, 2]))
    if fit < REFUSED:
        return None, f"fail their test, p = {fit:.3f}"
    random = np.random.default_rng([seed, 3])
    rates = random.gamma(len(peaks) + 0.5, size=DRAWS) / len(known)
    likely = likely_exponentials(excess, random) if few else likely_tails(excess, random)
    above = np.mean(excess) * EXCESSES
    if few:
        parts = (1 + above / np.sum(excess)) ** -len(excess)
    else:
        parts = np.mean([survival(above, *pair) for pair in likely], axis=0)
    curve = np.log([above, np.maximum(parts, np.finfo(np.float64).tiny)])
    share = (int(np.count_nonzero(known > level)) + 1) / (len(known) + 1)
    draws = np.column_stack([rates, likely])
    return Tail(level, share, len(peaks) / len(known), shape, scale, len(peaks), fit, draws, curve), ""


def cluster_peaks(scores: Numbers, level: float, apart: int = 1, segment: Numbers | None = None) -> Floats:
    """The highest score of each cluster above the level, `(clusters,)`, told apart as Ferro and Segers do.

    Where scores are means over `apart` rows, they rise and fall slowly, and one long excursion has only times of 1
    within: that would count as as many clusters as it has rows.
    """
    rows = np.flatnonzero(scores > level)
    if len(rows) < 2:
        return np.asarray(scores[rows], np.float64)
    times = np.diff(rows)
    within = np.ones(len(times), bool) if segment is None else segment[rows[1:]] == segment[rows[:-1]]
    split = np.zeros(len(times), bool)
    known = np.sort(times[within])[::-1]
    splits = int(extremal_index(known) * len(known))
    if splits:
        # The longest times divide clusters; those that tie with one that does not are left whole.
        tied = splits < len(known) and known[splits - 1] == known[splits]
        split = times > known[splits] if tied else times >= known[splits - 1]
    if apart > 1:
        split &= times > apart
    starts = np.flatnonzero(np.r_[True, split | ~within])
    peaks: Floats = np.maximum.reduceat(scores[rows].astype(np.float64), starts)
    return peaks


def extremal_index(times: Numbers) -> float:
    """One over the mean size of clusters, from the times between exceedances (Ferro and Segers 2003, section 3.1)."""
    times = np.asarray(times, np.float64)
    if not len(times):
        return 1.0
    if times.max() > 2:
        first, second = (times - 1).sum(), ((times - 1) * (times - 2)).sum()
    else:
        first, second = times.sum(), (times**2).sum()
    return min(1.0, 2 * float(first) ** 2 / (len(times) * float(second)))
