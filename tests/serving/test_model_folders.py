"""Test that unreadable folders and invalid configurations do not affect served models."""

import asyncio
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from served_models import run, save, service
from tensorflow_serving.apis import model_management_pb2

from lstm_ae.errors import ConfigError
from lstm_ae.serving.catalog import VersionState
from lstm_ae.serving.client import connect
from lstm_ae.serving.errors import Refusal, StatusCode
from lstm_ae.serving.grpc_server import _ModelService
from lstm_ae.serving.model_folders import ServedModel, VersionPolicy
from lstm_ae.serving.request_handler import RequestHandler


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


def test_unreadable_folder_does_not_block_other_models(
    tmp_path: Path, unreadable: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "plus", 1)
    save(tmp_path / "other", 1)
    (tmp_path / "lost+found").mkdir()
    unreadable.add("lost+found")

    async def work(made: RequestHandler) -> None:
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

    run(service(tmp_path), work)


def test_unreadable_configured_folder_keeps_server_not_ready(tmp_path: Path, unreadable: set[str]) -> None:
    save(tmp_path / "plus", 1)
    save(tmp_path / "other", 1)
    made = service(tmp_path)
    made.catalog.wanted = lambda: [ServedModel(name, tmp_path / name) for name in ("other", "plus")]
    unreadable.add("other")

    async def work(made: RequestHandler) -> None:
        assert (made.catalog.names(), made.catalog.ready()) == (["plus"], False)

    run(made, work)


def test_damaged_new_model_does_not_affect_readiness(tmp_path: Path) -> None:
    save(tmp_path / "plus", 1)
    made = service(tmp_path)
    models = [ServedModel("plus", tmp_path / "plus")]
    made.catalog.wanted = lambda: models

    async def work(made: RequestHandler) -> None:
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

    run(made, work)


def test_model_damaged_at_startup_keeps_server_not_ready(tmp_path: Path) -> None:
    save(tmp_path / "plus", 1)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"no")

    async def work(made: RequestHandler) -> None:
        assert (made.catalog.names(), made.catalog.ready()) == (["plus"], False)
        shutil.rmtree(tmp_path / "broken")
        await made.catalog.refresh()
        assert made.catalog.ready()

    run(service(tmp_path), work)


def test_folder_without_wanted_versions_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "plus", 1)
    made = service(tmp_path)
    lost = ServedModel("lost", tmp_path / "lost", VersionPolicy("specific", versions=(7,)))
    made.catalog.wanted = lambda: [ServedModel("plus", tmp_path / "plus"), lost]

    async def work(made: RequestHandler) -> None:
        await made.catalog.refresh()
        assert warnings(caplog) == ["lost"]
        (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
        assert vars(warning)["reason"] == f"{tmp_path / 'lost'} contains none of the versions 7"

    run(made, work)


def test_predict_ignores_unreadable_folders(tmp_path: Path, unreadable: set[str]) -> None:
    save(tmp_path / "plus", 1)
    (tmp_path / "lost+found").mkdir()
    unreadable.add("lost+found")
    assert connect(str(tmp_path), None, None, "").model == "plus/1"
    with pytest.raises(ConfigError, match="--model must be one of plus"):
        connect(str(tmp_path), "lost+found", None, "")


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        (
            ServedModel("plus", Path("pulse")),
            StatusCode.NOT_FOUND,
            "Could not find any versions of model plus to serve at 'pulse'",
        ),
        (
            ServedModel("plus", Path("plus"), VersionPolicy("specific", versions=(7,))),
            StatusCode.NOT_FOUND,
            "Nothing was changed",
        ),
        (ServedModel("locked", Path("locked")), StatusCode.FAILED_PRECONDITION, "cannot be read (Permission denied)"),
        (
            ServedModel("plus", Path("plus"), labels=(("stable", 2),)),
            StatusCode.FAILED_PRECONDITION,
            "Request to assign label to version 2 of model plus, which is not currently available for inference",
        ),
    ],
)
def test_invalid_reload_configuration_keeps_served_models(
    tmp_path: Path, unreadable: set[str], model: ServedModel, code: StatusCode, words: str
) -> None:
    save(tmp_path / "plus", 1)
    unreadable.add("locked")

    async def work(made: RequestHandler) -> None:
        with pytest.raises(Refusal) as caught:
            await made.catalog.follow([model])
        assert caught.value.code == code
        assert words in caught.value.message
        await made.catalog.refresh()
        assert made.catalog.find("plus").version == 1

    run(service(tmp_path), work)


def test_reload_reports_versions_that_did_not_become_available(tmp_path: Path) -> None:
    save(tmp_path / "plus", 1)
    broken = save(tmp_path / "broken", 3) / "saved_model.pb"
    broken.write_bytes(broken.read_bytes()[:99])
    told: list[Any] = []
    context = SimpleNamespace(set_code=told.append, set_details=told.append)

    async def reload(made: RequestHandler, *bases: str, versions: tuple[int, ...] = ()) -> Any:
        told.clear()
        asked = model_management_pb2.ReloadConfigRequest()
        for base in bases:
            one = asked.config.model_config_list.config.add(
                name=base, base_path=str(tmp_path / base), model_platform="tensorflow"
            )
            one.model_version_policy.specific.versions.extend(versions)
        answer = await _ModelService(made, made.catalog.follow).HandleReloadConfigRequest(asked, context)
        assert told == ([_status(answer), answer.status.error_message] if answer.status.error_code else [])
        return answer.status

    async def work(made: RequestHandler) -> None:
        assert (await reload(made, "plus", versions=(1,))).error_code == 0
        status = await reload(made, "plus", "broken", versions=(1, 3))
        assert status.error_code == StatusCode.UNKNOWN
        assert status.error_message.startswith("3 servable(s) did not become available: {{{name: ")
        assert "{{name: plus version: 3} due to error: no such version}" in status.error_message
        assert "{{name: broken version: 3} due to error: '" in status.error_message
        assert "is damaged" in status.error_message
        assert made.catalog.find("plus").version == 1
        assert (await reload(made, "nowhere")).error_code == StatusCode.NOT_FOUND

    run(service(tmp_path), work)


def _status(answer: Any) -> Any:
    return getattr(grpc.StatusCode, StatusCode(answer.status.error_code).name)


def test_failed_model_update_does_not_block_other_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "plus", 1)
    save(tmp_path / "other", 1)

    async def work(made: RequestHandler) -> None:
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

    run(service(tmp_path), work)
