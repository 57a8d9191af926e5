"""Scores of the rows of a segment, whether all of them are known or they arrive in parts."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.data.row_means import Overlap, Residuals, RowSums, batches_at_once, window_blocks, window_segments
from lstm_ae.data.table_reader import Progress
from lstm_ae.detection.baselines import ShapeMemory
from lstm_ae.detection.calibration import DetectorCalibration, MeasuredWindows, RowScores, combine_scores
from lstm_ae.threads import iterate_in_threads


class View(NamedTuple):
    """A view of the windows of rows, by a network or by a simpler model.

    Args:
        source: function from rows to the residuals, or the values, of the windows at every row.
        calibration: scores of what the source returns.
        memory: shapes with which those of the windows are compared instead; None for a view of the windows themselves.
    """

    source: Residuals
    calibration: DetectorCalibration
    memory: ShapeMemory | None = None

    def measure(self, windows: Array) -> MeasuredWindows:
        """Return the distances of windows of the source."""
        return self.calibration.measure(self.memory.residuals(windows) if self.memory else windows)


class SegmentScorer:
    """Scorer of the rows of one segment, which keeps no more than a window of them.

    Args:
        views: views whose scores are combined, see `combine_scores`. The errors are those of the first one.
        online: whether to compute online scores instead of final ones.
    """

    def __init__(self, views: Sequence[View], *, online: bool = False) -> None:
        self.views, self.online = views, online
        self.sources = list(dict.fromkeys(view.source for view in views))
        self.window, self.features = views[0].calibration.distance.mean.shape
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
        means = [np.empty((0, len(self.views) + self.features))]
        blocks = list(window_blocks(0, len(rows), self.window, self.features))
        # This thread calls the sources in the order of the rows, since a source may keep a state.
        windows = (self._read(rows[block]) for block in blocks)
        found = iterate_in_threads(self._score, windows, batches_at_once(self.window, self.features))
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
        return scored if self.online else self._combine(np.concatenate(means))

    def rest(self) -> RowScores:
        """Return the final scores of the last rows of the segment, which has at least a window of them."""
        return self._combine(self.overlap.rest())

    def _read(self, rows: Array) -> dict[Residuals, Array]:
        """Return the windows of rows by source."""
        return {source: source(rows) for source in self.sources}

    def _score(self, windows: Mapping[Residuals, Array]) -> RowSums | RowScores:
        if not self.online:
            return self._sums(windows)
        parts = [view.calibration.last_rows(view.measure(windows[view.source])) for view in self.views]
        return parts[0]._replace(scores=combine_scores([part.scores for part in parts]))

    def _sums(self, windows: Mapping[Residuals, Array]) -> RowSums:
        """Return the sums per row of the scores by view and of the errors, `(rows, views + features)`."""
        measured = [view.measure(windows[view.source]) for view in self.views]
        first, *others = zip(self.views, measured, strict=True)
        parts = [view.calibration.score_sums(each) for view, each in others] + [first[0].calibration.sums(first[1])]
        return RowSums(
            np.hstack([part.sums for part in parts]), np.hstack([part.counts for part in parts]), self.window
        )

    def _combine(self, means: Float64Array) -> RowScores:
        """Return the scores and errors in the means of `_sums`."""
        views = len(self.views)
        return RowScores(combine_scores(list(means[:, :views].T)), means[:, views:])


def score_rows(
    views: Sequence[View],
    series: Array,
    segment: Array,
    progress: Progress | None = None,
    *,
    online: bool = False,
) -> RowScores:
    """Return the scores and errors of every row; those of segments shorter than a window are NaN.

    Args:
        views: see `SegmentScorer`.
        series: `(rows, features)` in original units, NaN where missing.
        segment: `(rows,)`; no window crosses a segment boundary.
        progress: called with the number of rows done and their share.
        online: whether to return online scores. The first rows of a segment, at which no window ends, have none.
    """
    window, features = views[0].calibration.distance.mean.shape
    scored = RowScores(np.full(len(series), np.nan), np.full((len(series), features), np.nan))
    for first, end in window_segments(segment, window):

        def report(done: int, first: int = first) -> None:
            if progress:
                progress(first + done, (first + done) / len(series))

        scorer = SegmentScorer(views, online=online)
        parts = [scorer.add(series[first:end], report)]
        parts += [] if online else [scorer.rest()]
        for column, *values in zip(scored, *parts, strict=True):
            column[first:end] = np.concatenate(values)
    return scored
