"""Threads and processes for work that must not block the event loop: calls of models, and large JSON.

Calls and loads of models, some of which may never end, run in threads. Python cannot stop a thread, and TensorFlow
cannot stop a running operation, so a job that takes too long is left in its thread, and the next job gets another one.
A process per model could be killed, but each would import TensorFlow (seconds and hundreds of megabytes), and every
call would copy its tensors between processes.

Large JSON is parsed and written in processes. Threads do not help there: the parser holds Python's global lock until
it is done, a tenth of a second for 8 MB, and blocks all other threads. The processes import only light modules, not
TensorFlow.
"""

import asyncio
import multiprocessing
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.startup import follow_parent

T = TypeVar("T")

# The pool must have enough threads even if some never end.
MAX_THREADS = 1024


class JobThreads:
    """A pool of threads with a limited number of slots for jobs.

    A job that takes longer than `patience` frees its slot and continues to run.

    Args:
        name: The prefix of the names of the threads.
        places: The number of slots.
        patience: Seconds after which a job frees its slot.
    """

    def __init__(self, name: str, places: int, patience: float) -> None:
        self.free, self._patience = places, patience
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=name)

    def start(self, work: Callable[[], T], freed: Callable[[], None]) -> asyncio.Future[T]:
        """Start a job now.

        Args:
            work: The job.
            freed: Function that is called when the job frees its slot.
        """
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, work)
        self.free -= 1
        held = True

        def free(_: object = None) -> None:
            nonlocal held
            timer.cancel()
            if held:
                held = False
                self.free += 1
                freed()

        timer = loop.call_later(self._patience, free)
        future.add_done_callback(free)
        # The exception of a late job must be retrieved, because no caller may be waiting for it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def queue(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Wait for a free slot, start a job, and return its future."""
        while self.free < 1:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        return self.start(work, self._next)

    def close(self) -> None:
        """Start no further jobs, without waiting for running ones."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


# In bytes. Smaller content takes less time to process than to send to another process and back.
LARGE_BYTES = 2**17
# In seconds. The processes may be busy when the server stops.
CLOSE_SECONDS = 1.0

P = ParamSpec("P")


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
                    max(1, min(4, (os.cpu_count() or 2) - 1)),
                    multiprocessing.get_context("spawn"),
                    follow_parent,
                    (os.getpid(),),
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

    async def close(self) -> None:
        """Stop the processes and wait at most `CLOSE_SECONDS` for them."""
        if self._pool is not None:
            stopping = asyncio.create_task(asyncio.to_thread(self._pool.shutdown, cancel_futures=True))
            self._pool = None
            await asyncio.wait([stopping], timeout=CLOSE_SECONDS)
