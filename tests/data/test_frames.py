"""Arrays and frames as panels: times, order, and the mapping back to the original rows."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae.config import Series
from lstm_ae.data.frames import map_to_table_rows, panel_from_rows
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.time_zones import format_times
from lstm_ae.errors import DataError

HOUR = 3_600_000_000_000


def test_array_becomes_panel_with_row_numbers_as_times() -> None:
    table = panel_from_rows(np.array([[1.0, np.nan], [2, 5], [3, 6]]), ["a", "b"])
    assert (table.name, table.place, table.ids, table.layout.time) == ("X", "row", ("",), None)
    assert table.layout.values == ("a", "b")
    assert table.times.tolist() == table.lines.tolist() == [0, 1, 2]
    assert table.values.dtype == np.float32
    assert table.where(2) == "X, row 2"
    assert panel_from_rows(table.values, ["a", "b"], pd.Index(["x", "y", "z"])).layout.time is None


def test_panel_from_rows_sorts_rows_by_time() -> None:
    hours = ["2024-01-01 03:00", "2024-01-01 01:00", "2024-01-01 02:00"]
    index = pd.DatetimeIndex(hours, tz="Europe/Berlin").as_unit("s")
    table = panel_from_rows(np.array([[3.0], [1], [2]]), ["a"], index)
    start = pd.Timestamp("2024-01-01").value  # 01:00 in Berlin
    assert table.times.tolist() == [start, start + HOUR, start + 2 * HOUR]
    assert table.values.ravel().tolist() == [1, 2, 3]
    assert table.lines.tolist() == [1, 2, 0]
    assert (table.unsorted, table.layout.time, table.layout.values) == (1, "time", ("a",))


def test_offset_with_seconds_gives_the_same_times_again() -> None:
    index = pd.date_range("2024", periods=2, tz=datetime.timezone(datetime.timedelta(seconds=5430)))
    table = panel_from_rows(np.ones((2, 1)), ["a"], index)
    assert pd.DatetimeIndex(format_times(table.times, table.zone)).tolist() == index.tolist()


def test_period_index_uses_period_start_times() -> None:
    index = pd.period_range("2024-01", periods=3, freq="M", name="month")
    table = panel_from_rows(np.ones((3, 1)), ["a"], index)
    assert table.layout.time == "month"
    assert table.times.astype("datetime64[ns]").astype("datetime64[D]").astype(str).tolist() == [
        "2024-01-01",
        "2024-02-01",
        "2024-03-01",
    ]
    assert str(prepare_table(Series(window=2), table).step) == "1mo"


@given(st.lists(st.integers(0, 60), min_size=4, max_size=30, unique=True), st.integers(0, 5))
def test_map_to_table_rows_returns_the_value_of_each_row(hours: list[int], max_gap: int) -> None:
    index = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, "h")
    table = panel_from_rows(np.array(hours, float)[:, None], ["a"], index)
    prepared = prepare_table(Series(window=2, freq="1h", max_gap=max_gap), table)
    assert map_to_table_rows(prepared, prepared.grid.values).ravel().tolist() == hours


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (pd.DatetimeIndex(["2024-01-01", None]), "X, row 1 of the index: the time is missing"),
        (
            pd.DatetimeIndex(["2024-01-01", "2024-01-02"], name="a"),
            "the index of times and a column are both called 'a'",
        ),
        (
            pd.DatetimeIndex(np.array(["2024-01-01", "3024-01-01"], "datetime64[s]")),
            "outside the years 1678 to 2261",
        ),
    ],
)
def test_panel_from_rows_rejects_invalid_time_index(index: pd.DatetimeIndex, words: str) -> None:
    with pytest.raises(DataError) as caught:
        panel_from_rows(np.ones((2, 1)), ["a"], index)
    assert words in str(caught.value)
