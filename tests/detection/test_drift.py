"""The level of scores: by hand, frozen in events, and independent of how rows arrive."""

import math

import numpy as np
import pytest

from lstm_ae.detection.drift import MIN_LEVEL, ScoreLevel, fit_adaptation
from lstm_ae.errors import ConfigError


def level_of(threshold: float = 10.0, join: int = 3, memory: int = 4) -> ScoreLevel:
    return ScoreLevel(memory, 2.0, threshold, join)


def test_scores_are_divided_by_the_level_of_the_rows_before() -> None:
    level = level_of()
    # The level of 2 is usual. After a score of 8 the logarithm of the level is log(4) / 4.
    found = level.relative(np.array([8.0, np.nan, 3.0]))
    assert found[[0, 2]].tolist() == pytest.approx([8, 3 / 4**0.25])
    assert np.isnan(found[1])
    assert level.log == pytest.approx(math.log(4) / 4 + (math.log(1.5) - math.log(4) / 4) / 4)


def test_level_follows_a_constant_change() -> None:
    level = level_of(memory=50)
    found = level.relative(np.full(1000, 6.0))
    assert level.level == pytest.approx(3)
    assert found[-1] == pytest.approx(2)
    # It has followed by 1 - 1/e after as many rows as it remembers.
    assert found[50] == pytest.approx(6 / 3 ** (1 - (1 - 1 / 50) ** 50))


def test_level_is_frozen_while_an_event_is_open() -> None:
    level = level_of(threshold=10, join=3)
    level.relative(np.full(5, 2.0))
    before = level.log
    level.relative(np.full(1000, 50.0))
    assert level.log == before
    # The event is over after three rows that are not above the threshold, of which one has no score.
    level.relative(np.array([9.0, np.nan]))
    assert level.log == before
    level.relative(np.array([9.0]))
    assert level.log > before
    level.relative(np.array([50.0]))
    after = level.log
    level.relative(np.array([3.0]), begins=True)
    assert level.log != after


def test_level_has_a_lower_bound() -> None:
    level = level_of(memory=2)
    assert level.relative(np.zeros(100))[-1] == 0
    assert level.level == pytest.approx(MIN_LEVEL)


@pytest.mark.parametrize("size", [1, 3, 200])
def test_relative_scores_do_not_depend_on_how_rows_arrive(size: int) -> None:
    """A stored state continues in the same way, and rows that come again do not count twice."""
    scores = np.random.default_rng(0).exponential(3, 200)
    scores[::17] = np.nan
    whole = level_of(threshold=4).relative(scores)
    level, parts, times = level_of(threshold=4), [], np.arange(200)
    for first in range(0, 200, size):
        again = max(0, first - 5)
        found = level.relative(scores[again : first + size], times[again : first + size])
        parts.append(found[first - again :])
        other = level_of(threshold=4)
        other.restore(level.to_json())
        level = other
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_each_segment_of_normal_rows_begins_at_the_usual_level() -> None:
    scores = np.r_[np.full(50, 2.0), np.full(50, 8.0)]
    segment = np.repeat([0, 1], 50)
    adaptation = fit_adaptation(scores, segment, 10, 5)
    assert adaptation.usual == pytest.approx(4)
    assert adaptation.scores[[0, 50]].tolist() == [2, 8]
    assert adaptation.scores[[49, 99]] == pytest.approx([4, 4], rel=0.01)
    found = adaptation.relative(scores, math.inf, segment, np.zeros(100))
    assert found[50] > 12  # the second segment of a series continues at the level of the first
    np.testing.assert_array_equal(adaptation.relative(scores, math.inf, segment, segment), adaptation.scores)
    assert len(adaptation.relative(scores[:0], math.inf, segment[:0], segment[:0])) == 0


def test_memory_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--adapt must be at least 5, the rows of a window\. Received: 4"):
        fit_adaptation(np.ones(9), np.zeros(9), 4, 5)
