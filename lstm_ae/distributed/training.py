"""Data-parallel training on a Ray cluster: the gradients of a batch are computed by actors.

Ray is the extra `[ray]`. The data are stored in the cluster once. In each step the weights go to the actors and the
gradients come back; the process that trains keeps the weights, the optimizer, the validation, and the checkpoint.
"""

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lstm_ae.config import Config
from lstm_ae.data.windows import Data
from lstm_ae.errors import Code, LstmAeError
from lstm_ae.experiment import seed
from lstm_ae.formatting import format_count
from lstm_ae.workers.processes import import_tensorflow
from lstm_ae.workers.ray_cluster import RayCluster, describe_actor_error

if TYPE_CHECKING:
    import keras
    from ray import ObjectRef
    from ray.actor import ActorHandle

    from lstm_ae.training.steps import PartGradients, StepState

# Number of deaths per worker, without a completed step between them, after which the training ends.
MAX_LOSSES = 3

# Seconds without any worker after which a message says what the training waits for.
QUIET_SECONDS = 20


class RayTraining:
    """Trainings whose gradients are computed on a Ray cluster; the argument `workers` of `lstm_ae.experiment.train`.

    Args:
        address: address for `ray.init`; None starts a cluster on this machine.
        workers: number of workers; None for one per core of the cluster. More workers than cores share the cores.
        notify: called with a message when a worker dies, or none starts.

    Raises:
        ClusterLostError: there is no cluster at the address, or Ray is not installed.
    """

    def __init__(self, address: str | None, workers: int | None, notify: Callable[[str], None]) -> None:
        self.cluster, self.notify = RayCluster(address), notify
        self.workers = workers or self.cluster.cores

    def __enter__(self) -> "RayTraining":
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.stop()

    @contextmanager
    def __call__(self, network: "keras.Model", data: Data, config: Config) -> Iterator["RayWorkers"]:
        """Start the workers of one training; they end with the context."""
        # Workers need no data of other trainings.
        task = (network.to_json(), data._replace(separate=None), config)
        workers = RayWorkers(self.cluster, min(self.workers, config.parts), task, self.notify)
        try:
            yield workers
        finally:
            workers.stop()


class RayWorkers:
    """Actors that compute the gradients of batches.

    A dead actor is replaced. Until its replacement is ready, the others compute its parts.

    Args:
        cluster: the cluster.
        count: number of actors.
        task: arguments of `GradientActor`.
        notify: called with a message when an actor dies, or none starts.
    """

    def __init__(
        self, cluster: RayCluster, count: int, task: tuple[str, Data, Config], notify: Callable[[str], None]
    ) -> None:
        self.cluster, self.notify = cluster, notify
        self.task = cluster.ray.put(task)
        # Each core has room for the same number of actors, also if a machine has a single core.
        self.kind = cluster.ray.remote(GradientActor).options(num_cpus=1 / -(-count // cluster.cores))
        self.ready: list[ActorHandle[Any]] = []
        self.starting: dict[ObjectRef[None], ActorHandle[Any]] = {}
        self.count, self.losses = count, 0
        for _ in range(count):
            self._start()

    def compute(self, state: "StepState", parts: int) -> "list[PartGradients]":
        """Return the gradients of the parts of a batch, in their order; wait for a worker if there is none.

        Args:
            state: the training before the step.
            parts: number of parts.

        Raises:
            ClusterLostError: the cluster does not answer.
            LstmAeError: workers die one after another.
        """
        results: dict[int, PartGradients] = {}
        waited = 0
        waiting = deque(range(parts))
        # The actor and the parts of each running request, by Ray's reference to its result.
        running: dict[ObjectRef[list[PartGradients]], tuple[ActorHandle[Any], list[int]]] = {}
        stored = self.cluster.call(lambda: self.cluster.ray.put(state))
        while len(results) < parts:
            busy = [actor for actor, _ in running.values()]
            idle = [actor for actor in self.ready if actor not in busy]
            for number, actor in enumerate(idle):
                share = [waiting.popleft() for _ in range(-(-len(waiting) // (len(idle) - number)))]
                if share:
                    running[actor.compute.remote(stored, share)] = (actor, share)
            ended = self.cluster.wait([*running, *self.starting], 1.0)
            if not running and not ended:
                waited += 1
                if waited == QUIET_SECONDS:
                    self.notify(
                        f"no worker has started for {waited} s: other programs may use all cores of the cluster; "
                        "still waiting"
                    )
            for reference in ended:
                if reference in self.starting:
                    self._admit(reference)
                    continue
                actor, share = running.pop(reference)
                try:
                    results |= {each.part: each for each in self.cluster.get(reference)}
                except self.cluster.losses as error:
                    self.ready.remove(actor)
                    waiting.extend(share)
                    self._replace(actor, error, f" in step {state.step + 1:,}")
        self.losses = 0
        return [results[part] for part in range(parts)]

    def stop(self) -> None:
        """End the actors."""
        for actor in (*self.ready, *self.starting.values()):
            self.cluster.ray.kill(actor)

    def _start(self) -> None:
        actor = self.kind.remote(self.task)
        self.starting[actor.ready.remote()] = actor

    def _admit(self, reference: "ObjectRef[None]") -> None:
        """Let an actor whose start has ended compute, or replace it if it died."""
        actor = self.starting.pop(reference)
        try:
            self.cluster.get(reference)
        except self.cluster.losses as error:
            self._replace(actor, error, " when it started")
        else:
            self.ready.append(actor)

    def _replace(self, actor: "ActorHandle[Any]", error: Exception, when: str) -> None:
        how = describe_actor_error(error)
        self.losses += 1
        if self.losses == MAX_LOSSES * self.count:
            raise LstmAeError(
                f"{self.losses} workers died in a row without completing a training step; the last one: {how}. The "
                "state of the last completed epoch is saved. Remove the cause, such as too little memory, and resume",
                code=Code.SYSTEM,
            )
        self.cluster.ray.kill(actor)
        self._start()
        left = f"continues with {format_count(len(self.ready), 'worker')}" if self.ready else "waits for it"
        self.notify(f"a worker died{when} ({how}) and is replaced; training {left}")


class GradientActor:
    """Actor that computes gradients in a process of the cluster, on one core.

    Args:
        task: arguments of `GradientWorker`.
    """

    def __init__(self, task: tuple[str, Data, Config]) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Only the process that trains handles Ctrl-C.
        import_tensorflow(1)
        seed(task[2])  # This includes deterministic kernels.
        from lstm_ae.training.parallel import GradientWorker

        self.worker = GradientWorker(*task)

    def ready(self) -> None:
        """Return once the actor can compute."""

    def compute(self, state: "StepState", parts: Sequence[int]) -> "list[PartGradients]":
        """Return the gradients of parts of a batch, see `GradientWorker.compute`."""
        return self.worker.compute(state, parts)
