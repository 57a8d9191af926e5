"""One signature of a model, called alike whether it lies in a folder or behind a server's REST or gRPC."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import grpc
from google.protobuf.json_format import ParseDict
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from lstm_ae.errors import ConfigError, DataError
from lstm_ae.serving.asking import read_outputs, write_request
from lstm_ae.serving.folders import Policy, discover, versions_in
from lstm_ae.serving.loading import open_version
from lstm_ae.serving.manifests import fingerprint
from lstm_ae.serving.protos import to_array, to_proto
from lstm_ae.serving.rows import Tensors
from lstm_ae.serving.servable import DEFAULT, Servable, Signature, callable_ones, signature_of

SECONDS = 120.0


class Caller(NamedTuple):
    """A signature that can be called.

    Args:
        model: its name and version, which tell one answer from another.
        source: whose they are: the address of the server, or of a folder the hash of the model's files.
    """

    model: str
    source: str
    signature: Signature
    call: Callable[[Tensors], Tensors]


def caller(where: str, model: str | None, version: int | None, signature: str, *, trust: bool = False) -> Caller:
    """What answers for a model.

    Args:
        where: a folder of models, of versions, or a version; or the address of a server, `http://host:port` (REST) or
            `grpc://host:port`.
        model: its name; may be left out where there is only one.
        version: None takes the newest.
        trust: load a model from a folder whatever its operations are.

    Raises:
        ConfigError: the choice is not clear. DataError: there is no such model, or it cannot be reached.
    """
    scheme = urlsplit(where).scheme
    if scheme in ("http", "https", "grpc"):
        if not model:
            raise ConfigError("--model must name the model, since a server has several")
        return (_over_grpc if scheme == "grpc" else _over_rest)(where, model, version, signature)
    return _from_folder(Path(where), model, version, signature, trust)


def _from_folder(folder: Path, model: str | None, version: int | None, signature: str, trust: bool) -> Caller:
    if not folder.is_dir():
        raise DataError(f"There is no folder {str(folder)!r}; give one of exported models, or http://host:port")
    if (folder / "saved_model.pb").is_file():
        name, number, directory = folder.resolve().parent.name, _number(folder.resolve().name), folder
        for flag, asked, own in (("--model", model, name), ("--model-version", version, number)):
            if asked not in (None, own):
                raise ConfigError(f"{str(folder)!r} is a version: {flag} must be {own}, or left out. Received: {asked}")
    else:
        models = {found.name: found for found in discover(folder, Policy()) if found.sure}
        if not models:
            raise DataError(f"{str(folder)!r} holds no exported model; make one by lstmae export")
        if model is None and len(models) > 1:
            raise ConfigError(f"--model must be one of {', '.join(models)}")
        name = model or next(iter(models))
        if name not in models:
            raise ConfigError(f"--model must be one of {', '.join(models)}. Received: {name!r}")
        versions = versions_in(models[name].base)
        number = max(versions) if version is None else version
        if number not in versions:
            raise ConfigError(
                f"--model-version must be one of {', '.join(map(str, sorted(versions)))}. Received: {number}"
            )
        directory = versions[number]
    with open_version(directory, trust=trust) as checked:
        servable = Servable(name, number, directory, checked)
    found = _chosen(servable.definitions, signature)
    return Caller(f"{name}/{number}", fingerprint(directory), found, lambda inputs: servable.run(found.name, inputs))


def _over_rest(url: str, model: str, version: int | None, signature: str) -> Caller:
    path = f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}" + (
        f"/versions/{version}" if version is not None else ""
    )
    about = _json(f"{path}/metadata", None)
    try:
        listed = about["metadata"]["signature_def"]["signature_def"]
        definitions = {key: ParseDict(one, SignatureDef(), ignore_unknown_fields=True) for key, one in listed.items()}
        number = about["model_spec"]["version"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _stranger(path, error) from error
    found = _chosen(definitions, signature)
    # A newer version that comes while a file is worked on answers differently.
    path = f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}/versions/{number}"

    def call(inputs: Tensors) -> Tensors:
        answer = _json(f"{path}:predict", write_request(found, inputs))
        try:
            return read_outputs(found, answer)
        except ValueError as error:
            raise _stranger(path, error) from error

    return Caller(f"{model}/{number}", url.rstrip("/"), found, call)


def _stranger(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} does not answer as TensorFlow Serving does ({str(error)[:200]!r}); give a server's address"
    )


class _Connection(http.client.HTTPConnection):
    """Reads the answer of a server that stopped reading the request, too: it says why."""

    def send(self, data: Any) -> None:
        """Send, as far as the server takes it."""
        try:
            super().send(data)
        except (BrokenPipeError, ConnectionResetError):
            if self.sock is None:
                raise


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    pass


class _Opener(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


def _open(request: urllib.request.Request) -> Any:
    return urllib.request.build_opener(_Opener).open(request, timeout=SECONDS)


def _json(url: str, body: bytes | None) -> Any:
    try:
        with _open(urllib.request.Request(url, body)) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            try:
                said = json.loads(error.read())["error"]
            except (ValueError, KeyError, TypeError):
                said = error.reason
        raise DataError(f"{url} refuses: {str(said)[:300]}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"{url} cannot be reached ({getattr(error, 'reason', error)}); is the server running?"
        ) from error


def _over_grpc(url: str, model: str, version: int | None, signature: str) -> Caller:
    channel = grpc.insecure_channel(urlsplit(url).netloc, [("grpc.max_receive_message_length", -1)])
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    about = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    about.model_spec.name = model
    if version is not None:
        about.model_spec.version.value = version
    answer = _rpc(url, stub.GetModelMetadata, about)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(definitions)
    found = _chosen(definitions.signature_def, signature)
    about.model_spec.version.value = answer.model_spec.version.value

    def call(inputs: Tensors) -> Tensors:
        asked = predict_pb2.PredictRequest(model_spec=about.model_spec)
        asked.model_spec.signature_name = found.name
        for name, array in inputs.items():
            asked.inputs[name].CopyFrom(to_proto(array))
        outputs = _rpc(url, stub.Predict, asked).outputs
        return {name: to_array(name, outputs[name]) for name in found.outputs}

    return Caller(f"{model}/{answer.model_spec.version.value}", url.rstrip("/"), found, call)


def _rpc(url: str, call: Any, request: Any) -> Any:
    try:
        return call(request, timeout=SECONDS)
    except grpc.RpcError as error:
        said = str(error.details() if isinstance(error, grpc.Call) else error)
        raise DataError(f"{url} refuses or cannot be reached: {said[:300]}") from error


def _chosen(definitions: Mapping[str, SignatureDef], name: str) -> Signature:
    """The signature of that name, "" being the usual one; of the others nothing need be readable."""
    known = callable_ones(definitions)
    if (name or DEFAULT) not in known:
        raise ConfigError(f"--signature must be one of {', '.join(known)}. Received: {name or DEFAULT!r}")
    try:
        found = signature_of(name or DEFAULT, known[name or DEFAULT])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The signature cannot be asked ({error}); choose another by --signature") from error
    if not found.batched:
        raise ConfigError(
            f"The signature {found.name!r} does not answer sample by sample; choose another by --signature"
        )
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
