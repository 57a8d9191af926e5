"""A loaded model version, with its signatures and calls with checked tensors.

TensorFlow Serving does not compare the shapes of inputs with the signature; the model computes with them or fails.
This module does the same, except for exports of this package: their graphs broadcast, so a window with 1 feature
instead of 4 would give a meaningless result instead of an error.
"""

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef, TensorInfo

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, DataError
from lstm_ae.export.layout import MANIFEST_FILE
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument
from lstm_ae.serving.signatures import (
    DEFAULT_SIGNATURE,
    Signature,
    TensorSpec,
    describe_shape_mismatch,
    empty_input,
)
from lstm_ae.serving.tensors import Tensors

# Both JSON and gRPC can represent these types; object is text.
SERVED_DTYPES = frozenset(
    ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "object")
)
# TensorFlow raises these for a damaged graph instead of an error that describes the damage.
DAMAGE_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, UnicodeError)
# Signatures with this prefix initialize a model and cannot be called by clients.
STARTUP_PREFIX = "__saved_model_"


class Servable:
    """A SavedModel in memory.

    Args:
        name: The name of the model.
        version: The version number.
        directory: The folder of the version.
        folder: The folder to load it from, which is not needed afterwards.

    Raises:
        DataError: If TensorFlow cannot load the model.
    """

    def __init__(self, name: str, version: int, directory: Path, folder: Path) -> None:
        self.name, self.version = name, version
        exported = (directory / MANIFEST_FILE).is_file()
        try:
            self._session, graph = _load_session(folder)
            self.definitions = {key: graph.signature_def[key] for key in sorted(graph.signature_def)}
            self.signatures = {
                key: parse_signature(key, definition)._replace(exact=exported)
                for key, definition in callable_signatures(self.definitions).items()
            }
        except DataError:
            raise
        except Exception as error:
            reason = _first_line(str(error)).replace(str(folder), str(directory)).rstrip(".")
            if isinstance(error, DAMAGE_ERRORS):
                reason = f"{type(error).__name__}: {reason}"
            raise DataError(
                f"{str(directory)!r} cannot be loaded ({reason}). Export the model again.", code=Code.MODEL_UNUSABLE
            ) from error
        self.dtypes = {
            key: {name: spec.dtype for name, spec in definition.inputs.items()}
            for key, definition in self.signatures.items()
        }
        self._callables: dict[str, Callable[..., list[Any]]] = {}
        self._making = threading.Lock()

    def signature(self, name: str) -> Signature:
        """Return a signature by name; "" for the default one.

        Raises:
            Refusal: If there is no such signature.
        """
        signature = self.signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            raise Refusal(
                StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.'
            )
        return signature

    def run(self, signature: str, inputs: Mapping[str, Array]) -> Tensors:
        """Call a signature and return its outputs.

        Raises:
            Refusal: If TensorFlow raises an error, with its code and the first line of its message. If the shapes of
                the inputs differ from the signature, the message starts with that.
        """
        mismatch = describe_shape_mismatch(self.signatures[signature], inputs)
        remark = mismatch or empty_input(inputs)
        try:
            expected = self.signatures[signature]
            outputs = self._callable(signature)(*(inputs[name] for name in expected.inputs))
            # A scalar string is returned as bytes instead of an array.
            return {
                name: np.asarray(value, spec.dtype)
                for (name, spec), value in zip(expected.outputs.items(), outputs, strict=True)
            }
        except tf.errors.OpError as error:
            raise Refusal(_status_code(error.error_code), _join_message(remark, error.message)) from None
        except (TypeError, ValueError) as error:
            raise invalid_argument(_join_message(remark, str(error))) from None

    def _callable(self, signature: str) -> Callable[..., list[Any]]:
        """Return the function of a signature from inputs to outputs, each in the order of their names.

        It is made at the first call, so that a signature that the session cannot call does not prevent others.
        """
        with self._making:
            if signature not in self._callables:
                definition = self.definitions[signature]
                # `make_callable` would compare the shapes of the inputs with the graph.
                self._callables[signature] = self._session._make_callable_from_options(
                    CallableOptions(feed=_tensor_names(definition.inputs), fetch=_tensor_names(definition.outputs))
                )
            return self._callables[signature]


def _load_session(folder: Path) -> tuple[tf.compat.v1.Session, MetaGraphDef]:
    """Load a SavedModel as TensorFlow Serving does, into a session that runs each call in the thread of its caller.

    A call then waits for no other call, not even for one that never ends. The small operations of a recurrent network
    take less time than passing them between threads.

    Args:
        folder: The folder that contains `saved_model.pb`.
    """
    # Operations that are meant for a device which does not exist here run on another one.
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=-1, allow_soft_placement=True)
    with tf.Graph().as_default() as graph:
        session = tf.compat.v1.Session(graph=graph, config=config)
        loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
    return session, loaded


def _tensor_names(infos: Mapping[str, TensorInfo]) -> list[str]:
    return [infos[name].name for name in sorted(infos)]


def callable_signatures(definitions: Mapping[str, SignatureDef]) -> dict[str, SignatureDef]:
    """Return the signatures that a client can call, sorted by name."""
    return {key: definitions[key] for key in sorted(definitions) if not key.startswith(STARTUP_PREFIX)}


def parse_signature(name: str, definition: SignatureDef) -> Signature:
    """Convert a signature definition to a `Signature` with NumPy dtypes.

    Raises:
        DataError: If the signature has values of a type that is not served.
    """
    inputs = {key: _tensor_spec(info) for key, info in sorted(definition.inputs.items())}
    outputs = {key: _tensor_spec(info) for key, info in sorted(definition.outputs.items())}
    specs = [*inputs.values(), *outputs.values()]
    for spec in specs:
        if spec.dtype.name not in SERVED_DTYPES:
            raise DataError(
                f"the signature {name!r} has values of type {spec.dtype.name}, which are not served",
                code=Code.MODEL_UNUSABLE,
            )
    batched = bool(inputs) and all(spec.shape and spec.shape[0] is None for spec in specs)
    return Signature(name, inputs, outputs, batched)


def _tensor_spec(info: TensorInfo) -> TensorSpec:
    dtype = np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)
    if info.tensor_shape.unknown_rank:
        return TensorSpec(dtype, None)
    return TensorSpec(dtype, tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim))


def _status_code(number: int) -> StatusCode:
    return next((code for code in StatusCode if code.value[0] == number), StatusCode.UNKNOWN)


def _join_message(remark: str, message: str) -> str:
    return f"{remark}. {_first_line(message)}" if remark else _first_line(message)


def _first_line(message: str) -> str:
    # TensorFlow adds the position in the graph in separate lines before or after the message, and in braces, and
    # suspects a wrong checkpoint behind each error of a load.
    message = message.rpartition("Original error:\n")[2]
    place = ("Graph execution error", "Detected at node", "<stack traces", "File ", "[[", "Node:")
    lines = [line for line in message.splitlines() if line.strip() and not line.strip().startswith(place)]
    return re.sub(r"\s*\[?\[?\{\{.*?\}\}\]?\]?|\s*\[Op:.*?\]", "", lines[0] if lines else "The model failed").strip()
