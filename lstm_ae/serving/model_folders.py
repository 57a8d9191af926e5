"""Models in folders, and which of their versions are served."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from lstm_ae.errors import ConfigError
from lstm_ae.export.layout import find_versions

# The numbers of the versions of every model to serve; empty for the latest one.
VersionPolicy = tuple[int, ...]

# The folders of versions by number and by the name of their model; None for a folder that cannot be read.
ModelVersions = Mapping[str, Mapping[int, Path] | None]


def parse_policy(text: str) -> VersionPolicy:
    """Return the versions to serve for the text of `--versions`.

    Raises:
        ConfigError: If the text is neither "latest" nor a list of numbers.
    """
    if text == "latest":
        return ()
    numbers = [item.strip() for item in text.split(",")]
    if not all(number.isascii() and number.isdecimal() and len(number) < 19 for number in numbers):
        raise ConfigError(f"--versions must be latest, or numbers separated by commas. Received: {text!r}")
    return tuple(map(int, numbers))


def choose_versions(available: Mapping[int, Path], policy: VersionPolicy) -> dict[int, Path]:
    """Return the versions that a policy serves."""
    return {number: available[number] for number in policy or sorted(available)[-1:] if number in available}


def find_models(folder: Path, policy: VersionPolicy = ()) -> dict[str, dict[int, Path] | None]:
    """Return the versions to serve of the folder itself if it contains versions, or of each subfolder that does.

    Raises:
        OSError: If the folder itself cannot be read.
    """
    if versions := find_versions(folder):
        return {folder.resolve().name: choose_versions(versions, policy)}
    models: dict[str, dict[int, Path] | None] = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for base in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            try:
                if available := find_versions(base):
                    models[base.name] = choose_versions(available, policy)
            except OSError:
                models[base.name] = None
    return models
