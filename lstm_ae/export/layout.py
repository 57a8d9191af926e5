"""File names in an exported version, and the numbers of versions.

    NAME/<number>/saved_model.pb, variables/, fingerprint.pb
    NAME/<number>/assets.extra/manifest.json, tf_serving_warmup_requests, and optionally model.onnx, model.tflite

TensorFlow and TensorFlow Serving ignore unknown files in `assets.extra`, which are renamed with their version.
"""

from pathlib import Path

# Exporters write this file last.
GRAPH_FILE = "saved_model.pb"

WEIGHTS_FOLDER = "variables"

EXTRA_FOLDER = "assets.extra"

MANIFEST_FILE = f"{EXTRA_FOLDER}/manifest.json"

WARMUP_FILE = f"{EXTRA_FOLDER}/tf_serving_warmup_requests"

ONNX_FILE = f"{EXTRA_FOLDER}/model.onnx"

LITERT_FILE = f"{EXTRA_FOLDER}/model.tflite"

# Servers store version numbers in signed 64-bit integers.
MAX_VERSION = 2**63 - 1


def parse_version(name: str) -> int | None:
    """Return the version number that a folder name or a text stands for; None if it is no version number."""
    # Python refuses to convert very long numbers.
    if not (name.isascii() and name.isdecimal() and len(name) < 30):
        return None
    return number if (number := int(name)) <= MAX_VERSION else None


def list_versions(base: Path) -> list[tuple[int, Path]]:
    """Return the number and path of everything in a folder that is named like a version, complete or not.

    The order is ascending; of equal numbers, the name with the fewest zeros comes last.

    Raises:
        OSError: If the folder cannot be read.
    """
    versions = [(number, path) for path in base.iterdir() if (number := parse_version(path.name)) is not None]
    return sorted(versions, key=lambda one: (one[0], -len(one[1].name)))


def find_versions(base: Path) -> dict[int, Path]:
    """Return the folders of a model's complete versions by number.

    If there are both "01" and "1", the name without leading zeros is used.

    Raises:
        OSError: If the folder exists but cannot be read.
    """
    try:
        listed = list_versions(base)
    except (FileNotFoundError, NotADirectoryError):
        # Other errors are raised: a disk that is unavailable now may still contain versions.
        return {}
    # Of equal numbers, the last one remains.
    return {number: path for number, path in listed if (path / GRAPH_FILE).is_file()}
