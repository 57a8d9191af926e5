"""Trials of a search and their results."""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from lstm_ae.json_types import JsonMapping, JsonObject

# Status of a trial. A lost trial is one whose workers died, possibly for a reason outside the trial.
RUNNING, COMPLETED, FAILED, LOST = "running", "completed", "failed", "lost"
_RANK = {COMPLETED: 0, FAILED: 1, LOST: 1, RUNNING: 2}


class Execution(NamedTuple):
    """Training of a trial's setting with one seed.

    Args:
        seed: the seed.
        score: the objective at the best epoch.
        epochs: trained epochs.
        best_epoch: the best epoch, whose weights are kept; 0 for the untrained start.
        stopped: why it ended before its last epoch, "" if it did not.
        seconds: training time.
    """

    seed: int
    score: float
    epochs: int
    best_epoch: int
    stopped: str
    seconds: float


class Trial(NamedTuple):
    """Trial of one setting.

    Args:
        number: its position in the order of proposals, from 0.
        values: value of each searched option.
        status: running (it has not ended), completed, failed, or lost.
        executions: its trainings, one per seed.
        reason: why it failed or was lost.
    """

    number: int
    values: JsonObject
    status: str = RUNNING
    executions: tuple[Execution, ...] = ()
    reason: str = ""

    @property
    def completed(self) -> bool:
        """Whether the trial has a score that can be compared."""
        return self.status == COMPLETED

    @property
    def score(self) -> float:
        """The mean score over its executions; NaN without executions."""
        return statistics.fmean(e.score for e in self.executions) if self.executions else math.nan

    @property
    def spread(self) -> float:
        """The sample standard deviation of the score over its executions; NaN below two, or if one is not finite."""
        scores = [execution.score for execution in self.executions]
        return statistics.stdev(scores) if len(scores) > 1 and all(map(math.isfinite, scores)) else math.nan

    @property
    def seconds(self) -> float:
        """Training time of all executions."""
        return sum(execution.seconds for execution in self.executions)

    def to_dict(self) -> JsonObject:
        """Return the trial in JSON types, with null for a score that is NaN."""
        executions = [
            each._asdict() | {"score": each.score if math.isfinite(each.score) else None} for each in self.executions
        ]
        return self._asdict() | {"executions": executions}

    @classmethod
    def from_dict(cls, content: JsonMapping) -> "Trial":
        """Return the trial of a `to_dict`.

        Raises:
            TypeError, KeyError, ValueError: the content is not that of a trial.
        """
        if not isinstance(content["values"], dict) or content["status"] not in _RANK:
            raise ValueError("its values or its status are not those of a trial")
        executions = [
            Execution(**{**each, "score": math.nan if each["score"] is None else each["score"]})
            for each in content["executions"]
        ]
        return cls(**{**content, "executions": tuple(executions)})


class Objective(NamedTuple):
    """Objective of a search.

    Args:
        name: a column of the history.
    """

    name: str

    @property
    def higher_is_better(self) -> bool:
        """Whether to maximize it."""
        return self.name.endswith("accuracy")

    def key(self, score: float) -> float:
        """Return a sort key that orders the best score first and NaN last."""
        return math.inf if score != score else -score if self.higher_is_better else score


def rank_trials(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """Return completed trials by score, then those that failed, then those that run, by number."""
    return sorted(trials, key=lambda t: (_RANK[t.status], objective.key(t.score) if t.completed else 0, t.number))
