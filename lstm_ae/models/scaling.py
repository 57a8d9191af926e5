"""Scaling inside the graph: the saved model reads and returns values in original units and needs no separate scaler.

`model.keras` is the trained network between a scaling and an unscaling submodel, built of plain Keras layers and
operations only. Training uses the inner network (`inner_network`) with values scaled by `lstm_ae.data.scaling.Scale`
with the same offsets and ranges.
"""

from collections.abc import Mapping

import keras
import numpy as np
from keras import layers, ops

from lstm_ae.arrays import Array
from lstm_ae.data.scaling import GROUPED_KINDS, Scale
from lstm_ae.models.network import unscaling_inputs

# Class probabilities have no unit; all other outputs are scaled series.
UNITLESS = frozenset({"label"})


def in_own_units(network: keras.Model, scale: Scale) -> keras.Model:
    """Wrap a network of scaled values so that its inputs and outputs are in the data's original units.

    Args:
        network: one input, `sequence` or `past`, `(batch, steps, features)`, and a dict of outputs. A second input
            `known`, `(batch, horizon, known)`, holds the last features of `past` over the horizon.
        scale: for the kinds "company" and "series" the model gets a second input of that name, int32 `(batch,)`: a row
            of the scale's table. Row 0 and rows outside the table mean "unknown": an unknown company is scaled by the
            window's own minimum and range, an unknown series by the common scale of all series.

    Returns:
        A functional model named `model` with the layers `scaling`, `network`, and `unscaling`.
    """
    name = next(iter(network.input))
    shape = network.input[name].shape[1:]
    series = {name: keras.Input(shape, name=name)}
    if scale.kind in GROUPED_KINDS:
        series[scale.kind] = keras.Input((), dtype="int32", name=scale.kind)
    scaler, unscaling = _scaling(scale, name, shape), _unscaling(scale)
    scaled = scaler(series)
    inputs, scaled_inputs = dict(series), {name: scaled["scaled"]}
    if "known" in network.input:
        inputs["known"] = keras.Input(network.input["known"].shape[1:], name="known")
        scaled_inputs["known"] = scale_known(inputs["known"], scaled)
    outputs = {
        key: layers.Identity(name=key)(value if key in UNITLESS else unscale(unscaling, value, scaled))
        for key, value in network(scaled_inputs).items()
    }
    model = keras.Model(inputs, outputs, name="model")
    if scale.kind in GROUPED_KINDS:
        scaler.get_layer("table").set_weights([np.concatenate([scale.offset, scale.range], axis=1)])
    return model


def scale_known(known: keras.KerasTensor, scaled: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Return the values of known covariates over the horizon, `(batch, any, known)`, in scaled values.

    Args:
        known: the values in original units.
        scaled: the output of `inner_scaling`; the known covariates are the last features.
    """
    first = scaled["offset"].shape[-1] - known.shape[-1]
    return (known - scaled["offset"][..., first:]) / scaled["range"][..., first:]


def inner_network(model: keras.Model) -> keras.Model:
    """Return the inner network, which works on scaled values."""
    return model.get_layer("network")


def inner_scaling(model: keras.Model) -> keras.Model:
    """Return the submodel from the model's inputs to `scaled`, `offset`, and `range`."""
    return model.get_layer("scaling")


def with_series_scale(model: keras.Model, values: keras.KerasTensor | Array) -> dict[str, keras.KerasTensor]:
    """Return a model's inputs for values `(batch, steps, features)` in the common scale of all series."""
    (name,), values = inner_network(model).input, ops.convert_to_tensor(values)
    lines = {"series": ops.zeros_like(values[:, 0, 0], dtype="int32")} if "series" in model.input else {}
    return {name: values} | lines


def shift_to_series_scale(model: keras.Model, inputs: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Return a model's inputs `(batch, any, features)` in the common scale of all series, see `with_series_scale`."""
    (name,) = inner_network(model).input
    values = inputs[name]
    if "series" not in inputs:
        return values
    # The scale of a series does not depend on the window, so that any window returns it.
    window = ops.zeros((1, *model.input[name].shape[1:]))
    common = inner_scaling(model)({name: window, "series": ops.zeros(1, "int32")})
    windows = window + ops.cast(ops.zeros_like(inputs["series"]), "float32")[:, None, None]
    own = inner_scaling(model)({name: windows, "series": inputs["series"]})
    moved = common["offset"] + (values - own["offset"]) / own["range"] * common["range"]
    same_scale = ops.logical_and(own["offset"] == common["offset"], own["range"] == common["range"])
    return ops.where(same_scale, values, moved)


def unscale(
    unscaling: keras.Model, values: keras.KerasTensor, scaled: Mapping[str, keras.KerasTensor]
) -> keras.KerasTensor:
    """Return scaled values in original units, in a graph; for arrays see `Network.undo_scaling`.

    Args:
        unscaling: the layer of that name of a model in original units.
        values: `(batch, any, features)` scaled values.
        scaled: the output of `inner_scaling`, with the offset and range of each sample.
    """
    return unscaling([*unscaling_inputs(values, scaled).values()])


def _unscaling(scale: Scale) -> keras.Model:
    """Build the submodel from `[scaled, offset, range]` to values in original units."""
    values, offset, span = (keras.Input((None, None), name=name) for name in ("scaled", "offset", "range"))
    # The offset must be the first summand: Keras treats a second one of shape (n, 1, 1) as a bias over n steps, which
    # mixes up the samples of a batch with as many samples as steps.
    own = offset + values * span
    return keras.Model([values, offset, span], ops.exp(own) if scale.kind == "log" else own, name="unscaling")


def _scaling(scale: Scale, name: str, shape: tuple[int | None, int]) -> keras.Model:
    features = shape[-1]
    series = keras.Input(shape, name=name)
    inputs = {name: series}
    values = ops.log(series) if scale.kind == "log" else series
    if scale.kind in ("fixed", "log"):
        ones = ops.ones_like(series[:, :1])
        offset, span = (ones * (part.item() if part.size == 1 else part) for part in (scale.offset, scale.range))
    elif scale.kind == "series":
        inputs["series"], _, offset, span = _lines(scale, features)
    else:
        low = ops.min(series, axis=1, keepdims=True)
        width = ops.max(series, axis=1, keepdims=True) - low
        offset, span = low, ops.where(width > 0, width, 1.0)
    if scale.kind == "company":
        inputs["company"], known, *own = _lines(scale, features)
        offset, span = (ops.where(known, mine, other) for mine, other in zip(own, (offset, span), strict=True))
    return keras.Model(inputs, {"scaled": (values - offset) / span, "offset": offset, "range": span}, name="scaling")


def _lines(scale: Scale, features: int) -> tuple[keras.KerasTensor, ...]:
    """Return the input of table rows, whether each exists, and its offset and range (row 0's if it does not)."""
    lines = len(scale.offset)
    line = keras.Input((), dtype="int32", name=scale.kind)
    known = ops.logical_and(line > 0, line < lines)
    table = layers.Embedding(lines, 2 * features, trainable=False, name="table")(ops.where(known, line, 0))
    table = ops.expand_dims(table, 1)
    return line, ops.reshape(known, (-1, 1, 1)), table[..., :features], table[..., features:]
