"""Tests of initial values, learning rates, and deformed digits."""

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_autoencoders import random_linear_autoencoder

from lstm_ae.config import Mnist, Series, Toy
from lstm_ae.data.digits import images_to_rows, rows_to_images
from lstm_ae.detection.baselines import LinearAutoencoder
from lstm_ae.models.autoencoder import autoencoder, pooled_autoencoder
from lstm_ae.models.classifier import classifier
from lstm_ae.models.initializers import assign_start, start_as_delay_line
from lstm_ae.training.deformation import Deformation
from lstm_ae.training.optimizer import make_optimizer

LINE: dict[str, Any] = {"latent": "vector", "decoder_start": "code", "delay_line": True}


@pytest.mark.parametrize(("units", "kept"), [(8, 4), (5, 2), (11, 4)], ids=["all", "the last two", "room to spare"])
def test_delay_line_reconstructs_the_last_steps(units: int, kept: int) -> None:
    """The network is untrained and reads four steps of two numbers."""
    config = Toy(units=units, **LINE)
    network = start_as_delay_line(autoencoder(config, steps=4, features=2), config, 4)
    sequence = np.random.default_rng(0).random((3, 4, 2), np.float32)
    given_back = np.array(network({"sequence": sequence})["reconstruction"])
    np.testing.assert_allclose(given_back[:, 4 - kept :], sequence[:, 4 - kept :], atol=0.01)
    assert np.abs(given_back[:, : 4 - kept] - sequence[:, : 4 - kept]).max(initial=1) > 0.1


def test_delay_line_applies_to_both_autoencoders_of_a_classifier() -> None:
    config = Mnist(units=8, read="pixels", **LINE)
    network = start_as_delay_line(classifier(config, steps=4, features=2, classes=3), config, 4)
    for name in ("reconstruction", "class_features"):
        between = keras.Model(network.inputs, network.get_layer(name).output)
        sequence = np.random.default_rng(0).random((3, 4, 2), np.float32)
        np.testing.assert_allclose(np.array(between([sequence])), sequence, atol=0.01)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.1, 0.1, 0.1, 0.1, 0.1]),
        ("cosine", [0.1, 0.05 * (1 + math.cos(math.pi / 4)), 0.05, 0.05 * (1 - math.cos(math.pi / 4)), 0.0]),
    ],
)
def test_learning_rate_follows_the_schedule(schedule: str, rates: list[float]) -> None:
    """Rates at the start and after one, two, three, and four quarters of the 20 steps."""
    optimizer = make_optimizer(Toy(learning_rate=0.1, schedule=schedule, epochs=4), 5)
    optimizer.build([])
    found = []
    for step in (0, 5, 10, 15, 20):
        optimizer.iterations.assign(step)
        found.append(float(np.array(optimizer.learning_rate)))
    np.testing.assert_allclose(found, rates, atol=1e-7)


def test_optimizer_receives_the_options_of_the_config() -> None:
    optimizer = make_optimizer(Toy(optimizer="adamw", beta_2=0.9, epsilon=1e-3, clip=3), 1)
    found = (optimizer.beta_2, optimizer.epsilon, optimizer.global_clipnorm)
    assert (type(optimizer).__name__, *found) == ("AdamW", 0.9, 1e-3, 3)


@pytest.mark.parametrize(("steps", "first"), [(6, 2), (7, 0), (8, 1)])
def test_the_upper_lstm_sees_every_third_state_and_the_last(steps: int, first: int) -> None:
    config = Mnist(units=2, model="head-on-code", every=3)
    keras.utils.set_random_seed(0)
    network = classifier(config, steps=steps, features=1, classes=10)
    watched = keras.Model(network.input, [network.get_layer("code").output, network.get_layer("label").output])
    states, label = watched({"sequence": np.random.default_rng(0).random((2, steps, 1), np.float32)})
    upper = network.get_layer("upper")(states[:, first::3])[:, -1]
    np.testing.assert_allclose(network.get_layer("label")(upper), label, rtol=1e-5)


def picture(read: str, amount: float, step: int = 0, part: int = 0, seed: int = 0, number: int = 3) -> Any:
    """Return copies of one digit, deformed while read in the given order, as images."""
    image = np.zeros((number, 28, 28), np.float32)
    image[:, 5:23, 12:15] = 1  # an upright bar
    image[:, 20:23, 12:20] = 1  # with a foot to the right
    window = images_to_rows(image, read).reshape(number, -1, 28 if read in ("rows", "columns") else 1)
    changed = Deformation(read, amount, seed).apply(tf.constant(window), tf.constant(step), part).numpy()
    assert changed.shape == window.shape
    return rows_to_images(changed, read)


def test_deformation_of_zero_leaves_digits_unchanged() -> None:
    np.testing.assert_allclose(picture("rows", 0.0)[0, 5:23, 12:15], 1, atol=1e-6)
    assert picture("rows", 0.0).sum() == pytest.approx(3 * (18 * 3 + 3 * 5))


@pytest.mark.parametrize("read", ["columns", "pixels", "permuted"])
def test_deformation_does_not_depend_on_the_reading_order(read: str) -> None:
    np.testing.assert_allclose(picture(read, 1.0), picture("rows", 1.0), atol=1e-5)


def test_deformation_depends_on_sample_step_part_and_seed_only() -> None:
    first = picture("rows", 1.0)
    np.testing.assert_array_equal(first, picture("rows", 1.0))
    for other in (picture("rows", 1.0, step=1), picture("rows", 1.0, part=1), picture("rows", 1.0, seed=1)):
        assert np.abs(first - other).max() > 0.3
    assert np.abs(first[0] - first[1]).max() > 0.3
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-6


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_start_gives_the_outputs_of_the_other_network(missing: bool, bidirectional: bool) -> None:
    config = Series(units=3, code=2, bidirectional=bidirectional)
    other = pooled_autoencoder(config, steps=4, features=2, missing=missing, link=random_linear_autoencoder(4, 2, 2))
    unused = LinearAutoencoder(*map(np.zeros_like, random_linear_autoencoder(4, 2, 2)))
    network = pooled_autoencoder(config, steps=4, features=2, missing=False, link=unused)
    assign_start(network, [np.array(weight) for weight in other.weights])
    windows = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    expected, found = (np.array(each({"sequence": windows})["reconstruction"]) for each in (other, network))
    # The mask of missing values is 0 in these windows.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_start_of_another_shape_is_refused() -> None:
    config = Series(units=3, code=2)
    other = pooled_autoencoder(config, steps=4, features=3, missing=False)
    network = pooled_autoencoder(config, steps=4, features=2, missing=False)
    with pytest.raises(ValueError, match="shape"):
        assign_start(network, [np.array(weight) for weight in other.weights])
