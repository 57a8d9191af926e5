"""Scores of the rows of a segment, whether all of them are known or they arrive in parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.row_means import (
    Residuals,
    RowSums,
    batches_at_once,
    mean_stride,
    mean_windows,
    sum_windows,
    window_blocks,
    window_segments,
)
from lstm_ae.data.table_reader import Progress
from lstm_ae.detection.calibration import DetectorCalibration, MeasuredWindows, RowScores, combine_scores
from lstm_ae.threads import iterate_in_threads

Part = TypeVar("Part")


class View(NamedTuple):
    """A view of the windows of rows, by a network or by a simpler model.

    Args:
        source: function from rows to the residuals, or the values, of their windows.
        calibration: scores of what the source returns.
        transform: function of the windows whose result is scored instead; None for the windows themselves.
    """

    source: Residuals
    calibration: DetectorCalibration
    transform: Callable[[Array], Array] | None = None

    def measure(self, windows: Array) -> MeasuredWindows:
        """Return the distances of windows of the source."""
        return self.calibration.measure(self.transform(windows) if self.transform else windows)


class Scorer:
    """Scorer of the rows of a segment by the windows that contain them, or online by those that end at them.

    Args:
        views: views whose scores are combined, see `combine_scores`. The errors are those of the first one.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.views = views
        self.sources = list(dict.fromkeys(view.source for view in views))
        self.window, self.features = views[0].calibration.distance.mean.shape

    def score(self, rows: Array, progress: Callable[[int], None] | None = None) -> RowScores:
        """Return the final scores and the errors of all rows of a segment, which has at least a window of them.

        Args:
            rows: `(rows, features)` in original units, NaN where missing.
            progress: called with the number of rows that are done.
        """
        stride = mean_stride(self.window)

        def sums(block: slice, windows: Mapping[Residuals, Array]) -> RowSums:
            measured = [view.measure(windows[view.source]) for view in self.views]
            pairs = zip(self.views, measured, strict=True)
            scores = np.stack([view.calibration.scores(each) for view, each in pairs], axis=1)
            errors = np.square(measured[0].deviations, dtype=np.float64)
            # Rows without a value have no score.
            known = ~np.isnan(errors).all(axis=2, keepdims=True)
            return sum_windows(
                np.concatenate([np.where(known, scores[:, None], np.nan), errors], axis=2), stride, block.start
            )

        means = mean_windows(self._compute(rows, stride, sums, progress))
        scores, errors = np.split(means, [len(self.views)], axis=1)
        return RowScores(combine_scores(list(scores.T)), errors)

    def score_online(self, rows: Array, progress: Callable[[int], None] | None = None) -> RowScores:
        """Return the online scores and the errors of the rows at which a window ends; see `score`."""

        def last(_: slice, windows: Mapping[Residuals, Array]) -> RowScores:
            parts = [view.calibration.last_rows(view.measure(windows[view.source])) for view in self.views]
            return parts[0]._replace(scores=combine_scores([part.scores for part in parts]))

        parts = list(self._compute(rows, 1, last, progress))
        return RowScores(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _compute(
        self,
        rows: Array,
        stride: int,
        function: Callable[[slice, Mapping[Residuals, Array]], Part],
        progress: Callable[[int], None] | None,
    ) -> Iterator[Part]:
        """Yield the results of a function of the rows of each batch of windows, and of its windows by source."""
        blocks = list(window_blocks(0, len(rows), self.window, self.features, stride))
        # This thread calls the sources in the order of the rows, since a source may keep a state.
        windows = ((block, {source: source(rows[block], stride) for source in self.sources}) for block in blocks)
        parts = iterate_in_threads(lambda each: function(*each), windows, batches_at_once(self.window, self.features))
        for block, part in zip(blocks, parts, strict=True):
            if progress:
                progress(block.stop)
            yield part


class OnlineScorer:
    """Scorer of the rows of a segment as they arrive, which keeps less than a window of them.

    Args:
        views: see `Scorer`.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.scorer = Scorer(views)
        # Rows that windows of later rows contain.
        self.rows: Array = np.empty((0, self.scorer.features), np.float32)

    def add(self, values: Array) -> RowScores:
        """Add rows, and return their online scores and errors; NaN where no window ends.

        Args:
            values: `(rows, features)` in original units, NaN where missing.
        """
        scored, window = _unscored(len(values), self.scorer.features), self.scorer.window
        rows = np.concatenate([self.rows, values])
        if len(rows) >= window:
            ends = slice(window - 1 - len(self.rows), None)
            scored.scores[ends], scored.errors[ends] = self.scorer.score_online(rows)
        self.rows = rows[max(0, len(rows) - window + 1) :].copy()
        return scored


def _unscored(rows: int, features: int) -> RowScores:
    return RowScores(np.full(rows, np.nan), np.full((rows, features), np.nan))


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
        views: see `Scorer`.
        series: `(rows, features)` in original units, NaN where missing.
        segment: `(rows,)`; no window crosses a segment boundary.
        progress: called with the number of rows done and their share.
        online: whether to return online scores. The first rows of a segment, at which no window ends, have none.
    """
    scorer = Scorer(views)
    scored = _unscored(len(series), scorer.features)
    for first, end in window_segments(segment, scorer.window):

        def report(done: int, first: int = first) -> None:
            if progress:
                progress(first + done, (first + done) / len(series))

        score, begin = (scorer.score_online, first + scorer.window - 1) if online else (scorer.score, first)
        scored.scores[begin:end], scored.errors[begin:end] = score(series[first:end], report)
    return scored
