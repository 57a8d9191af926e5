"""Threads of this process for computations that release the GIL."""

import collections
import concurrent.futures
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from lstm_ae.startup import cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Helpers(NamedTuple):
    """Threads that wait for work, and how many of them are idle."""

    pool: concurrent.futures.ThreadPoolExecutor
    idle: threading.Semaphore


@functools.cache
def _start_helpers(count: int) -> _Helpers:
    # Threads are started once, as starting them for each batch of windows takes noticeable time.
    return _Helpers(concurrent.futures.ThreadPoolExecutor(count, "compute"), threading.Semaphore(count))


# A forked process has none of the threads of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_helpers.cache_clear)


def map_in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return the results of a function for all items, computed by this thread and by idle ones.

    There are at most as many threads as `lstm_ae.startup.cores` returns. Calls may be nested, and several threads may
    call it.

    Args:
        function: called once with each item. It should release the GIL.
        items: any number of items.

    Returns:
        The results in the order of the items.

    Raises:
        Exception: a call raised it. No thread takes a further item after that.

    >>> map_in_threads(abs, [-1, 2])
    [1, 2]
    """
    items, threads = list(items), cores()
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []
    # Each thread takes its next item from this iterator.
    remaining = enumerate(items)

    def compute() -> None:
        try:
            for number, item in remaining:
                results[number] = function(item)
        except BaseException as error:
            errors.append(error)
            _exhaust(remaining)

    tasks = []
    for _ in range(min(threads, len(items)) - 1):
        task = _submit_if_idle(_start_helpers(threads - 1), compute)
        if task is None:
            break
        tasks.append(task)
    compute()
    concurrent.futures.wait(tasks)
    if errors:
        # An interruption takes precedence over errors.
        raise next((error for error in errors if not isinstance(error, Exception)), errors[0])
    return [results[number] for number in range(len(items))]


def iterate_in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item], at_once: int) -> Iterator[_Result]:
    """Yield the results of a function for all items in their order, see `map_in_threads`.

    This thread takes one item per core, one after the other, before the function is called with them, so that few
    items and results are in memory.

    Args:
        function: called once with each item. It should release the GIL.
        items: any number of items.
        at_once: maximum number of items in memory.

    >>> list(iterate_in_threads(abs, iter([-1, 2]), at_once=1))
    [1, 2]
    """
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, min(cores(), at_once))):
        yield from map_in_threads(function, batch)


def _exhaust(iterator: Iterator[object]) -> None:
    collections.deque(iterator, maxlen=0)


def _submit_if_idle(helpers: _Helpers, compute: Callable[[], None]) -> concurrent.futures.Future[None] | None:
    """Let an idle thread compute; return None if there is none, so that no work waits in a queue."""
    if not helpers.idle.acquire(blocking=False):
        return None

    def run() -> None:
        try:
            compute()
        finally:
            helpers.idle.release()

    try:
        return helpers.pool.submit(run)
    except RuntimeError:  # The interpreter is about to end.
        helpers.idle.release()
        return None
