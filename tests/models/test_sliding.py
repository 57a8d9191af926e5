"""Test autoencoders of tables on the windows at every row, and the kernels against NumPy."""

import math
import sys
from typing import Any

import keras
import numpy as np
import pytest
from linear_autoencoders import random_linear_autoencoder
from sampling import sampled

from lstm_ae.config import Series
from lstm_ae.data.scaling import Scale, fixed_scale, window_scale
from lstm_ae.detection.row_means import sum_windows
from lstm_ae.kernels import choice
from lstm_ae.kernels.lstm import ROWS
from lstm_ae.kernels.vectors import LANES
from lstm_ae.models import sliding
from lstm_ae.models.autoencoder import pooled_autoencoder
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.scaling import in_own_units
from lstm_ae.models.sliding import SlidingAutoencoder, empty_windows, slide

# Relative to the largest number: the rounding of float32 over some hundred steps.
ROUNDING = 1e-6


def model_of(
    steps: int = 12,
    features: int = 2,
    *,
    missing: bool = False,
    fill: tuple[float, ...] = (),
    linked: bool = False,
    **options: Any,
) -> Any:
    keras.utils.set_random_seed(1)
    config = Series(**{"units": 5, "code": 3} | options)
    assert config.code
    link = random_linear_autoencoder(steps, features, min(config.code, 3)) if linked else None
    network = pooled_autoencoder(config, steps=steps, features=features, missing=missing, fill=fill, link=link)
    for weight in network.trainable_weights:  # initial biases are zero and would hide an error
        weight.assign_add(0.1 * np.random.default_rng(2).normal(size=weight.shape))
    offset, span = np.linspace(-1, 2, features), np.linspace(0.5, 3, features)
    fixed = Scale("fixed", offset[None].astype(np.float32), span[None].astype(np.float32))
    scale = {"none": fixed_scale(), "window": window_scale(features)}.get(config.scale, fixed)
    return KerasNetwork(in_own_units(network, scale)).without_keras(config)


def rows_of(count: int, features: int, *, missing: bool = False) -> Any:
    random = np.random.default_rng(0)
    rows = random.normal(0.5, 2, (count, features)).astype(np.float32)
    if missing:
        rows[random.random(rows.shape) < 0.2] = np.nan
        rows[count // 3 : count // 2] = np.nan
    return rows


def slide_both(model: Any) -> tuple[SlidingAutoencoder, SlidingAutoencoder]:
    """Return the autoencoder computed by the kernels, and by NumPy."""
    config = model.layers.config
    return slide(model, config, repeated=True), slide(KerasNetwork(model.keras_model()).without_keras(config), config)


def compare(ours: SlidingAutoencoder, theirs: SlidingAutoencoder, rows: Any) -> None:
    got, wanted = ours.residuals(rows, 1), theirs.residuals(rows, 1)
    assert got.shape == wanted.shape == (len(rows) - ours.window + 1, ours.window, ours.features)
    np.testing.assert_allclose(ours.residuals(rows, 3), got[::3], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    assert np.nanmax(np.abs(got - wanted), initial=0) <= ROUNDING * np.nanmax(np.abs(wanted), initial=1e-20)


OPTIONS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "missing values, both directions": {"missing": True, "bidirectional": True},
    "two layers": {"layers": 2, "dropout": 0.5, "decoder_units": 9},
    "many": {"units": LANES + 1, "code": LANES + 4, "features": LANES + 3},
    "two steps of one number": {"steps": 2, "features": 1, "scale": "none"},
    "not scaled": {"scale": "none", "fill": (0.5, -2.0), "missing": True},
    "linked": {"linked": True},
    "linked, with missing values": {"linked": True, "fill": (0.5, -2.0), "missing": True, "bidirectional": True},
}


@pytest.mark.parametrize("name", sampled(OPTIONS, quick=("as usual", "linked"), slow=("many", "two layers")))
def test_kernels_match_numpy(name: str) -> None:
    options = OPTIONS[name]
    ours, theirs = slide_both(model_of(**options))
    # More parts than cores; the last part has one window.
    count = ours.window + 4 * ROWS
    compare(ours, theirs, rows_of(count, ours.features, missing="missing" in options))


@pytest.fixture(scope="module", params=[False, True], ids=["not linked", "linked"])
def both(request: pytest.FixtureRequest) -> tuple[SlidingAutoencoder, SlidingAutoencoder]:
    return slide_both(model_of(missing=True, linked=request.param))


@pytest.mark.parametrize("windows", [1, 3, ROWS - 1, ROWS + 1])
def test_kernels_match_numpy_for_any_number_of_windows(
    both: tuple[SlidingAutoencoder, SlidingAutoencoder], windows: int
) -> None:
    compare(*both, rows_of(windows + 11, 2))


def test_results_do_not_depend_on_the_number_of_cores(
    both: tuple[SlidingAutoencoder, SlidingAutoencoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, rows = both[0], rows_of(600, 2, missing=True)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        found.append(ours.residuals(rows, 1))
    np.testing.assert_array_equal(*found)


def test_windows_without_values_are_not_reconstructed() -> None:
    model = model_of(3, 1, missing=True)
    rows = np.array([1, 2, np.nan, np.nan, np.nan, np.nan, 7], np.float32)[:, None]
    assert empty_windows(rows, 3).tolist() == [False, False, True, True, False]
    for made in slide_both(model):
        # Of the five windows, only those from rows 0, 1, and 4 contain values.
        assert sum_windows(made.rebuild(rows, 1)).counts.ravel().tolist() == [1, 2, 2, 1, 1, 1, 1]
        assert sum_windows(made.residuals(rows, 1)).counts.ravel().tolist() == [1, 2, 0, 0, 0, 0, 1]


def test_float32_overflow_affects_only_windows_that_contain_it(
    both: tuple[SlidingAutoencoder, SlidingAutoencoder],
) -> None:
    rows = rows_of(100, 2)
    whole = both[0].residuals(rows, 1)
    rows[50] = 3e38
    ours, theirs = (made.residuals(rows, 1) for made in both)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    row = np.arange(89)[:, None] + np.arange(12)
    np.testing.assert_array_equal(np.isfinite(ours).all(axis=2), row != 50)
    # The reconstruction is finite, so that the residuals of huge values are not missing.
    assert (ours[row == 50] < -1e37).all()
    other = (row != 50).all(axis=1)
    np.testing.assert_array_equal(ours[other], whole[other])


@pytest.mark.parametrize("scale", ["standard", "window"])
def test_rows_are_rebuilt_by_all_windows_that_contain_them(scale: str) -> None:
    model = model_of(scale=scale)
    made, rows = slide(model, model.layers.config), rows_of(20, 2)
    given_back = model({"sequence": np.stack([rows[first : first + 12] for first in range(9)])})["reconstruction"]
    wanted = np.zeros((20, 2))
    for first in range(9):
        wanted[first : first + 12] += given_back[first]
    np.testing.assert_allclose(sum_windows(made.rebuild(rows, 1)).sums, wanted, rtol=1e-5, atol=1e-5)


def test_kernels_compute_windows_that_follow_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows of all calls count, since a table may have many short series."""
    monkeypatch.setattr(sliding, "FEW_STEPS", 2 * 29 * 12 - 1)
    model, rows = model_of(), rows_of(40, 2)
    made = slide(model, model.layers.config)
    first = made.residuals(rows, 1)
    assert model.layers.choice.kernel is None
    np.testing.assert_allclose(made.residuals(rows, 1), first, rtol=1e-4, atol=1e-5)
    assert model.layers.choice.kernel
    assert KerasNetwork(model.keras_model()).without_keras(model.layers.config).layers.choice.few == math.inf


def test_numpy_computes_all_windows_without_numba(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "lstm_ae.kernels.lstm", None)
    monkeypatch.delattr("lstm_ae.kernels.lstm")
    monkeypatch.setattr(choice, "compiled_states", choice.compiled_states.__wrapped__)
    model = model_of()
    with caplog.at_level("INFO"):
        assert slide(model, model.layers.config, repeated=True).residuals(rows_of(30, 2), 1).shape == (19, 12, 2)
    assert model.layers.choice.kernel is None
    assert "the kernels cannot be compiled here (ModuleNotFoundError: " in caplog.text
