"""Timestamps in common formats and daylight-saving changes, with hand-computed times."""

import datetime
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notations import cases

from lstm_ae.config import Reading
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import localize_times
from lstm_ae.data.timestamps import BadTime, TimeForm, find_time_problem, infer_form, looks_like_times, parse_times
from lstm_ae.errors import Code, ConfigError, DataError

NOON = "2024-03-05T12:00:00"
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("pattern", ["%H:%M", "%d/%m", "%Y %Y", "%Y%", "%Y %q", "", *cases("ambiguous-formats")])
def test_time_format_must_determine_one_time(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"--time-format must contain the year.*directives that determine one time"):
        Reading(time_format=pattern)


def test_normal_ranges_are_in_iso_whatever_the_format_of_the_table() -> None:
    hours = pd.date_range("2024-01-01", "2024-03-03", freq="h")
    lines = ["time,a", *(f"{hour:%m/%d/%Y %H:%M},{k % 7}" for k, hour in enumerate(hours))]
    Path("t.csv").write_text("\n".join(lines))
    # The end is excluded.
    expected = (hours >= "2024-01-02") & (hours < "2024-01-10 05:00")
    given = {"data": "t.csv", "time_col": "time", "time_format": "%m/%d/%Y %H:%M", "window": 5}
    config = Reading(**given, normal=("2024-01-02..2024-01-10 05:00",))  # type: ignore[arg-type]
    assert np.array_equal(prepare_table(config, read_panel(config)).split < 2, expected)
    config = Reading(**given, normal=("01/02/2024 00:00..01/10/2024 05:00",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--normal must be times"):
        prepare_table(config, read_panel(config))


@pytest.mark.parametrize("other", [{"date_order": "dmy"}, {"time_unit": "s"}])
def test_time_format_excludes_options_that_it_determines(other: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as told:
        Reading(time_format="%Y", **other)  # type: ignore[arg-type]
    assert told.value.code is Code.CONFLICTING_OPTIONS


def moments(*cells: str, order: str | None = None, unit: str | None = None) -> list[str]:
    form = infer_form(cells, "t", "t.csv", order=order, unit=unit)
    assert form is not None
    return np.datetime_as_string(parse_times(cells, form).astype("datetime64[ns]"), "s").tolist()


@pytest.mark.parametrize("cell", cases("noon"))
def test_timestamp_formats_parse_to_the_same_time(cell: str) -> None:
    assert looks_like_times([cell], "timestamp")
    assert moments(cell) == [NOON]


@pytest.mark.parametrize(("cells", "options", "expected"), cases("moments"))
def test_dates_and_seconds_are_read_as_the_cells_show(
    cells: list[str], options: dict[str, str], expected: list[str] | None
) -> None:
    """A cell whose digits could be a date counts seconds: a single row of a stream may hold it."""
    if expected is not None:
        assert moments(*cells, **options) == expected
    else:
        with pytest.raises(DataError, match="--date-order dmy"):
            moments(*cells, **options)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["a", '"a', "a "])
@pytest.mark.parametrize(("pattern", "order"), [("%d/%m/%Y %H:%M", "dmy"), ("%m/%d/%Y", "mdy")])
def test_order_of_day_and_month_is_decided_by_later_rows(name: str, pattern: str, order: str, suffix: str) -> None:
    # Each of the first twelve days of the year can be a month.
    times = pd.DatetimeIndex([*pd.date_range("2007-01-01", periods=1100, freq="10min"), pd.Timestamp("2007-01-13")])
    days = times.normalize() if order == "mdy" else times
    frame = pd.DataFrame({"time": times.strftime(pattern), "id": name, "a": range(len(times))})
    for rows, decided in ((frame, True), (frame[:-1], False)):
        rows.to_parquet("t.parquet", index=False)
        rows.to_csv("t.csv", index=False)
        config = Reading(data=f"t.{suffix}", duplicates="first")
        if decided:
            panel = read_panel(config)
            assert panel.times.tolist() == days.as_unit("ns").astype(np.int64).tolist()
            assert panel.layout.settings["date_order"] == order
            assert "later rows" in panel.layout.inferred["date_order"]
        else:
            with pytest.raises(DataError, match=f"--date-order {order}") as caught:
                read_panel(config)
            assert caught.value.code is Code.TIME_VALUE


@pytest.mark.parametrize(("cells", "unit", "expected"), cases("number-times"))
def test_numbers_are_inferred_as_epoch_or_elapsed_times(
    cells: list[str], unit: str | None, expected: list[Any]
) -> None:
    form = infer_form(cells, "t", "t.csv", unit=unit)
    assert form is not None
    assert [form.unit, form.elapsed] == expected
    if form.unit == "steps":
        assert parse_times(cells, form).tolist() == [int(float(cell)) for cell in cells]
        with pytest.raises(BadTime, match="between two steps"):
            parse_times([*cells, "2.5"], form)


@pytest.mark.parametrize(("cells", "column", "first", "advice"), cases("time-problems"))
def test_cells_that_are_meant_as_times_are_refused_with_the_remedy(
    cells: list[str], column: str, first: bool, advice: str | None
) -> None:
    assert not looks_like_times(cells, column)
    problem = find_time_problem(cells, column, first=first)
    assert problem is None if advice is None else advice in (problem or "")


@pytest.mark.parametrize(("cells", "column", "times"), cases("time-columns"))
def test_looks_like_times_uses_cells_and_column_name(cells: list[str], column: str, times: bool) -> None:
    assert looks_like_times(cells, column) == times


@pytest.mark.parametrize("cell", cases("no-times"))
def test_invalid_timestamps_are_rejected(cell: str) -> None:
    with pytest.raises(BadTime) as caught:
        parse_times(["2024-01-01", cell], TimeForm("", "dmy", False))
    assert caught.value.place == 1
    assert repr(cell) in caught.value.problem


@given(st.lists(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1)), min_size=1, max_size=5))
def test_python_datetimes_round_trip_to_the_microsecond(written: list[datetime.datetime]) -> None:
    expected = np.array(written, "datetime64[ns]").astype(np.int64).tolist()
    for text in ([str(moment) for moment in written], [moment.isoformat() for moment in written]):
        assert parse_times(text, TimeForm("", "dmy", False)).tolist() == expected
        assert parse_times([f"{cell}+00:00" for cell in text], TimeForm("", "dmy", True)).tolist() == expected


@pytest.mark.parametrize("clock", ["2024-10-27T02:30", "2024-03-31T02:30"])
def test_clocks_that_daylight_saving_repeats_or_skips_are_refused(clock: str) -> None:
    times = np.array(["2024-01-01", clock], "datetime64[ns]").astype(np.int64)
    with pytest.raises(BadTime, match="offset from UTC") as caught:
        localize_times(times, False, Reading(time_zone="Europe/Berlin"))
    assert caught.value.place == 1


@given(st.integers(0, 400_000))
@settings(max_examples=50)
def test_local_times_of_a_zone_round_trip_through_utc(start: int) -> None:
    """Convert a day of quarter hours from any start to local time and back."""
    utc = (1_600_000_000 + 900 * (start + np.arange(96))) * 1_000_000_000
    shown = [datetime.datetime.fromtimestamp(moment / 1e9, BERLIN).replace(tzinfo=None) for moment in utc.tolist()]
    local = np.array(shown, "datetime64[ns]").astype(np.int64)
    try:
        back = localize_times(local, False, Reading(time_zone="Europe/Berlin"))
    except BadTime as error:
        repeated = shown[error.place].replace(tzinfo=BERLIN)
        assert repeated.replace(fold=0).utcoffset() != repeated.replace(fold=1).utcoffset()
    else:
        assert back.tolist() == utc.tolist()


@pytest.mark.parametrize("cell", ["now", "Today", "31.02.24", "01.01.1600"])
def test_column_in_a_given_format_has_no_other_times(cell: str) -> None:
    form = TimeForm("", "", aware=False, pattern="%d.%m.%Y" if cell.endswith("1600") else "%d.%m.%y")
    year = "2024" if cell.endswith("1600") else "24"
    with pytest.raises(BadTime) as caught:
        parse_times(pyarrow.array([f"05.01.{year}", cell]), form)
    assert caught.value.place == 1
