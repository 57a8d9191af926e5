"""Micro-batching: requests that wait for the same signature at the same time are answered by one call.

A call takes about as long for sixteen samples as for one, so batching increases the throughput under load. Requests
do not wait for others unless `batch_timeout_micros` is set: while one call runs, the next batch accumulates. The
options are those of TensorFlow Serving (`max_batch_size`, `batch_timeout_micros`, `max_enqueued_batches`,
`num_batch_threads`); see https://www.tensorflow.org/tfx/serving/serving_config, "Batching configuration". Everything
except the calls runs on one event loop. Each model has its own threads, so that a call that never ends blocks no other
model.
"""

import asyncio
import functools
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lstm_ae.serving.config import ServerConfig
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.tensors import Tensors, concatenate_tensors, count_rows, require_row_outputs, take_rows

Run = Callable[[Tensors], Tensors]


class _Request:
    """A waiting request."""

    def __init__(self, inputs: Tensors, rows: int) -> None:
        self.inputs, self.rows = inputs, rows
        self.answer: asyncio.Future[Tensors] = asyncio.get_running_loop().create_future()


class _Lane:
    """The waiting requests that may share a call: one signature of one version, one sample shape."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.requests: deque[_Request] = deque()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def rows(self) -> int:
        """The number of waiting samples."""
        return sum(request.rows for request in self.requests)


class _ModelQueue:
    """The lanes and the threads of a model.

    Attributes:
        ready: The keys of the lanes whose requests need not wait for others.
        waiting_rows: The number of waiting samples.
        idle_threads: The number of idle threads.
    """

    def __init__(self, threads: int) -> None:
        self.lanes: dict[Hashable, _Lane] = {}
        self.ready: deque[Hashable] = deque()
        self.waiting_rows, self.idle_threads = 0, threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="model")

    def remove(self, key: Hashable) -> None:
        """Remove an empty lane."""
        if timer := self.lanes.pop(key).timer:
            timer.cancel()
        if key in self.ready:
            self.ready.remove(key)


class Batcher:
    """A scheduler that combines requests into batches and runs them in threads.

    Args:
        config: The server options.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        # The threads of a model end when the model is no longer in memory.
        self._queues: weakref.WeakKeyDictionary[object, _ModelQueue] = weakref.WeakKeyDictionary()

    async def submit(
        self, owner: object, key: Hashable, run: Run, inputs: Tensors, rows: int, *, deadline: float
    ) -> Tensors:
        """Run a request, possibly together with others, and return its outputs.

        Args:
            owner: The model.
            key: Requests with the same key may share a call; they have the same `run`.
            run: Function from inputs to outputs. If `rows` is not 0, all inputs and outputs have one row per sample.
            inputs: The input arrays by name.
            rows: The number of samples; 0 if unknown, in which case the request runs alone.
            deadline: Time on the event loop's clock.

        Raises:
            Refusal: If the queue is full, the deadline has passed, or `run` refuses the inputs.
        """
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = _ModelQueue(self.config.num_batch_threads)
        size = self.config.max_batch_size
        if queue.waiting_rows >= self.config.max_enqueued_batches * size:
            raise Refusal(StatusCode.UNAVAILABLE, "The request queue is full. Try again later.")
        if rows <= size:
            return await self._run_part(queue, key if rows else (key, object()), run, inputs, rows or size, deadline)
        # Other requests run between the parts of a large one, which wait in a lane of their own.
        outputs = []
        for start in range(0, rows, size):
            part = take_rows(inputs, slice(start, start + size))
            answer = await self._run_part(queue, (key, "parts"), run, part, count_rows(part), deadline)
            outputs.append(require_row_outputs(answer, count_rows(part)))
        return concatenate_tensors(outputs)

    def close(self) -> None:
        """Stop the threads without waiting for running calls."""
        for queue in self._queues.values():
            queue.pool.shutdown(wait=False, cancel_futures=True)

    async def _run_part(
        self, queue: _ModelQueue, key: Hashable, run: Run, inputs: Tensors, rows: int, deadline: float
    ) -> Tensors:
        request, lane = _Request(inputs, rows), queue.lanes.setdefault(key, _Lane(run))
        lane.requests.append(request)
        queue.waiting_rows += rows
        seconds = self.config.batch_timeout_micros / 1e6
        if not seconds or lane.rows >= self.config.max_batch_size:
            self._make_ready(queue, key)
        elif lane.timer is None:
            lane.timer = asyncio.get_running_loop().call_later(seconds, self._make_ready, queue, key)
        try:
            async with asyncio.timeout_at(deadline):
                return await request.answer
        except TimeoutError:
            raise Refusal(StatusCode.DEADLINE_EXCEEDED, "The deadline passed before the response was ready.") from None
        finally:
            if request in lane.requests:
                lane.requests.remove(request)
                queue.waiting_rows -= rows
                # While calls hang, no thread removes the lane.
                if not lane.requests:
                    queue.remove(key)

    def _make_ready(self, queue: _ModelQueue, key: Hashable) -> None:
        if key not in queue.ready:
            queue.ready.append(key)
        self._dispatch(queue)

    def _dispatch(self, queue: _ModelQueue) -> None:
        """Start calls while there are idle threads; the lanes take turns."""
        while queue.idle_threads and queue.ready:
            key = queue.ready.popleft()
            lane = queue.lanes[key]
            if batch := self._next_batch(lane):
                queue.idle_threads -= 1
                queue.waiting_rows -= sum(request.rows for request in batch)
                work = functools.partial(_run_batch, lane.run, [request.inputs for request in batch])
                call = asyncio.get_running_loop().run_in_executor(queue.pool, work)
                call.add_done_callback(functools.partial(self._answer, queue, batch))
            if lane.requests:
                queue.ready.append(key)
                continue
            queue.remove(key)

    def _next_batch(self, lane: _Lane) -> list[_Request]:
        """Remove and return as many waiting requests as fit into a batch."""
        batch: list[_Request] = []
        rows = 0
        while lane.requests and (not batch or rows + lane.requests[0].rows <= self.config.max_batch_size):
            batch.append(lane.requests.popleft())
            rows += batch[-1].rows
        return batch

    def _answer(
        self, queue: _ModelQueue, batch: list[_Request], done: "asyncio.Future[list[Tensors | Exception]]"
    ) -> None:
        queue.idle_threads += 1
        for request, answer in zip(batch, done.result(), strict=True):
            if request.answer.done():
                continue
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        self._dispatch(queue)


def _run_batch(run: Run, requests: list[Tensors]) -> list[Tensors | Exception]:
    """Run one call for all requests and, if it fails, one for each, so that only invalid requests fail."""
    try:
        return [*_run_together(run, requests)]
    except Exception as error:
        if len(requests) == 1:
            return [error]
    return [answer for request in requests for answer in _run_batch(run, [request])]


def _run_together(run: Run, requests: list[Tensors]) -> list[Tensors]:
    if len(requests) == 1:
        return [run(requests[0])]
    batch = concatenate_tensors(requests)
    outputs = require_row_outputs(run(batch), count_rows(batch))
    ends = np.cumsum([count_rows(request) for request in requests])
    return [
        take_rows(outputs, slice(end - count_rows(request), end)) for end, request in zip(ends, requests, strict=True)
    ]
