"""Tests of applying models to many samples with one trace per model."""

import gc
import weakref

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.models.keras_network import traced


def model_of() -> keras.Model:
    given = keras.Input((1,), name="x")
    return keras.Model({"x": given}, {"y": keras.layers.Dense(1, use_bias=False)(given)})


def test_model_is_traced_once_and_uses_its_current_weights() -> None:
    model, inputs = model_of(), {"x": tf.ones((3, 1))}
    for weight in (2.0, 5.0):
        model.set_weights([np.full((1, 1), weight)])
        np.testing.assert_array_equal(traced(model)(inputs)["y"], np.full((3, 1), weight))
    assert traced(model).experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


def test_traced_model_is_garbage_collected() -> None:
    model = model_of()
    traced(model)({"x": tf.ones((3, 1))})
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
