"""Test the server in a separate process: gRPC, and unusual behavior of networks and clients."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import CEILING, wait_for
from sampling import sampled
from served_models import save
from servers import Live, live
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from lstm_ae.serving.connections import connection_limit

PREDICT = "/v1/models/plus:predict"
ONE = {"instances": [[1.0]]}
CONCURRENCY = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    save(made / "plus", 1)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Live]:
    options = ("--max-body", "100000", "--header-timeout", "2", "--max-concurrency", str(CONCURRENCY))
    with live(folder, *options) as started:
        yield started


@pytest.fixture
def channel(server: Live) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as opened:
        yield opened


def request(values: Any = ((1.0, 2.0),), signature: str = "", name: str = "plus", **more: Any) -> Any:
    made = predict_pb2.PredictRequest(**more)
    made.model_spec.name, made.model_spec.signature_name = name, signature
    made.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32(values)))
    return made


def failure(call: Any, *arguments: Any, **more: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=more.pop("timeout", CEILING), **more)
    return caught.value.code().name, caught.value.details()  # type: ignore[attr-defined]


def test_grpc_predict_returns_outputs_and_model_spec(channel: Any) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    answer = stub.Predict(request(), timeout=CEILING)
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("plus", 1)
    assert answer.model_spec.signature_name == "serving_default"
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), [[2.0, 3.0]])
    one = request(((1.0, 2.0), (3.0, 4.0)))
    one.inputs["x"].ClearField("tensor_content")
    # A client may omit zeros, and therefore all values.
    np.testing.assert_array_equal(tf.make_ndarray(stub.Predict(one, timeout=CEILING).outputs["y"]), [[1, 1], [1, 1]])
    one.inputs["x"].float_val.append(5.0)  # the last value is repeated
    np.testing.assert_array_equal(tf.make_ndarray(stub.Predict(one, timeout=CEILING).outputs["y"]), [[6, 6], [6, 6]])
    empty = stub.Predict(request(np.zeros((0, 2))), timeout=CEILING)
    assert tf.make_ndarray(empty.outputs["y"]).shape == (0, 2)
    assert failure(stub.Predict, request(np.zeros((300, 300))))[0] == "RESOURCE_EXHAUSTED"
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=CEILING).status == 1
    assert failure(health.Check, health_pb2.HealthCheckRequest(service="x"))[0] == "NOT_FOUND"


HEAD = b"POST /v1/models/plus:predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
BODY = json.dumps(ONE).encode()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY), BODY), b" 200 "),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),), b" 200 "),
        ((HEAD + b"Content-Length: 5\r\n\r\n", BODY), b" 400 "),
        ((HEAD + b"Content-Length: 1000\r\n\r\n" + BODY, None), b" 400 "),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(BODY), BODY), None), b" 400 "),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nzz\r\n" % (len(BODY), BODY),), b" 400 "),
        ((HEAD + b"Content-Length: 2000000000\r\n\r\n",), b" 413 "),
        ((HEAD + b"Content-Length: 100001\r\n\r\n", b"0" * 100_001), b" 413 "),
        ((HEAD + b"Content-Length: 100000\r\n\r\n", b"0" * 100_000), b" 400 "),
        ((HEAD + b"Content-Length: -5\r\n\r\n", BODY), b" 400 "),
        ((HEAD + b"Content-Length: x\r\n\r\n", BODY), b" 400 "),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"2710\r\n" + b"0" * 10_000 + b"\r\n"] * 20), b" 413 "),
        ((b"HEAD /v1/models/plus HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",), b" 400 "),
        ((b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",), b" 404 "),
        ((b"GET /v1/models/plus HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n",), b" 403 "),
        ((b"GET /v1/models/plus HTTP/1.1\r\nConnection: close\r\n\r\n",), b" 400 "),
        ((b"GET /v1/models/plus HTTP/1.1\r\nHost: localh\xc3\xb6st\r\nConnection: close\r\n\r\n",), b" 400 "),
        ((b"GET /v1/models/plus HTTP/1.1\r\nHost: localhost:evil\r\nConnection: close\r\n\r\n",), b" 400 "),
        (
            (b"GET http://evil.example/v1/models/plus HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",),
            b" 403 ",
        ),
        ((b"GET /ready HTTP/1.1\r\nHost: 10.0.0.7:80\r\nConnection: close\r\n\r\n",), b" 200 "),
        ((b"GET /ready HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",), b" 200 "),
        ((b"BREW /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",), b" 404 "),
        ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",), None),
        ((b"GET / HTTP/9.9\r\n\r\n",), None),
    ],
)
def test_malformed_and_partial_http_requests(
    server: Live, parts: tuple[bytes | None, ...], status: bytes | None
) -> None:
    said = server.raw(*parts)
    if status is not None:
        assert status in said.split(b"\r\n")[0], said[:200]
    assert b" 500 " not in said
    assert server.ask(PREDICT, ONE)[0] == 200


@pytest.fixture
def many_files() -> Iterator[int]:
    """Yield the number of connections that a test may open."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = before[1] if before[1] != resource.RLIM_INFINITY else 4096
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), before[1]))
    yield min(most, 4096) - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def send(server: Live, start: bytes, count: int) -> list[socket.socket]:
    """Open connections that send these bytes and nothing more; the server may close some of them."""
    opened = []
    for _ in range(count):
        with contextlib.suppress(TimeoutError):  # the system gives up if the backlog stays full
            opened.append(socket.create_connection(("127.0.0.1", server.rest), timeout=CEILING))
            with contextlib.suppress(ConnectionError):
                opened[-1].sendall(start)
    return opened


UNFINISHED = b"POST /v1/models/plus:predict HTTP/1.1\r\nHost: "
# The server refuses this request before its body arrives; the client never sends the body.
REFUSED = b"POST /v1/models/nobody:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n "


@pytest.mark.parametrize("start", [b"", UNFINISHED, REFUSED], ids=["silent", "headers", "refused"])
def test_slow_clients_do_not_block_other_clients(server: Live, many_files: int, start: bytes) -> None:
    """More connections than the server accepts stay open with unfinished requests until their time limit."""
    count = connection_limit(CONCURRENCY) + 50
    assert count < many_files
    opened = send(server, start, count)
    try:
        answers(server)
    finally:
        for connection in opened:
            connection.close()


def answers(server: Live) -> None:
    for path in ("/health", "/ready"):
        assert server.ask(path)[0] == 200
    with urllib.request.urlopen(server.url("/monitoring/prometheus/metrics"), timeout=CEILING) as metrics:
        assert metrics.status == 200
    assert server.ask(PREDICT, ONE)[0] == 200


def test_server_log_is_json_without_errors(server: Live) -> None:
    lines = [json.loads(line) for line in server.log if line.startswith("{")]
    loaded = next(line for line in lines if line["text"] == "version loaded")
    assert loaded["model"] == "plus"
    assert loaded["level"] == "info"
    assert not [line for line in lines if line["level"] == "error"], lines


@pytest.mark.parametrize("number", sampled((signal.SIGTERM, signal.SIGINT), slow=(signal.SIGTERM,)))
def test_graceful_shutdown_answers_running_requests(folder: Path, number: int) -> None:
    # The requests wait for a full batch, and the server waits for the requests.
    options = ("--max-batch-size", "4", "--batch-timeout-micros", "600000000", "--drain", "600")
    blanks = b" " * 1_000_000
    with live(folder, *options) as server, contextlib.ExitStack() as opened:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            asked = request(signature="positive")  # another signature, so it is not batched with the others
            assert failure(stub.Predict, asked, timeout=0.1)[0] == "DEADLINE_EXCEEDED"
        head = HEAD + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (len(blanks) + len(BODY))
        connections = [
            opened.enter_context(socket.create_connection(("127.0.0.1", server.rest), timeout=CEILING))
            for _ in range(4)
        ]
        for connection in connections:
            connection.sendall(head)
            # The server sends this status when it reads the body.
            assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
            connection.sendall(blanks)
        server.process.send_signal(number)
        wait_for(lambda: [line for line in server.log if '"draining"' in line], "not draining")
        assert [json.loads(line)["running"] for line in server.log if '"draining"' in line] == [4]
        for connection in connections:
            connection.sendall(BODY)
        for connection in connections:
            said = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))
            assert said.startswith(b"HTTP/1.1 200 ")
            assert json.loads(said.partition(b"\r\n\r\n")[2]) == {"predictions": [[2.0]]}
        assert server.process.wait(CEILING) == 0
        wait_for(lambda: "stopped" in server.log[-1], server.log)


def lstmae(*line: str) -> subprocess.CompletedProcess[str]:
    start = "import sys; from lstm_ae_cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", start, *line], capture_output=True, text=True, timeout=CEILING, check=False
    )


@pytest.mark.slow
def test_unavailable_port_or_host_is_reported(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        rest = lstmae("serve", str(folder), "--rest-port", port, "--grpc-port", "0")
        rpc = lstmae("serve", str(folder), "--rest-port", "0", "--grpc-port", port)
    for done, option in ((rest, "--rest-port"), (rpc, "--grpc-port")):
        assert done.returncode == 2
        assert f"lstmae: [LAE010] {option} {port} is not available on 127.0.0.1" in done.stderr
        assert "Traceback" not in done.stderr
    assert lstmae("serve", str(folder), "--host", "no.such.host.invalid").returncode == 2


def test_independent_client_predicts_over_grpc_and_rest(server: Live) -> None:
    """The client of OpenVINO Model Server implements TensorFlow Serving's gRPC and REST APIs independently."""
    client = pytest.importorskip("ovmsclient", reason="the extra [dev] has it")
    over_grpc = client.make_grpc_client(f"127.0.0.1:{server.grpc}")
    over_http = client.make_http_client(f"127.0.0.1:{server.rest}")
    about = over_grpc.get_model_metadata(model_name="plus", model_version=1)
    assert about["inputs"]["x"]["shape"] == [-1, -1]
    for one in (over_grpc, over_http):
        # Version 0 means the latest version only to OpenVINO Model Server.
        status = one.get_model_status(model_name="plus", model_version=1)
        assert status[1]["state"] == "AVAILABLE"
        answer = one.predict({"x": np.float32([[1.0, 2.5]])}, "plus", model_version=1)
        np.testing.assert_array_equal(answer, [[2.0, 3.5]])
        with pytest.raises(client.tfs_compat.base.errors.ModelNotFoundError):
            one.predict({"x": np.float32([[1.0]])}, "nobody", model_version=1)
        with pytest.raises(client.tfs_compat.base.errors.InvalidInputError):
            one.predict({"z": np.float32([[1.0]])}, "plus", model_version=1)
