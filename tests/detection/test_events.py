"""Events from scores: by hand, and with joined ranges, segments, and provisional ends."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae.detection.events import Event, find_events, true_ranges


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


SCORES = np.array([0.0, 3, 0, 5, 0, 0, 0, np.nan, 0, 2, 0])
FEATURES = np.stack([SCORES * 0.5, SCORES * 1.5], axis=1)


def test_events_by_hand() -> None:
    events = find_events(FEATURES, SCORES, 1, join=2, pending=2, p_values=lambda scores: 1 / (1 + scores))
    assert events == [
        Event(1, 3, 3, 5.0, 1 / 6, (0.25, 0.75), False),
        Event(9, 9, 9, 2.0, 1 / 3, (0.25, 0.75), True),
    ]


def test_score_equal_to_the_threshold_is_no_event() -> None:
    assert [event.first for event in find_events(FEATURES, SCORES, 2, join=1)] == [1, 3]
    assert find_events(FEATURES, SCORES, 5, join=1) == []
    assert find_events(FEATURES[:0], SCORES[:0], 5, join=1) == []


def test_events_without_p_values_have_nan() -> None:
    assert all(np.isnan(event.p) for event in find_events(FEATURES, SCORES, 1, join=1))


def test_missing_feature_has_no_share_of_an_event() -> None:
    by_feature = np.array([[np.nan, 4.0, 4.0]])
    assert find_events(by_feature, np.array([4.0]), 1, join=1)[0].shares == (0, 0.5, 0.5)


def test_events_that_may_still_change_are_provisional() -> None:
    scores = np.array([0.0, 0, 9, 0, 0, 0, 0])
    for pending, join, provisional in ((4, 1, False), (5, 1, True), (0, 4, False), (0, 5, True)):
        event = find_events(scores[:, None], scores, 1, join, pending=pending)[0]
        assert event.provisional is provisional, (pending, join)
    # Later rows can extend only the last segment of a series.
    ends = np.array([0, 0, 0, 1, 1, 1, 1])
    assert not find_events(scores[:, None], scores, 1, 1, pending=1, segment=ends)[0].provisional
    assert find_events(scores[:, None], scores, 1, 1, pending=1, segment=ends, series=ends)[0].provisional
    assert find_events(scores[:, None], scores, 1, 1, pending=1, series=ends)[0].provisional
    assert not find_events(scores[:, None], scores, 1, 1, pending=1)[0].provisional


def test_scores_around_one_bad_row_are_one_event() -> None:
    """A bad row raises the scores before and after it; scores between them may be below the threshold."""
    scores = np.zeros(40)
    scores[[10, 11, 13, 16, 19]] = 5, 1, 9, 2, 1.5
    events = find_events(scores[:, None], scores, 1.2, join=5)
    assert [(event.first, event.last, event.peak) for event in events] == [(10, 19, 13)]
