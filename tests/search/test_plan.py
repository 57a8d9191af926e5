"""Test the plan of a search: its settings, its objectives, and options that are not comparable."""

import pytest
from lstm_ae_cli.options import GivenOptions
from lstm_ae_cli.search import DEFAULT_TRIALS, SearchRequest, make_plan
from searches import call

from lstm_ae.config import Mnist, Series, Snp, Toy
from lstm_ae.config.space import REPORT, Axis
from lstm_ae.errors import ConfigError
from lstm_ae.search.plan import SearchPlan, choose_objective, describe_unaligned_days
from lstm_ae.search.trial import Objective

LOSS = Objective("val_loss")
LISTS = (Axis("units", (2, 3)), Axis("clip", (0.0, 1.0, 5.0)))
UNITS = (Axis("units", low=1, high=64),)


def plan(search, axes=LISTS, config=None, **more):
    return SearchPlan(config=config or Toy(), axes=axes, search=search, objective=LOSS, **more)


@pytest.mark.parametrize(
    ("search", "axes", "trials", "size"),
    [
        ("grid", LISTS, None, 6),
        ("grid", LISTS, 4, 4),
        ("random", LISTS, 20, 6),
        ("random", LISTS, 5, 5),
        ("random", (*LISTS, Axis("dropout", low=0.0, high=0.5)), 20, 20),
        ("random", (Axis("units", low=2, high=9),), 20, 8),
        ("bayesian", LISTS, 20, 6),
    ],
)
def test_plan_size_is_limited_to_distinct_settings(search, axes, trials, size):
    assert plan(search, axes, trials=trials).size == size


def test_searches_refuse_several_networks_per_setting(tmp_path):
    for config in (Snp(seeds=3), Series(task="forecast", seeds=3)):
        with pytest.raises(ConfigError, match="--seeds 3 is not supported here"):
            plan("grid", config=config)
    assert call("series tune t.csv --task forecast --units 2,4 --seeds 3").code == 2


def test_searched_windows_are_noted_to_be_validated_on_different_days():
    window, units = Axis("window", (5, 90, 30)), Axis("units", (2, 3))
    assert describe_unaligned_days(Snp(), [units, window])
    for config, axes in ((Snp(), [units]), (Snp(split="report"), [window]), (Toy(), [units])):
        assert not describe_unaligned_days(config, axes)


WEIGHTS = (Axis("reconstruction_weight", (0.1, 0.5)),)


@pytest.mark.parametrize(
    ("config", "axes", "name"),
    [
        (Series(task="classify", label_col="kind"), LISTS, "val_loss"),
        (Toy(), LISTS, "val_loss"),
        (Mnist(), LISTS, "val_label_accuracy"),
        # An output without weight is not trained, and losses of different weights are not comparable.
        (Mnist(reconstruction_weight=1.0), LISTS, "val_loss"),
        (Mnist(reconstruction_weight=1.0), WEIGHTS, "val_label_accuracy"),
    ],
)
def test_objective_is_trained_and_comparable(config, axes, name):
    objective = choose_objective(config, axes)
    assert (objective.name, objective.higher_is_better) == (name, name == "val_label_accuracy")


def test_plan_of_the_options_searches_the_lists_or_the_grid_of_the_report():
    given = {"reconstruction_weight": 1.0, "units": Axis("units", (2, 4))}
    plan = make_plan(GivenOptions(given), Mnist, SearchRequest())
    assert (plan.objective, plan.axes, plan.trials) == (LOSS, (given["units"],), None)
    plan = make_plan(GivenOptions({"clip": 2.0}), Toy, SearchRequest(search="random"))
    assert plan.axes == tuple(axis for axis in REPORT if axis.name != "clip")
    assert (plan.config.clip, plan.trials) == (2.0, DEFAULT_TRIALS)
    with pytest.raises(ConfigError, match="--set pool is for --model head-on-code"):
        make_plan(GivenOptions({"model": Axis("model", ("head-on-code",)), "pool": "both"}), Mnist, SearchRequest())
