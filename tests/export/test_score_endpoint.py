"""The score of a window in the graph equals that of the calibration of the run."""

import numpy as np
import pytest
import tensorflow as tf
from detectors import fitted_calibration

from lstm_ae.export.score_endpoint import squared_distances


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_distances_in_the_graph_equal_those_of_the_calibration(missing: float) -> None:
    random, calibration = np.random.default_rng(0), fitted_calibration(6, 2)
    residuals = random.normal(size=(50, 6, 2)).astype(np.float32)
    residuals[random.random(residuals.shape) < missing] = np.nan
    residuals[7] = np.nan
    residuals[8, 3, 1] = 1e30
    residuals[9, 2, 0] = -np.inf
    axes = calibration.distance.axes
    found = tf.function(lambda given: squared_distances(calibration, axes, given))(residuals).numpy()
    expected = calibration.scores(calibration.measure(residuals))
    assert np.flatnonzero(np.isnan(expected)).tolist() == [7]
    assert (expected[[8, 9]] > 1e20).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
