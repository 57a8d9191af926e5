"""Test refused commands and damaged directories of searches in this process."""

import dataclasses
import json

import pytest
from lstm_ae_cli.options import GivenOptions
from lstm_ae_cli.search import SearchRequest, resumed_plan
from searches import refused

from lstm_ae.config import Series, Snp, Toy
from lstm_ae.errors import DataError
from lstm_ae.search.directory import open_search
from lstm_ae.search.job import DataLoader, TrialJob, run_job
from lstm_ae.search.plan import default_jobs
from lstm_ae.search.search import open_record
from lstm_ae.search.trial import COMPLETED, Objective, Trial
from lstm_ae.startup import cores
from lstm_ae.training import loop


def test_resume_accepts_a_moved_table(s, monkeypatch):
    plan = dataclasses.replace(open_search(s).plan(), config=Series(data="old.csv"))
    given = GivenOptions({"data": "new.csv"})
    assert resumed_plan(plan, given, SearchRequest(trials=9)) == dataclasses.replace(
        plan, config=Series(data="new.csv"), trials=9
    )


@pytest.mark.parametrize(
    ("line", "code", "fact"),
    [
        ("toy tune --out s", 2, "--out 's' is not empty"),
        ("toy tune --resume --out s/trials", 3, "no search at 's/trials'"),
        ("mnist tune --resume --out s", 2, "'s' is a search of toy"),
        ("toy tune --resume --out s --units 2,3", 2, "--units does not apply to "),
        ("toy tune --resume --out s --search grid", 2, "--search does not apply to "),
        ("toy tune --resume --out s --preset best", 2, "--preset does not apply to "),
        ("toy tune --search best", 2, "grid, random, bayesian. Received: 'best'"),
    ],
)
def test_invalid_search_commands_are_refused_in_one_line(s, line, code, fact):
    assert fact in refused(line, code)


def test_resume_refuses_different_data(s):
    about = json.loads((s / "search.json").read_text())
    about["data"]["sha256"] = "0" * 64
    (s / "search.json").write_text(json.dumps(about))
    message = refused("toy tune --resume --out s", 3)
    assert message.startswith("'s' was started with different data (60 generated sequences of 50 steps, seed 3)")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"task": "toy", "plan": {}}', '{"task": "toy", "plan": 3, "data": {}}']
)
def test_damaged_search_json_is_reported(s, content):
    (s / "search.json").write_text(content)
    assert "s/search.json" in refused("toy tune --resume --out s", 3)


@pytest.mark.slow
def test_trial_with_different_data_raises_other_data_error(s):
    about = json.loads((s / "search.json").read_text())
    config = open_search(s).plan().config.to_dict()
    job = TrialJob(Trial(2, {}), config, "toy", "states/0002", Objective("val_loss"), sha256="0" * 64)
    with pytest.raises(DataError, match="Trial 2: 60 generated sequences"):
        run_job(job, DataLoader())
    assert run_job(job._replace(sha256=about["data"]["sha256"]), DataLoader()).status == COMPLETED


def test_open_record_replaces_the_stored_plan(s):
    folder = open_search(s)
    moved = dataclasses.replace(folder.plan(), config=dataclasses.replace(folder.plan().config, sequences=60), trials=9)
    with open_record(folder, moved) as record:
        assert record.plan == moved
    assert open_search(s).plan() == moved


# Damaged directories


# Repeats and resuming


def test_repeats_have_consecutive_seeds_and_scores_of_the_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Toy(sequences=20, units=2, epochs=2)
    history = [
        {"epoch": 0.0, "val_loss": 0.25, "seconds": 0.0},
        {"epoch": 1.0, "loss": 0.5, "val_loss": 0.75, "learning_rate": 0.1, "seconds": 1.0},
        {"epoch": 2.0, "loss": 0.25, "val_loss": 0.5, "learning_rate": 0.1, "seconds": 2.0},
    ]

    result = loop.TrainingResult(history, 0, "", False, 2.0)
    monkeypatch.setattr("lstm_ae.search.job.fit_model", lambda *_, **__: (None, result))
    job = TrialJob(Trial(0, {}), config.to_dict(), "toy", "s/0", Objective("val_loss"), repeats=2)
    trial = run_job(job, DataLoader())
    assert [execution.seed for execution in trial.executions] == [0, 1]
    assert (trial.score, trial.spread, trial.seconds) == (0.25, 0, 4.0)
    for execution in trial.executions:
        assert (execution.best_epoch, execution.epochs) == (0, 2)


def test_default_number_of_jobs(s):
    plan = open_search(s).plan()
    assert default_jobs(plan) == min(cores(), 4)
    assert default_jobs(dataclasses.replace(plan, search="bayesian", trials=4)) == 1
    wide = dataclasses.replace(plan, axes=plan.axes[1:], config=dataclasses.replace(plan.config, units=128))
    assert default_jobs(wide) == 1


def test_data_key_ignores_model_options() -> None:
    usual = Toy().data_key
    vector = {"latent": "vector", "units": 50, "decoder_start": "code", "delay_line": True, "code": 8, "clip": 2.0}
    assert Toy(**vector).data_key == Toy(latent="vector", bidirectional=True).data_key == usual
    assert Toy(sequences=100).data_key != usual
    network = {"link": "none", "segment": 4, "steps_per_epoch": 9, "seeds": 2}
    assert Series(window=8).data_key != Series(window=9).data_key
    assert Series(task="forecast", **network).data_key == Series(task="forecast").data_key
    # The target determines the scale.
    assert Snp(target="level").data_key != Snp().data_key
