"""Threads for loads and calls of models, some of which may never end.

Python cannot stop a thread, and TensorFlow cannot stop a running operation. A job that takes too long is therefore
left in its thread, and the next job gets another thread. A process per model could be killed, but each would import
TensorFlow (seconds and hundreds of megabytes), and every call would copy its tensors between processes.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# The pool must have enough threads even if some never end.
MAX_THREADS = 1024
# TensorFlow runs the operations of all models in its own threads, and each call that never ends occupies one. With
# its default of one thread per core, a few such calls would block all models.
INTER_OP_THREADS = 64


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
