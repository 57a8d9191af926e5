"""Advice of check and training for tables of many series: no suggested fix is rejected when it is applied."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ae.checks.table import inspect_table
from lstm_ae.config import Reading
from lstm_ae.data.preparation import load_series, prepare_table
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import DataError


def machines(rows: int, sizes: Any) -> str:
    """Write series of hourly rows with these amplitudes."""
    times = np.datetime64("2024-01-01T00:00") + np.arange(rows) * np.timedelta64(1, "h")
    lines = ["t,m,a"]
    for k, size in enumerate(sizes):
        lines += [f"{time},m{k},{size * np.sin(row * 1.3 + k):.4f}" for row, time in enumerate(times)]
    Path("t.csv").write_text("\n".join(lines) + "\n")
    return "t.csv"


def test_check_does_not_suggest_split_by_series_with_scale_series() -> None:
    config = Reading(data=machines(60, range(1, 7)), id_col=("m",), window=24, scale="series")
    (problem,) = (finding for finding in inspect_table(config).findings if finding.fatal)
    assert [set(fix) for fix in problem.fixes] == [{"window"}]
    table = read_panel(config)
    with pytest.raises(DataError, match=r"another --split, fewer --folds, or more rows$"):
        load_series(config, prepare_table(config, table))


def of_two_sites(rows: int = 40) -> str:
    """Write hourly rows of two sites whose two machines have the same names."""
    times = np.datetime64("2024-01-01T00:00") + 60 * np.arange(rows).astype("timedelta64[m]")
    cells = [(site, machine) for site in ("north, old", "south") for machine in "12"]
    lines = [
        f'{time},"{site}",{machine},{np.sin(row + 3 * k):.3f}'
        for row, time in enumerate(times)
        for k, (site, machine) in enumerate(cells)
    ]
    Path("t.csv").write_text("\n".join(["time,site,machine,a", *lines]) + "\n")
    return "t.csv"


@pytest.mark.parametrize("by_series", [True, False], ids=["one series below the other", "by date"])
def test_check_suggests_two_id_columns_of_many_numbers(by_series: bool) -> None:
    days = np.datetime_as_string(np.arange("2024-01-01", "2025-05-15", dtype="datetime64[D]"))
    keys = [(store, item) for store in range(1, 4) for item in range(1, 41)]
    if by_series:
        rows = [(day, *key) for key in keys[::20] for day in days]
    else:
        rows = [(day, *key) for day in days[:20] for key in keys]
    sales = np.random.default_rng(0).integers(1, 99, len(rows)).tolist()
    lines = [f"{day},{store},{item},{sold}" for (day, store, item), sold in zip(rows, sales, strict=True)]
    Path("t.csv").write_text("\n".join(["date,store,item,sales", *lines]) + "\n")
    problem = inspect_table(Reading(data="t.csv", window=4)).findings[0]
    assert [set(fix["id_col"]) for fix in problem.fixes] == [{"store", "item"}]


@pytest.mark.parametrize("given", [(), ("site",), ("machine",)])
def test_check_suggests_id_columns_instead_of_averaging_series(given: tuple[str, ...]) -> None:
    config = Reading(data=of_two_sites(), id_col=given, window=4)
    problem = inspect_table(config).findings[0]
    assert problem.fatal
    (first,) = problem.fixes
    assert set(first["id_col"]) == {"site", "machine"}
    fixed = inspect_table(dataclasses.replace(config, **first))
    assert fixed.usable
    assert len(fixed.table.ids) == 4
    with pytest.raises(DataError, match=r"--id-col (site,machine|machine,site)$"):
        prepare_table(config, read_panel(config))


def test_check_suggests_no_label_as_id_column() -> None:
    """A label is constant in the first rows, as the plant is."""
    times = np.datetime_as_string(np.arange("2024-01-01", "2024-03-01", 3600, "datetime64[s]").astype("datetime64[m]"))
    lines = [
        f"{time},{plant},{pump},{int(row > 1300)},{np.sin(row):.3f}"
        for plant in ("north", "south")
        for row, time in enumerate(times)
        for pump in ("p1", "p2")
    ]
    Path("t.csv").write_text("\n".join(["time,plant,pump,failure,flow", *lines]) + "\n")
    problem = inspect_table(Reading(data="t.csv", window=4)).findings[0]
    assert [set(fix["id_col"]) for fix in problem.fixes] == [{"plant", "pump"}]


def test_file_that_ends_within_a_number_is_noted() -> None:
    Path("t.csv").write_text("\n".join(["a", *map(str, range(600))]))
    found = {finding.topic: finding for finding in inspect_table(Reading(data="t.csv")).findings}
    assert "last number may be cut" in found["source"].text
    Path("t.csv").write_text("\n".join(["a", *map(str, range(600)), ""]))
    assert inspect_table(Reading(data="t.csv")).findings == ()
