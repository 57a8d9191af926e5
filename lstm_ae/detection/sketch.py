"""What is kept of a searched table so that it can be drawn and looked into: its lines, thinned, and its events.

A line keeps the lowest and the highest row of every stretch, and every row around the events, as far as there is room.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.errors import DataError
from lstm_ae.files import load_state, save_state

Numbers = NDArray[Any]

# Points of a line; columns of a series, and series, those with the most in their events.
POINTS, COLUMNS, SERIES = 10_000, 3, 4


class SketchLine(NamedTuple):
    """A line to be drawn.

    Args:
        name: of the column; "score" for the scores, which come last.
        times: `(points,)` int64, nanoseconds in UTC or row numbers, ascending.
        values: `(points,)` float32; NaN where the line breaks off.
    """

    name: str
    times: NDArray[np.int64]
    values: NDArray[np.float32]


class SeriesSketch(NamedTuple):
    """One series of a searched table.

    Args:
        series: its name, "" where there is one only.
        rows: how many it has.
        lines: its columns, those with the largest shares in its events, and its scores.
        events: `(events, 2)` int64, when each begins and ends.
    """

    series: str
    rows: int
    lines: tuple[SketchLine, ...]
    events: NDArray[np.int64]


class TableSketch(NamedTuple):
    """A searched table.

    Args:
        dated: whether times are nanoseconds in UTC, or row numbers.
        step: the time between two rows.
        threshold: above it a score is an anomaly.
        rule: how that was chosen.
        series: those that are kept.
        events: of all series, as they stand in a table: their texts and numbers by name, and the place of their series
            among those kept and their own place there, under "at"; None where that series was not kept.
        zoned: whether the table says by whose clocks its times are.
    """

    dated: bool
    step: int
    threshold: float
    rule: str
    series: tuple[SeriesSketch, ...]
    events: Sequence[dict[str, Any]]
    zoned: bool = True


def sketch_series(
    times: Numbers,
    segment: Numbers,
    values: Numbers,
    scores: Numbers,
    events: Numbers,
    *,
    series: str,
    names: Sequence[str],
    around: int,
    points: int = POINTS,
) -> SeriesSketch:
    """Thin a series.

    Args:
        times: `(rows,)` int64.
        segment: `(rows,)`; lines break off between two segments.
        values: `(rows, features)`, NaN where missing.
        scores: `(rows,)`, NaN where there is none.
        events: `(events, 2)` first and last row of each.
        names: of the features to keep, in the order of `values`.
        around: rows on either side of an event that are kept as well.
        points: at most, of each line.
    """
    lines = []
    for name, column in zip((*names, "score"), (*values.T, scores), strict=True):
        kept = thin_line(column, events, around, points)
        broken = np.flatnonzero(np.diff(segment[kept])) + 1
        lines.append(
            SketchLine(
                name,
                np.insert(times[kept], broken, times[kept[broken]]).astype(np.int64),
                np.insert(column[kept].astype(np.float32), broken, np.nan),
            )
        )
    return SeriesSketch(series, len(times), tuple(lines), times[events.astype(np.int64)].reshape(-1, 2))


def thin_line(values: Numbers, events: Numbers, around: int, points: int) -> NDArray[np.int64]:
    """The rows of a line that are kept, ascending; `points` at most, all of them where there are no more.

    Half of the points at most are for rows around events, the first events first; the others are the lowest and the
    highest row of stretches of equal length.

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


def write_sketches(path: Path, found: TableSketch) -> None:
    """Write what is kept of a search into one `.npz`."""
    groups = {
        f"series_{k}": [each.events, *(part for line in each.lines for part in (line.times, line.values))]
        for k, each in enumerate(found.series)
    }
    series = [
        {"series": each.series, "rows": each.rows, "lines": [line.name for line in each.lines]} for each in found.series
    ]
    save_state(path, found._asdict() | {"series": series, "events": list(found.events)}, groups, compress=True)


def read_sketches(path: Path) -> TableSketch:
    """Read what `write_sketches` wrote; raises `DataError` where it is damaged."""
    try:
        meta, _ = load_state(path, {})
        sizes = {f"series_{k}": 1 + 2 * len(each["lines"]) for k, each in enumerate(meta["series"])}
        _, groups = load_state(path, sizes)
        made = []
        for each, (events, *arrays) in zip(meta["series"], groups.values(), strict=True):
            lines = zip(each["lines"], arrays[::2], arrays[1::2], strict=True)
            made.append(SeriesSketch(each["series"], each["rows"], tuple(SketchLine(*line) for line in lines), events))
        return TableSketch(**meta | {"series": tuple(made)})
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{str(path)!r} is damaged; search the table again by lstmae series detect") from error
