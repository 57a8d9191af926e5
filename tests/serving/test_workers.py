"""Large JSON beside the server: the same answers and refusals from another process, whatever happens to that."""

import asyncio
import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import children, until_gone, wait_for
from served_models import ask, run, save, service
from servers import live

from lstm_ae.serving import batching, server
from lstm_ae.serving.config import BatchingConfig
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.workers import LARGE_BYTES, JsonWorkers

PREDICT = "/v1/models/plus:predict"
ROW = np.arange(20_000, dtype=float) / 8
BODY = json.dumps({"instances": [ROW.tolist()]}).encode()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save(folder / "plus", 1)
    return folder


@pytest.fixture
def apart() -> Iterator[JsonWorkers]:
    made = JsonWorkers()
    yield made
    made.close()


def test_large_requests_are_answered_and_refused_as_small_ones(models: Path) -> None:
    assert len(BODY) > LARGE_BYTES

    async def work(made: Any) -> Any:
        bodies = [BODY, BODY.replace(b"1.5", b"nil"), BODY[:-1] + b', "signature_name": "x"}', BODY * 2]
        return [await ask(made, "POST", PREDICT, body) for body in bodies]

    good, *refused = run(service(models), work)
    assert good.status == 200
    np.testing.assert_array_equal(json.loads(good.content)["predictions"], [ROW + 1])
    for answer, words in zip(
        refused, ("JSON Parse error", '"x" not found in signature def', "The document root"), strict=True
    ):
        assert answer.status == 400
        assert words in json.loads(answer.content)["error"]


def test_a_refusal_comes_through_whole() -> None:
    said = pickle.loads(pickle.dumps(Refusal(StatusCode.INVALID_ARGUMENT, "too large", http=413)))
    assert (said.code, said.message, said.http) == (StatusCode.INVALID_ARGUMENT, "too large", 413)


def test_what_is_small_stays_here_and_what_is_large_goes_to_a_light_process(apart: JsonWorkers) -> None:
    async def work() -> list[Any]:
        reader = "(__import__('lstm_ae.serving.json_codec'), 'tensorflow' in __import__('sys').modules)[1]"
        return [
            await apart.call(LARGE_BYTES - 1, os.getpid),
            await apart.call(LARGE_BYTES, os.getpid),
            await apart.call(LARGE_BYTES, eval, reader),
        ]

    here, there, heavy = asyncio.run(work())
    assert here == os.getpid() != there
    assert not heavy


def test_a_process_that_dies_takes_no_request_with_it(apart: JsonWorkers) -> None:
    async def work() -> list[int]:
        first = await apart.call(LARGE_BYTES, os.getpid)
        os.kill(first, signal.SIGKILL)
        return [first, await apart.call(LARGE_BYTES, os.getpid), await apart.call(LARGE_BYTES, os.getpid)]

    first, *others = asyncio.run(work())
    assert not {first, os.getpid()} & set(others)


def test_a_request_that_kills_its_process_is_refused_and_never_worked_on_here(apart: JsonWorkers) -> None:
    async def work() -> Refusal:
        with pytest.raises(Refusal) as caught:
            await apart.call(LARGE_BYTES, os._exit, 1)
        assert await apart.call(LARGE_BYTES, os.getpid) != os.getpid()
        return caught.value

    assert asyncio.run(work()).code == StatusCode.UNAVAILABLE


def test_one_that_waits_too_long_is_told(models: Path) -> None:
    async def work(made: Any) -> Any:
        return await ask(made, "POST", PREDICT, BODY)

    answer = run(service(models, limits={"seconds": 0.001}), work)
    assert answer.status == 504
    assert b"deadline" in answer.content


def test_a_thread_at_work_is_told_from_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python waits for both at its end, so that a long call outlived the server."""
    for module, name in (
        (batching, "CALL_THREAD_PREFIX"),
        (server, "CALL_THREAD_PREFIX"),
        (server, "LOAD_THREAD_PREFIX"),
    ):
        monkeypatch.setattr(module, name, "own")  # other tests have threads too
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        end.wait(30)

    batcher = batching.Batcher(BatchingConfig())
    batcher._workers[0]._pool.submit(work)
    assert begun.wait(10)
    batcher.close()
    assert server.is_busy(0.01)
    end.set()
    assert not server.is_busy(10.0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_processes_end_with_the_server(models: Path, number: int) -> None:
    with live(models) as server:
        asked = [threading.Thread(target=server.ask, args=(PREDICT, BODY)) for _ in range(3)]
        for thread in asked:
            thread.start()
        for thread in asked:
            thread.join()
        there = children(server.process.pid)
        assert there
        assert server.stop(number) == (-number if number == signal.SIGKILL else 0)
        until_gone(there)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_while_the_process_ends_changes_nothing(models: Path, number: int) -> None:
    with live(models) as server:
        server.process.send_signal(number)
        wait_for(lambda: any('"stopped"' in line for line in list(server.log)), "the server did not stop")
        assert server.stop(number) == 0, server.log
