"""Call a model in a folder, or on a server with a REST interface."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from google.protobuf.json_format import ParseDict
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.export.layout import GRAPH_FILE, find_versions
from lstm_ae.export.manifest import read_manifest
from lstm_ae.json_types import JsonObject
from lstm_ae.serving.json_codec import read_outputs, write_request
from lstm_ae.serving.loading import open_version
from lstm_ae.serving.model_folders import find_models
from lstm_ae.serving.servable import Servable, callable_signatures, parse_signature
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, Signature
from lstm_ae.serving.tensors import Tensors

TIMEOUT_SECONDS = 120.0


class SignatureClient(NamedTuple):
    """A signature that can be called.

    Args:
        model: The name and version of the model.
        signature: The signature.
        call: Function from inputs to outputs.
        id_columns: The columns that identified the series in the table of the training; empty for one series, and if
            they are unknown, as for a server.
        features: The columns of the table of the training, in the order of the model's inputs; empty if unknown.
    """

    model: str
    signature: Signature
    call: Callable[[Tensors], Tensors]
    id_columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


def connect(
    where: str, model: str | None, version: int | None, signature: str, *, trust: bool = False
) -> SignatureClient:
    """Connect to a signature of a model.

    Args:
        where: A folder of models, or of a model's versions; or the address of a server, `http://host:port`.
        model: The name of the model; optional if there is only one.
        version: The version number; None for the newest.
        signature: The name of the signature; "" for the default one.
        trust: Whether to load a model from a folder regardless of its operations.

    Raises:
        ConfigError: If the model, version, or signature is missing or ambiguous.
        DataError: If there is no such model, or it cannot be reached.
    """
    scheme = urlsplit(where).scheme
    if scheme == "grpc":
        raise ConfigError(f"{where}: predict calls servers over REST. Pass http://host:port.")
    if scheme in ("http", "https"):
        if not model:
            raise ConfigError("--model is required with the address of a server.", code=Code.MISSING_OPTION)
        return _connect_rest(where, model, version, signature)
    return _connect_folder(Path(where), model, version, signature, trust)


def _connect_folder(
    folder: Path, model: str | None, version: int | None, signature: str, trust: bool
) -> SignatureClient:
    if (folder / GRAPH_FILE).is_file():
        raise ConfigError(f"{str(folder)!r} is a version. Pass the folder above it, and --model-version.")
    models = [name for name, versions in find_models(folder).items() if versions]
    if not models:
        raise DataError(
            f"{str(folder)!r} contains no exported model. Create one with lstmae export, or pass http://host:port.",
            code=Code.MODEL_NOT_FOUND,
        )
    if (model is None and len(models) > 1) or model not in (None, *models):
        raise ConfigError(f"--model must be one of {', '.join(models)}. Received: {model!r}")
    name = model or models[0]
    versions = find_versions(folder) or find_versions(folder / name)
    number = max(versions) if version is None else version
    if number not in versions:
        raise ConfigError(f"--model-version must be one of {', '.join(map(str, sorted(versions)))}. Received: {number}")
    directory = versions[number]
    with open_version(directory, trust=trust) as checked:
        servable = Servable(name, number, directory, checked)
    chosen = _choose_signature(servable.definitions, signature)
    manifest = read_manifest(directory)

    def names(key: str) -> tuple[str, ...]:
        listed = manifest.get(key)
        return tuple(map(str, listed)) if isinstance(listed, list) else ()

    return SignatureClient(
        f"{name}/{number}",
        chosen,
        lambda inputs: servable.run(chosen.name, inputs),
        names("id_columns"),
        names("features"),
    )


def _connect_rest(url: str, model: str, version: int | None, signature: str) -> SignatureClient:
    base = f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}"
    path = base if version is None else f"{base}/versions/{version}"
    about = _request_json(f"{path}/metadata", None)
    try:
        listed = about["metadata"]["signature_def"]["signature_def"]
        definitions = {key: ParseDict(one, SignatureDef(), ignore_unknown_fields=True) for key, one in listed.items()}
        number = about["model_spec"]["version"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _protocol_error(path, error) from error
    chosen = _choose_signature(definitions, signature)
    # The version is fixed, because a newer one that appears during the prediction of a file may have other outputs.
    path = f"{base}/versions/{number}:predict"

    def call(inputs: Tensors) -> Tensors:
        answer = _request_json(path, write_request(chosen, inputs))
        try:
            return read_outputs(chosen, answer)
        except ValueError as error:
            raise _protocol_error(path, error) from error

    return SignatureClient(f"{model}/{number}", chosen, call)


def _protocol_error(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} does not respond like TensorFlow Serving ({str(error)[:200]!r}). Check the address.",
        code=Code.SERVER_UNAVAILABLE,
    )


def _request_json(url: str, body: bytes | None) -> JsonObject:
    try:
        with urllib.request.urlopen(url, body, TIMEOUT_SECONDS) as answer:
            content: JsonObject = json.loads(answer.read())
            return content
    except urllib.error.HTTPError as error:
        with error:
            try:
                reason = json.loads(error.read())["error"]
            except (ValueError, KeyError, TypeError):
                reason = error.reason
        raise DataError(f"{url} refused the request: {str(reason)[:300]}", code=Code.SERVER_UNAVAILABLE) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"{url} cannot be reached ({getattr(error, 'reason', error)}). Check that the server is running.",
            code=Code.SERVER_UNAVAILABLE,
        ) from error


def _choose_signature(definitions: Mapping[str, SignatureDef], name: str) -> Signature:
    """Return a signature by name, "" for the default one; other signatures need not be readable."""
    known = callable_signatures(definitions)
    if (name or DEFAULT_SIGNATURE) not in known:
        raise ConfigError(f"--signature must be one of {', '.join(known)}. Received: {name or DEFAULT_SIGNATURE!r}")
    try:
        chosen = parse_signature(name or DEFAULT_SIGNATURE, known[name or DEFAULT_SIGNATURE])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The signature cannot be called ({error}). Choose another one with --signature.", code=Code.MODEL_UNUSABLE
        ) from error
    if not chosen.batched:
        raise ConfigError(
            f"The signature {chosen.name!r} does not return one row per sample. Choose another one with --signature.",
            code=Code.MODEL_UNUSABLE,
        )
    return chosen
