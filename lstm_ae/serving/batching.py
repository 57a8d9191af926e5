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
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.tensors import Tensors, concatenate_tensors, count_rows, pad_rows, require_row_outputs, take_rows
from lstm_ae.serving.workers import JobThreads

Run = Callable[[Tensors], Tensors]
# What the names of the threads begin with.
CALL_THREAD_PREFIX = "model"
# Seconds after which a call that still runs lets another one begin.
CALL_PATIENCE = 1.0


class BatchingConfig(NamedTuple):
    """How requests are gathered.

    Args:
        size: most samples in a call; 1 turns batching off.
        wait: seconds that a request may wait for others.
        queue: where so many calls' worth of a model's samples wait, further requests are refused as UNAVAILABLE.
        threads: calls at the same time, those left out that take long.
        sizes: the sizes that a call may have, ascending, the last one `size`; smaller batches are filled up by their
            last row. Empty: any size.
    """

    size: int = 64
    wait: float = 0.0
    queue: int = 100
    threads: int = 2
    sizes: tuple[int, ...] = ()


class _QueuedRequest(NamedTuple):
    inputs: Tensors
    rows: int
    deadline: float
    answer: "asyncio.Future[Tensors]"


class _CallTarget(NamedTuple):
    """What is called.

    Args:
        run: from inputs to outputs.
        owner: the model.
        long: whether a call is known to take long.
    """

    run: Run
    owner: Hashable
    long: bool


class _RequestQueue:
    """The requests that may ride together: one signature of one version, one shape of a sample."""

    def __init__(self, target: _CallTarget, sizes: tuple[int, ...]) -> None:
        self.target, self.sizes = target, sizes
        self.items: deque[_QueuedRequest] = deque()
        self.rows = 0
        self.ready = False
        self.timer: asyncio.TimerHandle | None = None


class _BatchCall:
    """A batch on its way through the model."""

    def __init__(self, target: _CallTarget, items: list[_QueuedRequest]) -> None:
        self.target, self.items = target, items
        self.timer: asyncio.TimerHandle | None = None
        self.late = False


class _ModelLoad:
    """What a model has in the batcher: samples that wait, and calls that run or are late, each by `long`."""

    def __init__(self) -> None:
        self.waiting = 0
        self.running = [0, 0]
        self.late = [0, 0]


class Batcher:
    """Gathers requests and runs them in threads.

    No model keeps others waiting: each has a queue of its own and at most `threads` calls at a time, and a call that
    takes longer than `CALL_PATIENCE` gives its place to another one. Long calls run one at a time beside all others.

    Args:
        limit: seconds of a call; one that takes longer is late, and nothing like it is called until it has ended.
    """

    def __init__(self, batching: BatchingConfig, limit: float = 60.0) -> None:
        self.batching, self.limit = batching, limit
        self._late: Callable[[Any, bool, str], None] = lambda owner, long, reason: None
        self._ended: Callable[[Any, bool], None] = lambda owner, long: None
        self._lanes: dict[Hashable, _RequestQueue] = {}
        self._loads: dict[Hashable, _ModelLoad] = {}
        # By whether they are for long calls.
        self._ready: tuple[deque[tuple[Hashable, _RequestQueue]], ...] = (deque(), deque())
        self._workers = (
            JobThreads(CALL_THREAD_PREFIX, batching.threads, CALL_PATIENCE),
            JobThreads(f"{CALL_THREAD_PREFIX}-long", 1, limit),
        )

    def watch(self, late: Callable[[Any, bool, str], None], ended: Callable[[Any, bool], None]) -> None:
        """Report calls that are late.

        Args:
            late: called with the owner, whether its call is a long one, and the reason to refuse others.
            ended: called with the owner and the same once none of them runs any longer.
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
        """The outputs of `run` for these inputs.

        Args:
            key: requests of one key may ride together; they call the same `run`.
            run: from inputs to outputs; all of them have rows, as many as there are samples, where `rows`.
            rows: samples in the inputs, or 0 where they cannot be told: then nothing rides with them.
            deadline: by the event loop's clock.
            owner: the model that is called.
            long: whether the call is known to take long.

        Raises:
            Refusal: the queue is full, the deadline has passed, or `run` refused these inputs.
        """
        limit = self.batching.size
        load = self._loads.get(owner, _ModelLoad())
        if load.waiting >= self.batching.queue * limit:
            raise Refusal(StatusCode.UNAVAILABLE, "The queue of requests is full; try again later")
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
        """A large request, cut; few parts of it wait at a time, and in a lane of their own, so that others pass."""
        starts = iter(range(0, rows, self.batching.size))
        answers: dict[int, Tensors] = {}

        async def ride() -> None:
            for start in starts:
                some = take_rows(inputs, slice(start, start + self.batching.size))
                try:
                    answer = await self._one((key, "parts"), target, some, count_rows(some), deadline)
                    answers[start] = require_row_outputs(answer, count_rows(some))
                except BaseException:
                    for _ in starts:  # what is left would be in vain
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
            raise Refusal(StatusCode.DEADLINE_EXCEEDED, "The deadline has passed before there was an answer") from None

    def close(self) -> None:
        """End the threads, without waiting for what runs in them."""
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
                items = self._take(lane, now)
                if lane.items:
                    # In turn with the other lanes.
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
        # A batch that is repeated request by request is as many calls, each of which has its time.
        again = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, self._time, call)
        work = functools.partial(_run_batch, run, lane.sizes, [item.inputs for item in call.items], again)
        future = self._workers[long].start(work, self._dispatch)
        future.add_done_callback(functools.partial(self._answer, call))

    def _time(self, call: _BatchCall) -> None:
        """Let the time of a call begin."""
        if call.timer:
            call.timer.cancel()
        if not call.late:
            call.timer = asyncio.get_running_loop().call_later(self.limit, self._is_late, call)

    def _take(self, lane: _RequestQueue, now: float) -> list[_QueuedRequest]:
        """As many waiting requests as fit; those that nobody waits for any longer are dropped."""
        taken: list[_QueuedRequest] = []
        rows = 0
        while lane.items and (not taken or rows + lane.items[0].rows <= self.batching.size):
            item = lane.items.popleft()
            lane.rows -= item.rows
            self._loads[lane.target.owner].waiting -= self._weight(item)
            if not item.answer.done() and item.deadline > now:
                taken.append(item)
                rows += item.rows
        return taken

    def _weight(self, item: _QueuedRequest) -> int:
        # What rides alone is a call's worth, whatever it holds.
        return item.rows or self.batching.size

    def _reason(self) -> str:
        return f"A call of this model has not ended within {self.limit:g} s; try again once it has"

    def _is_late(self, call: _BatchCall) -> None:
        _, owner, long = call.target
        load = self._loads[owner]
        call.late = True
        load.late[long] += 1
        # Those that wait learn it now: nothing like it is called until it ends.
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
        """A model that has nothing here any longer need not stay in memory."""
        load = self._loads.get(owner)
        if load and not load.waiting and not any(load.running):
            del self._loads[owner]


def _run_batch(
    run: Run, sizes: tuple[int, ...], requests: list[Tensors], again: Callable[[], object]
) -> list[Tensors | Exception]:
    """In a thread: one call for all, and if that fails one for each, so that a bad request fails alone.

    Args:
        again: called before each of the latter.
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
