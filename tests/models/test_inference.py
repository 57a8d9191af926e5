"""Models applied to many samples: one trace for each model, for as long as the model exists."""

import gc
import weakref

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.models.inference import traced


def model_of() -> keras.Model:
    given = keras.Input((1,), name="x")
    return keras.Model({"x": given}, {"y": keras.layers.Dense(1, use_bias=False)(given)})


def test_a_model_is_traced_once_and_applied_with_its_present_weights() -> None:
    model, inputs = model_of(), {"x": tf.ones((3, 1))}
    for weight in (2.0, 5.0):
        model.set_weights([np.full((1, 1), weight)])
        np.testing.assert_array_equal(traced(model)(inputs)["y"], np.full((3, 1), weight))
    assert traced(model).experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


def test_a_traced_model_is_not_kept_alive() -> None:
    model = model_of()
    traced(model)({"x": tf.ones((3, 1))})
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
