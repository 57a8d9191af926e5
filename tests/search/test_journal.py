"""Test that a search is restored from its journal, also if the journal is truncated, and damaged lines are refused."""

import json
import math

import pytest

from lstm_ae.config import Mnist, Toy
from lstm_ae.config.space import Axis
from lstm_ae.data.windows import Source
from lstm_ae.errors import Code, DataError
from lstm_ae.search.directory import create_search
from lstm_ae.search.job import state_file
from lstm_ae.search.journal import Journal
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.record import SearchRecord
from lstm_ae.search.search import open_record
from lstm_ae.search.trial import COMPLETED, FAILED, LOST, RUNNING, Execution, Objective, Trial

LOSS, ACCURACY = Objective("val_loss"), Objective("val_label_accuracy")
RATE = Axis("learning_rate", low=1e-4, high=0.1, log=True)
UNITS = Axis("units", low=1, high=64)
FEW = Axis("units", (1, 2, 3, 4, 5, 6, 7, 8))
PLANS = {
    "grid": SearchPlan(
        config=Toy(epochs=8), axes=(Axis("learning_rate", (0.1, 0.01)), Axis("units", (8, 16, 32))), objective=LOSS
    ),
    "random": SearchPlan(
        config=Toy(epochs=8), axes=(RATE, UNITS), search="random", trials=6, repeats=2, objective=LOSS
    ),
    "bayesian": SearchPlan(config=Toy(), axes=(UNITS,), search="bayesian", trials=5, objective=LOSS),
}


def end(trial, repeats=1):
    """Return an end that depends only on the values, length, and number of a trial, with all statuses."""
    rate, units = trial.values.get("learning_rate", 0.1), trial.values["units"]
    scores = [(97 * rate + units * (1 + seed / 8)) % 1.3 for seed in range(repeats)]
    executions = tuple(Execution(seed, score, 4, 3, "", 0.25) for seed, score in enumerate(scores))
    if trial.number == 1:
        return trial._replace(status=LOST, reason="its process died twice")
    if trial.number == 2:
        diverged = executions[0]._replace(score=math.nan, best_epoch=0)
        return trial._replace(status=FAILED, executions=(diverged,), reason="the loss became NaN in epoch 1")
    return trial._replace(status=COMPLETED, executions=executions)


def finish(record):
    """Run pending trials, then all further trials."""
    for trial in record.pending:
        record.write(end(trial, record.plan.repeats))
    while trial := record.ask():
        record.write(end(trial, record.plan.repeats))
    return record


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "bayesian")) for name in PLANS],
)
def whole(request, tmp_path_factory):
    """Return the plan of an uninterrupted search, the lines of its journal, and the trials after each line as text."""
    plan = PLANS[request.param]
    record = SearchRecord(plan, Journal(tmp_path_factory.mktemp(request.param) / "journal.jsonl"))
    after = ["[]"]
    while trial := record.ask():
        after.append(repr(record.trials))
        record.write(end(trial, plan.repeats))
        after.append(repr(record.trials))
    assert {trial.status for trial in record.trials} == {COMPLETED, LOST, FAILED}
    return plan, record.journal.path.read_bytes().splitlines(keepends=True), after


def test_search_resumes_from_journal_truncated_at_any_line(whole, tmp_path):
    plan, lines, after = whole
    assert len(after) == len(lines) + 1
    # The Gaussian process is slow: test only the end of its journal, where it proposes trials.
    for place in range(8 if plan.search == "bayesian" else 0, len(lines) + 1):
        journal = Journal(tmp_path / f"{place}")
        journal.path.write_bytes(b"".join(lines[:place]))
        assert repr(journal.trials()) == after[place]
        record = SearchRecord(plan, journal)
        assert repr(record.trials) == after[place]
        assert repr(finish(record).trials) == after[-1]
        assert journal.path.read_bytes() == b"".join(lines)


def test_trials_run_again_with_the_same_results(whole, tmp_path):
    plan, lines, after = whole
    journal = Journal(tmp_path / "journal.jsonl")
    journal.path.write_bytes(b"".join(lines))
    record = SearchRecord(plan, journal)
    numbers = [0, 3]
    for number in numbers:
        record.rerun(record.trials[number])
    again = SearchRecord(plan, journal)
    for one in (record, again):
        assert [trial.number for trial in one.pending] == numbers
        assert {(trial.status, trial.executions) for trial in one.pending} == {(RUNNING, ())}
        assert repr(finish(one).trials) == after[-1]


def test_resume_with_more_or_fewer_trials(tmp_path):
    def record_of(trials, name="journal.jsonl"):
        return SearchRecord(SearchPlan(**vars(PLANS["random"]) | {"trials": trials}), Journal(tmp_path / name))

    four = finish(record_of(4)).trials
    fewer = record_of(2)
    assert repr(fewer.trials) == repr(four)
    assert fewer.ask() is None
    six = finish(record_of(6)).trials
    assert repr(six[:4]) == repr(four)
    assert repr(finish(record_of(6, "other.jsonl")).trials) == repr(six)


# The file


def a_journal(tmp_path):
    journal, trial = Journal(tmp_path / "journal.jsonl"), Trial(0, {"units": 8})
    for each in (trial, trial._replace(status=FAILED, reason="ö \n\u2028 \udcff"), trial):
        journal.add(each)
    return journal


def test_incomplete_last_line_is_dropped(tmp_path):
    journal = a_journal(tmp_path)
    before, content = journal.read(), journal.path.read_bytes()
    assert [trial.status for trial in before] == [RUNNING, FAILED, RUNNING]
    assert before[1].reason == "ö \n\u2028 \udcff"
    start = content[:-1].rindex(b"\n") + 1
    for place in range(start, len(content)):
        journal.path.write_bytes(content[:place])
        assert journal.read() == before[:2]
        assert journal.path.read_bytes() == content[:place]  # another process may write while this one reads
        journal.cut()
        assert journal.path.read_bytes() == content[:start]
        journal.add(before[2])
        assert journal.path.read_bytes() == content


LINE = {"number": 1, "values": {"units": 8}, "status": "running", "executions": []}
LINE |= {"reason": ""}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0\0\0\0",
        b"{}",
        json.dumps(LINE).encode()[:-1],
        json.dumps(LINE | {"values": {"units": math.nan}}).encode(),
        *(
            json.dumps(LINE | change).encode()
            for change in (
                {"number": 2},
                {"status": "completed"},
                {"status": "pruned"},
                {"values": 3},
                {"executions": [{}]},
                {"event": "asked"},
            )
        ),
        b"[" * 100_000,
    ],
    ids=lambda line: line[:60].decode(errors="backslashreplace") or "empty",
)
def test_damaged_line_is_refused_with_its_number(tmp_path, line):
    journal = a_journal(tmp_path)
    content = journal.path.read_bytes() + line + b"\n"
    journal.path.write_bytes(content)
    with pytest.raises(DataError, match=r"^Line 4 of ") as raised:
        journal.read()
    assert raised.value.code == Code.SEARCH_DAMAGED
    assert journal.path.read_bytes() == content


def test_journal_refuses_to_write_nan(tmp_path):
    journal = a_journal(tmp_path)
    content = journal.path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.add(Trial(1, {"learning_rate": math.nan}))
    assert journal.path.read_bytes() == content


# Trials


def trial_of(number, units, score, status=COMPLETED):
    executions = () if score is None else (Execution(0, score, 1, 1, "", 0.0),)
    return Trial(number, {"units": units}, status, executions)


@pytest.mark.parametrize(
    ("objective", "trials", "ranks"),
    [
        (
            LOSS,
            [
                trial_of(0, 8, 0.5),
                trial_of(1, 8, 0.5),  # the earlier one of equal trials is first
                trial_of(2, 4, 0.4),
                trial_of(3, 2, 0.2, FAILED),
                trial_of(4, 3, None, LOST),
                trial_of(5, 5, None, RUNNING),
                trial_of(6, 6, math.nan),
            ],
            [2, 0, 1, 6, 3, 4, 5],
        ),
        (ACCURACY, [trial_of(k, k + 1, score) for k, score in enumerate((0.5, 0.9, 0.7, math.nan))], [1, 2, 0, 3]),
    ],
)
def test_trials_are_ranked_and_the_best_is_completed(objective, trials, ranks, tmp_path):
    config = Mnist() if objective == ACCURACY else Toy()
    plan = SearchPlan(**vars(PLANS["grid"]) | {"objective": objective, "config": config})
    record = SearchRecord(plan, Journal(tmp_path / "journal.jsonl"))
    record.trials = trials
    assert [trial.number for trial in record.ranked] == ranks
    assert record.best == trials[ranks[0]]


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "damaged"])
def test_best_trial_without_weights_runs_again_and_no_other_one(tmp_path, content):
    """The weights of the runner-up are not stored, although it is the best trial while the winner runs again."""
    plan = SearchPlan(config=Toy(), axes=(FEW,), objective=LOSS)
    folder = create_search(tmp_path / "s", plan, Source("made up", "", ""), (), "")
    with open_record(folder) as record:
        finish(record)
        winner = record.best
    if content is not None:
        state = state_file(folder.states(winner.number))
        state.parent.mkdir(parents=True)
        state.write_bytes(content)
    with open_record(folder) as record:
        assert [trial.number for trial in record.pending] == sorted({1, winner.number})  # trial 1 was lost
