"""Pad short series with missing rows, so that each fills one window and other series are unchanged."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import BoolArray, Int64Array
from lstm_ae.data.grid import MAX_GROWTH
from lstm_ae.data.panel import Panel, run_starts
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.errors import Code, DataError

Where = Literal["series", "segments", "rows"]


def pad_segments(prepared: PreparedTable, where: Where = "series", of: BoolArray | None = None) -> PreparedTable:
    """Insert missing rows at the beginning of segments that hold a value, up to the length of a window.

    Args:
        where: "series" to pad each segment of a series that has no complete window; "segments" to pad each segment
            shorter than a window; "rows" to insert `window - 1` rows into every segment, so that every row ends a
            window.
        of: `(series,)` mask of the series that may be padded; None for all.

    Raises:
        DataError: if padding would add far more rows than there are.
    """
    grid, window = prepared.grid, prepared.window
    first = np.flatnonzero(run_starts(grid.segment))
    length = np.diff(np.r_[first, len(grid.segment)])
    observed = grid.valued[first]
    more = np.maximum(window - length, 0)
    if where == "rows":
        more = np.full(len(first), window - 1)
    elif where == "series":
        holds = np.zeros(len(prepared.table.ids), bool)
        holds[grid.series[first[observed & (length >= window)]]] = True
        more[holds[grid.series[first]]] = 0
    more[~observed] = 0
    if of is not None:
        more[~of[grid.series[first]]] = 0
    if not more.any():
        return prepared
    if where != "rows" and more.sum() > MAX_GROWTH * max(len(grid.segment), 1000):
        raise DataError(
            f"{prepared.table.name}: {int((more > 0).sum()):,} segments shorter than the window of {window} steps "
            f"would be padded with {int(more.sum()):,} missing rows. Pass a shorter --window, a longer --max-gap, or "
            "--set short=drop",
            code=Code.TOO_FEW_ROWS,
        )
    at = np.repeat(first, more)
    source = np.insert(np.arange(len(grid.segment)), at, at)
    pad = np.insert(np.zeros(len(grid.segment), bool), at, True)
    # Distance in rows from each inserted row to the first row of its segment.
    ahead = np.repeat(np.cumsum(more), more) - np.arange(len(at))
    times = grid.times[source]
    times[pad] -= ahead * (1 if prepared.table.layout.time is None else prepared.step.size)
    return prepared._replace(grid=grid.spread(source, ~pad, times), split=prepared.split[source])


def original_rows(grid: Panel) -> BoolArray:
    """Return a mask of the grid rows that `pad_segments` did not add, `(rows,)`.

    An unpadded segment always begins with a known row.
    """
    return rows_from_first_value(grid.segment, grid.known)


def rows_from_first_value(segment: NDArray[np.int32], known: BoolArray) -> BoolArray:
    """Return a mask of the rows from the first known row of their segment on, `(rows,)`.

    >>> rows_from_first_value(np.array([0, 0, 0, 1], np.int32), np.array([False, True, False, False])).tolist()
    [False, True, True, False]
    """
    begins = run_starts(segment)
    counted = np.cumsum(known)
    before: Int64Array = (counted - known)[begins][np.cumsum(begins) - 1]
    return counted > before


def remove_padding(prepared: PreparedTable, own: BoolArray) -> PreparedTable:
    """Return the table with only the rows in `own`, which is the mask of `original_rows`."""
    if own.all():
        return prepared
    return prepared._replace(grid=prepared.grid.take(own), split=prepared.split[own])
