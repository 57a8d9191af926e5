"""Autoencoders: encoder, code, decoder, and a dense layer that reconstructs every step.

`config.latent` selects how the encoder's states become the code:

- `steps`: the hidden state of every step, as in the source report. The code is not compressed, and the network can
  learn to copy its input.
- `vector`: the last state, repeated over time (Srivastava, Mansimov and Salakhutdinov 2015, "Unsupervised Learning of
  Video Representations using LSTMs"); the decoder can start from it (Cho et al. 2014, "Learning phrase representations
  using RNN encoder-decoder").

Tables use a third form, `pooled`: a dense layer of the mean and last state, repeated over time with the position. It
can start at principal components of the training windows, the link: a linear encoder, whose numbers are added to the
first ones of the code, and a linear decoder of these beside the recurrent decoder. Their weights are fixed, and those
of the recurrent parts that would change their output are zero at first, so that the untrained network reconstructs as
the principal components do.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

from lstm_ae.config import Series
from lstm_ae.config.base import ReconstructionConfig
from lstm_ae.detection.baselines import LinearAutoencoder
from lstm_ae.models.decoder import decode, repeat_with_position
from lstm_ae.models.encoder import encode, fill_missing, summarize
from lstm_ae.models.network import LINEAR_DECODER, LINEAR_ENCODER, LINEAR_LIMIT, RESIDUAL


def autoencoder(config: ReconstructionConfig, *, steps: int, features: int) -> keras.Model:
    """Build a network from `sequence` to `reconstruction`, both `(batch, steps, features)`, in scaled values.

    Args:
        config: units, layers, dropout, latent, code, and direction.
        steps: length of the sequences; only the latent `vector` depends on it.
        features: values per step.

    Returns:
        An untrained functional model named `network`.
    """
    sequence = keras.Input((steps if config.latent == "vector" else None, features), name="sequence")
    reconstruction, _ = reconstruct(config, sequence, steps=steps)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction}, name="network")


def pooled_autoencoder(
    config: Series,
    *,
    steps: int,
    features: int,
    missing: bool,
    fill: Sequence[float] = (),
    link: LinearAutoencoder | None = None,
) -> keras.Model:
    """Build an autoencoder for windows with missing values, with a `pooled` code.

    Args:
        config: units, layers, dropout, code, and direction.
        steps: length of the windows.
        features: values per step.
        missing: append a mask of missing values (NaN) to the inputs, see `fill_missing`.
        fill: `(features,)` values that replace missing ones; zeros if empty.
        link: the linear autoencoder that the network starts at, with a code of at most `config.code`; None for a random
            start.

    Returns:
        An untrained functional model named `network`, with the inputs and outputs of `autoencoder`.
    """
    sequence = keras.Input((steps, features), name="sequence")
    window = fill_missing(sequence, mark=missing, fill=fill)
    summary = summarize(config, window.inputs)
    if link is None:
        code = layers.Identity(name="code")(layers.Dense(config.code, name="to_code")(summary))
        hidden = decode(config, repeat_with_position(code, steps))
        reconstruction = layers.Dense(features, name="reconstruction")(hidden)
    else:
        to_code = layers.Dense(config.code, name="to_code")
        code, components = to_code(summary), len(link.decoder)
        linear = code[:, :components] + _linear_encoder(link, window.values, clipped=config.scale != "none")
        code = layers.Identity(name="code")(ops.concatenate([linear, code[:, components:]], axis=1))
        kernel, bias = to_code.get_weights()
        # The numbers that the linear decoder reads begin as those of the linear encoder.
        kernel[:, :components] = 0
        to_code.set_weights([kernel, bias])
        hidden = decode(config, repeat_with_position(code, steps))
        residual = layers.Dense(features, kernel_initializer="zeros", name=RESIDUAL)(hidden)
        # LiteRT cannot add windows of one column.
        values = layers.Flatten(name="residual_values")(residual) + _linear_decoder(link, code[:, :components])
        reconstruction = layers.Reshape((steps, features), name="reconstruction")(values)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction}, name="network")


def _linear_encoder(link: LinearAutoencoder, windows: keras.KerasTensor, *, clipped: bool) -> keras.KerasTensor:
    """Return the codes of scaled windows without missing values, `(batch, components)`.

    Args:
        link: the linear autoencoder.
        windows: `(batch, steps, features)`.
        clipped: whether to clip values at `LINEAR_LIMIT`, so that huge values have finite reconstructions.
    """
    layer = layers.Dense(link.encoder.shape[1], trainable=False, name=LINEAR_ENCODER)
    values = ops.clip(windows, -LINEAR_LIMIT, LINEAR_LIMIT) if clipped else windows
    code = layer(layers.Flatten(name="linear_values")(values))
    layer.set_weights([link.encoder, -link.mean.ravel() @ link.encoder])
    return code


def _linear_decoder(link: LinearAutoencoder, code: keras.KerasTensor) -> keras.KerasTensor:
    """Return the reconstructions of codes, `(batch, steps * features)`, in scaled values."""
    layer = layers.Dense(link.mean.size, trainable=False, name=LINEAR_DECODER)
    values = layer(code)
    layer.set_weights([link.decoder, link.mean.ravel()])
    return values


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
        config: units, layers, dropout, latent, code, and direction.
        sequence: `(batch, steps, features)` scaled values.
        steps: length of the sequences.
        name: name of the output layer.
        prefix: prefix of the names of all other layers.

    Returns:
        The reconstruction `(batch, steps, features)`, and the code: `(batch, n)` for `vector`, the hidden states
        `(batch, steps, n)` for `steps`.
    """
    vector = config.latent == "vector"
    code = encode(config, sequence, sequences=not vector, prefix=prefix)
    if config.code and config.code != code.shape[-1]:
        code = layers.Dense(config.code, name=f"{prefix}to_code")(code)
    code = layers.Identity(name=f"{prefix}code")(code)
    hidden = layers.RepeatVector(steps, name=f"{prefix}repeat")(code) if vector else code
    hidden = decode(config, hidden, start=code if config.decoder_start == "code" else None, prefix=prefix)
    # Plain Dense works on the last axis; TimeDistributed returns wrong shapes if the number of steps is unknown.
    return layers.Dense(sequence.shape[-1], name=name)(hidden), code
