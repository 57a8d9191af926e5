"""Apply a run to a part of a table that is larger than memory.

A part is computed together with the rows before and after it. Its results are those of the whole table, bit by bit,
however the table is divided: a batch of windows begins at a multiple of its size in the series, so that all parts with
a window in common compute it in the same batch.

The rows of a series may be in several parts, but the parts must not overlap in time.
"""

import abc
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from lstm_ae.apply.run_table import TableRequest, read_run_table
from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.config import Series
from lstm_ae.config.reading import UNITS, TimeStep
from lstm_ae.data.grid import grid_positions, regularize
from lstm_ae.data.padding import pad_segments
from lstm_ae.data.panel import Panel, run_starts, sort_rows
from lstm_ae.data.parquet import ParquetPart
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.sliding import batch_size
from lstm_ae.data.time_zones import in_repeated_hour
from lstm_ae.errors import Code, DataError
from lstm_ae.files import load_arrays, save_arrays
from lstm_ae.formatting import quote
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.table_files import TableColumns

HOUR = UNITS["h"]

# Positions that reach beyond both ends of every series.
WHOLE_SERIES = 1 << 48


class PartSource(NamedTuple):
    """Rows of a Parquet file."""

    path: str
    rows: ParquetPart


class SeriesSpan(NamedTuple):
    """First and last time of the rows of a series in a part, and their number."""

    first: int
    last: int
    rows: int


class PartScan(NamedTuple):
    """Contents of a part.

    Args:
        spans: the series of the part by name.
        head_stop: end of the rows of the file that a part before this one needs.
        tail_start: first row of the file that a part after this one needs.
        repeated: number of rows at the begin of the part that only the rows before them may show to be in the first or
            the second pass of the hour that is repeated at the end of daylight saving time.
    """

    spans: Mapping[str, SeriesSpan]
    head_stop: int
    tail_start: int
    repeated: int = 0


class SeriesPlace(NamedTuple):
    """Place of a part in a series.

    Args:
        origin: time of the first row of the series or, if rows are counted, the number of its rows before the part.
        more: whether the series has rows after those around the part.
    """

    origin: int
    more: bool


class PartContext(NamedTuple):
    """Rows around a part, and its place in its series.

    Args:
        before, after: rows of other parts, in the order of the data set.
        series: by the name of each series of the part.
    """

    before: Sequence[PartSource]
    after: Sequence[PartSource]
    series: Mapping[str, SeriesPlace]


class Reach(NamedTuple):
    """Positions before and after a part that its results depend on."""

    before: int
    after: int


class PlacedRows(NamedTuple):
    """Rows of a part and around it.

    Args:
        table: the rows; the first and the last row of a series may be a mark that the series goes on.
        places: `(rows,)` position of each row on the time grid of its series.
        own: `(rows,)` whether the row is in the part.
        ends: names of the series that have no rows after these.
    """

    table: Panel
    places: Int64Array
    own: BoolArray
    ends: frozenset[str]

    @property
    def begins(self) -> BoolArray:
        """Whether each row is the first one at its position, `(rows,)`."""
        return run_starts(self.table.series, self.places)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns of the file that identify a row: those of the series, and the time."""
        layout = self.table.layout
        return tuple(dict.fromkeys((*layout.ids, *(name for name in (layout.time, layout.clock) if name is not None))))

    def positions(self, grid: Panel) -> Int64Array:
        """Return the position of each row of a grid of these rows in its series, `(rows,)`."""
        places, known = self.places[self.begins], np.flatnonzero(grid.known)
        segments = np.cumsum(run_starts(grid.segment)) - 1
        # The rows of a segment follow each other, and each segment has a known row.
        first = np.flatnonzero(run_starts(segments[known]))
        found: Int64Array = (places[first] - known[first])[segments] + np.arange(len(segments))
        return found

    def grid_rows(self, grid: Panel) -> Int64Array:
        """Return the row of a grid that holds each row of the part, in the order of the file."""
        own = np.flatnonzero(self.own)
        own = own[np.argsort(self.table.lines[own], kind="stable")]
        found: Int64Array = np.flatnonzero(grid.known)[np.cumsum(self.begins) - 1][own]
        return found


class TaskResult(NamedTuple):
    """Results of a part.

    Args:
        columns: the results by name of the column.
        key_columns: columns of the file that are added to them, if there is a row for each row of the part in the order
            of the file; otherwise empty.
        results: number of rows with a result.
        meta, arrays: what is needed of the part when all parts are complete.
    """

    columns: TableColumns
    key_columns: tuple[str, ...] = ()
    results: int = 0
    meta: JsonMapping = {}
    arrays: Mapping[str, Array] = {}

    @property
    def rows(self) -> int:
        """Number of rows of the columns."""
        return len(next(iter(self.columns.values()), ()))


class PartTask(abc.ABC):
    """What is computed from the rows of a table: a pure function of the rows of a part and around it.

    Attributes:
        folder: name of the directory of the results.
        noun: what one result is.
        by_row: whether there is a result for each row of the table.
    """

    folder: ClassVar[str]
    noun: ClassVar[str]
    by_row: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def config(self) -> Series:
        """The settings of the run, with the reading options of the table."""

    @property
    @abc.abstractmethod
    def reach(self) -> Reach:
        """Positions around a part that its results depend on."""

    @abc.abstractmethod
    def compute(self, rows: PlacedRows) -> TaskResult:
        """Return the results of the rows of a part.

        Raises:
            ConfigError, DataError: rows have the same time, or values are missing where none may be.
        """

    @abc.abstractmethod
    def empty_columns(self) -> TableColumns:
        """Return the columns of `compute` without rows."""

    def is_needed(self, context: PartContext) -> bool:
        """Return whether a part has any results."""
        return True

    @property
    def step(self) -> TimeStep:
        """The sampling interval of tables with times."""
        step = self.config.step
        assert step is not None
        return step

    @property
    def max_gap(self) -> int:
        """The longest gap that a window may cross."""
        return self.config.max_gap or 0

    @property
    def window(self) -> int:
        """Steps per window."""
        assert self.config.window is not None
        return self.config.window

    def reach_of_windows(self, features: int, smooth: int = 1, *, causal: bool = False) -> Reach:
        """Return the reach of results that depend on windows.

        Batches of windows are whole, and the lengths of gaps must be known.

        Args:
            features: values of a row.
            smooth: number of rows over which results are averaged.
            causal: whether a result depends only on the window that ends with its row, not on all that contain it.
        """
        both = batch_size(self.window, features) - 1 + 2 * (self.max_gap + 1) + smooth // 2
        return Reach(both + self.window - 1, both if causal else both + self.window - 1)

    def regularize(self, rows: PlacedRows, *, pad: bool = False) -> PreparedTable:
        """Return the rows on their time grid.

        Args:
            rows: the rows.
            pad: whether to insert missing rows into short segments if the training did.
        """
        step = find_step(self, rows.table)
        grid = regularize(rows.table, step, self.max_gap, self.config, rows.places)
        part = np.zeros(len(grid.series), np.int8)
        prepared = PreparedTable(rows.table, grid, part, range(1), step, self.max_gap, self.window)
        return pad_segments(prepared, "segments") if pad and self.config.short == "pad" else prepared


def scan_part(task: PartTask, source: PartSource) -> PartScan:
    """Return what other parts must know of a part.

    Raises:
        ConfigError, DataError: the rows cannot be read.
    """
    panel = read_run_table(task.config, TableRequest(source.path, part=source.rows))
    if panel.restarts and task.step == TimeStep():
        raise DataError(
            f"{panel.name}: {quote(panel.layout.time or '')} restarts, so that it gives no order of parts. Add a "
            "column of the recording and name it with --id-col",
            code=Code.TIME_ORDER,
        )
    begins = np.flatnonzero(run_starts(panel.series))
    ends = np.r_[begins[1:], len(panel.series)]
    counts = ends - begins
    step = find_step(task, panel)
    if step == TimeStep():
        places = np.arange(len(panel.series)) - begins.repeat(counts)
    else:
        places = grid_positions(panel.times, panel.times[begins].repeat(counts), step, panel.zone)
    before, after = task.reach
    more = repeated = 0
    if _divides_repeated_hours(panel):
        # The first rows of what a part after this one reads may be in the second pass, and so seem to be earlier.
        more = 2 * HOUR // step.size if step.nanoseconds else 0
        repeated = _count_repeated(panel, begins, source.rows.start)
    return PartScan(
        {
            panel.ids[panel.series[begin]]: SeriesSpan(
                int(panel.times[begin]), int(panel.times[end - 1]), int(end - begin)
            )
            for begin, end in zip(begins, ends, strict=True)
        },
        int(panel.lines[places <= after + 1].max()),
        int(panel.lines[places >= places[ends - 1].repeat(counts) - before - more - 1].min()) - 1,
        repeated,
    )


def _divides_repeated_hours(panel: Panel) -> bool:
    """Return whether a repeated hour has two passes that only the order of the rows distinguishes."""
    return panel.layout.time is not None and not panel.layout.aware and isinstance(panel.zone, datetime.tzinfo)


def _count_repeated(panel: Panel, begins: Int64Array, start: int) -> int:
    """Return the number of rows from row `start` of the file to the last one in a repeated hour that begins a series.

    Args:
        panel: the part.
        begins: first row of each series in the panel.
        start: first row of the part in the file.
    """
    assert isinstance(panel.zone, datetime.tzinfo)
    first = begins[in_repeated_hour(panel.times[begins], panel.zone)]
    rows = np.flatnonzero(np.isin(panel.series, panel.series[first]))
    origin = np.zeros(len(panel.ids), np.int64)
    origin[panel.series[first]] = panel.times[first]
    rows = rows[panel.times[rows] - origin[panel.series[rows]] < 2 * HOUR]
    rows = rows[in_repeated_hour(panel.times[rows], panel.zone)]
    return int(panel.lines[rows].max(initial=start)) - start


def move_borders(sources: Sequence[PartSource], scans: Sequence[PartScan]) -> list[PartSource]:
    """Return parts of which none begins within a repeated hour that a part before it in the same file begins.

    The parts that differ must be scanned again. A part whose rows all move has none left.

    Args:
        sources, scans: the parts in the order of the data set.
    """
    moved, before = list(sources), 0
    for number in range(1, len(sources)):
        (path, earlier), (other, rows) = moved[before], moved[number]
        if scans[number].repeated and path == other and earlier.stop == rows.start:
            border = rows.start + scans[number].repeated
            moved[before] = PartSource(path, earlier._replace(stop=border))
            moved[number] = PartSource(path, rows._replace(start=border))
        if moved[number].rows.start < moved[number].rows.stop:
            before = number
    return moved


def order_parts(scans: Sequence[PartScan], *, timed: bool) -> dict[str, list[int]]:
    """Return the parts of each series in the order of its rows.

    Args:
        scans: the parts in the order of the data set.
        timed: whether the rows have times.
    """
    by_series: dict[str, list[int]] = {}
    for number, scan in enumerate(scans):
        for name in scan.spans:
            by_series.setdefault(name, []).append(number)
    if timed:
        for name, numbers in by_series.items():
            numbers.sort(key=lambda number: (*scans[number].spans[name][:2], number))
    return by_series


def find_contexts(task: PartTask, sources: Sequence[PartSource], scans: Sequence[PartScan]) -> list[PartContext]:
    """Return the context of each part of a data set.

    Args:
        task: what is computed.
        sources, scans: the parts in the order of the data set.

    Raises:
        DataError: parts with rows of the same series overlap in time.
    """
    timed, (before, after) = task.config.time_col is not None, task.reach
    counted = not timed or task.step == TimeStep()
    ranges: list[dict[int, list[bool]]] = [{} for _ in sources]
    series: list[dict[str, SeriesPlace]] = [{} for _ in sources]
    for name, numbers in order_parts(scans, timed=timed).items():
        spans = [scans[number].spans[name] for number in numbers]
        if timed:
            for one, other, span, later in zip(numbers, numbers[1:], spans, spans[1:], strict=False):
                if later.first < span.last + bool(scans[other].repeated):
                    raise _overlap_error(name, sources[one], sources[other], repeated=bool(scans[other].repeated))
        rows = np.r_[0, np.cumsum([span.rows for span in spans])]
        if counted:
            first, last = rows[:-1], rows[1:] - 1
        else:
            begun = np.full(len(spans), spans[0].first)
            first, last = (
                grid_positions(np.array([span[k] for span in spans], np.int64), begun, task.step, task.config.zone)
                for k in (0, 1)
            )
        for place, number in enumerate(numbers):
            more = bool(last[-1] > last[place] + after)
            series[number][name] = SeriesPlace(int(rows[place]) if counted else spans[0].first, more)
            # Parts are in the order of time, so that the parts with rows nearby follow each other.
            low = int(np.searchsorted(last, first[place] - before))
            high = int(np.searchsorted(first, last[place] + after, side="right"))
            for other in (*range(low, place), *range(place + 1, high)):
                ranges[number].setdefault(numbers[other], [False, False])[int(other > place)] = True
    return [_context(number, sources, scans, ranges[number], series[number]) for number in range(len(sources))]


def _context(
    number: int,
    sources: Sequence[PartSource],
    scans: Sequence[PartScan],
    needed: Mapping[int, Sequence[bool]],
    series: Mapping[str, SeriesPlace],
) -> PartContext:
    around: tuple[list[PartSource], list[PartSource]] = ([], [])
    for other in sorted(needed):
        before, after = needed[other]
        path, part = sources[other]
        start = part.start if after else scans[other].tail_start
        stop = part.stop if before else scans[other].head_stop
        around[int(other > number)].append(PartSource(path, part._replace(start=start, stop=stop)))
    return PartContext(*around, series)


def _overlap_error(name: str, one: PartSource, other: PartSource, *, repeated: bool) -> DataError:
    of = f" of {name!r}" if name else ""
    if repeated:
        text = (
            f"Rows{of} in {one.path!r} and {other.path!r} divide an hour that is repeated at the end of daylight "
            "saving time. Write times with an offset, or all rows of this hour to one file"
        )
    elif one.path == other.path:
        text = (
            f"The rows{of} in {one.path!r} are not in the order of time: rows {one.rows.start + 1:,} to "
            f"{one.rows.stop:,} and rows {other.rows.start + 1:,} to {other.rows.stop:,} overlap. Sort the file by time"
        )
    else:
        text = f"Rows{of} in {one.path!r} and {other.path!r} overlap in time. Partition the data set by series or date"
    return DataError(text, code=Code.TIME_ORDER)


def find_step(task: PartTask, panel: Panel) -> TimeStep:
    """Return the sampling interval of a panel: none without times, also if the training table has one."""
    return TimeStep() if panel.layout.time is None else task.step


def compute_part(task: PartTask, source: PartSource, context: PartContext) -> TaskResult:
    """Compute the results of a part.

    Args:
        task: what is computed.
        source: the part.
        context: see `find_contexts`.

    Raises:
        ConfigError, DataError: the rows cannot be read with these options, or as in `PartTask.compute`.
    """
    if not task.is_needed(context):
        return TaskResult({})
    sources = (*context.before, source, *context.after)
    panels = [read_run_table(task.config, TableRequest(each.path, part=each.rows)) for each in sources]
    return task.compute(place_rows(task, panels, len(context.before), context.series))


def place_table(task: PartTask, table: Panel) -> PlacedRows:
    """Return the rows of a whole table, which is its only part."""
    begins = run_starts(table.series)
    counted = find_step(task, table) == TimeStep()
    origins = zip(table.series[begins], table.times[begins], strict=True)
    return place_rows(
        task, [table], 0, {table.ids[code]: SeriesPlace(0 if counted else int(time), False) for code, time in origins}
    )


def place_rows(task: PartTask, panels: Sequence[Panel], number: int, series: Mapping[str, SeriesPlace]) -> PlacedRows:
    """Return the rows of one of several panels that follow each other in each series, with those around it.

    Args:
        task: what is computed.
        panels: the panels in the order of the data set.
        number: the panel of the part.
        series: see `PartContext`.
    """
    own_panel = panels[number]
    codes = {name: code for code, name in enumerate(own_panel.ids)}
    taken = []
    for panel in panels:
        code = np.array([codes.get(name, -1) for name in panel.ids], np.int32)[panel.series]
        held = code >= 0
        taken.append(panel.take(held)._replace(series=code[held]))
    step, timed = find_step(task, own_panel), own_panel.layout.time is not None
    codes_of_rows = np.concatenate([panel.series for panel in taken])
    times = np.concatenate([panel.times for panel in taken])
    order = sort_rows(codes_of_rows, times if timed else None)
    code = order.series
    own = order.take(np.repeat(np.arange(len(taken)) == number, [len(panel.series) for panel in taken]))
    begins = np.flatnonzero(run_starts(code))
    index = np.arange(len(code))
    first, last = (
        reduce.reduceat(np.where(own, index, other), begins)[code]
        for reduce, other in ((np.minimum, len(code)), (np.maximum, -1))
    )
    start = np.array([series[name].origin for name in own_panel.ids], np.int64)[code]
    places = start + index - first if step == TimeStep() else grid_positions(order.times, start, step, own_panel.zone)
    low, high = places[first] - task.reach.before, places[last] + task.reach.after
    near = (places >= low) & (places <= high)
    table = own_panel._replace(
        series=code,
        segment=code,
        times=order.times if timed else places,
        values=order.take(np.concatenate([panel.values for panel in taken])),
        lines=order.take(np.concatenate([panel.lines for panel in taken])),
        labels=None,
    )
    ends = frozenset(name for name in own_panel.ids if not series[name].more)
    placed = PlacedRows(table.take(near), places[near], own[near], ends)
    more = np.array([series[name].more for name in own_panel.ids])[placed.table.series]
    return _mark_ends(placed, low[near] - 1, high[near] + 1, more)


def _mark_ends(placed: PlacedRows, low: Int64Array, high: Int64Array, more: BoolArray) -> PlacedRows:
    """Insert a row with values where a series goes on beyond the rows around the part.

    Otherwise a long gap there would look like the begin or the end of the series, which is a short gap.

    Args:
        placed: the rows.
        low, high: `(rows,)` positions of the inserted rows before and after the series of each row.
        more: `(rows,)` whether the series has later rows.
    """
    begins = run_starts(placed.table.series)
    # The first row of a series has the position 0.
    before = np.flatnonzero(begins & (placed.places > 0))
    after = np.flatnonzero(np.r_[begins[1:], True] & more)
    # The row after a series comes before the one of the next series.
    at = np.r_[after + 1, before]
    index = np.insert(np.arange(len(begins)), at, np.r_[after, before])
    added = np.insert(np.zeros(len(begins), bool), at, True)
    values = placed.table.values[index]
    # Columns that are known in advance do not count, and some have the same value in all rows of a series.
    values[added, : placed.table.layout.observed] = 0
    return PlacedRows(
        placed.table.take(index)._replace(values=values),
        np.insert(placed.places, at, np.r_[high[after], low[before]]),
        placed.own[index] & ~added,
        placed.ends,
    )


def save_record(path: Path, meta: JsonMapping, result: TaskResult) -> None:
    """Write what is needed of a part when all parts are complete, atomically.

    Args:
        path: the file.
        meta: what the part was computed from.
        result: its results.
    """
    counts = {"rows": result.rows, "results": result.results}
    save_arrays(path, {**result.meta, **meta, **counts}, result.arrays)


def load_record(path: Path, names: Sequence[str] | None = None) -> tuple[JsonObject, dict[str, Array]]:
    """Read a file of `save_record`.

    Args:
        path: the file.
        names: names of the arrays to read; None for all.

    Raises:
        DataError: the file is missing or damaged.
    """
    return load_arrays(path, names, advice="delete it and run the same command again")
