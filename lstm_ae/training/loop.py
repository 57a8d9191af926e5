"""Training on scaled values, epoch by epoch.

Shuffling is drawn from (seed, epoch), and everything else that decides the next epoch is in the state that the keeper
writes. So a run that was killed and resumed takes the very steps that it would have taken.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from lstm_ae.config import Config, Mnist
from lstm_ae.data.windows import Data
from lstm_ae.kernels.choice import accelerate
from lstm_ae.training.batches import shuffled_order
from lstm_ae.training.checkpoint import Checkpointer, Judge, Progress, completed_epochs
from lstm_ae.training.deformation import Deformation
from lstm_ae.training.optimizer import make_optimizer
from lstm_ae.training.steps import TrainingSteps, steps_per_epoch

# Validation windows that judge an epoch at least, and up to a quarter of those that it trains on.
VALIDATED = 10_000


class TrainingResult(NamedTuple):
    """What came of a training.

    Args:
        history: one row an epoch: epoch, losses, metrics and learning rate. Epoch 0, the untrained start, comes first
            and holds no training loss and no learning rate.
        best_epoch: the epoch whose weights the model now has; 0 for the start.
        stopped: why it ended before its last epoch, "" if it did not.
        diverged: whether the loss became NaN or infinite.
        seconds: training time, over all resumptions.
    """

    history: list[dict[str, float]]
    best_epoch: int
    stopped: str
    diverged: bool
    seconds: float

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return completed_epochs(self.history)

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch; empty where no epoch was completed."""
        return next((row for row in self.history if self.epochs and row["epoch"] == self.best_epoch), {})


def fit(
    network: Any,
    data: Data,
    config: Config,
    *,
    state: Path,
    identity: Mapping[str, Any],
    notify: Callable[[Progress], None] | None = None,
    log: Callable[[list[dict[str, float]]], None] | None = None,
    callbacks: Sequence[Any] = (),
    every: float = 0.2,
    until: int | None = None,
    judge: Judge | None = None,
    best: bool = True,
) -> TrainingResult:
    """Train the network in place and leave it with the weights of its best epoch, which may be the start.

    Args:
        network: the inner network, on scaled values.
        state: file that holds the training state; where it exists, training goes on from it.
        identity: what must be equal for a state to be continued (config, data, versions).
        notify: called with a `Progress` now and then within an epoch, and after it.
        log: called with the history after every epoch.
        callbacks: further Keras callbacks.
        every: seconds between two calls of `notify`; 0 calls it after every step.
        until: stop after this epoch; None for all of the config's. The learning rate is scheduled over all of them.
        judge: told the history without the start after every epoch; what it returns, unless "", is why training stops
            there.
        best: False leaves the weights of the last epoch, or their average.

    Raises:
        ConfigError: the state belongs to another config, other data or other versions.
        DataError: the state cannot be read.
    """
    steps = prepare_training(network, data, config)
    variables, optimizer = list(network.variables), steps.optimizer
    keeper = Checkpointer(
        config, variables, list(optimizer.variables), state, identity, notify, steps.count, judge, log
    )
    keeper.restore()
    until = config.epochs if until is None else min(until, config.epochs)
    try:
        if not keeper.stopped and (keeper.epoch < until or not keeper.history):
            with accelerate(network, config.kernel):
                _run(steps, keeper, [keeper, *callbacks], every, until)
    finally:
        steps.release()
    if best:
        for variable, value in zip(variables, keeper.best, strict=True):
            variable.assign(value)
    elif config.average and keeper.epoch:
        optimizer.finalize_variable_values(network.trainable_variables)
    return TrainingResult(keeper.history, keeper.best_epoch, keeper.stopped, keeper.diverged, keeper.seconds)


def prepare_training(network: Any, data: Data, config: Config) -> TrainingSteps:
    """The steps of a training, with the network compiled for them."""
    most: int | None = getattr(config, "steps_per_epoch", None)
    optimizer = make_optimizer(config, steps_per_epoch(data.train, config.batch_size, most))
    optimizer.build(network.trainable_variables)
    network.compile(optimizer=optimizer, jit_compile=False)
    return TrainingSteps(
        network,
        optimizer,
        limit_validation(data, config),
        batch_size=config.batch_size,
        parts=config.parts,
        most=most,
        reconstruction_weight=getattr(config, "reconstruction_weight", 1.0),
        label_smoothing=getattr(config, "label_smoothing", 0.0),
        deform=Deformation(config.read, config.deform, config.seed)
        if isinstance(config, Mnist) and config.deform
        else None,
    )


def limit_validation(data: Data, config: Config) -> Data:
    """Return the data with fewer validation windows, evenly spaced, where an epoch takes some training windows only."""
    most: int | None = getattr(config, "steps_per_epoch", None)
    if most is None:
        return data
    return data._replace(validation=data.validation.thin(max(VALIDATED, most * config.batch_size // 4)))


def _run(steps: TrainingSteps, keeper: Checkpointer, callbacks: list[Any], every: float, until: int) -> None:
    """Train epoch by epoch until all are done or a callback stops it."""
    network = steps.network
    listeners = keras.callbacks.CallbackList(callbacks, model=network)
    network.stop_training = False
    listeners.on_train_begin()
    if not keeper.history:
        keeper.judge_start(_named_validation(steps))
    for epoch in range(keeper.epoch, until):
        listeners.on_epoch_begin(epoch)
        sequence = shuffled_order(steps.train_feed.samples, keeper.config.seed, epoch)
        values, done, stride = dict.fromkeys(steps.names, 0.0), 0, 1
        while done < steps.count and not network.stop_training:
            last, began = min(done + stride, steps.count), time.perf_counter()
            values = steps.train(sequence, done, last, values)
            # Steps may be shorter than the clock can tell.
            taken = max(time.perf_counter() - began, 1e-6) / (last - done)
            done = last
            # Within limits of its own growth: the first call of all holds the tracing.
            stride = max(1, min(2 * stride, int(every / taken)))
            seen = min(done * steps.batch_size, steps.samples)
            listeners.on_train_batch_end(done - 1, {name: value / seen for name, value in values.items()})
        logs = {name: value / steps.samples for name, value in values.items()}
        if done == steps.count and not keeper.diverged:
            with _averaged(network, keeper):
                logs |= _named_validation(steps)
        listeners.on_epoch_end(epoch, logs)
        if network.stop_training:
            break
    listeners.on_train_end()


def _named_validation(steps: TrainingSteps) -> dict[str, float]:
    return {f"val_{name}": value for name, value in steps.validate().items()}


@contextmanager
def _averaged(network: Any, keeper: Checkpointer) -> Iterator[None]:
    """Put the weights' averages in their place, where they are what is judged and kept."""
    if not keeper.config.average:
        yield
        return
    own = [np.array(variable) for variable in network.trainable_variables]
    network.optimizer.finalize_variable_values(network.trainable_variables)
    keeper.judged = [np.array(variable) for variable in keeper.variables]
    try:
        yield
    finally:
        for variable, value in zip(network.trainable_variables, own, strict=True):
            variable.assign(value)
