"""Compare the kernels for windows at every row with the network, which computes each window separately."""

import sys
from pathlib import Path
from typing import Any

import keras
import numba
import numpy as np
import pytest
from linear_autoencoders import random_linear_autoencoder
from sampling import sampled

from lstm_ae.config import Series
from lstm_ae.data.scaling import Scale, fixed_scale, window_scale
from lstm_ae.data.sliding import RowSums, sum_windows
from lstm_ae.kernels.compiled import is_compiled, log_compilation
from lstm_ae.kernels.vectors import LANES, load, store
from lstm_ae.kernels.windows import COUNT, _gated
from lstm_ae.models import sliding
from lstm_ae.models.autoencoder import pooled_autoencoder
from lstm_ae.models.keras_network import convert_model
from lstm_ae.models.scaling import in_own_units
from lstm_ae.models.sliding import (
    SlidingAutoencoder,
    empty_windows,
    few_windows,
    slide,
    slide_windowwise,
    slide_with_kernels,
)

# Relative to the largest number: the rounding of float32 over some hundred steps.
ROUNDING = 1e-6


def model_of(
    steps: int = 12,
    features: int = 2,
    *,
    missing: bool = False,
    scale: Scale | None = None,
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
    return convert_model(in_own_units(network, scale or fixed))


def rows_of(count: int, features: int, *, missing: bool = False) -> Any:
    random = np.random.default_rng(0)
    rows = random.normal(0.5, 2, (count, features)).astype(np.float32)
    if missing:
        rows[random.random(rows.shape) < 0.2] = np.nan
        rows[count // 3 : count // 2] = np.nan
    return rows


def assert_near(got: Any, wanted: Any) -> None:
    if isinstance(wanted, RowSums):
        assert isinstance(got, RowSums)
        assert got.window == wanted.window
        np.testing.assert_array_equal(got.counts, wanted.counts)
        got, wanted = got.sums / np.maximum(got.counts, 1), wanted.sums / np.maximum(wanted.counts, 1)
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    assert np.nanmax(np.abs(got - wanted), initial=0) <= ROUNDING * np.nanmax(np.abs(wanted), initial=1e-20)


def compare(ours: SlidingAutoencoder, theirs: SlidingAutoencoder, rows: Any) -> None:
    assert_near(ours.residuals(rows), theirs.residuals(rows))


OPTIONS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "missing values": {"missing": True},
    "both directions": {"bidirectional": True, "missing": True},
    "dropout": {"dropout": 0.5},
    "another decoder": {"decoder_units": 9, "gates": "chrono"},
    "one number a step": {"features": 1, "scale": fixed_scale()},
    "many": {"units": 17, "code": 20, "features": 19},
    "two steps": {"steps": 2, "features": 1},
    "not scaled": {"scale": fixed_scale(), "fill": (0.5, -2.0)},
    "not scaled, with missing values": {"scale": fixed_scale(), "fill": (0.5, -2.0), "missing": True},
    "linked": {"linked": True},
    "linked, with missing values": {"linked": True, "fill": (0.5, -2.0), "missing": True, "bidirectional": True},
}


SLOW = ("many", "not scaled, with missing values", "linked, with missing values")


@pytest.mark.parametrize("name", sampled(OPTIONS, quick=("as usual", "linked"), slow=SLOW))
def test_sliding_kernels_match_the_network(name: str) -> None:
    options = OPTIONS[name]
    model = model_of(**options)
    ours, theirs = slide_with_kernels(model, "standard"), slide_windowwise(model, "standard")
    assert ours.reason == ""
    # More blocks than cores; the last block has one window.
    compare(
        ours, theirs, rows_of(3 * COUNT + ours.window, ours.features, missing=bool({"missing", "fill"} & set(options)))
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"missing": True}, id="missing values"),
        pytest.param({"linked": True, "code": LANES + 1, "fill": (0.5, -2.0)}, id="linked"),
        pytest.param({"units": LANES, "bidirectional": True}, id="both directions"),
        pytest.param({"units": LANES + 5, "code": LANES + 1, "features": LANES + 3}, id="more than a vector"),
    ],
)
def test_kernels_for_few_windows_equal_those_for_many(options: dict[str, Any]) -> None:
    ours, few = slide_with_kernels(model_of(**options), "standard"), few_windows()
    rows = rows_of(few + ours.window, ours.features, missing="missing" in options)
    rows[4, 0] = 1e30
    whole = ours.residuals(rows)
    assert len(whole) == few + 1
    for count in (1, few):
        np.testing.assert_array_equal(ours.residuals(rows[: count + ours.window - 1]), whole[:count])
    assert np.isfinite(whole[~np.isnan(whole)]).all()


def test_kernels_for_few_windows_are_compiled_only_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ae.models.sliding._narrow", lambda: pytest.fail("uses the kernels for few windows"))
    ours = slide_with_kernels(model_of(), "standard")
    assert ours.reason == ""
    assert len(ours.residuals(rows_of(few_windows() + ours.window, ours.features))) == few_windows() + 1


@pytest.fixture(scope="module", params=[False, True], ids=["not linked", "linked"])
def both(request: pytest.FixtureRequest) -> tuple[SlidingAutoencoder, SlidingAutoencoder]:
    model = model_of(missing=True, linked=request.param)
    return slide_with_kernels(model, "standard"), slide_windowwise(model, "standard")


@pytest.mark.parametrize("windows", [1, COUNT - 1, COUNT, COUNT + 1])
def test_sliding_kernels_match_the_network_for_any_number_of_windows(
    both: tuple[SlidingAutoencoder, SlidingAutoencoder], windows: int
) -> None:
    ours, theirs = both
    rows = rows_of(windows + 11, 2)
    assert ours.residuals(rows).shape == (windows, 12, 2)
    compare(ours, theirs, rows)


def test_results_do_not_depend_on_the_number_of_cores(
    both: tuple[SlidingAutoencoder, SlidingAutoencoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, rows = both[0], rows_of(5 * COUNT, 2, missing=True)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        found.append(ours.residuals(rows))
    np.testing.assert_array_equal(*found)


def test_windows_without_values_are_not_reconstructed() -> None:
    model = model_of(3, 1, missing=True)
    rows = np.array([1, 2, np.nan, np.nan, np.nan, np.nan, 7], np.float32)[:, None]
    assert empty_windows(rows, 3).tolist() == [False, False, True, True, False]
    for made in (slide_with_kernels(model, "standard"), slide_windowwise(model, "standard")):
        # Of the five windows, only those from rows 0, 1, and 4 contain values.
        assert made.rebuild(rows).counts.ravel().tolist() == [1, 2, 2, 1, 1, 1, 1]
        assert sum_windows(made.residuals(rows)).counts.ravel().tolist() == [1, 2, 0, 0, 0, 0, 1]


def test_float32_overflow_affects_only_windows_that_contain_it(
    both: tuple[SlidingAutoencoder, SlidingAutoencoder],
) -> None:
    rows = rows_of(100, 2)
    whole = both[0].residuals(rows)
    rows[50] = 3e38
    ours, theirs = (made.residuals(rows) for made in both)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    row = np.arange(89)[:, None] + np.arange(12)
    np.testing.assert_array_equal(np.isfinite(ours).all(axis=2), row != 50)
    # The reconstruction is finite, so that the residuals of huge values are not missing.
    assert (ours[row == 50] < -1e37).all()
    other = (row != 50).all(axis=1)
    np.testing.assert_array_equal(ours[other], whole[other])


@numba.njit
def gated(gates: Any, values: Any, out: Any) -> None:
    for n in range(0, len(out), LANES):
        store(out, n, _gated(load(gates, n), load(values, n)))


def test_gates_of_large_values_do_not_overflow() -> None:
    gate = np.repeat(np.array([-87, -30, -5, -2, 0, 2, 100, np.nan], np.float32), 2 * LANES)
    value = np.resize(np.array([-1e9, -44, -9, -1e-3, 0, 1e-3, 9, 11, 43, 44, 88, np.inf], np.float32), len(gate))
    found = np.empty_like(gate)
    gated(gate, value, found)
    with np.errstate(invalid="ignore"):
        wanted = np.tanh(value.astype(np.float64)) / (1 + np.exp(-gate.astype(np.float64)))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-30)


def test_outliers_and_stuck_values_match_keras(both: tuple[SlidingAutoencoder, SlidingAutoencoder]) -> None:
    # Outliers, and a sensor that is stuck.
    random = np.random.default_rng(2)
    rows = rows_of(60, 2)
    rows[10:40] = 100 * random.normal(size=(30, 2))
    rows[40:] = 100 * random.choice([-1, 1], 2)
    compare(*both, rows)


@pytest.mark.parametrize(
    ("options", "scale", "reason"),
    [
        ({"layers": 2}, "standard", "its encoder or decoder has more than one layer"),
        ({"layers": 2, "bidirectional": True}, "standard", "its encoder or decoder has more than one layer"),
        ({"scale": window_scale(2)}, "window", "each window is scaled by its own range"),
    ],
    ids=["layers", "layers in both directions", "window"],
)
def test_unsupported_models_compute_each_window_and_name_the_reason(
    options: dict[str, Any], scale: str, reason: str
) -> None:
    model = model_of(**options)
    made = slide_with_kernels(model, scale)
    assert made.reason == reason
    rows = rows_of(20, 2)
    windows = np.stack([rows[first : first + 12] for first in range(9)])
    given_back = model({"sequence": windows})["reconstruction"]
    wanted = np.zeros((20, 2))
    for first in range(9):
        wanted[first : first + 12] += given_back[first]
    np.testing.assert_allclose(made.rebuild(rows).sums, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_few_windows_are_computed_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    made, rows = slide(model_of(), "standard"), rows_of(40, 2)
    fast = slide_with_kernels(model_of(), "standard")
    monkeypatch.setattr("lstm_ae.models.sliding.slide_with_kernels", lambda *_: pytest.fail("uses the kernels"))
    compare(made, fast, rows)


def test_many_windows_are_computed_by_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows of all calls count, since a table may have many short series."""
    model, rows = model_of(), rows_of(40, 2)
    fast = slide_windowwise(model, "standard")._replace(residuals=lambda rows: rows + 1)
    monkeypatch.setattr("lstm_ae.models.sliding.FEW_STEPS", 2 * 29 * 12 - 1)
    monkeypatch.setattr("lstm_ae.models.sliding.slide_with_kernels", lambda *_: fast)
    made = slide(model, "standard")
    assert made.residuals(rows).shape == (29, 12, 2)
    np.testing.assert_array_equal(made.residuals(rows), rows + 1)


@pytest.mark.parametrize("compiled", sampled((True, False), slow=(False,)))
def test_compilation_of_the_kernels_is_logged(
    compiled: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lstm_ae.kernels.compiled.is_compiled", lambda function: compiled)
    log_compilation.cache_clear()
    with caplog.at_level("INFO"):
        assert slide_with_kernels(model_of(), "standard").reason == ""
    assert ("compiling the kernels" in caplog.text) == (not compiled)


def test_function_is_compiled_after_its_first_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def double(x: float) -> float:
        return 2 * x

    doubled = numba.njit(cache=True)(double)
    assert not is_compiled(doubled)
    assert doubled(3) == 6
    assert is_compiled(doubled)
    # Another process has only the cache.
    again = numba.njit(cache=True)(double)
    assert not again.signatures
    assert is_compiled(again)


def test_each_window_is_computed_separately_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lstm_ae.kernels.windows", None)
    made = sliding.slide_with_kernels(model_of(), "standard")
    assert made.reason.startswith("the kernels cannot be compiled here (ModuleNotFoundError: ")
    assert made.residuals(rows_of(30, 2)).shape == (19, 12, 2)
