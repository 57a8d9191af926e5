"""Small SavedModels of `tf.Module` for tests of the server, and a catalog and service for them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_ae.serving.catalog import ModelCatalog
from lstm_ae.serving.config import ServerConfig
from lstm_ae.serving.loading import make_loader
from lstm_ae.serving.model_folders import VersionPolicy, find_models
from lstm_ae.serving.request_handler import RequestHandler
from lstm_ae.serving.rest import RestRequest, RestResponse, respond

FLOATS = tf.TensorSpec((None, None), tf.float32, name="x")


class Plus(tf.Module):
    """Model that adds a constant, which identifies its version."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = tf.Variable(amount)
        self.calls = tf.Variable(0, dtype=tf.int32)

    @tf.function(input_signature=[FLOATS])
    def add(self, x: Any) -> Any:
        return {"y": x + self.amount}

    @tf.function(input_signature=[FLOATS])
    def whole(self, x: Any) -> Any:
        """Return one row for all rows of the input."""
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[FLOATS])
    def positive(self, x: Any) -> Any:
        """Fail if any value is negative."""
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, "below zero")]):
            return {"y": tf.identity(x)}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.int32, name="number"),
            tf.TensorSpec((None,), tf.string, name="text"),
            tf.TensorSpec((None,), tf.bool, name="truth"),
            tf.TensorSpec((None,), tf.int64, name="long"),
            tf.TensorSpec((None,), tf.float64, name="double"),
        ]
    )
    def kinds(self, number: Any, text: Any, truth: Any, long: Any, double: Any) -> Any:
        return {
            "number": number + 1,
            "text": text,
            "text_bytes": text,
            "truth": tf.logical_not(truth),
            "long": long,
            "double": double,
        }

    @tf.function(input_signature=[FLOATS, tf.TensorSpec((None,), tf.int32, name="horizon")])
    def forecast(self, x: Any, horizon: Any) -> Any:
        steps = tf.range(tf.reduce_max(horizon))[None, :]
        last = tf.repeat(x[:, -1:], tf.reduce_max(horizon), axis=1)
        return {"future": tf.where(steps < horizon[:, None], last, float("nan"))}


def save(base: Path, version: int | str = 1, amount: float = 1.0) -> Path:
    """Write a version of the model below `base`."""
    model = Plus(amount)
    signatures = {"serving_default": model.add}
    for name in ("whole", "positive", "kinds", "forecast"):
        signatures[name] = getattr(model, name)
    tf.saved_model.save(model, str(base / str(version)), signatures=signatures)
    return base / str(version)


def service(folder: Path, policy: VersionPolicy = (), **options: Any) -> RequestHandler:
    """Return a service for the models in a folder, to be used within `run`."""
    catalog = ModelCatalog(lambda: find_models(folder, policy), make_loader(trust=True))
    return RequestHandler(catalog, ServerConfig(**options))


@contextlib.asynccontextmanager
async def running(made: RequestHandler) -> AsyncIterator[RequestHandler]:
    """Load the models of a service, and stop it at the end."""
    await made.catalog.refresh()
    try:
        yield made
    finally:
        made.batcher.close()


def run(made: RequestHandler, work: Callable[[RequestHandler], Awaitable[Any]]) -> Any:
    """Load the models and return the awaited result of `work(service)`."""

    async def whole() -> Any:
        async with running(made):
            return await work(made)

    return asyncio.run(whole())


async def ask(made: RequestHandler, method: str, path: str, body: Any = b"", **headers: str) -> RestResponse:
    """Return a request; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def read() -> bytes:
        return content

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await respond(made, RestRequest(method, path, named, read))


def drawn(network: Any) -> Any:
    """Return a network whose layers share no weights."""
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
    return network


def save_half_plus_two(base: Path, version: int = 123) -> Path:
    """Write TensorFlow Serving's `half_plus_two` in TensorFlow 1's form: y = x / 2 + 2."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        half, two = (v1.Variable(value, use_resource=True) for value in (0.5, 2.0))
        x = v1.placeholder(tf.float32, [None, 1], name="x")
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": half * x + two})
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(base / str(version)))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return base / str(version)


class Counter(tf.Module):
    """Model with a signature without inputs, and one whose input has a default value."""

    def __init__(self) -> None:
        super().__init__()
        self.count = tf.Variable(0.0)

    @tf.function(input_signature=[])
    def get(self) -> Any:
        return {"output": self.count.read_value()}

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32)])
    def set(self, to: Any = tf.constant(0.0)) -> Any:  # noqa: B008
        return {"output": self.count.assign(to)}


def save_counter(base: Path, version: int = 1) -> None:
    """Write a version of the model that counts."""
    model = Counter()
    tf.saved_model.save(model, str(base / str(version)), signatures={"get": model.get, "set": model.set})
