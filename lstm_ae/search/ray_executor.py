"""A Ray cluster that runs trials: an actor a slot, data in Ray's object store, training states on a shared disk.

Ray is the extra `[ray]`, imported here only.
"""

import contextlib
import io
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_ae.data.windows import Data
from lstm_ae.errors import LstmAeError
from lstm_ae.installation import install_hint
from lstm_ae.search.executors import Notify, prepare_worker
from lstm_ae.search.job import DataLoader, JobOutcome, JobProgress, LostJob, TrialJob, run_job

# Seconds without an answer of the head after which a cluster is gone.
GONE = 3


class ClusterLostError(LstmAeError):
    """The cluster cannot be reached, or is there no more; what was trained is on the disk."""


class RayExecutor:
    """Runs jobs on a Ray cluster.

    Args:
        address: as `ray.init` takes it; None starts a cluster on this machine.
        slots: trials at once, at most one a core of the cluster; None for as many.
        data: loaded already, by the key of its config; sent to the cluster once.
        notify: told how far each job is.

    Raises:
        ClusterGone: there is no cluster at the address, or Ray is not installed.
    """

    def __init__(self, address: str | None, slots: int | None, data: Mapping[str, Data], notify: Notify) -> None:
        self.ray = _ray()
        self.notify, self.muted = notify, contextlib.ExitStack()
        if address and ":" in address:
            _require_reachable(address)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            # Where Ray gives advice, and prints the logs of what has died.
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
            first = " ".join(str(error).split("\n")[0].split())[:200]
            raise ClusterLostError(f"No Ray cluster can be reached at {address!r} ({first})") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray's own ends the process without a word
        cores = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        self.slots = min(slots or cores, cores)
        self.head, self.unheard = str(self.ray.get_runtime_context().gcs_address), 0
        self.data = self.ray.put(dict(data))
        self.kind = self.ray.remote(RayActor)
        self.free: list[Any] = []
        # Of a running job: what it will give, its actor, and the job.
        self.running: dict[Any, tuple[Any, TrialJob]] = {}

    def start(self, job: TrialJob) -> None:
        """Give a job to an actor that waits, or to a new one."""
        states = str(Path(job.states).absolute())
        parent = None if job.parent is None else str(Path(job.parent).absolute())
        job = job._replace(states=states, parent=parent)
        # An actor whose process dies is not started again by Ray: its job is reported as lost.
        actor = self.free.pop() if self.free else self.kind.options(num_cpus=1, max_concurrency=2).remote(self.data)
        self.running[actor.run.remote(job)] = (actor, job)

    def wait(self, timeout: float | None) -> list[JobOutcome | LostJob]:
        """Wait until a job has ended, or its actor."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.free:  # it would hold a core that an actor elsewhere may wait for, where a machine was lost
            self.ray.kill(self.free.pop())
        while self.running:
            left = 1.0 if end is None else min(1.0, end - time.monotonic())
            if left <= 0:
                return []
            ready, _ = self._asked(lambda left=left: self.ray.wait(list(self.running), timeout=left))
            if ready:
                return [self._ended(each) for each in ready]
            self._listen()
            self._tell()
        return []

    def stop(self) -> None:
        """End all actors, and the cluster where it was started here."""
        self.running.clear()
        try:
            self.ray.shutdown()
        finally:
            self.muted.close()

    def _ended(self, promise: Any) -> JobOutcome | LostJob:
        actor, job = self.running.pop(promise)
        try:
            outcome: JobOutcome = self._asked(lambda: self.ray.get(promise))
        except self.ray.exceptions.RayActorError as error:
            return LostJob(job.number, _how(error))
        self.free.append(actor)
        return outcome

    def _listen(self) -> None:
        """Raise where the head of the cluster does not answer any more: Ray itself ends the process after a minute."""
        try:
            _require_reachable(self.head)
        except ClusterLostError as error:
            self.unheard += 1
            if self.unheard == GONE:
                raise ClusterLostError(f"The Ray cluster is gone (nobody listens at {self.head})") from error
        else:
            self.unheard = 0

    def _tell(self) -> None:
        """Ask the actors how far they are."""
        promises = [actor.step.remote() for actor, _ in self.running.values()]
        ready, _ = self._asked(lambda: self.ray.wait(promises, num_returns=len(promises), timeout=1.0))
        for promise in ready:
            try:
                step = self.ray.get(promise)
            except self.ray.exceptions.RayActorError:
                continue
            if step:
                self.notify(step)

    def _asked(self, question: Any) -> Any:
        """An answer of the cluster. What a job raises comes out as it is."""
        try:
            return question()
        except self.ray.exceptions.RayActorError:
            raise
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (self.ray.exceptions.RayError, ConnectionError, RuntimeError, SystemError) as error:
            raise ClusterLostError(f"The Ray cluster is gone ({type(error).__name__})") from error


class RayActor:
    """What runs in a process of the cluster."""

    def __init__(self, data: Mapping[str, Data]) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that runs the search
        prepare_worker(1, None)
        self.load = DataLoader(data)
        self.now: JobProgress | None = None

    def run(self, job: TrialJob) -> JobOutcome:
        """Run a job to its end."""
        return run_job(job, self.load, self._told)

    def step(self) -> JobProgress | None:
        """How far the job is."""
        return self.now

    def _told(self, step: JobProgress) -> None:
        self.now = step


def _require_reachable(address: str) -> None:
    """Raise where nobody listens at `[ray://]host:port`: Ray itself would go on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterLostError(f"No Ray cluster can be reached at {address!r} ({error})") from error


def _how(error: Any) -> str:
    text = " ".join(str(error).split())
    return "it was killed, or ran out of memory" if "unexpectedly" in text else f"Ray says: {text[:120]}"


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ClusterLostError(f"Ray is not installed; install it with: {install_hint('ray')}") from None
    return ray
