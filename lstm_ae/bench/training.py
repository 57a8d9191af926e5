"""Benchmark of the training of an autoencoder by this package and by stock Keras.

The network has an encoder, a decoder, and a dense output; the optimizer is Adam with clipping by the global norm. This
package does everything that `lstmae toy train` does: cutting, shuffling, metrics, and a checkpoint after every epoch.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Float32Array
from lstm_ae.bench.runner import Contestant, Lap
from lstm_ae.config import Toy
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split

RATE, CLIP = 0.01, 1.0


class Shape(NamedTuple):
    """Size of a training.

    Args:
        units: hidden units.
        steps: steps of a sequence.
        features: values of a step.
        batch: batch size.
    """

    units: int
    steps: int
    features: int
    batch: int = 128

    @property
    def laps(self) -> int:
        """Training steps of a lap: a few seconds of stock Keras, and at most an epoch of the toy study."""
        return max(3, min(281, 225_000 // (self.steps * max(16, self.units)) * 128 // self.batch))


def contestants(shape: Shape, rounds: int) -> dict[str, Contestant]:
    """Return the benchmarked implementations.

    Args:
        shape: the size of the training.
        rounds: number of measured laps.
    """
    return {"keras": functools.partial(_keras, shape, rounds), "ours": functools.partial(_ours, shape, rounds)}


def make_sequences(shape: Shape) -> Float32Array:
    """Return noise, because the speed does not depend on the values.

    Args:
        shape: the size of the training.

    Returns:
        `(samples, steps, features)` float32, the samples of a lap.
    """
    return np.random.default_rng(0).random((shape.laps * shape.batch, shape.steps, shape.features), np.float32)


def train_ours(shape: Shape, values: Float32Array, laps: int, lap: Lap, **others: Any) -> None:
    """Train with this package.

    Args:
        shape: the size of the training.
        values: `(samples, steps, features)` training data.
        laps: number of epochs.
        lap: called after each epoch.
        others: further options of the config.
    """
    from lstm_ae.models.autoencoder import autoencoder
    from lstm_ae.training.loop import fit
    from lstm_ae.training.observer import ProgressObserver

    network_options = {"units": shape.units, "learning_rate": RATE, "clip": CLIP, "schedule": "constant"}
    config = Toy(batch_size=shape.batch, epochs=laps, patience=0).with_values(network_options | others)

    def split(part: Float32Array) -> Split:
        return Split(part.reshape(-1, shape.features), np.arange(len(part)) * shape.steps, shape.steps)

    data = Data(split(values), split(values[:16]), split(values[:16]), fixed_scale(), Source("noise", "", ""))
    network = autoencoder(config, steps=shape.steps, features=shape.features)
    with tempfile.TemporaryDirectory() as folder:
        observer = ProgressObserver(lambda progress: lap() if progress.finished and progress.epoch else None)
        fit(network, data, config, state=Path(folder) / "state.npz", identity={}, observer=observer)


def _ours(shape: Shape, rounds: int, lap: Lap) -> None:
    train_ours(shape, make_sequences(shape), rounds + 1, lap)


def _keras(shape: Shape, rounds: int, lap: Lap) -> None:
    """Train as in Keras' examples: `compile`, `fit`, and a shuffled `tf.data.Dataset`."""
    import keras
    import tensorflow as tf

    values = make_sequences(shape)
    inputs = keras.Input((shape.steps, shape.features))
    hidden = keras.layers.LSTM(shape.units, return_sequences=True)(inputs)
    hidden = keras.layers.LSTM(shape.units, return_sequences=True)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(shape.features)(hidden))
    model.compile(keras.optimizers.Adam(RATE, global_clipnorm=CLIP), "mse", jit_compile=False)
    dataset = tf.data.Dataset.from_tensor_slices((values, values)).shuffle(len(values)).batch(shape.batch).prefetch(2)
    laps = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: lap())
    model.fit(dataset, epochs=rounds + 1, shuffle=False, verbose=0, callbacks=[laps])
