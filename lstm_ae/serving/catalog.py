"""The catalog of served models and versions, updated from folders that are polled.

A new version is loaded and warmed up before the old one is unloaded. A version that cannot be loaded is reported and
retried while the old one remains available. A request keeps the version that it started with. If a folder cannot be
read, its versions remain in memory. Reading a folder and loading a version have time limits, so that a hanging one
does not block other models.
"""

import asyncio
import enum
import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from lstm_ae.export.layout import find_versions
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument
from lstm_ae.serving.model_folders import ServedModel, choose_versions
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.workers import JobThreads

T = TypeVar("T")

LOG = logging.getLogger(__name__)
# In seconds. A longer load no longer blocks the next one, and a folder that takes longer counts as unreadable.
LOAD_PATIENCE, SCAN_SECONDS = 10.0, 10.0


class VersionState(enum.IntEnum):
    """The life-cycle states of a version, with TensorFlow Serving's numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class VersionStatus(NamedTuple):
    """The state of a version, with the error message if its loading failed."""

    version: int
    state: VersionState
    error: str = ""


class _ModelEntry:
    """The state of a model.

    Attributes:
        serving: The versions in memory.
        statuses: The status of each current or former version.
        labels: The versions by label.
        aside: The reason why a version in memory receives no requests.
        loads: The running loads; a late one remains until it ends.
        failed: The time at which loading a version failed.
        listing: The unfinished listing of the model's folder.
        scanned: Whether the model's folder has been read.
        updating: A lock that is held during an update of the model.
    """

    def __init__(self) -> None:
        self.serving: dict[int, Servable] = {}
        self.statuses: dict[int, VersionStatus] = {}
        self.labels: dict[str, int] = {}
        self.aside: dict[int, str] = {}
        self.loads: dict[int, asyncio.Future[Servable]] = {}
        self.failed: dict[int, float] = {}
        self.listing: tuple[Path, asyncio.Future[dict[int, Path]]] | None = None
        self.scanned = False
        self.updating = asyncio.Lock()

    def answering(self) -> set[int]:
        """Return the versions that receive requests."""
        return self.serving.keys() - self.aside.keys()

    def coming(self, version: int | None) -> bool:
        """Return whether a version (any version for None) may still be loaded, or the folder has not been read."""
        return not self.scanned or any(
            status.state in (VersionState.START, VersionState.LOADING)
            for number, status in self.statuses.items()
            if version in (None, number)
        )


class ModelCatalog:
    """The versions in memory, updated by `scan` and `refresh`.

    Args:
        wanted: Function that returns the models to serve; called in every update.
        load: Function of name, version, and folder that returns a version ready for requests.
        retry: Seconds after which a failed version is loaded again.
        limit: Seconds within which a version must be loaded; a late version is served when it has loaded.
    """

    def __init__(
        self,
        wanted: Callable[[], Iterable[ServedModel]],
        load: Callable[[str, int, Path], Servable],
        retry: float = 30.0,
        limit: float = 300.0,
    ) -> None:
        self.wanted, self._load, self._retry, self._limit = wanted, load, retry, limit
        self._entries: dict[str, _ModelEntry] = {}
        self._problems: dict[str, str] = {}
        # The server is ready only when all these models are. None means that the folders have not been read.
        self._needed: set[str] | None = None
        self._models: list[ServedModel] = []
        self._listing: asyncio.Future[list[ServedModel]] | None = None
        self._reading = asyncio.Lock()
        self._updates: set[asyncio.Task[None]] = set()
        # Loading one version at a time saves memory; a hanging load does not block others after its patience has run
        # out.
        self._loader = JobThreads("loader", 1, LOAD_PATIENCE)
        self._readers = JobThreads("loader-scan", 4, 1.0)

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """Return a version in memory: the requested one, or the highest one that receives requests.

        Args:
            name: The name of the model.
            version: The version number; None for the highest one.
            label: The label of a version, which overrides `version`; None for none.

        Raises:
            Refusal: If no such version, it is still loading, or it is set aside.
        """
        entry = self._entries.get(name)
        if label is not None:
            version = self._labeled(name, label)
        which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        number = max(entry.answering() or entry.serving, default=None) if entry and version is None else version
        if entry is None or number is None or number not in entry.serving:
            if self._needed is None or (entry and entry.coming(version)):
                raise _loading_refusal(which)
            raise Refusal(StatusCode.NOT_FOUND, f"Servable not found for request: {which}")
        if reason := entry.aside.get(number):
            raise Refusal(StatusCode.UNAVAILABLE, f"Servable not available for request: {which}. {reason}")
        return entry.serving[number]

    def statuses(self, name: str, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """Return the statuses of a model's versions, in descending order.

        Args:
            name: The name of the model.
            version: The version number; None for all.
            label: The label of a version, which overrides `version`; None for none.

        Raises:
            Refusal: If there is no such model or version, or the folder has not been read.
        """
        entry = self._entries.get(name)
        if label is not None:
            version = self._labeled(name, label)
        known = entry.statuses if entry else {}
        if not known:
            if self._needed is None or (entry and entry.coming(None)):
                raise _loading_refusal(f"Latest({name})")
            raise Refusal(StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in known:
            raise Refusal(StatusCode.NOT_FOUND, f"Could not find version {version} of model {name}")
        return [known[number] for number in sorted(known, reverse=True) if version in (None, number)]

    def _labeled(self, name: str, label: str) -> int:
        """Return the version of a label.

        Raises:
            Refusal: If the label is unknown, or its version is neither in memory nor being loaded.
        """
        entry = self._entries.get(name)
        version = entry.labels.get(label) if entry else None
        if entry and version is not None and (version in entry.serving or entry.coming(version)):
            return version
        if self._needed is None or (entry and not entry.scanned):
            raise _loading_refusal(f"Label({name}, {label})")
        raise invalid_argument(f"Unrecognized servable version label: {label}")

    def names(self) -> list[str]:
        """Return the names of the models with a version in memory, sorted."""
        return sorted(filter(self.serves, self._entries))

    def versions(self, name: str) -> dict[int, Servable]:
        """Return the versions of a model in memory, by number."""
        return dict(self._entries[name].serving) if name in self._entries else {}

    def serves(self, name: str) -> bool:
        """Return whether a model has a version in memory."""
        return name in self._entries and bool(self._entries[name].serving)

    def ready(self) -> bool:
        """Return whether all models of the first scan, and those that have had a version since, can be called.

        A model that is added later and cannot be loaded only has an error in its status, since all others remain
        available.
        """
        return bool(self._needed) and not self.missing()

    def missing(self) -> list[str]:
        """Return the names of the models that keep the server from being ready."""
        return sorted(
            name for name in self._needed or () if name not in self._entries or not self._entries[name].answering()
        )

    def states(self) -> list[tuple[str, int, str]]:
        """Return the name, number, and state of every version: a name of `VersionState`, "ERROR", or "SET_ASIDE"."""
        return [
            (name, number, "SET_ASIDE" if number in entry.aside else "ERROR" if status.error else status.state.name)
            for name, entry in sorted(self._entries.items())
            for number, status in sorted(entry.statuses.items())
        ]

    def labels(self, name: str) -> dict[str, int]:
        """Return the labels whose versions are in memory."""
        entry = self._entries.get(name, _ModelEntry())
        return {label: version for label, version in entry.labels.items() if version in entry.serving}

    def set_aside(self, servable: Servable, reason: str) -> None:
        """Stop sending requests to a version until `restore` is called."""
        entry = self._entries.get(servable.name)
        if entry and entry.serving.get(servable.version) is servable:
            entry.aside[servable.version] = reason
            entry.statuses[servable.version] = VersionStatus(servable.version, VersionState.END, reason)
            LOG.error(
                "version set aside", extra={"model": servable.name, "version": servable.version, "reason": reason}
            )

    def restore(self, servable: Servable) -> None:
        """Send requests to a version again that was set aside."""
        entry = self._entries.get(servable.name)
        if entry and entry.serving.get(servable.version) is servable and entry.aside.pop(servable.version, None):
            entry.statuses[servable.version] = VersionStatus(servable.version, VersionState.AVAILABLE)
            LOG.info("version restored", extra={"model": servable.name, "version": servable.version})

    async def scan(self) -> None:
        """Read the folders and start loading new versions without waiting for them."""
        for model in await self._read_models():
            entry = self._entries[model.name]
            if not entry.updating.locked():
                update = asyncio.create_task(self._update(model))
                self._updates.add(update)
                update.add_done_callback(self._updated)

    async def refresh(self) -> None:
        """Read the folders, load new versions, and unload those that are no longer wanted."""
        ends = await asyncio.gather(*map(self._update, await self._read_models()), return_exceptions=True)
        # All models are updated before the first error is raised.
        for end in ends:
            if end is not None:
                raise end

    def close(self) -> None:
        """Stop loading without waiting for running loads."""
        for update in self._updates:
            update.cancel()
        self._loader.close()
        self._readers.close()

    async def _read_models(self) -> list[ServedModel]:
        """Return the wanted models and unload all others."""
        async with self._reading:
            self._listing = listing = self._listing or await self._readers.queue(lambda: list(self.wanted()))
            if await _wait_until_done(listing, SCAN_SECONDS):
                self._listing = None
                self._models = listing.result()
                self._problems.pop("", None)
            else:
                # One of the folders hangs, so the known models are updated separately.
                self._log_once("", "folder cannot be read", f"no response within {SCAN_SECONDS:g} s")
                if self._needed is None:
                    return []
            models = {model.name: model for model in self._models}
            if self._needed is None:
                self._needed = {model.name for model in models.values() if model.sure}
            self._needed &= set(models)
            for name in [name for name in self._entries if name not in models]:
                self._unload(name, set(self._entries[name].serving))
                del self._entries[name]
                LOG.info("model removed", extra={"model": name})
            for name in models:
                self._entries.setdefault(name, _ModelEntry())
            self._problems = {name: reason for name, reason in self._problems.items() if name in models}
            return list(models.values())

    async def _update(self, model: ServedModel) -> None:
        entry = self._entries.get(model.name)
        if entry is None:
            return
        async with entry.updating:
            try:
                if entry.listing is None or entry.listing[0] != model.base:
                    entry.listing = model.base, await self._readers.queue(partial(find_versions, model.base))
                available = await self._listed(entry.listing[1])
            except OSError as error:
                self._log_once(model.name, "folder cannot be read", str(error))
                return
            finally:
                if entry.listing and entry.listing[1].done():
                    entry.listing, entry.scanned = None, True
            chosen = choose_versions(available, model.policy)
            if chosen:
                self._problems.pop(model.name, None)
            else:
                reason = f"{model.base} contains none of the versions {model.policy}"
                self._log_once(model.name, "no version to serve", reason)
            new = sorted(chosen - set(entry.serving))
            for version in new:
                if version not in entry.failed and version not in entry.loads:
                    entry.statuses[version] = VersionStatus(version, VersionState.START)
            for label, version in model.labels:
                entry.labels.setdefault(label, version)
            ends = await asyncio.gather(
                *(self._load_version(entry, model.name, version, available[version]) for version in new)
            )
            # A label moves to its new version only when that version is in memory.
            entry.labels = {
                label: version if version in entry.serving else entry.labels.get(label, version)
                for label, version in model.labels
            }
            entry.loads = {version: load for version, load in entry.loads.items() if version in chosen}
            # Old versions remain until all new ones have been loaded.
            if all(ends) and self._entries.get(model.name) is entry:
                self._unload(model.name, set(entry.serving) - chosen)

    def _updated(self, update: "asyncio.Task[None]") -> None:
        self._updates.discard(update)
        if not update.cancelled() and (error := update.exception()):
            LOG.error("update of a model failed", exc_info=error)

    async def _listed(self, listing: "asyncio.Future[T]") -> T:
        """Return the result of a folder listing.

        Raises:
            TimeoutError: If the folder does not respond.
        """
        if not await _wait_until_done(listing, SCAN_SECONDS):
            raise TimeoutError(f"no response within {SCAN_SECONDS:g} s")
        return listing.result()

    def _log_once(self, name: str, problem: str, reason: str) -> None:
        """Log a problem, but not again in every scan."""
        if self._problems.get(name) != reason:
            self._problems[name] = reason
            LOG.warning(problem, extra={"model": name, "reason": reason})

    async def _load_version(self, entry: _ModelEntry, name: str, version: int, directory: Path) -> bool:
        if late := entry.loads.get(version):
            if not late.done():
                return False
        elif time.monotonic() - entry.failed.get(version, -math.inf) < self._retry:
            return False
        began = time.monotonic()
        try:
            load = late or await self._loader.queue(partial(self._load, name, version, directory))
            entry.loads[version] = load
            entry.statuses[version] = VersionStatus(version, VersionState.LOADING)
            if not await _wait_until_done(load, self._limit):
                raise _LateError(f"The version has not loaded within {self._limit:g} s. It will be served once it has.")
            del entry.loads[version]
            servable = load.result()
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            if isinstance(error, _LateError):
                entry.statuses[version] = VersionStatus(version, VersionState.LOADING, first)
            else:
                entry.statuses[version] = VersionStatus(version, VersionState.END, first[:500])
                entry.failed[version] = time.monotonic()
            LOG.error("version cannot be loaded", extra={"model": name, "version": version, "reason": first})
            return False
        entry.failed.pop(version, None)
        entry.serving[version] = servable
        if self._needed is not None and self._entries.get(name) is entry:
            self._needed.add(name)
        entry.statuses[version] = VersionStatus(version, VersionState.AVAILABLE)
        seconds = round(time.monotonic() - began, 3)
        LOG.info("version loaded", extra={"model": name, "version": version, "seconds": seconds})
        return True

    def _unload(self, name: str, versions: set[int]) -> None:
        entry = self._entries[name]
        for version in versions:
            del entry.serving[version]
            entry.aside.pop(version, None)
            entry.statuses[version] = VersionStatus(version, VersionState.END)
            LOG.info("version unloaded", extra={"model": name, "version": version})


class _LateError(Exception):
    """An error for a load that has not ended within its limit."""


def _loading_refusal(which: str) -> Refusal:
    return Refusal(
        StatusCode.UNAVAILABLE, f"Servable not yet available for request: {which}. It is LOADING. Try again later."
    )


async def _wait_until_done(future: "asyncio.Future[T]", seconds: float) -> bool:
    """Return whether a future ends within the given time; otherwise it is not canceled."""
    await asyncio.wait({future}, timeout=seconds)
    return future.done()
