"""Workers of a data-parallel training that compute in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Self

import keras
import numpy as np

from lstm_ae.config import Config
from lstm_ae.data.windows import Data
from lstm_ae.training.loop import StartWorkers
from lstm_ae.training.parallel import GradientWorker
from lstm_ae.training.steps import PartGradients, StepState


class InProcessWorkers:
    """Workers without other processes, which answer in another order in each step."""

    def __init__(self, count: int, *task: Any) -> None:
        self.workers = [GradientWorker(*task) for _ in range(count)]
        self.computed: list[tuple[int, list[int]]] = []

    def compute(self, state: StepState, parts: int) -> Sequence[PartGradients]:
        count = len(self.workers)
        shares = [list(range(parts))[number::count] for number in range(count)]
        order = np.random.default_rng(state.step).permutation(count)
        results = [each for number in order for each in self.workers[number].compute(state, shares[number])]
        self.computed += [(state.step, share) for share in shares]
        return sorted(results, key=lambda each: each.part)


def in_process(count: int, started: list[InProcessWorkers] | None = None) -> StartWorkers:
    @contextmanager
    def start(network: keras.Model, data: Data, config: Config) -> Iterator[InProcessWorkers]:
        workers = InProcessWorkers(count, network.to_json(), data, config)
        if started is not None:
            started.append(workers)
        yield workers

    return start


class InProcessTraining:
    """Stand-in for `lstm_ae.distributed.training.RayTraining`: its trainings have one worker, in this process."""

    def __init__(self, address: str | None, workers: int | None, notify: Any) -> None:
        self.workers, self.cluster = workers or 2, SimpleNamespace(cores=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, network: keras.Model, data: Data, config: Config) -> Any:
        return in_process(1)(network, data, config)
