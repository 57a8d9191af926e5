"""`/openapi.json`: a description of the currently served models in OpenAPI 3.1."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from lstm_ae import __version__
from lstm_ae.arrays import Dtype
from lstm_ae.export.manifest import read_manifest_leniently
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.serving.catalog import ModelCatalog
from lstm_ae.serving.config import RequestLimits
from lstm_ae.serving.inference import CLASSIFY, REGRESS
from lstm_ae.serving.metrics import CONTENT_TYPE
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, HORIZON, Signature, TensorSpec
from lstm_ae.serving.tensors import format_shape

# Only these keys of a manifest are published.
MANIFEST_KEYS = ("task", "read", "metrics", "data", "licence", "symbols", "features", "known", "created")

MAX_EXAMPLES = 50

_BYTES_SCHEMA = {
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


def request_schema(signatures: Mapping[str, Signature], limits: RequestLimits) -> JsonObject:
    """Return the schema of a predict request to any of a model's signatures, within the limits of the server."""
    return {"anyOf": [form for each in signatures.values() for form in _request_forms(each, limits)]}


def response_schema(signatures: Mapping[str, Signature]) -> JsonObject:
    """Return the schema of a predict response."""
    forms = []
    for each in signatures.values():
        if each.batched:
            row = _outputs_schema(each.outputs, 1)
            forms.append(
                _object_schema({"predictions": {"type": "array", "items": row}}, f"{each.name}, with instances")
            )
        columns = _outputs_schema(each.outputs, 0)
        forms.append(_object_schema({"outputs": columns}, f"{each.name}, with inputs"))
    return {"anyOf": forms}


def examples_schema(names: Sequence[str], limits: RequestLimits) -> JsonObject:
    """Return the schema of a classify or regress request to one of the given signatures."""
    value = {"anyOf": [{"type": ["number", "boolean"]}, *_BYTES_SCHEMA["oneOf"]]}
    example = {"type": "object", "additionalProperties": {"anyOf": [value, {"type": "array", "items": value}]}}
    return {
        "type": "object",
        "properties": {
            "signature_name": {"enum": [*names]},
            "context": example | {"description": "features shared by all examples"},
            "examples": {"type": "array", "items": example, "minItems": 1, "maxItems": limits.instances},
        },
        "required": ["examples", *([] if DEFAULT_SIGNATURE in names else ["signature_name"])],
    }


def results_schema(item: JsonObject) -> JsonObject:
    """Return the schema of a classify or regress response, with one item per example."""
    return _object_schema({"results": {"type": "array", "items": item}})


def _request_forms(signature: Signature, limits: RequestLimits) -> list[JsonObject]:
    """Return the schemas with `instances` (rows), if inputs and outputs have rows, and with `inputs` (columns)."""
    forms = [(f"{signature.name}, with inputs", "inputs", "instances", _inputs_schema(signature, limits, 0))]
    if signature.batched:
        rows = {
            "type": "array",
            "items": _inputs_schema(signature, limits, 1),
            "minItems": 1,
            "maxItems": limits.instances,
        }
        forms.insert(0, (f"{signature.name}, with instances", "instances", "inputs", rows))
    needed = [] if signature.name == DEFAULT_SIGNATURE else ["signature_name"]
    return [
        {
            "title": title,
            "type": "object",
            "properties": {"signature_name": {"const": signature.name}, key: schema, other: False},
            "required": [key, *needed],
        }
        for title, key, other, schema in forms
    ]


def _inputs_schema(signature: Signature, limits: RequestLimits, skipped: int) -> JsonObject:
    """Return the schema of all inputs by name; a single input may also be given as its value alone."""
    most = limits.instances if signature.batched else limits.window
    made = {
        name: tensor_schema(
            spec, skipped, largest=(most, limits.window), cell=_horizon_schema(limits) if name == HORIZON else None
        )
        for name, spec in signature.inputs.items()
    }
    return _object_schema(made) if len(made) > 1 else {"anyOf": [*made.values(), _object_schema(made)]}


def _outputs_schema(outputs: Mapping[str, TensorSpec], skipped: int) -> JsonObject:
    """Return the schema of a single output, or of an object with all outputs if there are several or none."""
    made = {name: tensor_schema(spec, skipped) for name, spec in outputs.items()}
    return _object_schema(made) if len(made) != 1 else next(iter(made.values()))


def _object_schema(properties: JsonObject, title: str = "") -> JsonObject:
    made: JsonObject = {"type": "object", "properties": properties, "required": [*properties]}
    return made | {"additionalProperties": False} | ({"title": title} if title else {})


def tensor_schema(
    spec: TensorSpec, skipped: int = 0, *, largest: tuple[int, int] | None = None, cell: JsonObject | None = None
) -> JsonObject:
    """Return the schema of an input or output as nested lists.

    Args:
        spec: The dtype and shape.
        skipped: The number of leading dimensions to omit: 1 for a row.
        largest: The largest lengths of lists whose size is variable: of the outermost list, and of the inner ones.
        cell: The schema of the values if not all values of the dtype are allowed.
    """
    if spec.shape is None:
        return {"description": f"{spec.dtype.name} values in lists, nested to any depth"}
    schema = cell or _cell_schema(spec.dtype)
    for place, size in reversed([*enumerate(spec.shape)][skipped:]):
        schema = {"type": "array", "items": schema, "minItems": 1 if size is None else size}
        if size is not None or largest:
            schema["maxItems"] = size if size is not None else (largest or ())[min(place, 1)]
    if spec.shape[skipped:]:
        schema["description"] = f"{spec.dtype.name}, shape {format_shape(spec.shape[skipped:])}"
    return schema


def _cell_schema(dtype: Dtype) -> JsonObject:
    if dtype.kind == "f":
        return {"type": "number"}
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    others: JsonObject = {"b": {"type": "boolean"}, "O": _BYTES_SCHEMA}
    return dict(others.get(dtype.kind, {}))


def _horizon_schema(limits: RequestLimits) -> JsonObject:
    return {"type": "integer", "minimum": 0, "maximum": limits.horizon}


JSON_TYPE = "application/json"

METRICS_PATH = "/monitoring/prometheus/metrics"

# `/ready` reports the number of versions in each of these states.
UNAVAILABLE_STATES = ("loading", "failed", "set_aside")

_ERROR_DESCRIPTIONS = {
    "400": "The request does not fit the model, or names a signature, label, or version that does not exist.",
    "404": "The model or version is not in memory.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The content encoding is not supported; it must be gzip or absent.",
    "429": "The model has run out of a resource.",
    "500": "The model or the server failed.",
    "503": "The model is loading or set aside, the queue is full, or the server is shutting down. Try again later.",
    "504": "The time limit passed before the response was ready.",
}

_LOOKUP_ERRORS = ("400", "404")

_LABEL_SCORE_SCHEMA = {
    "type": "array",
    "prefixItems": [{"type": "string"}, {"type": "number"}],
    "minItems": 2,
    "maxItems": 2,
}

_EXAMPLE_METHODS: dict[str, tuple[str, JsonObject]] = {
    "classify": (
        CLASSIFY,
        {"type": "array", "items": _LABEL_SCORE_SCHEMA, "description": "label and score of each class"},
    ),
    "regress": (REGRESS, {"type": "number"}),
}


class SignatureExample(NamedTuple):
    """Example inputs of a signature, as columns."""

    name: str
    signature: str
    inputs: dict[str, list[object]]


class ServedVersions(NamedTuple):
    """The versions and labels of a model in memory at one moment."""

    name: str
    versions: dict[int, Servable]
    labels: dict[str, int]


def served_versions(catalog: ModelCatalog) -> list[ServedVersions]:
    """Return the models in memory, without names and labels that a path cannot contain unescaped."""
    return [
        ServedVersions(
            name, catalog.versions(name), {key: n for key, n in catalog.labels(name).items() if _is_plain_path(key)}
        )
        for name in catalog.names()
        if _is_plain_path(name)
    ]


def openapi_document(models: list[ServedVersions], limits: RequestLimits) -> JsonObject:
    """Return the OpenAPI document. This reads the manifests, so it may take a while."""
    paths: JsonObject = {
        "/health": {"get": _get_operation("health", "Liveness of the server.", _state_response("alive"))},
        "/ready": {
            "get": _get_operation(
                "ready",
                "Readiness of the models, and the number of unavailable versions.",
                _state_response("ready", *UNAVAILABLE_STATES),
                {"503": _state_response("not ready", *UNAVAILABLE_STATES)},
            )
        },
        METRICS_PATH: {
            "get": _get_operation(
                "metrics", "Metrics for Prometheus.", _content_schema(CONTENT_TYPE, {"type": "string"})
            )
        },
        "/openapi.json": {
            "get": _get_operation("openapi", "This document.", _content_schema(JSON_TYPE, {"type": "object"}))
        },
    }
    bodies: JsonObject = {}
    answers: JsonObject = {}
    for model in models:
        for number, servable in model.versions.items():
            key, manifest = _operation_key(model.name, number), read_manifest_leniently(servable.directory)
            examples = manifest_examples(manifest, servable.signatures)
            bodies[key] = _request_body(request_schema(servable.signatures, limits), examples)
            answers[key] = {"description": "The outputs of the model."} | _content_schema(
                JSON_TYPE, response_schema(servable.signatures)
            )
            about = {
                "name": model.name,
                "version": str(number),
                "labels": _version_labels(model, number),
            } | describe_manifest(manifest)
            for path, operation in _version_paths(model, number):
                paths[path] = {"x-lstmae": about} | _status_path(operation)
                paths[f"{path}/metadata"] = _metadata_path(operation)
                paths[f"{path}:predict"] = _predict_path(operation, key)
                for verb, (method, item) in _EXAMPLE_METHODS.items():
                    if names := [one.name for one in servable.signatures.values() if one.method == method]:
                        paths[f"{path}:{verb}"] = _examples_path(operation, verb, examples_schema(names, limits), item)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Models served by lstmae",
            "version": __version__,
            "summary": "TensorFlow Serving's REST interface.",
            "description": "Numbers may be NaN and Infinity in requests and responses. Nested lists must be regular. "
            "Paths are not case-sensitive.",
        },
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "requestBodies": bodies,
            "responses": answers | {f"refused-{code}": _error_response(code) for code in _ERROR_DESCRIPTIONS},
        },
    }


def describe_manifest(manifest: JsonMapping) -> JsonObject:
    """Return the part of a manifest that describes its model."""
    return {key: manifest[key] for key in MANIFEST_KEYS if manifest.get(key) is not None}


def manifest_examples(manifest: JsonMapping, signatures: Mapping[str, Signature]) -> list[SignatureExample]:
    """Return the examples whose input names match their signature."""
    listed = manifest.get("examples")
    examples = []
    for one in listed[:MAX_EXAMPLES] if isinstance(listed, list) else []:
        if not isinstance(one, dict):
            continue
        name, inputs, called = one.get("name"), one.get("inputs"), one.get("signature") or DEFAULT_SIGNATURE
        signature = signatures.get(called) if isinstance(called, str) else None
        if signature is None or not isinstance(name, str) or not isinstance(inputs, dict):
            continue
        if inputs.keys() == signature.inputs.keys() and all(isinstance(rows, list) for rows in inputs.values()):
            examples.append(SignatureExample(name, signature.name, inputs))
    return examples


def _version_paths(model: ServedVersions, number: int) -> Iterator[tuple[str, str]]:
    """Yield the paths of a version, each with the prefix of its operation names."""
    base, name = f"/v1/models/{model.name}", _operation_key(model.name)
    if number == max(model.versions):
        yield base, name
    yield f"{base}/versions/{number}", f"{name}-version-{number}"
    for label in _version_labels(model, number):
        yield f"{base}/labels/{label}", f"{name}-label-{_operation_key(label)}"


def _version_labels(model: ServedVersions, number: int) -> list[str]:
    return sorted(label for label, labelled in model.labels.items() if labelled == number)


def _request_body(schema: JsonObject, examples: list[SignatureExample]) -> JsonObject:
    named = {
        f"example-{place}": {
            "summary": one.name,
            "value": {"signature_name": one.signature, "inputs": one.inputs},
        }
        for place, one in enumerate(examples, 1)
    }
    content = {"schema": schema} | ({"examples": named} if named else {})
    return {"required": True, "content": {JSON_TYPE: content}}


def _status_path(operation: str) -> JsonObject:
    answer = _content_schema(JSON_TYPE, {"$ref": "#/components/schemas/Status"})
    return {
        "get": _get_operation(
            f"{operation}-status", "States of the versions.", answer, _error_references(*_LOOKUP_ERRORS)
        )
    }


def _metadata_path(operation: str) -> JsonObject:
    answer = _content_schema(JSON_TYPE, {"$ref": "#/components/schemas/Metadata"})
    return {
        "get": _get_operation(f"{operation}-metadata", "The signatures.", answer, _error_references(*_LOOKUP_ERRORS))
    }


def _predict_path(operation: str, key: str) -> JsonObject:
    return {
        "post": {
            "operationId": f"{operation}-predict",
            "summary": "Call the model.",
            "requestBody": {"$ref": f"#/components/requestBodies/{key}"},
            "responses": {"200": {"$ref": f"#/components/responses/{key}"}} | _error_references(*_ERROR_DESCRIPTIONS),
        }
    }


def _examples_path(operation: str, verb: str, schema: JsonObject, item: JsonObject) -> JsonObject:
    answer = {"description": "One result per example."} | _content_schema(JSON_TYPE, results_schema(item))
    return {
        "post": {
            "operationId": f"{operation}-{verb}",
            "summary": f"{verb.capitalize()} examples.",
            "requestBody": {"required": True} | _content_schema(JSON_TYPE, schema),
            "responses": {"200": answer} | _error_references(*_ERROR_DESCRIPTIONS),
        }
    }


def _get_operation(operation: str, summary: str, answer: JsonObject, others: JsonObject | None = None) -> JsonObject:
    responses = {"200": {"description": "Success."} | answer}
    responses |= {code: {"description": "Not ready."} | other for code, other in (others or {}).items()}
    return {"operationId": operation, "summary": summary, "responses": responses}


def _error_references(*codes: str) -> JsonObject:
    return {code: {"$ref": f"#/components/responses/refused-{code}"} for code in codes}


def _error_response(code: str) -> JsonObject:
    return {"description": _ERROR_DESCRIPTIONS[code]} | _content_schema(
        JSON_TYPE, {"$ref": "#/components/schemas/Error"}
    )


def _content_schema(kind: str, schema: JsonObject) -> JsonObject:
    return {"content": {kind: {"schema": schema}}}


def _state_response(word: str, *counts: str) -> JsonObject:
    properties = {"status": {"const": word}} | {key: {"type": "integer", "minimum": 1} for key in counts}
    schema = {"type": "object", "properties": properties, "required": ["status"]}
    return _content_schema(JSON_TYPE, schema)


def _is_plain_path(name: str) -> bool:
    """Return whether a path can contain a name unescaped; braces have another meaning in OpenAPI."""
    return quote(name, safe="!$&'()*+,;=@") == name


def _operation_key(name: str, number: int | None = None) -> str:
    """Return a unique name for a model or version, with characters that OpenAPI allows."""
    plain = quote(name.replace("_x", "_x5Fx"), safe="").replace("~", "%7E").replace("%", "_x")
    return plain if number is None else f"{plain}-{number}"


_STRING_SCHEMA = {"type": "string"}

_SCHEMAS = {
    "Error": {
        "type": "object",
        "properties": {"error": {"type": "string", "description": "Description of the error."}},
        "required": ["error"],
        "additionalProperties": False,
    },
    "Status": {
        "type": "object",
        "properties": {
            "model_version_status": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "version": _STRING_SCHEMA,
                        "state": {"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                        "status": {
                            "type": "object",
                            "properties": {"error_code": _STRING_SCHEMA, "error_message": _STRING_SCHEMA},
                            "required": ["error_code", "error_message"],
                        },
                    },
                    "required": ["version", "state", "status"],
                },
            }
        },
        "required": ["model_version_status"],
    },
    "Metadata": {
        "type": "object",
        "properties": {
            "model_spec": {"type": "object", "properties": {"name": _STRING_SCHEMA, "version": _STRING_SCHEMA}},
            "metadata": {"type": "object", "properties": {"signature_def": {"type": "object"}}},
        },
        "required": ["model_spec", "metadata"],
    },
}
