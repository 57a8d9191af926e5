"""Tensors read from JSON, by the rules and in the words of TensorFlow Serving.

Strict where numpy is not: null, "1.5" and true are no numbers, 1e400 is no float, and repeated keys are refused.
Source: https://www.tensorflow.org/tfx/serving/api_rest, "Predict API" and "JSON mapping".
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from lstm_ae.serving.parsing import parse, shown
from lstm_ae.serving.refusals import Refusal, invalid, unknown_signature

Tensor = NDArray[Any]

# The signature of a request that names none.
DEFAULT = "serving_default"
MOST_DIMENSIONS = 16

# Up to here every whole number has a float32, or a float64, of its own.
_WHOLE = {np.dtype(np.float32): 2**24 - 1, np.dtype(np.float64): 2**53 - 1}
_NAMES = {"float32": "float", "float64": "double", "bool": "bool", "object": "string"}
_KINDS = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,), "O": (str, dict)}


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
    # 1e400 is read as infinity; only the word Infinity may be.
    infinite = sum(int(np.isinf(tensor).sum()) for tensor in inputs.values() if tensor.dtype.kind == "f")
    if infinite and infinite > body.count(b"Infinity"):
        raise invalid("JSON Parse error: Number too big to be stored in double.")
    return Asked(signature, rows, inputs)


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
        found = _regular(values, dtypes[name])
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


def tensor(value: Any, dtype: np.dtype[Any]) -> Tensor:
    """A JSON value, nested lists of one shape, as an array; raises `Refusal` at the first cell that does not fit."""
    found = _regular(value, dtype)
    if found is None:
        _walk(value, _shape(value), dtype, 0)
        raise AssertionError("every cell fits alone, and so do all")
    return found


def _regular(value: Any, dtype: np.dtype[Any]) -> Tensor | None:
    """The array, or None where shape or cells are not as they must be. Works a level at a time, for speed."""
    shape = _shape(value)
    level = [value]
    for size in shape:
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            return None
        level = list(chain.from_iterable(level))
    kinds = set(map(type, level))
    if not kinds <= set(_KINDS[dtype.kind]):
        return None
    if dtype.kind == "O":
        return _texts(level).reshape(shape)
    try:
        flat = np.array(level, np.float64 if dtype.kind == "f" else dtype)
    except OverflowError:
        return None
    if dtype.kind == "f":
        size = np.abs(flat)
        if int in kinds and (size > _WHOLE[dtype]).any():
            whole = np.fromiter((type(cell) is int for cell in level), bool, len(level))
            if (whole & (size > _WHOLE[dtype])).any():
                return None
    with np.errstate(over="ignore"):
        cells = flat.astype(dtype)
    if dtype.kind == "f" and (np.isinf(cells) & np.isfinite(flat)).any():
        return None
    return cells.reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape by each list's first item."""
    shape: list[int] = []
    while isinstance(value, list):
        if len(shape) == MOST_DIMENSIONS:
            raise invalid(f"Lists may be nested {MOST_DIMENSIONS} deep")
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _texts(cells: Sequence[Any]) -> Tensor:
    found = np.empty(len(cells), object)
    for place, cell in enumerate(cells):
        if isinstance(cell, str):
            try:
                found[place] = cell.encode()
            except UnicodeEncodeError:
                raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None
            continue
        if not _is_base64(cell):
            raise invalid(f"JSON Value: {shown(cell)} not formatted correctly for base64 data")
        try:
            found[place] = base64.b64decode(cell["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise invalid("Unable to base64 decode") from None
    return found


def _irregular(name: str | None, instances: list[Any], dtype: np.dtype[Any]) -> NoReturn:
    """Raise what is wrong with the first instance that does not fit."""
    first = _shape(instances[0])
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


def _walk(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], level: int) -> None:
    """Raise what is wrong with the first cell that does not fit."""
    if isinstance(value, list):
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for item in value:
            _walk(item, shape, dtype, level + 1)
        return
    if level != len(shape):
        raise invalid(
            f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
            f"{len(shape)}"
        )
    name = _NAMES.get(dtype.name, dtype.name)
    if type(value) not in _KINDS[dtype.kind]:
        raise invalid(f"JSON Value: {shown(value)} Type: {_type(value)} is not of expected type: {name}")
    if dtype.kind == "O":
        _texts([value])
    elif dtype.kind == "f":
        with np.errstate(over="ignore"):
            fits = abs(value) <= _WHOLE[dtype] if type(value) is int else np.isinf(value) >= np.isinf(dtype.type(value))
        if not fits:
            raise invalid(f"Cannot convert JSON value: {shown(value)} to {name} without loss of precision.")
    elif dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise invalid(f"JSON Value: {shown(value)} Type: Number is not of expected type: {name}")


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _type(value: Any) -> str:
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return str(value) if isinstance(value, bool) else names.get(type(value), "Number")


def _listed(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
