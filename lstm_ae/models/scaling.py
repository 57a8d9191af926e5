"""Scaling inside the graph: the saved model takes and returns the data's own units, and needs no scaler beside it.

`model.keras` is the trained network between a scaling and an unscaling, all of plain Keras layers and operations.
Training works on the inner network (`network_of`) with values that `lstm_ae.data.scaling.Scale` has scaled by the
same numbers.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from lstm_ae.data.scaling import Scale

# Class probabilities have no unit; everything else a network returns is a scaled series.
UNITLESS = frozenset({"label"})


def in_own_units(network: keras.Model, scale: Scale) -> keras.Model:
    """Wrap a network of scaled values so that its inputs and outputs are in the data's own units.

    Args:
        network: one input, `sequence` or `past`, `(batch, steps, features)`; a dict of outputs.
        scale: with "company", the model gets a second input `company`, int32 `(batch,)`, a line of the scale's table;
            0 and lines that do not exist are "unknown" and scale by the window's own minimum and range.
    """
    (name,) = network.input.keys()
    shape = network.input[name].shape[1:]
    inputs = {name: keras.Input(shape, name=name)}
    if scale.kind == "company":
        inputs["company"] = keras.Input((), dtype="int32", name="company")
    scaler = _scaling(scale, name, shape)
    scaled = scaler(inputs)
    # The offset comes first: Keras takes a second summand of shape (n, 1, 1) for a bias of the steps where there are n
    # of them, so that in a batch of as many samples as steps each step would get the offset of another sample.
    outputs = {
        key: layers.Identity(name=key)(value if key in UNITLESS else scaled["offset"] + value * scaled["range"])
        for key, value in network({name: scaled["scaled"]}).items()
    }
    model = keras.Model(inputs, outputs, name="model")
    if scale.kind == "company":
        scaler.get_layer("table").set_weights([np.concatenate([scale.offset, scale.range], axis=1)])
    return model


def network_of(model: keras.Model) -> keras.Model:
    """The inner network, on scaled values."""
    return model.get_layer("network")


def scaling_of(model: keras.Model) -> keras.Model:
    """The inner scaling: the model's inputs to `scaled`, `offset` and `range`."""
    return model.get_layer("scaling")


def _scaling(scale: Scale, name: str, shape: tuple[Any, ...]) -> keras.Model:
    features = shape[-1]
    series = keras.Input(shape, name=name)
    inputs = {name: series}
    if scale.kind == "fixed":
        ones = ops.ones_like(series[:, :1])
        offset, span = ones * scale.offset.item(), ones * scale.range.item()
    else:
        low = ops.min(series, axis=1, keepdims=True)
        width = ops.max(series, axis=1, keepdims=True) - low
        offset, span = low, ops.where(width > 0, width, 1.0)
    if scale.kind == "company":
        lines = len(scale.offset)
        company = inputs["company"] = keras.Input((), dtype="int32", name="company")
        known = ops.logical_and(company > 0, company < lines)
        table = layers.Embedding(lines, 2 * features, trainable=False, name="table")(ops.where(known, company, 0))
        table = ops.expand_dims(table, 1)
        known = ops.reshape(known, (-1, 1, 1))
        offset = ops.where(known, table[..., :features], offset)
        span = ops.where(known, table[..., features:], span)
    return keras.Model(inputs, {"scaled": (series - offset) / span, "offset": offset, "range": span}, name="scaling")
