"""Tensors read from JSON, by the rules and in the words of TensorFlow Serving.

Strict where numpy is not: null, "1.5" and true are not numbers, and 1e400 is refused. Two rules are stricter than
TensorFlow Serving's: repeated keys are refused, and so are integers outside the range of an 8- or 16-bit type.
Source: https://www.tensorflow.org/tfx/serving/api_rest, "Predict API", "Classify and Regress API", "JSON mapping".
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from lstm_ae.serving.cells import Tensor, as_bytes, is_base64, json_type, regular, shape_of, tensor
from lstm_ae.serving.parsing import parse, shown
from lstm_ae.serving.refusals import Refusal, invalid
from lstm_ae.serving.servable import DEFAULT

_LONG, _UNSIGNED = np.iinfo(np.int64), np.iinfo(np.uint64)


class Asked(NamedTuple):
    """A request's content.

    Args:
        signature: "" where none is named.
        rows: whether it came as `instances`, so that the answer is `predictions`.
        inputs: tensors by name.
    """

    signature: str
    rows: bool
    inputs: dict[str, Tensor]


# The features of an example by name: an array of bytes (object), float32 or int64; None for a feature without values.
Features = dict[str, Tensor | None]


class Examples(NamedTuple):
    """The content of a classify or regress request.

    Args:
        signature: "" if the request names none.
        context: features shared by all examples.
    """

    signature: str
    context: Features
    examples: list[Features]


def read_request(body: bytes, signatures: Mapping[str, Mapping[str, np.dtype[Any]]]) -> Asked:
    """A predict request's tensors.

    Args:
        body: JSON in UTF-8.
        signatures: the dtypes of their inputs by name (object means bytes).

    Raises:
        Refusal: INVALID_ARGUMENT, in TensorFlow Serving's words where it has some.
    """
    content = parse(body)
    signature = _signature(content)
    dtypes = signatures.get(signature or DEFAULT)
    if dtypes is None:
        raise invalid(f'Serving signature name: "{signature or DEFAULT}" not found in signature def')
    if not dtypes:
        raise invalid(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    has = [key for key in ("inputs", "instances") if key in content]
    if len(has) == 2:
        raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if not has:
        raise invalid("Missing 'inputs' or 'instances' key")
    rows = has == ["instances"]
    inputs = _from_rows(content["instances"], dtypes) if rows else _from_columns(content["inputs"], dtypes)
    return Asked(signature, rows, inputs)


def read_examples(body: bytes) -> Examples:
    """Read the examples of a classify or regress request.

    Args:
        body: JSON in UTF-8.

    Raises:
        Refusal: INVALID_ARGUMENT, in TensorFlow Serving's words.
    """
    content = parse(body)
    signature = _signature(content)
    context = _features(content["context"]) if "context" in content else {}
    if "examples" not in content:
        raise invalid(
            f"JSON Value: {shown(content)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = content["examples"]
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {shown(content)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {shown(content)} 'examples' value is an empty array")
    return Examples(signature, context, [_features(example) for example in examples])


def _signature(content: Mapping[str, Any]) -> str:
    signature = content.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {shown(signature)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return signature


def _features(example: Any) -> Features:
    if not isinstance(example, dict):
        raise invalid(f"Example must be JSON object but got JSON {json_type(example)}")
    return {name: _feature(name, value if isinstance(value, list) else [value]) for name, value in example.items()}


def _feature(name: str, values: list[Any]) -> Tensor | None:
    """Convert the values of a feature, all of one kind: bytes, float, or int64, to which booleans belong."""
    kind = ""
    for value in values:
        if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_base64(value)):
            raise invalid(f"Feature: {name[:100]} has element with unexpected JSON type: {json_type(value)}")
        own = _kind(value)
        if kind not in ("", own):
            raise invalid(f"Unexpected element type in feature: {name[:100]} expecting type: {kind}")
        if own == "int64" and value > _LONG.max:
            raise invalid(f"Feature: {name[:100]} has uint64_t element. Only int64_t is supported.")
        kind = own
    if not values:
        return None
    if kind == "bytes":
        return as_bytes(values)
    if kind == "int64":
        return np.array(values, np.int64)
    return tensor(values, np.dtype(np.float32))


def _kind(value: Any) -> str:
    """Return the kind of feature that holds a value; integers beyond 64 bits are read as doubles."""
    if isinstance(value, str | dict):
        return "bytes"
    return "int64" if isinstance(value, int) and _LONG.min <= value <= _UNSIGNED.max else "float"


def _from_rows(instances: Any, dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, Tensor]:
    """From a list of instances, each the value of the one input or an object of all inputs."""
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shown(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    named = _is_object(instances[0])
    if not named and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for item, value in enumerate(instances):
        if _is_object(value) != named:
            which = "object but got list" if named else "value/list but got object"
            raise invalid(f"Expecting {which} at item {item} of input list")
        if named and value.keys() != dtypes.keys():
            if unknown := [name[:100] for name in value if name not in dtypes]:
                raise invalid(
                    f"Failed to process element: {item} key: {unknown[0]} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: JSON object: does not have named input: {unknown[0]}"
                )
            raise invalid(
                f"Failed to process element: {item} of 'instances' list. JSON object: {shown(value)} keys must be "
                f"equal to: {','.join(sorted(dtypes))}"
            )
    columns = (
        {name: [value[name] for value in instances] for name in dtypes} if named else {next(iter(dtypes)): instances}
    )
    tensors = {}
    for name, values in columns.items():
        found = regular(values, dtypes[name])
        tensors[name] = _irregular(name if named else None, values, dtypes[name]) if found is None else found
    return tensors


def _from_columns(inputs: Any, dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, Tensor]:
    """From the value of the one input, or an object of all inputs; other keys are ignored."""
    if not _is_object(inputs):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        inputs = {next(iter(dtypes)): inputs}
    for name in dtypes:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: tensor(inputs[name], dtype) for name, dtype in dtypes.items()}


def _irregular(name: str | None, instances: list[Any], dtype: np.dtype[Any]) -> NoReturn:
    """Raise what is wrong with the first instance that does not fit."""
    first = shape_of(instances[0])
    for item, value in enumerate(instances):
        try:
            shape = np.shape(tensor(value, dtype))
            if np.prod(shape) != np.prod(first):
                raise invalid(f"Expecting tensor size: {int(np.prod(first))} but got: {int(np.prod(shape))}")
            if shape != first:
                raise invalid(f"Expecting shape {_listed(first)} but got: {_listed(shape)}")
        except Refusal as refusal:
            key = "" if name is None else f" key: {name}"
            where = f"Failed to process element: {item}{key} of 'instances' list."
            raise invalid(f"{where} Error: INVALID_ARGUMENT: {refusal.message}") from None
    raise AssertionError("every instance fits alone, and so do all")


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _listed(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
