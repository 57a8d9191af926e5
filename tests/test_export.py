"""Exported versions: numbered, verified before they appear, portable, and of use without this package."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_ae import export as exporting
from lstm_ae.config import Snp, Toy
from lstm_ae.data.scaling import fixed, min_max_per_company
from lstm_ae.errors import DataError
from lstm_ae.export import Endpoint, export
from lstm_ae.models.autoencoder import autoencoder
from lstm_ae.models.forecaster import forecaster
from lstm_ae.models.rollout import rollout
from lstm_ae.models.scaling import in_own_units

COMPANIES = min_max_per_company(np.array([[90], [110], [10], [50]], np.float32), np.array([1, 1, 2, 2], np.int32), 2)
INPUTS = {
    "past": np.array([[[100], [95], [99]], [[12], [44], [30]], [[7], [9], [8]]], np.float32),
    "company": np.array([1, 2, 0], np.int32),
}


@pytest.fixture(scope="module")
def model() -> Any:
    network = forecaster(Snp(units=2), typical=0.1)
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
    return in_own_units(network, COMPANIES)


@pytest.fixture(scope="module")
def exported(model: Any, tmp_path_factory: pytest.TempPathFactory) -> exporting.Exported:
    return export(model, tmp_path_factory.mktemp("served") / "snp")


def small() -> Any:
    return in_own_units(autoencoder(Toy(units=2), steps=3, features=1), fixed())


def test_what_was_written(exported: exporting.Exported) -> None:
    assert exported.directory.name == "1"
    assert exported.endpoints == [
        Endpoint("serving_default", ["company", "past"], ["future"]),
        Endpoint("forecast", ["company", "horizon", "past"], ["future"]),
    ]
    assert exported.difference <= 1e-6
    assert {"saved_model.pb", "variables", "fingerprint.pb"} <= {path.name for path in exported.directory.iterdir()}
    assert [path.name for path in exported.directory.parent.iterdir()] == ["1"]
    assert exported.directory.stat().st_mode & 0o777 == 0o755


def test_both_endpoints_say_what_the_model_says(model: Any, exported: exporting.Exported) -> None:
    loaded = tf.saved_model.load(str(exported.directory))
    inputs = {name: tf.constant(value) for name, value in INPUTS.items()}
    one_day = loaded.signatures["serving_default"](**inputs)
    assert list(one_day) == ["future"]
    np.testing.assert_allclose(one_day["future"], model(inputs)["future"], rtol=1e-6)
    horizon = tf.constant([2, 0, 5])
    many = loaded.signatures["forecast"](**inputs, horizon=horizon)["future"].numpy()
    expected = rollout(model)(inputs, horizon).numpy()
    assert np.isnan(many)[..., 0].sum(axis=1).tolist() == [3, 5, 0]
    np.testing.assert_allclose(many, expected, rtol=1e-6)
    # Any number of samples and days, as a server needs it.
    longer = loaded.signatures["serving_default"](past=tf.ones((5, 11, 1)), company=tf.zeros((5,), tf.int32))
    assert longer["future"].shape == (5, 11, 1)


def operations(directory: Path) -> set[str]:
    """The names of all operations in a SavedModel, those inside functions included."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = SavedModel()
    content.ParseFromString((directory / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    return {node.op for part in [graph, *graph.library.function] for node in getattr(part, "node", [])} | {
        node.op for function in graph.library.function for node in function.node_def
    }


def test_only_operations_that_every_machine_has(model: Any, exported: exporting.Exported) -> None:
    found = operations(exported.directory)
    assert "MatMul" in found
    assert any("While" in name for name in found)
    assert not {name for name in found if "cudnn" in name.lower() or "pyfunc" in name.lower()}


def test_versions_count_up(tmp_path: Path) -> None:
    base = tmp_path / "models" / "toy"
    model = small()
    assert export(model, base).directory == base / "1"
    for other in ("7", "abc", ".export-old", "-9"):
        (base / other).mkdir()
    assert export(model, base).directory == base / "8"
    assert (base / "1" / "saved_model.pb").is_file()


def test_layers_get_their_kernels_back(tmp_path: Path) -> None:
    """Exporting traces portable kernels; the model in memory may use fast ones again afterwards."""
    model = small()
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.LSTM)]
    assert len(recurrent) == 2
    before = [layer.use_cudnn for layer in recurrent]
    inside = []
    write = exporting._verify

    def look(*arguments: Any) -> Any:
        inside.extend(layer.use_cudnn for layer in recurrent)
        return write(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_verify", look)
        export(model, tmp_path)
    assert inside == [False, False]
    assert [layer.use_cudnn for layer in recurrent] == before


@pytest.mark.parametrize("failure", ["differs", "interrupted"])
def test_what_fails_to_verify_leaves_nothing(failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if failure == "differs":
        monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
        kind, text = DataError, "The exported model differs from the trained one by 0, more than -1.0"
    else:
        kind, text = KeyboardInterrupt, "at the wrong moment"

        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt("at the wrong moment")

        monkeypatch.setattr(exporting, "_verify", interrupt)
    (tmp_path / "3").mkdir()
    with pytest.raises(kind, match=text):
        export(small(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_a_wrong_endpoint_is_noticed(exported: exporting.Exported) -> None:
    """The check itself: a function that says something else, and one that says NaN."""
    spec = {"past": tf.TensorSpec((None, None, 1), name="past"), "company": tf.TensorSpec((None,), tf.int32)}

    def shifted(inputs: Any) -> Any:
        loaded = tf.saved_model.load(str(exported.directory))
        return {"future": loaded.signatures["serving_default"](**inputs)["future"] * 1.00001}

    with pytest.raises(DataError, match="differs from the trained one by 1e-05, more than 1e-06"):
        exporting._verify(exported.directory, {"serving_default": (shifted, spec)})
    with pytest.raises(DataError, match="answers with NaN or infinity, so its weights are damaged"):
        exporting._verify(
            exported.directory,
            {"serving_default": (lambda inputs: {"future": inputs["past"] * float("nan")}, spec)},
        )
    horizon = spec | {"horizon": tf.TensorSpec((None,), tf.int32)}
    with pytest.raises(DataError, match="endpoint 'forecast' gives NaN where the model does not"):
        exporting._verify(
            exported.directory,
            {"forecast": (lambda inputs: {"future": tf.fill((3, 5, 1), float("nan"))}, horizon)},
        )


@pytest.mark.slow
def test_loads_where_there_is_neither_keras_nor_this_package(model: Any, exported: exporting.Exported) -> None:
    # TensorFlow imports Keras by itself where it finds it; here it finds neither Keras nor anything of ours.
    program = """
import json, sys
for name in ("keras", "lstm_ae", "lstm_ae_cli"):
    sys.modules[name] = None
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
inputs = {name: tf.constant(value) for name, value in json.loads(sys.argv[2]).items()}
future = loaded.signatures["forecast"](**inputs)["future"]
here = sorted(name for name in sys.modules if name.startswith(("keras.", "lstm_ae")) and sys.modules[name])
print(json.dumps({"future": future.numpy().tolist(), "modules": here}))
"""
    inputs = {name: value.tolist() for name, value in INPUTS.items()} | {"horizon": [3, 3, 3]}
    done = subprocess.run(
        [sys.executable, "-c", program, str(exported.directory), json.dumps(inputs)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said = json.loads(done.stdout)
    assert said["modules"] == []
    expected = rollout(model)({name: tf.constant(value) for name, value in INPUTS.items()}, tf.constant([3, 3, 3]))
    np.testing.assert_allclose(said["future"], expected, rtol=1e-6)
