"""JSON values as arrays: nested lists of one shape, of cells of the dtype's kind."""

import base64
import binascii
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.serving.parsing import shown, too_big
from lstm_ae.serving.refusals import invalid

Tensor = NDArray[Any]

# The limit of NumPy's arrays; TensorFlow's tensors may have 254.
MOST_DIMENSIONS = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32

_NAMES = {"float32": "float", "float64": "double", "bool": "bool", "object": "string"}
_KINDS = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,), "O": (str, dict)}


def tensor(value: Any, dtype: np.dtype[Any]) -> Tensor:
    """A JSON value, nested lists of one shape, as an array; raises `Refusal` at the first cell that does not fit."""
    found = regular(value, dtype)
    if found is None:
        _walk(value, shape_of(value), dtype, 0)
        raise AssertionError("every cell fits alone, and so do all")
    return found


def regular(value: Any, dtype: np.dtype[Any]) -> Tensor | None:
    """The array, or None where shape or cells are not as they must be. Works a level at a time, for speed."""
    shape = shape_of(value)
    level = [value]
    for size in shape:
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            return None
        level = list(chain.from_iterable(level))
    kinds = set(map(type, level))
    if not kinds <= set(_KINDS[dtype.kind]):
        return None
    if dtype.kind == "O":
        return as_bytes(level).reshape(shape)
    # Before numpy 2 a number too large becomes another one.
    if dtype.kind in "iu" and level and not _fit(level, np.iinfo(dtype)):
        return None
    try:
        flat = np.array(level, np.float64 if dtype.kind == "f" else dtype)
    except OverflowError:
        return None
    # Round to the nearest value of the dtype; beyond its range that is infinity.
    with np.errstate(over="ignore"):
        return flat.astype(dtype).reshape(shape)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of nested lists, by each list's first item."""
    shape: list[int] = []
    while isinstance(value, list):
        if len(shape) == MOST_DIMENSIONS:
            raise invalid(f"Lists may be nested {MOST_DIMENSIONS} deep")
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _fit(numbers: Sequence[int], limits: "np.iinfo[Any]") -> bool:
    return limits.min <= min(numbers) and max(numbers) <= limits.max


def as_bytes(cells: Sequence[Any]) -> Tensor:
    """Encode texts as UTF-8 and decode base64 objects."""
    found = np.empty(len(cells), object)
    for place, cell in enumerate(cells):
        if isinstance(cell, str):
            try:
                found[place] = cell.encode()
            except UnicodeEncodeError:
                raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None
            continue
        if not is_base64(cell):
            raise invalid(f"JSON Value: {shown(cell)} not formatted correctly for base64 data")
        found[place] = _from_base64(cell["b64"])
    return found


def _from_base64(text: str) -> bytes:
    """Decode base64; as in TensorFlow Serving the padding is optional and white space is ignored."""
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


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
    if type(value) not in _KINDS[dtype.kind] or (dtype.kind in "iu" and not _fit([value], np.iinfo(dtype))):
        raise invalid(
            f"JSON Value: {shown(value)} Type: {json_type(value)} is not of expected type: {type_name(dtype)}"
        )
    if dtype.kind == "O":
        as_bytes([value])
    elif dtype.kind == "f":
        try:
            float(value)
        except OverflowError:
            raise too_big() from None


def is_base64(value: Any) -> bool:
    """Whether a value is an object that stands for bytes."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def json_type(value: Any) -> str:
    """Return TensorFlow Serving's name of a JSON value's type."""
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return str(value) if isinstance(value, bool) else names.get(type(value), "Number")


def type_name(dtype: np.dtype[Any]) -> str:
    """Return TensorFlow's name of a dtype."""
    return _NAMES.get(dtype.name, dtype.name)
