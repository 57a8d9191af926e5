"""Synthetic tables for the examples."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from lstm_ae_cli import main

from lstm_ae.data.synthetic import EXAMPLES, SLOW_VALVE_DAYS, generate_pump


@pytest.fixture(scope="module")
def table():
    return generate_pump(days=60, seed=0)


def on(table, days):
    """Return masks of the rows of the given days and of the rows without a failure."""
    day = np.arange(len(table["time"])) / 144
    return (day >= days[0]) & (day < days[1]), table["failure"] == 0


def test_slow_valve_is_not_visible_in_single_rows(table):
    """Each value is in the normal range, and so is the relation between the columns of each row."""
    lagging, normal = on(table, SLOW_VALVE_DAYS)
    for name in ("flow", "pressure", "vibration"):
        values = table[name]
        assert values[normal].min() <= values[lagging].min()
        assert values[lagging].max() <= values[normal].max()
    for other in ("pressure", "vibration"):
        slope, offset = np.polyfit(table["flow"][normal], table[other][normal], 1)
        errors = table[other] - slope * table["flow"] - offset
        assert np.std(errors[lagging]) == pytest.approx(np.std(errors[normal]), rel=0.1)


@pytest.mark.parametrize(
    ("task", "columns", "rows"),
    [
        ("anomaly", ["time", "flow", "pressure", "vibration", "failure"], 60 * 144),
        ("forecast", ["time", "load", "temperature"], 120 * 24),
        ("classify", ["walk", "time", "forward", "upward", "kind"], None),
    ],
)
def test_example_command_writes_a_table_for_each_task(task, columns, rows, capsys):
    for name, seed in (("one.csv", "0"), ("again.csv", "0"), ("other.csv", "1")):
        assert main(["series", "example", name, "--task", task, "--seed", seed, "--json"]) == 0
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
        ["one.parquet"],
    ],
)
def test_example_command_rejects_invalid_options(line, capsys):
    assert main(["series", "example", *line]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path(line[0]).exists()


def test_example_command_does_not_overwrite_files(capsys):
    Path("one.csv").write_text("mine")
    assert main(["series", "example", "one.csv"]) == 2
    assert Path("one.csv").read_text() == "mine"
