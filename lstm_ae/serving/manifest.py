"""What an export says of itself, `assets.extra/manifest.json`, read for people and to find files that have changed.

Whatever of it is missing or damaged is left out, and nothing is refused for that: other people's models have none.
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

# What is told of a model.
DESCRIBED_KEYS = ("task", "read", "metrics", "data", "licence", "symbols", "features", "created")

MAX_BYTES = 8 * 2**20

MAX_EXAMPLES = 50


class SignatureExample(NamedTuple):
    """Inputs to try a signature with, as columns."""

    name: str
    signature: str
    inputs: dict[str, list[Any]]


def read_manifest(directory: Path) -> dict[str, Any]:
    """A version's manifest, numbers that are not finite as None; empty where it has none or it cannot be read."""
    path = directory / MANIFEST_PATH
    try:
        text = read_regular(path, MAX_BYTES).decode()
        content = json.loads(text, parse_constant=_replace_constant, parse_float=_parse_finite)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def find_changed_files(directory: Path, manifest: Mapping[str, Any]) -> str:
    """What of a version's graph and weights is not as its manifest says, in words; empty where all of it is.

    A flipped byte of the graph is a graph all the same: nothing else would notice.
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
    """What tells a version's graph and weights from any other's, whatever name and number they have."""
    return hashlib.sha256(json.dumps(_hash_files(directory), sort_keys=True).encode()).hexdigest()


def _hash_files(directory: Path) -> dict[str, str]:
    there = [path for path in (directory / "saved_model.pb", *directory.glob("variables/*")) if path.is_file()]
    return {path.relative_to(directory).as_posix(): _sha256(path) for path in there}


def describe_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest tells people of its model."""
    return {key: manifest[key] for key in DESCRIBED_KEYS if manifest.get(key) is not None}


def manifest_examples(manifest: Mapping[str, Any], signatures: Mapping[str, Signature]) -> list[SignatureExample]:
    """The examples that fit a signature by the names of their inputs."""
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
