"""Test `lstmae export`: its output, its exit codes, and the files that it writes."""

import shutil
from pathlib import Path

import pytest
from searches import answer, call, refused

from lstm_ae.export import admission

ROOT = Path(__file__).parents[2] / "saved_models"


@pytest.fixture
def toy(empty_directory: Path) -> Path:
    """Return a copy of the shipped toy run with its exported version."""
    return Path(shutil.copytree(ROOT / "toy", "toy"))


@pytest.mark.slow
def test_export_writes_a_version_that_verify_only_accepts(toy: Path, proven_here: None) -> None:
    exported = answer("export toy")
    assert exported["saved_model"] == "toy/2"
    assert [each["name"] for each in exported["endpoints"]] == ["serving_default", "reconstruct", "encode", "score"]
    assert exported["formats"] == {}
    for name in ("reconstruct", "encode", "score"):
        assert f"| `{name}` | sequence |" in Path("toy/README.md").read_text()
    assert 'load("toy/2")' in Path("toy/README.md").read_text()
    verified = answer("export --verify-only toy")["verified"]
    assert [(each["directory"], each["difference"]) for each in verified] == [("toy/1", 0), ("toy/2", 0)]


def test_verify_only_exits_with_5_on_a_damaged_version(toy: Path) -> None:
    (toy / "1/saved_model.pb").write_bytes(b"<html>")
    assert refused("export toy --verify-only", 5).startswith("'toy/1': saved_model.pb ")


def test_verify_only_loads_a_version_outside_of_a_run(toy: Path, proven_here: None) -> None:
    shutil.copytree(toy / "1", "served/1")
    said = call("export --verify-only served")
    assert (said.code, said.out.splitlines()[0]) == (
        0,
        "served/1: loads; it can be compared with the trained model only in its run",
    )


@pytest.mark.exhaustive
def test_export_publishes_nothing_when_admission_fails(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission.graph_check, "find_forbidden", lambda _: ["EagerPyFunc"])
    before = sorted(toy.iterdir())
    text = "The exported model contains forbidden parts: EagerPyFunc. Nothing was published."
    assert refused("export toy", 5) == text
    assert sorted(toy.iterdir()) == before


def test_export_refuses_the_model_folder_of_another_run(toy: Path) -> None:
    shutil.copytree(toy, "other", ignore=shutil.ignore_patterns("1"))
    before = Path("toy/README.md").read_text()
    told = "'toy' is another run or fleet. Choose another --out for this model"
    assert refused("export other --out toy", 2) == told
    assert (Path("toy/README.md").read_text(), Path("toy/2").exists()) == (before, False)


def test_export_refuses_contradictory_options(toy: Path) -> None:
    for option in ("--out x", "--format onnx"):
        text = "--verify-only writes nothing. Remove --out and --format"
        assert refused(f"export toy --verify-only {option}", 2) == text
    assert refused("export toy --format savedmodel,gguf", 2).endswith("separated by commas. Received: 'gguf'")
    assert "contains no exported version" in refused("export nowhere --verify-only", 3)
    assert not Path("toy/2").exists()
