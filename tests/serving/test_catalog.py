"""Test the catalog with versions that load slowly, late, or never, without a server or TensorFlow models."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import wait_on_loop

from lstm_ae.serving import catalog as module
from lstm_ae.serving.catalog import ModelCatalog, VersionState
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.model_folders import ServedModel, VersionPolicy, discover_models
from lstm_ae.serving.workers import JobThreads


def version(folder: Path, name: str, number: int = 1) -> None:
    (folder / name / str(number)).mkdir(parents=True)
    (folder / name / str(number) / "saved_model.pb").touch()


def stand_in(name: str, number: int, directory: Path) -> Any:
    return SimpleNamespace(name=name, version=number, directory=directory)


def loads_after(go: threading.Event, held: str) -> Callable[[str, int, Path], Any]:
    """Return a loader that blocks for one model until an event is set."""

    def load(name: str, number: int, directory: Path) -> Any:
        if name == held:
            go.wait()
        return stand_in(name, number, directory)

    return load


def refusal(call: Callable[..., Any], *given: Any, **named: Any) -> tuple[StatusCode, str]:
    with pytest.raises(Refusal) as caught:
        call(*given, **named)
    return caught.value.code, caught.value.message


@pytest.fixture
def go() -> Any:
    event = threading.Event()
    yield event
    event.set()


async def test_loading_version_is_not_available_until_loaded(tmp_path: Path, go: threading.Event) -> None:
    version(tmp_path, "plus")

    wanted = [ServedModel("plus", tmp_path / "plus", labels=(("stable", 1),))]
    catalog = ModelCatalog(lambda: wanted, loads_after(go, "plus"))
    # The state of a model is unknown before the first scan.
    for call in (catalog.find, catalog.statuses):
        assert refusal(call, "plus")[0] == refusal(call, "plus", label="stable")[0] == StatusCode.UNAVAILABLE
    await catalog.scan()
    await wait_on_loop(lambda: catalog.states() == [("plus", 1, "LOADING")], catalog.states())
    assert [status.state for status in catalog.statuses("plus")] == [VersionState.LOADING]
    for given in ({}, {"version": 1}, {"label": "stable"}):
        code, message = refusal(catalog.find, "plus", **given)
        assert (code.http, "LOADING" in message) == (503, True)
    assert refusal(catalog.find, "plus", 2)[0] == refusal(catalog.find, "other")[0] == StatusCode.NOT_FOUND
    assert refusal(catalog.find, "plus", label="x")[0] == StatusCode.INVALID_ARGUMENT
    # A scan neither waits for a load nor restarts it.
    await catalog.scan()
    go.set()
    await wait_on_loop(catalog.ready, catalog.states())
    assert catalog.find("plus", label="stable").version == 1
    assert refusal(catalog.find, "plus", 2)[0] == StatusCode.NOT_FOUND
    catalog.close()


async def test_endless_load_does_not_block_other_models(
    tmp_path: Path, go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOAD_PATIENCE", 0.01)
    for name in ("endless", "plus", "zeta"):
        version(tmp_path, name)

    catalog = ModelCatalog(lambda: discover_models(tmp_path, VersionPolicy()), loads_after(go, "endless"))
    await catalog.scan()
    await wait_on_loop(lambda: catalog.names() == ["plus", "zeta"], catalog.states())
    assert not catalog.ready()
    # Other models get their new versions.
    version(tmp_path, "plus", 2)
    await wait_on_loop(lambda: catalog.find("plus").version == 2, catalog.states(), catalog.scan)
    catalog.close()


async def test_version_past_load_timeout_is_reported_and_served_once_loaded(
    tmp_path: Path, go: threading.Event
) -> None:
    version(tmp_path, "plus")
    loads: list[int] = []

    def load(name: str, number: int, directory: Path) -> Any:
        loads.append(number)
        go.wait()
        return stand_in(name, number, directory)

    catalog = ModelCatalog(lambda: [ServedModel("plus", tmp_path / "plus")], load, limit=0.01)
    await catalog.refresh()
    (status,) = catalog.statuses("plus")
    assert (status.state, "within 0.01 s" in status.error) == (VersionState.LOADING, True)
    assert catalog.states() == [("plus", 1, "ERROR")]
    assert refusal(catalog.find, "plus")[0] == StatusCode.UNAVAILABLE
    await catalog.refresh()  # neither waits nor loads it twice
    go.set()
    await wait_on_loop(catalog.ready, catalog.states(), catalog.scan)
    assert loads == [1]
    assert catalog.statuses("plus")[0].error == ""
    catalog.close()


def test_hanging_folder_does_not_block_updates_of_other_models(
    tmp_path: Path, go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of network file systems may hang."""
    monkeypatch.setattr(module, "SCAN_SECONDS", 0.05)
    for name in ("hung", "plus"):
        version(tmp_path, name)
    iterdir, hangs = Path.iterdir, threading.Event()

    def hanging(path: Path) -> Any:
        if hangs.is_set() and path.name == "hung":
            go.wait()
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", hanging)

    async def work() -> None:
        catalog = ModelCatalog(lambda: discover_models(tmp_path, VersionPolicy()), stand_in)
        await wait_on_loop(catalog.ready, catalog.states(), catalog.scan)
        hangs.set()
        version(tmp_path, "plus", 2)
        await wait_on_loop(lambda: catalog.find("plus").version == 2, catalog.states(), catalog.scan)
        assert catalog.find("hung").version == 1
        go.set()
        version(tmp_path, "hung", 2)
        await wait_on_loop(lambda: catalog.find("hung").version == 2, catalog.states(), catalog.scan)
        catalog.close()

    asyncio.run(work())


async def test_version_set_aside_is_unavailable_until_restored(tmp_path: Path) -> None:
    version(tmp_path, "plus")
    version(tmp_path, "zeta")

    catalog = ModelCatalog(lambda: discover_models(tmp_path, VersionPolicy()), stand_in)
    await catalog.refresh()
    plus = catalog.find("plus")
    catalog.set_aside(plus, "A call has not ended.")
    code, message = refusal(catalog.find, "plus")
    assert (code, "A call has not ended" in message) == (StatusCode.UNAVAILABLE, True)
    assert catalog.states() == [("plus", 1, "SET_ASIDE"), ("zeta", 1, "AVAILABLE")]
    assert catalog.statuses("plus")[0].state == VersionState.END
    assert not catalog.ready()
    await catalog.refresh()
    assert catalog.find("zeta").version == 1
    catalog.restore(plus)
    assert catalog.find("plus") is plus
    assert catalog.ready()
    # A new version replaces it, and restoring the old version has no effect.
    catalog.set_aside(plus, "A call has not ended.")
    version(tmp_path, "plus", 2)
    await catalog.refresh()
    catalog.restore(plus)
    assert catalog.find("plus").version == 2
    assert ("plus", 1, "END") in catalog.states()
    catalog.close()


async def test_highest_version_not_set_aside_is_served(tmp_path: Path) -> None:
    for number in (1, 2):
        version(tmp_path, "plus", number)

    catalog = ModelCatalog(lambda: discover_models(tmp_path, VersionPolicy("all")), stand_in)
    await catalog.refresh()
    newest = catalog.find("plus")
    assert newest.version == 2
    catalog.set_aside(newest, "A call has not ended.")
    assert catalog.ready()
    assert catalog.find("plus").version == 1
    assert refusal(catalog.find, "plus", 2)[0] == StatusCode.UNAVAILABLE
    catalog.set_aside(catalog.find("plus"), "Nor has this one.")
    assert not catalog.ready()
    assert refusal(catalog.find, "plus")[0] == StatusCode.UNAVAILABLE
    catalog.restore(newest)
    assert catalog.find("plus") is newest
    catalog.close()


def test_jobs_run_in_order_and_long_jobs_do_not_block_others(go: threading.Event) -> None:
    async def work() -> list[str]:
        began: list[str] = []
        workers = JobThreads("job", 1, patience=0.01)

        def job(name: str) -> str:
            began.append(name)
            if name == "endless":
                go.wait()
            return name

        futures = [await workers.queue(lambda name=name: job(name)) for name in ("endless", "a", "b")]  # type: ignore[misc]
        assert [await future for future in futures[1:]] == ["a", "b"]
        assert not futures[0].done()
        go.set()
        assert await futures[0] == "endless"
        assert workers.free == 1
        workers.close()
        return began

    assert asyncio.run(work()) == ["endless", "a", "b"]
