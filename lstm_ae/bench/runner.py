"""Benchmark runner: implementations run in turn, so that noise of the machine affects all of them."""

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple, Self

Lap = Callable[[], None]

Contestant = Callable[[Lap], None]


class Spread(NamedTuple):
    """Spread of a measurement over the rounds.

    Args:
        median: the median.
        low: the smallest value.
        high: the largest value.
    """

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """Return the spread of values.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0)
    """
    return Spread(statistics.median(values), min(values), max(values))


def ratios(others: list[float], ours: list[float]) -> Spread:
    """Return the spread of the ratios `others / ours`, round by round.

    >>> ratios([2.0, 6.0], [1.0, 2.0])
    Spread(median=2.5, low=2.0, high=3.0)
    """
    return spread([other / our for other, our in zip(others, ours, strict=True)])


def measure_rounds(
    contestants: Mapping[str, Contestant], rounds: int, done: Callable[[int], None]
) -> dict[str, list[float]]:
    """Run one lap of every implementation in each round.

    Args:
        contestants: the implementations by name. Each is pickled and called once in its own process, so that threads
            of different libraries do not interfere. It must call its argument at the end of every lap.
        rounds: number of measured laps. A warm-up lap precedes them.
        done: called with the number of finished rounds.

    Returns:
        Seconds of each lap of each implementation.

    Raises:
        ChildProcessError: a process died.
        Exception: the exception of an implementation.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with contextlib.ExitStack() as stack:
        runners = {name: stack.enter_context(Runner(contestant)) for name, contestant in contestants.items()}
        for number in range(rounds + 1):
            for name, runner in runners.items():
                seconds[name].append(runner.run_a_lap())
            done(number)
    return {name: laps[1:] for name, laps in seconds.items()}


class Runner:
    """Process of an implementation, which waits between its laps and ends with the context.

    Args:
        contestant: the implementation.
    """

    def __init__(self, contestant: Contestant) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        self.process = context.Process(target=_run_contestant, args=(contestant, child_pipe))
        self.process.start()
        child_pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def run_a_lap(self) -> float:
        """Run one lap.

        Returns:
            Seconds of the lap.

        Raises:
            ChildProcessError: the process died.
            Exception: the exception of the implementation.
        """
        self.pipe.send(None)
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            raise ChildProcessError(f"A benchmark process died with exit code {self.process.exitcode}") from None
        if isinstance(answer, BaseException):
            raise answer
        return float(answer)


def _run_contestant(contestant: Contestant, pipe: Connection) -> None:
    silence()
    pipe.recv()
    start = time.perf_counter()

    def lap() -> None:
        nonlocal start
        pipe.send(time.perf_counter() - start)
        pipe.recv()
        start = time.perf_counter()

    try:
        contestant(lap)
    except BaseException as error:
        pipe.send(error)


def silence() -> None:
    """Discard stderr, because TensorFlow writes messages to it regardless of the log level."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
