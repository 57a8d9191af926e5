"""Work without TensorFlow for the tests of pools: squares, with jobs that die or raise exceptions."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lstm_ae.errors import DataError


class SquareJob(NamedTuple):
    number: int
    # How often the process of the job dies before it ends; the file counts.
    deaths: int = 0
    counter: str = ""
    error: str = ""

    @property
    def title(self) -> str:
        return f"job {self.number}"


class SquareOutcome(NamedTuple):
    number: int
    square: int
    process: int
    threads: int


class SquareWork(NamedTuple):
    broken: bool = False
    # File with a factor, which is read once.
    factor: str = ""

    def prepare(self, threads: int) -> None:
        os.environ["SQUARE_THREADS"] = str(threads)

    def load(self) -> Callable[[SquareJob], SquareOutcome]:
        if self.broken:
            raise DataError("the work is broken")

        factor = int(Path(self.factor).read_text()) if self.factor else 1

        def run(job: SquareJob) -> SquareOutcome:
            if job.deaths > (done := len(Path(job.counter).read_text()) if job.deaths else 0):
                Path(job.counter).write_text("x" * (done + 1))
                os.kill(os.getpid(), signal.SIGKILL)
            if job.error:
                raise KeyError(job.error)
            return SquareOutcome(
                job.number, factor * job.number**2, os.getpid(), int(os.environ.get("SQUARE_THREADS", 0))
            )

        return run
