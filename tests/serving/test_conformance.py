"""Run the cases of TensorFlow Serving's tests with our own data over REST and gRPC.

Each case is named after its test in TensorFlow Serving: `json_tensor_test`, `http_rest_api_handler_test`,
`http_rest_api_util_test`, `predict_util_test`, `tfrt_predict_util_test`, `classifier_test`, `regressor_test`,
`util_test`, `get_model_{metadata,status}_impl_test`, `server_core_test` and
`tensorflow_model_server_test`, in https://github.com/tensorflow/serving. The expected result is
TensorFlow Serving's answer: the status and the words that its test checks, or the values.
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
from processes import CEILING
from served_models import ask, save, save_half_plus_two, save_of_examples, service
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from lstm_ae.export import admission
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.grpc_server import make_grpc_server
from lstm_ae.serving.json_codec import read_predict_request, write_predictions
from lstm_ae.serving.model_folders import ServedModel, VersionPolicy
from lstm_ae.serving.request_handler import RequestHandler

# A name with all characters that a path can contain only percent-encoded.
RESERVED = "model!#$%&'()*+,/:;=?@[]"
INF = float("inf")


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
        stubs = model_service_pb2_grpc.ModelServiceStub if models else prediction_service_pb2_grpc.PredictionServiceStub
        try:
            return getattr(stubs(self.channel), name)(request, timeout=CEILING)
        except grpc.RpcError as error:
            return Refusal(StatusCode[error.code().name], error.details())  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    half = save_half_plus_two(folder / "half", 123)
    shutil.copytree(half, folder / "half" / "124")
    save_of_examples(folder / "examples")
    save(folder / "plus", 1)
    made = service(folder)
    every = VersionPolicy("all")
    models = [
        ServedModel("half", folder / "half", every, (("stable", 123), (f"latest{RESERVED}", 124))),
        ServedModel(RESERVED, folder / "half", every, (("latest", 124), (f"latest{RESERVED}", 124))),
        ServedModel("examples", folder / "examples"),
        ServedModel("plus", folder / "plus"),
    ]
    made.catalog.wanted = lambda: models
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Any, int]:
        await made.catalog.refresh()
        server = make_grpc_server(made, made.catalog.follow, 64)
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


# ---------------------------------------------------------------------------------------------------------------------
# REST requests: the body, the dtypes of the inputs, and the expected tensors or the words of the refusal.

READS: dict[str, tuple[str, dict[str, str], Any]] = {
    "SingleUnnamedTensor": ('{"instances": [[7,8],[9,1]]}', {"x": "int32"}, {"x": [[7, 8], [9, 1]]}),
    "MixedInputForFloatTensor": ('{"instances": [3, 2.5, 0.001, 0.0]}', {"x": "float32"}, {"x": [3, 2.5, 0.001, 0]}),
    "MixedInputForDoubleTensor": ('{"instances": [3.0, 2, 0.6, 0]}', {"x": "float64"}, {"x": [3, 2, 0.6, 0]}),
    "FloatTensorWithPrecisionLoss, whole": ('{"instances": [1234567891]}', {"x": "float32"}, {"x": [1234567936.0]}),
    "FloatTensorWithPrecisionLoss, decimal": ('{"instances": [1234567891.0]}', {"x": "float32"}, {"x": [1234567936.0]}),
    "FloatTensorThatExceedsMaxReturnsInf": ('{"instances": [1.7e308]}', {"x": "float32"}, {"x": [INF]}),
    "FloatTensorThatExceedsMaxReturnsInf, negative": ('{"instances": [-1.7e308]}', {"x": "float32"}, {"x": [-INF]}),
    "FloatTensorThatExceedsMinReturnsZero": ('{"instances": [2.3e-308]}', {"x": "float32"}, {"x": [0.0]}),
    "FloatTensorThatExceedsMinReturnsZero, negative": ('{"instances": [-2.3e-308]}', {"x": "float32"}, {"x": [-0.0]}),
    "SingleUnnamedTensorWithSignature": (
        '{"signature_name": "other", "instances": [[4,2]]}',
        {"x": "int32"},
        {"x": [[4, 2]]},
    ),
    "SingleUnnamedTensorBase64Scalars": (
        '{"instances": [{"b64": "b25l"}, {"b64": "dHdv"}]}',
        {"x": "object"},
        {"x": [b"one", b"two"]},
    ),
    "SingleUnnamedTensorBase64Lists": (
        '{"instances": [[{"b64": "b25l"}], [{"b64": "dHdv"}]]}',
        {"x": "object"},
        {"x": [[b"one"], [b"two"]]},
    ),
    "SingleNamedTensorBase64": (
        '{"instances": [{"x": [[{"b64": "b25l"}], [{"b64": "dHdv"}]]}]}',
        {"x": "object"},
        {"x": [[[b"one"], [b"two"]]]},
    ),
    "MultipleNamedTensor": (
        '{"instances": [{"i": [[1,2],[3,4]], "s": ["a", "b"], "f": [1.5, NaN], "d": [NaN]},'
        ' {"i": [[5,6],[7,8]], "s": ["c", "d"], "f": [2.5, Infinity], "d": [4.0]}]}',
        {"i": "int32", "s": "object", "f": "float32", "d": "float64"},
        {
            "i": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
            "s": [[b"a", b"b"], [b"c", b"d"]],
            "f": [[1.5, np.nan], [2.5, INF]],
            "d": [[np.nan], [4.0]],
        },
    ),
    "SingleUnnamedTensorColumnarFormat": ('{"inputs": {"x": [[[1,2]]]}}', {"x": "int32"}, {"x": [[[1, 2]]]}),
    "SingleUnnamedTensorColumnarFormat, bare": ('{"inputs": [[[1,2]]]}', {"x": "int32"}, {"x": [[[1, 2]]]}),
    "MultipleNamedTensorColumnarFormat": (
        '{"inputs": {"i": [[[1,2]]], "s": ["a", "b"], "b": {"b64": "b25l"}}}',
        {"i": "int32", "s": "object", "b": "object"},
        {"i": [[[1, 2]]], "s": [b"a", b"b"], "b": b"one"},
    ),
    "SingleUnnamedTensorErrors, nothing": ("", {"x": "int32"}, "document is empty"),
    "SingleUnnamedTensorErrors, signature": (
        '{"signature_name": 7, "instances": [[1]]}',
        {"x": "int32"},
        "must be a string value",
    ),
    "SingleUnnamedTensorErrors, both": (
        '{"instances": [[1]], "inputs": [[1]]}',
        {"x": "int32"},
        "Not formatted correctly",
    ),
    "SingleUnnamedTensorErrors, size": ('{"instances": [[1,2],[3]]}', {"x": "int32"}, "Expecting tensor size"),
    "SingleUnnamedTensorErrors, shape": ('{"instances": [[1,2],[[3,4]]]}', {"x": "int32"}, "Expecting shape"),
    "SingleUnnamedTensorErrors, rank": ('{"instances": [5, [5]]}', {"x": "int32"}, "Expecting shape"),
    "SingleUnnamedTensorErrors, type": ('{"instances": [[1,2],["c","d"]]}', {"x": "int32"}, "not of expected type"),
    "MultipleNamedTensorErrors, shape": (
        '{"instances": [{"i": [[1,2]], "s": ["a"]}, {"i": [[[1,2]]], "s": ["b"]}]}',
        {"i": "int32", "s": "object"},
        "Expecting shape",
    ),
    "MultipleNamedTensorErrors, size": (
        '{"instances": [{"i": [[1,2],[3,4]], "s": ["a"]}, {"i": [[1,2]], "s": ["b"]}]}',
        {"i": "int32", "s": "object"},
        "Expecting tensor size",
    ),
    "MultipleNamedTensorErrors, list": (
        '{"instances": [{"i": [[1,2]], "s": ["a"]}, [1, 2]]}',
        {"i": "int32", "s": "object"},
        "Expecting object but got list",
    ),
    "MultipleNamedTensorErrors, object": (
        '{"instances": [["a"], {"s": ["b"]}]}',
        {"s": "object"},
        "Expecting value/list but got object",
    ),
}


@pytest.mark.parametrize("case", READS)
def test_json_tensor_requests_are_read_like_tensorflow_serving(case: str) -> None:
    body, kinds, expected = READS[case]
    dtypes = {name: np.dtype(kind) for name, kind in kinds.items()}

    def read() -> Any:
        return read_predict_request(body.encode(), {"serving_default": dtypes, "other": dtypes})

    if isinstance(expected, str):
        with pytest.raises(Refusal, match=expected) as caught:
            read()
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        return
    found = read()
    assert found.rows == ("instances" in body)
    assert found.signature == ("other" if "other" in body else "")
    assert found.inputs.keys() == expected.keys()
    for name, values in expected.items():
        wanted = np.array(values, dtypes[name])
        np.testing.assert_array_equal(found.inputs[name], wanted)
        assert found.inputs[name].shape == wanted.shape
        if wanted.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found.inputs[name]), np.signbit(wanted))


# ---------------------------------------------------------------------------------------------------------------------
# REST responses: the outputs, whether the format is by row, and the expected JSON or the words of the refusal.


def texts(*cells: Any) -> Any:
    return np.array(cells, object)


WRITES: dict[str, tuple[dict[str, Any], bool, Any]] = {
    "FromJsonSingleTensor": ({"i": np.int32([[[1, 2]], [[3, 4]]])}, True, [[[1, 2]], [[3, 4]]]),
    "FromJsonSingleTensor, columns": ({"i": np.int32([[[1, 2]], [[3, 4]]])}, False, [[[1, 2]], [[3, 4]]]),
    "FromJsonSingleScalarTensor": ({"i": np.int32([4, 5])}, True, [4, 5]),
    "FromJsonSingleScalarTensor, columns": ({"i": np.int32([4, 5])}, False, [4, 5]),
    "FromJsonSingleBytesTensor": (
        {"s_bytes": texts([b"one", b"two"])},
        True,
        [[{"b64": "b25l"}, {"b64": "dHdv"}]],
    ),
    "FromJsonSingleFloatTensorSixDigitPrecision": (
        {"f": np.float32([[8000000, 888888, 0.25], [0.0002, 0.00002, 444446.5]])},
        True,
        [[8000000, 888888, 0.25], [0.0002, 0.00002, 444446.5]],
    ),
    "FromJsonSingleFloatTensorNonFinite": ({"f": np.float32([[INF, 3], [-INF, 4]])}, True, [[INF, 3.0], [-INF, 4.0]]),
    "FromJsonSingleTensorErrors, no tensor": ({}, True, "empty tensor map"),
    "FromJsonSingleTensorErrors, type": ({"c": np.complex64([1, 2])}, True, "tensor type: complex64"),
    "FromJsonSingleTensorErrors, scalar": ({"i": np.int32(1)}, True, "no shape information"),
    "FromJsonMultipleNamedTensors": (
        {"i": np.int32([[1], [2]]), "d": np.float64([8, 9]), "s": texts(b"a", b"b"), "s_bytes": texts(b"one", b"two")},
        True,
        [
            {"i": [1], "d": 8.0, "s": "a", "s_bytes": {"b64": "b25l"}},
            {"i": [2], "d": 9.0, "s": "b", "s_bytes": {"b64": "dHdv"}},
        ],
    ),
    "FromJsonMultipleNamedTensors, columns": (
        {"i": np.int32([[1], [2]]), "d": np.float64([8, 9]), "s": texts(b"a", b"b")},
        False,
        {"i": [[1], [2]], "d": [8.0, 9.0], "s": ["a", "b"]},
    ),
    "FromJsonMultipleNamedTensorsErrors": (
        {"i": np.int32([[1], [2]]), "s": texts([b"a"])},
        True,
        "inconsistent batch size",
    ),
    "FromJsonSingleZeroBatchTensor": ({"i": np.zeros((0, 2), np.int32)}, True, []),
    "FromJsonMultipleZeroBatchTensors": (
        {"s": np.zeros((0, 1, 2), object), "f": np.zeros((0, 3, 4), np.float32)},
        True,
        [],
    ),
    "FromJsonMultipleZeroBatchTensorsErrors": (
        {"i": np.zeros((0, 2), np.int32), "s": texts([b"a", b"b"])},
        True,
        "inconsistent batch size",
    ),
}


@pytest.mark.parametrize("case", WRITES)
def test_json_tensor_responses_are_written_like_tensorflow_serving(case: str) -> None:
    outputs, rows, expected = WRITES[case]
    if isinstance(expected, str):
        with pytest.raises(Refusal, match=expected) as caught:
            write_predictions(outputs, rows=rows)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
    else:
        assert json.loads(write_predictions(outputs, rows=rows)) == {"predictions" if rows else "outputs": expected}


def test_json_tensor_response_writes_nan() -> None:
    assert write_predictions({"f": np.float32([np.nan])}, rows=True) == b'{"predictions": [NaN]}'


# ---------------------------------------------------------------------------------------------------------------------
# REST examples: the body, and the features of each example with its context or the words of the refusal.

EXAMPLES: dict[str, tuple[str, Any]] = {
    "RequestNoContext": (
        '{"examples": [{"who": ["ann", "bob"], "marks": [7.0, 8.5], "age": 30}, {"who": ["cid"], "marks": 5.0}]}',
        [{"who": [b"ann", b"bob"], "marks": [7.0, 8.5], "age": [30]}, {"who": [b"cid"], "marks": [5.0]}],
    ),
    "RequestWithContextAndSignature": (
        '{"signature_name": "own", "context": {"q": "tea", "at": ["rome"]}, "examples": ['
        '{"who": ["ann"], "marks": [7.0, NaN, Infinity]}, {"who": ["bob", {"b64": "b25l"}], "mix": [1, true, false]}, '
        '{"marks": -Infinity}]}',
        [
            {"q": [b"tea"], "at": [b"rome"], "who": [b"ann"], "marks": [7.0, np.nan, INF]},
            {"q": [b"tea"], "at": [b"rome"], "who": [b"bob", b"one"], "mix": [1, 1, 0]},
            {"q": [b"tea"], "at": [b"rome"], "marks": [-INF]},
        ],
    ),
    "JsonErrors, signature": (
        '{"signature_name": ["own"], "examples": [{"who": ["ann"]}]}',
        "'signature_name' key must be a string",
    ),
    "JsonErrors, context": ('{"context": [{"who": ["ann"]}]}', "Example must be JSON object"),
    "JsonErrors, no list": ('{"examples": {"who": ["ann"]}}', "list/array"),
    "JsonErrors, list of lists": ('{"examples": [[{"who": ["ann"]}]]}', "Example must be JSON object"),
    "JsonErrors, null": ('{"examples": [{"who": [3, null]}]}', "who has element with unexpected JSON type: Null"),
    "JsonErrors, kinds": ('{"examples": [{"who": [3, 3.0]}]}', "feature: who expecting type: int64"),
    "JsonErrors, object": (
        '{"examples": [{"who": [3, {"a": 3}]}]}',
        "who has element with unexpected JSON type: Object",
    ),
    "JsonErrors, list": ('{"examples": [{"who": [[3], 4]}]}', "who has element with unexpected JSON type: Array"),
    "JsonErrors, uint64": ('{"examples": [{"who": [3, 18446744073709551600]}]}', "Only int64_t is supported"),
}


@pytest.mark.parametrize("method", ["classify", "regress"])
@pytest.mark.parametrize("case", EXAMPLES)
def test_json_examples_are_read_like_tensorflow_serving(served: Served, case: str, method: str) -> None:
    body, expected = EXAMPLES[case]
    if isinstance(expected, str):
        status, content = served.rest("POST", f"/v1/models/half:{method}", body.encode())
        assert (status, expected in content["error"]) == (400, True), content
        return
    from lstm_ae.serving.json_codec import read_examples
    from lstm_ae.serving.proto_codec import serialize_example

    found = read_examples(body.encode(), 1000)
    assert found.signature == ("own" if "own" in body else "")
    for features, wanted in zip(found.examples, expected, strict=True):
        example = tf.train.Example.FromString(serialize_example(found.context) + serialize_example(features))
        kinds = {name: one.WhichOneof("kind") for name, one in example.features.feature.items()}
        values = {name: list(getattr(example.features.feature[name], kind).value) for name, kind in kinds.items()}
        np.testing.assert_equal(values, wanted)
        assert set(kinds.values()) <= {"bytes_list", "float_list", "int64_list"}


def test_json_classification_and_regression_results() -> None:
    from lstm_ae.serving.json_codec import write_classification, write_regression

    labels, scores = texts(["car", "bus"], ["car", "bus"]), np.float32([[0.2, 0.8], [0.9, 0.1]])
    results = [[["car", 0.2], ["bus", 0.8]], [["car", 0.9], ["bus", 0.1]]]
    assert json.loads(write_classification(labels, scores)) == {"results": results}
    assert write_regression(np.float32([0.2, 0.9, 1])) == b'{"results":[0.2,0.9,1.0]}'
    not_finite = write_regression(np.float32([0.2, np.inf, -np.inf, np.nan]))
    assert not_finite == b'{"results": [0.2, Infinity, -Infinity, NaN]}'


# ---------------------------------------------------------------------------------------------------------------------
# REST paths and models: method, path, body, status, and the whole content or words of the error.

HALF = "/v1/models/half"
AVAILABLE = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
TWO = {"model_version_status": [{"version": "124"} | AVAILABLE, {"version": "123"} | AVAILABLE]}
BAD = "Malformed request"
X80 = {"signature_name": "regress_x_to_y", "examples": [{"x": 60.0}]}
RESTS: dict[str, tuple[str, str, Any, int, Any]] = {
    "UnsupportedApiCalls, GET": ("GET", "/v1/foo", b"", 400, BAD),
    "UnsupportedApiCalls, POST": ("POST", "/v1/foo", b"", 400, BAD),
    "UnsupportedApiCalls, no name": ("GET", "/v1/models", b"", 400, "Missing model name"),
    "UnsupportedApiCalls, debug": ("GET", "/v1/models/debug/half", b"", 400, BAD),
    "UnsupportedApiCalls, POST models": ("POST", "/v1/models", b"", 400, BAD),
    "UnsupportedApiCalls, GET predict": ("GET", "/v1/models/foo:predict", b"", 400, BAD),
    "UnsupportedApiCalls, version": ("GET", "/v1/models/foo/version/50:predict", b"", 400, BAD),
    "UnsupportedApiCalls, regress": ("POST", "/v1/models/foo/version/50:regress", b"", 400, BAD),
    "UnsupportedApiCalls, versions": ("POST", "/v1/models/foo/versions/HELLO:regress", b"", 400, BAD),
    "UnsupportedApiCalls, uint64": (
        "POST",
        f"/v1/models/foo/versions/{2**64 - 1}:regress",
        b"",
        400,
        "Failed to convert version",
    ),
    "UnsupportedApiCalls, metadata": ("POST", "/v1/models/foo/metadata", b"", 400, BAD),
    "UnsupportedApiCalls, label": ("POST", "/v1/models/foo/label/some:regress", b"", 400, BAD),
    "UnsupportedApiCalls, both": ("POST", "/v1/models/foo/versions/50/labels/some:regress", b"", 400, BAD),
    "UnsupportedApiCalls, label as version": ("POST", "/v1/models/foo/versions/some:regress", b"", 400, BAD),
    "PredictModelNameVersionErrors, name": ("POST", "/v1/models/foo:predict", {"instances": [1]}, 404, "foo"),
    "PredictModelNameVersionErrors, both": (
        "POST",
        "/v1/models/foo/versions/5:predict",
        {"instances": [1]},
        404,
        "foo",
    ),
    "PredictModelNameVersionErrors, version": ("POST", f"{HALF}/versions/9:predict", {"instances": [1]}, 404, "9"),
    "PredictRequestErrors, nothing": ("POST", f"{HALF}:predict", b"", 400, "JSON Parse error: The document is empty"),
    "PredictRequestErrors, no JSON": (
        "POST",
        f"{HALF}:predict",
        b"instances = [5, 6]",
        400,
        "JSON Parse error: Invalid value",
    ),
    "PredictRequestErrors, type": (
        "POST",
        f"{HALF}:predict",
        {"instances": ["a", "b"]},
        400,
        "not of expected type: float",
    ),
    "PredictRequestErrors, label": (
        "POST",
        f"{HALF}/labels/none:predict",
        {"instances": ["a"]},
        400,
        "Unrecognized servable version label",
    ),
    "PredictRequestErrors, signature": (
        "POST",
        f"{HALF}:predict",
        {"signature_name": 100},
        400,
        "'signature_name' key must be a string value.",
    ),
    "Predict": ("POST", f"{HALF}:predict", {"instances": [[6.0, 8.0], [1.0, 2.0]]}, 200, [[5.0, 6.0], [2.5, 3.0]]),
    "Predict, version": ("POST", f"{HALF}/versions/123:predict", {"instances": [6.0, 8.0]}, 200, [5.0, 6.0]),
    "Predict, label": ("POST", f"{HALF}/labels/stable:predict", {"instances": [6.0, 8.0]}, 200, [5.0, 6.0]),
    "Predict, signature": (
        "POST",
        f"{HALF}/versions/123:predict",
        {"signature_name": "serving_default", "instances": [6.0, 8.0]},
        200,
        [5.0, 6.0],
    ),
    "Predict, columns": (
        "POST",
        f"{HALF}/versions/123:predict",
        {"signature_name": "serving_default", "inputs": [6.0, 8.0]},
        200,
        {"outputs": [5.0, 6.0]},
    ),
    "Regress": ("POST", f"{HALF}:regress", X80, 200, {"results": [32.0]}),
    "Regress, version": ("POST", f"{HALF}/versions/123:regress", X80, 200, {"results": [32.0]}),
    "Regress, label": ("POST", f"{HALF}/labels/stable:regress", X80, 200, {"results": [32.0]}),
    "Classify": (
        "POST",
        f"{HALF}:classify",
        {"signature_name": "classify_x_to_y", "examples": [{"x": 6.0}]},
        200,
        {"results": [[["", 5.0]]]},
    ),
    "Classify, label": (
        "POST",
        f"{HALF}/labels/stable:classify",
        {"signature_name": "classify_x_to_y", "examples": [{"x": 8.0}]},
        200,
        {"results": [[["", 6.0]]]},
    ),
    "GetStatus": ("GET", HALF, b"", 200, TWO),
    "GetStatus, version": (
        "GET",
        f"{HALF}/versions/123",
        b"",
        200,
        {"model_version_status": [{"version": "123"} | AVAILABLE]},
    ),
    "GetStatus, label": (
        "GET",
        f"{HALF}/labels/stable",
        b"",
        200,
        {"model_version_status": [{"version": "123"} | AVAILABLE]},
    ),
    # `http_rest_api_util_test`: decoded paths.
    "TestParseModelInfoForGet, name": ("GET", f"/v1/models/{RESERVED}", b"", 200, TWO),
    "TestParseModelInfoForGet, version": (
        "GET",
        f"/v1/models/{RESERVED}/versions/124",
        b"",
        200,
        {"model_version_status": [{"version": "124"} | AVAILABLE]},
    ),
    "TestParseModelInfoForGet, label": (
        "GET",
        f"/v1/models/{RESERVED}/labels/latest",
        b"",
        200,
        {"model_version_status": [{"version": "124"} | AVAILABLE]},
    ),
    "TestParseModelInfoForGet, reserved": (
        "GET",
        f"/v1/models/half/labels/latest{RESERVED}",
        b"",
        200,
        {"model_version_status": [{"version": "124"} | AVAILABLE]},
    ),
    "TestParseModelInfoForPost, name": ("POST", f"/v1/models/{RESERVED}:predict", {"instances": [6.0]}, 200, [5.0]),
    "TestParseModelInfoForPost, version": (
        "POST",
        f"/v1/models/{RESERVED}/versions/124:predict",
        {"instances": [6.0]},
        200,
        [5.0],
    ),
    "TestParseModelInfoForPost, label": (
        "POST",
        f"/v1/models/half/labels/latest{RESERVED}:predict",
        {"instances": [6.0]},
        200,
        [5.0],
    ),
    "TestParseModelInfoForPost, both": (
        "POST",
        f"/v1/models/{RESERVED}/labels/latest{RESERVED}:predict",
        {"instances": [6.0]},
        200,
        [5.0],
    ),
    "TestParseModelInfoForPost, string": ("POST", "/v1/models/foo/versions/string:predict", b"", 400, BAD),
    # `tensorflow_model_server_test`
    "testClassifyREST": (
        "POST",
        f"{HALF}:classify",
        {"signature_name": "classify_x_to_y", "examples": [{"x": 6.0}, {"x": 8.0}]},
        200,
        {"results": [[["", 5.0]], [["", 6.0]]]},
    ),
    "testRegressREST": (
        "POST",
        f"{HALF}:regress",
        {"signature_name": "regress_x_to_y2", "examples": [{"x": 6.0}]},
        200,
        {"results": [6.0]},
    ),
    "testPredictREST": ("POST", f"{HALF}:predict", {"instances": [6.0, 7.0, 8.0]}, 200, [5.0, 5.5, 6.0]),
    "testPredictColumnarREST": ("POST", f"{HALF}:predict", {"inputs": [6.0, 7.0]}, 200, {"outputs": [5.0, 5.5]}),
    # From the code of TensorFlow Serving instead of its tests: `json_tensor.cc`, `GetInfoMap`, `classifier.cc`.
    "a signature that is not there": (
        "POST",
        f"{HALF}:predict",
        {"signature_name": "none", "instances": [1.0]},
        400,
        'Serving signature name: "none" not found in signature def',
    ),
    "a signature for another method": (
        "POST",
        f"{HALF}:classify",
        {"signature_name": "regress_x_to_y", "examples": [{"x": 6.0}]},
        400,
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/regress",
    ),
    "a signature without inputs": (
        "POST",
        "/v1/models/examples:predict",
        {"signature_name": "get", "instances": [1.0]},
        400,
        "Failed to get input map for signature: get",
    ),
    "no examples": ("POST", f"{HALF}:regress", {"examples": []}, 400, "'examples' value is an empty array"),
    "examples left out": ("POST", f"{HALF}:regress", {"instances": [1.0]}, 400, "key 'examples' is expected"),
    "a scalar": ("POST", f"{HALF}:predict", {"inputs": 6.0}, 200, {"outputs": 5.0}),
    "no row": ("POST", f"{HALF}:predict", {"inputs": []}, 200, {"outputs": []}),
    "more keys than inputs": ("POST", f"{HALF}:predict", {"inputs": {"x": [6.0], "y": [1]}}, 200, {"outputs": [5.0]}),
    "shapes other than the signature's": (
        "POST",
        "/v1/models/plus:predict",
        {"instances": [1.0, 2.0]},
        200,
        [2.0, 3.0],
    ),
    "lists as deep as arrays can be": (
        "POST",
        "/v1/models/plus:predict",
        b'{"inputs": ' + b"[" * 32 + b"1" + b"]" * 32 + b"}",
        200,
        {"outputs": json.loads("[" * 32 + "2.0" + "]" * 32)},
    ),
}


@pytest.mark.parametrize("case", RESTS)
def test_rest_responses_match_tensorflow_serving(served: Served, case: str) -> None:
    method, path, body, status, expected = RESTS[case]
    got, content = served.rest(method, path, body)
    assert got == status, content
    if status != 200:
        assert list(content) == ["error"]
        assert expected in content["error"]
    else:
        assert content == ({"predictions": expected} if isinstance(expected, list) else expected)


def test_rest_error_with_quotes_is_valid_json(served: Served) -> None:
    """`StatusError`"""
    for quote in ('"', "'"):
        status, content = served.rest("POST", f"{HALF}:predict", {"signature_name": f"{quote}key{quote}", "inputs": 1})
        assert (status, f"{quote}key{quote}" in content["error"]) == (400, True)


NAMES = {
    *("serving_default", "regress_x_to_y", "regress_x_to_y2", "regress_x2_to_y3"),
    *("classify_x_to_y", "classify_x2_to_y3"),
}


@pytest.mark.parametrize(
    ("path", "version"), [("half", "124"), (f"{RESERVED}/labels/latest", "124"), ("half/versions/123", "123")]
)
def test_rest_metadata_lists_signatures_of_all_methods(served: Served, path: str, version: str) -> None:
    """`GetModelMetadata`, `testGetModelMetadataREST`"""
    status, content = served.rest("GET", f"/v1/models/{path}/metadata")
    assert (status, content["model_spec"]["version"]) == (200, version)
    signatures = content["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() == NAMES
    assert {one["method_name"].rpartition("/")[2] for one in signatures.values()} == {"predict", "classify", "regress"}
    assert signatures["regress_x_to_y"]["inputs"]["inputs"]["dtype"] == "DT_STRING"
    assert signatures["serving_default"]["inputs"]["x"]["tensor_shape"]["dim"][1]["size"] == "1"


def test_rest_predict_returns_scalar_text(served: Served) -> None:
    """`MultipleNamedTensorColumnarFormat` with a model: scalar text is returned as a scalar."""
    body = {"signature_name": "kinds", "inputs": {"number": 1, "text": "a", "truth": True, "long": 2, "double": 0.5}}
    status, content = served.rest("POST", "/v1/models/plus:predict", body)
    assert status == 200, content
    said = {"number": 2, "text": "a", "text_bytes": {"b64": "YQ=="}, "truth": False, "long": 2, "double": 0.5}
    assert content == {"outputs": said}


# ---------------------------------------------------------------------------------------------------------------------
# gRPC: the method, the request as text, and the answer as text or the code and words of the refusal. ANN and BOB are
# examples with two classes each.


def example(**features: Any) -> str:
    kinds = {str: "bytes_list", float: "float_list", int: "int64_list"}
    made = tf.train.Example()
    for name, values in features.items():
        kind = kinds[type(values[0])]
        cells = [cell.encode() if isinstance(cell, str) else cell for cell in values]
        getattr(made.features.feature[name], kind).value.extend(cells)
    return text_format.MessageToString(made, as_one_line=True)


ANN = example(**{"class": ["two", "one"], "score": [2.0, 1.0], "output": [2.0]})
BOB = example(**{"class": ["four", "three"], "score": [4.0, 3.0], "output": [3.0]})
BOTH = f"input {{ example_list {{ examples {{ {ANN} }} examples {{ {BOB} }} }} }}"
X6 = f"input {{ example_list {{ examples {{ {example(x=[6.0])} }} }} }}"
CONTEXT = f"input {{ example_list_with_context {{ context {{ {ANN} }} %s }} }}"
EMPTY = {"kind not set": "input { }", "list": "input { example_list { } }", "context": CONTEXT % ""}
HALF_SPEC = 'model_spec { name: "half" version { value: 124 } signature_name: "%s" }'
SIX = 'inputs { key: "%s" value { dtype: DT_FLOAT tensor_shape { } float_val: 6 } }'
ONE = '%s { key: "%s" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: %s } }'
SCALAR = 'outputs { key: "%s" value { dtype: DT_FLOAT tensor_shape { } float_val: %s } }'


def spec(signature: str = "", name: str = "half") -> str:
    return f'model_spec {{ name: "{name}" signature_name: "{signature}" }}'


def classes(*rows: str) -> str:
    """Return the classifications of rows, each written as "label score, label score"."""
    made = []
    for row in rows:
        pairs = [pair.split() for pair in row.split(", ")]
        made.append(" ".join(f'classes {{ label: "{label.strip("-")}" score: {score} }}' for label, score in pairs))
    return "result { " + " ".join(f"classifications {{ {row} }}" for row in made) + " }"


def values(*numbers: float) -> str:
    return "result { " + " ".join(f"regressions {{ value: {number} }}" for number in numbers) + " }"


def examples_spec(signature: str = "serving_default") -> str:
    return f'model_spec {{ name: "examples" version {{ value: 1 }} signature_name: "{signature}" }}'


INVALID = "INVALID_ARGUMENT"
RPCS: dict[str, tuple[str, str, Any]] = {
    # predict_util_test, predict_impl_test
    "MissingOrEmptyModelSpec": ("Predict", "", (INVALID, "Missing ModelSpec")),
    "MissingOrEmptyModelSpec, no name": ("Predict", 'model_spec { signature_name: "a" }', (INVALID, "no name")),
    "MissingOrEmptyModelSpec, wrong name": ("Predict", spec(name="none"), ("NOT_FOUND", "none")),
    "EmptyInputList": ("Predict", spec(), (INVALID, "Missing but required: {x}")),
    "InputTensorsDontMatchModelSpecInputs": (
        "Predict",
        spec() + SIX % "one" + SIX % "two",
        (INVALID, "Sent extra: {one,two}. Missing but required: {x}"),
    ),
    "InputTensorsDontMatchModelSpecInputs, one": ("Predict", spec() + SIX % "one", (INVALID, "one")),
    "OutputFiltersDontMatchModelSpecOutputs": (
        "Predict",
        spec() + SIX % "x" + 'output_filter: "z"',
        (INVALID, "output tensor alias not found in signature: z"),
    ),
    "OutputFiltersDontMatchModelSpecOutputs, one": (
        "Predict",
        spec() + SIX % "x" + 'output_filter: "y"',
        HALF_SPEC % "serving_default" + SCALAR % ("y", 5),
    ),
    "OutputFiltersDontMatchModelSpecOutputs, twice": (
        "Predict",
        spec() + SIX % "x" + 'output_filter: ["y", "y"]',
        (INVALID, "duplicate output tensor alias: y"),
    ),
    "InputTensorsHaveWrongType": (
        "Predict",
        spec() + 'inputs { key: "x" value { dtype: DT_STRING tensor_shape { dim { size: 1 } } string_val: "a" } }',
        (INVALID, "to be float but string is provided"),
    ),
    "ModelMissingSignatures": ("Predict", spec("none") + SIX % "x", ("FAILED_PRECONDITION", '"none" not found')),
    "PredictionSuccess": ("Predict", spec() + SIX % "x", HALF_SPEC % "serving_default" + SCALAR % ("y", 5)),
    "PredictionWithNamedRegressionSignature": (
        "Predict",
        spec("regress_x2_to_y3") + SIX % "inputs",
        HALF_SPEC % "regress_x2_to_y3" + SCALAR % ("outputs", 6),
    ),
    "PredictionWithNamedClassificationSignature": (
        "Predict",
        spec("classify_x2_to_y3") + SIX % "inputs",
        HALF_SPEC % "classify_x2_to_y3" + SCALAR % ("scores", 6),
    ),
    "MethodNameCheck": ("Predict", spec("get", "examples"), examples_spec("get") + SCALAR % ("output", 0)),
    # tfrt_predict_util_test
    "PredictionSuccessWithDefaultInputs": (
        "Predict",
        spec("set", "examples"),
        examples_spec("set") + SCALAR % ("output", 0),
    ),
    "PredictionInvalidTensor": (
        "Predict",
        spec() + 'inputs { key: "x" value { dtype: DT_BOOL tensor_shape { } bool_val: true } }',
        (INVALID, "Expected input x to be float"),
    ),
    "PredictionRunError": (
        "Predict",
        spec("positive", "plus") + (ONE % ("inputs", "x", -1)).replace("dim", "dim { size: 1 } dim"),
        (INVALID, "below zero"),
    ),
    # tensorflow_model_server_test
    "testPredict, filter": (
        "Predict",
        spec() + ONE % ("inputs", "x", 6) + 'output_filter: "y"',
        HALF_SPEC % "serving_default" + ONE % ("outputs", "y", 5),
    ),
    "testPredict, no filter": (
        "Predict",
        spec() + ONE % ("inputs", "x", 6),
        HALF_SPEC % "serving_default" + ONE % ("outputs", "y", 5),
    ),
    "testClassify": (
        "Classify",
        spec("classify_x_to_y") + X6,
        HALF_SPEC % "classify_x_to_y" + classes("- 5"),
    ),
    "testRegress": ("Regress", spec("regress_x_to_y") + X6, HALF_SPEC % "regress_x_to_y" + values(5)),
    # classifier_test, util_test
    "Classifier, ExampleList": (
        "Classify",
        spec(name="examples") + BOTH,
        examples_spec() + classes("two 2, one 1", "four 4, three 3"),
    ),
    "Classifier, ExampleListWithContext": (
        "Classify",
        spec(name="examples") + CONTEXT % "examples { } examples { }",
        examples_spec() + classes("two 2, one 1", "two 2, one 1"),
    ),
    "Classifier, ExampleListWithContext_DuplicateFeatures": (
        "Classify",
        spec(name="examples") + CONTEXT % f"examples {{ }} examples {{ {BOB} }}",
        examples_spec() + classes("two 2, one 1", "four 4, three 3"),
    ),
    "Classifier, ClassesOnly": (
        "Classify",
        spec("classes_only", "examples") + BOTH,
        examples_spec("classes_only") + classes("two 0, one 0", "four 0, three 0"),
    ),
    "Classifier, ScoresOnly": (
        "Classify",
        spec("scores_only", "examples") + BOTH,
        examples_spec("scores_only") + classes("- 2, - 1", "- 4, - 3"),
    ),
    "Classifier, ValidNamedSignature": (
        "Classify",
        spec("scores_plus_one", "examples") + BOTH,
        examples_spec("scores_plus_one") + classes("two 3, one 2", "four 5, three 4"),
    ),
    "Classifier, InvalidNamedSignature": (
        "Classify",
        spec("regress", "examples") + BOTH,
        (INVALID, "Expected classification signature method_name"),
    ),
    "Classifier, MalformedScores": (
        "Classify",
        spec("scores_of_rank_3", "examples") + BOTH,
        (INVALID, "Expected Tensor shape: [batch_size num_classes] but got [2,2,10]"),
    ),
    "Classifier, MissingClassificationSignature": (
        "Classify",
        spec("none", "examples") + BOTH,
        (INVALID, "No signature was found with the name: none"),
    ),
    **{
        f"Classifier, empty {kind}": ("Classify", spec(name="examples") + given, (INVALID, "Input is empty"))
        for kind, given in EMPTY.items()
    },
    "Classifier, RunsFails": (
        "Classify",
        spec("classify_and_fail", "examples") + BOTH,
        (INVALID, "the run failed"),
    ),
    "Classifier, ClassesIncorrectTensorBatchSize": (
        "Classify",
        spec("classes_of_one", "examples") + BOTH,
        (INVALID, "batch size"),
    ),
    "Classifier, ClassesIncorrectTensorType": (
        "Classify",
        spec("classes_of_floats", "examples") + BOTH,
        (INVALID, "Expected classes Tensor of DT_STRING"),
    ),
    "Classifier, ScoresIncorrectTensorBatchSize": (
        "Classify",
        spec("scores_of_one", "examples") + BOTH,
        (INVALID, "batch size"),
    ),
    "Classifier, ScoresIncorrectTensorType": (
        "Classify",
        spec("scores_of_text", "examples") + BOTH,
        (INVALID, "Expected scores Tensor of DT_FLOAT"),
    ),
    "Classifier, MismatchedNumberOfTensorClasses": (
        "Classify",
        spec("scores_of_three", "examples") + BOTH,
        (INVALID, "Tensors class and score should match in dim_size(1). Got 2 vs. 3"),
    ),
    "Classifier, outputs of other names": (
        "Classify",
        spec("classes_elsewhere", "examples") + BOTH,
        ("FAILED_PRECONDITION", 'at least one of "classes" or "scores"'),
    ),
    # regressor_test
    "Regressor, BasicExampleList": (
        "Regress",
        spec("regress", "examples") + BOTH,
        examples_spec("regress") + values(2, 3),
    ),
    "Regressor, BasicExampleListWithContext": (
        "Regress",
        spec("regress", "examples") + CONTEXT % "examples { } examples { }",
        examples_spec("regress") + values(2, 2),
    ),
    "Regressor, ValidNamedSignature": (
        "Regress",
        spec("regress_plus_one", "examples") + BOTH,
        examples_spec("regress_plus_one") + values(3, 4),
    ),
    "Regressor, InvalidNamedSignature": (
        "Regress",
        spec(name="examples") + BOTH,
        (INVALID, "Expected regression signature method_name to be tensorflow/serving/regress"),
    ),
    "Regressor, MalformedOutputs": (
        "Regress",
        spec("regress_of_rank_3", "examples") + BOTH,
        (INVALID, "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,1,10]"),
    ),
    **{
        f"Regressor, empty {kind}": ("Regress", spec("regress", "examples") + given, (INVALID, "Input is empty"))
        for kind, given in EMPTY.items()
    },
    "Regressor, RunsFails": ("Regress", spec("regress_and_fail", "examples") + BOTH, (INVALID, "the run failed")),
    "Regressor, UnexpectedOutputTensorSize": (
        "Regress",
        spec("regress_of_two", "examples") + BOTH,
        (INVALID, "output batch size"),
    ),
    "Regressor, UnexpectedOutputTensorType": (
        "Regress",
        spec("regress_of_text", "examples") + BOTH,
        (INVALID, "Expected output Tensor of DT_FLOAT"),
    ),
    "Regressor, MissingRegressionSignature": ("Regress", spec("none", "examples") + BOTH, (INVALID, "none")),
    # get_model_metadata_impl_test, get_model_status_impl_test
    "Metadata, EmptyOrInvalidMetadataFieldList": ("GetModelMetadata", spec(), (INVALID, "at least one metadata_field")),
    "Metadata, EmptyOrInvalidMetadataFieldList, other": (
        "GetModelMetadata",
        spec() + 'metadata_field: "some_stuff"',
        (INVALID, "some_stuff"),
    ),
    "Metadata, MissingOrEmptyModelSpec": (
        "GetModelMetadata",
        'metadata_field: "signature_def"',
        (INVALID, "ModelSpec"),
    ),
    "Metadata, MissingOrEmptyModelSpec, wrong name": (
        "GetModelMetadata",
        spec(name="none") + 'metadata_field: "signature_def"',
        ("NOT_FOUND", "none"),
    ),
    "Status, MissingOrEmptyModelSpecFailure": ("GetModelStatus", "", (INVALID, "ModelSpec")),
    "Status, InvalidModelNameFailure": ("GetModelStatus", spec(name="none"), ("NOT_FOUND", "none")),
    "Status, InvalidModelVersionFailure": (
        "GetModelStatus",
        'model_spec { name: "half" version { value: 125 } }',
        ("NOT_FOUND", "125"),
    ),
    "Status, AllVersionsSuccess": (
        "GetModelStatus",
        spec(),
        " ".join(f"model_version_status {{ version: {n} state: AVAILABLE status {{ }} }}" for n in (124, 123)),
    ),
    "Status, SingleVersionSuccess": (
        "GetModelStatus",
        'model_spec { name: "half" version { value: 123 } }',
        "model_version_status { version: 123 state: AVAILABLE status { } }",
    ),
    # server_core_test, model_service_impl
    "Reload, custom config": ("HandleReloadConfigRequest", "config { custom_model_config { } }", (INVALID, "")),
    "Reload, no config": ("HandleReloadConfigRequest", "", (INVALID, "")),
    "Reload, relative base path": (
        "HandleReloadConfigRequest",
        'config { model_config_list { config { name: "half" base_path: "half" model_platform: "tensorflow" } } }',
        (INVALID, "absolute path"),
    ),
    "Reload, IllegalConfigModelTypeAndPlatformSet": (
        "HandleReloadConfigRequest",
        'config { model_config_list { config { name: "half" base_path: "/half" model_platform: "tensorflow" '
        "model_type: TENSORFLOW } } }",
        (INVALID, "Illegal setting both"),
    ),
    "Reload, neither type nor platform": (
        "HandleReloadConfigRequest",
        'config { model_config_list { config { name: "half" base_path: "/half" } } }',
        (INVALID, "platform"),
    ),
    "Reload, UnknownModelPlatform": (
        "HandleReloadConfigRequest",
        'config { model_config_list { config { name: "half" base_path: "/half" model_platform: "none" } } }',
        (INVALID, "none"),
    ),
    "Reload, DuplicateModelNameInConfig": (
        "HandleReloadConfigRequest",
        "config { model_config_list { "
        + 'config { name: "half" base_path: "/half" model_platform: "tensorflow" } ' * 2
        + "} }",
        (INVALID, ""),
    ),
}
MESSAGES = {
    "Predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    "Classify": (classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse),
    "Regress": (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
    "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, None),
    "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusResponse),
    "HandleReloadConfigRequest": (model_management_pb2.ReloadConfigRequest, None),
}


@pytest.mark.parametrize("case", RPCS)
def test_grpc_responses_match_tensorflow_serving(served: Served, case: str) -> None:
    method, given, expected = RPCS[case]
    asked, answered = MESSAGES[method]
    answer = served.call(method, text_format.Parse(given, asked()))
    if isinstance(expected, tuple):
        assert isinstance(answer, Refusal), answer
        assert answer.code.name == expected[0], answer.message
        assert expected[1] in answer.message
    else:
        assert not isinstance(answer, Refusal), answer.message
        assert answer == text_format.Parse(expected, answered())


def test_grpc_metadata_lists_signatures_of_all_methods(served: Served) -> None:
    """`ReturnsSignaturesForValidModel`"""
    asked = text_format.Parse(
        spec() + 'metadata_field: "signature_def"', get_model_metadata_pb2.GetModelMetadataRequest()
    )
    answer = served.call("GetModelMetadata", asked)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) == NAMES
    assert found.signature_def["classify_x_to_y"].method_name == "tensorflow/serving/classify"
    assert answer.model_spec.version.value == 124


def test_grpc_signatures_with_only_inputs_or_outputs(served: Served) -> None:
    """`PredictionWithCustomizedSignatures`"""
    seen = []
    for signature, to in (("set", 2), ("get", None), ("set", 0), ("get", None)):
        given = spec(signature, "examples")
        if to is not None:
            given += f'inputs {{ key: "to" value {{ dtype: DT_FLOAT tensor_shape {{ }} float_val: {to} }} }}'
        answer = served.call("Predict", text_format.Parse(given, predict_pb2.PredictRequest()))
        seen.append(list(answer.outputs["output"].float_val))
    assert seen == [[2], [2], [0], [0]]


KINDS = {
    "number": (np.int32([1, -2]), np.int32([2, -1]), "int_val"),
    "text": (texts(b"a", b"\xff"), texts(b"a", b"\xff"), "string_val"),
    "truth": (np.array([True, False]), np.array([False, True]), "bool_val"),
    "long": (np.int64([2**40, -3]), np.int64([2**40, -3]), "int64_val"),
    "double": (np.float64([0.1, 1e300]), np.float64([0.1, 1e300]), "double_val"),
}


def kinds_request() -> Any:
    asked = text_format.Parse(spec("kinds", "plus"), predict_pb2.PredictRequest())
    for name, (sent, *_) in KINDS.items():
        asked.inputs[name].CopyFrom(tf.make_tensor_proto(sent))
    return asked


@pytest.mark.parametrize("name", KINDS)
def test_grpc_writes_values_in_typed_fields_by_default(served: Served, name: str) -> None:
    """`PredictResponseTensorSerializationOption::kAsProtoField`, the default."""
    output = served.call("Predict", kinds_request()).outputs[name]
    _, answered, key = KINDS[name]
    assert not output.tensor_content
    assert len(getattr(output, key)) == 2
    np.testing.assert_array_equal(tf.make_ndarray(output), answered)


def test_grpc_predict_returns_scalar_text(served: Served) -> None:
    asked = text_format.Parse(spec("kinds", "plus"), predict_pb2.PredictRequest())
    for name, (sent, *_) in KINDS.items():
        asked.inputs[name].CopyFrom(tf.make_tensor_proto(sent[0]))
    answer = served.call("Predict", asked)
    assert not isinstance(answer, Refusal), answer.message
    assert list(answer.outputs["text"].string_val) == [b"a"]
    assert not answer.outputs["text"].tensor_shape.dim


def test_grpc_writes_tensor_content_if_enabled(served: Served) -> None:
    """`kAsProtoContent`, set by `--enable_serialization_as_tensor_content`: all dtypes but text use tensor_content."""

    async def ask_another() -> Any:
        server = make_grpc_server(served.made, served.made.catalog.follow, 8, content=True)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return await prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(kinds_request())
        finally:
            await server.stop(None)

    outputs = served.await_(ask_another()).outputs
    for name, (_, answered, key) in KINDS.items():
        assert bool(outputs[name].tensor_content) == (name != "text")
        assert bool(getattr(outputs[name], key)) == (name == "text")
        np.testing.assert_array_equal(tf.make_ndarray(outputs[name]), answered)


# ---------------------------------------------------------------------------------------------------------------------
# Other features of signatures with example inputs.


def test_model_with_example_inputs_passes_admission_check(served: Served) -> None:
    """`admission.check_version` raises `ForbiddenGraphError` for a model with forbidden parts."""
    assert admission.check_version(served.made.catalog.find("examples").directory)


def test_openapi_describes_classify_and_regress_signatures(served: Served) -> None:
    paths = served.rest("GET", "/openapi.json")[1]["paths"]
    newest = [path for path in paths if not any(part in path for part in ("versions", "labels"))]
    assert {path for path in newest if path.endswith(("classify", "regress"))} == {
        *("/v1/models/examples:classify", "/v1/models/examples:regress"),
        *("/v1/models/half:classify", "/v1/models/half:regress"),
    }
    asks = paths["/v1/models/half:regress"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert asks["properties"]["signature_name"]["enum"] == ["regress_x2_to_y3", "regress_x_to_y", "regress_x_to_y2"]
    assert asks["required"] == ["examples", "signature_name"]
    asks = paths["/v1/models/examples:classify"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert asks["required"] == ["examples"]


def test_examples_over_the_instance_limit_are_refused_and_counted(served: Served) -> None:
    limits = served.made.limits
    served.made.limits = limits._replace(instances=1)
    try:
        answer = served.call("Classify", text_format.Parse(spec(name="examples") + BOTH, MESSAGES["Classify"][0]()))
        body = {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}] * 2}
        status, content = served.rest("POST", f"{HALF}:regress", body)
    finally:
        served.made.limits = limits
    assert (answer.code, status) == (StatusCode.INVALID_ARGUMENT, 400)
    assert "at most 1 instances" in answer.message
    assert "at most 1 instances" in content["error"]
    counted = served.made.metrics.text().decode()
    assert 'entrypoint="grpc",model_name="examples",status="INVALID_ARGUMENT"' in counted
    assert 'entrypoint="rest",model_name="half",status="INVALID_ARGUMENT"' in counted
