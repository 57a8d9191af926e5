"""Tests of applying models to many samples with one trace per model."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_ae.config import Snp
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.models.forecaster import step_forecaster
from lstm_ae.models.keras_network import KerasNetwork, traced
from lstm_ae.models.rollout import Rollout
from lstm_ae.models.scaling import in_own_units


def model_of() -> keras.Model:
    given = keras.Input((1,), name="x")
    return keras.Model({"x": given}, {"y": keras.layers.Dense(1, use_bias=False)(given)})


def test_model_is_traced_once_and_uses_its_current_weights() -> None:
    model, inputs = model_of(), {"x": tf.ones((3, 1))}
    for weight in (2.0, 5.0):
        model.set_weights([np.full((1, 1), weight)])
        np.testing.assert_array_equal(traced(model)(inputs)["y"], np.full((3, 1), weight))
    assert traced(model) is traced(model)


@pytest.mark.slow
def test_many_models_are_traced_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """TensorFlow warns from the fifth function on that is made at the same place and called."""
    forecaster = KerasNetwork(in_own_units(step_forecaster(Snp(units=2)), fixed_scale()))
    for _ in range(5):
        traced(model_of())({"x": tf.ones((3, 1))})
        assert Rollout(forecaster)(np.ones((2, 3, 1), np.float32), None, 2).shape == (2, 2, 1)
    assert "retracing" not in caplog.text


def test_traced_model_is_garbage_collected() -> None:
    model = model_of()
    traced(model)({"x": tf.ones((3, 1))})
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
