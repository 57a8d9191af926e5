"""Scores and errors of rows from the residuals of windows: by the definition, and for huge and constant values."""

import threading
import time

import numpy as np
import pytest
from detectors import fitted_calibration, normal_scores, plain_calibration, sliding
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae import threads
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.detection.baselines import CovarianceDistance, PrincipalComponents, fit_covariance
from lstm_ae.detection.calibration import (
    MIN_DEVIATION,
    MIN_UNIT,
    VALUE_ROUNDING,
    CalibratedScores,
    DetectorCalibration,
    OnlineUnits,
    RowScores,
    ScoredSeries,
    UsualErrors,
    calibrate_detector,
    fit_deviation,
)
from lstm_ae.detection.events import Event
from lstm_ae.detection.row_means import sliding_windows
from lstm_ae.detection.scorer import View, score_rows
from lstm_ae.detection.thresholds import ROUNDING, fit_threshold

NO_CAUSES = UsualErrors(0.0, np.inf)


def score_by_definition(calibration: DetectorCalibration, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and errors of rows by a loop over rows and windows, with the covariance as a full matrix."""
    windows, window, features = residuals.shape
    distance, rows = calibration.distance, windows + window - 1
    axes = distance.axes.astype(np.float64)
    covariance = distance.floor * np.eye(window * features)
    for axis, variance in zip(axes, distance.variances, strict=True):
        covariance += (variance - distance.floor) * np.outer(axis, axis)
    inverse = np.linalg.inv(covariance)
    deviations = residuals.astype(np.float64) / calibration.deviation
    scores, errors = np.full(rows, np.nan), np.full((rows, features), np.nan)
    of_windows = np.full(windows, np.nan)
    for k in range(windows):
        known = ~np.isnan(deviations[k])
        centered = np.where(known, deviations[k] - distance.mean, 0).ravel()
        if known.any():
            of_windows[k] = centered @ inverse @ centered / known.sum() / calibration.unit
    for row in range(rows):
        containing = [k for k in range(windows) if 0 <= row - k < window]
        for feature in range(features):
            squares = [deviations[k, row - k, feature] ** 2 for k in containing]
            if known_squares := [square for square in squares if not np.isnan(square)]:
                errors[row, feature] = np.mean(known_squares)
        if not np.isnan(errors[row]).all():
            scores[row] = np.mean([of_windows[k] for k in containing])
    return scores, errors


@settings(max_examples=40)
@given(
    st.integers(2, 5),  # window
    st.integers(1, 12),  # windows
    st.integers(1, 2),  # features
    st.sampled_from([0.0, 0.2, 0.7]),  # missing
    st.integers(0, 1000),  # seed
)
def test_scores_and_errors_equal_their_definition(
    window: int, windows: int, features: int, missing: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(windows + window - 1, features)).astype(np.float32)
    rows[random.random(rows.shape) < missing] = np.nan
    # The residuals of a row differ between its windows, and are missing in all of them where the value is missing.
    residuals = sliding_windows(rows, window) * np.linspace(1, 2, window, dtype=np.float32)[:, None] + 0.3
    calibration = fitted_calibration(window, features)
    found = score_rows([View(lambda *_: residuals, calibration)], rows, np.zeros(len(rows), np.int32))
    scores, errors = score_by_definition(calibration, residuals)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4)
    np.testing.assert_allclose(found.errors, errors, rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(found.scores), np.isnan(rows).all(axis=1))


def test_scores_by_hand() -> None:
    """The direction (1, 1) has the variance 4 and all others 1; the deviation of residuals is 2, and the unit 0.5."""
    distance = CovarianceDistance(
        np.zeros((2, 1), np.float32), np.full((1, 2), np.sqrt(0.5), np.float32), np.array([4], np.float32), 1.0
    )
    calibration = DetectorCalibration(np.array([2], np.float32), distance, 0.5, NO_CAUSES, OnlineUnits(0.25, 2.0))
    residuals = np.array([[[2.0], [2]], [[2], [-2]], [[6], [np.nan]]], np.float32)
    # In deviations the windows are (1, 1), (1, -1), and (3, nan). Their distances per value are 2 / 4 / 2, 2 / 2, and
    # (3^2 / 2 / 4 + 3^2 / 2) / 1, as a missing value is the mean; in units of 0.5 they are twice as large.
    measured = calibration.measure(residuals)
    rows = np.array([0, 0, 0, np.nan])[:, None]
    found = score_rows([View(lambda *_: residuals, calibration)], rows, np.zeros(4, np.int32))
    assert found.scores[:3].tolist() == pytest.approx([0.5, (0.5 + 2) / 2, (2 + 11.25) / 2])
    assert found.errors[:3, 0].tolist() == pytest.approx([1, (1 + 1) / 2, (1 + 9) / 2])
    assert np.isnan(found.scores[3])
    assert np.isnan(found.errors[3, 0])
    # Online, the distances 0.25 and 1 are in units of 0.25, and the errors of the last rows, 1 and 1, in units of 2. A
    # score is the geometric mean of one plus each, minus one. The last row of the third window has no value.
    scores, errors = calibration.last_rows(measured)
    assert scores[:2].tolist() == pytest.approx([np.sqrt(2 * 1.5) - 1, np.sqrt(5 * 1.5) - 1])
    assert errors[:2, 0].tolist() == [1, 1]
    assert np.isnan([scores[2], errors[2, 0]]).all()
    raised = calibration.last_rows(calibration.measure(np.array([[[0.0], [20]]], np.float32)))
    distance_part, error_part = (10**2 / 2 / 4 + 10**2 / 2) / 2 / 0.25, 10**2 / 2
    assert raised.scores.tolist() == pytest.approx([np.sqrt((1 + distance_part) * (1 + error_part)) - 1])


@pytest.mark.parametrize("deviation", [1.0, 1e-3])
@pytest.mark.parametrize("value", [1e30, -1e30, 3e38, np.inf])
def test_huge_residual_has_a_finite_large_score(value: float, deviation: float) -> None:
    calibration = plain_calibration(4, 2)._replace(deviation=np.full(2, deviation, np.float32))
    rows = np.full((20, 2), deviation, np.float32)
    rows[9, 1] = value
    found = score_rows([View(sliding(lambda windows: windows, 4), calibration)], rows, np.zeros(20, np.int32))
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.errors).all()
    assert (found.scores[6:13] > 1e20).all()
    assert np.delete(found.scores, range(6, 13)) == pytest.approx(1)
    # Its error says which value it is; those around it are as usual.
    assert np.unravel_index(found.errors.argmax(), found.errors.shape) == (9, 1)
    assert found.errors[9, 1] > 1e20
    assert np.delete(found.errors.ravel(), 19) == pytest.approx(1)


def test_scores_stay_within_their_segment() -> None:
    segment = np.repeat([0, 1, 2], [5, 2, 6])
    values = np.arange(13.0)[:, None]

    def offsets(windows: np.ndarray) -> np.ndarray:
        return windows - windows.mean(axis=1, keepdims=True)

    scored = score_rows([View(sliding(offsets, 3), plain_calibration(3, 1))], values, segment)
    # The mean of the squared residuals 1, 0, and 1 of each window.
    np.testing.assert_allclose(np.delete(scored.scores, [5, 6]), 2 / 3)
    np.testing.assert_allclose(scored.errors[:5, 0], [1, 0.5, 2 / 3, 0.5, 1])
    assert np.isnan(scored.scores[5:7]).all()  # shorter than a window


@pytest.mark.parametrize("online", [False, True])
def test_residuals_are_computed_one_after_the_other(online: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their function may count the windows, and chooses its engine by their number."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    rows, found = np.arange(5000, dtype=np.float32)[:, None], list[tuple[float, str]]()

    def residuals(block: np.ndarray, stride: int) -> np.ndarray:
        found.append((block[0, 0], threading.current_thread().name))
        time.sleep(0.005)  # An idle thread would take the next block.
        return sliding_windows(block, 2, stride)

    score_rows([View(residuals, plain_calibration(2, 1))], rows, np.zeros(5000, np.int32), online=online)
    assert found == [(first, threading.current_thread().name) for first in (0, 2048, 4096)]


def test_deviation_is_the_root_mean_square_of_known_residuals() -> None:
    residuals = np.array([[[3.0, 1], [np.nan, 1]], [[4, -1], [np.nan, np.nan]]])
    assert fit_deviation(residuals, np.ones(2)) == pytest.approx([np.sqrt(12.5), 1])
    assert fit_deviation(residuals, np.ones(2)).dtype == np.float32


def test_deviation_of_a_feature_is_at_least_a_share_of_its_spread() -> None:
    residuals = np.zeros((5, 3, 4))
    residuals[..., 0] = 2
    residuals[..., 1] = 1e-9
    residuals[..., 3] = np.nan
    # The second feature is reconstructed exactly; the third is constant; the fourth has no value.
    found = fit_deviation(residuals, np.array([1, 9.0, 0, 0]))
    least = MIN_DEVIATION * np.sqrt((1 + 9) / 2)
    assert found == pytest.approx([2, MIN_DEVIATION * 3, least, least])


def test_deviation_of_constant_series_without_residuals_is_a_rounding_error() -> None:
    found = fit_deviation(np.zeros((5, 3, 2)), np.zeros(2), np.array([1e-6, 1e-4]))
    assert found == pytest.approx([1e-6, 1e-4])


def calibrated(training: np.ndarray, rows: np.ndarray, spread: np.ndarray) -> CalibratedScores:
    residuals, segment = sliding(lambda windows: windows, training.shape[1]), np.zeros(len(rows), np.int32)

    def score(calibration: DetectorCalibration, online: bool) -> RowScores:
        return score_rows([View(residuals, calibration)], rows, segment, online=online)

    deviation = fit_deviation(training, spread)
    return calibrate_detector(fit_covariance(training / deviation, 0, 1.0), deviation, score)


def test_usual_scores_and_errors_are_about_one() -> None:
    random = np.random.default_rng(0)
    small_and_large = np.array([0.01, 10])
    training = random.normal(0, small_and_large, (500, 6, 2)).astype(np.float32)
    rows = random.normal(0, small_and_large, (2000, 2)).astype(np.float32)
    rows[:50, 0] = np.nan
    calibration, scores, online = calibrated(training, rows, small_and_large**2)
    assert np.median(scores) == pytest.approx(1, rel=1e-6)
    views = [View(sliding(lambda windows: windows, 6), calibration)]
    again = score_rows(views, rows, np.zeros(2000, np.int32))
    np.testing.assert_allclose(again.scores, scores, rtol=1e-9)
    assert np.nanmean(again.errors, axis=0) == pytest.approx([1, 1], rel=0.1)
    errors = np.nanmean(again.errors, axis=1)
    assert calibration.usual.median == pytest.approx(np.median(errors))
    assert np.mean(errors > calibration.usual.highest) == pytest.approx(0.001)
    again = score_rows(views, rows, np.zeros(2000, np.int32), online=True)
    np.testing.assert_allclose(again.scores, online, rtol=1e-9)
    assert np.isnan(online[:5]).all()
    for part in range(2):
        # An infinite unit leaves the other part out.
        units = OnlineUnits(*np.where(np.arange(2) == part, calibration.online, np.inf))
        one = [views[0]._replace(calibration=calibration._replace(online=units))]
        by_part = score_rows(one, rows, np.zeros(2000, np.int32), online=True).scores
        assert np.nanmean(by_part > 1) == pytest.approx(0.001, abs=0.0005)


def test_calibration_of_a_constant_column_ranks_its_changes_first() -> None:
    """A constant column is reconstructed with rounding errors; an unusual value of it has a high score."""
    random = np.random.default_rng(0)
    training = random.normal(0, [1, 1e-7], (300, 5, 2)).astype(np.float32)
    rows = random.normal(0, [1, 1e-7], (400, 2)).astype(np.float32)
    calibration, scores, _ = calibrated(training, rows, np.array([1.0, 0]))
    assert np.isfinite(scores).all()
    changed = rows.copy()
    # This is a hundredth of what one of the errors of the other column would need.
    changed[200, 1] = 0.2
    found = score_rows([View(sliding(lambda windows: windows, 5), calibration)], changed, np.zeros(400, np.int32))
    assert found.scores[196:205].min() > 5 * scores.max()
    assert found.errors[200].argmax() == 1


def test_calibration_of_a_constant_series_has_finite_scores_of_about_zero() -> None:
    training, rows = np.zeros((300, 5, 1), np.float32), np.zeros((400, 1), np.float32)
    calibration, scores, _ = calibrated(training, rows, np.zeros(1))
    assert not scores.any()
    assert calibration.unit == MIN_UNIT
    rows[200] = 3
    found = score_rows([View(sliding(lambda windows: windows, 5), calibration)], rows, np.zeros(400, np.int32))
    # A window has the mean squared residual 9 / 5, in rounding errors and the smallest unit; one of five windows of row
    # 196 contains it.
    by_row = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 5
    assert found.scores[196:205] == pytest.approx(by_row * 9 / 5 / MIN_UNIT / VALUE_ROUNDING**2)
    assert np.delete(found.scores, range(196, 205)).tolist() == [0] * 391


def test_calibration_without_normal_scores_has_no_unit() -> None:
    rows = np.full((20, 1), np.nan, np.float32)
    calibration, scores, _ = calibrated(np.ones((9, 3, 1), np.float32), rows, np.ones(1))
    assert np.isnan(scores).all()
    assert (calibration.unit, calibration.usual) == (1, UsualErrors(0, 0))


def test_causes_are_above_the_geometric_mean_of_the_usual_and_the_largest_error() -> None:
    usual = UsualErrors(median=1.0, highest=20.0)
    errors = np.array([1, 9.9, 10, np.nan, 100, 11, 2])
    assert usual.find_causes(errors, 7).tolist() == [False, False, True, False, True, True, False]
    # All rows cause an event in which no error is unusual.
    assert usual.find_causes(np.array([1, 20, np.nan]), 3).tolist() == [True] * 3
    assert usual.find_causes(np.full(2, np.nan), 2).tolist() == [True] * 2


def test_smaller_causes_are_found_a_window_away_from_larger_ones() -> None:
    errors = np.ones(40)
    errors[[5, 8, 20]] = 1e6, 500, 400
    usual = UsualErrors(median=1.0, highest=20.0)
    assert np.flatnonzero(usual.find_causes(errors, 10)).tolist() == [5, 20]
    assert np.flatnonzero(usual.find_causes(errors, 3)).tolist() == [5, 8, 20]
    assert np.flatnonzero(usual.find_causes(errors, 30)).tolist() == [5]


@pytest.mark.parametrize("online", [False, True])
def test_threshold_of_rounding_errors_is_above_them(online: bool) -> None:
    """The roots of the scores differ by half of the rounding error of residuals in their unit."""
    scores = np.square(0.01 + 5 * ROUNDING * np.random.default_rng(0).random(400))
    calibration = plain_calibration(4, 1)._replace(unit=MIN_UNIT, online=OnlineUnits(MIN_UNIT, MIN_UNIT))
    scored = CalibratedScores(calibration, scores, scores)
    components = PrincipalComponents(np.zeros((4, 1), np.float32), np.zeros((1, 4), np.float32))
    threshold = normal_scores(scored, components).threshold(parse_threshold("pot:1e-3"), online=online)
    assert threshold.value > scores.max()
    assert "the bound of rounding errors" in threshold.how


def test_anomalies_outside_events() -> None:
    event = Event(1, 2, 1, 3.0, 0.1, (1.0,), False, 1)
    threshold = fit_threshold(parse_threshold("fixed:1"), np.ones(9), 2)
    scored = ScoredSeries(np.array([0.5, 3, 2, 0.5, 2]), np.zeros((5, 1)), threshold, np.zeros(5), [event])
    assert np.flatnonzero(scored.outside_events).tolist() == [4]
