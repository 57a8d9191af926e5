"""Requests that ride together: no server and no model, only what gathers them."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from lstm_ae.serving.batching import Batcher, Batching
from lstm_ae.serving.refusals import Code, Refusal


def calls(batcher: Batcher, answers: Any, *rows: int, key: Any = "k", deadline: float = 10.0) -> list[Any]:
    """Submit requests of so many rows at once; a refusal stands in place of its answer."""

    async def work() -> list[Any]:
        at = asyncio.get_running_loop().time() + deadline
        made = [
            batcher.submit(key, answers, {"x": np.full(n, number, np.float32)}, n, deadline=at)
            for number, n in enumerate(rows)
        ]
        try:
            return await asyncio.gather(*made, return_exceptions=True)
        finally:
            batcher.close()

    return asyncio.run(work())


def test_requests_that_wait_ride_together() -> None:
    sizes: list[int] = []

    def double(inputs: Any) -> Any:
        sizes.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    answers = calls(Batcher(Batching(size=8, threads=1)), double, *[1] * 20)
    assert [answer["y"].tolist() for answer in answers] == [[2.0 * k] for k in range(20)]
    # The first finds the thread free; the others gather behind it.
    assert sizes == [1, 8, 8, 3]


def test_a_batch_waits_for_company_if_told_to() -> None:
    sizes: list[int] = []

    def same(inputs: Any) -> Any:
        sizes.append(len(inputs["x"]))
        return inputs

    calls(Batcher(Batching(size=8, wait=0.2, threads=2)), same, 1, 2, 3)
    assert sizes == [6]


def test_a_large_request_is_cut_and_put_together_again() -> None:
    sizes: list[int] = []

    def same(inputs: Any) -> Any:
        sizes.append(len(inputs["x"]))
        return {"y": np.arange(len(inputs["x"])) + inputs["x"]}

    (answer,) = calls(Batcher(Batching(size=4, threads=1)), same, 10)
    assert sizes == [4, 4, 2]
    assert answer["y"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_batches_of_allowed_sizes_are_filled_up() -> None:
    sizes: list[int] = []

    def same(inputs: Any) -> Any:
        sizes.append(len(inputs["x"]))
        return inputs

    answers = calls(Batcher(Batching(size=8, threads=1, sizes=(2, 8))), same, 1, 1, 2)
    assert sizes == [2, 8]
    assert [answer["x"].tolist() for answer in answers] == [[0], [1], [2, 2]]


def test_a_bad_request_fails_alone() -> None:
    def picky(inputs: Any) -> Any:
        if (inputs["x"] == 3).any():
            raise Refusal(Code.INVALID_ARGUMENT, "three")
        return inputs

    answers = calls(Batcher(Batching(size=8, threads=1)), picky, *[1] * 6)
    assert [str(a) if isinstance(a, Refusal) else a["x"].item() for a in answers] == [0, 1, 2, "three", 4, 5]


def test_a_full_queue_refuses() -> None:
    go = threading.Event()

    def slow(inputs: Any) -> Any:
        go.wait(5)
        return inputs

    async def work() -> list[Any]:
        batcher = Batcher(Batching(size=2, queue=2, threads=1))
        at = asyncio.get_running_loop().time() + 10
        made = [asyncio.create_task(batcher.submit("k", slow, {"x": np.zeros(1)}, 1, deadline=at)) for _ in range(7)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go.set()
        answers = await asyncio.gather(*made, return_exceptions=True)
        batcher.close()
        return answers

    refused = [answer for answer in asyncio.run(work()) if isinstance(answer, Refusal)]
    # One runs, four wait.
    assert [refusal.code for refusal in refused] == [Code.UNAVAILABLE, Code.UNAVAILABLE]


def test_nobody_gets_rows_of_anothers_answer() -> None:
    def twice(inputs: Any) -> Any:
        return {"y": np.repeat(inputs["x"], 2)}

    answers = calls(Batcher(Batching(size=8, threads=1)), twice, 1, 1, 1)
    assert [answer["y"].tolist() for answer in answers] == [[0, 0], [1, 1], [2, 2]]  # each alone, as without batching
    for batching in (Batching(size=2, threads=1), Batching(size=8, threads=1, sizes=(4, 8))):
        (answer,) = calls(Batcher(batching), twice, 3)
        assert isinstance(answer, Refusal)
        assert answer.message.startswith("The model does not answer row by row: send fewer rows")


def test_what_rides_alone_fills_the_queue_as_well() -> None:
    go = threading.Event()

    def slow(inputs: Any) -> Any:
        go.wait(5)
        return inputs

    async def work() -> list[Any]:
        batcher = Batcher(Batching(size=64, queue=2, threads=1))
        at = asyncio.get_running_loop().time() + 10
        made = [asyncio.create_task(batcher.submit("k", slow, {"x": np.zeros(1)}, 0, deadline=at)) for _ in range(7)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go.set()
        answers = await asyncio.gather(*made, return_exceptions=True)
        assert isinstance(await batcher.submit("k", slow, {"x": np.zeros(1)}, 0, deadline=at), dict)
        batcher.close()
        return answers

    # One runs, two wait, and once they have ended there is room again.
    assert [isinstance(answer, Refusal) for answer in asyncio.run(work())] == [False] * 3 + [True] * 4


def test_a_deadline_ends_waiting_and_what_is_late_is_not_run() -> None:
    go, ran = threading.Event(), []

    def slow(inputs: Any) -> Any:
        ran.append(inputs["x"][0])
        go.wait(5)
        return inputs

    async def work() -> list[Any]:
        batcher = Batcher(Batching(size=1, threads=1))
        now = asyncio.get_running_loop().time()
        first = asyncio.create_task(batcher.submit("k", slow, {"x": np.zeros(1)}, 1, deadline=now + 10))
        await asyncio.sleep(0)  # it starts
        late = batcher.submit("k", slow, {"x": np.ones(1)}, 1, deadline=now + 0.05)
        with pytest.raises(Refusal) as caught:
            await late
        go.set()
        await first
        batcher.close()
        return [caught.value.code]

    assert asyncio.run(work()) == [Code.DEADLINE_EXCEEDED]
    assert ran == [0.0]


def test_requests_that_wait_for_company_are_all_answered() -> None:
    """Slow calls, and requests that come while others wait, run or time out."""

    def slow(inputs: Any) -> Any:
        time.sleep(0.02)
        return inputs

    async def work() -> list[Any]:
        batcher = Batcher(Batching(size=4, wait=0.005, threads=1))
        at = asyncio.get_running_loop().time() + 5
        made = []
        for number in range(60):
            x = {"x": np.full(1, number)}
            made.append(asyncio.create_task(batcher.submit("k", slow, x, 1, deadline=at)))
            await asyncio.sleep(0.001 * (number % 13))
        answers = await asyncio.gather(*made)
        batcher.close()
        assert not batcher._lanes
        return [answer["x"].item() for answer in answers]

    assert asyncio.run(work()) == list(range(60))
