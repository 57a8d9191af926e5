"""Small SavedModels for the server's tests, made of tf.Module alone, and a catalogue and service over them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from lstm_ae.exporting.warmup import FILE
from lstm_ae.serving.batching import Batcher, Batching
from lstm_ae.serving.folders import Policy, discover
from lstm_ae.serving.loading import loader
from lstm_ae.serving.metrics import Metrics
from lstm_ae.serving.models import Catalogue
from lstm_ae.serving.rest import Answer, Asked, answer
from lstm_ae.serving.service import Limits, Service

FLOATS = tf.TensorSpec((None, None), tf.float32, name="x")


class Plus(tf.Module):
    """Adds a number of its own, so that versions can be told apart."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = tf.Variable(amount)
        self.calls = tf.Variable(0, dtype=tf.int32)

    @tf.function(input_signature=[FLOATS])
    def add(self, x: Any) -> Any:
        return {"y": x + self.amount}

    @tf.function(input_signature=[FLOATS])
    def whole(self, x: Any) -> Any:
        """No row of its own for each row of the input."""
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[FLOATS])
    def positive(self, x: Any) -> Any:
        """Fails as a whole where one value is negative."""
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, "below zero")]):
            return {"y": tf.identity(x)}

    @tf.function(input_signature=[FLOATS])
    def not_finite(self, x: Any) -> Any:
        return {"y": x / 0.0}

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
    for name in ("whole", "positive", "not_finite", "kinds", "forecast"):
        signatures[name] = getattr(model, name)
    tf.saved_model.save(model, str(base / str(version)), signatures=signatures)
    return base / str(version)


class Endless(tf.Module):
    """Answers no call."""

    @tf.function(input_signature=[FLOATS])
    def count(self, x: Any) -> Any:
        far = tf.while_loop(lambda k: k < 10**15, lambda k: [k + 1], [tf.constant(0, tf.int64)])
        return {"y": x + tf.cast(far[0], tf.float32)}


def save_endless(base: Path, *, warmup: bool = False) -> Path:
    """Write a version of a model that answers no call, nor its warm-up request."""
    model, directory = Endless(), base / "1"
    tf.saved_model.save(model, str(directory), signatures=model.count)
    if warmup:
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([[1.0]])))
        (directory / FILE).parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(directory / FILE)) as file:
            file.write(log.SerializeToString())
    return directory


def service(folder: Path, policy: Policy = Policy(), labels: Any = (), **options: Any) -> Service:  # noqa: B008
    """A service over the models in a folder, to be used within `run`."""
    limits = Limits(**options.pop("limits", {}))
    catalogue = Catalogue(lambda: discover(folder, policy, labels), loader(trust=True), **options.pop("catalogue", {}))
    return Service(catalogue, Batcher(Batching(**options)), Metrics(), limits)


def run(made: Service, work: Callable[[Service], Awaitable[Any]]) -> Any:
    """Load the models and await what `work` makes of the service."""

    async def whole() -> Any:
        await made.catalogue.refresh()
        try:
            return await work(made)
        finally:
            made.batcher.close()
            made.apart.close()

    return asyncio.run(whole())


async def ask(made: Service, method: str, path: str, body: Any = b"", **headers: str) -> Answer:
    """One request; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def read() -> bytes:
        return content

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await answer(made, Asked(method, path, named, read))


def drawn(network: Any) -> Any:
    """A network with weights of its own, which no two layers share."""
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
    return network
