"""Training of fleets: models, table, resuming, processes, and refused options."""

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from fleet_makers import OPTIONS, PUMP, ROWS, SERIES, TOO_SHORT, write_series
from lstm_ae_cli.fleets import compare_with_common
from sampling import sampled
from searches import done, refused, rows_of

from lstm_ae.config import Series
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.fleets import training
from lstm_ae.fleets.directory import Fleet, take_series
from lstm_ae.fleets.training import FleetTask, SeriesJob, SeriesTrainer, common_config, series_config
from lstm_ae.parallel import JobEnd, JobObserver
from lstm_ae.run import Run, open_run
from lstm_ae.training.observer import DIVERGENCE

TRAIN = f"series train table.csv --fleet {OPTIONS}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table and a fleet that one process trained, which no test changes."""
    folder = tmp_path_factory.mktemp("fleet")
    write_series(folder / "table.csv")
    with contextlib.chdir(folder):
        done(f"{TRAIN} --out fleet --jobs 1")
    return folder


@pytest.mark.slow
def test_every_series_has_a_run_or_a_reason(place: Path) -> None:
    rows = rows_of(place / "fleet/fleet.csv")
    assert [row["series"] for row in rows] == [*SERIES, TOO_SHORT]
    assert [row["run"] for row in rows] == ["runs/m1", "runs/site%20A%2Fm2", ""]
    assert [int(row["rows"]) for row in rows] == [ROWS, ROWS, 5]
    assert "holds no window of 6 rows" in rows[2]["failure"]
    for row in rows[:2]:
        metrics = open_run(place / "fleet" / row["run"]).metrics()
        assert float(row["test_error"]) == metrics["test"]["reconstruction_mse"]["value"]
        assert float(row["threshold"]) == metrics["threshold"]["value"]
        assert row["verdict"] == metrics["verdict"]["test"]["text"]


@pytest.mark.slow
def test_models_start_from_the_common_weights(place: Path) -> None:
    for name, row in zip(SERIES, Fleet(place / "fleet").runs().values(), strict=False):
        start = row.history()[0]["val_loss"]
        common = row.metrics()["training"]["common"]
        # The loss is a mean of the windows, the error one of all values, which is the same without missing values.
        assert start == pytest.approx(common["validation"], rel=1e-4), name
        assert row.metrics()["validation"]["reconstruction_mse"]["value"] <= start * (1 + 1e-5)
    assert len(open_run(place / "fleet/common").symbols) == 1 + len(SERIES)


@pytest.mark.slow
def test_repeated_job_keeps_the_run_of_the_first_one(place: Path, tmp_path: Path) -> None:
    """A process may die between the end of a training and its answer."""
    config, fleet = open_run(place / "fleet/common").config(), Fleet(place / "fleet")
    assert isinstance(config, Series)
    table = dict(take_series(read_panel(dataclasses.replace(config, data=str(place / "table.csv")))))["m1"]
    trainer = SeriesTrainer(FleetTask(series_config(config, config), str(fleet.common.directory), ""))
    job = SeriesJob(0, table, str(tmp_path / "m1"))
    assert trainer.run(job) == JobEnd(0)
    created = open_run(tmp_path / "m1").about()["created"]
    assert trainer.run(job) == JobEnd(0)
    assert open_run(tmp_path / "m1").about()["created"] == created


def content(fleet: Path) -> dict[str, list[bytes]]:
    """Return the weights and the calibration of each model."""
    return {
        series: [
            *(np.array(weight).tobytes() for weight in open_run(run.directory).model().weights),
            (run.directory / "normal.npz").read_bytes(),
        ]
        for series, run in Fleet(fleet).runs().items()
        if run.finished
    }


@pytest.mark.parametrize("engine", sampled(("--jobs 2", "--engine ray --jobs 2"), slow=("--jobs 2",)))
def test_models_do_not_depend_on_the_engine(engine: str, place: Path) -> None:
    if "ray" in engine:
        pytest.importorskip("ray")
    # Only the common model is complete.
    shutil.copy(place / "table.csv", "table.csv")
    shutil.copytree(place / "fleet", "fleet", ignore=shutil.ignore_patterns("runs", "fleet.csv"))
    said = done(f"{TRAIN} --out fleet {engine}")
    assert "training 3 models, 2 at once" in said.err
    assert list(content(Path("fleet"))) == list(SERIES)
    assert content(Path("fleet")) == content(place / "fleet")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--id-col machine", "--fleet needs --out"),
        ("--out fleet", "--fleet needs --id-col"),
        ("--id-col machine --task forecast --horizon 2 --out fleet", "--fleet is for --task anomaly and reconstruct"),
        ("--id-col machine --split-by series --out fleet", "--split-by series does not apply to a fleet"),
        ("--id-col machine --scale minmax --out fleet", "--scale minmax does not apply to a fleet"),
        ("--id-col machine --test other.csv --out fleet", "--test does not apply to a fleet"),
        ("--id-col machine --resume --out fleet", "--resume does not apply to --fleet"),
    ],
)
def test_options_that_do_not_fit_a_fleet_are_refused(options: str, words: str) -> None:
    write_series(Path("table.csv"))
    assert words in refused(f"series train table.csv --fleet {options}", 2)
    assert not Path("fleet").exists()


def test_missing_cluster_is_reported_before_the_common_training(monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(Path("table.csv"))
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "ray is not installed" in refused(f"{TRAIN} --out fleet --engine ray", 1)
    monkeypatch.setitem(sys.modules, "ray", mock.Mock())
    assert "Cannot reach ray at" in refused(f"{TRAIN} --out fleet --engine ray --address 127.0.0.1:1", 1)
    assert not Path("fleet").exists()


def test_jobs_and_engines_are_for_fleets() -> None:
    write_series(Path("table.csv"))
    for option in ("--jobs 2", "--engine ray", "--address a:1"):
        message = refused(f"series train table.csv {option}", 2)
        assert f"{option.split()[0]} does not apply to a single model" in message
        assert "--fleet" in message


def test_config_of_a_series_differs_from_the_common_one_in_scale_and_schedule_only() -> None:
    config = Series(id_col=("machine",), epochs=30, learning_rate=0.005)
    common = dataclasses.replace(common_config(config), window=6, code=2, batch_size=64)
    own = series_config(config, common)
    assert (common.scale, own.scale) == ("series", "standard")
    assert (own.epochs, own.learning_rate, own.batch_size) == (6, 0.002, None)
    assert (own.window, own.code) == (6, 2)
    assert series_config(dataclasses.replace(config, scale="window"), common).scale == "window"


def replace_trainings(monkeypatch: pytest.MonkeyPatch, run: Callable[[SeriesJob], JobEnd]) -> None:
    """Replace the trainings of a fleet, so that a test needs no networks."""

    class Trainer(SeriesTrainer):
        def __init__(self, task: training.FleetTask) -> None:
            assert task.config.epochs == 6

        def run(self, job: SeriesJob) -> JobEnd:
            return run(job)

    monkeypatch.setattr(training, "SeriesTrainer", Trainer)
    monkeypatch.setattr(training, "_train_common", lambda run, config, table, command, observer: config)


def test_wrong_option_leaves_no_directory(tmp_path: Path) -> None:
    config = Series(data=str(write_series(tmp_path / "table.csv")), id_col=("machine",), window=100)
    with pytest.raises(DataError, match="window"):
        training.train_fleet(config, read_panel(config), Fleet(tmp_path / "fleet"))
    assert not (tmp_path / "fleet").exists()


def test_diverged_common_model_is_refused_again(tmp_path: Path) -> None:
    run = Run(shutil.copytree(PUMP, tmp_path / "common"))
    metrics, config = run.metrics(), run.config()
    assert isinstance(config, Series)
    assert training._train_common(run, config, mock.Mock(), "", None) == config
    metrics["training"]["stopped"] = f"{DIVERGENCE} in epoch 3"
    run.write_metrics(metrics)
    with pytest.raises(DivergedError, match=r"common' diverged: the loss became NaN or infinite in epoch 3\. Pass"):
        training._train_common(run, config, mock.Mock(), "", None)


def test_fleet_with_other_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_trainings(monkeypatch, lambda job: JobEnd(job.number, "failure"))
    config = Series(data=str(write_series(tmp_path / "table.csv")), id_col=("machine",))
    table = read_panel(config)
    labels = np.zeros(len(table.lines), np.int32)
    labeled = table._replace(labels=labels, classes=("0", "1"))
    training.train_fleet(config, labeled, Fleet(tmp_path / "fleet"))
    training.train_fleet(config, labeled, Fleet(tmp_path / "fleet"))
    labels[3] = 1
    with pytest.raises(ConfigError, match="started with other options or data"):
        training.train_fleet(config, labeled, Fleet(tmp_path / "fleet"))


def test_interrupted_fleet_is_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a table of an earlier training exists."""
    config = Series(data=str(write_series(tmp_path / "table.csv")), id_col=("machine",))
    replace_trainings(monkeypatch, lambda job: JobEnd(job.number, "failure"))
    training.train_fleet(config, read_panel(config), Fleet(tmp_path / "fleet"))
    assert Fleet(tmp_path / "fleet").finished
    replace_trainings(monkeypatch, mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        training.train_fleet(config, read_panel(config), Fleet(tmp_path / "fleet"))
    assert not Fleet(tmp_path / "fleet").finished


def test_failures_do_not_stop_a_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without networks: a driver passes on what a trainer returns."""
    table = read_panel(Series(data=str(write_series(tmp_path / "table.csv")), id_col=("machine",)))
    config, reports = Series(data="table.csv", id_col=("machine",)), []
    replace_trainings(monkeypatch, lambda job: JobEnd(job.number, f"failure {job.number}"))

    class Observer(JobObserver):
        def count(self, done: int, total: int) -> None:
            reports.append((done, total))

    fleet = Fleet(tmp_path / "fleet")
    rows = training.train_fleet(config, table, fleet, jobs_observer=Observer())
    assert [row["failure"] for row in rows] == ["failure 0", "failure 1", "failure 2"]
    assert reports == [(1, 3), (2, 3), (3, 3)]
    assert "failure 1" in fleet.table.read_text()


def test_models_with_the_common_weights_equal_the_common_model() -> None:
    rows = [
        {"test_error": own, "common_test_error": common}
        for own, common in [(0.5, 1.0), (1.0000001, 1.0), (0.9999999, 1.0), (2.0, 1.0), (None, 1.0)]
    ]
    text = compare_with_common(rows, "test")
    assert text.startswith(
        "test: own models beat the common model in 1 of 4 series and equal it in 2, median error 1.000"
    )
    assert not compare_with_common(rows[-1:], "test")
