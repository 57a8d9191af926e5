"""Test the web page at / and its list of models."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_models import ask, run, save, service

from lstm_ae.export.manifest import MAX_LENIENT_BYTES, read_manifest_leniently
from lstm_ae.serving import web_page
from lstm_ae.serving.model_folders import VersionPolicy
from lstm_ae.serving.rest import RestResponse
from lstm_ae.serving.signatures import Signature, TensorSpec
from lstm_ae.serving.web_page import MODELS_PATH, describe_version

SPEC = TensorSpec(np.dtype(np.float32), (None, 4))
SIGNATURES = {"serving_default": Signature("serving_default", {"x": SPEC}, {"y": SPEC}, True)}


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


def test_page_lists_models_versions_labels_and_manifests(models: Path) -> None:
    labels = [("plus", "old", 1), ("plus", "a b", 2)]
    listed, metadata = answers(models, ("GET", MODELS_PATH), ("GET", "/v1/models/plus/versions/2"), labels=labels)
    assert (listed.status, listed.kind, metadata.status) == (200, "application/json", 200)
    about = {"data": {"text": "made up", "licence": "CC0"}, "metrics": {"test": {"mse": {"value": None}}}}
    example = {"name": "two rows", "signature": "serving_default", "inputs": {"x": [[1.0], [2.0]]}}
    newest = {"version": "2", "labels": ["a b"], "examples": [example]} | about
    assert json.loads(listed.content, parse_constant=pytest.fail) == [
        {"name": "a b", "versions": [{"version": "1", "labels": [], "examples": []}]},
        {"name": "plus", "versions": [newest, {"version": "1", "labels": ["old"], "examples": []}]},
    ]


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
    assert describe_version({"licence": "CC0", "files": {}, "read": None}, {}) == {"licence": "CC0", "examples": []}


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
    matching = describe_version({"examples": [one, good]}, SIGNATURES)
    assert matching == {"examples": [good | {"signature": "serving_default"}]}
    assert describe_version({"examples": one}, SIGNATURES) == {"examples": []}


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


def test_disabled_web_page_does_not_exist(models: Path) -> None:
    found = answers(models, *(("GET", path) for path in ("/", "/page/main.js", MODELS_PATH)), page=False)
    assert [one.status for one in found] == [404] * 3
    assert found[0].content == b'{"error": "/ does not exist."}'


@pytest.mark.parametrize("path", ["/page/", "/page", "/page/../rest.py", "/page/%2e%2e/rest.py", "/page/none.js"])
def test_paths_outside_the_web_page_are_not_found(models: Path, path: str) -> None:
    assert [one.status for one in answers(models, ("GET", path))] == [404]


@pytest.mark.parametrize("path", ["/", "/page/main.js", MODELS_PATH])
def test_web_page_files_refuse_post_and_accept_head(models: Path, path: str) -> None:
    post, head = answers(models, ("POST", path, {}), ("HEAD", path))
    assert (post.status, head.status) == (405, 200)
    assert json.loads(post.content) == {"error": f"POST is not supported for {path}. Use GET."}


def test_page_lists_a_model_with_a_damaged_manifest(tmp_path: Path) -> None:
    extra = save(tmp_path / "plus") / "assets.extra"
    extra.mkdir()
    (extra / "manifest.json").write_bytes(b'{"read": "\\ud800", "examples": 3, "metrics": 1e999, "data": []}')
    (found,) = answers(tmp_path, ("GET", MODELS_PATH))
    about = {"version": "1", "labels": [], "read": "\ud800", "data": [], "examples": []}
    assert json.loads(found.content) == [{"name": "plus", "versions": [about]}]


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

        monkeypatch.setattr(web_page, "read_manifest_leniently", slow)
        asked = asyncio.create_task(ask(made, "GET", MODELS_PATH))
        await reading.wait()
        assert (await ask(made, "GET", "/health")).status == 200
        ticks += 1
        read.set()
        return await asked

    assert run(made, watch).status == 200
    assert ticks == 1
