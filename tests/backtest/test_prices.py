"""Backtests of price forecasters: splits of the folds, verdicts over all folds, and resuming."""

import json

import numpy as np
import pytest
from price_makers import days_of, prices

from lstm_ae.backtest import folds as folding
from lstm_ae.backtest.folds import Fold
from lstm_ae.backtest.plans import plan_backtest
from lstm_ae.config import Snp
from lstm_ae.data import prices as selection
from lstm_ae.data.prices import read_prices
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.files import as_json, read_object, write
from lstm_ae.parallel import Engine

DAYS = 400


@pytest.fixture(autouse=True)
def few_days_are_enough(monkeypatch):
    monkeypatch.setattr(selection, "MIN_TRAINING_DAYS", 20)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    place = tmp_path_factory.mktemp("backtest")
    return prices(place, *(days_of(name, DAYS, seed) for seed, name in enumerate(("AAA", "BBB", "CCC", "DDD"))))


def config_of(path, **choices):
    return Snp(**{"data": path, "window": 5, "units": 2, "epochs": 1, "seeds": 1, "inputs": "ohlc", **choices})


def backtest_prices(config, folds, out, *, jobs=1):
    return folding.run_backtest(plan_backtest(config, folds), folds, out, engine=Engine(jobs=jobs))


def days_in(split):
    days = split.time[np.unique(split.starts[:, None] + np.arange(split.span))]
    return np.unique(days).astype("datetime64[D]")


def test_companies_that_are_not_selected_are_not_left_out(path, tmp_path):
    found = backtest_prices(config_of(path, symbols=("BBB", "DDD")), 2, tmp_path / "out")
    assert [fold.left_out for fold in found.folds] == [[], []]
    assert [fold.series for fold in found.folds] == [2, 2]


def test_days_of_folds_by_hand(path):
    """Of 400 days, the last 200 are tested in four folds of 50, each with the window of five days before it."""
    config = config_of(path)
    days, plan = np.unique(read_prices(config).days), plan_backtest(config, 4)
    for number in range(4):
        data = plan.load(number + 1).data
        first = 200 + 50 * number
        known = first - 5
        held = int(known * 0.85)
        assert days_in(data.train).tolist() == days[:held].tolist()
        assert days_in(data.validation).tolist() == days[held:known].tolist()
        assert days_in(data.test).tolist() == days[first - 5 : first + 50].tolist()
        # Every day of the block is forecast, and no earlier day.
        forecast = data.test.time[data.test.starts + data.test.span - 1]
        assert np.unique(forecast).astype("datetime64[D]").tolist() == days[first : first + 50].tolist()


@pytest.mark.slow
def test_folds_that_are_trained_at_once_equal_those_in_turn(tmp_path):
    path = prices(tmp_path, days_of("AAA", 700))
    alone, together = (backtest_prices(config_of(path), 2, tmp_path / str(jobs), jobs=jobs) for jobs in (1, 2))
    assert [fold.number for fold in together.folds] == [1, 2]
    for one, other in zip(alone.folds, together.folds, strict=True):
        np.testing.assert_allclose(one.errors["model"], other.errors["model"], rtol=1e-3)


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"split": "report"}, ConfigError, "backtest is for forecasters and defines its own splits"),
        ({"scale": "report", "inputs": None}, ConfigError, "Omit --goal, --split, and --scale report"),
        ({}, DataError, "has too few times for 300 folds. Reduce --folds"),
    ],
)
def test_invalid_options_and_too_few_rows(path, tmp_path, choices, error, words):
    with pytest.raises(error, match=words):
        backtest_prices(config_of(path, **choices), 300, tmp_path / "out")


@pytest.fixture
def untrained(monkeypatch):
    """Replace training and testing with an empty fold."""

    def empty_fold(number, *_):
        fold = Fold(number, "", "", 4, 0, 1, {}, "persistence", [], {}, [], [])._asdict()
        return {name: value for name, value in fold.items() if name not in ("data", "versions")}

    monkeypatch.setattr(folding, "fit_model", lambda *_, **__: (None, None))
    monkeypatch.setattr(folding, "measure_fold", empty_fold)
    monkeypatch.setattr(folding, "judge_folds", lambda *_: {})


def test_each_fold_records_its_data(path, tmp_path, untrained):
    first, again = (backtest_prices(config_of(path), 2, tmp_path).folds for _ in range(2))
    texts = [fold.data["text"].split(", ")[-1] for fold in first]
    assert texts == ["1,200 rows of 4 companies", "1,600 rows of 4 companies"]
    assert [fold.data for fold in again] == [json.loads(json.dumps(fold.data)) for fold in first]


def test_folds_of_other_versions_are_noted(path, tmp_path, untrained):
    assert backtest_prices(config_of(path), 2, tmp_path).notes == []
    first = read_object(tmp_path / "fold-1.json")
    assert set(first["versions"]) > {"keras", "lstm-ae"}
    first["versions"]["keras"] = "2.15"
    write(tmp_path / "fold-1.json", as_json(first))
    assert backtest_prices(config_of(path), 2, tmp_path).notes == ["1 of 2 folds used other versions: keras 2.15"]


@pytest.mark.slow
def test_diverged_fold_is_an_error(path, tmp_path, monkeypatch):
    learn = folding.fit_model

    def diverge(config, data, **details):
        model, fitted = learn(config, data, **details)
        return model, fitted._replace(
            history=fitted.history[:1], best_epoch=0, stopped="the loss became NaN or infinite in epoch 1"
        )

    monkeypatch.setattr(folding, "fit_model", diverge)
    with pytest.raises(DivergedError, match="Fold 1: the loss became NaN or infinite in epoch 1"):
        backtest_prices(config_of(path, seeds=1), 2, tmp_path / "x")
