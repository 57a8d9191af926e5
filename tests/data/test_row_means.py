"""Means per row over overlapping windows: by hand, by the definition, in a stream, and of parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ae.data.row_means import (
    BATCH_VALUES,
    BLOCK,
    MAX_BATCH,
    Overlap,
    mean_over_features,
    mean_windows,
    window_blocks,
)

CASES = st.tuples(
    st.integers(1, 7),  # window
    st.integers(1, 40),  # windows
    st.integers(1, 3),  # features
    st.sampled_from([0.0, 0.2, 0.9]),  # missing
    st.integers(0, 10_000),  # seed
)


def errors_of(window: int, windows: int, features: int, missing: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    errors = random.exponential(size=(windows, window, features)) ** 3
    errors[random.random(errors.shape) < missing] = np.nan
    return errors


def plainly(errors: np.ndarray) -> np.ndarray:
    """Return the mean errors by the definition, row by row."""
    windows, window, features = errors.shape
    rows = windows + window - 1
    means = np.full((rows, features), np.nan)
    for feature in range(features):
        for row in range(rows):
            of = [errors[k, row - k, feature] for k in range(windows) if 0 <= row - k < window]
            of = [error for error in of if not np.isnan(error)]
            means[row, feature] = np.mean(of) if of else np.nan
    return means


@settings(max_examples=60)
@given(CASES)
def test_mean_windows_equal_their_definition(case: tuple[int, int, int, float, int]) -> None:
    window, windows, features, missing, seed = case
    errors = errors_of(window, windows, features, missing, seed)
    np.testing.assert_allclose(mean_windows(errors), plainly(errors), rtol=1e-9)


@settings(max_examples=60)
@given(CASES, st.lists(st.integers(0, 9), max_size=8))
def test_overlap_of_chunks_equals_mean_windows_of_all_windows(
    case: tuple[int, int, int, float, int], sizes: list[int]
) -> None:
    window, windows, features, missing, seed = case
    errors = errors_of(window, windows, features, missing, seed)
    whole = mean_windows(errors)
    overlap, done = Overlap(), 0
    stops = [*np.minimum(np.cumsum(sizes, dtype=int), windows).tolist(), windows]
    for start, stop in zip([0, *stops], stops, strict=False):
        final = overlap.add(errors[start:stop])
        np.testing.assert_allclose(final, whole[done : done + len(final)], rtol=1e-9)
        done += len(final)
        # All rows are final except the last window - 1 rows.
        assert done == stop
        assert len(overlap.rest()) == stop + window - 1 - done
    np.testing.assert_allclose(overlap.rest(), whole[done:], rtol=1e-9)


def test_mean_windows_over_several_blocks() -> None:
    window = 64
    errors = np.random.default_rng(0).random((3 * BLOCK // window + 5, window), np.float32)
    whole = mean_windows(errors)
    assert whole.shape == (len(errors) + window - 1, 1)
    rows = np.array([0, 1, BLOCK // window, BLOCK // window + 1, len(errors), len(whole) - 1])
    for row in rows:
        of = [errors[k, row - k] for k in range(max(0, row - window + 1), min(len(errors), row + 1))]
        assert whole[row, 0] == pytest.approx(np.mean(of, dtype=np.float64))
    assert mean_windows(iter(np.array_split(errors, 7))) == pytest.approx(whole, rel=1e-12)


def test_mean_windows_of_a_view_and_of_no_windows() -> None:
    assert np.array_equal(mean_over_features(np.array([[1, np.nan], [2, 4]])), [1, 3])
    assert np.isnan(mean_over_features(np.full((1, 2), np.nan))).all()
    view = sliding_window_view(np.arange(6.0), 3)
    assert mean_windows(view).ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert mean_windows(np.empty((0, 4, 2))).shape == (3, 2)
    assert np.isnan(mean_windows(np.empty((0, 4, 2)))).all()
    assert Overlap().rest().shape == (0, 1)


def test_blocks_of_windows_are_limited_by_windows_and_values() -> None:
    assert list(window_blocks(5, 5 + MAX_BATCH + 11, 10, 1)) == [
        slice(5, 5 + MAX_BATCH + 9),
        slice(5 + MAX_BATCH, 5 + MAX_BATCH + 11),
    ]
    # Each window has a third of the values of a block, so that a block has three windows.
    window = BATCH_VALUES // 6
    assert list(window_blocks(0, window + 4, window, 2)) == [slice(0, window + 2), slice(3, window + 4)]
    assert list(window_blocks(0, window, window, 10)) == [slice(0, window)]
    assert list(window_blocks(0, 3, 4, 1)) == []
