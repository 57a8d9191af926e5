"""Test `lstmae predict` against servers that respond like TensorFlow Serving, with startup signatures and text."""

import asyncio
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from served_models import ask, save, service
from tensorflow.core.framework.types_pb2 import DT_HALF, DT_INVALID
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.export.graph_check import read_graph
from lstm_ae.serving import client

URL = "http://tfs:8501"


def definitions(version: Path) -> dict[str, SignatureDef]:
    """Return signatures as TensorFlow Serving lists them, with its startup signature and an unsupported dtype."""
    found = dict(read_graph(version).signature_def)
    started, half = SignatureDef(), SignatureDef(method_name="tensorflow/serving/predict")
    started.outputs["__saved_model_init_op"].dtype = DT_INVALID
    started.outputs["__saved_model_init_op"].tensor_shape.unknown_rank = True
    half.inputs["x"].dtype = half.outputs["y"].dtype = DT_HALF
    return {"__saved_model_init_op": started, "half": half} | found


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return save(tmp_path / "plus", 1)


@pytest.fixture
def rest(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = service(version.parent)
    asyncio.run(made.catalog.refresh())
    listed = {
        key: MessageToDict(one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for key, one in definitions(version).items()
    }
    about = {
        "model_spec": {"name": "plus", "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": listed}},
    }

    def open_(url: str, body: bytes | None, timeout: float) -> Any:
        path = url.removeprefix(URL)
        if path.endswith("/metadata"):
            return io.BytesIO(json.dumps(about).encode())
        said = asyncio.run(ask(made, "GET" if body is None else "POST", path, body))
        if said.status != 200:
            raise urllib.error.HTTPError(path, said.status, "", {}, io.BytesIO(said.content))  # type: ignore[arg-type]
        return io.BytesIO(said.content)

    monkeypatch.setattr(urllib.request, "urlopen", open_)


def test_client_ignores_unsupported_signatures_it_does_not_use(rest: None) -> None:
    assert client.connect(URL, "plus", None, "").signature.name == "serving_default"
    with pytest.raises(ConfigError, match="--signature must be one of forecast, half, kinds") as caught:
        client.connect(URL, "plus", None, "__saved_model_init_op")
    assert "init_op" not in str(caught.value).split("Received")[0]
    with pytest.raises(ConfigError, match=r"float16, which are not served\). Choose another one with --signature"):
        client.connect(URL, "plus", None, "half")


def test_text_values_round_trip_over_rest(version: Path, rest: None) -> None:
    text = np.array(["a,\N{SNOWMAN}".encode()], object)
    sent = {"number": 1, "text": text[0], "truth": True, "long": 2, "double": 0.1}
    for where in (str(version.parent), URL):
        found = client.connect(where, "plus", None, "kinds")
        inputs = {name: np.array([value], found.signature.inputs[name].dtype) for name, value in sent.items()}
        values = {name: array.tolist() for name, array in found.call(inputs).items()}
        assert values == {
            "double": [0.1],
            "long": [2],
            "number": [2],
            "text": text.tolist(),
            "text_bytes": text.tolist(),
            "truth": [False],
        }


def test_malformed_server_response_is_reported(rest: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = client.connect(URL, "plus", None, "")
    for answer in ({}, {"outputs": [[1], [2, 3]]}, {"outputs": "x"}, []):
        monkeypatch.setattr(client, "_request_json", lambda url, body, answer=answer: answer)
        with pytest.raises(DataError, match="does not respond like TensorFlow Serving"):
            found.call({})
        if "outputs" not in answer:
            with pytest.raises(DataError, match="does not respond like TensorFlow Serving"):
                client.connect(URL, "plus", None, "")
