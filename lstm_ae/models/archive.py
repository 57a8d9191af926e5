"""A `model.keras` looked at before Keras opens it: a run may come from a stranger, and a model file is a program.

Keras' safe mode refuses lambdas and no more: a config may name any class of Keras, sizes that no memory holds, and
weights that lie in other files. Here only what the models of this package are made of passes, and only if the weights
that the config asks for lie in the file. Nothing is unpacked to the disk.
Source: https://keras.io/api/models/model_saving_apis/model_saving_and_loading (the format of the file).
"""

import io
import itertools
import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lstm_ae.files import parse_json

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
# Bytes of each member. The weights are bounded by the file that they lie in, since nothing in it may be compressed.
LARGEST = {METADATA: 2**16, CONFIG: 2**23, WEIGHTS: 2**34}

_LAYERS = """
    Add Bidirectional Concatenate Dense Dropout Embedding Flatten GRU GlobalAveragePooling1D Identity InputLayer LSTM
    RepeatVector Rescaling Reshape
"""
_OPERATIONS = """
    Absolute Add Any Concatenate Cos Cumsum Equal Exp ExpandDims Flip GetItem Greater Isnan Less Log LogicalAnd
    LogicalNot Max Maximum Mean Min Multiply OnesLike Reshape Sin Subtract Sum Transpose TrueDivide Where ZerosLike
"""
_INITIALIZERS = "Constant GlorotUniform Ones Orthogonal RandomUniform Zeros"
# By module: the classes that a config may name.
ALLOWED = {
    "keras": {"DTypePolicy"},
    "keras.layers": set(_LAYERS.split()),
    "keras.initializers": set(_INITIALIZERS.split()),
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.core": {"Cast"},
    "keras.src.ops.numpy": set(_OPERATIONS.split()),
    # Values; these stand without a module.
    None: {"__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__"},
}


def read_archive(path: Path) -> tuple[dict[str, Any], bytes]:
    """The config and the weights, an HDF5 file, as they lie in the archive; nothing of them is trusted yet.

    Raises:
        OSError, zipfile.BadZipFile, KeyError: there is no such archive, or a part of it is missing.
        ValueError: a part of it is too large, or one that no model has.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two parts of it have one name")
        for member in members:
            if member.filename not in LARGEST:
                raise ValueError(f"it holds {member.filename!r}, which no model has")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > LARGEST[member.filename]:
                raise ValueError(f"{member.filename!r} in it is compressed or too large")
        config, weights = (archive.read(name) for name in (CONFIG, WEIGHTS))
    parsed = parse_json(config.decode())
    if not isinstance(parsed, dict):
        raise ValueError(f"its {CONFIG} holds no object")
    return parsed, weights


def normalize_archive(path: Path) -> bytes:
    """Return an archive that Keras wrote with the same bytes for equal models.

    Keras writes the time, memory addresses, and layer names that count all layers the process has made.
    """
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


def _renumber(config: Any) -> Any:
    """Return a config with the numbers of shared objects and of automatic layer names counted from the start."""
    layers = {
        item["name"]: _snake(item["class_name"]) for item in _objects(config) if isinstance(item.get("name"), str)
    }
    automatic = {name: base for name, base in reversed(layers.items()) if re.fullmatch(f"{base}(_[0-9]+)?", name)}
    counts = {base: itertools.count() for base in automatic.values()}
    names, numbers = dict[str, str](), dict[int, int]()
    for name, base in automatic.items():
        every = (f"{base}_{number}" if number else base for number in counts[base])
        names[name] = next(new for new in every if new not in layers or new in automatic)

    def renumbered(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {key: renumbered(item, key) for key, item in value.items()}
        if isinstance(value, list):
            # A reference to a tensor: layer, call, and output.
            tensor = len(value) == 3 and isinstance(value[0], str)
            return [renumbered(item, "name" if tensor and not place else "") for place, item in enumerate(value)]
        if key == "shared_object_id":
            return numbers.setdefault(value, len(numbers) + 1)
        return names.get(value, value) if key == "name" else value

    return renumbered(config)


def load(path: Path, parameters: int | None = None) -> Any:
    """The model, in safe mode and ready to be applied, once the file has been looked at.

    Args:
        parameters: how many its network has, where that is known: another number is another model.

    Raises:
        Exception: what is wrong with the file, in the words of whoever found it.
    """
    config, weights = read_archive(path)
    require_known_classes(config)
    asked, held = count_declared_weights(config), require_plain_weights(weights)
    if asked > held:
        raise ValueError(f"its config asks for {asked:,} weights and it holds {held:,}")
    import keras

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    parts = {layer.name: layer for layer in model.layers}
    if not isinstance(model.input, dict) or not {"network", "scaling"} <= set(parts):
        raise ValueError("it has no network behind a scaling")
    if parameters not in (None, found := parts["network"].count_params()):
        raise ValueError(f"it has {found:,} parameters and its run trained {parameters:,}")
    return model


def require_known_classes(config: Any) -> None:
    """Raise `ValueError` where a model's config names a class that is not allowed, or more than its class."""
    for item in _objects(config):
        name, module = item["class_name"], item.get("module")
        if not isinstance(name, str) or not isinstance(module, str | None) or name not in ALLOWED.get(module, ()):
            shown = f"{module}.{name}" if module else f"{name}"
            raise ValueError(f"it holds {shown[:100]!r}, which the models of this package do not")
        if item.get("registered_name") not in (None, name):
            raise ValueError(f"it registers {name!r} under another name")
        if item.get("compile_config"):
            raise ValueError(f"it holds a {name!r} that is compiled")


def count_declared_weights(config: Any) -> int:
    """How many weights Keras would make for a model's config; raises `ValueError` where it does not say.

    Each layer says what it was built for, and Keras builds it for that.
    """
    total = 0
    sizes: list[Any] = []
    for item in _objects(config):
        # A horizon is as long as a layer of weights is wide.
        sizes += _list(_own(item).get("batch_shape")) if item["class_name"] != "Dense" else [_own(item).get("units")]
    for item in _objects(config):
        name, own = item["class_name"], _own(item)
        if name == "RepeatVector" and own.get("n") not in sizes:
            raise ValueError("it repeats a vector more often than it has steps")
        if name == "Embedding":
            total += _size(own.get("input_dim")) * _size(own.get("output_dim"))
        if name not in ("LSTM", "GRU", "Dense"):
            continue
        shape = _built_for(item.get("build_config"))
        units, read = _size(own.get("units")), _size(shape[-1] if shape else None)
        bias = 1 if own.get("use_bias", True) else 0
        if name == "Dense":
            total += units * (read + bias)
        elif name == "LSTM":
            total += 4 * units * (read + units + bias)
        else:
            total += 3 * units * (read + units + bias * (2 if own.get("reset_after", True) else 1))
    return total


def require_plain_weights(weights: bytes) -> int:
    """How many numbers an HDF5 file holds; raises `ValueError` where they lie elsewhere, or are not finite."""
    import h5py  # type: ignore[import-untyped]

    held, stored = 0, 0
    with h5py.File(io.BytesIO(weights), "r") as file:
        waiting, seen = [file], set()
        while waiting:
            group = waiting.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError("its weights lie in other files, or are linked")
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in seen:
                    raise ValueError("its weights are linked")
                seen.add(place)
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                    continue
                if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
                    raise ValueError("its weights lie in other files")
                stored += math.prod(item.shape or ()) * item.dtype.itemsize
                if item.dtype.kind not in "fiu" or stored > len(weights):
                    raise ValueError("its weights are no numbers, or more of them than it holds")
                if not np.isfinite(item[()]).all():
                    raise ValueError("its weights hold NaN or infinity")
                held += math.prod(item.shape)
    return held


def _snake(name: str) -> str:
    """Return the prefix of the names that Keras gives to layers of a class."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every part of a config that names a class, at any depth."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
            if "class_name" in item:
                yield item
        elif isinstance(item, list):
            waiting += item


def _own(item: dict[str, Any]) -> dict[str, Any]:
    """A part's own config; of a value, which has another one, nothing."""
    own = item.get("config")
    return own if isinstance(own, dict) else {}


def _built_for(config: Any) -> list[Any]:
    """The shape that Keras builds a layer for; of a recurrent one that starts from a given state, its sequence's."""
    if not isinstance(config, dict):
        return []
    if "input_shape" in config:
        return _list(config["input_shape"])
    shapes = config.get("shapes_dict")
    return _list(shapes.get("sequences_shape")) if isinstance(shapes, dict) else []


def _list(shape: Any) -> list[Any]:
    return shape if isinstance(shape, list) else []


def _size(number: Any) -> int:
    if type(number) is not int or number < 1:
        raise ValueError(f"a layer in it has a size of {str(number)[:20]}")
    return number
