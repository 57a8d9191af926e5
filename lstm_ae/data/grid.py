"""From the times that a table has to rows at a regular step: missing rows are NaN, long gaps part the series.

A row without any value tells as little as one that is missing, and a gap is as long as both together. Rows within a
long gap stay on the grid, in segments that hold no value.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.reading import Step
from lstm_ae.data.cadence import Flags, clash_of, moment, repeats_hour, slots, starts_of
from lstm_ae.data.flags import CLASSES
from lstm_ae.data.instants import Times
from lstm_ae.data.measurements import Measurements
from lstm_ae.errors import DataError
from lstm_ae.options import flag
from lstm_ae.words import heading, shown

# Filled gaps may make a table so many times longer, and no more.
GROWTH = 20


class Grid(NamedTuple):
    """Rows at a regular step.

    Args:
        step: the step; `Step()` where rows follow one another as they stand.
        series: `(rows,)` int32, places in the table's `ids`, ascending.
        segment: `(rows,)` int32; rows of a segment are one step apart, and in a long gap hold no value.
        times: `(rows,)` int64 as of `Measurements`; of a missing row when it would have been.
        values: `(rows, features)` float32, NaN where missing.
        labels: `(rows,)` int32, -1 where missing; None without labels.
        known: `(rows,)` bool, False for rows that the table does not have.
    """

    step: Step
    series: NDArray[np.int32]
    segment: NDArray[np.int32]
    times: Times
    values: NDArray[np.float32]
    labels: NDArray[np.int32] | None
    known: Flags

    @property
    def valued(self) -> Flags:
        """Which rows are of a segment that holds a value, `(rows,)`."""
        first = starts_of(self.segment)
        found: Flags = np.logical_or.reduceat(held_by(self.values), np.flatnonzero(first))[np.cumsum(first) - 1]
        return found


def on_grid(table: Measurements, step: Step, max_gap: int, config: Reading) -> Grid:
    """The table's rows at a regular step.

    Args:
        max_gap: rows in a row that are missing, or hold no value, and are filled with NaN; more part the series.

    Raises:
        DataError: rows meet in one place and `--duplicates` does not say what then, or the grid is far too fine.
    """
    places = slots(table, step, follow=config.duplicates == "error")
    clash = clash_of(table, places)
    if clash and config.duplicates == "error":
        ids = f" of {table.ids[table.series[clash.first]]!r}" if len(table.ids) > 1 else ""
        why = (
            f"has the time of {table.place} {table.lines[clash.first]}"
            if clash.same_time
            else f"is only {step.resized(clash.apart)} after {table.place} {table.lines[clash.first]}, too near for a "
            f"step of {step}"
        )
        rest = f", and so have {clash.rows - 1:,} more rows" if clash.rows > 1 and clash.same_time else ""
        clock = f"--clock-col {shown(table.layout.clocks[0])}; or " if table.layout.clocks else ""
        names = ",".join(map(heading, table.layout.apart[0])) if table.layout.apart else ""
        apart = f"--id-col {names}" if names else "--id-col with the column that tells series apart"
        if clash.same_time and repeats_hour(table, places):
            other = "another " if config.time_zone else ""
            clock += f"{other}--time-zone with the zone of these clocks, if daylight saving repeats this hour; or "
        raise DataError(
            f"{table.where(clash.second)}: {moment(table, clash.second)}{ids} {why}{rest}. Add {clock}{apart}, or "
            "--duplicates mean (or first, last)"
        )
    kept, values, labels = merged(
        table.series, table.values, table.labels, places, config.duplicates, highest=table.classes == CLASSES
    )
    series, places = table.series[kept], places[kept]
    parting = parting_of(places, held_by(values), starts_of(series), max_gap)
    rows = int(parting.advance.sum())
    if rows > GROWTH * max(len(kept), 1000):
        raise DataError(
            f"{table.name}: a grid of {step} with gaps up to {max_gap:,} steps filled would have {rows:,} rows for "
            f"{len(kept):,}. Give a longer --freq, a smaller {flag('max_gap')}, or --freq rows"
        )
    return laid_out(step, series, table.times[kept], values, labels, parting.advance, parting.parted)


def held_by(values: NDArray[np.float32]) -> Flags:
    """Which rows hold a value, `(rows,)`."""
    held: Flags = np.asarray(~np.isnan(values).all(axis=1))
    return held


class Parting(NamedTuple):
    """Where rows stand on the grid, `(rows,)` each.

    Args:
        advance: places from the row before, at least 1.
        parted: whether a row begins a segment; its advance is 1.
        apart: whether it stands in a long gap, without a value.
    """

    advance: Times
    parted: Flags
    apart: Flags


def parting_of(places: Times, held: Flags, first: Flags, max_gap: int) -> Parting:
    """Where rows begin a segment.

    Args:
        places: `(rows,)` ascending within a series.
        held: `(rows,)` whether a row holds a value.
        first: `(rows,)` where a series begins.
    """
    apart, rows = np.zeros(len(places), bool), np.flatnonzero(~held)
    if len(rows):
        begins, valued = np.flatnonzero(first), np.flatnonzero(held)
        series, after = np.searchsorted(begins, rows, side="right") - 1, np.searchsorted(valued, rows)
        begin, end = begins[series], np.r_[begins[1:], len(places)][series] - 1
        before, after = np.r_[-1, valued][after], np.r_[valued, len(places)][after]
        # Where none of the series holds a value before or after, the gap ends with the series.
        low = np.where(before >= begin, places[before], places[begin] - 1)
        high = np.where(after <= end, places[np.minimum(after, end)], places[end] + 1)
        apart[rows] = high - low - 1 > max_gap
    advance = np.where(first, 1, np.diff(places, prepend=0))
    parted = first | (advance - 1 > max_gap) | np.diff(apart, prepend=False) | (apart & (advance > 1))
    return Parting(np.where(parted, 1, advance), parted, apart)


def laid_out(
    step: Step,
    series: NDArray[np.int32],
    times: Times,
    values: NDArray[np.float32],
    labels: NDArray[np.int32] | None,
    advance: Times,
    parted: Flags,
) -> Grid:
    """Rows with those that are missing between them.

    Args:
        advance: `(rows,)` places from the row before to each row, at least 1.
        parted: `(rows,)` whether a row begins a segment; its advance is 1.
    """
    rows = int(advance.sum())
    at = np.cumsum(advance) - 1
    known = np.zeros(rows, bool)
    known[at] = True
    # Of a row that is missing, the known row before it.
    source = np.cumsum(known) - 1
    times = times[source]
    behind = np.arange(rows) - at[source]
    filled = behind > 0
    if step.months:
        start = times[filled].astype("datetime64[ns]").astype("datetime64[M]")
        start = start + (behind[filled] * step.months).astype("timedelta64[M]")
        times[filled] = start.astype("datetime64[ns]").astype(np.int64)
    else:
        times[filled] += behind[filled] * step.size
    spread = np.full((rows, values.shape[1]), np.nan, np.float32)
    spread[at] = values
    if labels is not None:
        named = np.full(rows, -1, np.int32)
        named[at] = labels
        labels = named
    segment = (np.cumsum(parted) - 1).astype(np.int32)[source]
    return Grid(step, series[source], segment, times, spread, labels, known)


def rows_of(table: Measurements, grid: Grid) -> NDArray[np.int64]:
    """Which row of the grid each row of the table has gone into, `(rows,)`."""
    rows: NDArray[np.int64] = np.flatnonzero(grid.known)
    if len(rows) < len(table.times):  # some have met
        places = slots(table, grid.step)
        begins = starts_of(table.series) | np.r_[True, places[1:] != places[:-1]]
        rows = rows[np.cumsum(begins) - 1]
    return rows


def merged(
    series: NDArray[np.int32],
    values: NDArray[np.float32],
    labels: NDArray[np.int32] | None,
    places: Times,
    rule: str,
    *,
    highest: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32] | None]:
    """One row for each place by the rule of `--duplicates`: which row gives the time, the values and the label.

    With `highest` the mean of rows has the highest of their labels.
    """
    begins = starts_of(series) | np.r_[True, places[1:] != places[:-1]]
    first = np.flatnonzero(begins)
    if len(first) == len(places):
        return first, values, labels
    last = np.r_[first[1:], len(places)] - 1
    kept = last if rule == "last" else first
    if labels is not None:
        labels = np.maximum.reduceat(labels, first) if highest and rule == "mean" else labels[kept]
    if rule != "mean":
        return kept, values[kept], labels
    held = ~np.isnan(values)
    counts = np.add.reduceat(held, first, axis=0, dtype=np.int64)
    sums = np.add.reduceat(np.where(held, values, 0), first, axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return kept, (sums / counts).astype(np.float32), labels
