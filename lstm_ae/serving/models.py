"""Which models and versions are served: folders on disk, looked at again and again.

A version is a folder `NAME/<integer>/` with a `saved_model.pb`, which exporters write last. A new version is loaded
and warmed up before the old one goes; one that cannot be loaded is reported and tried again while the old one serves
on. A request holds the version that it has found, so nothing is taken from under it.
"""

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lstm_ae.serving.refusals import Code, Refusal, invalid
from lstm_ae.serving.servable import Servable

LOG = logging.getLogger(__name__)
LARGEST = 2**63 - 1


class Policy(NamedTuple):
    """Which of a model's versions are served.

    Args:
        kind: "latest" (the `newest` highest), "all", or "specific" (`versions`).
    """

    kind: str = "latest"
    newest: int = 1
    versions: tuple[int, ...] = ()


class Model(NamedTuple):
    """What is to be served under a name: the folder of its versions, which of them, and names of some of them."""

    name: str
    base: Path
    policy: Policy = Policy()
    labels: tuple[tuple[str, int], ...] = ()


class State(enum.IntEnum):
    """Where a version is in its life, numbered as TensorFlow Serving numbers it."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Status(NamedTuple):
    """A version's state and, where its loading failed, why."""

    version: int
    state: State
    error: str = ""


class Catalogue:
    """The versions in memory, brought up to date by `refresh`.

    Args:
        wanted: says anew at every look which models are to be served.
        load: from name, version and folder to a version that is ready to answer.
        retry: seconds after which a version that could not be loaded is tried again.
    """

    def __init__(
        self,
        wanted: Callable[[], Iterable[Model]],
        load: Callable[[str, int, Path], Servable],
        retry: float = 30.0,
    ) -> None:
        self.wanted, self._load, self._retry = wanted, load, retry
        self._serving: dict[str, dict[int, Servable]] = {}
        self._statuses: dict[str, dict[int, Status]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._failed: dict[tuple[str, int], float] = {}
        self._looking = asyncio.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """A version that is in memory: the one asked for, or the highest."""
        versions = self._serving.get(name, {})
        if label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None or version not in versions:
                raise invalid(f"Unrecognized servable version label: {label}")
        if version is None:
            if not versions:
                raise Refusal(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")
            return versions[max(versions)]
        if version not in versions:
            raise Refusal(Code.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        return versions[version]

    def statuses(self, name: str, version: int | None = None, label: str | None = None) -> list[Status]:
        """What has become of a model's versions, the highest first."""
        if label is not None:
            version = self.find(name, label=label).version
        known = self._statuses.get(name, {})
        if not known:
            raise Refusal(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in known:
            raise Refusal(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        return [known[number] for number in sorted(known, reverse=True) if version in (None, number)]

    def names(self) -> list[str]:
        """The models of which a version is in memory."""
        return sorted(name for name, versions in self._serving.items() if versions)

    def versions(self, name: str) -> dict[int, Servable]:
        """A model's versions in memory."""
        return dict(self._serving.get(name, {}))

    def serves(self, name: str) -> bool:
        """Whether a version of the model is in memory."""
        return bool(self._serving.get(name))

    def ready(self) -> bool:
        """Whether every model that is wanted has a version in memory."""
        return bool(self._statuses) and all(map(self.serves, self._statuses))

    def labels(self, name: str) -> dict[str, int]:
        """The labels whose versions are in memory."""
        versions = self._serving.get(name, {})
        return {label: version for label, version in self._labels.get(name, {}).items() if version in versions}

    async def refresh(self) -> None:
        """Look at the folders; load what is new, then let go what is no longer wanted."""
        async with self._looking:
            loop = asyncio.get_running_loop()
            models = {model.name: model for model in await loop.run_in_executor(self._loader, self._look)}
            for name in [name for name in self._statuses if name not in models]:
                self._let_go(name, set(self._serving.get(name, {})))
                self._statuses.pop(name)
                LOG.info("model gone", extra={"model": name})
            await asyncio.gather(*(self._update(model) for model in models.values()))

    def _look(self) -> list[Model]:
        return list(self.wanted())

    async def _update(self, model: Model) -> None:
        found = await asyncio.get_running_loop().run_in_executor(self._loader, versions_in, model.base)
        chosen = choose(found, model.policy)
        serving = self._serving.setdefault(model.name, {})
        self._statuses.setdefault(model.name, {})
        failed = False
        for version in sorted(chosen - set(serving)):
            failed |= not await self._bring_in(model.name, version, found[version])
        # A label goes over to its new version once that can answer.
        before = self._labels.get(model.name, {})
        self._labels[model.name] = {
            label: version if version in serving else before.get(label, version) for label, version in model.labels
        }
        # What is served stays until what replaces it is there; what nothing replaces goes.
        if not failed:
            self._let_go(model.name, set(serving) - chosen)

    async def _bring_in(self, name: str, version: int, directory: Path) -> bool:
        if time.monotonic() - self._failed.get((name, version), -self._retry) < self._retry:
            return False
        self._statuses[name][version] = Status(version, State.LOADING)
        began = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            servable = await loop.run_in_executor(self._loader, self._load, name, version, directory)
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._statuses[name][version] = Status(version, State.END, first[:500])
            self._failed[name, version] = time.monotonic()
            LOG.error("version cannot be loaded", extra={"model": name, "version": version, "reason": first})
            return False
        self._failed.pop((name, version), None)
        self._serving[name][version] = servable
        self._statuses[name][version] = Status(version, State.AVAILABLE)
        seconds = round(time.monotonic() - began, 3)
        LOG.info("version loaded", extra={"model": name, "version": version, "seconds": seconds})
        return True

    def _let_go(self, name: str, versions: set[int]) -> None:
        for version in versions:
            del self._serving[name][version]
            self._statuses[name][version] = Status(version, State.END)
            LOG.info("version unloaded", extra={"model": name, "version": version})


def versions_in(base: Path) -> dict[int, Path]:
    """The folders of a model's versions by number: whole numbers up to 2**63 - 1 that hold a `saved_model.pb`."""
    found: dict[int, Path] = {}
    try:
        folders = sorted(path for path in base.iterdir() if path.name.isascii() and path.name.isdecimal())
    except (FileNotFoundError, NotADirectoryError):
        # Any other error passes: a disk that does not answer now says nothing of what is on it.
        return {}
    for folder in folders:
        # Of "01" and "1" the plain one counts.
        number = int(folder.name) if len(folder.name) < 30 else LARGEST + 1
        if (
            number <= LARGEST
            and (folder / "saved_model.pb").is_file()
            and found.get(number, folder).name >= folder.name
        ):
            found[number] = folder
    return {number: folder if (folder := base / str(number)).is_dir() else path for number, path in found.items()}


def choose(found: Iterable[int], policy: Policy) -> set[int]:
    """The versions that a policy serves of those that are there."""
    if policy.kind == "all":
        return set(found)
    if policy.kind == "specific":
        return set(found) & set(policy.versions)
    return set(sorted(found)[-policy.newest :])


def discover(folder: Path, policy: Policy, labels: Iterable[tuple[str, str, int]] = ()) -> list[Model]:
    """The models in a folder: itself where it holds versions, else each of its folders that does.

    Args:
        labels: triples of model, label and version.
    """
    bases = [folder.resolve()] if versions_in(folder) else sorted(path for path in _inside(folder) if versions_in(path))
    named = [(base.name, base) for base in bases]
    return [
        Model(name, base, policy, tuple((label, number) for model, label, number in labels if model == name))
        for name, base in named
    ]


def _inside(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
