"""New tables for a trained run: they are read like the training table, and differences are reported."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectors import detector_of
from run_tables import read_prepared

from lstm_ae.apply.detect import detect
from lstm_ae.apply.detection_output import event_facts, score_columns
from lstm_ae.apply.forecast import TableForecast
from lstm_ae.apply.forecast import forecast_columns as columns_of
from lstm_ae.apply.run_table import prepare_run_table, read_with_run_config, run_config
from lstm_ae.checks.table import collect_new_table_warnings
from lstm_ae.config import Series
from lstm_ae.data.frames import row_id_columns
from lstm_ae.data.panel import Panel
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.run import open_run
from lstm_ae.studies.series import defaults


def written(header: str, rows: list[str], name: str = "t.csv") -> str:
    Path(name).write_text("\n".join((header, *rows)) + "\n")
    return name


def minutes(count: int, every: int = 5, start: str = "2024-03-05T10:00") -> list[str]:
    times = np.datetime64(start) + np.arange(count) * np.timedelta64(every, "m")
    return [str(time).replace("T", " ") for time in times]


def settled(header: str, rows: list[str], **options: Any) -> Series:
    """Return the config of a run trained on these rows."""
    return defaults.load_complete(Series(data=written(header, rows), window=4, **options)).config


def other(config: Series, header: str, rows: list[str]) -> Panel:
    return read_prepared(config, written(header, rows, "other.csv")).table


def test_empty_column_of_a_new_table_is_missing_in_all_rows() -> None:
    config = settled("time,a,b", [f"{time},{k % 7},{k % 5}" for k, time in enumerate(minutes(100))])
    table = other(config, "time,a,b", [f"{time},{k % 7}," for k, time in enumerate(minutes(50))])
    assert table.layout.values == ("a", "b")
    assert np.isnan(table.values).all(axis=0).tolist() == [False, True]
    with pytest.raises(DataError, match=r"no row holds a value of b"):
        defaults.load_complete(dataclasses.replace(config, data="other.csv"))
    with pytest.raises(DataError, match=r"no row holds a value of a, b"):
        other(config, "time,a,b", [f"{time},," for time in minutes(50)])


def test_date_order_and_decimal_of_the_run_apply_to_new_tables() -> None:
    """Days up to 12 and numbers without decimals are ambiguous, so the formats of the run apply."""
    hours = np.datetime64("2024-03-10T00") + np.arange(120)
    cells = [f"{str(h)[8:10]}/{str(h)[5:7]}/{str(h)[:4]} {str(h)[11:13]}:00" for h in hours]
    config = settled("time;a", [f"{cell};{k % 7},5" for k, cell in enumerate(cells)])
    assert (config.date_order, config.decimal) == ("dmy", "comma")
    later = [f"0{4 + k // 24}/05/2024 {k % 24:02}:00;{k % 7}{',25' if k > 30 else ''}" for k in range(72)]
    table = other(config, "time;a", later)
    assert str(table.times[-1].view("datetime64[ns]"))[:13] == "2024-05-06T23"
    assert table.values[[30, 31], 0].tolist() == [2, 3.25]
    plain = settled("time,a", [f"{time},{k % 7}.5" for k, time in enumerate(minutes(100))])
    assert (plain.date_order, plain.decimal) == (None, None)
    told = settled("time,a", [f"{time},{k % 7}.5" for k, time in enumerate(minutes(100))], date_order="mdy")
    assert told.date_order == "mdy"


def test_time_format_is_that_of_the_run_or_of_the_option() -> None:
    hours = np.datetime64("2024-03-20T00") + np.arange(120)
    stamps = [str(hour).replace("-", "").replace("T", "-") for hour in hours]
    config = settled(
        "time,a", [f"{cell},{k % 7}" for k, cell in enumerate(stamps)], time_col="time", time_format="%Y%m%d-%H"
    )
    later = [f"{cell},{k % 7}" for k, cell in enumerate(stamps[:50])]
    assert other(config, "time,a", later).times[1].view("datetime64[ns]") == hours[1]
    days = [f"{str(hour)[8:10]}/03/2024 {str(hour)[11:]}:00,{k % 7}" for k, hour in enumerate(hours[:50])]
    table = other(read_with_run_config(config, {"date_order": "dmy"}), "time,a", days)
    assert table.times[1].view("datetime64[ns]") == hours[1]
    plain = settled("time,a", days)
    assert plain.date_order == "dmy"
    table = other(read_with_run_config(plain, {"time_format": "%Y%m%d-%H"}), "time,a", later)
    assert table.times[1].view("datetime64[ns]") == hours[1]
    with pytest.raises(DataError, match="--time-format"):
        other(config, "time,a", days)


def test_reading_options_of_a_new_table_override_those_of_the_run() -> None:
    """Options for the table take precedence over those of the run; words for missing values are added."""
    rows = [f"{time},{k % 7 if k % 9 else -999}" for k, time in enumerate(minutes(100))]
    config = settled("time,a", rows, missing=("-999",))
    later = [f"{time[8:10]}/{time[5:7]}/{time[:4]}{time[10:]};{cell}" for time, cell in zip(
        minutes(12, start="2024-04-02T10:00"), ["1,5", "-999", "ERROR", *["2"] * 9], strict=True
    )]  # fmt: skip
    told = {
        "time_col": "when",
        "date_order": "dmy",
        "missing": ("ERROR",),
        "decimal": "comma",
        "time_zone": "Asia/Tokyo",
    }
    table = other(read_with_run_config(config, told), "when;a", later)
    assert str(table.times[0].view("datetime64[ns]"))[:16] == "2024-04-02T01:00"
    np.testing.assert_array_equal(table.values[:4, 0], [1.5, np.nan, np.nan, 2])
    assert read_with_run_config(config, None) == read_with_run_config(config, {}) == config
    with pytest.raises(
        ConfigError, match=r"--window applies to trainings only. Another table takes --time-col, --id-col"
    ):
        read_with_run_config(config, {"window": 5})
    with pytest.raises(ConfigError, match="--duplicates must be one of error, first, last, mean"):
        read_with_run_config(config, {"duplicates": "twice"})


def test_larger_sampling_interval_of_a_new_table_is_reported() -> None:
    config = settled("time,a", [f"{time},{k % 7}" for k, time in enumerate(minutes(300))], max_gap=1)

    def said(every: int, **options: Any) -> list[str]:
        path = written("time,a", [f"{time},{k % 7}" for k, time in enumerate(minutes(100, every))], "other.csv")
        return collect_new_table_warnings(read_prepared(dataclasses.replace(config, data=path, **options)))

    assert said(5) == []
    interval, missing = said(10)
    assert "10min apart" in interval
    assert missing.startswith("49.7% of the steps of 5min have no row")
    with pytest.raises(DataError, match=r"has no 4 consecutive rows .*larger --max-gap.* 10min apart"):
        said(10, max_gap=0)


@pytest.mark.parametrize(("scale", "told"), [("standard", True), ("minmax", True), ("none", False), ("window", False)])
def test_rows_outside_the_training_range_are_reported(scale: str, told: bool) -> None:
    """A column keeps rising after the training rows, alone or with another column."""
    for names in ("a,b", "a"):
        lines = [f"{time},{k},{k % 5}" for k, time in enumerate(minutes(1000))]
        lines = lines if names == "a,b" else [line.rpartition(",")[0] for line in lines]
        settled = defaults.load_complete(Series(data=written(f"time,{names}", lines[:100]), window=4, scale=scale))
        later = prepare_run_table(settled.config, other(settled.config, f"time,{names}", lines[500:]))
        text = "Far outside the training range: 'a' in 100% of the rows"
        assert [said.startswith(text) for said in collect_new_table_warnings(later, settled.data.scale)] == [
            True
        ] * told
        known = prepare_run_table(settled.config, other(settled.config, f"time,{names}", lines[:120]))
        assert collect_new_table_warnings(known, settled.data.scale) == []


@pytest.mark.parametrize(
    ("suffix", "zone", "told_as"),
    [("", None, ""), ("", "Europe/Berlin", "+01:00"), ("+02:00", None, "+00:00"), ("Z", None, "+00:00")],
)
def test_written_times_can_be_read_by_the_same_run(suffix: str, zone: str | None, told_as: str) -> None:
    config = settled("time,a", [f"{time}{suffix},{k % 7}" for k, time in enumerate(minutes(100))], time_zone=zone)
    rows = [f"{time}{suffix},{k % 7}" for k, time in enumerate(minutes(30))]
    path = written("time,a", rows, "other.csv")
    prepared = read_prepared(config, path)
    cells = row_id_columns(prepared)["time"].tolist()
    assert cells[0].endswith(told_as or ":00")
    assert (len(cells[0]) > 19) == bool(told_as)
    again = [f"{cell},{k % 7}" for k, cell in enumerate(cells)]
    assert other(config, "time,a", again).times.tolist() == prepared.table.times.tolist()
    if zone:
        with pytest.raises(ConfigError, match="--time-zone is for times without an offset"):
            defaults.load_complete(dataclasses.replace(config, data="other.csv"))


def test_outputs_use_the_time_zone_of_the_input() -> None:
    rows = [f"2024-03-05 10:{minute:02},{9 * (minute == 30)}" for minute in range(60)]
    path = written("time,a", rows)
    detector = detector_of(3, value_cols=("a",), time_col="time", time_zone="Europe/Berlin")
    prepared = read_prepared(detector.config, path)
    found = detect(detector, prepared, "fixed:1")
    assert [event["peak"] for event in event_facts(found)] == ["2024-03-05 10:30:00+01:00"]
    assert score_columns(found)["time"][0] == "2024-03-05T10:00:00+01:00"
    empty = np.zeros((1, 1, 1))
    ahead = prepared.grid.times[-1:, None] + 60 * 10**9
    outlook = TableForecast(
        prepared.table, np.zeros(1, int), (), True, ahead, ahead, empty, empty, empty, "none", {}, 1
    )
    assert columns_of(outlook)["time"].tolist() == ["2024-03-05T11:00:00+01:00"]


def test_a_run_of_another_study_is_refused() -> None:
    run = open_run(Path(__file__).parents[2] / "saved_models/toy")
    with pytest.raises(ConfigError, match="is not a run on a table"):
        run_config(run)
