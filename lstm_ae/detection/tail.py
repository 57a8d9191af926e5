"""Model the tail of the normal scores: peaks over a threshold follow a generalized Pareto distribution."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.panel import run_bounds
from lstm_ae.formatting import format_count

# Allowed shapes: at 1 the mean is infinite; below -1/2 maximum likelihood estimates are not regular (Smith 1985).
SHAPES = (-0.5, 1.0)

# Bootstrap samples of the goodness-of-fit test, and draws from the posterior.
SAMPLES = 199

DRAWS = 4000


def pareto_survival(excess: Array, shape: ArrayLike, scale: ArrayLike) -> Float64Array:
    """Return the survival function of a generalized Pareto distribution at each excess.

    >>> pareto_survival(np.array([0.0, 1.0]), shape=1.0, scale=1.0).tolist()
    [1.0, 0.5]
    """
    excess, shape = np.maximum(excess, 0), np.asarray(shape)
    nonzero = np.where(abs(shape) < 1e-9, 1e-9, shape)
    with np.errstate(divide="ignore", over="ignore"):
        parts: Float64Array = np.exp(-np.log1p(np.maximum(nonzero * excess / scale, -1)) / nonzero)
    return parts


def pareto_excesses(uniform: Float64Array, shape: float, scale: float) -> Float64Array:
    """Return quantiles of a generalized Pareto distribution for probabilities `uniform`.

    They are never exactly 0, where the likelihood would be unbounded.
    """
    parts = np.clip(1 - uniform, 1e-300, 1 - 1e-12)
    if abs(shape) < 1e-9:
        drawn: Float64Array = -scale * np.log(parts)
    else:
        drawn = scale / shape * np.expm1(-shape * np.log(parts))
    return drawn


def fit_grimshaw(excess: Array) -> tuple[float, float]:
    """Fit a generalized Pareto distribution by maximum likelihood (Grimshaw 1993).

    With x = shape / scale the likelihood equations reduce to one in x, whose roots SciPy's `brentq` finds between sign
    changes on a grid over Grimshaw's bounds. The exponential distribution, shape 0, is a candidate as well.

    Args:
        excess: `(peaks,)` excesses over the level, all > 0.

    Returns:
        Shape and scale.
    """
    from scipy.optimize import brentq

    mean = float(np.mean(excess))
    y = np.asarray(excess, np.float64) / mean
    most, least = float(y.max()), float(y.min())
    highest = max(2 * (1 - least) / max(least, 1e-9) ** 2, 1.0)

    def equation(x: float) -> float:
        inner = 1 + x * y
        return float(np.mean(1 / inner) * (1 + np.mean(np.log(inner))) - 1)

    # The root 0 is trivial. Beyond 1e4 the shape is far above 1.
    up = np.geomspace(1e-4, min(highest, 1e4), 30)
    down = -(1 - np.geomspace(1e-6, 1 - 1e-4 * most, 30)) / most if most < 1e3 else np.empty(0)
    candidates = [(0.0, 1.0)]
    for grid in (down, up):
        values = _equations(grid, y)
        for index in np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) < 0):
            root = float(brentq(equation, grid[index], grid[index + 1], xtol=1e-12, rtol=1e-10))
            shape = float(np.mean(np.log1p(root * y)))
            if shape:
                candidates.append((shape, shape / root))
    shape, scale = max(candidates, key=lambda pair: _log_likelihood(y, *pair))
    return shape, scale * mean


def _equations(grid: Float64Array, y: Float64Array) -> Float64Array:
    inner = 1 + grid[:, None] * y
    values: Float64Array = np.mean(1 / inner, axis=1) * (1 + np.mean(np.log(inner), axis=1)) - 1
    return values


def _log_likelihood(y: Float64Array, shape: float, scale: float) -> float:
    if not shape:
        return -len(y) * (float(np.log(scale)) + float(np.mean(y)) / scale)
    return -len(y) * float(np.log(scale)) - (1 + 1 / shape) * float(np.sum(np.log1p(shape / scale * y)))


def fit_exponential(excess: Array) -> tuple[float, float]:
    """Fit an exponential distribution by maximum likelihood; return shape 0 and the scale."""
    return 0.0, float(np.mean(excess))


def anderson_darling(excess: Array, shape: float, scale: float) -> float:
    """Return the Anderson-Darling statistic of the excesses, which weights the tails most.

    Args:
        excess: `(peaks,)` excesses over the threshold.
        shape, scale: The parameters of the generalized Pareto distribution.
    """
    count = len(excess)
    above = np.clip(pareto_survival(np.sort(excess), shape, scale), 1e-300, 1 - 1e-16)
    weights = 2 * np.arange(1, count + 1) - 1
    return -count - float(np.mean(weights * (np.log1p(-above) + np.log(above[::-1]))))


def greenwood_statistic(excess: Array, shape: float, scale: float) -> float:
    """Return Greenwood's statistic of the excesses, a measure of inequality that ignores their scale.

    Args:
        excess: `(peaks,)` excesses over the threshold.
        shape, scale: Ignored; the statistics of `goodness_of_fit` have the same arguments.
    """
    return float(np.sum(np.square(excess)) / np.sum(excess) ** 2)


def goodness_of_fit(
    excess: Float64Array,
    estimate: Callable[[Array], tuple[float, float]],
    statistic: Callable[[Array, float, float], float],
    random: np.random.Generator,
) -> float:
    """Return the p-value of a goodness-of-fit test by parametric bootstrap.

    Tabulated critical values hold for known parameters or for few values of unknown ones (Choulakian and Stephens
    2001), so each bootstrap sample is refitted (Stute, Gonzalez Manteiga and Presedo Quindimil 1993).

    Args:
        excess: `(peaks,)` excesses over the level.
        estimate: function from excesses to shape and scale.
        statistic: function of excesses, shape, and scale; larger for worse fits.
        random: random numbers of the bootstrap samples.
    """
    shape, scale = estimate(excess)
    observed = statistic(excess, shape, scale)
    further = 1
    for _ in range(SAMPLES):
        sample = pareto_excesses(random.random(len(excess)), shape, scale)
        further += statistic(sample, *estimate(sample)) >= observed
    return further / (SAMPLES + 1)


def sample_tails(excess: Array, random: np.random.Generator) -> Float64Array:
    """Draw shapes and scales from their posterior, `(4000, 2)`, with a flat prior of shape and log scale.

    Intervals from a parametric bootstrap would be too narrow: the tail of a refitted sample is lighter than that of the
    fit, and 95% intervals then cover the true value in 70% of the cases.
    """
    y = np.asarray(excess, np.float64) / np.mean(excess)
    shapes = np.linspace(*SHAPES, 62)[1:-1]
    scales = np.geomspace(0.02, 2.5, 121)
    nonzero = np.where(abs(shapes) < 1e-6, 1e-6, shapes)
    likelihood = np.empty((len(shapes), len(scales)))
    for index, shape in enumerate(nonzero):
        inner = 1 + shape * y / scales[:, None]
        logs = np.log(inner, out=np.full(inner.shape, -np.inf), where=inner > 0).sum(axis=1)
        fits = np.isfinite(logs)
        likelihood[index] = np.where(
            fits, -len(y) * np.log(scales) - (1 + 1 / shape) * np.where(fits, logs, 0), -np.inf
        )
    weights = np.exp(likelihood - likelihood.max()).ravel()
    cells = random.choice(weights.size, DRAWS, p=weights / weights.sum())
    row, column = np.unravel_index(cells, likelihood.shape)
    # Distribute the draws uniformly within their grid cells.
    drawn = shapes[row] + (random.random(DRAWS) - 0.5) * (shapes[1] - shapes[0])
    spread = scales[column] * (scales[1] / scales[0]) ** (random.random(DRAWS) - 0.5)
    return np.column_stack([drawn, spread * np.mean(excess)])


def sample_exponentials(excess: Array, random: np.random.Generator) -> Float64Array:
    """Draw scales of an exponential distribution from their posterior, `(4000, 2)` with shape 0."""
    return np.column_stack([np.zeros(DRAWS), np.sum(excess) / random.gamma(len(excess), size=DRAWS)])


# Candidate levels as quantiles of the scores. The lowest level that passes the test is used, since it leaves the most
# peaks (after Bader, Yan and Zhang 2018, "Automated threshold selection for extreme value analysis").
LEVELS = (0.9, 0.95, 0.98, 0.99)

# Minimum number of peaks to fit a shape, and, assuming shape 0, to fit a scale and test its inequality.
PEAKS = 30

FEW_PEAKS = 2

# Maximum number of peaks: more cost time, and a test on more rejects every tail of real data.
MOST_PEAKS = 1000

# Points of the tabulated survival function, in multiples of the mean excess.
EXCESSES = np.geomspace(1e-4, 1e6, 400)

# Standard deviation of the logarithms of the maxima of blocks before any is known, and the number of blocks that this
# counts as.
PRIOR_SPREAD, PRIOR_BLOCKS = 0.25, 2

# Smallest score with a logarithm, and the logarithm of the largest score.
SMALLEST_SCORE, LARGEST_LOGARITHM = 1e-9, 80.0

# Significance level of the goodness-of-fit test.
SIGNIFICANCE = 0.05


class Tail(NamedTuple):
    """Distribution fitted to the scores above a level.

    Args:
        level: scores above it belong to the tail.
        share: share of the rows above the level.
        rate: clusters above the level per row.
        shape: shape of the generalized Pareto distribution.
        scale: scale of the generalized Pareto distribution.
        peaks: number of clusters.
        fit: p-value of the goodness-of-fit test.
        draws: `(4000, 3)` posterior draws of rate, shape, and scale.
        curve: `(2, points)` logarithms of excesses over the level and of the survival function at them.
    """

    level: float
    share: float
    rate: float
    shape: float
    scale: float
    peaks: int
    fit: float
    draws: Float64Array
    curve: Float64Array

    @property
    def description(self) -> str:
        """Description for a threshold."""
        kind = f"generalized Pareto tail, shape {self.shape:.2f}," if self.peaks >= PEAKS else "exponential tail"
        return f"{kind} of {self.peaks} peaks above {self.level:.4g}, goodness of fit p = {self.fit:.2f}"

    def survival(self, scores: Array) -> Float64Array:
        """Return the share of the tail above each score; 1 up to the level."""
        excess = np.maximum(np.asarray(scores, np.float64) - self.level, np.exp(self.curve[0, 0]))
        parts: Float64Array = np.exp(np.interp(np.log(excess), *self.curve))
        return parts

    def score_at(self, part: float) -> float:
        """Return the score above which the share `part` of the tail lies, 0 < part <= 1."""
        return self.level + float(np.exp(np.interp(-np.log(part), -self.curve[1], self.curve[0])))

    def clusters(self, score: float) -> tuple[float, float, float]:
        """Return the expected clusters above a score per row, with the bounds of their 95% interval."""
        rate, shape, scale = self.draws.T
        low, high = np.quantile(
            rate * pareto_survival(np.full(len(rate), score - self.level), shape, scale), (0.025, 0.975)
        )
        return self.rate * float(self.survival(np.array(score))), float(low), float(high)


class BlockMaxima(NamedTuple):
    """Distribution of the largest normal score of a block of rows, for few blocks: lognormal.

    The prediction is that of a normal distribution with unknown mean and variance, Student's t, with a prior of the
    variance: a few maxima happen to be close together too often.

    Args:
        level: median of the maxima.
        share: share of the rows above the level.
        block: mean rows per block.
        blocks: number of blocks.
        mean: mean logarithm of the maxima.
        spread: standard deviation of the logarithms, pooled with that of the prior.
        degrees: degrees of freedom of the spread.
    """

    level: float
    share: float
    block: float
    blocks: int
    mean: float
    spread: float
    degrees: float

    @property
    def description(self) -> str:
        """Description for a threshold."""
        highest = f"the highest scores of {format_count(self.blocks, 'window')} of normal rows"
        return f"prediction from {highest}, standard deviation {self.spread:.2g} of their logarithm"

    @property
    def rate(self) -> float:
        """Blocks with a score above the level per row."""
        return 0.5 / self.block

    def survival(self, scores: Array) -> Float64Array:
        """Return the share of the blocks above the level that are above each score; 1 up to the level."""
        from scipy.special import stdtr

        above = self._deviations(np.maximum(scores, self.level)) / math.sqrt(1 + 1 / self.blocks)
        parts: Float64Array = 2 * stdtr(self.degrees, -above)
        return parts

    def score_at(self, part: float) -> float:
        """Return the score above which the share `part` of the blocks above the level lies, 0 < part <= 1."""
        from scipy.special import stdtrit

        above = -stdtrit(self.degrees, part / 2) * math.sqrt(1 + 1 / self.blocks)
        return math.exp(min(self.mean + self.spread * float(above), LARGEST_LOGARITHM))

    def clusters(self, score: float) -> tuple[float, float, float]:
        """Return the expected blocks above a score per row, with the bounds of their 95% interval."""
        from scipy.special import ndtr

        random = np.random.default_rng(0)
        variances = self.degrees / random.chisquare(self.degrees, DRAWS)
        means = random.normal(size=DRAWS) * np.sqrt(variances / self.blocks)
        likely = ndtr(-(self._deviations(np.array(score)) - means) / np.sqrt(variances)) / self.block
        low, high = np.quantile(likely, (0.025, 0.975))
        # Far out, the expectation comes from a few of the likely distributions, beyond the quantiles of all.
        expected = self.rate * float(self.survival(np.array(score)))
        return expected, min(float(low), expected), max(float(high), expected)

    def _deviations(self, scores: Array) -> Array:
        """Return the differences of the logarithms of scores from the mean, in units of the spread."""
        return (np.log(np.maximum(scores, SMALLEST_SCORE)) - self.mean) / self.spread


def fit_block_maxima(scores: Array, block: int, segment: Array | None = None) -> BlockMaxima | None:
    """Fit the distribution of the largest normal score of a block.

    Args:
        scores: `(rows,)`; NaN for rows without a score.
        block: rows per block.
        segment: `(rows,)` segment of each row; no block crosses a segment boundary.

    Returns:
        The distribution; None if there is no score.
    """
    values = np.asarray(scores, np.float64)
    bounds = [(0, len(values))] if segment is None else run_bounds(segment)
    parts = [part[~np.isnan(part)] for part in (values[first:end] for first, end in bounds)]
    maxima = [
        max(float(rows.max()), SMALLEST_SCORE)
        for part in parts
        if len(part)
        for rows in np.array_split(part, max(1, round(len(part) / block)))
    ]
    if not maxima:
        return None
    logs = np.log(maxima)
    known, count = np.concatenate(parts), len(maxima)
    mean, degrees = float(logs.mean()), PRIOR_BLOCKS + count - 1
    spread = math.sqrt((PRIOR_BLOCKS * PRIOR_SPREAD**2 + float(np.square(logs - mean).sum())) / degrees)
    level = math.exp(mean)
    share = (int(np.count_nonzero(known > level)) + 1) / (len(known) + 1)
    # Short segments are blocks of fewer rows.
    return BlockMaxima(level, share, len(known) / count, count, mean, spread, degrees)


def fit_tail(scores: Array, min_gap: int = 1, segment: Array | None = None, seed: int = 0) -> tuple[Tail | None, str]:
    """Fit the tail of normal scores at the lowest level that passes the goodness-of-fit test.

    Args:
        scores: `(rows,)`; NaN for rows without a score.
        min_gap: exceedances at most this many rows apart belong to one cluster.
        segment: `(rows,)` segment of each row; clusters do not cross segment boundaries.
        seed: seed of the test and of the draws.

    Returns:
        The tail and "", or None and the reason why no tail fits.
    """
    known = scores[~np.isnan(scores)]
    reason = "no scores"
    for quantile in LEVELS if len(known) else ():
        level = float(np.quantile(known, quantile))
        peaks = cluster_peaks(scores, level, min_gap, segment)
        if len(peaks) < FEW_PEAKS:
            # Higher levels have even fewer peaks.
            return None, f"{len(peaks)} of {FEW_PEAKS} required peaks" if quantile == LEVELS[0] else reason
        tail, rejection = _tail(peaks, level, known, seed)
        if tail is not None:
            return tail, ""
        reason = f"{len(peaks)} peaks above the {quantile:g} quantile {rejection}"
    return None, reason


def _tail(peaks: Float64Array, level: float, known: Float64Array, seed: int) -> tuple[Tail | None, str]:
    excess = peaks - level
    if len(excess) > MOST_PEAKS:
        excess = np.random.default_rng([seed, 1]).choice(excess, MOST_PEAKS, replace=False)
    few = len(excess) < PEAKS
    estimate, statistic = (fit_exponential, greenwood_statistic) if few else (fit_grimshaw, anderson_darling)
    shape, scale = estimate(excess)
    if not SHAPES[0] < shape < SHAPES[1]:
        return None, f"fail their test, the shape is {shape:.2f}"
    fit = goodness_of_fit(excess, estimate, statistic, np.random.default_rng([seed, 2]))
    if fit < SIGNIFICANCE:
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


def cluster_peaks(scores: Array, level: float, min_gap: int = 1, segment: Array | None = None) -> Float64Array:
    """Return the highest score of each cluster above the level, `(clusters,)`.

    Clusters are separated by the method of Ferro and Segers 2003, "Inference for clusters of extreme values".

    Args:
        scores: `(rows,)`; NaN for rows without a score.
        level: scores above it are exceedances.
        min_gap: exceedances at most this many rows apart belong to one cluster. If scores are moving averages, pass
            the number of averaged rows: an excursion then consists of consecutive exceedances only, each of which would
            count as a cluster.
        segment: `(rows,)` segment of each row; clusters do not cross segment boundaries.
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
        # The longest gaps separate clusters, unless they are tied with a gap within a cluster.
        tied = splits < len(known) and known[splits - 1] == known[splits]
        split = times > known[splits] if tied else times >= known[splits - 1]
    if min_gap > 1:
        split &= times > min_gap
    starts = np.flatnonzero(np.r_[True, split | ~within])
    peaks: Float64Array = np.maximum.reduceat(scores[rows].astype(np.float64), starts)
    return peaks


def extremal_index(times: Array) -> float:
    """Return the reciprocal of the mean cluster size (Ferro and Segers 2003, section 3.1).

    Args:
        times: `(exceedances - 1,)` rows from each exceedance to the next.
    """
    times = np.asarray(times, np.float64)
    if not len(times):
        return 1.0
    if times.max() > 2:
        first, second = (times - 1).sum(), ((times - 1) * (times - 2)).sum()
    else:
        first, second = times.sum(), (times**2).sum()
    return min(1.0, 2 * float(first) ** 2 / (len(times) * float(second)))
