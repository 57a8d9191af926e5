"""Codes and reconstructions of rows, compared with values worked out by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from detectors import sliding
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae.apply import encode
from lstm_ae.apply.encode import RunAutoencoder
from lstm_ae.apply.evaluate import evaluate_reconstruction
from lstm_ae.apply.run_table import slide_run
from lstm_ae.config import Series
from lstm_ae.data.frames import panel_from_rows
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.scaling import SeriesScales, fixed_scale
from lstm_ae.detection.row_means import sliding_windows
from lstm_ae.errors import DataError
from lstm_ae.models import sliding as models_sliding
from lstm_ae.models.sliding import SlidingAutoencoder, empty_windows
from lstm_ae.run import open_run


def grid_of(values: Any, segment: Any = None) -> Panel:
    values = np.asarray(values, np.float32).reshape(len(values), -1)
    panel = panel_from_rows(values, [f"x{column}" for column in range(values.shape[1])])
    return panel if segment is None else panel._replace(segment=np.asarray(segment, np.int32))


# The code is the last value of the window; the reconstruction repeats that value.
LAST = SlidingAutoencoder(
    window=2,
    features=1,
    code=1,
    encode=lambda rows: rows[1:],
    rebuild=sliding(lambda windows: np.repeat(windows[:, -1:], 2, axis=1), 2),
    residuals=sliding(lambda windows: windows[:, -1:] - windows, 2),
)


def run_of(autoencoder: SlidingAutoencoder, network: Any = None) -> RunAutoencoder:
    return RunAutoencoder(Series(), SeriesScales(fixed_scale()), network, autoencoder)


def prepared_of(*grid: Any) -> Any:
    return SimpleNamespace(grid=grid_of(*grid))


def test_code_of_a_row_is_that_of_the_window_ending_there() -> None:
    found = encode.encode_table(run_of(LAST), prepared_of([1, 2, 4, 8, 16], [0, 0, 0, 1, 1]))
    np.testing.assert_array_equal(found.ravel(), [np.nan, 2, 4, np.nan, 16])


def test_reconstruction_of_a_row_is_the_mean_over_its_windows() -> None:
    prepared = prepared_of([1, 2, 4, 8, 16], [0, 0, 0, 1, 1])
    # Row 1 is in the windows that end with rows 1 and 2, which reconstruct it as 2 and as 4.
    np.testing.assert_array_equal(encode.reconstruct_table(run_of(LAST), prepared).ravel(), [2, 3, 4, 16, 16])


def test_columns_are_in_the_order_of_the_table_with_times_in_fractions_of_a_second() -> None:
    index = pd.DatetimeIndex(["2024-01-01 00:00:00.5", "2024-01-01 00:00:00.0", "2024-01-01 00:00:01.0"], name="when")
    config = Series(window=2, freq="500ms")
    prepared = prepare_table(config, panel_from_rows(np.array([[2.0], [1], [3]]), ["a"], index))
    autoencoder = run_of(LAST)
    codes = encode.code_columns(autoencoder, prepared)
    assert [time[17:] for time in codes["when"].tolist()] == ["00.500000000", "00.000000000", "01.000000000"]
    np.testing.assert_array_equal(codes["code0"], [2, np.nan, 3])
    assert encode.reconstruction_columns(autoencoder, prepared)["a"].tolist() == [2.5, 2, 3]


def test_windows_without_values_have_no_code() -> None:
    halves = LAST._replace(encode=lambda rows: np.nan_to_num(rows[1:]))
    found = encode.encode_table(run_of(halves), prepared_of([1, np.nan, np.nan, 8]))
    np.testing.assert_array_equal(found.ravel(), [np.nan, 0, np.nan, 8])
    rows = np.array([1, np.nan, np.nan, np.nan, 8])[:, None]
    assert empty_windows(rows, 2).tolist() == [False, True, True, False]
    assert empty_windows(rows, 5).tolist() == [False]


def test_squared_errors_are_averaged_over_windows_within_series() -> None:
    network: Any = SimpleNamespace(
        inputs={"sequence": (None, 2, 1)}, scaling=lambda inputs: {"scaled": inputs["sequence"]}
    )
    network.inner = lambda inputs: {"reconstruction": np.nan_to_num(inputs["sequence"][:, -1:])}

    def error(*grid: Any) -> float:
        metrics = evaluate_reconstruction(run_of(LAST, network), prepared_of(*grid), None).metrics["new data"]
        return metrics["reconstruction_mse"].value

    # Windows (1, 2), (2, 4), (8, 16): errors 1, 0, 4, 0, 64, 0.
    assert error([1, 2, 4, 8, 16], [0, 0, 0, 1, 1]) == 69 / 6
    # Windows (1, nan), (nan, 4), (4, 6): errors 1, 0, 4, 0.
    assert error([1, np.nan, 4, 6]) == 5 / 4
    with pytest.raises(DataError, match="No window of 2 rows contains a value"):
        error([np.nan] * 3)


@given(st.lists(st.tuples(st.floats(-9, 9, width=32), st.integers(0, 5)), min_size=1, max_size=40), st.integers(1, 6))
def test_identity_code_reconstructs_every_row(rows: list[tuple[float, int]], window: int) -> None:
    """Rows are unchanged where a window contains them, if the code of a window is the window itself."""
    values = np.array([value for value, _ in rows], np.float32)[:, None]
    segment = np.cumsum([step == 0 for _, step in rows])
    halves = SlidingAutoencoder(
        window,
        1,
        window,
        encode=lambda rows: sliding_windows(rows, window)[..., 0],
        rebuild=sliding(lambda windows: windows, window),
        residuals=sliding(lambda windows: windows * 0, window),
    )
    held = np.repeat(np.bincount(segment) >= window, np.bincount(segment))
    wanted = np.where(held[:, None], values, np.nan)
    np.testing.assert_allclose(
        encode.reconstruct_table(run_of(halves), prepared_of(values, segment)), wanted, rtol=1e-6
    )


def test_equal_rows_give_equal_results_of_a_model_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows it has been applied to."""
    run = open_run(Path(__file__).parents[2] / "saved_models" / "pump")
    monkeypatch.setattr(models_sliding, "FEW_STEPS", 0)
    fast = slide_run(run, run.config())
    rows = np.random.default_rng(0).normal(20, 5, (160, 3)).astype(np.float32)
    expected = fast.residuals(rows, 1)
    monkeypatch.setattr(models_sliding, "FEW_STEPS", 10**9)
    np.testing.assert_array_equal(slide_run(run.read(), run.config()).residuals(rows, 1), expected)
    few = slide_run(run, run.config()).residuals(rows, 1)
    np.testing.assert_allclose(few, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert (few != expected).any()
