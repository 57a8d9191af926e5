"""Timestamps in common formats and daylight-saving changes, with hand-computed times."""

import datetime
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
    given = {"data": "t.csv", "time_format": "%m/%d/%Y %H:%M", "window": 5}
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


def test_order_of_day_and_month_is_inferred_from_valid_dates() -> None:
    assert moments("3/5/2024", "13/5/2024") == ["2024-05-03T00:00:00", "2024-05-13T00:00:00"]
    assert moments("3/5/2024", "3/13/2024") == ["2024-03-05T00:00:00", "2024-03-13T00:00:00"]
    assert moments("3.5.2024", "3.6.2024") == ["2024-05-03T00:00:00", "2024-06-03T00:00:00"]
    assert moments("3.15.2024") == ["2024-03-15T00:00:00"]
    assert moments("3/25/2024 12:30 AM", "3/25/2024 11:30 pm") == ["2024-03-25T00:30:00", "2024-03-25T23:30:00"]
    assert moments("3/5/2024", order="mdy") == ["2024-03-05T00:00:00"]
    with pytest.raises(DataError, match="--date-order dmy"):
        infer_form(["3/5/2024"], "t", "t.csv")


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


@pytest.mark.parametrize(
    ("cells", "column", "advice"),
    [
        (["202311", "202401"], "month", "--time-format %Y%m"),
        (["2024.03", "2024.10"], "date", "--time-format %Y.%m"),
        (["202403051200"], "x", "--time-format %Y%m%d%H%M"),
        (["05-Mar-24 12:00"], "t", "--time-format"),
        (["Jan-15"], "Month", "--time-format"),
        (["31-12-02"], "date", "--time-format"),
        (["1980Q1"], "date", "--time-format"),
        (["0 days 00:00:01", "0 days 00:00:02"], "time", "pandas.to_timedelta"),
        (["45000", "45001"], "date", "pandas.to_datetime"),
        (["202311", "202401"], "part", None),
        (["2024.03", "2024.1"], "reading", None),
        (["2024030512"], "x", None),
        (["1013.25", "1009.5"], "pressure", None),
        (["v1.2", "v1.3"], "update", None),
        ([], "date", None),
    ],
)
def test_cells_that_are_meant_as_times_are_refused_with_the_remedy(
    cells: list[str], column: str, advice: str | None
) -> None:
    assert not looks_like_times(cells, column)
    problem = find_time_problem(cells, column, first=False)
    assert problem is None if advice is None else advice in (problem or "")


@pytest.mark.parametrize(
    ("cells", "meant"),
    [
        (["05-Mar-24 12:00"], True),
        (["5. Okt 2024"], True),
        (["10:00"], True),
        (["2024W01"], True),
        (["01/02/03"], True),
        (["T-2024-X"], False),
        (["mar 12", "may 5"], False),
        (["test 2024-03-05 A"] * 2, False),
    ],
)
def test_cells_of_the_first_column_are_meant_as_times(cells: list[str], meant: bool) -> None:
    assert (find_time_problem(cells, "x", first=True) is not None) is meant
    assert find_time_problem(cells, "x", first=False) is None


def test_looks_like_times_uses_cells_and_column_name() -> None:
    assert looks_like_times(["2024-03-05"], "x")
    assert looks_like_times(["1709640000"], "timestamp")
    assert not looks_like_times(["1709640000"], "bytes")
    assert not looks_like_times(["20240305"], "price")
    assert not looks_like_times(["1", "2"], "time")
    assert not looks_like_times(["1.5", "on"], "a")
    assert not looks_like_times(["20240305", "20240306", "error"], "price")


def test_epoch_times_are_distinguished_from_compact_dates() -> None:
    assert moments("2024123123", unit="s") == ["2034-02-21T08:25:23"]
    assert moments("1704067200", "1704070800") == ["2024-01-01T00:00:00", "2024-01-01T01:00:00"]
    # By its digits, this could be a date in 1704; a single row of a stream may hold such a cell.
    assert moments("1704061200") == ["2023-12-31T22:20:00"]
    # An hour of 24 shows that these count seconds, whatever the other cell looks like.
    assert moments("2024123123", "2024123124") == ["2034-02-21T08:25:23", "2034-02-21T08:25:24"]


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
