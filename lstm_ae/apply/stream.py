"""Detect anomalies in incoming rows.

A row has its online score when it arrives, from the window that ends at it. The score equals that from the whole table.
The memory holds at most one window of rows per series.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.detect import RunDetector
from lstm_ae.arrays import Array, Int64Array
from lstm_ae.data.stream import GridPiece, IncomingGrid, Refuse, apply_in_parts
from lstm_ae.detection.calibration import DETECTOR, RowScores
from lstm_ae.detection.scorer import OnlineScorer
from lstm_ae.detection.shift import Shift
from lstm_ae.json_types import JsonMapping, JsonObject


class StreamedScores(NamedTuple):
    """Scored rows of a stream, grouped by series and ordered by time.

    Args:
        series: The name of each row's series.
        times: `(rows,)` int64 nanoseconds in UTC, or row numbers. A missing row has the time that the grid gives it.
        scores: `(rows,)`; NaN where no window ends at the row.
        errors: `(rows, features)` errors of the values, see `lstm_ae.detection.calibration.DetectorCalibration`.
        p: `(rows,)` probability that a normal row has a score this high.
        anomaly: `(rows,)` bool, whether the score is above the threshold.
        begins: `(rows,)` bool, whether the row is the first of a segment: the first of its series, or after a long gap.
    """

    series: list[str]
    times: Int64Array
    scores: Array
    errors: Array
    p: Array
    anomaly: Array
    begins: Array


class _Part(NamedTuple):
    """Scored rows of one series, which no threshold is compared with yet."""

    name: str
    times: Int64Array
    scored: RowScores
    begins: Array


def rows_by_series(names: Sequence[str]) -> dict[str, Int64Array]:
    """Return the indices of the rows of each series."""
    indices: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        indices.setdefault(name, []).append(row)
    return {name: np.array(rows, np.int64) for name, rows in indices.items()}


class DetectionStream:
    """A detector for rows that arrive one batch at a time.

    Args:
        detector: The detector of a run, see `lstm_ae.apply.detect.load_detector`.
        rule: The threshold rule; None for the detector's own rule.
        adapt: Rows over which the threshold follows slow change, see `lstm_ae.detection.drift`; None for a constant
            threshold. Scores are then relative to their recent level.

    Raises:
        ConfigError: `adapt` is shorter than a window.
    """

    def __init__(self, detector: RunDetector, rule: str | None = None, *, adapt: int | None = None) -> None:
        self.detector = detector
        parsed = detector.rule(rule)
        if adapt is None:
            self.threshold, self.adaptation = detector.normal.threshold(parsed, online=True), None
        else:
            self.adaptation, self.threshold = detector.normal.adapt(DETECTOR, parsed, adapt)
        self.limits = detector.normal.shift_limits(online=True)
        # State of series, until their first rows arrive.
        self.restored: dict[str, JsonMapping] = {}
        # Series in which a shift began, until `take_shifted` returns them.
        self.shifted: dict[str, str] = {}
        self.tracks: dict[str, _SeriesStream] = {}
        # The scale of each series is found by its index; unknown series use the first one.
        self.lines = {name: line for line, name in enumerate(detector.scales.names)}

    def push(self, values: Array, times: Int64Array, ids: Sequence[str], refuse: Refuse) -> StreamedScores:
        """Add rows and return their scores; a row without any value has none until a row with values follows.

        Args:
            values: `(rows, features)` in the data's units, NaN where missing.
            times: `(rows,)` int64 nanoseconds since 1970 in UTC, ascending within a series.
            ids: The name of each row's series; "" if there is one series.
            refuse: Function that receives the error of each row that is earlier than a previous row of its series, or
                too close to it. Such rows are not added.
        """
        parts = list[_Part]()
        for name, of_series in rows_by_series(ids).items():
            if name not in self.tracks:
                self.tracks[name] = _SeriesStream(self, name)
            rows = np.asarray(values, np.float32)[of_series]
            parts.extend(self.tracks[name].push(rows, times[of_series], refuse))
        return self._join(parts)

    def take_shifted(self) -> dict[str, str]:
        """Return the series that left the training range since the last call, with what has shifted."""
        shifted, self.shifted = self.shifted, {}
        return shifted

    def state(self, name: str) -> JsonObject:
        """Return the state of the level and of the shift of a series, for `restored` of another stream."""
        track = self.tracks[name]
        return {"level": track.level and track.level.to_json(), "shift": track.shift.to_json()}

    def _join(self, parts: list[_Part]) -> StreamedScores:
        if not parts:
            none, features = np.empty(0), self.detector.normal.components.mean.shape[1]
            parts = [_Part("", none.astype(np.int64), RowScores(none, np.empty((0, features))), none.astype(bool))]
        scores = np.concatenate([part.scored.scores for part in parts])
        return StreamedScores(
            [part.name for part in parts for _ in part.times],
            np.concatenate([part.times for part in parts]),
            scores,
            np.concatenate([part.scored.errors for part in parts]),
            self.threshold.p_values(scores),
            np.asarray(scores > self.threshold.value),
            np.concatenate([part.begins for part in parts]),
        )


class _SeriesStream:
    """The stream of one series: its grid, and the last window of rows."""

    def __init__(self, stream: DetectionStream, name: str) -> None:
        self.stream, self.name, self.line = stream, name, stream.lines.get(name, 0)
        self.features = stream.detector.normal.components.mean.shape[1]
        self.level = stream.adaptation.start(stream.threshold.value) if stream.adaptation else None
        self.shift = Shift(stream.limits, self.features)
        if (state := stream.restored.pop(name, None)) is not None:
            self.shift.restore(state["shift"])
            if self.level and state["level"]:
                self.level.restore(state["level"])
        self.grid = IncomingGrid(stream.detector.config, self.features, name)
        self._begin_segment()

    def push(self, values: Array, times: Int64Array, refuse: Refuse) -> Iterator[_Part]:
        """Add rows and yield those with new scores."""

        def push(rows: range) -> list[GridPiece]:
            place = slice(rows.start, rows.stop)
            return self.grid.push(values[place], times[place])

        for pieces in apply_in_parts(range(len(values)), push, refuse):
            yield from self._add(pieces)

    def _begin_segment(self) -> None:
        self.scorer = OnlineScorer(self.stream.detector.scorer(online=True))
        # The time of the first row.
        self.first: int | None = None

    def _add(self, pieces: list[GridPiece]) -> Iterator[_Part]:
        for piece in pieces:
            if piece.begins:
                self._begin_segment()
            times, line = piece.times, np.full(len(piece.times), self.line, np.int32)
            values = self.stream.detector.scales.scale.to_common(piece.values, line)
            scored = self.scorer.add(values)
            if self.shift.add(values, scored.scores, times):
                self.stream.shifted[self.name] = self.shift.describe(self.stream.detector.config.value_cols)
            if self.level:
                scored = scored._replace(scores=self.level.relative(scored.scores, times, begins=self.first is None))
            if self.first is None and len(times):
                self.first = int(times[0])
            yield _Part(self.name, times, scored, times == self.first)
