"""Which models and versions are served: folders on disk, looked at again and again.

A new version is loaded and warmed up before the old one goes; one that cannot be loaded is reported and tried again
while the old one serves on. A request holds the version that it has found, so nothing is taken from under it. Where a
folder cannot be read, what is served of it stays as it is.
"""

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lstm_ae.serving.folders import Model, choose, versions_in
from lstm_ae.serving.refusals import Code, Refusal, invalid
from lstm_ae.serving.servable import Servable

LOG = logging.getLogger(__name__)
# What the name of the thread begins with.
LOADING = "loader"


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
        self._wrong: dict[str, str] = {}
        # The models without which there is no readiness; None before the first look.
        self._needed: set[str] | None = None
        self._looking = asyncio.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix=LOADING)

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
        """Whether all models of the first look, and those that had a version since, have one in memory.

        A model that comes later and cannot be loaded is told of in its status: all others serve on.
        """
        return bool(self._needed) and all(map(self.serves, self._needed or ()))

    def labels(self, name: str) -> dict[str, int]:
        """The labels whose versions are in memory."""
        versions = self._serving.get(name, {})
        return {label: version for label, version in self._labels.get(name, {}).items() if version in versions}

    async def refresh(self) -> None:
        """Look at the folders; load what is new, then let go what is no longer wanted."""
        async with self._looking:
            loop = asyncio.get_running_loop()
            models = {model.name: model for model in await loop.run_in_executor(self._loader, self._look)}
            if self._needed is None:
                self._needed = {model.name for model in models.values() if model.sure}
            self._needed &= set(models)
            for name in [name for name in self._statuses if name not in models]:
                self._let_go(name, set(self._serving.get(name, {})))
                self._statuses.pop(name)
                LOG.info("model gone", extra={"model": name})
            self._wrong = {name: reason for name, reason in self._wrong.items() if name in models}
            ends = await asyncio.gather(*map(self._update, models.values()), return_exceptions=True)
        # One model's failure keeps no other from its update.
        for end in ends:
            if end is not None:
                raise end

    async def follow(self, models: list[Model]) -> None:
        """Serve these models from now on.

        Raises:
            Refusal: a model has no version to serve, or a label is of one that is not served, and all stays as it was;
                or one could not be loaded.
        """
        chosen = {}
        for model in models:
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._loader, versions_in, model.base)
            except OSError as error:
                told = f"The base_path of model {model.name} cannot be read ({error.strerror or error})"
                raise Refusal(Code.FAILED_PRECONDITION, f"{told}; nothing was changed") from error
            chosen[model.name] = choose(found, model.policy)
            if not chosen[model.name]:
                told = f"Could not find any versions of model {model.name} to serve at {str(model.base)!r}"
                raise Refusal(Code.NOT_FOUND, f"{told}; nothing was changed")
            for label, version in model.labels:
                if version not in chosen[model.name]:
                    told = f"Request to assign label to version {version} of model {model.name}, which is not currently"
                    raise Refusal(
                        Code.FAILED_PRECONDITION, f"{told} available for inference ({label}); nothing was changed"
                    )
            chosen[model.name] |= set(model.policy.versions)
        self.wanted = lambda: models
        # Whoever asks anew has perhaps mended what failed.
        self._failed.clear()
        await self.refresh()
        missing = [
            f"{{{{name: {name} version: {version}}} due to error: {self._why(name, version)}}}"
            for name, versions in chosen.items()
            for version in sorted(versions - set(self._serving.get(name, {})))
        ]
        if missing:
            told = f"{len(missing)} servable(s) did not become available: {{{', '.join(missing)}}}"
            raise Refusal(Code.UNKNOWN, told)

    def close(self) -> None:
        """Load nothing more, without waiting for what is being loaded."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _why(self, name: str, version: int) -> str:
        status = self._statuses.get(name, {}).get(version)
        return status.error if status and status.error else "there is no such version"

    def _look(self) -> list[Model]:
        return list(self.wanted())

    async def _update(self, model: Model) -> None:
        if model.sure:
            self._statuses.setdefault(model.name, {})
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._loader, versions_in, model.base)
        except OSError as error:
            self._tell_once(model, "folder cannot be read", str(error))
            return
        chosen = choose(found, model.policy)
        if chosen:
            self._wrong.pop(model.name, None)
        else:
            self._tell_once(model, "no version to serve", f"{model.base} holds none of the versions {model.policy}")
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

    def _tell_once(self, model: Model, wrong: str, reason: str) -> None:
        """Not at every look."""
        if self._wrong.get(model.name) != reason:
            self._wrong[model.name] = reason
            LOG.warning(wrong, extra={"model": model.name, "reason": reason})

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
        if self._needed is not None:
            self._needed.add(name)
        self._statuses[name][version] = Status(version, State.AVAILABLE)
        seconds = round(time.monotonic() - began, 3)
        LOG.info("version loaded", extra={"model": name, "version": version, "seconds": seconds})
        return True

    def _let_go(self, name: str, versions: set[int]) -> None:
        for version in versions:
            del self._serving[name][version]
            self._statuses[name][version] = Status(version, State.END)
            LOG.info("version unloaded", extra={"model": name, "version": version})
