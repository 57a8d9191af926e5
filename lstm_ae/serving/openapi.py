"""The served models as an OpenAPI 3.1 document, from which other programs generate clients.

See https://spec.openapis.org/oas/v3.1.1.html.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from lstm_ae import __version__
from lstm_ae.arrays import Dtype
from lstm_ae.json_types import JsonObject
from lstm_ae.serving import metrics
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, Signature, TensorSpec

PATH = "/openapi.json"

# Summaries of the paths that belong to no model.
SERVER_PATHS = {
    "/health": "Health",
    "/ready": "Readiness",
    metrics.PATH: "Metrics for Prometheus",
    PATH: "This document",
}


def describe_api(servables: Iterable[Servable]) -> JsonObject:
    """Return the OpenAPI document of models.

    Args:
        servables: The latest version of each model. Each model is a tag with its version as the description.
    """
    paths = {path: {"get": _operation(summary)} for path, summary in SERVER_PATHS.items()}
    tags = []
    for servable in servables:
        tags.append({"name": servable.name, "description": str(servable.version)})
        model = f"/v1/models/{quote(servable.name, safe='')}"
        requests, responses = [], []
        for signature in servable.signatures.values():
            requests += _request_schemas(signature)
            responses += _response_schemas(signature)
        for path in (model, f"{model}/versions/{servable.version}"):
            paths[path] = {"get": _operation("Status", servable.name)}
            paths[f"{path}/metadata"] = {"get": _operation("Signatures", servable.name)}
            body = {"required": True, "content": _json({"anyOf": requests})}
            post = _operation("Outputs of a signature", servable.name, {"anyOf": responses}) | {"requestBody": body}
            paths[f"{path}:predict"] = {"post": post}
    return {
        "openapi": "3.1.1",
        "info": {"title": "Models served by lstmae", "version": __version__},
        "tags": tags,
        "paths": paths,
    }


def _operation(summary: str, model: str = "", schema: JsonObject | None = None) -> JsonObject:
    success = {"description": summary} | ({"content": _json(schema)} if schema else {})
    error = {"description": "Error", "content": _json(_object({"error": {"type": "string"}}))}
    return {"summary": summary, "tags": [model] if model else [], "responses": {"200": success, "default": error}}


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}


def _object(properties: JsonObject) -> JsonObject:
    return {"type": "object", "properties": properties, "required": [*properties]}


def _request_schemas(signature: Signature) -> list[JsonObject]:
    """Return the schemas of the column form and, if each sample is one row, of the row form."""
    forms = {"inputs": _tensors_schema(signature.inputs, optional_name=True)}
    if signature.batched:
        row = _tensors_schema(signature.inputs, skipped=1, optional_name=True)
        forms["instances"] = {"type": "array", "items": row, "minItems": 1}
    schemas = []
    for key, schema in forms.items():
        form = _object({key: schema, "signature_name": {"const": signature.name}})
        form["required"] = [key] if signature.name == DEFAULT_SIGNATURE else [key, "signature_name"]
        schemas.append(form)
    return schemas


def _response_schemas(signature: Signature) -> list[JsonObject]:
    forms = [_object({"outputs": _tensors_schema(signature.outputs)})]
    if signature.batched:
        forms.append(
            _object({"predictions": {"type": "array", "items": _tensors_schema(signature.outputs, skipped=1)}})
        )
    return forms


def _tensors_schema(tensors: Mapping[str, TensorSpec], skipped: int = 0, optional_name: bool = False) -> JsonObject:
    """Return the schema of tensors by name, or of a single tensor alone; `optional_name` also allows its name."""
    schemas = {name: _tensor_schema(spec, skipped) for name, spec in tensors.items()}
    if len(schemas) != 1:
        return _object(schemas)
    (schema,) = schemas.values()
    return {"anyOf": [schema, _object(schemas)]} if optional_name else schema


def _tensor_schema(spec: TensorSpec, skipped: int) -> JsonObject:
    """Return the schema of nested lists without the first `skipped` dimensions."""
    if spec.shape is None:
        return {}
    schema = _value_schema(spec.dtype)
    for size in reversed(spec.shape[skipped:]):
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _value_schema(dtype: Dtype) -> JsonObject:
    text: JsonObject = {"type": "string"}
    if dtype.kind == "O":
        return {"anyOf": [text, _object({"b64": text})]}
    return {"type": {"b": "boolean", "f": "number"}.get(dtype.kind, "integer")}
