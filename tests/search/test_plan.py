"""Test the plan of a search: its settings, its objectives, and options that are not comparable."""

import json
from pathlib import Path

import pytest
from lstm_ae_cli.options import GivenOptions
from lstm_ae_cli.search import SearchRequest, make_plan
from searches import SMALL, call, done, refused

from lstm_ae.backtest.kfold import plan_kfold
from lstm_ae.backtest.plans import plan_price_backtest, plan_table_backtest
from lstm_ae.config import Mnist, Series, Snp, Toy
from lstm_ae.config.space import Axis, Space
from lstm_ae.errors import ConfigError
from lstm_ae.run import Run
from lstm_ae.search import job as jobs
from lstm_ae.search.job import JobOutcome
from lstm_ae.search.oracles import Oracle, count_trials
from lstm_ae.search.plan import SearchPlan, choose_objective, describe_unaligned_days, study_objectives
from lstm_ae.search.trial import Execution, Objective

LOSS = Objective("val_loss")
LISTS = (Axis("units", (2, 3)), Axis("clip", (0.0, 1.0, 5.0)))


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
        ("bayesian", LISTS, 20, 20),  # it can propose a setting twice
        ("hyperband", LISTS, 20, None),
    ],
)
def test_plan_size_is_limited_to_distinct_settings(search, axes, trials, size):
    assert plan(search, axes, trials=trials).size == size


def test_searches_refuse_several_networks_per_setting(tmp_path):
    for config in (Snp(seeds=3), Series(task="forecast", seeds=3)):
        with pytest.raises(ConfigError, match="--seeds 3 is not supported here"):
            plan("grid", config=config)
    assert call("series tune t.csv --task forecast --units 2,4 --seeds 3").code == 2
    with pytest.raises(ConfigError, match="--seeds 2 is not supported here"):
        plan_kfold(Snp(seeds=2), LISTS)


def test_comparisons_refuse_a_refit_of_each_model():
    for config in (Snp(refit=True), Series(task="forecast", refit=True)):
        with pytest.raises(ConfigError, match="refit in the config is not supported"):
            plan("grid", config=config)
    with pytest.raises(ConfigError, match="refit in the config is not supported"):
        plan_price_backtest(Snp(refit=True), 2)
    with pytest.raises(ConfigError, match="refit in the config is not supported"):
        plan_table_backtest(Series(task="forecast", refit=True), 2)


def test_searched_windows_are_noted_to_be_validated_on_different_days():
    window, units = Axis("window", (5, 90, 30)), Axis("units", (2, 3))
    assert describe_unaligned_days(Snp(), [units, window])
    for config, axes in ((Snp(), [units]), (Snp(split="report"), [window]), (Toy(), [units])):
        assert not describe_unaligned_days(config, axes)


def test_count_trials_of_hyperband_with_a_trial_limit():
    """The first bracket runs 9 settings for 1 epoch, 3 for 3, and 1 for 9; the second runs 5 for 3 and 2 for 9."""
    axes = (Axis("units", low=1, high=64),)
    for trials, epochs in ((5, 5), (9, 9), (11, 9 + 2 * 2), (13, 9 + 3 * 2 + 6), (14, 9 + 3 * 2 + 6 + 3)):
        asked = plan("hyperband", axes, Toy(epochs=9), trials=trials)
        assert count_trials(asked) == (trials, epochs)
        oracle = Oracle(asked, Space(axes))
        number = 0
        while trial := oracle.ask().trial:
            number += 1
            oracle.tell(trial._replace(status="failed"))
        assert number <= trials
    whole, every = count_trials(plan("hyperband", axes, Toy(epochs=9), trials=1000))
    assert (whole, every) == count_trials(plan("hyperband", axes, Toy(epochs=9)))


def test_count_trials_of_hyperband_with_repeats():
    axes = (Axis("units", low=1, high=64),)
    asked = plan("hyperband", axes, Toy(epochs=3), repeats=2)
    # 3 settings for 1 epoch, 1 of them for 3; 2 for 3: the repeat of the continued setting starts from scratch.
    assert count_trials(asked) == (6, 2 * 3 + (2 + 3) + 2 * 2 * 3)


def test_objectives_of_studies_and_tasks():
    names = [objective.name for objective in study_objectives(Mnist())]
    assert names == ["val_label_accuracy", "val_loss", "val_label_loss", "val_reconstruction_loss"]
    for task in ("anomaly", "reconstruct", "forecast"):
        assert study_objectives(Series(task=task)) == (LOSS,)
        assert choose_objective(Series(task=task), None) == LOSS
    classes = Series(task="classify", label_col="kind")
    assert choose_objective(classes, "val_label_accuracy").higher_is_better
    assert choose_objective(classes, None) == LOSS


def test_mnist_objectives_exclude_losses_with_zero_weight():
    """If a loss has zero weight, its output is not trained, and objectives that measure it are meaningless."""
    weights = Axis("reconstruction_weight", (0.5, 1.0))
    for weight, wanted in (
        (1.0, ["val_loss", "val_reconstruction_loss"]),
        (0.0, ["val_label_accuracy", "val_loss", "val_label_loss"]),
    ):
        config = Mnist(reconstruction_weight=weight)
        assert [objective.name for objective in study_objectives(config, LISTS)] == wanted
        assert choose_objective(config, None, LISTS).name == wanted[0]
        assert study_objectives(config, [weights]) == study_objectives(Mnist())
    given = {"reconstruction_weight": 1.0, "units": Axis("units", (2, 4))}
    assert make_plan(GivenOptions(given), Mnist, SearchRequest()).objective == LOSS


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (
            "series tune t.csv --task forecast --objective val_label_accuracy",
            ("--task forecast", "val_loss", "Received: 'val_label_accuracy'"),
        ),
        (
            "mnist tune --reconstruction-weight 1 --units 2,4 --objective val_label_accuracy",
            ("--reconstruction-weight 1", "val_loss, val_reconstruction_loss", "Received: 'val_label_accuracy'"),
        ),
        ("toy tune --epochs 5,20 --units 2,4 --prune", ("--prune", "Received: --epochs 5,20")),
        (
            "mnist tune --reconstruction-weight 0.1,0.5 --objective val_loss",
            ("val_label_accuracy or val_label_loss or val_reconstruction_loss", "--reconstruction-weight 0.1,0.5"),
        ),
    ],
)
def test_incomparable_objectives_and_pruning_are_refused(line, facts):
    for message in (refused(line, 2), refused(f"{line} --dry-run", 2)):
        assert [fact for fact in facts if fact not in message] == []


def test_comparable_objectives_and_pruning_are_accepted():
    weights = Axis("reconstruction_weight", (0.1, 0.5))
    for objective in (None, "val_label_loss", "val_reconstruction_loss", "val_label_accuracy"):
        found = make_plan(GivenOptions({"reconstruction_weight": weights}), Mnist, SearchRequest(objective=objective))
        assert found.objective.name == objective or objective is None
    with pytest.raises(ConfigError, match="--reconstruction-weight"):
        make_plan(GivenOptions({"reconstruction_weight": weights}), Mnist, SearchRequest(objective="val_loss"))
    make_plan(GivenOptions({"units": Axis("units", (2, 4))}), Mnist, SearchRequest(objective="val_loss", prune=True))
    # Plans of versions that accepted this combination can still be read.
    assert SearchPlan.from_dict(plan("grid", (Axis("epochs", (1, 2)),), prune=True).to_dict()).prune


@pytest.mark.slow
def test_repeated_settings_copy_the_outcome_without_training(monkeypatch):
    trained = []

    def fake(job, load, notify):
        units = job.config["units"]
        trained.append(units)
        stopped = "the loss became NaN or infinite in epoch 1" if units == 4 else ""
        execution = Execution(0, 1 / units, 1, 1, stopped, 2.0, (1 / units,))
        return JobOutcome(job.number, "failed" if stopped else "completed", (execution,), stopped)

    monkeypatch.setattr(jobs, "run_job", fake)
    monkeypatch.setattr("lstm_ae.search.search.complete_best", lambda *_: [Run(Path("none"))])
    said = done(f"toy tune --units 2,3,4,5 --search bayesian --trials 9 {SMALL} --out s --json")
    trials = sorted(json.loads(said.out)["trials"], key=lambda trial: trial["number"])
    assert sorted(trained) == [2, 3, 4, 5]
    assert len(trials) == 9
    first = {trial["values"]["units"]: trial["number"] for trial in reversed(trials)}
    for trial in trials:
        units, (execution,) = trial["values"]["units"], trial["executions"]
        assert trial["status"] == ("failed" if units == 4 else "completed")
        if trial["number"] != first[units]:
            assert execution["seconds"] == 0
            why = ": the loss became NaN or infinite in epoch 1" if units == 4 else ""
            assert trial["reason"] == f"as trial {first[units]}{why}"
