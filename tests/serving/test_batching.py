"""Test the batcher without a server and without a model."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from processes import CEILING, wait_on_loop

from lstm_ae.serving import batching as module
from lstm_ae.serving.batching import Batcher
from lstm_ae.serving.config import BatchingConfig
from lstm_ae.serving.errors import Refusal, StatusCode


def calls(batcher: Batcher, answers: Any, *rows: int, key: Any = "k", deadline: float = CEILING) -> list[Any]:
    """Submit requests with the given numbers of rows at once; return answers, or refusals in their place."""

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


@pytest.mark.parametrize(
    ("options", "rows", "sizes"),
    [
        # The first request finds the thread free; the others wait and are batched.
        ({"size": 8}, [1] * 20, [1, 8, 8, 3]),
        ({"size": 8, "wait": 0.2, "threads": 2}, [1, 2, 3], [6]),
        # A large request is split, and its rows are joined again.
        ({"size": 4}, [10], [4, 4, 2]),
        # Batches are padded to allowed sizes.
        ({"size": 8, "sizes": (2, 8)}, [1, 1, 2], [2, 8]),
    ],
    ids=["waiting", "timeout", "large", "padded"],
)
def test_batches_have_the_allowed_sizes(options: dict[str, Any], rows: list[int], sizes: list[int]) -> None:
    seen: list[int] = []

    def numbered(inputs: Any) -> Any:
        seen.append(len(inputs["x"]))
        return {"x": inputs["x"], "row": np.arange(len(inputs["x"]))}

    answers = calls(Batcher(BatchingConfig(**{"threads": 1} | options)), numbered, *rows)
    assert seen == sizes
    assert [answer["x"].tolist() for answer in answers] == [[number] * count for number, count in enumerate(rows)]
    if len(rows) == 1:
        assert answers[0]["row"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_invalid_request_does_not_fail_its_batch() -> None:
    def picky(inputs: Any) -> Any:
        if (inputs["x"] == 3).any():
            raise Refusal(StatusCode.INVALID_ARGUMENT, "three")
        return inputs

    answers = calls(Batcher(BatchingConfig(size=8, threads=1)), picky, *[1] * 6)
    assert [str(a) if isinstance(a, Refusal) else a["x"].item() for a in answers] == [0, 1, 2, "three", 4, 5]


@pytest.mark.parametrize(("rows", "size", "accepted"), [(1, 2, 5), (0, 64, 3)], ids=["batched", "unbatched"])
async def test_full_queue_refuses_requests(rows: int, size: int, accepted: int) -> None:
    """One request runs and two batches wait; the queue has room again after they end."""
    go = threading.Event()

    def slow(inputs: Any) -> Any:
        go.wait()
        return inputs

    batcher = Batcher(BatchingConfig(size=size, queue=2, threads=1))
    at = asyncio.get_running_loop().time() + CEILING

    def submit() -> Any:
        return batcher.submit("k", slow, {"x": np.zeros(1)}, rows, deadline=at)

    made = [asyncio.create_task(submit()) for _ in range(7)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go.set()
    answers = await asyncio.gather(*made, return_exceptions=True)
    assert isinstance(await submit(), dict)
    batcher.close()
    assert [isinstance(answer, Refusal) for answer in answers] == [False] * accepted + [True] * (7 - accepted)
    assert {answer.code for answer in answers[accepted:]} == {StatusCode.UNAVAILABLE}


def test_outputs_with_wrong_row_count_are_not_shared_among_requests() -> None:
    def twice(inputs: Any) -> Any:
        return {"y": np.repeat(inputs["x"], 2)}

    answers = calls(Batcher(BatchingConfig(size=8, threads=1)), twice, 1, 1, 1)
    assert [answer["y"].tolist() for answer in answers] == [[0, 0], [1, 1], [2, 2]]  # each runs alone, unbatched
    for batching in (BatchingConfig(size=2, threads=1), BatchingConfig(size=8, threads=1, sizes=(4, 8))):
        (answer,) = calls(Batcher(batching), twice, 3)
        assert isinstance(answer, Refusal)
        assert answer.message.startswith("The outputs do not have one row per sample")


async def test_request_past_its_deadline_fails_and_is_not_run() -> None:
    go, ran = threading.Event(), []

    def slow(inputs: Any) -> Any:
        ran.append(inputs["x"][0])
        go.wait()
        return inputs

    batcher = Batcher(BatchingConfig(size=1, threads=1))
    now = asyncio.get_running_loop().time()
    first = asyncio.create_task(batcher.submit("k", slow, {"x": np.zeros(1)}, 1, deadline=now + CEILING))
    await asyncio.sleep(0)  # it starts
    late = batcher.submit("k", slow, {"x": np.ones(1)}, 1, deadline=now + 0.05)
    with pytest.raises(Refusal) as caught:
        await late
    go.set()
    await first
    batcher.close()
    assert caught.value.code == StatusCode.DEADLINE_EXCEEDED
    assert ran == [0.0]


async def test_all_requests_are_answered_with_a_batch_timeout() -> None:
    """Calls are slow, and requests arrive while others wait, run, or time out."""

    def slow(inputs: Any) -> Any:
        time.sleep(0.02)
        return inputs

    batcher = Batcher(BatchingConfig(size=4, wait=0.005, threads=1))
    at = asyncio.get_running_loop().time() + CEILING
    made = []
    for number in range(60):
        x = {"x": np.full(1, number)}
        made.append(asyncio.create_task(batcher.submit("k", slow, x, 1, deadline=at)))
        await asyncio.sleep(0.001 * (number % 13))
    answers = await asyncio.gather(*made)
    batcher.close()
    assert not batcher._lanes
    assert [answer["x"].item() for answer in answers] == list(range(60))


class Calls:
    """A batcher with models whose calls the test can hold.

    Attributes:
        ran: Model and number of rows of each call, in order of their start.
        reported: Late and ended calls that the batcher reported.
    """

    def __init__(self, limit: float = 600.0, **options: Any) -> None:
        self.batcher = Batcher(BatchingConfig(**options), limit)
        self.go = threading.Event()
        self.ran: list[tuple[str, int]] = []
        self.reported: list[Any] = []
        self.batcher.watch(
            lambda owner, long, reason: self.reported.append(("late", owner, long)),
            lambda owner, long: self.reported.append(("ended", owner, long)),
        )

    def ask(
        self, owner: str, rows: int = 1, *, held: bool = False, long: bool = False, deadline: float = CEILING
    ) -> Any:
        """Return the task of a request; the call of a `held` request ends when `go` is set."""

        def run(inputs: Any) -> Any:
            self.ran.append((owner, len(inputs["x"])))
            if held:
                self.go.wait()
            return inputs

        loop = asyncio.get_running_loop()
        return loop.create_task(
            self.batcher.submit(
                (owner, held),
                run,
                {"x": np.zeros(rows)},
                rows,
                deadline=loop.time() + deadline,
                owner=owner,
                long=long,
            )
        )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_PATIENCE", 0.01)


async def code_of(answer: Any) -> Any:
    with pytest.raises(Refusal) as caught:
        await answer
    return caught.value.code


@pytest.mark.usefixtures("impatient")
async def test_endless_call_does_not_block_other_models() -> None:
    calls = Calls(threads=1)
    stuck = [calls.ask("endless", held=True) for _ in range(3)]
    await wait_on_loop(lambda: calls.ran, calls.ran)
    for _ in range(3):
        await calls.ask("plus")
    # Requests of the same model wait: a model runs at most as many calls at a time as there are threads.
    assert calls.ran == [("endless", 1), *[("plus", 1)] * 3]
    calls.go.set()
    await asyncio.gather(*stuck)
    assert not calls.batcher._loads
    calls.batcher.close()


@pytest.mark.usefixtures("impatient")
async def test_late_call_is_reported_and_blocks_its_model_until_it_ends() -> None:
    calls = Calls(threads=1, limit=0.05)
    running = calls.ask("endless", held=True, deadline=0.02)
    await wait_on_loop(lambda: calls.ran, calls.ran)
    waiting = calls.ask("endless", held=True)
    assert await code_of(running) == StatusCode.DEADLINE_EXCEEDED
    assert await code_of(waiting) == StatusCode.UNAVAILABLE
    assert await code_of(calls.ask("endless")) == StatusCode.UNAVAILABLE
    await calls.ask("plus")
    assert calls.reported == [("late", "endless", False)]
    calls.go.set()
    await wait_on_loop(lambda: len(calls.reported) == 2, calls.ran)
    assert calls.reported[1] == ("ended", "endless", False)
    await calls.ask("endless")
    calls.batcher.close()


async def test_batch_retried_per_request_is_timed_as_separate_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invalid requests do not mark a model as late if it answers each of them in time."""

    loop, passed = asyncio.get_running_loop(), [0.0]
    monkeypatch.setattr(loop, "time", lambda: passed[0])
    batcher, reported = Batcher(BatchingConfig(size=3, wait=1.0), limit=600.0), []
    batcher.watch(lambda *late: reported.append(late), lambda *_: None)

    def slow(inputs: Any) -> Any:
        passed[0] += 400.0
        for _ in range(3):  # let the event loop see the new time
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        raise Refusal(StatusCode.INVALID_ARGUMENT, "no")

    made = [batcher.submit("k", slow, {"x": np.zeros(1)}, 1, deadline=1e6) for _ in range(3)]
    answers = await asyncio.gather(*made, return_exceptions=True)
    assert [answer.code for answer in answers] == [StatusCode.INVALID_ARGUMENT] * 3
    assert passed[0] == 4 * 400.0
    assert not reported
    batcher.close()


async def test_queue_limit_applies_per_model() -> None:
    calls = Calls(threads=1, size=2, queue=1)
    first = calls.ask("slow", held=True)
    await wait_on_loop(lambda: calls.ran, calls.ran)
    waiting = [calls.ask("slow", held=True) for _ in range(2)]
    await asyncio.sleep(0)
    assert await code_of(calls.ask("slow")) == StatusCode.UNAVAILABLE
    other = calls.ask("plus")
    calls.go.set()
    await asyncio.gather(first, other, *waiting)
    calls.batcher.close()


async def test_long_calls_run_one_at_a_time_without_blocking_short_calls() -> None:
    calls = Calls(threads=1)
    long = [calls.ask(owner, held=True, long=True) for owner in ("a", "a", "b")]
    await wait_on_loop(lambda: calls.ran, calls.ran)
    await asyncio.gather(calls.ask("a"), calls.ask("b"))
    assert calls.ran[0] == ("a", 1)
    assert sorted(calls.ran[1:]) == [("a", 1), ("b", 1)]
    calls.go.set()
    await asyncio.gather(*long)
    calls.batcher.close()


async def test_late_long_call_blocks_only_long_calls_of_its_model() -> None:
    calls = Calls(threads=1, limit=0.05)
    running = calls.ask("endless", held=True, long=True)
    await wait_on_loop(lambda: calls.reported, calls.ran)
    assert calls.reported == [("late", "endless", True)]
    assert await code_of(calls.ask("endless", long=True)) == StatusCode.UNAVAILABLE
    await asyncio.gather(calls.ask("endless"), calls.ask("plus", long=True))
    calls.go.set()
    await running
    # On a busy machine, short calls can be late as well.
    assert [kind for kind, *call in calls.reported if call == ["endless", True]] == ["late", "ended"]
    calls.batcher.close()


async def test_large_request_does_not_block_small_requests() -> None:
    """Small requests for the same model and shape run between its batches."""

    calls = Calls(threads=1, size=2, queue=3)
    calls.go.set()
    large = calls.ask("plus", 40)
    await asyncio.sleep(0)
    small = [calls.ask("plus"), calls.ask("other")]
    await asyncio.gather(large, *small)
    # The batches of a request do not fill the queue; after the first one, the requests take turns.
    assert ("plus", 1) in calls.ran[:4]
    assert ("other", 1) in calls.ran[:4]
    assert calls.ran.count(("plus", 2)) == 20
    calls.batcher.close()


def test_large_request_stops_after_its_first_failed_batch() -> None:
    ran: list[int] = []

    def failing(inputs: Any) -> Any:
        ran.append(len(inputs["x"]))
        raise Refusal(StatusCode.INVALID_ARGUMENT, "no")

    (answer,) = calls(Batcher(BatchingConfig(size=2, threads=1)), failing, 40)
    assert (answer.code, ran) == (StatusCode.INVALID_ARGUMENT, [2])
