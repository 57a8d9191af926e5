"""Features of windows by random convolutions, and the baselines and networks that read them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled_windows import labeled_data

from lstm_ae.arrays import Array, Float32Array
from lstm_ae.classification import baselines, convolutions
from lstm_ae.classification.baselines import (
    ConvolutionRegression,
    LogisticRegression,
    WindowRegression,
    fit_baselines,
    fit_convolution_regression,
    fit_link,
    fit_logistic_regression,
    log_loss,
)
from lstm_ae.classification.convolutions import Convolutions, draw_convolutions
from lstm_ae.config import Series
from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import join_training
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.studies import build_model
from lstm_ae.studies.series import classification


def random_windows(samples: int, steps: int, columns: int, *, missing: float = 0.0, seed: int = 0) -> Float32Array:
    random = np.random.default_rng(seed)
    windows = random.normal(size=(samples, steps, columns)).astype(np.float32)
    windows[random.random(windows.shape) < missing] = np.nan
    return windows


def bumps(samples: int, steps: int = 40, seed: int = 0) -> tuple[Float32Array, Array]:
    """Return noise with a bump of one of two shapes at a random step, and the shape as label."""
    random = np.random.default_rng(seed)
    windows = random.normal(0, 0.1, (samples, steps, 1)).astype(np.float32)
    label = np.arange(samples) % 2
    shapes = np.array([[1, 2, 3, 2, 1, 0, 0], [0, 0, 1, 7, 1, 0, 0]], np.float32)
    for row, (kind, place) in enumerate(zip(label, random.integers(0, steps - 7, samples), strict=True)):
        windows[row, place : place + 7, 0] += shapes[kind]
    return windows, label


def feature_by_hand(drawn: Convolutions, window: Array, dilation: int, number: int) -> float:
    """Return one feature of a window of shape `(steps, columns)`, value by value."""
    at = drawn.dilations.tolist().index(dilation)
    standard = (window * drawn.gains + drawn.offsets) * convolutions.RESOLUTION
    whole = np.nan_to_num(np.rint(standard), nan=0.0)
    above = 0
    for step in range(len(window)):
        total = 0.0
        for offset, column in itertools.product(range(9), range(window.shape[1])):
            place = step + (offset - 4) * dilation
            if 0 <= place < len(window):
                total += drawn.weights[at, offset, column, number % 84] * whole[place, column]
        above += total > drawn.limits[at, number // 84, number % 84]
    return (above / len(window) - 0.5) * 8


@pytest.mark.parametrize(("steps", "columns", "dilations"), [(5, 1, [1]), (17, 2, [1, 2]), (70, 1, [1, 2, 4, 8])])
def test_convolution_features_by_hand(steps: int, columns: int, dilations: list[int]) -> None:
    windows = random_windows(20, steps, columns, missing=0.1)
    drawn = draw_convolutions(windows)
    assert drawn.dilations.tolist() == dilations
    features = drawn.features(windows)
    filters = drawn.limits[0].size
    assert features.shape == (20, len(dilations) * filters) == (20, 84 * 12)
    for row, at, number in [(0, 0, 0), (3, 0, 83), (7, len(dilations) - 1, filters - 1), (19, 0, 40)]:
        expected = feature_by_hand(drawn, windows[row], dilations[at], number)
        assert features[row, at * filters + number] == pytest.approx(expected, abs=1e-5)
    assert features.std() > 0.5
    assert abs(features).max() <= 4


def test_each_kernel_sums_to_zero_and_reads_few_of_many_columns() -> None:
    drawn = draw_convolutions(random_windows(5, 10, 30))
    np.testing.assert_array_equal(drawn.weights.sum(axis=1), 0)
    read = (drawn.weights != 0).any(axis=1).sum(axis=1)
    assert read.min() == 1
    assert 4 <= read.max() <= convolutions.MAX_COLUMNS


def test_features_do_not_depend_on_units_or_on_other_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = random_windows(50, 30, 2, missing=0.05)
    whole = draw_convolutions(windows).features(windows)
    # A power of 2 does not affect rounding.
    units = windows * np.float32(1024)
    np.testing.assert_array_equal(draw_convolutions(units).features(units), whole)
    monkeypatch.setattr(convolutions, "BATCH_POSITIONS", 100)
    np.testing.assert_array_equal(draw_convolutions(windows).features(windows), whole)
    assert draw_convolutions(windows).features(windows[:0]).shape == (0, 1008)


@settings(max_examples=20)
@given(st.floats(-(2.0**100), 2.0**100, width=32), st.integers(0, 2))
def test_extreme_and_missing_values_give_finite_features(value: float, kind: int) -> None:
    windows = random_windows(6, 12, 2)
    windows[2, 3] = value
    if kind:
        windows[:, :, 1] = np.nan if kind == 1 else 7
    features = draw_convolutions(windows).features(windows)
    assert np.isfinite(features).all()
    assert abs(features).max() <= 4


@pytest.mark.slow
def test_shapes_at_any_step_are_classified_by_convolutions_only() -> None:
    windows, label = bumps(200)
    data = labeled_data(windows, label, divided=True)
    flat, convolved = fit_baselines(data)
    accuracy = {
        regression.name: float((regression.probabilities(windows[160:]).argmax(axis=1) == label[160:]).mean())
        for regression in (flat, convolved)
    }
    assert accuracy["logistic regression on convolutions"] > 0.95
    assert accuracy["logistic regression"] < 0.8
    assert type(fit_link(data)) is ConvolutionRegression
    # The regression on values suffices for a level at a fixed step.
    levels = random_windows(200, 12, 1)
    levels[:, 5, 0] += 3 * (np.arange(200) % 2)
    data = labeled_data(levels, np.arange(200) % 2, divided=True)
    np.testing.assert_array_equal(fit_link(data).weights, fit_logistic_regression(data)[0].weights)


@pytest.mark.slow
def test_link_is_selected_before_training_and_validation_are_joined() -> None:
    """The more a regression adapts to windows that also judge it, the better it seems."""
    windows, label = random_windows(60, 12, 1), np.random.default_rng(1).integers(0, 2, 60)
    windows[:, 5, 0] += label
    data = labeled_data(windows, label, divided=True)
    joined = join_training(data)
    _, strength = fit_logistic_regression(data)
    assert type(fit_link(data)) is LogisticRegression
    assert fit_logistic_regression(joined)[1] > strength
    link = fit_link(joined)
    expected, _ = fit_logistic_regression(joined, (strength,))
    assert link.windows == data.train.samples + data.validation.samples
    np.testing.assert_array_equal(link.weights, expected.weights)
    # Judged by windows that it was fitted to, the regression on convolutions seems better.
    losses = [
        log_loss(fit(joined)[0].probabilities(data.validation.windows()), data.validation.label)
        for fit in (fit_logistic_regression, fit_convolution_regression)
    ]
    assert losses[1] < losses[0]


def test_very_wide_windows_have_no_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    windows, label = bumps(60)
    monkeypatch.setattr(baselines, "MAX_CONVOLVED_WIDTH", 39)
    assert [type(one) for one in fit_baselines(labeled_data(windows, label, divided=True))] == [LogisticRegression]


def test_convolution_regression_loads_after_saving() -> None:
    windows, label = bumps(60)
    _, fitted = fit_baselines(labeled_data(windows, label, divided=True))
    again = ConvolutionRegression.from_content(fitted.content(), "convolutions.npz")
    np.testing.assert_array_equal(again.probabilities(windows), fitted.probabilities(windows))


@pytest.mark.parametrize("kind", [LogisticRegression, ConvolutionRegression])
@pytest.mark.parametrize(("scaled", "missing"), [("standard", 0.1), ("window", 0.0)])
def test_untrained_network_equals_the_linked_baseline(
    kind: type[WindowRegression], scaled: str, missing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = 5 + 3 * random_windows(60, 20, 2, missing=missing)
    label = np.arange(60) % 3
    windows[label == 1, 4] += 4
    lines = np.array([[5.0, 5.0]], np.float32)
    scale = Scale("fixed", lines, lines / 2) if scaled == "standard" else Scale("window", *(np.zeros((2, 0, 2)) + 1))
    data = labeled_data(windows, label, divided=True, scale=scale)
    # Add a class without training windows.
    data = data._replace(classes=(*data.classes, "never"))
    fitted = next(one for one in fit_baselines(data) if type(one) is kind)
    monkeypatch.setattr(classification, "fit_link", lambda _: fitted)
    config = Series(task="classify", label_col="kind", units=2, window=20)
    found = classification.probabilities(KerasNetwork(build_model(config, data)), data.test)
    expected = fitted.probabilities(data.test.windows())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found[:, 3] == 0).all()
