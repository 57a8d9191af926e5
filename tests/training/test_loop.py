"""Tests of the training loop: resuming, restoring the best weights, and stopping on NaN."""

import gc
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from recorders import without_seconds

from lstm_ae import experiment
from lstm_ae.config import Series, Toy
from lstm_ae.data.scaling import fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.models.autoencoder import autoencoder
from lstm_ae.training import loop, steps
from lstm_ae.training.batches import Batches, shuffled_order
from lstm_ae.training.loop import TrainingResult, fit
from lstm_ae.training.observer import NO_TRAINING_OBSERVER, Progress, ProgressObserver

STEPS = 4
# All parts that have a state: dropout, the averages of the optimizer, a learning rate schedule, and early stopping.
CONFIG = Toy(
    units=2,
    dropout=0.3,
    optimizer="nadam",
    schedule="cosine",
    learning_rate=0.02,
    epochs=3,
    patience=2,
    batch_size=5,
    seed=4,
    deterministic=True,
)
# The optimizer with the fewest operations to trace, for tests that do not depend on the state of the optimizer.
PLAIN: dict[str, Any] = {"units": 2, "optimizer": "sgd"}
IDENTITY = {"config": CONFIG.to_dict(), "data": "abc", "versions": {"keras": "3"}}


def split(samples: int, seed: int) -> Split:
    values = np.random.default_rng(seed).random((samples * STEPS, 1), np.float32)
    return Split(values, np.arange(samples) * STEPS, STEPS)


DATA = Data(split(12, 0), split(6, 1), split(6, 2), fixed_scale(), Source("made", "abc", "CC0"))


def network_for(config: Toy) -> Any:
    experiment.seed(config)
    return autoencoder(config, steps=STEPS, features=1)


def fitted(
    state: Path,
    config: Toy = CONFIG,
    data: Data = DATA,
    identity: dict[str, Any] = IDENTITY,
    notify: Callable[[Progress], None] | None = None,
    every: float = 0,
) -> tuple[TrainingResult, Any]:
    network = network_for(config)
    observer = ProgressObserver(notify) if notify else NO_TRAINING_OBSERVER
    result = fit(network, data, config, state=state, identity=identity, observer=observer, every=every)
    return result, network


def error_on(network: Any, part: Split) -> float:
    inputs, targets = Batches(part, fixed_scale(), network).cut(np.arange(part.samples))
    return float(np.mean((network(inputs)["reconstruction"] - targets["reconstruction"]) ** 2))


def arrays(state: Path) -> dict[str, bytes]:
    with np.load(state) as content:
        return {name: content[name].tobytes() for name in content.files if name != "meta"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Any, Path]:
    state = tmp_path_factory.mktemp("whole") / "state.npz"
    told: list[Progress] = []
    result, network = fitted(state, notify=told.append)
    # 12 samples in batches of 5 are 3 steps; progress is reported at the start and after each step and epoch.
    assert [(p.epoch, p.step, p.finished) for p in told[:6]] == [
        (0, 0, True),
        (1, 1, False),
        (1, 2, False),
        (1, 3, False),
        (1, 3, True),
        (2, 1, False),
    ]
    assert {(p.first, p.epochs, p.steps) for p in told} == {(0, 3, 3)}
    assert all(math.isfinite(value) for p in told for value in p.values.values())
    return result, network, state


@pytest.mark.slow
def test_resumed_training_is_bitwise_equal(uninterrupted: tuple[TrainingResult, Any, Path], tmp_path: Path) -> None:
    """Interrupt before the first epoch, within the first and second epochs, and between two epochs."""
    whole, expected, expected_state = uninterrupted
    state = tmp_path / "state.npz"
    done, told = 0, []

    def interrupt_at(place: tuple[int, int, bool]) -> Callable[[Progress], None]:
        def interrupt(progress: Progress) -> None:
            told.append(progress)
            if (progress.epoch, progress.step, progress.finished) == place:
                raise KeyboardInterrupt

        return interrupt

    for place in ((0, 0, True), (1, 1, False), (2, 2, False), (2, 3, True)):
        told.clear()
        with pytest.raises(KeyboardInterrupt):
            fitted(state, notify=interrupt_at(place))
        assert state.is_file()
        # An unfinished epoch restarts from its first step.
        if place[0]:
            assert (told[0].first, told[0].epoch, told[0].step) == (done, done + 1, 1)
        done = place[0] if place[2] else place[0] - 1

    told.clear()
    resumed, network = fitted(state, notify=told.append)
    assert (told[0].first, told[0].epoch, told[0].step) == (done, done + 1, 1)
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert (resumed.best_epoch, resumed.stopped) == (whole.best_epoch, whole.stopped)
    for got, wanted in zip(network.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))
    assert arrays(state) == arrays(expected_state)
    assert resumed.seconds >= resumed.history[-1]["seconds"]


def test_epoch_0_of_the_history_is_the_untrained_start(uninterrupted: tuple[TrainingResult, Any, Path]) -> None:
    start = uninterrupted[0].history[0]
    assert set(start) == {"epoch", "val_loss", "seconds"}
    assert start["val_loss"] == pytest.approx(error_on(network_for(CONFIG), DATA.validation), rel=1e-6)


@pytest.mark.slow
def test_steps_per_epoch_draws_different_windows_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch draws 10 of 12 samples; the loss is their mean, and the validation loss uses all samples."""
    config = Series(**PLAIN, epochs=2, batch_size=5, steps_per_epoch=2, learning_rate=1e-9, schedule="constant")
    network, told = network_for(Toy(units=2)), []
    found = fit(
        network, DATA, config, state=tmp_path / "s.npz", identity={}, observer=ProgressObserver(told.append), every=0
    )
    assert {(progress.step, progress.steps) for progress in told if progress.epoch} == {(1, 2), (2, 2)}
    drawn = [shuffled_order(12, config.seed, epoch)[:10].numpy() for epoch in range(2)]
    assert set(drawn[0]) != set(drawn[1])
    losses = [error_on(network, DATA.train._replace(starts=DATA.train.starts[samples])) for samples in drawn]
    assert [row["loss"] for row in found.history[1:]] == pytest.approx(losses, rel=1e-4)
    assert found.history[-1]["val_loss"] == pytest.approx(error_on(network, DATA.validation), rel=1e-4)
    # A lower minimum of validation windows makes `limit_validation` drop some of them.
    monkeypatch.setattr(loop, "MIN_VALIDATION_WINDOWS", 3)
    assert loop.limit_validation(DATA, config).validation.starts.tolist() == [0, 2 * STEPS, 5 * STEPS]
    assert loop.limit_validation(DATA, CONFIG) is DATA


def test_resuming_a_finished_training_trains_no_epoch(
    uninterrupted: tuple[TrainingResult, Any, Path], tmp_path: Path
) -> None:
    whole, expected, expected_state = uninterrupted
    state = tmp_path / "state.npz"
    state.write_bytes(expected_state.read_bytes())
    told: list[Progress] = []
    again, network = fitted(state, notify=told.append)
    assert told == []
    assert again.history == whole.history
    for got, wanted in zip(network.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))


@pytest.mark.slow
def test_early_stopping_restores_the_untrained_start_if_it_is_best(tmp_path: Path) -> None:
    """Learning to output 1 increases the error on a validation split of zeros, so the start remains the best.

    Patience counts from the first epoch, because it measures the progress of the training.
    """
    ones = Split(np.ones((12 * STEPS, 1), np.float32), np.arange(12) * STEPS, STEPS)
    zeros = ones._replace(series=np.zeros_like(ones.series))
    config = Toy(units=2, epochs=50, patience=2, learning_rate=0.05, batch_size=4)
    data = DATA._replace(train=ones, validation=zeros)
    result, network = fitted(tmp_path / "state.npz", config, data)
    values = [row["val_loss"] for row in result.history]
    assert values == sorted(values)
    assert (result.best_epoch, result.epochs) == (0, 3)
    assert result.best == result.history[0]
    assert result.stopped == "validation loss did not improve in 2 epochs"
    assert not result.diverged
    assert error_on(network, zeros) == pytest.approx(values[0], rel=1e-6)
    for got, wanted in zip(network.trainable_variables, network_for(config).trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))
    # Resuming a stopped training does not continue it.
    again, _ = fitted(tmp_path / "state.npz", config, data)
    assert (again.epochs, again.best_epoch, again.stopped) == (3, 0, result.stopped)


def test_nan_loss_stops_training_and_restores_the_best_weights(tmp_path: Path) -> None:
    config = Toy(**PLAIN, epochs=5, batch_size=4)
    told: list[Progress] = []
    network = network_for(config)

    def poison(progress: Progress) -> None:
        """Set a weight to NaN after the second epoch, as an overflow would."""
        told.append(progress)
        if (progress.epoch, progress.finished) == (2, True):
            network.variables[0].assign(np.full(network.variables[0].shape, math.nan))

    observer = ProgressObserver(poison)
    result = fit(network, DATA, config, state=tmp_path / "state.npz", observer=observer, every=0)
    assert result.diverged
    assert result.stopped == "the loss became NaN or infinite in epoch 3"
    assert [row["epoch"] for row in result.history] == [0, 1, 2]
    assert told[-1].epoch == 3
    assert told[-1].step == 1  # immediately, not at the end of the epoch
    assert result.best_epoch in (1, 2)
    assert error_on(network, DATA.validation) == pytest.approx(result.best["val_loss"], rel=1e-6)


def test_infinite_loss_in_epoch_1_restores_the_initial_weights(tmp_path: Path) -> None:
    huge = DATA.train._replace(series=np.full_like(DATA.train.series, 1e30))
    config = Toy(**PLAIN, epochs=3, batch_size=4)
    before = [np.array(weight) for weight in network_for(config).weights]
    result, network = fitted(tmp_path / "state.npz", config, DATA._replace(train=huge))
    assert (result.diverged, result.best_epoch, result.epochs, result.best) == (True, 0, 0, {})
    assert result.stopped == "the loss became NaN or infinite in epoch 1"
    for got, wanted in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(got), wanted)


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (IDENTITY | {"config": CONFIG.to_dict() | {"units": 3}}, "its config had units 2, now it is 3"),
        (IDENTITY | {"data": "other"}, "its data was abc, now it is other"),
        (IDENTITY | {"versions": {"keras": "4"}}, "its versions had keras 3, now it is 4"),
    ],
    ids=["config", "data", "versions"],
)
def test_checkpoint_of_another_config_data_or_version_is_refused(
    uninterrupted: tuple[TrainingResult, Any, Path], tmp_path: Path, identity: dict[str, Any], message: str
) -> None:
    state = tmp_path / "state.npz"
    content = uninterrupted[2].read_bytes()
    state.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        fitted(state, identity=identity)
    assert str(caught.value).startswith("This training cannot be resumed: " + message)
    assert str(caught.value).endswith("Start a new run without --resume")
    assert state.read_bytes() == content


@pytest.mark.parametrize("keep", [0, 100, -10], ids=["empty", "cut", "cut at the end"])
def test_truncated_checkpoint_is_refused(
    uninterrupted: tuple[TrainingResult, Any, Path], tmp_path: Path, keep: int
) -> None:
    state = tmp_path / "state.npz"
    content = uninterrupted[2].read_bytes()[:keep]
    state.write_bytes(content)
    with pytest.raises(DataError) as caught:
        fitted(state)
    text = str(caught.value)
    assert text.startswith(f"The checkpoint {str(state)!r} cannot be read (")
    assert "delete that file to restart" in text
    assert "\n" not in text
    assert state.read_bytes() == content


@pytest.mark.slow
def test_loss_weight_of_zero_leaves_the_reconstruction_untrained(tmp_path: Path) -> None:
    from lstm_ae.config import Mnist
    from lstm_ae.models.classifier import classifier

    config = Mnist(**PLAIN, model="head-on-code", reconstruction_weight=0.0, epochs=1, batch_size=4)
    labelled = [part._replace(label=np.arange(part.samples, dtype=np.int32) % 3) for part in DATA[:2]]
    data = DATA._replace(train=labelled[0], validation=labelled[1])
    keras.utils.set_random_seed(0)
    network = classifier(config, steps=STEPS, features=1, classes=3)
    before = {layer: network.get_layer(layer).get_weights() for layer in ("reconstruction", "decoder_1")}
    result = fit(network, data, config, state=tmp_path / "state.npz", identity={})
    for layer, weights in before.items():
        for old, new in zip(weights, network.get_layer(layer).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    row = result.history[1]
    assert row["loss"] == pytest.approx(row["label_loss"], rel=1e-4)
    assert 0 <= row["val_label_accuracy"] <= 1


def test_training_leaves_no_graph_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' optimizer and the kernels have custom gradients, which TensorFlow stores with their graphs."""
    trace, graphs = steps.trace, []

    def spy(*arguments: Any) -> Any:
        traced = trace(*arguments)
        graphs.append(weakref.ref(traced.graph))
        return traced

    monkeypatch.setattr(steps, "trace", spy)
    fitted(tmp_path / "state.npz", Toy(**PLAIN, epochs=1))
    keras.utils.clear_session()
    gc.collect()
    assert [graph() for graph in graphs] == [None, None]
