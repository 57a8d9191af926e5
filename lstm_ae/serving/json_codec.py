"""Conversion between TensorFlow Serving's JSON requests and responses and tensors, with strict checks."""

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson

from lstm_ae.arrays import Array, Dtype
from lstm_ae.files import as_json_value
from lstm_ae.json_types import JsonMapping
from lstm_ae.serving.errors import Refusal, invalid_argument
from lstm_ae.serving.json_values import (
    is_base64,
    parse_object,
    quote_value,
    regular_array,
    shape_of,
    to_tensor,
)
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE
from lstm_ae.serving.tensors import list_shape


class PredictRequest(NamedTuple):
    """The content of a predict request.

    Args:
        signature: The name of the signature; "" if the request has none.
        rows: Whether the request has `instances`, so that the response has `predictions`.
        inputs: The tensors by name.
    """

    signature: str
    rows: bool
    inputs: dict[str, Array]


def read_predict_request(body: bytes, signatures: Mapping[str, Mapping[str, Dtype]]) -> PredictRequest:
    """Read the tensors of a predict request.

    Args:
        body: JSON in UTF-8.
        signatures: The dtypes of the inputs by signature and name (object for bytes).

    Raises:
        Refusal: INVALID_ARGUMENT, with TensorFlow Serving's message where it has one.
    """
    content = parse_object(body)
    signature = _read_signature_name(content)
    dtypes = signatures.get(signature or DEFAULT_SIGNATURE)
    if dtypes is None:
        raise invalid_argument(f'Serving signature name: "{signature or DEFAULT_SIGNATURE}" not found in signature def')
    if not dtypes:
        raise invalid_argument(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    keys = [key for key in ("inputs", "instances") if key in content]
    if len(keys) == 2:
        raise invalid_argument("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if not keys:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    rows = keys == ["instances"]
    inputs = (
        _tensors_from_rows(content["instances"], dtypes) if rows else _tensors_from_columns(content["inputs"], dtypes)
    )
    return PredictRequest(signature, rows, inputs)


def _read_signature_name(content: JsonMapping) -> str:
    signature = content.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid_argument(
            f"JSON Value: {quote_value(signature)} not formatted correctly. 'signature_name' key must be a "
            "string value."
        )
    return signature


def _tensors_from_rows(instances: object, dtypes: Mapping[str, Dtype]) -> dict[str, Array]:
    """Convert a list of instances, each the value of the only input or an object with all inputs."""
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {quote_value(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument("No values in 'instances' array")
    named = _is_object(instances[0])
    if not named and len(dtypes) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for item, value in enumerate(instances):
        if _is_object(value) != named:
            kinds = "object but got list" if named else "value/list but got object"
            raise invalid_argument(f"Expecting {kinds} at item {item} of input list")
        if named and value.keys() != dtypes.keys():
            if unknown := [name[:100] for name in value if name not in dtypes]:
                raise invalid_argument(
                    f"Failed to process element: {item} key: {unknown[0]} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: JSON object: does not have named input: {unknown[0]}"
                )
            raise invalid_argument(
                f"Failed to process element: {item} of 'instances' list. JSON object: {quote_value(value)} "
                "keys must be "
                f"equal to: {','.join(sorted(dtypes))}"
            )
    columns = (
        {name: [value[name] for value in instances] for name in dtypes} if named else {next(iter(dtypes)): instances}
    )
    tensors = {}
    for name, values in columns.items():
        tensor = regular_array(values, dtypes[name])
        tensors[name] = (
            _raise_irregular_instance(name if named else None, values, dtypes[name]) if tensor is None else tensor
        )
    return tensors


def _tensors_from_columns(inputs: Any, dtypes: Mapping[str, Dtype]) -> dict[str, Array]:
    """Convert the value of the only input or an object with all inputs; other keys are ignored."""
    if not _is_object(inputs):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        inputs = {next(iter(dtypes)): inputs}
    for name in dtypes:
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    return {name: to_tensor(inputs[name], dtype) for name, dtype in dtypes.items()}


def _raise_irregular_instance(name: str | None, instances: list[Any], dtype: Dtype) -> NoReturn:
    """Raise the refusal of the first instance that does not fit."""
    first = shape_of(instances[0])
    for item, value in enumerate(instances):
        try:
            shape = np.shape(to_tensor(value, dtype))
            if np.prod(shape) != np.prod(first):
                raise invalid_argument(f"Expecting tensor size: {int(np.prod(first))} but got: {int(np.prod(shape))}")
            if shape != first:
                raise invalid_argument(f"Expecting shape {list_shape(first)} but got: {list_shape(shape)}")
        except Refusal as refusal:
            key = "" if name is None else f" key: {name}"
            place = f"Failed to process element: {item}{key} of 'instances' list."
            raise invalid_argument(f"{place} Error: INVALID_ARGUMENT: {refusal.message}") from None
    raise AssertionError("every instance fits alone, and so do all")


def _is_object(value: object) -> bool:
    return isinstance(value, dict) and not is_base64(value)


_COLUMNS_ADVICE = "to get columns instead of rows, send 'inputs' instead of 'instances'"


def write_predictions(outputs: Mapping[str, Array], *, rows: bool) -> bytes:
    """Return the body of a predict response.

    Floats have their shortest exact form; NaN and Infinity are written as these words. Bytes are written as text, or
    as `{"b64": ...}` if the output's name ends in `_bytes`.

    Raises:
        Refusal: INVALID_ARGUMENT if the outputs do not have one row per instance, or have no JSON form.
    """
    outputs = _decode_outputs(outputs)
    if rows:
        return _dump_json({"predictions": _outputs_by_row(outputs)}, outputs)
    return _dump_json({"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}, outputs)


def outputs_to_cells(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs with bytes as text for table cells, in base64 if the output's name ends in `_bytes`."""
    tensors = _decode_outputs(outputs)
    for name, array in tensors.items():
        if array.dtype.kind == "O" and name.endswith("_bytes"):
            cells = [cell["b64"] for cell in array.ravel()]
            tensors[name] = np.array(cells, object).reshape(array.shape)
    return tensors


def _outputs_by_row(outputs: Mapping[str, Array]) -> Array | list[dict[str, object]]:
    """Return one item per instance: the row of the only output, or an object with the rows of all outputs."""
    first: int | None = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information; {_COLUMNS_ADVICE}")
        if first not in (None, len(array)):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {first}; {_COLUMNS_ADVICE}"
            )
        first = len(array)
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    names = list(outputs)
    return [dict(zip(names, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def _decode_outputs(outputs: Mapping[str, Array]) -> dict[str, Array]:
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    for array in outputs.values():
        if array.dtype.kind not in "fiubO":
            raise invalid_argument(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return {name: _decode_cells(name, array) if array.dtype.kind == "O" else array for name, array in outputs.items()}


def _dump_json(content: object, outputs: Mapping[str, Array]) -> bytes:
    # orjson is about twenty times as fast, but writes null for numbers that are not finite.
    if all(array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in outputs.values()):
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY, default=as_json_value)
    return json.dumps(content, default=as_json_value).encode()


def _decode_cells(name: str, array: Array) -> Array:
    cells = np.empty(array.shape, object)
    for place, cell in np.ndenumerate(array):
        if name.endswith("_bytes"):
            cells[place] = {"b64": base64.b64encode(cell).decode()}
            continue
        try:
            cells[place] = cell.decode()
        except UnicodeDecodeError:
            raise invalid_argument(
                f"Output {name!r} contains bytes that are not text. Only outputs named ..._bytes may."
            ) from None
    return cells
