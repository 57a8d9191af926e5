"""Scores and errors of rows from the residuals of windows: by the definition, and for huge and constant values."""

import dataclasses
import threading
import time

import numpy as np
import pytest
from detectors import fitted_calibration, network_view, normal_scores, plain_calibration, sliding
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae import threads
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.detection.baselines import CovarianceDistance
from lstm_ae.detection.calibration import calibrate
from lstm_ae.detection.row_means import Residuals, sliding_windows
from lstm_ae.detection.scorer import RowScores, Scorer
from lstm_ae.detection.thresholds import ROUNDING
from lstm_ae.detection.views import (
    MIN_DEVIATION,
    MIN_UNIT,
    NETWORK,
    VALUE_ROUNDING,
    Calibration,
    NetworkView,
    TrainingWindows,
    Units,
    View,
    fit_deviation,
)

WINDOW = 5


def scorer_of(calibration: Calibration, residuals: Residuals) -> Scorer:
    return Scorer([network_view(calibration)], {NETWORK: residuals})


def all_scores(scorer: Scorer, rows: np.ndarray, segment: np.ndarray | None = None) -> tuple[RowScores, np.ndarray]:
    """Return the alarm scores and the final scores of rows."""
    segment = np.zeros(len(rows), np.int32) if segment is None else segment
    scored = scorer.score_rows(rows, segment)
    return scored, scorer.final_scores(scored, rows, segment)


def score_by_definition(calibration: Calibration, residuals: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return scores, errors, and final scores by a loop over rows and windows, with the covariance as a full matrix."""
    windows, window, features = residuals.shape
    distance, rows = calibration.distance, windows + window - 1
    axes = distance.axes.astype(np.float64)
    covariance = distance.floor * np.eye(window * features)
    for axis, variance in zip(axes, distance.variances, strict=True):
        covariance += (variance - distance.floor) * np.outer(axis, axis)
    inverse = np.linalg.inv(covariance)
    deviations = residuals.astype(np.float64) / calibration.deviation
    scores, errors, final = np.full(rows, np.nan), np.full((rows, features), np.nan), np.full(rows, np.nan)
    of_windows = np.full(windows, np.nan)
    units = calibration.units
    for k in range(windows):
        known, row = ~np.isnan(deviations[k]), k + window - 1
        centered = np.where(known, deviations[k] - distance.mean, 0).ravel()
        if known.any():
            of_windows[k] = centered @ inverse @ centered / known.sum()
        errors[row] = deviations[k, -1] ** 2
        if known[-1].any():
            own = np.nanmean(errors[row])
            scores[row] = np.sqrt((1 + of_windows[k] / units.distance) * (1 + own / units.error)) - 1
    for row in range(rows):
        containing = [k for k in range(windows) if 0 <= row - k < window]
        if not all(np.isnan(deviations[k, row - k]).all() for k in containing):
            final[row] = np.mean([of_windows[k] for k in containing]) / units.usual
    return scores, errors, final


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
    found, final = all_scores(scorer_of(calibration, lambda *_: residuals), rows)
    scores, errors, expected = score_by_definition(calibration, residuals)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4)
    np.testing.assert_allclose(found.errors, errors, rtol=1e-5)
    np.testing.assert_allclose(final, expected, rtol=1e-4)
    empty = np.isnan(rows).all(axis=1)
    np.testing.assert_array_equal(np.isnan(found.scores), empty | (np.arange(len(rows)) < window - 1))
    np.testing.assert_array_equal(np.isnan(final), empty)


def test_scores_by_hand() -> None:
    """The direction (1, 1) has the variance 4 and all others 1; the deviation of residuals is 2."""
    distance = CovarianceDistance(
        np.zeros((2, 1), np.float32), np.full((1, 2), np.sqrt(0.5), np.float32), np.array([4], np.float32), 1.0
    )
    calibration = Calibration(np.array([2], np.float32), distance, Units(distance=0.25, error=2.0, usual=0.5))
    residuals = np.array([[[2.0], [2]], [[2], [-2]], [[6], [np.nan]]], np.float32)
    # In deviations the windows are (1, 1), (1, -1), and (3, nan). Their distances per value are 2 / 4 / 2, 2 / 2, and
    # (3^2 / 2 / 4 + 3^2 / 2) / 1, as a missing value is the mean.
    rows = np.array([0, 0, 0, np.nan])[:, None]
    found, final = all_scores(scorer_of(calibration, lambda *_: residuals), rows)
    assert found.distances[1:, 0].tolist() == pytest.approx([0.25, 1, 5.625])
    assert found.windows[1:].tolist() == pytest.approx([1, 4, 22.5])
    assert found.own[1:3, 0].tolist() == found.errors[1:3, 0].tolist() == [1, 1]
    # A score is the geometric mean of one plus each term, minus one. The last row has no value.
    assert found.scores[1:3].tolist() == pytest.approx([np.sqrt(2 * 1.5) - 1, np.sqrt(5 * 1.5) - 1])
    assert np.isnan([found.scores[0], found.windows[0], found.scores[3], found.errors[3, 0]]).all()
    assert final[:3].tolist() == pytest.approx([0.5, (0.5 + 2) / 2, (2 + 11.25) / 2])
    assert np.isnan(final[3])
    raised = scorer_of(calibration, lambda *_: np.array([[[0.0], [20]]], np.float32)).score(np.zeros((2, 1)))
    distance_part, error_part = (10**2 / 2 / 4 + 10**2 / 2) / 2 / 0.25, 10**2 / 2
    assert raised.scores.tolist() == pytest.approx([np.sqrt((1 + distance_part) * (1 + error_part)) - 1])


def test_views_are_combined_by_what_they_are_for() -> None:
    """The first view raises alarms, and both rank rows; the second one has half of the residuals."""
    calibration, rows = plain_calibration(2, 1), np.array([1.0, 1, 3])[:, None]
    alarming = dataclasses.replace(network_view(calibration), ranks=False)
    ranking = dataclasses.replace(network_view(calibration._replace(deviation=np.full(1, 2, np.float32))), alarms=False)
    both = network_view(calibration)
    sources = {NETWORK: sliding(lambda windows: windows, 2)}
    # The distances are 1 and 5 by the first view, and a quarter of them by the second one.
    found, final = all_scores(Scorer([alarming, ranking], sources), rows)
    assert found.distances[1:].tolist() == [[1, 0.25], [5, 1.25]]
    assert found.scores[1:].tolist() == pytest.approx([1, np.sqrt(6 * 10) - 1])
    assert final.tolist() == pytest.approx([0.25, 0.75, 1.25])
    found, final = all_scores(Scorer([both, dataclasses.replace(ranking, alarms=True)], sources), rows)
    assert found.scores[2] == pytest.approx((6 * 10 * 2.25 * 3.25) ** 0.25 - 1)
    assert found.windows[2] == pytest.approx(np.sqrt(6 * 2.25) - 1)
    assert final.tolist() == pytest.approx([np.sqrt((1 + x) * (1 + x / 4)) - 1 for x in (1, 3, 5)])
    assert found.errors[1:, 0].tolist() == [1, 9]


@pytest.mark.parametrize("deviation", [1.0, 1e-3])
@pytest.mark.parametrize("value", [1e30, -1e30, 3e38, np.inf])
def test_huge_residual_has_a_finite_large_score(value: float, deviation: float) -> None:
    calibration = plain_calibration(4, 2)._replace(deviation=np.full(2, deviation, np.float32))
    rows = np.full((20, 2), deviation, np.float32)
    rows[9, 1] = value
    found, final = all_scores(scorer_of(calibration, sliding(lambda windows: windows, 4)), rows)
    assert np.isfinite(found.scores[3:]).all()
    assert found.scores[9] > 1e20
    assert (found.scores[10:13] > 1e10).all()
    assert np.delete(found.scores, range(9, 13))[3:] == pytest.approx(1)
    assert (final[6:13] > 1e20).all()
    assert np.isfinite(final).all()
    assert np.delete(final, range(6, 13)) == pytest.approx(1)
    # Its error says which value it is; those around it are as usual.
    assert 1e20 < found.errors[9, 1] < np.inf
    assert np.delete(found.errors.ravel(), 19)[6:] == pytest.approx(1)


def test_scores_stay_within_their_segment() -> None:
    segment = np.repeat([0, 1, 2], [5, 2, 6])
    values = np.arange(13.0)[:, None]

    def offsets(windows: np.ndarray) -> np.ndarray:
        return windows - windows.mean(axis=1, keepdims=True)

    scored, final = all_scores(scorer_of(plain_calibration(3, 1), sliding(offsets, 3)), values, segment)
    # The mean of the squared residuals 1, 0, and 1 of each window.
    np.testing.assert_allclose(np.delete(final, [5, 6]), 2 / 3)
    assert np.isnan(final[5:7]).all()  # shorter than a window
    assert np.flatnonzero(~np.isnan(scored.scores)).tolist() == [2, 3, 4, 9, 10, 11, 12]
    assert scored.scores[[2, 9]] == pytest.approx(np.sqrt(5 / 3 * 2) - 1)


def test_residuals_are_computed_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their function may count the windows, and chooses its engine by their number."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    rows, found = np.arange(5000, dtype=np.float32)[:, None], list[tuple[float, str]]()

    def residuals(block: np.ndarray, stride: int) -> np.ndarray:
        found.append((block[0, 0], threading.current_thread().name))
        time.sleep(0.005)  # An idle thread would take the next block.
        return sliding_windows(block, 2, stride)

    scorer_of(plain_calibration(2, 1), residuals).score_rows(rows, np.zeros(5000, np.int32))
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


WITHOUT_NETWORK = {NETWORK: lambda rows, stride: sliding_windows(rows, WINDOW, stride)}


def calibrated(training: np.ndarray, rows: np.ndarray, spread: np.ndarray) -> tuple[View, np.ndarray]:
    """Return a view of windows that are their own residuals, and the scores of normal rows."""
    known = TrainingWindows(training, training, training, spread, VALUE_ROUNDING, spread > 0)
    segment = np.zeros(len(rows), np.int32)
    found = calibrate({"network": NetworkView.fit(known)}, WITHOUT_NETWORK, rows, segment, known)
    assert not found.outliers
    return found.views["network"], found.scores


def test_hardly_any_normal_row_has_a_score_above_one() -> None:
    random = np.random.default_rng(0)
    small_and_large = np.array([0.01, 10])
    training = random.normal(0, small_and_large, (500, WINDOW, 2)).astype(np.float32)
    rows = random.normal(0, small_and_large, (2000, 2)).astype(np.float32)
    rows[:50, 0] = np.nan
    view, scores = calibrated(training, rows, small_and_large**2)
    scored, final = all_scores(Scorer([view], WITHOUT_NETWORK), rows)
    np.testing.assert_allclose(scored.scores, scores, rtol=1e-9)
    assert np.isnan(scores).tolist() == [True] * 4 + [False] * 1996
    assert np.mean(scores > 1) <= 0.001
    assert np.nanmax(scores) > 0.5
    assert np.median(final) == pytest.approx(1, rel=1e-6)
    assert np.nanmean(scored.errors, axis=0) == pytest.approx([1, 1], rel=0.1)
    units = view.calibration.units
    assert np.mean(scored.distances > units.distance) == pytest.approx(0.001)
    assert np.mean(scored.own > units.error) == pytest.approx(0.001)


def test_calibration_of_a_constant_column_ranks_its_changes_first() -> None:
    """A constant column is reconstructed with rounding errors; an unusual value of it has a high score."""
    random = np.random.default_rng(0)
    training = random.normal(0, [1, 1e-7], (300, WINDOW, 2)).astype(np.float32)
    rows = random.normal(0, [1, 1e-7], (400, 2)).astype(np.float32)
    view, scores = calibrated(training, rows, np.array([1.0, 0]))
    assert np.isfinite(scores[4:]).all()
    changed = rows.copy()
    # This is a hundredth of what one of the errors of the other column would need.
    changed[200, 1] = 0.2
    found, final = all_scores(Scorer([view], WITHOUT_NETWORK), changed)
    assert found.scores[200:205].min() > 2 * np.nanmax(scores)
    assert final[196:205].min() > 5 * np.delete(final, range(196, 205)).max()
    assert found.errors[200].argmax() == 1


def test_calibration_of_a_constant_series_has_finite_scores_of_about_zero() -> None:
    training, rows = np.zeros((300, WINDOW, 1), np.float32), np.zeros((400, 1), np.float32)
    view, scores = calibrated(training, rows, np.zeros(1))
    assert not scores[4:].any()
    assert view.calibration.units == (MIN_UNIT,) * 3
    rows[200] = 3
    found, final = all_scores(Scorer([view], WITHOUT_NETWORK), rows)
    # A window has the mean squared residual 9 / 5, in rounding errors and the smallest unit; one of five windows of row
    # 196 contains it.
    by_row, distance = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 5, 9 / 5 / MIN_UNIT / VALUE_ROUNDING**2
    assert final[196:205] == pytest.approx(by_row * distance)
    assert np.delete(final, range(196, 205)).tolist() == [0] * 391
    assert found.scores[200:205] == pytest.approx(np.sqrt(distance * np.array([5 * distance, 1, 1, 1, 1])))
    assert np.delete(found.scores[4:], range(196, 201)).tolist() == [0] * 391


def test_calibration_without_normal_scores_has_no_units() -> None:
    rows = np.full((20, 1), np.nan, np.float32)
    view, scores = calibrated(np.ones((9, WINDOW, 1), np.float32), rows, np.ones(1))
    assert np.isnan(scores).all()
    assert view.calibration.units == Units(1, 1, 1)


def test_threshold_of_rounding_errors_is_above_them() -> None:
    """The roots of the scores differ by half of the rounding error of residuals in their unit."""
    scores = np.square(0.01 + 5 * ROUNDING * np.random.default_rng(0).random(400))
    calibration = plain_calibration(4, 1)._replace(units=Units(MIN_UNIT, MIN_UNIT))
    threshold = normal_scores(calibration, scores).threshold(parse_threshold("pot:1e-3"))
    bound = (np.sqrt(np.median(scores)) + ROUNDING / np.sqrt(MIN_UNIT)) ** 2
    assert threshold.value == pytest.approx(bound)
    assert threshold.value > scores.max()
