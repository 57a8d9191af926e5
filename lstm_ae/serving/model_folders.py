"""Models in folders, and the rules for which of their versions are served."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.export.layout import find_versions


class VersionPolicy(NamedTuple):
    """The rule for which versions of a model are served.

    Args:
        kind: "latest" (the highest one), "all", or "specific" (`versions`).
        versions: The version numbers for "specific".
    """

    kind: str = "latest"
    versions: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return the policy in the form of `--versions`."""
        return ",".join(map(str, self.versions)) if self.kind == "specific" else self.kind


class ServedModel(NamedTuple):
    """A model to serve.

    Args:
        name: The name of the model.
        base: The folder of its versions.
        policy: The rule for which versions are served.
        labels: Pairs of label and version.
        sure: False for a folder that cannot be read and may not contain a model.
    """

    name: str
    base: Path
    policy: VersionPolicy = VersionPolicy()
    labels: tuple[tuple[str, int], ...] = ()
    sure: bool = True


def choose_versions(available: Iterable[int], policy: VersionPolicy) -> set[int]:
    """Return the versions that a policy serves."""
    if policy.kind == "all":
        return set(available)
    if policy.kind == "specific":
        return set(available) & set(policy.versions)
    return set(sorted(available)[-1:])


def check_served_models(models: Sequence[ServedModel]) -> None:
    """Check that there is a version to serve and that every label refers to a served version.

    Raises:
        DataError: If no folder contains a selected version.
        ConfigError: If a label refers to a version that is not served.
    """
    chosen: dict[str, set[int]] = {}
    for model in models:
        # A folder that cannot be read now may contain any version.
        with contextlib.suppress(OSError):
            chosen[model.name] = choose_versions(find_versions(model.base), model.policy)
    if len(chosen) == len(models) and not any(chosen.values()):
        each = ", ".join(f"{model.name!r} (versions {model.policy}) in {str(model.base)!r}" for model in models)
        raise DataError(f"No version to serve: {each}. Choose versions that exist.", code=Code.MODEL_UNUSABLE)
    for model in models:
        for label, version in model.labels:
            if version not in chosen.get(model.name, {version}):
                raise ConfigError(
                    f"The label {label!r} refers to version {version} of {model.name!r}, which is not served "
                    f"(versions {model.policy}). Serve it, or remove the label.",
                    code=Code.SERVING_CONFIG,
                )


def discover_models(
    folder: Path, policy: VersionPolicy, labels: Iterable[tuple[str, str, int]] = ()
) -> list[ServedModel]:
    """Return the models in a folder: the folder itself if it contains versions, otherwise each subfolder that does.

    Subfolders that cannot be read are included with `sure=False`.

    Args:
        folder: The folder.
        policy: The policy of all models.
        labels: Triples of model, label, and version.

    Raises:
        OSError: If the folder itself cannot be read.
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
    """Return whether a folder contains versions; None if it cannot be read."""
    try:
        return bool(find_versions(base))
    except OSError:
        return None


def _list_folder(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
