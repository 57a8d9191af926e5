"""Baselines of forecasts: by hand, and on series with a known structure."""

import numpy as np
import pytest
from price_forecasts import data_of

from lstm_ae.data.columns import Covariates
from lstm_ae.data.windows import Data
from lstm_ae.forecasting import baselines
from lstm_ae.forecasting.baselines import (
    ForecastWindows,
    PriceBaselines,
    fit_price_baselines,
    fit_regression,
    forecast_windows,
    regressors,
)


def errors_of(found: PriceBaselines, data: Data, given: int, name: str) -> np.ndarray:
    """Return the forecasts of a baseline minus the true values of the test windows."""
    windows = forecast_windows(data, data.test, slice(None), given)
    error: np.ndarray = found.predict(windows)[name] - windows.truth
    return error


def test_drift_forecasts_a_line() -> None:
    data = data_of(np.arange(100.0) * 3 + 5, span=6)
    found = fit_price_baselines(data, 4, 2)
    assert found.drift == pytest.approx(3)
    for name in ("drift", "weekday", "linear regression"):
        np.testing.assert_allclose(errors_of(found, data, 4, name), 0, atol=1e-3)
    np.testing.assert_allclose(errors_of(found, data, 4, "persistence")[0], [[-3], [-6]])
    np.testing.assert_allclose(found.walk, np.repeat([[3.0], [6.0]], 199, axis=1))


def test_weekday_changes_are_learned() -> None:
    """Prices rise by 4 on Mondays and fall by 4 on Fridays, so the drift is 0."""
    steps = np.array([4.0, 0, 1, -1, -4])
    series = 100 + np.cumsum(np.tile(steps, 40))
    data = data_of(series, span=5)
    found = fit_price_baselines(data, 3, 2)
    np.testing.assert_allclose(found.weekday[:5], steps, atol=1e-5)
    assert found.weekday[5:].tolist() == [found.drift] * 2
    np.testing.assert_allclose(errors_of(found, data, 3, "weekday"), 0, atol=1e-4)


def test_regression_selects_the_number_of_days() -> None:
    """Each change is almost that of five days before, so one or two days do not suffice."""
    random = np.random.default_rng(0)
    change = list(random.normal(0, 1, 5))
    for _ in range(600):
        change.append(0.95 * change[-5] + random.normal(0, 0.1))
    data = data_of(np.cumsum(change), span=9)
    found = fit_price_baselines(data, 8, 1)
    assert found.days == 6
    ours, naive = (errors_of(found, data, 8, name) for name in ("linear regression", "persistence"))
    assert np.mean(ours**2) < 0.3 * np.mean(naive**2)


def test_regression_inputs_by_hand() -> None:
    windows = ForecastWindows(np.array([[[1, 10, 7], [2, 20, 9], [0, 0, 0]]], np.float32), 2, Covariates(2))
    assert regressors(windows, 2).tolist() == [[-1, 8, 5, 0, 18, 7]]
    assert regressors(windows._replace(volume=True), 2).tolist() == [[-1, 8, -2, 0, 18, 0]]
    assert regressors(windows, 1).tolist() == [[0, 18, 7]]


def test_baselines_are_fitted_on_the_training_split_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "REGRESSION_DAYS", (2,))
    series = 50 + np.cumsum(np.random.default_rng(0).normal(0, 1, 200))
    other = series.copy()
    other[120:] *= 3
    first, second = (fit_price_baselines(data_of(values, span=5), 4, 1) for values in (series, other))
    assert (first.drift, first.weekday.tolist()) == (second.drift, second.weekday.tolist())
    assert first.linear.weights.tolist() == second.linear.weights.tolist()


def test_random_walk_has_the_quantiles_of_the_changes() -> None:
    data = data_of(np.cumsum(np.random.default_rng(0).normal(0, 2, 5000)), span=6)
    walk = fit_price_baselines(data, 3, 3).walk
    assert walk.shape == (3, 199)
    assert walk[0, 99] == pytest.approx(0, abs=0.15)
    assert walk[2, 159] == pytest.approx(2 * 3**0.5 * 0.84, rel=0.1)  # the 80% quantile of a normal is 0.84


@pytest.mark.parametrize("penalty", [0.0, 3.0])
def test_regression_minimizes_squared_errors_and_penalty(penalty: float) -> None:
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(50, 3)), random.normal(size=(50, 2))
    fitted = fit_regression(inputs, targets, penalty)
    assert (fitted.weights.shape, fitted.intercept.shape) == ((3, 2), (2,))
    centered = inputs - inputs.mean(axis=0)
    wanted = np.linalg.solve(centered.T @ centered + penalty * np.eye(3), centered.T @ targets)
    np.testing.assert_allclose(fitted.weights, wanted, atol=1e-9)
    np.testing.assert_allclose(fitted.predict(inputs).mean(axis=0), targets.mean(axis=0))
