"""Test worker processes that read and write large JSON: same responses, crashes, and shutdown."""

import asyncio
import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import children, until_gone, wait_for
from sampling import sampled
from served_models import ask, running, save, service
from servers import PROGRAM, live

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
    asyncio.run(made.close())


async def test_large_requests_are_answered_and_refused_like_small_requests(models: Path) -> None:
    assert len(BODY) > LARGE_BYTES

    async with running(service(models)) as made:
        bodies = [BODY, BODY.replace(b"1.5", b"nil"), BODY[:-1] + b', "signature_name": "x"}', BODY * 2]
        good, *refused = [await ask(made, "POST", PREDICT, body) for body in bodies]
    assert good.status == 200
    np.testing.assert_array_equal(json.loads(good.content)["predictions"], [ROW + 1])
    for answer, words in zip(
        refused, ("JSON Parse error", '"x" not found in signature def', "The document root"), strict=True
    ):
        assert answer.status == 400
        assert words in json.loads(answer.content)["error"]


def test_refusal_survives_pickling() -> None:
    said = pickle.loads(pickle.dumps(Refusal(StatusCode.INVALID_ARGUMENT, "too large", http=413)))
    assert (said.code, said.message, said.http) == (StatusCode.INVALID_ARGUMENT, "too large", 413)


async def test_only_large_json_runs_in_a_process_without_tensorflow(apart: JsonWorkers) -> None:
    reader = "(__import__('lstm_ae.serving.json_codec'), 'tensorflow' in __import__('sys').modules)[1]"
    here, there, heavy = [
        await apart.call(LARGE_BYTES - 1, os.getpid),
        await apart.call(LARGE_BYTES, os.getpid),
        await apart.call(LARGE_BYTES, eval, reader),
    ]
    assert here == os.getpid() != there
    assert not heavy


async def test_killed_worker_process_is_replaced(apart: JsonWorkers) -> None:
    first = await apart.call(LARGE_BYTES, os.getpid)
    os.kill(first, signal.SIGKILL)
    for _ in range(2):
        assert await apart.call(LARGE_BYTES, os.getpid) not in (first, os.getpid())


async def test_request_that_kills_its_worker_process_is_refused(apart: JsonWorkers) -> None:
    with pytest.raises(Refusal) as caught:
        await apart.call(LARGE_BYTES, os._exit, 1)
    assert caught.value.code == StatusCode.UNAVAILABLE
    assert await apart.call(LARGE_BYTES, os.getpid) != os.getpid()


async def test_large_request_past_its_deadline_is_refused(models: Path) -> None:
    async with running(service(models, limits={"seconds": 0.001})) as made:
        answer = await ask(made, "POST", PREDICT, BODY)
    assert answer.status == 504
    assert b"deadline" in answer.content


@pytest.mark.parametrize("number", sampled((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), slow=(signal.SIGKILL,)))
def test_worker_processes_end_with_the_server(models: Path, number: int) -> None:
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


@pytest.mark.parametrize("number", sampled((signal.SIGTERM, signal.SIGINT), slow=(signal.SIGTERM,)))
def test_second_signal_during_shutdown_is_ignored(models: Path, number: int) -> None:
    with live(models) as server:
        server.process.send_signal(number)
        wait_for(lambda: any('"stopped"' in line for line in list(server.log)), "the server did not stop")
        assert server.stop(number) == 0, server.log


@pytest.mark.slow
def test_server_ends_without_finalizing_the_interpreter(models: Path) -> None:
    """Native threads that ask for a finalized interpreter could abort the process."""
    program = "import atexit, sys; atexit.register(print, 'finalized', file=sys.stderr); " + PROGRAM
    with live(models, program=program) as server:
        assert server.ask(PREDICT, json.loads(BODY))[0] == 200
        assert server.stop() == 0
    assert any('"stopped"' in line for line in server.log)
    assert not any("finalized" in line for line in server.log)
