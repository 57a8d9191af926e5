"""Normal rows that do not belong to the rest: far rows, several of them, and stretches that are constant."""

from typing import Any

import numpy as np
import pytest

from lstm_ae.detection.calibration import Calibrated, calibrate
from lstm_ae.detection.row_means import sliding_windows
from lstm_ae.detection.screening import Outlier
from lstm_ae.detection.views import NETWORK, NetworkView, TrainingWindows

WINDOW, ROWS = 24, 240


def season(rows: int, seed: int, columns: int = 2) -> Any:
    """Return a season of a window of rows with noise."""
    random = np.random.default_rng(seed)
    phase = 2 * np.pi * np.arange(rows)[:, None] / WINDOW + np.arange(columns)
    return (np.sin(phase) + 0.1 * random.normal(size=(rows, columns))).astype(np.float32)


BASIS = np.stack([np.ones(WINDOW), *(f(2 * np.pi * np.arange(WINDOW) / WINDOW) for f in (np.sin, np.cos))], axis=1)


def residuals(rows: Any, stride: int) -> Any:
    """Return the residuals of windows from the season that fits their known values best."""
    windows = sliding_windows(rows, WINDOW, stride).transpose(0, 2, 1)
    known = ~np.isnan(windows)
    squares = np.einsum("...t,ti,tj->...ij", known, BASIS, BASIS) + 1e-6 * np.eye(3)
    products = np.einsum("...t,ti->...i", np.where(known, windows, 0), BASIS)
    fitted = np.linalg.solve(squares, products[..., None])[..., 0] @ BASIS.T
    return (fitted - windows).transpose(0, 2, 1).astype(np.float32)


def calibrated(normal: Any, *, keep: bool = False) -> Calibrated:
    """Return the calibration on normal rows, after a training on other ones."""
    training = season(1000, 1)
    windows = sliding_windows(training, WINDOW)
    known = TrainingWindows(
        windows=windows,
        sample=windows,
        residuals=residuals(training, 1),
        spread=training.var(axis=0),
        rounding=1e-6,
        continuous=np.ones(2, bool),
    )
    segment = np.zeros(len(normal), np.int32)
    return calibrate(
        {"network": NetworkView.fit(known)}, {NETWORK: residuals}, normal, segment, None if keep else known
    )


CLEAN = calibrated(season(ROWS, 2))


def units_of(found: Calibrated) -> Any:
    return np.array(found.views["network"].calibration.units)


def test_normal_rows_without_faults_are_all_kept() -> None:
    for seed in range(2, 12):
        assert not calibrated(season(ROWS, seed)).outliers
    heavy = np.random.default_rng(0).standard_t(4, size=(ROWS, 2)).astype(np.float32)
    assert not calibrated(heavy).outliers


@pytest.mark.parametrize("places", [(100,), (50, 120, 190), (40, 90, 140, 190)])
def test_far_rows_are_left_out_and_named(places: tuple[int, ...]) -> None:
    """They raise nearly all maxima of windows: there are ten windows, and each raises two."""
    normal = season(ROWS, 2)
    for place in places:
        normal[place : place + 3, 1] += 8
    found = calibrated(normal)
    assert [each.column for each in found.outliers] == [1] * len(places)
    for outlier, place in zip(found.outliers, places, strict=True):
        assert place <= outlier.first <= place + 2 <= outlier.last < place + 6
        assert outlier.times > 5
    assert np.isnan(found.scores[[*places]]).all()
    assert units_of(found) == pytest.approx(units_of(CLEAN), rel=0.5)
    kept = calibrated(normal, keep=True)
    assert not kept.outliers
    assert np.isnan(kept.scores).sum() == WINDOW - 1
    assert units_of(kept)[:2].min() > 5 * units_of(CLEAN)[:2].max()


def test_constant_stretch_is_left_out_and_named() -> None:
    normal = season(ROWS, 2)
    normal[100:124, 0] = normal[100, 0]
    (outlier,) = calibrated(normal).outliers
    assert outlier.column == 0
    assert 100 <= outlier.first < 124 <= outlier.last < 124 + WINDOW


def test_rows_without_scores_have_no_outliers() -> None:
    found = calibrated(np.full((ROWS, 2), np.nan, np.float32))
    assert found.outliers == list[Outlier]()
    assert np.isnan(found.scores).all()
