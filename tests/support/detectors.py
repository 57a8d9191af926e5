"""A detector without a network, whose scores can be calculated by hand."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lstm_ae.apply.detect import Detection, RunDetector, detect_prepared, load_detector
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config import Series
from lstm_ae.data.scaling import SeriesScales, fixed_scale
from lstm_ae.detection.baselines import CovarianceDistance, PrincipalComponents, ShapeMemory, fit_covariance, fit_shapes
from lstm_ae.detection.calibration import CalibratedScores, DetectorCalibration, NormalScores, OnlineUnits, UsualErrors
from lstm_ae.detection.row_means import Residuals, sliding_windows
from lstm_ae.detection.scorer import View
from lstm_ae.model_store import ModelStore

MINUTE = 60 * 10**9

VIEW_NAMES = ("network", "shape", "windows", "baseline")


def plain_calibration(window: int, features: int) -> DetectorCalibration:
    """Return a calibration by which the score of a window is the mean of its squared residuals.

    Errors are the squared residuals, and no row of an event stands out.
    """
    distance = CovarianceDistance.mean_square(window, features)
    return DetectorCalibration(
        np.ones(features, np.float32), distance, 1.0, UsualErrors(0.0, np.inf), OnlineUnits(1.0, 1.0)
    )


def fitted_calibration(window: int, features: int) -> DetectorCalibration:
    """Return a calibration to random correlated residuals, so that scores depend on all its parts."""
    random, values = np.random.default_rng(window), window * features
    mixed = (random.normal(size=(200, values)) @ random.normal(size=(values, values))).reshape(200, window, features)
    deviation = np.linspace(0.5, 2, features).astype(np.float32)
    distance = fit_covariance(mixed.astype(np.float32) + np.float32(0.2), min_eigenvalue=1.0)
    return DetectorCalibration(deviation, distance, 1.7, UsualErrors(0.0, np.inf), OnlineUnits(2.0, 3.0))


def score_parameters(window: int, features: int) -> Any:
    """Return the parameters of a score by a network and by the shapes of random windows."""
    from lstm_ae.export.score_endpoint import ScoreParameters  # imports TensorFlow

    windows = np.random.default_rng(1).normal(size=(30, window, features))
    memory = fit_shapes(windows, np.ones(features, np.float32))
    shape = plain_calibration(window, features)._replace(unit=0.7)
    return ScoreParameters(0.5, fitted_calibration(window, features), (shape, memory), 2)


def with_calibration(detector: RunDetector, calibration: DetectorCalibration) -> RunDetector:
    """Return a detector that scores by its network alone, with another calibration."""
    return with_view(detector, detector.views["network"]._replace(calibration=calibration))


def with_view(detector: RunDetector, view: View) -> RunDetector:
    """Return a detector with the same view under each name, whose combined scores are those of the view."""
    return dataclasses.replace(detector, views=dict.fromkeys(VIEW_NAMES, view))


def sliding(residuals: Callable[[Any], Any], window: int) -> Residuals:
    """Return a function from rows and a stride to the residuals of their windows, from one of windows."""
    return lambda rows, stride: residuals(sliding_windows(rows, window, stride))


def detector_of(window: int = 3, features: int = 1, **options: Any) -> RunDetector:
    """Return a detector whose errors are squared distances from the window's mean, weighted by position."""

    def residuals(windows: Any) -> Any:
        filled = np.nan_to_num(windows)
        return (filled.mean(axis=1, keepdims=True) - windows) * np.sqrt(np.arange(1, window + 1))[:, None]

    names = tuple(f"value {number}" for number in range(features))
    config = Series(**{"window": window, "freq": "1min", "max_gap": 2, "value_cols": names} | options)
    components = PrincipalComponents(
        np.zeros((window, features), np.float32), np.zeros((1, window * features), np.float32)
    )
    scores = np.random.default_rng(0).exponential(size=400)
    calibration = plain_calibration(window, features)
    normal = normal_scores(CalibratedScores(calibration, scores, scores / 2), components, MINUTE)
    view = View(sliding(residuals, window), calibration)
    return RunDetector(config, SeriesScales(fixed_scale()), normal, dict.fromkeys(VIEW_NAMES, view))


def normal_scores(scored: CalibratedScores, components: PrincipalComponents, step: int = 0) -> NormalScores:
    """Return normal scores that are equal for all views."""
    window, features = components.mean.shape
    memory = ShapeMemory(np.zeros((1, window * features), np.float16), np.ones(features, np.float32))
    segment = np.zeros(len(scored.scores), np.int32)
    return NormalScores(*4 * [scored], segment, np.ones(features, bool), memory, components, step, fixed_scale())


def detect_file(run: ModelStore, request: TableRequest, rule: str | None = None) -> Detection:
    """Return the detection of a run in a table."""
    detector = load_detector(run, request.reading)
    return detect_prepared(detector, detector.read(request), rule)
