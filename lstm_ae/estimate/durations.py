"""How long things take, and what an estimate of them says."""

import dataclasses
from typing import NamedTuple

from lstm_ae.formatting import format_count


@dataclasses.dataclass(frozen=True)
class Duration:
    """Seconds, as the median of what was timed says, and as the slowest says."""

    usual: float
    slowest: float

    def __add__(self, other: "Duration") -> "Duration":
        return Duration(self.usual + other.usual, self.slowest + other.slowest)

    def __mul__(self, times: float) -> "Duration":
        return Duration(self.usual * times, self.slowest * times)


class EstimatePart(NamedTuple):
    """A part of what a command does: its name, how it was reckoned, and how long it takes."""

    name: str
    how: str
    duration: Duration


class CommandEstimate(NamedTuple):
    """What a command will take.

    Args:
        parts: what it does, in order.
        memory: bytes of main memory at the peak, over all processes; None where the system does not tell.
        disk: bytes that it leaves.
        meanwhile: bytes that it takes besides while it runs.
        notes: what the numbers rest on.
    """

    parts: tuple[EstimatePart, ...]
    memory: int | None
    disk: int
    meanwhile: int
    notes: tuple[str, ...]

    @property
    def duration(self) -> Duration:
        """Of all parts."""
        return sum((part.duration for part in self.parts), Duration(0, 0))


class TrainingWork(NamedTuple):
    """What is to be done in a training: epochs, training steps and validation windows of each."""

    epochs: int
    steps: int
    windows: int


class TrainingPace(NamedTuple):
    """How fast a training goes here.

    Args:
        start: seconds to build the model and to compile the first step and the first validation.
        step: of a training step.
        window: of a validation window.
        save: seconds to write the state, which is done before the first epoch and after every one.
    """

    start: float
    step: Duration
    window: Duration
    save: float

    def of(self, work: TrainingWork) -> Duration:
        """The duration of a training."""
        return sum((part.duration for part in self.parts(work)), Duration(0, 0))

    def before_epochs(self, work: TrainingWork) -> Duration:
        """The duration of what a training does before its first epoch."""
        start = Duration(1, 1) * (self.start + self.save)
        return start + self.window * work.windows

    def parts(self, work: TrainingWork) -> tuple[EstimatePart, ...]:
        """A training's parts."""
        epochs, steps, windows = work
        each = f"{format_count(epochs, 'epoch')} of"
        return (
            EstimatePart("compile", "the model is built and its graphs are traced", Duration(self.start, self.start)),
            EstimatePart(
                "train",
                f"{each} {format_count(steps, 'step')}, {1000 * self.step.usual:.3g} ms each",
                self.step * (epochs * steps),
            ),
            EstimatePart(
                "validate",
                f"the start and {each} {format_count(windows, 'window')}",
                self.window * ((epochs + 1) * windows),
            ),
            EstimatePart(
                "save",
                f"the state, before the first epoch and after each: {1000 * self.save:.0f} ms",
                Duration(1, 1) * ((epochs + 1) * self.save),
            ),
        )
