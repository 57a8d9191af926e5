"""Test the grid, the split, and the windows of a table against rows counted by hand."""

import pathlib
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ae.checks.table import collect_table_warnings, inspect_table
from lstm_ae.config import Reading, Series
from lstm_ae.config.reading import TimeStep, parse_step
from lstm_ae.data.grid import common_step, find_duplicate_times, find_gaps, future_times, grid_slots, regularize
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable, cut_windows, load_series, prepare_table
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import format_times
from lstm_ae.errors import Code, ConfigError, DataError, LstmAeError
from lstm_ae.studies import evaluated_splits

HOUR = TimeStep(3_600_000_000_000)


def table_of(rows: list[str], header: str = "t,a", **options: Any) -> tuple[Reading, Panel]:
    path = pathlib.Path("t.csv")
    path.write_text("\n".join((header, *rows)) + "\n")
    config = Reading(data=str(path), **options)
    return config, read_panel(config)


def hourly(values: list[float] | np.ndarray, **options: Any) -> tuple[Reading, Panel]:
    start = np.datetime64("2024-01-01T00:00")
    rows = [
        f"{start + k},{value}" for k, value in zip(np.arange(len(values)) * np.timedelta64(1, "h"), values, strict=True)
    ]
    return table_of(rows, **options)


def prepared_of(pair: tuple[Reading, Panel]) -> PreparedTable:
    return prepare_table(*pair)


@pytest.mark.parametrize(
    ("text", "step", "shown"),
    [
        ("5min", TimeStep(300_000_000_000), "5min"),
        ("h", HOUR, "1h"),
        ("7d", TimeStep(604_800_000_000_000), "1w"),
        ("1mo", TimeStep(months=1), "1mo"),
        ("1y", TimeStep(months=12), "1y"),
        ("10steps", TimeStep(steps=10), "10steps"),
        ("step", TimeStep(steps=1), "1step"),
        ("rows", TimeStep(), "rows"),
    ],
)
def test_parse_step_reads_names_of_time_steps(text: str, step: TimeStep, shown: str) -> None:
    assert parse_step(text) == step
    assert str(step) == shown
    assert parse_step(shown) == step


@given(
    st.one_of(st.integers(0, 36500 * 86_400 * 10**9).map(TimeStep), st.integers(1, 1200).map(lambda n: TimeStep(0, n)))
)
def test_parse_step_inverts_the_text_of_a_time_step(step: TimeStep) -> None:
    """Every inferred step can be stored in the config of a run."""
    assert parse_step(str(step)) == step


@pytest.mark.parametrize(
    ("options", "piece"),
    [
        *(({"freq": text}, "--freq must be a number") for text in ("", "0h", "1.5h", "5 min", "1M", "9" * 20 + "ns")),
        ({"split": "0.7,0.3"}, "--split must be three shares"),
        ({"split": "0.7,0,0.3"}, "--split: only the test share may be 0"),
        ({"split": "0.7,0.2,0.2"}, "--split must be three shares"),
        ({"split": "a,b,c"}, "--split must be three shares"),
        ({"time_zone": "Berlin"}, "--time-zone must be a name"),
        ({"time_zone": "../../etc/passwd"}, "--time-zone must be a name"),
        ({"normal": ("2014",)}, "--normal must be START..END"),
        ({"normal": ("..",)}, "--normal must be START..END"),
        ({"split_by": "series"}, "needs --id-col"),
        ({"value_cols": ("a", "a")}, "--value-cols names 'a' more than once"),
        ({"time_col": "a", "value_cols": ("a",)}, "--time-col and --value-cols both name 'a'"),
        ({"id_col": ("a",), "label_col": "a"}, "--id-col and --label-col both name 'a'"),
        ({"window": 1}, "--window must be a whole number at least 2"),
        ({"duplicates": "sum"}, "--duplicates must be one of error, first, last, mean"),
    ],
)
def test_invalid_reading_options_are_refused(options: dict[str, Any], piece: str) -> None:
    for kind in (Reading, Series):
        with pytest.raises(ConfigError) as caught:
            kind(**options)
        assert piece in str(caught.value)


def test_grid_follows_rows_slightly_faster_than_the_step() -> None:
    """Rows are 60 or 61 seconds apart; 61 seconds is more common."""
    seconds = np.r_[0, np.cumsum(np.resize([61, 61, 60, 61, 60], 999))]
    cells = np.datetime_as_string(np.datetime64("2024-01-01T00:00:00") + seconds.astype("timedelta64[s]"))
    config, table = table_of(
        [f"{name},{cell},{k}" for name in "ab" for k, cell in enumerate(cells)], "id,t,a", id_col=("id",)
    )
    step = common_step(table)
    assert str(step) == "61s"
    assert grid_slots(table, step).tolist() == [*range(1000)] * 2
    prepared = prepare_table(config, table)
    assert len(prepared.grid.times) == 2000
    assert prepared.grid.known.all()
    # Rows two thirds of a step apart do not follow the step.
    clash = find_duplicate_times(table, grid_slots(table, TimeStep(90 * 10**9)))
    assert clash is not None
    assert clash.rows > 600


def test_common_step_and_gaps_are_counted() -> None:
    _, table = table_of([f"2024-01-01 {hour:02}:00,1" for hour in (0, 1, 2, 5, 6, 7, 12)])
    assert common_step(table) == HOUR
    assert (places := grid_slots(table, HOUR)).tolist() == [0, 1, 2, 5, 6, 7, 12]
    assert find_gaps(table, places, 3) == (2, 6, 4, 1)
    # A row too close to the one before it takes no step off a gap.
    assert find_gaps(table, np.array([0, 0, 0, 5, 6, 7, 12]), 3) == (2, 8, 4, 2)


RANDOM = np.random.default_rng(0)


def test_common_step_of_jittering_rows() -> None:
    _, table = table_of([f"{1_700_000_000 + 60 * k + RANDOM.uniform(-2, 2):.3f},1" for k in range(300)])
    assert common_step(table) == TimeStep(60_000_000_000)
    assert (np.diff(grid_slots(table, TimeStep(60_000_000_000))) <= 1).all()


@pytest.mark.parametrize(
    ("dates", "step"),
    [
        ([f"{year}-{month:02}-01" for year in (2020, 2021) for month in range(1, 13)], TimeStep(months=1)),
        ([f"{year}-{month:02}-28" for year in (2020, 2021) for month in (3, 6, 9, 12)], TimeStep(months=3)),
        ([f"{year}-12-31" for year in range(2000, 2020)], TimeStep(months=12)),
        ([f"2024-01-{day:02}" for day in range(1, 29)], TimeStep(86_400_000_000_000)),
        *[
            (
                [str(day.date()) for day in pd.date_range("2001-01-01", periods=60, freq=f"{kind}{end}")],
                TimeStep(months=months),
            )
            for kind, months in (("M", 1), ("BM", 1), ("Q", 3), ("BQ", 3), ("6M", 6))
            for end in ("S", "E")
        ],
        *[
            (
                [str(day.date()) for day in pd.date_range("2001-01-20", periods=8, freq=f"{days}D")],
                TimeStep(days * 86_400_000_000_000),
            )
            for days in (28, 30, 33)
        ],
    ],
)
def test_common_step_recognizes_calendar_months_and_years(dates: list[str], step: TimeStep) -> None:
    config, table = table_of([f"{date},1" for date in dates])
    assert common_step(table) == step
    assert regularize(table, step, 0, config).known.all()


@pytest.mark.parametrize(("options", "usual"), [({}, 72), ({"horizon": 12}, None), ({"window": 200}, 200)])
def test_zero_test_share_leaves_the_test_split_empty(options: dict[str, Any], usual: int | None) -> None:
    config, table = hourly(np.sin(np.arange(500) * 2 * np.pi / 24).round(3), split="0.6,0.4,0", **options)
    found = prepare_table(config, table)
    assert np.bincount(found.split, minlength=3).tolist() == [300, 200, 0]
    assert usual in (None, found.window)
    data = load_series(config, found)
    assert (data.train.samples > 0, data.validation.samples > 0, data.test.samples) == (True, True, 0)
    assert data.latest is data.validation
    assert list(evaluated_splits(data)) == ["validation"]
    inspection = inspect_table(config)
    assert inspection.usable
    assert inspection.windows == (data.train.samples, data.validation.samples, 0)


def test_elapsed_time_without_unit_has_steps_and_gaps() -> None:
    rows = [f"{10 * k},{k % 7}" for k in range(60) if k not in (20, 41, 42, 43)]
    config, table = table_of(rows, window=4, max_gap=1)
    found = prepare_table(config, table)
    assert str(found.step) == "10steps"
    assert found.inferred["freq"] == "10steps, the most common step"
    assert found.grid.known.tolist() == [k != 20 for k in range(60) if k not in (41, 42, 43)]
    assert found.grid.times.tolist() == [10 * k for k in range(60) if k not in (41, 42, 43)]
    assert (found.grid.segment == (found.grid.times > 410)).all()
    split = cut_windows(found, config)[0]
    assert split.time is None


@pytest.mark.parametrize("bound", ["100..300", "..300", "99.5..300", "100..299.1"])
def test_normal_accepts_ranges_of_elapsed_time(bound: str) -> None:
    config, table = table_of([f"{k},{k % 7}" for k in range(600)], window=4, normal=(bound,))
    inside = np.arange(600) < 300 if bound.startswith(".") else (np.arange(600) >= 100) & (np.arange(600) < 300)
    np.testing.assert_array_equal(prepare_table(config, table).split < 2, inside)


def test_rows_without_values_count_as_missing_rows_in_gaps() -> None:
    """The length of a gap includes missing and empty rows; a long gap keeps the rows of the table."""
    hours = (0, 1, 2, 3, 5, 6, 9, 10, 12, 13, 14)
    values = dict.fromkeys((1, 2, 5, 6, 14), "")  # 3 to 12: rows 5 and 6 are empty, 9 and 10 have values
    rows = [f"2024-01-01 {hour:02}:00,{values.get(hour, hour)},x" for hour in hours]
    config, table = table_of(rows, "t,a,label", label_col="label")
    grid = regularize(table, HOUR, 2, config)
    np.testing.assert_array_equal(
        grid.values[:, 0], [0, np.nan, np.nan, 3, np.nan, np.nan, 9, 10, np.nan, 12, 13, np.nan]
    )
    assert (grid.times // HOUR.nanoseconds % 24).tolist() == [0, 1, 2, 3, 5, 6, 9, 10, 11, 12, 13, 14]
    assert grid.segment.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2]
    assert grid.known.tolist() == [True] * 8 + [False] + [True] * 3
    assert grid.valued.tolist() == [True] * 4 + [False] * 2 + [True] * 6
    assert grid.labels is not None
    assert grid.labels.tolist() == [0] * 8 + [-1] + [0] * 3
    # With --max-gap 1, the empty rows 1 and 2 are a long gap too.
    grid = regularize(table, HOUR, 1, config)
    assert grid.segment.tolist() == [0, 1, 1, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    assert regularize(table, HOUR, 5, config).valued.all()


@pytest.mark.parametrize("zone", ["Europe/London", "Europe/Berlin", "America/New_York", "Pacific/Auckland"])
def test_months_are_those_of_the_time_zone(zone: str) -> None:
    """The first of April at midnight in London is in March in UTC."""
    months = np.datetime64("2001-01") + np.delete(np.arange(48), [14, 27, 28])
    config, table = table_of([f"{month}-01,1" for month in months], time_zone=zone, calendar=("month",))
    assert common_step(table) == TimeStep(months=1)
    grid = regularize(table, TimeStep(months=1), 2, config)
    angles = 2 * np.pi * (np.arange(48) % 12) / 12
    np.testing.assert_allclose(grid.values[:, 1:], np.stack([np.sin(angles), np.cos(angles)], 1), atol=1e-6)
    ahead = future_times(grid, np.zeros(1, np.int64), grid.times[-1:], TimeStep(months=1), 3)
    assert [text[:10] for text in format_times(ahead[0], grid.zone)] == ["2005-01-01", "2005-02-01", "2005-03-01"]


TWICE = ["2024-01-01 00:00,1", "2024-01-01 01:00,2", "2024-01-01 01:00,5", "2024-01-01 01:00,", "2024-01-01 02:00,9"]


@pytest.mark.parametrize(("rule", "value"), [("first", 2), ("last", np.nan), ("mean", 3.5)])
def test_duplicates_option_selects_the_value_of_duplicate_timestamps(rule: str, value: float) -> None:
    config, table = table_of(TWICE, duplicates=rule)
    np.testing.assert_array_equal(regularize(table, HOUR, 0, config).values[:, 0], [1, value, 9])


HOURLY = [f"2024-01-{1 + k // 24:02} {k % 24:02}:00,{k}" for k in range(100)]
COUNTED = [f"{k},{k % 7}" for k in range(100)]
# Case: rows of two columns, options, the code of the error, and a part of its text.
REFUSED: dict[str, tuple[list[str], dict[str, Any], Code, str]] = {
    "a time twice": (TWICE, {}, Code.TIME_ORDER, "2 rows with a duplicate timestamp: line 3 and line 4 are both at"),
    "rows too close": (
        [*TWICE[:2], "2024-01-01 01:20,5", "2024-01-01 02:00,9"], {"freq": "1h"}, Code.TIME_ORDER,
        "1 row too close for a step of 1h: line 4 at 2024-01-01 01:20:00 is only 20min after line 3",
    ),
    "a step far too short": (
        [f"2024-01-{day:02},1" for day in range(1, 29)], {"freq": "1s", "max_gap": 100_000}, Code.TIME_ORDER,
        "longer --freq",
    ),
    "a step of time for a counter": (COUNTED, {"freq": "1h"}, Code.INVALID_VALUE, "a number of steps, as in 1step"),
    "a step of a counter for times": (HOURLY, {"freq": "2steps"}, Code.INVALID_VALUE, "a time, as in 1h"),
    "a range of no times": (HOURLY, {"normal": ("x..y",)}, Code.INVALID_VALUE, "--normal must be times"),
    "a range of numbers": (HOURLY, {"normal": ("5..10",)}, Code.INVALID_VALUE, "--normal must be times"),
    "a range of times": (COUNTED, {"normal": ("2024-01-01..",)}, Code.INVALID_VALUE, "--normal must be numbers"),
    "a range that ends first": (
        HOURLY, {"normal": ("2024-01-02..2024-01-01",)}, Code.INVALID_VALUE, "ends before it starts",
    ),
    "a range without rows": (
        HOURLY, {"normal": ("2023-01-01..2023-02-01",)}, Code.UNKNOWN_NAME, "holds no row",
    ),
    "3 rows": (HOURLY[:3], {}, Code.TOO_FEW_ROWS, "holds no window of 5 rows"),
    "12 rows": (HOURLY[:12], {}, Code.TOO_FEW_ROWS, "Pass a shorter --window or --horizon"),
    "no value in training": (
        [f"{k},{k if k > 90 else ''}" for k in range(100)], {"value_cols": ("t", "a")}, Code.EMPTY_COLUMN,
        "'a' has no value in the training split",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_cannot_be_cut_into_windows_are_refused(case: str) -> None:
    rows, options, code, piece = REFUSED[case]
    config, table = table_of(rows, **{"window": 5, **options})
    with pytest.raises(LstmAeError) as caught:
        load_series(config, prepare_table(config, table))
    assert piece in str(caught.value)
    assert caught.value.code is code


@pytest.mark.parametrize("freq", ["1h", "1ns", "1mo"])
def test_freq_is_refused_without_a_time_column(freq: str) -> None:
    pathlib.Path("t.csv").write_text("a\n1\n2\n3\n")
    for options in ({}, {"duplicates": "mean"}):
        config = Reading(data="t.csv", freq=freq, **options)
        for asked in (lambda given: prepare_table(given, read_panel(given)), inspect_table):
            with pytest.raises(ConfigError, match=r"--freq needs a column of times; name it with --time-col, or leave"):
                asked(config)
    config = Reading(data="t.csv", freq="rows")
    assert prepare_table(config, read_panel(config)).grid.known.all()


def test_load_series_counts_windows_with_horizon_and_stride() -> None:
    config = hourly(np.arange(100), window=5, horizon=2, stride=3)
    data = load_series(config[0], prepared_of(config))
    # 70 rows contain 64 windows of 7 rows, and the stride is 3; 15 rows contain 14 horizons of 2 rows.
    assert [part.samples for part in data[:3]] == [22, 14, 14]
    assert data.train.windows()[1, :, 0].tolist() == [3, 4, 5, 6, 7, 8, 9]
    # The input of the first forecast precedes the split.
    assert data.validation.series[:, 0].tolist() == list(range(65, 85))
    assert data.test.series[:, 0].tolist() == list(range(80, 100))
    assert data.feature_names == ("a",)
    assert data.test.time is not None
    assert data.test.time[0] == np.datetime64("2024-01-04T08:00")


def test_scale_is_computed_from_the_training_split() -> None:
    values = np.r_[np.tile([0.0, 10.0], 35), np.full(30, 1000.0)]
    for scale, offset, width in (("standard", 5, 5), ("minmax", 0, 10), ("none", 0, 1)):
        config, table = hourly(values, window=5, scale=scale)
        data = load_series(config, prepare_table(config, table))
        assert (float(data.scale.offset[0, 0]), float(data.scale.range[0, 0])) == (offset, width)
    config, table = hourly(values, window=5, scale="window")
    assert load_series(config, prepare_table(config, table)).scale.kind == "window"


def test_training_and_validation_use_only_normal_ranges() -> None:
    config, table = hourly(np.arange(100), window=4, normal=("..2024-01-02", "2024-01-04..2024-01-04 04:00"))
    data = load_series(config, prepare_table(config, table))
    normal = [*range(24), *range(72, 76)]
    cut = round(28 * 0.7 / 0.85)
    assert data.train.series[:, 0].tolist() == normal[:cut]
    assert data.validation.series[:, 0].tolist() == normal[cut:]
    assert data.test.series[:, 0].tolist() == [k for k in range(100) if k not in normal]
    assert (np.diff(data.test.windows()[..., 0], axis=1) == 1).all()


def test_normal_accepts_local_times_and_row_numbers() -> None:
    config, table = hourly(np.arange(100), window=4, normal=("..2024-01-02",), time_zone="Asia/Tokyo")
    assert (prepare_table(config, table).split < 2).sum() == 24
    config, table = table_of([str(k) for k in range(100)], "a", window=4, normal=("10..40",))
    assert np.flatnonzero(prepare_table(config, table).split < 2).tolist() == list(range(10, 40))


def shops(**options: Any) -> tuple[Reading, Panel]:
    """Return a table of two shops on the business days of a year, with a weekly pattern."""
    days = np.busday_offset("2024-01-01", np.arange(260))
    rows = [f"{day},{name},{k % 5 + k % 3 / 10}" for name in "ab" for k, day in enumerate(days)]
    return table_of(rows, "t,shop,a", id_col=("shop",), **options)


def test_windows_cross_weekends_but_no_longer_gaps() -> None:
    config, table = shops()
    found = prepare_table(config, table)
    assert (found.max_gap, found.window, found.step) == (2, 21, TimeStep(24 * HOUR.nanoseconds))
    assert collect_table_warnings(config, found)["missing rows"].startswith("28.2% of the steps of 1d have no row")
    assert [prepare_table(replace(config, window=window), table).max_gap for window in (12, 30, 39)] == [2, 3, 3]
    found = prepare_table(config := replace(config, horizon=7), table)
    assert (found.max_gap, found.window) == (2, 28)
    config, table = shops(max_gap=1)
    found = prepare_table(config, table)
    assert (found.max_gap, found.window) == (1, 2)
    warnings = collect_table_warnings(replace(config, window=4), found._replace(window=4))
    assert "102 gaps of more than 1 step, which costs 59.5% of the windows" in warnings["missing rows"]


@given(
    st.lists(st.integers(0, 60), min_size=12, max_size=60, unique=True),
    st.integers(2, 5),
    st.integers(0, 2),
    st.integers(0, 4),
    st.sampled_from(["0.7,0.15,0.15", "0.4,0.3,0.3"]),
)
@settings(max_examples=60)
def test_each_value_is_in_one_split_and_windows_are_regular(
    hours: list[int], window: int, horizon: int, max_gap: int, split: str
) -> None:
    """Each row belongs to one split, and each window has hourly steps with missing values in short gaps."""
    rows = [f"{np.datetime64('2024-01-01T00') + np.timedelta64(hour, 'h')},{hour}" for hour in hours]
    config, table = table_of(
        [row.replace("T", " ").replace(",", ":00,") for row in rows],
        window=window, horizon=horizon or None, max_gap=max_gap, split=split, freq="1h",
    )  # fmt: skip
    found = prepare_table(config, table)
    parts = [found.grid.values[found.split == place, 0] for place in range(3)]
    seen = [value for part in parts for value in part.tolist() if not np.isnan(value)]
    assert sorted(seen) == sorted(hours)
    ends = [np.nanmax(part) for part in parts if np.isfinite(part).any()]
    assert ends == sorted(ends), "validation follows training, and the test follows both"
    try:
        data = load_series(config, found)
    except DataError:
        return
    for part in data[:3]:
        for cut in part.windows()[..., 0]:
            known = np.flatnonzero(~np.isnan(cut))
            assert np.array_equal(cut[known] - cut[known[0]], known - known[0]), "steps of an hour, gaps as NaN"
            assert not len(known) or np.diff(known).max(initial=1) <= max_gap + 1
