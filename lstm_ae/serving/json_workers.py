"""Large JSON is read and written in processes beside the server, so that small requests do not wait for it.

A thread would not do: the parser holds Python's lock for as long as it takes, a tenth of a second for 8 MB, and
whoever needs the lock for anything waits. What these processes import is light; they know no TensorFlow.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.startup import follow_parent

# Bytes. What is smaller takes less time than the way to another process and back.
LARGE_BYTES = 2**17

P = ParamSpec("P")

T = TypeVar("T")


async def call_in_thread(size: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Return what a function returns: called here for few bytes, else in a thread, so that other requests go on.

    Args:
        size: bytes that it reads or writes.
        work: takes `given` and `named`, and keeps Python's lock for short times only.
    """
    return work(*given, **named) if size < LARGE_BYTES else await asyncio.to_thread(work, *given, **named)


class JsonWorkers:
    """Processes that start when they are first needed and end with the server, however that ends."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def call(self, size: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What a function returns or raises: called here where it is about few bytes, else in another process.

        Args:
            size: bytes that it reads or writes.
            work, given, named: can be pickled, and so can what comes back.

        Raises:
            Refusal: the processes were killed twice in a row.
        """
        if size < LARGE_BYTES:
            return work(*given, **named)
        for _ in range(2):
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    max(1, min(4, (os.cpu_count() or 2) - 1)), multiprocessing.get_context("spawn"), follow_parent
                )
            pool = self._pool
            try:
                return await asyncio.wrap_future(pool.submit(work, *given, **named))
            except BrokenProcessPool:
                # Somebody has killed a process, such as a system without memory: new ones come with the next request.
                # The work is never done here, where it could have the server itself killed.
                if self._pool is pool:
                    self._pool = None
        raise Refusal(
            StatusCode.UNAVAILABLE,
            "The processes that read and write large requests were killed. Send a smaller request, or try again later",
        )

    def close(self) -> None:
        """End the processes, without waiting for them."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
