"""Micro-batching: requests that wait at the same time for the same signature are answered by one call.

A call costs about as much for sixteen samples as for one, so under load a server gains by letting requests ride
together. Nothing waits for company unless asked (`wait`): while one call runs, the next batch gathers by itself.
The options are TensorFlow Serving's (`max_batch_size`, `batch_timeout_micros`, `max_enqueued_batches`,
`num_batch_threads`); see https://www.tensorflow.org/tfx/serving/serving_config, "Batching configuration".

All of it lives on one event loop; only the calls run in threads.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.serving.refusals import Code, Refusal
from lstm_ae.serving.rows import by_row, count, filled, joined, part
from lstm_ae.serving.servable import Tensors

Run = Callable[[Tensors], Tensors]
# What the names of the threads begin with.
CALLING = "model"


class Batching(NamedTuple):
    """How requests are gathered.

    Args:
        size: most samples in a call; 1 turns batching off.
        wait: seconds that a request may wait for others.
        queue: where so many calls' worth of samples wait, further requests are refused as UNAVAILABLE.
        threads: calls at the same time.
        sizes: the sizes that a call may have, ascending, the last one `size`; smaller batches are filled up by their
            last row. Empty: any size.
    """

    size: int = 64
    wait: float = 0.0
    queue: int = 100
    threads: int = 2
    sizes: tuple[int, ...] = ()


class _Item(NamedTuple):
    inputs: Tensors
    rows: int
    deadline: float
    answer: "asyncio.Future[Tensors]"


class _Lane:
    """The requests that may ride together: one signature of one version, one shape of a sample."""

    def __init__(self, run: Run, sizes: tuple[int, ...]) -> None:
        self.run, self.sizes = run, sizes
        self.items: deque[_Item] = deque()
        self.rows = 0
        self.ready = False
        self.timer: asyncio.TimerHandle | None = None


class Batcher:
    """Gathers requests and runs them in threads."""

    def __init__(self, batching: Batching) -> None:
        self.batching = batching
        self._lanes: dict[Hashable, _Lane] = {}
        self._ready: deque[tuple[Hashable, _Lane]] = deque()
        self._free = batching.threads
        self._waiting = 0
        self._pool = ThreadPoolExecutor(batching.threads, thread_name_prefix=CALLING)

    async def submit(self, key: Hashable, run: Run, inputs: Tensors, rows: int, *, deadline: float) -> Tensors:
        """The outputs of `run` for these inputs.

        Args:
            key: requests of one key may ride together; they call the same `run`.
            run: from inputs to outputs; all of them have rows, as many as there are samples, where `rows`.
            rows: samples in the inputs, or 0 where they cannot be told: then nothing rides with them.
            deadline: by the event loop's clock.

        Raises:
            Refusal: the queue is full, the deadline has passed, or `run` refused these inputs.
        """
        limit = self.batching.size
        if self._waiting >= self.batching.queue * limit:
            raise Refusal(Code.UNAVAILABLE, "The queue of requests is full; try again later")
        if rows > limit:
            parts = [part(inputs, slice(start, start + limit)) for start in range(0, rows, limit)]
            many = [self._one(key, run, some, count(some), deadline) for some in parts]
            return joined(
                [by_row(answer, count(some)) for answer, some in zip(await _together(many), parts, strict=True)]
            )
        if rows == 0 or limit == 1:
            key = (key, object())
        return await self._one(key, run, inputs, rows, deadline)

    async def _one(self, key: Hashable, run: Run, inputs: Tensors, rows: int, deadline: float) -> Tensors:
        loop = asyncio.get_running_loop()
        item = _Item(inputs, rows, deadline, loop.create_future())
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(run, self.batching.sizes if rows else ())
        lane.items.append(item)
        lane.rows += rows
        self._waiting += self._weight(item)
        if lane.rows >= self.batching.size or not self.batching.wait or not rows:
            self._make_ready(key, lane)
        elif lane.timer is None and not lane.ready:
            lane.timer = loop.call_later(self.batching.wait, self._make_ready, key, lane)
        try:
            async with asyncio.timeout_at(deadline):
                return await item.answer
        except TimeoutError:
            raise Refusal(Code.DEADLINE_EXCEEDED, "The deadline has passed before there was an answer") from None

    def close(self) -> None:
        """End the threads, without waiting for what runs in them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _make_ready(self, key: Hashable, lane: _Lane) -> None:
        if lane.timer:
            lane.timer.cancel()
            lane.timer = None
        if not lane.ready:
            lane.ready = True
            self._ready.append((key, lane))
        self._dispatch()

    def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._free and self._ready:
            key, lane = self._ready.popleft()
            lane.ready = False
            items = self._take(lane, loop.time())
            if lane.items:
                # In turn with the other lanes.
                lane.ready = True
                self._ready.append((key, lane))
            else:
                if lane.timer:
                    lane.timer.cancel()
                if self._lanes.get(key) is lane:
                    del self._lanes[key]
            if items:
                self._free -= 1
                task = loop.run_in_executor(self._pool, _call, lane.run, lane.sizes, [item.inputs for item in items])
                task.add_done_callback(functools.partial(self._answer, items))

    def _take(self, lane: _Lane, now: float) -> list[_Item]:
        """As many waiting requests as fit; those that nobody waits for any longer are dropped."""
        taken: list[_Item] = []
        rows = 0
        while lane.items and (not taken or rows + lane.items[0].rows <= self.batching.size):
            item = lane.items.popleft()
            lane.rows -= item.rows
            self._waiting -= self._weight(item)
            if not item.answer.done() and item.deadline > now:
                taken.append(item)
                rows += item.rows
        return taken

    def _weight(self, item: _Item) -> int:
        # What rides alone is a call's worth, whatever it holds.
        return item.rows or self.batching.size

    def _answer(self, items: list[_Item], done: "asyncio.Future[list[Tensors | Exception]]") -> None:
        self._free += 1
        for item, answer in zip(items, done.result(), strict=True):
            if item.answer.done():
                continue
            if isinstance(answer, Exception):
                item.answer.set_exception(answer)
            else:
                item.answer.set_result(answer)
        self._dispatch()


def _call(run: Run, sizes: tuple[int, ...], requests: list[Tensors]) -> list[Tensors | Exception]:
    """In a thread: one call for all, and if that fails one for each, so that a bad request fails alone."""
    try:
        return [*_ride(run, sizes, requests)]
    except Exception as error:
        if len(requests) == 1:
            return [error]
    return [answer for request in requests for answer in _call(run, sizes, [request])]


def _ride(run: Run, sizes: tuple[int, ...], requests: list[Tensors]) -> list[Tensors]:
    if len(requests) == 1 and not sizes:
        return [run(requests[0])]
    together = joined(requests)
    whole = filled(together, sizes)
    outputs = by_row(run(whole), count(whole))
    ends = np.cumsum([count(request) for request in requests])
    return [part(outputs, slice(end - count(request), end)) for end, request in zip(ends, requests, strict=True)]


async def _together(many: list[Any]) -> list[Tensors]:
    """All answers, or the first error once all have ended."""
    answers: list[Tensors] = []
    for answer in await asyncio.gather(*many, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers
