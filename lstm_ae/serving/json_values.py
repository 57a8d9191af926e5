"""Conversion of JSON text to values, as strict as TensorFlow Serving."""

import base64
import binascii
import json
import math
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from lstm_ae.arrays import Array, Dtype
from lstm_ae.json_types import JsonObject
from lstm_ae.serving.errors import Refusal, invalid_argument

# This also matches a quote before a colon within a text, which is then parsed slowly but correctly.
_SPACED_KEY = re.compile(rb'"[ \t\r\n]+:')


def parse_object(body: bytes) -> JsonObject:
    """Parse a JSON object in UTF-8.

    Raises:
        Refusal: If the body is invalid, is not an object, or contains a key twice.
    """
    try:
        content = orjson.loads(body)
        # orjson is ten times as fast, but keeps only the last of equal keys, so the text then contains more keys than
        # the result.
        quick = isinstance(content, dict) and _count_keys(content) == body.count(b'":') and not _SPACED_KEY.search(body)
    except (orjson.JSONDecodeError, RecursionError):
        quick = False
    if not quick:
        content = _parse_slowly(body)
    if not isinstance(content, dict):
        raise invalid_argument(f"JSON Value: {quote_value(content)} Is not object")
    return content


def _count_keys(content: object) -> int:
    """Count the keys of all objects in the places where a request may have objects."""
    if isinstance(content, dict):
        return len(content) + sum(map(_count_keys, content.values()))
    return (
        sum(map(_count_keys, content)) if isinstance(content, list) and content and isinstance(content[0], dict) else 0
    )


def _parse_slowly(body: bytes) -> object:
    """Parse JSON with Python's parser, which accepts NaN and Infinity and reports the exact error."""
    if not body.strip():
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        return json.loads(body.decode("utf-8-sig"), object_pairs_hook=_dict_of_unique_keys, parse_float=_parse_finite)
    except RecursionError:
        raise invalid_argument("JSON Parse error: lists are nested too deeply") from None
    except json.JSONDecodeError as error:
        raise invalid_argument(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        raise invalid_argument(f"JSON Parse error: not UTF-8 at offset: {error.start}") from None
    except ValueError:
        # Python refuses to parse integers of more than 4,300 digits.
        raise number_too_large() from None


def _parse_finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise number_too_large()
    return value


def number_too_large() -> Refusal:
    """Return the refusal of a number outside the range of doubles."""
    return invalid_argument("JSON Parse error: Number too big to be stored in double.")


def _dict_of_unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise invalid_argument("JSON Parse error: an object contains a key twice")
    return content


def quote_value(value: object) -> str:
    """Return a value as shortened JSON for an error message, or "..." if it cannot be written."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return "..."
    return text if len(text) <= 100 else text[:100] + "..."


# NumPy's arrays have fewer dimensions than TensorFlow's tensors, which may have 254.
MAX_DIMENSIONS = 64

_TYPE_NAMES = {"float32": "float", "float64": "double", "bool": "bool", "object": "string"}

_JSON_TYPES = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,), "O": (str, dict)}


def to_tensor(value: object, dtype: Dtype) -> Array:
    """Convert a JSON value or nested lists to an array.

    Raises:
        Refusal: If the lists are irregular or a cell does not fit the dtype.
    """
    tensor = regular_array(value, dtype)
    if tensor is None:
        _check_cells(value, shape_of(value), dtype, 0)
        raise AssertionError("every cell fits alone, and so do all")
    return tensor


def regular_array(value: Any, dtype: Dtype) -> Array | None:
    """Convert nested lists to an array, level by level for speed; return None if the shape or a cell does not fit."""
    shape = shape_of(value)
    level = [value]
    for size in shape:
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            return None
        level = list(chain.from_iterable(level))
    kinds = set(map(type, level))
    if not kinds <= set(_JSON_TYPES[dtype.kind]):
        return None
    if dtype.kind == "O":
        return encode_cells(level).reshape(shape)
    try:
        flat = np.array(level, np.float64 if dtype.kind == "f" else dtype)
    except OverflowError:
        return None
    # Numbers beyond the range of the dtype become infinity.
    with np.errstate(over="ignore"):
        return flat.astype(dtype).reshape(shape)


def shape_of(value: object) -> tuple[int, ...]:
    """Return the shape of nested lists, based on the first item of each list."""
    shape: list[int] = []
    while isinstance(value, list):
        if len(shape) == MAX_DIMENSIONS:
            raise invalid_argument(f"Lists may be nested at most {MAX_DIMENSIONS} deep")
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def encode_cells(cells: Sequence[Any]) -> Array:
    """Encode texts as UTF-8 and decode base64 objects, `(cells,)`."""
    encoded = np.empty(len(cells), object)
    for place, cell in enumerate(cells):
        if isinstance(cell, str):
            try:
                encoded[place] = cell.encode()
            except UnicodeEncodeError:
                raise invalid_argument("JSON Parse error: The surrogate pair in string is invalid.") from None
            continue
        if not is_base64(cell):
            raise invalid_argument(f"JSON Value: {quote_value(cell)} not formatted correctly for base64 data")
        encoded[place] = _decode_base64(cell["b64"])
    return encoded


def _decode_base64(text: str) -> bytes:
    """Decode base64; as in TensorFlow Serving, padding is optional and white space is ignored."""
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument("Unable to base64 decode") from None


def _check_cells(value: Any, shape: tuple[int, ...], dtype: Dtype, level: int) -> None:
    """Raise the refusal of the first cell that does not fit."""
    if isinstance(value, list):
        if level >= len(shape):
            raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for item in value:
            _check_cells(item, shape, dtype, level + 1)
        return
    if level != len(shape):
        raise invalid_argument(
            f"JSON Value: {quote_value(value)} found at incorrect level: {level + 1} in the JSON DOM. "
            "Expected at level: "
            f"{len(shape)}"
        )
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if type(value) not in _JSON_TYPES[dtype.kind] or (limits and not limits.min <= value <= limits.max):
        raise invalid_argument(
            f"JSON Value: {quote_value(value)} Type: {json_type(value)} is not of expected type: {type_name(dtype)}"
        )
    if dtype.kind == "O":
        encode_cells([value])
    elif dtype.kind == "f":
        try:
            float(value)
        except OverflowError:
            raise number_too_large() from None


def is_base64(value: object) -> bool:
    """Return whether a value is an object that encodes bytes."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def json_type(value: object) -> str:
    """Return TensorFlow Serving's name of a JSON value's type."""
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return str(value) if isinstance(value, bool) else names.get(type(value), "Number")


def type_name(dtype: Dtype) -> str:
    """Return TensorFlow's name of a dtype."""
    return _TYPE_NAMES.get(dtype.name, dtype.name)
