"""The catalog of served models and versions, updated from folders that are polled.

A new version is loaded and warmed up before the old one is unloaded. A version that cannot be loaded is reported and
retried while the old one remains available. A request keeps the version that it started with. If a folder cannot be
read, its versions remain in memory.
"""

import asyncio
import enum
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.model_folders import ModelVersions
from lstm_ae.serving.servable import Servable

LOG = logging.getLogger(__name__)
# In seconds. A longer load no longer blocks the next one.
LOAD_PATIENCE = 10.0
# Loads that never end keep their threads.
LOAD_THREADS = 256


class VersionState(enum.IntEnum):
    """The life-cycle states of a version, with TensorFlow Serving's numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    END = 50


class VersionStatus(NamedTuple):
    """The state of a version, with an error message after a failed load."""

    version: int
    state: VersionState
    error: str = ""


class _ModelEntry:
    """The state of a model.

    Attributes:
        is_needed: Whether the server is ready only when this model is.
        serving: The versions in memory.
        statuses: The status of each current or former version.
        failed: The time of the last failed load by version.
        is_updating: Whether an update of the model runs.
    """

    def __init__(self, needed: bool) -> None:
        self.is_needed, self.is_updating = needed, False
        self.serving: dict[int, Servable] = {}
        self.statuses: dict[int, VersionStatus] = {}
        self.failed: dict[int, float] = {}

    def is_coming(self, version: int | None) -> bool:
        """Return whether a version, or any version for None, is waiting or loading."""
        return any(
            status.state in (VersionState.START, VersionState.LOADING)
            for number, status in self.statuses.items()
            if version in (None, number)
        )


class ModelCatalog:
    """The versions in memory, updated by `scan`.

    Args:
        find: Function that returns the versions to serve; called in every scan.
        load: Function of name, version, and folder that returns a version ready for requests.
        retry: Seconds after which a failed version is loaded again.
    """

    def __init__(
        self,
        find: Callable[[], ModelVersions],
        load: Callable[[str, int, Path], Servable],
        retry: float = 30.0,
    ) -> None:
        self._find, self._load, self._retry = find, load, retry
        self._entries: dict[str, _ModelEntry] = {}
        self._problems: dict[str, str] = {}
        self._scanned = False
        self._updates: set[asyncio.Task[None]] = set()
        self._loader = ThreadPoolExecutor(LOAD_THREADS, "loader")
        # Loading one version at a time saves memory.
        self._loading = asyncio.Lock()

    def find(self, name: str, version: int | None = None) -> Servable:
        """Return a version in memory: the requested one, or the highest one for None.

        Raises:
            Refusal: If there is no such version, or it is still loading.
        """
        entry = self._entries.get(name)
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        number = max(entry.serving, default=None) if entry and version is None else version
        if entry and number in entry.serving:
            return entry.serving[number]
        if not self._scanned or (entry and entry.is_coming(version)):
            raise _loading_refusal(request)
        raise Refusal(StatusCode.NOT_FOUND, f"Servable not found for request: {request}")

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return the statuses of a model's versions, or of the requested one, in descending order.

        Raises:
            Refusal: If there is no such model or version, or the folder has not been read.
        """
        statuses = self._entries[name].statuses if name in self._entries else {}
        if not statuses:
            if not self._scanned:
                raise _loading_refusal(f"Latest({name})")
            raise Refusal(StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in statuses:
            raise Refusal(StatusCode.NOT_FOUND, f"Could not find version {version} of model {name}")
        return [statuses[number] for number in sorted(statuses, reverse=True) if version in (None, number)]

    def names(self) -> list[str]:
        """Return the names of the models with a version in memory, sorted."""
        return sorted(filter(self.serves, self._entries))

    def serves(self, name: str) -> bool:
        """Return whether a model has a version in memory."""
        return name in self._entries and bool(self._entries[name].serving)

    def ready(self) -> bool:
        """Return whether all models of the first scan, and those that have had a version since, can be called.

        A model that is added later and cannot be loaded only has an error in its status, since all others remain
        available.
        """
        return any(entry.is_needed for entry in self._entries.values()) and not self.missing()

    def missing(self) -> list[str]:
        """Return the names of the models that keep the server from being ready."""
        return sorted(name for name, entry in self._entries.items() if entry.is_needed and not entry.serving)

    async def scan(self) -> None:
        """Read the folders and start loading new versions without waiting for them."""
        models = await asyncio.get_running_loop().run_in_executor(self._loader, self._find)
        for name in self._entries.keys() - models.keys():
            self._unload(name, set(self._entries[name].serving))
            del self._entries[name]
            self._problems.pop(name, None)
            LOG.info("model removed", extra={"model": name})
        for name, versions in models.items():
            if versions is None:
                self._log_once(name, "folder cannot be read")
                continue
            entry = self._entries.setdefault(name, _ModelEntry(needed=not self._scanned))
            self._log_once(name, "" if versions else "no version to serve")
            if not entry.is_updating:
                entry.is_updating = True
                for version in versions.keys() - entry.serving.keys() - entry.failed.keys():
                    entry.statuses[version] = VersionStatus(version, VersionState.START)
                update = asyncio.create_task(self._update(entry, name, versions))
                self._updates.add(update)
                update.add_done_callback(partial(self._finish_update, entry))
        self._scanned = True

    async def refresh(self) -> None:
        """Read the folders, load new versions, and unload those that are no longer wanted."""
        await self.scan()
        await asyncio.gather(*self._updates)

    def close(self) -> None:
        """Stop loading without waiting for running loads."""
        for update in self._updates:
            update.cancel()
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def _update(self, entry: _ModelEntry, name: str, versions: Mapping[int, Path]) -> None:
        numbers = sorted(versions.keys() - entry.serving.keys())
        outcomes = await asyncio.gather(*(self._load_version(entry, name, each, versions[each]) for each in numbers))
        # Old versions remain until all new ones have been loaded.
        if all(outcomes) and self._entries.get(name) is entry:
            self._unload(name, entry.serving.keys() - versions.keys())

    def _finish_update(self, entry: _ModelEntry, update: "asyncio.Task[None]") -> None:
        entry.is_updating = False
        self._updates.discard(update)
        if not update.cancelled() and (error := update.exception()):
            LOG.error("update of a model failed", exc_info=error)

    def _log_once(self, name: str, problem: str) -> None:
        """Log a problem of a model, but not again in every scan."""
        if problem and self._problems.get(name) != problem:
            LOG.warning(problem, extra={"model": name})
        self._problems[name] = problem

    async def _load_version(self, entry: _ModelEntry, name: str, version: int, directory: Path) -> bool:
        fields = {"model": name, "version": version}
        if time.monotonic() - entry.failed.get(version, -math.inf) < self._retry:
            return False
        start = time.monotonic()
        try:
            servable = await self._run_load(entry, name, version, directory)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:500]
            entry.statuses[version] = VersionStatus(version, VersionState.END, reason)
            entry.failed[version] = time.monotonic()
            LOG.error("version cannot be loaded", extra=fields | {"reason": reason})
            return False
        entry.failed.pop(version, None)
        entry.serving[version], entry.is_needed = servable, True
        entry.statuses[version] = VersionStatus(version, VersionState.AVAILABLE)
        LOG.info("version loaded", extra=fields | {"seconds": round(time.monotonic() - start, 3)})
        return True

    async def _run_load(self, entry: _ModelEntry, name: str, version: int, directory: Path) -> Servable:
        async with self._loading:
            work = partial(self._load, name, version, directory)
            load = asyncio.get_running_loop().run_in_executor(self._loader, work)
            entry.statuses[version] = VersionStatus(version, VersionState.LOADING)
            await asyncio.wait({load}, timeout=LOAD_PATIENCE)
        return await load

    def _unload(self, name: str, versions: set[int]) -> None:
        entry = self._entries[name]
        for version in versions:
            del entry.serving[version]
            entry.statuses[version] = VersionStatus(version, VersionState.END)
            LOG.info("version unloaded", extra={"model": name, "version": version})


def _loading_refusal(request: str) -> Refusal:
    return Refusal(
        StatusCode.UNAVAILABLE, f"Servable not yet available for request: {request}. It is LOADING. Try again later."
    )
