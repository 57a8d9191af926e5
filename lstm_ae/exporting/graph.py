"""A SavedModel's graph and signatures, read from its file without loading anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_ae.errors import DataError

LIMIT = 64 * 2**20  # bytes; weights are not in this file, and graphs of a few megabytes are large ones
FILE = "saved_model.pb"
# TensorFlow would load these instead of, or where there is no, saved_model.pb.
OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")
INITIALIZER = "__saved_model_init_op"


def read_graph(version: Path, limit: int = LIMIT) -> Any:
    """The one meta graph of a SavedModel: nodes, functions, signatures, object graph.

    Args:
        version: the folder that holds `saved_model.pb`.
        limit: largest file to read, in bytes; parsed, it takes some twenty times as much memory.

    Returns:
        A `tensorflow.MetaGraphDef`.

    Raises:
        DataError: there is no such file, it is too large, damaged, or in another form than TensorFlow 2 writes.
    """
    path = version / FILE
    for name in OTHER_FORMS:
        if (version / name).exists():
            raise DataError(f"{str(version / name)!r} is a form of SavedModel that is not read here; save it as {FILE}")
    if not path.is_file():
        raise DataError(f"{str(version)!r} is no SavedModel: it has no {FILE}")
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if len(content) > limit:
        raise DataError(f"{str(path)!r} is larger than {limit:,} bytes; keep large constants in variables")
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
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
