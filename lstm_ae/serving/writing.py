"""Tensors written as JSON, as TensorFlow Serving writes them.

Source: https://www.tensorflow.org/tfx/serving/api_rest, "Predict API" and "JSON mapping".
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from lstm_ae.serving.refusals import invalid

Tensor = NDArray[Any]
_COLUMNS = "to get columns instead of rows, send 'inputs' instead of 'instances'"


def write_answer(outputs: Mapping[str, Tensor], *, rows: bool) -> bytes:
    """The body of a predict answer; floats in their shortest exact form, NaN and Infinity as these words.

    Bytes are text, or `{"b64": ...}` where the output's name ends in `_bytes`.

    Raises:
        Refusal: INVALID_ARGUMENT where outputs do not have one row for each instance, or JSON has nothing for them.
    """
    outputs = _as_text(outputs)
    if rows:
        return _dump({"predictions": _rowwise(outputs)}, outputs)
    return _dump({"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}, outputs)


def write_classification(labels: Tensor, scores: Tensor) -> bytes:
    """Write the body of a classify answer: for each example a list of `[label, score]`.

    Args:
        labels: text, `(examples, classes)`.
        scores: `(examples, classes)`.
    """
    rows = zip(labels.tolist(), _plain(scores), strict=True)
    pairs = [[list(pair) for pair in zip(*row, strict=True)] for row in rows]
    return _dump({"results": pairs}, {"scores": scores})


def write_regression(values: Tensor) -> bytes:
    """Write the body of a regress answer, one number per example."""
    return _dump({"results": values}, {"results": values})


def write_lines(outputs: Mapping[str, Tensor]) -> bytes:
    """An item of `predictions` a line."""
    outputs = _as_text(outputs)
    return b"".join(_dump(row, outputs) + b"\n" for row in _rowwise(outputs))


def plain(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs with bytes as text for the cells of a table: base64 where the output's name ends in `_bytes`."""
    found = _as_text(outputs)
    for name, array in found.items():
        if array.dtype.kind == "O" and name.endswith("_bytes"):
            cells = [cell["b64"] for cell in array.ravel()]
            found[name] = np.array(cells, object).reshape(array.shape)
    return found


def _rowwise(outputs: Mapping[str, Tensor]) -> Any:
    """What stands for each instance: the one output's row, or an object of all outputs' rows."""
    first: int | None = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information; {_COLUMNS}")
        if first not in (None, len(array)):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {first}; {_COLUMNS}"
            )
        first = len(array)
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    names = list(outputs)
    return [dict(zip(names, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def _as_text(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    for array in outputs.values():
        if array.dtype.kind not in "fiubO":
            raise invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return {name: _texts(name, array) if array.dtype.kind == "O" else array for name, array in outputs.items()}


def _dump(content: Any, outputs: Mapping[str, Tensor]) -> bytes:
    # orjson writes null for what is not finite, and is some twenty times as fast.
    if all(array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in outputs.values()):
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)
    return json.dumps(content, default=_plain).encode()


def _plain(value: Any) -> Any:
    array = np.ascontiguousarray(value)
    if array.dtype.kind == "f":
        # By way of text, so that a float32 is written with its own few digits, not those of its double.
        array = array.astype(str).astype(np.float64)
    return array.tolist() if np.ndim(value) else array.reshape(()).item()


def _texts(name: str, array: Tensor) -> Tensor:
    found = np.empty(array.shape, object)
    for place, cell in np.ndenumerate(array):
        if name.endswith("_bytes"):
            found[place] = {"b64": base64.b64encode(cell).decode()}
            continue
        try:
            found[place] = cell.decode()
        except UnicodeDecodeError:
            raise invalid(f"Output {name!r} holds bytes that are no text; only one named ..._bytes may") from None
    return found
