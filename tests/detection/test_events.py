"""Events from scores: by hand, with joined ranges, segments, and provisional ends, and in rows that arrive in parts."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.detection.calibration import UsualErrors
from lstm_ae.detection.events import (
    LARGEST,
    Change,
    Event,
    OpenEvent,
    find_changes,
    find_events,
    find_online_events,
    true_ranges,
)


def bools(text: str) -> np.ndarray:
    return np.array([letter == "x" for letter in text])


def test_true_ranges_by_hand() -> None:
    assert true_ranges(bools(".xx.x..x")).tolist() == [[1, 3], [4, 5], [7, 8]]
    assert true_ranges(bools(".xx.x..x"), join=2).tolist() == [[1, 5], [7, 8]]
    assert true_ranges(bools(".xx.x..x"), join=3).tolist() == [[1, 8]]
    assert true_ranges(bools("...")).shape == true_ranges(bools("")).shape == (0, 2)
    assert true_ranges(bools("xxx")).tolist() == [[0, 3]]


def test_ranges_do_not_cross_segments() -> None:
    assert true_ranges(bools("xxxx"), 5, np.array([0, 0, 7, 7])).tolist() == [[0, 2], [2, 4]]
    assert true_ranges(bools("x..x"), 5, np.array([0, 0, 7, 7])).tolist() == [[0, 1], [3, 4]]


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


def whole_runs(errors: np.ndarray, join: int) -> np.ndarray:
    """Return that all rows above the threshold cause it."""
    return np.ones(len(errors), bool)


def chance(scores: np.ndarray) -> np.ndarray:
    """Return p-values that differ for all scores."""
    return 1 / (1 + scores)


SCORES = np.array([0.0, 3, 0, 5, 0, 0, 0, np.nan, 0, 2, 0])
FEATURES = np.stack([SCORES * 0.5, SCORES * 1.5], axis=1)


def test_events_by_hand() -> None:
    events = find_events(SCORES, FEATURES, 1, join=2, find_causes=whole_runs, pending=2, p_values=chance)
    assert events == [
        Event(1, 3, 3, 5.0, 1 / 6, (0.25, 0.75), False, 3),
        Event(9, 9, 9, 2.0, 1 / 3, (0.25, 0.75), True, 10),
    ]


def test_alarm_is_the_row_with_which_the_first_high_score_is_final() -> None:
    scores = np.array([0.0, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0])
    errors = np.zeros((12, 1))
    errors[[3, 7]] = 9
    found = find_events(scores, errors, 1, join=3, find_causes=lambda own, _: own > 1, pending=2)
    assert [(event.first, event.alarm) for event in found] == [(3, 1 + 2), (7, 7 + 2)]
    ends = find_events(scores, errors, 1, join=3, find_causes=whole_runs, pending=20, segment=np.repeat([0, 1], [9, 3]))
    assert [(event.first, event.alarm) for event in ends] == [(1, 8)]


def test_online_event_is_caused_by_its_first_row_and_peaks_at_its_highest_score() -> None:
    scores, errors = np.array([0.0, 2, 2, 3, 0]), np.array([[0, 0], [3, 1], [0, 9], [0, 4], [0, 0]])
    (found,) = find_online_events(scores, errors, 1, 3, chance, np.zeros(5), np.zeros(5))
    assert (found.first, found.last, found.peak, found.alarm, found.shares) == (1, 3, 3, 1, (0.75, 0.25))


def test_online_events_end_with_their_series_and_may_continue_at_its_end() -> None:
    """The first two events are in two series, and the others in two segments of a third series."""
    scores, series = np.array([0.0, 2, 2, 0, 0, 0, 2, 0, 2]), np.array([0, 0, 1, 1, 1, 1, 2, 2, 2])
    segment = np.array([0, 0, 1, 1, 1, 1, 2, 2, 3])
    found = find_online_events(scores, np.ones((9, 1)), 1, 3, chance, segment, series)
    facts = [(event.first, event.last, event.provisional) for event in found]
    assert facts == [(1, 1, True), (2, 2, False), (6, 6, False), (8, 8, True)]


def test_score_equal_to_the_threshold_is_no_event() -> None:
    assert [event.first for event in find_events(SCORES, FEATURES, 2, 1, find_causes=whole_runs)] == [1, 3]
    assert find_events(SCORES, FEATURES, 5, 1, find_causes=whole_runs) == []
    assert find_events(SCORES[:0], FEATURES[:0], 5, 1, find_causes=whole_runs) == []


def test_events_without_p_values_have_nan() -> None:
    assert all(np.isnan(event.p) for event in find_events(SCORES, FEATURES, 1, 1, find_causes=whole_runs))


def test_missing_feature_has_no_share_of_an_event() -> None:
    errors = np.array([[np.nan, 4.0, 4.0]])
    assert find_events(np.array([4.0]), errors, 1, 1, find_causes=whole_runs)[0].shares == (0, 0.5, 0.5)


def test_events_that_may_still_change_are_provisional() -> None:
    scores = np.array([0.0, 0, 9, 0, 0, 0, 0])
    for pending, join, provisional in ((4, 1, False), (5, 1, True), (0, 4, False), (0, 5, True)):
        event = find_events(scores, scores[:, None], 1, join, find_causes=whole_runs, pending=pending)[0]
        assert event.provisional is provisional, (pending, join)
    # Later rows can extend only the last segment of a series.
    ends = np.array([0, 0, 0, 1, 1, 1, 1])
    for groups, provisional in (
        ({"segment": ends}, False),
        ({"segment": ends, "series": ends}, True),
        ({"series": ends}, True),
        ({}, False),
    ):
        (event,) = find_events(scores, scores[:, None], 1, 1, find_causes=whole_runs, pending=1, **groups)
        assert event.provisional is provisional, groups


def test_scores_around_one_bad_row_are_one_event() -> None:
    """A bad row raises the scores before and after it; scores between them may be below the threshold."""
    scores = np.zeros(40)
    scores[[10, 11, 13, 16, 19]] = 5, 1, 9, 2, 1.5
    events = find_events(scores, scores[:, None], 1.2, 5, find_causes=whole_runs)
    assert [(event.first, event.last, event.peak) for event in events] == [(10, 19, 13)]


# Errors from 10 cause an event whose largest error is 100.
CAUSES = UsualErrors(median=1.0, highest=20.0).find_causes


def parts_of(scores: np.ndarray, errors: np.ndarray, join: int) -> list[tuple[int, int, int, float]]:
    events = find_events(scores, errors[:, None], 2, join, find_causes=CAUSES)
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
    first, second = find_events(scores, errors, 2, 5, find_causes=CAUSES, pending=18, p_values=chance)
    assert (first.p, second.p) == (1 / 6, 1 / 10)
    assert (first.shares, second.shares) == ((0.75, 0.25), (0.1, 0.9))
    # Later rows may change both, since they may extend the run of high scores.
    assert first.provisional
    assert second.provisional


STARTS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, 3.0, np.nan]), st.booleans()), max_size=40)


def errors_of(rows: int) -> Any:
    """Return errors whose order differs from that of the scores."""
    return np.stack([np.arange(rows) % 3, np.arange(rows) % 5 + 1.0], axis=1)


def changes_of(scores: Any, begins: Any, join: int, sizes: list[int]) -> tuple[OpenEvent | None, list[Change]]:
    """Return the changes of rows that arrive in pieces; an open event is stored between two of them."""
    found, event, start = list[Change](), None, 0
    times = np.arange(len(scores)) * 10
    errors = errors_of(len(scores))
    while start < len(scores):
        rows = slice(start, start + sizes[start % len(sizes)])
        event, changes = find_changes(
            event,
            times[rows],
            errors[rows],
            scores[rows],
            chance(scores[rows]),
            scores[rows] > 1,
            begins[rows],
            join,
        )
        event = event and OpenEvent.from_json(json.loads(json.dumps(event.to_json())))
        found += changes
        start = rows.stop
    return event, found


@settings(max_examples=200)
@given(STARTS, st.integers(1, 6), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_events_of_arriving_rows_equal_those_of_the_table(
    starts: list[tuple[float, bool]], join: int, sizes: list[int]
) -> None:
    scores = np.array([score for score, _ in starts], float)
    begins = np.array([gap and number > 0 for number, (_, gap) in enumerate(starts)], bool)
    event, changes = changes_of(scores, begins, join, sizes)
    rows, segment = np.zeros(len(scores)), np.cumsum(begins)
    expected = find_online_events(scores, errors_of(len(scores)), 1, join, chance, segment, rows)
    assert [(each.first, each.last + 1) for each in expected] == [*map(tuple, true_ranges(scores > 1, join, segment))]
    ended = [change.event for change in changes if change.status == "resolved"]
    found = [*ended, *([event] if event else [])]
    assert [(each.start, each.last, each.peak, each.score) for each in found] == [
        (each.first * 10, each.last * 10, each.peak * 10, each.score) for each in expected
    ]
    for each, table in zip(found, expected, strict=True):
        np.testing.assert_allclose(each.shares, table.shares)
        assert each.p == 1 / (1 + each.score)
    firing = [change.event.start for change in changes if change.status == "firing"]
    assert firing == [each.start for each in found]


def test_infinite_score_becomes_the_largest_number() -> None:
    scores = np.array([0, np.inf, 0])
    with np.errstate(invalid="ignore"):
        event, _ = changes_of(scores, np.zeros(3, bool), 5, [3])
    assert event is not None
    assert event.score == LARGEST
    np.testing.assert_allclose(event.shares, (1 / 3, 2 / 3))
