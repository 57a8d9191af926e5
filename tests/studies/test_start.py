"""Test whether a trained forecaster or classifier replaces the linear model that it starts at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labeled_windows import labeled_data

from lstm_ae import experiment
from lstm_ae.config import Series, Snp, Toy
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Verdict
from lstm_ae.forecasting.baselines import LINEAR_NAME, fit_table_baselines
from lstm_ae.forecasting.metrics import table_errors
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.studies import start as starts
from lstm_ae.studies.series import load

WINDOW, HORIZON = 4, 2


def write_table(folder: Path, values: np.ndarray, **options: Any) -> tuple[Series, Data]:
    """Write a table and return the config of a forecaster with its data."""
    (folder / "table.csv").write_text("x\n" + "\n".join(f"{value:.6f}" for value in values) + "\n")
    sizes: dict[str, Any] = {
        "window": WINDOW,
        "horizon": HORIZON,
        "units": 8,
        "batch_size": 32,
        "seeds": 1,
        "seed": 1,
    } | options
    config = Series(data=str(folder / "table.csv"), value_cols=("x",), task="forecast", deterministic=True, **sizes)
    return config, load(config)


def chaos(rows: int) -> np.ndarray:
    """Return a logistic map, which no linear model forecasts."""
    values = [0.3]
    while len(values) < rows:
        values.append(3.99 * values[-1] * (1 - values[-1]))
    return np.array(values)


def starting_errors(model: Any, data: Data) -> tuple[float, float]:
    """Return the mean squared errors of a model and of the linear regression on the test split."""
    errors = table_errors(KerasNetwork(model), data, data.test, fit_table_baselines(data, WINDOW))
    return float(errors.squared[""].mean()), float(errors.squared[LINEAR_NAME].mean())


@pytest.mark.parametrize(("moments", "windows", "kept"), [(38, 19, True), (39, 20, False)])
def test_better_network_needs_enough_windows_without_overlap(
    tmp_path: Path, moments: int, windows: int, kept: bool
) -> None:
    config, data = write_table(tmp_path, chaos(600), epochs=8, learning_rate=0.03)
    data = data._replace(validation=data.validation._replace(starts=data.validation.starts[:moments]))
    model, result = experiment.fit_model(config, data)
    assert result.comparison is not None
    assert (result.comparison.outcome, result.comparison.windows) == ("beats", windows)
    assert (result.best_epoch == 0) == kept
    ours, linear = starting_errors(model, data)
    assert ours == pytest.approx(linear, rel=1e-5) if kept else ours < 0.9 * linear


def test_kept_start_is_refitted_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "MIN_WINDOWS", 1000)
    config, data = write_table(tmp_path, chaos(600), epochs=8, learning_rate=0.03, refit=True, seeds=2)
    fitted, result = experiment.train_model(config, data, record={}, name="run")
    assert fitted is not None
    assert result.comparison is not None
    training = fitted.metrics()["training"]
    assert training["epochs"] == 2 * 8
    assert [member["best_epoch"] for member in training["members"]] == [0, 0]
    assert training["start"]["windows"] == result.comparison.windows
    assert f"{result.comparison.windows:,} windows" in training["note"]
    verdict = fitted.metrics()["verdict"]["test"]
    assert (verdict["baseline"], verdict["outcome"], verdict["skill"]) == (LINEAR_NAME, "ties with", 0)


def test_patience_counts_from_the_linear_start(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=300)
    config, data = write_table(tmp_path, noise, epochs=20, patience=2, learning_rate=0.5)
    _, result = experiment.fit_model(config, data)
    assert (result.epochs, result.best_epoch, result.comparison) == (2, 0, None)


def test_classes_are_compared_on_windows_without_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of two steps begin at each row, so that every second one counts."""
    label = np.arange(50) % 2
    data = labeled_data(np.zeros((50, 2, 1), np.float32), label)
    data = data._replace(validation=data.validation._replace(series=np.zeros((51, 1)), starts=np.arange(50)))
    model, start = (type("Classifier", (), {"outputs": {"label": None}})() for _ in range(2))
    right = {model: np.ones(50, bool), start: np.arange(50) % 4 < 2}
    monkeypatch.setattr(
        starts, "probabilities", lambda network, split: np.eye(2)[np.where(right[network], label, 1 - label)]
    )
    found = starts.compare_with_start(Series(task="classify", label_col="kind"), data, model, start)
    assert (found.outcome, found.windows) == ("beats", 25)
    assert starts.replaces_start(found)


@pytest.mark.parametrize(
    ("outcome", "windows", "replaced"), [("beats", 20, True), ("beats", 19, False), ("ties with", 500, False)]
)
def test_start_is_replaced_by_a_significantly_better_network(outcome: str, windows: int, replaced: bool) -> None:
    comparison = Verdict(outcome, starts.START, 0.1, 0.21, windows=windows)
    assert starts.replaces_start(comparison) == replaced
    assert all(text in starts.describe_kept_start(comparison) for text in ("p = 0.21", f"{windows} windows"))


@pytest.mark.parametrize(
    ("config", "linear"),
    [
        (Series(task="forecast"), True),
        (Series(task="classify", label_col="kind"), True),
        (Series(task="forecast", link="none"), False),
        (Series(task="anomaly"), False),
        (Series(task="reconstruct"), False),
        (Snp(), True),
        (Snp(target="level"), False),
        (Snp(goal="reconstruct"), False),
        (Toy(), False),
    ],
    ids=str,
)
def test_forecasters_and_classifiers_start_at_a_linear_model(config: Any, linear: bool) -> None:
    assert config.starts_linear == linear
