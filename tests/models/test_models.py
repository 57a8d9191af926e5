"""Tests of a contract for all model forms, and of the properties of each kind."""

import itertools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from price_forecasts import random_link
from sampling import sampled

from lstm_ae.config import CLASSIFIERS, Mnist, Snp, Toy
from lstm_ae.data.scaling import Scale, company_scale, fixed_scale
from lstm_ae.models.archive import archive_content, load
from lstm_ae.models.autoencoder import autoencoder
from lstm_ae.models.classifier import classifier
from lstm_ae.models.forecaster import step_forecaster
from lstm_ae.models.inference import model_inputs
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.scaling import in_own_units, inner_network
from lstm_ae.studies.reconstruction import code_size

SAMPLES, STEPS = 5, 4
COMPANIES = company_scale(np.array([[90], [110], [10], [50]], np.float32), np.array([1, 1, 2, 2], np.int32), 2)
LOSSES = {"reconstruction": "mse", "future": "mse", "label": "sparse_categorical_crossentropy"}


class Form(NamedTuple):
    """A model form: a function that makes its network, its scale, and its shapes."""

    network: Callable[[], Any]
    scale: Scale
    series: str
    shape: tuple[int, int]
    outputs: dict[str, tuple[int, ...]]


def _autoencoder(latent: str, bidirectional: bool, layers: int, **more: Any) -> Form:
    dropout = 0.2 if layers > 1 else 0.0
    config = Toy(units=3, latent=latent, bidirectional=bidirectional, layers=layers, dropout=dropout, **more)
    shape = (STEPS, 2)
    return Form(
        lambda: autoencoder(config, steps=STEPS, features=2),
        fixed_scale(3, 20),
        "sequence",
        shape,
        {"reconstruction": (SAMPLES, *shape)},
    )


def _classifier(model: str, shape: tuple[int, int], latent: str, dropout: float) -> Form:
    head = {"head": 16} if model == "two-autoencoders-mlp" else {}
    config = Mnist(units=3, **head, model=model, latent=latent, dropout=dropout, reconstruction_weight=0.3)
    return Form(
        lambda: classifier(config, steps=shape[0], features=shape[1], classes=3),
        fixed_scale(0, 255),
        "sequence",
        shape,
        {"reconstruction": (SAMPLES, *shape), "label": (SAMPLES, 3)},
    )


def _forecaster(target: str, last_day_only: bool, layers: int = 1) -> Form:
    dropout = 0.2 if layers > 1 else 0.0
    config = Snp(units=3, target=target, last_day_only=last_day_only, goal="predict", layers=layers, dropout=dropout)
    return Form(
        lambda: step_forecaster(config, typical=0.1),
        COMPANIES,
        "past",
        (STEPS, 1),
        {"future": (SAMPLES, 1 if last_day_only else STEPS, 1)},
    )


ROWS, PIXELS = (4, 5), (8, 1)
FORMS = {
    **{
        f"autoencoder-{latent}{'-both' * both}{'-2' * (layers - 1)}": _autoencoder(latent, both, layers)
        for latent, both, layers in itertools.product(["steps", "vector"], [False, True], [1, 2])
    },
    **{
        f"autoencoder-state-{layers}": _autoencoder("vector", False, layers, code=2, decoder_start="code")
        for layers in (1, 2)
    },
    **{
        f"{model}-{'rows' if shape == ROWS else 'pixels'}-{latent}": _classifier(model, shape, latent, dropout)
        for model, (shape, latent, dropout) in itertools.product(
            CLASSIFIERS, [(ROWS, "steps", 0.0), (PIXELS, "vector", 0.2)]
        )
    },
    **{
        f"forecaster-{target}{'-last' * last}": _forecaster(target, last)
        for target, last in itertools.product(["change", "level"], [False, True])
    },
    "forecaster-change-2": _forecaster("change", False, layers=2),
}
PARAMETERS = sampled(
    FORMS,
    quick=("autoencoder-steps", "forecaster-change"),
    slow=(
        "autoencoder-vector-both-2",
        "two-autoencoders-rows-steps",
    ),
)


@pytest.fixture(params=PARAMETERS, scope="module")
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


def perturbed(network: Any, seed: int = 0) -> Any:
    """Move the weights away from their special initial values, so that every weight affects the result."""
    random = np.random.default_rng(seed)
    for weight in network.trainable_variables:
        weight.assign(np.asarray(weight) + random.normal(0, 0.2, weight.shape))
    return network


@pytest.fixture(scope="module")
def model(form: Form) -> Any:
    keras.utils.set_random_seed(0)
    return in_own_units(perturbed(form.network()), form.scale)


def own_inputs(form: Form) -> dict[str, Any]:
    series = np.random.default_rng(1).uniform(10, 110, (SAMPLES, *form.shape)).astype(np.float32)
    company = np.array([1, 2, 0, 7, -1], np.int32) if form.scale.kind == "company" else None
    inputs = {form.series: tf.constant(series)}
    return inputs if company is None else inputs | {"company": tf.constant(company)}


def close(got: Any, expected: Any) -> None:
    """Assert equality within a millionth of the largest value."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-6 * max(1, np.abs(expected).max()))


def test_output_names_and_shapes_match_the_form(form: Form, model: Any) -> None:
    outputs = model(own_inputs(form))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == form.outputs
    assert set(model.input) == set(own_inputs(form))
    assert set(model.output_names) == set(form.outputs)
    if "label" in outputs:
        np.testing.assert_allclose(np.sum(outputs["label"], axis=1), 1, rtol=1e-5)
    assert len({layer.name for layer in inner_network(model).layers}) == len(inner_network(model).layers)


def test_equal_models_give_equal_files_even_after_loading(form: Form, model: Any, tmp_path: Path) -> None:
    path, contents = tmp_path / "model.keras", []
    for one in (model, in_own_units(form.network(), form.scale)):
        one.set_weights(model.get_weights())
        contents.append(archive_content(one))
    assert contents[0] == contents[1]

    path.write_bytes(contents[0])
    loaded, inputs = load(path, inner_network(model).count_params()), own_inputs(form)
    expected = model(inputs)
    assert list(loaded.output) == list(expected)
    for name, value in loaded(inputs).items():
        close(value, expected[name])
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    numbers = {int(number) for number in re.findall(r'"shared_object_id": (\d+)', text)}
    assert numbers == set(range(1, len(numbers) + 1))
    assert archive_content(loaded) == contents[0]


def training_pair(form: Form, outputs: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return scaled inputs and learnable targets."""
    random = np.random.default_rng(2)
    series = random.uniform(0, 1, (SAMPLES, *form.shape)).astype(np.float32)
    targets: dict[str, Any] = {"reconstruction": series, "label": np.arange(SAMPLES) % 3}
    if "future" in form.outputs:
        targets["future"] = np.full(form.outputs["future"], 0.7, np.float32)
    return {form.series: series}, {name: targets[name] for name in outputs}


def test_every_weight_gets_a_gradient(form: Form) -> None:
    keras.utils.set_random_seed(0)
    network = perturbed(form.network())
    inputs, targets = training_pair(form, network.output_names)
    with tf.GradientTape() as tape:
        outputs = network(inputs, training=False)
        losses = [keras.losses.get(LOSSES[name])(targets[name], outputs[name]) for name in outputs]
        loss = sum(tf.reduce_mean(each) for each in losses)
    variables = network.trainable_variables
    assert variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None, variable.path
        assert np.any(np.asarray(gradient) != 0), variable.path


@pytest.mark.parametrize(("target", "days"), [("change", 0), ("change", 3), ("level", 0)])
def test_forecasts_do_not_depend_on_later_steps(target: str, days: int) -> None:
    config = Snp(units=3, target=target, layers=2)
    link = random_link(config, days) if days else None
    network = perturbed(step_forecaster(config, typical=0.1, link=link))
    model = in_own_units(network, COMPANIES)
    past = np.random.default_rng(0).uniform(20, 90, (2, 6, 1)).astype(np.float32)
    other = past.copy()
    other[:, 4:] += 30
    company = np.array([1, 2], np.int32)
    first, second = (model(model_inputs(model.input, series, company))["future"].numpy() for series in (past, other))
    np.testing.assert_array_equal(first[:, :4], second[:, :4])
    assert np.abs(first[:, 4:] - second[:, 4:]).min() > 1e-3


@pytest.mark.parametrize(
    ("choices", "numbers"),
    [
        ({"latent": "vector"}, 3),
        ({"latent": "vector", "bidirectional": True}, 6),
        ({"latent": "steps"}, None),
        ({"latent": "vector", "code": 2}, 2),
        ({"latent": "vector", "code": 2, "decoder_start": "code", "layers": 2}, 2),
    ],
)
def test_code_size_matches_the_latent_options(choices: dict[str, Any], numbers: int | None) -> None:
    model = in_own_units(autoencoder(Toy(units=3, **choices), steps=4, features=1), fixed_scale())
    assert code_size(KerasNetwork(model)) == numbers


@pytest.mark.parametrize(
    "more", [{}, {"decoder_start": "code"}, {"code": 2, "decoder_start": "code", "decoder_units": 5}]
)
def test_decoder_of_a_vector_reads_only_the_code(more: dict[str, Any]) -> None:
    """Without its input kernel, the encoder gives the same code for all sequences, which decode equally."""
    network = autoencoder(Toy(units=3, latent="vector", **more), steps=4, features=1)
    kernel, recurrent, bias = network.get_layer("encoder_1").get_weights()
    network.get_layer("encoder_1").set_weights([np.zeros_like(kernel), recurrent, bias])
    outputs = network({"sequence": np.random.default_rng(0).uniform(0, 1, (2, 4, 1))})["reconstruction"].numpy()
    np.testing.assert_array_equal(outputs[0], outputs[1])
    network.get_layer("encoder_1").set_weights([kernel, recurrent, bias])
    first, second = network({"sequence": np.random.default_rng(0).uniform(0, 1, (2, 4, 1))})["reconstruction"].numpy()
    assert np.abs(first - second).max() > 0


def test_linear_head_computes_the_softmax_of_the_input() -> None:
    """V1 is the softmax of the flattened input times the weights of the label."""
    network = classifier(Mnist(units=2, model="linear-on-input"), steps=2, features=2, classes=3)
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    network.get_layer("label").set_weights([weights, np.array([0, 0, 1], np.float32)])
    sequence = np.array([[[1, 2], [3, 4]]], np.float32)
    evidence = np.exp(sequence.reshape(1, 4) @ weights + [0, 0, 1])
    np.testing.assert_allclose(network({"sequence": sequence})["label"], evidence / evidence.sum(), rtol=1e-5)


def test_classifier_v2_shares_its_autoencoder_with_the_head() -> None:
    """The head of V2 reads the reconstruction; the head of V3 reads a second autoencoder of the same size."""
    shared = classifier(Mnist(units=2, model="head-on-reconstruction"), steps=3, features=2, classes=3)
    second = classifier(Mnist(units=2, model="two-autoencoders"), steps=3, features=2, classes=3)
    alone = autoencoder(Mnist(units=2), steps=3, features=2).count_params()
    head = (3 * 2 + 1) * 3
    assert shared.count_params() == alone + head
    assert second.count_params() == 2 * alone + head
    mlp = classifier(Mnist(units=2, model="two-autoencoders-mlp", head=5), steps=3, features=2, classes=3)
    assert mlp.count_params() == 2 * alone + (3 * 2 + 1) * 5 + (5 + 1) * 3
