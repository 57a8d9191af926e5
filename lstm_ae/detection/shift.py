"""Detect shifts: lasting departures from the training range.

A single event leaves the training range as well, so a shift must last. Each signal has a count of rows that is
increased by a row that is beyond its limit, decreased by a row that is not, and never negative, like a cumulative sum
(Page 1954, "Continuous inspection schemes"). It grows as long as more than half of the rows are beyond the limit. A
shift begins when the count reaches a length, and ends when the opposite count does.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.data.scaling import Scale
from lstm_ae.formatting import format_heading, format_names, quote
from lstm_ae.json_types import JsonMapping, JsonObject

# Windows whose rows are the length of a shift.
SHIFT_WINDOWS = 10

# Quantile of normal scores that most scores of a shift exceed.
HIGH_QUANTILE = 0.95


class ShiftLimits(NamedTuple):
    """Limits of the training range.

    Args:
        scale: scale of the values; None if its offset and range do not describe the training range.
        score: a quantile of normal scores.
        length: rows that a shift lasts at least.
    """

    scale: Scale | None
    score: float
    length: int

    def beyond(self, values: Array, scores: Array) -> Int64Array:
        """Return 1 for a value or score beyond its limit, -1 within, and 0 if unknown, `(rows, features + 1)`.

        Args:
            values: `(rows, features)` values in the common scale, NaN where missing.
            scores: `(rows,)`, NaN for rows without a score.
        """
        signs = np.zeros((len(values), values.shape[1] + 1), np.int64)
        if self.scale is not None:
            signs[:, :-1] = np.where(self.scale.far(values), 1, -1)
            signs[:, :-1][np.isnan(values)] = 0
        signs[:, -1] = np.where(scores > self.score, 1, -1)
        signs[np.isnan(scores), -1] = 0
        return signs


class Shift:
    """Shifts of the columns and of the scores of one series.

    Args:
        limits: limits of the training range.
        features: number of columns.

    >>> shift = Shift(ShiftLimits(None, score=1.0, length=3), features=1)
    >>> for score in (0.5, 2.0, 2.0, 2.0):
    ...     _ = shift.add(np.array([[0.0]]), np.array([score]), np.array([7]))
    >>> shift.active.tolist(), shift.since
    ([False, True], 7)
    """

    def __init__(self, limits: ShiftLimits, features: int) -> None:
        self.limits = limits
        # Whether each signal has shifted, and the count of rows towards the other state.
        self.active = np.zeros(features + 1, np.bool_)
        self.counts = np.zeros(features + 1, np.int64)
        # Time at which the first of the present shifts was noticed; None if there is none.
        self.since: int | None = None
        # Time of the newest row, and that of the newest row before a restart.
        self.newest: int | None = None
        self.restored: int | None = None

    def add(self, values: Array, scores: Array, times: Int64Array) -> bool:
        """Add rows and return whether a shift began.

        Args:
            values, scores: see `ShiftLimits.beyond`.
            times: see `count`.
        """
        return self.count(self.limits.beyond(values, scores), times)

    def count(self, signs: Int64Array, times: Int64Array) -> bool:
        """Add rows and return whether a shift began.

        Args:
            signs: result of `ShiftLimits.beyond` for the rows.
            times: `(rows,)` ascending times; rows up to the newest one before `restore` do not count again.
        """
        first = 0 if self.restored is None else int(np.searchsorted(times, self.restored, side="right"))
        if first < len(times):
            self.newest = int(times[-1])
        begun = False
        if len(signs) == 1 and not first and self.since is None:
            # Fast path for the usual case of a single row.
            counts = np.maximum(self.counts + signs[0], 0)
            if counts.max() < self.limits.length:
                self.counts = counts
                return False
        while first < len(signs):
            steps = np.where(self.active, -signs[first:], signs[first:])
            sums = np.cumsum(steps, axis=0) + self.counts
            counts = sums - np.minimum(np.minimum.accumulate(sums, axis=0), 0)
            reached: BoolArray = counts >= self.limits.length
            rows = np.flatnonzero(reached.any(axis=1))
            last = int(rows[0]) if len(rows) else len(counts) - 1
            changed = reached[last]
            self.counts = np.where(changed, 0, counts[last])
            begun = begun or bool((changed & ~self.active).any())
            self.active = self.active ^ changed
            if not self.active.any():
                self.since = None
            elif self.since is None:
                self.since = int(times[first + last])
            first += last + 1
        return begun

    def to_json(self) -> JsonObject:
        """Return the state in JSON types."""
        state = {"active": self.active.tolist(), "counts": self.counts.tolist()}
        return state | {"since": self.since, "newest": self.newest}

    def restore(self, content: JsonMapping) -> None:
        """Restore the state of `to_json`."""
        self.active, self.counts = np.array(content["active"], np.bool_), np.array(content["counts"], np.int64)
        self.since, self.newest, self.restored = content["since"], content["newest"], content["newest"]

    def describe(self, columns: Sequence[str]) -> str:
        """Return what has shifted; "" for nothing.

        Args:
            columns: `(features,)` names.
        """
        far = [quote(name) for name, active in zip(columns, self.active[:-1].tolist(), strict=True) if active]
        clauses = [f"most values of {format_names(far)} are far outside the training range"] if far else []
        if self.active[-1]:
            clauses.append(f"most scores exceed {HIGH_QUANTILE:.0%} of the normal scores")
        return ", and ".join(clauses)


def describe_shifts(descriptions: Mapping[str, str], length: int, command: str) -> str:
    """Return a note on the series that left the training range, with the command that trains again.

    Args:
        descriptions: what has shifted, by series; at least one.
        length: minimum number of rows of a shift.
        command: the command of the training.
    """
    (name, first), count = next(iter(descriptions.items())), len(descriptions)
    series = f" of {format_heading(name)}" if name else ""
    if count > 1:
        series += f" and {count - 1:,} more series"
    return f"Drift{series} over {length:,} rows or more: {first}. Train again on later rows, as with: {command}"
