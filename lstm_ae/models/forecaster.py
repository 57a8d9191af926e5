"""The forecaster: two recurrent stacks that read the past forward and say, at every step, what comes next.

It is the report's sequence-to-sequence model. Since it never looks ahead, the same weights serve three uses: the
day after every day of the window, the day after the window alone, and a rollout that feeds its own outputs back.

A network is four parts: `reading` turns scaled values into what the recurrent layers read, the layers say a change
(or the level), `adding` turns that into the scaled values of the next step, and `ordered` makes a day's high its
highest price. All but the layers are small models of their own within the network, so that whoever loads it can join
them again without knowing how it was made.
"""

from typing import Any

import keras
from keras import layers, ops

from lstm_ae.config import Snp
from lstm_ae.data.windows import OPEN
from lstm_ae.models.recurrent import recurrent


def forecaster(config: Snp, *, typical: float = 1.0) -> keras.Model:
    """A network from `past` `(batch, steps, features)` to `future`, in scaled values, any number of steps.

    `future[:, t]` forecasts the step after `past[:, t]`; with `config.last_day_only` it holds the step after the
    last one alone, `(batch, 1, features)`. The features are `config.fields`. With the target `change` what the layers
    say is added to the last known value, and so is what a linear layer says of the last step alone (Lai et al. 2018,
    "Modeling long- and short-term temporal patterns with deep neural networks", section 3.6): the recurrent layers then
    learn what is left. Both start at zero, so that the untrained network is persistence.

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


def stepper(network: keras.Model) -> keras.Model:
    """The same layers with what they remember as inputs and outputs: `[past, before, *states]` to `[future, *states]`.

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
            stack.append(recurrent(config, f"{part}_{number}", states=True, decoder=part == "decoder"))
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
