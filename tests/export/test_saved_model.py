"""Exported versions are numbered, verified before they appear, portable, and usable without this package."""

import hashlib
import math
import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from detectors import score_parameters
from price_forecasts import random_link
from processes import finished, started
from served_models import drawn

from lstm_ae.config import Mnist, Series, Snp, Toy
from lstm_ae.data.scaling import company_scale, fixed_scale
from lstm_ae.errors import DataError, UnprovenError
from lstm_ae.export import admission, probe, verification
from lstm_ae.export import saved_model as exporting
from lstm_ae.export.endpoints import make_endpoints
from lstm_ae.export.layout import MAX_VERSION
from lstm_ae.export.samples import sample_endpoints
from lstm_ae.export.saved_model import Endpoint, ExportResult, export_model
from lstm_ae.export.score_endpoint import BLOCK_WINDOWS
from lstm_ae.export.verification import VerificationCase
from lstm_ae.models.autoencoder import autoencoder, pooled_autoencoder
from lstm_ae.models.classifier import classifier
from lstm_ae.models.forecaster import step_forecaster
from lstm_ae.models.rollout_graph import rollout
from lstm_ae.models.scaling import in_own_units, inner_network

COMPANIES = company_scale(np.array([[90], [110], [10], [50]], np.float32), np.array([1, 1, 2, 2], np.int32), 2)
INPUTS = {
    "past": np.array([[[100], [95], [99]], [[12], [44], [30]], [[7], [9], [8]]], np.float32),
    "company": np.array([1, 2, 0], np.int32),
}


@pytest.fixture(scope="module")
def model() -> Any:
    config = Snp(units=2)
    return in_own_units(drawn(step_forecaster(config, typical=0.1, link=random_link(config, 3))), COMPANIES)


@pytest.fixture(scope="module")
def exported(model: Any, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """Export a model that is verified in a process with neither Keras nor this package."""
    return export_model(model, tmp_path_factory.mktemp("served") / "snp")


def small(**choices: Any) -> Any:
    return in_own_units(drawn(autoencoder(Toy(units=2, **choices), steps=3, features=1)), fixed_scale())


@pytest.fixture
def one_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export only the first endpoint to save time in tests that do not depend on the endpoints."""
    monkeypatch.setattr(exporting, "make_endpoints", lambda model, detector: make_endpoints(model, detector)[:1])


def called(model: Any, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    (call,) = [each.call for each in make_endpoints(model) if each.name == name]
    return {key: value.numpy() for key, value in call({k: tf.constant(v) for k, v in inputs.items()}).items()}


def test_export_writes_version_endpoints_and_files(exported: ExportResult) -> None:
    assert exported.directory.name == "1"
    assert exported.endpoints == [
        Endpoint("serving_default", ["company", "past"], ["future"]),
        Endpoint("predict", ["company", "past"], ["future"]),
        Endpoint("forecast", ["company", "horizon", "past"], ["future"]),
    ]
    assert exported.difference <= 1e-6
    there = {path.name for path in exported.directory.iterdir()}
    assert there - {"assets"} == {"saved_model.pb", "variables", "fingerprint.pb", "assets.extra"}
    assert [path.name for path in exported.directory.parent.iterdir()] == ["1"]
    assert exported.directory.stat().st_mode & 0o777 == 0o755


def test_endpoints_return_the_outputs_of_the_model(model: Any, exported: ExportResult) -> None:
    loaded = tf.saved_model.load(str(exported.directory))
    inputs = {name: tf.constant(value) for name, value in INPUTS.items()}
    for name in ("serving_default", "predict"):
        one_day = loaded.signatures[name](**inputs)
        assert list(one_day) == ["future"]
        np.testing.assert_allclose(one_day["future"], model(inputs)["future"], rtol=1e-6)
    horizon = tf.constant([2, 0, 5])
    many = loaded.signatures["forecast"](**inputs, horizon=horizon)["future"].numpy()
    expected = rollout(model)(inputs, horizon).numpy()
    assert np.isnan(many)[..., 0].sum(axis=1).tolist() == [3, 5, 0]
    np.testing.assert_allclose(many, expected, rtol=1e-6)
    # A server sends any number of samples and days.
    longer = loaded.signatures["serving_default"](past=tf.ones((5, 11, 1)), company=tf.zeros((5,), tf.int32))
    assert longer["future"].shape == (5, 11, 1)


PRICES = np.exp(np.random.default_rng(0).normal(0, 1, (9, 4))).astype(np.float32)


def test_classifier_also_has_the_endpoints_of_an_autoencoder() -> None:
    model = in_own_units(classifier(Mnist(units=2), steps=4, features=3, classes=10), fixed_scale())
    names = ["serving_default", "reconstruct", "encode", "score", "classify"]
    assert sorted(each.name for each in make_endpoints(model)) == sorted(names)


def test_score_samples_span_several_windows_and_blocks() -> None:
    scale = fixed_scale(2.0, 3.0)
    model = in_own_units(drawn(pooled_autoencoder(Series(units=2, code=2), steps=5, features=2, missing=True)), scale)
    asked = list(sample_endpoints(model, make_endpoints(model, score_parameters(5, 2))))
    shapes = {
        name: [given["sequence"].shape for (own, *_), given in asked if own == name] for name in ("score", "encode")
    }
    assert shapes["encode"] == [(1, 5, 2), (3, 5, 2)]
    assert shapes["score"][:2] == shapes["encode"]
    ((series, rows, features),) = shapes["score"][2:]
    assert (series, features) == (3, 2)
    assert series * (rows - 5 + 1) > BLOCK_WINDOWS
    assert np.isnan(asked[-1][1]["sequence"]).all(axis=2).sum(axis=1).tolist() == [0, 1, 5]


def test_the_score_is_the_squared_error_of_scaled_values() -> None:
    """Values are scaled by (x - 10) / 2 and reconstructed as 1: the errors of 14, 10, and 18 are 1, 1, and 3."""
    network = autoencoder(Toy(units=2), steps=2, features=2)
    network.set_weights([np.zeros(weight.shape) for weight in network.get_weights()])
    network.get_layer("reconstruction").set_weights([np.zeros((2, 2)), np.ones(2)])
    model = in_own_units(network, fixed_scale(10, 2))
    window = np.array([[[14, 10], [12, 18]]], np.float32)
    assert called(model, "score", {"sequence": window})["score"].tolist() == [[(1 + 1) / 2, (0 + 9) / 2]]
    assert called(model, "reconstruct", {"sequence": window})["reconstruction"].tolist() == [[[12, 12], [12, 12]]]


def test_score_ignores_missing_values() -> None:
    """The model reconstructs 1 everywhere: (3, missing) scores 4, and (missing, missing) has no score."""
    network = pooled_autoencoder(Series(units=2, code=16), steps=2, features=2, missing=True)
    network.set_weights([np.zeros(weight.shape) for weight in network.get_weights()])
    network.get_layer("reconstruction").set_weights([np.zeros((2, 2)), np.ones(2)])
    window = np.array([[[3, np.nan], [np.nan, np.nan]]], np.float32)
    said = called(in_own_units(network, fixed_scale()), "score", {"sequence": window})["score"]
    np.testing.assert_array_equal(said, [[4, np.nan]])


def test_code_is_the_hidden_state_of_the_encoder() -> None:
    """With one step and all weights 0 except a candidate bias of 1, c = 0.5 tanh(1) and h = 0.5 tanh(c)."""
    for latent, shape in (("vector", (1, 1)), ("steps", (1, 1, 1))):
        network = autoencoder(Toy(units=1, latent=latent), steps=1, features=1)
        encoder = network.get_layer("encoder_1")
        encoder.set_weights([np.zeros((1, 4)), np.zeros((1, 4)), np.array([0.0, 0, 1, 0])])
        code = called(in_own_units(network, fixed_scale()), "encode", {"sequence": np.zeros((1, 1, 1), np.float32)})[
            "code"
        ]
        assert code.shape == shape
        assert code.item() == pytest.approx(0.5 * np.tanh(0.5 * np.tanh(1)), rel=1e-6)


def test_class_has_the_highest_probability() -> None:
    model = in_own_units(drawn(classifier(Mnist(units=2), steps=4, features=3, classes=10)), fixed_scale())
    said = called(model, "classify", {"sequence": np.random.default_rng(0).normal(size=(9, 4, 3)).astype(np.float32)})
    assert said["class"].dtype == np.int32
    assert said["class"].tolist() == said["label"].argmax(axis=1).tolist()
    assert said["label"].sum(axis=1) == pytest.approx(1)


def test_export_restores_the_kernels_of_layers(
    tmp_path: Path, one_endpoint: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exporting traces portable kernels; afterwards the model in memory may use cuDNN again."""
    model = small()
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.LSTM)]
    assert len(recurrent) == 2
    before = [layer.use_cudnn for layer in recurrent]
    inside = []

    def look(*_: Any) -> float:
        inside.extend(layer.use_cudnn for layer in recurrent)
        return 0.0

    monkeypatch.setattr(verification, "verify_export", look)
    export_model(model, tmp_path)
    assert inside == [False, False]
    assert [layer.use_cudnn for layer in recurrent] == before


@pytest.mark.slow
def test_unverified_export_is_not_published(
    tmp_path: Path, one_endpoint: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "run_probe", lambda *_: probe.ProbeResult(0.0, "it is wrong"))
    (tmp_path / "3").mkdir()
    with pytest.raises(UnprovenError, match=r"^The exported model: it is wrong\. Nothing was published\.$"):
        export_model(small(), tmp_path)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "run_probe", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_model(small(), tmp_path)
    monkeypatch.setattr(admission.graph_check, "find_forbidden", lambda _: ["WriteFile"])
    with pytest.raises(UnprovenError, match=r"^The exported model contains forbidden parts: WriteFile. Nothing"):
        export_model(small(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_nan_weights_raise_data_error(tmp_path: Path) -> None:
    model = small()
    inner_network(model).get_layer("reconstruction").bias.assign([float("nan")])
    with pytest.raises(DataError, match="returns NaN or infinity: its weights are damaged"):
        export_model(model, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_probe_reports_differing_outputs(exported: ExportResult, tmp_path: Path) -> None:
    """Run the probe itself with wrong expected outputs."""

    def probed(endpoint: str, expected: Any) -> str:
        path = _cases(tmp_path, [VerificationCase(endpoint, INPUTS, expected)])
        return probe.check_cases(str(exported.directory), str(path)).error

    (case,) = _answers(exported)
    future = case.expected["future"]
    assert probe.check_cases(str(exported.directory), str(_cases(tmp_path, [case]))) == (0.0, "")
    for endpoint, expected, text in (
        ("predict", {"future": future * np.float32(1.00001)}, "differs from the trained model by 1e-05"),
        ("predict", {"future": future[..., [0, 0]]}, "returns 'future' as float32 [3, 3, 1] instead of"),
        ("predict", {"future": future.astype(float)}, "returns 'future' as float32 [3, 3, 1] instead of float64"),
        ("predict", {"future": future * np.nan}, "returns NaN in 'future' where the trained model does not"),
        ("predict", {"past": future}, "has the outputs ['future'] instead of ['past']"),
        ("encode", {}, "does not run ("),
    ):
        assert probed(endpoint, expected).startswith(f"endpoint '{endpoint}' {text}")
    lost = probe.check_cases(str(tmp_path / "lost"), str(tmp_path / "cases"))
    assert lost.error.startswith("it does not load (")


def _answers(exported: ExportResult) -> list[VerificationCase]:
    loaded = tf.saved_model.load(str(exported.directory))
    inputs = {name: tf.constant(value) for name, value in INPUTS.items()}
    said = loaded.signatures["serving_default"](**inputs)
    return [VerificationCase("serving_default", INPUTS, {"future": said["future"].numpy()})]


def _cases(folder: Path, cases: list[VerificationCase]) -> Path:
    (folder / "cases").write_bytes(pickle.dumps([tuple(case) for case in cases]))
    return folder / "cases"


def test_probe_process_that_dies_or_hangs_is_reported(
    exported: ExportResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (exported.directory, tmp_path / "cases", tmp_path / "report.json")
    program = tmp_path / "probe.py"
    monkeypatch.setattr(probe, "__file__", str(program))
    for text, wanted in (
        ("raise SystemExit('so it is')", "its process ended with code 1 (so it is)"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended with code -9 (no output)"),
        ("", "its process ended with code 0 (no output)"),
    ):
        program.write_text(text)
        assert verification.run_probe(*arguments).error == wanted
    program.write_text("import threading; threading.Event().wait()")
    monkeypatch.setattr(verification, "TIMEOUT_SECONDS", 0.2)
    assert verification.run_probe(*arguments).error == "it did not finish within 0.2 seconds"


def test_probe_process_uses_the_import_path_of_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot import Keras and this package."""
    hidden = "import sys; raise ImportError(sorted(name for name in sys.modules if sys.modules[name] is None))"
    (tmp_path / "tensorflow.py").write_text(hidden)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = verification.run_probe(tmp_path, tmp_path / "cases", tmp_path / "report.json")
    text = "its process ended with code 1 (ImportError: ['keras', 'lstm_ae', 'lstm_ae_cli', 'tf_keras'])"
    assert found.error == text


def digests(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_each_weight_is_stored_once(model: Any, exported: ExportResult) -> None:
    stored = tf.train.load_checkpoint(str(exported.directory / "variables" / "variables")).get_variable_to_shape_map()
    sizes = [math.prod(shape) for name, shape in stored.items() if name.endswith("VARIABLE_VALUE")]
    assert sum(sizes) == model.count_params()


@pytest.mark.slow
def test_killed_export_leaves_versions_unchanged(tmp_path: Path) -> None:
    """Existing versions stay unchanged, no incomplete version appears, and the next export succeeds."""
    run = Path(shutil.copytree(Path(__file__).parents[2] / "saved_models/toy", tmp_path / "run"))
    before = digests(run / "1")
    warmup = "assets.extra/tf_serving_warmup_requests"
    with started("export run", tmp_path) as process:
        _until(lambda: any((path / warmup).exists() for path in run.glob(".export-*")), process)
        process.kill()
    assert digests(run / "1") == before
    assert not (run / "2").exists()
    for number in (1, 3):  # while the manifest and the files are written to the disk
        code, _ = finished("export run", tmp_path, kill_at_write=number)
        assert code == -signal.SIGKILL
        assert digests(run / "1") == before
        assert not (run / "2").exists()
    assert list(run.glob(".export-*"))
    assert finished("export run", tmp_path)[0] == 0
    assert finished("export run --verify-only", tmp_path)[0] == 0
    assert digests(run / "1") == before
    assert set(digests(run / "2")) == set(before)


def _until(there: Any, process: subprocess.Popen[str]) -> None:
    while not there():
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.001)


def test_export_takes_the_next_version_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another process publishes a version first, which stays unchanged."""
    base, draft, rename = tmp_path / "base", tmp_path / "draft", Path.rename
    for name in ("abc", "-1", "\u0664", str(MAX_VERSION + 1), ".export-x"):
        (base / name).mkdir(parents=True)

    def second(path: Path, target: Path) -> Path:
        if target == base / "2" and not target.exists():
            (target / "variables").mkdir(parents=True)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second)
    for number in (1, 3):
        draft.mkdir()
        assert exporting._publish_version(draft, base) == base / str(number)
    assert [path.name for path in (base / "2").iterdir()] == ["variables"]
    (base / str(MAX_VERSION)).mkdir()
    draft.mkdir()
    with pytest.raises(DataError, match=f"base' contains version {MAX_VERSION}, the largest possible one"):
        exporting._publish_version(draft, base)
