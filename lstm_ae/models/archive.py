"""Validation of `model.keras` files before Keras opens them, since a run may come from an untrusted source.

Keras' safe mode refuses only lambdas: a config may still name any Keras class, request more weights than fit in memory,
and reference weights in other files. This module accepts only the classes that models of this package contain. Keras
loads only models whose weights are stored in the file. No member is extracted to disk.
Source: https://keras.io/api/models/model_saving_apis/model_saving_and_loading (file format).
"""

import io
import itertools
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.files import parse_json, temporary_folder
from lstm_ae.json_types import JsonObject
from lstm_ae.startup import load_tensorflow

if TYPE_CHECKING:
    import keras

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
# Maximum size of each member in bytes. Members must be uncompressed, so the file size bounds the weights as well.
LARGEST = {METADATA: 2**16, CONFIG: 2**23, WEIGHTS: 2**34}

# Weights of each layer by name, by the name of its submodel; those of an LSTM are kernel, recurrent kernel, and bias.
ModelWeights = Mapping[str, Mapping[str, Sequence[Array]]]

# Largest number of values of a tensor per sample.
LARGEST_SAMPLE = 2**26

_LAYERS = """
    Add Bidirectional Concatenate Conv1D Dense Dropout Embedding Flatten GlobalAveragePooling1D Identity InputLayer LSTM
    RepeatVector Rescaling Reshape Softmax
"""
_OPERATIONS = """
    Absolute Add Any Clip Concatenate Cos Cumsum Equal Exp ExpandDims Flip GetItem Greater Isnan Less Log LogicalAnd
    LogicalNot Max Maximum Mean Min Minimum Multiply OnesLike Reshape Round Sin Subtract Sum Transpose TrueDivide Where
    ZerosLike
"""
_INITIALIZERS = "Constant GlorotUniform Ones Orthogonal RandomUniform Zeros"
# Classes that a config may name, by module.
ALLOWED = {
    "keras": {"DTypePolicy"},
    "keras.layers": set(_LAYERS.split()),
    "keras.initializers": set(_INITIALIZERS.split()),
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.core": {"Cast"},
    "keras.src.ops.numpy": set(_OPERATIONS.split()),
    # Serialized values have no module.
    None: {"__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__"},
}


def read_archive(source: Path | bytes) -> tuple[JsonObject, bytes]:
    """Read config and weights (the bytes of an HDF5 file) from an archive, without validating their content.

    Args:
        source: path or content of a `model.keras`.

    Raises:
        OSError, zipfile.BadZipFile, KeyError: the archive or one of its members is missing or unreadable.
        ValueError: a member is unknown, duplicated, compressed, or too large.
    """
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise ValueError("it is not a file")
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two of its members have the same name")
        for member in members:
            if member.filename not in LARGEST:
                raise ValueError(f"it contains the unknown member {member.filename!r}")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > LARGEST[member.filename]:
                raise ValueError(f"its member {member.filename!r} is compressed or too large")
        config, weights = (archive.read(name) for name in (CONFIG, WEIGHTS))
    parsed = parse_json(config.decode())
    if not isinstance(parsed, dict):
        raise ValueError(f"its {CONFIG} is not a JSON object")
    return parsed, weights


def archive_content(model: "keras.Model") -> bytes:
    """Return the content of the file of a model; equal models have equal contents.

    Keras stores the time, memory addresses, and layer names numbered by all layers created in the process. It also
    stores which layers share a dtype policy: those of a new model do, those of a loaded one do not.
    """
    with temporary_folder("model") as folder:
        path = folder / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    metadata, config = (json.loads(members[name]) for name in (METADATA, CONFIG))
    metadata.pop("date_saved", None)
    members[METADATA], members[CONFIG] = (json.dumps(each).encode() for each in (metadata, _renumber(config)))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, member in members.items():
            about = zipfile.ZipInfo(name)
            about.create_system = 3
            archive.writestr(about, member)
    return content.getvalue()


def _renumber(config: JsonObject) -> JsonObject:
    """Return a config with the numbers of shared objects and of automatic layer names counted from the start."""
    layers = {
        item["name"]: layer_name(item["class_name"]) for item in _objects(config) if isinstance(item.get("name"), str)
    }
    automatic = {name: base for name, base in reversed(layers.items()) if re.fullmatch(f"{base}(_[0-9]+)?", name)}
    counts = {base: itertools.count() for base in automatic.values()}
    names, numbers = dict[str, str](), dict[int, int]()
    for name, base in automatic.items():
        candidates = (f"{base}_{number}" if number else base for number in counts[base])
        names[name] = next(new for new in candidates if new not in layers or new in automatic)

    def renumbered(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            policy = value.get("class_name") == "DTypePolicy"
            return {
                key: renumbered(item, key) for key, item in value.items() if not (policy and key == "shared_object_id")
            }
        if isinstance(value, list):
            # A reference to a tensor: layer, call, and output.
            tensor = len(value) == 3 and isinstance(value[0], str)
            return [renumbered(item, "name" if tensor and not index else "") for index, item in enumerate(value)]
        if key == "shared_object_id":
            return numbers.setdefault(value, len(numbers) + 1)
        return names.get(value, value) if key == "name" else value

    result: JsonObject = renumbered(config)
    return result


def load(source: Path | bytes, parameters: int | None = None) -> "keras.Model":
    """Validate a model file and load it in Keras' safe mode, not compiled.

    Args:
        source: path or content of a `model.keras`.
        parameters: expected number of parameters of its network; None to accept any.

    Returns:
        A model in original units, see `lstm_ae.models.scaling.in_own_units`.

    Raises:
        ValueError: the content of the file is not allowed; the text describes what is wrong with "it", the file.
        Exception: any error of the zip, HDF5, or Keras readers for a damaged file.
    """
    config, weights = read_validated(source)
    load_tensorflow()
    import keras

    # Keras stores unallocated variables by thread, and would allocate them at the end of the next scope.
    with ThreadPoolExecutor(1) as thread:
        planned = thread.submit(_deserialize, config).result()
    stored = sum(weight.size for layers in weights.values() for layer in layers.values() for weight in layer)
    if planned.count_params() > stored:
        raise ValueError(f"its config declares {planned.count_params():,} weights, but it contains {stored:,}")
    require_small_tensors(planned)
    with ExitStack() as stack:
        if isinstance(source, bytes):
            path = stack.enter_context(temporary_folder("model")) / "model.keras"
            path.write_bytes(source)
        else:
            path = source
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    submodels = {layer.name: layer.count_params() for layer in model.layers}
    require_submodels(submodels if isinstance(model.input, dict) else {}, parameters)
    return model


def _deserialize(config: JsonObject) -> "keras.Model":
    """Return the model of a config without its variables."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        return keras.saving.deserialize_keras_object(config, safe_mode=True)


def read_validated(source: Path | bytes) -> tuple[JsonObject, ModelWeights]:
    """Read the config of a model file and its weights, and validate both.

    Raises:
        ValueError: the content is not allowed; the text describes what is wrong with "it", the file.
        Exception: any error of the zip or HDF5 readers for a damaged file.
    """
    config, content = read_archive(source)
    require_known_classes(config)
    return config, read_plain_weights(content)


def require_submodels(counts: Mapping[str, int], parameters: int | None) -> None:
    """Raise `ValueError` unless a model has the parts of a model in original units.

    Args:
        counts: number of parameters by name of the submodel.
        parameters: expected number of parameters of its network; None to accept any.
    """
    if not {"network", "scaling"} <= set(counts):
        raise ValueError("it has no layers named 'scaling' and 'network'")
    if parameters not in (None, counts["network"]):
        raise ValueError(f"it has {counts['network']:,} parameters, but its run trained {parameters:,}")


def require_small_tensors(model: "keras.Model") -> None:
    """Raise `ValueError` if a layer returns too much: operations without weights could fill the memory."""
    for operation in model.operations:
        if hasattr(operation, "operations"):
            require_small_tensors(operation)
        for tensor in itertools.chain.from_iterable(node.outputs for node in operation._inbound_nodes):
            if math.prod(size or 1 for size in tensor.shape) > LARGEST_SAMPLE:
                raise ValueError(f"its layer {operation.name!r} returns more than {LARGEST_SAMPLE:,} values per sample")


def require_known_classes(config: JsonObject) -> None:
    """Raise `ValueError` if a config names a class outside `ALLOWED`, another registered name, or a compile config."""
    for item in _objects(config):
        name, module = item["class_name"], item.get("module")
        if not isinstance(name, str) or not isinstance(module, str | None) or name not in ALLOWED.get(module, ()):
            text = f"{module}.{name}" if module else f"{name}"
            raise ValueError(f"it contains {text[:100]!r}, a class that models of this package do not use")
        if item.get("registered_name") not in (None, name):
            raise ValueError(f"it registers {name!r} under a different name")
        if item.get("compile_config"):
            raise ValueError(f"its {name!r} has a compile config")


def read_plain_weights(content: bytes) -> ModelWeights:
    """Return the weights stored in an HDF5 file.

    Raises:
        ValueError: values are linked, stored in other files, not numeric, or not finite.
    """
    import h5py  # type: ignore[import-untyped]

    weights, names, size = dict[str, Array](), dict[str, str](), 0
    with h5py.File(io.BytesIO(content), "r") as file:
        waiting, seen = [file], set()
        while waiting:
            group = waiting.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError("its weights are linked or stored in other files")
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    raise ValueError("its weights are linked")
                seen.add(address)
                if isinstance(item, h5py.Group):
                    names[item.name] = str(item.attrs.get("name", ""))
                    waiting.append(item)
                    continue
                if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
                    raise ValueError("its weights are stored in other files")
                size += math.prod(item.shape or ()) * item.dtype.itemsize
                if item.dtype.kind not in "fiu" or size > len(content):
                    raise ValueError("its weights are not numeric, or larger than the file")
                weight = np.asarray(item[()])
                if not np.isfinite(weight).all():
                    raise ValueError("its weights contain NaN or infinity")
                weights[item.name] = weight
    # Keras numbers the folders of layers by class, and writes the name of a layer to its folder of variables.
    by_model: dict[str, dict[str, list[Array]]] = {}
    for path, weight in sorted(weights.items()):
        layer, model = path.rpartition("/vars/")[0].removesuffix("/cell"), "/".join(path.split("/")[:3])
        layers = by_model.setdefault(names.get(f"{model}/vars", ""), {})
        layers.setdefault(names.get(f"{layer}/vars", ""), []).append(weight)
    return by_model


def layer_name(kind: str) -> str:
    """Return the base name that Keras derives from the name of a layer class."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()


def _objects(config: JsonObject) -> Iterator[JsonObject]:
    """Yield every object of a config that names a class, at any depth."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
            if "class_name" in item:
                yield item
        elif isinstance(item, list):
            waiting += item
