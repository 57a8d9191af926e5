"""Tensors read from JSON, by the rules and in the words of TensorFlow Serving.

Strict where numpy is not: null, "1.5" and true are no numbers, 1e400 is no float, and repeated keys are refused.
Source: https://www.tensorflow.org/tfx/serving/api_rest, "Predict API" and "JSON mapping".
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from lstm_ae.serving.cells import Tensor, is_base64, regular, shape_of, tensor
from lstm_ae.serving.parsing import parse, shown
from lstm_ae.serving.refusals import Refusal, invalid, unknown_signature

# The signature of a request that names none.
DEFAULT = "serving_default"


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


def read_request(body: bytes, signatures: Mapping[str, Mapping[str, np.dtype[Any]]]) -> Asked:
    """A predict request's tensors.

    Args:
        body: JSON in UTF-8.
        signatures: the dtypes of their inputs by name (object means bytes).

    Raises:
        Refusal: INVALID_ARGUMENT, in TensorFlow Serving's words where it has some.
    """
    content = parse(body)
    signature = content.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {shown(signature)} not formatted correctly. 'signature_name' key must be a string value."
        )
    dtypes = signatures.get(signature or DEFAULT)
    if dtypes is None:
        raise unknown_signature(signature or DEFAULT)
    has = [key for key in ("inputs", "instances") if key in content]
    if len(has) == 2:
        raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if not has:
        raise invalid("Missing 'inputs' or 'instances' key")
    rows = has == ["instances"]
    inputs = _from_rows(content["instances"], dtypes) if rows else _from_columns(content["inputs"], dtypes)
    refuse_infinite(body, inputs.values())
    return Asked(signature, rows, inputs)


def refuse_infinite(body: bytes, tensors: Iterable[Tensor]) -> None:
    """Refuse 1e400, which is read as infinity; only the word Infinity may be."""
    infinite = sum(int(np.isinf(one).sum()) for one in tensors if one.dtype.kind == "f")
    if infinite and infinite > body.count(b"Infinity"):
        raise invalid("JSON Parse error: Number too big to be stored in double.")


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
    """From the value of the one input, or an object of all inputs."""
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
    for name in inputs:
        if name not in dtypes:
            raise invalid(f"JSON object: does not have named input: {name}")
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
