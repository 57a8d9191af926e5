"""The tail of normal scores: values by hand, and the distribution of the prediction."""

import numpy as np
import pytest
from scipy import stats

from lstm_ae.detection.tail import (
    LARGEST_LOGARITHM,
    PRIOR_BLOCKS,
    PRIOR_SPREAD,
    SMALLEST_SCORE,
    BlockMaxima,
    fit_block_maxima,
)


def maxima_of(scores: np.ndarray, block: int, segment: np.ndarray | None = None) -> BlockMaxima:
    found = fit_block_maxima(scores, block, segment)
    assert found is not None
    return found


def test_block_maxima_by_hand() -> None:
    scores = np.exp(np.array([0, 1, 0, 0.5, 0, 3, 0, 0, 2.0]))
    found = maxima_of(scores, 3)
    # The logarithms of the maxima are 1, 3, and 2.
    assert found.mean == pytest.approx(2)
    assert found.level == pytest.approx(np.exp(2))
    assert (found.block, found.blocks, found.degrees) == (3, 3, PRIOR_BLOCKS + 2)
    assert found.spread**2 == pytest.approx((PRIOR_BLOCKS * PRIOR_SPREAD**2 + 2) / (PRIOR_BLOCKS + 2))
    # Half of the blocks, of three rows each, have a score above the level.
    assert found.rate == pytest.approx(1 / 6)
    assert found.share == 2 / 10


def test_block_maxima_do_not_cross_segments_and_ignore_missing_scores() -> None:
    scores = np.array([1.0, 5, np.nan, 2, 7, np.nan, np.nan, np.nan])
    whole = maxima_of(scores, 2)
    assert whole.mean == pytest.approx(np.log([5, 7]).mean())
    # Three segments, one of them without a score; the last one has fewer rows than a block.
    parts = maxima_of(scores, 2, np.array([0, 0, 0, 0, 1, 2, 2, 2]))
    assert (parts.blocks, parts.mean) == (3, pytest.approx(np.log([5, 2, 7]).mean()))
    assert fit_block_maxima(np.full(3, np.nan), 2) is None
    assert fit_block_maxima(np.empty(0), 2) is None


def test_block_maxima_predict_by_students_t_distribution() -> None:
    found = maxima_of(np.exp(np.random.default_rng(0).normal(size=60)), 6)
    scores = found.level * np.array([0.5, 1, 1.5, 3, 20])
    predicted = stats.t.sf(np.log(scores), found.degrees, found.mean, found.spread * np.sqrt(1 + 1 / found.blocks))
    assert found.survival(scores) == pytest.approx(np.minimum(2 * predicted, 1))


@pytest.mark.parametrize("part", [1, 0.1, 0.01, 1e-4])
@pytest.mark.parametrize("blocks", [3, 20])
def test_expected_blocks_above_a_score_are_within_their_interval(blocks: int, part: float) -> None:
    found = maxima_of(np.random.default_rng(1).exponential(size=10 * blocks), 10)
    score = found.score_at(part)
    expected, low, high = found.clusters(score)
    assert 0 <= low <= expected <= high
    # Above their median, the level, half of the blocks have a score.
    assert expected == pytest.approx(0.5 / 10 * part)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_few_and_equal_block_maxima_have_the_spread_of_the_prior(rows: int) -> None:
    """Equal maxima reduce the spread, but not to 0: a few maxima happen to be close together too often."""
    found = maxima_of(np.full(rows, 2.0), 3)
    blocks = max(1, round(rows / 3))
    assert found.blocks == blocks
    assert found.spread == pytest.approx(PRIOR_SPREAD * np.sqrt(PRIOR_BLOCKS / (PRIOR_BLOCKS + blocks - 1)))
    assert found.level == pytest.approx(2)
    assert 2 < found.score_at(0.1) < found.score_at(1e-3) < np.inf
    assert found.survival(np.array([1.0, 2, 1e9])) == pytest.approx([1, 1, 0], abs=1e-3)


def test_block_maxima_of_zeros_and_far_quantiles_are_finite() -> None:
    zeros = maxima_of(np.zeros(6), 3)
    assert zeros.level == pytest.approx(SMALLEST_SCORE)
    assert zeros.survival(np.array([0.0])) == pytest.approx(1)
    far = maxima_of(np.array([1e-9, 1e30, 1e-9, 1e30]), 1)
    assert far.score_at(1e-12) == pytest.approx(np.exp(LARGEST_LOGARITHM))
