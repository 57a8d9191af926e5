"""Tests of the multi-step forecasts of graphs and of arrays."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from price_forecasts import random_link

from lstm_ae.config import Snp
from lstm_ae.data.scaling import Scale, company_scale, fixed_scale, window_scale
from lstm_ae.models.forecaster import step_forecaster
from lstm_ae.models.inference import model_inputs
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.rollout import Rollout
from lstm_ae.models.rollout_graph import HORIZON, rollout
from lstm_ae.models.scaling import in_own_units, inner_network, inner_scaling

# Company 1 goes from 100 to 108, company 2 from 0 to 20.
COMPANIES = company_scale(np.array([[100], [108], [0], [20]], np.float32), np.array([1, 1, 2, 2], np.int32), 2)


def random_weights(network: Any, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    network.set_weights([random.normal(0, 0.4, weight.shape) for weight in network.get_weights()])
    return network


def refed(model: Any, past: np.ndarray, company: np.ndarray | None, horizon: int) -> np.ndarray:
    """Compute the forecast slowly: apply the network to the whole scaled window for every step."""
    scaled = inner_scaling(model)(model_inputs(model.input, past, company))
    window = scaled["scaled"].numpy()
    steps = window.shape[1]
    for _ in range(horizon):
        following = inner_network(model)({"past": window})["future"].numpy()[:, -1:]
        window = np.concatenate([window, following], axis=1)
    return KerasNetwork(model).undo_scaling(window[:, steps:], scaled)


@pytest.mark.parametrize(
    ("target", "days", "last_day_only"),
    [
        ("change", None, True),
        pytest.param("change", 1, True, marks=pytest.mark.slow),
        # A link may read more days than the window has.
        ("change", 7, False),
        ("level", None, False),
    ],
)
def test_rollout_equals_rereading_the_growing_window(target: str, days: int | None, last_day_only: bool) -> None:
    # Dropout is part of the network but must not affect forecasts.
    config = Snp(units=3, layers=2, dropout=0.3, target=target, last_day_only=last_day_only)
    link = days and random_link(config, days)
    model = in_own_units(random_weights(step_forecaster(config, typical=0.2, link=link or None)), COMPANIES)
    past = np.random.default_rng(1).uniform(1, 110, (3, 5, 1)).astype(np.float32)
    company = np.array([1, 2, 0], np.int32)
    expected = refed(model, past, company, 4)
    got = rollout(model)(model_inputs(model.input, past, company), tf.constant([4, 4, 4])).numpy()
    assert got.shape == (3, 4, 1)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(Rollout(KerasNetwork(model))(past, company, 4), expected, rtol=1e-5)
    assert np.ptp(got, axis=1).min() > 1e-3  # a fixed point would make the comparison trivial


LOGARITHMS = Scale("log", np.full((1, 5), 1, np.float32), np.array([[0.1, 0.1, 0.1, 0.1, 0.4]], np.float32))


@pytest.mark.parametrize(
    ("inputs", "scale"),
    [
        (None, fixed_scale(5, 3)),
        (None, window_scale(1)),
        ("ohlc", LOGARITHMS._replace(offset=LOGARITHMS.offset[:, :4], range=LOGARITHMS.range[:, :4])),
        ("ohlcv", LOGARITHMS),
    ],
    ids=["fixed", "window", "ohlc", "ohlcv"],
)
def test_rollout_supports_several_features_and_other_scales(inputs: str | None, scale: Any) -> None:
    config = Snp(units=3, goal="predict", inputs=inputs)
    model = in_own_units(random_weights(step_forecaster(config, link=random_link(config, 2))), scale)
    past = np.random.default_rng(1).uniform(1, 9, (2, 4, len(config.fields))).astype(np.float32)
    got = rollout(model)(model_inputs(model.input, past, None), tf.constant([3, 3])).numpy()
    np.testing.assert_allclose(got, refed(model, past, None, 3), rtol=2e-5)
    if inputs:
        high, prices = got[..., 0], got[..., :4]  # high, open, low, close
        assert (prices.max(axis=-1) == high).all()
        assert (prices.min(axis=-1) == got[..., 2]).all()
        assert not np.allclose(high[:, 0], past[:, -1, 0])


@pytest.fixture(scope="module")
def model() -> Any:
    return in_own_units(random_weights(step_forecaster(Snp(units=3), typical=0.2)), COMPANIES)


PAST = np.array([[[101], [103], [104]], [[2], [9], [4]], [[7], [8], [5]]], np.float32)
INPUTS = {"past": tf.constant(PAST), "company": tf.constant([1, 2, 0])}


def test_each_row_is_nan_after_its_horizon(model: Any) -> None:
    future = rollout(model)(INPUTS, tf.constant([2, 4, 0])).numpy()[..., 0]
    assert np.isnan(future).tolist() == [[False, False, True, True], [False] * 4, [True] * 4]
    whole = rollout(model)(INPUTS, tf.constant([4, 4, 4])).numpy()[..., 0]
    np.testing.assert_array_equal(future[0, :2], whole[0, :2])
    np.testing.assert_array_equal(future[1], whole[1])


@pytest.mark.parametrize("horizon", [0, -3])
@pytest.mark.parametrize("traced", [False, True])
def test_horizons_of_zero_or_less_give_no_steps(model: Any, horizon: int, traced: bool) -> None:
    call = tf.function(rollout(model)) if traced else rollout(model)
    assert call(INPUTS, tf.fill([3], horizon)).shape == (3, 0, 1)


def test_longer_horizon_extends_the_shorter_forecast(model: Any) -> None:
    call = tf.function(
        rollout(model),
        input_signature=[
            {"past": tf.TensorSpec((None, None, 1)), "company": tf.TensorSpec((None,), tf.int32)},
            HORIZON,
        ],
    )
    short, long = (call(INPUTS, tf.fill([3], steps)).numpy() for steps in (3, 40))
    np.testing.assert_allclose(long[:, :3], short, rtol=1e-6)
    assert call.experimental_get_tracing_count() == 1
    np.testing.assert_allclose(rollout(model)(INPUTS, tf.fill([3], 3)), short, rtol=1e-6)


def test_steps_of_a_one_step_forecaster_are_limited(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ae.models.rollout_graph.MAX_DAYS", 3)
    future = rollout(model)(INPUTS, tf.constant([5, 2, 4])).numpy()[..., 0]
    assert (~np.isnan(future)).sum(axis=1).tolist() == [3, 2, 3]
    assert future.shape == (3, 5)
