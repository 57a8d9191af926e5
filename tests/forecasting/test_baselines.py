"""Baselines of forecasts: by hand, and on series with a known structure."""

import numpy as np
import pytest
from price_forecasts import data_of

from lstm_ae.data.columns import Covariates
from lstm_ae.data.windows import Data
from lstm_ae.forecasting import baselines
from lstm_ae.forecasting.baselines import Baselines, ForecastWindows, fit_baselines, fit_regression, regressors


def errors_of(found: Baselines, data: Data, given: int, name: str) -> np.ndarray:
    """Return the forecasts of a baseline minus the true values of the test windows."""
    windows = baselines.forecast_windows(data, data.test, slice(None), given)
    error: np.ndarray = found.predict(windows)[name] - windows.truth
    return error


def test_drift_and_regression_forecast_a_line() -> None:
    data = data_of(np.arange(100.0) * 3 + 5, span=6)
    found = fit_baselines(data, 4, 2, joint=True)
    assert found.drift == pytest.approx(3)
    for name in ("drift", "linear regression"):
        np.testing.assert_allclose(errors_of(found, data, 4, name), 0, atol=1e-3)
    np.testing.assert_allclose(errors_of(found, data, 4, "persistence")[0], [[-3], [-6]])


def test_joint_regression_selects_the_number_of_steps() -> None:
    """Each change is almost that of five days before, so one or two days do not suffice."""
    random = np.random.default_rng(0)
    change = list(random.normal(0, 1, 5))
    for _ in range(600):
        change.append(0.95 * change[-5] + random.normal(0, 0.1))
    data = data_of(np.cumsum(change), span=9)
    found = fit_baselines(data, 8, 1, joint=True)
    assert found.regression is not None
    assert len(found.regression.linear.weights) == 6
    ours, naive = (errors_of(found, data, 8, name) for name in ("linear regression", "persistence"))
    assert np.mean(ours**2) < 0.3 * np.mean(naive**2)


def test_inputs_of_the_joint_regression_by_hand() -> None:
    windows = ForecastWindows(np.array([[[1, 10, 7], [2, 20, 9], [0, 0, 0]]], np.float32), 2, Covariates(2))
    assert regressors(windows, 2).tolist() == [[-1, 8, 5, 0, 18, 7]]
    assert regressors(windows._replace(volume=True), 2).tolist() == [[-1, 8, -2, 0, 18, 0]]
    assert regressors(windows, 1).tolist() == [[0, 18, 7]]


def test_baselines_are_fitted_on_the_training_split_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "JOINT_STEPS", (2,))
    series = 50 + np.cumsum(np.random.default_rng(0).normal(0, 1, 200))
    other = series.copy()
    other[120:] *= 3
    first, second = (fit_baselines(data_of(values, span=5), 4, 1, joint=True) for values in (series, other))
    assert first.drift == second.drift
    assert first.regression is not None
    assert second.regression is not None
    assert first.regression.linear.weights.tolist() == second.regression.linear.weights.tolist()


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
