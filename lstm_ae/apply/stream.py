"""Anomalies in rows that are still coming: each row's score as soon as no later row can change it.

A score is the mean over all windows that hold a row and over the rows around it, so that it is final once the
`window - 1 + smooth // 2` rows after it have come, or a long gap. It is then what a search of the whole table finds.
No more is kept than a window of rows for each series.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.apply.detect import RunDetector
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.csv_reader import Refuse, apply_in_parts, raise_row_error
from lstm_ae.data.stream import GridPiece, IncomingGrid
from lstm_ae.data.time_zones import Zone
from lstm_ae.data.timestamps import Times
from lstm_ae.detection.calibration import Adding, window_blocks
from lstm_ae.detection.scores import Overlap, row_scores
from lstm_ae.detection.thresholds import Threshold
from lstm_ae.errors import DataError
from lstm_ae.studies.series.reconstruction import threshold_rule

Numbers = NDArray[Any]


class FinalScores(NamedTuple):
    """Rows that a stream has decided, series by series in the order of time.

    Args:
        series: the name of each row's series.
        times: `(rows,)` int64 nanoseconds in UTC, or row numbers; of a missing row when it would have been.
        by_feature: `(rows, features)` scores of each column; NaN where a row stands in no window.
        scores: `(rows,)` their means.
        p: `(rows,)` the probability that a normal row scores as high.
        anomaly: `(rows,)` whether the score is above the threshold.
        final: `(rows,)` False where rows to come could still have changed the score.
    """

    series: list[str]
    times: Times
    by_feature: Numbers
    scores: Numbers
    p: Numbers
    anomaly: Numbers
    final: Numbers


class _ScoredRows(NamedTuple):
    """Rows of one series with their scores, and whether these are final."""

    times: Times
    by_feature: Numbers
    final: bool


class DetectionStream:
    """A detector applied to rows while they come.

    Args:
        detector: of a run, see `lstm_ae.apply.detect.load_detector`.
        rule: of the threshold; that of the detector where None.
    """

    def __init__(self, detector: RunDetector, rule: str | None = None) -> None:
        self.detector = detector
        asked = parse_threshold(rule) if rule else threshold_rule(detector.config, detector.normal)
        self.threshold: Threshold = detector.normal.threshold(asked)
        # How errors tell times.
        self.zone: Zone = None
        self.tracks: dict[str, _SeriesStream] = {}
        # Of series with a scale of their own, its line.
        self.lines = {name: line for line, name in enumerate(detector.levels.names)}
        # Decided and not returned yet.
        self.found: list[tuple[str, _ScoredRows]] = []

    @property
    def delay(self) -> int:
        """How many rows must come after a row until its score is final."""
        normal, held = self.detector.normal, self.detector.config.duplicates in ("last", "mean")
        return normal.window - 1 + normal.smooth // 2 + held

    def push(
        self,
        values: Numbers,
        times: Times | None = None,
        ids: Sequence[str] | None = None,
        *,
        refuse: Refuse = raise_row_error,
    ) -> FinalScores:
        """Take the next rows and return those that are decided by them.

        Args:
            values: `(rows, features)` in own units, NaN where missing.
            times: `(rows,)` int64 nanoseconds since 1970 in UTC, in their order within a series; None where rows just
                follow one another.
            ids: the name of each row's series; None where there is one.
            refuse: is told what is wrong with a row that cannot be taken; raises it where not given.

        Raises:
            DataError: a row is earlier than one before it, or has its place, and the rule for duplicates is "error".
                Those of its series before it and all of other series are taken, and what they decide is returned by
                the next call.
        """
        names = np.array([""] * len(values) if ids is None else ids, object)
        problem = None
        for name in dict.fromkeys(names.tolist()):
            own = names == name
            if name not in self.tracks:
                self.tracks[name] = _SeriesStream(self.detector, name, self.lines.get(name, 0), self.zone)
            rows = np.asarray(values, np.float32)[own], None if times is None else times[own]
            try:
                for part in self.tracks[name].push(*rows, refuse):
                    self.found.append((name, part))
            except DataError as error:
                problem = problem or error
        if problem:
            raise problem
        return self._decided()

    def end(self) -> FinalScores:
        """The rows that are not decided yet, scored by what has come; the stream is over."""
        self.found += [(name, part) for name, track in self.tracks.items() for part in track.end()]
        self.tracks = {}
        return self._decided()

    def _decided(self) -> FinalScores:
        found, self.found = self.found, []
        parts = [part for _, part in found]
        by_feature = np.concatenate([self._nothing, *(part.by_feature for part in parts)])
        scores = row_scores(by_feature)
        return FinalScores(
            [name for name, part in found for _ in part.times],
            np.concatenate([np.empty(0, np.int64), *(part.times for part in parts)]),
            by_feature,
            scores,
            self.threshold.p_values(scores),
            scores > self.threshold.value,
            np.array([part.final for part in parts for _ in part.times], np.bool_),
        )

    @property
    def _nothing(self) -> Numbers:
        return np.empty((0, self.detector.normal.components.mean.shape[1]))


class _SeriesStream:
    """One series of a stream."""

    def __init__(self, detector: RunDetector, name: str, line: int, zone: Zone) -> None:
        self.detector, self.line = detector, np.array([line], np.int32)
        self.grid = IncomingGrid(detector.config, detector.normal.components.mean.shape[1], name, zone)
        self.segment = _SegmentStream(detector)

    def push(self, values: Numbers, times: Times | None, refuse: Refuse) -> Iterator[_ScoredRows]:
        """Take the next rows; give those that are decided."""

        def push(rows: range) -> list[GridPiece]:
            own = slice(rows.start, rows.stop)
            return self.grid.push(values[own], None if times is None else times[own])

        for pieces in apply_in_parts(range(len(values)), push, refuse):
            yield from self._take(pieces)

    def end(self) -> list[_ScoredRows]:
        """What is left."""
        return [*self._take(self.grid.end()), self.segment.rest(final=False)]

    def _take(self, pieces: list[GridPiece]) -> list[_ScoredRows]:
        parts = []
        for piece in pieces:
            if piece.begins:
                parts.append(self.segment.rest(final=True))
                self.segment = _SegmentStream(self.detector)
            line = self.line.repeat(len(piece.values))
            parts.append(self.segment.add(piece.times, self.detector.levels.scale.levelled(piece.values, line)))
        return parts


class _SegmentStream:
    """Rows one step apart, of which a window's are kept, and those that are not decided."""

    def __init__(self, detector: RunDetector) -> None:
        self.errors: Adding = detector.ours
        self.pads = detector.config.short == "pad"
        self.window, features = detector.normal.components.mean.shape
        self.overlap = Overlap(detector.normal.smooth)
        self.rows = np.empty((0, features), np.float32)
        self.waiting = np.empty(0, np.int64)

    def add(self, times: Times, values: Numbers) -> _ScoredRows:
        """Take the next rows; return those that are final."""
        rows = np.concatenate([self.rows, values])
        waiting = np.concatenate([self.waiting, times])
        final = [self.overlap.add(self.errors(rows[place])) for place in window_blocks(0, len(rows), self.window)]
        by_feature = np.concatenate([np.empty((0, rows.shape[1])), *final])
        self.rows, self.waiting = rows[max(0, len(rows) - self.window + 1) :].copy(), waiting[len(by_feature) :].copy()
        return _ScoredRows(waiting[: len(by_feature)], by_feature, final=True)

    def rest(self, *, final: bool) -> _ScoredRows:
        """What is not decided, by the windows that there are."""
        by_feature = self.overlap.rest()
        if not len(by_feature):  # fewer rows than a window
            by_feature = np.full((len(self.waiting), self.rows.shape[1]), np.nan)
            if self.pads and len(self.waiting):
                missing = np.full((self.window - len(self.rows), self.rows.shape[1]), np.nan, np.float32)
                self.overlap.add(self.errors(np.concatenate([missing, self.rows])))
                by_feature = self.overlap.rest()[-len(self.waiting) :]
        return _ScoredRows(self.waiting, by_feature, final)
