"""Threads for loads and calls of models, of which some may never end.

Python cannot end a thread, and TensorFlow cannot end an operation that runs. A job that takes too long is therefore
left behind in its thread, and the next job gets another one. A process for each model could be killed, but every one
would import TensorFlow (seconds, and hundreds of megabytes), and every call would copy its tensors there and back.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Threads, of which those that never end are left behind.
MAX_THREADS = 1024
# TensorFlow runs the operations of all models in threads of its own, and each call that never ends keeps one. Its
# default is one for each core, so that a few such calls stop every model.
INTER_OP_THREADS = 64


class JobThreads:
    """Runs jobs in threads, so many at a time.

    A job that takes longer than `patience` gives its place to another one and goes on beside it.

    Args:
        name: what the names of the threads begin with.
        places: jobs at a time.
        patience: seconds for which a job counts.
    """

    def __init__(self, name: str, places: int, patience: float) -> None:
        self.free, self._patience = places, patience
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=name)

    def start(self, work: Callable[[], T], freed: Callable[[], None]) -> asyncio.Future[T]:
        """Run a job now.

        Args:
            freed: called once the job's place is free.
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
        # Nobody may wait for one that was late.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def queue(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run a job once there is a place for it; returns when it has begun."""
        while self.free < 1:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        return self.start(work, self._next)

    def close(self) -> None:
        """Begin no further job, without waiting for those that run."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
