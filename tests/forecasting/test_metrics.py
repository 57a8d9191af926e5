"""Metrics of forecasts: by hand on small numbers, and against utilsforecast on random ones."""

import math

import numpy as np
import pytest
from price_forecasts import data_of, found_of

from lstm_ae.data.scaling import Scale
from lstm_ae.forecasting.intervals import ForecastMethod, IntervalScores, IntervalWidths, calibrate_intervals
from lstm_ae.forecasting.metrics import (
    ForecastErrors,
    PriceErrors,
    judge_forecasts,
    mean_absolute_change,
    price_metrics,
)

LOGARITHMS = Scale("log", np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))


# True prices and forecasts of the model and of persistence.
LOGARITHMS_BY_HAND = (
    ((101, 100.5), (102, 99), (98, 98), (100, 103)),
    ((101, 100), (102, 100), (98, 100), (100, 100)),
)


def naive(given, ahead, times=1.0):
    """Return a method that forecasts the last known value times a factor."""
    return ForecastMethod(lambda past, company, following: np.repeat(times * past[:, -1:], ahead, axis=1), given, ahead)


def test_price_metrics_by_hand():
    """The test split is 100, 110, 99, 99; after windows of two days, 99 and 99 are forecast."""
    train = [10, 12, 11, 13, 12, 14, 13, 15, 14, 16, 15, 17]
    data, found = found_of([*train, 100, 100, 100, 100, 100, 110, 99, 99], naive(2, 1, 0.9), LOGARITHMS)
    assert found.own[""][:, 0].tolist() == pytest.approx([0, 9.9])
    assert found.own["persistence"][:, 0].tolist() == pytest.approx([-11, 0])
    measured = price_metrics(found, mean_absolute_change(data))
    assert mean_absolute_change(data)[1] == pytest.approx((2 + 1 + 2 + 1 + 2 + 1 + 2 + 1 + 2 + 1 + 2) / 11)
    log = math.log(0.9)
    expected = {
        "last_day_mse": (log**2 / 2, log**2 / 2),
        "skill": (0, None),
        "log_mae": (-log / 2, -log / 2),
        "log_rmse": (math.sqrt(log**2 / 2), math.sqrt(log**2 / 2)),
        "mae": (4.95, 5.5),
        "rmse": (math.sqrt(9.9**2 / 2), math.sqrt(121 / 2)),
        "mase": (4.95 / (17 / 11), 5.5 / (17 / 11)),
        "theil_u": (1, 1),
        "direction": (1, None),
    }
    for name, (ours, theirs) in expected.items():
        metric = measured[name]
        assert metric.value == pytest.approx(ours, abs=2e-5), name
        assert metric.baselines.get("persistence") == (theirs and pytest.approx(theirs, rel=1e-4)), name
    assert list(measured["mae"].baselines) == ["persistence", "drift", "weekday", "linear regression"]


def test_skill_direction_and_coverage_by_hand():
    """The changes of four days are 1, 2, -2, and 0, and the forecasts 0.5, -1, -2, and 3."""
    change, forecast = np.array([[1.0], [2], [-2], [0]]), np.array([[0.5], [-1], [-2], [3]])
    zero, hundred = np.zeros((4, 1)), np.full((4, 1), 100.0)
    said = {"": 100 + forecast, "persistence": hundred}
    found = PriceErrors(
        scaled={"": change - forecast, "persistence": change},
        own={name: 100 + change - price for name, price in said.items()},
        log={name: np.log((100 + change) / price) for name, price in said.items()},
        change=change,
        predicted_change={"": forecast, "persistence": zero},
        rounding=zero,
        moments=np.array(["2020-01-01"] * 4, "datetime64[D]"),
        lines=np.ones(4, int),
        intervals=IntervalScores(IntervalWidths((1, 1), {}), {80: np.array([[3], [4]])}, np.array([0.25])),
        crps={"": np.array([0.25]), "random walk": np.array([0.5])},
    )
    measured = price_metrics(found, np.array([np.nan, 2.0]))
    # The squared errors are 0.25, 9, 0, and 9; those of persistence are 1, 4, 4, and 0.
    assert measured["skill"].value == pytest.approx(1 - 18.25 / 9)
    ours, naive = (sum(math.log(truth / said) ** 2 for truth, said in pairs) for pairs in LOGARITHMS_BY_HAND)
    assert measured["theil_u"].value == pytest.approx(math.sqrt(ours / naive))
    assert measured["mase"].value == pytest.approx(6.5 / 4 / 2)
    assert measured["log_mae"].value == pytest.approx(
        sum(abs(math.log(truth / said)) for truth, said in LOGARITHMS_BY_HAND[0]) / 4
    )
    # The directions of the forecasts are right, wrong, and right; a change of 0 has no direction.
    assert measured["direction"].value == pytest.approx(2 / 3)
    # Days with a forecast change of 0 are excluded; the metric is undefined if most days are.
    for says, share in (([0.5, 0, -2, 3], 1.0), ([0.5, -1, 0, 0], 0.5), ([0, 0, -2, 3], math.nan), ([0] * 4, math.nan)):
        found.predicted_change[""] = np.array(says, float)[:, None]
        assert price_metrics(found, None)["direction"].value == pytest.approx(share, nan_ok=True)
    assert measured["coverage_80"].value == pytest.approx(0.75)
    assert measured["crps"].value == pytest.approx(0.25)
    assert measured["crps"].baselines == {"random walk": 0.5}


def test_skill_is_unknown_if_persistence_has_no_error():
    _, found = found_of([5.0] * 40, naive(3, 2))
    measured = price_metrics(found, np.array([np.nan, 1]), step=2)
    assert math.isnan(measured["skill"].value)
    assert math.isnan(measured["theil_u"].value)
    assert math.isnan(measured["direction"].value)
    assert measured["mae"].value == 0


def test_each_day_ahead_has_its_own_metrics():
    """On a line, the error of persistence is 2 after one day and 6 after three; drift has no error."""
    _, found = found_of(np.arange(100.0) * 2 + 5, naive(4, 3))
    for step in (1, 2, 3):
        metric = price_metrics(found, np.array([np.nan, 2]), step)["mase"]
        assert metric.value == pytest.approx(step)
        assert metric.baselines["drift"] == pytest.approx(0, abs=1e-4)


def test_calibration_adds_coverage_and_crps():
    series = 500 + np.cumsum(np.random.default_rng(0).normal(0, 1, 4000))
    way = naive(10, 3)
    data = data_of(series, 13)
    calibration = calibrate_intervals(way, data, relative=True)
    assert calibration.quantiles.shape == (1, 3, 199)
    _, found = found_of(series, way, calibration=calibration)
    for step in (1, 3):
        measured = price_metrics(found, mean_absolute_change(data), step)
        assert measured["coverage_80"].value == pytest.approx(0.8, abs=0.06)
        assert measured["coverage_95"].value == pytest.approx(0.95, abs=0.03)
        # The random walk has the true distribution, and the calibrated forecast is not much worse.
        assert measured["crps"].value == pytest.approx(measured["crps"].baselines["random walk"], rel=0.05)
        # Persistence has intervals by the same rule, so a model equal to it is no better.
        assert measured["crps"].baselines["persistence"] == pytest.approx(measured["crps"].value, rel=1e-6)
    assert measured["coverage_80"].baselines == {"wanted": 0.8}


def test_unknown_intervals_have_no_coverage():
    """Fewer than five validation windows determine no interval, and 21 determine all."""
    way = naive(3, 1)
    for length, count, levels in ((36, 4, set()), (40, 5, {80, 95}), (120, 21, {80, 95})):
        series = 500 + np.cumsum(np.random.default_rng(0).normal(0, 1, length))
        data, found = found_of(series, way, calibration=calibrate_intervals(way, data_of(series, 4), relative=True))
        assert data.validation.samples == count
        measured = price_metrics(found, mean_absolute_change(data))
        assert {level for level in (80, 95) if f"coverage_{level}" in measured} == levels


def test_no_calibration_without_validation_windows():
    assert not calibrate_intervals(naive(15, 6), data_of(np.arange(100.0), 8)).known


def test_verdicts_by_day_ahead():
    random = np.random.default_rng(0)
    series = 100 + np.cumsum(np.tile([3.0, -3.0], 100) + random.normal(0, 0.1, 200))
    way = ForecastMethod(lambda past, company, following: past[:, -2:], 4, 2)  # two days ago, then yesterday
    _, found = found_of(series, way)
    first, second, both = (judge_forecasts(found.at(step), against="persistence") for step in (1, 2, None))
    assert (first.outcome, second.outcome) == ("beats", "ties with")
    assert math.isnan(second.p)  # the same forecast
    errors_1, errors_2 = (found.scaled[name] ** 2 for name in ("", "persistence"))
    assert first.skill == pytest.approx(1 - errors_1[:, 0].mean() / errors_2[:, 0].mean())
    assert both.skill == pytest.approx(1 - errors_1.mean() / errors_2.mean())
    # The linear regression learns the pattern as well, so the model only ties with the best baseline.
    for step in (1, None):
        verdict = judge_forecasts(found.at(step))
        assert (verdict.outcome, verdict.baseline) == ("ties with", "linear regression")


def test_price_metrics_equal_those_of_utilsforecast():
    losses = pytest.importorskip("utilsforecast.losses")
    import pandas as pd

    series = 100 + np.cumsum(np.random.default_rng(3).normal(0, 1, 400))
    data, found = found_of(series, naive(5, 1, 0.99))
    rows = data.test.starts + 5
    truth = data.test.series[rows, 0].astype(float)
    before = data.test.series[rows - 1, 0].astype(float)
    frame = pd.DataFrame({"unique_id": 1, "ds": range(len(truth)), "y": truth, "ours": 0.99 * before, "last": before})
    train = pd.DataFrame({"unique_id": 1, "ds": range(-240, 0), "y": data.train.series[:, 0].astype(float)})
    measured = price_metrics(found, mean_absolute_change(data))
    for name in ("mae", "rmse"):
        theirs = getattr(losses, name)(frame, ["ours", "last"])
        assert measured[name].value == pytest.approx(theirs["ours"].item(), rel=1e-5)
        assert measured[name].baselines["persistence"] == pytest.approx(theirs["last"].item(), rel=1e-5)
    theirs = losses.mase(frame, ["ours"], seasonality=1, train_df=train)
    assert measured["mase"].value == pytest.approx(theirs["ours"].item(), rel=1e-5)


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
