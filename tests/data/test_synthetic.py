"""The tables that the examples are tried on."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from lstm_ae_cli import main

from lstm_ae.data.synthetic import BEARING_DAYS, EXAMPLES, SLOW_VALVE_DAYS, STUCK_VALVE_DAYS, generate_pump


@pytest.fixture(scope="module")
def table():
    return generate_pump(days=60, seed=0)


def on(table, days):
    """The rows of some days, and those in which nothing is broken."""
    day = np.arange(len(table["time"])) / 144
    return (day >= days[0]) & (day < days[1]), table["failure"] == 0


def test_what_is_broken_is_labeled(table):
    labeled = np.zeros(len(table["time"]), bool)
    for days in (BEARING_DAYS, SLOW_VALVE_DAYS, STUCK_VALVE_DAYS):
        labeled |= on(table, days)[0]
    np.testing.assert_array_equal(labeled, table["failure"] == 1)


def test_a_lagging_valve_shows_in_no_single_row(table):
    """Each value is as on other days, and so is each row's relation of the columns."""
    lagging, normal = on(table, SLOW_VALVE_DAYS)
    for name in ("flow", "pressure", "vibration"):
        values = table[name]
        assert values[normal].min() <= values[lagging].min()
        assert values[lagging].max() <= values[normal].max()
    for other in ("pressure", "vibration"):
        slope, offset = np.polyfit(table["flow"][normal], table[other][normal], 1)
        errors = table[other] - slope * table["flow"] - offset
        assert np.std(errors[lagging]) == pytest.approx(np.std(errors[normal]), rel=0.1)


def test_a_lagging_valve_changes_the_flow_slowly(table):
    lagging, normal = on(table, SLOW_VALVE_DAYS)
    hourly = np.abs(table["flow"][6:] - table["flow"][:-6])
    assert hourly[lagging[6:]].max() < 0.6 * hourly[normal[6:]].max()


def test_the_other_failures_are_out_of_range_or_stuck(table):
    shakes, normal = on(table, BEARING_DAYS)
    assert table["vibration"][shakes].max() > table["vibration"][normal].max()
    sticks, _ = on(table, STUCK_VALVE_DAYS)
    assert len(set(table["flow"][sticks])) == 1


@pytest.mark.parametrize(
    ("task", "columns", "rows"),
    [
        ("anomaly", ["time", "flow", "pressure", "vibration", "failure"], 2 * 144),
        ("forecast", ["time", "load", "temperature"], 2 * 24),
        ("classify", ["walk", "time", "forward", "upward", "kind"], None),
    ],
)
def test_each_task_has_a_table(task, columns, rows, capsys):
    length = [] if rows is None else ["--days", "2"]
    for name, seed in (("one.csv", "0"), ("again.csv", "0"), ("other.csv", "1")):
        assert main(["series", "example", name, "--task", task, "--seed", seed, "--json", *length]) == 0
        assert json.loads(capsys.readouterr().out)["file"] == name
    assert Path("one.csv").read_text() == Path("again.csv").read_text() != Path("other.csv").read_text()
    with Path("one.csv").open(newline="") as file:
        header, *cells = csv.reader(file)
    assert header == columns
    assert len(cells) == rows or (rows is None and len({row[0] for row in cells}) == 150)
    assert set(EXAMPLES) == {"anomaly", "forecast", "classify"}


@pytest.mark.parametrize(
    "line",
    [
        ["one.csv", "--task", "reconstruct"],
        ["one.csv", "--task", "classify", "--days", "3"],
        ["one.parquet"],
    ],
)
def test_a_table_that_is_none(line, capsys):
    assert main(["series", "example", *line]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path(line[0]).exists()


def test_a_file_that_is_there_is_kept(capsys):
    Path("one.csv").write_text("mine")
    assert main(["series", "example", "one.csv"]) == 2
    assert Path("one.csv").read_text() == "mine"
