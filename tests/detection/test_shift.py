"""Shifts: they last, they end, and they do not depend on how rows arrive."""

import numpy as np
import pytest

from lstm_ae.data.scaling import Scale
from lstm_ae.detection.shift import Shift, ShiftLimits

SCALE = Scale("fixed", np.array([[10.0, 0]], np.float32), np.array([[2.0, 1]], np.float32))


def shift_of(length: int = 5, scale: Scale | None = SCALE) -> Shift:
    return Shift(ShiftLimits(scale, 1.0, length), 2)


def add(shift: Shift, count: int, value: float = 10.0, score: float = 0.5, start: int = 0) -> bool:
    values = np.tile(np.array([value, 0.0]), (count, 1))
    return shift.add(values, np.full(count, score), start + np.arange(count))


def test_shift_of_a_column_begins_after_its_length_and_ends_after_as_many_normal_rows() -> None:
    shift = shift_of()
    # Four deviations from the mean are not beyond the limit.
    assert not add(shift, 20, value=18)
    assert not add(shift, 4, value=18.1, start=20)
    assert add(shift, 1, value=18.1, start=24)
    assert (shift.active.tolist(), shift.since) == ([True, False, False], 24)
    assert not add(shift, 30, value=1.9, start=25)
    assert not add(shift, 4, start=55)
    assert shift.since == 24
    add(shift, 1, start=59)
    assert (shift.active.any(), shift.since) == (False, None)


def test_scores_shift_if_most_of_them_are_high() -> None:
    shift = shift_of(length=20)
    half = np.tile([2.0, 0.5], 200)
    assert not shift.add(np.tile([10.0, 0.0], (400, 1)), half, np.arange(400))
    most = np.tile([2.0, 2.0, 0.5], 30)
    assert shift.add(np.tile([10.0, 0.0], (90, 1)), most, np.arange(90))
    assert shift.active.tolist() == [False, False, True]


def test_unknown_values_do_not_count() -> None:
    shift = shift_of()
    add(shift, 4, value=100)
    assert not add(shift, 50, value=np.nan, score=np.nan)
    assert add(shift, 1, value=100)
    # Values without a scale have no range.
    assert not add(shift_of(scale=None), 50, value=1e9)


@pytest.mark.parametrize("size", [1, 7, 500])
def test_shifts_do_not_depend_on_how_rows_arrive(size: int) -> None:
    random = np.random.default_rng(0)
    values = random.normal([10, 0], [6, 1], (500, 2)) + 15 * (np.sin(np.arange(500) / 40) > 0)[:, None]
    scores = random.exponential(size=500) + (np.sin(np.arange(500) / 50) > 0.3)
    values[random.random((500, 2)) < 0.1] = np.nan
    whole, shift, begun = shift_of(20), shift_of(20), 0
    assert whole.add(values, scores, np.arange(500))
    for first in range(0, 500, size):
        rows = slice(first, first + size)
        begun += shift.add(values[rows], scores[rows], np.arange(500)[rows])
        other = shift_of(20)
        other.restore(shift.to_json())
        shift = other
    assert shift.to_json() == whole.to_json()
    assert begun
