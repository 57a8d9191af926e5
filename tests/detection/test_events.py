"""Events from scores: by hand, with joined ranges, segments, and provisional ends, and in rows that arrive in parts."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.detection.calibration import UsualErrors
from lstm_ae.detection.events import (
    LARGEST,
    Change,
    Event,
    OnlineEvents,
    find_changes,
    find_events,
    find_online_events,
    true_ranges,
)


def bools(text: str) -> np.ndarray:
    return np.array([letter == "x" for letter in text])


@pytest.mark.parametrize(
    ("above", "join", "segment", "ranges"),
    [
        (".xx.x..x", 1, None, [[1, 3], [4, 5], [7, 8]]),
        (".xx.x..x", 2, None, [[1, 5], [7, 8]]),
        (".xx.x..x", 3, None, [[1, 8]]),
        ("...", 1, None, []),
        ("", 1, None, []),
        ("xxxx", 5, [0, 0, 7, 7], [[0, 2], [2, 4]]),
        ("x..x", 5, [0, 0, 7, 7], [[0, 1], [3, 4]]),
    ],
)
def test_true_ranges_by_hand(above: str, join: int, segment: list[int] | None, ranges: list[list[int]]) -> None:
    found = true_ranges(bools(above), join, None if segment is None else np.array(segment))
    assert found.tolist() == ranges
    assert found.shape[1] == 2


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8))
def test_ranges_contain_every_true_step_and_no_long_gap(steps: list[bool], join: int) -> None:
    above = np.array(steps, bool)
    found = true_ranges(above, join)
    inside = np.zeros(len(above), bool)
    for start, stop in found:
        assert above[start]
        assert above[stop - 1]
        inside[start:stop] = True
        gaps = true_ranges(~above[start:stop])
        assert all(stop - start < join for start, stop in gaps)
    assert not (above & ~inside).any()
    assert (found[1:, 0] - found[:-1, 1] >= join).all()


def chance(scores: np.ndarray) -> np.ndarray:
    """Return p-values that differ for all scores."""
    return 1 / (1 + scores)


def final_events(scores: Any, errors: Any, threshold: float, join: int, **options: Any) -> list[Event]:
    """Return the events of one series, in which by default all rows above the threshold cause it."""
    scores, rows = np.asarray(scores, float), np.zeros(len(scores))
    causes = {"find_causes": lambda own, _: np.ones(len(own), bool), "pending": 0}
    arguments = {"segment": rows, "series": rows} | causes | options
    return find_events(scores, np.asarray(errors, float), chance(scores), threshold, join, **arguments)


SCORES = np.array([0.0, 3, 0, 5, 0, 0, 0, np.nan, 0, 2, 0])
FEATURES = np.stack([SCORES * 0.5, SCORES * 1.5], axis=1)


def test_events_by_hand() -> None:
    assert final_events(SCORES, FEATURES, 1, 2, pending=2) == [
        Event(1, 3, 3, 5.0, 1 / 6, (0.25, 0.75), False, 3),
        Event(9, 9, 9, 2.0, 1 / 3, (0.25, 0.75), True, 10),
    ]
    # A score that equals the threshold is not above it.
    assert [event.first for event in final_events(SCORES, FEATURES, 2, 1)] == [1, 3]
    assert final_events(SCORES, FEATURES, 5, 1) == final_events(SCORES[:0], FEATURES[:0], 5, 1) == []
    # A missing feature has no share.
    assert final_events([4.0], [[np.nan, 4.0, 4.0]], 1, 1)[0].shares == (0, 0.5, 0.5)


def test_alarm_is_the_row_with_which_the_first_high_score_is_final() -> None:
    scores = np.array([0.0, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0])
    errors = np.zeros((12, 1))
    errors[[3, 7]] = 9
    found = final_events(scores, errors, 1, 3, find_causes=lambda own, _: own > 1, pending=2)
    assert [(event.first, event.alarm) for event in found] == [(3, 1 + 2), (7, 7 + 2)]
    ends = final_events(scores, errors, 1, 3, pending=20, segment=np.repeat([0, 1], [9, 3]))
    assert [(event.first, event.alarm) for event in ends] == [(1, 8)]


def online_events(scores: Any, errors: Any, segment: Any, series: Any, groups: Any = None) -> list[Event]:
    groups = np.arange(errors.shape[1]) if groups is None else np.array(groups)
    return find_online_events(scores, errors, chance(scores), 1, 3, segment, series, groups)


def test_online_event_is_caused_by_its_first_row_and_peaks_at_its_highest_score() -> None:
    scores, errors = np.array([0.0, 2, 2, 3, 0]), np.array([[0, 0], [3, 1], [0, 9], [0, 4], [0, 0]])
    (found,) = online_events(scores, errors, np.zeros(5), np.zeros(5))
    assert found == Event(1, 3, 3, 3.0, 0.25, (0.75, 0.25), True, 1, 1)


def test_weaker_event_of_the_same_column_begins_as_the_bound_falls() -> None:
    """Windows have three rows; after 150 rows the logarithm of the bound, twice 32, is divided by e."""
    rows = 200
    scores, errors = np.zeros(rows), np.tile([1.0, 0.0], (rows, 1))
    scores[10] = 16
    scores[[20, 30, 178, 180]] = 16, 32, 64 ** math.exp(-147 / 150) - 0.1, 64 ** math.exp(-149 / 150)
    found = online_events(scores, errors, np.zeros(rows), np.zeros(rows))
    # The second one is as strong; the third is twice as strong. The bound is above the fourth, and not above the fifth.
    assert [event.first for event in found] == [10, 30, 180]
    errors[20] = 0, 1
    found = online_events(scores, errors, np.zeros(rows), np.zeros(rows))
    assert [event.first for event in found] == [10, 20, 30, 180]
    # Columns of one group have one bound.
    found = online_events(scores, errors, np.zeros(rows), np.zeros(rows), groups=[-1, -1])
    assert [event.first for event in found] == [10, 30, 180]


def test_online_events_end_with_their_series_and_may_continue_at_its_end() -> None:
    """The first two events are in two series, and the others in two segments of a third series."""
    scores, series = np.array([0.0, 2, 2, 0, 0, 0, 2, 0, 4]), np.array([0, 0, 1, 1, 1, 1, 2, 2, 2])
    segment = np.array([0, 0, 1, 1, 1, 1, 2, 2, 3])
    found = online_events(scores, np.ones((9, 1)), segment, series)
    facts = [(event.first, event.last, event.provisional) for event in found]
    assert facts == [(1, 1, True), (2, 2, False), (6, 6, False), (8, 8, True)]


# Later rows can extend only the last segment of a series.
HALVES = np.array([0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("pending", "join", "groups", "provisional"),
    [
        (4, 1, {}, False),
        (5, 1, {}, True),
        (0, 4, {}, False),
        (0, 5, {}, True),
        (1, 1, {"segment": HALVES}, False),
        (1, 1, {"segment": HALVES, "series": HALVES}, True),
    ],
)
def test_events_that_may_still_change_are_provisional(
    pending: int, join: int, groups: dict[str, Any], provisional: bool
) -> None:
    scores = np.array([0.0, 0, 9, 0, 0, 0, 0])
    (event,) = final_events(scores, scores[:, None], 1, join, pending=pending, **groups)
    assert event.provisional is provisional


def test_scores_around_one_bad_row_are_one_event() -> None:
    """A bad row raises the scores before and after it; scores between them may be below the threshold."""
    scores = np.zeros(40)
    scores[[10, 11, 13, 16, 19]] = 5, 1, 9, 2, 1.5
    events = final_events(scores, scores[:, None], 1.2, 5)
    assert [(event.first, event.last, event.peak) for event in events] == [(10, 19, 13)]


# Errors from 10 cause an event whose largest error is 100.
CAUSES = UsualErrors(median=1.0, highest=20.0).find_causes


def parts_of(scores: np.ndarray, errors: np.ndarray, join: int) -> list[tuple[int, int, int, float]]:
    events = final_events(scores, errors[:, None], 2, join, find_causes=CAUSES)
    return [(event.first, event.last, event.peak, event.score) for event in events]


def test_event_is_trimmed_to_the_rows_that_cause_it() -> None:
    """Windows of five rows that contain rows 10 to 12 raise the scores of rows 6 to 16."""
    scores, errors = np.zeros(30), np.ones(30)
    scores[6:17] = [3, 4, 5, 6, 7, 8, 9, 7, 5, 4, 3]
    errors[10:13] = 50, 100, 10
    assert parts_of(scores, errors, 5) == [(10, 12, 11, 9)]
    # The peak is the row with the largest error; rows between causes belong to the event.
    errors[10:13] = 100, 1, 10
    assert parts_of(scores, errors, 5) == [(10, 12, 10, 9)]
    # Without an unusual error, all rows above the threshold are the event.
    errors[10:13] = 2, 20, 2
    assert parts_of(scores, errors, 5) == [(6, 16, 11, 9)]


def test_event_is_split_into_causes_a_window_apart() -> None:
    scores, errors = np.zeros(40), np.ones(40)
    scores[6:26] = 5
    scores[[10, 21]] = 8, 9
    errors[[10, 20, 21]] = 100, 40, 90
    assert parts_of(scores, errors, 5) == [(10, 10, 10, 8), (20, 21, 21, 9)]
    # Causes with fewer rows between them than a window are one event.
    assert parts_of(scores, errors, 10) == [(10, 21, 10, 9)]
    assert parts_of(scores, errors, 9) == [(10, 10, 10, 8), (20, 21, 21, 9)]


def test_causes_below_the_threshold_are_no_events() -> None:
    """The gap between two runs is bridged; an unusual error in it has no score above the threshold."""
    scores, errors = np.zeros(40), np.ones(40)
    scores[5:8], scores[20:23] = 4, 4
    errors[[6, 13]] = 100, 30
    assert parts_of(scores, errors, 5) == [(6, 6, 6, 4), (20, 22, 20, 4)]
    # Within a bridged gap, at least a window from other causes.
    assert parts_of(scores, errors, 13) == [(6, 13, 6, 4)]


def test_causes_have_their_own_p_values_and_shares() -> None:
    scores, errors = np.zeros(40), np.ones((40, 2))
    scores[6:26] = 5
    scores[21] = 9
    errors[10], errors[21] = (150, 50), (20, 180)
    first, second = final_events(scores, errors, 2, 5, find_causes=CAUSES, pending=18)
    assert (first.p, second.p) == (1 / 6, 1 / 10)
    np.testing.assert_allclose([first.shares, second.shares], [(0.75, 0.25), (0.1, 0.9)])
    # Later rows may change both, since they may extend the run of high scores.
    assert first.provisional
    assert second.provisional


STARTS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, 3.0, np.nan]), st.booleans()), max_size=40)


def errors_of(rows: int) -> Any:
    """Return errors whose order differs from that of the scores."""
    return np.stack([np.arange(rows) % 3, np.arange(rows) % 5 + 1.0], axis=1)


def changes_of(scores: Any, begins: Any, sizes: list[int]) -> tuple[Event | None, list[Change]]:
    """Return the changes of rows that arrive in pieces; the state is stored between two of them."""
    found, state, start = list[Change](), OnlineEvents(), 0
    times = np.arange(len(scores)) * 10
    errors = errors_of(len(scores))
    while start < len(scores):
        rows = slice(start, start + sizes[start % len(sizes)])
        state, changes = find_changes(
            state,
            times[rows],
            errors[rows],
            scores[rows],
            chance(scores[rows]),
            1,
            begins[rows],
            3,
            np.arange(2),
        )
        state = OnlineEvents.from_json(json.loads(json.dumps(state.to_json())))
        found += changes
        start = rows.stop
    return state.event, found


@settings(max_examples=200)
@given(STARTS, st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_events_of_arriving_rows_equal_those_of_the_table(starts: list[tuple[float, bool]], sizes: list[int]) -> None:
    scores = np.array([score for score, _ in starts], float)
    begins = np.array([gap and number > 0 for number, (_, gap) in enumerate(starts)], bool)
    event, changes = changes_of(scores, begins, sizes)
    rows, segment = np.zeros(len(scores)), np.cumsum(begins)
    expected = online_events(scores, errors_of(len(scores)), segment, rows)
    ranges = true_ranges(scores > 1, 3, segment).tolist()
    assert [each.first for each in expected[:1]] == [first for first, _ in ranges[:1]]
    ends = {end: first for first, end in ranges}
    assert all(ends[each.last + 1] <= each.first for each in expected)
    ended = [change.event for change in changes if change.status == "resolved"]
    found = [*ended, *([event] if event else [])]
    assert found == [
        each._replace(
            first=each.first * 10, last=each.last * 10, peak=each.peak * 10, alarm=each.alarm * 10, below=found[k].below
        )
        for k, each in enumerate(expected)
    ]
    assert all(each.p == 1 / (1 + each.score) for each in found)
    assert [change.event.first for change in changes if change.status == "firing"] == [each.first for each in found]


def test_infinite_score_becomes_the_largest_number() -> None:
    scores = np.array([0, np.inf, 0])
    with np.errstate(invalid="ignore"):
        event, _ = changes_of(scores, np.zeros(3, bool), [3])
    assert event is not None
    assert event.score == LARGEST
    np.testing.assert_allclose(event.shares, (1 / 3, 2 / 3))
