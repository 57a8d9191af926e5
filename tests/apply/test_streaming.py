"""Streaming detection: chunks of rows of any size have the same grid and the same scores as the whole table."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from detectors import MINUTE, detector_of, fitted_calibration, sliding, with_calibration
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_ae.apply.detect import RunDetector, detect
from lstm_ae.apply.run_table import prepare_run_table
from lstm_ae.apply.stream import DetectionStream
from lstm_ae.data.frames import RowCodes, panel_from_rows
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import prepare_table
from lstm_ae.detection.events import AlarmState, Event, ScoredRows, find_changes
from lstm_ae.detection.scorer import RowScores
from lstm_ae.detection.views import NETWORK
from lstm_ae.errors import DataError

START = 1_704_067_200 * 10**9  # 2024-01-01


def joined(parts: list[ScoredRows], series: str = "") -> ScoredRows:
    own = [part.select(np.flatnonzero(part.series == series)) for part in parts]
    columns: list[Any] = [np.concatenate(column) for column in zip(*own, strict=True)]
    return ScoredRows(*columns)


def raise_error(error: DataError) -> None:
    raise error


def push(stream: DetectionStream, values: Any, times: Any, ids: Sequence[str] | None = None) -> ScoredRows:
    return stream.push(values, times, ids or [""] * len(times), raise_error)


def at_once(detector: RunDetector, table: Panel) -> tuple[Any, RowScores]:
    grid = prepare_table(detector.config, table).grid
    return grid.times, detector.scorer().score_rows(grid.values, grid.segment)


def assert_streamed(found: ScoredRows, expected_times: Any, expected: RowScores) -> None:
    """Assert equal scores; rows without any value after the last one with values are not returned."""
    count = len(found.times)
    np.testing.assert_array_equal(found.times, expected_times[:count])
    for name in ("errors", "scores", "windows"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[:count], rtol=1e-6, atol=1e-9)
    assert np.isnan(expected.scores[count:]).all()


def table_of(detector: RunDetector, times: Any, values: Any) -> Panel:
    index = None if times is None else pd.DatetimeIndex(np.asarray(times).view("datetime64[ns]"))
    return panel_from_rows(values, detector.config.value_cols, index)


def test_stream_scores_by_hand() -> None:
    """Windows of two rows with residuals of 1 and 3 times the values.

    The window (1, 2) has the residuals 1 and 6, and its last row has the error 36; that of (2, 4) has 144. Their
    distances are 18.5 and 74. A score is the geometric mean of one plus distance and error, minus one.
    """
    residuals = sliding(lambda windows: windows * np.array([[1.0], [3.0]]), 2)
    detector = dataclasses.replace(detector_of(2), sources={NETWORK: residuals})
    stream = DetectionStream(detector, "fixed:50")
    first = push(stream, np.array([[1.0]]), np.array([START]))
    assert np.isnan(first.scores).tolist() == [True]
    second = push(stream, np.array([[2.0], [4.0]]), START + MINUTE * np.array([1, 2]))
    assert second.errors.tolist() == [[36], [144]]
    assert second.windows.tolist() == pytest.approx([18.5, 74])
    assert second.scores.tolist() == pytest.approx([np.sqrt(19.5 * 37) - 1, np.sqrt(75 * 145) - 1])
    assert second.times.tolist() == [START + MINUTE, START + 2 * MINUTE]
    assert (second.scores > stream.threshold.value).tolist() == [False, True]


ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 1, 1, 2, 3, 4, 9]),  # steps since the previous row
        st.integers(-14, 14),  # jitter in seconds
        st.one_of(st.none(), st.floats(-100, 100, width=32)),
    ),
    min_size=1,
    max_size=60,
)


# Three missing minutes are the shortest long gap.
LONG_GAP = [*[(1, 0, float(k)) for k in range(9)], (4, 0, 9.0), *[(1, 0, float(k)) for k in range(9)]]
HUGE = [*[(1, 0, float(k % 5)) for k in range(30)], (1, 0, 1e30), *[(1, 0, 2.0)] * 30]


@settings(max_examples=20)
@example([(1, 0, None), (3, 0, None)], [], 2, "error", "1min", False)
@example(LONG_GAP, [1], 2, "error", "1min", False)
@example([*LONG_GAP[:9], *[(1, 0, None)] * 4, *LONG_GAP[:9]], [1], 2, "error", "1min", False)
@example(HUGE, [4], 4, "error", "1min", False)
@given(
    ROWS,
    st.lists(st.integers(1, 9), max_size=20),
    st.integers(2, 6),
    st.sampled_from(["error", "mean"]),
    st.sampled_from(["1min", "rows", "1h"]),
    st.booleans(),
)
def test_chunks_of_any_size_equal_scoring_the_whole_table(
    rows: list[tuple[int, int, float | None]],
    sizes: list[int],
    window: int,
    duplicates: str,
    freq: str,
    two: bool,
) -> None:
    """Test gaps, jitter, missing values, correlated columns, and a second series."""
    detector = detector_of(window, 2, duplicates=duplicates, freq=freq)
    detector = with_calibration(detector, fitted_calibration(window, 2))
    steps, off, values_ = zip(*rows, strict=True)
    apart = MINUTE * (60 if freq == "1h" else 1)
    times = np.sort(START + apart * np.cumsum(steps) + np.array(off) * 10**9)
    column = np.array([np.nan if value is None else value for value in values_], np.float32)
    values = np.stack([column, np.roll(column, 1) / 2], axis=1)
    stream, parts, start = DetectionStream(detector), list[ScoredRows](), 0
    names = "ab"[: 1 + two]
    while start < len(times):
        size = sizes[len(parts) % len(sizes)] if sizes else len(times)
        rows_, moments = (np.repeat(each[start : start + size], len(names), axis=0) for each in (values, times))
        parts.append(push(stream, rows_, moments, [*names] * (len(moments) // len(names))))
        start += size
    for series in names:
        assert_streamed(joined(parts, series), *at_once(detector, table_of(detector, times, values)))


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 1, 2, 5]), st.integers(-9, 9)), min_size=1, max_size=400),
    st.sampled_from([50, 56, 59.9, 60, 60.5, 64]),
    st.lists(st.integers(1, 90), max_size=20),
)
def test_clock_drift_and_jitter_are_tolerated(rows: list[tuple[int, int]], apart: float, sizes: list[int]) -> None:
    """Rows of fast or slow clocks, with jitter and gaps, are not refused, and no two share a grid step."""
    detector = detector_of(3)
    steps, off = (np.array(column) for column in zip(*rows, strict=True))
    times = START + ((apart * np.cumsum(steps) + off) * 10**9).astype(np.int64)
    values = np.arange(len(times), dtype=np.float32)[:, None]
    stream, parts, start = DetectionStream(detector), list[ScoredRows](), 0
    if apart == 50 and len(times) > 10:
        times, values = times[:10], values[:10]
    while start < len(times):
        size = sizes[len(parts) % len(sizes)] if sizes else len(times)
        parts.append(push(stream, values[start : start + size], times[start : start + size]))
        start += size
    found = joined(parts)
    assert_streamed(found, *at_once(detector, table_of(detector, times, values)))
    assert np.isin(times, found.times).all()


@pytest.mark.parametrize("size", [1, 100, 5000])
@pytest.mark.parametrize(("fast", "refused"), [(10, False), (60, True)])
def test_temporarily_fast_rows_are_treated_alike_for_any_chunk_size(size: int, fast: int, refused: bool) -> None:
    times = START + (np.cumsum(np.r_[np.full(fast, 36.0), np.full(2000, 60.0)]) * 10**9).astype(np.int64)
    values, detector = np.arange(len(times), dtype=np.float32)[:, None], detector_of(3)
    stream = DetectionStream(detector)

    def push_all() -> None:
        for start in range(0, len(times), size):
            push(stream, values[start : start + size], times[start : start + size])

    for act in (push_all, lambda: at_once(detector, table_of(detector, times, values))):
        with pytest.raises(DataError, match="too close") if refused else contextlib.nullcontext():
            act()


def streamed_events(stream: DetectionStream, parts: list[ScoredRows], series: str) -> list[Event]:
    """Return the events of a series, the open one last."""
    state, events, rule = AlarmState(), list[Event](), stream.threshold.alarm_rule(stream.scorer.window)
    for part in parts:
        state, changes = find_changes(state, joined([part], series), rule)
        events += [change.event for change in changes if change.status == "resolved"]
    return events + ([state.event] if state.event else [])


@pytest.mark.parametrize("size", [1, 7, 240])
def test_adapted_scores_and_events_of_a_stream_equal_those_of_the_table(size: int) -> None:
    detector = with_calibration(detector_of(4, id_col=("id",)), fitted_calibration(4, 1))
    random = np.random.default_rng(0)
    values = (random.normal(size=(240, 1)) * np.linspace(0.04, 0.1, 240)[:, None]).astype(np.float32)
    values[100:110] *= 30
    values[[20, 55]] = np.nan
    ids = ["a"] * 140 + ["b"] * 100
    minutes = np.r_[np.arange(140) + 10 * (np.arange(140) > 60), np.arange(100)]
    series = RowCodes(("id",), np.repeat(np.array([0, 1], np.int32), [140, 100]), ("a", "b"))
    times = START + MINUTE * minutes
    table = panel_from_rows(values, ["value 0"], pd.DatetimeIndex(times.view("datetime64[ns]")), series=series)
    prepared = prepare_run_table(detector.config, table)
    expected = detect(detector, prepared, "quantile:0.9", adapt=20)
    stream = DetectionStream(detector, "quantile:0.9", adapt=20)
    parts = [
        push(stream, values[at : at + size], times[at : at + size], ids[at : at + size]) for at in range(0, 240, size)
    ]
    np.testing.assert_allclose(np.concatenate([part.scores for part in parts]), expected.rows.scores, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([part.p for part in parts]), expected.rows.p, rtol=1e-4)
    assert stream.threshold.value == expected.threshold.value
    events, rows = [event for name in "ab" for event in streamed_events(stream, parts, name)], prepared.grid.times
    assert len(events) == len(expected.events) > 0
    for event, other in zip(events, expected.events, strict=True):
        places = rows[[other.first, other.last, other.peak, other.alarm]].tolist()
        assert [event.first, event.last, event.peak, event.alarm] == places
        assert (event.kind, event.provisional) == (other.kind, other.provisional)
        assert (event.score, *event.shares) == pytest.approx((other.score, *other.shares), rel=1e-5)
    constant = detect(detector, prepared, "quantile:0.9").rows.scores
    relative = expected.rows.scores / constant
    assert np.nanmin(relative) < 0.9 * np.nanmax(relative)
    assert expected.threshold.how.endswith("; times the level of the last 20 rows")


@pytest.mark.parametrize(
    ("minutes", "problem"),
    [
        ([0, 5, 4], "A row at 2024-01-01 00:04:00 comes after one at 2024-01-01 00:05:00"),
        ([0, 1, 1.25], "at 2024-01-01 00:01:15 is only 15s after the one before, too close for a step of 1min"),
        ([0, 1, 1], "at 2024-01-01 00:01:00 has the time of the one before for a step of 1min"),
    ],
)
def test_stream_refuses_unsorted_close_or_duplicate_times(minutes: list[float], problem: str) -> None:
    times, values = START + (MINUTE * np.array(minutes)).astype(np.int64), np.zeros((3, 1))
    with pytest.raises(DataError, match=problem):
        push(DetectionStream(detector_of()), values, times)
    stream = DetectionStream(detector_of())
    push(stream, values[:2], times[:2])
    with pytest.raises(DataError, match=problem):
        push(stream, values[2:], times[2:])


@pytest.mark.parametrize("size", [1, 2, 9])
def test_refused_rows_can_be_skipped(size: int) -> None:
    """The other rows are scored as if the refused ones were absent, for any chunk size."""
    minutes = np.array([0, 1, 1, 2, 3, 1, 4, 5, 5.25, 6, 7])
    bad = np.array([2, 5, 8])
    times, values = START + (MINUTE * minutes).astype(np.int64), np.arange(11.0)[:, None] ** 2
    detector = detector_of(3)
    stream, parts, said = DetectionStream(detector), list[ScoredRows](), list[str]()
    for start in range(0, len(times), size):
        own = slice(start, start + size)
        ids = ["a", "b"] * len(times[own])
        both = np.repeat(values[own], 2, axis=0), np.repeat(times[own], 2), ids
        parts.append(stream.push(*both, lambda error: said.append(str(error))))
    assert len(said) == 2 * len(bad)
    good = np.delete(np.arange(11), bad)
    for series in "ab":
        assert_streamed(joined(parts, series), *at_once(detector, table_of(detector, times[good], values[good])))
