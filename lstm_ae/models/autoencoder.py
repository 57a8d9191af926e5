"""The autoencoder: encoder LSTM, latent, decoder LSTM.

With the latent `steps` the decoder reads the encoder's hidden state of every step, as the source report's model does:
nothing is compressed, and the network can learn to copy. With `vector` it reads one code, repeated (Srivastava,
Mansimov and Salakhutdinov 2015, "Unsupervised Learning of Video Representations using LSTMs"), and can start from it
(Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder").
"""

import keras
from keras import layers

from lstm_ae.config.base import Reconstructing
from lstm_ae.models.recurrent import decode, encode


def autoencoder(config: Reconstructing, *, steps: int, features: int) -> keras.Model:
    """A network from `sequence` to `reconstruction`, both `(batch, steps, features)`, in scaled values.

    Args:
        config: cell, units, layers, dropout, latent, code and direction.
        steps: length of the sequences; only the latent `vector` is bound to it.
        features: numbers a step.
    """
    sequence = keras.Input((steps if config.latent == "vector" else None, features), name="sequence")
    reconstruction, _ = reconstruct(config, sequence, steps=steps)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction}, name="network")


def reconstruct(
    config: Reconstructing, sequence: keras.KerasTensor, *, steps: int, name: str = "reconstruction", prefix: str = ""
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Encoder and decoder applied to `sequence`.

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
    # Plain Dense works on the last axis; TimeDistributed returns wrong shapes when the number of steps is open.
    return layers.Dense(sequence.shape[-1], name=name)(hidden), code
