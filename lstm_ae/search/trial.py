"""Trials of a search and their results."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lstm_ae.json_types import JsonMapping, JsonObject

# Status of a trial. A lost trial is one whose workers died, possibly for a reason outside the trial.
WAITING, RUNNING, COMPLETED, PRUNED, FAILED, LOST = "waiting", "running", "completed", "pruned", "failed", "lost"


class Execution(NamedTuple):
    """Training of a trial's setting with one seed.

    Args:
        seed: the seed.
        score: the objective at the best epoch.
        epochs: trained epochs.
        best_epoch: the best epoch, whose weights are kept; 0 for the untrained start.
        stopped: why it ended before its last epoch, "" if it did not.
        seconds: training time.
        curve: the objective after each epoch from 1 on.
        measures: all measures after the best epoch, and the number of parameters of the network.
    """

    seed: int
    score: float
    epochs: int
    best_epoch: int
    stopped: str
    seconds: float
    curve: Sequence[float]
    measures: Mapping[str, float] = {}

    def measure(self, name: str) -> float:
        """Return a measure by name; NaN if it is missing."""
        return float(self.measures.get(name, float("nan")))


class Trial(NamedTuple):
    """Trial of one setting.

    Args:
        number: its position in the order of proposals, from 0.
        values: value of each searched option.
        status: waiting, running, completed, pruned, failed, or lost.
        executions: its trainings, one per seed.
        reason: why it was pruned, failed, or lost.
        until: the epoch it is trained to (Hyperband); None for the last one.
        parent: the trial whose training it continues (Hyperband).
    """

    number: int
    values: JsonObject
    status: str = WAITING
    executions: tuple[Execution, ...] = ()
    reason: str = ""
    until: int | None = None
    parent: int | None = None

    @property
    def scored(self) -> bool:
        """Whether the trial has a score that can be compared."""
        return self.status in (COMPLETED, PRUNED) and bool(self.executions)

    @property
    def diverged(self) -> bool:
        """Whether its training diverged, which would happen again, unlike other failures."""
        # If the trial failed with an error, its last execution succeeded and has a different reason for stopping.
        stopped = self.executions[-1].stopped if self.executions else ""
        return self.status == FAILED and bool(stopped) and self.reason.endswith(stopped)

    @property
    def score(self) -> float:
        """The mean score over its executions; NaN without executions."""
        return statistics.fmean(e.score for e in self.executions) if self.executions else float("nan")

    @property
    def spread(self) -> float:
        """The sample standard deviation of the score over its executions; NaN below two executions."""
        return _deviation([execution.score for execution in self.executions])

    def measure(self, name: str) -> tuple[float, float]:
        """Return the mean and the sample standard deviation of a measure over the executions; NaN if it is missing."""
        values = [execution.measure(name) for execution in self.executions] or [float("nan")]
        return statistics.fmean(values), _deviation(values)

    @property
    def seconds(self) -> float:
        """Training time of all executions."""
        return sum(execution.seconds for execution in self.executions)


def total_training_seconds(trials: Iterable[Trial]) -> float:
    """Return the training time of a search in seconds, counting continued trainings once.

    The time of a trial that continues another one includes the time of the other's first execution.
    """
    by_number: dict[int | None, Trial] = {trial.number: trial for trial in trials}
    total = 0.0
    for trial in by_number.values():
        total += trial.seconds
        parent = by_number.get(trial.parent)
        if parent and parent.executions and trial.executions:
            before = parent.executions[0].seconds
            # A shorter time means that it started from the first epoch, because the parent's state was missing.
            total -= before if trial.executions[0].seconds >= before else 0.0
    return total


def _deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation; NaN below two values or if a value is not finite."""
    defined = len(values) > 1 and all(math.isfinite(value) for value in values)
    return statistics.stdev(values) if defined else math.nan


def trial_of_proposal(number: int, values: JsonMapping) -> Trial:
    """Return the trial of an oracle's values.

    Args:
        number: number of the trial.
        values: the oracle's values; Hyperband adds `tuner/epochs` and `tuner/trial_id`.
    """
    parent = values.get("tuner/trial_id")
    searched = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    return Trial(number, searched, until=values.get("tuner/epochs"), parent=None if parent is None else int(parent))


class Objective(NamedTuple):
    """Objective of a search.

    Args:
        name: a column of the history.
        higher_is_better: whether to maximize it.
    """

    name: str
    higher_is_better: bool = False

    def better(self, one: float, other: float) -> bool:
        """Return whether `one` is better than `other`; False if one of them is NaN."""
        return one > other if self.higher_is_better else one < other

    def key(self, score: float) -> float:
        """Return a sort key that orders the best score first and NaN last."""
        return float("inf") if score != score else -score if self.higher_is_better else score


def rank_trials(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """Return completed trials by score, then pruned trials by score, then the other ones by number."""
    rank = {COMPLETED: 0, PRUNED: 1, FAILED: 2, LOST: 2, RUNNING: 3, WAITING: 4}
    return sorted(trials, key=lambda t: (rank[t.status], objective.key(t.score), t.number))
