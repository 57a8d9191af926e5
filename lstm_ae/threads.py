"""Threads of this process for computations that release the GIL, as many as it may use cores."""

import collections
import concurrent.futures
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from lstm_ae.startup import cores

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")
_Result = TypeVar("_Result")


@functools.cache
def _pool(threads: int) -> concurrent.futures.ThreadPoolExecutor:
    # Starting threads for each batch of windows would take a twentieth of the time of its computation.
    return concurrent.futures.ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="compute")


# A forked process has none of the threads of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def map_in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return the results of a function for all items, computed by this thread and those that are idle.

    >>> map_in_threads(abs, [-1, 2])
    [1, 2]
    """
    items, threads = list(items), cores()
    results: dict[int, _Result] = {}
    # Threads take the next item from it.
    rest = enumerate(items)

    def compute() -> None:
        for number, item in rest:
            results[number] = function(item)

    helpers = [_pool(threads).submit(compute) for _ in range(min(threads, len(items)) - 1)]
    try:
        compute()
    finally:
        # Nothing is left unless a call has failed.
        collections.deque(rest, maxlen=0)
        for helper in helpers:
            if not helper.cancel():
                helper.result()
    return [results[number] for number in range(len(items))]


def compute_beside(
    function: Callable[[_Item], _Value], then: Callable[[_Value], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Yield `then(function(item))` of each item, where `then` runs in a thread beside `function` of the next item.

    Args:
        function: called for one item after the other, in this thread.
        then: called in another thread, or in this one if no other is idle.
        items: any number of items.

    >>> list(compute_beside(abs, str, [-1, 2]))
    ['1', '2']
    """
    threads, rest = cores(), iter(items)
    if threads < 2:
        yield from (then(function(item)) for item in rest)
        return
    for first in itertools.islice(rest, 1):
        value = function(first)
        for item in rest:
            future, last = _pool(threads).submit(then, value), value
            value = function(item)
            yield then(last) if future.cancel() else future.result()
        yield then(value)
