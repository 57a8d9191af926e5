"""Baselines of forecasts: by hand, and on series with a known structure."""

import re
import sys

import numpy as np
import pytest
from price_forecasts import data_of

from lstm_ae.data.scaling import window_scale
from lstm_ae.errors import ConfigError, install_hint
from lstm_ae.forecasting import baselines
from lstm_ae.forecasting.baselines import (
    KnownPrices,
    fit_price_baselines,
    fit_regression,
    known_prices,
    more_changes,
    regressors,
)


def test_drift_forecasts_a_line() -> None:
    data = data_of(np.arange(100.0) * 3 + 5, span=6)
    found = fit_price_baselines(data, 4, 2, with_open=False)
    assert found.drift == pytest.approx(3)
    known = known_prices(data, data.test, slice(0, 2), 4, with_open=False)
    assert known.change.tolist() == [[3, 6], [3, 6]]
    said = found.predict(known)
    assert said["persistence"].tolist() == [[0, 0], [0, 0]]
    for name in ("drift", "weekday", "linear regression"):
        np.testing.assert_allclose(said[name], known.change, rtol=1e-4)
    np.testing.assert_allclose(found.walk, np.repeat([[3.0], [6.0]], 199, axis=1))


def test_weekday_changes_are_learned() -> None:
    """Prices rise by 4 on Mondays and fall by 4 on Fridays, so the drift is 0."""
    steps = np.array([4.0, 0, 1, -1, -4])
    series = 100 + np.cumsum(np.tile(steps, 40))
    data = data_of(series, span=5)
    found = fit_price_baselines(data, 3, 2, with_open=False)
    np.testing.assert_allclose(found.weekday[:5], steps, atol=1e-5)
    assert found.weekday[5:].tolist() == [found.drift] * 2
    known = known_prices(data, data.test, slice(None), 3, with_open=False)
    np.testing.assert_allclose(found.predict(known)["weekday"], known.change, atol=1e-4)


def test_regression_selects_the_number_of_days() -> None:
    """Each change is almost that of five days before, so one or two days do not suffice."""
    random = np.random.default_rng(0)
    change = list(random.normal(0, 1, 5))
    for _ in range(600):
        change.append(0.95 * change[-5] + random.normal(0, 0.1))
    data = data_of(np.cumsum(change), span=9)
    found = fit_price_baselines(data, 8, 1, with_open=False)
    assert found.days == 6
    known = known_prices(data, data.test, slice(None), 8, with_open=False)
    error = found.predict(known)["linear regression"] - known.change
    assert np.mean(error**2) < 0.3 * np.mean(known.change**2)


def test_regression_uses_a_known_open() -> None:
    random = np.random.default_rng(0)
    high = 100 + np.cumsum(random.normal(0, 1, 300))
    opens = np.r_[high[1:], high[-1]]  # an open that is the day's own high
    series = np.stack([high, np.r_[high[0], opens[:-1]]], axis=1)
    data = data_of(series, span=4, names=("high (USD)", "open (USD)"))
    known = known_prices(data, data.test, slice(None), 3, with_open=True)
    np.testing.assert_allclose(known.opens - known.past[:, -1, 0], known.change[:, 0], atol=1e-4)
    said = fit_price_baselines(data, 3, 1, with_open=True).predict(known)
    np.testing.assert_allclose(said["linear regression"], known.change, atol=1e-3)
    assert (
        abs(
            fit_price_baselines(data, 3, 1, with_open=False).predict(known._replace(opens=None))["linear regression"]
            - known.change
        ).max()
        > 0.3
    )


def test_regression_inputs_by_hand() -> None:
    past = np.array([[[1, 10, 7], [2, 20, 9]]], np.float32)
    known = KnownPrices(past, None, np.empty((1, 1), "datetime64[D]"), np.zeros((1, 1)), np.zeros((1, 2)), volume=False)
    assert regressors(known, 2).tolist() == [[-1, 8, 5, 0, 18, 7]]
    assert regressors(known._replace(volume=True), 2).tolist() == [[-1, 8, -2, 0, 18, 0]]
    assert regressors(known._replace(opens=np.array([5.0])), 1).tolist() == [[0, 18, 7, 3]]


def test_baselines_are_fitted_on_the_training_split_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "REGRESSION_DAYS", (2,))
    series = 50 + np.cumsum(np.random.default_rng(0).normal(0, 1, 200))
    other = series.copy()
    other[120:] *= 3
    first, second = (fit_price_baselines(data_of(values, span=5), 4, 1, with_open=False) for values in (series, other))
    assert (first.drift, first.weekday.tolist()) == (second.drift, second.weekday.tolist())
    assert first.linear.weights.tolist() == second.linear.weights.tolist()


def test_random_walk_has_the_quantiles_of_the_changes() -> None:
    data = data_of(np.cumsum(np.random.default_rng(0).normal(0, 2, 5000)), span=6)
    walk = fit_price_baselines(data, 3, 3, with_open=False).walk
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


def walk(days=200, seed=0):
    return 100 + np.cumsum(np.random.default_rng(seed).normal(0.3, 1, days))


def test_classical_models_continue_a_line():
    pytest.importorskip("statsforecast")
    noise = np.random.default_rng(0).normal(0, 0.01, 200)
    data = data_of(np.arange(200.0) * 2 + 5 + noise, span=8)
    said = more_changes(("ets", "theta"), data, data.test, 5, 3, with_open=False)
    assert set(said) == {"AutoETS", "AutoTheta"}
    assert said["AutoETS"].shape == (data.test.samples, 3)
    np.testing.assert_allclose(said["AutoETS"], np.broadcast_to([2, 4, 6], said["AutoETS"].shape), atol=0.1)


def test_classical_forecast_equals_a_fit_by_hand():
    models = pytest.importorskip("statsforecast.models")
    values = walk()
    data = data_of(values, span=6)
    said = more_changes(("theta",), data, data.test, 5, 1, with_open=False)["AutoTheta"]
    known = values.astype(np.float32).astype(float)[: 160 + 5]  # 160 days before the test split, five within it
    by_hand = models.AutoTheta(season_length=1).fit(known[:160]).forward(known, h=1)["mean"]
    assert said[0, 0] == pytest.approx(by_hand[0] - known[-1], abs=1e-6)


def test_boosting_finds_a_rule_that_no_line_follows():
    """Each change follows from the one before by the tent map, whose values are uncorrelated."""
    change = [0.1234]
    while len(change) < 1200:
        change.append(1 - 1.99 * abs(change[-1]))
    data = data_of(100 + np.cumsum(change), span=7)
    boosted = more_changes(("boosting",), data, data.test, 5, 2, with_open=False)["gradient boosting"]
    known = known_prices(data, data.test, slice(None), 5, with_open=False)
    line = fit_price_baselines(data, 5, 2, with_open=False).predict(known)["linear regression"]
    ours, theirs = (np.square(each - known.change).mean(axis=0) for each in (boosted, line))
    assert boosted.shape == (data.test.samples, 2)
    assert (ours < 0.2 * theirs).all()


def test_boosting_of_noise_is_persistence_and_reads_no_later_days():
    random = np.random.default_rng(1)
    values = 100 + random.normal(0, 1e-3, 300) + np.cumsum(random.normal(0, 1, 300))
    other = values.copy()
    other[270:] += 50
    first, second = (
        more_changes(("boosting",), data, data.test, 5, 1, with_open=False)["gradient boosting"]
        for data in (data_of(values, 6), data_of(other, 6))
    )
    assert np.abs(first).mean() < 0.3
    np.testing.assert_array_equal(first[:20], second[:20])


def test_classical_forecasts_do_not_depend_on_later_days():
    pytest.importorskip("statsforecast")
    values = walk()
    other = values.copy()
    other[180:] += 50
    first, second = (
        more_changes(("ets",), data, data.test, 5, 1, with_open=False)["AutoETS"]
        for data in (data_of(values, 6), data_of(other, 6))
    )
    # The windows of the test split that end before day 180.
    np.testing.assert_array_equal(first[:15], second[:15])
    assert (first[16:] != second[16:]).any()


def test_classical_models_need_a_scale_of_whole_series():
    pytest.importorskip("statsforecast")
    data = data_of(walk(), 6, scale=window_scale(1))
    with pytest.raises(ConfigError, match="--baselines needs a scale of whole series"):
        more_changes(("ets",), data, data.test, 5, 1, with_open=False)


def test_missing_statsforecast_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    data = data_of(walk(), 6)
    with pytest.raises(ConfigError, match=re.escape(install_hint("baselines"))):
        more_changes(("ets",), data, data.test, 5, 1, with_open=False)
