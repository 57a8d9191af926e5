"""Data-parallel training gives the weights of one process, whatever the number of workers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gradient_workers import InProcessWorkers, in_process

from lstm_ae import experiment
from lstm_ae.arrays import Array
from lstm_ae.config import Config, Mnist, Series, Snp, Toy, task_of
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.models.autoencoder import autoencoder
from lstm_ae.models.scaling import inner_network
from lstm_ae.studies import load_study
from lstm_ae.studies.series.defaults import load_complete
from lstm_ae.training.loop import StartWorkers, fit
from lstm_ae.training.observer import Progress, ProgressObserver
from lstm_ae.training.steps import add_parts

STEPS = 4
# A last batch of 2 samples for 3 parts, one of which is empty. Dropout has a state.
CONFIG = Toy(units=2, dropout=0.3, optimizer="sgd", epochs=2, batch_size=5, parts=3, seed=4, deterministic=True)


def split(samples: int, seed: int) -> Split:
    values = np.random.default_rng(seed).random((samples * STEPS, 1), np.float32)
    return Split(values, np.arange(samples) * STEPS, STEPS)


DATA = Data(split(12, 0), split(6, 1), split(6, 2), fixed_scale(), Source("made", "abc", "CC0"))

Outcome = tuple[list[dict[str, float]], list[Array]]


def trained(config: Config, workers: StartWorkers | None, data: Data = DATA, **details: Any) -> Outcome:
    """Return the history without seconds, and all variables, which include the random states."""
    if data is DATA:
        assert isinstance(config, Toy)
        experiment.seed(config)
        network = autoencoder(config, steps=STEPS, features=1)
        result = fit(network, data, config, workers=workers, **details)
    else:
        model, result = experiment.fit_model(config, data, workers=workers, **details)
        network = inner_network(model)
    history = [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]
    return history, [np.asarray(variable) for variable in network.variables]


def assert_same(one: Outcome, other: Outcome) -> None:
    assert one[0] == other[0]
    for ours, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def assert_close(one: Outcome, other: Outcome) -> None:
    """Assert equal weights to 1e-6, and equal random states."""
    for ours, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 if ours.dtype.kind == "f" else 0)
    for row, wanted in zip(one[0], other[0], strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_training_does_not_depend_on_the_number_of_workers() -> None:
    started: list[InProcessWorkers] = []
    one, two, three = (trained(CONFIG, in_process(count, started)) for count in (1, 2, 3))
    assert_same(two, one)
    assert_same(three, one)
    assert_close(one, trained(CONFIG, None))
    # Two epochs of batches of 5, 5, and 2 samples, and each step has all parts.
    assert started[1].computed == [(step, share) for step in range(6) for share in ([0, 2], [1])]


def small_table(tmp_path: Path) -> str:
    random = np.random.default_rng(0)
    rows = [f"{np.sin(k / 5):.4f},{random.normal():.4f},{'' if k % 37 == 0 else k % 7}" for k in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(("a,b,c", *rows)) + "\n")
    return str(tmp_path / "t.csv")


def small_digits(tmp_path: Path) -> str:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (60, 28, 28)).astype(np.uint8)
    label = (np.arange(60) % 10).astype(np.uint8)
    np.savez(tmp_path / "digits.npz", x_train=image, y_train=label, x_test=image, y_test=label)
    return str(tmp_path / "digits.npz")


SMALL: dict[str, Any] = {"units": 3, "epochs": 1, "batch_size": 16, "deterministic": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda place: Toy(sequences=40, cell="gru", optimizer="adamw", parts=3, **SMALL),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            lambda place: Toy(
                sequences=40, latent="vector", decoder_start="code", average=0.9, schedule="cosine", **SMALL
            ),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            lambda place: Toy(
                sequences=40, bidirectional=True, kernel="keras", dropout=0.2, optimizer="rmsprop", **SMALL
            ),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            lambda place: Mnist(data=small_digits(place), deform=1.0, parts=4, **SMALL), marks=pytest.mark.exhaustive
        ),
        pytest.param(
            lambda place: Snp(symbols=("IBM",), start="2009-01-01", inputs="ohlc", with_open=True, **SMALL),
            marks=pytest.mark.exhaustive,
        ),
        lambda place: Series(data=small_table(place), window=16, **SMALL),
        pytest.param(
            lambda place: Series(data=small_table(place), window=16, horizon=4, task="forecast", **SMALL),
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["gru", "code", "bidirectional", "digits", "prices", "missing values", "forecast"],
)
def test_an_epoch_with_workers_gives_the_weights_of_one_process(make: Callable[[Path], Config], tmp_path: Path) -> None:
    config = make(tmp_path)
    if isinstance(config, Series):
        config, data = load_complete(config)
    else:
        data = load_study(task_of(config)).load(config)
    assert_close(trained(config, in_process(2), data), trained(config, None, data))


@pytest.mark.slow
def test_training_resumes_with_another_number_of_workers(tmp_path: Path) -> None:
    """The second epoch is interrupted after a step."""

    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (2, 1):
            raise KeyboardInterrupt

    details: dict[str, Any] = {"state": tmp_path / "state.npz", "every": 0}
    with pytest.raises(KeyboardInterrupt):
        trained(CONFIG, in_process(2), observer=ProgressObserver(interrupt), **details)
    assert_same(trained(CONFIG, in_process(3), **details), trained(CONFIG, in_process(1)))


@pytest.mark.exhaustive
def test_refit_starts_workers_with_the_joined_data(tmp_path: Path) -> None:
    started: list[InProcessWorkers] = []
    config, data = load_complete(
        Series(data=small_table(tmp_path), window=16, horizon=4, task="forecast", refit=True, **SMALL)
    )
    experiment.train(config, data, out=tmp_path / "run", figures=False, workers=in_process(1, started))
    samples = [workers.workers[0].steps.train_feed.samples for workers in started]
    assert samples == [data.train.samples, data.train.samples + data.validation.samples]
    assert all(workers.computed for workers in started)


def test_parts_are_added_in_their_order() -> None:
    """The sum of these numbers in float32 depends on the order."""
    parts = [([tf.constant([value])], tf.constant([value])) for value in (1.0, 1e8, -1e8)]
    gradients, sums = add_parts(parts)
    assert [gradients[0].numpy().tolist(), sums.numpy().tolist()] == [[0.0], [0.0]]
    gradients, sums = add_parts([parts[1], parts[2], parts[0]])
    assert [gradients[0].numpy().tolist(), sums.numpy().tolist()] == [[1.0], [1.0]]
