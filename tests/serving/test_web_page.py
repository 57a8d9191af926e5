"""Test the web page at / and the description of the served models."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from served_models import ask, run, save, service

from lstm_ae.serving import web_page
from lstm_ae.serving.openapi import PATH
from lstm_ae.serving.rest import RestResponse


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two versions of a model, and a model named "a b"."""
    folder = tmp_path_factory.mktemp("models")
    save(folder / "plus", 1)
    save(folder / "plus", 2)
    save(folder / "a b", 1)
    return folder


def answers(folder: Path, *requests: tuple[Any, ...]) -> list[RestResponse]:
    async def all_of_them(made: Any) -> list[RestResponse]:
        return [await ask(made, *request) for request in requests]

    found: list[RestResponse] = run(service(folder), all_of_them)
    return found


def test_api_description_lists_models_and_their_latest_versions(models: Path) -> None:
    (described,) = answers(models, ("GET", PATH))
    assert (described.status, described.kind) == (200, "application/json")
    content = json.loads(described.content)
    assert content["tags"] == [{"name": "a b", "description": "1"}, {"name": "plus", "description": "2"}]
    assert {"/v1/models/a%20b:predict", "/v1/models/plus/versions/2:predict"} <= content["paths"].keys()


KINDS = {"number": 1, "text": "a", "truth": True, "long": 2, "double": 0.5}
COLUMNS = {name: [value] for name, value in KINDS.items()} | {"text": [{"b64": "YQ=="}]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"instances": [[1.0, 2.0]]}, 200),
        ({"instances": [{"x": [1.0]}], "signature_name": "serving_default"}, 200),
        ({"inputs": {"x": [[1.0]]}, "signature_name": "whole"}, 200),
        ({"instances": [KINDS], "signature_name": "kinds"}, 200),
        ({"inputs": COLUMNS, "signature_name": "kinds"}, 200),
        ({"instances": []}, 400),
        ({"instances": [["word"]]}, 400),
        ({"inputs": {"number": [1]}, "signature_name": "kinds"}, 400),
        ({"instances": [KINDS | {"number": 0.5}], "signature_name": "kinds"}, 400),
    ],
)
def test_api_description_agrees_with_the_server(models: Path, body: Any, status: int) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the extra [dev] has it")
    path = "/v1/models/plus:predict"
    described, answer = answers(models, ("GET", PATH), ("POST", path, body))
    operation = json.loads(described.content)["paths"][path]["post"]
    request = operation["requestBody"]["content"]["application/json"]["schema"]
    response = operation["responses"]["200" if status == 200 else "default"]["content"]["application/json"]["schema"]
    assert answer.status == status
    assert jsonschema.Draft202012Validator(request).is_valid(body) == (status == 200)
    jsonschema.validate(json.loads(answer.content), response)


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


@pytest.mark.parametrize("path", ["/page/", "/page", "/page/../rest.py", "/page/%2e%2e/rest.py", "/page/none.js"])
def test_paths_outside_the_web_page_are_not_found(models: Path, path: str) -> None:
    assert [one.status for one in answers(models, ("GET", path))] == [404]


@pytest.mark.parametrize("path", ["/", "/page/main.js", PATH])
def test_web_page_files_refuse_post_and_accept_head(models: Path, path: str) -> None:
    post, head = answers(models, ("POST", path, {}), ("HEAD", path))
    assert (post.status, head.status) == (405, 200)
    assert json.loads(post.content) == {"error": f"POST is not supported for {path}. Use GET."}
