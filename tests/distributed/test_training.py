"""Workers of a data-parallel training on a cluster: their parts, their deaths, and their replacement.

The cluster is a stand-in; tests/slow/test_ray_training.py uses Ray.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lstm_ae.distributed import training
from lstm_ae.distributed.training import RayWorkers
from lstm_ae.errors import LstmAeError
from lstm_ae.training.steps import PartGradients, StepState


class LostError(Exception):
    """Loss of an actor."""


class Cluster:
    """Stand-in for `RayCluster`. A reference is a function that returns the result.

    Args:
        cores: cores of the cluster.
        deaths: numbers of the requests that kill their actor, counted over starts and computations.
        full: seconds in which no core is free.
    """

    losses = (LostError,)

    def __init__(self, cores: int, deaths: set[int], full: int = 0) -> None:
        self.cores, self.deaths, self.full = cores, deaths, full
        self.actors: list[Actor] = []
        self.killed: list[Any] = []
        self.requests, self.shares = 0, list[float]()
        self.ray = SimpleNamespace(put=lambda value: value, remote=lambda kind: self, kill=self.killed.append)

    def options(self, *, num_cpus: float) -> Any:
        self.shares.append(num_cpus)
        return SimpleNamespace(remote=lambda task: Actor(self))

    def call(self, request: Any) -> Any:
        return request()

    def wait(self, references: list[Any], timeout: float) -> list[Any]:
        assert timeout == 1
        if self.full:
            self.full -= 1
            return []
        return references[-1:]  # the latest request is the first to end

    def get(self, reference: Any) -> Any:
        return reference()

    def request(self, answer: Any) -> Any:
        number, self.requests = self.requests, self.requests + 1

        def result() -> Any:
            if number in self.deaths:
                raise LostError("The actor died unexpectedly")
            return answer

        return result


class Actor:
    """Stand-in for an actor."""

    def __init__(self, cluster: Cluster) -> None:
        self.parts: list[list[int]] = []
        self.ready = SimpleNamespace(remote=lambda: cluster.request(None))

        def compute(state: StepState, parts: list[int]) -> Any:
            self.parts.append(parts)
            return cluster.request([PartGradients(part, [], np.float32([part]), []) for part in parts])

        self.compute = SimpleNamespace(remote=compute)
        cluster.actors.append(self)


def workers_of(cluster: Cluster, count: int, messages: list[str]) -> RayWorkers:
    made: Any = cluster
    task: Any = ()
    return RayWorkers(made, count, task, messages.append)


def step_of(workers: RayWorkers, number: int, parts: int) -> list[int]:
    return [each.part for each in workers.compute(StepState(number, np.arange(4), [], []), parts)]


def test_parts_are_divided_among_the_workers_and_returned_in_order() -> None:
    cluster = Cluster(2, set())
    workers = workers_of(cluster, 2, [])
    assert step_of(workers, 0, 5) == [0, 1, 2, 3, 4]  # the second worker is still starting
    assert step_of(workers, 1, 5) == [0, 1, 2, 3, 4]
    assert sorted(part for actor in cluster.actors for part in actor.parts[-1]) == [0, 1, 2, 3, 4]
    assert sorted(len(actor.parts[-1]) for actor in cluster.actors) == [2, 3]
    workers.stop()
    assert len(cluster.killed) == 2


@pytest.mark.parametrize(("count", "cores", "share"), [(1, 2, 1), (2, 2, 1), (3, 2, 0.5), (4, 2, 0.5), (5, 2, 1 / 3)])
def test_workers_share_the_cores_equally(count: int, cores: int, share: float) -> None:
    cluster = Cluster(cores, set())
    workers_of(cluster, count, [])
    assert cluster.shares == [share]


def test_dead_worker_is_replaced_and_others_compute_its_parts() -> None:
    # Requests 0 and 1 are the starts, and the following ones the computations.
    cluster, messages = Cluster(2, {4}), list[str]()
    workers = workers_of(cluster, 2, messages)
    for number in range(4):
        assert step_of(workers, number, 4) == [0, 1, 2, 3]
    assert len(cluster.actors) == 3
    assert len(cluster.killed) == 1
    (message,) = messages
    assert message.startswith("a worker died in step ")
    assert message.endswith("(it was killed or ran out of memory) and is replaced; training continues with 1 worker")


def test_training_ends_if_workers_die_without_completing_a_step() -> None:
    cluster, messages = Cluster(2, set(range(1000))), list[str]()
    workers = workers_of(cluster, 2, messages)
    with pytest.raises(LstmAeError, match="6 workers died in a row without completing a training step; the last one"):
        step_of(workers, 0, 2)
    assert len(messages) == 2 * training.MAX_LOSSES - 1
    assert messages[0].startswith("a worker died when it started (it was killed or ran out of memory)")


@pytest.mark.parametrize(("seconds", "said"), [(19, 0), (20, 1), (100, 1)])
def test_training_says_that_it_waits_for_a_core(seconds: int, said: int) -> None:
    messages = list[str]()
    workers = workers_of(Cluster(1, set(), seconds), 1, messages)
    assert step_of(workers, 0, 2) == [0, 1]
    assert step_of(workers, 1, 2) == [0, 1]
    text = "no worker has started for 20 s: other programs may use all cores of the cluster; still waiting"
    assert messages == [text] * said
