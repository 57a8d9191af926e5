"""Score the rows of a segment that is known as a whole or that arrives in pieces.

The alarm score of a row is known when the row arrives. It combines the distance of the window that ends at the row with
the error of the row in that window, by each view. The final score of a row also depends on later rows: it combines the
mean distances of the windows that contain the row. It ranks rows; alarms depend on the alarm score alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.data.table_reader import Progress
from lstm_ae.detection.row_means import (
    Residuals,
    batch_size,
    batches_at_once,
    divide,
    mean_over_features,
    sliding_windows,
    window_blocks,
    window_segments,
)
from lstm_ae.detection.views import View
from lstm_ae.threads import iterate_in_threads


class RowScores(NamedTuple):
    """Scores of rows; NaN for rows at which no window ends.

    Args:
        scores: `(rows,)` alarm scores; hardly any normal row exceeds 1. NaN for rows without a value.
        windows: `(rows,)` combined distances of the windows that end at the rows, in the units of the alarm scores.
        errors: `(rows, features)` squared deviations of the values by the first view; NaN for missing values.
        distances: `(rows, views)` distance of the window that ends at each row.
        own: `(rows, views)` mean error of each row.
    """

    scores: Array
    windows: Array
    errors: Array
    distances: Array
    own: Array

    @classmethod
    def empty(cls, rows: int, features: int, views: int) -> "RowScores":
        """Return NaN for a number of rows."""
        sizes = ((rows,), (rows,), (rows, features), (rows, views), (rows, views))
        return cls(*(np.full(size, np.nan) for size in sizes))

    def store(self, rows: slice | Sequence[int], other: "RowScores") -> None:
        """Replace rows by those of other scores."""
        for mine, theirs in zip(self, other, strict=True):
            mine[rows] = theirs


class ArrivedRows(NamedTuple):
    """Rows of a segment that arrived, with the earlier rows of the windows that end at them.

    Args:
        rows: `(rows, features)` in original units, NaN where missing.
        arrived: number of rows that arrived, which are the last ones.
    """

    rows: Array
    arrived: int


class Scorer:
    """Scorer of rows by views of the windows that end at them.

    Args:
        views: the views, of which the first one has the errors of the columns.
        sources: functions that return the windows of each source, see `lstm_ae.detection.views`.
    """

    def __init__(self, views: Sequence[View], sources: Mapping[str, Residuals]) -> None:
        self.views = list(views)
        self.sources = {name: sources[name] for name in dict.fromkeys(view.source for view in self.views)}
        self.window, self.features = self.views[0].calibration.distance.mean.shape

    def score(self, rows: Array, progress: Callable[[int], None] | None = None, *, stride: int = 1) -> RowScores:
        """Return the scores of the rows at which the windows at every `stride`-th row end.

        Args:
            rows: `(rows, features)` of a segment in original units, NaN where missing; at least a window of them.
            progress: called with the number of rows that are done.
            stride: rows from one window to the next.
        """
        blocks = list(window_blocks(0, len(rows), self.window, self.features, stride))
        # This thread calls the sources in the order of the rows, since a source may keep a state.
        windows = ({name: source(rows[block], stride) for name, source in self.sources.items()} for block in blocks)
        results = iterate_in_threads(self._measure, windows, batches_at_once(self.window, self.features))
        scored = []
        for block, result in zip(blocks, results, strict=True):
            if progress:
                progress(block.stop)
            scored.append(result)
        return RowScores(*(np.concatenate(column) for column in zip(*scored, strict=True)))

    def _measure(self, windows: Mapping[str, Array]) -> RowScores:
        measured = [view.measure(windows[view.source]) for view in self.views]
        errors = [each.last_errors() for each in measured]
        distances = np.stack([each.distances for each in measured], axis=1)
        own = np.stack([mean_over_features(each) for each in errors], axis=1)
        return RowScores(self._combine(distances, own), self._combine(distances), errors[0], distances, own)

    def rescore(self, scored: RowScores) -> RowScores:
        """Return the scores of rows by these views, of which others measured the distances."""
        scores = self._combine(scored.distances, scored.own)
        return scored._replace(scores=scores, windows=self._combine(scored.distances))

    def _combine(self, distances: Array, own: Array | None = None) -> Array:
        """Return the combined scores of windows, with the errors of their last rows if they are given, `(windows,)`."""
        terms = []
        for number, view in enumerate(self.views):
            if view.alarms:
                units = view.calibration.units
                pairs = [distances[:, number] / units.distance]
                pairs += [] if own is None else [own[:, number] / units.error]
                terms.append(combine_terms(pairs, each=True))
        return combine_terms(terms)

    def final_scores(self, scored: RowScores, series: Array, segment: Array) -> Array:
        """Return the final scores of the rows of a table, `(rows,)`; NaN for rows in no window or without a value.

        Args:
            scored: scores of all rows.
            series, segment: see `score_rows`.
        """
        ranking = [number for number, view in enumerate(self.views) if view.ranks]
        final = np.full((len(segment), len(ranking)), np.nan)
        for first, end in window_segments(segment, self.window):
            means = mean_containing_windows(scored.distances[first + self.window - 1 : end, ranking], self.window)
            final[first:end] = means
        usual = np.array([self.views[number].calibration.units.usual for number in ranking])
        final[np.isnan(series).all(axis=1)] = np.nan
        return combine_terms(list((final / usual).T))

    def score_arrived(self, segments: Iterable[ArrivedRows]) -> RowScores:
        """Return the scores of the rows that arrived in segments; NaN where no window ends.

        The windows of many segments are computed together: a call for each takes several times as long.
        """
        segments = list(segments)
        scored, end = self.unscored(sum(each.arrived for each in segments)), 0
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
        """Store the scores of the rows at which the windows of segments end."""
        if len(segments) == 1:
            scored.store(ends, self.score(segments[0]))
        elif segments:
            windows = [
                rows if len(rows) == self.window else sliding_windows(rows, self.window).reshape(-1, self.features)
                for rows in segments
            ]
            scored.store(ends, self.score(np.concatenate(windows), stride=self.window))

    def unscored(self, rows: int) -> RowScores:
        """Return the scores of rows at which no window ends."""
        return RowScores.empty(rows, self.views[0].calibration.deviation.size, len(self.views))

    def score_rows(self, series: Array, segment: Array, progress: Progress | None = None) -> RowScores:
        """Return the scores of all rows of a table.

        Args:
            series: `(rows, features)` in original units, NaN where missing.
            segment: `(rows,)`; no window crosses a segment boundary.
            progress: called with the number of rows done and their share.
        """
        scored = self.unscored(len(series))
        for first, end in window_segments(segment, self.window):

            def report(done: int, first: int = first) -> None:
                if progress:
                    progress(first + done, (first + done) / len(series))

            scored.store(slice(first + self.window - 1, end), self.score(series[first:end], report))
        return scored


def combine_terms(terms: Sequence[Array], *, each: bool = False) -> Array:
    """Return the combined score of terms, `(rows,)`.

    A combined score is the geometric mean of one plus the terms, minus one: several terms that find a row somewhat
    unusual count as much as one that finds it very unusual, and no term outweighs all others.

    Args:
        terms: `(rows,)` each.
        each: whether rows without all terms are NaN, not only those without any.
    """
    if len(terms) == 1:
        return terms[0]
    logs = np.log1p(np.stack(terms, axis=1))
    combined: Array = np.expm1(logs.mean(axis=1) if each else mean_over_features(logs))
    return combined


def mean_containing_windows(values: Array, window: int) -> Array:
    """Return the mean over the windows that contain each row; NaN is ignored.

    Args:
        values: `(windows, views)` of the windows at every row of a segment.
        window: rows per window.

    Returns:
        `(windows + window - 1, views)`.

    >>> mean_containing_windows(np.array([[1.0], [3.0]]), 3).ravel().tolist()
    [1.0, 2.0, 2.0, 3.0]
    """
    known = ~np.isnan(values)
    edge = ((window - 1, window - 1), (0, 0))
    sums, counts = (
        _sum_runs(np.pad(each, edge), window) for each in (np.where(known, values, 0), known.astype(np.float64))
    )
    return divide(sums, counts)


def _sum_runs(values: Array, length: int) -> Array:
    """Return the sums of `length` consecutive rows, `(rows - length + 1, columns)`.

    No value is subtracted again, as in differences of cumulative sums, which would lose small values behind large ones.
    """
    rows, columns = values.shape
    blocks = np.pad(values, ((0, -rows % length), (0, 0))).reshape(-1, length, columns)
    begins = np.cumsum(blocks, axis=1).reshape(-1, columns)
    ends = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1].reshape(-1, columns)
    count = rows - length + 1
    starts = np.arange(count)
    whole = (starts % length == 0)[:, None]
    sums: Array = np.where(whole, ends[starts], ends[starts] + begins[starts + length - 1])
    return sums


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
