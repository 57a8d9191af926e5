"""Events in rows that arrive over time equal those of the whole table."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.detection.events import find_events
from lstm_ae.watch.events import LARGEST, Change, OpenEvent, find_changes

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
            1 / (1 + scores[rows]),
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
def test_events_equal_those_of_the_table(rows: list[tuple[float, bool]], join: int, sizes: list[int]) -> None:
    scores = np.array([score for score, _ in rows], float)
    begins = np.array([gap and number > 0 for number, (_, gap) in enumerate(rows)], bool)
    event, changes = changes_of(scores, begins, join, sizes)
    expected = find_events(scores, errors_of(len(scores)), 1, join, segment=np.cumsum(begins))
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
