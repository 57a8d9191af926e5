"""Run jobs on an executor: repeat those whose process died, and answer them in a process."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Generic, Protocol, TypeVar

from lstm_ae.errors import Code, LstmAeError
from lstm_ae.search.executors import Job, Outcome
from lstm_ae.search.job import LostJob

# How often a job runs again whose process died.
RETRIES = 2

_Job = TypeVar("_Job", contravariant=True)
_Outcome = TypeVar("_Outcome")


class JobExecutor(Protocol[_Job, _Outcome]):
    """Runner of jobs, see `lstm_ae.search.executors.Executor`."""

    slots: int

    def start(self, job: _Job) -> None:
        """Start a job; a slot must be free."""
        ...

    def wait(self, timeout: float | None) -> "list[_Outcome | LostJob]":
        """Wait until a job ends and return the jobs that have ended."""
        ...

    def stop(self) -> None:
        """Stop all running jobs at once."""
        ...


class InProcessExecutor(Generic[Job, Outcome]):
    """Executor that runs one job at a time in this process.

    Args:
        run: function from a job to its outcome.
    """

    slots = 1

    def __init__(self, run: Callable[[Job], Outcome]) -> None:
        self.run = run
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Store the job; `wait` runs it."""
        self.job = job

    def wait(self, timeout: float | None) -> list[Outcome | LostJob]:
        """Run the job to its end and return its outcome."""
        job, self.job = self.job, None
        return [] if job is None else [self.run(job)]

    def stop(self) -> None:
        """Do nothing, because no job runs between two calls of `wait`."""


def run_jobs(
    jobs: Iterable[Job],
    executor: JobExecutor[Job, Outcome],
    name: Callable[[int], str],
    lost: Callable[[str, str], None],
    give_up: Callable[[int, str], Outcome],
    what: str = "part",
) -> Iterator[Outcome]:
    """Run jobs and yield their outcomes as they end.

    Args:
        jobs: the jobs.
        executor: runs them.
        name: function from the number of a job to its name in messages.
        lost: called with the name of a job whose process died, and how.
        give_up: function from the number of a job that is not tried again, and the reason, to its outcome.
        what: a job in messages.

    Raises:
        LstmAeError: processes die without finishing any job, as they would for all other ones.
    """
    queue, running, died, in_a_row = deque(jobs), dict[int, Job](), Counter[int](), 0
    # The loss of a machine ends the processes of many slots at once.
    most = (RETRIES + 1) * max(3, executor.slots)
    while queue or running:
        while queue and len(running) < executor.slots:
            job = queue.popleft()
            executor.start(job)
            running[job.number] = job
        for end in executor.wait(None):
            job = running.pop(end.number)
            if not isinstance(end, LostJob):
                in_a_row = 0
                yield end
                continue
            in_a_row += 1
            if in_a_row == most:
                raise LstmAeError(
                    f"{in_a_row} processes died in a row without finishing a {what}; the last one of "
                    f"{name(job.number)}: {end.how}. Complete {what}s are kept. Pass fewer --jobs, or remove the "
                    "cause, and resume with the same command",
                    code=Code.SYSTEM,
                )
            died[job.number] += 1
            if died[job.number] <= RETRIES:
                lost(name(job.number), end.how)
                queue.appendleft(job)
            else:
                yield give_up(job.number, f"its process died {died[job.number]} times; the last time {end.how}")


def answer_jobs(pipe: Connection, load: Callable[[], Callable[[Job], Outcome]]) -> None:
    """Run the jobs from a pipe until it is closed.

    Args:
        pipe: receives jobs and sends outcomes and exceptions.
        load: returns the function from a job to its outcome; called at the first job.
    """
    run: Callable[[Job], Outcome] | None = None
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Outcome | Exception
        try:
            run = run or load()
            answer = run(job)
        except Exception as error:
            answer = error if isinstance(error, LstmAeError | OSError) else RuntimeError(repr(error))
        pipe.send(answer)
