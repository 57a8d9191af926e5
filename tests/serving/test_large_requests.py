"""Test that requests which require far more work than their size suggests are refused before the work starts."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from served_models import service
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from lstm_ae.serving import loading
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.proto_codec import proto_to_array, read_tensor_header
from lstm_ae.serving.signatures import NAMES, Signature, TensorSpec, check_names

NUMBERS = TensorSpec(np.dtype(np.float32), (None, None))
PLAIN = Signature("plain", {"x": NUMBERS}, {"y": NUMBERS}, True)


def servable() -> Any:
    return SimpleNamespace(name="m", version=1, definitions={"plain": SignatureDef()}, signature=lambda name: PLAIN)


class Unread(list[Any]):
    """A list that can be counted and sliced but not iterated."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("gone through")


def test_tensor_dimensions_are_counted_before_multiplying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math, "prod", lambda _: pytest.fail("multiplied"))
    shape = SimpleNamespace(dim=Unread([None] * 1000), unknown_rank=False)
    with pytest.raises(Refusal, match="too many dimensions"):
        read_tensor_header("x", SimpleNamespace(dtype=1, tensor_shape=shape))  # type: ignore[arg-type]


def shaped(*sizes: int) -> str:
    return f"tensor_shape {{ {' '.join(f'dim {{ size: {size} }}' for size in sizes)} }}"


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (f"dtype: DT_FLOAT {shaped(-1)} float_val: 1", "non-negative integers"),
        ("dtype: DT_FLOAT tensor_shape { unknown_rank: true } float_val: 1", "non-negative integers"),
        (f"dtype: DT_FLOAT {shaped(2**40)} float_val: 1", "at most 33554432 values"),
        (f"dtype: DT_FLOAT {shaped(2**32, 2**32)} float_val: 1", "at most 33554432 values"),
        (f"dtype: DT_FLOAT {shaped(20000, 20000)} float_val: 1", "at most 33554432 values"),
        (f'dtype: DT_FLOAT {shaped(1, 2)} tensor_content: "abc"', "must have 8 bytes of tensor_content"),
        (f"dtype: DT_FLOAT {shaped(1, 1)} float_val: [1, 2]", "must have 1 values in float_val"),
        (f"dtype: DT_FLOAT {shaped(26)} float_val: 1", r"up to 100 bytes\. Its shape needs: 104"),
        (f"dtype: DT_FLOAT {shaped(26)}", r"up to 100 bytes\. Its shape needs: 104"),
        (
            f'dtype: DT_STRING {shaped(5)} string_val: ["a", "twenty and one letters"]',
            r"up to 100 bytes\. Its shape needs: 1",
        ),
        (f"{shaped(1)} float_val: 1", "has no dtype"),
        ("dtype: DT_VARIANT", "a dtype that is not served"),
        ("dtype: DT_RESOURCE", "a dtype that is not served"),
    ],
)
def test_invalid_tensor_is_refused_before_allocation(tensor: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of a few bytes may request any number of copies of its last value, which may be long text."""
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("laid out"))
    with pytest.raises(Refusal, match=words) as caught:
        proto_to_array("x", text_format.Parse(tensor, TensorProto()), 100)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("shape", "words"), [((11, 1), "at most 10 elements"), ((1, 100_001), "at most 100000 steps")])
def test_elements_and_steps_are_limited_by_the_header(tmp_path: Path, shape: tuple[int, int], words: str) -> None:
    header = read_tensor_header("x", text_format.Parse(f"dtype: DT_FLOAT {shaped(*shape)} float_val: 1", TensorProto()))
    with pytest.raises(Refusal, match=words):
        service(tmp_path, max_elements=10).check(PLAIN, {"x": header})


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


def test_message_lists_a_limited_number_of_names() -> None:
    with pytest.raises(Refusal) as caught:
        check_names(PLAIN, {f"input{number:07}": None for number in range(10_000)})
    assert caught.value.message.startswith("input size does not match signature: 10000!=1 len({input0000000,")
    assert f"input{NAMES - 1:07},...}}" in caught.value.message
    with pytest.raises(Refusal, match=r"Missing but required: \{x\}"):
        check_names(PLAIN, {})
