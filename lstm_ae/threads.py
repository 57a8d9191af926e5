"""Threads of this process for computations that release the GIL."""

import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lstm_ae.startup import cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Prefix of the names of the threads.
_NAME = "lstm-ae-compute"


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # Threads are started once, as starting them for each batch of windows takes noticeable time.
    return ThreadPoolExecutor(threads, _NAME)


# A forked process has none of the threads of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def map_in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return the results of a function for all items, computed by as many threads as `lstm_ae.startup.cores` returns.

    Several threads may call it. A call within a call computes in its thread.

    Args:
        function: called once with each item. It should release the GIL.
        items: any number of items.

    Returns:
        The results in the order of the items.

    Raises:
        Exception: a call raised it. Items that no thread has begun then are left out.

    >>> map_in_threads(abs, [-1, 2])
    [1, 2]
    """
    items, threads = list(items), cores()
    if min(len(items), threads) > 1 and not threading.current_thread().name.startswith(_NAME):
        return list(_pool(threads).map(function, items))
    return [function(item) for item in items]


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
