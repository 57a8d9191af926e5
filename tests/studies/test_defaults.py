"""Tests of the default sizes of codes, batches, and epochs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lstm_ae.config import Series
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
    assert any("code: 7 numbers for the 7 values of a window" in note for note in data.source.notes)


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
