"""Executors of trials: in this process, or in worker processes on this machine."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from lstm_ae.search.job import DataLoader, JobOutcome, JobProgress, JobStopped, Load, LostJob, TrialJob, run_job
from lstm_ae.search.plan import SearchPlan
from lstm_ae.startup import pause_garbage_collection, run_child_process

Notify = Callable[[JobProgress], None]


class Executor(Protocol):
    """Runs jobs, so many at once."""

    slots: int

    def start(self, job: TrialJob) -> None:
        """Begin a job; only where a slot is free."""
        ...

    def wait(self, timeout: float | None) -> list[JobOutcome | LostJob]:
        """Wait until a job has ended, or for so many seconds; what has ended. Raises what a job could not cope with."""
        ...

    def stop(self) -> None:
        """End whatever runs, at once: its state is on the disk."""
        ...


class LocalExecutor:
    """Runs one job at a time, in this process.

    Args:
        load: loads data.
        notify: told how far the job is.
        expired: whether time is over; asked during a job, which is then left as it is.
    """

    slots = 1

    def __init__(self, load: Load, notify: Notify, expired: Callable[[], bool]) -> None:
        self.load, self.notify, self.expired = load, notify, expired
        self.job: TrialJob | None = None

    def start(self, job: TrialJob) -> None:
        """Keep it; it runs while somebody waits for it."""
        self.job = job

    def wait(self, timeout: float | None) -> list[JobOutcome | LostJob]:
        """Run the job to its end."""
        if self.job is None:
            return []
        job, self.job = self.job, None
        try:
            return [run_job(job, self.load, self._told)]
        except JobStopped:
            return []

    def stop(self) -> None:
        """Nothing runs between two calls of `wait`."""

    def _told(self, step: JobProgress) -> None:
        self.notify(step)
        if self.expired():
            raise JobStopped


# Seconds between two reports of a worker on a training.
EVERY = 1.0

# Hidden units up to which a training does not fill more than a core well.
SMALL = 64


class WorkerProcess:
    """A process that runs one job after another."""

    def __init__(self, threads: int, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (__name__, serve_jobs.__name__, theirs, threads, str(log))
        self.process = context.Process(target=run_child_process, args=arguments, daemon=True)
        with _leaving_interruptions():
            self.process.start()
        theirs.close()
        self.job: TrialJob | None = None

    def start(self, job: TrialJob) -> None:
        """Send it a job. Where it is dead already, that is noticed when it is read from."""
        self.job = job
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def read(self, notify: Notify) -> JobOutcome | LostJob | None:
        """Take what it has sent; its job's end, if that is it."""
        assert self.job
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return LostJob(self.job.number, describe_exit(self.process.exitcode))
        if isinstance(message, JobProgress):
            notify(message)
            return None
        self.job = None
        if isinstance(message, JobOutcome):
            return message
        error: BaseException = message
        raise error

    def end(self) -> None:
        """Kill it: what it trains is on the disk."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class WorkerPool:
    """Runs jobs in so many processes.

    Args:
        slots: processes.
        threads: of each.
        notify: told how far each job is.
        log: what the processes write to stderr.
    """

    def __init__(self, slots: int, threads: int, notify: Notify, log: Path) -> None:
        self.slots, self.threads, self.notify, self.log = slots, threads, notify, log
        self.workers: list[WorkerProcess] = []

    def start(self, job: TrialJob) -> None:
        """Give a job to a process that waits, or to a new one."""
        free = next((worker for worker in self.workers if worker.job is None), None)
        if free is not None and not free.process.is_alive():
            self.workers.remove(free)
            free.end()
            free = None
        if free is None:
            free = WorkerProcess(self.threads, self.log)
            self.workers.append(free)
        free.start(job)

    def wait(self, timeout: float | None) -> list[JobOutcome | LostJob]:
        """Wait until a job has ended, or its process."""
        deadline = None if timeout is None else time.monotonic() + timeout
        ended: list[JobOutcome | LostJob] = []
        while not ended:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            busy = {worker.pipe: worker for worker in self.workers if worker.job is not None}
            ready = wait(list(busy), left)
            if not ready:
                break
            for pipe in ready:
                worker = busy[pipe]  # type: ignore[index]
                end = worker.read(self.notify)
                if end:
                    ended.append(end)
                if isinstance(end, LostJob):
                    self.workers.remove(worker)
                    worker.end()
        return ended

    def stop(self) -> None:
        """Kill all processes."""
        while self.workers:
            self.workers.pop().end()
        if self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def runs_in_turn(plan: SearchPlan) -> bool:
    """Whether a search chooses or stops by what has finished: one after another, it can be repeated."""
    return plan.prune or plan.search in ("bayesian", "hyperband")


def default_jobs(plan: SearchPlan) -> int:
    """How many trials run at once where nobody has said: one a core while models are small, one on a GPU."""
    import tensorflow as tf

    if runs_in_turn(plan) or tf.config.list_physical_devices("GPU"):
        return 1
    widths = [axis.values or (axis.low, axis.high) for axis in plan.axes if axis.name == "units"]
    widest = max((max(values) for values in widths), default=plan.config.units)
    return max(1, min(cores(), plan.size or 1)) if widest <= SMALL else 1


def describe_exit(exitcode: int | None) -> str:
    """How a process ended, of "its worker"."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in list(signal.Signals) else f"signal {-exitcode}"
        return f"it was killed ({name})" + ("; is there enough memory?" if name == "SIGKILL" else "")
    return f"it ended with exit code {exitcode}; see workers.log in the search's directory"


def serve_jobs(pipe: Connection, threads: int, log: str) -> None:
    """Run jobs until the pipe is closed."""
    prepare_worker(threads, log)
    load, told = DataLoader(), 0.0

    def notify(step: JobProgress) -> None:
        nonlocal told
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            pipe.send(step)

    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Any
        try:
            answer = run_job(job, load, notify)
        except Exception as error:
            answer = error
        pipe.send(answer)


@contextlib.contextmanager
def _leaving_interruptions() -> Iterator[None]:
    """A process started here leaves Ctrl-C to this one from its first moment on, not only once it is prepared."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would be started as well, and then unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_worker(threads: int, log: str | None) -> None:
    """Import TensorFlow in a new process, for so many threads."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if log:  # but for what TensorFlow says of itself on starting
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with pause_garbage_collection():
        import keras  # noqa: F401
        import tensorflow as tf

    if log:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
