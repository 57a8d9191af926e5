"""The manifest of an exported version, `assets.extra/manifest.json`, with its metadata and the SHA-256 of each file.

TensorFlow and TensorFlow Serving ignore the files in `assets.extra`, which are renamed with their version.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_ae.errors import DataError, UnprovenError
from lstm_ae.files import as_json, read_object, write

EXTRA_FOLDER = "assets.extra"

MANIFEST_FILE = f"{EXTRA_FOLDER}/manifest.json"

FORMAT_VERSION = 1


def write_manifest(version: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest of a version whose other files are complete.

    Args:
        version: The folder of the version.
        about: Metadata as JSON values.
    """
    write(version / MANIFEST_FILE, as_json({"format": FORMAT_VERSION, **about, "files": hash_files(version)}))


def read_manifest(version: Path) -> dict[str, Any] | None:
    """Return the manifest of a version; None if it has none.

    Raises:
        UnprovenError: If the manifest is damaged or has a newer format.
    """
    path = version / MANIFEST_FILE
    if not path.exists():
        return None
    try:
        content = read_object(path)
    except DataError as error:
        raise UnprovenError(str(error)) from error
    files, number = content.get("files"), content.get("format")
    if not isinstance(number, int) or not isinstance(files, dict):
        raise UnprovenError(f"{str(path)!r} is no manifest: it must hold 'format' and 'files'; export the model again")
    if number > FORMAT_VERSION:
        raise UnprovenError(f"{str(path)!r} has format {number}, newer than this version knows; update lstm-ae")
    return content


def require_unchanged_files(version: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `UnprovenError` if a file is missing, has changed, or is not in the manifest."""
    there, listed = hash_files(version), manifest["files"]
    for name in sorted(set(there) | set(listed)):
        if there.get(name) != listed.get(name):
            what = "is missing" if name not in there else "is not in the manifest" if name not in listed else "changed"
            raise UnprovenError(f"{str(version / name)!r} {what} since the export; export the model again")


def hash_files(version: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a version except the manifest, by its path within the version."""
    paths = sorted(path for path in version.rglob("*") if not path.is_dir())
    return {name: _sha256(path) for path in paths if (name := path.relative_to(version).as_posix()) != MANIFEST_FILE}


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise UnprovenError(f"{str(path)!r} is not a file; export the model again")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
