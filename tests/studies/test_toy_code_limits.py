"""Tests of the errors that a code of k numbers allows without training, and of their figure."""

import numpy as np
import pytest

from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.plots.code_limits import limits as draw
from lstm_ae.studies.toy_code_limits import code_limits


def part(values: np.ndarray) -> Split:
    samples, steps = values.shape
    return Split(values.reshape(-1, 1).astype(np.float32), np.arange(samples) * steps, steps)


def data_of(train: np.ndarray, validation: np.ndarray) -> Data:
    nothing = part(validation[:1])
    return Data(part(train), part(validation), nothing, fixed_scale(), Source("made up", "", ""))


def test_code_limits_of_last_values_and_mean_match_computed_errors() -> None:
    # The training means are 1 and 10, and the mean validation errors are 1 and 4.
    data = data_of(np.array([[0.0, 8.0], [2.0, 12.0]]), np.array([[0.0, 12.0], [2.0, 8.0]]))
    one, all_ = code_limits([data], [(1, 0.25), (5, None)])
    assert all_.mean == one.mean == pytest.approx(2.5)
    assert one.last == pytest.approx(0.5)  # the code stores the second value
    assert all_.last == 0
    assert (one.size, one.model) == (1, 0.25)


def test_code_limits_average_the_baselines_over_seeds() -> None:
    random = np.random.default_rng(0)
    every = [data_of(random.normal(size=(50, 4)), random.normal(size=(20, 4))) for _ in range(3)]
    (mean,) = code_limits(every, [(2, None)])
    each = [next(code_limits([data], [(2, None)])) for data in every]
    assert mean.pca == pytest.approx(np.mean([one.pca for one in each]))
    assert mean.last == pytest.approx(np.mean([one.last for one in each]))
    (whole,) = code_limits(every, [(4, None)])
    assert whole.pca == 0


def test_pca_limit_of_planar_data_is_zero_for_two_numbers() -> None:
    random = np.random.default_rng(0)
    directions = random.normal(size=(2, 6))
    train, validation = random.normal(size=(500, 2)) @ directions, random.normal(size=(100, 2)) @ directions
    one, two = code_limits([data_of(train, validation)], [(1, None), (2, None)])
    assert two.pca < 1e-8 < one.pca < one.mean


def test_code_limit_figure_omits_missing_and_zero_errors() -> None:
    drawn = draw([2, 8, 50], {"LSTM": [0.1, None, 0.01], "PCA": [0.05, 0.02, 0.0], "Mean": [0.2, 0.2, 0.2]})
    lstm, pca, mean = drawn.axes[0].get_lines()
    np.testing.assert_array_equal(lstm.get_ydata(), [0.1, np.nan, 0.01])
    np.testing.assert_array_equal(pca.get_ydata(), [0.05, 0.02, np.nan])
    assert len(mean.get_ydata()) == 3
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["LSTM", "PCA", "Mean"]
