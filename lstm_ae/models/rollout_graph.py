"""Recursive multi-step forecasts as a TensorFlow graph: a forecaster fed with its own outputs in a `tf.while_loop`.

A one-step forecaster encodes the past once and then costs one step per forecast step, for any horizon. A multi-horizon
forecaster encodes a window again for every block of its horizon.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from lstm_ae.models.forecaster import stepper
from lstm_ae.models.keras_network import KerasNetwork, Tensors
from lstm_ae.models.network import one_step
from lstm_ae.models.scaling import inner_network, inner_scaling, scale_known, unscale

HORIZON = tf.TensorSpec((None,), tf.int32, name="horizon")


def rollout(model: keras.Model) -> Callable[..., tf.Tensor]:
    """Return a function that computes multi-step forecasts with a forecaster.

    Args:
        model: a forecaster in original units, as built or loaded.

    Returns:
        A function from the model's inputs and `horizon` (int32 `(batch,)`, one per row) to `(batch, max(horizon),
        targets)` in original units; steps beyond a row's horizon are NaN. The input `known` of a multi-horizon
        forecaster may have any number of steps; steps beyond them are NaN. It can be traced into a graph.
    """
    return _step_by_step(model) if one_step(KerasNetwork(model)) else _block_by_block(model)


def _block_by_block(model: keras.Model) -> Callable[..., tf.Tensor]:
    scaling, network = inner_scaling(model), inner_network(model)
    (_, steps, features), (_, size, targets) = network.input["past"].shape, network.output["future"].shape
    known_features = network.input["known"].shape[2] if "known" in network.input else 0

    def forecast(inputs: Tensors, horizon: tf.Tensor) -> tf.Tensor:
        inputs = dict(inputs)
        known = inputs.pop("known", None)
        scaled = scaling(inputs, training=False)
        count = tf.maximum(tf.reduce_max(horizon), 0)
        blocks = -(-count // size)
        values = tf.TensorArray(tf.float32, size=blocks, element_shape=(None, size, targets))
        batch = tf.shape(scaled["scaled"])[0]
        if known is not None:
            horizon = tf.minimum(horizon, tf.shape(known)[1])
            ahead = scale_known(known, scaled)[:, : blocks * size]
            rest = tf.fill((batch, blocks * size - tf.shape(ahead)[1], known_features), tf.constant(float("nan")))
            ahead = tf.concat([ahead, rest], axis=1)

        def block(
            index: tf.Tensor, past: tf.Tensor, values: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
            block_inputs, following = {"past": past}, []
            if known is not None:
                block_inputs["known"] = tf.ensure_shape(
                    ahead[:, index * size : (index + 1) * size], (None, size, known_features)
                )
                following = [block_inputs["known"]]
            future = network(block_inputs, training=False)["future"]
            # Observed covariates are unknown after the window.
            unknown = tf.fill((batch, size, features - targets - known_features), tf.constant(float("nan")))
            past = tf.concat([past, tf.concat([future, unknown, *following], axis=2)], axis=1)[:, -steps:]
            return index + 1, tf.ensure_shape(past, (None, steps, features)), values.write(index, future)

        *_, values = tf.while_loop(lambda index, *_: index < blocks, block, (0, scaled["scaled"], values))
        stacked = tf.reshape(values.stack(), (blocks, batch, size, targets))
        stacked = tf.reshape(tf.transpose(stacked, (1, 0, 2, 3)), (batch, blocks * size, targets))[:, :count]
        return _within(horizon, unscale(model.get_layer("unscaling"), stacked, scaled))

    return forecast


def _within(horizon: tf.Tensor, future: tf.Tensor) -> tf.Tensor:
    """Replace steps beyond a row's horizon by NaN."""
    due = tf.range(tf.shape(future)[1])[None, :, None] < horizon[:, None, None]
    return tf.where(due, future, tf.constant(float("nan")))


def _step_by_step(model: keras.Model) -> Callable[..., tf.Tensor]:
    scaling, steps = inner_scaling(model), stepper(inner_network(model))
    days, state_sizes = steps.inputs[1].shape[1], [state.shape[1] for state in steps.inputs[2:]]

    def following(before: tf.Tensor, past: tf.Tensor) -> tf.Tensor:
        """Return the days before the step after `past`."""
        return tf.ensure_shape(tf.concat([before, past], axis=1)[:, -days:], (None, days, past.shape[2]))

    def forecast(inputs: Tensors, horizon: tf.Tensor) -> tf.Tensor:
        scaled = scaling(inputs, training=False)
        past = scaled["scaled"]
        states = [tf.zeros((tf.shape(past)[0], size)) for size in state_sizes]
        start = tf.repeat(past[:, :1], days, axis=1)
        future, *states = steps([past, start, *states], training=False)
        count = tf.maximum(tf.reduce_max(horizon), 0)
        values = tf.TensorArray(tf.float32, size=count, element_shape=(None, past.shape[2]))

        def step(
            index: tf.Tensor, before: tf.Tensor, now: tf.Tensor, states: list[tf.Tensor], values: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.Tensor], tf.TensorArray]:
            values = values.write(index, now[:, 0])
            future, *states = steps([now, before, *states], training=False)
            return index + 1, following(before, now), future, states, values

        first = (0, following(start, past), future[:, -1:], states, values)
        *_, values = tf.while_loop(lambda index, *_: index < count, step, first)
        # A horizon of 0 needs the reshape: the shape of an empty TensorArray is unknown outside a graph.
        stacked = tf.reshape(values.stack(), (count, tf.shape(past)[0], past.shape[2]))
        future = unscale(model.get_layer("unscaling"), tf.transpose(stacked, (1, 0, 2)), scaled)
        return _within(horizon, future)

    return forecast
