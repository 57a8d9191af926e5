"""Benchmark of a data-parallel training: one process, and workers of a Ray cluster on this machine."""

import functools
from typing import NamedTuple

from lstm_ae.bench.runner import Contestant, Lap
from lstm_ae.bench.training import Shape, make_config, make_sequences, train_ours
from lstm_ae.formatting import format_count

# Networks whose transfer times are computed, in bits per second.
NETWORKS = {"1 Gbit/s": 1e9, "10 Gbit/s": 1e10}


class Traffic(NamedTuple):
    """Bytes of a training step through the network of the process that trains, if no worker is on its machine.

    Args:
        sent: the weights, once per worker.
        received: the gradients, once per part of the batch.
    """

    sent: int
    received: int

    def milliseconds(self, bits_per_second: float) -> float:
        """Return the time of the transfer on a network that sends and receives at this rate, one after the other.

        >>> Traffic(sent=750_000, received=500_000).milliseconds(1e9)
        10.0
        """
        return 1000 * 8 * (self.sent + self.received) / bits_per_second


def contestants(shape: Shape, counts: list[int], rounds: int) -> dict[str, Contestant]:
    """Return a training in one process and one with each number of workers.

    All cut a batch into as many parts as the largest number of workers, so that all train the same model.

    Args:
        shape: the size of the training.
        counts: numbers of workers.
        rounds: number of measured laps.
    """
    trainings = {"one process": 0} | {format_count(count, "worker"): count for count in counts}
    return {name: functools.partial(_train, shape, max(counts), rounds, count) for name, count in trainings.items()}


def step_traffic(shape: Shape, workers: int, parts: int) -> Traffic:
    """Return the bytes of a training step.

    Args:
        shape: the size of the training.
        workers: number of workers.
        parts: number of parts of a batch.
    """
    from lstm_ae.models.autoencoder import autoencoder

    network = autoencoder(make_config(shape, 1), steps=shape.steps, features=shape.features)
    size = 4 * int(network.count_params())
    return Traffic(workers * size, parts * size)


def _train(shape: Shape, parts: int, rounds: int, workers: int, lap: Lap) -> None:
    values = make_sequences(shape)
    if not workers:
        train_ours(shape, values, rounds + 1, lap, parts=parts)
        return
    from lstm_ae.distributed.training import RayTraining

    with RayTraining(None, workers, lambda message: None) as cluster:
        train_ours(shape, values, rounds + 1, lap, workers=cluster, parts=parts)
