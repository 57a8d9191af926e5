"""Forecasters of prices and tables start at the linear regression that is their baseline."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from price_makers import days_of, prices

from lstm_ae import experiment
from lstm_ae.config import Series, Snp
from lstm_ae.data.columns import Covariates
from lstm_ae.data.windows import Data
from lstm_ae.forecasting.baselines import (
    LINEAR_NAME,
    Baselines,
    ForecastRegression,
    ForecastWindows,
    LinearCoefficients,
    fit_baselines,
    forecast_windows,
)
from lstm_ae.models.forecaster import correction_variables, horizon_forecaster, step_forecaster
from lstm_ae.models.scaling import inner_network
from lstm_ae.studies import build_model
from lstm_ae.studies.snp import load

WINDOW = 12


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return prices(tmp_path_factory.mktemp("prices"), days_of("AAA", 700), days_of("BBB", 700, seed=1, price=9))


def config_of(path: str, **options: Any) -> Snp:
    return Snp(data=path, window=WINDOW, units=2, **options)


def next_changes(model: Any, data: Data) -> np.ndarray:
    """Return the forecast change to the next day of every test window, in scaled values, `(samples, features)`."""
    window = data.test.windows()
    scaled = data.scale.scaled(window, window[:, :WINDOW], data.test.lines())
    inputs = {"past": scaled[:, :WINDOW]}
    future = inner_network(model)(inputs)["future"].numpy()[:, -1].astype(np.float64)
    return future - scaled[:, WINDOW - 1, : future.shape[1]]


@pytest.mark.parametrize(
    ("days", "options"),
    [
        (1, {}),
        (6, {"layers": 2, "dropout": 0.3, "last_day_only": True}),
        (1, {"inputs": "ohlc"}),
        (6, {"inputs": "ohlcv", "field": "close"}),
        (1, {"inputs": "ohlcv", "last_day_only": True}),
        (6, {"scale": "company"}),
    ],
    ids=str,
)
def test_untrained_price_forecaster_equals_the_linear_regression(
    path: str, options: dict[str, Any], days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstm_ae.forecasting.baselines.JOINT_STEPS", (days,))
    config = config_of(path, **options)
    data = load(config)
    found = next_changes(build_model(config, data), data)
    windows = forecast_windows(data, data.test, slice(None), WINDOW)
    linear = fit_baselines(data, WINDOW, 1, joint=True).predict(windows)[LINEAR_NAME]
    expected = (linear - windows.past[:, -1:])[:, 0, 0]
    # The rounding error is relative to the scaled price, to which the change is added.
    largest = max(float(abs(windows.scaled).max()), 1.0)
    np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-6 * largest)
    assert abs(expected).max() > 1e-5


@pytest.mark.parametrize("options", [{}, pytest.param({"inputs": "ohlcv"}, marks=pytest.mark.slow)], ids=str)
def test_trained_forecaster_is_shrunk_to_the_best_share_on_validation(
    path: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstm_ae.studies.start.replaces_start", lambda comparison: True)
    config = config_of(path, epochs=4, learning_rate=0.03, deterministic=True, **options)
    data = load(config)
    start = inner_network(build_model(config, data))
    whole = inner_network(experiment.fit_model(config, data, as_trained=True)[0])
    changed = {variable.path for variable in correction_variables(start)}
    assert len(changed) == 4
    before, ends = ([np.array(variable) for variable in network.variables] for network in (start, whole))

    def shrunk(share: float) -> list[np.ndarray]:
        shares = [np.float32(share if variable.path in changed else 1) for variable in start.variables]
        return [first + each * (end - first) for first, each, end in zip(before, shares, ends, strict=True)]

    model, result = experiment.fit_model(config, data)
    assert result.best_epoch > 0
    for variable, expected in zip(inner_network(model).variables, shrunk(result.share), strict=True):
        np.testing.assert_allclose(np.array(variable), expected, rtol=1e-5, atol=1e-7)
    found = mean_squared_error(inner_network(model), data)
    for share in (0.01, 0.25, 0.5, 0.75, 1.0):
        for variable, value in zip(whole.variables, shrunk(share), strict=True):
            variable.assign(value)
        assert found <= mean_squared_error(whole, data) * (1 + 1e-6)


def mean_squared_error(network: Any, data: Data) -> float:
    """Return the mean squared error of all forecasts from validation windows, in scaled values."""
    window, lines = data.validation.windows(), data.validation.lines()
    scaled = data.scale.scaled(window, window[:, :-1], lines)
    inputs = {"past": scaled[:, :-1]}
    future = network(inputs)["future"].numpy()
    return float(np.square(future - scaled[:, 1:, : future.shape[2]]).mean())


def test_ordering_prices_does_not_change_the_modeled_price() -> None:
    """The highest of the four forecasts would otherwise be the forecast of the high."""
    values = np.log([[[5.0, 7, 3, 2]]])  # the price to model, and three others that contradict it
    for field, expected in {
        "high": [5, 5, 2, 2],  # high, open, low, close
        "low": [5, 7, 7, 5],  # low, open, high, close
        "close": [5, 7, 7, 2],  # close, open, high, low
        "open": [5, 7, 2, 2],  # open, high, low, close
    }.items():
        network = step_forecaster(Snp(units=2, inputs="ohlc", field=field))
        found = np.exp(network({"past": tf.constant(values, tf.float32)})["future"])
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6, err_msg=field)


def test_untrained_price_forecaster_without_link_is_persistence(path: str) -> None:
    config = config_of(path, inputs="ohlc", link="none")
    data = load(config)
    np.testing.assert_allclose(next_changes(build_model(config, data), data), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("horizon", "read", "effects", "segment", "both"),
    # Each pair of the first three values occurs.
    [(1, 3, False, 0, False), (4, 6, True, 4, False), (1, 6, True, 2, True), (4, 3, True, 0, True)],
)
def test_untrained_table_forecaster_equals_regression_or_persistence(
    horizon: int, read: int, effects: bool, segment: int, both: bool
) -> None:
    random = np.random.default_rng(0)
    linear = LinearCoefficients(
        random.normal(size=(read, horizon)).astype(np.float32), random.normal(size=horizon).astype(np.float32)
    )
    of_known = random.normal(size=(2, 2)).astype(np.float32) if effects else None
    config = Series(task="forecast", units=2, layers=2, dropout=0.1, bidirectional=both, segment=segment)
    covariates = Covariates(past=1, known=2) if effects else Covariates()
    features = 2 + sum(covariates)
    options: dict[str, Any] = {"steps": 6, "horizon": horizon, "features": features, "covariates": covariates}
    rows = random.normal(size=(40, 6 + horizon, features)).astype(np.float32)
    rows[random.random(rows.shape) < 0.3] = np.nan
    rows[0] = np.nan
    inputs = {"past": rows[:, :6]} | ({"known": rows[:, 6:, -2:]} if effects else {})
    regression = ForecastRegression(linear, of_known)
    baselines = Baselines((None, None), horizon, regression).predict(ForecastWindows(rows, 6, covariates))
    for given, name in ((linear, LINEAR_NAME), (None, "persistence")):
        network = horizon_forecaster(
            config, **options, missing=True, link=given and given[:2], effects=None if given is None else of_known
        )
        np.testing.assert_allclose(network(inputs)["future"], baselines[name], rtol=1e-5, atol=1e-5)
        assert ("linear" in {layer.name for layer in network.layers}) == (given is not None)
