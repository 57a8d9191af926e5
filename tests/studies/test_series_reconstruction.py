"""Test autoencoders of tables."""

import numpy as np

from lstm_ae.config import Series
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.studies.series import reconstruction


def test_columns_that_are_constant_in_validation_rows_differ_from_those_that_never_change() -> None:
    """A change of the second column, which is constant in all normal rows, has a deviation of a hundredth."""
    rows = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    rows[:, 1] = 0
    rows[200:] = 0
    parts = [rows[:200], rows[200:], rows[200:]]
    splits = (Split(part, np.arange(len(part) - 4), 5, np.zeros(len(part), np.int32)) for part in parts)
    data = Data(*splits, fixed_scale(), Source("t", "", ""))
    config = Series(data="x.csv", window=5, code=2, units=3)
    normal = reconstruction.score_normal_rows(KerasNetwork(reconstruction.build(config, data)), data, config)
    # The columns have a standard deviation of 1 in the training rows.
    np.testing.assert_allclose(normal.baseline.calibration.deviation, [0.75, 0.01], rtol=0.1)
