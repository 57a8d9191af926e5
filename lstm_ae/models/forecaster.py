"""One-step and multi-horizon forecasters.

`step_forecaster` is the source report's sequence-to-sequence model for prices: two recurrent stacks that read the past
forward and forecast the next step at every position. It is causal, so the same weights serve three uses: the day after
every day of the window, the day after the window only, and a recursive rollout.

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

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers, ops

from lstm_ae.arrays import Array
from lstm_ae.config import Series, Snp
from lstm_ae.data.columns import Covariates
from lstm_ae.models.decoder import decode, repeat_with_position
from lstm_ae.models.encoder import apply_dropout, encode, summarize
from lstm_ae.models.ensemble import average_members
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
    features, change = len(config.fields), config.target == "change"
    past = keras.Input((None, features), name="past")
    hidden = past
    if change:
        hidden = layers.Rescaling(1 / typical, name="relative")(_relative_inputs(config, past))

    def build(prefix: str) -> keras.KerasTensor:
        encoded = encode(config, hidden, prefix=prefix)
        decoded = decode(config, encoded, prefix=prefix)
        decoded = apply_dropout(config, decoded, f"{prefix}decoder_{config.layers}")
        start = "zeros" if change else "glorot_uniform"
        name = "relative_change" if change else "level"
        return layers.Dense(features, kernel_initializer=start, name=f"{prefix}{name}")(decoded)

    output = average_members(build, config.networks)
    if link is not None:
        weights, intercept = link
        linear = layers.Dense(features, name="linear")
        regressors = _regressors(config, past, len(weights) // features)
        read = layers.Rescaling(1 / typical, name="regressors")(regressors)
        output = layers.Add(name="together")([output, linear(read)])
        linear.set_weights([weights, intercept / typical])
    elif change:
        linear = layers.Dense(features, kernel_initializer="zeros", use_bias=False, name="linear")
        output = layers.Add(name="together")([output, linear(hidden)])
    if change:
        output = past + layers.Rescaling(typical, name="change")(output)
    future = _order_prices(config, output)
    if config.last_day_only:
        future = layers.Reshape((1, features), name="last_day")(future[:, -1])
    return keras.Model({"past": past}, {"future": layers.Identity(name="future")(future)}, name="network")


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
        repeated = repeat_with_position(summarize(config, sequence, prefix=prefix), horizon, prefix=prefix)
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
    correcting = [layer for layer in network.layers if layer.name in CORRECTING_LAYERS]
    return [variable for layer in correcting for variable in layer.trainable_variables]


def _relative_inputs(config: Snp, past: keras.KerasTensor) -> keras.KerasTensor:
    """Return values of each day that do not depend on the price level, `(batch, steps, features)`.

    They are the change of the first price, the other prices of the day relative to it, and the change of the volume.
    """
    prices = _count_prices(config)
    changes = past - ops.concatenate([past[:, :1], past[:, :-1]], axis=1)
    read = [changes[..., :1]]
    if prices > 1:
        read.append(past[..., 1:prices] - past[..., :1])
    if "volume" in config.fields:
        read.append(changes[..., prices:])
    return ops.concatenate(read, axis=-1)


def _regressors(config: Snp, past: keras.KerasTensor, days: int) -> keras.KerasTensor:
    """Return the inputs of the link at each step, see `lstm_ae.forecasting.baselines.regressors`."""
    prices = _count_prices(config)
    rows = ops.concatenate([past[:, :1]] * (days - 1) + [past], axis=1)
    last = [past[..., :1]] * prices
    if "volume" in config.fields:
        last.append(past[..., prices:])
    base = ops.concatenate(last, axis=-1)
    return ops.concatenate([rows[:, day : day + 1 - days or None] - base for day in range(days)], axis=-1)


def _order_prices(config: Snp, values: keras.KerasTensor) -> keras.KerasTensor:
    """Make the high the largest and the low the smallest price of each day.

    The price to model stays as it is, so that the other prices cannot move its forecast away from the baseline.
    """
    fields, prices = config.fields, _count_prices(config)
    if prices == 1:
        return values
    bounded = values[..., :prices]
    if fields[0] in ("high", "low"):
        bounded = (ops.minimum if fields[0] == "high" else ops.maximum)(bounded, values[..., :1])
    ends = {"high": ops.max(bounded, axis=-1, keepdims=True), "low": ops.min(bounded, axis=-1, keepdims=True)}
    columns = [ends.get(field, bounded[..., place : place + 1]) for place, field in enumerate(fields[:prices])]
    if "volume" in fields:
        columns.append(values[..., prices:])
    return ops.concatenate(columns, axis=-1)


def _count_prices(config: Snp) -> int:
    """Return the number of fields before the volume."""
    return len(config.fields) - ("volume" in config.fields)
