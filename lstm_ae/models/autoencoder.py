"""Autoencoders: encoder, code, decoder, and a dense layer that reconstructs every step.

`config.latent` selects how the encoder's states become the code:

- `steps`: the hidden state of every step, as in the source report. The code is not compressed, and the network can
  learn to copy its input.
- `vector`: the last state, repeated over time (Srivastava, Mansimov and Salakhutdinov 2015, "Unsupervised Learning of
  Video Representations using LSTMs"); the decoder can start from it (Cho et al. 2014, "Learning phrase representations
  using RNN encoder-decoder").

Tables use a third form, `pooled`: a dense layer of the mean and last state, repeated over time with the position.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

from lstm_ae.config import Series
from lstm_ae.config.base import ReconstructionConfig
from lstm_ae.models.decoder import decode, repeat_with_position
from lstm_ae.models.encoder import encode, fill_missing, pool_last, pool_mean


def autoencoder(config: ReconstructionConfig, *, steps: int, features: int) -> keras.Model:
    """Build a network from `sequence` to `reconstruction`, both `(batch, steps, features)`, in scaled values.

    Args:
        config: cell, units, layers, dropout, latent, code, and direction.
        steps: length of the sequences; only the latent `vector` depends on it.
        features: values per step.

    Returns:
        An untrained functional model named `network`.
    """
    sequence = keras.Input((steps if config.latent == "vector" else None, features), name="sequence")
    reconstruction, _ = reconstruct(config, sequence, steps=steps)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction}, name="network")


def pooled_autoencoder(
    config: Series, *, steps: int, features: int, missing: bool, fill: Sequence[float] = ()
) -> keras.Model:
    """Build an autoencoder for windows with missing values, with a `pooled` code.

    Args:
        config: cell, units, layers, dropout, code, and direction.
        steps: length of the windows.
        features: values per step.
        missing: append a mask of missing values (NaN) to the inputs, see `fill_missing`.
        fill: `(features,)` values that replace missing ones; zeros if empty.

    Returns:
        An untrained functional model named `network`, with the inputs and outputs of `autoencoder`.
    """
    sequence = keras.Input((steps, features), name="sequence")
    states = encode(
        config,
        fill_missing(sequence, mark=missing, fill=fill).inputs,
        sequences=True,
        bidirectional=config.bidirectional,
    )
    summary = ops.concatenate([pool_mean(states), pool_last(states, bidirectional=config.bidirectional)], axis=1)
    code = layers.Identity(name="code")(layers.Dense(config.code, name="to_code")(summary))
    hidden = decode(config, repeat_with_position(code, steps))
    reconstruction = layers.Dense(features, name="reconstruction")(hidden)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction}, name="network")


def reconstruct(
    config: ReconstructionConfig,
    sequence: keras.KerasTensor,
    *,
    steps: int,
    name: str = "reconstruction",
    prefix: str = "",
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Apply encoder and decoder to `sequence`.

    Args:
        config: cell, units, layers, dropout, latent, code, and direction.
        sequence: `(batch, steps, features)` scaled values.
        steps: length of the sequences.
        name: name of the output layer.
        prefix: prefix of the names of all other layers.

    Returns:
        The reconstruction `(batch, steps, features)`, and the code: `(batch, n)` for `vector`, the hidden states
        `(batch, steps, n)` for `steps`.
    """
    vector = config.latent == "vector"
    code = encode(config, sequence, sequences=not vector, bidirectional=config.bidirectional, prefix=prefix)
    if config.code and config.code != code.shape[-1]:
        code = layers.Dense(config.code, name=f"{prefix}to_code")(code)
    code = layers.Identity(name=f"{prefix}code")(code)
    hidden = layers.RepeatVector(steps, name=f"{prefix}repeat")(code) if vector else code
    hidden = decode(config, hidden, start=code if config.decoder_start == "code" else None, prefix=prefix)
    # Plain Dense works on the last axis; TimeDistributed returns wrong shapes if the number of steps is unknown.
    return layers.Dense(sequence.shape[-1], name=name)(hidden), code
