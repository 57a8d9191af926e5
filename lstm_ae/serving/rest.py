"""TensorFlow Serving's REST interface, from a request to an answer; no server of HTTP is in here.

Source: https://www.tensorflow.org/tfx/serving/api_rest.
"""

import asyncio
import json
import re
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict

from lstm_ae.serving import metrics, openapi, web_page
from lstm_ae.serving.errors import LONGEST, Refusal, StatusCode, invalid_argument
from lstm_ae.serving.folders import LARGEST
from lstm_ae.serving.grpc_server import to_example
from lstm_ae.serving.inference import CLASSIFY, REGRESS, SentExamples, infer
from lstm_ae.serving.json_codec import (
    ExampleRequest,
    read_examples,
    read_request,
    write_answer,
    write_classification,
    write_regression,
)
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.service import Service

JSON = "application/json"

_WHICH = r"/v1/models/(?P<name>{0}+?)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>{0}+?))?"
_METHOD, _METADATA = r":(?P<method>predict|classify|regress)", r"(?P<metadata>/metadata)?"
_CALL = re.compile(_WHICH.format("[^/:]") + _METHOD, re.IGNORECASE)
_ABOUT = re.compile(_WHICH.format("[^/:]") + _METADATA, re.IGNORECASE)
# Paths arrive decoded, so that a name may contain a slash or a colon.
_CALL_ANY_NAME = re.compile(_WHICH.format(".") + _METHOD, re.IGNORECASE | re.DOTALL)
_ABOUT_ANY_NAME = re.compile(_WHICH.format(".") + _METADATA, re.IGNORECASE | re.DOTALL)

# Where `/ready` counts a version by its state.
_COUNTED = dict(zip(("LOADING", "ERROR", "SET_ASIDE"), openapi.UNAVAILABLE, strict=True)) | {"START": "loading"}


class RestRequest(NamedTuple):
    """A request as HTTP brings it.

    Args:
        path: decoded, without the query.
        headers: names in lower case.
        body: reads it, for as long as it takes; refuses one that is too large.
        client: who asks; see `client_of`.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]
    client: str = ""


class RestResponse(NamedTuple):
    """What goes back."""

    status: int
    content: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


async def respond(service: Service, asked: RestRequest) -> RestResponse:
    """The answer to any request whatever."""
    try:
        if asked.path.lower().startswith("/v1/"):
            return await _versioned(service, asked)
        return await _other(service, asked)
    except Refusal as refusal:
        return _refused(refusal)


def _refused(refusal: Refusal) -> RestResponse:
    # ASCII, so that whatever a client has sent, half a surrogate pair as well, can be said back.
    return RestResponse(refusal.http, json.dumps({"error": refusal.message}).encode())


async def _versioned(service: Service, asked: RestRequest) -> RestResponse:
    if asked.method == "POST" and (call := _matched(service, asked.path, _CALL, _CALL_ANY_NAME)):
        return await service.counted("rest", call["name"], _call(service, asked, call))
    if asked.method == "GET" and asked.path.lower() == "/v1/models":
        raise invalid_argument("Missing model name in request.")
    if asked.method == "GET" and (about := _matched(service, asked.path, _ABOUT, _ABOUT_ANY_NAME)):
        version = _version(about["version"])
        if about["metadata"]:
            return _as_json(metadata(service, about["name"], version, about["label"]))
        return _as_json(_status(service, about["name"], version, about["label"]))
    raise invalid_argument(f"Malformed request: {asked.method} {asked.path}")


def _matched(
    service: Service, path: str, pattern: re.Pattern[str], of_any_name: re.Pattern[str]
) -> re.Match[str] | None:
    """Split a path; a name with a slash or a colon counts only if a model has it."""
    if plain := pattern.fullmatch(path):
        return plain
    # Matching takes quadratic time in the worst case.
    found = of_any_name.fullmatch(path) if len(path) <= LONGEST else None
    return found if found and service.catalogue.serves(found["name"]) else None


async def _other(service: Service, asked: RestRequest) -> RestResponse:
    page = web_page.page_files() if service.page else {}
    if asked.method not in ("GET", "HEAD"):
        known = asked.path in ("/health", "/ready", "/openapi.json", openapi.METRICS) or asked.path in page
        raise Refusal(
            StatusCode.UNIMPLEMENTED, f"{asked.method} is not for {asked.path}; use GET", http=405 if known else 404
        )
    if asked.path == "/health":
        return RestResponse(200, b'{"status": "alive"}')
    if asked.path == "/ready":
        return _ready(service)
    if asked.path == openapi.METRICS:
        return RestResponse(200, service.metrics.text(), metrics.CONTENT_TYPE)
    if asked.path == "/openapi.json":
        models = openapi.served_versions(service.catalogue)
        return _as_json(await asyncio.to_thread(openapi.openapi_document, models, service.limits))
    if file := page.get(asked.path):
        return RestResponse(200, file.content, file.kind, web_page.HEADERS)
    raise Refusal(StatusCode.NOT_FOUND, f"There is nothing at {asked.path}")


def _ready(service: Service) -> RestResponse:
    """Whether requests are welcome, and how many versions are not available; not which, for anybody may ask."""
    ready = service.ready()
    counts = Counter(_COUNTED[state] for _, _, state in service.catalogue.states() if state in _COUNTED)
    return RestResponse(
        200 if ready else 503, json.dumps({"status": "ready" if ready else "not ready"} | counts).encode()
    )


async def _call(service: Service, asked: RestRequest, call: re.Match[str]) -> RestResponse:
    service.admit()
    servable = service.catalogue.find(call["name"], _version(call["version"]), call["label"])
    deadline = asyncio.get_running_loop().time() + service.limits.seconds
    async with service.limiter.enter(asked.client, deadline) as place:
        body = await place.receive(asked.body(), deadline)
        return await _answered(service, asked, call, servable, body, deadline)


async def _answered(
    service: Service, asked: RestRequest, call: re.Match[str], servable: Servable, body: bytes, deadline: float
) -> RestResponse:
    now = asyncio.get_running_loop().time
    method = call["method"].lower()
    read = (
        partial(read_request, signatures=servable.dtypes)
        if method == "predict"
        else partial(read_examples, most=service.limits.instances)
    )
    try:
        async with asyncio.timeout_at(deadline):
            if encoding := asked.headers.get("content-encoding", ""):
                body = await asyncio.to_thread(_unpacked, body, encoding, service.limits.body)
            found: Any = await service.apart.call(len(body), read, body)
    except TimeoutError:
        raise Refusal(StatusCode.DEADLINE_EXCEEDED, "The deadline has passed before the request was read") from None
    if method == "predict":
        outputs = await service.predict(servable, servable.signature(found.signature), found.inputs, deadline - now())
        size = sum(array.nbytes for array in outputs.values())
        return RestResponse(200, await service.apart.call(size, write_answer, outputs, rows=found.rows))
    examples = SentExamples(len(found.examples), partial(_serialized, found))
    if method == "classify":
        classes = await infer(service, servable, CLASSIFY, found.signature, examples, deadline - now())
        return RestResponse(200, await service.apart.call(classes.scores.nbytes, write_classification, *classes))
    values = await infer(service, servable, REGRESS, found.signature, examples, deadline - now())
    return RestResponse(200, await service.apart.call(values.nbytes, write_regression, values))


def _serialized(found: ExampleRequest) -> tuple[bytes, list[bytes]]:
    return to_example(found.context), [to_example(example) for example in found.examples]


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body, unpacked where it came as gzip; never more than the limit."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() != "gzip":
        raise Refusal(
            StatusCode.INVALID_ARGUMENT, f"Content-Encoding may be gzip or none. Received: {encoding}", http=415
        )
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(body, limit + 1)
    except zlib.error:
        raise invalid_argument("The body is said to be gzip and is not") from None
    if len(content) > limit:
        raise body_too_large(limit)
    if not unpacking.eof:
        raise invalid_argument("The gzip body is cut off")
    if unpacking.unused_data:
        raise invalid_argument("The gzip body goes on after its end; send it as one gzip member")
    return content


def body_too_large(limit: int) -> Refusal:
    """The refusal of a body over the limit."""
    return Refusal(StatusCode.INVALID_ARGUMENT, f"The body may have at most {limit} bytes", http=413)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 30 or int(text) > LARGEST:
        raise invalid_argument(f"Failed to convert version: {text} to numeric.")
    return int(text)


def _status(service: Service, name: str, version: int | None, label: str | None) -> dict[str, Any]:
    return {
        "model_version_status": [
            {
                "version": str(status.version),
                "state": status.state.name,
                "status": {"error_code": "UNKNOWN" if status.error else "OK", "error_message": status.error},
            }
            for status in service.catalogue.statuses(name, version, label)
        ]
    }


def metadata(service: Service, name: str, version: int | None, label: str | None) -> dict[str, Any]:
    """A version's signatures in the form of TensorFlow Serving's `/metadata`."""
    servable = service.catalogue.find(name, version, label)
    definitions = {
        key: MessageToDict(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for key, found in servable.definitions.items()
    }
    return {
        "model_spec": {"name": servable.name, "signature_name": "", "version": str(servable.version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _as_json(content: Mapping[str, Any]) -> RestResponse:
    return RestResponse(200, json.dumps(content, indent=1).encode() + b"\n")
