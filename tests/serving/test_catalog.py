"""Test the catalog with versions that load slowly, late, or never, and with folders that cannot be read."""

import asyncio
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import wait_on_loop

from lstm_ae.export.layout import find_versions
from lstm_ae.serving import catalog as module
from lstm_ae.serving.catalog import ModelCatalog, VersionState
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.model_folders import find_models

AVAILABLE, LOADING, END = VersionState.AVAILABLE, VersionState.LOADING, VersionState.END


def version(folder: Path, name: str, number: int = 1, content: str = "") -> Path:
    (folder / name / str(number)).mkdir(parents=True, exist_ok=True)
    (folder / name / str(number) / "saved_model.pb").write_text(content)
    return folder / name / str(number)


class Loader:
    """A loader that blocks for one model until `go` is set, and fails for versions that contain "broken".

    Attributes:
        loads: The versions whose loads began.
    """

    def __init__(self, held: str = "") -> None:
        self.held, self.go, self.loads = held, threading.Event(), list[tuple[str, int]]()

    def __call__(self, name: str, number: int, directory: Path) -> Any:
        self.loads.append((name, number))
        if name == self.held:
            self.go.wait()
        if (directory / "saved_model.pb").read_text() == "broken":
            raise ValueError("it is broken")
        return SimpleNamespace(name=name, version=number, directory=directory)


@pytest.fixture
def loader() -> Iterator[Loader]:
    made = Loader()
    yield made
    made.go.set()


def made_for(folder: Path, loader: Loader, *policy: int, **options: Any) -> ModelCatalog:
    return ModelCatalog(lambda: find_models(folder, policy), loader, **options)


def refusal(call: Callable[..., Any], *given: Any) -> StatusCode:
    with pytest.raises(Refusal) as caught:
        call(*given)
    return caught.value.code


def states(catalog: ModelCatalog, name: str) -> list[tuple[int, VersionState]]:
    return [(status.version, status.state) for status in catalog.statuses(name)]


def test_find_versions_accepts_numbered_folders(tmp_path: Path) -> None:
    for name in ("1", "01", "02", "abc", "-1", "1.5", "²", str(2**63 - 1), str(2**63), "9" * 40, "7"):
        (tmp_path / name).mkdir()
        if name != "7":  # partially copied: saved_model.pb is copied last
            (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "5").touch()
    found = find_versions(tmp_path)
    assert {number: path.name for number, path in found.items()} == {1: "1", 2: "02", 2**63 - 1: str(2**63 - 1)}
    assert find_versions(tmp_path / "nowhere") == {}


def test_find_models_chooses_versions(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        version(tmp_path, "plus", number)
    (tmp_path / "empty").mkdir()
    for policy, numbers in (((), {3}), ((1, 3, 9), {1, 3}), ((9,), set())):
        for folder in (tmp_path, tmp_path / "plus"):
            assert {name: set(each or ()) for name, each in find_models(folder, policy).items()} == {"plus": numbers}
    assert find_models(tmp_path / "nowhere") == find_models(tmp_path / "empty") == {}


async def test_loading_version_is_not_available_until_loaded(tmp_path: Path, loader: Loader) -> None:
    version(tmp_path, "plus")
    loader.held = "plus"
    catalog = made_for(tmp_path, loader)
    # The state of a model is unknown before the first scan.
    assert refusal(catalog.find, "plus") == refusal(catalog.statuses, "plus") == StatusCode.UNAVAILABLE
    await catalog.scan()
    await wait_on_loop(lambda: states(catalog, "plus") == [(1, LOADING)], loader.loads)
    assert [refusal(catalog.find, "plus", which) for which in (None, 1)] == [StatusCode.UNAVAILABLE] * 2
    assert refusal(catalog.find, "plus", 2) == refusal(catalog.find, "other") == StatusCode.NOT_FOUND
    # A scan neither waits for a load nor restarts it.
    await catalog.scan()
    loader.go.set()
    await wait_on_loop(catalog.ready, catalog.missing())
    assert loader.loads == [("plus", 1)]
    assert catalog.find("plus").version == 1
    catalog.close()


async def test_new_versions_replace_old_ones_and_can_be_rolled_back(tmp_path: Path, loader: Loader) -> None:
    version(tmp_path, "plus")
    catalog = made_for(tmp_path, loader)
    await catalog.refresh()
    version(tmp_path, "plus", 2)
    await catalog.refresh()
    assert (catalog.find("plus").version, states(catalog, "plus")) == (2, [(2, AVAILABLE), (1, END)])
    shutil.rmtree(tmp_path / "plus" / "2")
    await catalog.refresh()
    assert catalog.find("plus").version == 1
    shutil.rmtree(tmp_path / "plus")
    await catalog.refresh()
    assert refusal(catalog.find, "plus") == StatusCode.NOT_FOUND
    assert not catalog.ready()
    catalog.close()


async def test_chosen_versions_are_served_together(tmp_path: Path, loader: Loader) -> None:
    for number in (1, 2, 3):
        version(tmp_path, "plus", number)
    catalog = made_for(tmp_path, loader, 1, 2)
    await catalog.refresh()
    assert [catalog.find("plus", which).version for which in (None, 1, 2)] == [2, 1, 2]
    assert refusal(catalog.find, "plus", 3) == StatusCode.NOT_FOUND
    catalog.close()


async def test_broken_version_is_reported_and_retried_while_the_old_one_serves(tmp_path: Path, loader: Loader) -> None:
    version(tmp_path, "plus")
    catalog = made_for(tmp_path, loader)
    await catalog.refresh()
    broken = version(tmp_path, "plus", 2, "broken")
    for _ in range(3):
        await catalog.refresh()
    assert loader.loads == [("plus", 1), ("plus", 2)]  # not again in every scan
    assert (catalog.find("plus").version, states(catalog, "plus")[0]) == (1, (2, END))
    assert catalog.statuses("plus")[0].error == "it is broken"
    (broken / "saved_model.pb").write_text("")
    catalog._retry = 0.0
    await catalog.refresh()
    assert catalog.find("plus").version == 2
    catalog.close()


async def test_server_is_ready_with_the_models_of_its_start(tmp_path: Path, loader: Loader) -> None:
    """A broken model that is added later does not matter; one that was served does."""
    version(tmp_path, "plus")
    version(tmp_path, "bad", 1, "broken")
    catalog = made_for(tmp_path, loader)
    await catalog.refresh()
    assert (catalog.names(), catalog.missing(), catalog.ready()) == (["plus"], ["bad"], False)
    shutil.rmtree(tmp_path / "bad")
    version(tmp_path, "later", 1, "broken")
    await catalog.refresh()
    assert (states(catalog, "later"), catalog.ready()) == ([(1, END)], True)
    catalog.close()


async def test_endless_load_does_not_block_other_models(
    tmp_path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOAD_PATIENCE", 0.01)
    loader.held = "endless"
    for name in ("endless", "plus", "zeta"):
        version(tmp_path, name)
    catalog = made_for(tmp_path, loader)
    await catalog.scan()
    await wait_on_loop(lambda: catalog.names() == ["plus", "zeta"], loader.loads)
    assert not catalog.ready()
    # Other models get their new versions.
    version(tmp_path, "plus", 2)
    await wait_on_loop(lambda: catalog.find("plus").version == 2, loader.loads, catalog.scan)
    catalog.close()


async def test_unreadable_folder_keeps_its_versions_and_blocks_no_other(
    tmp_path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable, iterdir = {"lost+found"}, Path.iterdir

    def refusing(path: Path) -> Any:
        if path.name in unreadable:
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    for name in ("plus", "other", "lost+found"):
        version(tmp_path, name)
    catalog = made_for(tmp_path, loader)
    await catalog.refresh()
    assert (catalog.names(), catalog.ready()) == (["other", "plus"], True)
    unreadable.add("plus")
    shutil.move(tmp_path / "other" / "1", tmp_path / "other" / "2")
    for _ in range(2):
        await catalog.refresh()
    assert (catalog.find("plus").version, catalog.find("other").version) == (1, 2)
    warned = [vars(record)["model"] for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["lost+found", "plus"]
    unreadable.add(tmp_path.name)
    with pytest.raises(PermissionError):
        await catalog.refresh()
    assert catalog.names() == ["other", "plus"]
    unreadable.clear()
    version(tmp_path, "plus", 2)
    await catalog.refresh()
    assert catalog.find("plus").version == 2
    catalog.close()


async def test_model_without_chosen_versions_is_reported_once(
    tmp_path: Path, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    version(tmp_path, "plus", 7)
    version(tmp_path, "lost", 1)
    catalog = made_for(tmp_path, loader, 7)
    for _ in range(2):
        await catalog.refresh()
    assert [(record.message, vars(record)["model"]) for record in caplog.records if record.levelno > 20] == [
        ("no version to serve", "lost")
    ]
    assert catalog.missing() == ["lost"]
    catalog.close()


async def test_failed_update_of_a_model_is_logged_and_blocks_no_other(
    tmp_path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("plus", "other"):
        version(tmp_path, name)
    catalog = made_for(tmp_path, loader)
    update = catalog._update

    async def failing(entry: Any, name: str, versions: Any) -> None:
        if name == "other":
            raise ValueError(name)
        await update(entry, name, versions)

    monkeypatch.setattr(catalog, "_update", failing)
    await catalog.scan()
    await asyncio.gather(*catalog._updates, return_exceptions=True)
    await wait_on_loop(lambda: "update of a model failed" in caplog.text, caplog.text)
    assert catalog.names() == ["plus"]
    catalog.close()
