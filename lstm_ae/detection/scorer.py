"""Scores of the rows of a segment, whether all of them are known or they arrive in parts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.row_means import Overlap, Residuals, RowSums, batches_at_once, window_blocks, window_segments
from lstm_ae.data.table_reader import Progress
from lstm_ae.detection.calibration import CalibratedScores, DetectorCalibration, RowScores
from lstm_ae.threads import iterate_in_threads


class View(NamedTuple):
    """A way to score rows: by the residuals of a network, or by a baseline.

    Args:
        residuals: function from rows to the residuals of the windows at every row.
        fitted: calibrated scores of these residuals.
    """

    residuals: Residuals
    fitted: CalibratedScores


class SegmentScorer:
    """Scorer of the rows of one segment, which keeps no more than a window of them.

    Args:
        residuals: function from rows to the residuals of the windows at every row.
        calibration: scores of the residuals.
        online: whether to compute online scores instead of final ones.
    """

    def __init__(
        self,
        residuals: Residuals,
        calibration: DetectorCalibration,
        *,
        online: bool = False,
    ) -> None:
        self.residuals, self.calibration, self.online = residuals, calibration, online
        self.window, self.features = calibration.distance.mean.shape
        self.overlap = Overlap()
        # Rows that windows of later rows contain.
        self.rows: Array = np.empty((0, self.features), np.float32)

    def add(self, values: Array, progress: Callable[[int], None] | None = None) -> RowScores:
        """Add rows.

        Args:
            values: `(rows, features)` in original units, NaN where missing.
            progress: called with the number of these rows that are done.

        Returns:
            The final scores that these rows make known, of the rows after those that had one before. The online scores
            of these rows instead, NaN where no window ends.
        """
        rows, before = np.concatenate([self.rows, values]), len(self.rows)
        scored = RowScores(np.full(len(values), np.nan), np.full((len(values), self.features), np.nan))
        means = [np.empty((0, 1 + self.features))]
        blocks = list(window_blocks(0, len(rows), self.window, self.features))
        # This thread computes the residuals in the order of the rows, since their function may keep a state.
        residuals = (self.residuals(rows[block]) for block in blocks)
        found = iterate_in_threads(self._score, residuals, batches_at_once(self.window, self.features))
        for block, part in zip(blocks, found, strict=True):
            if isinstance(part, RowSums):
                means.append(self.overlap.add(part))
            else:
                # Windows end at new rows only, as the rows before them are fewer than a window.
                ends = slice(block.start + self.window - 1 - before, block.stop - before)
                scored.scores[ends], scored.errors[ends] = part
            if progress:
                progress(block.stop - before)
        self.rows = rows[max(0, len(rows) - self.window + 1) :].copy()
        return scored if self.online else _row_scores(np.concatenate(means))

    def rest(self, *, pad: bool = False) -> RowScores:
        """Return the final scores of the last rows of the segment, by the windows that contain them.

        Args:
            pad: whether missing rows before a segment that is shorter than a window make it one.
        """
        means = self.overlap.rest()
        if not len(means):
            count, missing = len(self.rows), self.window - len(self.rows)
            means = np.full((count, 1 + self.features), np.nan)
            if pad and count:
                padded = np.concatenate([np.full((missing, self.features), np.nan, np.float32), self.rows])
                self.overlap.add(self.calibration.sums(self.calibration.measure(self.residuals(padded))))
                means = self.overlap.rest()[-count:]
        return _row_scores(means)

    def _score(self, residuals: Array) -> RowSums | RowScores:
        measured = self.calibration.measure(residuals)
        return self.calibration.last_rows(measured) if self.online else self.calibration.sums(measured)


def _row_scores(means: Float64Array) -> RowScores:
    """Return the scores and errors in the means of `DetectorCalibration.sums`."""
    return RowScores(means[:, 0], means[:, 1:])


def score_rows(
    residuals: Residuals,
    calibration: DetectorCalibration,
    series: Array,
    segment: Array,
    progress: Progress | None = None,
    *,
    online: bool = False,
) -> RowScores:
    """Return the scores and errors of every row; those of segments shorter than a window are NaN.

    Args:
        residuals, calibration: see `SegmentScorer`.
        series: `(rows, features)` in original units, NaN where missing.
        segment: `(rows,)`; no window crosses a segment boundary.
        progress: called with the number of rows done and their share.
        online: whether to return online scores. The first rows of a segment, at which no window ends, have none.
    """
    window, features = calibration.distance.mean.shape
    scored = RowScores(np.full(len(series), np.nan), np.full((len(series), features), np.nan))
    for first, end in window_segments(segment, window):

        def report(done: int, first: int = first) -> None:
            if progress:
                progress(first + done, (first + done) / len(series))

        scorer = SegmentScorer(residuals, calibration, online=online)
        parts = [scorer.add(series[first:end], report)]
        parts += [] if online else [scorer.rest()]
        for column, *values in zip(scored, *parts, strict=True):
            column[first:end] = np.concatenate(values)
    return scored
