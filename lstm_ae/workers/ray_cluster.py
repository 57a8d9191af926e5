"""Connection to a Ray cluster, and executor of jobs in its actors. Files are on a disk that all machines share.

Ray is the extra `[ray]` and is imported only here.
"""

import contextlib
import io
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lstm_ae.workers.clusters import ClusterLostError, first_line, import_package, require_reachable
from lstm_ae.workers.jobs import Job, LostJob, Outcome, Report, Work, ignore_progress

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle


# In messages.
NAME = "a Ray cluster"

# Number of consecutive failed connections to the head after which the cluster counts as lost.
MAX_FAILED_CHECKS = 3


Result = TypeVar("Result")


class RayCluster:
    """Connection of this process to a Ray cluster.

    Args:
        address: address for `ray.init`; None starts a cluster on this machine.

    Raises:
        ClusterLostError: there is no cluster at the address, or Ray is not installed.
    """

    def __init__(self, address: str | None) -> None:
        self.ray = import_ray()
        self.muted = contextlib.ExitStack()
        if address and ":" in address:
            require_reachable(address, NAME)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            # Ray prints advice and the logs of dead processes to stdout.
            self.muted.enter_context(contextlib.redirect_stdout(io.StringIO()))
            self.ray.init(
                address=address or "local",
                include_dashboard=False if address is None else None,
                logging_level="ERROR",
                log_to_driver=False,
                configure_logging=False,
            )
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            self.muted.close()
            raise ClusterLostError(f"Cannot reach {NAME} at {address!r} ({first_line(error)})") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray's handler ends the process without a message.
        self.cores = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        self.head, self.failed_checks = str(self.ray.get_runtime_context().gcs_address), 0
        # A lost machine takes its actors and the results that it stored with it.
        self.losses = (self.ray.exceptions.RayActorError, self.ray.exceptions.ObjectLostError)

    def wait(self, references: "list[ObjectRef[Any]]", timeout: float) -> "list[ObjectRef[Any]]":
        """Wait until at least one result is ready and return the references of the ready ones.

        Args:
            references: references of results.
            timeout: longest time to wait, in seconds.

        Raises:
            ClusterLostError: the head of the cluster does not answer; Ray would end this process after a minute.
        """
        ready, _ = self.call(lambda: self.ray.wait(references, timeout=timeout))
        if not ready:
            self._check_head()
        return list(ready)

    def get(self, reference: "ObjectRef[Result]") -> "Result":
        """Return a result.

        Raises:
            ClusterLostError: the actor died with the whole cluster.
            Exception: the exception of the actor; one of `losses` if the actor died.
        """
        try:
            result: Result = self.call(lambda: self.ray.get(reference))
        except self.losses as error:
            # Without its cluster, Ray would end this process at one of the next requests.
            if not _is_reachable(self.head):
                raise ClusterLostError(f"The Ray cluster is lost: no answer from {self.head}") from error
            raise
        return result

    def call(self, request: Callable[[], Result]) -> Result:
        """Return the result of a request to the cluster; an exception of an actor is raised unchanged."""
        try:
            return request()
        except self.losses:
            raise
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (self.ray.exceptions.RayError, ConnectionError, RuntimeError, SystemError) as error:
            raise ClusterLostError(f"The Ray cluster is lost ({type(error).__name__})") from error

    def _check_head(self) -> None:
        self.failed_checks = 0 if _is_reachable(self.head) else self.failed_checks + 1
        if self.failed_checks == MAX_FAILED_CHECKS:
            raise ClusterLostError(f"The Ray cluster is lost: no answer from {self.head}")

    def stop(self) -> None:
        """End all actors of this process, and the cluster if this process started it."""
        try:
            self.ray.shutdown()
        finally:
            self.muted.close()


class RayPool(Generic[Job, Outcome]):
    """Executor that runs jobs in actors of a Ray cluster, each on one core.

    Args:
        work: what the jobs have in common; sent to the cluster once.
        slots: jobs at once, at most one per core of the cluster; None for one per core.
        address: address for `ray.init`; None starts a cluster on this machine.
        report: called with the progress of each job.

    Raises:
        ClusterLostError: there is no cluster at the address, or Ray is not installed.
    """

    def __init__(
        self, work: Work[Job, Outcome], slots: int | None, address: str | None, report: Report = ignore_progress
    ) -> None:
        self.cluster, self.report = RayCluster(address), report
        self.ray = self.cluster.ray
        self.slots = self.processes = min(slots or self.cluster.cores, self.cluster.cores)
        self.work = self.ray.put(work)
        self.kind = self.ray.remote(JobActor)
        self.free: list[ActorHandle[Any]] = []
        # The actor and the job of each running job, by Ray's reference to its result.
        self.running: dict[ObjectRef[Outcome], tuple[ActorHandle[Any], Job]] = {}

    def start(self, job: Job) -> None:
        """Send a job to an idle actor or to a new one."""
        # Ray does not restart an actor whose process dies, so its job is reported as lost.
        actor = self.free.pop() if self.free else self.kind.options(num_cpus=1, max_concurrency=2).remote(self.work)
        self.running[actor.run.remote(job)] = (actor, job)

    def wait(self, timeout: float | None) -> list[Outcome | LostJob]:
        """Wait until a job or its actor ends."""
        end = None if timeout is None else time.monotonic() + timeout
        # An idle actor holds a core that a pending actor may need after the loss of a machine.
        while self.free:
            self.ray.kill(self.free.pop())
        while self.running:
            left = 1.0 if end is None else min(1.0, end - time.monotonic())
            if left <= 0:
                return []
            ready = self.cluster.wait(list(self.running), left)
            if ready:
                return [self._collect(each) for each in ready]
            self._report_progress()
        return []

    def stop(self) -> None:
        """Stop all actors, and the cluster if this process started it."""
        self.running.clear()
        self.cluster.stop()

    def _collect(self, reference: "ObjectRef[Outcome]") -> Outcome | LostJob:
        actor, job = self.running.pop(reference)
        try:
            outcome: Outcome = self.cluster.get(reference)
        except self.cluster.losses as error:
            return LostJob(job.number, describe_actor_error(error))
        self.free.append(actor)
        return outcome

    def _report_progress(self) -> None:
        """Request the progress of the actors and pass it to `report`."""
        references = [actor.step.remote() for actor, _ in self.running.values()]
        ready, _ = self.cluster.call(lambda: self.ray.wait(references, num_returns=len(references), timeout=1.0))
        for reference in ready:
            try:
                step = self.ray.get(reference)
            except self.ray.exceptions.RayActorError:
                continue
            if step:
                self.report(step)


class JobActor(Generic[Job, Outcome]):
    """Actor that runs jobs in a process of the cluster.

    Args:
        work: what the jobs have in common.
    """

    def __init__(self, work: Work[Job, Outcome]) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Only the process that started the command handles Ctrl-C.
        work.prepare(1)
        self.progress: object = None
        self.function = work.load(self._store)

    def run(self, job: Job) -> Outcome:
        """Run a job to its end and return its outcome."""
        return self.function(job)

    def step(self) -> object:
        """Return the last progress of the job; None before the first."""
        return self.progress

    def _store(self, progress: object) -> None:
        self.progress = progress


def require_cluster(address: str | None) -> None:
    """Raise early if no cluster can be used at an address, without a connection to it.

    Args:
        address: see `RayCluster`.

    Raises:
        ClusterLostError: nothing answers at the address, or Ray is not installed.
    """
    import_ray()
    if address and ":" in address:
        require_reachable(address, NAME)


def _is_reachable(address: str) -> bool:
    try:
        require_reachable(address, NAME)
    except ClusterLostError:
        return False
    return True


def describe_actor_error(error: Exception) -> str:
    """Describe how an actor was lost, as a clause about "it"."""
    text = " ".join(str(error).split())
    return "it was killed or ran out of memory" if "unexpectedly" in text else f"Ray says: {text[:120]}"


def import_ray() -> Any:
    """Return the module `ray`.

    Raises:
        ClusterLostError: it is not installed.
    """
    return import_package("ray", "Ray", "ray")
