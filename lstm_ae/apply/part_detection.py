"""Score the rows of a part of a table, and find events that cross parts."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from lstm_ae.apply.detect import RunDetector, load_detector
from lstm_ae.apply.detection_output import event_record
from lstm_ae.apply.partition import PartTask, PlacedRows, Reach, TaskResult
from lstm_ae.arrays import Array, BoolArray, Int64Array
from lstm_ae.config import Series
from lstm_ae.data.padding import original_rows, remove_padding
from lstm_ae.data.panel import run_starts
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.time_zones import format_time
from lstm_ae.detection.calibration import RowScores, score_rows, score_rows_online
from lstm_ae.detection.events import find_events, true_ranges
from lstm_ae.detection.thresholds import Threshold
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import ModelStore
from lstm_ae.studies.series.defaults import require_complete_windows
from lstm_ae.table_files import TableColumns


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


@dataclasses.dataclass(frozen=True)
class PartDetector(PartTask):
    """A detector that is applied to parts of a table.

    Args:
        detector: the detector of a run. Its kernels compute all windows, because results for equal rows must be equal.
        threshold: the threshold of the scores.
        online: whether each row is scored as if it were the last one.
    """

    folder = "scores"
    noun = "scored row"

    detector: RunDetector
    threshold: Threshold
    online: bool = False

    @property
    def config(self) -> Series:
        """The settings of the run."""
        return self.detector.config

    @property
    def pending(self) -> int:
        """Rows at the end of a series whose scores are provisional."""
        return 0 if self.online else self.detector.normal.pending

    @property
    def reach(self) -> Reach:
        """Positions that scores depend on: the windows with the row and with the rows that smoothing averages."""
        normal = self.detector.normal
        return self.reach_of_windows(normal.components.mean.shape[1], normal.smooth)

    def compute(self, rows: PlacedRows) -> TaskResult:
        """Return the score of each row, its p-value, whether it is an anomaly, and the error of each column.

        Scores are NaN for rows in no complete window. The arrays are the rows of events by series.
        """
        normal = self.detector.normal
        # No online score depends on padding, see `lstm_ae.apply.detect.detect_prepared`.
        prepared = self.regularize(rows, pad=not self.online)
        require_complete_windows(self.config, prepared)
        position = rows.positions(prepared.grid)
        values, segment = self.detector.scales.to_common(prepared).grid.values, prepared.grid.segment
        residuals, calibration = self.detector.model_residuals, normal.model.calibration
        # Sums of BLAS may depend on the number of its threads.
        with threadpool_limits(1, user_api="blas"):
            if self.online:
                scored = score_rows_online(residuals, calibration, values, segment, position=position)
            else:
                scored = score_rows(residuals, calibration, values, segment, normal.smooth, position=position)
        original = original_rows(prepared.grid)
        prepared = remove_padding(prepared, original)
        scored = RowScores(*(column[original] for column in scored))
        chosen = rows.grid_rows(prepared.grid)
        scores = scored.scores[chosen]
        output = self._name_columns(scores, scored.errors[chosen])
        pieces = dict(_event_pieces(self, prepared, scored, rows.own[rows.begins]))
        meta, arrays = pack_pieces(pieces)
        return TaskResult(output, rows.key_columns, int((~np.isnan(scores)).sum()), meta, arrays)

    def empty_columns(self) -> TableColumns:
        """Return the columns of the scores without rows."""
        return self._name_columns(np.zeros(0), np.zeros((0, len(self.config.value_cols))))

    def _name_columns(self, scores: Array, errors: Array) -> TableColumns:
        """Return scores `(rows,)` and errors `(rows, features)` as columns."""
        columns: TableColumns = {
            "score": scores,
            "p": self.threshold.p_values(scores),
            "anomaly": np.asarray(scores > self.threshold.value),
        }
        if errors.shape[1] > 1:
            columns |= {f"error {name}": errors[:, k] for k, name in enumerate(self.config.value_cols)}
        return columns


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
    return PartDetector(detector, detector.normal.threshold(detector.rule(rule), online=online), online)


def _event_pieces(
    detector: PartDetector, prepared: PreparedTable, scored: RowScores, own_known: BoolArray
) -> Iterator[tuple[str, EventPiece]]:
    """Yield the rows that events may consist of, by series.

    Args:
        detector: the detector.
        prepared: the rows of the part and around it.
        scored: their scores.
        own_known: whether each known row is in the part. A missing row is where the row before it is.
    """
    grid, table = prepared.grid, prepared.table
    join = detector.detector.normal.join(online=detector.online)
    own = own_known[np.cumsum(grid.known) - 1]
    for code in np.unique(grid.series[own]).tolist():
        rows = np.flatnonzero(own & (grid.series == code))
        begin, end = int(rows[0]), int(rows[-1]) + 1
        segment = grid.segment[begin:end]
        above = np.asarray(scored.scores[begin:end] > detector.threshold.value)
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


def merge_events(detector: PartDetector, name: str, pieces: Sequence[EventPiece]) -> list[JsonObject]:
    """Return the events of a series, one record each; an event may cross parts.

    Args:
        detector: the detector.
        name: the name of the series; "" if there is only one.
        pieces: the pieces of the series in the order of time.

    Returns:
        Records as those of `lstm_ae.apply.detection_output.event_rows`.
    """
    normal = detector.detector.normal
    join = normal.join(online=detector.online)
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
    most = max(join, detector.pending)
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
        detector.threshold.value,
        join,
        find_causes=None if detector.online else normal.model.calibration.usual.find_causes,
        pending=detector.pending,
        p_values=detector.threshold.p_values,
        segment=spread,
    )
    columns = detector.detector.config.value_cols
    series = name if detector.detector.config.id_col else None
    return [event_record(event, columns, series, lambda row: str(times[source[row]])) for event in found]


def pack_pieces(pieces: Mapping[str, EventPiece]) -> tuple[JsonObject, dict[str, Array]]:
    """Return the metadata and the arrays of the event pieces of a part, see `unpack_piece`."""
    series, arrays = {}, {}  # type: JsonObject, dict[str, Array]
    for number, (name, piece) in enumerate(pieces.items()):
        series[name] = [*piece[:3], number, len(piece.offset)]
        if len(piece.offset):
            arrays |= {f"{field}_{number}": getattr(piece, field) for field in EventPiece._fields[3:]}
    return {"series": series}, arrays


def count_piece_rows(meta: JsonMapping, name: str) -> int:
    """Return the number of rows of the event piece of a series."""
    return int(meta["series"][name][4])


def piece_arrays(meta: JsonMapping, name: str) -> list[str]:
    """Return the names of the arrays of the event piece of a series; none if it has no rows."""
    *_, number, held = meta["series"][name]
    return [f"{field}_{number}" for field in EventPiece._fields[3:]] if held else []


def unpack_piece(meta: JsonMapping, arrays: Mapping[str, Array], name: str) -> EventPiece:
    """Return the event piece of a series.

    Args:
        meta: the metadata of `pack_pieces`.
        arrays: arrays that include those of `piece_arrays`.
        name: name of the series.
    """
    rows, segments, continues, *_ = meta["series"][name]
    names = piece_arrays(meta, name)
    none = (*np.zeros((2, 0), np.int64), np.zeros(0), np.zeros((0, 1)), np.zeros(0, "U1"))
    return EventPiece(rows, segments, continues, *([arrays[each] for each in names] if names else none))
