"""Test whether a trained forecaster or classifier replaces the linear model that it starts at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labeled_windows import labeled_data

from lstm_ae import experiment
from lstm_ae.classification import baselines
from lstm_ae.classification.baselines import fit_logistic_regression
from lstm_ae.config import Series, Snp, Toy
from lstm_ae.data.windows import Data, Split, window_starts
from lstm_ae.forecasting.baselines import LINEAR_NAME, fit_baselines
from lstm_ae.forecasting.intervals import forecast_method
from lstm_ae.forecasting.metrics import forecast_errors
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.run import Run
from lstm_ae.studies import start as starts
from lstm_ae.studies.series.defaults import load
from lstm_ae.training.observer import Progress, TrainingObserver

pytestmark = pytest.mark.usefixtures("several_networks")
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
    method = forecast_method(KerasNetwork(model), data.test.span)
    errors = forecast_errors(method, data, data.test, fit_baselines(data, WINDOW, HORIZON))
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


def test_kept_start_is_the_model_of_several_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "MIN_WINDOWS", 1000)
    config, data = write_table(tmp_path, chaos(600), epochs=8, learning_rate=0.03, seeds=2)
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


def classes_of_rows(rows: int, span: int, label: np.ndarray, group: np.ndarray) -> Data:
    """Return windows at each row of series, in the training and the validation split each."""
    segment = group.astype(np.int32)
    starts = window_starts(segment, span)
    split = Split(np.zeros((rows, 1), np.float32), starts, span, segment, label=label[starts], group=segment)
    return labeled_data(np.zeros((2, span, 1)), np.arange(2))._replace(train=split, validation=split)


def rows_of(split: Split) -> set[int]:
    return set((split.starts[:, None] + np.arange(split.span)).ravel().tolist())


@pytest.mark.parametrize("series", [10, 1])
def test_folds_share_no_row_and_hold_whole_series_or_blocks_of_time(series: int) -> None:
    group = np.repeat(np.arange(series), 200 // series)
    data = classes_of_rows(200, 5, np.arange(200) // 4 % 2 if series == 1 else group % 2, group)
    folds = starts.divide_into_folds(data)
    assert len(folds) == starts.FOLDS
    for fold in folds:
        separate = fold.data.separate
        assert separate is not None
        assert not rows_of(fold.test) & rows_of(fold.data.train)
        assert not rows_of(separate.train) & rows_of(separate.validation)
        assert rows_of(separate.train) | rows_of(separate.validation) == rows_of(fold.data.train)
        assert len(rows_of(fold.test)) == 5 * fold.test.samples
        if series == 1:
            assert np.ptp(fold.test.starts) == 5 * (fold.test.samples - 1)
        else:
            # The rows of validation follow those of training.
            held = {row % 200 // 20 for row in rows_of(fold.test)}
            assert len(held) == len({number % 2 for number in held}) == 2
            assert len(rows_of(fold.test)) == 80
    found = [rows_of(fold.test) for fold in folds]
    assert sum(map(len, found)) == len(set().union(*found))


@pytest.mark.parametrize(
    ("label", "folds"),
    [(np.arange(30) // 3, 5), (np.r_[np.zeros(29, int), 1], 3), (np.zeros(30, int), 0), (np.arange(4), 0)],
)
def test_folds_of_rare_classes(label: np.ndarray, folds: int) -> None:
    """No classifier is fitted to a single class."""
    data = labeled_data(np.zeros((len(label), 2, 1)), label)
    data = data._replace(validation=data.validation.select(slice(0)))
    assert len(starts.divide_into_folds(data)) == folds


@pytest.fixture
def flat_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let classifiers start at the regression on the flat window, which tells noise from stronger noise by chance."""
    monkeypatch.setattr(starts, "FOLDS", 3)
    monkeypatch.setattr(baselines, "_fits", lambda data: (fit_logistic_regression,))


def noise(windows: int = 100, *, stronger: float = 5.0) -> Data:
    """Return noise that is stronger in every second window, which is the class."""
    label = np.arange(windows) % 2
    values = np.random.default_rng(1).normal(0, 0.3, (windows, 12, 1))
    return labeled_data(values * np.where(label, stronger, 1)[:, None, None], label, divided=True)


def classifier(**options: Any) -> Series:
    sizes: dict[str, Any] = {"window": 12, "units": 4, "batch_size": 10, "epochs": 6, "learning_rate": 0.05}
    return Series(task="classify", label_col="kind", deterministic=True, **sizes | {"seeds": 2, "seed": 1} | options)


class FoldObserver(TrainingObserver):
    """Record the epochs on each fold, and interrupt the training at its first one on demand."""

    def __init__(self, *, interrupt: bool = False) -> None:
        self.interrupt, self.folds, self.epochs = interrupt, 0, [0] * starts.FOLDS

    def on_folds(self, folds: int) -> None:
        self.folds = folds

    def on_progress(self, progress: Progress) -> None:
        if self.folds:
            assert progress.members == self.folds
            self.epochs[progress.member - 1] = progress.epoch
            if self.interrupt:
                raise KeyboardInterrupt

    def on_epoch(self, history: Any) -> None:
        assert not self.folds


@pytest.mark.usefixtures("flat_start")
def test_classifiers_are_compared_out_of_fold() -> None:
    data, observer = noise(stronger=1.0), FoldObserver()
    # The test split has no part in it.
    data = data._replace(test=data.test.select(slice(0)))
    found, _ = experiment.compare_out_of_fold(classifier(patience=1), data, 6, observer)
    assert (found.remark, found.windows) == (starts.OUT_OF_FOLD, 80)
    assert not starts.replaces_start(found)
    assert "80 windows" in starts.describe_kept_start(found)
    assert observer.epochs == [6] * starts.FOLDS


@pytest.mark.usefixtures("flat_start")
def test_few_series_are_not_compared() -> None:
    _, result = experiment.fit_model(classifier(seeds=1), noise(24), observer=(observer := FoldObserver()))
    assert (found := result.comparison) is not None
    assert (found.windows, result.best_epoch, observer.folds) == (19, 0, 0)
    assert "19 windows" in starts.describe_kept_start(found)


@pytest.mark.usefixtures("flat_start")
def test_training_resumes_at_the_folds(tmp_path: Path) -> None:
    config, data, observer = classifier(seeds=1), noise(), FoldObserver(interrupt=True)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config, data, out=tmp_path / "run", observer=observer, figures=False)
    observer = FoldObserver()
    run = experiment.resume(Run(tmp_path / "run"), config, data, observer=observer)
    whole = experiment.train(config, data, out=tmp_path / "whole", figures=False)
    training = run.metrics()["training"]
    assert set(observer.epochs) == {training["best_epoch"]} != {0}
    assert training["start"] == whole.metrics()["training"]["start"]
    assert (training["start"]["outcome"], training["start"]["windows"]) == ("beats", 80)
    assert run.metrics()["test"] == whole.metrics()["test"]


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
