"""Test metrics and significance tests against values computed by hand or in another way."""

import math

import numpy as np
import pytest
from scipy import stats

from lstm_ae.evaluation import Verdict, mean_over_batches, pca_error, sample_means, skill
from lstm_ae.significance import best_baseline, compare_forecasts, compare_with_each, diebold_mariano


@pytest.mark.parametrize(
    ("error", "baseline", "expected"),
    [(1, 4, 0.75), (4, 4, 0), (6, 4, -0.5), (0.0, 4, 1), (1, 0, math.nan)],
)
def test_skill_is_one_minus_the_error_ratio(error: float, baseline: float, expected: float) -> None:
    assert skill(error, baseline) == pytest.approx(expected, nan_ok=True)


def test_means_over_batches_are_summed_in_double_precision() -> None:
    """In float32, 2**24 + 1 equals 2**24."""
    batches = [[np.array([value], np.float32), np.array([[value > 1], [True]])] for value in (2**24, 1, 1, 1)]
    assert mean_over_batches(batches) == [(2**24 + 3) / 4, 5 / 8]


def differences(days: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-0.3, 1, days)


@pytest.mark.parametrize("days", [10, 57])
def test_diebold_mariano_for_one_step_equals_the_t_test(days: int) -> None:
    """Without lags, the correction of Harvey et al. gives the statistic of the one-sample t-test."""
    values = differences(days)
    expected = stats.ttest_1samp(values, 0)
    assert diebold_mariano(values, 1) == pytest.approx((-expected.statistic, expected.pvalue), rel=1e-9)


@pytest.mark.parametrize(("kernel", "weight"), [("uniform", 1), ("bartlett", 1 / 2)])
def test_diebold_mariano_for_two_steps_matches_the_formula(kernel: str, weight: float) -> None:
    """Compute the variance with one weighted lag and the correction of Harvey, Leybourne, and Newbold."""
    days, steps = 40, 2
    values = differences(days + 1)
    values = values[1:] + values[:-1]
    centred = values - values.mean()
    lag_0 = np.sum(centred**2) / days
    lag_1 = np.sum(centred[1:] * centred[:-1]) / days
    statistic = values.mean() / math.sqrt((lag_0 + 2 * weight * lag_1) / days)
    statistic *= math.sqrt((days + 1 - 2 * steps + steps * (steps - 1) / days) / days)
    expected = 2 * stats.t.sf(abs(statistic), days - 1)
    assert diebold_mariano(values, steps, kernel) == pytest.approx((-statistic, expected), rel=1e-9)


def test_diebold_mariano_uses_the_larger_bartlett_variance() -> None:
    values = np.tile([0.0, 1.0], 10) + np.random.default_rng(0).normal(0, 0.1, 20)
    assert diebold_mariano(values, 2) == diebold_mariano(values, 2, "bartlett")


def test_diebold_mariano_rejects_equal_overlapping_forecasts_rarely() -> None:
    """At a level of 5%, 6% of the series with overlap are significant; with Newey-West weights alone, 13%."""
    random = np.random.default_rng(0)
    overlapping = (np.convolve(random.normal(size=609), np.ones(10), "valid") for _ in range(1000))
    assert np.mean([diebold_mariano(values, 10)[1] < 0.05 for values in overlapping]) < 0.08


@pytest.mark.parametrize(
    ("values", "steps"),
    [(differences(9), 1), (differences(29), 15), (np.zeros(50), 1), (np.full(50, 0.25), 1), (np.empty(0), 1)],
    ids=["too few", "too few for the horizon", "equal", "constant", "none"],
)
def test_diebold_mariano_returns_nan_when_p_is_not_computable(values: np.ndarray, steps: int) -> None:
    assert all(map(math.isnan, diebold_mariano(values, steps)))


DAYS = np.repeat(np.array("2020-01-01", "datetime64[D]") + np.arange(20), 3)


def losses(first: float, second: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(seed).uniform(0, 0.1, (2, 60))
    return first + noise[0], second + noise[1]


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"), [(1.0, 2.0, "beats"), (2.0, 1.0, "loses to"), (1.0, 1.0, "ties with")]
)
def test_compare_forecasts_beats_loses_or_ties(ours: float, theirs: float, outcome: str) -> None:
    errors, baseline = losses(ours, theirs)
    found = compare_forecasts(errors, baseline, DAYS, name="persistence", steps=1)
    assert (found.outcome, found.baseline) == (outcome, "persistence")
    assert found.skill == pytest.approx(1 - errors.mean() / baseline.mean())
    assert (found.p < 0.05) == (outcome != "ties with")


@pytest.mark.parametrize("crowded", [False, True])
def test_skill_margin_is_the_t_confidence_interval_of_daily_differences(crowded: bool) -> None:
    """The margin is that of the mean daily difference, relative to the loss of the baseline."""
    errors, baseline = losses(1.0, 1.05)
    errors[0] += 3
    counts = np.r_[40, np.ones(59)] if crowded else np.ones(60)
    found = compare_forecasts(errors, baseline, np.arange(60), name="x", steps=1, counts=counts)
    low, high = stats.ttest_1samp(errors - baseline, 0).confidence_interval()
    assert found.margin == pytest.approx((high - low) / 2 / np.average(baseline, weights=counts))
    assert math.isnan(compare_forecasts(errors[:9], baseline[:9], np.arange(9), name="x", steps=1).margin)
    assert math.isnan(compare_forecasts(errors, 0 * errors, np.arange(60), name="x", steps=1).margin)


def test_compare_forecasts_tests_daily_means_not_samples() -> None:
    """Samples of one day are dependent, so the test uses daily means."""
    errors, baseline = losses(1.0, 1.01)
    shuffled = np.random.default_rng(1).permutation(60)
    daily = (errors - baseline).reshape(20, 3).mean(axis=1)
    statistic, expected = diebold_mariano(daily, 1)
    for order in (np.arange(60), shuffled):
        found = compare_forecasts(errors[order], baseline[order], DAYS[order], name="x", steps=1)
        assert (found.statistic, found.p) == pytest.approx((statistic, expected), rel=1e-9)
    copies = compare_forecasts(np.tile(errors, 5), np.tile(baseline, 5), np.tile(DAYS, 5), name="x", steps=1)
    assert copies.p == pytest.approx(expected, rel=1e-9)
    # Means over several forecasts of a day, with their counts, give the same result.
    apart = np.r_[np.arange(0, 60, 3), np.arange(60).reshape(20, 3)[:, 1:].ravel()]
    ours, theirs = (np.r_[of[apart[:20]], of[apart[20:]].reshape(20, 2).mean(axis=1)] for of in (errors, baseline))
    counts = np.repeat([1, 2], 20)
    means = compare_forecasts(ours, theirs, np.tile(DAYS[::3], 2), name="x", steps=1, counts=counts)
    assert (means.skill, means.p) == pytest.approx((found.skill, expected), rel=1e-9)


def test_identical_forecasts_tie_with_the_baseline() -> None:
    errors, _ = losses(1, 1)
    found = compare_forecasts(errors, errors, DAYS, name="persistence", steps=1)
    assert found.outcome == "ties with"
    assert found.skill == 0
    assert math.isnan(found.p)
    assert str(found) == "ties with persistence (the model equals it)"


@pytest.mark.parametrize("seed", range(5))
def test_forecasts_that_differ_by_rounding_tie(seed: int) -> None:
    random, days = np.random.default_rng(seed), np.arange(500)
    error = random.normal(size=500)
    off = 1e-4 * (1 + random.normal(size=500))
    ours, theirs = (error + off + 1e-5 * error) ** 2, error**2
    rounding = 2 * abs(error) * 1e-3 + 1e-6
    assert compare_forecasts(ours, theirs, days, name="x", steps=1, rounding=rounding).outcome == "ties with"
    # A difference larger than the rounding error still counts.
    better = compare_forecasts(0.9 * theirs, theirs, days, name="x", steps=1, rounding=rounding)
    assert better.outcome == "beats"
    (judged,) = compare_with_each(ours, {"x": theirs}, days, steps=1, counts=np.ones(500), rounding=rounding).values()
    assert (judged.outcome, judged.skill) == ("ties with", 0)


def test_verdict_is_undecided_with_too_few_days() -> None:
    errors, baseline = losses(1, 2)
    found = compare_forecasts(errors[:12], baseline[:12], DAYS[:12], name="persistence", steps=1)
    assert found.outcome == "undecided against"
    assert math.isnan(found.p)
    assert str(found) == f"undecided against persistence (skill {found.skill:+.2%}, p not computable)"


def test_much_larger_error_is_worse_without_a_significance_test() -> None:
    errors, baseline = losses(20, 1)
    found = compare_forecasts(errors[:12], baseline[:12], DAYS[:12], name="PCA", steps=1)
    assert found.outcome == "is worse than"
    assert str(found).startswith("is worse than PCA (over 1,000% worse")
    assert str(found).endswith(", p not computable)")
    won = compare_forecasts(baseline[:12], errors[:12], DAYS[:12], name="PCA", steps=1)
    assert won.outcome == "undecided against"  # without a test, a smaller error does not win


def test_large_but_insignificant_loss_is_undecided_not_a_tie() -> None:
    """One day in 20 has a very large error."""
    errors, baseline = losses(1, 1)
    errors[:3] += 100
    found = compare_forecasts(errors, baseline, DAYS, name="x", steps=1)
    assert found.skill < -1
    assert found.p > 0.05
    assert found.outcome == "undecided against"


def test_best_baseline_has_the_smallest_mean_loss() -> None:
    found = {"a": np.array([3.0, 1.0]), "b": np.array([1.0, 2.0]), "c": np.array([2.0, 1.0])}
    assert best_baseline(found) == "b"
    assert best_baseline(found, np.array([1, 3])) == "c"
    judged = compare_with_each(np.ones(2), found, np.arange(2), steps=1, counts=np.array([1, 3]))
    assert [(name, verdict.baseline) for name, verdict in judged.items()] == [(x, x) for x in ("c", "a", "b")]


def test_sample_means_ignore_missing_values() -> None:
    errors = np.array([[[1.0, np.nan], [3.0, 5.0]], [[np.nan, np.nan], [np.nan, np.nan]]])
    np.testing.assert_array_equal(sample_means(errors), [3.0, np.nan])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Verdict("beats", "persistence", 0.0312, 0.0123), "beats persistence (skill +3.12%, p = 0.012)"),
        (Verdict("loses to", "persistence", -3.49, 0.001), "loses to persistence (error x4.49, p = 0.001)"),
        (Verdict("loses to", "persistence", math.nan, 0.5), "loses to persistence (skill -, p = 0.5)"),
        (Verdict("ties with", "persistence", 0.0, math.nan), "ties with persistence (skill +0.00%, p not computable)"),
    ],
)
def test_verdict_text_for_each_outcome(given: Verdict, text: str) -> None:
    assert str(given) == text


@pytest.mark.parametrize(("samples", "values"), [(40, 6), (30, 1001)], ids=["narrow", "wide"])
def test_pca_error_equals_a_projection_on_singular_vectors(samples: int, values: int) -> None:
    random = np.random.default_rng(0)
    train, test = random.normal(size=(samples, values)), random.normal(size=(7, values))
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:3]
    expected = np.mean(((test - mean) @ axes.T @ axes + mean - test) ** 2)
    assert pca_error(train, test, 3) == pytest.approx(expected, rel=1e-6)
    # With more components than values, the error is 0.
    assert pca_error(train[:, :2], test[:, :2], 9) == pytest.approx(0, abs=1e-12)


def test_verdict_is_undecided_if_days_and_samples_disagree() -> None:
    """The model is better on 99 days with 1 company and worse on one day with 1,000 companies."""
    random = np.random.default_rng(0)
    days = np.r_[np.arange(99), np.full(1000, 99)]
    baseline = np.ones(1099)
    errors = np.r_[0.9 + 0.01 * random.normal(size=99), np.full(1000, 1.05)]
    found = compare_forecasts(errors, baseline, days, name="persistence", steps=1)
    assert found.p < 0.05
    assert found.skill < 0 < found.statistic
    assert found.outcome == "undecided against"
