"""What KerasTuner's oracles are asked for and told, so that they can be brought back from what was said."""

import itertools
import json
from collections import Counter

import pytest

from lstm_ae.config import Mnist, Toy
from lstm_ae.config.space import REPORT, Axis, Space
from lstm_ae.errors import ConfigError
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
    """The trial with a score that depends on its values and length alone."""
    if score is None:
        numbers = [len(value) if isinstance(value, str) else value for value in trial.values.values()]
        score = sum((k + 1) * float(number) for k, number in enumerate(numbers)) % 0.73
        score /= trial.until or 1
    executions = (Execution(0, score, 1, 1, "", 0.0, (score,)),)
    return trial._replace(status=status, executions=executions if status in (COMPLETED, PRUNED) else ())


def all_of(oracle, end=ended):
    """Ask and tell to the end; the trials as they were asked for."""
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
def test_a_grid_gives_every_combination_in_the_order_listed_whatever_it_is_told(way, capsys, empty_directory):
    trials = way(oracle_of("grid", *REPORT.axes))
    expected = list(itertools.product((0.1, 0.01, 0.001), (8, 16, 32), (1.0, 5.0)))
    assert [tuple(trial.values.values()) for trial in trials] == expected
    assert [trial.number for trial in trials] == list(range(18))
    assert all(list(trial.values) == ["learning_rate", "units", "clip"] for trial in trials)
    assert {(trial.until, trial.parent) for trial in trials} == {(None, None)}
    assert not list(empty_directory.iterdir())  # KerasTuner's own files are not written
    assert capsys.readouterr() == ("", "")


def test_a_grid_keeps_the_order_of_values_that_are_not_sorted():
    trials = all_of(oracle_of("grid", Axis("units", (32, 8, 16)), Axis("cell", ("lstm", "gru"))))
    assert [tuple(trial.values.values()) for trial in trials] == list(itertools.product((32, 8, 16), ("lstm", "gru")))


def test_after_the_last_combination_a_grid_waits_for_what_runs_and_then_ends():
    oracle = oracle_of("grid", Axis("units", (8, 16)))
    first, second = oracle.ask().trial, oracle.ask().trial
    assert oracle.ask() == (None, True)
    oracle.tell(ended(second))
    assert oracle.ask() == (None, True)
    oracle.tell(ended(first))
    assert oracle.ask() == (None, False)


@pytest.mark.parametrize("search", ["grid", "random"])
def test_no_more_trials_than_asked_for(search):
    oracle = oracle_of(search, *REPORT.axes, trials=5)
    whole = all_of(oracle_of(search, *REPORT.axes, trials=12))
    assert all_of(oracle) == whole[:5]
    assert len(whole) == 12


@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: way.__name__)
@pytest.mark.parametrize("axes", [(RATE, UNITS, DROPOUT), REPORT.axes], ids=["ranges", "lists"])
def test_random_search_draws_the_same_whatever_it_is_told_and_nothing_twice(way, axes):
    trials = way(oracle_of("random", *axes, trials=12))
    assert trials == told_at_once(oracle_of("random", *axes, trials=12))
    assert len({json.dumps(trial.values) for trial in trials}) == 12


def test_a_seed_of_zero_is_a_seed():
    drawn = {seed: all_of(oracle_of("random", RATE, trials=4, seed=seed)) for seed in (0, 1, 7)}
    for seed, trials in drawn.items():
        assert all_of(oracle_of("random", RATE, trials=4, seed=seed)) == trials
    assert len({str(trials) for trials in drawn.values()}) == 3


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_gaussian_process_takes_every_seed(seed):
    one, other = (all_of(oracle_of("bayesian", UNITS, trials=5, seed=seed)) for _ in range(2))
    assert one == other
    assert len(one) == 5


def test_random_search_ends_where_nothing_new_is_left():
    trials = all_of(oracle_of("random", Axis("units", (2, 3)), trials=20))
    assert sorted(trial.values["units"] for trial in trials) == [2, 3]


@pytest.mark.parametrize("search", ["random", "bayesian", "hyperband"])
def test_values_are_of_the_types_that_a_config_takes(search):
    """The Gaussian process gives numpy's numbers of a linear range, which no config takes."""
    oracle = oracle_of(search, DROPOUT, Axis("optimizer", ("adam", "sgd")), UNITS, trials=12, epochs=3)
    for trial in all_of(oracle):
        config = oracle.config(trial.number)
        assert {name: getattr(config, name) for name in trial.values} == trial.values
        assert [type(value) for value in trial.values.values()] == [float, str, int]
        assert 0 <= config.dropout <= 0.5
        assert 1 <= config.units <= 64
        assert json.loads(json.dumps(oracle.raw(trial.number))) == oracle.raw(trial.number)


def test_a_range_in_logarithms_is_drawn_in_logarithms():
    drawn = [trial.values["learning_rate"] for trial in all_of(oracle_of("random", RATE, trials=60))]
    assert all(1e-4 <= rate <= 0.1 for rate in drawn)
    small = sum(rate < 10**-2.5 for rate in drawn)  # half of them; linearly it would be 3 in 100
    assert 15 < small < 45


class Cut(Exception):
    """Where a search was stopped."""


def said(oracle, until=10**9):
    """Everything that is asked and told, in order, and so many of these alone."""
    events = []

    def add(event):
        if len(events) == until:
            raise Cut
        events.append(event)

    try:
        while trial := oracle.ask().trial:
            add(("asked", json.loads(json.dumps(oracle.raw(trial.number)))))
            add(("told", ended(trial)))
            oracle.tell(events[-1][1])
    except Cut:
        pass
    return events


def brought_back(oracle, events):
    """Ask and tell what was said; returns the trials that have not ended."""
    running = {}
    for event, content in events:
        if event == "asked":
            trial = oracle.ask(content).trial
            running[trial.number] = trial
        else:
            oracle.tell(content)
            del running[content.number]
    return list(running.values())


@pytest.mark.parametrize(
    ("search", "axes", "trials"),
    [
        ("grid", REPORT.axes, None),
        ("random", (RATE, UNITS), 6),
        ("hyperband", (RATE, UNITS), None),
        ("bayesian", (RATE,), 5),
    ],
    ids=["grid", "random", "hyperband", "bayesian"],
)
def test_brought_back_at_any_moment_it_goes_on_as_if_nothing_had_happened(search, axes, trials):
    details = {"trials": trials, "epochs": 3}
    whole = said(oracle_of(search, *axes, **details))
    assert len(whole) >= 10
    # The Gaussian process is slow: with it, after its first own choice only; test_journal.py cuts at every line.
    places = (7,) if search == "bayesian" else range(len(whole) + 1)
    for place in places:
        oracle = oracle_of(search, *axes, **details)
        for trial in brought_back(oracle, whole[:place]):
            oracle.tell(ended(trial))
        again = [("asked", oracle.raw(number)) for number in range(len(oracle.proposed))]
        following = said(oracle, 1 if search == "bayesian" else len(whole))
        assert [*again, *asked_in(following)] == asked_in(whole)[: len(again) + len(asked_in(following))]
        assert len(asked_in(following)) >= min(1, len(asked_in(whole)) - len(again))


def asked_in(events):
    return [event for event in events if event[0] == "asked"]


def test_what_the_journal_has_wins_over_what_the_oracle_would_say_now():
    oracle = oracle_of("random", RATE, UNITS, trials=3)
    recorded = {"learning_rate": 0.0123, "units": 7}
    trial = oracle.ask(recorded).trial
    assert trial.values == recorded == oracle.raw(0)
    assert oracle.config(0) == Toy(learning_rate=0.0123, units=7, epochs=9)
    oracle.tell(ended(trial))
    assert all_of(oracle) == all_of(oracle_of("random", RATE, UNITS, trials=3))[1:]
    # Also where fewer are asked for than there have been.
    fewer = oracle_of("random", RATE, UNITS, trials=1)
    for number in range(3):
        assert fewer.ask(recorded | {"units": number + 1}).trial.number == number
    assert fewer.ask().trial is None


def test_the_recorded_values_are_what_the_gaussian_process_learns_from():
    def next_after(values):
        oracle = oracle_of("bayesian", UNITS, trials=5)
        for units, score in values:
            oracle.tell(ended(oracle.ask({"units": units}).trial, score))
        return oracle.ask().trial.values["units"]

    low = next_after([(2, 0.1), (8, 0.5), (40, 0.9), (60, 1.0)])
    high = next_after([(2, 1.0), (8, 0.9), (40, 0.5), (60, 0.1)])
    assert low < 32 < high


def test_failures_in_a_row_do_not_end_a_search():
    """KerasTuner's own limit is 3."""
    for search in ("random", "bayesian"):
        assert len(told_of_failures_alone(oracle_of(search, RATE, UNITS, trials=10))) == 10
    # Of each bracket the first round, since none is good enough to go on with.
    trials = told_of_failures_alone(oracle_of("hyperband", RATE, UNITS))
    assert Counter(trial.until for trial in trials) == {1: 9, 3: 5, 9: 3}


@pytest.mark.parametrize(
    ("failing", "shape"),
    [
        ({0}, {(1, False): 9, (3, True): 3, (9, True): 3, (3, False): 5, (9, False): 3}),
        ({0, 4, 8}, {(1, False): 9, (3, True): 3, (9, True): 3, (3, False): 5, (9, False): 3}),
        # Seven of nine: who is left goes on.
        (set(range(7)), {(1, False): 9, (3, True): 2, (9, True): 3, (3, False): 5, (9, False): 3}),
        # In the second round, of which one of three goes on.
        ({9}, {(1, False): 9, (3, True): 3, (9, True): 3, (3, False): 5, (9, False): 3}),
        # All of the second round: there is nothing to go on with.
        ({9, 10, 11}, {(1, False): 9, (3, True): 3, (9, True): 2, (3, False): 5, (9, False): 3}),
    ],
    ids=["one", "three", "seven", "one of the second round", "all of the second round"],
)
def test_hyperband_throws_failures_out_first_and_comes_to_its_last_epochs(failing, shape):
    oracle = oracle_of("hyperband", RATE, UNITS)
    trials = all_of(oracle, lambda trial: ended(trial, status=FAILED if trial.number in failing else COMPLETED))
    assert Counter((trial.until, trial.parent is not None) for trial in trials) == shape
    assert not failing & {trial.parent for trial in trials}
    # Nothing is waited for any more, so that no state is kept.
    assert oracle.continued([ended(trial) for trial in trials]) == set()
    first = [trial for trial in trials if (trial.until, trial.parent) == (1, None) and trial.number not in failing]
    longer = {trial.parent for trial in trials if trial.until == 3 and trial.parent is not None}
    best = sorted(first, key=lambda trial: ended(trial).score)[: len(longer)]
    assert longer == {trial.number for trial in best}


@pytest.mark.parametrize("search", ["hyperband", "bayesian"])
def test_with_failures_it_is_brought_back_at_any_moment_as_well(search):
    axes, details = ((RATE, UNITS), {"epochs": 3}) if search == "hyperband" else ((UNITS,), {"trials": 7})

    def end(trial):
        return ended(trial, status=FAILED if trial.number in (1, 4, 5) else COMPLETED)

    def events_of(oracle):
        events = []
        while trial := oracle.ask().trial:
            events += [("asked", oracle.raw(trial.number)), ("told", end(trial))]
            oracle.tell(end(trial))
        return events

    whole = events_of(oracle_of(search, *axes, **details))
    # The Gaussian process is slow: with it, before a failure is told, and after its first own choice.
    for place in (5, 12) if search == "bayesian" else (2, 4, 5, 9, 10, 11, 12):
        oracle = oracle_of(search, *axes, **details)
        for trial in brought_back(oracle, whole[:place]):
            oracle.tell(end(trial))
        assert events_of(oracle) == whole[place + place % 2 :]


@pytest.mark.slow
def test_bayesian_search_does_not_stay_where_trials_fail():
    """The best is at the end where everything fails."""

    def end(trial):
        units = trial.values["units"]
        return ended(trial, 1 - units / 64, FAILED if units > 40 else COMPLETED)

    units = [trial.values["units"] for trial in all_of(oracle_of("bayesian", UNITS, trials=14), end)]
    failed = [number for number in units if number > 40]
    assert len(set(failed)) == len(failed)
    assert max(Counter(units).values()) <= 2
    assert max(number for number in units if number <= 40) >= 36  # as far as it goes


def test_a_failure_is_as_bad_as_the_worst_for_the_gaussian_process_whatever_is_better():
    for objective, scores in ((LOSS, (0.1, 0.5, 0.2)), (ACCURACY, (0.9, 0.5, 0.8))):
        oracle = oracle_of("bayesian", UNITS, trials=9, objective=objective, config=Mnist())
        for units, score in zip((2, 20, 40), scores, strict=True):
            oracle.tell(ended(oracle.ask({"units": units}).trial, score))
        oracle.tell(ended(oracle.ask({"units": 60}).trial, status=FAILED))
        _, values = oracle.oracle._vectorize_trials()
        sign = -1 if objective.higher_is_better else 1
        assert list(values) == [sign * score for score in (*scores, 0.5)]


@pytest.mark.slow
def test_whole_numbers_in_logarithms_stay_within_what_was_typed():
    """KerasTuner's process gave 65."""
    units = Axis("units", low=4, high=64, log=True)
    rate = Axis("learning_rate", low=1e-4, high=0.1, log=True)
    oracle = oracle_of("bayesian", units, rate, trials=12)
    trials = all_of(oracle, lambda trial: ended(trial, 1 / trial.values["units"]))
    assert max(trial.values["units"] for trial in trials) == 64
    assert all(4 <= trial.values["units"] <= 64 and 1e-4 <= trial.values["learning_rate"] <= 0.1 for trial in trials)


def test_hyperband_goes_on_with_the_best_of_each_round():
    """Of 9 epochs three brackets: 9 settings for 1 epoch, 3 of them for 3, 1 for 9; 5 for 3, 2 for 9; 3 for 9."""
    oracle = oracle_of("hyperband", RATE, UNITS)
    trials, scores = [], {}
    while trial := oracle.ask().trial:
        trials.append(trial)
        scores[trial.number] = ended(trial).score
        oracle.tell(ended(trial))
    shape = [(trial.until, trial.parent is not None) for trial in trials]
    assert Counter(shape) == {(1, False): 9, (3, True): 3, (9, True): 3, (3, False): 5, (9, False): 3}
    assert len({json.dumps(trial.values) for trial in trials if trial.parent is None}) == 17
    for trial in trials:
        if trial.parent is not None:
            parent = trials[trial.parent]
            assert trial.values == parent.values
            assert (parent.until, trial.until) in ((1, 3), (3, 9))
            assert "tuner" not in str(trial.values)
    first = sorted(range(9), key=scores.get)
    assert sorted(trial.parent for trial in trials if trial.until == 3 and trial.parent is not None) == sorted(
        first[:3]
    )


def test_hyperband_goes_on_with_the_highest_accuracy():
    axes = (Axis("learning_rate", low=1e-4, high=0.1), Axis("units", low=1, high=64))
    config = Mnist(epochs=3)
    oracle = oracle_of("hyperband", *axes, objective=ACCURACY, config=config)
    scores = itertools.count(1)
    trials = all_of(oracle, lambda trial: ended(trial, next(scores) / 100))
    first = [trial for trial in trials if trial.until == 1]
    going_on = [trial for trial in trials if trial.parent is not None]
    assert going_on
    assert {trial.parent for trial in going_on} == {trial.number for trial in first[-len(going_on) :]}


def test_hyperband_begins_with_the_settings_that_there_are():
    """KerasTuner's would end after one epoch of each: its first bracket wants 27 of them."""
    axes = (Axis("units", (8, 16, 32, 64)), Axis("clip", (1.0, 5.0)))
    trials = all_of(oracle_of("hyperband", *axes, config=Toy(epochs=27)), ended)
    assert Counter((trial.until, trial.parent is None) for trial in trials) == {
        (1, True): 8,
        (3, False): 3,
        (9, False): 1,
        (27, False): 1,
    }
    assert trials[-1].until == 27


def test_a_random_search_that_found_nothing_new_stays_at_its_end():
    oracle = oracle_of("random", *REPORT.axes, trials=1000)
    trials = never_told(oracle)
    for trial in trials:
        oracle.tell(ended(trial))
        assert oracle.ask().trial is None


def test_what_hyperband_may_still_continue_is_known():
    oracle = oracle_of("hyperband", RATE, UNITS)
    trials, kept = [], []
    while trial := oracle.ask().trial:
        trials.append(trial._replace(status=RUNNING))
        kept.append(oracle.continued(trials))
        if trial.parent is not None:
            assert trial.parent in kept[-1]  # it is copied from while the trial runs
        trials[-1] = ended(trial)
        oracle.tell(trials[-1])
        kept.append(oracle.continued(trials))
    parents = {trial.parent: trial.number for trial in trials if trial.parent is not None}
    for parent, child in parents.items():
        # From when the parent has ended until the child runs.
        assert all(parent in kept[moment] for moment in range(2 * parent + 1, 2 * child + 1))
    final = {trial.number for trial in trials if trial.until == 9}
    assert not any(final & moment for moment in kept)  # nothing comes after the last epoch
    assert oracle.continued(trials) == set()
    # Not every state of a search at once: the most are those of one bracket.
    assert max(map(len, kept)) <= 12


@pytest.mark.parametrize("search", ["grid", "random", "bayesian"])
def test_the_others_never_continue_a_trial(search):
    oracle = oracle_of(search, *REPORT.axes, trials=3)
    trials = [trial._replace(status=RUNNING) for trial in never_told(oracle)]
    assert oracle.continued(trials) == set()


def test_values_that_do_not_go_together_are_the_matter_of_their_trial():
    oracle = oracle_of("grid", Axis("every", (2, 1)), Axis("units", (2, 4)), config=Mnist())
    trials = never_told(oracle)
    assert [tuple(trial.values.values()) for trial in trials] == [(2, 2), (2, 4), (1, 2), (1, 4)]
    for number in (0, 1):
        with pytest.raises(ConfigError, match="--every is for --model head-on-code"):
            oracle.config(number)
    assert oracle.config(3).units == 4
