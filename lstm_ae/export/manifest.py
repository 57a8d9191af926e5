"""The manifest of an exported version, `assets.extra/manifest.json`, with its metadata and the SHA-256 of each file."""

import hashlib
import posixpath
from collections.abc import Mapping
from pathlib import Path

from lstm_ae.errors import DataError, UnprovenError
from lstm_ae.export.layout import GRAPH_FILE, MANIFEST_FILE, WEIGHTS_FOLDER
from lstm_ae.files import as_json, read_object, write
from lstm_ae.json_types import JsonMapping, JsonObject

FORMAT_VERSION = 1


def write_manifest(version: Path, about: JsonMapping) -> None:
    """Write the manifest of a version whose other files are complete.

    Args:
        version: The folder of the version.
        about: Metadata as JSON values.
    """
    write(version / MANIFEST_FILE, as_json({"format": FORMAT_VERSION, **about, "files": hash_files(version)}))


def read_manifest(version: Path) -> JsonObject:
    """Return the manifest of a version; empty if it has none.

    Raises:
        UnprovenError: If the manifest is damaged, of another program, or has a newer format.
    """
    path = version / MANIFEST_FILE
    if not path.exists():
        return {}
    try:
        content = read_object(path)
    except DataError as error:
        raise UnprovenError(str(error)) from error
    files, number = content.get("files"), content.get("format")
    if not isinstance(number, int) or not isinstance(files, dict):
        raise UnprovenError(f"{str(path)!r} lacks 'format' or 'files'. Remove it, or export the model again.")
    if number > FORMAT_VERSION:
        raise UnprovenError(f"{str(path)!r} has format {number}, newer than {FORMAT_VERSION}. Update lstm-ae.")
    return content


def require_unchanged_files(version: Path, manifest: JsonMapping) -> None:
    """Raise `UnprovenError` if a file is missing, has changed, or is not in the manifest."""
    if change := _describe_change(hash_files(version), manifest["files"]):
        raise UnprovenError(f"{str(version)!r}: {change}. Export the model again.")


def describe_changed_model(version: Path, manifest: JsonMapping) -> str:
    """Return a description of the first graph or weight file that differs from the manifest; "" if there is none.

    A graph with a flipped byte may still be a valid graph, so no other check detects it.
    """
    listed = manifest.get("files", {})
    # A manifest of others may name files outside of the version.
    listed = {name: listed[name] for name in listed if name == GRAPH_FILE or posixpath.dirname(name) == WEIGHTS_FOLDER}
    hashes = {name: _sha256(path) for name in listed if (path := version / name).is_file()}
    return _describe_change(hashes, listed)


def hash_files(version: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a version except the manifest, by its path within the version.

    Raises:
        UnprovenError: If an entry is neither a file nor a folder.
    """
    hashes = {}
    for path in sorted(version.rglob("*")):
        name = path.relative_to(version).as_posix()
        if not path.is_file() and not path.is_dir():
            raise UnprovenError(f"{str(path)!r} is not a regular file. Export the model again.")
        if path.is_file() and name != MANIFEST_FILE:
            hashes[name] = _sha256(path)
    return hashes


def _describe_change(hashes: Mapping[str, str], listed: JsonMapping) -> str:
    """Return a description of the first file whose hash is not the listed one; "" if there is none."""
    for name in sorted({*hashes, *listed}):
        if name not in hashes:
            return f"{name} is missing since the export"
        if name not in listed:
            return f"{name} is not in the manifest"
        if hashes[name] != listed[name]:
            return f"{name} has changed since the export"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
