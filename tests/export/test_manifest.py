"""Tests of the manifest and warm-up file of an exported version, and of its verification."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from graphs import save_evil

from lstm_ae.config import Series
from lstm_ae.errors import DataError, UnprovenError
from lstm_ae.export import layout, manifest, warmup
from lstm_ae.export.saved_model import export_run
from lstm_ae.export.verification import VerifiedVersion, verify_versions
from lstm_ae.files import as_json, read_object
from lstm_ae.run import Run

ROOT = Path(__file__).parents[2] / "saved_models"


@pytest.fixture
def run(exported_toy: Path, empty_directory: Path) -> Path:
    """Return a copy of the exported run that a test may damage."""
    return Path(shutil.copytree(exported_toy, "toy"))


def test_manifest_describes_the_run(exported_toy: Path) -> None:
    about, found = Run(ROOT / "toy").about(), read_object(exported_toy / "1" / layout.MANIFEST_FILE)
    assert found["format"] == 1
    assert found["name"] == "toy"
    assert found["task"] == "toy"
    assert found["trained"] == {
        "created": about["created"],
        "command": about["command"],
        "versions": about["versions"],
        "seed": about["config"]["seed"],
    }
    assert found["data"]["sha256"] == about["data"]["sha256"]
    assert found["data"]["license"] == "CC0 (generated)"
    measure = found["metrics"]["test"]["reconstruction_mse"]
    assert measure["value"] == Run(ROOT / "toy").metrics()["test"]["reconstruction_mse"]["value"]
    assert list(measure["baselines"]) == ["mean sequence"]
    assert found["difference"]["savedmodel"] <= 1e-6
    assert "symbols" not in found
    assert "read" not in found


def test_the_manifest_hashes_every_file(exported_toy: Path) -> None:
    version = exported_toy / "1"
    found = read_object(version / layout.MANIFEST_FILE)["files"]
    there = {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}
    assert set(found) == there - {"assets.extra/manifest.json"}
    assert {"saved_model.pb", "variables/variables.index", layout.WARMUP_FILE} <= set(found)
    assert all(len(digest) == 64 for digest in found.values())


@pytest.mark.parametrize(
    ("name", "key", "value"), [("snp", "symbols", ["", "AAPL", "GOOG", "IBM", "MSFT"]), ("mnist-rows", "read", "rows")]
)
def test_manifest_contains_symbols_or_reading_order(
    name: str, key: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, Any] = {}
    monkeypatch.setattr(
        "lstm_ae.export.saved_model.export_model", lambda model, base, about, **_: written.update(about)
    )
    export_run(Run(ROOT / name), tmp_path)
    assert written[key] == value


def test_warmup_file_parses_as_tensorflow_serving_requests(exported_toy: Path) -> None:
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    records = [record.numpy() for record in tf.data.TFRecordDataset(str(exported_toy / "1" / layout.WARMUP_FILE))]
    loaded = tf.saved_model.load(str(exported_toy / "1"))
    asked = []
    for record in records:
        log = PredictionLog()
        log.ParseFromString(record)
        assert log.SerializeToString(deterministic=True) == record
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "toy"
        (value,) = (tf.make_ndarray(tensor) for tensor in request.inputs.values())
        asked.append((request.model_spec.signature_name, len(value)))
        answers = loaded.signatures[request.model_spec.signature_name](sequence=tf.constant(value))
        assert all(np.isfinite(answer).all() for answer in answers.values())
    assert asked == [
        (name, batch) for batch in (1, 3, 5) for name in ("serving_default", "reconstruct", "encode", "score")
    ]


def test_warmup_omits_large_requests_and_missing_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "MAX_MESSAGE_BYTES", 12)
    requests = [("score", {"sequence": np.array(values, np.float32)}) for values in ([1] * 4, [1] * 3, [1, np.nan])]
    warmup.write_warmup(tmp_path, "m", requests)
    (record,) = tf.data.TFRecordDataset(str(tmp_path / layout.WARMUP_FILE)).as_numpy_iterator()
    assert record == warmup.make_prediction_log("m", *requests[1])


@pytest.mark.slow
def test_a_run_is_verified_against_its_model(run: Path, proven_here: None) -> None:
    names = ["encode", "reconstruct", "score", "serving_default"]
    assert list(verify_versions(run)) == [VerifiedVersion(run / "1", names, 0.0)]
    assert list(verify_versions(run / "1")) == [VerifiedVersion(run / "1", names, 0.0)]


def test_manifest_contains_the_id_columns_and_the_step(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lstmae predict` cuts the windows of each series by the columns, and refuses gaps by the step."""
    monkeypatch.setattr("lstm_ae.export.saved_model.export_model", lambda model, base, about, **_: about)
    opened = Run(run)
    assert "id_columns" not in export_run(opened, run)  # type: ignore[operator]
    config = Series(id_col=("site", "pump"), window=8, freq="10min")
    monkeypatch.setattr(Run, "config", lambda _: config)
    about: Any = export_run(opened, run)
    assert (about["id_columns"], about["freq"]) == (["site", "pump"], "10min")


def test_version_outside_a_run_is_verified_without_the_model(run: Path, proven_here: None) -> None:
    version = Path(shutil.copytree(run / "1", "served/007"))
    (one,) = verify_versions(Path("served"))
    assert one.directory == version
    assert one.difference is None
    assert one.endpoints == []


def test_version_without_manifest_is_not_verified(plain: Path) -> None:
    with pytest.raises(UnprovenError, match="has no manifest"):
        list(verify_versions(plain))


def test_versions_are_verified_in_numeric_order(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ae.export.verification._verify_version", lambda version: version.name)
    for name in ("10", "2", "03", "abc", "-1", "²", ".export-1"):
        (run / name).mkdir()
    assert list(verify_versions(run)) == ["1", "2", "03", "10"]


@pytest.mark.parametrize(
    ("name", "spoil", "text"),
    [
        ("variables/variables.index", Path.unlink, "'toy/1': variables/variables.index is missing"),
        ("more", Path.touch, "'toy/1': more is not in the manifest"),
        ("variables/variables.data-00000-of-00001", lambda path: _flip(path), "data-00000-of-00001 has changed"),
        (layout.MANIFEST_FILE, lambda path: path.write_text("{"), "'toy/1/assets.extra/manifest.json' is not JSON"),
        (layout.MANIFEST_FILE, lambda path: path.write_text("{}"), "lacks 'format' or 'files'"),
        (layout.MANIFEST_FILE, lambda path: path.write_text('{"format": 2, "files": {}}'), "format 2, newer than 1"),
        ("assets.extra/pipe", os.mkfifo, "'toy/1/assets.extra/pipe' is not a regular file"),
    ],
    ids=["missing", "added", "flipped", "cut", "empty", "newer", "pipe"],
)
def test_verification_refuses_a_changed_version(run: Path, name: str, spoil: Any, text: str) -> None:
    spoil(run / "1" / name)
    with pytest.raises(UnprovenError) as raised:
        list(verify_versions(run))
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_verification_refuses_a_version_with_a_forged_manifest(run: Path, proven_here: None) -> None:
    """The hashes match, so only the outputs and the operations reveal the change."""
    version = run / "1"
    weights = version / "variables/variables.data-00000-of-00001"
    content = bytearray(weights.read_bytes())
    content[-4000] ^= 0x40
    weights.write_bytes(content)
    _forge(version)
    with pytest.raises(UnprovenError, match=r"^'toy/1': (endpoint '\w+' (differs|gives)|it does not load)"):
        list(verify_versions(run))
    save_evil(version, 50, 1, name="sequence")
    _forge(version)
    with pytest.raises(UnprovenError, match=r"^'toy/1' contains forbidden parts: WriteFile$"):
        list(verify_versions(run))
    assert not Path("written").exists()
    (version / "saved_model.pb").write_bytes(b"")
    _forge(version)
    with pytest.raises(UnprovenError, match=r"^'toy/1/saved_model.pb' is damaged"):
        list(verify_versions(run))


def _forge(version: Path) -> None:
    content = read_object(version / layout.MANIFEST_FILE)
    (version / layout.MANIFEST_FILE).write_bytes(as_json(content | {"files": manifest.hash_files(version)}))


@pytest.mark.parametrize("name", ["nothing", "file", "folder"])
def test_verifying_what_is_no_version_raises_data_error(name: str) -> None:
    Path("file").touch()
    Path("folder/abc").mkdir(parents=True)
    with pytest.raises(DataError, match=f"^'{name}' contains no exported version"):
        list(verify_versions(Path(name)))
