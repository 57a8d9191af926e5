"""Test that a search is restored from its journal, also if the journal is truncated or damaged."""

import dataclasses
import json
import math

import pytest

from lstm_ae.config import Mnist, Toy
from lstm_ae.config.space import Axis, Space
from lstm_ae.data.windows import Source
from lstm_ae.search.directory import create_search
from lstm_ae.search.job import JobOutcome, execution_state, median_rule
from lstm_ae.search.journal import ASKED, DROPPED, TOLD, Journal, JournalEntry, ended_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.search import open_record
from lstm_ae.search.state import SearchRecord
from lstm_ae.search.trial import (
    COMPLETED,
    FAILED,
    LOST,
    PRUNED,
    RUNNING,
    Execution,
    Objective,
    Trial,
    total_training_seconds,
)

LOSS, ACCURACY = Objective("val_loss"), Objective("val_label_accuracy", higher_is_better=True)
RATE = Axis("learning_rate", low=1e-4, high=0.1, log=True)
UNITS = Axis("units", low=1, high=64)
FEW = Axis("units", (1, 2, 3, 4, 5, 6, 7, 8))
PLANS = {
    "grid": SearchPlan(
        config=Toy(epochs=8),
        axes=(Axis("learning_rate", (0.1, 0.01)), Axis("units", (8, 16, 32))),
        objective=LOSS,
        prune=True,
    ),
    "random": SearchPlan(
        config=Toy(epochs=8), axes=(RATE, UNITS), search="random", trials=6, repeats=2, objective=LOSS, prune=True
    ),
    "hyperband": SearchPlan(config=Toy(epochs=4), axes=(RATE, UNITS), search="hyperband", objective=LOSS),
    "bayesian": SearchPlan(config=Toy(), axes=(UNITS,), search="bayesian", trials=5, objective=LOSS),
}


def record_of(plan, journal):
    journal.cut()
    entries, damaged = journal.read()
    assert not damaged
    return SearchRecord(plan, Space(plan.axes), journal, entries)


def outcome_of(trial, repeats=1):
    """Return an outcome that depends only on the values, length, and number of a trial, with all kinds of statuses."""
    rate, units = trial.values.get("learning_rate", 0.1), trial.values["units"]
    scores = [(97 * rate + units * (1 + seed / 8)) % 1.3 / (trial.until or 1) for seed in range(repeats)]
    executions = tuple(
        Execution(seed, score, 4, 3, "", 0.25, (score + 0.5, score + 0.25, score, score + 0.125))
        for seed, score in enumerate(scores)
    )
    if trial.number == 1:
        return JobOutcome(trial.number, PRUNED, executions[:1], "pruned after epoch 4: 1, where the median was 0.5")
    if trial.number == 2:
        diverged = executions[0]._replace(score=math.nan, best_epoch=0, curve=())
        return JobOutcome(trial.number, FAILED, (diverged,), "the loss became NaN or infinite in epoch 1")
    return JobOutcome(trial.number, COMPLETED, executions)


def finish(record):
    """Run pending trials, then all further trials."""
    for trial in record.pending:
        record.tell(outcome_of(trial, record.plan.repeats))
    while trial := record.ask().trial:
        record.tell(outcome_of(trial, record.plan.repeats))
    return record


def known(record):
    """Return the trials and bars of a record as text, because NaN is not equal to itself."""
    return repr(record.trials), repr(record.bars)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "bayesian")) for name in PLANS],
)
def whole(request, tmp_path_factory):
    """Return the plan of an uninterrupted search, the lines of its journal, and the state after each line."""
    plan = PLANS[request.param]
    path = tmp_path_factory.mktemp(request.param) / "journal.jsonl"
    record = record_of(plan, Journal(path))
    after = [known(record)]
    while trial := record.ask().trial:
        after.append(known(record))
        record.tell(outcome_of(trial, plan.repeats))
        after.append(known(record))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(after) == len(lines) + 1
    assert {trial.status for trial in record.trials} == {COMPLETED, PRUNED, FAILED}
    return plan, lines, after


def test_search_resumes_from_journal_truncated_at_any_line(whole, tmp_path):
    plan, lines, after = whole
    # The Gaussian process is slow: test only the end of its journal, where it proposes trials.
    for place in range(8 if plan.search == "bayesian" else 0, len(lines) + 1):
        journal = Journal(tmp_path / f"{place}")
        journal.path.write_bytes(b"".join(lines[:place]))
        assert repr(ended_trials(journal.read()[0])) == after[place][0]
        record = record_of(plan, journal)
        assert known(record) == after[place]
        assert known(finish(record)) == after[-1]
        assert journal.path.read_bytes() == b"".join(lines)


def test_repair_of_a_damaged_line_reruns_only_its_trial(whole, tmp_path):
    plan, lines, after = whole
    for place, line in enumerate(lines):
        if plan.search == "bayesian" and place not in (2, len(lines) - 3):
            continue
        journal = Journal(tmp_path / f"{place}")
        journal.path.write_bytes(b"".join([*lines[:place], b"\0" * (len(line) - 1) + b"\n", *lines[place + 1 :]]))
        assert journal.read()[1] == [place + 1]
        journal.mend()
        hit = json.loads(line)["number"]
        kept = [trial for trial in ended_trials(journal.read()[0]) if trial.number != hit]
        record = record_of(plan, journal)
        assert [trial.number for trial in record.pending] in ([hit], [])
        assert repr([trial for trial in record.trials if trial.number != hit]) == repr(kept)
        finish(record)
        if plan.search in ("grid", "random"):
            assert repr(record.trials) == after[-1][0]
        else:  # without the damaged line, the oracle may propose other trials
            assert len(record.trials) >= len(kept)
            assert repr([trial for trial in record.trials if trial.number != hit][: len(kept)]) == repr(kept)


def a_journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.add(ASKED, number=0, values={"units": 8}, bar=[])
    journal.add(TOLD, number=0, status=FAILED, executions=[], reason="ö \n\u2028 \udcff")
    journal.add(DROPPED, number=0)
    return journal


def test_journal_entries_round_trip(tmp_path):
    journal = a_journal(tmp_path)
    assert journal.path.read_bytes().count(b"\n") == 3
    entries, damaged = journal.read()
    assert damaged == []
    assert entries == [
        JournalEntry("asked", {"number": 0, "values": {"units": 8}, "bar": []}),
        JournalEntry("told", {"number": 0, "status": "failed", "executions": [], "reason": "ö \n\u2028 \udcff"}),
        JournalEntry("dropped", {"number": 0}),
    ]


def test_dropped_trial_is_again_as_it_was_asked_for(tmp_path):
    record = record_of(PLANS["grid"], journal := Journal(tmp_path / "journal.jsonl"))
    trial = record.ask().trial
    before = repr(ended_trials(journal.read()[0]))
    record.tell(outcome_of(trial)._replace(status=FAILED, reason="no memory"))
    assert "no memory" in repr(ended_trials(journal.read()[0]))
    journal.add(DROPPED, number=trial.number)
    assert repr(ended_trials(journal.read()[0])) == before


def test_missing_journal_is_read_as_empty(tmp_path):
    assert Journal(tmp_path / "journal.jsonl").read() == ([], [])
    assert not list(tmp_path.iterdir())


def test_incomplete_last_line_is_dropped_and_rewritten(tmp_path):
    journal = a_journal(tmp_path)
    content = journal.path.read_bytes()
    before = content[: content[:-1].rindex(b"\n") + 1]
    for place in range(len(before), len(content)):
        journal.path.write_bytes(content[:place])
        assert [entry.event for entry in journal.read()[0]] == ["asked", "told"]
        assert journal.path.read_bytes() == content[:place]  # another process may write while this one reads
        journal.cut()
        assert journal.path.read_bytes() == before
        journal.add(DROPPED, number=0)
        assert journal.path.read_bytes() == content
    for place in range(content.index(b"\n") + 1):  # only a part of the first line
        journal.path.write_bytes(content[:place])
        assert journal.read() == ([], [])
        journal.cut()
        assert journal.path.read_bytes() == b""


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0\0\0\0",
        b"\xff\xfe",
        b"asked",
        b"{}",
        b"[]",
        b"3",
        b'{"event": "asked", "number": 1, "values": {"units": 8}',
        b'{"event": "asked", "number": 1, "values": {"units": NaN}}',
        b'{"event": "asked", "number": 1, "number": 2, "values": {}}',
        b'{"event": "asked", "number": "1", "values": {}}',
        b'{"event": "asked", "values": {}}',
        b'{"event": "asked", "number": 1}',
        b'{"event": "told", "number": 0, "status": "completed", "executions": []}',
        b'{"event": "heard", "number": 0}',
        b'{"event": ["asked"], "number": 1, "values": {}}',
        b'{"number": 0}',
        b"[" * 100_000,
    ],
    ids=lambda line: line[:60].decode(errors="backslashreplace") or "empty",
)
def test_damaged_lines_are_reported_and_removed_by_mend(tmp_path, line):
    journal = a_journal(tmp_path)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + line + b"\n" + lines[1] + lines[2])
    whole = journal.path.read_bytes()
    entries, damaged = journal.read()
    assert ([entry.event for entry in entries], damaged) == (["asked", "told", "dropped"], [2])
    assert journal.path.read_bytes() == whole  # reading changes nothing
    journal.mend()
    assert journal.read() == (entries, [])
    assert journal.path.read_bytes() == b"".join(lines)


def test_journal_refuses_to_write_nan(tmp_path):
    journal = a_journal(tmp_path)
    content = journal.path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.add(ASKED, number=1, values={"learning_rate": math.nan})
    assert journal.path.read_bytes() == content


def test_dropped_trials_are_rerun_and_recorded_in_the_journal(whole, tmp_path):
    plan, lines, after = whole
    journal = Journal(tmp_path / "journal.jsonl")
    journal.path.write_bytes(b"".join(lines))
    record = record_of(plan, journal)
    count = len(record.trials)
    # For hyperband, include trials that other trials continue.
    numbers = sorted({0, *(trial.parent for trial in record.trials if trial.parent is not None)})[:3]
    for number in numbers:
        record.drop(number)
        assert record.trials[number] == record.trials[number]._replace(status=RUNNING, executions=(), reason="")
    assert [trial.number for trial in record.pending] == numbers
    again = record_of(plan, journal)
    assert known(again) == known(record)
    for one in (record, again):
        ended = [one.tell(outcome_of(trial, plan.repeats)) for trial in one.pending]
        assert [trial.number for trial in ended] == numbers
        assert known(one) == after[-1]
        assert one.ask().trial is None
        assert len(one.trials) == count
    assert known(record_of(plan, journal)) == after[-1]


def test_journal_entries_of_ended_or_unknown_trials_are_ignored(tmp_path):
    plan = PLANS["grid"]
    journal = Journal(tmp_path / "journal.jsonl")
    finish(record_of(plan, journal))
    before = known(record_of(plan, journal))
    journal.add(TOLD, number=0, status=FAILED, executions=[], reason="late")
    journal.add(TOLD, number=99, status=FAILED, executions=[], reason="never asked for")
    journal.add(DROPPED, number=99)
    assert known(record_of(plan, journal)) == before


def test_resume_with_more_or_fewer_trials(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    plan = SearchPlan(config=Toy(), axes=(RATE, UNITS), search="random", trials=4, objective=LOSS)
    four = finish(record_of(plan, journal)).trials
    fewer = record_of(SearchPlan(**vars(plan) | {"trials": 2}), journal)
    assert repr(fewer.trials) == repr(four)
    assert fewer.ask().trial is None
    six = finish(record_of(SearchPlan(**vars(plan) | {"trials": 6}), journal)).trials
    assert repr(six[:4]) == repr(four)
    at_once = record_of(SearchPlan(**vars(plan) | {"trials": 6}), Journal(tmp_path / "other.jsonl"))
    assert repr(finish(at_once).trials) == repr(six)


def curve_of(*values, status=COMPLETED):
    return status, values


def with_curves(plan, journal, curves):
    """Return a record whose first trials ended with these curves, and the next trial."""
    record = record_of(plan, journal)
    for status, curve in curves:
        trial = record.ask().trial
        executions = (Execution(0, min(curve, default=math.nan), len(curve), 1, "", 0.0, curve),)
        record.tell(JobOutcome(trial.number, status, executions, ""))
    return record, record.ask().trial


def test_pruning_bar_is_the_median_of_the_best_loss_so_far(tmp_path):
    """Compare to bars calculated by hand for 8 epochs; the first quarter (epochs 1 and 2) has no bar."""
    plan = SearchPlan(config=Toy(epochs=8), axes=(FEW,), objective=LOSS, prune=True)
    curves = [
        curve_of(9, 8, 7, 6, 5, 4, 3, 2),
        curve_of(5, 9, 9, 3, 9, 9, 9, 1),  # best so far: 5, 5, 5, 3, 3, 3, 3, 1
        curve_of(4, 4, 2, 2, 2, status=PRUNED),  # counts with its best loss in later epochs
        curve_of(0, 0, 0, status=FAILED),  # does not count
        curve_of(8, 7, 6, 5, 4, 3, 2, 1),
    ]
    journal = Journal(tmp_path / "journal.jsonl")
    record, trial = with_curves(plan, journal, curves)
    assert record.bars[:3] == [(), (), ()]  # a bar requires three ended trials
    assert record.bars[3] == record.bars[4] == (math.inf, math.inf, 5, 3, 3, 3, 3, 2)
    assert record.bars[trial.number] == (math.inf, math.inf, 5.5, 4, 3.5, 3, 2.5, 1.5)
    assert record_of(plan, journal).bars == record.bars  # with infinities
    assert json.loads(journal.path.read_text().splitlines()[-1])["bar"][:3] == [None, None, 5.5]


def test_pruning_bar_of_an_accuracy(tmp_path):
    plan = SearchPlan(config=Mnist(epochs=4), axes=(FEW,), objective=ACCURACY, prune=True)
    curves = [curve_of(0.1, 0.9, 0.2, 0.3), curve_of(0.2, 0.3, 0.4, 0.5), curve_of(0.3, 0.2, 0.1, 0.6)]
    journal = Journal(tmp_path / "journal.jsonl")
    record, trial = with_curves(plan, journal, curves)
    # Best so far: .1 .9 .9 .9, .2 .3 .4 .5, and .3 .3 .3 .6.
    assert record.bars[trial.number] == (-math.inf, 0.3, 0.4, 0.6)
    assert record_of(plan, journal).bars == record.bars


def test_pruning_bar_is_empty_without_pruning(tmp_path):
    plan = SearchPlan(config=Toy(epochs=2), axes=(FEW,), objective=LOSS)
    record, _ = with_curves(plan, Journal(tmp_path / "journal.jsonl"), [curve_of(1, 1)] * 5)
    assert record.bars == [()] * 6


def test_median_rule_uses_the_best_score_before_the_last_epoch():
    def judged(bar, *curve, objective=LOSS):
        return median_rule(bar, objective)([{objective.name: value} for value in curve])

    bar = (math.inf, 5.0, 4.0, 3.0)
    assert judged(bar, 100.0) == ""
    assert judged(bar, 100.0, 5.0) == ""  # a score equal to the median is not pruned
    assert judged(bar, 5.5, 6.0) == "pruned after epoch 2: 5.5, where the median was 5"
    assert judged(bar, 1.0, 6.0) == ""  # an earlier epoch was better
    assert judged(bar, 9.0, 5.0, 4.5) == "pruned after epoch 3: 4.5, where the median was 4"
    assert judged(bar, 9.0, 9.0, 9.0, 9.0) == ""  # the last epoch is never pruned
    assert judged((), 9.0) == ""
    above = (-math.inf, 0.5, 0.6)
    assert judged(above, 0.1, 0.4, objective=ACCURACY) == "pruned after epoch 2: 0.4, where the median was 0.5"
    assert judged(above, 0.55, 0.1, objective=ACCURACY) == ""


def made(record, *trials):
    record.trials = list(trials)
    return record


def trial_of(number, units, score, status=COMPLETED, until=None):
    executions = () if score is None else (Execution(0, score, 1, 1, "", 0.0, (score,)),)
    return Trial(number, {"units": units}, status, executions, until=until)


def test_equal_trial_is_an_earlier_completed_or_diverged_trial(tmp_path):
    """Training is deterministic, so it would diverge again; a worker that died may succeed in a new attempt."""
    first, second = trial_of(1, 8, 0.5), trial_of(3, 8, 0.5)
    diverged = trial_of(6, 2, math.nan, FAILED)
    why = "the loss became NaN or infinite in epoch 1"
    ended = diverged.executions[0]._replace(stopped=why)
    early = trial_of(9, 3, 0.3, FAILED)
    repeat = early.executions[0]._replace(stopped="no better for 2 epochs")
    record = made(
        record_of(PLANS["grid"], Journal(tmp_path / "journal.jsonl")),
        trial_of(0, 8, 0.4, PRUNED),
        first,
        trial_of(2, 16, 0.1),
        second,
        trial_of(4, 32, None, FAILED),
        trial_of(5, 8, 0.6, until=3),
        diverged._replace(executions=(ended,), reason=why),
        trial_of(7, 4, None, LOST),
        trial_of(8, 1, None, RUNNING),
        early._replace(executions=(repeat,), reason="MemoryError: of the second seed"),
        trial_of(10, 1, 0.3),
    )
    assert record.equal_trial(trial_of(10, 3, None, RUNNING)) is None
    assert record.equal_trial(trial_of(10, 8, None, RUNNING)) == first
    assert record.equal_trial(trial_of(10, 2, None, RUNNING)).number == 6
    assert record.equal_trial(trial_of(10, 32, None, RUNNING)) is None
    assert record.equal_trial(trial_of(10, 4, None, RUNNING)) is None
    assert record.equal_trial(trial_of(10, 64, None, RUNNING)) is None
    assert record.equal_trial(trial_of(10, 8, None, RUNNING, until=3)).number == 5
    # Later trials and the trial itself do not count.
    assert record.equal_trial(record.trials[8]) is None
    assert record.equal_trial(first) is None


def test_total_training_seconds_count_continued_epochs_once():
    def trial(number, *seconds, parent=None):
        executions = tuple(Execution(0, 0.5, 1, 1, "", each, (0.5,)) for each in seconds)
        return Trial(number, {"units": 8}, COMPLETED, executions, parent=parent)

    alone = [trial(0, 3.0, 2.0), trial(1, 5.0)]
    assert total_training_seconds(alone) == 10.0
    # Only the first repeat continues the training of the parent; the other repeats start from scratch.
    assert total_training_seconds([*alone, trial(2, 9.0, 8.0, parent=0)]) == 10 + (9 - 3) + 8
    assert (
        total_training_seconds([*alone, trial(2, 2.0, parent=1), trial(3, parent=1), trial(4, 1.0, parent=9)]) == 13.0
    )


def test_best_trials_are_completed_with_distinct_settings(tmp_path):
    record = made(
        record_of(PLANS["grid"], Journal(tmp_path / "journal.jsonl")),
        trial_of(0, 8, 0.5),
        trial_of(1, 16, 0.1, PRUNED),
        trial_of(2, 8, 0.5),  # a duplicate: the earlier trial represents both
        trial_of(3, 4, 0.7),
        trial_of(4, 2, 0.2, FAILED),
        trial_of(5, 32, 0.6),
        trial_of(6, 3, None, LOST),
        trial_of(7, 5, None, RUNNING),
        trial_of(8, 6, math.nan),
    )
    assert [trial.number for trial in record.best(3)] == [0, 5, 3]
    assert [trial.number for trial in record.best(1)] == [0]
    assert [trial.number for trial in record.best(99)] == [0, 5, 3, 8]
    assert made(record).best(1) == []


def test_best_hyperband_trials_list_a_continued_setting_once(tmp_path):
    record = made(
        record_of(PLANS["hyperband"], Journal(tmp_path / "journal.jsonl")),
        trial_of(0, 8, 0.5, until=2),
        trial_of(1, 16, 0.6, until=2),
        trial_of(2, 8, 0.4, until=4)._replace(parent=0),
        trial_of(3, 16, 0.7, until=4),
    )
    assert [trial.number for trial in record.best(9)] == [2, 1]


def test_repair_reruns_only_the_trial_with_a_damaged_state(tmp_path):
    """The states of the runner-up are not stored, although it is the best trial while the winner is rerun."""
    plan = SearchPlan(config=Toy(), axes=(FEW,), objective=LOSS)
    folder = create_search(tmp_path / "s", plan, Source("made up", "", ""), (), "")
    with open_record(folder) as record:
        finish(record)
        winner, _ = record.best(2)
    damaged = execution_state(folder.states(winner.number), 0)
    damaged.write_bytes(b"")
    with open_record(folder, repair=True) as record:
        assert record.pending == [winner._replace(status=RUNNING, executions=())]
    assert not damaged.exists()


def test_best_trials_have_the_highest_accuracy(tmp_path):
    plan = SearchPlan(config=Mnist(), axes=(FEW,), objective=ACCURACY)
    trials = [trial_of(0, 8, 0.5), trial_of(1, 16, 0.9), trial_of(2, 4, 0.7), trial_of(3, 5, math.nan)]
    record = made(record_of(plan, Journal(tmp_path / "journal.jsonl")), *trials)
    assert [trial.number for trial in record.best(9)] == [1, 2, 0, 3]


class Setting(dict):
    """Values of a trial that count how often they are compared."""

    compared = 0
    __hash__ = None

    def __eq__(self, other):
        Setting.compared += 1
        return super().__eq__(other)


def test_best_compares_settings_in_linear_time(tmp_path):
    record = record_of(PLANS["grid"], Journal(tmp_path / "journal.jsonl"))
    trials = [trial_of(number, number, 1 / (number + 1)) for number in range(500)]
    record.trials = [trial._replace(values=Setting(trial.values)) for trial in trials]
    assert [trial.number for trial in record.best(2)] == [499, 498]
    assert Setting.compared <= len(trials)  # not quadratic


def test_pruning_bar_is_computed_in_linear_time(tmp_path, monkeypatch):
    plan = dataclasses.replace(PLANS["grid"], config=Toy(epochs=2_000))
    record = record_of(plan, Journal(tmp_path / "journal.jsonl"))
    falling = tuple(1 / (epoch + 1) for epoch in range(2_000))
    key, seen = Objective.key, []
    monkeypatch.setattr(Objective, "key", lambda self, score: seen.append(score) or key(self, score))
    for number, curve in enumerate((falling, falling[:3], falling)):
        trial = trial_of(number, 8 + number, 0.5)
        record.trials.append(trial._replace(executions=(trial.executions[0]._replace(curve=curve),)))
    bar = record._bar()
    assert len(seen) < 10 * len(falling)  # not quadratic in the epochs
    assert bar[499] == math.inf
    assert bar[500:] == falling[500:]
