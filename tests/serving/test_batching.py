"""Test the batcher without a server and without a model."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from processes import CEILING, wait_on_loop

from lstm_ae.serving.batching import Batcher
from lstm_ae.serving.config import ServerConfig
from lstm_ae.serving.errors import Refusal, StatusCode


def batcher_of(size: int = 64, queue: int = 100, **options: int) -> Batcher:
    """Return a batcher with one thread for each model."""
    options = {"max_batch_size": size, "max_enqueued_batches": queue, "num_batch_threads": 1} | options
    return Batcher(ServerConfig(**options))  # type: ignore[arg-type]


class Model:
    """A model; the calls of a held one end when `go` is set.

    Attributes:
        ran: The number of rows of each call, in order of their start.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.go, self.ran = threading.Event(), list[int]()
        if not held:
            self.go.set()

    def run(self, inputs: Any) -> Any:
        self.ran.append(len(inputs["x"]))
        self.go.wait()
        return {"x": inputs["x"], "row": np.arange(len(inputs["x"]))}

    def ask(
        self, batcher: Batcher, rows: int = 1, *, number: float = 0.0, deadline: float = CEILING, run: Any = None
    ) -> Any:
        """Return the task of a request."""
        loop, inputs = asyncio.get_running_loop(), {"x": np.full(max(rows, 1), number, np.float32)}
        work = batcher.submit(self, "k", run or self.run, inputs, rows, deadline=loop.time() + deadline)
        return loop.create_task(work)


async def answers(batcher: Batcher, *rows: int, run: Any = None) -> tuple[Model, list[Any]]:
    """Submit requests with the given numbers of rows at once; return answers, or refusals in their place."""
    model = Model()
    made = [model.ask(batcher, count, number=number, run=run) for number, count in enumerate(rows)]
    found = await asyncio.gather(*made, return_exceptions=True)
    batcher.close()
    return model, found


@pytest.mark.parametrize(
    ("options", "rows", "sizes"),
    [
        # The first request finds the thread free; the others wait and are batched.
        ({"size": 8}, [1] * 20, [1, 8, 8, 3]),
        ({"size": 8, "batch_timeout_micros": 200_000, "num_batch_threads": 2}, [1, 2, 3], [6]),
        # A large request is split, and its rows are joined again.
        ({"size": 4}, [10], [4, 4, 2]),
        ({"size": 1}, [1, 1, 2], [1, 1, 1, 1]),
    ],
    ids=["waiting", "timeout", "large", "off"],
)
async def test_batches_have_the_allowed_sizes(options: dict[str, Any], rows: list[int], sizes: list[int]) -> None:
    model, found = await answers(batcher_of(**options), *rows)
    assert model.ran == sizes
    assert [answer["x"].tolist() for answer in found] == [[number] * count for number, count in enumerate(rows)]
    if len(rows) == 1:
        assert found[0]["row"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


async def test_invalid_request_does_not_fail_its_batch() -> None:
    def picky(inputs: Any) -> Any:
        if (inputs["x"] == 3).any():
            raise Refusal(StatusCode.INVALID_ARGUMENT, "three")
        return inputs

    _, found = await answers(batcher_of(8), *[1] * 6, run=picky)
    assert [str(a) if isinstance(a, Refusal) else a["x"].item() for a in found] == [0, 1, 2, "three", 4, 5]


@pytest.mark.parametrize(("rows", "size", "accepted"), [(1, 2, 5), (0, 64, 3)], ids=["batched", "unbatched"])
async def test_full_queue_refuses_requests_of_its_model(rows: int, size: int, accepted: int) -> None:
    """One request runs and two batches wait; the queue has room again after they end."""
    batcher, model = batcher_of(size, queue=2), Model(held=True)
    made = [model.ask(batcher, rows) for _ in range(7)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await Model().ask(batcher)
    model.go.set()
    found = await asyncio.gather(*made, return_exceptions=True)
    assert isinstance(await model.ask(batcher, rows), dict)
    batcher.close()
    assert [isinstance(answer, Refusal) for answer in found] == [False] * accepted + [True] * (7 - accepted)
    assert {answer.code for answer in found[accepted:]} == {StatusCode.UNAVAILABLE}


async def test_outputs_with_wrong_row_count_are_not_shared_among_requests() -> None:
    def twice(inputs: Any) -> Any:
        return {"y": np.repeat(inputs["x"], 2)}

    _, found = await answers(batcher_of(8), 1, 1, 1, run=twice)
    assert [answer["y"].tolist() for answer in found] == [[0, 0], [1, 1], [2, 2]]  # each runs alone, unbatched
    _, (answer,) = await answers(batcher_of(2), 3, run=twice)
    assert (answer.code, answer.message[:11]) == (StatusCode.INTERNAL, "The outputs")


async def test_request_past_its_deadline_fails_and_is_not_run() -> None:
    batcher, model = batcher_of(1, queue=1), Model(held=True)
    first = model.ask(batcher)
    await wait_on_loop(lambda: model.ran, model.ran)
    for _ in range(3):  # a request that has failed does not fill the queue
        with pytest.raises(Refusal) as caught:
            await model.ask(batcher, 0, deadline=0.02)
        assert caught.value.code == StatusCode.DEADLINE_EXCEEDED
    assert not batcher._queues[model].lanes
    assert not batcher._queues[model].ready
    model.go.set()
    await first
    assert model.ran == [1]
    await model.ask(batcher)
    batcher.close()


async def test_all_requests_are_answered_with_a_batch_timeout() -> None:
    """Calls are slow, and requests arrive while others wait, run, or time out."""

    def slow(inputs: Any) -> Any:
        time.sleep(0.02)
        return inputs

    batcher, model = batcher_of(4, batch_timeout_micros=5000), Model()
    made = []
    for number in range(60):
        made.append(model.ask(batcher, number=number, run=slow))
        await asyncio.sleep(0.001 * (number % 13))
    found = await asyncio.gather(*made)
    assert not batcher._queues[model].lanes
    batcher.close()
    assert [answer["x"].item() for answer in found] == list(range(60))


async def test_endless_call_does_not_block_other_models() -> None:
    batcher, endless, plus = batcher_of(), Model(held=True), Model()
    stuck = [endless.ask(batcher) for _ in range(3)]
    for _ in range(3):
        await plus.ask(batcher)
    assert (endless.ran, plus.ran) == ([1], [1] * 3)
    endless.go.set()
    await asyncio.gather(*stuck)
    batcher.close()


async def test_large_request_does_not_block_small_requests() -> None:
    """Small requests for the same model and shape run between its batches, which do not fill the queue."""
    batcher, model = batcher_of(2, queue=3), Model()
    large = model.ask(batcher, 40)
    await asyncio.sleep(0)
    await asyncio.gather(large, model.ask(batcher))
    assert 1 in model.ran[:4]
    assert model.ran.count(2) == 20
    batcher.close()


async def test_queue_of_a_model_goes_with_the_model() -> None:
    batcher, model = Batcher(ServerConfig()), Model()
    await model.ask(batcher)
    del model
    await wait_on_loop(lambda: not batcher._queues, dict(batcher._queues))
