"""Pad short series of a classifier with missing rows, so that each fills one window."""

import numpy as np

from lstm_ae.arrays import BoolArray
from lstm_ae.data.grid import MAX_GROWTH
from lstm_ae.data.panel import run_starts
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.errors import Code, DataError


def pad_segments(prepared: PreparedTable, series: BoolArray | None = None, *, every: bool = False) -> PreparedTable:
    """Insert missing rows at the beginning of segments that hold a value, up to the length of a window.

    Args:
        series: `(series,)` mask of the series that may be padded; None for all.
        every: whether to insert `window - 1` rows into every segment, so that every row ends a window; otherwise each
            segment of a series that has no complete window is padded.

    Raises:
        DataError: if padding would add far more rows than the table has.
    """
    grid, window = prepared.grid, prepared.window
    first = np.flatnonzero(run_starts(grid.segment))
    length = np.diff(np.r_[first, len(grid.segment)])
    observed = grid.valued[first]
    more = np.maximum(window - length, 0)
    if every:
        more = np.full(len(first), window - 1)
    else:
        has_window = np.zeros(len(prepared.table.ids), bool)
        has_window[grid.series[first[observed & (length >= window)]]] = True
        more[has_window[grid.series[first]]] = 0
    more[~observed] = 0
    if series is not None:
        more[~series[grid.series[first]]] = 0
    if not more.any():
        return prepared
    if not every and more.sum() > MAX_GROWTH * max(len(grid.segment), 1000):
        raise DataError(
            f"{prepared.table.name}: {int((more > 0).sum()):,} segments shorter than the window of {window} steps "
            f"would be padded with {int(more.sum()):,} missing rows. Pass a shorter --window, or a longer --max-gap",
            code=Code.TOO_FEW_ROWS,
        )
    at = np.repeat(first, more)
    source = np.insert(np.arange(len(grid.segment)), at, at)
    is_padding = np.insert(np.zeros(len(grid.segment), bool), at, True)
    # Distance in rows from each inserted row to the first row of its segment.
    ahead = np.repeat(np.cumsum(more), more) - np.arange(len(at))
    times = grid.times[source]
    times[is_padding] -= ahead * (1 if prepared.table.layout.time is None else prepared.step.size)
    return prepared._replace(grid=grid.spread(source, ~is_padding, times), split=prepared.split[source])
