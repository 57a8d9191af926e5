"""The alarm budget on long normal series, after a calibration on few normal rows."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sampling import sampled

from lstm_ae.arrays import Array
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.detection.baselines import fit_covariance, fit_principal_components
from lstm_ae.detection.calibration import DetectorCalibration, RowScores, calibrate_detector, fit_deviation
from lstm_ae.detection.drift import fit_adaptation
from lstm_ae.detection.events import true_ranges
from lstm_ae.detection.row_means import sliding_windows
from lstm_ae.detection.scorer import View, score_rows
from lstm_ae.detection.thresholds import fit_threshold

pytestmark = pytest.mark.slow

Score = Callable[..., RowScores]
WINDOW, TRAINING, RUNS = 60, 2000, 8

# Windows after the calibration. A row is an hour, so that a month is twelve windows.
LATER = 300


def _season(rows: int) -> Array:
    return np.sin(2 * np.pi * np.arange(rows) / 30)


def _autoregressive(rows: int, random: np.random.Generator, memory: float = 0.9) -> Array:
    noise, values = random.normal(size=rows), np.zeros(rows)
    for row in range(1, rows):
        values[row] = memory * values[row - 1] + noise[row]
    return values


def _changing_noise(rows: int, random: np.random.Generator) -> Array:
    level = 0.05 * _autoregressive(rows, random, 0.98)
    return _season(rows) + 0.2 * np.exp(level) * random.normal(size=rows)


KINDS: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "season": lambda rows, random: _season(rows) + 0.2 * random.normal(size=rows),
    "autoregressive": _autoregressive,
    "heavy tails": lambda rows, random: _season(rows) + 0.2 * random.standard_t(4, size=rows),
    "changing noise": _changing_noise,
}


def _calibrated(series: Array, windows: int, seed: int) -> tuple[Any, Score, Array, Array]:
    """Return the calibration on the normal rows, a function that scores rows, and the normal and the later rows."""
    training, normal, later = np.split(series, [TRAINING, TRAINING + windows * WINDOW])
    components = fit_principal_components(sliding_windows(training, WINDOW), 8)

    def residuals(part: Array, stride: int) -> Array:
        return components.residuals(sliding_windows(part, WINDOW, stride))

    def score(calibration: DetectorCalibration, online: bool, part: Array = normal) -> RowScores:
        return score_rows([View(residuals, calibration)], part, np.zeros(len(part), int), online=online)

    of_training = residuals(training, 1)
    deviation = fit_deviation(of_training, np.ones(1))
    found = calibrate_detector(fit_covariance(of_training / deviation, seed, 1.0), deviation, score)
    return found, score, normal, later


def _within_the_interval(events: int, alarms: Any, rows: int) -> bool:
    """Return whether a count agrees with the interval of the expected number, around which counts vary."""
    _, low, high = alarms.per(rows)
    return low - 2 * math.sqrt(low) - 1 <= events <= high + 2 * math.sqrt(high) + 1


SAMPLE = (("season", 4, True), ("autoregressive", 12, False), ("heavy tails", 60, True), ("changing noise", 12, True))


@pytest.mark.parametrize(
    ("kind", "windows", "online"), sampled(itertools.product(KINDS, (4, 12, 60), (False, True)), slow=SAMPLE)
)
def test_false_alarms_lie_in_the_stated_interval(kind: str, windows: int, online: bool) -> None:
    inside = 0
    for seed in range(RUNS):
        rows = TRAINING + (windows + LATER) * WINDOW
        series = KINDS[kind](rows, np.random.default_rng(seed)).astype(np.float32)[:, None]
        series /= series[:TRAINING].std()
        found, score, _, later = _calibrated(series, windows, seed)
        threshold = fit_threshold(
            parse_threshold("budget:1/month"),
            found.online if online else found.scores,
            WINDOW,
            step=np.timedelta64(1, "h"),
        )
        events = len(true_ranges(score(found.calibration, online, later).scores > threshold.value, WINDOW))
        inside += _within_the_interval(events, threshold.alarms, len(later))
    assert inside >= RUNS - 1


def test_adaptive_threshold_keeps_the_budget_under_slow_change() -> None:
    """The noise doubles over the later rows; a constant threshold is exceeded far more often than one that follows."""
    windows, rule, inside = 60, parse_threshold("budget:1/month"), 0
    for seed in range(RUNS):
        rows = TRAINING + (windows + LATER) * WINDOW
        growth = np.interp(np.arange(rows), [rows - LATER * WINDOW, rows], [1, 2])
        series = _season(rows) + 0.2 * growth * np.random.default_rng(seed).normal(size=rows)
        found, score, normal, later = _calibrated(series.astype(np.float32)[:, None], windows, seed)
        adaptation = fit_adaptation(found.online, np.zeros(len(normal)), 5 * WINDOW, WINDOW)
        scores, one = score(found.calibration, True, later).scores, np.zeros(len(later))
        constant, adapted = (
            fit_threshold(rule, fitted, WINDOW, step=np.timedelta64(1, "h"))
            for fitted in (found.online, adaptation.scores)
        )
        above = adaptation.relative(scores, adapted.value, one, one) > adapted.value
        assert np.mean(scores > constant.value) > 0.1 > 5 * np.mean(above)
        inside += _within_the_interval(len(true_ranges(above, WINDOW)), adapted.alarms, len(later))
    assert inside >= RUNS - 1
