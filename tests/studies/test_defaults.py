"""Tests of the default sizes of codes, batches, and epochs."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from searches import call

from lstm_ae.config import Reading, Series
from lstm_ae.data.checks import inspect_table
from lstm_ae.studies.series import defaults
from lstm_ae.studies.series.defaults import default_batch_size, default_epoch_steps


def test_default_batch_and_code_sizes_follow_the_windows() -> None:
    config = Series(data="t.csv")
    sizes = [default_batch_size(config, windows)[0] for windows in (1, 400, 639, 640, 1377, 5119, 5120, 10**6)]
    assert sizes == [8, 8, 8, 16, 32, 64, 128, 128]
    assert default_batch_size(config, 741)[1] == ("batch_size: 16, as there are 741 windows to train on",)
    assert default_batch_size(dataclasses.replace(config, batch_size=128), 1) == (128, ())
    frame = pd.DataFrame({"v": np.sin(np.arange(200.0)), "w": 1.0})
    frame.to_csv("t.csv", index=False)
    for columns, window, code, words in (
        (("v",), 7, 2, "code: 2 numbers, a third of the 7 of a window"),
        (("v", "w"), 7, 4, "code: 4 numbers, a third of the 14 of a window"),
        (("v", "w"), 30, 16, ""),
    ):
        found, data = defaults.load_complete(dataclasses.replace(config, value_cols=columns, window=window))
        told = [note for note in data.source.notes if note.startswith("code")]
        assert (found.code, told) == (code, [words] if words else [])
        assert found.batch_size == 8
    found, data = defaults.load_complete(dataclasses.replace(config, value_cols=("v",), window=7, code=7))
    assert found.code == 7
    assert any("code: 7 are no fewer numbers than the 7 of a window" in note for note in data.source.notes)


def test_default_epoch_steps_limit_the_windows_of_large_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Series(data="t.csv")
    assert default_epoch_steps(config, 128, 100_000, 40) == (None, ())
    steps, (note,) = default_epoch_steps(config, 128, 700_000, 30)
    assert steps == 1041
    assert note == "steps_per_epoch: 1,041, so that an epoch draws 133,248 of 700,000 windows"
    assert default_epoch_steps(config, 128, 10**6, 10**6)[0] == 1
    assert default_epoch_steps(dataclasses.replace(config, steps_per_epoch=7), 128, 700_000, 30) == (7, ())
    pd.DataFrame({"v": np.sin(np.arange(400.0))}).to_csv("t.csv", index=False)
    assert defaults.load_complete(dataclasses.replace(config, window=20)).config.steps_per_epoch is None
    monkeypatch.setattr(defaults, "MAX_EPOCH_ROWS", 2000)
    found, data = defaults.load_complete(dataclasses.replace(config, window=20))
    assert found.steps_per_epoch == 2000 // (8 * 20)
    assert data.source.notes[-1].startswith("steps_per_epoch: 12")


def write_series(series: int, rows: int, longer: int = 0, label: str = "") -> None:
    """Write series of equal length, of which one may be longer, with a third of them, or single rows, labeled."""
    number = np.repeat(np.arange(series), np.r_[rows + longer, np.full(series - 1, rows)])
    values = np.random.default_rng(0).normal(size=len(number))
    marks = {"series": number % 3 == 0, "rows": np.arange(len(number)) % 97 == 0, "": number < 0}[label]
    pd.DataFrame({"id": number, "v": values, "anomaly": marks.astype(int)}).to_csv("t.csv", index=False)


@pytest.mark.parametrize("label", ["", "series"])
def test_short_series_of_equal_length_are_divided_whole(label: str) -> None:
    write_series(60, 140, label=label)
    options = {"data": "t.csv", "id_col": ("id",), "value_cols": ("v",), "label_col": "anomaly" if label else None}
    config, data = defaults.load_complete(Series(**options))
    assert (config.split_by, config.window) == ("series", 140)
    assert data.train.samples + data.validation.samples + data.test.samples == 60
    assert {note.partition(":")[0] for note in data.source.notes} >= {"split_by", "window"}
    found = inspect_table(Reading(**options))
    assert (found.prepared.window, found.windows) == (140, tuple(split.samples for split in data[:3]))
    assert found.prepared.inferred.keys() >= {"split_by", "window"}
    again, _ = defaults.load_complete(config)
    assert again == config


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ((60, 240), {}),
        ((9, 140), {}),
        ((60, 140, 1), {}),
        ((60, 140, 0, "rows"), {"label_col": "anomaly"}),
        ((60, 140), {"split_by": "time"}),
        ((60, 140), {"window": 10}),
        ((60, 140), {"scale": "series"}),
        ((60, 140), {"task": "forecast"}),
    ],
)
def test_other_series_are_divided_in_time(table: Any, options: dict[str, Any]) -> None:
    write_series(*table)
    config, _ = defaults.load_complete(Series(**{"data": "t.csv", "id_col": ("id",), "value_cols": ("v",)} | options))
    assert config.split_by in (None, "time")
    assert config.window < 140


@pytest.mark.exhaustive
def test_code_as_large_as_a_window_gives_no_training_warning() -> None:
    """PCA with as many components as numbers in a window has no error, so the ratio of errors is meaningless."""
    pd.DataFrame({"v": np.sin(np.arange(400.0))}).to_csv("t.csv", index=False)
    said = call("series train t.csv --window 7 --code 7 --epochs 1 --learning-rate 1e-9 --out run")
    assert said.code == 0, said.err
    assert "it detects only large anomalies" not in said.err
