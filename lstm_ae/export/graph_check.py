"""Check the graph of a SavedModel for forbidden parts, by reading its file without loading it."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lstm_ae.errors import Code, DataError
from lstm_ae.export.layout import GRAPH_FILE
from lstm_ae.export.operations import ALLOWED_OPERATIONS, RESTORE_OPERATIONS, SAVE_OPERATIONS, TOP_LEVEL_OPERATIONS
from lstm_ae.files import read_regular

if TYPE_CHECKING:
    from tensorflow.core.framework.attr_value_pb2 import AttrValue, NameAttrList
    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
    from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo as TensorInfoProto


MAX_GRAPH_BYTES = 64 * 2**20  # In bytes. Weights are in other files, so a graph of a few megabytes is large.

# Each message and string of a graph becomes an object in memory, and a file of 64 MB can contain 32 million. This
# package's graphs have 50,000, and very large models have a million.
MAX_MESSAGE_PARTS = 2**21

# The time to parse a map can grow with the square of the number of its entries.
MOST_ENTRIES = 2**14

# TensorFlow would load these files instead of saved_model.pb, or if there is no saved_model.pb.
OTHER_GRAPH_FILES = ("saved_model.cpb", "saved_model.pbtxt")

INITIALIZER_SIGNATURE = "__saved_model_init_op"


class TensorInfo(TypedDict):
    """A tensor of a signature: variable sizes are None, and so is the shape if the rank is unknown."""

    dtype: str
    shape: list[int | None] | None


class SignatureInfo(TypedDict):
    """The tensors of a signature by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


class ForbiddenGraphError(DataError):
    """An error for a SavedModel that contains forbidden parts."""

    code = Code.MODEL_FORBIDDEN


def read_graph(version: Path, limit: int = MAX_GRAPH_BYTES) -> "MetaGraphDef":
    """Return the only meta graph of a SavedModel.

    Args:
        version: The folder that contains `saved_model.pb`.
        limit: The largest file to read, in bytes. The parsed graph takes about twenty times as much memory.

    Returns:
        A `tensorflow.MetaGraphDef` with nodes, functions, signatures, and objects.

    Raises:
        ForbiddenGraphError: If the graph has too many parts.
        DataError: If the file is missing, too large, damaged, or not in the form of TensorFlow 2.
    """
    return parse_graph(read_graph_file(version, limit), version)


def read_graph_file(version: Path, limit: int = MAX_GRAPH_BYTES) -> bytes:
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
        return read_regular(path, limit)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}", code=Code.MODEL_UNUSABLE) from error


def parse_graph(content: bytes, version: Path) -> "MetaGraphDef":
    """Return the meta graph in the content of a version's `saved_model.pb`.

    Raises:
        ForbiddenGraphError, DataError: See `read_graph`.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path, model = version / GRAPH_FILE, SavedModel()
    try:
        # Protobuf blocks all other threads while it parses, so the parts are counted first.
        parts = count_message_parts(content, SavedModel.DESCRIPTOR, MAX_MESSAGE_PARTS)
        if parts <= MAX_MESSAGE_PARTS:
            model.ParseFromString(content)
    except (ValueError, DecodeError):
        raise DataError(f"{str(path)!r} is damaged. Export the model again.", code=Code.MODEL_UNUSABLE) from None
    if parts > MAX_MESSAGE_PARTS:
        raise ForbiddenGraphError(
            f"{str(path)!r} has more than {MAX_MESSAGE_PARTS:,} messages and strings, or a map of more "
            f"than {MOST_ENTRIES:,} entries"
        )
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise DataError(
            f"{str(path)!r} is damaged, or not in the format of TensorFlow 2. Export the model again.",
            code=Code.MODEL_UNUSABLE,
        )
    return model.meta_graphs[0]


def count_message_parts(content: bytes, kind: Descriptor, most: int) -> int:
    """Return the number of messages, strings, and bytes values in an encoded message, at any depth.

    Counting stops above `most`, or at a map with more than `MOST_ENTRIES` entries, for which the result is `most +
    1`.

    Args:
        content: The encoded message.
        kind: Its type.
        most: The number above which counting stops.

    Raises:
        ValueError: If the content is damaged, or in a form that protobuf reads but does not write: a message in
            several pieces, or fields in groups.
    """
    types = _message_fields(kind)
    count, waiting = 0, [(0, len(content), kind.full_name)]
    try:
        while waiting and count <= most:
            place, end, name = waiting.pop()
            inner = types[name]
            seen: dict[int, int] = {}
            while place < end and count <= most:
                tag = content[place]
                place += 1
                if tag > 127:
                    tag, place = _read_varint(content, place - 1)
                form = tag & 7
                if form == LENGTH_DELIMITED:
                    count += 1
                    size = content[place]
                    place += 1
                    if size > 127:
                        size, place = _read_varint(content, place - 1)
                    if tag in inner and place + size <= end:
                        field = inner[tag]
                        waiting.append((place, place + size, field.kind))
                        if field.most is not None:
                            seen[tag] = seen.get(tag, 0) + 1
                            if seen[tag] > field.most == 1:
                                raise ValueError("A field is given twice")
                            if seen[tag] > field.most:
                                return most + 1
                    place += size
                elif form == VARINT:
                    _, place = _read_varint(content, place)
                else:
                    place += FIXED_SIZES[form]
            if place > end:
                raise ValueError("A field ends after its message")
    except LookupError as error:
        raise ValueError("A field is cut off, or of an unknown form") from error
    return count


# The lowest three bits of a tag are the wire type of its field (protobuf.dev, "Encoding").
VARINT, LENGTH_DELIMITED = 0, 2

FIXED_SIZES = {1: 8, 5: 4}


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """Return a number encoded with seven bits per byte, lowest first, and the position after it."""
    number = 0
    for count, byte in enumerate(content[place : place + 10]):
        number |= (byte & 127) << 7 * count
        if byte < 128:
            return number, place + count + 1
    raise ValueError("A number has no end")


class _MessageField(NamedTuple):
    """A field that contains messages.

    Attributes:
        kind: The name of the message type.
        most: The largest number of messages; None for any number.
    """

    kind: str
    most: int | None


@cache
def _message_fields(kind: Descriptor) -> dict[str, dict[int, _MessageField]]:
    """Return the fields that contain messages, by type name and tag, for a type and all types within it."""
    types: dict[str, dict[int, _MessageField]] = {}
    waiting = [kind]
    while waiting:
        known = waiting.pop()
        if known.full_name not in types:
            fields = [field for field in known.fields if field.message_type is not None]
            types[known.full_name] = {
                field.number << 3 | LENGTH_DELIMITED: _MessageField(field.message_type.full_name, _most(field))
                for field in fields
            }
            waiting += [field.message_type for field in fields]
    return types


def _most(field: FieldDescriptor) -> int | None:
    if field.message_type.GetOptions().map_entry:
        return MOST_ENTRIES
    # Older protobuf has `label` instead, which newer releases have removed.
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    return None if repeated else 1


def read_signatures(graph: "MetaGraphDef") -> dict[str, SignatureInfo]:
    """Return the `inputs` and `outputs` of each signature, by name."""
    return {
        name: {"inputs": _describe_tensors(signature.inputs), "outputs": _describe_tensors(signature.outputs)}
        for name, signature in sorted(graph.signature_def.items())
        if name != INITIALIZER_SIGNATURE
    }


def _describe_tensors(tensors: "Mapping[str, TensorInfoProto]") -> dict[str, TensorInfo]:
    import tensorflow as tf

    def shape(tensor: "TensorInfoProto") -> list[int | None] | None:
        if tensor.tensor_shape.unknown_rank:
            return None
        return [None if size.size < 0 else size.size for size in tensor.tensor_shape.dim]

    try:
        return {
            name: {"dtype": tf.dtypes.as_dtype(tensor.dtype).name, "shape": shape(tensor)}
            for name, tensor in sorted(tensors.items())
        }
    except TypeError as error:
        raise DataError(
            f"A signature has a tensor without a type ({error}). Export the model again.", code=Code.MODEL_UNUSABLE
        ) from None


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

# In bytes. A file stores a repeated value of a constant once, but memory stores every copy.
MAX_CONSTANT_VALUES = 2**30

# TensorFlow has no tensors with more dimensions.
MAX_DIMENSIONS = 254

# These are the bytes of a string in a tensor without its text, and of any other value whose size is unknown.
STRING_BYTES, MAX_VALUE_BYTES = 24, 16

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
    served = _dependencies(nodes, _iterate_messages([meta.signature_def, meta.collection_def]))
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
    callers_first = reversed(list(TopologicalSorter(calls).static_order()))
    if _reads_elsewhere(
        {name: functions[name] for name in callers_first},
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

    total = 0
    for tensor in _iterate_messages([meta], "tensorflow.TensorProto"):
        kind = DataType.Name(tensor.dtype) if tensor.dtype in DataType.values() else "DT_INVALID"
        if kind.startswith(HANDLE_TYPES):
            yield f"constants of type {kind.removeprefix('DT_').lower()}"
        dimensions = len(tensor.tensor_shape.dim)
        if dimensions > MAX_DIMENSIONS:
            yield f"constants of more than {MAX_DIMENSIONS} dimensions"
            continue
        sizes = [size.size for size in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
            yield "constants of unknown size"
        elif total <= MAX_CONSTANT_VALUES:
            total += _constant_bytes(tensor, math.prod(sizes))
    if total > MAX_CONSTANT_VALUES:
        yield f"constants of more than {MAX_CONSTANT_VALUES:,} bytes"


def _constant_bytes(tensor: "TensorProto", count: int) -> int:
    """Return the size in memory, in bytes, of a constant with `count` values."""
    import tensorflow as tf

    if tensor.string_val or tensor.dtype == tf.string.as_datatype_enum:
        # The last text is repeated for all values that the file does not list.
        texts = tensor.string_val or [b""]
        return sum(map(len, texts)) + max(0, count - len(texts)) * len(texts[-1]) + count * STRING_BYTES
    try:
        return count * (tf.dtypes.as_dtype(tensor.dtype).size or MAX_VALUE_BYTES)
    except TypeError:
        return count * MAX_VALUE_BYTES


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
    """Return whether weights are restored from any file other than the one passed to the saver.

    Args:
        functions: The functions by name, each after all functions that call it.
        restoring: The nodes of the outer graph that restore weights.
        filename: The node that receives the file name.
    """
    # An argument of a function counts as the file name only if it is the file name in every call.
    carried: dict[str, frozenset[str]] = {}

    def read(nodes: "Iterable[NodeDef]", own: frozenset[str]) -> bool:
        """Record the calls of nodes and return whether a node restores from an input that is not in `own`."""
        for node in nodes:
            if node.op in RESTORE_OPERATIONS and (not node.input or node.input[0] not in own):
                return True
            handed = (
                [place for place, text in enumerate(node.input) if text in own] if node.op in CALL_OPERATIONS else []
            )
            for name in _called_functions([node], functions):
                arguments = functions[name].signature.input_arg
                known = frozenset(arguments[place].name for place in handed if place < len(arguments))
                carried[name] = carried.get(name, known) & known
        return False

    return read(restoring, frozenset({filename, f"{filename}:0"})) or any(
        name in carried and read(function.node_def, carried[name]) for name, function in functions.items()
    )


def _reachable_functions(functions: "Mapping[str, FunctionDef]", messages: Iterable[Message]) -> set[str]:
    """Return the functions that messages name in any field, and those that these functions name in turn.

    A function can be reached in other ways than by a call, but each way contains its name.
    """
    known: dict[str | bytes, str] = {name: name for name in functions} | {name.encode(): name for name in functions}
    waiting, seen = list(messages), set[str]()
    while waiting:
        for name in {known[text] for text in _iterate_messages([waiting.pop()]) if text in known} - seen:
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


def _iterate_messages(messages: Iterable[Any], kind: str = "") -> Iterator[Any]:
    """Yield all messages of a kind at any depth; if the kind is "", all strings and bytes, including keys of maps."""
    # Other threads can run between the steps of an iterator, but not while a list of a million messages is made.
    waiting = [iter(messages)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, str | bytes):
                if not kind:
                    yield value
            elif isinstance(value, Mapping):
                waiting.append(_iterate_map_items(value))
                break
            elif hasattr(value, "ListFields"):
                if value.DESCRIPTOR.full_name == kind:
                    yield value
                # Numbers are skipped, because there may be millions of them.
                waiting.append(iter([part for field, part in value.ListFields() if field.type in TEXT_FIELD_TYPES]))
                break
            elif isinstance(value, Sequence):
                waiting.append(iter(value))
                break
        else:
            waiting.pop()


def _iterate_map_items(values: Mapping[object, object]) -> Iterator[object]:
    """Yield each key of a map and its value."""
    for key in values:
        yield key
        yield values[key]
