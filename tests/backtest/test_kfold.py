"""Selection of settings by k-fold validation: validation days, settings of the second round, and resuming."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from price_makers import days_of, prices
from recorders import Recorder
from searches import call

from lstm_ae.backtest import folds as driver
from lstm_ae.backtest import kfold as folding
from lstm_ae.backtest.kfold import kfold
from lstm_ae.config import Snp
from lstm_ae.config.space import Axis
from lstm_ae.data import prices as selection
from lstm_ae.data.prices import read_prices
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.files import as_json, write
from lstm_ae.run import create_run
from lstm_ae.training.loop import TrainingResult

# Each test trains up to thirteen tiny models; tracing them would take most of the time.
pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture(autouse=True)
def few_days_are_enough(monkeypatch):
    monkeypatch.setattr(selection, "MIN_TRAINING_DAYS", 20)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    place = tmp_path_factory.mktemp("kfold")
    return prices(place, *(days_of(name, 200, seed) for seed, name in enumerate(("AAA", "BBB"))))


def config_of(path, **choices):
    return Snp(**{"data": path, "window": 5, "units": 2, "epochs": 1, "batch_size": 256, "inputs": "ohlc", **choices})


@pytest.mark.parametrize("turn", [0, 1])
def test_validation_blocks_of_both_rounds_by_hand(path, turn):
    """170 of 200 days are before the test split: five blocks of 34 days, shifted by 17 days in the second round."""
    panel = read_prices(Snp(data=path))
    days = np.unique(panel.days)
    every = [parts(panel)[: len(days)] for parts in folding.kfold_blocks(panel, 5, 5, turn)]
    assert len(every) == 5
    for number, part in enumerate(every):
        assert (part[170:] == 2).all()
        start = 34 * number + 17 * turn
        block = np.sort(np.arange(start, start + 34) % 170)
        assert np.flatnonzero(part == 1).tolist() == block.tolist()
        # Days within a window of a block are used neither for training nor for validation.
        away = np.abs(np.arange(170)[:, None] - block).min(axis=1)
        assert (part[:170] == np.where(away == 0, 1, np.where(away <= 5, -1, 0))).all()
    assert (np.sum([part == 1 for part in every], axis=0)[:170] == 1).all()


AXES = (Axis("learning_rate", (1e-5, 0.03)), Axis("units", (1, 3)))


@pytest.mark.slow
def test_weak_settings_are_dropped_and_the_winner_is_tested(path, tmp_path):
    found = kfold(config_of(path, epochs=2), AXES, 2, tmp_path / "out")
    assert [len(setting.rounds) for setting in found.settings] == [2, 2, 1, 1]
    # A learning rate at which nothing is learned loses.
    assert [setting.values["learning_rate"] for setting in found.settings] == [0.03, 0.03, 1e-5, 1e-5]
    first, second = (np.mean(setting.rounds[1]) for setting in found.settings[:2])
    assert first <= second
    config = found.winner.config()
    assert (config.units, config.learning_rate) == tuple(
        found.settings[0].values[name] for name in ("units", "learning_rate")
    )
    assert found.winner.metrics()["test"]["skill"]
    assert not list((tmp_path / "out").glob("*.npz"))


def test_options_that_do_not_apply_to_a_value_are_dropped(path, tmp_path, monkeypatch):
    """`memory` applies to `gates="chrono"` only."""
    learned = []

    def learn(config, data, **details):
        learned.append((config.gates, config.memory))
        return None, TrainingResult([{"epoch": 1.0, "val_loss": float(len(learned))}], 1, "", False, 0.0)

    monkeypatch.setattr(driver, "fit_model", learn)
    monkeypatch.setattr(folding, "train", lambda config, *_, **__: SimpleNamespace(config=config, about=dict))
    axes = (Axis("gates", ("chrono", "keras")),)
    config = config_of(path, gates="chrono", memory=4)
    found = kfold(config, axes, 2, tmp_path / "out", keep=1)
    assert learned == 2 * 2 * [("chrono", 4), ("keras", None)]
    assert (found.winner.config.gates, found.winner.config.memory) == ("chrono", 4)


@pytest.mark.parametrize("left", ["nothing", "a part", "other versions", "these versions"])
def test_interrupted_winner_is_resumed_or_restarted(path, tmp_path, monkeypatch, left):
    """The winner is resumed if possible and restarted otherwise, so the same command can always complete."""
    config = config_of(path)
    winner = tmp_path / "winner"
    winner.mkdir()
    if left == "a part":
        (winner / ".config.json.1234.part").touch()
    if "versions" in left:
        data = folding.prepare_prices(config, read_prices(Snp(data=path)))
        winner.rmdir()
        create_run(winner, config, data.source, data.symbols, "kfold")
        (winner / "state.npz").touch()
    if left == "other versions":
        monkeypatch.setattr(folding, "installed_versions", lambda: {"keras": "4"})
    begun = []

    def training(name):
        def begin(*_, observer, **__):
            begun.append((name, (winner / "state.npz").exists()))
            observer.on_progress(None)

        return begin

    monkeypatch.setattr(folding, "resume", training("resume"))
    monkeypatch.setattr(folding, "train", training("train"))
    observer = Recorder()
    folding._winner(config, read_prices(Snp(data=path)), tmp_path, "kfold", observer)
    assert begun == [("resume", True) if left == "these versions" else ("train", False)]
    assert observer.titles == ["winner, restarted with other versions" if left == "other versions" else "winner"]


def test_output_names_the_data_once_and_notes_different_windows(path, tmp_path, monkeypatch):
    data = {"text": "prices.csv: close of 2 companies", "licence": "own", "notes": ["1 row dropped"], "leaky": ""}
    other = data | {"text": "prices.csv: close of 1 company"}
    winner = SimpleNamespace(directory=tmp_path / "winner", metrics=dict, about=lambda: {"data": data})

    def choose(config, axes, folds, out, *, observer, **_):
        for each in (data, data, other):
            observer.prepared(each)
        return folding.KfoldResult(
            [folding.KfoldSetting({"window": 5}, [[1.0], [1.0]]), folding.KfoldSetting({"window": 9}, [[2.0]])], winner
        )

    monkeypatch.setattr("lstm_ae.backtest.kfold.kfold", choose)
    said = call(f"snp kfold --data {path} --window 5,9 --out {tmp_path / 'out'} --json")
    assert said.code == 0
    for line in (f"data: {data['text']} (license: own)", f"data: {other['text']} (license: own)", "  1 row dropped"):
        assert said.err.splitlines().count(line) == 1
    document = json.loads(said.out)
    assert document["data"] == data
    assert "validated on different days" in document["notes"][0]
    assert "Ranks are not comparable across window sizes: " in call(f"snp kfold --data {path} --window 5,9").out
    assert json.loads(call(f"snp kfold --data {path} --units 5,9 --json").out)["notes"] == []


def test_trainings_of_other_versions_are_noted(path, tmp_path, monkeypatch):
    versions = folding.installed_versions()
    monkeypatch.setattr(
        driver,
        "fit_model",
        lambda *_, **__: (None, TrainingResult([{"epoch": 1.0, "val_loss": 1.0}], 1, "", False, 0.0)),
    )
    winner = SimpleNamespace(about=lambda: {"versions": versions})
    monkeypatch.setattr(folding, "train", lambda *_, **__: winner)
    asked = (config_of(path), (Axis("units", (2, 3)),), 2, tmp_path / "out")
    assert kfold(*asked).notes == []
    part = tmp_path / "out/round-1-setting-2-fold-1.json"
    write(part, as_json({"val_loss": 1.0}))
    with pytest.raises(DataError, match=r"setting-2-fold-1\.json' is damaged or of another version"):
        kfold(*asked)
    write(part, as_json({"val_loss": 1.0, "data": {}, "versions": versions | {"numpy": "1.0"}}))
    assert kfold(*asked).notes == ["1 of 7 trainings used other versions: numpy 1.0"]


def test_incompatible_values_are_refused_before_training(path, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "fit_model", None)
    axes = (Axis("gates", ("chrono", "keras")), Axis("memory", (4, 8)))
    with pytest.raises(ConfigError, match="--set memory is for --set gates=chrono"):
        kfold(config_of(path, gates="chrono"), axes, 2, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.exhaustive
def test_diverged_setting_is_ranked_last(path, tmp_path, monkeypatch):
    learn = driver.fit_model

    def diverge(config, data, **details):
        model, fitted = learn(config, data, **details)
        return model, fitted._replace(history=fitted.history[:1]) if config.units == 1 else fitted

    monkeypatch.setattr(driver, "fit_model", diverge)
    found = kfold(config_of(path), (Axis("units", (1, 2)),), 2, tmp_path / "out", keep=1)
    assert found.settings[-1].values == {"units": 1}
    assert found.settings[-1].rounds == [[np.inf, np.inf]] * 2
    json.dumps([setting._asdict() for setting in found.settings])


@pytest.mark.parametrize(
    ("axes", "folds", "choices", "error", "words"),
    [
        ((), 2, {}, ConfigError, "kfold needs lists of values"),
        ((Axis("units", low=1, high=8),), 2, {}, ConfigError, "not ranges"),
        (AXES, 2, {"split": "report"}, ConfigError, "defines its own splits"),
        (
            AXES,
            2,
            {"scale": "report", "inputs": None},
            ConfigError,
            "--scale report is fitted on the days of all splits",
        ),
        (AXES, 40, {}, DataError, "has 170 days before the test split, too few for 40 folds of more than 5 days"),
    ],
)
def test_kfold_refuses_invalid_options_and_too_few_days(path, tmp_path, axes, folds, choices, error, words):
    with pytest.raises(error, match=words):
        kfold(config_of(path, **choices), axes, folds, tmp_path / "out")
