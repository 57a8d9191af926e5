"""Tests of the toy signals: their generation, damping, and split."""

import numpy as np
import pytest

from lstm_ae.config import Toy
from lstm_ae.data.toy import generate_signals, load


def test_signals_match_the_damping_formula() -> None:
    values, centres = generate_signals(40, seed=3)
    assert values.shape == (40, 50)
    assert values.dtype == np.float32
    # The undamped numbers of the same generator.
    raw = np.random.default_rng(3).random((40, 50), np.float32)
    for row, centre, drawn in zip(values, centres, raw, strict=True):
        for step in range(50):
            factor = np.float32(0.1) if centre - 5 <= step <= centre + 5 else np.float32(1)
            assert row[step] == drawn[step] * factor


def test_split_is_60_20_20_in_generated_order() -> None:
    data = load(Toy(sequences=50, seed=9))
    assert [split.samples for split in data[:3]] == [30, 10, 10]
    values, _ = generate_signals(50, 9)
    assert np.array_equal(np.concatenate([split.windows()[..., 0] for split in data[:3]]), values)
    assert data.train.windows().shape == (30, 50, 1)
    assert all(split.label is None and split.line is None for split in data[:3])


@pytest.mark.parametrize(("sequences", "parts"), [(10, [6, 2, 2]), (11, [7, 2, 2]), (13, [8, 2, 3])])
def test_split_of_uneven_numbers_uses_every_sequence(sequences: int, parts: list[int]) -> None:
    assert [split.samples for split in load(Toy(sequences=sequences))[:3]] == parts
