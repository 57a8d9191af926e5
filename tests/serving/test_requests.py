"""Test a running server with invalid and unusual requests of clients and networks.

After each case, the server has no internal errors and answers the next request. Details are tested in
`test_json_codec.py` (values), `test_serving.py` (paths), and `test_live.py` (gRPC, slow clients, ports).
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
import tensorflow as tf
from processes import CEILING
from served_models import save
from servers import Live, live
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

PLUS, TOY = "/v1/models/plus:predict", "/v1/models/toy:predict"
GOOD = b'{"instances": [[1.0]]}'


class Case(NamedTuple):
    """A request and its answer.

    Args:
        words: Words in the error message, or in the body if the status is 200.
        headers: Additional headers; Host and Content-Length replace the defaults.
    """

    body: bytes
    status: int
    words: str
    path: str = PLUS
    method: str = "POST"
    headers: str = ""


def rows(text: str, signature: str = "") -> bytes:
    return f'{{"signature_name": "{signature}", "instances": {text}}}'.encode()


def inputs(x: Any, horizon: list[int]) -> bytes:
    return json.dumps({"signature_name": "forecast", "inputs": {"x": x, "horizon": horizon}}).encode()


LONG = "x" * 10_000_000
CASES = {
    # Body
    "17 deep": Case(rows("[" * 17 + "1" + "]" * 17), 200, "[2.0]" + "]" * 16),
    "65 deep": Case(rows("[" * 65 + "1" + "]" * 65), 400, "Lists may be nested "),
    # Keys and shapes
    "an empty instance": Case(rows("[[]]"), 200, '{"predictions":[[]]}'),
    "an empty window": Case(
        rows("[[], []]"), 400, "'sequence' must have the shape (any, any, 1). Received: (2, 0)", TOY
    ),
    "a shape that the model cannot use": Case(inputs([1.0], [1]), 400, "Received: (1). "),
    "an empty window of others": Case(inputs([[]], [2]), 400, "Input 'x' is empty. Received the shape: (1, 0). "),
    "rows of different numbers": Case(inputs([[1.0], [2.0]], [1, 1, 1]), 400, "the same number of rows. Received: "),
    "rank too low": Case(rows("[[1.0]]"), 400, "must have the shape (any, any, 1). Received: (1, 1)", TOY),
    "rank too high": Case(rows("[[[[1.0]]]]"), 400, "must have the shape (any, any, 1). Received: (1, 1, 1, 1)", TOY),
    "another rank for a model of others": Case(rows("[1.0]"), 200, '{"predictions":[2.0]}'),
    "features too many": Case(rows("[[[1.0, 2.0]]]"), 400, "must have the shape (any, any, 1)", TOY),
    # Cells
    "a surrogate as signature": Case(b'{"signature_name": "\\ud800", "instances": [[1]]}', 400, "not found in sign"),
    # Signatures, models, versions, labels
    'signature ""': Case(b'{"signature_name": "", "instances": [[1.0]]}', 200, "[[2.0]]"),
    "signature unknown": Case(b'{"signature_name": "x", "instances": [[1]]}', 400, '"x" not found in signature def'),
    "signature of 10 MB": Case(b'{"signature_name": "%s", "instances": [[1]]}' % LONG.encode(), 400, "xxxx ..."),
    "key of 10 MB": Case(rows(f'[{{"{LONG}": [1]}}]'), 400, "does not have named input: xxx"),
    "model unknown": Case(GOOD, 404, "Latest(x)", "/v1/models/x:predict"),
    "model of 10,000 letters": Case(GOOD, 404, "Latest(xxx", f"/v1/models/{'x' * 10_000}:predict"),
    "version unknown": Case(GOOD, 404, "Specific(plus, 9)", "/v1/models/plus/versions/9:predict"),
    "version 0": Case(GOOD, 404, "Specific(plus, 0)", "/v1/models/plus/versions/0:predict"),
    "version -1": Case(GOOD, 400, "Malformed request", "/v1/models/plus/versions/-1:predict"),
    "version 2**63": Case(GOOD, 400, "Failed to convert version", f"/v1/models/plus/versions/{2**63}:predict"),
    "version of 5,000 digits": Case(GOOD, 400, "Failed to convert", f"/v1/models/plus/versions/{'9' * 5000}:predict"),
    "version of other digits": Case(GOOD, 400, "Malformed request", "/v1/models/plus/versions/%D9%A1:predict"),
    "label unknown": Case(GOOD, 400, "Unrecognized servable version label: x", "/v1/models/plus/labels/x:predict"),
    # Paths and methods
    "climbing": Case(
        GOOD, 400, "Malformed request: POST /v1/models/../plus:predict", "/v1/models/%2e%2e%2fplus:predict"
    ),
    "dots": Case(GOOD, 400, "Malformed request", "/v1/models/../models/plus:predict"),
    "NUL in a name": Case(GOOD, 404, "Latest(plus\x00)", "/v1/models/plus%00:predict"),
    "a line's end in a name": Case(GOOD, 404, "Latest(plus x)", "/v1/models/plus%0Ax:predict"),
    "bad UTF-8 in a name": Case(GOOD, 404, "Latest(plus", "/v1/models/plus%ff:predict"),
    "a slash in a name": Case(GOOD, 400, "Malformed request", "/v1/models/plus%2fx:predict"),
    "a semicolon": Case(GOOD, 404, "Latest(plus;x)", "/v1/models/plus;x:predict"),
    "a query": Case(GOOD, 200, "[[2.0]]", PLUS + "?a=b"),
    "elsewhere": Case(b"", 404, "/etc/passwd does not exist", "/etc/passwd", "GET"),
    "GET": Case(b"", 400, "Malformed request: GET /v1/models/plus:predict", method="GET"),
    "DELETE": Case(b"", 400, "Malformed request: DELETE /v1/models/plus", "/v1/models/plus", "DELETE"),
    "OPTIONS": Case(b"", 400, "Malformed request: OPTIONS", method="OPTIONS"),
    "HEAD": Case(b"", 400, "", method="HEAD"),
    "POST elsewhere": Case(GOOD, 405, "Use GET", "/ready"),
    "another version of the interface": Case(b"", 404, "/v2/models/plus does not exist", "/v2/models/plus", "GET"),
    "no model name": Case(b"", 400, "Missing model name", "/v1/models", "GET"),
    "no models": Case(b"", 400, "Malformed request", "/v1/foo", "GET"),
    "POST to models": Case(b"", 400, "Malformed request", "/v1/models"),
    "version in singular": Case(GOOD, 400, "Malformed request", "/v1/models/plus/version/1:predict"),
    "version and label": Case(GOOD, 400, "Malformed request", "/v1/models/plus/versions/1/labels/a:predict"),
    "status of an unknown model": Case(b"", 404, "Could not find any versions of model x", "/v1/models/x", "GET"),
    "status of an unknown version": Case(b"", 404, "Could not find version 9", "/v1/models/plus/versions/9", "GET"),
    "status of an unknown label": Case(b"", 400, "Unrecognized servable", "/v1/models/plus/labels/x", "GET"),
    "metadata of an unknown model": Case(b"", 404, "Servable not found", "/v1/models/x/metadata", "GET"),
    "an action unknown": Case(GOOD, 400, "Malformed request", "/v1/models/plus:explain"),
    "classify": Case(b'{"examples": [{"x": 1}]}', 400, "Malformed request", "/v1/models/plus:classify"),
    "a run that fails": Case(b'{"signature_name": "positive", "inputs": [[-1]]}', 400, "assertion failed"),
    "outputs without rows": Case(b'{"signature_name": "whole", "instances": [[1]]}', 400, "send 'inputs' instead"),
    # Sizes and encodings
    "a window too long": Case(rows(str([[1.0] * 100_001])), 400, "may have at most 100000 steps"),
    "a horizon too long": Case(rows('[{"x": [1.0], "horizon": 100001}]', "forecast"), 400, "must be 0 to 100000"),
    "a negative horizon": Case(rows('[{"x": [1.0], "horizon": -1}]', "forecast"), 400, "must be 0 to 100000"),
    "a byte over": Case(b" " * (16 * 2**20 + 1), 413, "at most 16777216 bytes"),
    "gzip": Case(gzip.compress(GOOD), 415, "must not be compressed", headers="Content-Encoding: gzip\r\n"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("served")
    save(folder / "plus", 1)
    (folder / "toy").symlink_to(Path(__file__).parents[2] / "saved_models" / "toy")
    with live(folder) as started:
        yield started
        # No request may cause an internal error.
        assert not [line for line in started.log if '"level": "error"' in line or "Traceback" in line], started.log
        assert started.ask("/health")[1] == {"status": "alive"}


@pytest.mark.parametrize("name", CASES)
def test_server_response_to_unusual_requests(server: Live, name: str) -> None:
    case = CASES[name]
    host = "" if "Host:" in case.headers else "Host: localhost\r\n"
    length = "" if "Content-Length:" in case.headers else f"Content-Length: {len(case.body)}\r\n"
    head = f"{case.method} {case.path} HTTP/1.1\r\n{host}Connection: close\r\n{length}{case.headers}\r\n"
    said = server.raw(head.encode(), case.body)
    line, _, rest = said.partition(b"\r\n")
    assert line.split()[1].decode() == str(case.status), said[:300]
    content = rest.partition(b"\r\n\r\n")[2].decode()
    if case.status == 200:
        assert case.words in content
    elif case.method != "HEAD":
        refusal = json.loads(content)
        assert list(refusal) == ["error"]
        assert case.words in refusal["error"]
        assert "\n" not in refusal["error"]
        assert len(refusal["error"]) <= 1000
    assert server.ask(PLUS, GOOD) == (200, {"predictions": [[2.0]]})


def test_grpc_deadline_exceeded_with_short_deadlines(server: Live) -> None:
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "toy"
    asked.inputs["sequence"].CopyFrom(tf.make_tensor_proto(np.zeros((200, 500, 1), np.float32)))
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        # Repeated, because the client's deadline and the server's must pass at the same moment to fail the response.
        for number in range(50):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(asked, timeout=0.001 * (1 + number % 4))
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
        assert stub.Predict(asked, timeout=CEILING).outputs["reconstruction"].tensor_shape.dim[0].size == 200
