"""Recursive multi-step forecasts as a TensorFlow graph: a forecaster fed with its own outputs in a `tf.while_loop`."""

from collections.abc import Callable

import keras
import tensorflow as tf

from lstm_ae.config.snp import MAX_DAYS
from lstm_ae.models.keras_network import KerasNetwork, Tensors
from lstm_ae.models.network import one_step
from lstm_ae.models.scaling import inner_network, inner_scaling, scale_known, unscale

HORIZON = tf.TensorSpec((None,), tf.int32, name="horizon")


def rollout(model: keras.Model) -> Callable[..., tf.Tensor]:
    """Return a function that computes multi-step forecasts with a forecaster, see `lstm_ae.models.rollout.Rollout`.

    Args:
        model: a forecaster in original units, as built or loaded.

    Returns:
        A function from the model's inputs and `horizon` (int32 `(batch,)`, one per row) to `(batch, max(horizon),
        targets)` in original units; steps beyond a row's horizon, and those of a one-step forecaster beyond `MAX_DAYS`,
        are NaN. The input `known` of a multi-horizon forecaster may have any number of steps; steps beyond them are
        NaN. It can be traced into a graph.
    """
    scaling, network, grows = inner_scaling(model), inner_network(model), one_step(KerasNetwork(model))
    (_, window, features), (_, size, targets) = network.input["past"].shape, network.output["future"].shape
    size = 1 if grows else size
    known_features = network.input["known"].shape[2] if "known" in network.input else 0

    def unknown(batch: tf.Tensor, steps: tf.Tensor, values: int) -> tf.Tensor:
        return tf.fill((batch, steps, values), tf.constant(float("nan")))

    def forecast(inputs: Tensors, horizon: tf.Tensor) -> tf.Tensor:
        inputs = dict(inputs)
        known = inputs.pop("known", None)
        scaled = scaling(inputs, training=False)
        past = scaled["scaled"]
        batch, steps = tf.shape(past)[0], tf.shape(past)[1]
        count = tf.maximum(tf.reduce_max(horizon), 0)
        blocks = tf.minimum(count, MAX_DAYS) if grows else -(-count // size)
        if known is not None:
            horizon = tf.minimum(horizon, tf.shape(known)[1])
            ahead = scale_known(known, scaled)[:, : blocks * size]
            rest = unknown(batch, blocks * size - tf.shape(ahead)[1], known_features)
            ahead = tf.concat([ahead, rest], axis=1)

        def extend(index: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            read = rows if grows else tf.ensure_shape(rows[:, -window:], (None, window, features))
            block_inputs, following = {"past": read}, []
            if known is not None:
                block = ahead[:, index * size : (index + 1) * size]
                block_inputs["known"] = tf.ensure_shape(block, (None, size, known_features))
                following = [block_inputs["known"]]
            future = network(block_inputs, training=False)["future"][:, -size:]
            # Observed covariates are unknown after the window.
            observed = unknown(batch, size, features - targets - known_features)
            return index + 1, tf.concat([rows, tf.concat([future, observed, *following], axis=2)], axis=1)

        shapes = tf.TensorShape(()), tf.TensorShape((None, None, features))
        _, rows = tf.while_loop(lambda index, _: index < blocks, extend, (0, past), shape_invariants=shapes)
        future = unscale(model.get_layer("unscaling"), rows[:, steps : steps + count, :targets], scaled)
        future = tf.concat([future, unknown(batch, count - tf.shape(future)[1], targets)], axis=1)
        due = tf.range(count)[None, :, None] < horizon[:, None, None]
        return tf.where(due, future, tf.constant(float("nan")))

    return forecast
