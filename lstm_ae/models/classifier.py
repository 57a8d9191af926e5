"""Classifiers that reconstruct and classify at once: the report's four variants and a head on the shared code.

| name                   | report | the class head reads                                              |
|------------------------|--------|-------------------------------------------------------------------|
| linear-on-input        | V1     | the input itself, linearly; the autoencoder stands beside it      |
| head-on-reconstruction | V2     | the reconstruction of the one, shared autoencoder, linearly       |
| two-autoencoders       | V3     | the output of a second autoencoder, linearly                      |
| two-autoencoders-mlp   | V4     | the output of a second autoencoder, through a hidden dense layer  |
| head-on-code           | -      | the code of the shared encoder: its last state or the mean of all |

Over hundreds of steps head-on-code can read a second LSTM that sees every n-th state of the encoder (`config.every`):
the way back to the first step is then that many times shorter (El Hihi and Bengio 1995, "Hierarchical recurrent neural
networks for long-term dependencies").
"""

import keras
from keras import layers, ops

from lstm_ae.config import Mnist
from lstm_ae.models.autoencoder import reconstruct
from lstm_ae.models.recurrent import recurrent


def classifier(config: Mnist, *, steps: int, features: int, classes: int) -> keras.Model:
    """A network from `sequence` `(batch, steps, features)` to `reconstruction` of the same shape and `label`.

    `label` holds the probabilities of the classes, `(batch, classes)`.
    """
    sequence = keras.Input((steps, features), name="sequence")
    reconstruction, code = reconstruct(config, sequence, steps=steps)
    if config.model == "linear-on-input":
        evidence = layers.Flatten(name="flat")(sequence)
    elif config.model == "head-on-reconstruction":
        evidence = layers.Flatten(name="flat")(reconstruction)
    elif config.model == "head-on-code":
        evidence = code if config.latent == "vector" else _of_states(code, config)
    else:
        second, _ = reconstruct(config, sequence, steps=steps, name="class_features", prefix="class_")
        evidence = layers.Flatten(name="flat")(second)
        if config.model == "two-autoencoders-mlp":
            evidence = layers.Dense(config.head, activation="relu", name="head")(evidence)
            if config.dropout:
                evidence = layers.Dropout(config.dropout, name="head_dropout")(evidence)
    label = layers.Dense(classes, activation="softmax", name="label")(evidence)
    return keras.Model({"sequence": sequence}, {"reconstruction": reconstruction, "label": label}, name="network")


def _of_states(states: keras.KerasTensor, config: Mnist) -> keras.KerasTensor:
    """What the head reads of the recurrent states `(batch, steps, n)`, no place in time: `(batch, n or 2 n)`."""
    if config.every > 1:
        # Counted from the last one, which has seen all.
        states = states[:, (states.shape[1] - 1) % config.every :: config.every]
        layer = recurrent(config, "upper")
        states = layers.Bidirectional(layer, name="upper_both")(states) if config.bidirectional else layer(states)
    read = []
    if config.pool in ("last", "both"):
        read.append(_whole(states, config))
    if config.pool in ("mean", "both"):
        read.append(layers.GlobalAveragePooling1D(name="mean_state")(states))
    return ops.concatenate(read, axis=1) if len(read) > 1 else read[0]


def _whole(code: keras.KerasTensor, config: Mnist) -> keras.KerasTensor:
    """The states that have seen the whole sequence: the last one, and of a backward layer the first."""
    if not config.bidirectional:
        return code[:, -1]
    return ops.concatenate([code[:, -1, : config.units], code[:, 0, config.units :]], axis=1)
