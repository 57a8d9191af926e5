"""Reader of the layers, parameters, inputs, and outputs of a `model.keras` that does not import Keras.

The file is a zip archive: `config.json` has the layers in order, and `model.weights.h5` their values in groups with
the names of the layers (keras.io/api/models/model_saving_apis). The network is between a scaling and an unscaling
layer, which have no trainable parameters.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonMapping
from lstm_ae.models.archive import read_archive

if TYPE_CHECKING:
    import h5py  # type: ignore[import-untyped]


# Settings of a layer that are shown if it has them.
_DETAILS = ("units", "activation", "rate", "return_sequences", "n")
# Layers that are not shown, because they compute nothing.
_HIDDEN = ("InputLayer", "Identity")


class LayerSummary(NamedTuple):
    """Layer of a network.

    Args:
        name: its name.
        kind: its class.
        details: its settings.
        reads: the shape of its input.
        parameters: its number of parameters.
    """

    name: str
    kind: str
    details: str
    reads: str
    parameters: int


class NetworkSummary(NamedTuple):
    """Inputs, outputs, and layers of a model.

    Args:
        inputs: shape of each input, such as "any × 28 × 28".
        outputs: names of the outputs.
        layers: the layers in the order of the model's file.
    """

    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Number of parameters of all layers."""
        return sum(layer.parameters for layer in self.layers)


def read_network(path: Path) -> NetworkSummary:
    """Read a `model.keras`.

    Raises:
        DataError: the file is missing, damaged, or not a model.
    """
    import h5py

    try:
        config, weights = read_archive(path)
        with h5py.File(io.BytesIO(weights)) as file:
            return _network(config["config"], file)
    except FileNotFoundError:
        raise DataError(f"There is no {str(path)!r}", code=Code.RUN_DAMAGED) from None
    except Exception as error:
        raise DataError(
            f"{str(path)!r} is damaged or not a model ({type(error).__name__})", code=Code.RUN_DAMAGED
        ) from error


def _network(config: JsonMapping, file: "h5py.File") -> NetworkSummary:
    inner = {layer["config"]["name"]: layer["config"] for layer in config["layers"] if "layers" in layer["config"]}
    groups = {_name(group): group for group in file["layers"].values()}
    parts = inner.items() if inner else [(config["name"], config)]
    layers: list[LayerSummary] = []
    for name, part in parts:
        weights = groups[name]["layers"] if inner else file["layers"]
        layers += _layers(part["layers"], weights)
    shapes = {
        layer["config"]["name"]: _shape(layer["config"]["batch_shape"])
        for layer in config["layers"]
        if layer["class_name"] == "InputLayer"
    }
    return NetworkSummary(shapes, tuple(_names(config["output_layers"])), tuple(layers))


def _layers(listed: Sequence[JsonMapping], groups: "h5py.Group") -> Iterator[LayerSummary]:
    sizes = {_name(group): _size(group) for group in groups.values()}
    for layer in listed:
        config, kind = layer["config"], layer["class_name"]
        # Operations of keras.ops have the name of their module and no parameters.
        if kind in _HIDDEN or ".ops." in str(layer.get("module")):
            continue
        if kind == "Functional":
            kind = "operations"
        settings = {key: config[key] for key in _DETAILS if config.get(key) not in (None, False)}
        if isinstance(inner := config.get("layer"), dict):  # A wrapper, such as Bidirectional.
            kind = f"{kind} of {inner['class_name']}"
            settings |= {key: inner["config"][key] for key in ("units", "activation") if key in inner["config"]}
        details = ", ".join(
            key.replace("_", " ") if value is True else f"{key} {value}" for key, value in settings.items()
        )
        built = layer.get("build_config") or {}
        # A recurrent layer with an initial state has two input shapes.
        reads = built.get("input_shape") or built.get("shapes_dict", {}).get("sequences_shape")
        shape = _shape(reads) if isinstance(reads, list) and not any(isinstance(each, list) for each in reads) else ""
        yield LayerSummary(config["name"], kind, details, shape, sizes.get(config["name"], 0))


def _size(group: "h5py.Group") -> int:
    """Return the number of values in a group and its subgroups."""
    return sum(_size(item) if hasattr(item, "values") else int(item.size) for item in group.values())


def _name(group: "h5py.Group") -> str:
    return str(group["vars"].attrs.get("name", "")) if "vars" in group else ""


def _names(outputs: Mapping[str, object] | Sequence[Sequence[object]]) -> list[str]:
    return list(outputs) if isinstance(outputs, dict) else [str(each[0]) for each in outputs]


def _shape(shape: Sequence[int | None]) -> str:
    return " × ".join("any" if size is None else str(size) for size in shape)
