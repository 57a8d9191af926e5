"""Forecasts with covariates: what the network reads, what is refused, and equal results on every path."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.apply.forecast import load_forecaster
from lstm_ae.data.columns import Covariates
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.estimators import SequenceForecaster
from lstm_ae.forecasting.baselines import ForecastRegression, ForecastWindows
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.numpy_network import NumpyNetwork
from lstm_ae.models.rollout import Rollout

NAN = np.nan
ROWS, AHEAD = 300, 9
SMALL: dict[str, Any] = {"window": 12, "horizon": 4, "units": 3, "epochs": 1, "learning_rate": 0.01, "seeds": 1}
COVARIATES: dict[str, Any] = {"past_cols": ["rain"], "known_future": ["plan"], "calendar": ["hour", "weekday"]}
# Change of the sales of each shop by a plan of 1.
EFFECTS = {"north": 3.0, "south": 200.0}


def shop(name: str, seed: int = 0) -> pd.DataFrame:
    """Return rows of a shop whose sales follow its plan, then rows that hold only the plan."""
    random, rows = np.random.default_rng(seed), ROWS + AHEAD
    plan = (random.random(rows) < 0.3).astype(float)
    sales = EFFECTS[name] * (5 + 0.3 * np.sin(2 * np.pi * np.arange(rows) / 24)) + EFFECTS[name] * plan
    sales += 0.01 * EFFECTS[name] * random.normal(size=rows)
    frame = pd.DataFrame({"plan": plan, "sales": sales, "rain": random.normal(size=rows)})
    frame.iloc[random.integers(0, ROWS, 9), 1] = NAN
    frame.iloc[ROWS:, 1:] = NAN
    times = pd.date_range("2024-03-24", periods=rows, freq="h", name="time", tz="Europe/Berlin")
    frame.index = pd.MultiIndex.from_product([[name], times], names=["shop", "time"])
    return frame


SHOPS = pd.concat(map(shop, EFFECTS))


@pytest.fixture(scope="module")
def forecaster() -> SequenceForecaster:
    return SequenceForecaster(**SMALL, **COVARIATES, scale="series").fit(SHOPS)


def assert_follows_the_plan(forecaster: SequenceForecaster) -> None:
    """Check that the regression finds the effect of the plan, and that each shop has its own scale."""
    more = SHOPS.assign(plan=SHOPS["plan"].where(SHOPS["sales"].notna() | SHOPS["rain"].notna(), 1.0))
    less = SHOPS.assign(plan=SHOPS["plan"].where(SHOPS["sales"].notna() | SHOPS["rain"].notna(), 0.0))
    change = forecaster.predict(more) - forecaster.predict(less)
    for name, effect in EFFECTS.items():
        assert change.loc[name, "sales"].mean() == pytest.approx(effect, rel=0.2)
    regression = forecaster._fitted.artifact(ForecastRegression)
    assert regression.effects is not None
    assert regression.effects.shape == (5, 1)


def test_forecast_follows_the_plan(forecaster: SequenceForecaster) -> None:
    found = forecaster.predict(SHOPS)
    assert list(found.columns) == ["sales"]
    assert found.index.get_level_values("time")[0] == SHOPS.index.get_level_values("time")[ROWS]
    assert_follows_the_plan(forecaster)


def test_static_columns_need_series() -> None:
    with pytest.raises(ConfigError, match='static_cols needs scale="series"'):
        SequenceForecaster(**SMALL, static_cols=("plan",)).fit(SHOPS)


def test_only_the_targets_are_evaluated(forecaster: SequenceForecaster) -> None:
    rows = pd.concat(shop(name, seed=1) for name in EFFECTS)
    found = forecaster.evaluate(rows)
    assert found["new data"]["forecast_mse"]["value"] < found["new data"]["forecast_mse"]["baselines"]["persistence"]
    assert "columns" not in found, "there is one column to forecast"
    with pytest.raises(DataError, match="all values after its windows are missing, so no forecast can be compared"):
        forecaster.evaluate(rows.assign(sales=NAN))


def test_run_is_applied_as_the_estimator(forecaster: SequenceForecaster) -> None:
    """A run is computed by NumPy and holds its columns in another order; the columns of a frame are found by name."""
    loaded = SequenceForecaster.load(forecaster.save("run"))
    assert (loaded.past_cols, loaded.known_future, loaded.calendar) == (["rain"], ["plan"], ["hour", "weekday"])
    assert isinstance(load_forecaster(loaded._fitted).rollout.network, NumpyNetwork)
    pd.testing.assert_frame_equal(loaded.predict(SHOPS), forecaster.predict(SHOPS), rtol=1e-5)
    pd.testing.assert_frame_equal(loaded.predict(SHOPS[["rain", "sales", "plan"]]), loaded.predict(SHOPS))


def test_long_forecast_continues_with_the_plan(forecaster: SequenceForecaster) -> None:
    whole = forecaster.predict(SHOPS, horizon=AHEAD)
    assert len(whole) == 2 * AHEAD
    assert whole.notna().all(axis=None)
    pd.testing.assert_frame_equal(
        whole.groupby("shop", sort=False).head(4), forecaster.predict(SHOPS, horizon=4), rtol=1e-6
    )
    # A shorter forecast needs a shorter plan.
    assert len(forecaster.predict(SHOPS.groupby("shop", sort=False).head(ROWS + 2), horizon=2)) == 4
    low, high = forecaster.predict_interval(SHOPS)
    assert (low["sales"] < high["sales"]).all()


def test_short_forecast_reads_the_plan_of_its_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps of a segment share a hidden layer, so that a shorter forecast is the beginning of a longer one."""
    monkeypatch.setattr("lstm_ae.studies.start.replaces_start", lambda comparison: True)
    north = SHOPS.loc["north"]
    forecaster = SequenceForecaster(**SMALL, **COVARIATES, options={"segment": 4}).fit(north)
    whole = forecaster.predict(north, horizon=8)
    for steps in (2, 6):
        pd.testing.assert_frame_equal(forecaster.predict(north, horizon=steps), whole[:steps], rtol=1e-6)
    other = north.copy()
    other.iloc[ROWS + 2 : ROWS + 4, 0] += 5
    assert (forecaster.predict(other, horizon=2) != whole[:2]).all(axis=None)
    model = forecaster._fitted.model()
    # Without a training, the known values would hardly act on the steps before them.
    for weight in model.weights:
        if len(weight.shape) > 1 and weight.trainable:
            weight.assign(np.random.default_rng(0).normal(0, 0.5, weight.shape))
    network = Rollout(KerasNetwork(model))
    random = np.random.default_rng(0)
    past, known = (random.normal(size=(2, rows, 7)).astype(np.float32) for rows in (12, 8))
    known = known[..., 2:]
    for steps in (2, 6):
        expected = network(past, None, 8, known=known)[:, :steps]
        np.testing.assert_allclose(network(past, None, steps, known=known), expected, rtol=1e-5)
        assert not np.allclose(network(past, None, steps, known=known[:, :steps]), expected, rtol=1e-3)


def test_plan_may_skip_the_last_step_to_forecast(forecaster: SequenceForecaster) -> None:
    """A plan of business days has no row on a weekend, but one after it."""
    skipped = SHOPS.drop(SHOPS.index[[ROWS + 3, 2 * ROWS + AHEAD + 3]])
    assert len(forecaster.predict(skipped, horizon=4)) == 8
    until = skipped.groupby("shop", sort=False).head(ROWS + 3)
    with pytest.raises(DataError, match="known future of 'plan' has no value at step 4"):
        forecaster.predict(until, horizon=4)


def test_missing_known_future_is_refused(forecaster: SequenceForecaster) -> None:
    with pytest.raises(DataError, match=r"X, series 'north': .* of 'plan' has no value at step 4 \(2024"):
        forecaster.predict(SHOPS.groupby("shop", sort=False).head(ROWS + 3))
    with pytest.raises(DataError, match="no value at step 10"):
        forecaster.predict(SHOPS, horizon=AHEAD + 1)
    holed = SHOPS.copy()
    holed.iloc[-AHEAD + 1, 0] = NAN
    with pytest.raises(DataError, match=r"series 'south': .* of 'plan' has no value at step 2 \(2024"):
        forecaster.predict(holed)
    # Steps without a row are missing values, as in the training, up to the longest gap within a window.
    assert len(forecaster.predict(SHOPS.drop(SHOPS.index[[ROWS + 1]]))) == 8
    with pytest.raises(DataError, match="of 'plan' has no value at step"):
        forecaster.predict(SHOPS.drop(SHOPS.index[ROWS : ROWS + 3]))


def test_unknown_covariate_is_refused() -> None:
    with pytest.raises(DataError, match=r"X has no column 'plam'. Its columns are 'plan', 'sales', 'rain'"):
        SequenceForecaster(**SMALL, known_future=["plam"]).fit(SHOPS.loc["north"])
    with pytest.raises(ConfigError, match=r"scale window .* Use another scale with calendar"):
        SequenceForecaster(**SMALL, calendar=["hour"], scale="window").fit(SHOPS.loc["north"])


def test_graph_of_the_rollout_equals_it_and_ends_with_the_known_values(forecaster: SequenceForecaster) -> None:
    import tensorflow as tf

    from lstm_ae.models.rollout_graph import rollout

    model = forecaster._fitted.model()
    random = np.random.default_rng(0)
    past = random.normal(size=(2, 12, 7)).astype(np.float32)
    known = random.normal(size=(2, 6, 5)).astype(np.float32)
    lines = np.array([1, 2], np.int32)
    inputs = {"past": past, "known": known, "series": lines}
    found = rollout(model)(inputs, tf.constant([9, 3])).numpy()
    assert found.shape == (2, 9, 1)
    assert np.isnan(found[..., 0]).tolist() == [[False] * 6 + [True] * 3, [False] * 3 + [True] * 6]
    expected = Rollout(KerasNetwork(model))(past, lines, 6, known=known)
    np.testing.assert_allclose(found[0, :6], expected[0], rtol=1e-4)


def test_effects_and_regression_of_a_series_are_found_together() -> None:
    """The rest of a target is a random walk of its own, which levels alone would mix up with the covariate."""
    from lstm_ae.forecasting import baselines

    random = np.random.default_rng(0)
    known = random.normal(size=2000).cumsum()
    target = 2 * known + random.normal(size=2000).cumsum()
    rows = np.lib.stride_tricks.sliding_window_view(np.stack([target, known], axis=1), 12, axis=0).swapaxes(1, 2)
    windows = ForecastWindows(rows.astype(np.float32), 8, Covariates(known=1))
    (plain,) = baselines._fit_penalties(windows, [1e-4])
    found = baselines._fit_effects(windows, plain, 1e-4)
    assert found.effects is not None
    assert found.effects[0, 0] == pytest.approx(2, abs=0.1)
    errors = [np.mean((each.predict(windows) - windows.truth) ** 2) for each in (found, plain)]
    assert errors[0] < 0.3 * errors[1]
    without = dataclasses.replace(found, effects=None)
    assert not np.allclose(without.predict(windows), found.predict(windows))
