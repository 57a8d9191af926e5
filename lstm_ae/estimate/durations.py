"""Durations and estimates of commands."""

import dataclasses
from typing import NamedTuple

from lstm_ae.formatting import format_count


@dataclasses.dataclass(frozen=True)
class Duration:
    """Duration in seconds.

    Args:
        usual: from the median of the measurements.
        slowest: from the slowest measurement.
    """

    usual: float
    slowest: float

    def __add__(self, other: "Duration") -> "Duration":
        return Duration(self.usual + other.usual, self.slowest + other.slowest)

    def __mul__(self, factor: float) -> "Duration":
        return Duration(self.usual * factor, self.slowest * factor)


class EstimatePart(NamedTuple):
    """Part of a command.

    Args:
        name: its name.
        how: how the duration was calculated.
        duration: its duration.
    """

    name: str
    how: str
    duration: Duration


class CommandEstimate(NamedTuple):
    """Estimate of the cost of a command.

    Args:
        parts: its parts in order.
        memory: peak of the main memory of all processes in bytes; None if the system does not report it.
        disk: bytes of its results.
        meanwhile: bytes of temporary files.
        notes: assumptions of the estimate.
    """

    parts: tuple[EstimatePart, ...]
    memory: int | None
    disk: int
    meanwhile: int
    notes: tuple[str, ...]

    @property
    def duration(self) -> Duration:
        """The duration of all parts."""
        return sum((part.duration for part in self.parts), Duration(0, 0))


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


class TrainingPace(NamedTuple):
    """Speed of a training.

    Args:
        start: seconds to build the model and to compile the first training step and validation.
        step: duration of a training step.
        window: duration of the validation of a window.
        save: seconds to write the training state, before the first epoch and after each one.
    """

    start: float
    step: Duration
    window: Duration
    save: float

    def of(self, work: TrainingWork) -> Duration:
        """Return the duration of a training."""
        return sum((part.duration for part in self.parts(work)), Duration(0, 0))

    def before_epochs(self, work: TrainingWork) -> Duration:
        """Return the duration of a training before its first epoch."""
        start = Duration(1, 1) * (self.start + self.save)
        return start + self.window * work.windows

    def parts(self, work: TrainingWork) -> tuple[EstimatePart, ...]:
        """Return the parts of a training."""
        epochs, steps, windows, networks = work
        each = f"{format_count(epochs, 'epoch')} of"
        each = f"{format_count(networks, 'network')} for {each}" if networks > 1 else each
        return (
            EstimatePart("compile", "build the model and trace its graphs", Duration(1, 1) * (networks * self.start)),
            EstimatePart(
                "train",
                f"{each} {format_count(steps, 'step')}, {1000 * self.step.usual:.3g} ms each",
                self.step * (networks * epochs * steps),
            ),
            EstimatePart(
                "validate",
                f"before the first epoch, and {each} {format_count(windows, 'window')}",
                self.window * (networks * (epochs + 1) * windows),
            ),
            EstimatePart(
                "save",
                f"the training state, before the first epoch and after each: {1000 * self.save:.0f} ms",
                Duration(1, 1) * (networks * (epochs + 1) * self.save),
            ),
        )
