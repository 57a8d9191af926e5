"""`/openapi.json`: what this server serves at the moment, as OpenAPI 3.1.

Every path of every version in memory is written out, since each has a schema of its own. What an export says of itself
(its data, licence, metrics) stands as `x-lstmae` at the path of its model.
Source: https://spec.openapis.org/oas/v3.1.1.html.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from lstm_ae import __version__
from lstm_ae.serving import schemas
from lstm_ae.serving.inference import CLASSIFY, REGRESS
from lstm_ae.serving.manifests import examples, read_manifest, told
from lstm_ae.serving.metrics import CONTENT_TYPE
from lstm_ae.serving.models import Catalogue
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.service import Limits

JSON = "application/json"
METRICS = "/monitoring/prometheus/metrics"
# What `/ready` counts.
UNAVAILABLE = ("loading", "failed", "set_aside")

_REFUSALS = {
    "400": "The request is not what the model takes, or names a signature, label or version that is not there.",
    "404": "The model, or the version, is not in memory.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is packed in a way that is not known; it may be plain or gzip.",
    "429": "The model has run out of a resource.",
    "500": "The model failed, or the server did.",
    "503": "The model is loading or set aside, the queue is full, or the server is about to stop; try again later.",
    "504": "There was no answer within the time limit.",
}
_ASKING = ("400", "404")
# The method, and the schema of one example's result, by the verb of the path.
_PAIR = {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2, "maxItems": 2}
_OF_EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "classify": (CLASSIFY, {"type": "array", "items": _PAIR, "description": "label and score of each class"}),
    "regress": (REGRESS, {"type": "number"}),
}


class Served(NamedTuple):
    """A model's versions and labels in memory, at one moment."""

    name: str
    versions: dict[int, Servable]
    labels: dict[str, int]


def served(catalogue: Catalogue) -> list[Served]:
    """What is in memory and can be asked for by a path: names that a path cannot hold as they are are left out."""
    return [
        Served(name, catalogue.versions(name), {key: n for key, n in catalogue.labels(name).items() if _plain(key)})
        for name in catalogue.names()
        if _plain(name)
    ]


def document(models: list[Served], limits: Limits) -> dict[str, Any]:
    """The description; reads the manifests, so it may take a while."""
    paths: dict[str, Any] = {
        "/health": {"get": _get("health", "Whether the server lives.", _state("alive"))},
        "/ready": {
            "get": _get(
                "ready",
                "Whether every model of the start can be called, and how many versions are not available.",
                _state("ready", *UNAVAILABLE),
                {"503": _state("not ready", *UNAVAILABLE)},
            )
        },
        METRICS: {"get": _get("metrics", "Counters for Prometheus.", _content(CONTENT_TYPE, {"type": "string"}))},
        "/openapi.json": {"get": _get("openapi", "This description.", _content(JSON, {"type": "object"}))},
    }
    bodies: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for model in models:
        for number, servable in model.versions.items():
            key, manifest = _key(model.name, number), read_manifest(servable.directory)
            found = examples(manifest, servable.signatures)
            bodies[key] = _body(schemas.request(servable.signatures, limits), found)
            answers[key] = {"description": "What the model says."} | _content(JSON, schemas.answer(servable.signatures))
            about = {"name": model.name, "version": str(number), "labels": _labels(model, number)} | told(manifest)
            for path, operation in _ways(model, number):
                paths[path] = {"x-lstmae": about} | _status(operation)
                paths[f"{path}/metadata"] = _metadata(operation)
                paths[f"{path}:predict"] = _predict(operation, key)
                for verb, (method, item) in _OF_EXAMPLES.items():
                    if names := [one.name for one in servable.signatures.values() if one.method == method]:
                        paths[f"{path}:{verb}"] = _examples(operation, verb, schemas.examples(names, limits), item)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Models served by lstmae",
            "version": __version__,
            "summary": "TensorFlow Serving's REST interface.",
            "description": "Besides JSON's numbers the words NaN and Infinity are read and written for these numbers. "
            "Nested lists must be of one shape throughout. Paths may be written in any case.",
        },
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "requestBodies": bodies,
            "responses": answers | {f"refused-{code}": _refused(code) for code in _REFUSALS},
        },
    }


def _ways(model: Served, number: int) -> Iterator[tuple[str, str]]:
    """Paths that lead to a version, each with the start of its operations' names."""
    base, name = f"/v1/models/{model.name}", _key(model.name)
    if number == max(model.versions):
        yield base, name
    yield f"{base}/versions/{number}", f"{name}-version-{number}"
    for label in _labels(model, number):
        yield f"{base}/labels/{label}", f"{name}-label-{_key(label)}"


def _labels(model: Served, number: int) -> list[str]:
    return sorted(label for label, labelled in model.labels.items() if labelled == number)


def _body(schema: dict[str, Any], found: list[Any]) -> dict[str, Any]:
    named = {
        f"example-{place}": {
            "summary": one.name,
            "value": {"signature_name": one.signature, "inputs": one.inputs},
        }
        for place, one in enumerate(found, 1)
    }
    content = {"schema": schema} | ({"examples": named} if named else {})
    return {"required": True, "content": {JSON: content}}


def _status(operation: str) -> dict[str, Any]:
    answer = _content(JSON, {"$ref": "#/components/schemas/Status"})
    return {"get": _get(f"{operation}-status", "What has become of the versions.", answer, _refusals(*_ASKING))}


def _metadata(operation: str) -> dict[str, Any]:
    answer = _content(JSON, {"$ref": "#/components/schemas/Metadata"})
    return {"get": _get(f"{operation}-metadata", "The signatures.", answer, _refusals(*_ASKING))}


def _predict(operation: str, key: str) -> dict[str, Any]:
    return {
        "post": {
            "operationId": f"{operation}-predict",
            "summary": "Ask the model.",
            "requestBody": {"$ref": f"#/components/requestBodies/{key}"},
            "responses": {"200": {"$ref": f"#/components/responses/{key}"}} | _refusals(*_REFUSALS),
        }
    }


def _examples(operation: str, verb: str, schema: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": "One result per example."} | _content(JSON, schemas.results(item))
    return {
        "post": {
            "operationId": f"{operation}-{verb}",
            "summary": f"{verb.capitalize()} examples.",
            "requestBody": {"required": True} | _content(JSON, schema),
            "responses": {"200": answer} | _refusals(*_REFUSALS),
        }
    }


def _get(operation: str, summary: str, answer: dict[str, Any], others: dict[str, Any] | None = None) -> dict[str, Any]:
    responses = {"200": {"description": "As asked."} | answer}
    responses |= {code: {"description": "Not now."} | other for code, other in (others or {}).items()}
    return {"operationId": operation, "summary": summary, "responses": responses}


def _refusals(*codes: str) -> dict[str, Any]:
    return {code: {"$ref": f"#/components/responses/refused-{code}"} for code in codes}


def _refused(code: str) -> dict[str, Any]:
    return {"description": _REFUSALS[code]} | _content(JSON, {"$ref": "#/components/schemas/Error"})


def _content(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {kind: {"schema": schema}}}


def _state(word: str, *counts: str) -> dict[str, Any]:
    properties = {"status": {"const": word}} | {key: {"type": "integer", "minimum": 1} for key in counts}
    schema = {"type": "object", "properties": properties, "required": ["status"]}
    return _content(JSON, schema)


def _plain(name: str) -> bool:
    """Whether a path says the name as it is; braces mean something else in OpenAPI."""
    return quote(name, safe="!$&'()*+,;=@") == name


def _key(name: str, number: int | None = None) -> str:
    """A name of its own for a model's version, of the letters that OpenAPI allows."""
    plain = quote(name.replace("_x", "_x5Fx"), safe="").replace("~", "%7E").replace("%", "_x")
    return plain if number is None else f"{plain}-{number}"


_TEXTS = {"type": "string"}
_SCHEMAS = {
    "Error": {
        "type": "object",
        "properties": {"error": {"type": "string", "description": "What is wrong, in a sentence."}},
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
                        "version": _TEXTS,
                        "state": {"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                        "status": {
                            "type": "object",
                            "properties": {"error_code": _TEXTS, "error_message": _TEXTS},
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
            "model_spec": {"type": "object", "properties": {"name": _TEXTS, "version": _TEXTS}},
            "metadata": {"type": "object", "properties": {"signature_def": {"type": "object"}}},
        },
        "required": ["model_spec", "metadata"],
    },
}
