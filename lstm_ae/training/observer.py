"""Observation of a training: its start, its progress, and its completed epochs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Progress(NamedTuple):
    """Progress of a training, reported during and after every epoch, including epoch 0.

    Args:
        first: completed epochs when this process started to train.
        epoch: current epoch.
        epochs: `config.epochs`.
        step: completed steps of the current epoch.
        steps: steps per epoch.
        values: running losses and metrics.
        seconds: time since this process started to train.
        finished: whether the epoch is complete.
    """

    first: int
    epoch: int
    epochs: int
    step: int
    steps: int
    values: Mapping[str, float]
    seconds: float
    finished: bool


class TrainingObserver:
    """Receives the events of a training. Subclasses override the methods of the events that they need."""

    def on_start(self, directory: Path) -> None:
        """Receive the run directory, which exists now, before the training; not called for trainings without one."""

    def on_progress(self, progress: Progress) -> None:
        """Receive the progress, during and after every epoch."""

    def on_epoch(self, history: Sequence[Mapping[str, float]]) -> None:
        """Receive the history after every epoch, when its checkpoint is saved."""


class ProgressObserver(TrainingObserver):
    """Observer that calls a function with every `Progress`.

    Args:
        report: the function.
    """

    def __init__(self, report: Callable[[Progress], None]) -> None:
        self.report = report

    def on_progress(self, progress: Progress) -> None:
        """Call the function."""
        self.report(progress)
