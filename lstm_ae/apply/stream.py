"""Detect anomalies in incoming rows, with each score final as soon as no later row can change it.

A score is the mean over all windows that contain the row and over the rows around it. It is final after the next
`window - 1 + smooth // 2` rows, or after a long gap, and then equals the score from the whole table. The memory holds
at most one window of rows per series.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.detect import RunDetector
from lstm_ae.arrays import Array, Int64Array
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.stream import GridPiece, IncomingGrid, Refuse, apply_in_parts, raise_row_error
from lstm_ae.data.time_zones import Zone
from lstm_ae.detection.calibration import Adding, window_blocks
from lstm_ae.detection.scores import Overlap, row_scores
from lstm_ae.detection.thresholds import Threshold
from lstm_ae.errors import DataError
from lstm_ae.studies.series.reconstruction import threshold_rule


class FinalScores(NamedTuple):
    """Scored rows of a stream, grouped by series and ordered by time.

    Args:
        series: The name of each row's series.
        times: `(rows,)` int64 nanoseconds in UTC, or row numbers. A missing row has the time that the grid gives it.
        by_feature: `(rows, features)` score of each column; NaN where no window contains the row.
        scores: `(rows,)` mean of `by_feature` over the columns.
        p: `(rows,)` probability that a normal row has a score this high.
        anomaly: `(rows,)` bool, whether the score is above the threshold.
        final: `(rows,)` bool, False where later rows could still have changed the score.
    """

    series: list[str]
    times: Int64Array
    by_feature: Array
    scores: Array
    p: Array
    anomaly: Array
    final: Array


class _ScoredRows(NamedTuple):
    """Scored rows of one series, with a flag for final scores."""

    times: Int64Array
    by_feature: Array
    final: bool


class DetectionStream:
    """A detector for rows that arrive one batch at a time.

    Args:
        detector: The detector of a run, see `lstm_ae.apply.detect.load_detector`.
        rule: The threshold rule; None for the detector's own rule.
    """

    def __init__(self, detector: RunDetector, rule: str | None = None) -> None:
        self.detector = detector
        parsed = parse_threshold(rule) if rule else threshold_rule(detector.config, detector.normal)
        self.threshold: Threshold = detector.normal.threshold(parsed)
        # The time zone of the times in error messages.
        self.zone: Zone = None
        self.tracks: dict[str, _SeriesStream] = {}
        # The scale of each series is found by its index; unknown series use the first one.
        self.lines = {name: line for line, name in enumerate(detector.scales.names)}
        # Scored rows stay here until `push` or `end` returns them, also after an error.
        self.scored: list[tuple[str, _ScoredRows]] = []

    @property
    def delay(self) -> int:
        """Return the number of later rows after which the score of a row is final."""
        normal, held = self.detector.normal, self.detector.config.duplicates in ("last", "mean")
        return normal.window - 1 + normal.smooth // 2 + held

    def push(
        self,
        values: Array,
        times: Int64Array | None = None,
        ids: Sequence[str] | None = None,
        *,
        refuse: Refuse = raise_row_error,
    ) -> FinalScores:
        """Add rows and return those whose scores are final now.

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
        names = np.array([""] * len(values) if ids is None else ids, object)
        problem = None
        for name in dict.fromkeys(names.tolist()):
            of_series = names == name
            if name not in self.tracks:
                self.tracks[name] = _SeriesStream(self.detector, name, self.lines.get(name, 0), self.zone)
            rows = np.asarray(values, np.float32)[of_series], None if times is None else times[of_series]
            try:
                for part in self.tracks[name].push(*rows, refuse):
                    self.scored.append((name, part))
            except DataError as error:
                problem = problem or error
        if problem:
            raise problem
        return self._take_scored()

    def end(self) -> FinalScores:
        """End the stream and return the remaining rows, scored with the rows received so far."""
        self.scored += [(name, part) for name, track in self.tracks.items() for part in track.end()]
        self.tracks = {}
        return self._take_scored()

    def _take_scored(self) -> FinalScores:
        scored, self.scored = self.scored, []
        parts = [part for _, part in scored]
        by_feature = np.concatenate([self._no_scores, *(part.by_feature for part in parts)])
        scores = row_scores(by_feature)
        return FinalScores(
            [name for name, part in scored for _ in part.times],
            np.concatenate([np.empty(0, np.int64), *(part.times for part in parts)]),
            by_feature,
            scores,
            self.threshold.p_values(scores),
            scores > self.threshold.value,
            np.array([part.final for part in parts for _ in part.times], np.bool_),
        )

    @property
    def _no_scores(self) -> Array:
        return np.empty((0, self.detector.normal.components.mean.shape[1]))


class _SeriesStream:
    """The stream of one series."""

    def __init__(self, detector: RunDetector, name: str, line: int, zone: Zone) -> None:
        self.detector, self.line = detector, np.array([line], np.int32)
        self.grid = IncomingGrid(detector.config, detector.normal.components.mean.shape[1], name, zone)
        self.segment = _SegmentStream(detector)

    def push(self, values: Array, times: Int64Array | None, refuse: Refuse) -> Iterator[_ScoredRows]:
        """Add rows and yield those whose scores are final."""

        def push(rows: range) -> list[GridPiece]:
            place = slice(rows.start, rows.stop)
            return self.grid.push(values[place], None if times is None else times[place])

        for pieces in apply_in_parts(range(len(values)), push, refuse):
            yield from self._take(pieces)

    def end(self) -> list[_ScoredRows]:
        """Return the remaining rows of the series."""
        return [*self._take(self.grid.end()), self.segment.rest(final=False)]

    def _take(self, pieces: list[GridPiece]) -> list[_ScoredRows]:
        parts = []
        for piece in pieces:
            if piece.begins:
                parts.append(self.segment.rest(final=True))
                self.segment = _SegmentStream(self.detector)
            line = self.line.repeat(len(piece.values))
            parts.append(self.segment.add(piece.times, self.detector.scales.scale.to_common(piece.values, line)))
        return parts


class _SegmentStream:
    """The stream of one segment, which keeps the last window of rows and the rows without a final score."""

    def __init__(self, detector: RunDetector) -> None:
        self.errors: Adding = detector.model_errors
        self.pads = detector.config.short == "pad"
        self.window, features = detector.normal.components.mean.shape
        self.overlap = Overlap(detector.normal.smooth)
        self.rows = np.empty((0, features), np.float32)
        self.waiting = np.empty(0, np.int64)

    def add(self, times: Int64Array, values: Array) -> _ScoredRows:
        """Add rows and return those whose scores are final."""
        rows = np.concatenate([self.rows, values])
        waiting = np.concatenate([self.waiting, times])
        final = [self.overlap.add(self.errors(rows[place])) for place in window_blocks(0, len(rows), self.window)]
        by_feature = np.concatenate([np.empty((0, rows.shape[1])), *final])
        self.rows, self.waiting = rows[max(0, len(rows) - self.window + 1) :].copy(), waiting[len(by_feature) :].copy()
        return _ScoredRows(waiting[: len(by_feature)], by_feature, final=True)

    def rest(self, *, final: bool) -> _ScoredRows:
        """Return the remaining rows, scored by the windows that contain them so far."""
        by_feature = self.overlap.rest()
        if not len(by_feature):  # The segment is shorter than a window.
            by_feature = np.full((len(self.waiting), self.rows.shape[1]), np.nan)
            if self.pads and len(self.waiting):
                missing = np.full((self.window - len(self.rows), self.rows.shape[1]), np.nan, np.float32)
                self.overlap.add(self.errors(np.concatenate([missing, self.rows])))
                by_feature = self.overlap.rest()[-len(self.waiting) :]
        return _ScoredRows(self.waiting, by_feature, final)
