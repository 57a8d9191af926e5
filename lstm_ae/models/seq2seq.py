"""The forecaster of anyone's own table: a window read by an encoder, and all steps of the horizon said by a decoder.

It says the whole horizon at once, so that an error of its first step is not carried into the last (the "direct"
strategy, Ben Taieb et al. 2012, "A review and comparison of strategies for multi-step ahead time series forecasting");
further ahead it reads its own forecast, a horizon at a time.

What its LSTM says is added to what a linear map of the window says, as one map for all features (Zeng et al. 2023, "Are
transformers effective for time series forecasting?", NLinear), and both to the last known value. The map can start as a
fitted regression, and the LSTM starts at zero: the untrained network is then the baseline that it has to beat.
"""

import math

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from lstm_ae.config import Series
from lstm_ae.models.compressor import WAVES
from lstm_ae.models.recurrent import decode, encode

Floats = NDArray[np.float32]


def seq2seq(
    config: Series,
    *,
    steps: int,
    horizon: int,
    features: int,
    missing: bool,
    regression: tuple[Floats, Floats] | None = None,
) -> keras.Model:
    """A network from `past` `(batch, steps, features)` to `future` `(batch, horizon, features)`, in scaled values.

    Args:
        missing: whether values may be missing, NaN: the network is then told which.
        regression: weights `(last steps, horizon)` and bias `(horizon,)` that the linear map starts from, of values
            relative to the last known one; None to start from that value.
    """
    past = keras.Input((steps, features), name="past")
    absent = ops.isnan(past)
    there = ops.cast(ops.logical_not(absent), "float32")
    filled = ops.where(absent, ops.zeros_like(past), past)
    # The place of the last value that is there: nothing there after it. A feature without any counts as 0.
    after = ops.flip(ops.cumsum(ops.flip(there, axis=1), axis=1), axis=1)
    last = ops.sum(filled * there * ops.cast(ops.equal(after, 1), "float32"), axis=1, keepdims=True)
    relative = (filled - last) * there
    read = ops.concatenate([relative, 1 - there], axis=2) if missing else relative

    hidden = encode(config, read, sequences=True, bidirectional=config.bidirectional)
    # The mean knows all steps alike, the last state the latest best.
    whole = ops.concatenate([ops.mean(hidden, axis=1), hidden[:, -1]], axis=1)
    repeated = layers.RepeatVector(horizon, name="repeat")(whole)
    # As many rows as there are windows, made of nothing but their own shape.
    ones = ops.sum(ops.zeros_like(repeated), axis=2, keepdims=True) + 1
    place = ops.cumsum(ones, axis=1) * (2 * math.pi / horizon)
    waves = [wave(place * number) for number in WAVES for wave in (ops.sin, ops.cos)]
    said = decode(config, ops.concatenate([repeated, *waves], axis=2))
    said = layers.Dense(features, kernel_initializer="zeros", name="said")(said)

    linear = layers.Dense(horizon, kernel_initializer="zeros", name="linear")
    mapped = ops.transpose(linear(ops.transpose(relative, (0, 2, 1))), (0, 2, 1))
    if regression is not None:
        weights, bias = regression
        linear.set_weights([np.concatenate([np.zeros((steps - len(weights), horizon)), weights]), bias])
    future = layers.Identity(name="future")(last + (mapped + said))
    return keras.Model({"past": past}, {"future": future}, name="network")
