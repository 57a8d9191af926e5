"""Exponential smoothing and Theta as baselines: fitted before the test part, carried on, never ahead of their day."""

import re
import sys

import numpy as np
import pytest
from price_forecasts import data_of

from lstm_ae.data.scaling import window_scale
from lstm_ae.errors import ConfigError
from lstm_ae.forecasting.classical import classical_changes
from lstm_ae.installation import install_hint


def series(days=200, seed=0):
    return 100 + np.cumsum(np.random.default_rng(seed).normal(0.3, 1, days))


def test_a_line_is_carried_on():
    pytest.importorskip("statsforecast")
    noise = np.random.default_rng(0).normal(0, 0.01, 200)
    data = data_of(np.arange(200.0) * 2 + 5 + noise, span=8)
    said = classical_changes(("ets", "theta"), data, data.test, 5, 3)
    assert set(said) == {"AutoETS", "AutoTheta"}
    assert said["AutoETS"].shape == (data.test.samples, 3)
    np.testing.assert_allclose(said["AutoETS"], np.broadcast_to([2, 4, 6], said["AutoETS"].shape), atol=0.1)


def test_the_first_forecast_is_that_of_a_fit_by_hand():
    models = pytest.importorskip("statsforecast.models")
    values = series()
    data = data_of(values, span=6)
    said = classical_changes(("theta",), data, data.test, 5, 1)["AutoTheta"]
    known = values.astype(np.float32).astype(float)[: 160 + 5]  # 160 days before the test part, five within it
    by_hand = models.AutoTheta(season_length=1).fit(known[:160]).forward(known, h=1)["mean"]
    assert said[0, 0] == pytest.approx(by_hand[0] - known[-1], abs=1e-6)


def test_nothing_of_the_future_is_known():
    pytest.importorskip("statsforecast")
    values = series()
    other = values.copy()
    other[180:] += 50
    first, second = (
        classical_changes(("ets",), data, data.test, 5, 1)["AutoETS"]
        for data in (data_of(values, 6), data_of(other, 6))
    )
    # The windows of the test part that end before day 180.
    np.testing.assert_array_equal(first[:15], second[:15])
    assert (first[16:] != second[16:]).any()


def test_a_scale_of_windows_leaves_no_series():
    pytest.importorskip("statsforecast")
    data = data_of(series(), 6, scale=window_scale(1))
    with pytest.raises(ConfigError, match="--baselines needs a scale of whole series"):
        classical_changes(("ets",), data, data.test, 5, 1)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    data = data_of(series(), 6)
    with pytest.raises(ConfigError, match=re.escape(install_hint("baselines"))):
        classical_changes(("ets",), data, data.test, 5, 1)
