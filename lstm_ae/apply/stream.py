"""Detect anomalies in incoming rows.

A row has its score when it arrives, from the window that ends at it. The score equals that from the whole table.
The memory holds at most one window of rows per series.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_ae.apply.detect import RunDetector
from lstm_ae.arrays import Array, Int64Array
from lstm_ae.data.stream import GridPiece, IncomingGrid, Refuse, apply_in_parts
from lstm_ae.detection.events import ScoredRows
from lstm_ae.detection.scorer import ArrivedRows, ArrivingSegment
from lstm_ae.detection.shift import Shift
from lstm_ae.json_types import JsonMapping, JsonObject


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
        self.scorer, parsed = detector.scorer(), detector.rule(rule)
        if adapt is None:
            self.threshold, self.adaptation = detector.normal.threshold(parsed), None
        else:
            self.adaptation, self.threshold = detector.normal.adapt(parsed, adapt)
        self.limits = detector.normal.shift_limits()
        # State of series, until their first rows arrive.
        self.restored: dict[str, JsonMapping] = {}
        # Series in which a shift began, until `take_shifted` returns them.
        self.shifted: dict[str, str] = {}
        self.tracks: dict[str, _SeriesStream] = {}
        # The scale of each series is found by its index; unknown series use the first one.
        self.lines = {name: line for line, name in enumerate(detector.scales.names)}

    def push(self, values: Array, times: Int64Array, ids: Sequence[str], refuse: Refuse) -> ScoredRows:
        """Add rows and return them with their scores, grouped by series, whose names they have.

        A row without any value has no score until a row with values follows. A missing row has the time that the grid
        gives it.

        Args:
            values: `(rows, features)` in the data's units, NaN where missing.
            times: `(rows,)` int64 nanoseconds since 1970 in UTC, ascending within a series.
            ids: The name of each row's series; "" if there is one series.
            refuse: Function that receives the error of each row that is earlier than a previous row of its series, or
                too close to it. Such rows are not added.
        """
        values, arrived = np.asarray(values, np.float32), list[tuple[_SeriesStream, GridPiece]]()
        for name, of_series in rows_by_series(ids).items():
            if name not in self.tracks:
                self.tracks[name] = _SeriesStream(self, name)
            track = self.tracks[name]
            arrived += [(track, piece) for piece in track.push(values[of_series], times[of_series], refuse)]
        return self._score(arrived)

    def take_shifted(self) -> dict[str, str]:
        """Return the series that left the training range since the last call, with what has shifted."""
        shifted, self.shifted = self.shifted, {}
        return shifted

    def state(self, name: str) -> JsonObject:
        """Return the state of the level and of the shift of a series, for `restored` of another stream."""
        track = self.tracks[name]
        return {"level": track.level and track.level.to_json(), "shift": track.shift.to_json()}

    def _score(self, arrived: Sequence[tuple["_SeriesStream", GridPiece]]) -> ScoredRows:
        """Return the scores of complete rows, which are computed together."""
        counts = [len(piece.times) for _, piece in arrived]
        ends = list(itertools.accumulate(counts, initial=0))
        places = [slice(first, end) for first, end in itertools.pairwise(ends)]
        lines = np.repeat(np.array([track.line for track, _ in arrived], np.int32), counts)
        times = np.concatenate([np.empty(0, np.int64), *(piece.times for _, piece in arrived)])
        empty = np.empty((0, self.scorer.features), np.float32)
        values = np.concatenate([empty, *(piece.values for _, piece in arrived)])
        values = self.detector.scales.scale.to_common(values, lines)
        rows = [track.arrive(piece, values[place]) for (track, piece), place in zip(arrived, places, strict=True)]
        scored = self.scorer.score_arrived(rows)
        scores = scored.scores
        signs, begins = self.limits.beyond(values, scores), np.zeros(len(times), bool)
        for (track, piece), place in zip(arrived, places, strict=True):
            if track.shift.count(signs[place], piece.times):
                self.shifted[track.name] = track.shift.describe(self.detector.config.value_cols)
            begins[place.start] = piece.begins or track.begins
            if track.level:
                scores[place] = track.level.relative(scores[place], piece.times, begins=bool(begins[place.start]))
            track.begins = False
        return ScoredRows(
            series=np.repeat(np.array([track.name for track, _ in arrived], object), counts),
            times=times,
            begins=begins,
            scores=scores,
            p=self.threshold.p_values(scores),
            windows=scored.windows,
            errors=scored.errors,
        )


class _SeriesStream:
    """The stream of one series: its grid, and the last window of rows."""

    def __init__(self, stream: DetectionStream, name: str) -> None:
        self.stream, self.name, self.line = stream, name, stream.lines.get(name, 0)
        self.features = stream.scorer.features
        self.level = stream.adaptation.start(stream.threshold.value) if stream.adaptation else None
        self.shift = Shift(stream.limits, self.features)
        if (state := stream.restored.pop(name, None)) is not None:
            self.shift.restore(state["shift"])
            if self.level and state["level"]:
                self.level.restore(state["level"])
        self.grid = IncomingGrid(stream.detector.config, self.features, name)
        # The rows of the present segment, and whether none of them has a score yet.
        self.segment, self.begins = ArrivingSegment(stream.scorer.window, self.features), True

    def push(self, values: Array, times: Int64Array, refuse: Refuse) -> Iterator[GridPiece]:
        """Add rows and yield those that are complete."""

        def push(rows: range) -> list[GridPiece]:
            place = slice(rows.start, rows.stop)
            return self.grid.push(values[place], times[place])

        for pieces in apply_in_parts(range(len(values)), push, refuse):
            yield from pieces

    def arrive(self, piece: GridPiece, values: Array) -> ArrivedRows:
        """Return the rows of a piece, with these values in the common scale, and those of their windows."""
        if piece.begins:
            self.segment = ArrivingSegment(self.segment.window, self.features)
        return self.segment.add(values)
