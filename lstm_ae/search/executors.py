"""Executors of trials: in this process, or in worker processes on this machine."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from lstm_ae.search.job import DataLoader, JobOutcome, JobProgress, JobStopped, Load, LostJob, TrialJob, run_job
from lstm_ae.search.plan import SearchPlan
from lstm_ae.startup import cores, pause_garbage_collection, start_child_process

Notify = Callable[[JobProgress], None]


class Executor(Protocol):
    """Runner of jobs.

    Attributes:
        slots: number of jobs that run at once.
    """

    slots: int

    def start(self, job: TrialJob) -> None:
        """Start a job; a slot must be free."""
        ...

    def wait(self, timeout: float | None) -> list[JobOutcome | LostJob]:
        """Wait until a job ends and return the jobs that have ended.

        Args:
            timeout: longest time to wait, in seconds; None for no limit.

        Raises:
            Exception: the system error of a job, such as `OSError` for a full disk.
        """
        ...

    def stop(self) -> None:
        """Stop all running jobs at once; their training states remain on disk."""
        ...


class LocalExecutor:
    """Executor that runs one job at a time in this process.

    Args:
        load: returns the data of a config.
        notify: called with the progress of the job.
        expired: returns whether the time limit is reached; the job then stops and can be resumed.
    """

    slots = 1

    def __init__(self, load: Load, notify: Notify, expired: Callable[[], bool]) -> None:
        self.load, self.notify, self.expired = load, notify, expired
        self.job: TrialJob | None = None

    def start(self, job: TrialJob) -> None:
        """Store the job; `wait` runs it."""
        self.job = job

    def wait(self, timeout: float | None) -> list[JobOutcome | LostJob]:
        """Run the job to its end and return its outcome."""
        if self.job is None:
            return []
        job, self.job = self.job, None
        try:
            return [run_job(job, self.load, self._report_progress)]
        except JobStopped:
            return []

    def stop(self) -> None:
        """Do nothing, because no job runs between two calls of `wait`."""

    def _report_progress(self, step: JobProgress) -> None:
        self.notify(step)
        if self.expired():
            raise JobStopped


# Seconds between two progress reports of a worker.
REPORT_INTERVAL = 1.0

# A training with at most this number of hidden units does not make good use of more than one core.
SMALL_UNITS = 64


class Numbered(Protocol):
    """Job or outcome with the number of the job."""

    @property
    def number(self) -> int:
        """The number of the job."""
        ...


Job = TypeVar("Job", bound=Numbered)
Outcome = TypeVar("Outcome", bound=Numbered)


class WorkerProcess(Generic[Job, Outcome]):
    """Process that runs one job after another.

    Args:
        module, function: the function that the process calls with its end of a pipe, from which it reads jobs, the
            arguments, and the path of the log as text.
        arguments: further arguments of the function.
        log: file for the stderr of the process.
    """

    def __init__(self, module: str, function: str, *arguments: object, log: Path) -> None:
        self.log = log
        self.process, self.pipe = start_child_process(module, function, *arguments, str(log))
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Send a job to the process; `read` reports it if the process has died."""
        self.job = job
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def read(self, notify: Notify) -> Outcome | LostJob | None:
        """Read one message of the process.

        Args:
            notify: called with the progress of the job.

        Returns:
            The outcome of the job; None if the job still runs.
        """
        assert self.job
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return LostJob(self.job.number, describe_exit(self.process.exitcode, self.log))
        if isinstance(message, JobProgress):
            notify(message)
            return None
        self.job = None
        if isinstance(message, BaseException):
            raise message
        outcome: Outcome = message
        return outcome

    def end(self) -> None:
        """Kill the process; the training state is on disk."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class ProcessPool(Generic[Job, Outcome]):
    """Executor that runs jobs in worker processes.

    Args:
        slots: number of processes.
        worker: function that starts a process.
        notify: called with the progress of each job.
        log: file for the stderr of the processes.
    """

    def __init__(
        self, slots: int, worker: Callable[[], WorkerProcess[Job, Outcome]], notify: Notify, log: Path
    ) -> None:
        self.slots, self.worker, self.notify, self.log = slots, worker, notify, log
        self.workers: list[WorkerProcess[Job, Outcome]] = []

    def start(self, job: Job) -> None:
        """Send a job to an idle process or to a new one."""
        free = next((worker for worker in self.workers if worker.job is None), None)
        if free is not None and not free.process.is_alive():
            self.workers.remove(free)
            free.end()
            free = None
        if free is None:
            free = self.worker()
            self.workers.append(free)
        free.start(job)

    def wait(self, timeout: float | None) -> list[Outcome | LostJob]:
        """Wait until a job or its process ends."""
        deadline = None if timeout is None else time.monotonic() + timeout
        ended: list[Outcome | LostJob] = []
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
        """Kill all processes and delete an empty log."""
        while self.workers:
            self.workers.pop().end()
        if self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()


class WorkerPool(ProcessPool[TrialJob, JobOutcome]):
    """Executor that runs trials in worker processes.

    Args:
        slots: number of processes.
        threads: threads of TensorFlow of each process.
        notify: called with the progress of each job.
        log: file for the stderr of the processes.
    """

    def __init__(self, slots: int, threads: int, notify: Notify, log: Path) -> None:
        def worker() -> WorkerProcess[TrialJob, JobOutcome]:
            return WorkerProcess(__name__, serve_jobs.__name__, threads, log=log)

        super().__init__(slots, worker, notify, log)


def runs_in_turn(plan: SearchPlan) -> bool:
    """Return whether trials depend on the results of earlier ones.

    Such a search is reproducible only if its trials run one after another.
    """
    return plan.prune or plan.search in ("bayesian", "hyperband")


def default_jobs(plan: SearchPlan) -> int:
    """Return the default number of trials that run at once: one per core for small models, and one on a GPU."""
    import tensorflow as tf

    if runs_in_turn(plan) or tf.config.list_physical_devices("GPU"):
        return 1
    widths = [axis.values or (axis.low, axis.high) for axis in plan.axes if axis.name == "units"]
    widest = max((max(values) for values in widths), default=plan.config.units)
    return max(1, min(cores(), plan.size or 1)) if widest <= SMALL_UNITS else 1


def describe_exit(exitcode: int | None, log: Path) -> str:
    """Describe how a worker process ended, as a clause about "its worker".

    Args:
        exitcode: its exit code; negative for the number of a signal.
        log: file for its stderr, which it may not have written.
    """
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in list(signal.Signals) else f"signal {-exitcode}"
        return f"it was killed ({name})" + ("; is there enough memory?" if name == "SIGKILL" else "")
    written = log.exists() and log.stat().st_size
    return f"it ended with exit code {exitcode}" + (f"; see {str(log)!r}" if written else "")


def serve_jobs(pipe: Connection, threads: int, log: str) -> None:
    """Run the jobs from a pipe until it is closed.

    Args:
        pipe: receives jobs and sends progress, outcomes, and exceptions.
        threads: threads of TensorFlow.
        log: file for stderr.
    """
    prepare_worker(threads, log)
    load, last_report = DataLoader(), 0.0

    def notify(step: JobProgress) -> None:
        nonlocal last_report
        if time.monotonic() - last_report > REPORT_INTERVAL:
            last_report = time.monotonic()
            pipe.send(step)

    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        answer: JobOutcome | Exception
        try:
            answer = run_job(job, load, notify)
        except Exception as error:
            answer = error
        pipe.send(answer)


def log_stderr(log: str) -> None:
    """Append the stderr of this process to a file."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)


def prepare_worker(threads: int, log: str | None) -> None:
    """Import TensorFlow in a new process.

    Args:
        threads: threads of TensorFlow.
        log: file for stderr; None to leave stderr unchanged.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if log:  # TensorFlow's messages at import do not belong in the log.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with pause_garbage_collection():
        import keras  # noqa: F401
        import tensorflow as tf

    if log:
        log_stderr(log)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
