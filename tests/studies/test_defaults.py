"""Tests of the default sizes of codes, batches, and epochs."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import call

from lstm_ae.config import Series, Snp, Toy
from lstm_ae.run import open_run
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.plan import reduce_to_single_network
from lstm_ae.studies.series import defaults
from lstm_ae.studies.series.defaults import (
    SEVERAL_NETWORKS,
    SHORT_TRAINING,
    default_batch_size,
    default_epoch_steps,
    default_networks,
)


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


def test_default_of_several_networks_is_for_short_trainings() -> None:
    config = Series(data="t.csv", task="forecast", units=10, epochs=10)
    # A gate of 10 units reads a row of 2 columns with 120 weights.
    windows = SHORT_TRAINING // (10 * 100 * 120)
    assert default_networks(config, windows, 100, 2) == (3, ("seeds: 3 networks, as the training is short",))
    assert default_networks(config, windows + 1, 100, 2) == (1, ())
    assert default_networks(config, windows, 100, 3) == (1, ())
    for longer in (
        {"epochs": 11},
        {"units": 11},
        {"decoder_units": 11},
        {"layers": 2},
        {"bidirectional": True},
        {"refit": True},
    ):
        assert default_networks(dataclasses.replace(config, **longer), windows, 100, 2) == (1, ())
    assert default_networks(dataclasses.replace(config, layers=2), windows * 120 // 320, 100, 2)[0] == 3
    for given in (1, 2):
        assert default_networks(dataclasses.replace(config, seeds=given), 10**9, 100, 2) == (given, ())
    classifier = Series(data="t.csv", task="classify", label_col="kind")
    assert default_networks(classifier, 100, 10, 1)[0] == SEVERAL_NETWORKS
    for task in ("anomaly", "reconstruct"):
        assert default_networks(Series(data="t.csv", task=task), 100, 10, 1) == (None, ())


def test_only_the_windows_of_an_epoch_count_for_the_number_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    pd.DataFrame({"v": np.sin(np.arange(400.0))}).to_csv("t.csv", index=False)
    config = Series(data="t.csv", task="forecast", window=20, horizon=4, units=2, epochs=1, batch_size=8)
    # 6 weights, and 24 rows of 8 windows a step.
    monkeypatch.setattr(defaults, "SHORT_TRAINING", 2 * 8 * 24 * 6)
    found = [
        defaults.load_complete(dataclasses.replace(config, steps_per_epoch=steps)).config.seeds
        for steps in (2, 3, None)
    ]
    assert found == [3, 1, 1]


@pytest.mark.slow
def test_several_networks_are_the_default_of_a_short_training() -> None:
    frame = pd.DataFrame({"v": np.sin(np.arange(200.0))})
    frame.to_csv("t.csv", index=False)
    options = "t.csv --task forecast --window 8 --horizon 2 --units 2 --epochs 1"
    said = call(f"series train {options} --out run")
    assert said.code == 0, said.err
    assert "seeds: 3 networks, as the training is short" in said.err
    run = open_run("run")
    assert run.config().for_members() == [run.config().with_values({"seeds": 1, "seed": seed}) for seed in range(3)]
    assert len(run.metrics()["training"]["members"]) == 3
    said = call("series tune t.csv --config run --units 1,2 --out search")
    assert said.code == 0, said.err
    assert "seeds: 3" not in said.err
    assert SearchDirectory(Path("search")).plan().config.networks == 1


@pytest.mark.parametrize("seeds", [None, 3])
def test_trials_of_a_search_train_one_network(seeds: int | None) -> None:
    """Also if the config is that of a run with several networks."""
    forecaster = Series(data="t.csv", task="forecast", seeds=seeds)
    assert reduce_to_single_network(forecaster) == dataclasses.replace(forecaster, seeds=1)
    classifier = Series(data="t.csv", task="classify", label_col="kind", seeds=seeds)
    assert reduce_to_single_network(classifier).seeds == 1
    assert reduce_to_single_network(Snp(seeds=seeds or 1)) == Snp()
    for other in (Series(data="t.csv"), Toy()):
        assert reduce_to_single_network(other) == other


@pytest.mark.exhaustive
def test_code_as_large_as_a_window_gives_no_training_warning() -> None:
    """PCA with as many components as numbers in a window has no error, so the ratio of errors is meaningless."""
    pd.DataFrame({"v": np.sin(np.arange(400.0))}).to_csv("t.csv", index=False)
    said = call("series train t.csv --window 7 --code 7 --epochs 1 --learning-rate 1e-9 --out run")
    assert said.code == 0, said.err
    assert "it detects only large anomalies" not in said.err
