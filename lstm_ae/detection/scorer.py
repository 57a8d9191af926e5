"""Score the rows of a segment that is known as a whole or that arrives in pieces."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.table_reader import Progress
from lstm_ae.detection.calibration import DetectorCalibration, MeasuredWindows, RowScores, combine_scores
from lstm_ae.detection.row_means import (
    Residuals,
    RowSums,
    batch_size,
    batches_at_once,
    mean_stride,
    mean_windows,
    sliding_windows,
    sum_windows,
    window_blocks,
    window_segments,
)
from lstm_ae.threads import iterate_in_threads

Result = TypeVar("Result")


class View(NamedTuple):
    """A view of the windows of rows, by a network or by a simpler model.

    Args:
        source: function from rows to the residuals, or the values, of their windows.
        calibration: calibration of the scores.
        transform: function of the result of the source that returns what is scored; None to score the result itself.
    """

    source: Residuals
    calibration: DetectorCalibration
    transform: Callable[[Array], Array] | None = None

    def measure(self, windows: Array) -> MeasuredWindows:
        """Return the distances of windows of the source."""
        return self.calibration.measure(self.transform(windows) if self.transform else windows)


class ArrivedRows(NamedTuple):
    """Rows of a segment that arrived, with the earlier rows of the windows that end at them.

    Args:
        rows: `(rows, features)` in original units, NaN where missing.
        arrived: number of rows that arrived, which are the last ones.
    """

    rows: Array
    arrived: int


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

    def score_online(self, rows: Array, progress: Callable[[int], None] | None = None, *, stride: int = 1) -> RowScores:
        """Return the online scores and the errors of the rows at which every `stride`-th window ends; see `score`."""

        def last(_: slice, windows: Mapping[Residuals, Array]) -> RowScores:
            by_view = [view.calibration.last_rows(view.measure(windows[view.source])) for view in self.views]
            return by_view[0]._replace(scores=combine_scores([each.scores for each in by_view]))

        blocks = list(self._compute(rows, stride, last, progress))
        return RowScores(*(np.concatenate(column) for column in zip(*blocks, strict=True)))

    def score_arrived(self, segments: Iterable[ArrivedRows]) -> RowScores:
        """Return the online scores and the errors of the rows that arrived in segments; NaN where no window ends.

        The windows of many segments are computed together: a call for each takes several times as long.
        """
        segments = list(segments)
        scored, end = _unscored(sum(each.arrived for each in segments), self.features), 0
        limit, waiting, ends = batch_size(self.window, self.features), list[Array](), list[int]()
        for rows, arrived in segments:
            end += arrived
            windows = len(rows) - self.window + 1
            if windows > 0:
                if len(ends) + windows > limit:
                    self._score_ends(waiting, ends, scored)
                    waiting, ends = [], []
                waiting.append(rows)
                ends += range(end - windows, end)
        self._score_ends(waiting, ends, scored)
        return scored

    def _score_ends(self, segments: Sequence[Array], ends: Sequence[int], scored: RowScores) -> None:
        """Store the scores and the errors of the rows at which the windows of segments end."""
        if len(segments) == 1:
            scored.scores[ends], scored.errors[ends] = self.score_online(segments[0])
        elif segments:
            windows = [
                rows if len(rows) == self.window else sliding_windows(rows, self.window).reshape(-1, self.features)
                for rows in segments
            ]
            scored.scores[ends], scored.errors[ends] = self.score_online(np.concatenate(windows), stride=self.window)

    def _compute(
        self,
        rows: Array,
        stride: int,
        function: Callable[[slice, Mapping[Residuals, Array]], Result],
        progress: Callable[[int], None] | None,
    ) -> Iterator[Result]:
        """Yield the results of a function of the rows of each batch of windows and of its windows by source."""
        blocks = list(window_blocks(0, len(rows), self.window, self.features, stride))
        # This thread calls the sources in the order of the rows, since a source may keep a state.
        windows = ((block, {source: source(rows[block], stride) for source in self.sources}) for block in blocks)
        results = iterate_in_threads(lambda each: function(*each), windows, batches_at_once(self.window, self.features))
        for block, result in zip(blocks, results, strict=True):
            if progress:
                progress(block.stop)
            yield result


class ArrivingSegment:
    """Buffer of the last rows of a segment as its rows arrive, less than a window.

    Args:
        window: rows per window.
        features: values of a row.
    """

    def __init__(self, window: int, features: int) -> None:
        # Rows that windows of later rows contain as well.
        self.window, self.rows = window, np.empty((0, features), np.float32)

    def add(self, values: Array) -> ArrivedRows:
        """Return the next rows `(rows, features)` in original units, NaN where missing, with the rows before them."""
        rows = np.concatenate([self.rows, values])
        self.rows = rows[max(0, len(rows) - self.window + 1) :].copy()
        return ArrivedRows(rows, len(values))


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
