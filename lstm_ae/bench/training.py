"""Benchmark of the training of an autoencoder by this package, by stock Keras, and by PyTorch.

The network has an encoder, a decoder, and a dense output; the optimizer is Adam with clipping by the global norm. This
package does everything that `lstmae toy train` does: cutting, shuffling, metrics, callbacks, and a checkpoint after
every epoch.
"""

import functools
import importlib.util
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Float32Array
from lstm_ae.bench.runner import Contestant, Lap
from lstm_ae.config import Toy
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split

if TYPE_CHECKING:
    from lstm_ae.training.loop import StartWorkers


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

    def operations(self) -> float:
        """Return the floating-point operations of the matrix products of a training step.

        The backward pass has twice the operations of the forward pass.
        """
        u, f = self.units, self.features
        row = (f + u) * 4 * u + (u + u) * 4 * u + u * f
        return 3 * 2 * row * self.batch * self.steps


SHAPES = (Shape(16, 50, 1), Shape(8, 28, 28), Shape(32, 28, 28), Shape(16, 784, 1), Shape(128, 784, 1))
RATE, CLIP = 0.01, 1.0


def contestants(shape: Shape, rounds: int) -> dict[str, Contestant]:
    """Return the benchmarked implementations: stock Keras, this package, and PyTorch if it is installed.

    Args:
        shape: the size of the training.
        rounds: number of measured laps.
    """
    implementations: dict[str, Contestant] = {
        "keras": functools.partial(_keras, shape, rounds),
        "ours": functools.partial(_ours, shape, rounds),
    }
    if importlib.util.find_spec("torch"):
        for threads in sorted({1, os.cpu_count() or 1}):
            implementations[f"torch-{threads}"] = functools.partial(_torch, shape, rounds, threads)
    return implementations


def make_sequences(shape: Shape, samples: int | None = None) -> Float32Array:
    """Return noise, because the speed does not depend on the values.

    Args:
        shape: the size of the training.
        samples: number of samples; None for those of a lap.

    Returns:
        `(samples, steps, features)` float32.
    """
    samples = samples or shape.laps * shape.batch
    return np.random.default_rng(0).random((samples, shape.steps, shape.features), np.float32)


def make_config(shape: Shape, epochs: int, **others: Any) -> Toy:
    """Return the config of this package for a size."""
    return Toy(
        units=shape.units,
        batch_size=shape.batch,
        epochs=epochs,
        learning_rate=RATE,
        clip=CLIP,
        schedule="constant",
        patience=0,
        **others,
    )


def train_ours(
    shape: Shape,
    values: Float32Array,
    laps: int,
    lap: Lap,
    *,
    workers: "StartWorkers | None" = None,
    **others: Any,
) -> None:
    """Train with this package.

    Args:
        shape: the size of the training.
        values: `(samples, steps, features)` training data.
        laps: number of epochs.
        lap: called after each epoch.
        workers: see `lstm_ae.training.loop.fit`.
        others: further options of the config.
    """
    from lstm_ae.models.autoencoder import autoencoder
    from lstm_ae.training.loop import fit
    from lstm_ae.training.observer import ProgressObserver

    config = make_config(shape, laps, **others)

    def split(part: Float32Array) -> Split:
        return Split(part.reshape(-1, shape.features), np.arange(len(part)) * shape.steps, shape.steps)

    data = Data(split(values), split(values[:16]), split(values[:16]), fixed_scale(), Source("noise", "", ""))
    network = autoencoder(config, steps=shape.steps, features=shape.features)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            network,
            data,
            config,
            state=Path(folder) / "state.npz",
            identity={},
            observer=ProgressObserver(lambda progress: lap() if progress.finished and progress.epoch else None),
            workers=workers,
        )


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


def _torch(shape: Shape, rounds: int, threads: int, lap: Lap) -> None:
    """Train as in PyTorch's examples, with the data in memory."""
    import torch

    class Autoencoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = torch.nn.LSTM(shape.features, shape.units, batch_first=True)
            self.decoder = torch.nn.LSTM(shape.units, shape.units, batch_first=True)
            self.output = torch.nn.Linear(shape.units, shape.features)

        def forward(self, sequence: "torch.Tensor") -> "torch.Tensor":
            return self.output(self.decoder(self.encoder(sequence)[0])[0])

    torch.set_num_threads(threads)
    model, data = Autoencoder(), torch.from_numpy(make_sequences(shape))
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(rounds + 1):
        for index in torch.randperm(len(data)).split(shape.batch):
            batch = data[index]
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(batch), batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        lap()


def measure_peak_flops(seconds: float = 1.0) -> float:
    """Return the floating-point operations per second of the fastest matrix product on all cores.

    Args:
        seconds: duration of the measurement.
    """
    import tensorflow as tf

    size = 1024
    left = tf.random.normal((size, size))
    run = tf.function(lambda: tf.matmul(left, left))
    run()
    end, best = time.perf_counter() + seconds, np.inf
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return float(2 * size**3 / best)


def profile_step(shape: Shape, repeats: int = 100) -> dict[str, float]:
    """Measure the parts of a training step.

    Each part is a separate graph with one call per step, whereas a training has many steps per call.

    Args:
        shape: the size of the training.
        repeats: number of measurements.

    Returns:
        Median milliseconds that each part adds to the previous ones.
    """
    import keras
    import tensorflow as tf

    from lstm_ae.kernels.choice import accelerate
    from lstm_ae.models.autoencoder import autoencoder
    from lstm_ae.training.batches import Batches
    from lstm_ae.training.steps import TrainingSteps

    values = make_sequences(shape)[: 4 * shape.batch]
    split = Split(values.reshape(-1, shape.features), np.arange(len(values)) * shape.steps, shape.steps)
    config = make_config(shape, 1)
    data = Data(split, split, split, fixed_scale(), Source("noise", "", ""))
    network = autoencoder(config, steps=shape.steps, features=shape.features)
    optimizer = keras.optimizers.Adam(RATE, global_clipnorm=CLIP)
    optimizer.build(network.trainable_variables)
    steps = TrainingSteps(
        network, optimizer, data, batch_size=shape.batch, parts=config.parts, reconstruction_weight=1.0
    )
    feed, index = Batches(split, fixed_scale(), network), tf.range(shape.batch, dtype=tf.int64)

    def update(variables: "list[keras.Variable]") -> "tf.Tensor":
        optimizer.apply([variable.value * 1e-3 for variable in variables], variables)
        return index

    stages: dict[str, Callable[[], object]] = {
        "call": lambda: index + 1,
        "cut": lambda: feed.cut(index),
        "forward": lambda: steps.measure(feed, index, training=True),
        "backward": lambda: steps.gradients(index)[0],
        "update": lambda: update(network.trainable_variables),
    }
    with accelerate(network, config.kernel):
        graphs = {name: tf.function(stage) for name, stage in stages.items()}
        for graph in graphs.values():
            graph()
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(repeats):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph()
            times[name].append(time.perf_counter() - start)
    medians = {name: 1000 * float(np.median(seconds)) for name, seconds in times.items()}
    return {
        "call a graph": medians["call"],
        "cut the batch": medians["cut"] - medians["call"],
        "forward": medians["forward"] - medians["cut"],
        "backward": medians["backward"] - medians["forward"],
        "clip and update": medians["update"] - medians["call"],
    }


def measure_laps(shape: Shape, rounds: int, samples: int | None = None) -> list[float]:
    """Measure the laps of this package without the first one, which is a warm-up.

    Args:
        shape: the size of the training.
        rounds: number of measured laps.
        samples: samples of a lap; None for the default.

    Returns:
        Seconds of each lap.
    """
    ends = [time.perf_counter()]
    train_ours(shape, make_sequences(shape, samples), rounds + 1, lambda: ends.append(time.perf_counter()))
    return [end - begin for begin, end in itertools.pairwise(ends)][1:]
