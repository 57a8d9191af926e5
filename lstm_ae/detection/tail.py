"""Model the tail of the normal scores by the largest scores of blocks of rows, which are lognormal."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.panel import run_bounds
from lstm_ae.formatting import format_count

# Draws from the posterior.
DRAWS = 4000

# Prior standard deviation of the logarithms of the maxima of blocks, and the number of blocks that the prior counts as.
PRIOR_SPREAD, PRIOR_BLOCKS = 0.25, 2

# The usual maxima are those of the last blocks, of which at least a few must be known. Maxima are unusual beyond this
# number of standard deviations of the logarithms, which are at least the prior one. Chosen on the development series of
# TSB-AD.
RECENT_BLOCKS, FEW_BLOCKS, UNUSUAL = 30, 3, 2.5

# Standard deviations of a normal distribution per median absolute deviation.
MAD_DEVIATION = 1.4826

# Smallest score with a logarithm, and the logarithm of the largest score.
SMALLEST_SCORE, LARGEST_LOGARITHM = 1e-9, 80.0


class BlockMaxima(NamedTuple):
    """Distribution of the largest normal score of a block of rows: lognormal.

    The prediction is that of a normal distribution with unknown mean and variance, Student's t. The variance has a
    prior, because a few maxima are often close together by chance.

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
        shares: Float64Array = 2 * stdtr(self.degrees, -above)
        return shares

    def score_at(self, share: float) -> float:
        """Return the score above which this share of the blocks above the level lies, 0 < share <= 1."""
        from scipy.special import stdtrit

        above = -stdtrit(self.degrees, share / 2) * math.sqrt(1 + 1 / self.blocks)
        return math.exp(min(self.mean + self.spread * float(above), LARGEST_LOGARITHM))

    def clusters(self, score: float) -> tuple[float, float, float]:
        """Return the expected blocks above a score per row, with the bounds of their 95% interval."""
        from scipy.special import ndtr

        random = np.random.default_rng(0)
        variances = self.degrees / random.chisquare(self.degrees, DRAWS)
        means = random.normal(size=DRAWS) * np.sqrt(variances / self.blocks)
        likely = ndtr(-(self._deviations(np.array(score)) - means) / np.sqrt(variances)) / self.block
        low, high = np.quantile(likely, (0.025, 0.975))
        # Far in the tail, a few of the drawn distributions determine the mean, which may exceed the upper quantile.
        expected = self.rate * float(self.survival(np.array(score)))
        return expected, min(float(low), expected), max(float(high), expected)

    def _deviations(self, scores: Array) -> Array:
        """Return the differences of the logarithms of scores from the mean, in units of the spread."""
        return (np.log(np.maximum(scores, SMALLEST_SCORE)) - self.mean) / self.spread


def block_maxima(scores: Array, block: int, segment: Array | None = None) -> Float64Array:
    """Return the logarithms of the largest scores of blocks of rows, `(blocks,)`.

    Args:
        scores: `(rows,)`; NaN for rows without a score.
        block: rows per block.
        segment: `(rows,)` segment of each row; no block crosses a segment boundary.
    """
    bounds = [(0, len(scores))] if segment is None else run_bounds(segment)
    segments = [rows[~np.isnan(rows)] for rows in (scores[first:end] for first, end in bounds)]
    maxima = [
        float(rows.max())
        for known in segments
        if len(known)
        for rows in np.array_split(known, max(1, round(len(known) / block)))
    ]
    return np.log(np.maximum(np.array(maxima, np.float64), SMALLEST_SCORE))


def robust_limit(logs: Sequence[float] | Float64Array, deviations: float) -> float:
    """Return the value this number of deviations above the median of values with these logarithms.

    Half of the values may be outliers. The result is infinite if fewer than `FEW_BLOCKS` values are known.
    """
    if len(logs) < FEW_BLOCKS:
        return math.inf
    median = float(np.median(logs))
    spread = max(MAD_DEVIATION * float(np.median(np.abs(np.asarray(logs) - median))), PRIOR_SPREAD)
    return math.exp(min(median + deviations * spread, LARGEST_LOGARITHM))


def usual_limit(logs: Sequence[float] | Float64Array) -> float:
    """Return the score above which a maximum does not belong to the last ones; 0 if few are known.

    Args:
        logs: `(blocks,)` logarithms of the maxima of blocks in the order of time; the last `RECENT_BLOCKS` count.
    """
    limit = robust_limit(logs[-RECENT_BLOCKS:], UNUSUAL)
    return limit if limit < math.inf else 0.0


def fit_block_maxima(scores: Array, block: int, segment: Array | None = None) -> BlockMaxima | None:
    """Fit the distribution of the largest normal score of a block.

    Args:
        scores, block, segment: see `block_maxima`.

    Returns:
        The distribution; None if there is no score.
    """
    logs, known = block_maxima(scores, block, segment), scores[~np.isnan(scores)]
    if not len(logs):
        return None
    mean, count = float(logs.mean()), len(logs)
    degrees = PRIOR_BLOCKS + count - 1
    spread = math.sqrt((PRIOR_BLOCKS * PRIOR_SPREAD**2 + float(np.square(logs - mean).sum())) / degrees)
    level = math.exp(mean)
    share = (int(np.count_nonzero(known > level)) + 1) / (len(known) + 1)
    # Short segments are blocks of fewer rows.
    return BlockMaxima(level, share, len(known) / count, count, mean, spread, degrees)
