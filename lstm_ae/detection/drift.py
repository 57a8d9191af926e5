"""Alarm scores relative to their recent level, so that the threshold follows slow change.

DSPOT (Siffer, Fouque, Termier, and Largouet 2017, "Anomaly detection in streams with extreme value theory", section
4.4) subtracts the mean of the last normal values from each value and fits the tail of the differences. Anomaly scores
are squared distances, whose spread grows with their level. They are therefore divided by it. The level is an
exponentially weighted mean of logarithms (Roberts 1959, "Control chart tests based on geometric moving averages"), so
that its state is one number and single high scores hardly raise it. A score above the threshold times the level is an
anomaly; equivalently, the score divided by the level is above the threshold.
"""

import math
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float64Array, Int64Array
from lstm_ae.data.panel import run_bounds
from lstm_ae.detection.tail import SMALLEST_SCORE
from lstm_ae.errors import ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject

# Smallest level, relative to that of normal rows, so that a constant stretch does not lower the threshold further.
MIN_LEVEL = 0.1


class ScoreLevel:
    """Recent level of the alarm scores of one series, relative to that of normal rows.

    The level does not change while an event is open, so that a long anomaly cannot raise it.

    Args:
        memory: rows after which the weight of a score has decreased to 1/e.
        usual: geometric mean of the scores of normal rows.
        threshold: relative scores above it are anomalies.
        join: rows without an anomaly after which an event is over.

    >>> level = ScoreLevel(memory=2, usual=1.0, threshold=10.0, join=1)
    >>> level.relative(np.array([4.0, 4.0, 50.0])).tolist()
    [4.0, 2.0, 17.67766952966369]
    """

    def __init__(self, memory: int, usual: float, threshold: float, join: int) -> None:
        self.memory, self.usual, self.threshold, self.join = memory, math.log(usual), threshold, join
        # Logarithm of the level, rows without an anomaly since the last one, and time of the last row.
        self.log, self.quiet = 0.0, join
        self.time: int | None = None

    @property
    def level(self) -> float:
        """The level; 1 for that of normal rows."""
        return math.exp(max(self.log, math.log(MIN_LEVEL)))

    def relative(self, scores: Array, times: Int64Array | None = None, *, begins: bool = False) -> Float64Array:
        """Return the scores of the next rows divided by the level of the rows before each.

        Args:
            scores: `(rows,)`, NaN for rows without a score.
            times: `(rows,)` ascending times; rows up to the last time of an earlier call do not change the level. None
                if no row is passed twice.
            begins: whether the rows follow a long gap, which ends the open event.
        """
        relative = np.array(scores, np.float64)
        first = 0 if times is None or self.time is None else int(np.searchsorted(times, self.time, side="right"))
        relative[:first] /= self.level
        if begins and not first:
            self.quiet = self.join
        for row, score in enumerate(relative[first:].tolist(), first):
            relative[row] = score / self.level
            self.quiet = 0 if relative[row] > self.threshold else min(self.quiet + 1, self.join)
            # A comparison with NaN is false.
            if self.quiet == self.join and score >= 0:
                self.log += (math.log(max(score, SMALLEST_SCORE)) - self.usual - self.log) / self.memory
        if times is not None and len(times) > first:
            self.time = int(times[-1])
        return relative

    def to_json(self) -> JsonObject:
        """Return the state in JSON types."""
        return {"log": self.log, "quiet": self.quiet, "time": self.time}

    def restore(self, content: JsonMapping) -> None:
        """Restore the state of `to_json`."""
        self.log, self.quiet, self.time = content["log"], content["quiet"], content["time"]


class Adaptation(NamedTuple):
    """Parameters of the levels of scores, and the relative scores of normal rows.

    Args:
        memory, usual, join: see `ScoreLevel`.
        scores: `(rows,)` relative scores of normal rows, to which the threshold is fitted.
    """

    memory: int
    usual: float
    join: int
    scores: Float64Array

    def start(self, threshold: float) -> ScoreLevel:
        """Return the level before the first row of a series."""
        return ScoreLevel(self.memory, self.usual, threshold, self.join)

    def relative(self, scores: Array, threshold: float, segment: Array, series: Array) -> Float64Array:
        """Return the relative scores of the rows of a table.

        Args:
            scores: `(rows,)`, NaN for rows without a score.
            threshold: relative scores above it are anomalies.
            segment, series: `(rows,)` segment and series of each row, both contiguous.
        """
        relative, level = np.empty(len(scores)), self.start(threshold)
        for first, end in run_bounds(segment):
            if first and series[first] != series[first - 1]:
                level = self.start(threshold)
            relative[first:end] = level.relative(scores[first:end], begins=True)
        return relative


def fit_adaptation(scores: Array, segment: Array, memory: int, window: int) -> Adaptation:
    """Return the adaptation to the level of the scores of normal rows.

    Args:
        scores: `(rows,)` alarm scores of normal rows, NaN for rows without one.
        segment: `(rows,)` segment of each row; the level restarts with each segment.
        memory: see `ScoreLevel`.
        window: steps per window.

    Raises:
        ConfigError: the memory is shorter than a window, whose rows have nearly the same scores.
    """
    if memory < window:
        raise ConfigError(f"--adapt must be at least {window}, the rows of a window. Received: {memory}")
    known = scores[~np.isnan(scores)]
    usual = float(np.exp(np.log(np.maximum(known, SMALLEST_SCORE)).mean())) if len(known) else 1.0
    unfitted = Adaptation(memory, usual, window, np.empty(0))
    return unfitted._replace(scores=unfitted.relative(scores, math.inf, segment, segment))
