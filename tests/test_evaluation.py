"""Measures worked by hand or against a second way of computing them."""

import math

import numpy as np
import pytest
from scipy import stats

from lstm_ae.evaluation import RunningMean, Verdict, pca_error, sample_means, skill
from lstm_ae.significance import against_each, compare_forecasts, diebold_mariano, hardest


@pytest.mark.parametrize(
    ("error", "baseline", "expected"), [(1, 4, 0.75), (4, 4, 0), (6, 4, -0.5), (0, 4, 1), (0.0, 0.5, 1)]
)
def test_skill(error: float, baseline: float, expected: float) -> None:
    assert skill(error, baseline) == expected


def test_skill_over_nothing_is_nan() -> None:
    assert math.isnan(skill(1, 0))


def test_a_mean_over_pieces() -> None:
    mean = RunningMean()
    mean.add(np.array([1.0, 2.0, 3.0]))
    mean.add(np.array([[10.0]]))
    assert mean.value == 4
    flags = RunningMean()
    flags.add(np.array([True, False]))
    flags.add(np.array([True, True]))
    assert flags.value == 0.75


def test_a_mean_is_summed_in_double_precision() -> None:
    """In float32, 2**24 + 1 is 2**24."""
    mean = RunningMean()
    mean.add(np.array([2**24], np.float32))
    for _ in range(3):
        mean.add(np.array([1], np.float32))
    assert mean.value == (2**24 + 3) / 4


def test_a_mean_along_axes_keeps_the_rest_apart() -> None:
    mean = RunningMean()
    mean.add(np.array([[1.0, 10.0], [3.0, 30.0]]), axis=0)
    mean.add(np.array([[5.0, 50.0]]), axis=0)
    assert (mean.total / mean.count).tolist() == [3, 30]


def differences(days: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-0.3, 1, days)


@pytest.mark.parametrize("days", [10, 57])
def test_one_step_ahead_it_is_students_test(days: int) -> None:
    """Without lags, Harvey's factor turns the statistic into that of the one-sample t-test."""
    values = differences(days)
    expected = stats.ttest_1samp(values, 0)
    assert diebold_mariano(values, 1) == pytest.approx((-expected.statistic, expected.pvalue), rel=1e-9)


@pytest.mark.parametrize(("kernel", "weight"), [("uniform", 1), ("bartlett", 1 / 2)])
def test_two_steps_ahead_by_the_formula(kernel: str, weight: float) -> None:
    """Variance with one weighted lag, then Harvey, Leybourne and Newbold's factor, all written out."""
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


def test_a_variance_that_few_days_make_too_small_is_neweys_and_wests() -> None:
    values = np.tile([0.0, 1.0], 10) + np.random.default_rng(0).normal(0, 0.1, 20)
    assert diebold_mariano(values, 2) == diebold_mariano(values, 2, "bartlett")


def test_equal_forecasts_of_many_steps_seldom_differ() -> None:
    """At a level of 5 %, differences of mean 0 that overlap by 9 of 10 steps: 6 %, by Newey-West's weights 13 %."""
    random = np.random.default_rng(0)
    overlapping = (np.convolve(random.normal(size=609), np.ones(10), "valid") for _ in range(1000))
    assert np.mean([diebold_mariano(values, 10)[1] < 0.05 for values in overlapping]) < 0.08


@pytest.mark.parametrize(
    ("values", "steps"),
    [(differences(9), 1), (differences(29), 15), (np.zeros(50), 1), (np.full(50, 0.25), 1), (np.empty(0), 1)],
    ids=["too few", "too few for the horizon", "equal", "constant", "none"],
)
def test_no_p_where_none_can_be_computed(values: np.ndarray, steps: int) -> None:
    assert all(map(math.isnan, diebold_mariano(values, steps)))


DAYS = np.repeat(np.array("2020-01-01", "datetime64[D]") + np.arange(20), 3)


def losses(first: float, second: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(seed).uniform(0, 0.1, (2, 60))
    return first + noise[0], second + noise[1]


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"), [(1.0, 2.0, "beats"), (2.0, 1.0, "loses to"), (1.0, 1.0, "ties with")]
)
def test_the_verdict(ours: float, theirs: float, outcome: str) -> None:
    errors, baseline = losses(ours, theirs)
    found = compare_forecasts(errors, baseline, DAYS, name="persistence", steps=1)
    assert (found.outcome, found.baseline) == (outcome, "persistence")
    assert found.skill == pytest.approx(1 - errors.mean() / baseline.mean())
    assert (found.p < 0.05) == (outcome != "ties with")


@pytest.mark.parametrize("crowded", [False, True])
def test_the_margin_of_a_skill_is_students(crowded: bool) -> None:
    """That of the mean daily difference, in shares of the baseline's loss, whatever the skill over samples is."""
    errors, baseline = losses(1.0, 1.05)
    errors[0] += 3
    counts = np.r_[40, np.ones(59)] if crowded else np.ones(60)
    found = compare_forecasts(errors, baseline, np.arange(60), name="x", steps=1, counts=counts)
    low, high = stats.ttest_1samp(errors - baseline, 0).confidence_interval()
    assert found.margin == pytest.approx((high - low) / 2 / np.average(baseline, weights=counts))
    assert math.isnan(compare_forecasts(errors[:9], baseline[:9], np.arange(9), name="x", steps=1).margin)
    assert math.isnan(compare_forecasts(errors, 0 * errors, np.arange(60), name="x", steps=1).margin)


def test_the_verdict_counts_days_not_samples() -> None:
    """Companies that move together on a day are one piece of evidence: the test is on daily means."""
    errors, baseline = losses(1.0, 1.01)
    shuffled = np.random.default_rng(1).permutation(60)
    daily = (errors - baseline).reshape(20, 3).mean(axis=1)
    statistic, expected = diebold_mariano(daily, 1)
    for order in (np.arange(60), shuffled):
        found = compare_forecasts(errors[order], baseline[order], DAYS[order], name="x", steps=1)
        assert (found.statistic, found.p) == pytest.approx((statistic, expected), rel=1e-9)
        assert found.halves == pytest.approx([diebold_mariano(half, 1)[0] for half in (daily[:10], daily[10:])])
    copies = compare_forecasts(np.tile(errors, 5), np.tile(baseline, 5), np.tile(DAYS, 5), name="x", steps=1)
    assert copies.p == pytest.approx(expected, rel=1e-9)
    # Means over some forecasts of a day say the same as these.
    apart = np.r_[np.arange(0, 60, 3), np.arange(60).reshape(20, 3)[:, 1:].ravel()]
    ours, theirs = (np.r_[of[apart[:20]], of[apart[20:]].reshape(20, 2).mean(axis=1)] for of in (errors, baseline))
    counts = np.repeat([1, 2], 20)
    means = compare_forecasts(ours, theirs, np.tile(DAYS[::3], 2), name="x", steps=1, counts=counts)
    assert (means.skill, means.p) == pytest.approx((found.skill, expected), rel=1e-9)


def test_equal_forecasts_tie() -> None:
    errors, _ = losses(1, 1)
    found = compare_forecasts(errors, errors, DAYS, name="persistence", steps=1)
    assert found.outcome == "ties with"
    assert found.skill == 0
    assert math.isnan(found.p)
    assert str(found) == ("ties with persistence (the model equals it, because training did not improve on it)")


@pytest.mark.parametrize("seed", range(5))
def test_forecasts_that_differ_by_rounding_tie(seed: int) -> None:
    random = np.random.default_rng(seed)
    error = random.normal(size=500)
    off = 1e-4 * (1 + random.normal(size=500))
    ours, theirs = (error + off + 1e-5 * error) ** 2, error**2
    rounding = 2 * abs(error) * 1e-3 + 1e-6
    assert compare_forecasts(ours, theirs, np.arange(500), name="x", steps=1, rounding=rounding).outcome == "ties with"
    # What is more than that still counts.
    better = compare_forecasts(0.9 * theirs, theirs, np.arange(500), name="x", steps=1, rounding=rounding)
    assert better.outcome == "beats"
    (judged,) = against_each(
        ours, {"x": theirs}, np.arange(500), steps=1, counts=np.ones(500), rounding=rounding
    ).values()
    assert (judged.outcome, judged.skill) == ("ties with", 0)


def test_too_few_days_decide_nothing() -> None:
    errors, baseline = losses(1, 2)
    found = compare_forecasts(errors[:12], baseline[:12], DAYS[:12], name="persistence", steps=1)
    assert found.outcome == "undecided against"
    assert math.isnan(found.p)
    assert str(found) == f"undecided against persistence (skill {found.skill:+.2%}, p not computable)"


def test_a_rout_is_worse_without_a_test() -> None:
    errors, baseline = losses(20, 1)
    found = compare_forecasts(errors[:12], baseline[:12], DAYS[:12], name="PCA", steps=1)
    assert found.outcome == "is worse than"
    assert str(found).startswith("is worse than PCA (over 1,000% worse")
    assert str(found).endswith(", p not computable)")
    won = compare_forecasts(baseline[:12], errors[:12], DAYS[:12], name="PCA", steps=1)
    assert won.outcome == "undecided against"  # what cannot be tested is not praised


def test_a_rout_that_is_not_significant_is_no_tie() -> None:
    """One day in twenty is a disaster."""
    errors, baseline = losses(1, 1)
    errors[:3] += 100
    found = compare_forecasts(errors, baseline, DAYS, name="x", steps=1)
    assert found.skill < -1
    assert found.p > 0.05
    assert found.outcome == "undecided against"


def test_the_hardest_baseline_has_the_smallest_mean_loss() -> None:
    found = {"a": np.array([3.0, 1.0]), "b": np.array([1.0, 2.0]), "c": np.array([2.0, 1.0])}
    assert hardest(found) == "b"
    assert hardest(found, np.array([1, 3])) == "c"
    judged = against_each(np.ones(2), found, np.arange(2), steps=1, counts=np.array([1, 3]))
    assert [(name, verdict.baseline) for name, verdict in judged.items()] == [(x, x) for x in ("c", "a", "b")]


def test_samples_are_averaged_over_what_is_there() -> None:
    errors = np.array([[[1.0, np.nan], [3.0, 5.0]], [[np.nan, np.nan], [np.nan, np.nan]]])
    np.testing.assert_array_equal(sample_means(errors), [3.0, np.nan])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Verdict("beats", "persistence", 0.0312, 0.0123), "beats persistence (skill +3.12%, p = 0.012)"),
        (Verdict("loses to", "persistence", -0.5, 1e-9), "loses to persistence (skill -50.00%, p = 1e-09)"),
        (Verdict("loses to", "persistence", -3.49, 0.001), "loses to persistence (error x4.49, p = 0.001)"),
        (Verdict("loses to", "PCA", -8055.26, 0.001), "loses to PCA (over 1,000% worse, p = 0.001)"),
        (Verdict("loses to", "persistence", math.nan, 0.5), "loses to persistence (skill -, p = 0.5)"),
        (Verdict("ties with", "persistence", 0.0, math.nan), "ties with persistence (skill +0.00%, p not computable)"),
    ],
)
def test_a_verdict_in_words(given: Verdict, text: str) -> None:
    assert str(given) == text


@pytest.mark.parametrize(("samples", "values"), [(40, 6), (30, 1001)], ids=["narrow", "wide"])
def test_principal_components_against_the_singular_vectors(samples: int, values: int) -> None:
    random = np.random.default_rng(0)
    train, test = random.normal(size=(samples, values)), random.normal(size=(7, values))
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:3]
    expected = np.mean(((test - mean) @ axes.T @ axes + mean - test) ** 2)
    assert pca_error(train, test, 3) == pytest.approx(expected, rel=1e-6)


def test_principal_components_by_hand() -> None:
    """Training on the diagonal of a square: one number keeps what lies on it and loses what lies across."""
    train = np.array([[-1.0, -1.0], [1.0, 1.0], [2.0, 2.0], [-2.0, -2.0]])
    assert pca_error(train, np.array([[3.0, 3.0]]), 1) == pytest.approx(0, abs=1e-12)
    assert pca_error(train, np.array([[1.0, -1.0]]), 1) == pytest.approx(1)
    # More numbers than there are values lose nothing.
    assert pca_error(train, np.array([[1.0, -1.0]]), 9) == pytest.approx(0, abs=1e-12)


def test_better_by_the_day_and_worse_by_the_sample_decides_nothing() -> None:
    """99 days of one company that is forecast better, and one of a thousand that are forecast worse."""
    random = np.random.default_rng(0)
    days = np.r_[np.arange(99), np.full(1000, 99)]
    baseline = np.ones(1099)
    errors = np.r_[0.9 + 0.01 * random.normal(size=99), np.full(1000, 1.05)]
    found = compare_forecasts(errors, baseline, days, name="persistence", steps=1)
    assert found.p < 0.05
    assert found.skill < 0 < found.statistic
    assert found.outcome == "undecided against"
