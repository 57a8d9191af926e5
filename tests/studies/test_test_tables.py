"""Training on one table with another table as the test split."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.backtest.plans import plan_backtest
from lstm_ae.config import Series
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.experiment import identity
from lstm_ae.studies.series.defaults import CompletedConfig, load_complete

ROWS, TEST_ROWS = 200, 60
TASKS: dict[str, dict[str, Any]] = {
    "anomaly": {"window": 8},
    "reconstruct": {"window": 8},
    "forecast": {"window": 8, "horizon": 2},
    "classify": {"window": 8, "label_col": "pace", "split_by": "time"},
}


def table(rows: int, start: str = "2024-01-01", seed: int = 0, freq: str = "h") -> pd.DataFrame:
    times = pd.date_range(start, periods=rows, freq=freq, name="time")
    values = np.random.default_rng(seed).normal(size=rows).astype(np.float32)
    return pd.DataFrame({"value": values, "pace": np.where(np.arange(rows) // 3 % 2, "fast", "slow")}, times)


def completed(train: pd.DataFrame, test: pd.DataFrame, task: str = "reconstruct", **options: Any) -> CompletedConfig:
    train.to_csv("train.csv")
    test.to_csv("test.csv")
    return load_complete(Series(data="train.csv", test="test.csv", task=task, **TASKS[task] | options))


def later(rows: int = TEST_ROWS, **options: Any) -> pd.DataFrame:
    return table(rows, "2024-03-01", seed=1, **options)


@pytest.mark.parametrize("task", list(TASKS))
def test_test_split_is_the_test_table_and_its_rows_are_in_no_other_split(task: str) -> None:
    train, test = table(ROWS), later()
    found = completed(train, test, task)
    data, span = found.data, found.data.train.span
    assert data.test.windows()[:, 0, 0].tolist() == test["value"].tolist()[: TEST_ROWS - span + 1]
    used = np.concatenate([data.train.windows().ravel(), data.validation.windows().ravel()])
    assert set(used.tolist()) == set(train["value"].tolist())
    # 0.7 and 0.15 of the rows, in the same ratio.
    last = np.flatnonzero(train["value"] == data.train.series[-1, 0])[0]
    assert last == round(ROWS * 0.7 / 0.85) - 1
    assert data.scale.offset[0, 0] == pytest.approx(train["value"].iloc[: last + 1].mean(), rel=1e-4)
    if data.test.label is not None and task == "classify":
        ends = test["pace"].iloc[span - 1 :]
        assert [found.config.classes[label] for label in data.test.label] == ends.tolist()


@pytest.mark.parametrize("task", list(TASKS))
def test_completed_config_loads_the_same_splits_again(task: str) -> None:
    found = completed(table(ROWS), later(), task, window=None)
    again = load_complete(found.config)
    assert again.config == found.config
    assert again.data.source.sha256 == found.data.source.sha256
    assert again.data.test.samples == found.data.test.samples > 0


def test_identity_of_a_training_depends_on_the_rows_of_the_test_table_and_not_on_its_path() -> None:
    found = completed(table(ROWS), later())
    known = identity(found.config, found.data)
    Path("test.csv").rename("moved.csv")
    moved = load_complete(dataclasses.replace(found.config, test="moved.csv"))
    assert identity(moved.config, moved.data) == known
    later(TEST_ROWS - 1).to_csv("moved.csv")
    other = load_complete(moved.config)
    assert identity(other.config, other.data) != known


def test_test_table_is_read_with_the_settings_inferred_for_the_training_table() -> None:
    train = "\n".join(f"{day:02}/01/2024;{day},5" for day in range(1, 32))
    # The first rows of the test table alone are ambiguous.
    test = "\n".join(f"{day:02}/02/2024;{day},250" for day in range(1, 13))
    Path("train.csv").write_text(f"when;a\n{train}\n")
    Path("test.csv").write_text(f"when;a\n{test}\n")
    config = Series(data="train.csv", test="test.csv", task="reconstruct", window=4)
    data = load_complete(config).data
    assert data.test.series[:, 0].tolist() == [day + 0.25 for day in range(1, 13)]
    assert data.test.time is not None
    assert data.test.time[-1] == np.datetime64("2024-02-12")


def test_series_of_the_test_table_use_the_scale_of_the_series_of_the_same_name() -> None:
    train = pd.concat([table(ROWS).assign(unit="a"), (100 + table(ROWS, seed=3)[["value"]]).assign(unit="b")])
    test = pd.concat([(100 + later()[["value"]]).assign(unit="b"), (later()[["value"]] / 2).assign(unit="c")])
    train, test = train[["unit", "value"]], test[["unit", "value"]]
    data = completed(train, test, scale="series", id_col=("unit",)).data
    assert data.symbols == ("", "a", "b")
    lines = data.test.lines()
    assert lines is not None
    assert set(lines[: len(lines) // 2].tolist()) == {2}
    assert set(lines[len(lines) // 2 :].tolist()) == {0}
    assert any("'c'" in note or " c" in note for note in data.source.notes if note.startswith("test: "))


def test_labeled_anomalies_of_the_training_table_are_in_no_split() -> None:
    train, test = (frame.drop(columns="pace").assign(bad=0) for frame in (table(ROWS), later()))
    train.iloc[20:24, -1] = 1
    test.iloc[30:34, -1] = 1
    data = completed(train, test, "anomaly", label_col="bad").data
    held = np.concatenate([split.series[:, 0] for split in data[:3]])
    assert not np.isin(train["value"].iloc[20:24].to_numpy(), held).any()
    assert data.test.label is not None
    assert data.test.label.sum() == 4 + 7


@pytest.mark.parametrize(
    ("test", "facts"),
    [
        (later().rename(columns={"value": "flow"}), ("'test.csv'", "'value'")),
        (later(freq="3h"), ("'test.csv'", "--test", "3h", "1h")),
        (later(5), ("'test.csv'", "--test", "8")),
        (table(ROWS), ("'test.csv'", "--test", "'train.csv'")),
        (table(ROWS).iloc[50:110], ("'test.csv'", "--test", "'train.csv'")),
    ],
    ids=["other column", "other interval", "too short", "same table", "rows of the table"],
)
def test_test_tables_that_do_not_fit_are_refused(test: pd.DataFrame, facts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        completed(table(ROWS), test)
    for fact in facts:
        assert fact in str(caught.value)


def test_test_windows_that_are_training_windows_as_well_are_reported_as_leaky() -> None:
    train, test = table(ROWS), later(100)
    shared = pd.concat([train.iloc[80:100], test])
    assert "13 of " in completed(train, shared).data.source.leaky
    assert completed(train, test).data.source.leaky == ""


@pytest.mark.parametrize(("ids", "leaky"), [((), True), (("a", "a"), True), (("a", "b"), False)])
def test_forecasts_of_rows_before_training_rows_are_leaky_for_the_same_series(
    ids: tuple[str, ...], leaky: bool
) -> None:
    frames = [table(ROWS), table(TEST_ROWS, "2023-12-30", seed=1)]
    if ids:
        frames = [frame.assign(unit=name) for frame, name in zip(frames, ids, strict=True)]
    found = completed(*frames, task="forecast", value_cols=("value",), id_col=("unit",) if ids else ())
    assert ("--test" in found.data.source.leaky) == leaky


def cases(count: int, rows: int, start: int = 0, kinds: str = "ab") -> str:
    """Return rows of series of equal length, whose class alternates."""
    lines = [
        f"s{name},{name + row / 10},{kinds[name % len(kinds)]}"
        for name in range(start, start + count)
        for row in range(rows)
    ]
    return "\n".join(["name,value,kind", *lines]) + "\n"


def classified(train: str, test: str, **options: Any) -> CompletedConfig:
    Path("train.csv").write_text(train)
    Path("test.csv").write_text(test)
    values = {"task": "classify", "label_col": "kind", "id_col": ("name",)} | options
    return load_complete(Series(data="train.csv", test="test.csv", **values))


@pytest.mark.parametrize("rows", [3, 5, 7])
def test_each_series_of_the_test_table_is_one_window(rows: int) -> None:
    found = classified(cases(20, 5), cases(6, rows, start=100))
    assert (found.config.split_by, found.config.window) == ("series", max(rows, 5))
    assert [split.samples for split in found.data[:3]] == [16, 4, 6]
    assert found.data.test.label is not None
    assert found.data.test.label.tolist() == [0, 1] * 3
    assert np.isnan(found.data.test.windows()[:, : max(5 - rows, 0)]).all()


def test_labels_that_training_does_not_know_are_refused_with_file_and_line() -> None:
    test = cases(6, 5, start=100, kinds="aB")
    with pytest.raises(DataError) as caught:
        classified(cases(20, 5), test)
    for fact in ("'test.csv', line 7", "B", "'train.csv'", "--classes"):
        assert fact in str(caught.value)
    found = classified(cases(20, 5), test, classes=("a", "b"))
    assert found.data.test.samples == 3


def test_class_without_a_training_window_is_noted() -> None:
    train, test = table(ROWS), later()
    train.iloc[-15:, -1] = "still"
    test.iloc[-10:, -1] = "still"
    (note,) = (note for note in completed(train, test, "classify").data.source.notes if "no training window" in note)
    assert note == "no training window has the class still; other windows of it count as errors"


def test_backtest_refuses_a_test_table() -> None:
    with pytest.raises(ConfigError, match="--test"):
        plan_backtest(Series(data="train.csv", test="test.csv", task="forecast"), 2)
