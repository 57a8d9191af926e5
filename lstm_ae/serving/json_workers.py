"""Worker processes for large JSON, so that small requests do not wait for it.

Threads do not help: the parser holds Python's global lock until it is done, a tenth of a second for 8 MB, and blocks
all other threads. The processes import only light modules, not TensorFlow.
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

# In bytes. Smaller content takes less time to process than to send to another process and back.
LARGE_BYTES = 2**17

P = ParamSpec("P")

T = TypeVar("T")


async def call_in_thread(size: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Call a function, in a thread if it processes many bytes, so that other requests continue.

    Args:
        size: Number of bytes that the function reads or writes.
        work: Function of `given` and `named` that holds Python's global lock for short times only.
    """
    return work(*given, **named) if size < LARGE_BYTES else await asyncio.to_thread(work, *given, **named)


class JsonWorkers:
    """A pool of processes that start when first needed and end with the server, even if it is killed."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def call(self, size: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Call a function, in another process if it processes many bytes, and return its result.

        Args:
            size: Number of bytes that the function reads or writes.
            work, given, named: Function and arguments; they and the result must be picklable.

        Raises:
            Refusal: If the processes were killed twice in a row.
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
                # A process was killed, for example because the system ran out of memory. The next attempt starts new
                # ones. The work never runs in the server's own process, which could then be killed too.
                if self._pool is pool:
                    self._pool = None
        raise Refusal(
            StatusCode.UNAVAILABLE,
            "The processes that read and write large requests were killed. Send a smaller request, or try again later",
        )

    def close(self) -> None:
        """Stop the processes without waiting for them."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
