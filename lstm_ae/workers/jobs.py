"""What all engines have in common: jobs, the work that they belong to, executors, and the repetition of lost jobs."""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from lstm_ae.errors import Code, LstmAeError

# How often a job runs again whose process died.
RETRIES = 2

# Function that is called with the progress of a job.
Report = Callable[[Any], None]


def ignore_progress(progress: object) -> None:
    """Do nothing."""


class Numbered(Protocol):
    """Job or outcome with the number of the job."""

    @property
    def number(self) -> int:
        """The number of the job."""
        ...


Job = TypeVar("Job", bound=Numbered)
Outcome = TypeVar("Outcome", bound=Numbered)
_Job = TypeVar("_Job", bound=Numbered, contravariant=True)
_Outcome = TypeVar("_Outcome", bound=Numbered, covariant=True)


class Work(Protocol[_Job, _Outcome]):
    """What the jobs of an executor have in common; each process and each machine receives it once, by pickle."""

    def prepare(self, threads: int) -> None:
        """Limit the threads of a new process, and import what its jobs need."""
        ...

    def load(self, report: Report) -> Callable[[_Job], _Outcome]:
        """Return the function from a job to its outcome.

        Args:
            report: called with the progress of a job.
        """
        ...


class LostJob(NamedTuple):
    """Job whose process died.

    Args:
        number: number of the job.
        how: how the process died, as a clause about "it".
    """

    number: int
    how: str


class JobStopped(Exception):
    """Raised by a function for progress to stop a job, which can be resumed."""


def portable_error(error: Exception) -> Exception:
    """Return an exception that another process can read, which may not know the class of this one."""
    return error if isinstance(error, LstmAeError | OSError) else RuntimeError(repr(error))


class Executor(Protocol[_Job, Outcome]):
    """Runner of jobs.

    Attributes:
        slots: number of jobs that may be started before one has ended.
        processes: number of jobs that run at once.
    """

    slots: int
    processes: int

    def start(self, job: _Job) -> None:
        """Start a job; a slot must be free."""
        ...

    def wait(self, timeout: float | None) -> list[Outcome | LostJob]:
        """Wait until a job ends and return the jobs that have ended.

        Args:
            timeout: longest time to wait, in seconds; None for no limit.

        Raises:
            Exception: the system error of a job, such as `OSError` for a full disk.
        """
        ...

    def stop(self) -> None:
        """Stop all running jobs at once; what they have written remains."""
        ...


class InProcessExecutor(Generic[Job, Outcome]):
    """Executor that runs one job at a time in this process.

    Args:
        run: function from a job to its outcome; it may raise `JobStopped`.
    """

    slots = processes = 1

    def __init__(self, run: Callable[[Job], Outcome]) -> None:
        self.run = run
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Store the job; `wait` runs it."""
        self.job = job

    def wait(self, timeout: float | None) -> list[Outcome | LostJob]:
        """Run the job to its end and return its outcome."""
        if self.job is None:
            return []
        job, self.job = self.job, None
        try:
            return [self.run(job)]
        except JobStopped:
            return []

    def stop(self) -> None:
        """Do nothing, because no job runs between two calls of `wait`."""


class WorkersDiedError(LstmAeError):
    """Raised if processes die without finishing any job."""

    code = Code.SYSTEM


class Deaths:
    """Deaths of the processes of jobs, each of which runs again a limited number of times.

    Args:
        slots: jobs that run at the same time; the loss of a machine ends the processes of many at once.
        what: a job in messages.
        advice: what to do if processes die without finishing any job, as they would for all other ones.
        retries: how often a job runs again.
        alike: whether jobs are so much alike that deaths in a row are a reason to stop also after one was finished.
    """

    def __init__(self, slots: int, what: str, advice: str, retries: int, *, alike: bool = True) -> None:
        self.what, self.advice, self.retries, self.alike = what, advice, retries, alike
        self.most = float((retries + 1) * max(3, slots))
        self.by_job, self.in_a_row = Counter[int](), 0

    def finish(self) -> None:
        """Note that a job was finished."""
        self.in_a_row, self.most = 0, self.most if self.alike else math.inf

    def add(self, end: LostJob, name: str) -> bool:
        """Count a death, and return whether the job may run again.

        Args:
            end: the death.
            name: the job in messages.

        Raises:
            WorkersDiedError: no process finishes a job.
        """
        self.in_a_row += 1
        if self.in_a_row == self.most:
            raise WorkersDiedError(
                f"{self.in_a_row} processes died in a row without finishing a {self.what}; the last one of {name}: "
                f"{end.how}. {self.advice}"
            )
        self.by_job[end.number] += 1
        return self.by_job[end.number] <= self.retries


def run_jobs(
    jobs: Iterable[Job],
    executor: Executor[Job, Outcome],
    name: Callable[[int], str],
    lost: Callable[[str, str], None] = lambda name, how: None,
    give_up: Callable[[int, str], Outcome] | None = None,
    what: str = "part",
    *,
    resumable: bool = True,
) -> Iterator[Outcome]:
    """Run jobs and yield their outcomes as they end; a job whose process died runs again.

    Args:
        jobs: the jobs, which are taken as they are started.
        executor: runs them.
        name: function from the number of a job to its name in messages.
        lost: called with the name of a job whose process died, and how.
        give_up: function from the number of a job that is not tried again, and the reason, to its outcome; None to
            raise an exception.
        what: a job in messages.
        resumable: whether the outcomes are stored, so that the same command resumes.

    Raises:
        LstmAeError: processes die without finishing any job, as they would for all other ones, or there is no
            `give_up`.
    """
    queue, again, running = iter(jobs), deque[Job](), dict[int, Job]()
    advice = "Pass fewer --jobs, or remove the cause"
    if resumable:
        advice = f"Complete {what}s are kept. {advice}, and resume with the same command"
    deaths = Deaths(executor.slots, what, advice, RETRIES)
    while True:
        while len(running) < executor.slots:
            job = again.popleft() if again else next(queue, None)
            if job is None:
                break
            executor.start(job)
            running[job.number] = job
        if not running:
            return
        for end in executor.wait(None):
            job = running.pop(end.number)
            if not isinstance(end, LostJob):
                deaths.finish()
                yield end
                continue
            if deaths.add(end, name(job.number)):
                lost(name(job.number), end.how)
                again.append(job)
                continue
            reason = f"its process died {deaths.by_job[job.number]} times; the last time {end.how}"
            if give_up is None:
                raise LstmAeError(f"{name(job.number)}: {reason}. {advice}", code=Code.SYSTEM)
            yield give_up(job.number, reason)
