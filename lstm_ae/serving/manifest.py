"""Read the manifest of an export, `assets.extra/manifest.json`, for descriptions and to detect changed files.

Missing or damaged parts are ignored and never cause a refusal, because models from other programs have no manifest.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.files import read_regular
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, Signature

MANIFEST_PATH = Path("assets.extra") / "manifest.json"

# Only these keys are published.
DESCRIBED_KEYS = ("task", "read", "metrics", "data", "licence", "symbols", "features", "created")

MAX_BYTES = 8 * 2**20

MAX_EXAMPLES = 50


class SignatureExample(NamedTuple):
    """Example inputs of a signature, as columns."""

    name: str
    signature: str
    inputs: dict[str, list[Any]]


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a version, with None for numbers that are not finite; empty if it cannot be read."""
    path = directory / MANIFEST_PATH
    try:
        text = read_regular(path, MAX_BYTES).decode()
        content = json.loads(text, parse_constant=_replace_constant, parse_float=_parse_finite)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def find_changed_files(directory: Path, manifest: Mapping[str, Any]) -> str:
    """Return a description of the first graph or weight file that differs from the manifest; "" if there is none.

    A graph with a flipped byte may still be a valid graph, so no other check detects it.
    """
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        return ""
    hashes = _hash_files(directory)
    for name, known in listed.items():
        if (name == "saved_model.pb" or name.startswith("variables/")) and hashes.get(name) != known:
            return f"{name} {'has changed' if name in hashes else 'is missing'} since the export"
    return ""


def hash_version(directory: Path) -> str:
    """Return a hash of a version's graph and weights, which does not depend on its name and number."""
    return hashlib.sha256(json.dumps(_hash_files(directory), sort_keys=True).encode()).hexdigest()


def _hash_files(directory: Path) -> dict[str, str]:
    there = [path for path in (directory / "saved_model.pb", *directory.glob("variables/*")) if path.is_file()]
    return {path.relative_to(directory).as_posix(): _sha256(path) for path in there}


def describe_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a manifest that describes its model."""
    return {key: manifest[key] for key in DESCRIBED_KEYS if manifest.get(key) is not None}


def manifest_examples(manifest: Mapping[str, Any], signatures: Mapping[str, Signature]) -> list[SignatureExample]:
    """Return the examples whose input names match their signature."""
    listed = manifest.get("examples")
    found = []
    for one in listed[:MAX_EXAMPLES] if isinstance(listed, list) else []:
        if not isinstance(one, dict):
            continue
        name, inputs, called = one.get("name"), one.get("inputs"), one.get("signature") or DEFAULT_SIGNATURE
        signature = signatures.get(called) if isinstance(called, str) else None
        if signature is None or not isinstance(name, str) or not isinstance(inputs, dict):
            continue
        if inputs.keys() == signature.inputs.keys() and all(isinstance(rows, list) for rows in inputs.values()):
            found.append(SignatureExample(name, signature.name, inputs))
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace_constant(_: str) -> None:
    return None


def _parse_finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
