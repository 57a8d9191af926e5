"""Baselines: windows that lie in a plane are rebuilt, others are not; distances by hand."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ae.detection import baselines
from lstm_ae.detection.baselines import fit_principal_components
from lstm_ae.errors import ConfigError, DataError


def waves(rows: int) -> np.ndarray:
    """Windows of a sine have two components, as sine and cosine at their start."""
    row = np.arange(rows)
    series = np.stack([np.sin(row / 5), 2 * np.cos(row / 5)], axis=1).astype(np.float32)
    return sliding_window_view(series, 20, axis=0).swapaxes(1, 2)


def test_two_components_rebuild_a_sine() -> None:
    windows = waves(500)
    assert fit_principal_components(windows, 2).errors(windows).max() < 1e-9
    assert fit_principal_components(windows, 1).errors(windows).mean() > 0.1


def test_errors_stand_where_the_difference_is() -> None:
    fitted = fit_principal_components(waves(500), 2)
    strange = waves(500)[:3].copy()
    strange[1, 7, 1] += 10
    errors = fitted.errors(strange)
    assert errors.shape == strange.shape
    assert np.unravel_index(errors.argmax(), errors.shape) == (1, 7, 1)
    assert errors[[0, 2]].max() < 1e-9


def test_a_missing_value_has_no_error() -> None:
    fitted = fit_principal_components(waves(500), 2)
    windows = waves(500)[:2].copy()
    windows[0, 3, 0] = np.nan
    errors = fitted.errors(windows)
    assert np.isnan(errors[0, 3, 0])
    assert np.isfinite(errors).sum() == errors.size - 1


def test_many_windows_are_sampled_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MOST_WINDOWS", 50)
    random = np.random.default_rng(0)
    windows = random.normal(size=(400, 6, 1))
    windows[::3, 2] = np.nan
    first, again, other = (fit_principal_components(windows, 2, seed) for seed in (0, 0, 1))
    assert (first.axes == again.axes).all()
    assert (first.axes != other.axes).any()
    assert first.mean == pytest.approx(np.nanmean(windows, axis=0), abs=0.6)


def test_constant_windows_are_rebuilt() -> None:
    windows = np.full((30, 5, 1), 3.0)
    assert fit_principal_components(windows, 2).errors(windows).max() == 0


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"components must be 1 to 40, the values of a window. Received: 41"):
        fit_principal_components(waves(500), 41)
    with pytest.raises(DataError, match="8 principal components need 8 windows without missing values"):
        fit_principal_components(waves(25), 8)
