"""Which models and versions lie in folders.

A version is a folder `NAME/<integer>/` with a `saved_model.pb`, which exporters write last.
"""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lstm_ae.errors import ConfigError, DataError

MAX_VERSION = 2**63 - 1


class VersionPolicy(NamedTuple):
    """Which of a model's versions are served.

    Args:
        kind: "latest" (the `newest` highest), "all", or "specific" (`versions`).
    """

    kind: str = "latest"
    newest: int = 1
    versions: tuple[int, ...] = ()

    def __str__(self) -> str:
        """As `--versions` has it."""
        if self.kind == "specific":
            return ",".join(map(str, self.versions))
        return f"{self.kind} {self.newest}" if self.newest > 1 else self.kind


class ServedModel(NamedTuple):
    """What is to be served under a name: the folder of its versions, which of them, and names of some of them.

    Args:
        sure: False for a folder that cannot be read: perhaps it is no model's at all.
    """

    name: str
    base: Path
    policy: VersionPolicy = VersionPolicy()
    labels: tuple[tuple[str, int], ...] = ()
    sure: bool = True


def find_versions(base: Path) -> dict[int, Path]:
    """The folders of a model's versions by number: whole numbers up to 2**63 - 1 that hold a `saved_model.pb`."""
    found: dict[int, Path] = {}
    try:
        folders = sorted(path for path in base.iterdir() if path.name.isascii() and path.name.isdecimal())
    except (FileNotFoundError, NotADirectoryError):
        # Any other error passes: a disk that does not answer now says nothing of what is on it.
        return {}
    for folder in folders:
        # Of "01" and "1" the plain one counts.
        number = int(folder.name) if len(folder.name) < 30 else MAX_VERSION + 1
        if (
            number <= MAX_VERSION
            and (folder / "saved_model.pb").is_file()
            and found.get(number, folder).name >= folder.name
        ):
            found[number] = folder
    return {number: folder if (folder := base / str(number)).is_dir() else path for number, path in found.items()}


def choose_versions(found: Iterable[int], policy: VersionPolicy) -> set[int]:
    """The versions that a policy serves of those that are there."""
    if policy.kind == "all":
        return set(found)
    if policy.kind == "specific":
        return set(found) & set(policy.versions)
    return set(sorted(found)[-policy.newest :])


def check_served_models(models: Sequence[ServedModel]) -> None:
    """Refuse to start a server for nothing, or with labels that none could ask by.

    Raises:
        DataError: no folder holds a version that is asked for.
        ConfigError: a label is of a version that is not served.
    """
    chosen: dict[str, set[int]] = {}
    for model in models:
        # One that cannot be read now may hold any version.
        with contextlib.suppress(OSError):
            chosen[model.name] = choose_versions(find_versions(model.base), model.policy)
    if len(chosen) == len(models) and not any(chosen.values()):
        each = ", ".join(f"{model.name!r} (versions {model.policy}) in {str(model.base)!r}" for model in models)
        raise DataError(f"There is no version to serve of {each}; give versions that are there")
    for model in models:
        for label, version in model.labels:
            if version not in chosen.get(model.name, {version}):
                raise ConfigError(
                    f"The label {label!r} is for version {version} of {model.name!r}, which is not served "
                    f"(versions {model.policy}); serve it, or leave the label out"
                )


def discover_models(
    folder: Path, policy: VersionPolicy, labels: Iterable[tuple[str, str, int]] = ()
) -> list[ServedModel]:
    """The models in a folder: itself where it holds versions, else each of its folders that does.

    One of its folders that cannot be read is among them, not `sure`.

    Args:
        labels: triples of model, label and version.

    Raises:
        OSError: the folder itself cannot be read.
    """
    bases: dict[Path, bool | None] = (
        {folder.resolve(): True}
        if find_versions(folder)
        else {path: _has_versions(path) for path in _list_folder(folder)}
    )
    return [
        ServedModel(
            base.name, base, policy, tuple((label, n) for name, label, n in labels if name == base.name), bool(held)
        )
        for base, held in sorted(bases.items())
        if held is not False
    ]


def _has_versions(base: Path) -> bool | None:
    """Whether a folder holds versions; None where it cannot be read."""
    try:
        return bool(find_versions(base))
    except OSError:
        return None


def _list_folder(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
