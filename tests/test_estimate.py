"""Test dry runs of long commands and their estimates."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helps import commands
from lstm_ae_cli import main
from lstm_ae_cli.app import command
from messages import message_of
from searches import call

from lstm_ae.config import Toy
from lstm_ae.config.space import Axis
from lstm_ae.errors import ConfigError
from lstm_ae.estimate import TrainingEstimate, TrainingWork, largest_setting
from lstm_ae.studies.series import reconstruction

SMALL = "--sequences 200 --epochs 2 --units 2 --batch-size 64"


def test_duration_of_trainings_by_hand() -> None:
    work = TrainingWork(epochs=2, steps=10, windows=4)
    one = TrainingEstimate(work, 1, start=2.0, step=0.5, window=0.25, memory=None)
    # The initial weights are validated as well: 2 + 20 x 0.5 + 12 x 0.25.
    assert one.seconds == 15
    assert one._replace(work=work._replace(networks=3), trainings=1.5).seconds == 4.5 * 15


@pytest.mark.parametrize(
    ("axes", "found"),
    [
        ([Axis("code", (2, 1)), Axis("units", (1, 4))], (2, 4)),
        # A code of 2 with 1 unit is invalid.
        ([Axis("code", (1, 2)), Axis("units", (1,))], (1, 1)),
        ([Axis("code", (1,)), Axis("units", low=2, high=9)], (1, 9)),
    ],
)
def test_largest_setting_is_valid(axes: list[Axis], found: tuple[int, int]) -> None:
    largest = largest_setting(Toy(latent="vector"), axes)
    assert (largest.code, largest.units) == found  # type: ignore[attr-defined]


def test_search_without_a_valid_setting_has_no_estimate() -> None:
    with pytest.raises(ConfigError):
        largest_setting(Toy(latent="vector"), [Axis("code", (2, 3)), Axis("units", (1,))])


def dry(line: str) -> dict[str, Any]:
    """Make a dry run, check that it leaves no files, and return its JSON."""
    before = sorted(Path.cwd().rglob("*"))
    said = call(f"{line} --dry-run --json --quiet")
    assert (said.code, said.err) == (0, "")
    assert sorted(Path.cwd().rglob("*")) == before
    found: dict[str, Any] = json.loads(said.out)
    assert found["seconds"] > found["epochs"] * found["steps"] * found["step_seconds"] > 0
    assert found["memory_bytes"] > 1e8
    return found


def test_dry_run_of_a_training() -> None:
    found = dry(f"toy train {SMALL} --epochs 30")
    sizes = ("trainings", "networks", "epochs", "steps", "windows")
    assert [found[name] for name in sizes] == [1, 1, 30, 2, 40]
    assert found["notes"][0] == "training ends earlier after 10 epochs without a better validation loss"


def test_dry_run_of_a_detector_evaluates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(600, 20))
    header = ",".join(f"v{number}" for number in range(20))
    np.savetxt("t.csv", rows, delimiter=",", header=header, comments="")
    options = "series train t.csv --window 40 --units 2 --epochs 1 --task anomaly"
    with monkeypatch.context() as patch:
        # The evaluation of a table of many columns takes minutes.
        patch.delattr(reconstruction, "evaluate")
        patch.delattr(reconstruction, "fit_artifacts")
        assert dry(options)["epochs"] == 1


@pytest.mark.slow
def test_dry_run_of_a_classifier_counts_its_folds() -> None:
    main(shlex.split("series example walks.csv --task classify --quiet"))
    line = "series train walks.csv --task classify --id-col walk --label-col kind --units 2 --epochs 1 --refit"
    assert dry(f"{line} --seeds 2")["trainings"] == 2 + 5 / 2
    assert dry(f"{line} --seeds 1 --link none")["trainings"] == 2


def test_dry_run_of_a_backtest_counts_its_folds() -> None:
    line = "snp backtest --folds 2 --symbols IBM,AAPL --start 2009-01-01 --epochs 1 --units 2"
    assert dry(line)["trainings"] == 2


@pytest.mark.slow
def test_dry_run_of_a_table_backtest_counts_its_folds() -> None:
    np.savetxt("t.csv", np.random.default_rng(0).normal(size=400), header="v", comments="")
    options = "--window 8 --horizon 2 --units 2 --epochs 1 --seeds 2"
    found = dry(f"series backtest t.csv --folds 3 {options}")
    assert (found["trainings"], found["networks"]) == (3, 2)


@pytest.mark.parametrize(
    ("options", "trainings"),
    [
        ("--units 2,4 --repeats 2 --max-time 10min", 4),
        pytest.param("--units 2..30 --search hyperband --epochs 9", 75 / 9, marks=pytest.mark.slow),
    ],
)
def test_dry_run_of_a_search_counts_its_trials(options: str, trainings: float) -> None:
    found = dry(f"toy tune --sequences 200 --epochs 1 {options}")
    assert found["trainings"] == pytest.approx(trainings)
    assert ("this is the whole search without --max-time" in found["notes"]) == ("--max-time" in options)


RESUME = "--dry-run estimates a new run, but --resume continues one. Remove one of the two options"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("toy train --resume", RESUME),
        ("mnist tune --resume --out full", RESUME),
        ("series train --resume", RESUME),
        ("series train", "Pass the table to train on: lstmae series train DATA --dry-run"),
        ("toy train --out full", "--out 'full' is not empty"),
        ("toy tune --out full", "--out 'full' is not empty"),
        ("toy tune --engine ray", "--dry-run times this machine and needs --engine local"),
        ("snp backtest --out full", "--dry-run estimates a new run, but --out 'full' exists"),
        ("toy train --epochs 0", "--epochs must be a whole number at least 1 and at most 100000. Received: 0"),
    ],
)
def test_dry_run_refuses_invalid_options(line: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    assert main(shlex.split(f"{line} --dry-run")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message_of(err).startswith(text)


def test_every_long_command_has_a_dry_run_option() -> None:
    long = {" ".join(path) for path, one in commands(command()) if any("--dry-run" in p.opts for p in one.params)}
    studies = {f"{study} {verb}" for study in ("toy", "mnist", "snp", "series") for verb in ("train", "tune")}
    others = {"series backtest", "report", "snp backtest", "toy limits", "mnist compare", "mnist weights"}
    assert long == studies | others
