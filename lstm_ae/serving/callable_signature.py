"""Open a signature of an exported model, to call it in this process."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from lstm_ae.config.reading import TIME_OPTIONS, TimeStep, parse_step
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.export.layout import GRAPH_FILE, find_versions
from lstm_ae.export.manifest import read_manifest
from lstm_ae.json_types import JsonObject
from lstm_ae.serving.loading import open_version
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
        step: The time between two rows of a series; empty if rows are consecutive regardless of time, and if it is
            unknown.
        times: The options with which the times of the training were read.
    """

    model: str
    signature: Signature
    call: Callable[[Tensors], Tensors]
    id_columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    step: TimeStep = TimeStep()
    times: JsonObject = {}


def open_signature(folder: Path, signature: str, *, trust: bool = False) -> CallableSignature:
    """Load a version of a model and return a signature of it.

    Args:
        folder: The folder of a version, or of a model's versions, of which the newest is loaded.
        signature: The name of the signature.
        trust: Whether to load a model regardless of its operations.

    Raises:
        ConfigError: If there is no such signature.
        DataError: If there is no model.
    """
    versions = {0: folder} if (folder / GRAPH_FILE).is_file() else find_versions(folder)
    if not versions:
        raise DataError(
            f"{str(folder)!r} is not an exported model. Pass the folder of a model's versions, or of a version",
            code=Code.MODEL_NOT_FOUND,
        )
    directory = versions[max(versions)].absolute()
    with open_version(directory, trust=trust) as checked_folder:
        servable = Servable(directory.parent.name, max(versions), directory, checked_folder)
    chosen = _choose_signature(servable.definitions, signature)
    manifest = read_manifest(directory)

    def names(key: str) -> tuple[str, ...]:
        columns = manifest.get(key)
        return tuple(map(str, columns)) if isinstance(columns, list) else ()

    times = manifest.get("times")
    times = times if isinstance(times, dict) else {}
    return CallableSignature(
        f"{directory.parent.name}/{directory.name}",
        chosen,
        lambda inputs: servable.run(chosen.name, inputs),
        names("id_columns"),
        names("features"),
        parse_step(str(manifest.get("freq"))) or TimeStep(),
        {name: times[name] for name in TIME_OPTIONS if name in times},
    )


def _choose_signature(definitions: Mapping[str, SignatureDef], name: str) -> Signature:
    """Return a signature by name; other signatures need not be readable."""
    definitions = callable_signatures(definitions)
    if name not in definitions:
        raise ConfigError(f"--signature must be one of {', '.join(definitions)}. Received: {name!r}")
    try:
        chosen = parse_signature(name, definitions[name])
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
