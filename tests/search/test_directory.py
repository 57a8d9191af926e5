"""Test the directory of a search: which files remain, and how old or damaged searches are read."""

import json
import shutil
from pathlib import Path

import pytest
from searches import SMALL, call, done, faked, refused

from lstm_ae.run import Run
from lstm_ae.search.directory import SearchDirectory, open_search
from lstm_ae.studies import load_study


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
    folder.tidy([], [7], [])
    assert names(trials) == ["0003", "0004"]
    run_at(trials / "0007", finished=False)
    folder.tidy([], [7], [])
    assert names(trials) == ["0003", "0004", "0007"]
    (trials / "0007/metrics.json").write_text("{}")
    folder.tidy([], [7], [])
    assert names(trials) == ["0003", "0007"]
    assert (trials / "0003/1").is_dir()


def test_tidy_retains_files_of_the_user(tmp_path):
    trials = tmp_path / "trials"
    run_at(trials / "0003"), run_at(trials / "0003-copy"), run_at(trials / "3rd")
    (tmp_path / "states").mkdir()
    for name in ("0003-0.npz", "0003-copy-0.npz", "3rd-0.npz"):
        (tmp_path / "states" / name).write_text("")
    SearchDirectory(tmp_path).tidy([], [], [])
    assert names(trials) == ["0003-copy", "3rd"]
    assert names(tmp_path / "states") == ["3rd-0.npz"]


@pytest.mark.exhaustive
def test_resume_with_options_that_override_the_preset(tmp_path):
    line = f"toy tune --preset best --optimizer rmsprop --units 2,3 {SMALL} --out s"
    done(line)
    done(f"{line} --resume")


@pytest.mark.slow
def test_new_run_of_a_trial_renames_an_exported_one(s):
    folder = open_search(s)
    plan = folder.plan()
    source = load_study("toy").load(plan.config).source

    def anew():
        return folder.new_run(folder.run(9), plan.config, source, ())

    anew(), anew()
    assert not list(s.glob("trials/0009-*"))
    for number in (1, 2):
        (s / "trials/0009/1").mkdir()
        assert anew().directory == s / "trials/0009"
        assert (s / f"trials/0009-{number}/1").is_dir()
        assert names(s / "trials/0009") == ["config.json"]
    assert not Run(s / "none").exported


def test_runs_list_marks_searches_of_other_versions_unreadable(s):
    for name in ("whole", "other", "cut", "strange", "old"):
        shutil.copytree(s, f"runs/{name}")

    def changed(name, **more):
        path = Path(f"runs/{name}/search.json")
        about = json.loads(path.read_text())
        about["plan"] |= more
        path.write_text(json.dumps(about))
        return about["plan"]

    changed("other", config=changed("other")["config"] | {"gone": 1})
    changed("cut", axes=[{"values": [1, 2]}])
    changed("strange", objective=3)
    told = Path("runs/old/journal.jsonl")
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    told.write_text("".join(json.dumps(line | {"executions": [{"was": 1}]}) + "\n" for line in lines))
    said = done("runs list --json")
    found = {Path(row["run"]).name: row["measure"] for row in json.loads(said.out)["runs"]}
    assert found.pop("whole") == "best val_loss"
    assert found == dict.fromkeys(("other", "cut", "strange", "old"), "unreadable")
    for name in found:
        said = call(f"runs compare runs/whole runs/{name}")
        assert said.code in (2, 3)
        assert said.err.count("\n") == 1


def test_resume_refuses_limits_of_another_version(s):
    about = json.loads((s / "search.json").read_text())
    about["purpose"]["verb"] = "limits"
    (s / "search.json").write_text(json.dumps(about))
    assert refused("toy limits --resume --out s", 2) == (
        "'s' was begun by another version, whose limits varied --units, --clip; this one varies --code. Start a new "
        "one without --resume"
    )


def test_table_lists_searched_and_trained_epochs(monkeypatch):
    faked(monkeypatch, lambda config: 1 / config["epochs"])
    done("toy tune --epochs 5,20 --sequences 60 --jobs 1 --out s")
    header, *rows = [line.split(",") for line in Path("s/table.csv").read_text().splitlines()]
    assert header == ["trial", "epochs", "val_loss", "epochs trained", "best epoch", "seconds", "status"]
    assert [row[1:4] for row in rows] == [["20", "0.05", "8"], ["5", "0.2", "8"]]
