"""Compare answers over REST and gRPC with those of TensorFlow Serving's own tests, for our own models.

The cases come from `http_rest_api_handler_test`, `http_rest_api_util_test`, `predict_util_test`,
`tfrt_predict_util_test`, `get_model_{metadata,status}_impl_test`, and `tensorflow_model_server_test` in
https://github.com/tensorflow/serving. Requests that REST refuses are in `test_requests.py`, and the conversion of JSON
in `test_json_codec.py`.
"""

import asyncio
import json
import shutil
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message_factory import GetMessageClass
from processes import CEILING
from served_models import ask, save, save_counter, save_half_plus_two, service
from tensorflow_serving.apis import get_model_metadata_pb2, model_service_pb2, prediction_service_pb2
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.grpc_server import make_grpc_server
from lstm_ae.serving.request_handler import RequestHandler

# A name with the characters that a path can contain only percent-encoded, without "/" and ":".
RESERVED = "model!#$%&'()*+,;=?@[]"


class Served(NamedTuple):
    """The server in this process, with one gRPC channel to it."""

    made: RequestHandler
    loop: asyncio.AbstractEventLoop
    channel: Any

    def await_(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def rest(self, method: str, path: str, body: Any = b"") -> tuple[int, Any]:
        answer = self.await_(ask(self.made, method, path, body))
        return answer.status, json.loads(answer.content)

    def call(self, name: str, request: Any) -> Any:
        """Return the answer of a gRPC method, or its refusal."""
        models = name in ("GetModelStatus", "HandleReloadConfigRequest")
        stubs = ModelServiceStub if models else PredictionServiceStub
        try:
            return getattr(stubs(self.channel), name)(request, timeout=CEILING)
        except grpc.RpcError as error:
            return Refusal(StatusCode[error.code().name], error.details())  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    half = save_half_plus_two(folder / "half", 123)
    shutil.copytree(half, folder / "half" / "124")
    (folder / RESERVED).symlink_to("half")
    save_counter(folder / "counter", 123)
    save(folder / "plus", 123)
    made = service(folder, (123, 124))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Any, int]:
        await made.catalog.refresh()
        server = make_grpc_server(made, 64)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(120)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(made, loop, channel)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(60)
        made.batcher.close()
        made.catalog.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


AVAILABLE = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("half", ["124", "123"]),
        ("half/versions/123", ["123"]),
        ("half/versions/000123", ["123"]),
        (RESERVED, ["124", "123"]),
        (f"{RESERVED}/versions/124", ["124"]),
    ],
)
def test_rest_paths_name_models_and_versions(served: Served, path: str, versions: list[str]) -> None:
    status = {"model_version_status": [{"version": version} | AVAILABLE for version in versions]}
    assert served.rest("GET", f"/v1/models/{path}") == (200, status)
    assert served.rest("POST", f"/V1/Models/{path}:PREDICT", {"instances": [6.0]}) == (200, {"predictions": [5.0]})
    code, content = served.rest("GET", f"/v1/models/{path}/metadata")
    assert (code, content["model_spec"]["version"]) == (200, versions[0])
    (signature,) = content["metadata"]["signature_def"]["signature_def"].values()
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    sizes = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]
    assert signature["inputs"]["x"]["tensor_shape"] == {"dim": sizes, "unknown_rank": False}


SCALARS = {"number": 1, "text": "a", "truth": True, "long": 2**62, "double": 0.1}
SCALARS_OUT = {**SCALARS, "number": 2, "text_bytes": {"b64": "YQ=="}, "truth": False}


@pytest.mark.parametrize(
    ("model", "body", "answer"),
    [
        ("half", {"instances": [[6.0, 8.0], [1.0, 2.0]]}, {"predictions": [[5.0, 6.0], [2.5, 3.0]]}),
        ("half", {"signature_name": "serving_default", "inputs": [6.0, 8.0]}, {"outputs": [5.0, 6.0]}),
        ("half", {"inputs": 6.0}, {"outputs": 5.0}),
        ("half", {"inputs": []}, {"outputs": []}),
        ("half", {"inputs": {"x": [6.0], "more": [1]}}, {"outputs": [5.0]}),
        ("plus", {"instances": [1.0, 2.0]}, {"predictions": [2.0, 3.0]}),
        ("plus", {"signature_name": "kinds", "inputs": SCALARS}, {"outputs": SCALARS_OUT}),
        ("plus", {"signature_name": "kinds", "instances": [SCALARS] * 2}, {"predictions": [SCALARS_OUT] * 2}),
        (
            "plus",
            b'{"inputs": ' + b"[" * 32 + b"1" + b"]" * 32 + b"}",
            {"outputs": json.loads("[" * 32 + "2.0" + "]" * 32)},
        ),
    ],
)
def test_rest_predictions_match_tensorflow_serving(served: Served, model: str, body: Any, answer: Any) -> None:
    assert served.rest("POST", f"/v1/models/{model}:predict", body) == (200, answer)


# The method, the request as text, and the answer as text or the code and words of the refusal.
HALF_SPEC = 'model_spec { name: "half" version { value: 124 } signature_name: "serving_default" }'
SIX = 'inputs { key: "%s" value { dtype: DT_FLOAT tensor_shape { } float_val: 6 } }'
ONE = '%s { key: "%s" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: %s } }'
SCALAR = 'outputs { key: "%s" value { dtype: DT_FLOAT tensor_shape { } float_val: %s } }'


def spec(signature: str = "", name: str = "half", version: int | None = None) -> str:
    chosen = "" if version is None else f"version {{ value: {version} }}"
    return f'model_spec {{ name: "{name}" signature_name: "{signature}" {chosen} }}'


FIELD = 'metadata_field: "signature_def"'
LABEL = 'model_spec { name: "half" version_label: "x" }'
TEXT = 'inputs { key: "x" value { dtype: DT_STRING tensor_shape { dim { size: 1 } } string_val: "a" } }'
NEGATIVE = (ONE % ("inputs", "x", -1)).replace("dim", "dim { size: 1 } dim")
STATUS = "model_version_status { version: %d state: AVAILABLE status { } }"
INVALID, MISSING = "INVALID_ARGUMENT", "NOT_FOUND"
RPCS: dict[str, tuple[str, str, Any]] = {
    "predict": ("Predict", spec() + SIX % "x", HALF_SPEC + SCALAR % ("y", 5)),
    "row": ("Predict", spec() + ONE % ("inputs", "x", 6), HALF_SPEC + ONE % ("outputs", "y", 5)),
    "filter": ("Predict", spec() + SIX % "x" + 'output_filter: "y"', HALF_SPEC + SCALAR % ("y", 5)),
    "no spec": ("Predict", "", (INVALID, "Missing ModelSpec")),
    "no name": ("Predict", 'model_spec { signature_name: "a" }', (INVALID, "no name")),
    "unknown name": ("Predict", spec(name="none"), (MISSING, "Servable not found for request: Latest(none)")),
    "unknown version": ("Predict", spec(version=9), (MISSING, "Specific(half, 9)")),
    "negative version": ("Predict", spec(version=-1), (MISSING, "Specific(half, -1)")),
    "unknown label": ("Predict", LABEL, (INVALID, "Unrecognized servable version label: x")),
    "unknown signature": ("Predict", spec("none") + SIX % "x", ("FAILED_PRECONDITION", '"none" not found')),
    "no inputs": ("Predict", spec(), (INVALID, "0!=1")),
    "other inputs": ("Predict", spec() + SIX % "one" + SIX % "two", (INVALID, "Sent extra: {one,two}. Missing but")),
    "other input": ("Predict", spec() + SIX % "one", (INVALID, "alias not found in signature: one")),
    "other filter": ("Predict", spec() + SIX % "x" + 'output_filter: "z"', (INVALID, "not found in signature: z")),
    "filter twice": ("Predict", spec() + SIX % "x" + 'output_filter: ["y", "y"]', (INVALID, "duplicate output tensor")),
    "text": ("Predict", spec() + TEXT, (INVALID, "to be float but string is provided")),
    "failing run": ("Predict", spec("positive", "plus") + NEGATIVE, (INVALID, "below zero")),
    "metadata without field": ("GetModelMetadata", spec(), (INVALID, "at least one metadata_field")),
    "metadata of another field": ("GetModelMetadata", spec() + 'metadata_field: "weights"', (INVALID, "weights")),
    "metadata without spec": ("GetModelMetadata", FIELD, (INVALID, "ModelSpec")),
    "metadata of an unknown name": ("GetModelMetadata", spec(name="none") + FIELD, (MISSING, "none")),
    "status without spec": ("GetModelStatus", "", (INVALID, "ModelSpec")),
    "status of an unknown name": ("GetModelStatus", spec(name="none"), (MISSING, "any versions of model none")),
    "status of an unknown version": ("GetModelStatus", spec(version=125), (MISSING, "125")),
    "status": ("GetModelStatus", spec(), STATUS % 124 + STATUS % 123),
    "status of a version": ("GetModelStatus", spec(version=123), STATUS % 123),
    "classify": ("Classify", spec(), ("UNIMPLEMENTED", "")),
    "regress": ("Regress", spec(), ("UNIMPLEMENTED", "")),
    "multi-inference": ("MultiInference", f"tasks {{ {spec()} }}", ("UNIMPLEMENTED", "")),
    "reload": ("HandleReloadConfigRequest", "config { model_config_list { } }", ("UNIMPLEMENTED", "")),
}
SERVICES = (
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
)
METHODS = {method.name: method for service in SERVICES for method in service.methods}


def parsed(text: str, kind: Any) -> Any:
    return text_format.Parse(text, GetMessageClass(kind)())


@pytest.mark.parametrize("case", RPCS)
def test_grpc_responses_match_tensorflow_serving(served: Served, case: str) -> None:
    method, given, expected = RPCS[case]
    answer = served.call(method, parsed(given, METHODS[method].input_type))
    if isinstance(expected, tuple):
        assert isinstance(answer, Refusal), answer
        assert answer.code.name == expected[0], answer.message
        assert expected[1] in answer.message
    else:
        assert not isinstance(answer, Refusal), answer.message
        assert answer == parsed(expected, METHODS[method].output_type)


def test_grpc_metadata_lists_signatures(served: Served) -> None:
    answer = served.call("GetModelMetadata", parsed(spec() + FIELD, METHODS["GetModelMetadata"].input_type))
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert list(found.signature_def) == ["serving_default"]
    assert found.signature_def["serving_default"].method_name == "tensorflow/serving/predict"
    assert answer.model_spec.version.value == 124


def test_signatures_with_only_inputs_or_outputs(served: Served) -> None:
    """An input with a default value may be omitted."""
    seen = []
    for signature, to in (("set", 2), ("get", None), ("set", None), ("get", None)):
        given = spec(signature, "counter")
        if to is not None:
            given += f'inputs {{ key: "to" value {{ dtype: DT_FLOAT tensor_shape {{ }} float_val: {to} }} }}'
        answer = served.call("Predict", parsed(given, METHODS["Predict"].input_type))
        seen.append(list(answer.outputs["output"].float_val))
    assert seen == [[2], [2], [0], [0]]
    status, content = served.rest("POST", "/v1/models/counter:predict", {"signature_name": "get", "instances": [1.0]})
    assert (status, content["error"]) == (400, "Failed to get input map for signature: get")


KINDS = {
    "number": (np.int32([1, -2]), np.int32([2, -1]), "int_val"),
    "text": (np.array([b"a", b"\xff"], object), np.array([b"a", b"\xff"], object), "string_val"),
    "truth": (np.array([True, False]), np.array([False, True]), "bool_val"),
    "long": (np.int64([2**40, -3]), np.int64([2**40, -3]), "int64_val"),
    "double": (np.float64([0.1, 1e300]), np.float64([0.1, 1e300]), "double_val"),
}


def kinds_request(rows: Any = slice(None)) -> Any:
    asked = parsed(spec("kinds", "plus"), METHODS["Predict"].input_type)
    for name, (sent, *_) in KINDS.items():
        asked.inputs[name].CopyFrom(tf.make_tensor_proto(sent[rows]))
    return asked


def test_grpc_predict_returns_scalar_text(served: Served) -> None:
    answer = served.call("Predict", kinds_request(0))
    assert not isinstance(answer, Refusal), answer.message
    assert list(answer.outputs["text"].string_val) == [b"a"]
    assert not answer.outputs["text"].tensor_shape.dim


def test_grpc_writes_typed_values(served: Served) -> None:
    answer = served.call("Predict", kinds_request())
    for name, (_, answered, key) in KINDS.items():
        assert len(getattr(answer.outputs[name], key)) == 2
        np.testing.assert_array_equal(tf.make_ndarray(answer.outputs[name]), answered)
