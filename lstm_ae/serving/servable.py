"""One version of a model, loaded: its signatures, and the call of one of them with checked tensors."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from lstm_ae.errors import DataError
from lstm_ae.exporting.graph import read_graph_file
from lstm_ae.serving.reading import DEFAULT
from lstm_ae.serving.refusals import Code, Refusal, invalid, unknown_signature

Tensors = dict[str, NDArray[Any]]

# What a client of a rollout asks for; rows with another one are answered in another shape.
HORIZON = "horizon"
# Types that both JSON and gRPC carry; object is text.
SERVED = frozenset(
    ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "object")
)
PREDICT = "tensorflow/serving/predict"
# What TensorFlow raises where a graph is not what one looks like: it checks little of it.
DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, UnicodeError)


class Spec(NamedTuple):
    """An input's or output's dtype (object means bytes) and shape; None is a size that is open, or the whole shape."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None


class Sent(NamedTuple):
    """What a message says of its tensor, which is not yet laid out in memory."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Signature(NamedTuple):
    """One callable of a model.

    Args:
        batched: whether inputs and outputs all have rows, as many as there are samples.
    """

    name: str
    inputs: dict[str, Spec]
    outputs: dict[str, Spec]
    batched: bool


class Servable:
    """A SavedModel in memory.

    Args:
        name: the model's.
        version: its number.
        directory: of the version.
        folder: to load it from, needed no longer than that takes.

    Raises:
        DataError: the graph is damaged.
        Exception: whatever else TensorFlow finds wrong with the folder.
    """

    def __init__(self, name: str, version: int, directory: Path, folder: Path) -> None:
        self.name, self.version, self.directory = name, version, directory
        try:
            self.definitions = signature_definitions(folder, directory)
            self.signatures = {key: signature_of(key, found) for key, found in self.definitions.items()}
            # The loaded object owns the variables: it must live as long as its functions do.
            self._loaded = tf.saved_model.load(str(folder))
            self._functions = {key: self._loaded.signatures[key] for key in self.signatures}
        except DAMAGE as error:
            what = f"{type(error).__name__}: {_first_line(str(error))}"
            raise DataError(f"{str(directory)!r} is damaged ({what}); export the model again") from error
        self.dtypes = {
            key: {name: spec.dtype for name, spec in found.inputs.items()} for key, found in self.signatures.items()
        }

    def signature(self, name: str) -> Signature:
        """A signature by name, "" being the usual one; refuses one that is not there."""
        found = self.signatures.get(name or DEFAULT)
        if found is None:
            raise unknown_signature(name or DEFAULT)
        return found

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Call a signature; what TensorFlow refuses is refused with its code and the first line of its words."""
        try:
            outputs = self._functions[signature](**{name: tf.constant(value) for name, value in inputs.items()})
            return {name: value.numpy() for name, value in outputs.items()}
        except tf.errors.OpError as error:
            raise Refusal(_code(error.error_code), _first_line(error.message)) from None
        except (TypeError, ValueError) as error:
            raise invalid(_first_line(str(error))) from None


def check_names(signature: Signature, inputs: Mapping[str, Any]) -> None:
    """Refuse inputs other than the signature's."""
    if inputs.keys() != signature.inputs.keys():
        raise invalid(
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} or names differ. "
            f"Sent: {_names(inputs)}. Expected: {_names(signature.inputs)}"
        )


def check(signature: Signature, inputs: Mapping[str, NDArray[Any] | Sent]) -> None:
    """Refuse tensors, or what is said of them, whose names, dtypes or shapes are not the signature's."""
    check_names(signature, inputs)
    for name, spec in signature.inputs.items():
        array = inputs[name]
        if array.dtype != spec.dtype:
            raise invalid(f"Input {name!r} must be of type {spec.dtype.name}. Received: {array.dtype.name}")
        if spec.shape is not None and not _fits(array.shape, spec.shape):
            raise invalid(f"Input {name!r} must have the shape {_shown(spec.shape)}. Received: {_shown(array.shape)}")
    if signature.batched and len({array.shape[0] for array in inputs.values()}) > 1:
        sizes = ", ".join(f"{name}: {array.shape[0]}" for name, array in inputs.items())
        raise invalid(f"All inputs must have the same number of rows. Received: {sizes}")


def signature_definitions(folder: Path, directory: Path | None = None) -> dict[str, SignatureDef]:
    """The signatures that a client may call, as the SavedModel says them; nothing of it is loaded.

    Args:
        folder: that holds its `saved_model.pb`.
        directory: what errors name, where that is another one.
    """
    path, content = (directory or folder) / "saved_model.pb", SavedModel()
    try:
        content.ParseFromString(read_graph_file(folder))
    except DecodeError as error:
        raise DataError(f"{str(path)!r} is damaged; export the model again") from error
    serving = [graph for graph in content.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not serving:
        raise DataError(f"{str(path)!r} holds no graph for serving; export the model again")
    return callable_ones(serving[0].signature_def)


def callable_ones(definitions: Mapping[str, SignatureDef]) -> dict[str, SignatureDef]:
    """Those of a model's signatures that can be asked to predict; one that starts the model up is among the others."""
    return {key: definitions[key] for key in sorted(definitions) if definitions[key].method_name == PREDICT}


def signature_of(name: str, definition: SignatureDef) -> Signature:
    """What a definition says, in numpy's terms."""
    inputs = {key: _spec(info) for key, info in sorted(definition.inputs.items())}
    outputs = {key: _spec(info) for key, info in sorted(definition.outputs.items())}
    every = [*inputs.values(), *outputs.values()]
    for spec in every:
        if spec.dtype.name not in SERVED:
            raise ValueError(f"the signature {name!r} has values of type {spec.dtype.name}, which are not served")
    batched = bool(inputs) and all(spec.shape and spec.shape[0] is None for spec in every)
    return Signature(name, inputs, outputs, batched)


def _spec(info: Any) -> Spec:
    dtype = np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)
    if info.tensor_shape.unknown_rank:
        return Spec(dtype, None)
    return Spec(dtype, tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim))


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected, strict=True))


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def _names(tensors: Mapping[str, Any]) -> str:
    return ", ".join(sorted(tensors)) or "none"


def _code(number: int) -> Code:
    return Code(number) if number in Code.__members__.values() else Code.UNKNOWN


def _first_line(message: str) -> str:
    # TensorFlow adds the place in the graph, in lines of its own before or after, and in braces.
    place = ("Graph execution error", "Detected at node", "<stack traces", "File ", "[[")
    lines = [line for line in message.splitlines() if line.strip() and not line.strip().startswith(place)]
    return re.sub(r"\s*\[?\[?\{\{.*?\}\}\]?\]?|\s*\[Op:.*?\]", "", lines[0] if lines else "The model failed").strip()
