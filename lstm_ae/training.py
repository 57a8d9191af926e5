"""Training on scaled values: shuffled batches, early stopping, and a state that survives a kill at any moment.

Everything that decides the next epoch is in one `.npz`, written beside and renamed at the end of every epoch: the
network's variables (seed generators included), the optimizer's, the best weights and the history. Shuffling is drawn
from (seed, epoch). So a run that was killed and resumed takes the very steps that it would have taken.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from lstm_ae.config import Config
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError
from lstm_ae.feed import order
from lstm_ae.files import load_state, save_state
from lstm_ae.kernels.choice import accelerated
from lstm_ae.steps import Steps, steps_of


class Progress(NamedTuple):
    """Where training stands: told after every step and every epoch (`finished`).

    `values` are the running losses and metrics; `seconds` counts from the start of this process's training, which
    began after `first` epochs.
    """

    first: int
    epoch: int
    epochs: int
    step: int
    steps: int
    values: Mapping[str, float]
    seconds: float
    finished: bool


class Fitted(NamedTuple):
    """What came of a training.

    Args:
        history: one row an epoch: epoch, losses, metrics and learning rate.
        best_epoch: the epoch (from 1) whose weights the model now has; 0 if none was good.
        stopped: why it ended before its last epoch, "" if it did not.
        diverged: whether the loss became NaN or infinite.
        seconds: training time, over all resumptions.
    """

    history: list[dict[str, float]]
    best_epoch: int
    stopped: str
    diverged: bool
    seconds: float


def fit(
    network: Any,
    data: Data,
    config: Config,
    *,
    state: Path,
    identity: Mapping[str, Any],
    notify: Callable[[Progress], None] | None = None,
    callbacks: Sequence[Any] = (),
    every: float = 0.2,
) -> Fitted:
    """Train the network in place and leave it with the weights of its best epoch.

    Args:
        network: the inner network, on scaled values.
        state: file that holds the training state; where it exists, training goes on from it.
        identity: what must be equal for a state to be continued (config, data, versions).
        notify: called with a `Progress` now and then within an epoch, and after it.
        callbacks: further Keras callbacks.
        every: seconds between two calls of `notify`; 0 calls it after every step.

    Raises:
        ConfigError: the state belongs to another config, other data or other versions.
        DataError: the state cannot be read.
    """
    variables = list(network.variables)
    optimizer = _optimizer(config, steps_of(data.train, config.batch_size))
    optimizer.build(network.trainable_variables)
    network.compile(optimizer=optimizer, jit_compile=False)
    steps = Steps(
        network,
        optimizer,
        data,
        batch_size=config.batch_size,
        parts=config.parts,
        reconstruction_weight=getattr(config, "reconstruction_weight", 1.0),
    )
    keeper = Keeper(config, variables, list(optimizer.variables), state, identity, notify, steps.count)
    keeper.restore()
    if not keeper.stopped and keeper.epoch < config.epochs:
        with accelerated(network, config.kernel):
            _run(steps, keeper, [keeper, *callbacks], every)
    for variable, value in zip(variables, keeper.best, strict=True):
        variable.assign(value)
    return Fitted(keeper.history, keeper.best_epoch, keeper.stopped, keeper.diverged, keeper.seconds)


def _run(steps: Steps, keeper: "Keeper", callbacks: list[Any], every: float) -> None:
    """Train epoch by epoch until all are done or a callback stops it."""
    network = steps.network
    listeners = keras.callbacks.CallbackList(callbacks, model=network)
    network.stop_training = False
    listeners.on_train_begin()
    for epoch in range(keeper.epoch, keeper.config.epochs):
        listeners.on_epoch_begin(epoch)
        sequence = order(steps.train_feed.samples, keeper.config.seed, epoch)
        values, done, stride = dict.fromkeys(steps.names, 0.0), 0, 1
        while done < steps.count and not network.stop_training:
            last, began = min(done + stride, steps.count), time.monotonic()
            for name, value in steps.train(sequence, done, last).items():
                values[name] += value
            taken = (time.monotonic() - began) / (last - done)
            done = last
            # Within limits of its own growth: the first call of all holds the tracing.
            stride = max(1, min(2 * stride, int(every / taken)))
            seen = min(done * steps.batch_size, steps.train_feed.samples)
            listeners.on_train_batch_end(done - 1, {name: value / seen for name, value in values.items()})
        logs = {name: value / steps.train_feed.samples for name, value in values.items()}
        if not network.stop_training:
            logs |= {f"val_{name}": value for name, value in steps.validate().items()}
        listeners.on_epoch_end(epoch, logs)
        if network.stop_training:
            break
    listeners.on_train_end()


def _optimizer(config: Config, steps: int) -> Any:
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, config.epochs * steps)
    names = {"adam": "Adam", "adamw": "AdamW", "nadam": "Nadam", "rmsprop": "RMSprop", "sgd": "SGD"}
    return getattr(keras.optimizers, names[config.optimizer])(rate, global_clipnorm=config.clip or None)


class Keeper(keras.callbacks.Callback):
    """Keeps the best weights and the training state, stops on NaN or without progress, and tells where it stands."""

    def __init__(
        self,
        config: Config,
        variables: list[Any],
        optimizer_variables: list[Any],
        path: Path,
        identity: Mapping[str, Any],
        notify: Callable[[Progress], None] | None,
        steps: int,
    ) -> None:
        super().__init__()
        self.config, self.path, self.identity, self.notify, self.steps = config, path, dict(identity), notify, steps
        self.variables, self.optimizer_variables = variables, optimizer_variables
        self.history: list[dict[str, float]] = []
        self.best: list[Any] = [np.asarray(variable) for variable in variables]
        self.best_value, self.best_epoch = math.inf, 0
        self.stopped, self.diverged = "", False
        self.before, self.started, self.first, self.rate = 0.0, time.monotonic(), 0, 0.0

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """Training time so far, over all resumptions."""
        return self.before + time.monotonic() - self.started

    def on_train_begin(self, logs: Any = None) -> None:
        """Save the initial state, so that a kill within the first epoch can be resumed as well."""
        self.started, self.first = time.monotonic(), self.epoch
        self._save()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the learning rate that the epoch starts with."""
        self.rate = float(np.asarray(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop at once when the running loss is no number any more."""
        if not math.isfinite(logs["loss"]):
            self._diverge(self.epoch + 1)
        self._tell(batch + 1, logs, finished=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Judge the epoch, then save."""
        if self.diverged:
            return
        row = {"epoch": epoch + 1.0, **{key: float(value) for key, value in logs.items()}}
        row["learning_rate"] = self.rate
        if not math.isfinite(row["val_loss"]):
            self._diverge(epoch + 1)
            return
        self.history.append({**row, "seconds": self.seconds})
        if row["val_loss"] < self.best_value:
            self.best_value, self.best_epoch = row["val_loss"], epoch + 1
            self.best = [np.array(variable) for variable in self.variables]
        elif self.config.patience and epoch + 1 - self.best_epoch >= self.config.patience:
            self.stopped = f"no better validation loss in {self.config.patience} epochs"
            self.model.stop_training = True
        self._save()
        self._tell(self.steps, row, finished=True)

    def _diverge(self, epoch: int) -> None:
        self.diverged, self.stopped = True, f"the loss became NaN or infinite in epoch {epoch}"
        self.model.stop_training = True

    def _tell(self, step: int, values: Mapping[str, Any], *, finished: bool) -> None:
        if self.notify:
            epoch = self.epoch if finished else self.epoch + 1
            numbers = {key: float(value) for key, value in values.items()}
            elapsed = time.monotonic() - self.started
            self.notify(Progress(self.first, epoch, self.config.epochs, step, self.steps, numbers, elapsed, finished))

    def _save(self) -> None:
        meta = {
            "identity": self.identity,
            "history": self.history,
            "best_value": self.best_value if self.best_epoch else None,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "seconds": self.seconds,
        }
        save_state(self.path, meta, self._groups())

    def _groups(self) -> dict[str, list[Any]]:
        return {"variable": self.variables, "optimizer": self.optimizer_variables, "best": self.best}

    def restore(self) -> None:
        """Take up the state on disk, if there is one."""
        if not self.path.exists():
            return
        meta, groups = load_state(self.path, {name: len(values) for name, values in self._groups().items()})
        for key, value in self.identity.items():
            if meta["identity"].get(key) != value:
                raise ConfigError(
                    f"This training cannot go on: {_difference(key, meta['identity'].get(key), value)}. "
                    "Start a new run without --resume"
                )
        for name, variables in (("variable", self.variables), ("optimizer", self.optimizer_variables)):
            for variable, value in zip(variables, groups[name], strict=True):
                variable.assign(value)
        self.best, self.history = groups["best"], meta["history"]
        self.best_epoch, self.stopped, self.before = meta["best_epoch"], meta["stopped"], meta["seconds"]
        self.best_value = math.inf if meta["best_value"] is None else meta["best_value"]


def _difference(key: str, before: Any, now: Any) -> str:
    """What is other than it was; of mappings, the entries that are."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return "; ".join(f"its {key} had {name} {before.get(name)}, now it is {now.get(name)}" for name in names)
    return f"its {key} was {before}, now it is {now}"
