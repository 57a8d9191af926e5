"""The web page at `/`: its files, kept in memory, the headers that restrict it to this server, and its list of models.

The page consists of plain HTML, CSS, and JavaScript in `page/` and uses the REST interface of this server only.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from lstm_ae.export.manifest import read_manifest_leniently
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.serving.catalog import ModelCatalog
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, Signature

PAGE_PREFIX = "/page/"
MODELS_PATH = "/page/models.json"

# Only these keys of a manifest are published.
MANIFEST_KEYS = ("read", "metrics", "data", "licence", "symbols", "features")

MAX_EXAMPLES = 50

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

SECURITY_HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    # Browsers must revalidate the page, so that it matches the version of the server.
    ("cache-control", "no-cache"),
)


class PageFile(NamedTuple):
    """The bytes and the media type of a file."""

    content: bytes
    kind: str


@cache
def load_page_files() -> dict[str, PageFile]:
    """Return the page's files by request path; the page itself is at `/`."""
    pages = {}
    for file in (files("lstm_ae.serving") / "page").iterdir():
        path = "/" if file.name == "index.html" else PAGE_PREFIX + file.name
        if kind := _MEDIA_TYPES.get(file.name.rpartition(".")[2]):
            pages[path] = PageFile(file.read_bytes(), kind)
    return pages


class ServedVersions(NamedTuple):
    """The versions and labels of a model in memory at one moment."""

    name: str
    versions: dict[int, Servable]
    labels: dict[str, int]


def served_versions(catalog: ModelCatalog) -> list[ServedVersions]:
    """Return the models in memory."""
    return [ServedVersions(name, catalog.versions(name), catalog.labels(name)) for name in catalog.names()]


def describe_models(models: list[ServedVersions]) -> list[JsonObject]:
    """Return the models with their versions, the newest first. This reads the manifests, so it may take a while."""
    return [
        {
            "name": model.name,
            "versions": [
                {"version": str(number), "labels": [label for label, n in sorted(model.labels.items()) if n == number]}
                | describe_version(read_manifest_leniently(servable.directory), servable.signatures)
                for number, servable in sorted(model.versions.items(), reverse=True)
            ],
        }
        for model in models
    ]


def describe_version(manifest: JsonMapping, signatures: Mapping[str, Signature]) -> JsonObject:
    """Return the part of a manifest that the page shows, and those examples whose inputs match their signature."""
    about = {key: manifest[key] for key in MANIFEST_KEYS if manifest.get(key) is not None}
    listed = manifest.get("examples")
    examples: list[JsonObject] = []
    for one in listed[:MAX_EXAMPLES] if isinstance(listed, list) else []:
        if not isinstance(one, dict):
            continue
        name, inputs, called = one.get("name"), one.get("inputs"), one.get("signature") or DEFAULT_SIGNATURE
        signature = signatures.get(called) if isinstance(called, str) else None
        if signature is None or not isinstance(name, str) or not isinstance(inputs, dict):
            continue
        if inputs.keys() == signature.inputs.keys() and all(isinstance(rows, list) for rows in inputs.values()):
            examples.append({"name": name, "signature": signature.name, "inputs": inputs})
    return about | {"examples": examples}
