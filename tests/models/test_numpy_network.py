"""Compare stored models that NumPy computes with Keras, which computes them from the same file."""

import contextlib
import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from labeled_windows import labeled_data
from linear_autoencoders import random_linear_autoencoder

from lstm_ae.arrays import Array
from lstm_ae.classification.baselines import fit_baselines
from lstm_ae.config import Mnist, Series, Snp, Toy
from lstm_ae.data.columns import Covariates
from lstm_ae.data.scaling import Scale
from lstm_ae.errors import DataError
from lstm_ae.forecasting.baselines import LinearCoefficients
from lstm_ae.model_store import load_network
from lstm_ae.models import archive, numpy_network
from lstm_ae.models.autoencoder import autoencoder, pooled_autoencoder
from lstm_ae.models.classifier import classifier, pooled_classifier
from lstm_ae.models.forecaster import horizon_forecaster, step_forecaster
from lstm_ae.models.keras_network import KerasNetwork, convert_model
from lstm_ae.models.numpy_network import NumpyNetwork, UnsupportedError
from lstm_ae.models.scaling import in_own_units

SAVED = Path(__file__).parents[2] / "saved_models"
SAMPLES, STEPS = 5, 4
# Relative to the largest value.
ROUNDING = 1e-5


def stored(model: Any, path: Path) -> NumpyNetwork:
    model.save(path / "model.keras")
    return numpy_network.load_network(path / "model.keras", model.get_layer("network").count_params())


def perturbed(network: Any) -> Any:
    """Move all weights, since zeros would hide an error."""
    random = np.random.default_rng(2)
    for weight in network.weights:
        weight.assign(np.asarray(weight) + random.normal(0, 0.2, weight.shape))
    return network


def scale_of(kind: Any, features: int) -> Scale:
    lines = {"company": 3, "series": 3, "window": 0}.get(kind, 1)
    offset, span = np.random.default_rng(3).uniform(1, 2, (2, lines, features)).astype(np.float32)
    return Scale(kind, offset, span)


def inputs_of(shapes: Mapping[str, Any], samples: int = SAMPLES, *, missing: bool = False) -> dict[str, Array]:
    """Return positive values, since some scales take logarithms, and lines of the scale table that may not exist."""
    random, inputs = np.random.default_rng(4), {}
    for name, shape in shapes.items():
        if name in ("company", "series"):
            inputs[name] = np.resize(np.array([1, 2, 0, 7, -1], np.int32), samples)
            continue
        inputs[name] = random.uniform(1, 9, (samples, *(size or STEPS + 2 for size in shape[1:]))).astype(np.float32)
        if missing and len(shape) == 3:
            inputs[name][random.random(inputs[name].shape) < 0.2] = np.nan
            inputs[name][0] = np.nan
    return inputs


def assert_near(got: Mapping[str, Array], wanted: Mapping[str, Any]) -> None:
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        expected = np.asarray(value)
        assert (got[name].shape, got[name].dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(np.isnan(got[name]), np.isnan(expected))
        assert not np.isnan(expected).all()
        assert np.nanmax(abs(got[name] - expected)) <= ROUNDING * np.nanmax(abs(expected)), name


def compare(network: Any, kind: str, path: Path, *, missing: bool = False) -> None:
    features = next(iter(network.input.values())).shape[-1]
    model = in_own_units(perturbed(network), scale_of(kind, features))
    ours = stored(model, path)
    theirs = KerasNetwork(model)
    assert (ours.inputs, ours.inner.outputs) == (theirs.inputs, theirs.inner.outputs)
    inputs = inputs_of(ours.inputs, missing=missing)
    converted = convert_model(model)
    assert isinstance(converted, NumpyNetwork)
    for name, value in converted(inputs).items():
        np.testing.assert_array_equal(value, ours(inputs)[name])
    expected = {name: np.asarray(value) for name, value in model(inputs, training=False).items()}
    assert_near(ours(inputs), expected)
    empty = ours(inputs_of(ours.inputs, 0))
    assert {name: value.shape for name, value in empty.items()} == {
        name: (0, *value.shape[1:]) for name, value in expected.items()
    }


def tables(layers: int, bidirectional: bool) -> Iterator[Any]:
    """Yield every head of a model on tables."""
    more: dict[str, Any] = {"units": 3, "layers": layers, "dropout": 0.1 * (layers - 1)}
    more["bidirectional"] = bidirectional
    fill = (0.5, -1.0)
    config = Series(data="x.csv", code=3, decoder_units=4, **more)
    yield pooled_autoencoder(config, steps=STEPS, features=2, missing=True, fill=fill)
    link = random_linear_autoencoder(STEPS, 2, 2)
    yield pooled_autoencoder(config, steps=STEPS, features=2, missing=True, fill=fill, link=link)
    table: dict[str, Any] = {"steps": STEPS, "horizon": 3, "missing": True}
    config = Series(task="forecast", **more)
    yield horizon_forecaster(config, **table, features=2, covariates=Covariates())
    linear = LinearCoefficients(np.ones((3, 3), np.float32), np.ones(3, np.float32))
    covariates, effects = Covariates(past=1, known=2), np.ones((2, 2), np.float32)
    yield horizon_forecaster(config, **table, features=5, covariates=covariates, link=linear, effects=effects)
    labeled = Series(task="classify", label_col="a", **more)
    yield pooled_classifier(labeled, steps=STEPS, features=2, classes=3, missing=True)


def linked_classifiers() -> Iterator[Any]:
    windows = np.random.default_rng(0).normal(size=(30, STEPS, 2))
    for fitted in fit_baselines(labeled_data(windows, np.arange(30) % 3)):
        config = Series(task="classify", label_col="a", units=3)
        yield pooled_classifier(config, steps=STEPS, features=2, classes=3, missing=False, link=fitted)


def averages() -> Iterator[Any]:
    """Yield models that average several networks."""
    table: dict[str, Any] = {"steps": STEPS, "features": 2, "missing": True}
    link = LinearCoefficients(np.ones((3, 3), np.float32), np.ones(3, np.float32))
    config = Series(task="forecast", units=3, seeds=3)
    yield horizon_forecaster(config, **table, horizon=3, covariates=Covariates(), link=link)
    yield pooled_classifier(Series(task="classify", label_col="a", units=3, seeds=2), **table, classes=3)


NETWORKS: dict[str, Callable[[], Iterator[Any]]] = {
    "one layer": lambda: tables(1, False),
    "both directions": lambda: tables(1, True),
    "two layers": lambda: tables(2, False),
    "two layers, both directions": lambda: tables(2, True),
    "averages": averages,
    "linked classifiers": linked_classifiers,
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("one layer", "fixed"),
        pytest.param("one layer", "series", marks=pytest.mark.slow),
        ("linked classifiers", "window"),
        ("linked classifiers", "fixed"),
        pytest.param("one layer", "window", marks=pytest.mark.exhaustive),
        pytest.param("both directions", "series", marks=pytest.mark.slow),
        pytest.param("two layers", "fixed", marks=pytest.mark.slow),
        pytest.param("two layers, both directions", "window", marks=pytest.mark.exhaustive),
        pytest.param("averages", "fixed", marks=pytest.mark.slow),
    ],
)
def test_models_on_tables_match_keras(name: str, kind: str, tmp_path: Path) -> None:
    for network in NETWORKS[name]():
        compare(network, kind, tmp_path, missing=kind != "window")


OTHERS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "states of all steps": (
        lambda: autoencoder(Toy(latent="steps", units=3), steps=STEPS, features=1),
        "fixed",
        "inputs of any length",
    ),
    "last state": (
        lambda: autoencoder(Toy(latent="vector", units=3), steps=STEPS, features=1),
        "fixed",
        "a network without the Dense layer 'to_code'",
    ),
    "code of the last state": (
        lambda: autoencoder(Toy(latent="vector", code=2, units=3), steps=STEPS, features=1),
        "fixed",
        "a network of this structure",
    ),
    "digits": (
        lambda: classifier(Mnist(units=3), steps=STEPS, features=3, classes=3),
        "fixed",
        "a model with these inputs and outputs",
    ),
    "prices": (lambda: step_forecaster(Snp(units=3)), "log", "a model that was not trained on a table"),
    "segments": (
        lambda: horizon_forecaster(
            Series(task="forecast", segment=2, units=3),
            steps=STEPS,
            horizon=3,
            features=1,
            missing=False,
            covariates=Covariates(),
        ),
        "fixed",
        "a network without the",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_keras_computes_all_other_networks(name: str, tmp_path: Path) -> None:
    build, kind, words = OTHERS[name]
    network = build()
    features = next(iter(network.input.values())).shape[-1]
    with pytest.raises(UnsupportedError, match=words):
        stored(in_own_units(network, scale_of(kind, features)), tmp_path)


def test_network_with_an_unknown_layer_is_not_computed() -> None:
    network = next(tables(1, False))
    more = keras.layers.Dense(2, name="more")(network.output["reconstruction"])
    model = in_own_units(keras.Model(network.input, {"reconstruction": more}, name="network"), scale_of("fixed", 2))
    assert isinstance(convert_model(model), KerasNetwork)


def test_shipped_detector_matches_keras() -> None:
    path = SAVED / "pump" / "model.keras"
    ours, model = numpy_network.load_network(path), archive.load(path)
    inputs = inputs_of(ours.inputs, 3)
    assert_near(ours(inputs), {key: np.asarray(value) for key, value in model(inputs, training=False).items()})


@pytest.fixture(scope="module")
def model() -> Any:
    config = Series(data="x.csv", code=3, units=3)
    network = perturbed(pooled_autoencoder(config, steps=STEPS, features=2, missing=True))
    return in_own_units(network, scale_of("series", 2))


def test_results_do_not_depend_on_the_batch(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = stored(model, tmp_path)
    inputs = inputs_of(ours.inputs, 7, missing=True)
    whole = ours(inputs)["reconstruction"]
    monkeypatch.setattr(numpy_network, "SAMPLES", 2)
    np.testing.assert_allclose(ours(inputs)["reconstruction"], whole, rtol=1e-5, atol=1e-6)
    none = {name: array[:0] for name, array in inputs.items()}
    assert ours(none)["reconstruction"].shape == (0, STEPS, 2)


def test_limits_of_blas_do_not_overlap(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = stored(model, tmp_path)
    inputs = inputs_of(network.inputs)
    events, barrier = [], threading.Barrier(2)

    class Controller:
        @contextlib.contextmanager
        def limit(self, **_: Any) -> Iterator[None]:
            events.append(("limit", threading.get_ident()))
            yield
            events.append(("restore", threading.get_ident()))

    compute = network.inner.compute

    def compute_together(values: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(0.5)
        return compute(values)

    monkeypatch.setattr(numpy_network, "_blas_threads", Controller)
    monkeypatch.setattr(network.inner, "compute", compute_together)
    calls = [threading.Thread(target=network, args=(inputs,)) for _ in range(2)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert [name for name, _ in events] == ["limit", "restore"] * 2
    assert events[0][1] == events[1][1] != events[2][1] == events[3][1]


def test_parts_of_an_autoencoder_match_those_of_keras(model: Any, tmp_path: Path) -> None:
    ours, theirs = stored(model, tmp_path), KerasNetwork(model)
    windows = inputs_of(ours.inputs, missing=True)["sequence"]
    scaled = ours.scaling({"sequence": windows})
    assert_near(scaled, theirs.scaling({"sequence": windows, "series": np.zeros(len(windows), np.int32)}))
    network = theirs.inner.model
    encoder = keras.Model(network.input, network.get_layer("code").output)
    codes = ours.encode(scaled["scaled"])
    assert ours.code == theirs.code == (None, 3)
    assert_near({"": codes}, {"": encoder({"sequence": scaled["scaled"]})})
    decoded, expected = (each.inner({"sequence": scaled["scaled"]})["reconstruction"] for each in (ours, theirs))
    assert_near({"": decoded}, {"": expected})
    assert_near({"": ours.undo_scaling(decoded, scaled)}, {"": theirs.undo_scaling(expected, scaled)})
    assert ours.table is not None
    np.testing.assert_array_equal(ours.table, theirs.table)


def test_model_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = keras.Input((STEPS, 1), name="sequence")
    values = sequence
    for _ in range(40):
        values = keras.ops.concatenate([values, values], axis=2)
    network = keras.Model({"sequence": sequence}, {"reconstruction": values[..., :1]}, name="network")
    in_own_units(network, scale_of("fixed", 1)).save(tmp_path / "model.keras")
    monkeypatch.setattr(archive, "LARGEST_SAMPLE", 2**16)
    with pytest.raises(ValueError, match="returns more than 65,536 values per sample"):
        archive.load(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rename": "decoder_1"}, "two of its layers have the same name"),
        ({"batch_shape": [None, 2**20, 2**10]}, "it has more than 67,108,864 values per sample"),
    ],
)
def test_altered_network_is_refused(change: Any, words: str, model: Any, tmp_path: Path) -> None:
    stored(model, tmp_path)
    changed(tmp_path / "model.keras", "sequence", **change)
    with pytest.raises(ValueError, match=words):
        numpy_network.load_network(tmp_path / "model.keras")


def test_forecaster_whose_horizon_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    table: dict[str, Any] = {"steps": STEPS, "horizon": 3, "features": 1, "missing": False}
    network = horizon_forecaster(Series(task="forecast", units=3), **table, covariates=Covariates())
    stored(in_own_units(network, scale_of("fixed", 1)), tmp_path)
    changed(tmp_path / "model.keras", "repeat", n=10**9)
    with pytest.raises(UnsupportedError, match="values per sample"):
        numpy_network.load_network(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="'repeat' returns more than 67,108,864 values per sample"):
        archive.load(tmp_path / "model.keras")


def test_damage_that_only_keras_finds_is_reported_with_the_file(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    stored(model, tmp_path)
    network = load_network(path, {"training": {}}, "run/model.keras")
    np.testing.assert_array_equal(network.keras_model().get_weights()[0], model.get_weights()[0])
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"^'run/model\.keras' is missing, damaged, or not a model"):
        network.keras_model()


def changed(path: Path, name: str, rename: str = "", **settings: Any) -> None:
    """Change the config of the layers of the network with a name."""
    with zipfile.ZipFile(path) as file:
        members = {member: file.read(member) for member in file.namelist()}
    config = json.loads(members["config.json"])
    (network,) = (layer for layer in config["config"]["layers"] if layer["name"] == "network")
    (layer,) = (layer for layer in network["config"]["layers"] if layer["name"] == name)
    layer["name"] = rename or name
    layer["config"] |= settings
    with zipfile.ZipFile(path, "w") as file:
        for member, content in (members | {"config.json": json.dumps(config).encode()}).items():
            file.writestr(member, content)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("encoder_1", {"recurrent_activation": "hard_sigmoid"}, "LSTM, since its activations are not tanh and sigmoid"),
        ("to_code", {"activation": "gelu"}, "Dense with the activation gelu"),
        ("to_code", {"dtype": "mixed_float16"}, "Dense with another dtype than float32"),
    ],
)
def test_keras_computes_models_with_other_settings(
    name: str, settings: Any, words: str, model: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.keras"
    stored(model, tmp_path)
    changed(path, name, **settings)
    with pytest.raises(UnsupportedError, match=words):
        numpy_network.load_network(path)
    with caplog.at_level("INFO"):
        network = load_network(path, {"training": {}}, "here")
    assert words in caplog.text
    assert isinstance(network, KerasNetwork)
    inputs = inputs_of(network.inputs)
    expected = keras.saving.load_model(path)(inputs)["reconstruction"]
    # The two graphs may round differently, and one of the models computes in half precision.
    np.testing.assert_allclose(network(inputs)["reconstruction"], np.asarray(expected), rtol=1e-3)
