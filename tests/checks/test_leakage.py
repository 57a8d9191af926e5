"""Leak detection reports columns with future values of another column, but not columns that are only similar."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from price_makers import days_of, prices

from lstm_ae.checks.leakage import describe_leaks, find_leaks
from lstm_ae.config import Series, Snp
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split, window_starts
from lstm_ae.studies.series import defaults
from lstm_ae.studies.snp import load

ROWS, WINDOW = 400, 12
RANDOM = np.random.default_rng(0)
WALK = np.cumsum(RANDOM.normal(size=ROWS + 40))
WAVE = 2 * np.pi * np.arange(ROWS) / 50


def data_of(*columns: Any) -> Data:
    """Return data with 60% of the rows for training, then 20% each for validation and test."""
    values = np.stack(columns, axis=1).astype(np.float32)
    splits = []
    for first, last in ((0, 0.6), (0.6, 0.8), (0.8, 1)):
        rows = values[int(first * len(values)) : int(last * len(values))]
        segment = np.zeros(len(rows), np.int32)
        splits.append(Split(rows, window_starts(segment, WINDOW + 1), WINDOW + 1, segment))
    return Data(*splits, fixed_scale(), Source("made", "", ""))


def later(steps: int) -> Any:
    return WALK[steps : ROWS + steps]


def noise(seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=ROWS)


@pytest.mark.parametrize("column", [1, 2])
@pytest.mark.parametrize(
    ("told", "least"),
    [
        (later(1), 0.999999),
        (-3 * later(1) + 100, 0.999999),
        (later(1) + 0.1 * noise(), 0.9),
        (later(4), 0.999999),
        ((later(0) + later(1) + WALK[np.r_[0, : ROWS - 1]]) / 3, 0.999),
    ],
    ids=["copy", "other unit", "with noise", "four steps ahead", "centered mean"],
)
def test_find_leaks_detects_column_with_future_values(told: Any, least: float, column: int) -> None:
    columns = [later(0), noise(2)]
    columns.insert(column, told)
    into = [leak for leak in find_leaks(data_of(*columns), WINDOW) if leak.target == 0]
    assert [leak.source for leak in into] == [column]
    assert least <= into[0].skill <= 1
    assert into[0].own_skill < 0.2


@pytest.mark.parametrize(
    "columns",
    [
        (later(0), np.convolve(WALK, np.ones(5) / 5)[:ROWS], noise()),
        (later(0), later(1) + 2 * noise()),
        (np.sin(WAVE), np.cos(WAVE)),
        (np.arange(ROWS), np.arange(ROWS) ** 2),
        (later(0), np.ones(ROWS)),
        (np.ones(ROWS), later(0)),
        (later(1),),
    ],
    ids=["trailing mean", "a hint", "waves", "trends", "constant", "constant target", "single"],
)
def test_find_leaks_ignores_columns_without_future_values(columns: Any) -> None:
    assert find_leaks(data_of(*columns), WINDOW) == []


@pytest.mark.parametrize(
    ("columns", "pair"),
    [
        ((noise(), np.r_[0, noise()[:-1]]), (0, 1)),
        ((np.r_[0, 0, 0, noise()[:-3]], noise()), (1, 0)),
        ((noise(), np.r_[0, noise()[:-1]] + 0.1 * noise(2)), (0, 1)),
        ((np.repeat(noise()[:50], 8), np.r_[0, 20 - 3 * np.repeat(noise()[:50], 8)[:-1]]), (0, 1)),
    ],
    ids=["lag feature", "dead time", "outlet", "setpoint"],
)
def test_a_delayed_copy_is_a_leak_only_if_copies_are(columns: Any, pair: tuple[int, int]) -> None:
    assert [(leak.source, leak.target) for leak in find_leaks(data_of(*columns), WINDOW)] == [pair]
    assert find_leaks(data_of(*columns), WINDOW, copies=False) == []


def test_find_leaks_checks_only_forecast_targets() -> None:
    data = data_of(noise(), later(0), later(1))
    assert [(leak.source, leak.target) for leak in find_leaks(data, WINDOW)] == [(2, 1)]
    assert find_leaks(data, WINDOW, targets=1) == []


def test_find_leaks_reports_nothing_for_too_few_windows() -> None:
    columns = later(0)[:60], later(1)[:60]
    assert find_leaks(data_of(*columns), WINDOW) == []


def test_describe_leaks_names_source_and_target_columns() -> None:
    leaks = find_leaks(data_of(noise(), later(0), later(1)), WINDOW)
    text = describe_leaks(leaks, ("load", "high", "close"))
    assert text.startswith("close probably contains the future: one step ahead, high follows from it almost perfectly")
    assert "skill +100.00%" in text
    assert "load" not in text
    many = describe_leaks([leak._replace(target=0) for leak in leaks] * 5, ("load", "high", "close"))
    assert "and 4 more columns" in many
    assert describe_leaks([], ()) == ""


def planted(folder: Path) -> str:
    """Write prices whose close is the high of the next day."""
    companies = []
    for seed, symbol in enumerate(("AAA", "BBB")):
        rows = [row.split(",") for row in days_of(symbol, 601, seed=seed)]
        for row, after in itertools.pairwise(rows):
            row[5] = after[3]
        companies.append([",".join(row) for row in rows[:-1]])
    return prices(folder, *companies)


def test_prices_with_planted_future_are_marked_leaky(tmp_path: Path) -> None:
    path = planted(tmp_path)
    config = Snp(data=path, window=6, inputs="ohlc")
    assert load(config).source.leaky.startswith("close probably contains the future: one step ahead, high follows")
    # Without the close as an input, there is no leak.
    assert load(Snp(data=path, window=6)).source.leaky == ""
    report = load(Snp(data=path, window=6, inputs="ohlc", split="report", scale="log")).source.leaky
    assert "windows were shuffled" in report
    assert "close probably contains the future" in report


def test_table_with_planted_future_column_is_marked_leaky() -> None:
    frame = pd.DataFrame({"load": later(0), "rise": np.diff(WALK)[:ROWS], "wind": noise()})
    frame.to_csv("t.csv", index=False)
    options: dict[str, Any] = {"data": "t.csv", "window": WINDOW, "horizon": 3}
    leaky = defaults.load_complete(Series(task="forecast", **options)).data.source.leaky
    assert leaky.startswith("rise probably contains the future: one step ahead, load follows from it almost perfectly")
    assert "wind" not in leaky
    # A column that repeats another one later is common in tables.
    for column in (noise(3), np.r_[0, later(0)[:-1]]):
        frame.assign(rise=column).to_csv("t.csv", index=False)
        assert defaults.load_complete(Series(task="forecast", **options)).data.source.leaky == ""
