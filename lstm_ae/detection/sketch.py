"""Downsampled series and events of a searched table, for charts in reports.

Downsampling retains the minimum and maximum of every interval, and all rows around events as far as possible.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from lstm_ae.arrays import Array, Float32Array, Int64Array
from lstm_ae.artifacts import Artifact, ArtifactContent
from lstm_ae.json_types import JsonObject

# Maximum numbers of points per line, of columns per series, and of series; those with the largest event shares.
POINTS, COLUMNS, SERIES = 10_000, 3, 4


class SketchLine(NamedTuple):
    """Line of a chart.

    Args:
        name: name of the column; "score" for the scores, which are the last line.
        times: `(points,)` int64, nanoseconds in UTC or row numbers, ascending.
        values: `(points,)` float32; NaN interrupts the line.
    """

    name: str
    times: Int64Array
    values: Float32Array


class SeriesSketch(NamedTuple):
    """Downsampled series with its events.

    Args:
        series: name of the series; "" if the table has only one.
        rows: number of rows before downsampling.
        lines: the columns with the largest shares in the events, and the scores.
        events: `(events, 2)` int64, start and end of each event.
    """

    series: str
    rows: int
    lines: tuple[SketchLine, ...]
    events: Int64Array


@dataclass(frozen=True)
class TableSketch(Artifact):
    """Downsampled table with its events.

    Args:
        dated: whether times are nanoseconds in UTC, not row numbers.
        step: sampling interval.
        threshold: scores above it are anomalies.
        rule: rule of the threshold.
        series: the selected series.
        events: rows of the table of events of all series, by column name; "at" holds the index of the series in
            `series` and of the event in that series, or None if the series was not selected.
        zoned: whether the times have a time zone.
    """

    file = "detection.npz"
    repair = "run lstmae series detect on the table again"
    compressed = True

    dated: bool
    step: int
    threshold: float
    rule: str
    series: tuple[SeriesSketch, ...]
    events: Sequence[JsonObject]
    zoned: bool = True

    def content(self) -> ArtifactContent:
        """Return the content of the file; the number of arrays is that of the series and lines."""
        arrays: dict[str, Array] = {}
        for k, each in enumerate(self.series):
            parts = [each.events, *(part for line in each.lines for part in (line.times, line.values))]
            arrays |= {f"series_{k}_{number}": np.asarray(part) for number, part in enumerate(parts)}
        series = [
            {"series": each.series, "rows": each.rows, "lines": [line.name for line in each.lines]}
            for each in self.series
        ]
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return ArtifactContent(fields | {"series": series, "events": list(self.events)}, arrays)

    @classmethod
    def _build(cls, content: ArtifactContent) -> Self:
        values, arrays = content
        series = []
        for k, each in enumerate(values["series"]):
            lines = [
                SketchLine(name, arrays[f"series_{k}_{2 * n + 1}"], arrays[f"series_{k}_{2 * n + 2}"])
                for n, name in enumerate(each["lines"])
            ]
            series.append(SeriesSketch(each["series"], each["rows"], tuple(lines), arrays[f"series_{k}_0"]))
        return cls(**values | {"series": tuple(series)})


def sketch_series(
    times: Array,
    segment: Array,
    values: Array,
    scores: Array,
    events: Array,
    *,
    series: str,
    names: Sequence[str],
    around: int,
    points: int = POINTS,
) -> SeriesSketch:
    """Downsample a series.

    Args:
        times: `(rows,)` int64.
        segment: `(rows,)`; lines are interrupted between segments.
        values: `(rows, features)`, NaN where missing.
        scores: `(rows,)`, NaN where there is none.
        events: `(events, 2)` first and last row of each event.
        series: name of the series.
        names: names of the features, in the order of `values`.
        around: rows retained on either side of an event.
        points: maximum number of points per line.
    """
    lines = []
    for name, column in zip((*names, "score"), (*values.T, scores), strict=True):
        rows = thin_line(column, events, around, points)
        breaks = np.flatnonzero(np.diff(segment[rows])) + 1
        lines.append(
            SketchLine(
                name,
                np.insert(times[rows], breaks, times[rows[breaks]]).astype(np.int64),
                np.insert(column[rows].astype(np.float32), breaks, np.nan),
            )
        )
    return SeriesSketch(series, len(times), tuple(lines), times[events.astype(np.int64)].reshape(-1, 2))


def thin_line(values: Array, events: Array, around: int, points: int) -> Int64Array:
    """Return the rows of a downsampled line, ascending and at most `points`.

    At most half of the points are rows around events, in the order of the events; the others are the minimum and the
    maximum of intervals of equal length.

    Args:
        values: `(rows,)`, NaN where missing.
        events: `(events, 2)` first and last row of each event.
        around: rows retained on either side of an event.
        points: maximum number of points.

    >>> thin_line(np.array([0, 5, 1, 1, 1, 1, 1, -3]), np.empty((0, 2)), 0, 4).tolist()
    [0, 1, 4, 7]
    """
    rows = len(values)
    if rows <= points:
        return np.arange(rows)
    near = np.zeros(rows, bool)
    for first, last in events:
        start, stop = max(0, int(first) - around), int(last) + around + 1
        if np.count_nonzero(near) + stop - start > points // 2:
            break
        near[start:stop] = True
    size = -(-rows // ((points - np.count_nonzero(near)) // 2))
    filled = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    for start in range(0, rows, size):
        near[start + int(np.argmin(filled[0][start : start + size]))] = True
        near[start + int(np.argmax(filled[1][start : start + size]))] = True
    return np.flatnonzero(near)
