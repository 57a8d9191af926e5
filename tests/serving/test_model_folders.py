"""Test that unreadable folders and invalid configurations do not affect served models."""

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from served_models import running, save, service

from lstm_ae.errors import ConfigError
from lstm_ae.serving.catalog import VersionState
from lstm_ae.serving.client import connect
from lstm_ae.serving.model_folders import ServedModel, VersionPolicy


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set of names of folders that cannot be listed, also by root."""
    names: set[str] = set()
    iterdir = Path.iterdir

    def refusing(path: Path) -> Any:
        if path.name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    return names


def warnings(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [vars(record)["model"] for record in caplog.records if record.levelno == logging.WARNING]


async def test_unreadable_folder_does_not_block_other_models(
    tmp_path: Path, unreadable: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "plus", 1)
    save(tmp_path / "other", 1)
    (tmp_path / "lost+found").mkdir()
    unreadable.add("lost+found")

    async with running(service(tmp_path)) as made:
        found = made.catalog
        assert (found.names(), found.ready()) == (["other", "plus"], True)
        await found.refresh()
        assert warnings(caplog) == ["lost+found"]
        # The served model remains available, and the other model gets its new version.
        unreadable.add("plus")
        shutil.move(tmp_path / "other" / "1", tmp_path / "other" / "2")
        await found.refresh()
        await found.refresh()
        assert (found.find("plus").version, found.find("other").version) == (1, 2)
        assert sorted(warnings(caplog)) == ["lost+found", "plus"]
        unreadable.clear()
        save(tmp_path / "plus", 2)
        await found.refresh()
        assert found.find("plus").version == 2


async def test_unreadable_configured_folder_keeps_server_not_ready(tmp_path: Path, unreadable: set[str]) -> None:
    save(tmp_path / "plus", 1)
    save(tmp_path / "other", 1)
    made = service(tmp_path)
    made.catalog.wanted = lambda: [ServedModel(name, tmp_path / name) for name in ("other", "plus")]
    unreadable.add("other")

    async with running(made):
        assert (made.catalog.names(), made.catalog.ready()) == (["plus"], False)


async def test_damaged_new_model_does_not_affect_readiness(tmp_path: Path) -> None:
    save(tmp_path / "plus", 1)
    made = service(tmp_path)
    models = [ServedModel("plus", tmp_path / "plus")]
    made.catalog.wanted = lambda: models

    async with running(made):
        (tmp_path / "broken" / "1").mkdir(parents=True)
        (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"no")
        models.append(ServedModel("broken", tmp_path / "broken"))
        await made.catalog.refresh()
        assert [status.state for status in made.catalog.statuses("broken")] == [VersionState.END]
        assert made.catalog.ready()
        # A model that was served and has no versions left makes the server not ready until it is not configured.
        save(tmp_path / "late", 1)
        models[1] = ServedModel("late", tmp_path / "late")
        await made.catalog.refresh()
        shutil.rmtree(tmp_path / "late" / "1")
        await made.catalog.refresh()
        assert not made.catalog.ready()
        del models[1]
        await made.catalog.refresh()
        assert made.catalog.ready()
        shutil.rmtree(tmp_path / "plus" / "1")
        await made.catalog.refresh()
        assert not made.catalog.ready()


async def test_model_damaged_at_startup_keeps_server_not_ready(tmp_path: Path) -> None:
    save(tmp_path / "plus", 1)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"no")

    async with running(service(tmp_path)) as made:
        assert (made.catalog.names(), made.catalog.ready()) == (["plus"], False)
        shutil.rmtree(tmp_path / "broken")
        await made.catalog.refresh()
        assert made.catalog.ready()


async def test_folder_without_wanted_versions_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "plus", 1)
    made = service(tmp_path)
    lost = ServedModel("lost", tmp_path / "lost", VersionPolicy("specific", versions=(7,)))
    made.catalog.wanted = lambda: [ServedModel("plus", tmp_path / "plus"), lost]

    async with running(made):
        await made.catalog.refresh()
        assert warnings(caplog) == ["lost"]
        (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
        assert vars(warning)["reason"] == f"{tmp_path / 'lost'} contains none of the versions 7"


def test_predict_ignores_unreadable_folders(tmp_path: Path, unreadable: set[str]) -> None:
    save(tmp_path / "plus", 1)
    (tmp_path / "lost+found").mkdir()
    unreadable.add("lost+found")
    assert connect(str(tmp_path), None, None, "").model == "plus/1"
    with pytest.raises(ConfigError, match="--model must be one of plus"):
        connect(str(tmp_path), "lost+found", None, "")


async def test_failed_model_update_does_not_block_other_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "plus", 1)
    save(tmp_path / "other", 1)

    async with running(service(tmp_path)) as made:
        update = made.catalog._update

        async def failing(model: ServedModel) -> None:
            if model.name == "other":
                raise ValueError("other")
            await asyncio.sleep(0.05)
            await update(model)

        monkeypatch.setattr(made.catalog, "_update", failing)
        save(tmp_path / "plus", 2)
        with pytest.raises(ValueError, match="other"):
            await made.catalog.refresh()
        assert made.catalog.find("plus").version == 2
