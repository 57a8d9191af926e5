"""Estimates of the time and the memory of trainings: a few timed steps times their number."""

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lstm_ae.config import Config
from lstm_ae.config.space import Axis
from lstm_ae.data.windows import Data, inference_batch_size
from lstm_ae.errors import Code, ConfigError
from lstm_ae.experiment import seed
from lstm_ae.kernels.choice import accelerate
from lstm_ae.models.scaling import inner_network
from lstm_ae.studies import load_study
from lstm_ae.training.batches import shuffled_order
from lstm_ae.training.loop import limit_validation, prepare_training
from lstm_ae.training.steps import steps_per_epoch

# Seconds that the timed training steps take together, unless a single step takes longer.
SECONDS = 0.5

STATUS = Path("/proc/self/status")


class TrainingWork(NamedTuple):
    """Amount of work of a training.

    Args:
        epochs: number of epochs.
        steps: training steps of an epoch.
        windows: validation windows of an epoch.
        networks: number of networks that are trained one after another.
    """

    epochs: int
    steps: int
    windows: int
    networks: int = 1


class TrainingEstimate(NamedTuple):
    """Estimate of one or several trainings in sequence.

    Args:
        work: work of one training.
        trainings: number of trainings.
        start: seconds to build a network and to trace its graphs.
        step: seconds of a training step.
        window: seconds to validate a window.
        memory: peak main memory of this process in bytes; None if the system does not report it.
    """

    work: TrainingWork
    trainings: float
    start: float
    step: float
    window: float
    memory: int | None

    @property
    def seconds(self) -> float:
        """The duration of all trainings; the initial weights are validated as well."""
        epochs, steps, windows, networks = self.work
        each = self.start + epochs * steps * self.step + (epochs + 1) * windows * self.window
        return self.trainings * networks * each


def estimate_training(config: Config, data: Data, trainings: float = 1.0) -> TrainingEstimate:
    """Time a few training steps of a config and return the estimate of its trainings.

    Args:
        config: the config.
        data: its data.
        trainings: number of equal trainings; a fraction counts a part of the epochs.
    """
    began = time.monotonic()
    member = config.for_members()[0]
    seed(member)
    network = inner_network(load_study(config).build(member, data))
    few = data.validation.thin(inference_batch_size(data.validation))
    steps = prepare_training(network, data._replace(validation=few), member)
    order, sums = shuffled_order(steps.train_feed.samples, member.seed, 0), dict.fromkeys(steps.names, 0.0)
    with accelerate(network, config.kernel):
        steps.train(order, 0, 1, sums)
        steps.validate()
        start, count, seconds = time.monotonic() - began, 0, 0.0
        while seconds < SECONDS and count < steps.count:
            count = min(max(1, 2 * count), steps.count)
            seconds = _time(partial(steps.train, order, 0, count, sums))
        window = _time(steps.validate) / steps.validation_feed.samples
    steps.release()
    work = training_work(config, data)
    return TrainingEstimate(work, trainings, start, seconds / count, window, peak_memory())


def training_work(config: Config, data: Data) -> TrainingWork:
    """Return the amount of work of a training."""
    steps = steps_per_epoch(data.train, config.batch_size, getattr(config, "steps_per_epoch", None))
    return TrainingWork(config.epochs, steps, limit_validation(data, config).validation.samples, config.networks)


def _time(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def largest_setting(config: Config, axes: Sequence[Axis]) -> Config:
    """Return the first valid setting of a search, with the largest values of its options first.

    Args:
        config: values of the options that are not searched.
        axes: the searched options.

    Raises:
        ConfigError: there is no valid setting.
    """
    choices = [sorted(axis.values, reverse=True) or [axis.high, axis.low] for axis in axes]
    for values in itertools.product(*choices):
        with suppress(ConfigError):
            return config.with_values({axis.name: value for axis, value in zip(axes, values, strict=True)})
    raise ConfigError("The searched options have no valid combination. List other values.", code=Code.SEARCH_SPACE)


def peak_memory() -> int | None:
    """Return the peak main memory of this process in bytes; None if the system does not report it."""
    if STATUS.is_file():  # On Linux ru_maxrss starts at the value of the parent process.
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        if peaks:
            return peaks[0]
    try:
        import resource
    except ImportError:  # The module does not exist on Windows.
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
