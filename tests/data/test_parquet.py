"""Parquet is read like CSV, with the same arrays and errors."""

import datetime
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_ae.config import Reading
from lstm_ae.data import parquet
from lstm_ae.data.panel import Panel
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import ConfigError, DataError

START = datetime.datetime(2024, 1, 1)
HOURS = [START + datetime.timedelta(hours=k) for k in range(3)]


def read(columns: dict[str, Any], **options: Any) -> Panel:
    pq.write_table(pa.table(columns), "t.parquet")
    return read_panel(Reading(data="t.parquet", **options))


@pytest.mark.parametrize(
    "times",
    [
        pa.array(HOURS, pa.timestamp("ns")),
        pa.array(HOURS, pa.timestamp("s")),
        pa.array(HOURS, pa.timestamp("ms", tz="Europe/Berlin")),
        pa.array([str(hour) for hour in HOURS]),
        pa.array([str(hour) for hour in HOURS]).dictionary_encode(),
        pa.array([1_704_067_200_000 + 3_600_000 * k for k in range(3)]),
        pa.array([1_704_067_200.0 + 3_600 * k for k in range(3)]),
    ],
    ids=["ns", "s", "zone", "text", "dictionary", "milliseconds", "seconds"],
)
def test_parquet_times_and_values_are_read(times: Any) -> None:
    table = read({"time": times, "a": [1, None, 3], "b": [0.5, float("nan"), 1.5], "name": ["x", "y", None]})
    assert table.times.tolist() == [
        int((hour - datetime.datetime(1970, 1, 1)).total_seconds()) * 10**9 for hour in HOURS
    ]
    np.testing.assert_array_equal(table.values, np.array([[1, 0.5], [np.nan, np.nan], [3, 1.5]], np.float32))
    assert table.layout.values == ("a", "b")
    assert table.where(2) == "'t.parquet', row 3"
    assert table.notes == ()  # the last byte of each file is a digit


def test_parquet_and_csv_give_the_same_panel() -> None:
    rows = [(str(HOURS[k % 3] + datetime.timedelta(days=k)), "xyz"[k % 3], k * 1.5, k % 2) for k in range(200)]
    pathlib.Path("t.csv").write_text("t,id,a,label\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    names = ("t", "id", "a", "label")
    options = {"id_col": ("id",), "label_col": "label"}
    one = read(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), **options)
    other = read_panel(Reading(data="t.csv", **options))
    assert (one.ids, one.classes, one.layout) == (other.ids, other.classes, other.layout)
    for name in ("series", "times", "values", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_index_without_a_name_holds_the_times() -> None:
    """pandas stores it beside the columns, and rows may be in any order."""
    times = pd.date_range("2024-01-01", periods=50, freq="h")
    order = np.random.default_rng(0).permutation(50)
    pd.DataFrame({"a": np.arange(50.0)}, times).iloc[order].to_parquet("t.parquet")
    panel = read_panel(Reading(data="t.parquet"))
    assert panel.layout.time == "__index_level_0__"
    assert panel.values[:, 0].tolist() == list(range(50))
    pd.DataFrame({"a": np.arange(50.0)}).iloc[order].to_parquet("t.parquet")
    panel = read_panel(Reading(data="t.parquet"))
    assert (panel.layout.time, panel.layout.values) == (None, ("a",))


def test_parquet_dates_use_the_time_zone_option() -> None:
    days = [datetime.date(2024, 1, 1), datetime.date(2024, 7, 1)]
    assert (read({"d": days, "a": [1, 2]}).times % (24 * 3600 * 10**9)).tolist() == [0, 0]
    shifted = read({"d": days, "a": [1, 2]}, time_zone="Europe/Berlin").times // (3600 * 10**9) % 24
    assert shifted.tolist() == [23, 22]
    with pytest.raises(ConfigError, match="Leave --time-zone out"):
        read({"d": pa.array(HOURS, pa.timestamp("s", tz="UTC")), "a": [1, 2, 3]}, time_zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("columns", "options", "piece"),
    [
        ({"t": HOURS, "a": [1.0, float("inf"), 2]}, {}, "row 2, column 'a': 'inf' is infinite.*leave the cell empty"),
        ({"t": HOURS, "a": [1.0, 1e39, 2]}, {}, "row 2, column 'a': '1e\\+39' is infinite or beyond"),
        ({"t": [HOURS[0], None, HOURS[2]], "a": [1, 2, 3]}, {}, "row 2, column 't': the time is missing"),
        ({"t": ["2024-01-01", "2023-02-29"], "a": [1, 2]}, {}, "row 2, column 't': '2023-02-29'"),
        ({"t": [datetime.date(9000, 1, 1)], "a": [1]}, {}, "row 1, column 't': the time is outside the years"),
        ({"t": HOURS, "a": ["1", "x", "3"]}, {}, "row 2, column 'a': 'x' is not a number"),
        ({"t": HOURS, "a": [[1], [2], [3]]}, {}, "no column holds numbers"),
        ({"t": HOURS, "a": [[1], [2], [3]]}, {"value_cols": ("a",)}, "'a' holds list<.*>, not numbers"),
        ({"t": pa.array([], pa.timestamp("s")), "a": pa.array([], pa.int64())}, {}, "has no rows"),
        ({"t": HOURS, "a": [1, 2, 3]}, {"time_col": "t", "time_format": "%Y"}, "is stored as times. Remove"),
        ({"t": HOURS, "a": [1, 2, 3]}, {"value_cols": ("z",)}, "--value-cols names 'z'"),
    ],
)
def test_invalid_parquet_tables_are_rejected(columns: dict[str, Any], options: dict[str, Any], piece: str) -> None:
    with pytest.raises((DataError, ConfigError), match=piece) as caught:
        read(columns, **options)
    assert str(caught.value).isprintable()


def test_damaged_parquet_file_is_rejected() -> None:
    read({"a": [1, 2, 3]})
    content = pathlib.Path("t.parquet").read_bytes()
    pathlib.Path("t.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="is a damaged Parquet file"):
        read_panel(Reading(data="t.parquet"))


@pytest.mark.parametrize(
    "options",
    [{"skip_rows": 1}, {"encoding": "cp1252"}, {"columns": ("t", "a")}],
)
def test_text_options_are_rejected_for_parquet_except_from_a_run(options: dict[str, Any]) -> None:
    read({"t": HOURS, "a": [1, 2, 3]})
    with pytest.raises(ConfigError, match=r"is for CSV, and 't\.parquet' is a Parquet file"):
        read_panel(Reading(data="t.parquet", **options))
    assert read_panel(Reading(data="t.parquet", **options), use="run").layout.values == ("a",)


def test_later_rows_of_a_table_in_batches_are_read_like_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_ROWS", 600)
    days = [datetime.datetime(2024, 1, 1 + k % 2, 5 * (k // 1100)) for k in range(1200)]
    cells = ["806"] * 1190 + ["1.5"] * 10
    table = pa.table({"day": days, "a": pa.array(cells)})
    read = read_panel(Reading(id_col=("day",), value_cols=("a",)), source=table, use="run")
    assert np.bincount(read.series).tolist() == [550, 550, 50, 50]
    assert read.ids[0] == "2024-01-01 00:00:00"
    assert np.unique(read.values).tolist() == [1.5, 806]
