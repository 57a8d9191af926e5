"""Find events in scores that arrive over time.

The rule is that of `lstm_ae.detection.events` for tables: rows above the threshold with fewer than `join` other rows
between them are one event, and an event does not cross a long gap. An event begins with its first row above the
threshold and is over after `join` rows that are not, or after a long gap.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.json_types import JsonMapping, JsonObject

# Largest finite number, in place of an infinite score, which JSON cannot express.
LARGEST = float(np.finfo(np.float64).max)


class OpenEvent(NamedTuple):
    """Event that is not over.

    Args:
        start: time of the first row above the threshold.
        last: time of the last one so far.
        peak: time of the highest score so far.
        score: the highest score so far.
        p: probability that a normal row has a score at least as high.
        shares: share of each column in the error of the first row; the sum is 1.
        below: rows since the last row above the threshold.
    """

    start: int
    last: int
    peak: int
    score: float
    p: float
    shares: tuple[float, ...]
    below: int

    def to_json(self) -> JsonObject:
        """Return the fields in JSON types."""
        return self._asdict() | {"shares": list(self.shares)}

    @classmethod
    def from_json(cls, content: JsonMapping) -> "OpenEvent":
        """Return the event of `to_json`."""
        return cls(**{**content, "shares": tuple(content["shares"])})


class Change(NamedTuple):
    """Begin or end of an event.

    Args:
        status: "firing" for an event that begins, "resolved" for one that is over.
        event: the event; one that begins has only its first row.
    """

    status: str
    event: OpenEvent


def find_changes(
    event: OpenEvent | None,
    times: Int64Array,
    errors: Array,
    scores: Array,
    p: Array,
    anomaly: BoolArray,
    begins: BoolArray,
    join: int,
) -> tuple[OpenEvent | None, list[Change]]:
    """Return the open event after further rows of a series, and the events that began or ended with them.

    Args:
        event: the open event before these rows; None if there is none.
        times: `(rows,)` times.
        errors: `(rows, features)` errors of the values, NaN where there is none.
        scores: `(rows,)` scores.
        p: `(rows,)` p-values.
        anomaly: `(rows,)` whether the score is above the threshold.
        begins: `(rows,)` whether a row follows a long gap.
        join: rows below the threshold after which an event is over.
    """
    changes: list[Change] = []

    def end(found: OpenEvent) -> None:
        changes.append(Change("resolved", found))

    begun = np.cumsum(begins)
    # Index of the last row above the threshold, and how many gaps were before it.
    last, gaps = -1 - (event.below if event else 0), 0
    for row in np.flatnonzero(anomaly).tolist():
        if event is not None and (row - last > join or begun[row] > gaps):
            end(event)
            event = None
        shares = np.nan_to_num(errors[row], posinf=LARGEST)
        shares = shares / max(float(shares.max()), np.finfo(np.float64).tiny)
        now = OpenEvent(
            start=int(times[row]),
            last=int(times[row]),
            peak=int(times[row]),
            score=finite(scores[row]),
            p=float(p[row]),
            shares=tuple((shares / max(float(shares.sum()), np.finfo(np.float64).tiny)).tolist()),
            below=0,
        )
        if event is None:
            changes.append(Change("firing", now))
            event = now
        elif now.score > event.score:
            event = now._replace(start=event.start, shares=event.shares)
        else:
            event = event._replace(last=now.last, below=0)
        last, gaps = row, int(begun[row])
    if event is not None:
        event = event._replace(below=len(times) - 1 - last)
        if event.below >= join or (len(begun) and begun[-1] > gaps):
            end(event)
            event = None
    return event, changes


def finite(score: Any) -> float:
    """Return a score, or the largest number for an infinite one."""
    return min(float(score), LARGEST)


def event_id(*parts: object) -> str:
    """Return the identifier of an event, which depends only on these parts.

    >>> event_id("pump", "", 1_704_067_200_000_000_000)
    '2e579fda803aa5cc'
    """
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
