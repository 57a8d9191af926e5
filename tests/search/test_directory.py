"""Test the directory of a search: which files remain, and how old or damaged searches are read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from report_makers import changed
from searches import done, faked

from lstm_ae.errors import Code, ConfigError
from lstm_ae.search.directory import SearchDirectory, open_search
from lstm_ae.search.job import DataLoader, state_file
from lstm_ae.search.search import complete_best, open_record
from lstm_ae.search.trial import rank_trials


def run_at(place, *versions, finished=True):
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    if finished:
        (place / "metrics.json").write_text("{}")
    for version in versions:
        (place / version).mkdir()
    return place


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_tidy_retains_exported_runs_and_former_winners_until_the_new_run_is_finished(tmp_path):
    trials, folder = tmp_path / "trials", SearchDirectory(tmp_path)
    run_at(trials / "0003", "1", "figures"), run_at(trials / "0004", "figures")
    folder.tidy([], 7)
    assert names(trials) == ["0003", "0004"]
    run_at(trials / "0007", finished=False)
    folder.tidy([], 7)
    assert names(trials) == ["0003", "0004", "0007"]
    (trials / "0007/metrics.json").write_text("{}")
    folder.tidy([], 7)
    assert names(trials) == ["0003", "0007"]
    assert (trials / "0003/1").is_dir()


def test_tidy_retains_files_of_the_user(tmp_path):
    for name in ("0003", "0003-copy", "3rd", "0004"):
        run_at(tmp_path / "trials" / name)
        (tmp_path / "states" / name).mkdir(parents=True)
    SearchDirectory(tmp_path).tidy([4], None)
    assert names(tmp_path / "trials") == ["0003-copy", "3rd"]
    assert names(tmp_path / "states") == ["0003-copy", "0004", "3rd"]


def test_incomplete_run_of_a_trial_is_replaced_unless_versions_of_it_are_exported(s, monkeypatch):
    for name in ("fit_model", "assemble", "write_run"):
        monkeypatch.setattr(f"lstm_ae.search.search.{name}", lambda *_, **__: (None, None))
    folder = open_search(s)
    run = folder.run(rank_trials(folder.journal.trials(), folder.plan().objective)[0].number)
    (run.directory / "metrics.json").unlink()
    state = state_file(folder.states(int(run.directory.name)))
    state.parent.mkdir(parents=True)
    np.savez(state, [1.0])
    with open_record(folder) as record:
        complete_best(record, folder, DataLoader())
        assert names(run.directory) == ["config.json"]
        (run.directory / "1").mkdir()
        with pytest.raises(ConfigError) as raised:
            complete_best(record, folder, DataLoader())
    assert raised.value.code == Code.OUTPUT_EXISTS
    assert names(run.directory) == ["1", "config.json"]


def test_runs_list_marks_searches_of_other_versions_unreadable(s):
    plan = json.loads((s / "search.json").read_text())["plan"]
    broken = {"other": {"config": plan["config"] | {"gone": 1}}, "cut": {"axes": [{"values": [1, 2]}]}}
    for name in ("whole", "old", *broken):
        shutil.copytree(s, f"runs/{name}")
        changed(Path(f"runs/{name}/search.json"), plan=plan | broken.get(name, {}))
    Path("runs/old/journal.jsonl").write_text('{"event": "told", "number": 0, "executions": [{"was": 1}]}\n')
    said = done("runs list --json")
    found = {Path(row["run"]).name: row["measure"] for row in json.loads(said.out)["runs"]}
    assert found.pop("whole") == "best val_loss"
    assert found == dict.fromkeys(("other", "cut", "old"), "unreadable")


def test_table_lists_searched_and_trained_epochs(monkeypatch):
    faked(monkeypatch, lambda config: 1 / config["epochs"])
    done("toy tune --epochs 5,20 --sequences 60 --jobs 1 --out s")
    header, *rows = [line.split(",") for line in Path("s/table.csv").read_text().splitlines()]
    assert header == ["trial", "epochs", "val_loss", "epochs trained", "best epoch", "seconds", "status"]
    assert [row[1:4] for row in rows] == [["20", "0.05", "8"], ["5", "0.2", "8"]]
