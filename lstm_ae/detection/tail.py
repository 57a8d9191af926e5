"""Model the tail of the normal scores: peaks over a threshold follow a generalized Pareto distribution."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]

Floats = NDArray[np.float64]

# At shape 1 the mean is infinite; below -1/2 maximum likelihood loses its properties (Smith 1985).
SHAPES = (-0.5, 1.0)

# Samples on which a fit is tested, and draws that tell how uncertain it is.
SAMPLES = 199

DRAWS = 4000


def pareto_survival(excess: Numbers, shape: Any, scale: Any) -> Floats:
    """How much of a generalised Pareto distribution lies above each excess."""
    excess, shape = np.maximum(excess, 0), np.asarray(shape)
    bent = np.where(abs(shape) < 1e-9, 1e-9, shape)
    with np.errstate(divide="ignore", over="ignore"):
        parts: Floats = np.exp(-np.log1p(np.maximum(bent * excess / scale, -1)) / bent)
    return parts


def pareto_excesses(uniform: Floats, shape: float, scale: float) -> Floats:
    """Excesses of which the parts `uniform` lie above; never quite 0, where the fit would have no bound."""
    parts = np.clip(1 - uniform, 1e-300, 1 - 1e-12)
    if abs(shape) < 1e-9:
        drawn: Floats = -scale * np.log(parts)
    else:
        drawn = scale / shape * np.expm1(-shape * np.log(parts))
    return drawn


def fit_grimshaw(excess: Numbers) -> tuple[float, float]:
    """Shape and scale of the generalised Pareto distribution that makes the excesses `(peaks,)`, all > 0, likeliest.

    With x = shape / scale only one equation in x is left, whose roots are searched with scipy's `brentq` between sign
    changes on a grid over Grimshaw's bounds; the exponential distribution, shape 0, is tried beside them.
    """
    from scipy.optimize import brentq

    mean = float(np.mean(excess))
    y = np.asarray(excess, np.float64) / mean
    most, least = float(y.max()), float(y.min())
    highest = max(2 * (1 - least) / max(least, 1e-9) ** 2, 1.0)

    def equation(x: float) -> float:
        inner = 1 + x * y
        return float(np.mean(1 / inner) * (1 + np.mean(np.log(inner))) - 1)

    # 0 is a root that says nothing. Past 1e4 the shape is far above 1.
    up = np.geomspace(1e-4, min(highest, 1e4), 30)
    down = -(1 - np.geomspace(1e-6, 1 - 1e-4 * most, 30)) / most if most < 1e3 else np.empty(0)
    found = [(0.0, 1.0)]
    for grid in (down, up):
        values = _equations(grid, y)
        for place in np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) < 0):
            root = float(brentq(equation, grid[place], grid[place + 1], xtol=1e-12, rtol=1e-10))
            shape = float(np.mean(np.log1p(root * y)))
            if shape:
                found.append((shape, shape / root))
    shape, scale = max(found, key=lambda pair: _likelihood(y, *pair))
    return shape, scale * mean


def _equations(grid: Floats, y: Floats) -> Floats:
    inner = 1 + grid[:, None] * y
    values: Floats = np.mean(1 / inner, axis=1) * (1 + np.mean(np.log(inner), axis=1)) - 1
    return values


def _likelihood(y: Floats, shape: float, scale: float) -> float:
    if not shape:
        return -len(y) * (float(np.log(scale)) + float(np.mean(y)) / scale)
    return -len(y) * float(np.log(scale)) - (1 + 1 / shape) * float(np.sum(np.log1p(shape / scale * y)))


def fit_exponential(excess: Numbers) -> tuple[float, float]:
    """Shape 0 and the likeliest scale."""
    return 0.0, float(np.mean(excess))


def anderson_darling(excess: Numbers, shape: float, scale: float) -> float:
    """The Anderson-Darling statistic of the excesses `(peaks,)` against the distribution; it weighs the ends most."""
    count = len(excess)
    above = np.clip(pareto_survival(np.sort(excess), shape, scale), 1e-300, 1 - 1e-16)
    weights = 2 * np.arange(1, count + 1) - 1
    return -count - float(np.mean(weights * (np.log1p(-above) + np.log(above[::-1]))))


def greenwood_statistic(excess: Numbers, shape: float, scale: float) -> float:
    """Greenwood's statistic, the larger the more unequal the excesses are, whatever their scale."""
    return float(np.sum(np.square(excess)) / np.sum(excess) ** 2)


def goodness_of_fit(
    excess: Floats,
    estimate: Callable[[Numbers], tuple[float, float]],
    statistic: Callable[[Numbers, float, float], float],
    random: np.random.Generator,
) -> float:
    """How usual the statistic is among samples of the fit, each fitted anew as the peaks were.

    By parametric bootstrap (Stute, Gonzalez Manteiga and Presedo Quindimil 1993), as tables of the statistic hold
    for known parameters, or few values of unknown ones (Choulakian and Stephens 2001).
    """
    shape, scale = estimate(excess)
    observed = statistic(excess, shape, scale)
    further = 1
    for _ in range(SAMPLES):
        sample = pareto_excesses(random.random(len(excess)), shape, scale)
        further += statistic(sample, *estimate(sample)) >= observed
    return further / (SAMPLES + 1)


def sample_tails(excess: Numbers, random: np.random.Generator) -> Floats:
    """Shapes and scales drawn as the excesses make them likely, `(4000, 2)`, a priori even in shape and log scale.

    Refitted samples would not do: the fit of a sample of a fit is lighter again than the fit, and an interval of
    95 per cent then holds the truth 70 times in 100.
    """
    y = np.asarray(excess, np.float64) / np.mean(excess)
    shapes = np.linspace(*SHAPES, 62)[1:-1]
    scales = np.geomspace(0.02, 2.5, 121)
    bent = np.where(abs(shapes) < 1e-6, 1e-6, shapes)
    likelihood = np.empty((len(shapes), len(scales)))
    for place, shape in enumerate(bent):
        inner = 1 + shape * y / scales[:, None]
        logs = np.log(inner, out=np.full(inner.shape, -np.inf), where=inner > 0).sum(axis=1)
        fits = np.isfinite(logs)
        likelihood[place] = np.where(
            fits, -len(y) * np.log(scales) - (1 + 1 / shape) * np.where(fits, logs, 0), -np.inf
        )
    weights = np.exp(likelihood - likelihood.max()).ravel()
    cells = random.choice(weights.size, DRAWS, p=weights / weights.sum())
    row, column = np.unravel_index(cells, likelihood.shape)
    # Spread over their cells.
    drawn = shapes[row] + (random.random(DRAWS) - 0.5) * (shapes[1] - shapes[0])
    spread = scales[column] * (scales[1] / scales[0]) ** (random.random(DRAWS) - 0.5)
    return np.column_stack([drawn, spread * np.mean(excess)])


def sample_exponentials(excess: Numbers, random: np.random.Generator) -> Floats:
    """The same with shape 0, `(4000, 2)`."""
    return np.column_stack([np.zeros(DRAWS), np.sum(excess) / random.gamma(len(excess), size=DRAWS)])


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
        low, high = np.quantile(
            rate * pareto_survival(np.full(len(rate), score - self.level), shape, scale), (0.025, 0.975)
        )
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
    estimate, statistic = (fit_exponential, greenwood_statistic) if few else (fit_grimshaw, anderson_darling)
    shape, scale = estimate(excess)
    if not SHAPES[0] < shape < SHAPES[1]:
        return None, f"fail their test, the shape is {shape:.2f}"
    fit = goodness_of_fit(excess, estimate, statistic, np.random.default_rng([seed, 2]))
    if fit < REFUSED:
        return None, f"fail their test, p = {fit:.3f}"
    random = np.random.default_rng([seed, 3])
    rates = random.gamma(len(peaks) + 0.5, size=DRAWS) / len(known)
    likely = sample_exponentials(excess, random) if few else sample_tails(excess, random)
    above = np.mean(excess) * EXCESSES
    if few:
        parts = (1 + above / np.sum(excess)) ** -len(excess)
    else:
        parts = np.mean([pareto_survival(above, *pair) for pair in likely], axis=0)
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
