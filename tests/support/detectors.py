"""A detector without a network, whose scores can be calculated by hand."""

from typing import Any

import numpy as np

from lstm_ae.apply.detect import RunDetector
from lstm_ae.config import Series
from lstm_ae.data.preparation import SeriesScales
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.detection.baselines import PrincipalComponents
from lstm_ae.detection.calibration import NormalScores, windowwise

MINUTE = 60 * 10**9


def detector_of(window: int = 3, features: int = 1, smooth: int = 1, **options: Any) -> RunDetector:
    """Return a detector whose errors are squared distances from the window's mean, weighted by position."""

    def errors(windows: Any) -> Any:
        filled = np.nan_to_num(windows)
        return np.square(windows - filled.mean(axis=1, keepdims=True)) * np.arange(1, window + 1)[:, None]

    names = tuple(f"value {number}" for number in range(features))
    config = Series(**{"window": window, "freq": "1min", "max_gap": 2, "value_cols": names} | options)
    components = PrincipalComponents(
        np.zeros((window, features), np.float32), np.zeros((1, window * features), np.float32)
    )
    scores = np.random.default_rng(0).exponential(size=400)
    normal = NormalScores(scores, scores, np.zeros(400, np.int32), components, smooth, MINUTE, fixed_scale())
    adding = windowwise(errors, window)
    return RunDetector(config, SeriesScales(fixed_scale()), normal, adding, adding)
