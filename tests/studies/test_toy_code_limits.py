"""Tests of the errors that a code of k numbers allows without training."""

import numpy as np
import pytest

from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.studies.toy_code_limits import baseline_errors


def part(values: np.ndarray) -> Split:
    samples, steps = values.shape
    return Split(values.reshape(-1, 1).astype(np.float32), np.arange(samples) * steps, steps)


def data_of(train: np.ndarray, validation: np.ndarray) -> Data:
    nothing = part(validation[:1])
    return Data(part(train), part(validation), nothing, fixed_scale(), Source("made up", "", ""))


def test_code_limits_of_last_values_and_mean_match_computed_errors() -> None:
    # The training means are 1 and 10, and the mean validation errors are 1 and 4.
    data = data_of(np.array([[0.0, 8.0], [2.0, 12.0]]), np.array([[0.0, 12.0], [2.0, 8.0]]))
    _, last, mean = baseline_errors([data], 1)
    assert mean == pytest.approx(2.5)
    assert last == pytest.approx(0.5)  # the code stores the second value
    assert baseline_errors([data], 5)[1:] == (0, pytest.approx(2.5))


def test_code_limits_average_the_baselines_over_seeds() -> None:
    random = np.random.default_rng(0)
    every = [data_of(random.normal(size=(50, 4)), random.normal(size=(20, 4))) for _ in range(3)]
    each = [baseline_errors([data], 2) for data in every]
    assert baseline_errors(every, 2) == pytest.approx(np.mean(each, axis=0))
    assert baseline_errors(every, 4)[0] == 0


def test_pca_limit_of_planar_data_is_zero_for_two_numbers() -> None:
    random = np.random.default_rng(0)
    directions = random.normal(size=(2, 6))
    train, validation = random.normal(size=(500, 2)) @ directions, random.normal(size=(100, 2)) @ directions
    (one, _, mean), (two, _, _) = (baseline_errors([data_of(train, validation)], size) for size in (1, 2))
    assert two < 1e-8 < one < mean
