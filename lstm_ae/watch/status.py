"""The status of a monitor, its clock, and the times of its retries."""

import collections
import dataclasses
from typing import NamedTuple, Protocol

from lstm_ae.detection.thresholds import ExpectedAlarms
from lstm_ae.json_types import JsonObject

# Longest time in seconds between two attempts to reach a source or a sink.
MAX_WAIT = 60.0


class Clock(Protocol):
    """The part of the module `time` that a monitor uses."""

    def time(self) -> float:
        """Return the seconds since 1970."""

    def monotonic(self) -> float:
        """Return the seconds since any point in time."""


class Backoff:
    """The times of retries, with pauses that double after each failure."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.failures, self.until, self.error = clock, 0, 0.0, ""

    @property
    def ready(self) -> bool:
        """Return whether the next attempt is due."""
        return not self.failures or self.clock.monotonic() >= self.until

    def fail(self, error: str, wait: float | None = None) -> bool:
        """Record a failure; return whether its reason differs from that of the failure before.

        Args:
            error: the reason.
            wait: shortest time until the next attempt, in seconds; None for the default.
        """
        new, self.error = error != self.error, error
        pause = min(MAX_WAIT, 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.until = self.clock.monotonic() + max(pause, min(wait or 0, 10 * MAX_WAIT))
        return new

    def succeed(self) -> bool:
        """Record a success; return whether it follows a failure."""
        failed, self.failures, self.error = bool(self.failures), 0, ""
        return failed


class LatestScore(NamedTuple):
    """The latest score of a series.

    Args:
        score: the score.
        ratio: the score divided by the threshold.
        time: time of its row in nanoseconds, or its number.
    """

    score: float
    ratio: float
    time: int


class Account(NamedTuple):
    """The alarms of a series.

    Args:
        alarms: number of alarms.
        expected: false alarms to expect in as many normal rows.
        suppressed: runs of scores above the threshold that raised no alarm, because such scores had become usual.
        changed: whether they still are.
        excessive: whether there are far more alarms than expected.
    """

    alarms: int
    expected: ExpectedAlarms
    suppressed: int
    changed: bool
    excessive: bool


@dataclasses.dataclass
class Status:
    """The numbers that a monitor reports; other threads may read them.

    Args:
        rows: number of accepted rows.
        refused: number of refused records by reason.
        unscored: number of rows without a score, because they are missing or no window contains them.
        accounts: the account of each series.
        newest: time of the newest row in seconds since 1970; None without dates.
        scores: the latest score of each series.
        shifted: whether each series has left the training range.
    """

    rows: int = 0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    unscored: int = 0
    accounts: dict[str, Account] = dataclasses.field(default_factory=dict)
    newest: float | None = None
    scores: dict[str, LatestScore] = dataclasses.field(default_factory=dict)
    shifted: dict[str, bool] = dataclasses.field(default_factory=dict)

    def counts(self) -> JsonObject:
        """Return the numbers that survive a restart."""
        return {"rows": self.rows, "refused": dict(self.refused), "unscored": self.unscored}

    def restore(self, counts: JsonObject) -> None:
        """Set the numbers that `counts` returned."""
        self.rows, self.unscored = counts["rows"], counts["unscored"]
        self.refused = collections.Counter(counts["refused"])
