"""The forecasters: one that says the next step at every position, and one that says a whole horizon at once.

`step_forecaster` is the source report's sequence-to-sequence model for prices: two recurrent stacks that read the past
forward and forecast, at every step, the next one. Since it never looks ahead, the same weights serve three uses: the
day after every day of the window, the day after the window alone, and a rollout on its own outputs. Its network has
four parts: `reading` turns scaled values into what the recurrent layers read, the layers forecast a change (or the
level), `adding` turns that into the scaled values of the next step, and `ordered` makes a day's high its highest
price. All but the layers are small models of their own within the network, so that a loaded network can be joined
again without knowing how it was built.

`horizon_forecaster` is the one for tables: a window read by an encoder and all steps of the horizon from a decoder, so
that an error of the first step is not carried into the last (the "direct" strategy, Ben Taieb et al. 2012, "A review
and comparison of strategies for multi-step ahead time series forecasting"). Further ahead it reads its own forecast,
one horizon at a time.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from lstm_ae.config import Series, Snp
from lstm_ae.data.windows import OPEN
from lstm_ae.models.decoder import decode, repeat_with_position
from lstm_ae.models.encoder import encode, pool_last, pool_mean, recurrent_layer

Floats = NDArray[np.float32]


def step_forecaster(config: Snp, *, typical: float = 1.0) -> keras.Model:
    """Build a network from `past` `(batch, steps, features)` to `future`, in scaled values, any number of steps.

    `future[:, t]` forecasts the step after `past[:, t]`; with `config.last_day_only` it holds the step after the
    last one alone, `(batch, 1, features)`. The features are `config.fields`. With the target `change` the layers'
    output is added to the last known value, and so is that of a linear layer of the last step alone (Lai et al. 2018,
    "Modeling long- and short-term temporal patterns with deep neural networks", section 3.6): the recurrent layers then
    learn the rest. Both start at zero, so that the untrained network is persistence.

    With `config.with_open` there is a second input `open`, `(batch, 1)`, the open of the day after the window, and
    `future` holds the price to model alone.

    Args:
        typical: size of a usual change in scaled values; changes are read and written in multiples of it. A day's
            change is a hundredth of a price's range: an optimizer's steps, made for numbers around 1, drown it.
    """
    features = len(config.fields)
    inputs = {"past": keras.Input((None, features), name="past")}
    past = inputs["past"]
    read = [past, _before(past, past[:, :1])]
    if config.with_open:
        inputs["open"] = keras.Input((1,), name="open")
        read.append(ops.concatenate([past[:, 1:, OPEN : OPEN + 1], inputs["open"][:, None]], axis=1))
    stack = _stack(config, 1 if config.with_open else features)
    hidden = _reading(config, typical)(read)
    said, _ = _through(stack, hidden, [None] * len(stack))
    if config.target == "change":
        direct = layers.Dense(said.shape[-1], kernel_initializer="zeros", use_bias=False, name="direct")
        said = layers.Add(name="together")([said, direct(hidden)])
    future = _ordered(config)(_adding(config, typical)([past, said]))
    if config.last_day_only:
        future = layers.Reshape((1, future.shape[-1]), name="last_day")(future[:, -1])
    future = layers.Identity(name="future")(future)
    return keras.Model(inputs, {"future": future}, name="network")


def horizon_forecaster(
    config: Series,
    *,
    steps: int,
    horizon: int,
    features: int,
    missing: bool,
    regression: tuple[Floats, Floats] | None = None,
) -> keras.Model:
    """Build a network from `past` `(batch, steps, features)` to `future` `(batch, horizon, features)`, scaled values.

    The decoder's output is added to that of a linear map of the window, shared by all features (Zeng et al. 2023, "Are
    transformers effective for time series forecasting?", NLinear), and both to the last known value. The map can start
    as a fitted regression, and the decoder's output starts at zero: the untrained network is then the baseline.

    Args:
        missing: mark which values are missing (NaN) for the network.
        regression: weights `(last steps, horizon)` and bias `(horizon,)` that the linear map starts from, of values
            relative to the last known one; None to start from that value.
    """
    past = keras.Input((steps, features), name="past")
    absent = ops.isnan(past)
    present = ops.cast(ops.logical_not(absent), "float32")
    filled = ops.where(absent, ops.zeros_like(past), past)
    # The last value present has no other after it. A feature without any counts as 0.
    after = ops.flip(ops.cumsum(ops.flip(present, axis=1), axis=1), axis=1)
    last = ops.sum(filled * present * ops.cast(ops.equal(after, 1), "float32"), axis=1, keepdims=True)
    relative = (filled - last) * present
    inputs = ops.concatenate([relative, 1 - present], axis=2) if missing else relative

    states = encode(config, inputs, sequences=True, bidirectional=config.bidirectional)
    summary = ops.concatenate([pool_mean(states), pool_last(states, bidirectional=config.bidirectional)], axis=1)
    residual = decode(config, repeat_with_position(summary, horizon))
    residual = layers.Dense(features, kernel_initializer="zeros", name="residual")(residual)

    linear = layers.Dense(horizon, kernel_initializer="zeros", name="linear")
    mapped = ops.transpose(linear(ops.transpose(relative, (0, 2, 1))), (0, 2, 1))
    if regression is not None:
        weights, bias = regression
        linear.set_weights([np.concatenate([np.zeros((steps - len(weights), horizon)), weights]), bias])
    future = layers.Identity(name="future")(last + (mapped + residual))
    return keras.Model({"past": past}, {"future": future}, name="network")


def stepper(network: keras.Model) -> keras.Model:
    """Return the same layers with their states as inputs and outputs: `[past, before, *states]` to `[future, *states]`.

    Args:
        network: a forecaster's network without the input `open`, as built or as loaded from a file.

    Returns:
        A model over the network's own weights; `future` covers every step of `past`, also where the network was
        trained on the last day only. `before` is the value just before `past`, `(batch, 1, features)`; where nothing
        came before, the first value itself. Each state is `(batch, units)`.
    """
    kinds = (layers.RNN, layers.Dense, layers.Dropout)
    stack = [layer for layer in network.layers if isinstance(layer, kinds) and layer.name != "direct"]
    past = keras.Input(network.input["past"].shape[1:], name="past")
    before = keras.Input((1, past.shape[-1]), name="before")
    states: list[Any] = []
    for layer in stack:
        sizes = layer.state_size if isinstance(layer, layers.RNN) else []
        sizes = sizes if isinstance(sizes, list | tuple) else [sizes]
        states.append([keras.Input((size,), name=f"{layer.name}_{index}") for index, size in enumerate(sizes)] or None)
    hidden = network.get_layer("reading")([past, _before(past, before)])
    said, ends = _through(stack, hidden, states)
    if any(layer.name == "direct" for layer in network.layers):
        said = network.get_layer("together")([said, network.get_layer("direct")(hidden)])
    flat = [state for group in states if group for state in group]
    future = network.get_layer("ordered")(network.get_layer("adding")([past, said]))
    return keras.Model([past, before, *flat], [future, *ends], name="stepper")


def _before(past: Any, first: Any) -> Any:
    """The value a step before each of `past`."""
    return ops.concatenate([first, past[:, :-1]], axis=1)


def _stack(config: Snp, outputs: int) -> list[Any]:
    """The layers between reading and adding."""
    stack: list[Any] = []
    for part in ("encoder", "decoder"):
        for number in range(1, config.layers + 1):
            stack.append(recurrent_layer(config, f"{part}_{number}", states=True, decoder=part == "decoder"))
            if config.dropout:
                stack.append(layers.Dropout(config.dropout, name=f"{part}_{number}_dropout"))
    change = config.target == "change"
    said = (
        layers.Dense(outputs, kernel_initializer="zeros", name="relative_change")
        if change
        else layers.Dense(outputs, name="level")
    )
    return [*stack, said]


def _through(stack: list[Any], hidden: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """Apply the layers in order; return what they say and the recurrent layers' final states."""
    ends: list[Any] = []
    for layer, state in zip(stack, states, strict=True):
        if isinstance(layer, layers.RNN):
            hidden, *end = layer(hidden, initial_state=state)
            ends.extend(end)
        else:
            hidden = layer(hidden)
    return hidden, ends


def _reading(config: Snp, typical: float) -> keras.Model:
    """From `[past, before]`, and the next opens where they are known, to what the recurrent layers read.

    The change of the first price, the other prices of the day relative to it, the change of the volume, the next open
    relative to the first price. A level says nothing; all these do not depend on it.
    """
    fields = config.fields
    past, before = (keras.Input((None, len(fields)), name=name) for name in ("past", "before"))
    inputs = [past, before]
    if config.target == "level":
        return keras.Model(inputs, layers.Identity(name="values")(past), name="reading")
    read = [past[..., :1] - before[..., :1]]
    prices = len(fields) - ("volume" in fields)
    if prices > 1:
        read.append(past[..., 1:prices] - past[..., :1])
    if "volume" in fields:
        read.append(past[..., -1:] - before[..., -1:])
    if config.with_open:
        inputs.append(keras.Input((None, 1), name="opens"))
        read.append(inputs[-1] - past[..., :1])
    joined = ops.concatenate(read, axis=-1) if len(read) > 1 else read[0]
    return keras.Model(inputs, layers.Rescaling(1 / typical, name="relative")(joined), name="reading")


def _adding(config: Snp, typical: float) -> keras.Model:
    """From `[past, said]` to the values of the next step."""
    features = len(config.fields)
    past = keras.Input((None, features), name="past")
    outputs = 1 if config.with_open else features
    said = keras.Input((None, outputs), name="said")
    if config.target == "level":
        return keras.Model([past, said], layers.Identity(name="values")(said), name="adding")
    future = past[..., :outputs] + layers.Rescaling(typical, name="change")(said)
    return keras.Model([past, said], future, name="adding")


def _ordered(config: Snp) -> keras.Model:
    """The same prices with the high at least, and the low at most, all others of the day, where all four are said."""
    fields = config.fields[:1] if config.with_open else config.fields
    values = keras.Input((None, len(fields)), name="unordered")
    prices = len(fields) - ("volume" in fields)
    if prices == 1:
        return keras.Model(values, layers.Identity(name="values")(values), name="ordered")
    high, low = (reduce(values[..., :prices], axis=-1, keepdims=True) for reduce in (ops.max, ops.min))
    columns = [
        {"high": high, "low": low}.get(field, values[..., place : place + 1]) for place, field in enumerate(fields)
    ]
    return keras.Model(values, ops.concatenate(columns, axis=-1), name="ordered")
