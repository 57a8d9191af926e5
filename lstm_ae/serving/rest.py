"""TensorFlow Serving's REST interface, from requests to responses, without an HTTP server.

See https://www.tensorflow.org/tfx/serving/api_rest.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from google.protobuf.json_format import MessageToDict

from lstm_ae.export.layout import parse_version
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.serving import metrics, openapi, web_page
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument, unknown_label
from lstm_ae.serving.json_codec import read_predict_request, write_predictions
from lstm_ae.serving.request_handler import RequestHandler
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.threads import call_in_thread

_MODEL_PATTERN = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL_PATTERN = re.compile(_MODEL_PATTERN + ":predict", re.IGNORECASE)
_MODEL_INFO_PATTERN = re.compile(_MODEL_PATTERN + "(?P<metadata>/metadata)?", re.IGNORECASE)

JSON_TYPE = "application/json"


class RestRequest(NamedTuple):
    """An HTTP request.

    Args:
        method: The HTTP method.
        path: The decoded path without the query.
        headers: The headers with names in lower case.
        body: Function that reads the body, and refuses one that is too large.
        client: The client, see `client_key`.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]
    client: str = ""


class RestResponse(NamedTuple):
    """An HTTP response.

    Args:
        status: The status code.
        content: The body.
        kind: The media type of the body.
        headers: Pairs of name and value of further headers.
    """

    status: int
    content: bytes
    kind: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()


async def respond(handler: RequestHandler, request: RestRequest) -> RestResponse:
    """Return the response to a request; a refusal becomes an error response."""
    try:
        if request.path.lower().startswith("/v1/"):
            return await _respond_model(handler, request)
        return _respond_other(handler, request)
    except Refusal as refusal:
        return _error_response(refusal)


def _error_response(refusal: Refusal) -> RestResponse:
    # JSON in ASCII can repeat anything that a client has sent, including unpaired surrogates.
    return RestResponse(refusal.http, json.dumps({"error": refusal.message}).encode())


async def _respond_model(handler: RequestHandler, request: RestRequest) -> RestResponse:
    if request.method == "POST" and (match := _CALL_PATTERN.fullmatch(request.path)):
        return await handler.record("rest", match["name"], _respond_call(handler, request, match))
    if request.method == "GET" and request.path.lower() == "/v1/models":
        raise invalid_argument("Missing model name in request.")
    if request.method == "GET" and (match := _MODEL_INFO_PATTERN.fullmatch(request.path)):
        describe = model_metadata if match["metadata"] else _model_status
        return _json_response(describe(handler, match["name"], _parse_version(match)))
    raise invalid_argument(f"Malformed request: {request.method} {request.path}")


def _respond_other(handler: RequestHandler, request: RestRequest) -> RestResponse:
    page = web_page.load_page_files()
    if request.method not in ("GET", "HEAD"):
        is_known = request.path in openapi.SERVER_PATHS or request.path in page
        raise Refusal(
            StatusCode.UNIMPLEMENTED,
            f"{request.method} is not supported for {request.path}. Use GET.",
            http=405 if is_known else 404,
        )
    if request.path == "/health":
        return RestResponse(200, b'{"status": "alive"}')
    if request.path == "/ready":
        return _respond_ready(handler)
    if request.path == metrics.PATH:
        return RestResponse(200, handler.metrics.text(), metrics.CONTENT_TYPE)
    if request.path == openapi.PATH:
        return _json_response(openapi.describe_api(map(handler.catalog.find, handler.catalog.names())))
    if file := page.get(request.path):
        return RestResponse(200, file.content, file.kind, web_page.SECURITY_HEADERS)
    raise Refusal(StatusCode.NOT_FOUND, f"{request.path} does not exist.")


def _respond_ready(handler: RequestHandler) -> RestResponse:
    """Return whether the server is ready, and the models that are not loaded yet."""
    models = handler.catalog.missing()
    code, status = (200, "ready") if handler.ready() else (503, "not ready")
    return RestResponse(code, json.dumps({"status": status} | ({"models": models} if models else {})).encode())


async def _respond_call(handler: RequestHandler, request: RestRequest, call: re.Match[str]) -> RestResponse:
    handler.admit()
    servable = handler.catalog.find(call["name"], _parse_version(call))
    deadline = asyncio.get_running_loop().time() + handler.config.timeout
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(StatusCode.INVALID_ARGUMENT, "The body must not be compressed. Send it as it is.", http=415)
    async with handler.limiter.enter(request.client, deadline) as slot:
        body = await slot.receive(request.body(), deadline)
        return await _run_call(handler, servable, body, deadline)


async def _run_call(handler: RequestHandler, servable: Servable, body: bytes, deadline: float) -> RestResponse:
    try:
        async with asyncio.timeout_at(deadline):
            content = await call_in_thread(len(body), read_predict_request, body, servable.dtypes)
    except TimeoutError:
        raise Refusal(StatusCode.DEADLINE_EXCEEDED, "The deadline passed before the request was read.") from None
    remaining = deadline - asyncio.get_running_loop().time()
    outputs = await handler.predict(servable, servable.signature(content.signature), content.inputs, remaining)
    size = sum(array.nbytes for array in outputs.values())
    return RestResponse(200, await call_in_thread(size, write_predictions, outputs, rows=content.rows))


def body_too_large(limit: int) -> Refusal:
    """Return the refusal of a body above the limit."""
    return Refusal(StatusCode.INVALID_ARGUMENT, f"The body may have at most {limit} bytes", http=413)


def _parse_version(path: re.Match[str]) -> int | None:
    """Return the version in a path; None for the latest one."""
    if path["label"] is not None:
        raise unknown_label(path["label"])
    if path["version"] is None:
        return None
    number = parse_version(path["version"])
    if number is None:
        raise invalid_argument(f"Failed to convert version: {path['version']} to numeric.")
    return number


def _model_status(handler: RequestHandler, name: str, version: int | None) -> JsonObject:
    return {
        "model_version_status": [
            {
                "version": str(status.version),
                "state": status.state.name,
                "status": {"error_code": "UNKNOWN" if status.error else "OK", "error_message": status.error},
            }
            for status in handler.catalog.statuses(name, version)
        ]
    }


def model_metadata(handler: RequestHandler, name: str, version: int | None) -> JsonObject:
    """Return the signatures of a version in the form of TensorFlow Serving's `/metadata`.

    Args:
        handler: The handler of the requests.
        name: The name of the model.
        version: The version number; None for the highest one.

    Raises:
        Refusal: If no such version is in memory.
    """
    servable = handler.catalog.find(name, version)
    definitions = {
        key: MessageToDict(definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for key, definition in servable.definitions.items()
    }
    return {
        "model_spec": {"name": servable.name, "signature_name": "", "version": str(servable.version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _json_response(content: JsonMapping) -> RestResponse:
    return RestResponse(200, json.dumps(content, indent=1).encode() + b"\n")
