"""The forecaster: two recurrent stacks that read the past forward and say, at every step, what comes next.

It is the report's sequence-to-sequence model. Since it never looks ahead, the same weights serve three uses: the
day after every day of the window, the day after the window alone, and a rollout that feeds its own outputs back.
"""

from typing import Any

import keras
from keras import layers, ops

from lstm_ae.config import Snp
from lstm_ae.models.recurrent import recurrent


def forecaster(config: Snp, *, features: int, typical: float = 1.0) -> keras.Model:
    """A network from `past` `(batch, steps, features)` to `future`, in scaled values, any number of steps.

    `future[:, t]` forecasts the step after `past[:, t]`; with `config.last_day_only` it holds the step after the
    last one alone, `(batch, 1, features)`. With the target `change` the recurrent layers read the changes from step
    to step, and what comes out is added to the last known value. The output layer starts at zero, so that the
    untrained network is persistence.

    Args:
        features: numbers a step.
        typical: size of a usual change in scaled values; changes are read and written in multiples of it. A day's
            change is a hundredth of a price's range: an optimizer's steps, made for numbers around 1, drown it.
    """
    past = keras.Input((None, features), name="past")
    change = config.target == "change"
    stack: list[Any] = [layers.Rescaling(1 / typical, name="relative")] if change else []
    for part in ("encoder", "decoder"):
        for number in range(1, config.layers + 1):
            stack.append(recurrent(config, f"{part}_{number}", states=True, decoder=part == "decoder"))
            if config.dropout:
                stack.append(layers.Dropout(config.dropout, name=f"{part}_{number}_dropout"))
    if change:
        stack.append(layers.Dense(features, kernel_initializer="zeros", name="relative_change"))
        stack.append(layers.Rescaling(typical, name="change"))
    else:
        stack.append(layers.Dense(features, name="level"))
    future, _ = _through(stack, past, past[:, :1], [None] * len(stack))
    if config.last_day_only:
        future = layers.Reshape((1, features), name="last_day")(future[:, -1])
    future = layers.Identity(name="future")(future)
    return keras.Model({"past": past}, {"future": future}, name="network")


def stepper(network: keras.Model) -> keras.Model:
    """The same layers with what they remember as inputs and outputs: `[past, before, *states]` to `[future, *states]`.

    Args:
        network: a forecaster's network, as built or as loaded from a file.

    Returns:
        A model over the network's own weights; `future` covers every step of `past`, also where the network was
        trained on the last day only. `before` is the value just before `past`, `(batch, 1, features)`; where nothing
        came before, the first value itself. Each state is `(batch, units)`.
    """
    kinds = (layers.RNN, layers.Dense, layers.Dropout, layers.Rescaling)
    stack = [layer for layer in network.layers if isinstance(layer, kinds)]
    past = keras.Input(network.inputs[0].shape[1:], name="past")
    before = keras.Input((1, past.shape[-1]), name="before")
    states: list[Any] = []
    for layer in stack:
        sizes = layer.state_size if isinstance(layer, layers.RNN) else []
        sizes = sizes if isinstance(sizes, list | tuple) else [sizes]
        states.append([keras.Input((size,), name=f"{layer.name}_{index}") for index, size in enumerate(sizes)] or None)
    future, ends = _through(stack, past, before, states)
    flat = [state for group in states if group for state in group]
    return keras.Model([past, before, *flat], [future, *ends], name="stepper")


def _through(stack: list[Any], past: Any, before: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """Apply the layers in order; return the forecast and the recurrent layers' final states."""
    change = stack[-1].name == "change"
    hidden = past - ops.concatenate([before, past[:, :-1]], axis=1) if change else past
    ends: list[Any] = []
    for layer, state in zip(stack, states, strict=True):
        if isinstance(layer, layers.RNN):
            hidden, *end = layer(hidden, initial_state=state)
            ends.extend(end)
        else:
            hidden = layer(hidden)
    return (past + hidden if change else hidden), ends
