"""Micro-batching: requests that wait for the same signature at the same time are answered by one call.

A call takes about as long for sixteen samples as for one, so batching increases the throughput under load. Requests
do not wait for others unless configured (`wait`): while one call runs, the next batch accumulates. The options are
those of TensorFlow Serving (`max_batch_size`, `batch_timeout_micros`, `max_enqueued_batches`, `num_batch_threads`);
see https://www.tensorflow.org/tfx/serving/serving_config, "Batching configuration". Everything except the calls runs
on one event loop; the calls run in threads.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.serving.config import BatchingConfig
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.tensors import Tensors, concatenate_tensors, count_rows, pad_rows, require_row_outputs, take_rows
from lstm_ae.serving.workers import JobThreads

Run = Callable[[Tensors], Tensors]
# In seconds. A call that runs longer no longer occupies its slot.
CALL_PATIENCE = 1.0


class _QueuedRequest(NamedTuple):
    inputs: Tensors
    rows: int
    deadline: float
    answer: "asyncio.Future[Tensors]"


class _CallTarget(NamedTuple):
    """The function that a request calls.

    Args:
        run: Function from inputs to outputs.
        owner: The model.
        long: Whether a call is expected to take long.
    """

    run: Run
    owner: Hashable
    long: bool


class _RequestQueue:
    """The waiting requests that may share a call: one signature of one version, one sample shape."""

    def __init__(self, target: _CallTarget, sizes: tuple[int, ...]) -> None:
        self.target, self.sizes = target, sizes
        self.items: deque[_QueuedRequest] = deque()
        self.rows = 0
        self.ready = False
        self.timer: asyncio.TimerHandle | None = None


class _BatchCall:
    """A running call of a batch."""

    def __init__(self, target: _CallTarget, items: list[_QueuedRequest]) -> None:
        self.target, self.items = target, items
        self.timer: asyncio.TimerHandle | None = None
        self.late = False


class _ModelLoad:
    """The waiting samples, running calls, and late calls of a model; the calls are counted by `long`."""

    def __init__(self) -> None:
        self.waiting = 0
        self.running = [0, 0]
        self.late = [0, 0]


class Batcher:
    """A scheduler that combines requests into batches and runs them in threads.

    Models do not block each other: each has its own queue and at most `threads` concurrent calls, and a call that
    takes longer than `CALL_PATIENCE` frees its slot. Long calls run one at a time, next to all others.

    Args:
        batching: The batching options.
        limit: Seconds after which a call is late. Calls of the same model and kind are then refused until it ends.
    """

    def __init__(self, batching: BatchingConfig, limit: float = 60.0) -> None:
        self.batching, self.limit = batching, limit
        self._late: Callable[[Any, bool, str], None] = lambda owner, long, reason: None
        self._ended: Callable[[Any, bool], None] = lambda owner, long: None
        self._lanes: dict[Hashable, _RequestQueue] = {}
        self._loads: dict[Hashable, _ModelLoad] = {}
        # The second queue is for long calls, which have their own thread.
        self._ready: tuple[deque[tuple[Hashable, _RequestQueue]], ...] = (deque(), deque())
        self._workers = (
            JobThreads("model", batching.threads, CALL_PATIENCE),
            JobThreads("model-long", 1, limit),
        )

    def watch(self, late: Callable[[Any, bool, str], None], ended: Callable[[Any, bool], None]) -> None:
        """Register callbacks for late calls.

        Args:
            late: Called with the owner, whether the call is a long one, and the reason for refusing others.
            ended: Called with the owner and whether the calls are long ones, when none of its late calls runs any
                more.
        """
        self._late, self._ended = late, ended

    async def submit(
        self,
        key: Hashable,
        run: Run,
        inputs: Tensors,
        rows: int,
        *,
        deadline: float,
        owner: Hashable = None,
        long: bool = False,
    ) -> Tensors:
        """Run a request, possibly together with others, and return its outputs.

        Args:
            key: Requests with the same key may share a call; they have the same `run`.
            run: Function from inputs to outputs. If `rows` is not 0, all inputs and outputs have one row per sample.
            inputs: The input arrays by name.
            rows: The number of samples; 0 if unknown, in which case the request runs alone.
            deadline: Time on the event loop's clock.
            owner: The model.
            long: Whether the call is expected to take long.

        Raises:
            Refusal: If the queue is full, a call of the model is late, the deadline has passed, or `run` refuses the
                inputs.
        """
        limit = self.batching.size
        load = self._loads.get(owner, _ModelLoad())
        if load.waiting >= self.batching.queue * limit:
            raise Refusal(StatusCode.UNAVAILABLE, "The request queue is full. Try again later.")
        if load.late[long]:
            raise Refusal(StatusCode.UNAVAILABLE, self._reason())
        target = _CallTarget(run, owner, long)
        if rows > limit:
            return await self._in_parts(key, target, inputs, rows, deadline)
        if rows == 0 or limit == 1:
            key = (key, object())
        return await self._one(key, target, inputs, rows, deadline)

    async def _in_parts(
        self, key: Hashable, target: _CallTarget, inputs: Tensors, rows: int, deadline: float
    ) -> Tensors:
        """Run a large request in parts, few of which wait at a time, in a separate queue, so that others can pass."""
        starts = iter(range(0, rows, self.batching.size))
        answers: dict[int, Tensors] = {}

        async def ride() -> None:
            for start in starts:
                some = take_rows(inputs, slice(start, start + self.batching.size))
                try:
                    answer = await self._one((key, "parts"), target, some, count_rows(some), deadline)
                    answers[start] = require_row_outputs(answer, count_rows(some))
                except BaseException:
                    for _ in starts:  # The remaining parts are skipped, because the request has failed.
                        pass
                    raise

        for end in await asyncio.gather(*(ride() for _ in range(self.batching.threads)), return_exceptions=True):
            if end is not None:
                raise end
        return concatenate_tensors([answers[start] for start in sorted(answers)])

    async def _one(self, key: Hashable, target: _CallTarget, inputs: Tensors, rows: int, deadline: float) -> Tensors:
        loop = asyncio.get_running_loop()
        item = _QueuedRequest(inputs, rows, deadline, loop.create_future())
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _RequestQueue(target, self.batching.sizes if rows else ())
        lane.items.append(item)
        lane.rows += rows
        self._loads.setdefault(target.owner, _ModelLoad()).waiting += self._weight(item)
        if lane.rows >= self.batching.size or not self.batching.wait or not rows:
            self._make_ready(key, lane)
        elif lane.timer is None and not lane.ready:
            lane.timer = loop.call_later(self.batching.wait, self._make_ready, key, lane)
        try:
            async with asyncio.timeout_at(deadline):
                return await item.answer
        except TimeoutError:
            raise Refusal(StatusCode.DEADLINE_EXCEEDED, "The deadline passed before the response was ready.") from None

    def close(self) -> None:
        """Stop the threads without waiting for running calls."""
        for workers in self._workers:
            workers.close()

    def _make_ready(self, key: Hashable, lane: _RequestQueue) -> None:
        if lane.timer:
            lane.timer.cancel()
            lane.timer = None
        if not lane.ready:
            lane.ready = True
            self._ready[lane.target.long].append((key, lane))
        self._dispatch()

    def _dispatch(self) -> None:
        now = asyncio.get_running_loop().time()
        for long, ready in enumerate(self._ready):
            most, blocked = 1 if long else self.batching.threads, 0
            while self._workers[long].free > 0 and blocked < len(ready):
                key, lane = ready.popleft()
                owner = lane.target.owner
                if lane.items and self._loads[owner].running[long] >= most:
                    ready.append((key, lane))
                    blocked += 1
                    continue
                blocked = 0
                lane.ready = False
                items = self._next_batch(lane, now)
                if lane.items:
                    # The queues take turns.
                    lane.ready = True
                    ready.append((key, lane))
                else:
                    if lane.timer:
                        lane.timer.cancel()
                    if self._lanes.get(key) is lane:
                        del self._lanes[key]
                if items:
                    self._start(lane, _BatchCall(lane.target, items))
                else:
                    self._forget(owner)

    def _start(self, lane: _RequestQueue, call: _BatchCall) -> None:
        run, owner, long = call.target
        self._loads[owner].running[long] += 1
        self._time(call)
        # If a batch is repeated request by request, each of these calls has its own time limit.
        again = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, self._time, call)
        work = functools.partial(_run_batch, run, lane.sizes, [item.inputs for item in call.items], again)
        future = self._workers[long].start(work, self._dispatch)
        future.add_done_callback(functools.partial(self._answer, call))

    def _time(self, call: _BatchCall) -> None:
        """Start the time limit of a call."""
        if call.timer:
            call.timer.cancel()
        if not call.late:
            call.timer = asyncio.get_running_loop().call_later(self.limit, self._is_late, call)

    def _next_batch(self, lane: _RequestQueue, now: float) -> list[_QueuedRequest]:
        """Remove and return as many waiting requests as fit into a batch; expired and canceled requests are dropped."""
        batch: list[_QueuedRequest] = []
        rows = 0
        while lane.items and (not batch or rows + lane.items[0].rows <= self.batching.size):
            item = lane.items.popleft()
            lane.rows -= item.rows
            self._loads[lane.target.owner].waiting -= self._weight(item)
            if not item.answer.done() and item.deadline > now:
                batch.append(item)
                rows += item.rows
        return batch

    def _weight(self, item: _QueuedRequest) -> int:
        # A request that runs alone counts as a whole batch, independently of its size.
        return item.rows or self.batching.size

    def _reason(self) -> str:
        return f"A call of this model has not ended within {self.limit:g} s. Try again later."

    def _is_late(self, call: _BatchCall) -> None:
        _, owner, long = call.target
        load = self._loads[owner]
        call.late = True
        load.late[long] += 1
        # Waiting requests are refused now, because no such call starts until this one ends.
        for lane in self._lanes.values():
            if (lane.target.owner, lane.target.long) == (owner, long):
                for item in lane.items:
                    load.waiting -= self._weight(item)
                    if not item.answer.done():
                        item.answer.set_exception(Refusal(StatusCode.UNAVAILABLE, self._reason()))
                lane.items.clear()
                lane.rows = 0
        if load.late[long] == 1:
            self._late(owner, long, self._reason())

    def _answer(self, call: _BatchCall, done: "asyncio.Future[list[Tensors | Exception]]") -> None:
        _, owner, long = call.target
        load = self._loads[owner]
        if call.timer:
            call.timer.cancel()
        load.running[long] -= 1
        load.late[long] -= call.late
        for item, answer in zip(call.items, done.result(), strict=True):
            if item.answer.done():
                continue
            if isinstance(answer, Exception):
                item.answer.set_exception(answer)
            else:
                item.answer.set_result(answer)
        if call.late and not load.late[long]:
            self._ended(owner, long)
        self._forget(owner)
        self._dispatch()

    def _forget(self, owner: Hashable) -> None:
        """Remove the counters of a model without requests, so that its memory can be freed."""
        load = self._loads.get(owner)
        if load and not load.waiting and not any(load.running):
            del self._loads[owner]


def _run_batch(
    run: Run, sizes: tuple[int, ...], requests: list[Tensors], again: Callable[[], object]
) -> list[Tensors | Exception]:
    """Run one call for all requests and, if it fails, one for each, so that only invalid requests fail.

    This function runs in a thread.

    Args:
        run: Function from inputs to outputs.
        sizes: The allowed batch sizes; empty for any size.
        requests: The inputs of each request.
        again: Called before each single call.
    """
    try:
        return [*_run_concatenated(run, sizes, requests)]
    except Exception as error:
        if len(requests) == 1:
            return [error]
    answers = []
    for request in requests:
        again()
        answers += _run_batch(run, sizes, [request], again)
    return answers


def _run_concatenated(run: Run, sizes: tuple[int, ...], requests: list[Tensors]) -> list[Tensors]:
    if len(requests) == 1 and not sizes:
        return [run(requests[0])]
    together = concatenate_tensors(requests)
    whole = pad_rows(together, sizes)
    outputs = require_row_outputs(run(whole), count_rows(whole))
    ends = np.cumsum([count_rows(request) for request in requests])
    return [
        take_rows(outputs, slice(end - count_rows(request), end)) for end, request in zip(ends, requests, strict=True)
    ]
