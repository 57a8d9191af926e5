"""Detect anomalies in incoming rows.

A row has an online score when it arrives, from the window that ends at it. Its final score is the mean over all windows
that contain it; it is known after the next `window - 1` rows, or after a long gap, and then equals the score from the
whole table. The memory holds at most one window of rows per series.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.detect import RunDetector, require_online
from lstm_ae.arrays import Array, Int64Array
from lstm_ae.data.stream import GridPiece, IncomingGrid, Refuse, apply_in_parts, raise_row_error
from lstm_ae.data.time_zones import Zone
from lstm_ae.detection.calibration import DETECTOR, RowScores
from lstm_ae.detection.scorer import SegmentScorer
from lstm_ae.detection.shift import Shift
from lstm_ae.errors import DataError
from lstm_ae.json_types import JsonMapping, JsonObject


class StreamedScores(NamedTuple):
    """Scored rows of a stream, grouped by series and ordered by time.

    Args:
        series: The name of each row's series.
        times: `(rows,)` int64 nanoseconds in UTC, or row numbers. A missing row has the time that the grid gives it.
        scores: `(rows,)`; NaN where no window contains the row or, online, no window ends at it.
        errors: `(rows, features)` errors of the values, see `lstm_ae.detection.calibration.DetectorCalibration`.
        p: `(rows,)` probability that a normal row has a score this high.
        anomaly: `(rows,)` bool, whether the score is above the threshold.
        begins: `(rows,)` bool, whether the row is the first of a segment: the first of its series, or after a long gap.
        final: `(rows,)` bool, whether the score is final; False for online scores, and at the end of the stream.
    """

    series: list[str]
    times: Int64Array
    scores: Array
    errors: Array
    p: Array
    anomaly: Array
    begins: Array
    final: Array


class _Part(NamedTuple):
    """Scored rows of one series, which no threshold is compared with yet."""

    name: str
    times: Int64Array
    scored: RowScores
    begins: Array
    final: bool


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
        online: Whether to return the online score of each row instead of its final score.
        adapt: Rows over which the threshold of online scores follows slow change, see `lstm_ae.detection.drift`; None
            for a constant threshold. Scores are then relative to their recent level.

    Raises:
        ConfigError: `adapt` is shorter than a window, or the scores are not online scores.
    """

    def __init__(
        self,
        detector: RunDetector,
        rule: str | None = None,
        *,
        online: bool = False,
        adapt: int | None = None,
    ) -> None:
        self.detector, self.online = detector, online
        parsed = detector.rule(rule)
        if adapt is None:
            self.threshold, self.adaptation = detector.normal.threshold(parsed, online=online), None
        else:
            require_online(online=online)
            self.adaptation, self.threshold = detector.normal.adapt(DETECTOR, parsed, adapt)
        self.limits = detector.normal.shift_limits(online=online)
        # State of series, until their first rows arrive.
        self.restored: dict[str, JsonMapping] = {}
        # Series in which a shift began, until `take_shifted` returns them.
        self.shifted: dict[str, str] = {}
        # The time zone of the times in error messages.
        self.zone: Zone = None
        self.tracks: dict[str, _SeriesStream] = {}
        # The scale of each series is found by its index; unknown series use the first one.
        self.lines = {name: line for line, name in enumerate(detector.scales.names)}
        # Scored rows stay here until `push` or `end` returns them, also after an error.
        self.scored: list[_Part] = []

    @property
    def delay(self) -> int:
        """Return the number of later rows after which the score of a row is final."""
        return self.detector.normal.pending

    def push(
        self,
        values: Array,
        times: Int64Array | None = None,
        ids: Sequence[str] | None = None,
        *,
        refuse: Refuse = raise_row_error,
    ) -> StreamedScores:
        """Add rows and return those with new scores.

        Args:
            values: `(rows, features)` in the data's units, NaN where missing.
            times: `(rows,)` int64 nanoseconds since 1970 in UTC, ascending within a series; None if rows simply
                follow each other.
            ids: The name of each row's series; None if there is one series.
            refuse: Function that handles the error of an invalid row; by default it raises the error.

        Raises:
            DataError: If a row is earlier than a previous row of its series, or has the same time while the rule for
                duplicates is "error". The rows of that series before it and all rows of other series are still added;
                the next call returns their scores.
        """
        problem = None
        for name, of_series in rows_by_series([""] * len(values) if ids is None else ids).items():
            if name not in self.tracks:
                self.tracks[name] = _SeriesStream(self, name)
            rows = np.asarray(values, np.float32)[of_series], None if times is None else times[of_series]
            try:
                self.scored.extend(self.tracks[name].push(*rows, refuse))
            except DataError as error:
                problem = problem or error
        if problem:
            raise problem
        return self._take_scored()

    def end(self) -> StreamedScores:
        """End the stream and return the remaining rows, scored with the rows received so far; none if online."""
        self.scored += [part for track in self.tracks.values() for part in track.end()]
        self.tracks = {}
        return self._take_scored()

    def take_shifted(self) -> dict[str, str]:
        """Return the series that left the training range since the last call, with what has shifted."""
        shifted, self.shifted = self.shifted, {}
        return shifted

    def state(self, name: str) -> JsonObject:
        """Return the state of the level and of the shift of a series, for `restored` of another stream."""
        track = self.tracks[name]
        return {"level": track.level and track.level.to_json(), "shift": track.shift.to_json()}

    def _take_scored(self) -> StreamedScores:
        """Return all scored rows since the last call."""
        parts, self.scored = self.scored, []
        if not parts:
            none, features = np.empty(0), self.detector.normal.components.mean.shape[1]
            parts = [
                _Part("", none.astype(np.int64), RowScores(none, np.empty((0, features))), none.astype(bool), False)
            ]
        scores = np.concatenate([part.scored.scores for part in parts])
        return StreamedScores(
            [part.name for part in parts for _ in part.times],
            np.concatenate([part.times for part in parts]),
            scores,
            np.concatenate([part.scored.errors for part in parts]),
            self.threshold.p_values(scores),
            np.asarray(scores > self.threshold.value),
            np.concatenate([part.begins for part in parts]),
            np.repeat([part.final for part in parts], [len(part.times) for part in parts]),
        )


class _SeriesStream:
    """The stream of one series: its grid, the last window of rows, and the rows without a final score."""

    def __init__(self, stream: DetectionStream, name: str) -> None:
        self.stream, self.name, self.line = stream, name, stream.lines.get(name, 0)
        self.window, self.features = stream.detector.normal.components.mean.shape
        self.level = stream.adaptation.start(stream.threshold.value) if stream.adaptation else None
        self.shift = Shift(stream.limits, self.features)
        if (state := stream.restored.pop(name, None)) is not None:
            self.shift.restore(state["shift"])
            if self.level and state["level"]:
                self.level.restore(state["level"])
        self.grid = IncomingGrid(stream.detector.config, self.features, name, stream.zone)
        self._begin_segment()

    def push(self, values: Array, times: Int64Array | None, refuse: Refuse) -> Iterator[_Part]:
        """Add rows and yield those with new scores."""

        def push(rows: range) -> list[GridPiece]:
            place = slice(rows.start, rows.stop)
            return self.grid.push(values[place], None if times is None else times[place])

        for pieces in apply_in_parts(range(len(values)), push, refuse):
            yield from self._add(pieces)

    def end(self) -> Iterator[_Part]:
        """Yield the remaining rows of the series, scored by the windows that contain them so far."""
        yield from self._add(self.grid.end())
        yield from self._score_rest(final=False)

    def _begin_segment(self) -> None:
        self.scorer = SegmentScorer(self.stream.detector.scorer(online=self.stream.online), online=self.stream.online)
        # The time of the first row.
        self.first: int | None = None
        # The times of the rows without a final score.
        self.waiting = np.empty(0, np.int64)

    def _add(self, pieces: list[GridPiece]) -> Iterator[_Part]:
        for piece in pieces:
            if piece.begins:
                yield from self._score_rest(final=True)
                self._begin_segment()
            times, line = piece.times, np.full(len(piece.times), self.line, np.int32)
            values = self.stream.detector.scales.scale.to_common(piece.values, line)
            scored = self.scorer.add(values)
            self._watch_range(values, scored.scores if self.stream.online else np.full(len(values), np.nan), times)
            if self.level:
                scored = scored._replace(scores=self.level.relative(scored.scores, times, begins=self.first is None))
            if self.first is None and len(times):
                self.first = int(times[0])
            if self.stream.online:
                yield self._score(times, scored, final=False)
            else:
                self.waiting = np.concatenate([self.waiting, times])
                yield self._score_waiting(scored, final=True)

    def _score_rest(self, *, final: bool) -> Iterator[_Part]:
        """Yield the remaining rows of the segment."""
        if not self.stream.online:
            pads = self.stream.detector.config.short == "pad"
            yield self._score_waiting(self.scorer.rest(pad=pads), final=final)

    def _score_waiting(self, scored: RowScores, *, final: bool) -> _Part:
        """Return the first of the waiting rows with their scores."""
        count = len(scored.scores)
        times, self.waiting = self.waiting[:count], self.waiting[count:].copy()
        self._watch_range(np.full((count, self.features), np.nan), scored.scores, times)
        return self._score(times, scored, final=final)

    def _score(self, times: Int64Array, scored: RowScores, *, final: bool) -> _Part:
        return _Part(self.name, times, scored, times == self.first, final)

    def _watch_range(self, values: Array, scores: Array, times: Int64Array) -> None:
        """Find out whether rows leave the training range."""
        if self.shift.add(values, scores, times):
            self.stream.shifted[self.name] = self.shift.describe(self.stream.detector.config.value_cols)
