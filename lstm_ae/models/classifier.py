"""Classifiers that also reconstruct: the report's four variants and a head on the shared code.

| name                   | report | input of the class head                                        |
|------------------------|--------|----------------------------------------------------------------|
| linear-on-input        | V1     | the input, linearly; independent of the autoencoder            |
| head-on-reconstruction | V2     | the reconstruction of the shared autoencoder, linearly         |
| two-autoencoders       | V3     | the output of a second autoencoder, linearly                   |
| two-autoencoders-mlp   | V4     | the output of a second autoencoder, through a hidden layer     |
| head-on-code           | -      | the code of the shared encoder: last state or mean of all      |

For sequences of hundreds of steps, head-on-code can read a second LSTM over every n-th state of the encoder
(`config.every`), which shortens the path to the first step n times (El Hihi and Bengio 1995, "Hierarchical recurrent
neural networks for long-term dependencies").

The classifier for tables has no reconstruction: its head reads the mean and last state of the encoder. It can add its
evidence to that of a fitted baseline, the link, whose coefficients are weights of plain layers. The head's own weights
are zero at first, so that the untrained network is the baseline.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from lstm_ae.classification import convolutions
from lstm_ae.classification.baselines import ConvolutionRegression, LogisticRegression, WindowRegression
from lstm_ae.config import Mnist, Series
from lstm_ae.models.autoencoder import reconstruct
from lstm_ae.models.encoder import apply_dropout, fill_missing, pool_last, summarize
from lstm_ae.models.ensemble import average_members


def classifier(config: Mnist, *, steps: int, features: int, classes: int) -> keras.Model:
    """Build a network from `sequence` `(batch, steps, features)` to `reconstruction` of the same shape and `label`.

    Args:
        config: model variant, units, layers, dropout, and code.
        steps: length of the sequences.
        features: values per step.
        classes: number of classes.

    Returns:
        An untrained functional model named `network`; `label` holds class probabilities, `(batch, classes)`.
    """
    sequence = keras.Input((steps, features), name="sequence")
    reconstruction, code = reconstruct(config, sequence, steps=steps)
    if config.model == "linear-on-input":
        evidence = layers.Flatten(name="flat")(sequence)
    elif config.model == "head-on-reconstruction":
        evidence = layers.Flatten(name="flat")(reconstruction)
    elif config.model == "head-on-code":
        evidence = code if config.latent == "vector" else _pool_states(code, config)
    else:
        second, _ = reconstruct(config, sequence, steps=steps, name="class_features", prefix="class_")
        evidence = layers.Flatten(name="flat")(second)
        if config.model == "two-autoencoders-mlp":
            evidence = layers.Dense(config.head, activation="relu", name="head")(evidence)
            evidence = apply_dropout(config, evidence, "head")
    label = layers.Dense(classes, activation="softmax", name="label")(evidence)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction, "label": label}, name="network")


# Log odds of a class without training windows, whose probability is 0 in single precision.
NEVER = -200.0


def pooled_classifier(
    config: Series,
    *,
    steps: int,
    features: int,
    classes: int,
    missing: bool,
    fill: Sequence[float] = (),
    link: WindowRegression | None = None,
) -> keras.Model:
    """Build a network from scaled `sequence` `(batch, steps, features)` to class probabilities `label`.

    Args:
        config: units, layers, dropout, direction, and number of members.
        steps: length of the windows.
        features: values per step.
        classes: number of classes.
        missing: append a mask of missing values (NaN) to the inputs, see `fill_missing`.
        fill: `(features,)` values that replace missing ones; zeros if empty.
        link: the baseline that the network starts at; None for a network that starts at random.

    Returns:
        An untrained functional model named `network`; `label` is `(batch, classes)`.
    """
    sequence = keras.Input((steps, features), name="sequence")
    window = fill_missing(sequence, mark=missing, fill=fill)

    def head(prefix: str) -> keras.KerasTensor:
        summary = summarize(config, window.inputs, window.missing, prefix=prefix)
        if link is None:
            return layers.Dense(classes, activation="softmax", name=f"{prefix}label")(summary)
        return layers.Dense(classes, kernel_initializer="zeros", name=f"{prefix}residual")(summary)

    head_output = average_members(head, config.networks)
    if link is None:
        return keras.Model({"sequence": sequence}, {"label": head_output}, name="network")
    linear = layers.Dense(classes, trainable=False, name="link")
    evidence = linear(_link_inputs(link, sequence))
    linear.set_weights([link.weights, np.maximum(link.bias, NEVER)])
    label = layers.Softmax(name="label")(evidence + head_output)
    return keras.Model({"sequence": sequence}, {"label": label}, name="network")


def _link_inputs(link: WindowRegression, sequence: keras.KerasTensor) -> keras.KerasTensor:
    """Return the inputs of a fitted regression, `(batch, columns)`, for scaled windows; see `link.inputs`."""
    if isinstance(link, ConvolutionRegression):
        return _convolution_features(link.convolutions, sequence)
    window = fill_missing(sequence, mark=False)
    columns = [layers.Flatten(name="link_values")(window.values)]
    if isinstance(link, LogisticRegression) and link.missing:
        columns.append(layers.Flatten(name="link_missing")(ops.cast(window.missing, "float32")))
    return ops.concatenate(columns, axis=1) if len(columns) > 1 else columns[0]


def _convolution_features(drawn: convolutions.Convolutions, sequence: keras.KerasTensor) -> keras.KerasTensor:
    """Return the features of scaled windows, `(batch, features)`; see `Convolutions.features`."""
    scaled = layers.Rescaling(drawn.gains.tolist(), offset=drawn.offsets.tolist(), name="standardized")(sequence)
    scaled = ops.where(ops.isnan(scaled), ops.zeros_like(scaled), scaled * float(convolutions.RESOLUTION))
    largest = float(convolutions.RESOLUTION * convolutions.MAX_DEVIATIONS)
    whole = ops.round(ops.clip(scaled, -largest, largest))
    shares = []
    for dilation, weights, limits in zip(drawn.dilations, drawn.weights, drawn.limits, strict=True):
        layer = layers.Conv1D(
            weights.shape[-1],
            convolutions.LENGTH,
            padding="same",
            dilation_rate=int(dilation),
            use_bias=False,
            trainable=False,
            name=f"convolutions_{dilation}",
        )
        values = layer(whole)
        layer.set_weights([weights])
        for number, limit in enumerate(limits):
            above = layers.Rescaling(1.0, offset=(-limit).tolist(), name=f"above_{dilation}_{number}")(values)
            shares.append(ops.mean(ops.cast(ops.greater(above, 0.0), "float32"), axis=1))
    return (ops.concatenate(shares, axis=1) - convolutions.CENTER) * convolutions.GAIN


def _pool_states(states: keras.KerasTensor, config: Mnist) -> keras.KerasTensor:
    """Pool the recurrent states `(batch, steps, n)` into the head's input, `(batch, n or 2 n)`."""
    if config.every > 1:
        # Counted back from the last state, which summarizes the whole sequence.
        states = states[:, (states.shape[1] - 1) % config.every :: config.every]
        layer = layers.LSTM(config.units, return_sequences=True, name="upper")
        states = layers.Bidirectional(layer, name="upper_both")(states) if config.bidirectional else layer(states)
    pooled = []
    if config.pool in ("last", "both"):
        pooled.append(pool_last(config, states))
    if config.pool in ("mean", "both"):
        pooled.append(layers.GlobalAveragePooling1D(name="mean_state")(states))
    return ops.concatenate(pooled, axis=1) if len(pooled) > 1 else pooled[0]
