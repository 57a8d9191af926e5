"""Test the choice of the number of networks that a model averages."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from labeled_windows import labeled_data
from lstm_ae_cli.console import Console
from lstm_ae_cli.training import complete_config
from price_makers import days_of, prices

from lstm_ae.backtest.plans import plan_backtest
from lstm_ae.config import Config, Mnist, Series, Snp, Toy
from lstm_ae.config.presets import load_preset
from lstm_ae.studies import load_study, networks
from lstm_ae.studies.networks import choose_networks, reduce_to_single_network

pytestmark = pytest.mark.usefixtures("several_networks")

WINDOWS, SPAN, FEATURES = 6, 8, 2
FORECASTER = Series(data="t.csv", task="forecast", units=20, epochs=10, batch_size=2)
CLASSIFIER = Series(data="t.csv", task="classify", label_col="kind", units=20, epochs=10, batch_size=2)
PRICES = Snp(units=20, epochs=10)
# A gate of 20 units reads a row of 2 columns with 440 weights.
WORK = 10 * WINDOWS * SPAN * 440


def chosen(config: Config, limit: int = WORK) -> tuple[int | None, tuple[str, ...]]:
    """Return the number of networks and the notes on it, if the work of a short training is at most a limit."""
    data = labeled_data(np.zeros((WINDOWS, SPAN, FEATURES), np.float32), np.zeros(WINDOWS, int))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "SHORT_TRAINING", limit)
        complete, data = choose_networks(config, data)
    seeds: int | None = getattr(complete, "seeds", None)
    assert complete == (config if seeds is None else config.with_values({"seeds": seeds}))
    return seeds, data.source.notes


@pytest.mark.parametrize("config", [FORECASTER, CLASSIFIER, PRICES], ids=["forecast", "classify", "snp"])
def test_short_trainings_average_three_networks(config: Series | Snp) -> None:
    assert chosen(config) == (3, ("seeds: 3 networks, as the training is short",))
    assert chosen(config, WORK - 1) == (1, ())
    for longer in ({"epochs": 11}, {"units": 21}, {"layers": 2}):
        assert chosen(config.with_values(longer)) == (1, ())
    for given in (1, 2):
        assert chosen(config.with_values({"seeds": given})) == (given, ())


def test_only_the_windows_of_an_epoch_count() -> None:
    found = [chosen(FORECASTER.with_values({"steps_per_epoch": steps}), WORK // 2)[0] for steps in (1, 2, None)]
    assert found == [3, 1, 1]


@pytest.mark.parametrize(
    "config", [Series(data="t.csv"), Series(data="t.csv", task="reconstruct"), Snp(goal="reconstruct"), Toy(), Mnist()]
)
def test_other_models_have_one_network(config: Config) -> None:
    assert chosen(config, 10**12) == (None, ())
    assert config.networks == 1
    assert reduce_to_single_network(config) == config


def test_models_of_the_report_have_one_network() -> None:
    report = load_preset("snp", "report")
    assert Snp.merge(report, {}).seeds == 1
    assert Snp.merge(report, {"goal": "reconstruct"}).seeds is None


@pytest.mark.parametrize("config", [FORECASTER, CLASSIFIER, PRICES], ids=["forecast", "classify", "snp"])
@pytest.mark.parametrize("seeds", [None, 3])
def test_trials_of_a_search_train_one_network(config: Series | Snp, seeds: int | None) -> None:
    """Also if the config is that of a run with several networks."""
    assert reduce_to_single_network(dataclasses.replace(config, seeds=seeds)) == dataclasses.replace(config, seeds=1)


def test_all_folds_of_prices_have_the_networks_of_the_first(tmp_path: Path) -> None:
    path = prices(tmp_path, days_of("AAA", 1000))
    config = Snp(data=path, window=5, units=2, epochs=1)
    for given, number in ((config, 3), (dataclasses.replace(config, seeds=2), 2)):
        plan = plan_backtest(given, 2)
        assert plan.about["config"]["seeds"] == number
        folds = [plan.load(fold) for fold in (1, 2)]
        assert [fold.config.networks for fold in folds] == [number, number]
        assert (networks.SHORT_TRAINING_NOTE in "".join(plan.notes)) == (given is config)


def test_data_has_no_note_on_networks_where_none_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Snp(data=prices(tmp_path, days_of("AAA", 700)), window=5, units=2, epochs=1)
    assert networks.SHORT_TRAINING_NOTE not in load_study(config).load(config).source.notes
    assert networks.SHORT_TRAINING_NOTE not in capsys.readouterr().err
    complete, data = complete_config(config, Console())
    assert complete == dataclasses.replace(config, seeds=3)
    assert networks.SHORT_TRAINING_NOTE in data.source.notes
    assert networks.SHORT_TRAINING_NOTE in capsys.readouterr().err
