"""Executor of jobs in processes of this machine."""

import contextlib
import os
import signal
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Generic, NamedTuple

from lstm_ae.startup import load_tensorflow, pause_garbage_collection, start_child_process
from lstm_ae.workers.jobs import Job, LostJob, Outcome, Report, Work, ignore_progress, portable_error

# Seconds between two progress reports of a process.
REPORT_INTERVAL = 1.0


class _Progress(NamedTuple):
    """Message of a process on the progress of its job."""

    content: object


class WorkerProcess(Generic[Job, Outcome]):
    """Process that runs one job after another.

    Args:
        work: what the jobs have in common.
        threads: threads of the process.
        log: file for the stderr of the process; None for nowhere.
    """

    def __init__(self, work: Work[Job, Outcome], threads: int, log: Path | None) -> None:
        self.log = log
        arguments = work, threads, str(log or os.devnull)
        self.process, self.pipe = start_child_process(__name__, serve_jobs.__name__, *arguments)
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Send a job to the process; `read` reports it if the process has died."""
        self.job = job
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def read(self, report: Report) -> Outcome | LostJob | None:
        """Read one message of the process.

        Args:
            report: called with the progress of the job.

        Returns:
            The outcome of the job; None if the job still runs.
        """
        assert self.job
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return LostJob(self.job.number, describe_exit(self.process.exitcode, self.log))
        if isinstance(message, _Progress):
            report(message.content)
            return None
        self.job = None
        if isinstance(message, BaseException):
            raise message
        outcome: Outcome = message
        return outcome

    def end(self) -> None:
        """Kill the process; what its job has written remains."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class ProcessPool(Generic[Job, Outcome]):
    """Executor that runs jobs in processes of this machine.

    Args:
        work: what the jobs have in common.
        slots: number of processes.
        threads: threads of each process.
        log: file for the stderr of the processes; None for nowhere.
        report: called with the progress of each job.
    """

    def __init__(
        self, work: Work[Job, Outcome], slots: int, threads: int, log: Path | None, report: Report = ignore_progress
    ) -> None:
        self.processes = slots
        self.work, self.slots, self.threads, self.log, self.report = work, slots, threads, log, report
        self.workers: list[WorkerProcess[Job, Outcome]] = []

    def start(self, job: Job) -> None:
        """Send a job to an idle process or to a new one."""
        free = next((worker for worker in self.workers if worker.job is None), None)
        if free is not None and not free.process.is_alive():
            self.workers.remove(free)
            free.end()
            free = None
        if free is None:
            free = WorkerProcess(self.work, self.threads, self.log)
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
                end = worker.read(self.report)
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
        if self.log and self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()


def describe_exit(exitcode: int | None, log: Path | None) -> str:
    """Describe how a process ended, as a clause about "it".

    Args:
        exitcode: its exit code; negative for the number of a signal.
        log: file for its stderr, which it may not have written; None for no file.
    """
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in list(signal.Signals) else f"signal {-exitcode}"
        return f"it was killed ({name})" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
    written = log and log.exists() and log.stat().st_size
    return f"it ended with exit code {exitcode}" + (f"; see {str(log)!r}" if written else "")


def serve_jobs(pipe: Connection, work: Work[Job, Outcome], threads: int, log: str) -> None:
    """Run the jobs from a pipe until it is closed.

    Args:
        pipe: receives jobs and sends progress, outcomes, and exceptions.
        work: what the jobs have in common.
        threads: threads of the process.
        log: file for stderr.
    """
    log_stderr(log)
    work.prepare(threads)
    run, last_report = None, 0.0

    def report(progress: object) -> None:
        nonlocal last_report
        if time.monotonic() - last_report > REPORT_INTERVAL:
            last_report = time.monotonic()
            pipe.send(_Progress(progress))

    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Outcome | Exception
        try:
            # An error in loading is the answer to the first job.
            run = run or work.load(report)
            answer = run(job)
        except Exception as error:
            answer = portable_error(error)
        pipe.send(answer)


def log_stderr(log: str) -> None:
    """Append the stderr of this process to a file."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)


def import_tensorflow(threads: int) -> None:
    """Import TensorFlow in a new process, without its messages.

    Args:
        threads: threads of TensorFlow.
    """
    with pause_garbage_collection():
        tf = load_tensorflow()
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
