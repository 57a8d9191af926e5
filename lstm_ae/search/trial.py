"""What a search has tried, and what came of it."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# What a trial may be. Lost is one whose workers died: that may not be its own fault.
WAITING, RUNNING, COMPLETED, PRUNED, FAILED, LOST = "waiting", "running", "completed", "pruned", "failed", "lost"


class Execution(NamedTuple):
    """One training of a trial's setting.

    Args:
        seed: its seed.
        score: the objective at the best epoch, whose weights it has.
        epochs: epochs trained.
        best_epoch: the best one; 0 for the untrained start.
        stopped: why it ended before its last epoch, "" if it did not.
        seconds: training time.
        curve: the objective after each epoch from 1 on.
        measures: all that was measured after the best epoch, and the parameters of the network.
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
        """One of the measures; NaN where it was not taken."""
        return float(self.measures.get(name, float("nan")))


class Trial(NamedTuple):
    """One setting that is tried, or was.

    Args:
        number: its place in the order of asking, from 0.
        values: the searched options.
        status: waiting, running, completed, pruned, failed or lost.
        executions: its trainings, one a seed.
        reason: why it was pruned, failed or lost.
        until: the epoch it is trained to, where that is not the last one (Hyperband).
        parent: the trial whose training it continues (Hyperband).
    """

    number: int
    values: dict[str, Any]
    status: str = WAITING
    executions: tuple[Execution, ...] = ()
    reason: str = ""
    until: int | None = None
    parent: int | None = None

    @property
    def scored(self) -> bool:
        """Whether there is a score to go by."""
        return self.status in (COMPLETED, PRUNED) and bool(self.executions)

    @property
    def diverged(self) -> bool:
        """Whether its training came to numbers that are none: it would again, where another failure might not."""
        # After an error the last of its trainings is one that ended well, perhaps early, and the reason is another.
        stopped = self.executions[-1].stopped if self.executions else ""
        return self.status == FAILED and bool(stopped) and self.reason.endswith(stopped)

    @property
    def score(self) -> float:
        """The mean over its executions; NaN where there is none."""
        return statistics.fmean(e.score for e in self.executions) if self.executions else float("nan")

    @property
    def spread(self) -> float:
        """The standard deviation over its executions (of a sample); NaN below two."""
        return _deviation([execution.score for execution in self.executions])

    def measure(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation over its executions of something that was measured; NaN where it was not."""
        values = [execution.measure(name) for execution in self.executions] or [float("nan")]
        return statistics.fmean(values), _deviation(values)

    @property
    def seconds(self) -> float:
        """Training time of all executions."""
        return sum(execution.seconds for execution in self.executions)


def total_training_seconds(trials: Iterable[Trial]) -> float:
    """Seconds of training in all of a search: a trial that continues another counts the other's first one as well."""
    by_number: dict[int | None, Trial] = {trial.number: trial for trial in trials}
    total = 0.0
    for trial in by_number.values():
        total += trial.seconds
        parent = by_number.get(trial.parent)
        if parent and parent.executions and trial.executions:
            before = parent.executions[0].seconds
            # Where it took less, it was begun anew: the other's state was gone.
            total -= before if trial.executions[0].seconds >= before else 0.0
    return total


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample; NaN below two values, or where one is NaN, on which `statistics` fails."""
    known = len(values) > 1 and all(math.isfinite(value) for value in values)
    return statistics.stdev(values) if known else math.nan


def trial_of_proposal(number: int, values: Mapping[str, Any]) -> Trial:
    """The trial of values as KerasTuner's oracles give them: those of Hyperband say how far, and from where."""
    parent = values.get("tuner/trial_id")
    own = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    return Trial(number, own, until=values.get("tuner/epochs"), parent=None if parent is None else int(parent))


class Objective(NamedTuple):
    """What a search goes by: a column of the history."""

    name: str
    higher_is_better: bool = False

    def better(self, one: float, other: float) -> bool:
        """Whether one score is better than another; NaN is never."""
        return one > other if self.higher_is_better else one < other

    def key(self, score: float) -> float:
        """For sorting: the best first, NaN last."""
        return float("inf") if score != score else -score if self.higher_is_better else score


def rank_trials(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """The best completed trial first, then pruned ones by score, then the rest, in the order of asking."""
    rank = {COMPLETED: 0, PRUNED: 1, FAILED: 2, LOST: 2, RUNNING: 3, WAITING: 4}
    return sorted(trials, key=lambda t: (rank[t.status], objective.key(t.score), t.number))
