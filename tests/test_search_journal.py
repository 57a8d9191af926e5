"""A search is its journal: cut or damaged anywhere, it is brought back to what it was at that line."""

import json
import math

import pytest

from lstm_ae.config import Mnist, Toy
from lstm_ae.search.job import Outcome, judge_by
from lstm_ae.search.journal import ASKED, DROPPED, TOLD, Entry, Journal, told
from lstm_ae.search.plan import Plan
from lstm_ae.search.record import Record
from lstm_ae.search.trials import COMPLETED, FAILED, LOST, PRUNED, RUNNING, Execution, Objective, ranked
from lstm_ae.space import Axis, Space

LOSS, ACCURACY = Objective("val_loss"), Objective("val_label_accuracy", higher_is_better=True)
RATE = Axis("learning_rate", low=1e-4, high=0.1, log=True)
UNITS = Axis("units", low=1, high=64)
PLANS = {
    "grid": Plan(
        config=Toy(epochs=8),
        axes=(Axis("learning_rate", (0.1, 0.01)), Axis("units", (8, 16, 32))),
        objective=LOSS,
        prune=True,
    ),
    "random": Plan(
        config=Toy(epochs=8), axes=(RATE, UNITS), search="random", trials=6, repeats=2, objective=LOSS, prune=True
    ),
    "hyperband": Plan(config=Toy(epochs=4), axes=(RATE, UNITS), search="hyperband", objective=LOSS),
    "bayesian": Plan(config=Toy(), axes=(UNITS,), search="bayesian", trials=5, objective=LOSS),
}


def record_of(plan, journal):
    entries, damaged = journal.read()
    assert not damaged
    return Record(plan, Space(plan.axes), journal, entries)


def outcome_of(trial, repeats=1):
    """How a trial ends: decided by its values, its length and its number alone, with all kinds of ends among them."""
    rate, units = float(trial.values.get("learning_rate", 0.1)), trial.values["units"]
    scores = [(97 * rate + units * (1 + seed / 8)) % 1.3 / (trial.until or 1) for seed in range(repeats)]
    executions = tuple(
        Execution(seed, score, 4, 3, "", 0.25, (score + 0.5, score + 0.25, score, score + 0.125))
        for seed, score in enumerate(scores)
    )
    if trial.number == 1:
        return Outcome(trial.number, PRUNED, executions[:1], "pruned after epoch 4: 1, where the median was 0.5")
    if trial.number == 2:
        diverged = executions[0]._replace(score=math.nan, best_epoch=0, curve=())
        return Outcome(trial.number, FAILED, (diverged,), "the loss became NaN or infinite in epoch 1")
    return Outcome(trial.number, COMPLETED, executions)


def finish(record):
    """Run what is pending, then ask and tell to the end."""
    for trial in record.pending:
        record.tell(outcome_of(trial, record.plan.repeats))
    while trial := record.ask().trial:
        record.tell(outcome_of(trial, record.plan.repeats))
    return record


def known(record):
    """All that a record knows; NaN as text, since it is not equal to itself."""
    return repr((record.trials, record.bars))


@pytest.fixture(scope="module", params=list(PLANS))
def whole(request, tmp_path_factory):
    """An uninterrupted search: its plan, its journal's bytes, and what was known after each line."""
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
    assert {COMPLETED, PRUNED, FAILED} == {trial.status for trial in record.trials}
    return plan, lines, after


def test_cut_at_every_line_it_is_what_it_was_there_and_ends_as_if_nothing_had_happened(whole, tmp_path):
    plan, lines, after = whole
    # The Gaussian process takes its time: of its journal the end, where it has chosen.
    for place in range(6 if plan.search == "bayesian" else 0, len(lines) + 1):
        journal = Journal(tmp_path / f"{place}")
        journal.path.write_bytes(b"".join(lines[:place]))
        record = record_of(plan, journal)
        assert known(record) == after[place]
        assert known(finish(record)) == after[-1]
        assert journal.path.read_bytes() == b"".join(lines)


def test_cut_at_any_byte_it_is_what_it_was_after_the_last_whole_line(whole, tmp_path):
    plan, lines, after = whole
    if plan.search == "bayesian":
        pytest.skip("it would take minutes, and the journal is the same")
    content = b"".join(lines)
    last_two = range(len(content) - len(lines[-1]) - len(lines[-2]), len(content))
    for place in sorted({*range(0, len(content), 61), *last_two}):
        journal = Journal(tmp_path / "journal.jsonl")
        journal.path.write_bytes(content[:place])
        entries, damaged = journal.read()
        count = content[:place].count(b"\n")
        assert (len(entries), damaged) == (count, [])
        assert journal.path.read_bytes() == b"".join(lines[:count])
        if place % 61 == 0:
            assert known(record_of(plan, journal)) == after[count]


def test_where_any_line_is_damaged_its_trial_is_run_again_and_no_other(whole, tmp_path):
    plan, lines, after = whole
    if plan.search == "bayesian":
        pytest.skip("what it chooses depends on the order in which it is told")
    for place, line in enumerate(lines):
        journal = Journal(tmp_path / f"{place}")
        journal.path.write_bytes(b"".join([*lines[:place], b"\0" * (len(line) - 1) + b"\n", *lines[place + 1 :]]))
        assert journal.read()[1] == [place + 1]
        journal.mend()
        record = record_of(plan, journal)
        hit = json.loads(line)["number"]
        assert [trial.number for trial in record.pending] == ([hit] if hit < len(record.trials) else [])
        finish(record)
        if plan.search == "hyperband":
            # It may have chosen otherwise without it; the others have been run all the same.
            before = [trial for trial in told(Journal(tmp_path / f"{place}").read()[0]) if trial.number != hit]
            assert repr(before) == repr([trial for trial in record.trials if trial.number != hit])
        else:
            # Pruned by a bar that stood in the damaged line, it may now run to its end.
            assert repr(record.trials) == repr(eval_trials(after[-1]))


def eval_trials(text):
    return eval(text, {"Trial": __import__("lstm_ae.search.trials").search.trials.Trial, "Execution": Execution, "nan": math.nan, "inf": math.inf})[0]
