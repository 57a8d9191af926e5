"""Test networks whose recurrent steps are segments of several rows of one column."""

from typing import Any

import numpy as np
import pytest

from lstm_ae.config import Series
from lstm_ae.data.columns import Covariates
from lstm_ae.models.forecaster import horizon_forecaster
from lstm_ae.models.segments import cut_segments, fold_columns

STEPS, HORIZON, SEGMENT = 7, 8, 3
NONE = Covariates()


def network_of(columns: int, covariates: Covariates = NONE, **options: Any) -> Any:
    """Return a network without a linear part whose weights are all drawn at random."""
    config = Series(task="forecast", segment=SEGMENT, units=4, link="none", **options)
    sizes = {"steps": STEPS, "horizon": HORIZON, "features": columns + sum(covariates)}
    network = horizon_forecaster(config, **sizes, missing=False, covariates=covariates)
    random = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    return network


def values(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def changes(network: Any, past: np.ndarray, **known: np.ndarray) -> np.ndarray:
    """Return the forecast minus the last value of each column, `(samples, horizon, columns)`."""
    future: np.ndarray = network({"past": past, **known})["future"].numpy()
    return future - past[:, -1:, : future.shape[2]]


def test_sequences_are_cut_into_segments_and_filled_with_zeros() -> None:
    sequence = np.arange(1, 11, dtype=np.float32).reshape(1, 5, 2)
    whole = [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 0, 0]]
    assert np.asarray(cut_segments(sequence, 3))[0].tolist() == whole
    first = [[0, 0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10]]
    assert np.asarray(cut_segments(sequence, 3, pad_start=True))[0].tolist() == first
    assert np.asarray(cut_segments(sequence, 5)).tolist() == [[list(range(1, 11))]]


def test_each_column_becomes_a_sequence_with_the_shared_values() -> None:
    own, shared = np.array([[[1, 2], [3, 4], [5, 6]]], np.float32), np.array([[[7], [8], [9]]], np.float32)
    assert np.asarray(fold_columns([own], [])).tolist() == [[[1], [3], [5]], [[2], [4], [6]]]
    assert np.asarray(fold_columns([own, -own], [shared])).tolist() == [
        [[1, -1, 7], [3, -3, 8], [5, -5, 9]],
        [[2, -2, 7], [4, -4, 8], [6, -6, 9]],
    ]


# With a single sample, or with as many columns as units, axes of a sum could be confused.
@pytest.mark.parametrize(("samples", "columns"), [(5, 2), (1, 4), (4, 4)])
def test_a_forecast_reads_its_own_column_with_weights_of_all_columns(samples: int, columns: int) -> None:
    network = network_of(columns)
    past = values(samples, STEPS, columns)
    found = changes(network, past)
    changed = past.copy()
    changed[..., 1:] += values(samples, STEPS, columns - 1, seed=2)
    np.testing.assert_allclose(changes(network, changed)[..., 0], found[..., 0], atol=1e-5)
    # Equal columns differ by their vectors alone.
    alike = np.repeat(past[..., :1], columns, axis=2)
    assert abs(np.diff(changes(network, alike), axis=2)).max() > 1e-3
    table = network.get_layer("column").weights[0]
    table.assign(np.tile(np.asarray(table)[:, :4], columns))
    assert abs(np.diff(changes(network, alike), axis=2)).max() < 1e-5


def test_segments_of_the_horizon_differ_by_their_positions_alone() -> None:
    network = network_of(2)
    past = values(3, STEPS, 2)
    found = changes(network, past)
    assert found.shape == (3, HORIZON, 2)
    assert abs(found[:, :SEGMENT] - found[:, SEGMENT : 2 * SEGMENT]).max() > 1e-3
    table = network.get_layer("position").weights[0]
    table.assign(np.tile(np.asarray(table)[:, :4], -(-HORIZON // SEGMENT)))
    found = changes(network, past)
    for step in range(SEGMENT, HORIZON):
        np.testing.assert_allclose(found[:, step], found[:, step - SEGMENT], atol=1e-5)


def test_known_values_change_the_forecast_of_their_segment_only() -> None:
    network = network_of(2, Covariates(past=1, known=1))
    past, known = values(3, STEPS, 4), values(3, HORIZON, 1)
    found = changes(network, past, known=known)
    known[:, 4] += 1
    changed = abs(changes(network, past, known=known) - found).max(axis=(0, 2)) > 1e-4
    assert changed.tolist() == [step // SEGMENT == 1 for step in range(HORIZON)]
    # The columns that are not forecast are inputs of all others.
    past[:, 2, 2] += 1
    assert (abs(changes(network, past, known=known) - found).max(axis=(0, 1)) > 1e-4).all()


def test_a_segment_may_be_longer_than_the_horizon() -> None:
    config = Series(task="forecast", segment=STEPS, units=2)
    sizes: dict[str, Any] = {"steps": STEPS, "horizon": 2, "features": 1, "covariates": Covariates()}
    network = horizon_forecaster(config, **sizes, missing=False)
    past = values(3, STEPS, 1)
    np.testing.assert_array_equal(network({"past": past})["future"], np.repeat(past[:, -1:], 2, axis=1))
