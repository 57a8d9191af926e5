"""Scales with hand-computed values, and the scaling of the graph compared with that of NumPy."""

import numpy as np
import pytest

from lstm_ae.data.scaling import Scale, company_scale, fit_scale, fixed_scale, series_scale, window_scale

# Company 1 ranges from 2 to 10, company 2 is constant at 5, and company 3 has no training row.
ROWS = np.array([[2], [10], [4], [5], [5]], np.float32)
LINES = np.array([1, 1, 1, 2, 2], np.int32)


def companies() -> Scale:
    return company_scale(ROWS, LINES, 3)


def test_company_scale_is_minimum_and_range_of_each_company() -> None:
    scale = companies()
    assert (scale.kind, scale.offset.dtype, scale.range.dtype) == ("company", np.float32, np.float32)
    assert scale.offset.tolist() == [[0], [2], [5], [0]]
    assert scale.range.tolist() == [[1], [8], [1], [1]]
    two = company_scale(np.array([[1, 100], [3, 900]], np.float32), np.array([1, 1], np.int32), 1)
    assert (two.offset.tolist(), two.range.tolist()) == ([[0, 0], [1, 100]], [[1, 1], [2, 800]])


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_standard_scale_is_mean_and_deviation_in_any_unit(unit: float) -> None:
    scale = fit_scale("standard", np.array([[2, 0], [4, 0], [np.nan, 0]], np.float32) * np.float32(unit))
    np.testing.assert_allclose(scale.offset, [[3 * unit, 0]], rtol=1e-6)
    np.testing.assert_allclose(scale.range, [[unit, 1]], rtol=1e-6)


def machines() -> Scale:
    """Return a scale of common mean 10, deviation 4; series 1 is 2 or 4, 2 is constant, 3 has one value."""
    rows = np.array([[2], [4], [2], [4], [np.nan], [5], [5], [5], [5], [77], [99]], np.float32)
    lines = np.array([1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 0], np.int32)
    return series_scale(rows, lines, 4, fixed_scale(10, 4), min_count=4)


def test_series_scale_is_mean_and_deviation_of_each_series() -> None:
    """A constant series uses the common deviation; a series with few values also uses the common mean."""
    scale = machines()
    assert scale.kind == "series"
    assert scale.offset.tolist() == [[10], [3], [5], [10]]
    assert scale.range.tolist() == [[4], [1], [4], [4]]
    assert scale.offset.dtype == scale.range.dtype == np.float32


def test_series_that_varies_within_float_precision_is_constant() -> None:
    rows = np.array([[1000], [np.nextafter(np.float32(1000), np.float32(2000))]] * 4, np.float32)
    assert series_scale(rows, np.ones(8, np.int32), 2, fixed_scale(0, 50), min_count=4).range[1].item() == 50


def test_rows_in_the_common_scale_keep_their_scaled_values() -> None:
    scale, line = machines(), np.array([1, 1, 2, 3, 0, -1, 99, 1], np.int32)
    rows = np.array([[3], [5], [6], [20], [0.1], [0.3], [12], [np.nan]], np.float32)
    level = scale.to_common(rows, line)
    assert level.dtype == np.float32
    assert level[:4].ravel().tolist() == [10, 18, 11, 20]  # 10 + (5 - 3) / 1 * 4, and so on
    np.testing.assert_array_equal(level[3:7], rows[3:7])  # unchanged to the last bit in the common scale
    own, common = (
        scale.scaled(rows[:, None], rows[:, None], line),
        scale.common.scaled(level[:, None], level[:, None]),
    )
    np.testing.assert_allclose(own, common, rtol=1e-6)
    np.testing.assert_allclose(scale.from_common(level, line), rows, rtol=1e-6)
    assert scale.common.kind == "fixed"
    assert fixed_scale(1, 2).to_common(rows, line) is rows
    assert np.isinf(scale.to_common(np.full((1, 1), 3e38, np.float32), np.ones(1, np.int32)))


@pytest.mark.parametrize(
    ("scale", "lines", "offsets", "ranges"),
    [
        (companies(), [1, 2], [2, 5], [8, 1]),
        # An unknown company is scaled by its window; a constant window is divided by 1.
        (companies(), [0, 99], [3, 6], [4, 1]),
        (companies(), None, [3, 6], [4, 1]),
        (window_scale(1), None, [3, 6], [4, 1]),
        (fixed_scale(10, 255), None, [10, 10], [255, 255]),
    ],
)
def test_scale_of_windows(scale: Scale, lines: list[int] | None, offsets: list[int], ranges: list[int]) -> None:
    past = np.array([[[3], [7]], [[6], [6]]], np.float32)
    offset, span = scale.of(past, None if lines is None else np.array(lines, np.int32))
    assert offset.shape == span.shape == (2, 1, 1)
    assert (offset.ravel().tolist(), span.ravel().tolist()) == (offsets, ranges)


@pytest.mark.parametrize(
    ("scale", "company"),
    [
        (fixed_scale(), None),
        (fixed_scale(7, 255), None),
        (window_scale(1), None),
        (companies(), [1, 2, 3, 0, -5, 99]),
        (machines(), [1, 2, 3, 0, -5, 99]),
    ],
    ids=["identity", "fixed", "window", "company", "series"],
)
def test_graph_scaling_matches_numpy_scaling(scale: Scale, company: list[int] | None) -> None:
    import keras

    from lstm_ae.models.scaling import in_own_units, inner_network, inner_scaling

    past = np.random.default_rng(0).uniform(1, 100, (6, 4, 1)).astype(np.float32)
    past[2] = 5  # a constant window
    inputs = {"past": past}
    lines = None
    if company is not None:
        lines = inputs[scale.kind] = np.array(company, np.int32)
    same = keras.Input((None, 1), name="past")
    network = keras.Model({"past": same}, {"future": keras.layers.Identity()(same)}, name="network")
    model = in_own_units(network, scale)

    offset, span = scale.of(past, lines)
    got = {key: value.numpy() for key, value in inner_scaling(model)(inputs).items()}
    np.testing.assert_array_equal(got["offset"], offset)
    np.testing.assert_array_equal(got["range"], span)
    np.testing.assert_allclose(got["scaled"], (past - offset) / span, rtol=1e-6, atol=1e-7)
    # The output is converted back to data units: an identity network gives an identity model.
    np.testing.assert_allclose(model(inputs)["future"], past, rtol=1e-6)
    assert inner_network(model) is network
    assert list(model.input) == list(inputs)
    assert not model.trainable_variables


def test_label_output_is_not_converted_to_data_units() -> None:
    import keras

    from lstm_ae.models.scaling import in_own_units

    sequence = keras.Input((2, 1), name="sequence")
    half = keras.layers.Rescaling(0.5)(sequence)
    network = keras.Model({"sequence": sequence}, {"reconstruction": half, "label": half[:, 0]}, name="network")
    outputs = in_own_units(network, fixed_scale(100, 10))({"sequence": np.array([[[120], [140]]], np.float32)})
    assert outputs["label"].numpy().tolist() == [[1.0]]  # (120 - 100) / 10 * 0.5
    assert outputs["reconstruction"].numpy().ravel().tolist() == [110, 120]  # 100 + 10 * (1, 2)


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_sample_scaling_does_not_depend_on_batch_size(samples: int, features: int) -> None:
    """In batches with as many samples as steps or features, Keras' `add` mistakes the offset for a bias."""
    import keras

    from lstm_ae.models.scaling import in_own_units

    past = np.random.default_rng(0).uniform(1, 100, (samples, 3, features)).astype(np.float32)
    for steps in (3, 1):
        series = keras.Input((None, features), name="past")
        network = keras.Model({"past": series}, {"future": series[:, -steps:]}, name="network")
        model = in_own_units(network, window_scale(features))
        np.testing.assert_allclose(model({"past": past})["future"], past[:, -steps:], rtol=1e-5)
