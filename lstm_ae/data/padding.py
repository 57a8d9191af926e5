"""Missing rows before what is too short for a window, so that a short series is one window and no other changes."""

import numpy as np

from lstm_ae.data.cadence import starts_of
from lstm_ae.data.series import Prepared


def padded(prepared: Prepared, *, every_row: bool = False) -> Prepared:
    """Put missing rows at the beginning of each segment of a series that holds no whole window, up to one window.

    Args:
        every_row: put `window - 1` of them at the beginning of all segments instead, so that every row ends a window.
    """
    grid, window = prepared.grid, prepared.window
    first = np.flatnonzero(starts_of(grid.segment))
    length = np.diff(np.r_[first, len(grid.segment)])
    if every_row:
        more = np.full(len(first), window - 1)
    else:
        holds = np.zeros(len(prepared.table.ids), bool)
        holds[grid.series[first[length >= window]]] = True
        more = np.where(holds[grid.series[first]], 0, window - length)
    at = np.repeat(first, more)
    source = np.insert(np.arange(len(grid.segment)), at, at)
    pad = np.insert(np.zeros(len(grid.segment), bool), at, True)
    # How many rows each stands before the first of its segment.
    ahead = np.repeat(np.cumsum(more), more) - np.arange(len(at))
    times, values = grid.times[source], grid.values[source]
    times[pad] -= ahead * (1 if prepared.table.layout.time is None else grid.step.nanoseconds)
    values[pad] = np.nan
    return prepared._replace(
        grid=grid._replace(
            series=grid.series[source],
            segment=grid.segment[source],
            times=times,
            values=values,
            labels=None if grid.labels is None else np.where(pad, np.int32(-1), grid.labels[source]),
            known=grid.known[source] & ~pad,
        ),
        part=prepared.part[source],
    )
