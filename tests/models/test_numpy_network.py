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
from lstm_ae.config import Config, Series, Toy
from lstm_ae.data.columns import Covariates
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Source
from lstm_ae.errors import DataError
from lstm_ae.files import as_json
from lstm_ae.model_store import FittedModel
from lstm_ae.models import numpy_network
from lstm_ae.models.autoencoder import autoencoder, pooled_autoencoder
from lstm_ae.models.classifier import pooled_classifier
from lstm_ae.models.forecaster import horizon_forecaster
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.numpy_network import NumpyNetwork, UnsupportedError
from lstm_ae.models.scaling import in_own_units
from lstm_ae.run import config_record, open_run

SAVED = Path(__file__).parents[2] / "saved_models"
SAMPLES, STEPS, HORIZON = 5, 4, 3
# Relative to the largest value.
ROUNDING = 1e-5


def stored(model: Any, config: Config, path: Path) -> NumpyNetwork:
    model.save(path / "model.keras")
    parameters = model.get_layer("network").count_params()
    return numpy_network.load_network(path / "model.keras", config, parameters, lambda: model)


def perturbed(network: Any) -> Any:
    """Move all weights, since zeros would hide an error."""
    random = np.random.default_rng(2)
    for weight in network.weights:
        weight.assign(np.asarray(weight) + random.normal(0, 0.2, weight.shape))
    return network


def scale_of(name: str, features: int) -> Scale:
    kind: Any = name if name in ("series", "window") else "fixed"
    lines = {"series": 3, "window": 0}.get(kind, 1)
    offset, span = np.random.default_rng(3).uniform(1, 2, (2, lines, features)).astype(np.float32)
    return Scale(kind, offset, span)


def inputs_of(shapes: Mapping[str, Any], samples: int = SAMPLES, *, missing: bool = False) -> dict[str, Array]:
    """Return positive values, since some scales take logarithms, and lines of the scale table that may not exist."""
    random, inputs = np.random.default_rng(4), {}
    for name, shape in shapes.items():
        if name == "series":
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


LINEAR = np.ones((3, HORIZON), np.float32), np.ones(HORIZON, np.float32)
TABLE: dict[str, Any] = {"steps": STEPS, "features": 2, "missing": True}
AHEAD: dict[str, Any] = {"steps": STEPS, "horizon": HORIZON, "missing": True}
DEEP: dict[str, Any] = {"units": 3, "layers": 2, "bidirectional": True, "dropout": 0.1}


def encoding(**options: Any) -> Series:
    return Series(data="x.csv", code=3, decoder_units=4, **{"units": 3} | options)


def forecasting(**options: Any) -> Series:
    return Series(task="forecast", horizon=HORIZON, **{"units": 3} | options)


def classifying(**options: Any) -> Series:
    return Series(task="classify", label_col="a", **{"units": 3} | options)


def linear_autoencoder(config: Series) -> Any:
    return pooled_autoencoder(config, **TABLE, fill=(0.5, -1.0), link=random_linear_autoencoder(STEPS, 2, 2))


def covariate_forecaster(config: Series) -> Any:
    covariates, effects = Covariates(past=1, known=2), np.ones((2, 2), np.float32)
    return horizon_forecaster(config, **AHEAD, features=5, covariates=covariates, link=LINEAR, effects=effects)


def linked_classifier(config: Series, number: int) -> Any:
    windows = np.random.default_rng(0).normal(size=(30, STEPS, 2))
    link = fit_baselines(labeled_data(windows, np.arange(30) % 3))[number]
    return pooled_classifier(config, steps=STEPS, features=2, classes=3, missing=False, link=link)


Build = Callable[[Series], Any]
NETWORKS: dict[str, tuple[Series, Build]] = {
    "autoencoder": (encoding(), lambda config: pooled_autoencoder(config, **TABLE, fill=(0.5, -1.0))),
    "autoencoder of the range of a window": (
        encoding(scale="window"),
        lambda config: pooled_autoencoder(config, **TABLE | {"missing": False}),
    ),
    "linear start": (encoding(scale="series", id_col=("id",)), linear_autoencoder),
    "linear start, unlimited": (encoding(scale="none", **DEEP), linear_autoencoder),
    "forecaster": (
        forecasting(scale="series", id_col=("id",), **DEEP),
        lambda config: horizon_forecaster(config, **AHEAD, features=2, covariates=Covariates()),
    ),
    "members with covariates": (forecasting(seeds=2), covariate_forecaster),
    "classifier": (
        classifying(seeds=2, **DEEP),
        lambda config: pooled_classifier(config, **TABLE, classes=3),
    ),
    "regression as start": (classifying(seeds=2), lambda config: linked_classifier(config, 0)),
    "convolutions as start": (classifying(scale="window"), lambda config: linked_classifier(config, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_tables_match_keras(name: str, tmp_path: Path) -> None:
    config, build = NETWORKS[name]
    network = build(config)
    model = in_own_units(perturbed(network), scale_of(config.scale, next(iter(network.input.values())).shape[-1]))
    ours, theirs, converted = (
        stored(model, config, tmp_path),
        KerasNetwork(model),
        KerasNetwork(model).without_keras(config),
    )
    assert (ours.inputs, ours.inner.outputs) == (theirs.inputs, theirs.inner.outputs)
    assert isinstance(converted, NumpyNetwork)
    inputs = inputs_of(ours.inputs, missing=config.scale != "window")
    for output, value in converted(inputs).items():
        np.testing.assert_array_equal(value, ours(inputs)[output])
    expected = {output: np.asarray(value) for output, value in model(inputs, training=False).items()}
    assert_near(ours(inputs), expected)
    empty = ours(inputs_of(ours.inputs, 0))
    assert {output: value.shape for output, value in empty.items()} == {
        output: (0, *value.shape[1:]) for output, value in expected.items()
    }


def segmented() -> tuple[Config, Any]:
    config = forecasting(segment=2, window=STEPS)
    return config, horizon_forecaster(config, **AHEAD, features=1, covariates=Covariates())


def extended() -> tuple[Config, Any]:
    config = encoding()
    network = pooled_autoencoder(config, **TABLE)
    more = keras.layers.Dense(2, name="more")(network.output["reconstruction"])
    return config, keras.Model(network.input, {"reconstruction": more}, name="network")


def of_another_study() -> tuple[Config, Any]:
    config = Toy(latent="vector", units=3)
    return config, autoencoder(config, steps=STEPS, features=1)


@pytest.mark.parametrize("build", [segmented, extended, of_another_study])
def test_keras_computes_all_other_networks(build: Callable[[], Any], tmp_path: Path) -> None:
    config, network = build()
    model = in_own_units(network, scale_of("standard", next(iter(network.input.values())).shape[-1]))
    with pytest.raises(UnsupportedError):
        stored(model, config, tmp_path)
    assert isinstance(KerasNetwork(model).without_keras(config), KerasNetwork)


def test_shipped_detector_matches_keras() -> None:
    run = open_run(SAVED / "pump")
    ours, model = run.network(), run.model()
    assert isinstance(ours, NumpyNetwork)
    inputs = inputs_of(ours.inputs, 3)
    assert_near(ours(inputs), {key: np.asarray(value) for key, value in model(inputs, training=False).items()})


CONFIG = encoding(scale="series", id_col=("id",))


@pytest.fixture(scope="module")
def model() -> Any:
    network = perturbed(pooled_autoencoder(CONFIG, **TABLE))
    return in_own_units(network, scale_of("series", 2))


def test_results_do_not_depend_on_the_batch(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = stored(model, CONFIG, tmp_path)
    inputs = inputs_of(ours.inputs, 7, missing=True)
    whole = ours(inputs)["reconstruction"]
    monkeypatch.setattr(numpy_network, "SAMPLES", 2)
    np.testing.assert_allclose(ours(inputs)["reconstruction"], whole, rtol=1e-5, atol=1e-6)
    none = {name: array[:0] for name, array in inputs.items()}
    assert ours(none)["reconstruction"].shape == (0, STEPS, 2)


def test_limits_of_blas_do_not_overlap(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = stored(model, CONFIG, tmp_path)
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
    ours, theirs = stored(model, CONFIG, tmp_path), KerasNetwork(model)
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


def test_network_with_huge_inputs_is_refused(model: Any, tmp_path: Path) -> None:
    stored(model, CONFIG, tmp_path)
    changed(tmp_path / "model.keras", "sequence", batch_shape=[None, 2**20, 2**10])
    with pytest.raises(UnsupportedError, match="67,108,864 values per sample"):
        numpy_network.load_network(tmp_path / "model.keras", CONFIG, None, lambda: model)


def fitted_from(path: Path) -> FittedModel:
    about = as_json(config_record(CONFIG, Source("", "", ""), (), ""))
    return FittedModel(
        {"model.keras": path.read_bytes(), "config.json": about, "metrics.json": b'{"training": {}}'}, "run"
    )


def test_damage_that_only_keras_finds_is_reported_with_the_file(model: Any, tmp_path: Path) -> None:
    stored(model, CONFIG, tmp_path)
    fitted = fitted_from(tmp_path / "model.keras")
    network, content = fitted.network(), fitted.model_source
    fitted.files["model.keras"] = b"no archive"
    with pytest.raises(DataError, match=r"^'run/model\.keras' is missing, damaged, or not a model"):
        network.keras_model()
    fitted.files["model.keras"] = content
    np.testing.assert_array_equal(network.keras_model().get_weights()[0], model.get_weights()[0])


def changed(path: Path, name: str, **settings: Any) -> None:
    """Change the config of a layer of the network."""
    with zipfile.ZipFile(path) as file:
        members = {member: file.read(member) for member in file.namelist()}
    config = json.loads(members["config.json"])
    (network,) = (layer for layer in config["config"]["layers"] if layer["name"] == "network")
    (layer,) = (layer for layer in network["config"]["layers"] if layer["name"] == name)
    layer["config"] |= settings
    with zipfile.ZipFile(path, "w") as file:
        for member, content in (members | {"config.json": json.dumps(config).encode()}).items():
            file.writestr(member, content)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("encoder_1", {"recurrent_activation": "hard_sigmoid"}),
        ("to_code", {"activation": "gelu"}),
        ("to_code", {"dtype": "mixed_float16"}),
    ],
)
def test_keras_computes_models_with_other_settings(name: str, settings: Any, model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    stored(model, CONFIG, tmp_path)
    changed(path, name, **settings)
    network = fitted_from(path).network()
    assert isinstance(network, KerasNetwork)
    inputs = inputs_of(network.inputs)
    expected = keras.saving.load_model(path)(inputs)["reconstruction"]
    # The two graphs may round differently, and one of the models computes in half precision.
    np.testing.assert_allclose(network(inputs)["reconstruction"], np.asarray(expected), rtol=1e-3)
