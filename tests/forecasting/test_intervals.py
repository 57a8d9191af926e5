"""Prediction intervals: quantiles by hand, and coverage on synthetic data."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_ae.data.scaling import fixed_scale
from lstm_ae.forecasting.intervals import (
    QUANTILES,
    ErrorQuantiles,
    RecentErrors,
    adaptation_spacing,
    conformal_quantiles,
    effective_sample_size,
    forecast_intervals,
    interval_bounds,
    interval_hits,
    interval_offsets,
    predictive_quantiles,
    recent_volatility,
    relative_errors,
    select_moments,
)


def test_levels_select_quantiles() -> None:
    for level, ends in ((80, (0.1, 0.9)), (95, (0.025, 0.975)), (1, (0.495, 0.505)), (99, (0.005, 0.995))):
        assert QUANTILES[list(interval_bounds(level))] == pytest.approx(ends)


def test_conformal_quantiles_are_rounded_outwards() -> None:
    """Of the scores 1 to 19, the k-th is at least as large as a new one with probability k / 20."""
    quantiles = conformal_quantiles(np.arange(1.0, 20)[:, None])[0]
    at = dict(zip(QUANTILES.round(3).tolist(), quantiles.tolist(), strict=True))
    assert (at[0.95], at[0.9], at[0.5], at[0.05], at[0.1]) == (19, 18, 10, 1, 2)
    assert (at[0.925], at[0.075]) == (19, 1)  # 18.5 and 1.5
    assert (at[0.955], at[0.045]) == (np.inf, -np.inf)
    assert (np.diff(quantiles[10:-10]) >= 0).all()


def test_volatility_weights_the_last_day_most() -> None:
    past = np.array([[[0], [1], [1]], [[0], [0], [-1]], [[2], [2], [2]]], np.float32)
    assert recent_volatility(past).tolist() == pytest.approx([0.94 / 1.94, 1 / 1.94, 0])
    assert recent_volatility(past[:, :1]).tolist() == [0, 0, 0]


def test_volatility_has_a_lower_limit() -> None:
    found = ErrorQuantiles(np.ones((1, 3, 199), np.float32), fixed_scale(), 0.3)
    past = np.array([[[0], [0]], [[0], [1]]], np.float32)
    assert found.sizes(past).ravel().tolist() == pytest.approx([0.3, 1])
    assert replace(found, calmest=0.0).sizes(past).ravel().tolist() == [1, 1]
    assert found.known
    assert found.ahead(2).shape == (2, 1, 199)


def test_overlapping_errors_reduce_the_effective_sample_size() -> None:
    random = np.random.default_rng(0)
    steps = random.normal(size=(2000, 1))
    # Each error is the sum of ten steps, so one of ten overlapping forecasts is independent.
    sums = np.lib.stride_tricks.sliding_window_view(steps[:, 0], 10).sum(axis=1)[:, None]
    moments = np.arange(2000)
    assert effective_sample_size(steps, moments)[0] == pytest.approx(2000, rel=0.2)
    assert effective_sample_size(sums, moments[: len(sums)])[0] == pytest.approx(200, rel=0.3)
    # A constant error counts once, however often it occurs.
    assert effective_sample_size(np.full((500, 1), 3.0), moments[:500])[0] < 3
    assert effective_sample_size(np.zeros((500, 1)), moments[:500])[0] == 500


def test_series_with_equal_errors_count_once() -> None:
    random, moments = np.random.default_rng(0), np.tile(np.arange(1000), 4)
    together = np.tile(random.normal(size=1000), 4)[:, None]
    apart = random.normal(size=4000)[:, None]
    assert effective_sample_size(together, moments)[0] == pytest.approx(1000, rel=0.2)
    assert effective_sample_size(apart, moments)[0] == pytest.approx(4000, rel=0.3)
    missing = np.where(moments[:, None] % 3 == 0, np.nan, together)
    assert effective_sample_size(missing, moments)[0] == pytest.approx(667, rel=0.2)
    assert effective_sample_size(np.full((5, 2), np.nan), np.arange(5)).tolist() == [1, 1]


def test_predictive_quantiles_by_hand() -> None:
    """The conformal quantiles of 39 errors reach 2.5% and 97.5%; many independent errors do not widen them."""
    from scipy import stats

    errors = np.arange(-19.0, 20)[:, None]
    low, high = interval_bounds(95)
    many = predictive_quantiles(errors, np.array([1e9]))[0]
    assert many[[low, 99, high]] == pytest.approx([-19, 0, 19])
    few = predictive_quantiles(errors, np.array([5.0]))[0]
    wider = stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975) * np.sqrt(1 + 1 / 5)
    assert few[[low, 99, high]] == pytest.approx([-19 * wider, 0, 19 * wider])
    # Beyond the largest error, the quantiles are those of a normal distribution.
    ten = predictive_quantiles(np.arange(-4.5, 5)[:, None], np.array([1e9]))[0]
    assert ten[interval_bounds(99)[1]] == pytest.approx(stats.norm.ppf(0.995) * np.std(np.arange(10), ddof=1))
    assert (np.diff(ten) >= 0).all()
    assert np.isinf(predictive_quantiles(np.arange(4.0)[:, None], np.array([4.0]))).all()
    nothing = predictive_quantiles(np.array([[1.0, np.nan]] * 6), np.array([6.0, 1.0]))
    assert np.isfinite(nothing[0]).all()
    assert np.isinf(nothing[1]).all()


@pytest.mark.parametrize("walks", [True, False])
def test_intervals_of_overlapping_forecasts_cover_their_level(walks: bool) -> None:
    """Three of 60 forecasts 20 steps ahead do not overlap, so conformal quantiles of a random walk are too narrow."""
    random, ahead, count = np.random.default_rng(0), 20, 60
    held: dict[str, list[float]] = {"conformal": [], "predictive": []}
    for _ in range(300):
        values = random.normal(size=2 * count + 2 * ahead)
        errors = np.cumsum(values)[ahead:] - np.cumsum(values)[:-ahead] if walks else values[ahead:]
        known, new = errors[:count, None], errors[count + ahead :]
        independent = effective_sample_size(known, np.arange(count))
        for name, spread in (
            ("conformal", conformal_quantiles(known)),
            ("predictive", predictive_quantiles(known, independent)),
        ):
            low, high = (spread[0, place] for place in interval_bounds(80))
            held[name].append(float(((new >= low) & (new <= high)).mean()))
    assert 0.78 < np.mean(held["predictive"]) < 0.87
    assert np.mean(held["conformal"]) == pytest.approx(0.63 if walks else 0.8, abs=0.03)


def test_unknown_bounds_count_neither_as_hit_nor_as_miss() -> None:
    low, high = np.array([[-1, -np.inf], [2, 2]])
    errors = np.array([[0.0, 0.0], [3.0, 3.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(interval_hits(errors, low, high), [[1, np.nan], [0, np.nan], [np.nan, np.nan]])


def test_bounds_are_in_the_units_of_the_data_up_to_the_last_known_step() -> None:
    """Two columns, of which the second has a known bound for its first step only; the third step has none."""
    quantiles = np.zeros((2, 2, 199))
    quantiles[..., :99], quantiles[..., 100:] = -1, 2
    quantiles[1, 1, 100:] = np.inf
    calibration, widths = ErrorQuantiles(quantiles, fixed_scale(100, 10)), np.ones((1, 2, 2))
    low, high = forecast_intervals(calibration, widths, np.full((1, 3, 2), 110.0), np.zeros((1, 4, 2)), [80])[80]
    np.testing.assert_array_equal(low[0], [[100, 100], [100, 100], [np.nan, np.nan]])
    np.testing.assert_array_equal(high[0], [[130, 130], [130, np.nan], [np.nan, np.nan]])


def test_relative_errors_are_1_at_the_bound_on_their_side() -> None:
    quantiles = np.zeros((1, 3, 199))
    low, high = interval_bounds(80)
    quantiles[..., low], quantiles[..., 99], quantiles[..., high] = -1, 1, 5
    quantiles[0, 1] = np.inf  # too few errors
    quantiles[0, 2] = 1  # all errors were equal
    errors = np.array([[[5.0, 0, 1]], [[-1, 0, 2]], [[1, 0, np.nan]], [[3, 0, 1]]])
    expected = [[[1, np.nan, np.nan]], [[1, np.nan, np.nan]], [[0, np.nan, np.nan]], [[0.5, np.nan, np.nan]]]
    np.testing.assert_array_equal(relative_errors(errors, quantiles), expected)


def recent_errors(relative: np.ndarray, groups: np.ndarray | None = None, spacing: int = 1) -> RecentErrors:
    """Return the errors of forecasts made at the moments 0, 1, ..., whose steps are one moment apart."""
    made = np.arange(len(relative))
    known = made[:, None] + np.arange(1, relative.shape[1] + 1)
    return RecentErrors(relative, made, known, np.zeros_like(made) if groups is None else groups, spacing)


def test_width_follows_the_errors_known_when_the_forecast_is_made() -> None:
    relative = np.full((4, 2, 1), 0.5)
    relative[1] = 2.0
    widths = recent_errors(relative).track().at(np.arange(6), np.zeros(6, int))[..., 0]
    # One step ahead, the second error is outside; it is known at moment 2. Two steps ahead, at moment 3.
    first = np.exp(0.1 * np.array([0, -0.2, 0.6, 0.4, 0.2, 0.2]))
    second = np.exp(0.1 * np.array([0, 0, -0.2, 0.6, 0.4, 0.2]))
    np.testing.assert_allclose(widths, np.stack([first, second], axis=1))


def test_width_counts_unknown_errors_not_at_all_and_errors_of_one_moment_by_their_mean() -> None:
    made, known = np.zeros(4, int), np.ones((4, 1), int)
    relative = np.array([[[2.0, np.nan]], [[2.0, np.nan]], [[0.5, np.nan]], [[np.nan, 2.0]]])
    widths = RecentErrors(relative, made, known, made).track().at(np.array([0, 1]), np.zeros(2, int))
    np.testing.assert_allclose(widths[:, 0], [[1, 1], np.exp([0.1 * (2 / 3 - 0.2), 0.1 * 0.8])])


def test_groups_have_widths_of_their_own() -> None:
    relative = np.full((6, 1, 1), 0.5)
    relative[::2] = 2.0
    found = recent_errors(relative, groups=np.arange(6) % 2 + 7).track().at(np.full(3, 6), np.array([7, 8, 9]))
    np.testing.assert_allclose(found.ravel(), np.exp(0.1 * np.array([2.4, -0.6, 0])))


def test_width_is_limited() -> None:
    made = np.array([10_000])
    for relative, limit in ((np.inf, 10), (0.0, 0.1)):
        found = recent_errors(np.full((2000, 1, 1), relative)).track().at(made, np.zeros(1, int))
        np.testing.assert_allclose(found.ravel(), limit)


def test_every_moment_is_kept_or_left_out_in_each_group() -> None:
    """The second group has other moments, and two forecasts at each of them."""
    made = np.array([0, 2, 4, 6, 1, 1, 3, 3, 5, 5])
    kept = select_moments(made, np.repeat([4, 9], [4, 6]), 2)
    assert np.flatnonzero(kept).tolist() == [0, 2, 4, 5, 8, 9]
    assert not len(select_moments(made[:0], made[:0], 3))


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("horizon", [1, 12])
def test_intervals_cover_errors_of_another_size(scale: float, horizon: int) -> None:
    """Overlapping sums of random numbers, as errors of forecasts of random walks, before and after a change."""
    random = np.random.default_rng(0)
    steps = random.normal(size=6000 + horizon) * np.where(np.arange(6000 + horizon) < 3000, 1, scale)
    errors = np.cumsum(np.stack([steps[step : step + 6000] for step in range(horizon)], axis=1), axis=1)
    quantiles = conformal_quantiles(errors[: 3000 - horizon])[:, None]
    new = errors[3000:, :, None]
    every, spacing = recent_errors(relative_errors(new, quantiles)), adaptation_spacing(horizon)
    kept = select_moments(every.moments, every.groups, spacing)
    recent = RecentErrors(*(values[kept] for values in every[:-1]), spacing)
    widths = recent.track().at(np.arange(3000), np.zeros(3000, int))
    for level in (80, 95):
        inside = interval_hits(new, *interval_offsets(quantiles, widths, level)).mean(axis=(0, 2))
        np.testing.assert_allclose(inside, level / 100, atol=0.03)
    assert np.median(widths[1000:]) == pytest.approx(scale, rel=0.2)
