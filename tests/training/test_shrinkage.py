"""Test the share of its correction that a trained forecaster keeps."""

import keras
import numpy as np
import pytest

from lstm_ae.training.shrinkage import Correction

START = np.array([1.0, -2.0], np.float32)
TRAINED = np.array([3.0, 4.0], np.float32)


def trained_correction() -> tuple[Correction, keras.Variable]:
    variable = keras.Variable(START)
    correction = Correction([variable])
    variable.assign(TRAINED)
    return correction, variable


def value_at(share: float) -> np.ndarray:
    return START + np.float32(share) * (TRAINED - START)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_share_of_the_change_is_left(share: float) -> None:
    correction, variable = trained_correction()
    correction.shrink(share)
    np.testing.assert_array_equal(np.array(variable), value_at(share))


@pytest.mark.parametrize(("best", "share"), [(0.68, 0.68), (0.6789, 0.68), (0.51, 0.51), (1.0, 1.0), (1.7, 1.0)])
def test_share_has_the_smallest_squared_error(best: float, share: float) -> None:
    correction, variable = trained_correction()
    truth = START + best * (TRAINED - START)

    def loss() -> float:
        return float(np.square(np.array(variable, np.float64) - truth).mean())

    assert correction.shrink_to_best(loss, float(np.square(START - truth).mean())) == share
    np.testing.assert_array_equal(np.array(variable), value_at(share))


@pytest.mark.parametrize(
    "losses",
    [
        {0.0: 3.0, 0.5: 2.5, 1.0: 1.0},  # not convex
        {0.0: 3.0, 0.5: 1.2, 1.0: 1.0, 0.81: 1.01},  # not quadratic, and larger at the minimum of the parabola
    ],
)
def test_everything_is_left_unless_the_error_is_smaller(losses: dict[float, float]) -> None:
    correction, variable = trained_correction()

    def loss() -> float:
        share = (float(np.array(variable)[0]) - START[0]) / (TRAINED[0] - START[0])
        return losses[min(losses, key=lambda known: abs(known - share))]

    assert correction.shrink_to_best(loss, losses[0.0]) == 1
    np.testing.assert_array_equal(np.array(variable), TRAINED)
