"""Checkpoints of a training: saved after every epoch, restored on resume, with early stopping.

Everything that affects the next epoch is in one `.npz`, written to a temporary file and renamed: the variables of the
network (including seed generators) and of the optimizer, the best weights, and the history.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import ArrayLike

from lstm_ae.arrays import Array
from lstm_ae.config import Config
from lstm_ae.errors import Code, ConfigError
from lstm_ae.files import load_state, save_state
from lstm_ae.json_types import JsonMapping
from lstm_ae.training.observer import DIVERGENCE, Progress, TrainingObserver


class Checkpointer:
    """Saves checkpoints, tracks the best weights, stops early or on NaN, and reports progress.

    Args:
        config: epochs, patience, and averaging.
        variables: the network's variables.
        optimizer_variables: the optimizer's variables.
        path: checkpoint file; None to save nothing.
        identity: values that must equal those of the checkpoint to resume.
        observer: receives the progress and the history.
        steps: training steps per epoch.
    """

    def __init__(
        self,
        config: Config,
        variables: list[keras.Variable],
        optimizer_variables: list[keras.Variable],
        path: Path | None,
        identity: JsonMapping,
        observer: TrainingObserver,
        steps: int,
    ) -> None:
        self.config, self.path, self.identity, self.observer, self.steps = config, path, dict(identity), observer, steps
        self.variables, self.optimizer_variables = variables, optimizer_variables
        self.history: list[dict[str, float]] = []
        self.best: list[Array] = [np.asarray(variable) for variable in variables]
        self.best_value, self.best_epoch = math.inf, 0
        self.stopped, self.diverged = "", False
        self.before, self.started, self.first = 0.0, time.monotonic(), 0

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return completed_epochs(self.history)

    @property
    def seconds(self) -> float:
        """Training time in seconds so far, summed over all resumptions."""
        return self.before + time.monotonic() - self.started

    def begin(self) -> None:
        """Start the clock."""
        self.started, self.first = time.monotonic(), self.epoch

    def judge_start(self, logs: Mapping[str, float]) -> None:
        """Record the untrained network as epoch 0 and save, so that a run killed in the first epoch can be resumed.

        Args:
            logs: losses and metrics on the validation split, by their names in the history.
        """
        row = {"epoch": 0, **logs, "seconds": self.seconds}
        self.history.append(row)
        if math.isfinite(row["val_loss"]):
            self.best_value = row["val_loss"]
        self._save_epoch(row)

    def end_step(self, step: int, logs: Mapping[str, float]) -> None:
        """Report the progress, and stop as soon as the running loss is NaN or infinite.

        Args:
            step: completed steps of the epoch.
            logs: running losses and metrics by name.
        """
        if not math.isfinite(logs["loss"]):
            self._diverge()
        self._report(step, logs, finished=False)

    def end_epoch(self, logs: Mapping[str, float], rate: float) -> None:
        """Judge and save an epoch.

        Args:
            logs: losses and metrics by their names in the history.
            rate: learning rate at the start of the epoch.
        """
        number = self.epoch + 1
        row = {"epoch": number, **logs, "learning_rate": rate}
        if not math.isfinite(row["val_loss"]):
            self._diverge()
            return
        self.history.append({**row, "seconds": self.seconds})
        if row["val_loss"] < self.best_value:
            self.best_value, self.best_epoch = row["val_loss"], number
            self.best = [np.array(variable) for variable in self.variables]
        if self.config.patience and number - self._last_progress() >= self.config.patience:
            self.stopped = f"validation loss did not improve in {self.config.patience} epochs"
        self._save_epoch(row)

    def _last_progress(self) -> int:
        """Return the best epoch; without epoch 0 unless the network must improve on it.

        Training may first move away from a good initialization.
        """
        if self.config.starts_linear:
            return self.best_epoch
        trained = [row for row in self.history if row["epoch"] >= 1]
        return int(min(trained, key=lambda row: row["val_loss"])["epoch"])

    def _save_epoch(self, row: Mapping[str, float]) -> None:
        """Save the checkpoint and report a completed epoch."""
        self.save()
        self.observer.on_epoch(self.history)
        self._report(self.steps if row["epoch"] else 0, row, finished=True)

    def _diverge(self) -> None:
        self.diverged, self.stopped = True, f"{DIVERGENCE} in epoch {self.epoch + 1}"

    def _report(self, step: int, values: Mapping[str, float], *, finished: bool) -> None:
        epoch = self.epoch if finished else self.epoch + 1
        elapsed = time.monotonic() - self.started
        self.observer.on_progress(
            Progress(self.first, epoch, self.config.epochs, step, self.steps, dict(values), elapsed, finished)
        )

    def save(self) -> None:
        """Write the checkpoint."""
        if self.path is None:
            return
        meta = {
            "identity": self.identity,
            "history": self.history,
            "best_value": self.best_value if math.isfinite(self.best_value) else None,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "seconds": self.seconds,
        }
        save_state(self.path, meta, self._groups())

    def _groups(self) -> dict[str, Sequence[ArrayLike]]:
        return {"variable": self.variables, "optimizer": self.optimizer_variables, "best": self.best}

    def restore(self) -> None:
        """Restore the checkpoint if the file exists.

        Raises:
            ConfigError: it belongs to another config, other data, or other versions.
            DataError: it cannot be read.
        """
        if self.path is None or not self.path.exists():
            return
        meta, groups = load_state(
            self.path,
            {name: len(values) for name, values in self._groups().items()},
            "start a new run, or delete that file to restart this one",
        )
        for key, value in self.identity.items():
            before = meta["identity"].get(key)
            if before != value:
                raise ConfigError(
                    f"This training cannot be resumed: {_difference(key, before, value)}. "
                    "Start a new run without --resume",
                    code=Code.NOT_RESUMABLE,
                )
        for name, variables in (("variable", self.variables), ("optimizer", self.optimizer_variables)):
            for variable, value in zip(variables, groups[name], strict=True):
                variable.assign(value)
        self.best, self.history = groups["best"], meta["history"]
        self.best_epoch, self.stopped, self.before = meta["best_epoch"], meta["stopped"], meta["seconds"]
        self.best_value = math.inf if meta["best_value"] is None else meta["best_value"]


def completed_epochs(history: Sequence[Mapping[str, float]]) -> int:
    """Return the number of completed epochs in a history, not counting epoch 0."""
    return int(history[-1]["epoch"]) if history else 0


def _difference(key: str, before: object, now: object) -> str:
    """Describe how a value of the identity differs from the checkpoint's; for mappings, entry by entry."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return "; ".join(f"its {key} had {name} {before.get(name)}, now it is {now.get(name)}" for name in names)
    return f"its {key} was {before}, now it is {now}"
