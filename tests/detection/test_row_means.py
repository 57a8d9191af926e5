"""Means per row over overlapping windows: by the definition, in blocks of any size, and over several blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.detection.row_means import (
    BATCH_VALUES,
    MAX_BATCH,
    mean_over_features,
    mean_windows,
    sum_windows,
    view_windows,
    window_blocks,
)


def mean_by_definition(rows: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Return the mean of each row weighted by its position in its windows."""
    starts = [*range(0, len(rows) - window + 1, stride)]
    starts += [] if starts[-1] == len(rows) - window else [len(rows) - window]
    means = np.full(rows.shape, np.nan)
    for row, feature in np.ndindex(rows.shape):
        weights = [row - start for start in starts if start <= row < start + window]
        if weights and not np.isnan(rows[row, feature]):
            means[row, feature] = np.mean([weight * rows[row, feature] for weight in weights])
    return means


@settings(max_examples=100, deadline=None)
@given(
    window=st.integers(1, 9),
    stride=st.integers(1, 4),
    more=st.integers(0, 40),
    features=st.integers(1, 3),
    missing=st.sampled_from([0.0, 0.2, 0.9]),
    size=st.integers(1, 5),
    seed=st.integers(0, 10_000),
)
def test_means_in_blocks_equal_their_definition(
    window: int, stride: int, more: int, features: int, missing: float, size: int, seed: int
) -> None:
    stride, random = min(stride, window), np.random.default_rng(seed)
    rows = random.normal(size=(window + more, features))
    rows[random.random(rows.shape) < missing] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstm_ae.detection.row_means.MAX_BATCH", size)
        blocks = list(window_blocks(0, len(rows), window, features, stride))
    weights = np.arange(window)[:, None]
    sums = (sum_windows(view_windows(rows[block], window, stride) * weights, stride, block.start) for block in blocks)
    np.testing.assert_allclose(mean_windows(sums), mean_by_definition(rows, window, stride), rtol=1e-9, atol=1e-12)


def test_mean_over_features_ignores_missing_values() -> None:
    assert np.array_equal(mean_over_features(np.array([[1, np.nan], [2, 4]])), [1, 3])
    assert np.isnan(mean_over_features(np.full((1, 2), np.nan))).all()


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
