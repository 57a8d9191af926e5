"""Test `lstmae export`: its output, its exit codes, and the files that it writes."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from searches import answer, call, refused

from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.errors import DataError
from lstm_ae.export import admission, samples
from lstm_ae.export.samples import select_examples
from lstm_ae.run import open_run

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
    assert verified[1]["unchecked"] == []


def test_verify_only_exits_with_5_on_a_damaged_version(toy: Path) -> None:
    (toy / "1/saved_model.pb").write_bytes(b"<html>")
    assert refused("export toy --verify-only", 5).startswith("'toy/1': saved_model.pb ")


def test_verify_only_loads_a_version_outside_of_a_run(toy: Path, proven_here: None) -> None:
    shutil.copytree(toy / "1", "served/1")
    said = call("export --verify-only served")
    assert (said.code, said.out.splitlines()[0]) == (0, "served/1: loads, not compared with a trained model")


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
    told = "'toy' is another run or fleet. Choose another --name for the folder of this model"
    assert refused("export other --out .", 2) == told
    assert refused("export other --out . --name toy", 2) == told
    assert (Path("toy/README.md").read_text(), Path("toy/2").exists()) == (before, False)


def test_export_refuses_contradictory_options(toy: Path) -> None:
    for option in ("--out x", "--name x", "--format onnx", "--no-examples"):
        text = "--verify-only writes nothing. Remove --out, --name, --format, and --no-examples"
        assert refused(f"export toy --verify-only {option}", 2) == text
    assert refused("export toy --format savedmodel,gguf", 2).endswith("separated by commas. Received: 'gguf'")
    assert "contains no exported version" in refused("export nowhere --verify-only", 3)
    assert not Path("toy/2").exists()


@pytest.mark.parametrize(
    ("missing", "names"),
    [
        # Windows 0 to 6 exist; those that contain row 0, 5, or 9 are excluded.
        ([0, 5, 9], ["Test window 1"]),
        ([0], ["Test window 1", "Test window 3", "Test window 6"]),
        (range(10), []),
    ],
)
def test_examples_are_windows_without_missing_values(
    missing: Sequence[int], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(10, dtype=np.float32)[:, None]
    values[list(missing)] = np.nan
    split = Split(values, np.arange(7), 4)
    data = Data(split, split, split, fixed_scale(), Source("t", "hash", ""))
    model = SimpleNamespace(input={"sequence": SimpleNamespace(shape=(None, 4, 1))}, output={"sequence": None})
    run = SimpleNamespace(
        about=lambda: {"task": "series", "data": {"sha256": "hash"}}, config=lambda: None, model=lambda: model
    )
    monkeypatch.setattr(samples, "load_study", lambda task: SimpleNamespace(load=lambda config: data))
    monkeypatch.setattr(samples, "model_inputs", lambda names, window, lines, known: {"sequence": window})
    if not names:
        with pytest.raises(DataError, match="every window has missing values"):
            select_examples(run)  # type: ignore[arg-type]
        return
    found = select_examples(run)  # type: ignore[arg-type]
    assert [example["name"] for example in found] == names
    assert all(np.isfinite(example["inputs"]["sequence"]).all() for example in found)


@pytest.mark.exhaustive
def test_manifest_omits_examples_on_request_or_when_the_data_changed(tmp_path: Path, proven_here: None) -> None:
    assert call("toy train --sequences 60 --epochs 1 --units 2 --out run").code == 0
    run = open_run("run")
    found = select_examples(run)
    assert [example["name"] for example in found] == ["Test window 0", "Test window 5", "Test window 11"]
    for option, expected in (("--no-examples", None), ("", found)):
        said = call(f"export run {option} --json")
        manifest = json.loads(Path(json.loads(said.out)["saved_model"], "assets.extra/manifest.json").read_text())
        assert manifest.get("examples") == expected
        assert "no example windows" not in said.err
    about = json.loads((tmp_path / "run" / "config.json").read_text())
    about["data"]["sha256"] = "0" * 64
    (tmp_path / "run" / "config.json").write_text(json.dumps(about))
    assert "no example windows: the data of the run has changed\n" in call("export run").err
