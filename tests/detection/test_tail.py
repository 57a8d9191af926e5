"""The tail of scores: fits against scipy and known parameters, clusters by hand, and refused fits."""

import numpy as np
import pytest
from scipy import stats

from lstm_ae.detection.tail import (
    FEW_PEAKS,
    LARGEST_LOGARITHM,
    PEAKS,
    PRIOR_BLOCKS,
    PRIOR_SPREAD,
    SMALLEST_SCORE,
    BlockMaxima,
    anderson_darling,
    cluster_peaks,
    extremal_index,
    fit_block_maxima,
    fit_grimshaw,
    fit_tail,
    greenwood_statistic,
    pareto_survival,
    sample_exponentials,
    sample_tails,
)


@pytest.mark.parametrize("shape", [-0.4, -0.2, 0.0, 0.3, 0.8])
def test_grimshaw_maximizes_the_likelihood(shape: float) -> None:
    excess = stats.genpareto.rvs(shape, scale=3, size=2000, random_state=1)
    found = fit_grimshaw(excess)
    assert found == (pytest.approx(shape, abs=0.1), pytest.approx(3, rel=0.15))
    other = stats.genpareto.fit(excess, floc=0)

    def likelihood(shape: float, scale: float) -> float:
        return float(stats.genpareto.logpdf(excess, shape, scale=scale).sum())

    assert likelihood(*found) >= likelihood(other[0], other[2]) - 1e-6


def test_pareto_survival_equals_that_of_scipy() -> None:
    excess = np.array([-1.0, 0, 1, 5, 20])
    for shape in (-0.3, 0, 0.5):
        expected = stats.genpareto.sf(np.maximum(excess, 0), shape, scale=2)
        assert pareto_survival(excess, shape, 2) == pytest.approx(expected, abs=1e-8)


def test_anderson_darling_equals_that_of_scipy() -> None:
    excess = stats.expon.rvs(size=50, random_state=3)
    expected = stats.goodness_of_fit(
        stats.expon, excess, statistic="ad", known_params={"loc": 0, "scale": 1}, n_mc_samples=2, rng=0
    ).statistic
    assert anderson_darling(excess, 0, 1) == pytest.approx(expected)


def test_extremal_index_by_hand() -> None:
    # (times - 1): 0 0 9, squared less: 0 0 9 * 8; 2 * 81 / (3 * 72)
    assert extremal_index(np.array([1, 1, 10])) == pytest.approx(0.75)
    assert extremal_index(np.array([1, 1, 2])) == 1
    assert extremal_index(np.array([])) == 1


def test_cluster_peaks_by_hand() -> None:
    scores = np.zeros(200)
    scores[[10, 11, 12, 90, 91, 92, 150, 151, 152]] = 3, 5, 4, 2, 7, 1, 6, 2, 3
    assert cluster_peaks(scores, 0.5).tolist() == [5, 7, 6]
    assert cluster_peaks(scores, 6.5).tolist() == [7]
    assert cluster_peaks(scores, 9).tolist() == []
    # A segment ends between the first two steps of the last cluster.
    assert cluster_peaks(scores, 0.5, segment=np.arange(200) > 150).tolist() == [5, 7, 6, 3]


def test_a_running_maximum_of_four_has_a_quarter_of_the_clusters() -> None:
    """Its extremal index is 1/4, as each high value is repeated in four rows."""
    draws = np.random.default_rng(0).exponential(size=20_003)
    scores = np.lib.stride_tricks.sliding_window_view(draws, 4).max(axis=1)
    level = float(np.quantile(scores, 0.98))
    assert len(cluster_peaks(scores, level)) / (scores > level).sum() == pytest.approx(0.25, abs=0.05)


def test_min_gap_joins_a_long_excursion_into_one_cluster() -> None:
    scores = np.r_[np.zeros(50), np.ones(20) + np.arange(20) % 3, np.zeros(50)]
    assert len(cluster_peaks(scores, 0.5)) > 1
    assert cluster_peaks(scores, 0.5, min_gap=5).tolist() == [3]


def test_tail_gives_the_probability_of_exceeding_a_score() -> None:
    scores = np.random.default_rng(5).exponential(size=20_000)
    tail, reason = fit_tail(scores)
    assert tail is not None
    assert reason == ""
    for part in (1e-4, 1e-5):
        score = tail.score_at(part / tail.share)
        assert score == pytest.approx(-np.log(part), rel=0.3)
        assert tail.share * tail.survival(np.array(score)) == pytest.approx(part)
        expected, low, high = tail.clusters(score)
        assert low < part < high
        assert low < expected < high
    assert tail.score_at(1) == pytest.approx(tail.level, abs=1e-3)
    assert tail.survival(np.array([0, tail.level])) == pytest.approx([1, 1], abs=1e-3)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_intervals_of_sampled_tails_cover_the_true_survival(shape: float) -> None:
    """From 100 excesses, estimate the survival at the score that one in 1,000 excesses exceeds."""
    score = float(stats.genpareto.isf(1e-3, shape))
    inside = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        excess = stats.genpareto.rvs(shape, size=100, random_state=random)
        shapes, scales = sample_tails(excess, random).T
        low, high = np.quantile(pareto_survival(np.full(len(shapes), score), shapes, scales), (0.025, 0.975))
        inside += low <= 1e-3 <= high
    assert inside >= 53


def test_sampled_exponentials_have_the_exact_mean_survival() -> None:
    excess = np.array([0.5, 1, 2, 0.3])
    shapes, scales = sample_exponentials(excess, np.random.default_rng(0)).T
    assert not shapes.any()
    assert np.mean(pareto_survival(np.full(len(scales), 6.0), shapes, scales)) == pytest.approx(
        (1 + 6 / 3.8) ** -4, rel=0.1
    )


def test_tail_of_few_peaks_equals_the_exact_formula() -> None:
    scores = np.zeros(1000)
    scores[100 * np.arange(1, 9)] = 1 + np.array([0.5, 3, 1, 2, 0.2, 0.7, 1.5, 0.1])
    scores += np.linspace(0, 1e-9, 1000)
    tail, _ = fit_tail(scores)
    assert tail is not None
    assert tail.peaks < PEAKS
    assert tail.rate == tail.peaks / 1000
    total = tail.scale * tail.peaks
    for excess in (0.3, 3, 30, 300):
        exact = (1 + excess / total) ** -tail.peaks
        assert tail.survival(np.array(tail.level + excess)) == pytest.approx(exact, rel=0.01)
        assert tail.score_at(exact) == pytest.approx(tail.level + excess, rel=0.01)


def test_a_tail_that_does_not_fit_is_refused() -> None:
    """Peaks have a few different heights, and no generalized Pareto distribution has steps."""
    random = np.random.default_rng(1)
    scores = random.uniform(size=4000)
    scores[random.choice(4000, 800, replace=False)] = random.choice([5.0, 6, 7, 8, 9], 800)
    tail, reason = fit_tail(scores)
    assert tail is None
    assert "test" in reason


def test_few_peaks_with_an_outlier_are_refused() -> None:
    scores = np.zeros(1000)
    scores[90 * np.arange(1, 11)] = [1, 1.1, 0.9, 1, 1.2, 1, 0.8, 1, 1.1, 500]
    tail, reason = fit_tail(scores)
    assert tail is None
    assert "10 peaks above the 0.99 quantile fail their test, p = 0.0" in reason
    assert greenwood_statistic(np.array([1.0, 1]), 0, 1) == 0.5


def test_tail_of_too_few_peaks_is_refused() -> None:
    assert fit_tail(np.ones(50)) == (None, f"0 of {FEW_PEAKS} required peaks")
    assert fit_tail(np.full(50, np.nan)) == (None, "no scores")


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
