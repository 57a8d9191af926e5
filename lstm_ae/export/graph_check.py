"""Check the graph of a SavedModel for forbidden parts, by reading its file without loading it."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lstm_ae.errors import Code, DataError
from lstm_ae.export.layout import GRAPH_FILE
from lstm_ae.export.operations import ALLOWED_OPERATIONS, RESTORE_OPERATIONS, SAVE_OPERATIONS, TOP_LEVEL_OPERATIONS
from lstm_ae.files import read_regular

if TYPE_CHECKING:
    from tensorflow.core.framework.attr_value_pb2 import AttrValue, NameAttrList
    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

# In bytes. Weights are in other files, so a graph of a few megabytes is large, and the parsed graph takes about twenty
# times as much memory.
MAX_GRAPH_BYTES = 16 * 2**20

# TensorFlow would load these files instead of saved_model.pb, or if there is no saved_model.pb.
OTHER_GRAPH_FILES = ("saved_model.cpb", "saved_model.pbtxt")


class ForbiddenGraphError(DataError):
    """An error for a SavedModel that contains forbidden parts."""

    code = Code.MODEL_FORBIDDEN


def read_graph(version: Path) -> "MetaGraphDef":
    """Return the only meta graph of a SavedModel, with nodes, functions, signatures, and objects.

    Args:
        version: The folder that contains `saved_model.pb`.

    Raises:
        DataError: If the file is missing, too large, damaged, or not in the form of TensorFlow 2.
    """
    return parse_graph(read_graph_file(version), version)


def read_graph_file(version: Path) -> bytes:
    """Return the content of `saved_model.pb`.

    Raises:
        DataError: See `read_graph`.
    """
    path = version / GRAPH_FILE
    for name in OTHER_GRAPH_FILES:
        if os.path.lexists(version / name):
            raise DataError(
                f"{str(version / name)!r} is not a supported form of SavedModel. Save it as {GRAPH_FILE}.",
                code=Code.MODEL_UNUSABLE,
            )
    if not path.is_file():
        raise DataError(f"{str(version)!r} is not a SavedModel: it has no {GRAPH_FILE}", code=Code.MODEL_NOT_FOUND)
    try:
        return read_regular(path, MAX_GRAPH_BYTES)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}", code=Code.MODEL_UNUSABLE) from error


def parse_graph(content: bytes, version: Path) -> "MetaGraphDef":
    """Return the meta graph in the content of a version's `saved_model.pb`.

    Raises:
        DataError: See `read_graph`.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        model.ParseFromString(content)
    except DecodeError:
        model.Clear()
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise DataError(
            f"{str(version / GRAPH_FILE)!r} is damaged, or not in the format of TensorFlow 2. Export the model again.",
            code=Code.MODEL_UNUSABLE,
        )
    return model.meta_graphs[0]


# These operations pass their inputs to a function one for one.
CALL_OPERATIONS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})

OBJECT_KINDS = frozenset(
    {"bare_concrete_function", "captured_tensor", "constant", "function", "user_object", "variable", None}
)

# Objects whose identifiers start with these prefixes are loaded as instances of a class of their own.
PLAIN_OBJECT_PREFIXES = ("_generic_user_object", "_tf_keras_")

# The number of nodes of a call after inlining is limited: TensorFlow inlines functions before it runs them, and a
# chain of functions that each call the next one twice grows exponentially.
MAX_CALL_NODES = 2**20

# The depth of nested calls is limited, because TensorFlow recurses into functions on the stack of its process.
MAX_CALL_DEPTH = 64

# A file stores a repeated value of a constant once, but memory stores every copy.
MAX_CONSTANT_VALUES = 2**26

# Only protobuf fields of these types can contain text.
TEXT_FIELD_TYPES = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE)

# Constants of these types refer to objects, which may belong to other models in the process.
HANDLE_TYPES = ("DT_RESOURCE", "DT_VARIANT")


def find_forbidden(meta: "MetaGraphDef") -> list[str]:
    """Return descriptions of the forbidden parts of a SavedModel, sorted; empty if it may be served.

    The check covers every node of every function, reachable or not, unless calls are recursive or excessive. Only
    the saver may restore and save weights: its two nodes, their dependencies, and the functions they call, provided
    that the model refers to them nowhere else. The saver may restore from the model's own files only.

    Args:
        meta: A `tensorflow.MetaGraphDef`. Nothing of it is loaded or run.
    """
    nodes = {node.name: node for node in meta.graph_def.node}
    functions = {each.signature.name: each for each in meta.graph_def.library.function}
    forbidden = {
        *_find_forbidden_features(meta, nodes, functions),
        *_find_forbidden_objects(meta),
        *_find_forbidden_constants(meta),
    }
    calls = {name: list(_called_functions(function.node_def, functions)) for name, function in functions.items()}
    if excesses := set(_find_excessive_calls(functions, calls)):
        # The checks below need calls without cycles, and one finding is enough to refuse the model.
        return sorted(forbidden | excesses)

    # Any text in these parts may be the name of a function to run.
    others = [
        part for field, part in meta.ListFields() if field.name not in ("graph_def", "meta_info_def", "saver_def")
    ]
    served = _dependencies(nodes, _strings(meta.signature_def, meta.collection_def))
    restoring = _dependencies(nodes, [meta.saver_def.restore_op_name]) - served
    saving = _dependencies(nodes, [meta.saver_def.save_tensor_name]) - served - restoring
    library = meta.graph_def.library
    plain = [nodes[name] for name in set(nodes) - restoring - saving]
    reached = _reachable_functions(functions, [*others, *plain, *library.gradient, *library.registered_gradients])
    by_restore = _reachable_functions(functions, [nodes[name] for name in restoring]) - reached
    by_save = _reachable_functions(functions, [nodes[name] for name in saving]) - reached - by_restore
    for name, node in nodes.items():
        more = RESTORE_OPERATIONS if name in restoring else SAVE_OPERATIONS if name in saving else frozenset()
        forbidden |= {node.op} - functions.keys() - ALLOWED_OPERATIONS - TOP_LEVEL_OPERATIONS - more
    for name, function in functions.items():
        more = RESTORE_OPERATIONS if name in by_restore else SAVE_OPERATIONS if name in by_save else frozenset()
        forbidden |= {node.op for node in function.node_def} - functions.keys() - ALLOWED_OPERATIONS - more
    if _reads_elsewhere(
        {name: functions[name] for name in by_restore},
        [nodes[name] for name in restoring],
        _node_name(meta.saver_def.filename_tensor_name),
    ):
        forbidden.add("a restore from other files")
    return sorted(forbidden)


def _find_forbidden_features(
    meta: "MetaGraphDef", nodes: "Mapping[str, NodeDef]", functions: "Mapping[str, FunctionDef]"
) -> Iterator[str]:
    """Yield features that run code or read files and that TensorFlow 2 models do not need."""
    from tensorflow.python.framework import op_def_registry

    if meta.asset_file_def:
        yield "asset files"
    if len(nodes) < len(meta.graph_def.node) or len(functions) < len(meta.graph_def.library.function):
        yield "duplicate node or function names"
    for name, function in functions.items():
        if op_def_registry.get(name) is not None:
            yield f"a function named like the operation {name}"
        # TensorFlow may replace a function by any function of the process with the same value, other models' included.
        if "api_implements" in function.attr:
            yield "interchangeable functions (api_implements)"
        if function.signature.attr:
            yield "parametrized functions"
    for node in (*nodes.values(), *(node for function in functions.values() for node in function.node_def)):
        if node.op in functions:
            yield "function calls without a call operation"
        for value in node.attr.values():
            for called in _attribute_functions(value):
                if called.attr:
                    yield "parametrized functions"
                if called.name not in functions:
                    yield "calls of missing functions"
    if any(collection.WhichOneof("kind") not in ("node_list", None) for collection in meta.collection_def.values()):
        yield "collections that are not node lists"


def _find_forbidden_objects(meta: "MetaGraphDef") -> Iterator[str]:
    """Yield objects that do more when they are loaded than store variables and functions."""
    for node in meta.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in OBJECT_KINDS:
            yield f"objects of kind {kind}"
        for name in (node.registered_name, node.registered_saver):
            if name:
                yield f"objects registered as {name!r}"
        plain = kind == "user_object" and node.user_object.identifier.startswith(PLAIN_OBJECT_PREFIXES)
        for child in node.children:
            # TensorFlow sets `__call__` on the object's class, which it may share with other models' objects.
            if child.local_name.startswith("__") and not (plain and child.local_name == "__call__"):
                yield f"objects that override {child.local_name}"


def _find_forbidden_constants(meta: "MetaGraphDef") -> Iterator[str]:
    """Yield constants that are references, have no size, or do not fit into memory."""
    from tensorflow.core.framework.types_pb2 import DataType

    total = 0.0
    for tensor in _iterate_parts(meta):
        if not isinstance(tensor, Message) or tensor.DESCRIPTOR.full_name != "tensorflow.TensorProto":
            continue
        kind = DataType.Name(tensor.dtype) if tensor.dtype in DataType.values() else "DT_INVALID"
        if kind.startswith(HANDLE_TYPES):
            yield f"constants of type {kind.removeprefix('DT_').lower()}"
        sizes = [size.size for size in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
            yield "constants of unknown size"
        # Floats do not grow with the number of dimensions. The last text is the value of all that the file omits.
        total += math.prod(map(float, sizes)) * (1 + sum(map(len, tensor.string_val[-1:])))
    if not total <= MAX_CONSTANT_VALUES:
        yield f"constants of more than {MAX_CONSTANT_VALUES:,} values"


def _find_excessive_calls(functions: "Mapping[str, FunctionDef]", calls: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield calls that exhaust the memory or the stack of the process."""
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError:
        yield "recursive functions"
        return
    sizes: dict[str, int] = {}
    depths: dict[str, int] = {}
    for name in order:
        inner = calls[name]
        sizes[name] = min(MAX_CALL_NODES + 1, len(functions[name].node_def) + sum(sizes[each] for each in inner))
        depths[name] = 1 + max((depths[each] for each in inner), default=0)
    if max(sizes.values(), default=0) > MAX_CALL_NODES:
        yield f"calls that expand to more than {MAX_CALL_NODES:,} nodes"
    if max(depths.values(), default=0) > MAX_CALL_DEPTH:
        yield f"calls nested more than {MAX_CALL_DEPTH} functions deep"


def _reads_elsewhere(functions: "Mapping[str, FunctionDef]", restoring: "list[NodeDef]", filename: str) -> bool:
    """Return whether weights may be restored from any file other than the one passed to the saver.

    TensorFlow writes a call that passes the file name as the first argument, and a function that restores from it.

    Args:
        functions: The functions that only the saver calls, by name.
        restoring: The nodes of the outer graph that restore weights.
        filename: The node that receives the file name.
    """
    for node in restoring:
        called = list(_called_functions([node], functions))
        if called and node.op not in CALL_OPERATIONS:
            return True
        reads = called or node.op in RESTORE_OPERATIONS
        if reads and not {filename, f"{filename}:0"}.intersection(node.input[:1]):
            return True
    for function in functions.values():
        names = [argument.name for argument in function.signature.input_arg[:1]]
        if any(node.op in RESTORE_OPERATIONS and list(node.input[:1]) != names for node in function.node_def):
            return True
        if any(_called_functions(function.node_def, functions)):
            return True
    return False


def _reachable_functions(functions: "Mapping[str, FunctionDef]", messages: Iterable[Message]) -> set[str]:
    """Return the functions that messages name in any field, and those that these functions name in turn.

    A function can be reached in other ways than by a call, but each way contains its name.
    """
    known: dict[str | bytes, str] = {name: name for name in functions} | {name.encode(): name for name in functions}
    waiting, seen = list(messages), set[str]()
    while waiting:
        for name in {known[text] for text in _strings(waiting.pop()) if text in known} - seen:
            seen.add(name)
            waiting.append(functions[name])
    return seen


def _dependencies(nodes: "Mapping[str, NodeDef]", tensors: Iterable[str | bytes]) -> set[str]:
    """Return the names of the nodes that tensors depend on, including their own."""
    waiting, seen = [_node_name(tensor) for tensor in tensors], set()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            waiting += map(_node_name, nodes[name].input)
    return seen


def _node_name(tensor: str | bytes) -> str:
    text = tensor if isinstance(tensor, str) else tensor.decode(errors="replace")
    return text.lstrip("^").split(":")[0]


def _called_functions(nodes: "Iterable[NodeDef]", functions: "Mapping[str, FunctionDef]") -> Iterator[str]:
    """Yield the function of every call in nodes."""
    for node in nodes:
        if node.op in functions:
            yield node.op
        for value in node.attr.values():
            yield from (called.name for called in _attribute_functions(value) if called.name in functions)


def _attribute_functions(value: "AttrValue") -> "Iterator[NameAttrList]":
    if value.HasField("func"):
        yield value.func
    yield from value.list.func


def _strings(*messages: Any) -> Iterator[str | bytes]:
    """Yield all strings and bytes in messages, including keys of maps."""
    return (part for part in _iterate_parts(*messages) if isinstance(part, str | bytes))


def _iterate_parts(*messages: Any) -> Iterator[Any]:
    """Yield all messages, strings, and bytes in messages, at any depth."""
    waiting = list(messages)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | bytes):
            yield value
        elif isinstance(value, Message):
            yield value
            # Numbers are skipped, because there may be millions of them.
            waiting += [part for field, part in value.ListFields() if field.type in TEXT_FIELD_TYPES]
        elif isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, Sequence):
            waiting += value
