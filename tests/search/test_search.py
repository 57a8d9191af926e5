"""Test small searches in this process: options, table, winner, and files."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from digit_makers import npz
from recorders import without_seconds
from searches import SMALL, call, cut_after_two, done, faked, journal_of, table_of, tree

from lstm_ae import experiment
from lstm_ae.config import Toy
from lstm_ae.parallel import Engine
from lstm_ae.run import Run
from lstm_ae.search import job as jobs
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.search import open_record, run_trials
from lstm_ae.search.trial import FAILED, LOST, RUNNING
from lstm_ae.studies import load_study

CONFIG = Toy(sequences=60, epochs=2, batch_size=16, deterministic=True, seed=3)


def no_training(monkeypatch):
    def forbidden(*_):
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(jobs, "run_job", forbidden)


# Complete searches


@pytest.mark.slow
def test_grid_search_matches_separate_trainings(grid, monkeypatch):
    monkeypatch.setattr(Run, "write_figures", lambda *_: [])
    data = load_study(CONFIG).load(CONFIG)
    scores, runs = {}, {}
    for number, (units, clip) in enumerate([(2, 1.0), (2, 5.0), (3, 1.0), (3, 5.0)]):
        config = dataclasses.replace(CONFIG, units=units, clip=clip)
        runs[number] = experiment.train(config, data, out=Path(f"{number}"))
        best = runs[number].metrics()["training"]["best_epoch"]
        scores[number] = runs[number].history()[best]["val_loss"]
    header, *rows = table_of(grid.place)
    assert header == ["trial", "units", "clip", "val_loss", "epochs", "best epoch", "status"]
    assert [int(row[0]) for row in rows] == sorted(scores, key=scores.get)
    assert {int(row[0]): float(row[3]) for row in rows} == scores
    for number in sorted(scores, key=scores.get)[:1]:
        kept = Run(grid.place / f"trials/{number:04}")
        assert kept.config() == runs[number].config()
        assert without_seconds(kept.history()) == without_seconds(runs[number].history())
        for ours, theirs in zip(kept.model().get_weights(), runs[number].model().get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        ours, theirs = (found.metrics() for found in (kept, runs[number]))
        assert ours["training"].pop("trial") == number
        assert [one.pop("seconds") for one in (ours["training"], theirs["training"])]
        assert ours == theirs


class FailingWork(NamedTuple):
    """Work whose first jobs end without a result."""

    def prepare(self, threads):
        pass

    def load(self):
        return lambda job: job.trial._replace(status=LOST if job.number == 1 else FAILED)


def test_lost_trials_run_again_when_the_search_resumes(s):
    journal = s / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    shutil.rmtree(s / "trials")
    folder, observer = SearchDirectory(s), mock.Mock()
    with open_record(folder) as record, Engine(jobs=1).open(FailingWork()) as pool:
        run_trials(record, folder, pool, observer)
        assert [trial.status for trial in record.trials] == [FAILED, LOST, FAILED, FAILED]
    with open_record(folder) as record:
        assert [trial.status for trial in record.trials] == [FAILED, RUNNING, FAILED, FAILED]


def test_progress_and_json_output_of_a_search(grid):
    assert len([line for line in grid.said.err.splitlines() if line.startswith("trial ")]) == 4
    document = json.loads(grid.said.out)
    assert (document["search"], document["objective"]) == ("s", "val_loss")
    first = document["trials"][0]
    assert document["winner"] == {
        "trial": first["number"],
        "values": first["values"],
        "run": f"s/trials/{first['number']:04}",
    }
    assert [trial["score"] for trial in document["trials"]] == sorted(trial["score"] for trial in document["trials"])
    assert {trial["status"] for trial in document["trials"]} == {"completed"}
    assert [execution["seed"] for execution in first["executions"]] == [3]
    assert first["spread"] is None  # one seed has no spread, and JSON has no NaN


def test_resume_of_a_finished_search_shows_results_without_training(grid, s, monkeypatch):
    no_training(monkeypatch)
    shutil.rmtree(s / "figures", ignore_errors=True)
    (s / "table.csv").unlink()
    before = tree(s)
    said = done("toy tune --resume --out s --verbose")
    assert table_of(s) == table_of(grid.place)
    assert {path: content for path, content in tree(s).items() if path in before} == before
    *_, header, _, _, _, _ = said.out.splitlines()
    assert header.split() == ["trial", "units", "clip", "val_loss", "epochs", "best", "epoch", "seconds", "status"]


# Failed trials


@pytest.mark.slow
def test_diverged_and_failed_trials_are_listed_with_their_reason(monkeypatch):
    build = load_study(CONFIG).build

    def failing(config, data):
        if config.units == 3:
            raise ArithmeticError("no model\nof three units")
        return build(config, data)

    monkeypatch.setattr(load_study(CONFIG), "build", failing)
    # Gradient descent with a learning rate of 10 and no clipping diverges within an epoch.
    line = "toy tune --learning-rate 10,0.01 --units 2,3 --set optimizer=sgd --clip 0 --sequences 60 --epochs 1"
    done(f"{line} --batch-size 1 --jobs 1 --out s")
    diverged = "the loss became NaN or infinite in epoch 1"
    failed = "ArithmeticError: no model"
    rows = [[row[0], row[3] != "", row[-2], row[-1]] for row in table_of(Path("s"))[1:]]
    assert rows == [
        ["1", True, "completed", ""],
        ["0", False, "failed", diverged],
        ["2", False, "failed", failed],
        ["3", False, "failed", failed],
    ]
    assert [path.name for path in Path("s/trials").iterdir()] == ["0001"]
    # Resuming does not run them again, because they would fail again.
    no_training(monkeypatch)
    done("toy tune --resume --out s")


def test_search_reports_the_first_reason_if_all_trials_fail(monkeypatch):
    def failing(config, data):
        raise ArithmeticError(f"no {config.units}")

    monkeypatch.setattr(load_study(CONFIG), "build", failing)
    said = call(f"toy tune --units 2,3 {SMALL} --out s")
    assert (said.code, said.out) == (1, "")
    assert "ArithmeticError: no 2" in said.last
    assert [row[-1] for row in table_of(Path("s"))[1:]] == ["ArithmeticError: no 2", "ArithmeticError: no 3"]


def test_invalid_combination_of_values_fails_only_its_trial(monkeypatch):
    faked(monkeypatch, lambda config: 0.5)
    said = done(f"mnist tune --set every=2,1 --data {npz(Path('digits.npz'))} --jobs 1 --json --out s")
    trials = {trial["number"]: trial for trial in json.loads(said.out)["trials"]}
    assert trials[0]["status"] == "failed"
    assert trials[0]["reason"].startswith("--set every is for --model head-on-code. ")
    assert trials[1]["status"] == "completed"


@pytest.mark.slow
def test_full_disk_stops_the_search_without_failing_the_trial(s, monkeypatch):
    def failing(config, data):
        raise OSError(errno.ENOSPC, "No space left on device", "s/states")

    cut_after_two(s)
    before = journal_of(s)
    monkeypatch.setattr(load_study(CONFIG), "build", failing)
    said = call("toy tune --resume --out s --jobs 1")
    assert (said.code, said.out) == (1, "")
    assert said.last.startswith("No space left on device")
    assert journal_of(s)[:4] == before
    assert [line["status"] for line in journal_of(s)[4:]] == ["running"]
