"""Processes on this machine that run trials: started when needed, kept for the next trial, replaced when they die."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lstm_ae.search.executors import Notify
from lstm_ae.search.job import Job, Loader, Lost, Outcome, Step, run
from lstm_ae.search.plan import Plan
from lstm_ae.starting import run_child, uncollected

# Seconds between two reports of a worker on a training.
EVERY = 1.0
# Hidden units up to which a training does not fill more than a core well.
SMALL = 64


class Worker:
    """A process that runs one job after another."""

    def __init__(self, threads: int, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (__name__, serve.__name__, theirs, threads, str(log))
        self.process = context.Process(target=run_child, args=arguments, daemon=True)
        with _leaving_interruptions():
            self.process.start()
        theirs.close()
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Send it a job. Where it is dead already, that is noticed when it is read from."""
        self.job = job
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def read(self, notify: Notify) -> Outcome | Lost | None:
        """Take what it has sent; its job's end, if that is it."""
        assert self.job
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Lost(self.job.number, how(self.process.exitcode))
        if isinstance(message, Step):
            notify(message)
            return None
        self.job = None
        if isinstance(message, Outcome):
            return message
        error: BaseException = message
        raise error

    def end(self) -> None:
        """Kill it: what it trains is on the disk."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Workers:
    """Runs jobs in so many processes.

    Args:
        slots: processes.
        threads: of each.
        notify: told how far each job is.
        log: what the processes write to stderr.
    """

    def __init__(self, slots: int, threads: int, notify: Notify, log: Path) -> None:
        self.slots, self.threads, self.notify, self.log = slots, threads, notify, log
        self.workers: list[Worker] = []

    def start(self, job: Job) -> None:
        """Give a job to a process that waits, or to a new one."""
        free = next((worker for worker in self.workers if worker.job is None), None)
        if free is not None and not free.process.is_alive():
            self.workers.remove(free)
            free.end()
            free = None
        if free is None:
            free = Worker(self.threads, self.log)
            self.workers.append(free)
        free.start(job)

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Wait until a job has ended, or its process."""
        deadline = None if timeout is None else time.monotonic() + timeout
        ended: list[Outcome | Lost] = []
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
                if isinstance(end, Lost):
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


def in_turn(plan: Plan) -> bool:
    """Whether a search chooses or stops by what has finished: one after another, it can be repeated."""
    return plan.prune or plan.search in ("bayesian", "hyperband")


def usual_jobs(plan: Plan) -> int:
    """How many trials run at once where nobody has said: one a core while models are small, one on a GPU."""
    import tensorflow as tf

    if in_turn(plan) or tf.config.list_physical_devices("GPU"):
        return 1
    widths = [axis.values or (axis.low, axis.high) for axis in plan.axes if axis.name == "units"]
    widest = max((max(values) for values in widths), default=plan.config.units)
    return max(1, min(cores(), plan.size or 1)) if widest <= SMALL else 1


def how(exitcode: int | None) -> str:
    """How a process ended, of "its worker"."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in list(signal.Signals) else f"signal {-exitcode}"
        return f"it was killed ({name})" + ("; is there enough memory?" if name == "SIGKILL" else "")
    return f"it ended with exit code {exitcode}; see workers.log in the search's directory"


def serve(pipe: Connection, threads: int, log: str) -> None:
    """Run jobs until the pipe is closed."""
    prepare(threads, log)
    load, told = Loader(), 0.0

    def notify(step: Step) -> None:
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
            answer = run(job, load, notify)
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


def prepare(threads: int, log: str | None) -> None:
    """Import TensorFlow in a new process, for so many threads."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if log:  # but for what TensorFlow says of itself on starting
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with uncollected():
        import keras  # noqa: F401
        import tensorflow as tf

    if log:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
