"""JSON schemas of what a signature takes and gives, over REST.

Some rules of TensorFlow Serving cannot be said in JSON Schema: nested lists must be of one shape throughout, the values
of a feature of one kind, and the words NaN and Infinity are numbers as well.
Source: https://json-schema.org/draft/2020-12, as OpenAPI 3.1 takes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_ae.serving.servable import DEFAULT, HORIZON, Signature, Spec
from lstm_ae.serving.service import Limits

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


def request(signatures: Mapping[str, Signature], limits: Limits) -> Schema:
    """A predict request to any of a model's signatures, within the limits of the server."""
    return {"anyOf": [form for each in signatures.values() for form in _forms(each, limits)]}


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


def examples(names: Sequence[str], limits: Limits) -> Schema:
    """Describe a classify or regress request to one of these signatures."""
    value = {"anyOf": [{"type": ["number", "boolean"]}, *_TEXT["oneOf"]]}
    example = {"type": "object", "additionalProperties": {"anyOf": [value, {"type": "array", "items": value}]}}
    return {
        "type": "object",
        "properties": {
            "signature_name": {"enum": [*names]},
            "context": example | {"description": "features shared by all examples"},
            "examples": {"type": "array", "items": example, "minItems": 1, "maxItems": limits.instances},
        },
        "required": ["examples", *([] if DEFAULT in names else ["signature_name"])],
    }


def results(item: Schema) -> Schema:
    """Describe the answer to a classify or regress request, one item per example."""
    return _object({"results": {"type": "array", "items": item}})


def _forms(signature: Signature, limits: Limits) -> list[Schema]:
    """Row by row under `instances` where inputs and outputs have rows, and column by column under `inputs`."""
    forms = [(f"{signature.name}, by inputs", "inputs", "instances", _inputs(signature, limits, 0))]
    if signature.batched:
        rows = {"type": "array", "items": _inputs(signature, limits, 1), "minItems": 1, "maxItems": limits.instances}
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


def _inputs(signature: Signature, limits: Limits, skipped: int) -> Schema:
    """All inputs by name; the value of a single one may stand alone as well."""
    most = limits.instances if signature.batched else limits.window
    made = {
        name: tensor(spec, skipped, largest=(most, limits.window), cell=_horizon(limits) if name == HORIZON else None)
        for name, spec in signature.inputs.items()
    }
    return _object(made) if len(made) > 1 else {"anyOf": [*made.values(), _object(made)]}


def _of_one_or_all(outputs: Mapping[str, Spec], skipped: int) -> Schema:
    """Return the schema of a single output, or of an object of all outputs if there are several or none."""
    made = {name: tensor(spec, skipped) for name, spec in outputs.items()}
    return _object(made) if len(made) != 1 else next(iter(made.values()))


def _object(properties: Schema, title: str = "") -> Schema:
    made: Schema = {"type": "object", "properties": properties, "required": [*properties]}
    return made | {"additionalProperties": False} | ({"title": title} if title else {})


def tensor(
    spec: Spec, skipped: int = 0, *, largest: tuple[int, int] | None = None, cell: Schema | None = None
) -> Schema:
    """Nested lists of an input or output.

    Args:
        skipped: dimensions that are left out in front: 1 for a row of it.
        largest: how long a list may be where the shape leaves its size open: the outermost one, and those within.
        cell: what the values must be, where not all of the dtype are taken.
    """
    if spec.shape is None:
        return {"description": f"{spec.dtype.name} values in lists, nested to any depth"}
    schema = cell or _cell(spec.dtype)
    for place, size in reversed([*enumerate(spec.shape)][skipped:]):
        schema = {"type": "array", "items": schema, "minItems": 1 if size is None else size}
        if size is not None or largest:
            schema["maxItems"] = size if size is not None else (largest or ())[min(place, 1)]
    if spec.shape[skipped:]:
        schema["description"] = f"{spec.dtype.name}, shape {_shown(spec.shape[skipped:])}"
    return schema


def _cell(dtype: "np.dtype[Any]") -> Schema:
    if dtype.kind == "f":
        return {"type": "number"}
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    others: Schema = {"b": {"type": "boolean"}, "O": _TEXT}
    return dict(others.get(dtype.kind, {}))


def _horizon(limits: Limits) -> Schema:
    return {"type": "integer", "minimum": 0, "maximum": limits.horizon}


def _shown(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
