"""Model the tail of the normal scores by the largest scores of blocks of rows, which are lognormal."""

import math
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.panel import run_bounds
from lstm_ae.formatting import format_count

# Draws from the posterior.
DRAWS = 4000

# Prior standard deviation of the logarithms of the maxima of blocks, and the number of blocks that the prior counts as.
PRIOR_SPREAD, PRIOR_BLOCKS = 0.25, 2

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
    segments = [rows[~np.isnan(rows)] for rows in (values[first:end] for first, end in bounds)]
    maxima = [
        max(float(rows.max()), SMALLEST_SCORE)
        for known in segments
        if len(known)
        for rows in np.array_split(known, max(1, round(len(known) / block)))
    ]
    if not maxima:
        return None
    logs = np.log(maxima)
    known, count = np.concatenate(segments), len(maxima)
    mean, degrees = float(logs.mean()), PRIOR_BLOCKS + count - 1
    spread = math.sqrt((PRIOR_BLOCKS * PRIOR_SPREAD**2 + float(np.square(logs - mean).sum())) / degrees)
    level = math.exp(mean)
    share = (int(np.count_nonzero(known > level)) + 1) / (len(known) + 1)
    # Short segments are blocks of fewer rows.
    return BlockMaxima(level, share, len(known) / count, count, mean, spread, degrees)
