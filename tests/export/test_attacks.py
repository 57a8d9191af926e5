"""The check of a graph refuses malicious models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from graphs import X, edited, forbidden, function, node
from tensorflow.core.framework.types_pb2 import DT_FLOAT, DT_RESOURCE, DT_STRING, DT_VARIANT

from lstm_ae.export import operations


def reading(meta: Any) -> str:
    """Return the name of a function that may restore weights because only the saver calls it."""
    name: str = function(meta, "__inference__traced_restore").signature.name
    return name


def named_like_an_operation(meta: Any) -> None:
    """TensorFlow runs such a function for the nodes of the operation."""
    disguised = meta.graph_def.library.function.add()
    disguised.signature.name = "Softsign"
    node(disguised.node_def, "WriteFile")


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


def text_attribute(meta: Any) -> None:
    function(meta, "__inference_serve").node_def[0].attr["backward_function_name"].s = reading(meta).encode()


def texts_attribute(meta: Any) -> None:
    function(meta, "__inference_serve").node_def[0].attr["names"].list.s.append(reading(meta).encode())


def branch_attribute(meta: Any) -> None:
    function(meta, "__inference_serve").node_def[0].attr["then_branch"].func.name = reading(meta)


def branches_attribute(meta: Any) -> None:
    function(meta, "__inference_serve").node_def[0].attr["branches"].list.func.add().name = reading(meta)


def function_attribute(meta: Any) -> None:
    function(meta, "__inference_serve").attr["forward_function_name"].s = reading(meta).encode()


def argument_attribute(meta: Any) -> None:
    function(meta, "__inference_serve").arg_attr[0].attr["from"].s = reading(meta).encode()


def calling(op: str) -> Callable[[Any], None]:
    """Return an edit that adds an operation that calls the saver's function."""

    def edit(meta: Any) -> None:
        call = node(function(meta, "__inference_serve").node_def, op)
        call.attr["f"].func.name = reading(meta)

    return edit


def constant(kind: int, *sizes: int, text: bytes = b"") -> Callable[[Any], None]:
    """Return an edit that adds a constant of one repeated value."""

    def edit(meta: Any) -> None:
        tensor = node(meta.graph_def.node, "Const").attr["value"].tensor
        tensor.dtype = kind
        tensor.tensor_shape.SetInParent()
        if text:
            tensor.string_val.append(text)
        for size in sizes:
            tensor.tensor_shape.dim.add().size = size

    return edit


def chain(length: int, times: int, last: str = "") -> Callable[[Any], None]:
    """Return an edit that adds functions that each call the next one."""

    def edit(meta: Any) -> None:
        for number in range(length):
            added = meta.graph_def.library.function.add()
            added.signature.name = f"chain_{number}"
            following = f"chain_{number + 1}" if number + 1 < length else last
            for place in range(times if following else 0):
                node(added.node_def, "PartitionedCall", f"call_{place}").attr["f"].func.name = following

    return edit


def restored_twice(*, other: bool) -> Callable[[Any], None]:
    """Return an edit that adds a second call of the saver's function, with the file name or another one."""

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


def restore_by_another_operation(meta: Any) -> None:
    """The first input of `If` is no argument of its branches."""
    for each in meta.graph_def.node:
        if each.name == meta.saver_def.restore_op_name:
            each.op = "If"


def restore_through_another_function(meta: Any) -> None:
    """A function between the saver and the restore may pass any file name."""
    outer = meta.graph_def.library.function.add()
    outer.CopyFrom(function(meta, "__inference__traced_restore"))
    outer.signature.name = "outer"
    del outer.node_def[:]
    node(outer.node_def, "PartitionedCall", "inner").attr["f"].func.name = reading(meta)
    (call,) = [each for each in meta.graph_def.node if each.name == meta.saver_def.restore_op_name]
    call.attr["f"].func.name = "outer"


NAMED = ["WriteFile", "a function named like the operation Softsign", "function calls without a call operation"]
LARGE = ["constants of more than 67,108,864 values"]
CALLERS = (
    *("SymbolicGradient", "RemoteCall", "MapDataset", "ParallelMapDatasetV2", "GeneratorDataset", "XlaLaunch"),
    *("_XlaRun", "TPUPartitionedCall", "BatchFunction", "OneShotIterator", "ReduceDataset", "Fori"),
)
# Each edit of a model's graph, and the forbidden parts that the check finds.
EDITS: dict[str, tuple[Callable[[Any], None], list[str]]] = {
    **{
        edit.__name__: (edit, ["RestoreV2"])
        for edit in (
            *(registered_gradient, gradient_of_a_function, initializer_in_a_collection, main_operation),
            *(initializer_signature, bound_inputs, signature_that_calls_the_saver, object_that_refers_to_the_saver),
            *(text_attribute, texts_attribute, branch_attribute, branches_attribute, function_attribute),
            argument_attribute,
        )
    },
    **{op: (calling(op), sorted([op, "RestoreV2"])) for op in CALLERS},
    "named like an operation": (named_like_an_operation, NAMED),
    "parametrized call": (parametrized_call, ["RestoreV2", "calls of missing functions", "parametrized functions"]),
    "parametrized function": (parametrized_function, ["RestoreV2", "parametrized functions"]),
    "interchangeable": (interchangeable_function, ["interchangeable functions (api_implements)"]),
    "no call operation": (call_without_an_operation, ["RestoreV2", "function calls without a call operation"]),
    "other collections": (other_collections, ["collections that are not node lists"]),
    "restore within": (restore_within_the_function, ["a restore from other files"]),
    "restore before": (restore_before_the_call, ["a restore from other files"]),
    "restore twice": (restored_twice(other=True), ["a restore from other files"]),
    "restore twice, same file": (restored_twice(other=False), []),
    "restore by If": (restore_by_another_operation, ["a restore from other files"]),
    "restore through": (restore_through_another_function, ["a restore from other files"]),
    "overridden call": (overridden_call, ["objects that override __call__"]),
    "writing initializer": (writing_initializer, ["WriteFile"]),
    "uncalled function": (uncalled_function, ["RestoreV2", "SaveV2"]),
    "saving in the restore": (saving_in_the_restore, ["SaveV2"]),
    "writing in the save": (writing_in_the_save, ["WriteFile"]),
    "signature of the saver": (
        signature_of_the_saver,
        ["MergeV2Checkpoints", "SaveV2", "ShardedFilename", "StaticRegexFullMatch", "StringJoin"],
    ),
    "duplicate function": (duplicate_function, ["duplicate node or function names"]),
    "registered object": (registered_object, ["objects registered as 'Evil'"]),
    # A resource may be another model's variable.
    "resource": (constant(DT_RESOURCE), ["constants of type resource"]),
    "variant": (constant(DT_VARIANT), ["constants of type variant"]),
    "resource reference": (constant(DT_RESOURCE + 100), ["constants of type resource_ref"]),
    "constant": (constant(DT_FLOAT, 2**13, 2**13 - 1), []),
    "large constant": (constant(DT_FLOAT, 2**13, 2**13 + 1), LARGE),
    "huge constant": (constant(DT_FLOAT, *[2**62] * 1000), LARGE),
    "empty constant": (constant(DT_FLOAT, 10**6, 10**6, 0), []),
    "large text": (constant(DT_STRING, 2**10, text=b"x" * 2**16), LARGE),
    "unknown size": (constant(DT_FLOAT, 2, -1), ["constants of unknown size"]),
    "calls": (chain(10, 2), []),
    "exponential calls": (chain(30, 2), ["calls that expand to more than 1,048,576 nodes"]),
    "deep calls": (chain(100, 1), ["calls nested more than 64 functions deep"]),
    "recursive calls": (chain(2, 1, last="chain_0"), ["recursive functions"]),
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_graphs_are_refused(plain: Path, name: str) -> None:
    edit, found = EDITS[name]
    assert edited(plain, edit) == found


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
