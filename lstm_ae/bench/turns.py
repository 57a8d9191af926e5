"""Contestants that run in turn, so that a noisy machine is noisy for all of them."""

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

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
        contestants: each is called once, in a thread of its own, and calls what it is given at the end of every lap.
        rounds: laps that count. One more is run before them, which warms up.
        done: called with the number of rounds done.

    Returns:
        Seconds of each contestant's laps.
    """
    threads = {name: _Runner(contestant, rounds + 1) for name, contestant in contestants.items()}
    for number in range(rounds + 1):
        for runner in threads.values():
            runner.run_a_lap()
        done(number)
    return {name: runner.seconds[1:] for name, runner in threads.items()}


class _Runner:
    """A contestant that waits between its laps."""

    def __init__(self, contestant: Contestant, laps: int) -> None:
        self.laps, self.seconds = laps, list[float]()
        self.go, self.rested = threading.Semaphore(0), threading.Semaphore(0)
        self.error: BaseException | None = None
        self.began = 0.0
        # A daemon, since an interrupted benchmark leaves it waiting.
        self.thread = threading.Thread(target=self._body, args=(contestant,), daemon=True)

    def run_a_lap(self) -> None:
        """Let it run to the end of its lap; raises what it raises."""
        if not self.thread.is_alive():
            self.thread.start()
        self.began = time.perf_counter()
        self.go.release()
        self.rested.acquire()
        if self.error:
            raise self.error

    def _body(self, contestant: Contestant) -> None:
        self.go.acquire()
        try:
            contestant(self._lap)
        except BaseException as error:
            self.error = error
            self.rested.release()

    def _lap(self) -> None:
        self.seconds.append(time.perf_counter() - self.began)
        self.rested.release()
        if len(self.seconds) < self.laps:
            self.go.acquire()
