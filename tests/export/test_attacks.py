"""Malicious models run when loaded without a check, and the check refuses them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from graphs import X, edit_graph, edited, forbidden, function, node, save_plain
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.types_pb2 import DT_DOUBLE, DT_FLOAT, DT_RESOURCE, DT_STRING, DT_VARIANT
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from lstm_ae.errors import DataError
from lstm_ae.export import graph_check, operations
from lstm_ae.serving.loading import open_version

# Computations of the softsign, at the top level or inside another function.
COMPUTATIONS: dict[str, Callable[[Any], Any]] = {
    "": tf.nn.softsign,
    "While": lambda x: tf.while_loop(lambda k, y: k < 1, lambda k, y: (k + 1, tf.nn.softsign(y)), [0, x])[1],
    "If": lambda x: tf.cond(x[0, 0] > 0, lambda: tf.nn.softsign(x), lambda: x),
    "Case": lambda x: tf.switch_case(tf.cast(x[0, 0], tf.int32), [lambda: tf.nn.softsign(x), lambda: x]),
    "PartitionedCall": lambda x: tf.function(tf.nn.softsign, input_signature=[X])(x),
}
CARRIERS = [
    ("", ""),
    ("While", "While"),
    ("While", "StatelessWhile"),
    ("If", "If"),
    ("If", "StatelessIf"),
    ("Case", "Case"),
    ("Case", "StatelessCase"),
    ("PartitionedCall", "PartitionedCall"),
    ("PartitionedCall", "StatefulPartitionedCall"),
]


def write(x: Any) -> Any:
    return _after(tf.io.write_file("written", "evil"), x)


def save(x: Any) -> Any:
    return _after(tf.raw_ops.SaveV2(prefix="written", tensor_names=["x"], shape_and_slices=[""], tensors=[x]), x)


def read(x: Any) -> Any:
    return x + tf.strings.to_number(tf.io.read_file("secret"))


def restore(x: Any) -> Any:
    """Read another model's weight."""
    found = tf.raw_ops.RestoreV2(
        prefix="stranger/variables/variables",
        tensor_names=["weight/.ATTRIBUTES/VARIABLE_VALUE"],
        shape_and_slices=[""],
        dtypes=[tf.float32],
    )
    return x + tf.reshape(found[0], ())


EVILS = {"WriteFile": write, "SaveV2": save, "ReadFile": read, "RestoreV2": restore}


# The saver function that may contain the operation.
SAVERS = {name: "__inference__traced_restore" if name == "RestoreV2" else "__inference__traced_save" for name in EVILS}


def _after(operation: Any, value: Any) -> Any:
    with tf.control_dependencies([operation]):
        return tf.identity(value) + 100


@pytest.fixture(scope="module")
def carriers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return models with the operation Softsign inside different kinds of functions."""
    folder, paths = tmp_path_factory.mktemp("carriers"), {}
    for name, compute in COMPUTATIONS.items():
        module = tf.Module()
        module.serve = tf.function(compute, input_signature=[X])
        paths[name] = folder / (name or "none")
        tf.saved_model.save(module, str(paths[name]), signatures=module.serve)
    return paths


@pytest.fixture(scope="module")
def bodies() -> dict[str, Any]:
    """Return functions that access files, traced by TensorFlow."""
    return {name: tf.function(evil, input_signature=[X]).get_concrete_function() for name, evil in EVILS.items()}


def disguised(carrier: Path, evil: Any, saver: str, op: str = "") -> Path:
    """Copy a model and add a function named Softsign, which TensorFlow runs for the nodes of that operation.

    The saver calls it too, so that it seems to restore or save weights.
    """

    def edit(meta: Any) -> None:
        body = meta.graph_def.library.function.add()
        body.CopyFrom(evil.function_def)
        body.signature.name = "Softsign"
        (output,) = (argument.name for argument in body.signature.output_arg)
        for each in meta.graph_def.library.function:
            for found in each.node_def:
                if op and found.op.removeprefix("Stateless").removeprefix("Stateful") == op.removeprefix("Stateless"):
                    found.op = op
                if found.op == "Softsign":
                    found.ClearField("attr")
                    _rename(each, f"{found.name}:activations:0", f"{found.name}:{output}:0")
        nodes = function(meta, saver).node_def
        call = node(nodes, "PartitionedCall", "also", (nodes[0].name,))
        call.attr["f"].func.name = "Softsign"

    return edit_graph(carrier, Path("model"), edit)


def _rename(each: Any, before: str, after: str) -> None:
    for found in each.node_def:
        for place, text in enumerate(found.input):
            if text == before:
                found.input[place] = after
    for name, text in each.ret.items():
        if text == before:
            each.ret[name] = after


def without_the_saver(path: Path, saver: str) -> Path:
    """Copy a model and remove the call in the saver, which TensorFlow would refuse to load."""

    def edit(meta: Any) -> None:
        del function(meta, saver).node_def[-1]

    return edit_graph(path, Path("attack"), edit)


@pytest.mark.parametrize("op", EVILS)
@pytest.mark.parametrize(("kind", "carrier"), CARRIERS, ids=lambda text: text or "node")
def test_a_function_named_like_an_operation_is_refused(
    kind: str, carrier: str, op: str, carriers: dict[str, Path], bodies: dict[str, Any], empty_directory: Path
) -> None:
    model = disguised(carriers[kind], bodies[op], SAVERS[op], carrier)
    found = forbidden(model)
    assert "a function named like the operation Softsign" in found
    assert op in found
    with pytest.raises(DataError, match="--trust"), open_version(model, trust=False):
        pass
    assert not Path("written").exists()


@pytest.mark.parametrize("op", EVILS)
@pytest.mark.parametrize("kind", ["", "While"], ids=["node", "While"])
def test_a_function_named_like_an_operation_runs_without_a_check(
    kind: str, op: str, carriers: dict[str, Path], bodies: dict[str, Any], empty_directory: Path
) -> None:
    """TensorFlow runs the function, so the attack that the check refuses is real."""
    Path("secret").write_text("41")
    save_plain(Path("stranger"))
    attack = without_the_saver(disguised(carriers[kind], bodies[op], SAVERS[op]), SAVERS[op])
    answer = tf.saved_model.load(str(attack)).signatures["serving_default"](x=tf.zeros((1, 2)))
    if op in ("WriteFile", "SaveV2"):
        assert list(Path().glob("written*"))
    else:
        assert float(next(iter(answer.values()))[0, 0]) == {"ReadFile": 41, "RestoreV2": 2}[op]


def reading(meta: Any) -> str:
    """Return the name of a function that may restore weights because only the saver calls it."""
    name: str = function(meta, "__inference__traced_restore").signature.name
    return name


def registered_gradient(meta: Any) -> None:
    gradient = meta.graph_def.library.registered_gradients.add()
    gradient.gradient_func, gradient.registered_op_type = reading(meta), "CustomGradient-1"
    function(meta, "__inference_serve").node_def[0].attr["_gradient_op_type"].s = b"CustomGradient-1"


def gradient_of_a_function(meta: Any) -> None:
    gradient = meta.graph_def.library.gradient.add()
    gradient.function_name = function(meta, "__inference_serve").signature.name
    gradient.gradient_func = reading(meta)


def parametrized_call(meta: Any) -> None:
    call = node(function(meta, "__inference_serve").node_def, "PartitionedCall")
    call.attr["f"].func.name = function(meta, "__inference_serve").signature.name[:-1] + "x"
    call.attr["f"].func.attr["g"].func.name = reading(meta)


def parametrized_function(meta: Any) -> None:
    parameter = function(meta, "__inference_serve").signature.attr.add()
    parameter.name, parameter.type = "g", "func"
    parameter.default_value.func.name = reading(meta)


def interchangeable_function(meta: Any) -> None:
    """TensorFlow may replace such a function with one from another model."""
    function(meta, "__inference_serve").attr["api_implements"].s = b"lstm"


def call_without_an_operation(meta: Any) -> None:
    function(meta, "__inference_serve").node_def[0].op = reading(meta)


def initializer_in_a_collection(meta: Any) -> None:
    meta.collection_def["legacy_init_op"].node_list.value.append(f"^{meta.saver_def.restore_op_name}")


def main_operation(meta: Any) -> None:
    meta.collection_def["saved_model_main_op"].node_list.value.append(meta.saver_def.restore_op_name)


def initializer_signature(meta: Any) -> None:
    meta.signature_def["__saved_model_init_op"].outputs["init"].name = meta.saver_def.restore_op_name


def other_collections(meta: Any) -> None:
    meta.collection_def["queue_runners"].bytes_list.value.append(b"\n\x00")
    meta.collection_def["saved_model_assets"].any_list.value.add()


def bound_inputs(meta: Any) -> None:
    meta.object_graph_def.concrete_functions[reading(meta)].bound_inputs.append(0)


def restore_within_the_function(meta: Any) -> None:
    found = function(meta, "__inference__traced_restore")
    other = node(found.node_def, "Const", "other")
    other.attr["value"].tensor.string_val.append(b"/models/other/1/variables/variables")
    (restoring,) = [each for each in found.node_def if each.op == "RestoreV2"]
    restoring.input[0] = "other:output:0"


def restore_before_the_call(meta: Any) -> None:
    node(meta.graph_def.node, "Const", "other")
    (call,) = [each for each in meta.graph_def.node if each.name == meta.saver_def.restore_op_name]
    call.input[0] = "other"


def overridden_call(meta: Any) -> None:
    nodes = meta.object_graph_def.nodes
    (place,) = [number for number, each in enumerate(nodes) if each.WhichOneof("kind") == "function"]
    (variable,) = [each for each in nodes if each.WhichOneof("kind") == "variable"]
    child = variable.children.add()
    child.node_id, child.local_name = place, "__call__"


def writing_initializer(meta: Any) -> None:
    node(meta.graph_def.node, "WriteFile", "evil", ("saver_filename", "saver_filename"))
    (initializer,) = [each for each in meta.graph_def.node if each.op == "NoOp"]
    initializer.input.append("^evil")


def uncalled_function(meta: Any) -> None:
    lonely = meta.graph_def.library.function.add()
    lonely.signature.name = "__inference__traced_restore_7"  # a name proves nothing
    node(lonely.node_def, "RestoreV2")
    node(lonely.node_def, "SaveV2")


def saving_in_the_restore(meta: Any) -> None:
    node(function(meta, "__inference__traced_restore").node_def, "SaveV2")


def writing_in_the_save(meta: Any) -> None:
    node(function(meta, "__inference__traced_save").node_def, "WriteFile")


def signature_of_the_saver(meta: Any) -> None:
    meta.signature_def["serving_default"].outputs["y"].name = meta.saver_def.save_tensor_name


def signature_that_calls_the_saver(meta: Any) -> None:
    call = node(function(meta, "__inference_signature_wrapper").node_def, "PartitionedCall")
    call.attr["f"].func.name = reading(meta)


def object_that_refers_to_the_saver(meta: Any) -> None:
    meta.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = reading(meta)


def duplicate_function(meta: Any) -> None:
    meta.graph_def.library.function.add().CopyFrom(meta.graph_def.library.function[0])


def registered_object(meta: Any) -> None:
    meta.object_graph_def.nodes[0].registered_name = "Evil"


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (registered_gradient, ["RestoreV2"]),
        (gradient_of_a_function, ["RestoreV2"]),
        (parametrized_call, ["RestoreV2", "calls of missing functions", "parametrized functions"]),
        (parametrized_function, ["RestoreV2", "parametrized functions"]),
        (interchangeable_function, ["interchangeable functions (api_implements)"]),
        (call_without_an_operation, ["RestoreV2", "function calls without a call operation"]),
        (initializer_in_a_collection, ["RestoreV2"]),
        (main_operation, ["RestoreV2"]),
        (initializer_signature, ["RestoreV2"]),
        (other_collections, ["collections that are not node lists"]),
        (bound_inputs, ["RestoreV2"]),
        (restore_within_the_function, ["a restore from other files"]),
        (restore_before_the_call, ["a restore from other files"]),
        (overridden_call, ["objects that override __call__"]),
        (writing_initializer, ["WriteFile"]),
        (uncalled_function, ["RestoreV2", "SaveV2"]),
        (saving_in_the_restore, ["SaveV2"]),
        (writing_in_the_save, ["WriteFile"]),
        (
            signature_of_the_saver,
            ["MergeV2Checkpoints", "SaveV2", "ShardedFilename", "StaticRegexFullMatch", "StringJoin"],
        ),
        (signature_that_calls_the_saver, ["RestoreV2"]),
        (object_that_refers_to_the_saver, ["RestoreV2"]),
        (duplicate_function, ["duplicate node or function names"]),
        (registered_object, ["objects registered as 'Evil'"]),
    ],
)
def test_edited_graphs_are_refused(plain: Path, edit: Callable[[Any], None], found: list[str]) -> None:
    assert edited(plain, edit) == found


@pytest.mark.parametrize("place", ["func", "list", "text", "texts", "of the function", "of an argument"])
def test_attributes_that_name_a_saver_function_are_refused(place: str, plain: Path) -> None:
    def edit(meta: Any) -> None:
        serve, name = function(meta, "__inference_serve"), reading(meta)
        attributes = serve.node_def[0].attr
        if place == "func":
            attributes["then_branch"].func.name = name
        elif place == "list":
            attributes["branches"].list.func.add().name = name
        elif place == "text":
            attributes["backward_function_name"].s = name.encode()
        elif place == "texts":
            attributes["names"].list.s.append(name.encode())
        elif place == "of the function":
            serve.attr["forward_function_name"].s = name.encode()
        else:
            serve.arg_attr[0].attr["from"].s = name.encode()

    assert edited(plain, edit) == ["RestoreV2"]


@pytest.mark.parametrize(
    "op",
    [
        *("SymbolicGradient", "RemoteCall", "MapDataset", "ParallelMapDatasetV2", "GeneratorDataset", "XlaLaunch"),
        *("_XlaRun", "TPUPartitionedCall", "BatchFunction", "OneShotIterator", "ReduceDataset", "Fori"),
    ],
)
def test_other_operations_that_call_functions_are_refused(op: str, plain: Path) -> None:
    def edit(meta: Any) -> None:
        call = node(function(meta, "__inference_serve").node_def, op)
        call.attr["f"].func.name = reading(meta)

    assert edited(plain, edit) == sorted([op, "RestoreV2"])


@pytest.mark.parametrize("kind", [DT_RESOURCE, DT_VARIANT, DT_RESOURCE + 100])
def test_constants_that_are_references_are_refused(kind: int, plain: Path) -> None:
    """A resource may be another model's variable."""

    def edit(meta: Any) -> None:
        constant = node(function(meta, "__inference_serve").node_def, "Const")
        constant.attr["value"].tensor.dtype = kind
        constant.attr["value"].tensor.tensor_shape.SetInParent()

    (found,) = edited(plain, edit)
    assert found.startswith("constants of type ")


def sized(kind: int, *sizes: int, text: bytes = b"") -> Callable[[Any], None]:
    """Return an edit that adds a constant of one repeated value."""

    def edit(meta: Any) -> None:
        tensor = node(meta.graph_def.node, "Const").attr["value"].tensor
        tensor.dtype = kind
        if text:
            tensor.string_val.append(text)
        else:
            tensor.float_val.append(1)
        for size in sizes:
            tensor.tensor_shape.dim.add().size = size

    return edit


def test_large_constants_are_refused(plain: Path) -> None:
    large = ["constants of more than 1,073,741,824 bytes"]
    assert edited(plain, sized(DT_FLOAT, 2**14, 2**13)) == []
    assert edited(plain, sized(DT_FLOAT, 2**14, 2**14)) == large
    assert edited(plain, sized(DT_DOUBLE, 2**14, 2**13)) == large
    assert edited(plain, sized(DT_FLOAT, 10**6, 10**6)) == large
    assert edited(plain, sized(DT_FLOAT, 10**6, 10**6, 0)) == []
    assert edited(plain, sized(DT_FLOAT, 2, -1)) == ["constants of unknown size"]


def test_repeated_string_constants_count_all_bytes(plain: Path) -> None:
    text = b"x" * 2**16
    assert edited(plain, sized(DT_STRING, 2**13, text=text)) == []
    assert edited(plain, sized(DT_STRING, 2**15, text=text)) == ["constants of more than 1,073,741,824 bytes"]


def test_many_dimensional_constants_are_refused_before_multiplying(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplied = []
    monkeypatch.setattr(math, "prod", lambda sizes: multiplied.append(len(sizes)) or 1)
    most = graph_check.MAX_DIMENSIONS
    assert edited(plain, sized(DT_FLOAT, *[1] * most)) == []
    assert edited(plain, sized(DT_FLOAT, *[2**63 - 1] * (most + 1))) == ["constants of more than 254 dimensions"]
    assert max(multiplied) == most


def chain(meta: Any, length: int, times: int) -> None:
    """Add functions that each call the next one."""
    for number in range(length):
        added = meta.graph_def.library.function.add()
        added.signature.name = f"chain_{number}"
        for place in range(times if number + 1 < length else 0):
            call = node(added.node_def, "PartitionedCall", f"call_{place}")
            call.attr["f"].func.name = f"chain_{number + 1}"


def test_recursive_deep_and_exponential_calls_are_refused(plain: Path) -> None:
    assert edited(plain, lambda meta: chain(meta, 10, 2)) == []
    assert edited(plain, lambda meta: chain(meta, 30, 2)) == ["calls that expand to more than 1,048,576 nodes"]
    assert edited(plain, lambda meta: chain(meta, 100, 1)) == ["calls nested more than 64 functions deep"]

    def of_itself(meta: Any) -> None:
        chain(meta, 2, 1)
        call = node(meta.graph_def.library.function[-1].node_def, "PartitionedCall")
        call.attr["f"].func.name = "chain_0"

    assert edited(plain, of_itself) == ["recursive functions"]


def test_calls_with_varying_arguments_are_followed_once_per_function(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Following every combination of arguments would double the time with each function."""
    arguments = [f"a{place}" for place in range(16)]
    depth = 14

    def edit(meta: Any) -> None:
        chain(meta, depth, 2)
        library = meta.graph_def.library.function
        for number, each in enumerate(library[-depth:]):
            for name in arguments:
                each.signature.input_arg.add().name = name
            for place, call in enumerate(each.node_def):
                shift = place * (number + 1)
                call.input.extend(arguments[shift:] + arguments[:shift])
        filename = meta.saver_def.filename_tensor_name
        for each in meta.graph_def.node:
            if each.name == meta.saver_def.restore_op_name:
                call = node(meta.graph_def.node, "PartitionedCall", "chain", (filename,) * 8 + (each.name,) * 8)
                call.attr["f"].func.name = "chain_0"
                each.input.append("^chain")
                return

    followed = 0
    calls = graph_check._called_functions

    def counted(nodes: Any, functions: Any) -> Any:
        nonlocal followed
        followed += 1
        return calls(nodes, functions)

    monkeypatch.setattr(graph_check, "_called_functions", counted)
    assert edited(plain, edit) == []
    assert followed < 100


def test_argument_is_the_filename_only_if_every_call_passes_it(plain: Path) -> None:
    def twice(*, other: bool) -> Callable[[Any], None]:
        def edit(meta: Any) -> None:
            (call,) = [each for each in meta.graph_def.node if each.name == meta.saver_def.restore_op_name]
            again = meta.graph_def.node.add()
            again.CopyFrom(call)
            again.name = "again"
            if other:
                node(meta.graph_def.node, "Const", "other")
                again.input[0] = "other"
            call.input.append("^again")

        return edit

    assert edited(plain, twice(other=False)) == []
    assert edited(plain, twice(other=True)) == ["a restore from other files"]


def test_graph_with_too_many_parts_is_refused_before_parsing(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (plain / "saved_model.pb").read_bytes()
    parts = graph_check.count_message_parts(content, SavedModel.DESCRIPTOR, 10**9)
    monkeypatch.setattr(graph_check, "MAX_MESSAGE_PARTS", parts)
    assert forbidden(plain) == []
    assert parts < len(content)
    monkeypatch.setattr(graph_check, "MAX_MESSAGE_PARTS", parts - 1)
    monkeypatch.setattr(SavedModel, "ParseFromString", None)
    with pytest.raises(graph_check.ForbiddenGraphError, match=f"more than {parts - 1:,} messages and strings"):
        forbidden(plain)


def test_parts_are_counted_at_any_depth() -> None:
    graph = GraphDef()
    node(graph.node, "Add", "a" * 300, ("b", "c"))
    graph.node[0].attr["T"].list.type.extend([1, 2])
    graph.library.function.add().node_def.add()
    # A node with a name, an operation, two inputs, and an attribute (an entry, its key and value, a list, and its
    # numbers); then a library, a function, and its node.
    content = graph.SerializeToString()
    assert graph_check.count_message_parts(content, GraphDef.DESCRIPTOR, 100) == 1 + 4 + 5 + 3
    assert graph_check.count_message_parts(content, GraphDef.DESCRIPTOR, 5) == 6
    # A varint may use more bytes than its value needs.
    assert graph_check.count_message_parts(b"\x8a\x00\x02\x0a\x00" * 3, GraphDef.DESCRIPTOR, 100) == 6


def test_maps_of_many_entries_count_as_too_many_parts() -> None:
    most = graph_check.MOST_ENTRIES
    graph = GraphDef()
    added = node(graph.node, "Const", "a")
    for number in range(most):
        added.attr[str(number)].i = 1
    count = graph_check.count_message_parts(graph.SerializeToString(), GraphDef.DESCRIPTOR, 10**6)
    assert count == 3 + 3 * most
    added.attr["more"].i = 1
    assert graph_check.count_message_parts(graph.SerializeToString(), GraphDef.DESCRIPTOR, 10**6) == 10**6 + 1


def test_message_field_that_occurs_twice_is_refused() -> None:
    """Protobuf merges the occurrences, so that several small maps become a large one."""
    graph = GraphDef()
    graph.library.function.add()
    piece = graph.SerializeToString()
    assert graph_check.count_message_parts(piece, GraphDef.DESCRIPTOR, 100) == 2
    with pytest.raises(ValueError, match="twice"):
        graph_check.count_message_parts(piece + piece, GraphDef.DESCRIPTOR, 100)


def test_lists_of_functions_are_not_copied() -> None:
    """Copying millions of entries would block all other threads."""
    value = AttrValue()
    for name in ("f", "g"):
        value.list.func.add().name = name
    found = graph_check._attribute_functions(value)
    assert next(found).name == "f"
    assert [each.name for each in found] == ["g"]


@pytest.mark.parametrize(
    "content",
    [b"\x0a", b"\x0a\x02\x0a", b"\x0a\x02\x0a\x09", b"\x0b\x0c", b"\x0d\x00", b"\xff" * 20, b"\x08" + b"\xff" * 20],
)
def test_counting_parts_of_damaged_content_raises_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number"):
        graph_check.count_message_parts(content, GraphDef.DESCRIPTOR, 100)


def test_a_callable_model_passes(empty_directory: Path) -> None:
    class Called(tf.Module):
        @tf.function(input_signature=[X])
        def __call__(self, x: Any) -> Any:
            return {"y": x}

    model = Called()
    tf.saved_model.save(model, "model", signatures=model.__call__)
    assert forbidden(Path("model")) == []


def test_allowed_operations_share_no_state_and_call_by_known_attributes() -> None:
    from tensorflow.python.framework import op_def_registry

    for name in operations.ALLOWED_OPERATIONS:
        attributes = op_def_registry.get(name).attr
        assert not {attribute.name for attribute in attributes} & {"shared_name", "container"}
        assert all("func" not in each.type or each.name in CALLED for each in attributes)


CALLED = ("f", "cond", "body", "then_branch", "else_branch", "branches")
