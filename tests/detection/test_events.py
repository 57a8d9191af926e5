"""Alarms and events of scores: by hand, in series that change, and in rows that arrive in parts."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.detection.events import (
    ANOMALY,
    CHANGED,
    EVENT_COLUMNS,
    LARGEST,
    AlarmRule,
    AlarmState,
    Change,
    Event,
    ScoredRows,
    find_changes,
    find_events,
    true_ranges,
)
from lstm_ae.detection.tail import FEW_BLOCKS, RECENT_BLOCKS, block_maxima, usual_limit


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


def rows_of(scores: Any, errors: Any = None, *, begins: Any = (), series: Any = None) -> ScoredRows:
    """Return rows of one series by default, with errors whose order differs from that of the scores."""
    scores = np.asarray(scores, float)
    rows = np.arange(len(scores))
    series = np.zeros(len(scores)) if series is None else np.asarray(series)
    first = np.diff(series, prepend=np.nan) != 0
    first[list(begins)] = True
    errors = np.stack([rows % 3, rows % 5 + 1.0], axis=1) if errors is None else np.asarray(errors, float)
    return ScoredRows(series, rows * 10, first, scores, 1 / (1 + scores), scores, errors)


def events_of(rows: ScoredRows, rule: AlarmRule) -> list[tuple[int, int, int]]:
    """Return the first row, the last row, and the peak of each event."""
    return [(each.first // 10, each.last // 10, each.peak // 10) for each in find_events(rows, rule).events]


SCORES = np.array([0.0, 3, 0, 5, 0, 0, 0, np.nan, 0, 2, 0])


def test_events_by_hand() -> None:
    rows = rows_of(SCORES, np.stack([SCORES * 0.5, SCORES * 1.5], axis=1))
    assert find_events(rows, AlarmRule(1, 2)).events == [
        Event(
            kind=ANOMALY,
            first=10,
            last=30,
            peak=30,
            alarm=10,
            begun=3.0,
            score=5.0,
            p=1 / 6,
            errors=(1.5 + 2.5 / 3, 4.5 + 7.5 / 3),
            provisional=False,
        ),
        Event(
            kind=ANOMALY,
            first=90,
            last=90,
            peak=90,
            alarm=90,
            begun=2.0,
            score=2.0,
            p=1 / 3,
            errors=(1.0, 3.0),
            provisional=True,
        ),
    ]
    # A score that equals the threshold is not above it.
    assert events_of(rows, AlarmRule(2, 1)) == [(1, 1, 1), (3, 3, 3)]
    assert events_of(rows, AlarmRule(5, 1)) == events_of(rows_of([]), AlarmRule(5, 1)) == []
    # A missing feature has no share.
    assert find_events(rows_of([4.0], [[np.nan, 4.0, 4.0]]), AlarmRule(1, 1)).events[0].shares == (0, 0.5, 0.5)


def test_facts_name_the_largest_causes() -> None:
    (event,) = find_events(rows_of([4.0], [[1.0, 0.001, 9.0, 2.0, 4.0]]), AlarmRule(1, 1)).events
    facts = event.facts(list("abcde"), lambda time: f"at {time}")
    assert [*facts] == [*EVENT_COLUMNS, "causes"]
    assert (facts["start"], facts["kind"], facts["columns"]) == ("at 0", "anomaly", "c 56%, e 25%, d 12%")
    assert list(facts["causes"]) == list("abcde")


def test_twice_the_highest_score_of_the_first_window_is_another_alarm() -> None:
    rows = rows_of([0, 3, 5, 6, 6.1, 0, 9, 12.2, 12.3, 3])
    assert events_of(rows, AlarmRule(1, 3)) == [(1, 6, 6), (7, 9, 8)]


def test_events_end_with_their_series_and_at_long_gaps() -> None:
    rows = rows_of([0, 2, 2, 0, 0, 0, 2, 0, 4, 0], begins=[8], series=[0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    found = find_events(rows, AlarmRule(1, 3)).events
    facts = [(event.first, event.last, event.provisional) for event in found]
    assert facts == [(10, 10, True), (20, 20, False), (60, 60, False), (80, 80, True)]
    # A row without a score does not end an event.
    assert events_of(rows_of([2, np.nan, 2, np.nan, np.nan, 2]), AlarmRule(1, 3)) == [(0, 5, 0)]


# Windows of ten rows, whose highest scores are usually 1.
JOIN, USUAL = 10, (0.0,) * RECENT_BLOCKS


def test_limit_is_that_of_the_last_maxima_but_not_below_the_threshold() -> None:
    assert AlarmRule(3.0, JOIN, USUAL).limit(()) == 3
    louder = AlarmRule(3.0, JOIN, USUAL).limit((2.0,) * RECENT_BLOCKS)
    assert louder == pytest.approx(usual_limit((2.0,) * RECENT_BLOCKS))
    assert louder > np.exp(2.0)
    # Half of the maxima may be those of anomalies.
    assert usual_limit(USUAL[:16] + (9.0,) * 14) == usual_limit(USUAL)
    # A stated score is a constant limit, and few maxima tell nothing.
    assert AlarmRule(3.0, JOIN).limit((9.0,) * RECENT_BLOCKS) == 3
    assert usual_limit(USUAL[: FEW_BLOCKS - 1]) == 0


def louder_series(rows: int, change: int, factor: float) -> np.ndarray:
    """Return scores of which one row in `JOIN` is about 1, or `factor` times as high after the change."""
    scores = np.full(rows, 0.1)
    scores[5::JOIN] = np.random.default_rng(0).uniform(0.9, 1.1, len(scores[5::JOIN]))
    scores[change:] *= factor
    return scores


def test_series_that_became_different_raises_one_alarm_of_the_change() -> None:
    """The first scores after the change are alarms; when they are usual, one says so, and later faults are alarms."""
    scores, pauses = louder_series(3000, 500, 5), range(1000, 3000, 200)
    scores[[2100, 2700]] = 40
    for pause in pauses:
        scores[pause : pause + 25] = 0.1
    found = find_events(rows_of(scores), AlarmRule(3.0, JOIN, USUAL))
    kinds = [(event.kind, event.alarm // 10) for event in found.events]
    changes = [row for kind, row in kinds if kind == CHANGED]
    assert len(changes) == 1
    # Nearly all scores of 5 are alarms until then, half of `RECENT_BLOCKS` windows after the change.
    assert 500 < changes[0] < 500 + JOIN * RECENT_BLOCKS
    assert [row for kind, row in kinds if kind == ANOMALY and row > changes[0]] == [2100, 2700]
    # The scores after each pause begin no other alarm, and are counted.
    assert found.suppressed == len(pauses)
    # In a series as the normal rows, nothing is an alarm or is suppressed.
    assert find_events(rows_of(louder_series(3000, 500, 1)), AlarmRule(3.0, JOIN, USUAL)) == ([], 0)


def test_change_is_over_when_usual_scores_are_below_the_threshold_again() -> None:
    rows = 6000
    scores = louder_series(rows, 500, 5)
    scores[2000:4000] /= 5
    found = find_events(rows_of(scores), AlarmRule(3.0, JOIN, USUAL)).events
    assert [event.kind for event in found].count(CHANGED) == 2


@pytest.mark.parametrize("distance", [3, 4, 6])
def test_each_of_many_equal_faults_has_its_own_alarm(distance: int) -> None:
    """Rows after an alarm do not count as usual, so that faults do not hide later ones."""
    scores, faults = louder_series(4000, 4000, 1), np.arange(100, 3900, distance * JOIN)
    for row in faults:
        scores[row : row + JOIN] = 5
    found = find_events(rows_of(scores), AlarmRule(3.0, JOIN, USUAL))
    assert [event.alarm // 10 for event in found.events] == faults.tolist()
    assert found.suppressed == 0


def test_maxima_are_those_of_windows_of_a_segment() -> None:
    scores = np.array([1.0, 4, np.nan, 2, 2, 3, 9, 1])
    maxima = block_maxima(scores, 2, np.array([0] * 6 + [1] * 2))
    # Five known scores are two blocks.
    np.testing.assert_allclose(np.exp(maxima), [4, 3, 9])


STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.5, 2.0, 3.5, 9.0, np.nan]), st.booleans()), max_size=80)


def changes_of(rows: ScoredRows, rule: AlarmRule, sizes: list[int]) -> tuple[AlarmState, list[Change]]:
    """Return the changes of rows that arrive in pieces; the state is stored between two of them."""
    found, state, start = list[Change](), AlarmState(), 0
    while start < len(rows.scores):
        end = start + sizes[start % len(sizes)]
        state, changes = find_changes(state, rows.select(slice(start, end)), rule)
        state = AlarmState.from_json(json.loads(json.dumps(state.to_json())))
        found += changes
        start = end
    return state, found


@settings(max_examples=200)
@given(STEPS, st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 4))
def test_events_of_arriving_rows_equal_those_of_the_table(
    steps: list[tuple[float, bool]], sizes: list[int], prior: int
) -> None:
    rows = rows_of([score for score, _ in steps], begins=[row for row, (_, gap) in enumerate(steps) if gap])
    rule = AlarmRule(1.0, 3, (0.0,) * prior)
    state, changes = changes_of(rows, rule, sizes)
    table = find_events(rows, rule)
    ended = [change.event for change in changes if change.status == "resolved"]
    assert [*ended, *([state.event] if state.event else [])] == table.events
    fired = [change.event for change in changes if change.status == "firing"]
    assert [event.first for event in fired] == [event.first for event in table.events]
    counts = (state.alarms, state.suppressed, state.scored)
    assert counts == (len(table.events), table.suppressed, int((rows.scores >= 0).sum()))
    assert all(event.first == event.alarm <= event.peak <= event.last for event in table.events)
    # Each run of high scores is an alarm, a part of an event, or suppressed.
    runs = true_ranges(rows.scores > 1, 4, np.cumsum(rows.begins))
    assert len(table.events) + table.suppressed >= len(runs)


def test_infinite_score_becomes_the_largest_number() -> None:
    with np.errstate(invalid="ignore"):
        (event,) = find_events(rows_of([0, np.inf, 0]), AlarmRule(1, 3, USUAL)).events
    assert event.score == LARGEST
    np.testing.assert_allclose(event.shares, (1 / 3, 2 / 3))
