"""Test the OpenAPI document at /openapi.json and the web page at /."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_models import ask, run, save, service

from lstm_ae.export.manifest import MAX_LENIENT_BYTES, read_manifest_leniently
from lstm_ae.serving import openapi, web_page
from lstm_ae.serving import openapi as schemas
from lstm_ae.serving.config import RequestLimits
from lstm_ae.serving.model_folders import VersionPolicy
from lstm_ae.serving.openapi import SignatureExample, describe_manifest, manifest_examples
from lstm_ae.serving.rest import RestResponse
from lstm_ae.serving.signatures import Signature, TensorSpec

FLOAT, INT, TEXT = np.dtype(np.float32), np.dtype(np.int32), np.dtype(object)
ONE = Signature("serving_default", {"x": TensorSpec(FLOAT, (None, None, 4))}, {"y": TensorSpec(FLOAT, (None, 4))}, True)
TWO = Signature(
    "forecast",
    {"horizon": TensorSpec(INT, (None,)), "past": TensorSpec(FLOAT, (None, 30, 1))},
    {"future": TensorSpec(FLOAT, (None, None, 1)), "spread": TensorSpec(FLOAT, (None, None, 1))},
    True,
)
WHOLE = Signature("whole", {"x": TensorSpec(FLOAT, (None, 2))}, {"total": TensorSpec(FLOAT, ())}, False)
LIMITS = RequestLimits(instances=7, window=50, horizon=9)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two versions of a model, the second with a manifest, and a model named "a b"."""
    folder = tmp_path_factory.mktemp("models")
    save(folder / "plus", 1)
    extra = save(folder / "plus", 2) / "assets.extra"
    extra.mkdir()
    manifest = {
        "task": "toy",
        "data": {"text": "made up", "licence": "CC0"},
        "metrics": {"test": {"mse": {"value": float("nan")}}},
        "files": {"saved_model.pb": "0"},
        "examples": [{"name": "two rows", "signature": "serving_default", "inputs": {"x": [[1.0], [2.0]]}}],
    }
    (extra / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    save(folder / "a b", 1)
    return folder


def answers(folder: Path, *requests: tuple[Any, ...], page: bool = True, labels: Any = ()) -> list[RestResponse]:
    made = service(folder, VersionPolicy("all"), labels)
    made.page = page

    async def all_of_them(made: Any) -> list[RestResponse]:
        return [await ask(made, *request) for request in requests]

    found: list[RestResponse] = run(made, all_of_them)
    return found


@pytest.fixture(scope="module")
def described(models: Path) -> Any:
    """Return the OpenAPI document, with a label for the first version."""
    (found,) = answers(models, ("GET", "/openapi.json"), labels=[("plus", "old", 1), ("plus", "a b", 2)])
    assert (found.status, found.kind) == (200, "application/json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(found.content, parse_constant=refuse)


def test_openapi_describes_all_version_and_label_paths(described: Any) -> None:
    ways = ["/v1/models/plus", "/v1/models/plus/labels/old", "/v1/models/plus/versions/1", "/v1/models/plus/versions/2"]
    own = ["/health", "/monitoring/prometheus/metrics", "/openapi.json", "/ready"]
    assert sorted(described["paths"]) == own + sorted(
        way + end for way in ways for end in ("", "/metadata", ":predict")
    )
    asks = {way: described["paths"][f"{way}:predict"]["post"]["requestBody"]["$ref"].split("/")[-1] for way in ways}
    assert asks == dict(zip(ways, ["plus-2", "plus-1", "plus-1", "plus-2"], strict=True))
    names = [operation["operationId"] for path in described["paths"].values() for operation in methods(path)]
    assert len(names) == len(set(names)) == 4 + 3 * len(ways)


def methods(path: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (path[method] for method in ("get", "post") if method in path)


def test_openapi_paths_and_examples_are_served(models: Path, described: Any) -> None:
    gets = [path for path, item in described["paths"].items() if "get" in item]
    posts = [path for path, item in described["paths"].items() if "post" in item]
    example = described["components"]["requestBodies"]["plus-2"]["content"]["application/json"]["examples"]["example-1"]
    requests = [("GET", path) for path in gets] + [("POST", path, example["value"]) for path in posts]
    found = answers(models, *requests, labels=[("plus", "old", 1)])
    assert [one.status for one in found] == [200] * len(requests)
    for path, one in zip(gets, found, strict=False):
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        assert list(content) == [one.kind]
    assert {one.content for one in found[len(gets) :]} == {b'{"outputs":[[2.0],[3.0]]}'}


def test_openapi_references_resolve_and_components_are_used(described: Any) -> None:
    found = re.findall(r'"\$ref": "#/components/([^/"]+)/([^"]+)"', json.dumps(described))
    assert len(set(found)) > 10
    for kind, name in found:
        assert described["components"][kind][name]
    used = {name for kind, name in found if kind in ("requestBodies", "responses")}
    assert used == set(described["components"]["requestBodies"]) | set(described["components"]["responses"])


def test_openapi_includes_the_manifest_of_a_model(described: Any) -> None:
    assert described["paths"]["/v1/models/plus/versions/1"]["x-lstmae"] == {
        "name": "plus",
        "version": "1",
        "labels": ["old"],
    }
    told_of = {"task": "toy", "data": {"text": "made up", "licence": "CC0"}}
    told_of |= {"metrics": {"test": {"mse": {"value": None}}}}
    newest = {"name": "plus", "version": "2", "labels": []} | told_of
    assert described["paths"]["/v1/models/plus"]["x-lstmae"] == newest
    content = described["components"]["requestBodies"]["plus-2"]["content"]["application/json"]
    value = {"signature_name": "serving_default", "inputs": {"x": [[1.0], [2.0]]}}
    assert content["examples"] == {"example-1": {"summary": "two rows", "value": value}}
    assert "examples" not in described["components"]["requestBodies"]["plus-1"]["content"]["application/json"]


def test_response_schema_of_a_signature_without_outputs() -> None:
    """One unusual model must not break the description of other models."""
    odd = Signature("odd", {}, {}, batched=False)
    assert schemas.response_schema({"odd": odd})["anyOf"][0]["properties"]["outputs"]["properties"] == {}


def test_openapi_document_passes_the_validator(described: Any) -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed")
    validator.validate(described)


def test_openapi_without_models_lists_server_paths_only(tmp_path: Path) -> None:
    (found,) = answers(tmp_path, ("GET", "/openapi.json"))
    assert len(json.loads(found.content)["paths"]) == 4


def test_request_schema_with_a_single_input() -> None:
    row = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    window = {"type": "array", "items": row, "minItems": 1, "maxItems": 50}
    one = window | {"description": "float32, shape (any, 4)"}
    batch = {"type": "array", "items": window, "minItems": 1, "maxItems": 7}
    batch["description"] = "float32, shape (any, any, 4)"

    def named(schema: Any) -> Any:
        return {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}

    rows, columns = schemas.request_schema({ONE.name: ONE}, LIMITS)["anyOf"]
    assert rows["properties"] == {
        "signature_name": {"const": "serving_default"},
        "instances": {"type": "array", "items": {"anyOf": [one, named(one)]}, "minItems": 1, "maxItems": 7},
        "inputs": False,
    }
    assert columns["properties"]["inputs"] == {"anyOf": [batch, named(batch)]}
    assert (rows["required"], columns["required"]) == (["instances"], ["inputs"])


def test_request_schema_with_several_inputs_requires_signature_name() -> None:
    rows, columns = schemas.request_schema({TWO.name: TWO}, LIMITS)["anyOf"]
    assert rows["required"] == ["instances", "signature_name"]
    row = rows["properties"]["instances"]["items"]
    assert row["required"] == ["horizon", "past"]
    assert row["properties"]["horizon"] == {"type": "integer", "minimum": 0, "maximum": 9}
    assert (row["properties"]["past"]["minItems"], row["properties"]["past"]["maxItems"]) == (30, 30)
    assert columns["properties"]["inputs"]["properties"]["horizon"]["maxItems"] == 7


def test_response_schema_by_number_of_outputs() -> None:
    forms = schemas.response_schema({ONE.name: ONE, TWO.name: TWO, WHOLE.name: WHOLE})["anyOf"]
    assert [list(form["properties"]) for form in forms] == [["predictions"], ["outputs"]] * 2 + [["outputs"]]
    one, _, two, _, whole = forms
    assert one["properties"]["predictions"]["items"]["description"] == "float32, shape (4)"
    assert two["properties"]["predictions"]["items"]["required"] == ["future", "spread"]
    assert whole["properties"]["outputs"]["type"] == "number"


def test_request_schema_without_rows_allows_only_inputs() -> None:
    (form,) = schemas.request_schema({WHOLE.name: WHOLE}, LIMITS)["anyOf"]
    assert form["required"] == ["inputs", "signature_name"]


@pytest.mark.parametrize(
    ("spec", "schema"),
    [
        (TensorSpec(INT, ()), {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}),
        (TensorSpec(np.dtype(bool), ()), {"type": "boolean"}),
        (TensorSpec(np.dtype(np.float64), ()), {"type": "number"}),
        (TensorSpec(TEXT, None), {"description": "object values in lists, nested to any depth"}),
    ],
)
def test_tensor_schema_by_dtype_and_shape(spec: TensorSpec, schema: Any) -> None:
    assert schemas.tensor_schema(spec) == schema
    assert "b64" in json.dumps(schemas.tensor_schema(TensorSpec(TEXT, (2,))))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", {}),
        (b"[1]", {}),
        (b'{"task": "to', {}),
        (b"\xff\xfe", {}),
        (b"[" * 100_000, {}),
        (b'{"a": ' + b"9" * 5000 + b"}", {}),
        (b" " * (MAX_LENIENT_BYTES + 1), {}),
        (b'{"a": NaN, "b": [1e999, -Infinity, 2]}', {"a": None, "b": [None, None, 2]}),
    ],
    ids=["empty", "list", "cut off", "no text", "deep", "long number", "large", "not finite"],
)
def test_damaged_manifest_is_read_leniently(tmp_path: Path, content: bytes, found: Any) -> None:
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "manifest.json").write_bytes(content)
    assert read_manifest_leniently(tmp_path) == found


def test_missing_manifest_is_read_as_empty(tmp_path: Path) -> None:
    assert read_manifest_leniently(tmp_path) == {}
    assert describe_manifest({"task": "toy", "files": {}, "read": None}) == {"task": "toy"}


@pytest.mark.parametrize(
    "one",
    [
        7,
        {},
        {"name": 7, "inputs": {"x": [1]}},
        {"name": "a", "signature": ["serving_default"], "inputs": {"x": [1]}},
        {"name": "a", "signature": "unknown", "inputs": {"x": [1]}},
        {"name": "a", "signature": "serving_default", "inputs": [1]},
        {"name": "a", "signature": "serving_default", "inputs": {"y": [1]}},
        {"name": "a", "signature": "serving_default", "inputs": {"x": 1}},
    ],
)
def test_manifest_examples_that_do_not_match_are_omitted(one: Any) -> None:
    good = {"name": "good", "inputs": {"x": [1]}}
    assert manifest_examples({"examples": [one, good]}, {ONE.name: ONE}) == [
        SignatureExample("good", "serving_default", {"x": [1]})
    ]
    assert manifest_examples({"examples": one}, {ONE.name: ONE}) == []


@pytest.mark.parametrize("name", ["a", "a_x", "a_x5F", "a~", "a+", "a_x2B", "ä", "a/b", "a-1"])
def test_component_names_use_allowed_characters_and_are_unique(name: str) -> None:
    found = openapi._operation_key(name)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", found)
    assert bytes(re.sub("_x(..)", lambda part: chr(int(part[1], 16)), found), "latin-1").decode() == name


def test_web_page_files_are_served_with_security_headers(models: Path) -> None:
    paths = list(web_page.load_page_files())
    assert {"/", "/page/main.js", "/page/page.css", "/page/icon.svg"} <= set(paths)
    for path, found in zip(paths, answers(models, *(("GET", path) for path in paths)), strict=True):
        assert found.status == 200
        assert found.kind.startswith(("text/html", "text/css", "text/javascript", "image/svg+xml")), path
        headers = dict(found.headers)
        sources = re.findall(r"[a-z]+-src ('[a-z]+')", headers["content-security-policy"])
        assert set(sources) == {"'self'", "'none'"}
        assert headers["x-content-type-options"] == "nosniff"


def test_web_page_refers_to_no_external_hosts_or_missing_files() -> None:
    page = web_page.load_page_files()
    for path, file in page.items():
        text = file.content.decode()
        assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}, path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\sstyle=", text), path
        for name in re.findall(r"from \"\./([^\"]+)\"", text) + re.findall(r"(?:src|href)=\"page/([^\"]+)\"", text):
            assert f"/page/{name}" in page, name


def test_openapi_is_served_with_the_web_page_disabled(models: Path) -> None:
    gone, file, there = answers(models, ("GET", "/"), ("GET", "/page/main.js"), ("GET", "/openapi.json"), page=False)
    assert (gone.status, gone.content) == (404, b'{"error": "/ does not exist."}')
    assert (file.status, there.status) == (404, 200)


@pytest.mark.parametrize("path", ["/page/", "/page", "/page/../rest.py", "/page/%2e%2e/rest.py", "/page/none.js"])
def test_paths_outside_the_web_page_are_not_found(models: Path, path: str) -> None:
    assert [one.status for one in answers(models, ("GET", path))] == [404]


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/openapi.json"])
def test_web_page_files_refuse_post_and_accept_head(models: Path, path: str) -> None:
    post, head = answers(models, ("POST", path, {}), ("HEAD", path))
    assert (post.status, head.status) == (405, 200)
    assert json.loads(post.content) == {"error": f"POST is not supported for {path}. Use GET."}


def test_openapi_with_a_damaged_manifest(tmp_path: Path) -> None:
    extra = save(tmp_path / "plus") / "assets.extra"
    extra.mkdir()
    (extra / "manifest.json").write_bytes(b'{"task": "\\ud800", "examples": 3, "metrics": 1e999, "data": []}')
    (found,) = answers(tmp_path, ("GET", "/openapi.json"))
    about = json.loads(found.content)["paths"]["/v1/models/plus"]["x-lstmae"]
    assert about == {"name": "plus", "version": "1", "labels": [], "task": "\ud800", "data": []}


def test_reading_manifests_does_not_block_the_event_loop(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Request the health endpoint while a manifest is read from a slow disk."""
    made = service(models)
    ticks = 0

    async def watch(made: Any) -> RestResponse:
        nonlocal ticks
        loop = asyncio.get_running_loop()
        reading, read = asyncio.Event(), asyncio.Event()

        def slow(directory: Path) -> dict[str, Any]:
            loop.call_soon_threadsafe(reading.set)
            asyncio.run_coroutine_threadsafe(read.wait(), loop).result(10)
            return {}

        monkeypatch.setattr(openapi, "read_manifest_leniently", slow)
        asked = asyncio.create_task(ask(made, "GET", "/openapi.json"))
        await reading.wait()
        assert (await ask(made, "GET", "/health")).status == 200
        ticks += 1
        read.set()
        return await asked

    assert run(made, watch).status == 200
    assert ticks == 1
