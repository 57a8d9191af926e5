"""Test that requests which require far more work than their size suggests are refused before the work starts."""

import asyncio
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from served_models import service
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import classification_pb2, model_pb2, predict_pb2
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from lstm_ae.serving import grpc_server, loading
from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.grpc_server import _PredictionService
from lstm_ae.serving.inference import CLASSIFY, REGRESS, SentExamples, infer
from lstm_ae.serving.json_codec import read_examples
from lstm_ae.serving.proto_codec import read_tensor_header, sent_examples
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, NAMES, PREDICT, Signature, TensorSpec, check_names
from lstm_ae.serving.workers import LARGE_BYTES

TEXT, NUMBERS = TensorSpec(np.dtype(object), (None,)), TensorSpec(np.dtype(np.float32), (None, None))
SIGNATURES = {
    DEFAULT_SIGNATURE: Signature(DEFAULT_SIGNATURE, {"inputs": TEXT}, {"scores": NUMBERS}, True, CLASSIFY),
    "plain": Signature("plain", {"x": NUMBERS}, {"y": NUMBERS}, True, PREDICT),
}


def servable() -> Any:
    definitions = {name: SignatureDef() for name in SIGNATURES}
    return SimpleNamespace(
        name="m", version=1, signatures=SIGNATURES, definitions=definitions, signature=lambda name: SIGNATURES[name]
    )


def refusal(work: Any) -> str:
    with pytest.raises(Refusal) as caught:
        asyncio.run(work) if asyncio.iscoroutine(work) else work()
    return caught.value.message


@pytest.mark.parametrize(
    ("method", "name", "number", "words"),
    [
        (CLASSIFY, "unknown", 3, "No signature was found"),
        (CLASSIFY, "plain", 3, "Expected classification signature"),
        (REGRESS, "", 3, "Expected regression signature"),
        (CLASSIFY, "", 0, "Input is empty"),
        (CLASSIFY, "", 11, "A request may have at most 10 instances. Received: 11"),
    ],
)
def test_examples_of_an_invalid_request_are_not_serialized(
    tmp_path: Path, method: str, name: str, number: int, words: str
) -> None:
    made = service(tmp_path, limits={"instances": 10})
    examples = SentExamples(number, lambda: pytest.fail("serialized"))
    assert words in refusal(infer(made, servable(), method, name, examples, 1.0))


def test_examples_with_context_over_the_body_limit_are_refused(tmp_path: Path) -> None:
    made = service(tmp_path, limits={"body": 500})
    calls: list[Any] = []

    async def predict(servable: Any, signature: Any, inputs: Any, seconds: float) -> Any:
        calls.append(inputs["inputs"].tolist())
        return {"scores": np.zeros((5, 1), np.float32)}

    made.predict = predict  # type: ignore[method-assign,assignment]
    examples = SentExamples(6, lambda: (b"c" * 99, [b"e"] * 6))
    found = refusal(infer(made, servable(), CLASSIFY, "", examples, 1.0))
    assert "at most 500 bytes. Send fewer examples. Received: 600" in found
    assert not calls
    asyncio.run(infer(made, servable(), CLASSIFY, "", SentExamples(5, lambda: (b"c" * 99, [b"e"] * 5)), 1.0))
    assert calls == [[b"c" * 99 + b"e"] * 5]


def test_example_features_override_their_context() -> None:
    given = classification_pb2.ClassificationRequest().input
    listed = given.example_list_with_context
    listed.context.features.feature["a"].int64_list.value.append(1)
    listed.examples.add().features.feature["a"].int64_list.value.append(2)
    listed.examples.add()
    sent = sent_examples(given)
    context, own = sent.serialize()
    assert sent.number == len(own) == 2
    values = [Example.FromString(context + one).features.feature["a"].int64_list.value for one in own]
    assert list(map(list, values)) == [[2], [1]]
    given.example_list.examples.add()  # the kind of list without a context
    assert sent_examples(given).serialize() == (b"", [b""])


def test_json_examples_are_counted_before_parsing() -> None:
    # The first example is invalid and would be refused if it were parsed.
    body = b'{"examples": [5, {}, {}]}'
    assert refusal(lambda: read_examples(body, 2)) == "A request may have at most 2 instances. Received: 3"
    assert "must be JSON object" in refusal(lambda: read_examples(body, 3))


class Unread(list[Any]):
    """A list that can be counted and sliced but not iterated."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("gone through")


def prediction(made: Any) -> _PredictionService:
    found = SimpleNamespace(find=lambda *_: servable())
    stub: Any = SimpleNamespace(
        admit=lambda: None, catalog=found, limits=made.limits, check=made.check, predict=made.predict
    )
    return _PredictionService(stub, content=False)


CONTEXT = SimpleNamespace(time_remaining=lambda: 1.0)


def test_tensor_dimensions_are_checked_before_multiplying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math, "prod", lambda _: pytest.fail("multiplied"))
    largest = TensorProto(dtype=1)
    for _ in range(64):
        largest.tensor_shape.dim.add(size=2**63 - 1)
    shape = SimpleNamespace(dim=Unread([None] * 1000), unknown_rank=False)
    for proto in (largest, SimpleNamespace(dtype=1, tensor_shape=shape)):
        assert "too many dimensions, or one that is too large" in refusal(
            lambda proto=proto: read_tensor_header("x", proto)
        )


def test_warmup_request_expanding_beyond_the_limit_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = PredictionLog()
    log.predict_log.request.model_spec.signature_name = "plain"
    proto = log.predict_log.request.inputs["x"]
    proto.CopyFrom(TensorProto(dtype=1, float_val=[1.0]))
    for _ in range(2):
        proto.tensor_shape.dim.add(size=4096)
    with tf.io.TFRecordWriter(str(tmp_path / "requests")) as file:
        file.write(log.SerializeToString())
    made = servable()
    made.run = lambda *_: pytest.fail("laid out")
    loading._run_warmup(made, tmp_path / "requests")
    assert [record.message for record in caplog.records] == ["warm-up request refused"]


class ManyInputs(Mapping[str, Any]):
    """A mapping of a million inputs that fails if more names are read than an error message lists."""

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        for number in range(10**6):
            self.read += 1
            assert self.read < 5 * NAMES
            yield f"input{number:07}"


def test_predict_inputs_are_counted_before_iterating(tmp_path: Path) -> None:
    request = SimpleNamespace(
        model_spec=model_pb2.ModelSpec(name="m", signature_name="plain"), inputs=ManyInputs(), output_filter=[]
    )
    words = refusal(prediction(service(tmp_path))._predict(request, CONTEXT))
    assert words.startswith("input size does not match signature: 1000000!=1 len({input0000000,")
    assert "Missing but required: {x}" in refusal(lambda: check_names(SIGNATURES["plain"], {}))


def test_large_messages_are_converted_outside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, int] = {}

    def recording(name: str, work: Any) -> Any:
        def record(*given: Any, **named: Any) -> Any:
            threads[name] = threading.get_ident()
            return work(*given, **named)

        return record

    for name in ("to_arrays", "array_to_proto"):
        monkeypatch.setattr(grpc_server, name, recording(name, getattr(grpc_server, name)))

    async def predict(servable: Any, signature: Any, inputs: Any, seconds: float) -> Any:
        return {"y": inputs["x"]}

    made = service(tmp_path)
    made.predict = predict  # type: ignore[method-assign,assignment]
    for cells, here in ((4, True), (LARGE_BYTES // 2, False)):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "m", "plain"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((1, cells), np.float32)))
        answer = asyncio.run(prediction(made)._predict(request, CONTEXT))
        assert len(answer.outputs["y"].float_val) == cells
        assert {name: thread == threading.get_ident() for name, thread in threads.items()} == {
            "to_arrays": here,
            "array_to_proto": here,
        }
