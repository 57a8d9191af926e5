"""Score a part of a table that is larger than memory.

A part is scored together with the rows before and after it. Its scores are those of the whole table, bit by bit,
however the table is divided: a batch of windows begins at a multiple of its size in the series, so that all parts with
a window in common compute it in the same batch.

The rows of a series may be in several parts, but the parts must not overlap in time.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from lstm_ae.apply.detect import RunDetector, load_detector
from lstm_ae.apply.detection_output import event_record
from lstm_ae.apply.run_table import TableRequest, read_run_table
from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.config.reading import TimeStep
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.data.grid import grid_positions, regularize
from lstm_ae.data.padding import original_rows, pad_segments, remove_padding
from lstm_ae.data.panel import Panel, run_starts, sort_rows
from lstm_ae.data.parquet import ParquetPart
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.time_zones import format_time
from lstm_ae.detection.calibration import RowScores, batch_size, score_rows, score_rows_online
from lstm_ae.detection.events import find_events, true_ranges
from lstm_ae.detection.thresholds import Threshold
from lstm_ae.errors import Code, DataError
from lstm_ae.files import load_arrays, save_arrays
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series.defaults import require_complete_windows
from lstm_ae.studies.series.reconstruction import threshold_rule


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
    """

    spans: Mapping[str, SeriesSpan]
    head_stop: int
    tail_start: int


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


class EventPiece(NamedTuple):
    """Rows of one series in a part that events may consist of.

    Args:
        rows: number of rows of the series on the time grid in this part.
        segments: number of segments among them.
        continues: whether the first of them continues the last segment of the part before.
        offset: `(n,)` place among the rows.
        segment: `(n,)` segment, from 0.
        scores: `(n,)`.
        errors: `(n, features)`.
        times: `(n,)` text.
    """

    rows: int
    segments: int
    continues: bool
    offset: Int64Array
    segment: Int64Array
    scores: Array
    errors: Array
    times: Array


class PartScores(NamedTuple):
    """Scores of the rows of a part in the order of the file, and the rows of its events by series.

    Args:
        scores: `(rows,)`; NaN for rows in no complete window.
        p: `(rows,)` probability that a normal row has a score this high.
        anomaly: `(rows,)` whether the score is above the threshold.
        errors: `(rows, features)`.
        columns: names of the columns with errors.
        key_columns: columns of the file that identify a row: those of the series, and the time.
        pieces: by series.
    """

    scores: Array
    p: Array
    anomaly: BoolArray
    errors: Array
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    pieces: Mapping[str, EventPiece]


@dataclasses.dataclass(frozen=True)
class PartDetector:
    """A detector that is applied to parts of a table.

    Args:
        detector: the detector of a run. Its kernels compute all windows, because results for equal rows must be equal.
        threshold: the threshold of the scores.
        online: whether each row is scored as if it were the last one.
    """

    detector: RunDetector
    threshold: Threshold
    online: bool = False

    @property
    def step(self) -> TimeStep:
        """The sampling interval of tables with times."""
        step = self.detector.config.step
        assert step is not None
        return step

    @property
    def max_gap(self) -> int:
        """The longest gap that a window may cross."""
        return self.detector.config.max_gap or 0

    @property
    def pending(self) -> int:
        """Rows at the end of a series whose scores are provisional."""
        normal = self.detector.normal
        return 0 if self.online else normal.window - 1 + normal.smooth // 2

    @property
    def context(self) -> int:
        """Positions before and after a part that its scores depend on.

        Scores depend on the windows with the row and with the rows that smoothing averages, batches of windows are
        whole, and the lengths of gaps must be known.
        """
        window, features = self.detector.normal.components.mean.shape
        halo: int = window - 1 + self.detector.normal.smooth // 2
        return halo + batch_size(window, features) - 1 + 2 * (self.max_gap + 1)


def load_part_detector(
    run: ModelStore, reading: JsonMapping | None = None, *, rule: str | None = None, online: bool = False
) -> PartDetector:
    """Load the detector of a run.

    Args:
        run: a finished anomaly detection run.
        reading: reading options of the tables that differ from the run's.
        rule: the threshold rule; None for the run's own rule.
        online: whether to score each row as if it were the last one.

    Raises:
        ConfigError, DataError: as in `lstm_ae.apply.detect.load_detector`.
    """
    detector = load_detector(run, reading, streaming=True)
    normal = detector.normal
    chosen = parse_threshold(rule) if rule else threshold_rule(detector.config, normal)
    return PartDetector(detector, normal.threshold(chosen, normal.model.select(online=online)), online)


def scan_part(part_detector: PartDetector, source: PartSource) -> PartScan:
    """Return what other parts must know of a part.

    Raises:
        ConfigError, DataError: the rows cannot be read.
    """
    panel = _read(part_detector, source)
    begins = np.flatnonzero(run_starts(panel.series))
    ends = np.r_[begins[1:], len(panel.series)]
    counts = ends - begins
    step = _step(part_detector, panel)
    if step == TimeStep():
        places = np.arange(len(panel.series)) - begins.repeat(counts)
    else:
        places = grid_positions(panel.times, panel.times[begins].repeat(counts), step)
    near = part_detector.context + 1
    return PartScan(
        {
            panel.ids[panel.series[begin]]: SeriesSpan(
                int(panel.times[begin]), int(panel.times[end - 1]), int(end - begin)
            )
            for begin, end in zip(begins, ends, strict=True)
        },
        int(panel.lines[places <= near].max()),
        int(panel.lines[places >= places[ends - 1].repeat(counts) - near].min()) - 1,
    )


def find_contexts(
    part_detector: PartDetector, sources: Sequence[PartSource], scans: Sequence[PartScan]
) -> list[PartContext]:
    """Return the context of each part of a data set.

    Args:
        part_detector: the detector.
        sources, scans: the parts in the order of the data set.

    Raises:
        DataError: parts with rows of the same series overlap in time.
    """
    timed = part_detector.detector.config.time_col is not None
    counted = not timed or part_detector.step == TimeStep()
    by_series: dict[str, list[int]] = {}
    for number, scan in enumerate(scans):
        for name in scan.spans:
            by_series.setdefault(name, []).append(number)
    ranges: list[dict[int, list[bool]]] = [{} for _ in sources]
    series: list[dict[str, SeriesPlace]] = [{} for _ in sources]
    for name, numbers in by_series.items():
        if timed:
            numbers.sort(key=lambda number: (*scans[number].spans[name][:2], number))
        spans = [scans[number].spans[name] for number in numbers]
        if timed:
            for one, other, span, later in zip(numbers, numbers[1:], spans, spans[1:], strict=False):
                if later.first < span.last:
                    raise _overlap_error(name, sources[one], sources[other])
        rows = np.r_[0, np.cumsum([span.rows for span in spans])]
        if counted:
            first, last = rows[:-1], rows[1:] - 1
        else:
            begun = np.full(len(spans), spans[0].first)
            first, last = (
                grid_positions(np.array([span[k] for span in spans], np.int64), begun, part_detector.step)
                for k in (0, 1)
            )
        for place, number in enumerate(numbers):
            more = bool(last[-1] > last[place] + part_detector.context)
            series[number][name] = SeriesPlace(int(rows[place]) if counted else spans[0].first, more)
            # Parts are in the order of time, so that the parts with rows nearby follow each other.
            low = int(np.searchsorted(last, first[place] - part_detector.context))
            high = int(np.searchsorted(first, last[place] + part_detector.context, side="right"))
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


def _overlap_error(name: str, one: PartSource, other: PartSource) -> DataError:
    of = f" of {name!r}" if name else ""
    if one.path == other.path:
        text = (
            f"The rows{of} in {one.path!r} are not in the order of time: rows {one.rows.start + 1:,} to "
            f"{one.rows.stop:,} and rows {other.rows.start + 1:,} to {other.rows.stop:,} overlap. Sort the file by time"
        )
    else:
        text = f"Rows{of} in {one.path!r} and {other.path!r} overlap in time. Partition the data set by series or date"
    return DataError(text, code=Code.TIME_ORDER)


def _read(part_detector: PartDetector, source: PartSource) -> Panel:
    return read_run_table(part_detector.detector.config, TableRequest(source.path, part=source.rows))


def _step(part_detector: PartDetector, panel: Panel) -> TimeStep:
    # Without times there is no sampling interval, also if the training table has one.
    return TimeStep() if panel.layout.time is None else part_detector.step


def score_part(part_detector: PartDetector, source: PartSource, context: PartContext) -> PartScores:
    """Score the rows of a part.

    Args:
        part_detector: the detector.
        source: the part.
        context: see `find_contexts`.

    Raises:
        ConfigError, DataError: the rows cannot be read with these options.
    """
    sources = (*context.before, source, *context.after)
    panels = [_read(part_detector, each) for each in sources]
    return score_panels(part_detector, panels, len(context.before), context.series)


def score_panels(
    part_detector: PartDetector, panels: Sequence[Panel], number: int, series: Mapping[str, SeriesPlace]
) -> PartScores:
    """Score the rows of one of several panels that follow each other in each series.

    Args:
        part_detector: the detector.
        panels: the panels in the order of the data set.
        number: the panel to score.
        series: see `PartContext`.

    Raises:
        ConfigError, DataError: rows have the same time, or values are missing where none may be.
    """
    rows = _place_rows(part_detector, panels, number, series)
    detector, config, normal = part_detector.detector, part_detector.detector.config, part_detector.detector.normal
    step, max_gap = _step(part_detector, rows.table), part_detector.max_gap
    grid = regularize(rows.table, step, max_gap, config, rows.places)
    part = np.zeros(len(grid.series), np.int8)
    prepared = PreparedTable(rows.table, grid, part, range(1), step, max_gap, normal.window)
    # No online score depends on padding, see `lstm_ae.apply.detect.detect_prepared`.
    if config.short == "pad" and not part_detector.online:
        prepared = pad_segments(prepared, "segments")
    require_complete_windows(config, prepared)
    begins = run_starts(rows.table.series, rows.places)
    position = _positions(prepared.grid, rows.places[begins])
    values, segment = detector.scales.to_common(prepared).grid.values, prepared.grid.segment
    # Sums of BLAS may depend on the number of its threads.
    with threadpool_limits(1, user_api="blas"):
        if part_detector.online:
            scored = score_rows_online(
                detector.model_residuals, normal.model.calibration, values, segment, position=position
            )
        else:
            scored = score_rows(
                detector.model_residuals, normal.model.calibration, values, segment, normal.smooth, position=position
            )
    original = original_rows(prepared.grid)
    prepared = remove_padding(prepared, original)
    scored = RowScores(*(column[original] for column in scored))
    known = np.flatnonzero(prepared.grid.known)
    own = np.flatnonzero(rows.own)
    own = own[np.argsort(rows.table.lines[own], kind="stable")]
    chosen = known[np.cumsum(begins) - 1][own]
    scores = scored.scores[chosen]
    layout = rows.table.layout
    keys = dict.fromkeys((*layout.ids, *(name for name in (layout.time, layout.clock) if name is not None)))
    return PartScores(
        scores,
        part_detector.threshold.p_values(scores),
        np.asarray(scores > part_detector.threshold.value),
        scored.errors[chosen],
        layout.values,
        tuple(keys),
        dict(_event_pieces(part_detector, prepared, scored, rows.own[np.flatnonzero(begins)])),
    )


class _PlacedRows(NamedTuple):
    """Rows of a part and its context: a panel, the grid position of each row, and whether it is in the part."""

    table: Panel
    places: Int64Array
    own: BoolArray


def _place_rows(
    part_detector: PartDetector, panels: Sequence[Panel], number: int, series: Mapping[str, SeriesPlace]
) -> _PlacedRows:
    own_panel = panels[number]
    codes = {name: code for code, name in enumerate(own_panel.ids)}
    taken = []
    for panel in panels:
        code = np.array([codes.get(name, -1) for name in panel.ids], np.int32)[panel.series]
        held = code >= 0
        taken.append(panel.take(held)._replace(series=code[held]))
    step, timed = _step(part_detector, own_panel), own_panel.layout.time is not None
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
    places = start + index - first if step == TimeStep() else grid_positions(order.times, start, step)
    near = (places >= places[first] - part_detector.context) & (places <= places[last] + part_detector.context)
    table = own_panel._replace(
        series=code,
        segment=code,
        times=order.times if timed else places,
        values=order.take(np.concatenate([panel.values for panel in taken])),
        lines=order.take(np.concatenate([panel.lines for panel in taken])),
        labels=None,
    )
    placed = _PlacedRows(table.take(near), places[near], own[near])
    low, high = places[first][near] - part_detector.context - 1, places[last][near] + part_detector.context + 1
    more = np.array([series[name].more for name in own_panel.ids])[placed.table.series]
    return _mark_ends(placed, low, high, more)


def _mark_ends(placed: _PlacedRows, low: Int64Array, high: Int64Array, more: BoolArray) -> _PlacedRows:
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
    values[added] = 0
    return _PlacedRows(
        placed.table.take(index)._replace(values=values),
        np.insert(placed.places, at, np.r_[high[after], low[before]]),
        placed.own[index] & ~added,
    )


def _positions(grid: Panel, places: Int64Array) -> Int64Array:
    """Return the position of each row of a grid in its series, `(rows,)`.

    Args:
        grid: the grid.
        places: positions of its known rows.
    """
    known = np.flatnonzero(grid.known)
    segments = np.cumsum(run_starts(grid.segment)) - 1
    # The rows of a segment follow each other, and each segment has a known row.
    first = np.flatnonzero(run_starts(segments[known]))
    positions: Int64Array = (places[first] - known[first])[segments] + np.arange(len(segments))
    return positions


def _event_pieces(
    part_detector: PartDetector, prepared: PreparedTable, scored: RowScores, own_known: BoolArray
) -> Iterator[tuple[str, EventPiece]]:
    """Yield the rows that events may consist of, by series.

    Args:
        part_detector: the detector.
        prepared: the rows of the part and around it.
        scored: their scores.
        own_known: whether each known row is in the part. A missing row is where the row before it is.
    """
    grid, table, join = prepared.grid, prepared.table, part_detector.detector.normal.window
    own = own_known[np.cumsum(grid.known) - 1]
    for code in np.unique(grid.series[own]).tolist():
        rows = np.flatnonzero(own & (grid.series == code))
        begin, end = int(rows[0]), int(rows[-1]) + 1
        segment = grid.segment[begin:end]
        above = np.asarray(scored.scores[begin:end] > part_detector.threshold.value)
        held = np.zeros(end - begin, bool)
        continues = begin > 0 and bool(grid.segment[begin - 1] == segment[0])
        for start, stop in true_ranges(above, join, segment).tolist():
            # The rows between an event and the border of a part may be within an event of both parts.
            at_border = start < join and segment[start] == segment[0]
            held[0 if at_border else start : stop] = True
            if end - begin - stop < join and segment[stop - 1] == segment[-1]:
                held[start:] = True
        if len(held) <= join:
            held[:] = True
        chosen = np.flatnonzero(held)
        times = grid.times[begin:end][chosen]
        timed = table.layout.time is not None
        texts = [format_time(time, table.zone) if timed else str(time) for time in times.tolist()]
        numbered = np.cumsum(run_starts(segment)) - 1
        yield (
            table.ids[code],
            EventPiece(
                end - begin,
                int(numbered[-1]) + 1,
                continues,
                chosen,
                numbered[chosen],
                scored.scores[begin:end][chosen],
                scored.errors[begin:end][chosen],
                np.array(texts, str),
            ),
        )


def merge_events(part_detector: PartDetector, name: str, pieces: Sequence[EventPiece]) -> list[JsonObject]:
    """Return the events of a series, one record each; an event may cross parts.

    Args:
        part_detector: the detector.
        name: the name of the series; "" if there is only one.
        pieces: the pieces of the series in the order of time.

    Returns:
        Records as those of `lstm_ae.apply.detection_output.event_rows`.
    """
    normal, join = part_detector.detector.normal, part_detector.detector.normal.window
    rows = np.r_[0, np.cumsum([piece.rows for piece in pieces])]
    segments = np.cumsum([piece.segments - piece.continues for piece in pieces])
    index = np.concatenate([piece.offset + first for piece, first in zip(pieces, rows[:-1], strict=True)])
    segment = np.concatenate(
        [piece.segment + last - piece.segments for piece, last in zip(pieces, segments, strict=True)]
    )
    if not len(index):
        return []
    scores, errors, times = (np.concatenate([piece[k] for piece in pieces if len(piece.offset)]) for k in (5, 6, 7))
    # Rows that are not needed are left out, but as many remain as decide whether events are one, and provisional.
    most = max(join, part_detector.pending)
    after = rows[-1] - 1 - index[-1] if segment[-1] == segments[-1] - 1 else 1
    left_out = np.minimum(np.r_[np.where(np.diff(segment) == 0, np.diff(index) - 1, 0), after], most)
    at = np.arange(len(index)) + np.r_[0, np.cumsum(left_out)[:-1]]
    count = len(index) + int(left_out.sum())
    source = np.full(count, -1)
    source[at] = np.arange(len(index))
    missing = source < 0
    spread = segment[np.maximum.accumulate(source)]
    if segment[-1] != segments[-1] - 1:
        spread[-1] = segments[-1]
    found = find_events(
        np.where(missing, np.nan, scores[source]),
        np.where(missing[:, None], np.nan, errors[source]),
        part_detector.threshold.value,
        join,
        find_causes=None if part_detector.online else normal.model.calibration.usual.find_causes,
        pending=part_detector.pending,
        p_values=part_detector.threshold.p_values,
        segment=spread,
    )
    columns = part_detector.detector.config.value_cols
    series = name if part_detector.detector.config.id_col else None
    return [event_record(event, columns, series, lambda row: str(times[source[row]])) for event in found]


def save_pieces(path: Path, meta: JsonMapping, pieces: Mapping[str, EventPiece]) -> None:
    """Write the event pieces of a part to a file, atomically."""
    arrays: dict[str, Array] = {}
    for number, piece in enumerate(pieces.values()):
        if len(piece.offset):
            arrays |= {f"{field}_{number}": getattr(piece, field) for field in EventPiece._fields[3:]}
    about = {name: piece[:3] for name, piece in pieces.items()}
    save_arrays(path, {**meta, "series": about}, arrays)


def load_pieces(path: Path) -> tuple[JsonObject, dict[str, EventPiece]]:
    """Read a file of `save_pieces`.

    Raises:
        DataError: the file is missing or damaged.
    """
    meta, arrays = load_arrays(path, advice="delete it and run the same command again")
    pieces = {}
    empty = (*np.zeros((2, 0), np.int64), np.zeros(0), np.zeros((0, 1)), np.zeros(0, "U1"))
    for number, (name, (rows, segments, continues)) in enumerate(meta["series"].items()):
        fields = [
            arrays.get(f"{field}_{number}", other) for field, other in zip(EventPiece._fields[3:], empty, strict=True)
        ]
        pieces[name] = EventPiece(rows, segments, continues, *fields)
    return meta, pieces
