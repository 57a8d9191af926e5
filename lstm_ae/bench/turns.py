"""Contestants that run in turn, so that a noisy machine is noisy for all of them."""

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
    """Median, smallest and largest of some rounds."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """The spread of some values."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(others: list[float], ours: list[float]) -> Spread:
    """How many times longer the others took, round by round."""
    return spread([other / our for other, our in zip(others, ours, strict=True)])


def take_turns(
    contestants: Mapping[str, Contestant], rounds: int, done: Callable[[int], None]
) -> dict[str, list[float]]:
    """Run every contestant for a lap, then every one for another, and so on.

    Args:
        contestants: each is called once, in a process of its own, so that no library's threads wait in another's way,
            and calls what it is given at the end of every lap. They are pickled.
        rounds: laps that count. One more is run before them, which warms up.
        done: called with the number of rounds done.

    Returns:
        Seconds of each contestant's laps.

    Raises:
        What a contestant raises; `ChildProcessError` where one dies.
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
    """A contestant's process, which waits between its laps. It ends with the context."""

    def __init__(self, contestant: Contestant) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_body, args=(contestant, theirs))
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def run_a_lap(self) -> float:
        """Let it run to the end of its lap; returns the seconds, raises what it raises."""
        self.pipe.send(None)
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            raise ChildProcessError(f"A contestant's process died with exit code {self.process.exitcode}") from None
        if isinstance(answer, BaseException):
            raise answer
        return float(answer)


def _body(contestant: Contestant, pipe: Connection) -> None:
    silence()
    pipe.recv()
    began = time.perf_counter()

    def lap() -> None:
        nonlocal began
        pipe.send(time.perf_counter() - began)
        pipe.recv()
        began = time.perf_counter()

    try:
        contestant(lap)
    except BaseException as error:
        pipe.send(error)


def silence() -> None:
    """TensorFlow greets on stderr, past every log level."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
