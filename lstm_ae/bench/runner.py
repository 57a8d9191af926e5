"""Benchmark runner: implementations run in turn, so that noise of the machine affects all of them."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection

Lap = Callable[[], None]

Contestant = Callable[[Lap], None]


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
        runners = {name: stack.enter_context(_start_contestant(contestant)) for name, contestant in contestants.items()}
        for number in range(rounds + 1):
            for name, run_a_lap in runners.items():
                seconds[name].append(run_a_lap())
            done(number)
    return {name: laps[1:] for name, laps in seconds.items()}


@contextlib.contextmanager
def _start_contestant(contestant: Contestant) -> Iterator[Callable[[], float]]:
    """Start the process of an implementation, and return a context with the function that runs one lap."""
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=_run_contestant, args=(contestant, child_pipe))
    process.start()
    child_pipe.close()

    def run_a_lap() -> float:
        start = time.perf_counter()
        pipe.send(None)
        try:
            error = pipe.recv()
        except EOFError:
            process.join()
            raise ChildProcessError(f"A benchmark process died with exit code {process.exitcode}") from None
        if error is not None:
            raise error
        return time.perf_counter() - start

    try:
        yield run_a_lap
    finally:
        process.kill()
        process.join()
        pipe.close()


def _run_contestant(contestant: Contestant, pipe: Connection) -> None:
    silence()
    pipe.recv()

    def lap() -> None:
        pipe.send(None)
        pipe.recv()

    try:
        contestant(lap)
    except BaseException as error:
        pipe.send(error)


def silence() -> None:
    """Discard stderr, because TensorFlow writes messages to it regardless of the log level."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
