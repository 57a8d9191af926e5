"""The distances of windows in the graph equal those of the calibration of the run."""

import numpy as np
import pytest
import tensorflow as tf
from detectors import fitted_calibration

from lstm_ae.export.score_endpoint import measure_deviations, squared_distances


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_distances_in_the_graph_equal_those_of_the_calibration(missing: float) -> None:
    random, calibration = np.random.default_rng(0), fitted_calibration(6, 2)
    residuals = random.normal(size=(50, 6, 2)).astype(np.float32)
    residuals[random.random(residuals.shape) < missing] = np.nan
    residuals[7] = np.nan
    residuals[8, 3, 1] = 1e30
    residuals[9, 2, 0] = -np.inf

    @tf.function
    def measure(windows: tf.Tensor) -> tf.Tensor:
        return squared_distances(calibration, calibration.distance.axes, measure_deviations(calibration, windows))

    found = measure(residuals).numpy()
    expected = calibration.measure(residuals).distances
    assert np.flatnonzero(np.isnan(expected)).tolist() == [7]
    assert (expected[[8, 9]] > 1e20).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
