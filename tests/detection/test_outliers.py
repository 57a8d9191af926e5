"""Outlying rows among rows that are assumed to be normal."""

import zoneinfo

import numpy as np
import pandas as pd
import pytest

from lstm_ae.config import Series
from lstm_ae.detection.outliers import describe_outlying_rows, find_outlying_rows
from lstm_ae.studies.series.defaults import load_complete

NAN = float("nan")


def test_outlying_rows_are_the_range_around_the_peak() -> None:
    scores = np.array([NAN, 1, 2, 1, 2, 1, 30, 90, 40, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2])
    segment = np.zeros(len(scores), np.int32)
    first, last, times = find_outlying_rows(scores, segment) or (0, 0, 0)
    assert (first, last, times) == (6, 8, 45)
    segment[8:] = 1
    assert (find_outlying_rows(scores, segment) or (0, 0, 0))[:2] == (6, 7)
    assert find_outlying_rows(np.minimum(scores, 19), segment) is None
    assert find_outlying_rows(np.zeros(9), np.zeros(9, np.int32)) is None
    assert find_outlying_rows(np.full(9, NAN), np.zeros(9, np.int32)) is None


def test_outlying_rows_at_the_first_and_the_last_row() -> None:
    scores = np.r_[99.0, np.ones(20)]
    assert (find_outlying_rows(scores, np.zeros(21, np.int32)) or ())[:2] == (0, 0)
    assert (find_outlying_rows(scores[::-1], np.zeros(21, np.int32)) or ())[:2] == (20, 20)


def test_outlying_rows_are_described_in_the_time_zone_of_the_table() -> None:
    scores, segment = np.r_[np.ones(20), 99.0, 98.0, 1.0], np.zeros(23, np.int32)
    time = np.datetime64("2024-07-01", "ns") + np.arange(23) * np.timedelta64(1, "h")
    message = describe_outlying_rows(scores, segment, time, None)
    assert "2024-07-01 20:00:00 to 2024-07-01 21:00:00, " in message
    assert "99 times" in message
    assert "--label-col" in message
    assert "--normal" in message
    berlin = describe_outlying_rows(scores, segment, time, zoneinfo.ZoneInfo("Europe/Berlin"))
    assert "2024-07-01 22:00:00+02:00 to 2024-07-01 23:00:00+02:00, " in berlin
    assert not describe_outlying_rows(np.ones(9), np.zeros(9, np.int32), np.arange(9), None)


@pytest.mark.parametrize(("start", "text"), [(None, "320 to 321, "), (0.5, "320.5 to 321.5, ")])
def test_outlying_rows_without_dates_have_the_numbers_of_the_table(start: float | None, text: str) -> None:
    frame = pd.DataFrame({"v": np.sin(np.arange(400.0))})
    if start is not None:
        frame.insert(0, "seconds", start + np.arange(400))
    frame.to_csv("t.csv", index=False)
    validation = load_complete(
        Series(data="t.csv", window=10, time_unit=None if start is None else "s")
    ).data.validation
    scores = np.ones(len(validation.series))
    scores[40:42] = 99
    assert validation.number is not None
    assert text in describe_outlying_rows(scores, validation.segment_ids(), validation.number, None)
