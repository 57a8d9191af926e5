"""Open a signature of a model in a folder, to call it in this process."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.export.layout import GRAPH_FILE, find_versions
from lstm_ae.export.manifest import read_manifest
from lstm_ae.serving.loading import open_version
from lstm_ae.serving.model_folders import find_models
from lstm_ae.serving.servable import Servable, callable_signatures, parse_signature
from lstm_ae.serving.signatures import Signature
from lstm_ae.serving.tensors import Tensors


class CallableSignature(NamedTuple):
    """A signature that can be called.

    Args:
        model: The name and version of the model.
        signature: The signature.
        call: Function from inputs to outputs.
        id_columns: The columns that identified the series in the table of the training; empty for one series, and if
            they are unknown.
        features: The columns of the table of the training, in the order of the model's inputs; empty if unknown.
    """

    model: str
    signature: Signature
    call: Callable[[Tensors], Tensors]
    id_columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


def open_signature(
    where: str, model: str | None, version: int | None, signature: str, *, trust: bool = False
) -> CallableSignature:
    """Load a version of a model and return a signature of it.

    Args:
        where: A folder of models, or of a model's versions.
        model: The name of the model; optional if there is only one.
        version: The version number; None for the newest.
        signature: The name of the signature.
        trust: Whether to load a model regardless of its operations.

    Raises:
        ConfigError: If the model, version, or signature is missing or ambiguous.
        DataError: If there is no such model.
    """
    if "://" in where:
        raise ConfigError(
            "predict reads a folder of exported models, not an address. Send requests to a server with curl, as "
            "TensorFlow Serving's REST interface describes."
        )
    folder = Path(where)
    if (folder / GRAPH_FILE).is_file():
        raise ConfigError(f"{str(folder)!r} is a version. Pass the folder above it, and --model-version.")
    models = [name for name, versions in find_models(folder).items() if versions]
    if not models:
        raise DataError(
            f"{str(folder)!r} contains no exported model. Create one with lstmae export",
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

    return CallableSignature(
        f"{name}/{number}",
        chosen,
        lambda inputs: servable.run(chosen.name, inputs),
        names("id_columns"),
        names("features"),
    )


def _choose_signature(definitions: Mapping[str, SignatureDef], name: str) -> Signature:
    """Return a signature by name; other signatures need not be readable."""
    known = callable_signatures(definitions)
    if name not in known:
        raise ConfigError(f"--signature must be one of {', '.join(known)}. Received: {name!r}")
    try:
        chosen = parse_signature(name, known[name])
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
