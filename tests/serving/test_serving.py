"""Test models and the REST API in one process with tiny models."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from processes import CEILING
from served_models import ask, run, running, save, service

from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.loading import make_loader
from lstm_ae.serving.request_handler import RequestHandler
from lstm_ae.serving.rest import RestRequest, respond

PREDICT = "/v1/models/plus:predict"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one model; its versions 1 and 2 add 1 and 2."""
    folder = tmp_path_factory.mktemp("models")
    save(folder / "plus", 1, 1.0)
    save(folder / "plus", 2, 2.0)
    return folder


def asked(made: RequestHandler, *requests: tuple[Any, ...], **headers: str) -> list[tuple[int, Any]]:
    """Send requests one after the other; return the status and JSON of each response."""

    async def all_of_them(made: RequestHandler) -> list[tuple[int, Any]]:
        answers = [await ask(made, *request, **headers) for request in requests]
        return [(answer.status, json.loads(answer.content)) for answer in answers]

    return run(made, all_of_them)


def error(made: RequestHandler, *request: Any, **headers: str) -> tuple[int, str]:
    """Return the status and the message of a refusal."""
    ((status, content),) = asked(made, request, **headers)
    assert list(content) == ["error"]
    return status, content["error"]


async def test_health_readiness_and_metrics(models: Path) -> None:
    async with running(service(models)) as made:
        await ask(made, "POST", PREDICT, {"instances": [[1.0], [1.0]]})
        await ask(made, "POST", PREDICT, {"instances": 5})
        await ask(made, "POST", "/v1/models/nobody:predict", {"instances": 5})
        text = (await ask(made, "GET", "/monitoring/prometheus/metrics")).content.decode()
        health, ready = await ask(made, "GET", "/health"), await ask(made, "GET", "/ready")
        made.draining = True
        text, *statuses = (text, health.status, ready.status, (await ask(made, "GET", "/ready")).status)
    assert statuses == [200, 200, 503]
    for line in (
        ':tensorflow:serving:request_count{entrypoint="rest",model_name="plus",status="OK"} 1.0',
        ':tensorflow:serving:request_count{entrypoint="rest",model_name="plus",status="INVALID_ARGUMENT"} 1.0',
        ':tensorflow:serving:request_count{entrypoint="rest",model_name="unknown",status="NOT_FOUND"} 1.0',
        ':tensorflow:serving:batching_session:processed_batch_size_sum{model_name="plus"} 2.0',
    ):
        assert line in text.splitlines()


def test_server_without_models_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert asked(service(tmp_path), ("GET", "/ready")) == [(503, {"status": "not ready"})]


async def test_model_with_unsupported_dtype_is_refused(tmp_path: Path) -> None:
    class Half(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.bfloat16, name="x")])
        def same(self, x: Any) -> Any:
            return {"y": x}

    model = Half()
    tf.saved_model.save(model, str(tmp_path / "half" / "1"), signatures=model.same)

    async with running(service(tmp_path)) as made:
        assert "values of type bfloat16, which are not served" in made.catalog.statuses("half")[0].error


async def test_requests_with_different_shapes_or_horizons_are_batched_apart(models: Path) -> None:
    seen: list[tuple[int, ...]] = []

    async with running(service(models, num_batch_threads=1)) as made:
        servable = made.catalog.find("plus")
        original = servable.run

        def spy(signature: str, inputs: Any) -> Any:
            seen.append((*inputs["x"].shape, *inputs["horizon"].tolist()))
            return original(signature, inputs)

        servable.run = spy  # type: ignore[method-assign]
        bodies = [
            {"signature_name": "forecast", "instances": [{"x": [1.0] * steps, "horizon": horizon}]}
            for steps, horizon in [(1, 1), (2, 3), (2, 3), (2, 1), (3, 3)]
        ]
        answers = await asyncio.gather(*(ask(made, "POST", PREDICT, body) for body in bodies))
    assert [len(json.loads(answer.content)["predictions"][0]) for answer in answers] == [1, 3, 3, 1, 3]
    assert sorted(seen) == [(1, 1, 1), (1, 2, 1), (1, 3, 3), (2, 2, 3, 3)]


async def test_signature_without_rows_is_not_batched(models: Path) -> None:
    async with running(service(models, num_batch_threads=1)) as made:
        body = {"signature_name": "whole", "inputs": [[1.0, 2.0]]}
        answers = await asyncio.gather(*(ask(made, "POST", PREDICT, body) for _ in range(5)))
    assert [json.loads(answer.content) for answer in answers] == [{"outputs": 3.0}] * 5


async def test_large_request_with_different_horizons(models: Path) -> None:
    rows = [{"x": [1.0], "horizon": 1}] * 64 + [{"x": [2.0], "horizon": 3}] * 6
    body = {"signature_name": "forecast", "instances": rows}

    async with running(service(models, max_batch_size=64)) as made:
        answer = await ask(made, "POST", PREDICT, body)
    assert answer.status == 200
    found = json.loads(answer.content)["predictions"]
    assert np.isnan(found[0]).tolist() == [False, True, True]
    assert found[69] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("limit", "body", "words"),
    [
        (1_000_000, {"signature_name": "forecast", "instances": [{"x": [1.0], "horizon": 10_000}] * 101}, "outputs"),
        (11, {"instances": [[1.0] * 4] * 3}, "inputs"),
        (
            16,
            {"signature_name": "forecast", "instances": [{"x": [1.0], "horizon": 5}, {"x": [1.0], "horizon": 9}]},
            "out",
        ),
    ],
)
def test_requests_over_the_element_limit_are_refused(models: Path, limit: int, body: Any, words: str) -> None:
    made = service(models, max_elements=limit)
    status, text = error(made, "POST", PREDICT, body)
    assert status == 400
    assert f"The {words}" in text
    assert f"at most {limit} elements" in text


def test_output_of_unknown_shape_over_the_element_limit_is_refused(tmp_path: Path) -> None:
    """The signature does not specify the shape of the output."""

    class Tiled(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32, name="x")])
        def tile(self, x: Any) -> Any:
            return {"y": tf.reshape(tf.tile(x, [1, 21]), tf.boolean_mask([1, 21], [True, True]))}

    model = Tiled()
    tf.saved_model.save(model, str(tmp_path / "tiled" / "1"), signatures=model.tile)
    made = service(tmp_path, max_elements=20)
    status, text = error(made, "POST", "/v1/models/tiled:predict", {"inputs": [[1.0]]})
    assert (status, "The outputs" in text, "Received: 21" in text) == (400, True, True)


def coming(made: RequestHandler, body: Any) -> Any:
    """Send a request whose body is read by the given function."""
    return respond(made, RestRequest("POST", PREDICT, {}, body))


async def test_draining_server_answers_requests_in_progress(models: Path) -> None:
    async with running(service(models)) as made:

        async def body() -> bytes:
            made.draining = True
            return b'{"instances": [[1.0]]}'

        assert [(await coming(made, body)).status for _ in range(2)] == [200, 503]


async def test_request_deadline_includes_receiving_the_body(models: Path) -> None:
    async with running(service(models, timeout=CEILING)) as made:
        left: list[float] = []
        took: list[float] = []
        predict, now = made.predict, asyncio.get_running_loop().time

        async def spy(*given: Any) -> Any:
            left.append(given[3])
            return await predict(*given)

        async def body() -> bytes:
            began = now()
            await asyncio.sleep(0.01)
            took.append(now() - began)
            return b'{"instances": [[1.0]]}'

        made.predict = spy  # type: ignore[method-assign,assignment]
        assert (await coming(made, body)).status == 200
        made.config = dataclasses.replace(made.config, timeout=0.05)
        never = await coming(made, asyncio.Event().wait)
        left, took, status = (left[0], took[0], never.status)
    assert 0 < left <= CEILING - took
    assert status == 408


def test_signature_that_cannot_be_called_does_not_prevent_others(tmp_path: Path) -> None:
    module = tf.Module()
    specs = [tf.TensorSpec([None], tf.float32, name="x")]
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=specs)
    module.nothing = tf.function(lambda x: {}, input_signature=specs)
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": module.double, "nothing": module.nothing})
    servable = make_loader(trust=True)("model", 1, tmp_path / "1")
    inputs = {"x": np.ones(2, np.float32)}
    assert servable.run("serving_default", inputs)["y"].tolist() == [2, 2]
    with pytest.raises(Refusal, match="at least one target"):
        servable.run("nothing", inputs)
