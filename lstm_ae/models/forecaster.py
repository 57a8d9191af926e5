"""One-step and multi-horizon forecasters.

`step_forecaster` is the source report's sequence-to-sequence model for prices: two recurrent stacks that read the past
forward and forecast the next step at every position. It is causal, so the same weights serve three uses: the day after
every day of the window, the day after the window only, and a recursive rollout. The network has four stages: `reading`
computes the recurrent layers' inputs from scaled values, the layers forecast a change (or the level), `adding` computes
the scaled values of the next step, and `ordered` enforces low <= open, close <= high. All stages but the layers are
submodels, so that `stepper` can reassemble a loaded network without its config.

Both can start at a link, the linear regression that is also their baseline: its coefficients are the weights of the
layer `linear`, and the last layer of the recurrent part is zero at first, so that the untrained network is the baseline
(a linear part beside the recurrent one: Lai et al. 2018, "Modeling long- and short-term temporal patterns with deep
neural networks", section 3.6; Zeng et al. 2023, "Are transformers effective for time series forecasting?", NLinear).
With `config.networks` above 1 there are several recurrent parts beside one linear part, see `lstm_ae.models.ensemble`.

`horizon_forecaster` is the model for tables: an encoder reads the window and a decoder returns all steps of the horizon
at once, so that an error at the first step does not propagate to the last (the "direct" strategy, Ben Taieb et al.
2012, "A review and comparison of strategies for multi-step ahead time series forecasting"). Longer forecasts are rolled
out, one horizon at a time. For long horizons, `config.segment` makes each recurrent step a segment of several rows, see
`lstm_ae.models.segments`.
"""

import itertools
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers, ops

from lstm_ae.arrays import Array
from lstm_ae.config import Series, Snp
from lstm_ae.data.columns import Covariates
from lstm_ae.models.decoder import decode, repeat_with_position
from lstm_ae.models.encoder import encode, pool_last, pool_mean, recurrent_layer
from lstm_ae.models.ensemble import MEMBER_MEAN, MEMBER_SUM, average_members, member_of
from lstm_ae.models.segments import segment_branch

# Layers that the forecast is linear in: the last one of the recurrent part, and those of the linear regression.
CORRECTING_LAYERS = ("residual", "relative_change", "linear", "effects")


# Weights `(inputs, outputs)` and intercepts `(outputs,)` of a fitted linear regression.
Regression = tuple[Array, Array]


def step_forecaster(config: Snp, *, typical: float = 1.0, link: Regression | None = None) -> keras.Model:
    """Build a network from `past` `(batch, steps, features)` to `future`, in scaled values, any number of steps.

    `future[:, t]` forecasts the step after `past[:, t]`; with `config.last_day_only` it holds only the step after the
    last one, `(batch, 1, features)`. The features are `config.fields`. With the target `change`, the output of the
    recurrent layers, which is zero at first, and that of a linear layer are added to the last known value. The linear
    layer starts at the link; without one, it reads the last step only and starts at zero. The untrained network is the
    link, or persistence without one. Before the first step of `past`, the link reads that step.

    Args:
        config: units, layers, dropout, fields, target, and number of members.
        typical: typical size of a change in scaled values. Changes enter and leave the layers in multiples of it,
            since a day's change is about 1% of a price's range and would vanish among values around 1.
        link: the baseline that the network starts at, a regression from the last days to the change of every feature
            on the next day; None for no linear start.

    Returns:
        An untrained functional model named `network`.
    """
    features = len(config.fields)
    past = keras.Input((None, features), name="past")
    hidden = _relative_inputs(config, typical)([past, _before(past, past[:, :1])])

    def residual(prefix: str) -> keras.KerasTensor:
        stack = _stack(config, features, prefix)
        return _apply_stack(stack, hidden, [None] * len(stack))[0]

    output = average_members(residual, config.networks)
    if link is not None:
        weights, intercept = link
        days = len(weights) // features
        regressors = _regressors(config, typical, days)
        read = [past, ops.concatenate([past[:, :1]] * (max(days, 2) - 1), axis=1)]
        linear = layers.Dense(output.shape[-1], name="linear")
        output = layers.Add(name="together")([output, linear(regressors(read))])
        linear.set_weights([weights[:, : linear.units], intercept[: linear.units] / typical])
    elif config.target == "change":
        linear = layers.Dense(output.shape[-1], kernel_initializer="zeros", use_bias=False, name="linear")
        output = layers.Add(name="together")([output, linear(hidden)])
    future = _order_prices(config)(_add_change(config, typical)([past, output]))
    if config.last_day_only:
        future = layers.Reshape((1, future.shape[-1]), name="last_day")(future[:, -1])
    future = layers.Identity(name="future")(future)
    return keras.Model({"past": past}, {"future": future}, name="network")


def horizon_forecaster(
    config: Series,
    *,
    steps: int,
    horizon: int,
    features: int,
    missing: bool,
    covariates: Covariates,
    link: Regression | None = None,
    effects: Array | None = None,
) -> keras.Model:
    """Build a network from `past` `(batch, steps, features)` to `future` `(batch, horizon, targets)`, scaled values.

    The forecast is the last known value plus the output of the decoder, which is zero at first, and that of the link.
    The untrained network is the link, or persistence without one.

    With known covariates there is a second input `known`, `(batch, horizon, known)`, their values over the horizon,
    which the decoder reads as they are and relative to their last value in the window. Effects of them
    are subtracted from the targets in the window, and added to the forecast.

    Args:
        config: units, layers, dropout, direction, rows of a segment, and number of members.
        steps: length of the windows.
        horizon: steps to forecast.
        features: values per step, of the targets first and of the covariates last.
        missing: append a mask of missing values (NaN) to the inputs.
        covariates: numbers of the features that are not forecast.
        link: the baseline that the network starts at, a regression from the last steps, relative to the last known
            value, that all targets share; None for a network without a linear part.
        effects: `(known, targets)` effects of known covariates on the targets, beside the link; None for none.

    Returns:
        An untrained functional model named `network`.
    """
    targets = features - sum(covariates)
    inputs = {"past": keras.Input((steps, features), name="past")}
    present, filled = _fill_missing(inputs["past"])
    effect = None
    if covariates.known:
        inputs["known"] = keras.Input((horizon, covariates.known), name="known")
        ahead_present, ahead = _fill_missing(inputs["known"])
        if effects is not None:
            layer = layers.Dense(targets, use_bias=False, name="effects")
            effect = layer(ops.concatenate([filled[..., -covariates.known :], ahead], axis=1))
            layer.set_weights([effects])
            filled = filled - ops.concatenate([effect[:, :steps], ops.zeros_like(filled[..., targets:])], axis=2)
    # The last present value has no other after it; a feature without any value counts as 0.
    after = ops.flip(ops.cumsum(ops.flip(present, axis=1), axis=1), axis=1)
    last = ops.sum(filled * present * ops.cast(ops.equal(after, 1), "float32"), axis=1, keepdims=True)
    relative = (filled - last) * present
    read = [relative, 1 - present] if missing else [relative]
    known = None
    if covariates.known:
        over_horizon = [ahead, ahead - last[..., -covariates.known :], *([1 - ahead_present] if missing else [])]
        known = ops.concatenate(over_horizon, axis=2)
    branch = segment_branch if config.segment else _row_branch
    change = average_members(branch(config, read, known, targets=targets, horizon=horizon), config.networks)
    if link is not None:
        linear = layers.Dense(horizon, name="linear")
        own = relative[..., :targets] if sum(covariates) else relative
        mapped = ops.transpose(linear(ops.transpose(own, (0, 2, 1))), (0, 2, 1))
        weights, intercept = link
        linear.set_weights([np.pad(weights, [(steps - len(weights), 0), (0, 0)]), intercept])
        change = mapped + change
    future = (last[..., :targets] if sum(covariates) else last) + change
    if effect is not None:
        future = future + effect[:, steps:]
    return keras.Model(inputs, {"future": layers.Identity(name="future")(future)}, name="network")


def _row_branch(
    config: Series, read: Sequence[keras.KerasTensor], known: keras.KerasTensor | None, *, targets: int, horizon: int
) -> Callable[[str], keras.KerasTensor]:
    """Return the function that builds a member with a recurrent step per row, see `segment_branch`."""
    sequence = ops.concatenate(read, axis=2) if len(read) > 1 else read[0]

    def build(prefix: str) -> keras.KerasTensor:
        states = encode(config, sequence, sequences=True, bidirectional=config.bidirectional, prefix=prefix)
        summary = ops.concatenate([pool_mean(states), pool_last(states, bidirectional=config.bidirectional)], axis=1)
        repeated = repeat_with_position(summary, horizon, prefix=prefix)
        if known is not None:
            repeated = ops.concatenate([repeated, known], axis=2)
        decoded = decode(config, repeated, prefix=prefix)
        return layers.Dense(targets, kernel_initializer="zeros", name=f"{prefix}residual")(decoded)

    return build


def _fill_missing(values: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return a mask of the values that are not missing, 1 and 0, and the values with 0 for NaN."""
    absent = ops.isnan(values)
    return ops.cast(ops.logical_not(absent), "float32"), ops.where(absent, ops.zeros_like(values), values)


def correction_variables(network: keras.Model) -> list[keras.Variable]:
    """Return the variables of the layers that the forecast is linear in, beside and after the recurrent part.

    Effects of known covariates are among them, in which it is only nearly linear.

    Args:
        network: the network of a forecaster with one member, as built; of other networks, the list is empty.
    """
    if "future" not in network.output:
        return []
    found = [layer for layer in network.layers if layer.name in CORRECTING_LAYERS]
    return [variable for layer in found for variable in layer.trainable_variables]


def stepper(network: keras.Model) -> keras.Model:
    """Return a stateful view of a forecaster: `[past, before, *states]` to `[future, *states]`.

    Args:
        network: a step forecaster's network, as built or as loaded from a file.

    Returns:
        A model that shares the network's weights; `future` covers every step of `past`, also where the network was
        trained on the last day only. `before` holds the values before the first of `past`, `(batch, days, features)`
        with as many days as the network needs; pass the first value itself at the start of a series. Each state is
        `(batch, units)`.
    """
    kinds = (layers.RNN, layers.Dense, layers.Dropout)
    recurrent = [layer for layer in network.layers if isinstance(layer, kinds) and layer.name != "linear"]
    names = {layer.name for layer in network.layers}
    past = keras.Input(network.input["past"].shape[1:], name="past")
    days = network.get_layer("regressors").inputs[1].shape[1] if "regressors" in names else 1
    before = keras.Input((days, past.shape[-1]), name="before")
    hidden = network.get_layer("reading")([past, _before(past, before[:, -1:])])
    outputs: list[keras.KerasTensor] = []
    starts: list[keras.KerasTensor] = []
    ends: list[keras.KerasTensor] = []
    # Keras lists layers by their depth, so those of several members alternate.
    for _, stack in itertools.groupby(sorted(recurrent, key=member_of), key=member_of):
        own, states = list(stack), []
        for layer in own:
            sizes = layer.state_size if isinstance(layer, layers.RNN) else []
            sizes = sizes if isinstance(sizes, list | tuple) else [sizes]
            states.append([keras.Input((size,), name=f"{layer.name}_{index}") for index, size in enumerate(sizes)])
        output, after = _apply_stack(own, hidden, states)
        outputs.append(output)
        starts += itertools.chain(*states)
        ends += after
    output = outputs[0]
    if len(outputs) > 1:
        output = network.get_layer(MEMBER_MEAN)(network.get_layer(MEMBER_SUM)(outputs))
    if "linear" in names:
        inputs = network.get_layer("regressors")([past, before]) if "regressors" in names else hidden
        output = network.get_layer("together")([output, network.get_layer("linear")(inputs)])
    future = network.get_layer("ordered")(network.get_layer("adding")([past, output]))
    return keras.Model([past, before, *starts], [future, *ends], name="stepper")


def _before(past: keras.KerasTensor, first: keras.KerasTensor) -> keras.KerasTensor:
    """Return the value before each step of `past`; `first` for the first one."""
    return ops.concatenate([first, past[:, :-1]], axis=1)


def _stack(config: Snp, outputs: int, prefix: str) -> list[keras.Layer]:
    """Build the layers of a member between the `reading` and `adding` stages; their names begin with its prefix."""
    stack: list[keras.Layer] = []
    for part in ("encoder", "decoder"):
        for number in range(1, config.layers + 1):
            stack.append(recurrent_layer(config, f"{prefix}{part}_{number}", states=True, decoder=part == "decoder"))
            if config.dropout:
                stack.append(layers.Dropout(config.dropout, name=f"{prefix}{part}_{number}_dropout"))
    change = config.target == "change"
    output = (
        layers.Dense(outputs, kernel_initializer="zeros", name=f"{prefix}relative_change")
        if change
        else layers.Dense(outputs, name=f"{prefix}level")
    )
    return [*stack, output]


def _apply_stack(
    stack: Sequence[keras.Layer], hidden: keras.KerasTensor, states: Sequence[Sequence[keras.KerasTensor] | None]
) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Apply the layers in order; return their output and the final states of the recurrent layers."""
    ends: list[keras.KerasTensor] = []
    for layer, state in zip(stack, states, strict=True):
        if isinstance(layer, layers.RNN):
            hidden, *end = layer(hidden, initial_state=state)
            ends.extend(end)
        else:
            hidden = layer(hidden)
    return hidden, ends


def _relative_inputs(config: Snp, typical: float) -> keras.Model:
    """Build the submodel from `[past, before]` to the recurrent layers' inputs.

    The inputs do not depend on the price level: the change of the first price, the other prices of the day relative to
    it, and the change of the volume.
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
    joined = ops.concatenate(read, axis=-1) if len(read) > 1 else read[0]
    return keras.Model(inputs, layers.Rescaling(1 / typical, name="relative")(joined), name="reading")


def _regressors(config: Snp, typical: float, days: int) -> keras.Model:
    """Build the submodel from `[past, before]` to the inputs of the link at each step.

    `before` holds the days before the first of `past`, as many as the link reads in addition. See
    `lstm_ae.forecasting.baselines.regressors` for the inputs.
    """
    fields = config.fields
    past = keras.Input((None, len(fields)), name="past")
    before = keras.Input((max(days, 2) - 1, len(fields)), name="before")
    inputs = [past, before]
    rows = ops.concatenate([before, past], axis=1)
    base = [past[..., :1]] * len(fields)
    if "volume" in fields:
        base[-1] = past[..., -1:]
    last = ops.concatenate(base, axis=-1) if len(base) > 1 else base[0]
    first = before.shape[1] + 1 - days
    read = [rows[:, first + day : day + 1 - days or None] - last for day in range(days)]
    joined = ops.concatenate(read, axis=-1) if len(read) > 1 else read[0]
    return keras.Model(inputs, layers.Rescaling(1 / typical, name="relative")(joined), name="regressors")


def _add_change(config: Snp, typical: float) -> keras.Model:
    """Build the submodel from `[past, output]` of the layers to the scaled values of the next step."""
    features = len(config.fields)
    past = keras.Input((None, features), name="past")
    output = keras.Input((None, features), name="output")
    if config.target == "level":
        return keras.Model([past, output], layers.Identity(name="values")(output), name="adding")
    future = past + layers.Rescaling(typical, name="change")(output)
    return keras.Model([past, output], future, name="adding")


def _order_prices(config: Snp) -> keras.Model:
    """Build the submodel that makes the high the largest and the low the smallest price of each day.

    The price to model stays as it is, so that the other prices cannot move its forecast away from the baseline.
    """
    fields = config.fields
    values = keras.Input((None, len(fields)), name="unordered")
    prices = len(fields) - ("volume" in fields)
    if prices == 1:
        return keras.Model(values, layers.Identity(name="values")(values), name="ordered")
    bounded, modeled = values[..., :prices], values[..., :1]
    if fields[0] in ("high", "low"):
        bounded = (ops.minimum if fields[0] == "high" else ops.maximum)(bounded, modeled)
    high, low = (reduce(bounded, axis=-1, keepdims=True) for reduce in (ops.max, ops.min))
    columns = [
        {"high": high, "low": low}.get(field, bounded[..., index : index + 1])
        for index, field in enumerate(fields[:prices])
    ]
    if prices < len(fields):
        columns.append(values[..., prices:])
    return keras.Model(values, ops.concatenate(columns, axis=-1), name="ordered")
