"""Metrics of forecasts of one column, by hand on small numbers and on series with a known structure."""

import math

import numpy as np
import pytest
from price_forecasts import data_of, found_of

from lstm_ae.data.scaling import Scale
from lstm_ae.forecasting.intervals import ForecastMethod, calibrate_intervals
from lstm_ae.forecasting.metrics import ForecastErrors, judge_forecasts, measure_forecasts

LOGARITHMS = Scale("log", np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))


def naive(given, ahead, times=1.0):
    """Return a method that forecasts the last known value times a factor."""
    return ForecastMethod(lambda past, company, following: np.repeat(times * past[:, -1:], ahead, axis=1), given, ahead)


def test_metrics_of_prices_by_hand():
    """The test split is 100, 110, 99, 99; after windows of two days, 99 and 99 are forecast."""
    train = [10, 12, 11, 13, 12, 14, 13, 15, 14, 16, 15, 17]
    _, found = found_of([*train, 100, 100, 100, 100, 100, 110, 99, 99], naive(2, 1, 0.9), LOGARITHMS)
    measured, log = measure_forecasts(found), math.log(0.9)
    expected = {
        "forecast_mse": (log**2 / 2, log**2 / 2),
        "skill": (0, None),
        "mae": (4.95, 5.5),
        "rmse": (math.sqrt(9.9**2 / 2), math.sqrt(121 / 2)),
        "direction": (1, None),
    }
    assert list(measured) == list(expected)
    for name, (ours, theirs) in expected.items():
        metric = measured[name]
        assert metric.value == pytest.approx(ours, abs=2e-5), name
        assert metric.baselines.get("persistence") == (theirs and pytest.approx(theirs, rel=1e-4)), name
    assert list(measured["mae"].baselines) == ["persistence", "drift", "linear regression"]


@pytest.mark.parametrize(
    ("forecasts", "share"), [((1, 1, -1, 1), 2 / 3), ((1, 0, -1, 1), 1), ((0, 0, 0, 0), math.nan)], ids=str
)
def test_direction_is_of_steps_whose_changes_are_not_zero(forecasts, share):
    """The changes of the four test windows are 1, -2, -2, and 0."""
    series = [*range(24), 20, 20, 20, 20, 20, 20, 21, 19, 17, 17]
    data, _ = found_of(series, naive(2, 1))
    changes = dict(zip(data.test.starts[-4:].tolist(), forecasts, strict=True))
    last = data.test._replace(starts=data.test.starts[-4:])
    guess = np.array(list(changes.values()), np.float32)
    method = ForecastMethod(lambda past, *_: past[:, -1:] + guess[-len(past) :, None, None], 2, 1)
    _, errors = found_of(series, method, test=last)
    assert measure_forecasts(errors)["direction"].value == pytest.approx(share, nan_ok=True)


def test_skill_is_unknown_if_persistence_has_no_error():
    _, found = found_of([5.0] * 40, naive(3, 2))
    for errors in (found, found.each_step[1]):
        measured = measure_forecasts(errors)
        assert math.isnan(measured["skill"].value)
        assert math.isnan(measured["direction"].value)
        assert measured["mae"].value == 0


def test_each_step_ahead_has_its_own_metrics():
    """On a line, the error of persistence is 2 after one day and 6 after three; drift has no error."""
    _, found = found_of(np.arange(100.0) * 2 + 5, naive(4, 3))
    for step, errors in enumerate(found.each_step, 1):
        metric = measure_forecasts(errors)["mae"]
        assert metric.value == pytest.approx(2 * step)
        assert metric.baselines["drift"] == pytest.approx(0, abs=1e-4)
    assert measure_forecasts(found)["mae"].value == pytest.approx(4)
    assert found.by_step[""].tolist() == pytest.approx([4, 16, 36])


@pytest.mark.parametrize(("length", "windows", "known"), [(36, 4, False), (40, 5, True), (120, 21, True)])
def test_coverage_needs_five_validation_windows(length, windows, known):
    series, way = 500 + np.cumsum(np.random.default_rng(0).normal(0, 1, length)), naive(3, 1)
    data, found = found_of(series, way, calibration=calibrate_intervals(way, data_of(series, 4), relative=True))
    assert data.validation.samples == windows
    measured = measure_forecasts(found)
    assert [f"coverage_{level}" in measured for level in (80, 95)] == [known] * 2
    assert not known or measured["coverage_80"].baselines == {"nominal": 0.8}


def test_no_calibration_without_validation_windows():
    assert not calibrate_intervals(naive(15, 6), data_of(np.arange(100.0), 8)).known


def test_verdicts_by_step_ahead():
    random = np.random.default_rng(0)
    series = 100 + np.cumsum(np.tile([3.0, -3.0], 100) + random.normal(0, 0.1, 200))
    way = ForecastMethod(lambda past, company, following: past[:, -2:], 4, 2)  # two days ago, then yesterday
    _, found = found_of(series, way)
    first, second = (judge_forecasts(errors, against="persistence") for errors in found.each_step)
    assert (first.outcome, second.outcome) == ("beats", "ties with")
    assert math.isnan(second.p)  # the same forecast
    ours, theirs = (found.each_step[0].squared[name].mean() for name in ("", "persistence"))
    assert first.skill == pytest.approx(1 - ours / theirs)
    # The linear regression learns the pattern as well, so the model only ties with the best baseline.
    for errors in (found.each_step[0], found):
        verdict = judge_forecasts(errors)
        assert (verdict.outcome, verdict.baseline) == ("ties with", "linear regression")


def test_verdict_excludes_only_samples_without_a_true_value():
    random = np.random.default_rng(0)
    squared = {"": random.uniform(1, 2, 50), "persistence": random.uniform(3, 4, 50)}
    for errors in squared.values():
        errors[7] = np.nan
    found = ForecastErrors(squared, np.arange(50), 1, np.zeros(50))
    verdict = judge_forecasts(found)
    assert verdict.skill == pytest.approx(1 - np.nanmean(squared[""]) / np.nanmean(squared["persistence"]))
    # A sample with a NaN forecast is not excluded.
    squared[""][8] = np.nan
    verdict = judge_forecasts(found)
    assert math.isnan(verdict.skill)
    assert verdict.outcome == "undecided against"
