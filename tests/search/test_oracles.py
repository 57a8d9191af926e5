"""Test the oracles of KerasTuner: their proposals, and restoring them from recorded proposals and ends."""

import itertools
import json

import pytest
from searches import ended

from lstm_ae.config import Mnist, Toy
from lstm_ae.config.space import REPORT, Axis
from lstm_ae.errors import Code, DataError
from lstm_ae.search.oracles import Oracle
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import COMPLETED, FAILED, Objective, Trial

LOSS, ACCURACY = Objective("val_loss"), Objective("val_label_accuracy")
RATE = Axis("learning_rate", low=1e-4, high=0.1, log=True)
UNITS = Axis("units", low=1, high=64)
DROPOUT = Axis("dropout", low=0.0, high=0.5)


def oracle_of(search, *axes, trials=None, seed=0, epochs=9, objective=LOSS):
    config = Mnist(seed=seed, epochs=epochs) if objective == ACCURACY else Toy(seed=seed, epochs=epochs)
    return Oracle(SearchPlan(config=config, axes=axes, search=search, trials=trials, objective=objective))


def end(trial, status=COMPLETED):
    """Return the ended trial with a score that depends only on its values and length."""
    numbers = [len(value) if isinstance(value, str) else value for value in trial.values.values()]
    score = sum((k + 1) * float(number) for k, number in enumerate(numbers)) % 0.73
    return ended(trial, score) if status == COMPLETED else trial._replace(status=status)


def all_of(oracle, end=end):
    """Run all trials of an oracle; return them as proposed."""
    trials = []
    while trial := oracle.ask():
        trials.append(trial)
        oracle.tell(end(trial))
    return trials


def never_told(oracle):
    return list(iter(oracle.ask, None))


def told_in_pairs_the_later_first(oracle):
    trials = []
    while pair := [trial for trial in (oracle.ask(), oracle.ask()) if trial]:
        trials += pair
        for trial in reversed(pair):
            oracle.tell(end(trial))
    return trials


def told_of_failures_alone(oracle):
    return all_of(oracle, lambda trial: end(trial, FAILED))


def told_nan_and_infinity(oracle):
    scores = itertools.cycle((float("nan"), float("inf"), 0.5))
    return all_of(oracle, lambda trial: ended(trial, next(scores)))


WAYS = [
    all_of,
    never_told,
    told_in_pairs_the_later_first,
    told_of_failures_alone,
    told_nan_and_infinity,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_grid_lists_all_combinations_in_order_for_any_outcomes(way, capsys, empty_directory):
    axes = (Axis("units", (32, 8, 16)), *REPORT[::2])
    trials = way(oracle_of("grid", *axes))
    expected = list(itertools.product((32, 8, 16), (0.1, 0.01, 0.001), (1.0, 5.0)))
    names = ["units", "learning_rate", "clip"]
    assert trials == [Trial(k, dict(zip(names, values, strict=True))) for k, values in enumerate(expected)]
    assert not list(empty_directory.iterdir())  # KerasTuner does not write its own files
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("search", ["grid", "random"])
def test_number_of_trials_is_limited(search):
    whole = all_of(oracle_of(search, *REPORT, trials=12))
    assert len(whole) == 12
    assert all_of(oracle_of(search, *REPORT, trials=5)) == whole[:5]


@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: way.__name__)
@pytest.mark.parametrize("axes", [(RATE, UNITS, DROPOUT), REPORT], ids=["ranges", "lists"])
def test_random_search_draws_distinct_trials_regardless_of_outcomes(way, axes):
    trials = way(oracle_of("random", *axes, trials=12))
    assert trials == all_of(oracle_of("random", *axes, trials=12))
    assert len({json.dumps(trial.values) for trial in trials}) == 12


@pytest.mark.parametrize(
    ("search", "axis", "trials"), [("random", RATE, 4), pytest.param("bayesian", UNITS, 5, marks=pytest.mark.slow)]
)
def test_search_is_reproducible_with_extreme_seeds(search, axis, trials):
    drawn = [all_of(oracle_of(search, axis, trials=trials, seed=seed)) for seed in (0, 0, 7, 2**32 - 1)]
    assert drawn[0] == drawn[1]
    assert len({str(each) for each in drawn}) == 3


@pytest.mark.parametrize("search", ["random", pytest.param("bayesian", marks=pytest.mark.slow)])
def test_search_ends_after_all_distinct_settings(search):
    oracle = oracle_of(search, REPORT[0], Axis("units", low=2, high=4), trials=1000)
    trials = never_told(oracle) if search == "random" else all_of(oracle)
    assert len({str(trial.values) for trial in trials}) == len(trials) == 9
    for trial in trials:
        oracle.tell(end(trial))
        assert oracle.ask() is None


@pytest.mark.parametrize("search", ["random", "bayesian"])
def test_trial_values_have_the_types_of_the_config(search):
    """The Gaussian process returns NumPy numbers for linear ranges, which configs do not accept."""
    oracle = oracle_of(search, DROPOUT, Axis("optimizer", ("adam", "sgd")), UNITS, trials=12, epochs=3)
    for trial in all_of(oracle):
        config = oracle.plan.config.with_values(trial.values)
        assert {name: getattr(config, name) for name in trial.values} == trial.values
        assert [type(value) for value in trial.values.values()] == [float, str, int]
        assert 0 <= config.dropout <= 0.5
        assert 1 <= config.units <= 64
        assert json.loads(json.dumps(trial.to_dict())) == trial._asdict() | {"executions": []}


def test_recorded_values_override_proposals_of_the_oracle():
    oracle = oracle_of("random", RATE, UNITS, trials=3)
    recorded = Trial(0, {"learning_rate": 0.0123, "units": 7})
    assert oracle.ask(recorded) == recorded
    oracle.tell(end(recorded))
    assert all_of(oracle) == all_of(oracle_of("random", RATE, UNITS, trials=3))[1:]
    # Also if the plan has fewer trials than were recorded.
    fewer = oracle_of("random", RATE, UNITS, trials=1)
    for number in range(3):
        trial = recorded._replace(number=number, values=recorded.values | {"units": number + 1})
        assert fewer.ask(trial) == trial
    assert fewer.ask() is None


def test_recorded_trial_that_the_oracle_would_not_propose_is_refused():
    oracle = oracle_of("grid", Axis("units", (2, 3)))
    never_told(oracle)
    with pytest.raises(DataError) as raised:
        oracle.ask(Trial(2, {"units": 4}))
    assert raised.value.code == Code.SEARCH_DAMAGED


@pytest.mark.slow
@pytest.mark.parametrize("objective", [LOSS, ACCURACY], ids=lambda objective: objective.name)
def test_bayesian_search_learns_from_recorded_values(objective):
    def next_after(*scores):
        oracle = oracle_of("bayesian", UNITS, trials=5, objective=objective)
        for number, (units, score) in enumerate(zip((2, 8, 40, 60), scores, strict=True)):
            oracle.tell(ended(oracle.ask(Trial(number, {"units": units})), score))
        return oracle.ask().values["units"]

    low, high = next_after(0.1, 0.5, 0.9, 1.0), next_after(1.0, 0.9, 0.5, 0.1)
    assert low < 32 < high if objective == LOSS else high < 32 < low


def test_consecutive_failures_do_not_end_a_search():
    """The default limit of KerasTuner is 3."""
    for search in ("random", "bayesian"):
        assert len(told_of_failures_alone(oracle_of(search, RATE, UNITS, trials=10))) == 10


@pytest.mark.exhaustive
def test_bayesian_search_keeps_log_integers_within_the_range():
    """The Gaussian process of KerasTuner proposed 65."""
    units = Axis("units", low=4, high=64, log=True)
    oracle = oracle_of("bayesian", units, RATE, trials=12)
    trials = all_of(oracle, lambda trial: ended(trial, 1 / trial.values["units"]))
    assert max(trial.values["units"] for trial in trials) == 64
    assert all(4 <= trial.values["units"] <= 64 and 1e-4 <= trial.values["learning_rate"] <= 0.1 for trial in trials)
