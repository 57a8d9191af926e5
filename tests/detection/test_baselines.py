"""Baselines of detectors: reconstruction by principal components, and distances by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ae.detection import baselines
from lstm_ae.detection.baselines import (
    fit_covariance,
    fit_mean,
    fit_neighbors,
    fit_principal_components,
    mean_over_windows,
    window_distances,
)
from lstm_ae.errors import ConfigError, DataError


def waves(rows: int) -> np.ndarray:
    """Return windows of a sine and a cosine, which have two principal components."""
    row = np.arange(rows)
    series = np.stack([np.sin(row / 5), 2 * np.cos(row / 5)], axis=1).astype(np.float32)
    return sliding_window_view(series, 20, axis=0).swapaxes(1, 2)


def test_two_components_reconstruct_a_sine() -> None:
    windows = waves(500)
    assert np.abs(fit_principal_components(windows, 2).residuals(windows)).max() < 3e-5
    assert np.square(fit_principal_components(windows, 1).residuals(windows)).mean() > 0.1


def test_component_residuals_are_reconstruction_minus_value() -> None:
    fitted = fit_principal_components(waves(500), 2)
    strange = waves(500)[:3].copy()
    strange[1, 7, 1] += 10
    residuals = fitted.residuals(strange)
    assert residuals.shape == strange.shape
    # The reconstruction is below the raised value.
    assert np.unravel_index(residuals.argmin(), residuals.shape) == (1, 7, 1)
    assert np.abs(residuals[[0, 2]]).max() < 3e-5
    flat = strange.reshape(3, -1) - fitted.mean.ravel()
    assert residuals.reshape(3, -1) == pytest.approx(flat @ fitted.axes.T @ fitted.axes - flat, abs=1e-5)
    assert fitted.distances(strange) == pytest.approx(np.square(residuals).mean(axis=(1, 2)), rel=1e-5)


def test_missing_value_has_no_residual() -> None:
    fitted = fit_principal_components(waves(500), 2)
    windows = waves(500)[:2].copy()
    windows[0, 3, 0] = np.nan
    residuals = fitted.residuals(windows)
    assert np.isnan(residuals[0, 3, 0])
    assert np.isfinite(residuals).sum() == residuals.size - 1


def test_many_windows_are_sampled_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_WINDOWS", 50)
    random = np.random.default_rng(0)
    windows = random.normal(size=(400, 6, 1))
    windows[::3, 2] = np.nan
    first, again, other = (fit_principal_components(windows, 2, seed) for seed in (0, 0, 1))
    assert (first.axes == again.axes).all()
    assert (first.axes != other.axes).any()
    assert first.mean == pytest.approx(np.nanmean(windows, axis=0), abs=0.6)


def test_invalid_numbers_of_components_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"components must be 1 to 40, the values of a window. Received: 41"):
        fit_principal_components(waves(500), 41)
    with pytest.raises(DataError, match="Principal components need 8 training windows without missing values"):
        fit_principal_components(waves(25), 8)


def random_windows(rows: int = 400, window: int = 6, features: int = 2) -> np.ndarray:
    """Return windows of two random columns; the second follows the first."""
    random = np.random.default_rng(3)
    first = random.normal(size=rows).cumsum() * 0.1
    series = np.stack([first, np.roll(first, 1) + random.normal(0, 0.1, rows)], axis=1)[:, :features]
    return np.moveaxis(sliding_window_view(series.astype(np.float32), window, axis=0), -1, 1)


def mahalanobis(training: np.ndarray, windows: np.ndarray, min_eigenvalue: float = 0.001) -> np.ndarray:
    """Return distances by the definition, with the full covariance matrix."""
    flat = training.reshape(len(training), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    values = np.maximum(values, min_eigenvalue * values.mean())
    projected = (windows.reshape(len(windows), -1) - flat.mean(axis=0)) @ vectors
    return (projected**2 / values).mean(axis=1)


@pytest.mark.parametrize("rows", [400, 12], ids=["more windows than values", "fewer windows than values"])
def test_mahalanobis_distance_equals_that_of_the_full_covariance(rows: int) -> None:
    training, windows = random_windows(rows), random_windows(100) * 3
    assert fit_covariance(training).distances(windows) == pytest.approx(mahalanobis(training, windows), rel=1e-3)
    fitted = fit_covariance(training, min_eigenvalue=1)
    assert fitted.distances(windows) == pytest.approx(mahalanobis(training, windows, 1), rel=1e-3)
    # The directions of more than the mean variance are stored, which have less weight than the others.
    assert 0 < len(fitted.axes) < 12
    assert (fitted.variances > fitted.floor).all()


def test_axes_with_the_largest_variances_are_stored_if_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = random_windows(12)
    whole = fit_covariance(windows)
    values = whole.mean.size
    monkeypatch.setattr(baselines, "MAX_AXIS_VALUES", 3 * values + 1)
    fitted = fit_covariance(windows)
    assert fitted.axes.shape == (3, values) < whole.axes.shape
    assert fitted.variances.tolist() == whole.variances[-3:].tolist()
    np.testing.assert_array_equal(fitted.axes, whole.axes[-3:])
    # The other directions count with the floor.
    centered = windows.reshape(len(windows), -1) - fitted.mean.ravel()
    projected = np.square(centered @ fitted.axes.T)
    expected = projected @ (1 / fitted.variances) + (np.square(centered).sum(1) - projected.sum(1)) / fitted.floor
    assert fitted.distances(windows) == pytest.approx(expected / values, rel=1e-4)


def test_large_covariances_use_a_sample_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_EIGENVALUES", 10)
    fitted = fit_covariance(random_windows())
    assert len(fitted.axes) < 10
    assert np.isfinite(fitted.distances(random_windows())).all()


def test_projected_components_of_long_windows_equal_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = waves(50)
    whole = fit_principal_components(windows, 2).residuals(windows)
    monkeypatch.setattr(baselines, "WIDE_VALUES", 10)
    assert fit_principal_components(windows, 2).residuals(windows) == pytest.approx(whole, abs=3e-5)


def test_distances_from_neighbors() -> None:
    training = random_windows()
    nearest = fit_neighbors(training)
    assert nearest.distances(training) == pytest.approx(0, abs=1e-5)
    moved = training[:9] + np.float32(50)
    plain = np.square(moved[:, None] - training).mean(axis=(2, 3)).min(axis=1)
    assert nearest.distances(moved) == pytest.approx(plain, rel=1e-4)


def test_raw_values_are_squared_distances_of_rows() -> None:
    rows = np.array([[1.0], [3.0], [2.0], [7.0]], np.float32)
    assert window_distances(fit_mean(rows[:3]), rows, 1) == pytest.approx([1, 1, 0, 25])


def test_row_distance_is_the_mean_over_its_windows() -> None:
    class Numbered:
        name = "numbered"

        def distances(self, windows: np.ndarray) -> np.ndarray:
            return windows[:, 0, 0].astype(float)

    rows = np.arange(6, dtype=np.float32)[:, None]
    assert mean_over_windows(window_distances(Numbered(), rows, 3), 3).tolist() == [0, 0.5, 1, 2, 2.5, 3]


@pytest.mark.parametrize("fit", [fit_covariance, fit_neighbors], ids=lambda fit: fit.__name__)
def test_missing_values_do_not_contribute(fit: Callable[[np.ndarray], baselines.WindowBaseline]) -> None:
    training = random_windows().copy()
    training[::3, 2, 1] = np.nan
    fitted = fit(training)
    windows = random_windows()[:4].copy()
    windows[1, 3] = np.nan
    windows[2] = np.nan
    distances = fitted.distances(windows)
    assert np.isnan(distances[2])
    complete = fitted.distances(random_windows()[:4])
    assert distances[[0, 3]] == pytest.approx(complete[[0, 3]])
    assert 0 <= distances[1] < 20 * complete[1] + 1


def test_constant_windows_have_no_distance() -> None:
    windows = np.full((30, 5, 1), 3.0)
    for fitted in (fit_covariance(windows), fit_neighbors(windows)):
        assert fitted.distances(windows) == pytest.approx(0)
        assert (fitted.distances(windows + 1) > 0).all()


def test_fitting_without_windows_is_refused() -> None:
    with pytest.raises(DataError, match="at least one window"):
        fit_covariance(np.empty((0, 5, 1)))
