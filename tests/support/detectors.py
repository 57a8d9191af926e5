"""A detector without a network, whose scores can be calculated by hand."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lstm_ae.apply.compare import PCA, Comparison, compare
from lstm_ae.apply.detect import Detection, RunDetector, detect, load_detector
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.arrays import Array
from lstm_ae.config import Series
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.scaling import SeriesScales, fixed_scale
from lstm_ae.detection.baselines import MAHALANOBIS, CovarianceDistance, PrincipalComponents, fit_covariance
from lstm_ae.detection.calibration import NormalScores
from lstm_ae.detection.events import ANOMALY, AlarmRule, Event
from lstm_ae.detection.row_means import Residuals, sliding_windows
from lstm_ae.detection.views import NETWORK, Calibration, NetworkView, Units, WindowsView
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series.reconstruction import MahalanobisScores, PcaScores

MINUTE = 60 * 10**9


def plain_calibration(window: int, features: int) -> Calibration:
    """Return a calibration by which the distance of a window is the mean of its squared residuals."""
    return Calibration(np.ones(features, np.float32), CovarianceDistance.mean_square(window, features))


def fitted_calibration(window: int, features: int) -> Calibration:
    """Return a calibration to random correlated residuals, so that scores depend on all its parts."""
    random, values = np.random.default_rng(window), window * features
    mixed = (random.normal(size=(200, values)) @ random.normal(size=(values, values))).reshape(200, window, features)
    deviation = np.linspace(0.5, 2, features).astype(np.float32)
    distance = fit_covariance(mixed.astype(np.float32) + np.float32(0.2), min_eigenvalue=1.0)
    return Calibration(deviation, distance, Units(2.0, 3.0, 1.7))


def network_view(calibration: Calibration) -> NetworkView:
    """Return the view of residuals with a calibration."""
    return NetworkView(calibration, alarms=True, ranks=True)


def score_parameters(window: int, features: int) -> Any:
    """Return the parameters of an alarm score by a network and by the windows of the first column."""
    from lstm_ae.export.score_endpoint import ScoreParameters  # imports TensorFlow

    columns = np.arange(features) == 0
    windows = WindowsView(fitted_calibration(window, 1), alarms=True, ranks=True, columns=columns)
    views = {"network": network_view(fitted_calibration(window, features)), "windows": windows}
    return ScoreParameters(AlarmRule(0.5, window), views, 2)


def with_calibration(detector: RunDetector, calibration: Calibration) -> RunDetector:
    """Return a detector with another calibration."""
    normal = dataclasses.replace(detector.normal, views={"network": network_view(calibration)})
    return dataclasses.replace(detector, normal=normal)


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
    scores = np.random.default_rng(0).exponential(size=400)
    normal = normal_scores(plain_calibration(window, features), scores, MINUTE)
    return RunDetector(config, SeriesScales(fixed_scale()), normal, {NETWORK: sliding(residuals, window)})


def normal_scores(calibration: Calibration, scores: Array, step: int = 0) -> NormalScores:
    """Return the normal scores of a detector whose only view is that of residuals."""
    window, segment = len(calibration.distance.mean), np.zeros(len(scores), np.int32)
    return NormalScores({"network": network_view(calibration)}, scores, segment, window, step, fixed_scale())


def event_of(first: int, last: int, **facts: Any) -> Event:
    """Return an event of one column whose first row is the peak and the alarm."""
    score = {"begun": 1.0, "score": 1.0, "p": 0.1, "errors": (1.0,), "provisional": False}
    return Event(**{"kind": ANOMALY, "first": first, "last": last, "peak": first, "alarm": first} | score | facts)


def compared(detector: RunDetector, prepared: PreparedTable, rule: str) -> tuple[Detection, Comparison]:
    """Return a detection, and its comparison with baselines whose scores equal those of the detector."""
    window, features = detector.scorer().window, detector.scorer().features
    components = PrincipalComponents(
        np.zeros((window, features), np.float32), np.zeros((1, window * features), np.float32)
    )
    fields = vars(detector.normal)
    baselines = {
        name: dataclasses.replace(detector, normal=normal)
        for name, normal in (
            (PCA, PcaScores(**fields, components=components)),
            (MAHALANOBIS, MahalanobisScores(**fields)),
        )
    }
    detection = detect(detector, prepared, rule)
    return detection, compare(detector, baselines, detection, rule)


def detect_file(run: ModelStore, request: TableRequest, rule: str | None = None) -> Detection:
    """Return the detection of a run in a table."""
    detector = load_detector(run, request.reading)
    return detect(detector, detector.read(request), rule)
