"""Training loop on scaled values.

Shuffling depends on (seed, epoch) only, and the checkpoint holds everything else that affects the next epoch. A run
that is killed and resumed therefore takes exactly the same steps as an uninterrupted one.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

import keras
import numpy as np

from lstm_ae.config import Config, Mnist
from lstm_ae.data.windows import Data
from lstm_ae.evaluation import Verdict
from lstm_ae.json_types import JsonMapping
from lstm_ae.kernels.choice import accelerate
from lstm_ae.training.batches import shuffled_order
from lstm_ae.training.checkpoint import Checkpointer, completed_epochs
from lstm_ae.training.deformation import Deformation
from lstm_ae.training.observer import NO_TRAINING_OBSERVER, TrainingObserver, add_seed
from lstm_ae.training.optimizer import make_optimizer
from lstm_ae.training.shrinkage import Correction
from lstm_ae.training.steps import TrainingSteps, steps_per_epoch

# Number of parts that a batch is split into. It affects results by rounding, and by the random numbers of dropout and
# `deform`.
PARTS = 2

# A limited epoch has a quarter as many validation windows as training windows, but at least this number.
MIN_VALIDATION_WINDOWS = 10_000


class TrainingResult(NamedTuple):
    """Result of a training.

    Args:
        history: one row per epoch: epoch, losses, metrics, and learning rate. The first row, epoch 0, is the untrained
            network and has no training loss and no learning rate. The rows of several networks follow each other and
            have a column `seed`.
        best_epoch: the epoch whose weights the model has now; 0 for the untrained network. Of several networks, the
            latest one.
        stopped: why training ended before the last epoch; "" if it did not.
        diverged: whether the loss became NaN or infinite.
        seconds: training time in seconds, summed over all resumptions.
        members: results of the networks that are averaged; empty for a single network.
        share: share of the correction of the baseline that a network has, see `lstm_ae.training.shrinkage`.
        comparison: verdict on validation that decides whether the network replaces its linear start, see
            `lstm_ae.studies.start`; None without one.
    """

    history: list[dict[str, float]]
    best_epoch: int
    stopped: str
    diverged: bool
    seconds: float
    members: tuple["TrainingResult", ...] = ()
    share: float = 1.0
    comparison: Verdict | None = None

    @property
    def epochs(self) -> int:
        """Number of completed epochs, summed over several networks."""
        return sum(member.epochs for member in self.members) if self.members else completed_epochs(self.history)

    @property
    def best(self) -> dict[str, float]:
        """Row of the best epoch in the history of a single network; empty if no epoch was completed."""
        return next((row for row in self.history if self.epochs and row["epoch"] == self.best_epoch), {})

    def at_start(self) -> Self:
        """Return the result for the start of the networks as the model."""
        members = tuple(member.at_start() for member in self.members)
        return self._replace(best_epoch=0, share=1.0, members=members)


def join_results(members: Mapping[int, TrainingResult]) -> TrainingResult:
    """Return the result of training several networks.

    Args:
        members: the results by the seed of the network.
    """
    results = members.values()
    return TrainingResult(
        [row for seed, result in members.items() for row in add_seed(result.history, seed)],
        max(result.best_epoch for result in results),
        "; ".join(f"seed {seed}: {result.stopped}" for seed, result in members.items() if result.stopped),
        any(result.diverged for result in results),
        sum(result.seconds for result in results),
        tuple(results),
    )


def fit(
    network: keras.Model,
    data: Data,
    config: Config,
    *,
    state: Path | None = None,
    identity: JsonMapping = MappingProxyType({}),
    observer: TrainingObserver = NO_TRAINING_OBSERVER,
    every: float = 0.2,
    until: int | None = None,
    best: bool = True,
    correction_variables: Sequence[keras.Variable] = (),
    parts: int = PARTS,
) -> TrainingResult:
    """Train the network in place and restore the weights of its best epoch, which may be epoch 0.

    A network that starts at a baseline is then shrunk towards it, see `lstm_ae.training.shrinkage`.

    Args:
        network: the inner network, on scaled values.
        data: training and validation windows with their scale.
        config: optimizer, schedule, epochs, batch size, and patience.
        state: checkpoint file; if it exists, training resumes from it. None to write no checkpoint.
        identity: values that must equal those of the checkpoint to resume (config, data, versions).
        observer: receives the progress and the history.
        every: seconds between two reports of the progress; 0 reports it after every step.
        until: stop after this epoch; None for `config.epochs`, over which the learning rate is scheduled in any case.
        best: False to leave the weights of the last epoch.
        correction_variables: variables of the layers that correct the baseline; empty for a network that is not shrunk.
        parts: number of parts that a batch is split into, which are computed in parallel.

    Returns:
        The history and how training ended.

    Raises:
        ConfigError: the checkpoint belongs to another config, other data, or other versions.
        DataError: the checkpoint cannot be read.
    """
    steps = prepare_training(network, data, config, parts)
    variables, optimizer = list(network.variables), steps.optimizer
    correction = Correction(correction_variables)
    checkpointer = Checkpointer(
        config,
        variables,
        list(optimizer.variables),
        state,
        identity,
        observer,
        steps.count,
    )
    checkpointer.restore()
    until = config.epochs if until is None else min(until, config.epochs)
    try:
        with observer.on_steps(), accelerate(network, config.kernel):
            if not checkpointer.stopped and (checkpointer.epoch < until or not checkpointer.history):
                _train_epochs(steps, checkpointer, every, until)
            if best:
                for variable, value in zip(variables, checkpointer.best, strict=True):
                    variable.assign(value)
            share = 1.0
            if correction.variables and checkpointer.best_epoch:
                before = checkpointer.history[0]["val_loss"]
                share = correction.shrink_to_best(lambda: steps.validate()["loss"], before)
    finally:
        steps.release()
    return TrainingResult(
        checkpointer.history,
        checkpointer.best_epoch,
        checkpointer.stopped,
        checkpointer.diverged,
        checkpointer.seconds,
        share=share,
    )


def prepare_training(network: keras.Model, data: Data, config: Config, parts: int = PARTS) -> TrainingSteps:
    """Return the training and validation steps of a network."""
    count = steps_per_epoch(data.train, config.batch_size, getattr(config, "steps_per_epoch", None))
    optimizer = make_optimizer(config, count)
    optimizer.build(network.trainable_variables)
    return TrainingSteps(
        network,
        optimizer,
        limit_validation(data, config),
        batch_size=config.batch_size,
        parts=parts,
        count=count,
        reconstruction_weight=getattr(config, "reconstruction_weight", 1.0),
        deform=Deformation(config.read, config.deform, config.seed)
        if isinstance(config, Mnist) and config.deform
        else None,
    )


def limit_validation(data: Data, config: Config) -> Data:
    """Return the data with fewer validation windows, evenly spaced, if `steps_per_epoch` limits the epochs."""
    max_steps: int | None = getattr(config, "steps_per_epoch", None)
    if max_steps is None:
        return data
    return data._replace(
        validation=data.validation.thin(max(MIN_VALIDATION_WINDOWS, max_steps * config.batch_size // 4))
    )


def _train_epochs(steps: TrainingSteps, checkpointer: Checkpointer, every: float, until: int) -> None:
    """Train until epoch `until` or until the checkpointer stops training."""
    checkpointer.begin()
    if not checkpointer.history:
        checkpointer.judge_start(_named_validation(steps))
    for epoch in range(checkpointer.epoch, until):
        rate = float(np.asarray(steps.optimizer.learning_rate))
        sequence = shuffled_order(steps.train_feed.samples, checkpointer.config.seed, epoch)
        values, done, stride = dict.fromkeys(steps.names, 0.0), 0, 1
        while done < steps.count and not checkpointer.stopped:
            last, began = min(done + stride, steps.count), time.perf_counter()
            values = steps.train(sequence, done, last, values)
            # Steps may be shorter than the resolution of the clock.
            duration = max(time.perf_counter() - began, 1e-6) / (last - done)
            done = last
            # The stride at most doubles, since the first call includes the time of tracing.
            stride = max(1, min(2 * stride, int(every / duration)))
            seen = min(done * steps.batch_size, steps.samples)
            checkpointer.end_step(done, {name: value / seen for name, value in values.items()})
        if not checkpointer.stopped:
            means = {name: value / steps.samples for name, value in values.items()}
            checkpointer.end_epoch(means | _named_validation(steps), rate)
        if checkpointer.stopped:
            break


def _named_validation(steps: TrainingSteps) -> dict[str, float]:
    return {f"val_{name}": value for name, value in steps.validate().items()}
