"""Test training into a run directory, and reproducing metrics and figures from it."""

import datetime
import json
import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import filelock
import numpy as np
import pytest
from sampling import sampled

from lstm_ae import experiment, run
from lstm_ae.config import Config, Series, Snp, Toy
from lstm_ae.data import prices
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.experiment import RunWithData, open_trained
from lstm_ae.files import save_state
from lstm_ae.run import Run
from lstm_ae.studies import load_study
from lstm_ae.training.observer import Progress, TrainingObserver

TOY = Toy(sequences=40, units=2, epochs=2, batch_size=16, latent="vector", dropout=0.2, seed=7, deterministic=True)


def load(config: Config) -> Data:
    return load_study(config).load(config)


def trained(config: Config, where: str = "here", **choices: Any) -> Run:
    return experiment.train(config, load(config), out=Path(where), **choices)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(TOY, str(tmp_path_factory.mktemp("runs") / "toy"))


def some_prices(folder: Path) -> str:
    """Write 100 days of prices of two companies to a CSV file and return its path."""
    random = np.random.default_rng(0)
    lines = ["symbol,date,open,high,low,close,volume"]
    for symbol, start in (("AAA", 100.0), ("BBB", 20.0)):
        for number, high in enumerate(start * np.exp(np.cumsum(random.normal(0, 0.01, 100)))):
            day = datetime.date(2020, 1, 1) + datetime.timedelta(number)
            lines.append(f"{symbol},{day},{high},{high},{high},{high},1")
    path = folder / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def same_again(run: Run, config: Config) -> RunWithData:
    """Check that a run reproduces its metrics and figures from its directory alone, and return the opened run."""
    assert run.finished
    assert not run.state.exists()
    assert run.config() == config
    stored = json.loads((run.directory / "metrics.json").read_text())
    training = stored.pop("training")
    assert stored.pop("leaky") == ""
    stored.pop("training_period", None)
    assert set(training) - {"note", "start"} == {"epochs", "best_epoch", "stopped", "seconds", "parameters"}
    assert ("note" in training) == (training["best_epoch"] == 0)
    assert training["epochs"] == len(run.history()) - 1 == config.epochs

    opened = open_trained(run)
    assert opened.evaluate().as_json() == stored
    for name in ("verdict", "notes"):
        stored.pop(name, None)
    assert set(stored) == {"validation", "test"}
    for part in stored.values():
        for name, metric in part.items():
            assert set(metric) == {"value", "baselines", "unit", "higher_is_better"}
            # The untrained model equals persistence and predicts no direction.
            assert (name == "direction" and training["best_epoch"] == 0) or math.isfinite(metric["value"])
            assert metric["baselines"]

    figures = {path: path.read_bytes() for path in (run.directory / "figures").iterdir()}
    assert figures
    assert set(opened.plot()) == set(figures)
    for path, before in figures.items():
        assert path.read_bytes() == before, path.name
    return opened


@pytest.mark.slow
def test_toy_run_reproduces_metrics_and_figures_from_its_directory(toy: Run) -> None:
    opened = same_again(toy, TOY)
    names = {path.name for path in toy.directory.iterdir()} - {".lock"}
    assert names == {"config.json", "history.csv", "metrics.json", "model.keras", "figures"}
    stored = toy.metrics()["test"]["reconstruction_mse"]
    assert set(stored["baselines"]) == {"mean sequence", "PCA with 2 numbers"}
    # Compute the metric by hand over all windows at once.
    window = opened.data.test.windows()
    given_back = opened.model({"sequence": window})["reconstruction"]
    assert stored["value"] == pytest.approx(np.mean((given_back - window) ** 2), rel=1e-5)
    mean = opened.data.train.windows().mean(axis=0)
    assert stored["baselines"]["mean sequence"] == pytest.approx(np.mean((window - mean) ** 2), rel=1e-5)


@pytest.mark.parametrize("goal", sampled(("predict", "reconstruct"), slow=("predict",)))
def test_snp_run_reproduces_metrics_and_figures_from_its_directory(
    goal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "MIN_TRAINING_DAYS", 20)
    config = Snp(data=some_prices(tmp_path), goal=goal, window=6, units=2, epochs=1)
    run = trained(config)
    opened = same_again(run, config)
    metrics = run.metrics()["test"]
    window = opened.data.test.windows()[..., 0].astype(float)
    if goal == "reconstruct":
        assert set(metrics) == {"reconstruction_mse", "reconstruction_mae"}
        return
    # Compute persistence by hand (tomorrow = today), in scaled values and in USD.
    change = np.diff(window, axis=1)
    scaled = (np.diff(np.log(window), axis=1) / opened.data.scale.range.item()) ** 2
    assert metrics["mse"]["baselines"]["persistence"] == pytest.approx(scaled.mean(), rel=1e-4)
    assert metrics["forecast_mse"]["baselines"]["persistence"] == pytest.approx(scaled[:, -1].mean(), rel=1e-4)
    assert metrics["mae"]["baselines"]["persistence"] == pytest.approx(abs(change[:, -1]).mean(), rel=1e-4)
    assert (metrics["mae"]["unit"], metrics["mse"]["unit"]) == ("USD", "scaled")
    judged = run.metrics()["verdict"]["test"]
    assert judged["text"].startswith(f"{judged['outcome']} {judged['baseline']} (")
    errors = metrics["forecast_mse"]["baselines"]
    assert judged["baseline"] == min(errors, key=errors.get)
    assert judged["skill"] == pytest.approx(1 - metrics["forecast_mse"]["value"] / errors[judged["baseline"]], rel=1e-6)


@pytest.mark.slow
def test_resumed_run_equals_an_uninterrupted_run(toy: Run) -> None:
    class Interrupt(TrainingObserver):
        def on_start(self, directory: Path) -> None:
            started.append(directory)

        def on_progress(self, progress: Progress) -> None:
            if (progress.epoch, progress.step) == (2, 1):
                raise KeyboardInterrupt

        def on_epoch(self, history: Any) -> None:
            written.append(len(Run(started[0]).history()))

    started: list[Path] = []
    written: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        trained(TOY, observer=Interrupt())
    # The history is written before an observer receives it.
    assert written == [1, 2]
    (run,) = map(Run, started)
    assert run.state.is_file()
    assert not run.finished
    with pytest.raises(DataError, match=r"is unfinished. Resume with: lstmae toy train --resume --out here"):
        open_trained(run)
    experiment.resume(run, TOY, load(TOY))
    resumed, whole = run.metrics(), toy.metrics()
    assert resumed["test"] == whole["test"]
    assert resumed["validation"] == whole["validation"]
    assert run.model_file.read_bytes() == toy.model_file.read_bytes()
    assert not run.state.exists()
    with pytest.raises(ConfigError, match="The run 'here' is finished, so it cannot be resumed"):
        experiment.resume(run, TOY, load(TOY))


def test_observer_of_a_run_provides_the_context_of_the_steps(tmp_path: Path) -> None:
    observer = Mock(spec=TrainingObserver)
    assert experiment._HistoryWriter(Run(tmp_path), observer).on_steps() is observer.on_steps.return_value


def test_state_of_other_package_versions_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    state, data = Path("state.npz"), load(TOY)
    now = experiment.identity_in(state, TOY, data)
    assert now == experiment.identity(TOY, data) | {"versions": run.installed_versions()}
    save_state(state, {"identity": now}, {"variable": [np.zeros(3)]})
    assert experiment.identity_in(state, TOY, data) == now
    assert state.exists()
    monkeypatch.setattr("lstm_ae.run.installed_versions", lambda: {"keras": "4"})
    assert experiment.identity_in(state, TOY, data)["versions"] == {"keras": "4"}
    assert not state.exists()
    save_state(state, {"identity": experiment.identity(TOY, data)}, {})  # a state without package versions
    experiment.identity_in(state, TOY, data)
    assert not state.exists()
    state.write_bytes(b"cut")
    with pytest.raises(DataError, match="delete that file and run the same command"):
        experiment.identity_in(state, TOY, data)


def test_failed_training_releases_the_lock_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is released even if the caller keeps the error, whose traceback refers to the run."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(experiment, "fit_model", fail)
    with pytest.raises(RuntimeError, match="no memory") as held:
        trained(TOY)
    with filelock.FileLock(Run(Path("here")).lock, timeout=0):
        assert held.value


def test_open_trained_refuses_other_data(toy: Run) -> None:
    with pytest.raises(DataError) as caught:
        open_trained(toy, load(Toy(sequences=40, seed=8)))
    assert "The data differs from that of" in str(caught.value)
    assert "40 generated sequences of 50 steps, seed 8" in str(caught.value)
    assert "to --data, or set or unset LSTMAE_DATA_DIR" in str(caught.value)


@pytest.mark.slow
def test_divergence_after_good_epochs_leaves_the_best_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two good epochs a weight becomes NaN; the run is complete, with the weights of the best epoch."""
    from lstm_ae.training.checkpoint import Checkpointer

    judge = Checkpointer.end_epoch

    def poison(self: Any, logs: Any, rate: float) -> None:
        judge(self, logs, rate)
        if self.epoch == 2:
            weight = self.variables[0]
            weight.assign(np.full(weight.shape, math.nan))

    monkeypatch.setattr(Checkpointer, "end_epoch", poison)
    with pytest.raises(DivergedError) as caught:
        trained(Toy(sequences=20, units=2, epochs=5, batch_size=4))
    run = Run(Path("here"))
    best = run.metrics()["training"]["best_epoch"]
    assert str(caught.value).endswith(f"here contains the weights of epoch {best}")
    history = run.history()
    assert len(history) == 3
    assert run.metrics()["training"]["stopped"] == "the loss became NaN or infinite in epoch 3"
    assert all(np.isfinite(weight).all() for weight in run.model().get_weights())
    validation = run.metrics()["validation"]["reconstruction_mse"]["value"]
    assert validation == pytest.approx(history[best]["val_loss"], rel=1e-4)


def waves(folder: Path) -> Series:
    """Write a table, and return the config of a forecaster of it."""
    random = np.random.default_rng(0)
    rows = 20 + np.sin(np.arange(500) / 4) + random.normal(0, 0.1, 500)
    (folder / "waves.csv").write_text("x\n" + "\n".join(f"{row:.4f}" for row in rows) + "\n")
    options: dict[str, Any] = {"window": 8, "horizon": 3, "units": 2, "batch_size": 64, "learning_rate": 0.05}
    return Series(data=str(folder / "waves.csv"), value_cols=("x",), task="forecast", epochs=3, seed=1, **options)
