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
from lstm_ae.detection.baselines import fit_principal_components
from lstm_ae.detection.calibration import calibrate
from lstm_ae.detection.drift import fit_adaptation
from lstm_ae.detection.events import ScoredRows, find_events
from lstm_ae.detection.row_means import sliding_windows
from lstm_ae.detection.scorer import Scorer
from lstm_ae.detection.thresholds import Threshold, fit_threshold
from lstm_ae.detection.views import NETWORK, VALUE_ROUNDING, NetworkView, TrainingWindows

pytestmark = pytest.mark.slow

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


def _calibrated(series: Array, windows: int) -> tuple[Array, Array, Array]:
    """Return the alarm scores of the normal rows and of the later rows, and the errors of these."""
    training, normal, later = np.split(series, [TRAINING, TRAINING + windows * WINDOW])
    components = fit_principal_components(sliding_windows(training, WINDOW), 8)

    def residuals(part: Array, stride: int) -> Array:
        return components.residuals(sliding_windows(part, WINDOW, stride))

    sample = sliding_windows(training, WINDOW)
    known = TrainingWindows(
        windows=sample,
        sample=sample,
        residuals=residuals(training, 1),
        spread=np.ones(1),
        rounding=VALUE_ROUNDING,
        continuous=np.ones(1, bool),
    )
    sources, one = {NETWORK: residuals}, np.zeros(len(normal))
    fitted = calibrate({"network": NetworkView.fit(known)}, sources, normal, one, known)
    found = Scorer(list(fitted.views.values()), sources).score_rows(later, np.zeros(len(later)))
    return fitted.scores, found.scores, found.errors


def _count_alarms(scores: Array, errors: Array, threshold: Threshold) -> int:
    rows = np.arange(len(scores))
    table = ScoredRows(
        series=np.zeros(len(rows)),
        times=rows,
        begins=rows == 0,
        scores=scores,
        p=threshold.p_values(scores),
        windows=scores,
        errors=errors,
    )
    return len(find_events(table, threshold.alarm_rule(WINDOW)).events)


def _within_the_interval(events: int, alarms: Any, rows: int) -> bool:
    """Return whether a count agrees with the interval of the expected number, around which counts vary."""
    _, low, high = alarms.per(rows)
    return low - 2 * math.sqrt(low) - 1 <= events <= high + 2 * math.sqrt(high) + 1


SAMPLE = (
    ("season", 4, ":at-most"),
    ("autoregressive", 12, ""),
    ("heavy tails", 60, ""),
    ("changing noise", 12, ":at-most"),
)


@pytest.mark.parametrize(
    ("kind", "windows", "end"), sampled(itertools.product(KINDS, (4, 12, 60), ("", ":at-most")), slow=SAMPLE)
)
def test_false_alarms_lie_in_the_stated_interval(kind: str, windows: int, end: str) -> None:
    inside = 0
    for seed in range(RUNS):
        rows = TRAINING + (windows + LATER) * WINDOW
        series = KINDS[kind](rows, np.random.default_rng(seed)).astype(np.float32)[:, None]
        series /= series[:TRAINING].std()
        normal, later, errors = _calibrated(series, windows)
        threshold = fit_threshold(parse_threshold(f"budget:1/month{end}"), normal, WINDOW, step=np.timedelta64(1, "h"))
        inside += _within_the_interval(_count_alarms(later, errors, threshold), threshold.alarms, len(later))
    assert inside >= RUNS - 1


def test_adaptive_threshold_keeps_the_budget_under_slow_change() -> None:
    """The noise doubles over the later rows; a constant threshold is exceeded far more often than one that follows."""
    windows, rule, inside = 60, parse_threshold("budget:1/month"), 0
    for seed in range(RUNS):
        rows = TRAINING + (windows + LATER) * WINDOW
        growth = np.interp(np.arange(rows), [rows - LATER * WINDOW, rows], [1, 2])
        series = _season(rows) + 0.2 * growth * np.random.default_rng(seed).normal(size=rows)
        normal, scores, errors = _calibrated(series.astype(np.float32)[:, None], windows)
        adaptation = fit_adaptation(normal, np.zeros(len(normal)), 5 * WINDOW, WINDOW)
        constant, adapted = (
            fit_threshold(rule, fitted, WINDOW, step=np.timedelta64(1, "h")) for fitted in (normal, adaptation.scores)
        )
        one = np.zeros(len(scores))
        relative = adaptation.relative(scores, adapted.value, one, one)
        assert np.mean(scores > constant.value) > 0.1 > 5 * np.mean(relative > adapted.value)
        inside += _within_the_interval(_count_alarms(relative, errors, adapted), adapted.alarms, len(scores))
    assert inside >= RUNS - 1
