"""Who runs trials: all of them can be given jobs, and say what became of them."""

from collections.abc import Callable
from typing import Protocol

from lstm_ae.search.job import Job, Load, Lost, Outcome, Step, Stopped, run

Notify = Callable[[Step], None]


class Executor(Protocol):
    """Runs jobs, so many at once."""

    slots: int

    def start(self, job: Job) -> None:
        """Begin a job; only where a slot is free."""
        ...

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Wait until a job has ended, or for so many seconds; what has ended. Raises what a job could not cope with."""
        ...

    def stop(self) -> None:
        """End whatever runs, at once: its state is on the disk."""
        ...


class Here:
    """Runs one job at a time, in this process.

    Args:
        load: loads data.
        notify: told how far the job is.
        expired: whether time is over; asked during a job, which is then left as it is.
    """

    slots = 1

    def __init__(self, load: Load, notify: Notify, expired: Callable[[], bool]) -> None:
        self.load, self.notify, self.expired = load, notify, expired
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Keep it; it runs while somebody waits for it."""
        self.job = job

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Run the job to its end."""
        if self.job is None:
            return []
        job, self.job = self.job, None
        try:
            return [run(job, self.load, self._told)]
        except Stopped:
            return []

    def stop(self) -> None:
        """Nothing runs between two calls of `wait`."""

    def _told(self, step: Step) -> None:
        self.notify(step)
        if self.expired():
            raise Stopped
