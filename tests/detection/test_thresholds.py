"""Thresholds: parsing, values by hand, expected alarms, and error messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lstm_ae.config.threshold import Rule, parse_threshold
from lstm_ae.detection.events import true_ranges
from lstm_ae.detection.tail import RECENT_BLOCKS, block_maxima, usual_limit
from lstm_ae.detection.thresholds import ExpectedAlarms, Threshold, fit_threshold
from lstm_ae.errors import ConfigError, DataError

MINUTES = np.timedelta64(5, "m")
NOISE = np.random.default_rng(0).exponential(size=20_000)
JOIN = 20


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("quantile:0.995", Rule("quantile", 0.995)),
        ("pot:1e-3", Rule("pot", 0.001)),
        ("budget:2/week", Rule("budget", 2, "week")),
        ("budget:0.5/month", Rule("budget", 0.5, "month")),
        (" Fixed:3 ", Rule("fixed", 3)),
        ("pot:1e-3:at-most", Rule("pot", 0.001, at_most=True)),
        ("budget:2/week:at-most", Rule("budget", 2, "week", at_most=True)),
        ("quantile:0.9999999999", Rule("quantile", 0.9999999999)),
    ],
)
def test_threshold_rules_are_parsed_and_formatted(text: str, rule: Rule) -> None:
    assert parse_threshold(text) == rule
    assert parse_threshold(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be quantile:Q, pot:P, budget:N/hour|day|week|month|year, or fixed:X. Received: ''"),
        ("0.99", "must be quantile:Q, pot:P, budget:N/hour|day|week|month|year, or fixed:X. Received: '0.99'"),
        ("budget:2", "must be quantile:Q"),
        ("budget:2/decade", "must be quantile:Q"),
        ("pot:1e-3/day", "pot: needs a probability above 0 and at most 0.1. Received: 'pot:1e-3/day'"),
        ("quantile:99.5", "quantile: needs a number above 0 and below 1. Received: 'quantile:99.5'"),
        ("quantile:nan", "quantile: needs a number above 0 and below 1"),
        ("quantile:1", "quantile: needs"),
        ("pot:0", "pot: needs"),
        ("pot:0.2", "pot: needs"),
        ("budget:0/day", "budget: needs a number of alarms above 0. Received: 'budget:0/day'"),
        ("budget:inf/day", "budget: needs"),
        ("fixed:-1", "fixed: needs a score, 0 or more. Received: 'fixed:-1'"),
        ("fixed:x", "fixed: needs"),
        ("quantile:0.9:at-most", "quantile: needs"),
        ("budget:2/week:at-least", "must be quantile:Q"),
    ],
)
def test_invalid_threshold_rules_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_threshold(text)
    assert problem in str(caught.value)
    assert str(caught.value).startswith("--threshold ")


def test_quantile_threshold_is_rounded_outwards() -> None:
    """The k-th of 19 scores is above a new one with probability k / 20, as for conformal quantiles."""
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 20))
    for part, value in ((0.9, 18), (0.5, 10), (0.93, 19)):
        assert fit_threshold(Rule("quantile", part), scores, 1).value == value
    found = fit_threshold(Rule("quantile", 0.96), scores, 1)
    assert (found.value, found.how) == (19, "the highest of 19 normal scores, too few for the quantile 0.96")


def test_pot_threshold_extrapolates_beyond_the_scores() -> None:
    found = fit_threshold(Rule("pot", 1e-6), NOISE, JOIN)
    assert max(-0.9 * np.log(1e-6), NOISE.max()) < found.value < -1.1 * np.log(1e-6)
    assert found.how.startswith("prediction from the highest scores of 1,000 windows")
    assert found.p_values(np.array(found.value)) == pytest.approx(1e-6)
    assert ", below the tail" in fit_threshold(Rule("pot", 0.1), NOISE, JOIN).how


def test_pot_threshold_falls_with_the_probability() -> None:
    """Also where it passes from the tail, which holds about 4% of these scores, to their quantiles."""
    rules = [parse_threshold(f"pot:{share / 1000}") for share in range(1, 100)]
    values = [fit_threshold(rule, NOISE, JOIN).value for rule in rules]
    assert values == sorted(values, reverse=True)


def test_alarm_budget_holds_on_new_rows() -> None:
    """One alarm per day of 288 rows, counted on new rows."""
    found = fit_threshold(parse_threshold("budget:1/day"), NOISE[:5000], JOIN, step=MINUTES)
    assert found.alarms.per(288).expected == pytest.approx(1)
    alarms = len(true_ranges(NOISE[5000:] > found.value, JOIN))
    expected = found.alarms.per(15_000)
    assert expected.low < alarms < expected.high
    assert found.value > fit_threshold(parse_threshold("budget:1/hour"), NOISE[:5000], JOIN, step=MINUTES).value


def test_threshold_of_at_most_a_budget_is_not_below_the_usual_highest_scores() -> None:
    budget, bound = (
        fit_threshold(parse_threshold(f"budget:10/day{end}"), NOISE[:5000], JOIN, step=MINUTES)
        for end in ("", ":at-most")
    )
    assert bound.maxima == budget.maxima == tuple(block_maxima(NOISE[:5000], JOIN)[-RECENT_BLOCKS:])
    assert bound.value == usual_limit(budget.maxima) > budget.value
    assert bound.alarms.expected < budget.alarms.expected
    # Alarms follow both, and no stated score.
    assert budget.alarm_rule(JOIN).limit(()) == budget.value
    assert budget.alarm_rule(JOIN).limit((9.0,) * RECENT_BLOCKS) > bound.value
    assert fit_threshold(Rule("fixed", 2), NOISE[:5000], JOIN).alarm_rule(JOIN).maxima is None
    # A threshold above the limit remains.
    high, bound = (fit_threshold(parse_threshold(f"pot:1e-6{end}"), NOISE[:5000], JOIN) for end in ("", ":at-most"))
    assert (high.value, high.how) == (bound.value, bound.how)


@pytest.mark.parametrize(("alarms", "exceeded"), [(0, False), (6, False), (7, True), (20, True)])
def test_far_more_alarms_than_expected_are_improbable(alarms: int, exceeded: bool) -> None:
    """Of normal rows with two expected alarms, 1.7% have six and more, 0.5% seven and more."""
    assert ExpectedAlarms(2.0, 1.0, 3.0).exceeded_by(alarms) is exceeded


def test_alarm_budget_of_more_events_than_windows_is_limited() -> None:
    scores = np.convolve(NOISE[:4000], np.ones(10) / 10, "valid")
    found, more = (fit_threshold(Rule("budget", number, "day"), scores, 10, step=MINUTES) for number in (15, 1000))
    assert found.value == more.value
    assert len(true_ranges(scores > found.value, 10)) <= len(scores) / 20


@pytest.mark.parametrize("rows", [365, 365 * 5])
def test_alarm_budget_beyond_the_number_of_windows_is_limited(rows: int) -> None:
    """Two alarms a month with daily rows and windows of 30: a low threshold would join all rows into one event."""
    shocks = np.random.default_rng(2).normal(size=rows + 30)
    scores = np.convolve(shocks**2, np.ones(31) / 31, "valid")
    found = fit_threshold(parse_threshold("budget:2/month"), scores, 30, step=np.timedelta64(1, "D"))
    assert 0 < (scores > found.value).mean() <= 0.1
    assert "of the rows above it" in found.how
    assert fit_threshold(Rule("quantile", 0.9), scores, 30).value == found.value


def test_counted_alarms_have_the_exact_poisson_interval() -> None:
    scores = np.zeros(100)
    scores[[10, 40, 41, 43, 80]] = 5
    found = fit_threshold(Rule("fixed", 4), scores, 3)
    assert found.alarms.per(100) == pytest.approx((3, stats.chi2.ppf(0.025, 6) / 2, stats.chi2.ppf(0.975, 8) / 2))
    assert found.alarms.per(100)[1:] == pytest.approx((0.6187, 8.7673), abs=1e-4)
    none = fit_threshold(Rule("fixed", 6), scores, 3).alarms.per(100)
    assert none == pytest.approx((0, 0, 3.6889), abs=1e-4)


def test_alarms_are_not_joined_across_segments() -> None:
    scores = np.zeros(100)
    scores[[49, 50]] = 5
    assert fit_threshold(Rule("fixed", 4), scores, 3).alarms.per(100).expected == 1
    assert fit_threshold(Rule("fixed", 4), scores, 3, segment=np.arange(100) // 50).alarms.per(100).expected == 2


@pytest.mark.parametrize("error", [0, 0.1])
def test_rounding_errors_of_a_constant_series_are_no_events(error: float) -> None:
    """The series is constant, so the errors of the model differ only by rounding."""
    scores = (error + np.random.default_rng(0).normal(0, 1e-6, 500)) ** 2
    again = (error + np.random.default_rng(1).normal(0, 2e-6, 5000)) ** 2
    least = (error + 1e-5) ** 2
    for rule in (Rule("quantile", 0.9), Rule("pot", 1e-3), Rule("budget", 1, "day")):
        found = fit_threshold(rule, scores, 10, step=MINUTES, rounding=1e-5)
        assert found.value == pytest.approx(least, rel=0.2)
        assert f"raised to {found.value:g}, the bound of rounding errors" in found.how
        assert found.alarms.expected == 0
        assert again.max() < found.value
    assert fit_threshold(Rule("quantile", 0.9), scores, 10, rounding=0).value < found.value


EXPONENTIAL = fit_threshold(Rule("pot", 1e-3), NOISE[:300], JOIN)
# No tail: the scores differ by rounding only.
COUNTED = fit_threshold(Rule("quantile", 0.9), np.repeat(np.arange(1.0, 6), 8), 1, rounding=10)


@given(st.sampled_from([EXPONENTIAL, COUNTED]), st.floats(0, 60), st.floats(0, 60))
def test_p_values_decrease_with_the_score_and_are_never_zero(found: Threshold, one: float, other: float) -> None:
    low, high = sorted((one, other))
    p = found.p_values(np.array([low, high, 1e300, np.nan]))
    assert 0 < p[2] <= p[1] <= p[0] <= 1
    assert np.isnan(p[3])


def test_p_values_without_a_tail_are_counted() -> None:
    assert COUNTED.tail is None
    p = COUNTED.p_values(np.array([0, 1, 3.5, 5, 6]))
    assert p.tolist() == pytest.approx([1, 1, 17 / 41, 9 / 41, 1 / 41])


def test_p_values_are_uniform_on_new_normal_rows() -> None:
    p = fit_threshold(Rule("pot", 1e-3), NOISE[:10_000], JOIN).p_values(NOISE[10_000:])
    for part in (0.5, 0.1, 0.01, 0.002):
        assert np.mean(p <= part) == pytest.approx(part, rel=0.35)


def test_threshold_ignores_rows_without_a_score() -> None:
    gaps = np.insert(NOISE[:3000], np.arange(0, 3000, 3), np.nan)
    assert (
        fit_threshold(Rule("quantile", 0.99), gaps, 1).value
        == fit_threshold(Rule("quantile", 0.99), NOISE[:3000], 1).value
    )


def test_threshold_refuses_invalid_steps_and_scores() -> None:
    for step in (None, np.timedelta64(0, "s"), np.timedelta64("NaT", "s")):
        with pytest.raises(ConfigError, match="--threshold budget needs a constant sampling interval"):
            fit_threshold(Rule("budget", 1, "day"), NOISE, 1, step=step)
    with pytest.raises(ConfigError, match="exceeds one hour"):
        fit_threshold(Rule("budget", 1, "hour"), NOISE, 1, step=np.timedelta64(1, "D"))
    with pytest.raises(DataError, match=r"no scores.+--normal"):
        fit_threshold(Rule("fixed", 1), np.full(5, np.nan), 1)
    with pytest.raises(DataError, match=r"infinite.+--normal"):
        fit_threshold(Rule("fixed", 1), np.array([1, np.inf]), 1)
