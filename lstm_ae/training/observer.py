"""Observation of a training: its start, its progress, and its completed epochs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.parallel import JobObserver

# Reason of a training for stopping when its loss became useless; the epoch follows.
DIVERGENCE = "the loss became NaN or infinite"


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
        member: number of the network, from 1, if several networks are averaged.
        members: number of networks.
    """

    first: int
    epoch: int
    epochs: int
    step: int
    steps: int
    values: Mapping[str, float]
    seconds: float
    finished: bool
    member: int = 1
    members: int = 1


class TrainingObserver:
    """Receives the events of a training. Subclasses override the methods of the events that they need."""

    def on_start(self, directory: Path) -> None:
        """Receive the run directory, which exists now, before the training; not called for trainings without one."""

    def on_steps(self) -> AbstractContextManager[None]:
        """Return the context in which a network is trained, which receives its progress."""
        return nullcontext()

    def on_progress(self, progress: Progress) -> None:
        """Receive the progress, during and after every epoch."""

    def on_epoch(self, history: Sequence[Mapping[str, float]]) -> None:
        """Receive the history after every epoch, when its checkpoint is saved."""

    def on_folds(self, folds: int) -> None:
        """Receive the number of folds on which a classifier is compared with its linear start, before the first one."""


NO_TRAINING_OBSERVER = TrainingObserver()


class ForwardingObserver(TrainingObserver):
    """Observer that passes on the events of the training itself to another one.

    Args:
        observer: the other observer.
    """

    def __init__(self, observer: TrainingObserver) -> None:
        self.observer = observer

    def on_steps(self) -> AbstractContextManager[None]:
        """Return the context of the other observer."""
        return self.observer.on_steps()

    def on_progress(self, progress: Progress) -> None:
        """Pass on the progress."""
        self.observer.on_progress(progress)

    def on_folds(self, folds: int) -> None:
        """Pass on the number of folds."""
        self.observer.on_folds(folds)


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


class MemberObserver(ForwardingObserver):
    """Observer of one of several networks, which reports to the observer of the whole training.

    Args:
        observer: the observer of the whole training.
        member: number of the network, from 1.
        members: number of networks.
        seed: seed of the network, which its rows of the history get as a column.
        before: rows of the networks before it.
    """

    def __init__(
        self,
        observer: TrainingObserver,
        *,
        member: int,
        members: int,
        seed: int,
        before: Sequence[Mapping[str, float]],
    ) -> None:
        super().__init__(observer)
        self.member, self.members, self.seed, self.before = member, members, seed, before

    def on_progress(self, progress: Progress) -> None:
        """Pass on the progress with the number of the network."""
        self.observer.on_progress(progress._replace(member=self.member, members=self.members))

    def on_epoch(self, history: Sequence[Mapping[str, float]]) -> None:
        """Pass on the history with the rows of the networks before."""
        self.observer.on_epoch([*self.before, *add_seed(history, self.seed)])


def add_seed(history: Sequence[Mapping[str, float]], seed: int) -> list[dict[str, float]]:
    """Return the rows of a history with a first column `seed`."""
    return [{"seed": seed, **row} for row in history]


class FoldObserver(JobObserver):
    """Receives the events of a command that trains on folds. Subclasses override the methods that they need."""

    def progress(self, title: str, progress: Progress) -> None:
        """Receive the title and the progress of a training."""

    def finished(self, fold: Any) -> None:
        """Receive a completed `lstm_ae.backtest.folds.Fold`, also one that was completed earlier."""


NO_FOLD_OBSERVER = FoldObserver()
