"""Judgment: what a SavedModel has that it may not have, from its graph alone.

A node runs the function of its name where the model has one, whatever the operation of that name does; so no function
may have the name of an operation.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from lstm_ae.exporting.operations import ALLOWED, OUTSIDE_FUNCTIONS, RESTORE, SAVE

# Operations whose inputs are those of the function that they call, one for one.
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
OBJECTS = frozenset(
    {"bare_concrete_function", "captured_tensor", "constant", "function", "user_object", "variable", None}
)
# Objects of which each has a class of its own when it is loaded: what is called of one of them is called of no other.
PLAIN_OBJECTS = ("_generic_user_object", "_tf_keras_")
# Nodes that one call may come to once the functions in it stand in place of their calls, which TensorFlow does before
# it runs them; a few functions that call one another twice come to more than any memory holds.
LARGEST_CALL = 2**20
# Functions within functions: TensorFlow descends into them on the stack of its process.
DEEPEST_CALL = 64
# Values of all constants: a constant of one repeated value is as small in a file as it is large in memory.
LARGEST_CONSTANTS = 2**28
# Types of fields that hold texts or messages.
TEXTUAL = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE)
# What stands for something that other models in the process may own.
HANDLES = ("DT_RESOURCE", "DT_VARIANT")


def forbidden_in(meta: Any) -> list[str]:
    """What a SavedModel has that it may not have, in words, sorted; empty where it may be loaded.

    Every operation is judged, wherever it stands and whether or not anything leads there. Only what nothing but the
    saver reaches may read and write weights: its two nodes, what they depend on, and what these call, as long as the
    model names none of it anywhere else. Weights are read from the model's own files alone.

    Args:
        meta: a `tensorflow.MetaGraphDef`. Nothing of it is loaded or run.
    """
    nodes = {node.name: node for node in meta.graph_def.node}
    functions = {each.signature.name: each for each in meta.graph_def.library.function}
    found = {*_forms(meta, nodes, functions), *_objects(meta), *_values(meta)}
    calls = {name: list(_calls(function.node_def, functions)) for name, function in functions.items()}
    found |= set(_excesses(functions, calls))

    # The rest of the meta graph but what describes it: any text in it may be the name of something to run.
    others = [
        part for field, part in meta.ListFields() if field.name not in ("graph_def", "meta_info_def", "saver_def")
    ]
    served = _before(nodes, _texts([meta.signature_def, meta.collection_def]))
    restoring = _before(nodes, [meta.saver_def.restore_op_name]) - served
    saving = _before(nodes, [meta.saver_def.save_tensor_name]) - served - restoring
    library = meta.graph_def.library
    plain = [nodes[name] for name in set(nodes) - restoring - saving]
    reached = _reached(functions, [*others, *plain, *library.gradient, *library.registered_gradients])
    by_restore = _reached(functions, [nodes[name] for name in restoring]) - reached
    by_save = _reached(functions, [nodes[name] for name in saving]) - reached - by_restore
    for name, node in nodes.items():
        more = RESTORE if name in restoring else SAVE if name in saving else frozenset()
        found |= {node.op} - functions.keys() - ALLOWED - OUTSIDE_FUNCTIONS - more
    for name, function in functions.items():
        more = RESTORE if name in by_restore else SAVE if name in by_save else frozenset()
        found |= {node.op for node in function.node_def} - functions.keys() - ALLOWED - more
    if _reads_elsewhere(functions, [nodes[name] for name in restoring], _node_of(meta.saver_def.filename_tensor_name)):
        found.add("weights of other files")
    return sorted(found)


def _forms(meta: Any, nodes: Mapping[str, Any], functions: Mapping[str, Any]) -> Iterator[str]:
    """Ways to run something that the models of TensorFlow 2 do not need."""
    from tensorflow.python.framework import op_def_registry

    if meta.asset_file_def:
        yield "asset files"
    if len(nodes) < len(meta.graph_def.node) or len(functions) < len(meta.graph_def.library.function):
        yield "two nodes or functions of one name"
    for name, function in functions.items():
        if op_def_registry.get(name) is not None:
            yield f"a function named like the operation {name}"
        # TensorFlow runs a function in place of any other in its process that says it does the same.
        if "api_implements" in function.attr:
            yield "functions in place of others"
        if function.signature.attr:
            yield "functions with parameters"
    for node in (*nodes.values(), *(node for function in functions.values() for node in function.node_def)):
        if node.op in functions:
            yield "functions called like operations"
        for value in node.attr.values():
            for called in _functions_in(value):
                if called.attr:
                    yield "functions with parameters"
                if called.name not in functions:
                    yield "functions that it does not hold"
    if any(collection.WhichOneof("kind") not in ("node_list", None) for collection in meta.collection_def.values()):
        yield "collections of other things than nodes"


def _objects(meta: Any) -> Iterator[str]:
    """Objects that would do more in the process that loads them than hold variables and functions."""
    for node in meta.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in OBJECTS:
            yield f"objects of kind {kind}"
        for name in (node.registered_name, node.registered_saver):
            if name:
                yield f"objects registered as {name!r}"
        plain = kind == "user_object" and node.user_object.identifier.startswith(PLAIN_OBJECTS)
        for child in node.children:
            # Of an object that shares its class this changes the class, for all models of the process.
            if child.local_name.startswith("__") and not (plain and child.local_name == "__call__"):
                yield f"objects with their own {child.local_name}"


def _values(meta: Any) -> Iterator[str]:
    """Tensors that are written down and are none, are of others, or need more memory than there is."""
    from tensorflow.core.framework.types_pb2 import DataType

    total = 0
    for tensor in _parts([meta], "tensorflow.TensorProto"):
        kind = DataType.Name(tensor.dtype) if tensor.dtype in DataType.values() else "DT_INVALID"
        if kind.startswith(HANDLES):
            yield f"constants of type {kind.removeprefix('DT_').lower()}"
        sizes = [size.size for size in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
            yield "constants without a size"
        else:
            total += math.prod(sizes)
    if total > LARGEST_CONSTANTS:
        yield f"constants of more than {LARGEST_CONSTANTS:,} values"


def _excesses(functions: Mapping[str, Any], calls: Mapping[str, list[str]]) -> Iterator[str]:
    """Calls that come to more than memory or the stack of a process holds."""
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError:
        yield "functions that call themselves"
        return
    sizes: dict[str, int] = {}
    depths: dict[str, int] = {}
    for name in order:
        inner = calls[name]
        sizes[name] = min(LARGEST_CALL + 1, len(functions[name].node_def) + sum(sizes[each] for each in inner))
        depths[name] = 1 + max((depths[each] for each in inner), default=0)
    if max(sizes.values(), default=0) > LARGEST_CALL:
        yield f"calls of more than {LARGEST_CALL:,} nodes"
    if max(depths.values(), default=0) > DEEPEST_CALL:
        yield f"calls more than {DEEPEST_CALL} functions deep"


def _reads_elsewhere(functions: Mapping[str, Any], restoring: list[Any], filename: str) -> bool:
    """Whether weights are read from another file than the saver is given.

    Args:
        restoring: the nodes of the outer graph by which weights are restored.
        filename: the one of them that is given the file's name.
    """
    # Nodes, and the texts that stand for the given name among their inputs.
    waiting: list[tuple[list[Any], frozenset[str]]] = [(restoring, frozenset({filename, f"{filename}:0"}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        inner, own = waiting.pop()
        for node in inner:
            if node.op in RESTORE and (not node.input or node.input[0] not in own):
                return True
            handed = [place for place, text in enumerate(node.input) if text in own] if node.op in CALLS else []
            for name in _calls([node], functions):
                arguments = [argument.name for argument in functions[name].signature.input_arg]
                known = frozenset(arguments[place] for place in handed if place < len(arguments))
                if (name, known) not in seen:
                    seen.add((name, known))
                    waiting.append((list(functions[name].node_def), known))
    return False


def _reached(functions: Mapping[str, Any], messages: Iterable[Any]) -> set[str]:
    """The functions that these messages name in any field, and all that these name in turn.

    Not only calls: whatever may lead TensorFlow to a function has its name.
    """
    known: dict[str | bytes, str] = {name: name for name in functions} | {name.encode(): name for name in functions}
    waiting, seen = list(messages), set[str]()
    while waiting:
        for name in {known[text] for text in _texts([waiting.pop()]) if text in known} - seen:
            seen.add(name)
            waiting.append(functions[name])
    return seen


def _before(nodes: Mapping[str, Any], tensors: Iterable[str | bytes]) -> set[str]:
    """Names of the nodes that these tensors depend on, their own included."""
    waiting, seen = [_node_of(tensor) for tensor in tensors], set()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            waiting += map(_node_of, nodes[name].input)
    return seen


def _node_of(tensor: str | bytes) -> str:
    text = tensor if isinstance(tensor, str) else tensor.decode(errors="replace")
    return text.lstrip("^").split(":")[0]


def _calls(nodes: Iterable[Any], functions: Mapping[str, Any]) -> Iterator[str]:
    """The functions that nodes call, as often as they do."""
    for node in nodes:
        if node.op in functions:
            yield node.op
        for value in node.attr.values():
            yield from (called.name for called in _functions_in(value) if called.name in functions)


def _functions_in(value: Any) -> list[Any]:
    return [*([value.func] if value.HasField("func") else []), *value.list.func]


def _texts(messages: Iterable[Any]) -> Iterator[str | bytes]:
    """Every text in messages, at any depth."""
    return _parts(messages, "")


def _parts(messages: Iterable[Any], kind: str) -> Iterator[Any]:
    """What messages hold at any depth: messages of a kind, or where that is "" texts, the keys of maps too."""
    waiting = list(messages)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | bytes):
            if not kind:
                yield value
        elif isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif hasattr(value, "ListFields"):
            if value.DESCRIPTOR.full_name == kind:
                yield value
            # Of numbers there may be millions.
            waiting += [part for field, part in value.ListFields() if field.type in TEXTUAL]
        elif isinstance(value, Sequence):
            waiting += value
