"""Estimates of time, memory, and disk usage: by hand, and by dry runs of long commands, which leave no files."""

import json
import math
import os
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helps import commands
from hypothesis import given
from hypothesis import strategies as st
from lstm_ae_cli import main
from lstm_ae_cli.app import command
from messages import message_of
from sampling import sampled

from lstm_ae.config import Toy
from lstm_ae.config.space import Axis
from lstm_ae.data.windows import Data, Split
from lstm_ae.estimate import searches, training
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart, TrainingPace, TrainingWork
from lstm_ae.estimate.training import MeasuredTraining
from lstm_ae.run import Run, create_run
from lstm_ae.search.oracles import count_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import Objective
from lstm_ae.studies.toy import load

PACE = TrainingPace(start=2.0, step=Duration(0.5, 0.75), window=Duration(0.25, 0.5), save=0.125)
WORK = TrainingWork(epochs=2, steps=10, windows=4)
SMALL = "--sequences 200 --epochs 2 --units 2 --batch-size 64"


def test_training_estimate_by_hand() -> None:
    # The initial weights are validated and saved as well:
    # 2 + 20 x 0.5 + 12 x 0.25 + 3 x 0.125, and with the slowest 2 + 20 x 0.75 + 12 x 0.5 + 3 x 0.125.
    assert PACE.of(WORK) == Duration(15.375, 23.375)
    assert [(part.name, part.duration.usual) for part in PACE.parts(WORK)] == [
        ("compile", 2.0),
        ("train", 10.0),
        ("validate", 3.0),
        ("save", 0.375),
    ]
    assert PACE.parts(WORK)[1].how == "2 epochs of 10 steps, 500 ms each"
    several = PACE.parts(WORK._replace(networks=3))
    assert [part.duration.usual for part in several] == [6.0, 30.0, 9.0, 1.125]
    assert several[1].how == "3 networks for 2 epochs of 10 steps, 500 ms each"
    parts = (EstimatePart("a", "", Duration(1, 2)), EstimatePart("b", "", Duration(3, 5)))
    assert CommandEstimate(parts, None, 0, 0, ()).duration == Duration(4, 7)


def measured(finish: float) -> MeasuredTraining:
    return MeasuredTraining(PACE, WORK, Duration(finish, finish), parameters=5, state=100, run=1000)


def plan(**choices: Any) -> SearchPlan:
    axes = (Axis("learning_rate", (0.1, 0.01)), Axis("units", (4, 2, 8)))
    details: dict[str, Any] = {"config": Toy(sequences=100, epochs=2), "axes": axes, "objective": Objective("val_loss")}
    return SearchPlan(**details | choices)


def test_search_estimate_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def measure(config: Toy, data: Any, *, finish: bool = True, seconds: float = 0) -> MeasuredTraining:
        seen.append((config.units, config.learning_rate))
        half = PACE._replace(start=1.0, step=Duration(0.25, 0.5))
        return measured(3.0) if config.units == 8 else measured(0)._replace(pace=half)

    monkeypatch.setattr(searches, "measure_training", measure)
    asked = plan(repeats=2)
    found = searches.estimate_search(asked, load(asked.config), jobs=1, keep=2, refit=True)
    assert seen == [(8, 0.1), (2, 0.1)]
    # The small one takes 1 + 5 + 3 + 0.375 = 9.375 s, the large one 15.375: 12 trainings of 12.375 s.
    whole = {part.name: part.duration.usual for part in found.parts}
    assert whole == {"train": 148.5, "finish": 6.0, "refit": 18.375}
    assert found.parts[0].how == "6 trials of 18.8 to 30.8 s, 1 at once"
    assert found.parts[0].duration.slowest == 12 * 23.375
    assert (found.disk, found.meanwhile) == (3000, 300)
    assert "the smallest (--units 2) and the largest (--units 8)" in found.notes[0]


def test_settings_of_equal_model_size_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(searches, "measure_training", lambda *a, **b: calls.append(a) or measured(1.0))
    asked = plan(axes=(Axis("learning_rate", (0.1, 0.01)), Axis("clip", low=1.0, high=5.0)), search="random", trials=4)
    found = searches.estimate_search(asked, load(asked.config), jobs=1)
    assert len(calls) == 1
    assert found.parts[0].duration == Duration(4 * 15.375, 4 * 23.375)
    assert "one was timed" in found.notes[0]


@pytest.mark.parametrize(("jobs", "rounds"), [(2, 2), (3, 1), (8, 1)])
def test_parallel_trials_are_estimated_in_whole_rounds(monkeypatch: pytest.MonkeyPatch, jobs: int, rounds: int) -> None:
    one = measured(1.0)
    monkeypatch.setattr(searches, "_measure_in_processes", lambda *_: searches.SearchExtremes(one, one, 0.0, None))
    asked = plan(axes=(Axis("learning_rate", (0.1, 0.01, 0.001)),))
    found = searches.estimate_search(asked, load(asked.config), jobs=jobs)
    assert found.parts[0].duration.usual == pytest.approx(rounds * 15.375)


def test_hyperband_trials_and_epochs_by_hand() -> None:
    # Of 9 epochs: 3 settings for 9; 5 for 3, 2 of them for 6 more; 9 for 1, 3 of them for 2 more, 1 for 6 more.
    found = count_trials(plan(config=Toy(epochs=9), search="hyperband"))
    assert found == (3 + 5 + 2 + 9 + 3 + 1, 27 + 15 + 12 + 9 + 6 + 6)
    assert count_trials(plan()) == (6, None)


@given(samples=st.integers(1, 300), most=st.integers(2, 100))
def test_thinned_split_is_spread_over_all_windows(samples: int, most: int) -> None:
    split = Split(np.zeros((samples, 1), np.float32), np.arange(samples), 1, label=np.arange(samples, dtype=np.int32))
    few = split.thin(most)
    assert few.samples == min(samples, most)
    assert few.label is not None
    assert few.label.tolist() == few.starts.tolist()
    assert (few.starts[0], few.starts[-1]) == (0, samples - 1)
    assert len(set(np.diff(few.starts))) <= 2


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of temporary files."""
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def left_in(temporary: Path) -> list[str]:
    """Return the files there, except those that TensorFlow removes when the process ends."""
    return [name for name in os.listdir(temporary) if not name.startswith("__autograph_generated_file")]


@pytest.fixture
def dry(capsys: pytest.CaptureFixture[str], empty_directory: Path, temporary: Path) -> Callable[[str], dict[str, Any]]:
    """Return a function that makes a dry run, checks that it leaves no files, and returns its JSON."""

    def call(line: str) -> dict[str, Any]:
        before = sorted(empty_directory.rglob("*"))
        capsys.readouterr()
        assert main(shlex.split(f"{line} --dry-run --json --quiet")) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert sorted(empty_directory.rglob("*")) == before
        assert left_in(temporary) == []
        found: dict[str, Any] = json.loads(out)
        for key in ("seconds", "seconds_slowest"):
            assert math.isclose(found[key], sum(part[key] for part in found["parts"]))
        assert 0 < found["seconds"] <= found["seconds_slowest"]
        assert found["memory_bytes"] > 1e8
        return found

    return call


@pytest.mark.slow
def test_dry_run_estimates_the_disk_usage_of_a_training(dry: Callable[[str], dict[str, Any]]) -> None:
    found = dry(f"toy train {SMALL}")
    how = {part["name"]: part["how"] for part in found["parts"]}
    assert list(how) == ["compile", "train", "validate", "save", "finish"]
    assert how["train"].startswith("2 epochs of 2 steps, ")
    assert how["validate"] == "before the first epoch, and 2 epochs of 40 windows"
    assert main(shlex.split(f"toy train {SMALL} --out r --quiet")) == 0
    size = sum(path.stat().st_size for path in Path("r").rglob("*") if path.is_file())
    assert found["disk_bytes"] == pytest.approx(size, rel=0.3)
    assert found["disk_bytes_meanwhile"] > 0


def test_finish_of_many_windows_is_extrapolated_from_a_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A finish takes 1 s and 0.01 s per window; 20 windows of each split are measured, then 2."""
    sizes = complete_quickly(monkeypatch)
    monkeypatch.setattr(training, "MAX_WINDOWS", 20)
    config = Toy(sequences=200, epochs=1, units=2)
    data = load(config)
    run = create_run(tmp_path / "run", config, data.source, data.symbols, "")
    other = create_run(tmp_path / "other", config, data.source, data.symbols, "")
    fitted = training.TrainingResult([{"epoch": 1.0}], 1, "", False, 0.0)
    trained = training._Trained(None, fitted)
    found = training._measure_finish(measured(0), (run, other), config, data, trained, figures=True)
    assert sizes == [(20, 20), (2, 2)]
    assert found.finish.usual == pytest.approx(1 + 0.01 * (data.validation.samples + data.test.samples))


def complete_quickly(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Replace the completion of a run by one that takes 1 s and 0.01 s per window on a fake clock."""
    sizes, now = [], [0.0]

    def complete(run: Run, config: Toy, data: Data, model: Any, fitted: Any, *, figures: bool) -> None:
        sizes.append((data.validation.samples, data.test.samples))
        now[0] += 1 + 0.01 * (data.validation.samples + data.test.samples)
        run.write_history(fitted.history)

    monkeypatch.setattr(training, "finish_run", complete)
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    return sizes


def test_dry_run_prints_a_table_and_totals(capsys: pytest.CaptureFixture[str], empty_directory: Path) -> None:
    assert main(shlex.split(f"toy train {SMALL} --epochs 30 --dry-run")) == 0
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["part", "seconds", "slowest", "how"]
    assert [line.split(":")[0] for line in lines if line.startswith(("duration", "memory", "disk"))] == [
        "duration",
        "memory",
        "disk",
    ]
    assert "  training ends earlier after 10 epochs without a better validation loss" in lines
    assert lines[-1] == "No training was completed, and no files were left."
    assert os.listdir() == []


@pytest.mark.exhaustive
def test_dry_run_of_series_train(dry: Callable[[str], dict[str, Any]]) -> None:
    assert main(["series", "example", "pump.csv", "--days", "5", "--quiet"]) == 0
    found = dry("series train pump.csv --epochs 2 --units 2 --window 8 --label-col failure --task anomaly")
    assert [part["name"] for part in found["parts"]][-1] == "finish"


@pytest.mark.exhaustive
@pytest.mark.usefixtures("several_networks")
def test_dry_run_of_several_networks_counts_each(dry: Callable[[str], dict[str, Any]]) -> None:
    rows = np.random.default_rng(0).normal(size=400)
    Path("t.csv").write_text("x\n" + "\n".join(map(str, rows)) + "\n", encoding="utf-8")
    options = "series train t.csv --task forecast --window 8 --horizon 2 --units 2 --epochs 2"
    found, single = dry(options), dry(f"{options} --seeds 1")
    how = {part["name"]: part["how"] for part in found["parts"]}
    assert how["train"].startswith("3 networks for 2 epochs of ")
    assert found["disk_bytes_meanwhile"] == pytest.approx(2 * single["disk_bytes_meanwhile"], rel=0.01)
    # The states of the first training remain during a refit: 3 of 2 for one network.
    refit = dry(f"{options} --seeds 1 --refit")
    assert refit["disk_bytes_meanwhile"] == pytest.approx(1.5 * single["disk_bytes_meanwhile"], rel=0.05)
    assert main(shlex.split(f"{options} --out r --quiet")) == 0
    size = sum(path.stat().st_size for path in Path("r").rglob("*") if path.is_file())
    assert found["disk_bytes"] == pytest.approx(size, rel=0.3)


@pytest.mark.parametrize("by", sampled(("time", "company"), slow=("time",)))
def test_dry_run_of_snp_backtest(dry: Callable[[str], dict[str, Any]], by: str) -> None:
    found = dry(f"snp backtest --folds 2 --split-by {by} --symbols IBM,AAPL --start 2009-01-01 --epochs 1 --units 2")
    how = {part["name"]: part["how"] for part in found["parts"]}
    assert list(how) == ["prepare", "train", "test"]
    assert how["train"].startswith("2 trainings of ")
    assert how["test"].startswith("2 tests on ")


@pytest.mark.exhaustive
def test_dry_run_of_snp_kfold(dry: Callable[[str], dict[str, Any]]) -> None:
    found = dry("snp kfold --folds 2 --units 2,4,8 --keep-share 0.5 --symbols IBM --start 2009-01-01 --epochs 1")
    # Three settings in the first round, two in the second, each in both folds.
    assert found["parts"][0]["how"].startswith("10 trainings of ")


@pytest.mark.exhaustive
def test_dry_run_of_toy_tune_with_parallel_jobs(dry: Callable[[str], dict[str, Any]]) -> None:
    found = dry("toy tune --units 2,4 --sequences 200 --epochs 1 --jobs 2")
    assert [part["name"] for part in found["parts"]] == ["start", "train", "finish"]
    assert "2 trials of " in found["parts"][1]["how"]


@pytest.mark.exhaustive
def test_dry_run_of_toy_limits(dry: Callable[[str], dict[str, Any]]) -> None:
    found = dry("toy limits --sizes 2,4 --sequences 200 --epochs 1 --jobs 1 --cell gru --optimizer sgd")
    assert [part["how"] for part in found["parts"]][1] == "evaluate, draw, and save the best 2 trials"


@pytest.mark.slow
def test_interrupted_dry_run_leaves_no_files(
    monkeypatch: pytest.MonkeyPatch, temporary: Path, empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        assert os.listdir(temporary)  # the dry run is in progress
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "finish_run", stop)
    assert main(shlex.split(f"toy train {SMALL} --dry-run --quiet")) == 130
    assert capsys.readouterr().err == "lstmae: Interrupted; nothing was being trained\n"
    assert os.listdir() == []
    assert left_in(temporary) == []


RESUME = "--dry-run estimates a new run, but --resume continues one. Remove one of the two options"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("toy train --resume", RESUME),
        ("mnist tune --resume --out full", RESUME),
        ("series train --resume", RESUME),
        ("series train", "Pass the table to train on: lstmae series train DATA --dry-run"),
        ("toy train --out full", "--out 'full' is not empty. Pass a new directory, or resume with --resume"),
        ("toy tune --out full", "--out 'full' is not empty. Pass a new directory, or resume with --resume"),
        (
            "toy tune --engine ray",
            "--dry-run times this machine and needs --engine local. Remove one of the two options",
        ),
        (
            "snp backtest --out full",
            "--dry-run estimates a new run, but --out 'full' exists. Remove one of the two options",
        ),
        (
            "snp kfold --units 2,4 --out full",
            "--dry-run estimates a new run, but --out 'full' exists. Remove one of the two options",
        ),
        ("snp backtest --split-by size", "--split-by must be time or company. Received: 'size'"),
        ("toy limits --sizes 0", "--sizes must be different whole numbers from 1, such as 8,16,32,50. Received: '0'"),
        (
            "toy limits --units 16",
            "--code must be at most 16, the size of the encoder's state. Received: 50. "
            "Reduce --code or increase --units",
        ),
        ("toy train --epochs 0", "--epochs must be a whole number at least 1 and at most 100000. Received: 0"),
    ],
)
def test_dry_run_refuses_invalid_options(line: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    assert main(shlex.split(f"{line} --dry-run")) == 2
    out, err = capsys.readouterr()
    assert (out, message_of(err)) == ("", text)


def test_every_long_command_has_a_dry_run_option() -> None:
    long = {" ".join(path) for path, one in commands(command()) if any("--dry-run" in p.opts for p in one.params)}
    studies = {f"{study} {verb}" for study in ("toy", "mnist", "snp", "series") for verb in ("train", "tune")}
    others = {"series backtest", "report", "snp backtest", "snp kfold", "toy limits", "mnist compare", "mnist weights"}
    assert long == studies | others
