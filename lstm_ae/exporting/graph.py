"""A SavedModel's graph and signatures, read from its file without loading anything."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_ae.errors import DataError
from lstm_ae.files import read_regular

LIMIT = 64 * 2**20  # bytes; weights are in other files, and a graph of a few megabytes is large
FILE = "saved_model.pb"
# TensorFlow would load these instead of, or where there is no, saved_model.pb.
OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")
INITIALIZER = "__saved_model_init_op"


def read_graph(version: Path, limit: int = LIMIT) -> Any:
    """Return the one meta graph of a SavedModel, a `tensorflow.MetaGraphDef`: nodes, functions, signatures, objects.

    Args:
        version: the folder that holds `saved_model.pb`.
        limit: largest file to read, in bytes; parsed, it takes some twenty times as much memory.

    Raises:
        DataError: there is no such file, it is too large, damaged, or in another form than TensorFlow 2 writes.
    """
    return parse_graph(read_graph_file(version, limit), version)


def read_graph_file(version: Path, limit: int = LIMIT) -> bytes:
    """Return the content of `saved_model.pb`; raises as `read_graph` does."""
    path = version / FILE
    for name in OTHER_FORMS:
        if os.path.lexists(version / name):
            raise DataError(f"{str(version / name)!r} is a form of SavedModel that is not read here; save it as {FILE}")
    if not path.is_file():
        raise DataError(f"{str(version)!r} is no SavedModel: it has no {FILE}")
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def parse_graph(content: bytes, version: Path) -> Any:
    """Return the meta graph in the content of a version's `saved_model.pb`; raises as `read_graph` does."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path, model = version / FILE, SavedModel()
    try:
        model.ParseFromString(content)
    except Exception:  # protobuf's DecodeError
        raise DataError(f"{str(path)!r} is damaged; export the model again") from None
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise DataError(f"{str(path)!r} is damaged, or not in TensorFlow 2's form; export the model again")
    return model.meta_graphs[0]


def signatures(graph: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Each signature's `inputs` and `outputs`, each a dict by name of `{"dtype": ..., "shape": [...]}`.

    Open sizes are None; so is the shape where not even the rank is known.
    """
    return {
        name: {"inputs": _tensors(signature.inputs), "outputs": _tensors(signature.outputs)}
        for name, signature in sorted(graph.signature_def.items())
        if name != INITIALIZER
    }


def _tensors(tensors: Mapping[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    def shape(tensor: Any) -> list[int | None] | None:
        if tensor.tensor_shape.unknown_rank:
            return None
        return [None if size.size < 0 else size.size for size in tensor.tensor_shape.dim]

    try:
        return {
            name: {"dtype": tf.dtypes.as_dtype(tensor.dtype).name, "shape": shape(tensor)}
            for name, tensor in sorted(tensors.items())
        }
    except TypeError as error:
        raise DataError(f"A signature has a tensor without a type ({error}); export the model again") from None
