"""Test the oracles of KerasTuner: their proposals, and restoring them from recorded proposals and outcomes."""

import itertools
import json
from collections import Counter

import pytest

from lstm_ae.config import Mnist, Toy
from lstm_ae.config.space import REPORT, Axis, Space
from lstm_ae.search.oracles import Oracle
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import COMPLETED, FAILED, LOST, PRUNED, RUNNING, Execution, Objective

LOSS, ACCURACY = Objective("val_loss"), Objective("val_label_accuracy", higher_is_better=True)
RATE = Axis("learning_rate", low=1e-4, high=0.1, log=True)
UNITS = Axis("units", low=1, high=64)
DROPOUT = Axis("dropout", low=0.0, high=0.5)


def plan_of(search, *axes, trials=None, seed=0, epochs=9, objective=LOSS, config=None):
    config = Toy(seed=seed, epochs=epochs) if config is None else config
    return SearchPlan(config=config, axes=axes, search=search, trials=trials, objective=objective)


def oracle_of(search, *axes, **details):
    plan = plan_of(search, *axes, **details)
    return Oracle(plan, Space(plan.axes))


def ended(trial, score=None, status=COMPLETED):
    """Return the ended trial with a score that depends only on its values and length."""
    if score is None:
        numbers = [len(value) if isinstance(value, str) else value for value in trial.values.values()]
        score = sum((k + 1) * float(number) for k, number in enumerate(numbers)) % 0.73
        score /= trial.until or 1
    executions = (Execution(0, score, 1, 1, "", 0.0, (score,)),)
    return trial._replace(status=status, executions=executions if status in (COMPLETED, PRUNED) else ())


def all_of(oracle, end=ended):
    """Run all trials of an oracle; return them as proposed."""
    trials = []
    while trial := oracle.ask().trial:
        trials.append(trial)
        oracle.tell(end(trial))
    return trials


def told_at_once(oracle):
    return all_of(oracle)


def never_told(oracle):
    trials = []
    while trial := oracle.ask().trial:
        trials.append(trial)
    return trials


def told_in_pairs_the_later_first(oracle):
    trials = []
    while pair := [trial for trial in (oracle.ask().trial, oracle.ask().trial) if trial]:
        trials += pair
        for trial in reversed(pair):
            oracle.tell(ended(trial))
    return trials


def told_of_failures_alone(oracle):
    return all_of(oracle, lambda trial: trial._replace(status=FAILED, reason="no"))


def told_of_all_sorts(oracle):
    kinds = itertools.cycle((COMPLETED, FAILED, PRUNED, LOST))
    return all_of(oracle, lambda trial: ended(trial, status=next(kinds)))


def told_nan_and_infinity(oracle):
    scores = itertools.cycle((float("nan"), float("inf"), 0.5))
    return all_of(oracle, lambda trial: ended(trial, next(scores)))


WAYS = [
    told_at_once,
    never_told,
    told_in_pairs_the_later_first,
    told_of_failures_alone,
    told_of_all_sorts,
    told_nan_and_infinity,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_grid_lists_all_combinations_in_order_for_any_outcomes(way, capsys, empty_directory):
    trials = way(oracle_of("grid", *REPORT.axes))
    expected = list(itertools.product((0.1, 0.01, 0.001), (8, 16, 32), (1.0, 5.0)))
    assert [tuple(trial.values.values()) for trial in trials] == expected
    assert [trial.number for trial in trials] == list(range(18))
    assert all(list(trial.values) == ["learning_rate", "units", "clip"] for trial in trials)
    assert {(trial.until, trial.parent) for trial in trials} == {(None, None)}
    assert not list(empty_directory.iterdir())  # KerasTuner does not write its own files
    assert capsys.readouterr() == ("", "")


def test_grid_preserves_the_order_of_unsorted_values():
    trials = all_of(oracle_of("grid", Axis("units", (32, 8, 16)), Axis("latent", ("vector", "steps"))))
    assert [tuple(trial.values.values()) for trial in trials] == list(
        itertools.product((32, 8, 16), ("vector", "steps"))
    )


def test_grid_waits_for_running_trials_before_it_ends():
    oracle = oracle_of("grid", Axis("units", (8, 16)))
    first, second = oracle.ask().trial, oracle.ask().trial
    assert oracle.ask() == (None, True)
    oracle.tell(ended(second))
    assert oracle.ask() == (None, True)
    oracle.tell(ended(first))
    assert oracle.ask() == (None, False)


@pytest.mark.parametrize("search", ["grid", "random"])
def test_number_of_trials_is_limited(search):
    oracle = oracle_of(search, *REPORT.axes, trials=5)
    whole = all_of(oracle_of(search, *REPORT.axes, trials=12))
    assert all_of(oracle) == whole[:5]
    assert len(whole) == 12


@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: way.__name__)
@pytest.mark.parametrize("axes", [(RATE, UNITS, DROPOUT), REPORT.axes], ids=["ranges", "lists"])
def test_random_search_draws_distinct_trials_regardless_of_outcomes(way, axes):
    trials = way(oracle_of("random", *axes, trials=12))
    assert trials == told_at_once(oracle_of("random", *axes, trials=12))
    assert len({json.dumps(trial.values) for trial in trials}) == 12


def test_random_search_is_reproducible_with_seed_zero():
    drawn = {seed: all_of(oracle_of("random", RATE, trials=4, seed=seed)) for seed in (0, 1, 7)}
    for seed, trials in drawn.items():
        assert all_of(oracle_of("random", RATE, trials=4, seed=seed)) == trials
    assert len({str(trials) for trials in drawn.values()}) == 3


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_bayesian_search_is_reproducible_with_extreme_seeds(seed):
    one, other = (all_of(oracle_of("bayesian", UNITS, trials=5, seed=seed)) for _ in range(2))
    assert one == other
    assert len(one) == 5


def test_random_search_ends_after_all_distinct_settings():
    trials = all_of(oracle_of("random", Axis("units", (2, 3)), trials=20))
    assert sorted(trial.values["units"] for trial in trials) == [2, 3]


@pytest.mark.parametrize("search", ["random", "bayesian", "hyperband"])
def test_trial_values_have_the_types_of_the_config(search):
    """The Gaussian process returns NumPy numbers for linear ranges, which configs do not accept."""
    oracle = oracle_of(search, DROPOUT, Axis("optimizer", ("adam", "sgd")), UNITS, trials=12, epochs=3)
    for trial in all_of(oracle):
        config = oracle.config(trial.number)
        assert {name: getattr(config, name) for name in trial.values} == trial.values
        assert [type(value) for value in trial.values.values()] == [float, str, int]
        assert 0 <= config.dropout <= 0.5
        assert 1 <= config.units <= 64
        assert json.loads(json.dumps(oracle.raw(trial.number))) == oracle.raw(trial.number)


def test_random_search_draws_log_ranges_log_uniformly():
    drawn = [trial.values["learning_rate"] for trial in all_of(oracle_of("random", RATE, trials=60))]
    assert all(1e-4 <= rate <= 0.1 for rate in drawn)
    small = sum(rate < 10**-2.5 for rate in drawn)  # about half of the values; 3% for a uniform distribution
    assert 15 < small < 45


def test_recorded_values_override_proposals_of_the_oracle():
    oracle = oracle_of("random", RATE, UNITS, trials=3)
    recorded = {"learning_rate": 0.0123, "units": 7}
    trial = oracle.ask(recorded).trial
    assert trial.values == recorded == oracle.raw(0)
    assert oracle.config(0) == Toy(learning_rate=0.0123, units=7, epochs=9)
    oracle.tell(ended(trial))
    assert all_of(oracle) == all_of(oracle_of("random", RATE, UNITS, trials=3))[1:]
    # Also if the plan has fewer trials than were recorded.
    fewer = oracle_of("random", RATE, UNITS, trials=1)
    for number in range(3):
        assert fewer.ask(recorded | {"units": number + 1}).trial.number == number
    assert fewer.ask().trial is None


@pytest.mark.slow
def test_bayesian_search_learns_from_recorded_values():
    def next_after(values):
        oracle = oracle_of("bayesian", UNITS, trials=5)
        for units, score in values:
            oracle.tell(ended(oracle.ask({"units": units}).trial, score))
        return oracle.ask().trial.values["units"]

    low = next_after([(2, 0.1), (8, 0.5), (40, 0.9), (60, 1.0)])
    high = next_after([(2, 1.0), (8, 0.9), (40, 0.5), (60, 0.1)])
    assert low < 32 < high


def test_consecutive_failures_do_not_end_a_search():
    """The default limit of KerasTuner is 3."""
    for search in ("random", "bayesian"):
        assert len(told_of_failures_alone(oracle_of(search, RATE, UNITS, trials=10))) == 10
    # Each bracket runs only its first round, because no trial can be continued.
    trials = told_of_failures_alone(oracle_of("hyperband", RATE, UNITS))
    assert Counter(trial.until for trial in trials) == {1: 9, 3: 5, 9: 3}


@pytest.mark.parametrize(
    ("failing", "second", "third"),
    [
        # Three brackets of up to 9 epochs: 9 trials for 1, 3 of them for 3, 1 for 9; 5 for 3, 2 for 9; 3 for 9.
        ((), 3, 3),
        ((0,), 3, 3),
        ((0, 4, 8), 3, 3),
        # Seven of nine fail: the remaining trials are continued.
        (range(7), 2, 3),
        # One of three trials of the second round fails; one is continued.
        ((9,), 3, 3),
        # All trials of the second round fail: none can be continued.
        ((9, 10, 11), 3, 2),
    ],
)
def test_hyperband_continues_the_best_trials_and_discards_failures(failing, second, third):
    oracle = oracle_of("hyperband", RATE, UNITS)
    trials = all_of(oracle, lambda trial: ended(trial, status=FAILED if trial.number in failing else COMPLETED))
    shape = Counter((trial.until, trial.parent is not None) for trial in trials)
    assert shape == {(1, False): 9, (3, True): second, (9, True): third, (3, False): 5, (9, False): 3}
    continued = [trial for trial in trials if trial.parent is not None]
    assert len({json.dumps(trial.values) for trial in trials if trial.parent is None}) == 17
    for trial in continued:
        parent = trials[trial.parent]
        assert (parent.until, trial.until) in ((1, 3), (3, 9))
        assert trial.values == parent.values
        assert set(trial.values) == {"learning_rate", "units"}
    assert not set(failing) & {trial.parent for trial in trials}
    # No trial is continued later, so no state is needed.
    assert oracle.continued([ended(trial) for trial in trials]) == set()
    first = [trial for trial in trials if (trial.until, trial.parent) == (1, None) and trial.number not in failing]
    longer = {trial.parent for trial in continued if trial.until == 3}
    best = sorted(first, key=lambda trial: ended(trial).score)[: len(longer)]
    assert longer == {trial.number for trial in best}


@pytest.mark.exhaustive
def test_bayesian_search_avoids_regions_where_trials_fail():
    """The score improves toward the end of the range where all trials fail."""

    def end(trial):
        units = trial.values["units"]
        return ended(trial, 1 - units / 64, FAILED if units > 40 else COMPLETED)

    units = [trial.values["units"] for trial in all_of(oracle_of("bayesian", UNITS, trials=14), end)]
    failed = [number for number in units if number > 40]
    assert len(set(failed)) == len(failed)
    assert max(Counter(units).values()) <= 2
    assert max(number for number in units if number <= 40) >= 36  # close to the failing region


def test_bayesian_search_scores_failures_as_the_worst_trial():
    for objective, scores in ((LOSS, (0.1, 0.5, 0.2)), (ACCURACY, (0.9, 0.5, 0.8))):
        oracle = oracle_of("bayesian", UNITS, trials=9, objective=objective, config=Mnist())
        for units, score in zip((2, 20, 40), scores, strict=True):
            oracle.tell(ended(oracle.ask({"units": units}).trial, score))
        oracle.tell(ended(oracle.ask({"units": 60}).trial, status=FAILED))
        _, values = oracle.oracle._vectorize_trials()
        sign = -1 if objective.higher_is_better else 1
        assert list(values) == [sign * score for score in (*scores, 0.5)]


@pytest.mark.exhaustive
def test_bayesian_search_keeps_log_integers_within_the_range():
    """The Gaussian process of KerasTuner proposed 65."""
    units = Axis("units", low=4, high=64, log=True)
    rate = Axis("learning_rate", low=1e-4, high=0.1, log=True)
    oracle = oracle_of("bayesian", units, rate, trials=12)
    trials = all_of(oracle, lambda trial: ended(trial, 1 / trial.values["units"]))
    assert max(trial.values["units"] for trial in trials) == 64
    assert all(4 <= trial.values["units"] <= 64 and 1e-4 <= trial.values["learning_rate"] <= 0.1 for trial in trials)


def test_hyperband_continues_trials_with_the_highest_accuracy():
    axes = (Axis("learning_rate", low=1e-4, high=0.1), Axis("units", low=1, high=64))
    config = Mnist(epochs=3)
    oracle = oracle_of("hyperband", *axes, objective=ACCURACY, config=config)
    scores = itertools.count(1)
    trials = all_of(oracle, lambda trial: ended(trial, next(scores) / 100))
    first = [trial for trial in trials if trial.until == 1]
    going_on = [trial for trial in trials if trial.parent is not None]
    assert going_on
    assert {trial.parent for trial in going_on} == {trial.number for trial in first[-len(going_on) :]}


def test_hyperband_with_fewer_settings_than_its_first_bracket():
    """KerasTuner would stop after one epoch of each setting, because its first bracket needs 27 settings."""
    axes = (Axis("units", (8, 16, 32, 64)), Axis("clip", (1.0, 5.0)))
    trials = all_of(oracle_of("hyperband", *axes, config=Toy(epochs=27)), ended)
    assert Counter((trial.until, trial.parent is None) for trial in trials) == {
        (1, True): 8,
        (3, False): 3,
        (9, False): 1,
        (27, False): 1,
    }
    assert trials[-1].until == 27


def test_exhausted_random_search_proposes_no_further_trials():
    oracle = oracle_of("random", *REPORT.axes, trials=1000)
    trials = never_told(oracle)
    for trial in trials:
        oracle.tell(ended(trial))
        assert oracle.ask().trial is None


def test_hyperband_lists_trials_that_it_may_continue():
    oracle = oracle_of("hyperband", RATE, UNITS)
    trials, kept = [], []
    while trial := oracle.ask().trial:
        trials.append(trial._replace(status=RUNNING))
        kept.append(oracle.continued(trials))
        if trial.parent is not None:
            assert trial.parent in kept[-1]  # the trial copies from its parent while it runs
        trials[-1] = ended(trial)
        oracle.tell(trials[-1])
        kept.append(oracle.continued(trials))
    parents = {trial.parent: trial.number for trial in trials if trial.parent is not None}
    for parent, child in parents.items():
        # From the end of the parent until the child runs.
        assert all(parent in kept[moment] for moment in range(2 * parent + 1, 2 * child + 1))
    final = {trial.number for trial in trials if trial.until == 9}
    assert not any(final & moment for moment in kept)  # trials with all epochs are not continued
    assert oracle.continued(trials) == set()
    # Not all states are needed at once: at most those of one bracket.
    assert max(map(len, kept)) <= 12


@pytest.mark.parametrize("search", ["grid", "random", "bayesian"])
def test_only_hyperband_continues_trials(search):
    oracle = oracle_of(search, *REPORT.axes, trials=3)
    trials = [trial._replace(status=RUNNING) for trial in never_told(oracle)]
    assert oracle.continued(trials) == set()
