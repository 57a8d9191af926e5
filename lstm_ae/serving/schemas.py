"""JSON schemas of what a signature takes and gives, over REST.

Two rules of TensorFlow Serving cannot be said in JSON Schema, so they stand in words: nested lists must be of one shape
throughout, and besides JSON's numbers the words NaN and Infinity stand for these numbers.
Source: https://json-schema.org/draft/2020-12, as OpenAPI 3.1 takes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_ae.serving.servable import DEFAULT, Signature, Spec

Schema = dict[str, Any]

_TEXT = {
    "oneOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
            "required": ["b64"],
            "additionalProperties": False,
        },
    ]
}


def request(signatures: Mapping[str, Signature], most: int) -> Schema:
    """A predict request to any of a model's signatures.

    Args:
        most: rows that a request may have.
    """
    return {"anyOf": [form for each in signatures.values() for form in _forms(each, most)]}


def answer(signatures: Mapping[str, Signature]) -> Schema:
    """What a predict request is answered with."""
    forms = []
    for each in signatures.values():
        if each.batched:
            row = _of_one_or_all(each.outputs, 1)
            forms.append(_object({"predictions": {"type": "array", "items": row}}, f"{each.name}, asked by instances"))
        columns = _of_one_or_all(each.outputs, 0)
        forms.append(_object({"outputs": columns}, f"{each.name}, asked by inputs"))
    return {"anyOf": forms}


def _forms(signature: Signature, most: int) -> list[Schema]:
    """Row by row under `instances` where inputs and outputs have rows, and column by column under `inputs`."""
    # Of one input the value may stand alone or under its name.
    columns = _named(signature.inputs, 0)
    forms = [(f"{signature.name}, by inputs", "inputs", "instances", columns)]
    if len(signature.inputs) == 1:
        alone = tensor(next(iter(signature.inputs.values())), 0)
        forms = [(f"{signature.name}, by inputs", "inputs", "instances", {"anyOf": [alone, columns]})]
    if signature.batched:
        row = _named(signature.inputs, 1)
        if len(signature.inputs) == 1:
            row = {"anyOf": [tensor(next(iter(signature.inputs.values())), 1), row]}
        rows = {"type": "array", "items": row, "minItems": 1, "maxItems": most}
        forms.insert(0, (f"{signature.name}, by instances", "instances", "inputs", rows))
    needed = [] if signature.name == DEFAULT else ["signature_name"]
    return [
        {
            "title": title,
            "type": "object",
            "properties": {"signature_name": {"const": signature.name}, key: schema, other: False},
            "required": [key, *needed],
        }
        for title, key, other, schema in forms
    ]


def _of_one_or_all(outputs: Mapping[str, Spec], skipped: int) -> Schema:
    """A single output stands alone, several by name."""
    return _named(outputs, skipped) if len(outputs) > 1 else tensor(next(iter(outputs.values())), skipped)


def _named(specs: Mapping[str, Spec], skipped: int) -> Schema:
    return _object({name: tensor(spec, skipped) for name, spec in specs.items()})


def _object(properties: Schema, title: str = "") -> Schema:
    made: Schema = {"type": "object", "properties": properties, "required": [*properties]}
    return made | {"additionalProperties": False} | ({"title": title} if title else {})


def tensor(spec: Spec, skipped: int = 0) -> Schema:
    """Nested lists of an input or output.

    Args:
        skipped: dimensions that are left out in front: 1 for a row of it.
    """
    if spec.shape is None:
        return {"description": f"{spec.dtype.name} values in lists, nested to any depth"}
    schema = _cell(spec.dtype)
    for size in reversed(spec.shape[skipped:]):
        schema = {"type": "array", "items": schema} | (
            {"minItems": 1} if size is None else {"minItems": size, "maxItems": size}
        )
    if spec.shape[skipped:]:
        schema["description"] = f"{spec.dtype.name}, shape {_shown(spec.shape[skipped:])}"
    return schema


def _cell(dtype: "np.dtype[Any]") -> Schema:
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return {"type": "number", "minimum": -largest, "maximum": largest}
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return {"type": "boolean"} if dtype.kind == "b" else _TEXT


def _shown(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
