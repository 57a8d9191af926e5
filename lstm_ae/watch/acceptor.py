"""Accept records as rows in the order of time, and refuse and count the other records."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.apply.stream import rows_by_series
from lstm_ae.arrays import BoolArray, Float32Array, Int64Array
from lstm_ae.config import Series
from lstm_ae.data.panel import Panel
from lstm_ae.errors import DataError
from lstm_ae.formatting import format_heading
from lstm_ae.watch.rows import RowParser, format_utc, reason_of
from lstm_ae.watch.sources import AHEAD, Batch
from lstm_ae.watch.status import Clock, Status

LOG = logging.getLogger(__name__)

# Number of refused rows up to which each is logged; then one is logged at every doubling of their number.
MAX_LOGGED = 10

_EARLIEST = np.iinfo(np.int64).min


class AcceptedRows(NamedTuple):
    """Rows that were accepted, in the order of their arrival.

    Args:
        series: `(rows,)` the series of each row.
        times: `(rows,)` nanoseconds in UTC, or numbers.
        values: `(rows, features)`.
    """

    series: list[str]
    times: Int64Array
    values: Float32Array


class Acceptor:
    """A filter that converts records to rows, and refuses records that cannot be used.

    Args:
        name: name of the monitor, for logs.
        config: the run's settings, with the reading options of the source.
        source: the source in errors.
        max_series: largest number of series.
        status: status whose numbers are updated.
        clock: the module `time`, or a replacement.
    """

    def __init__(self, name: str, config: Series, source: str, max_series: int, status: Status, clock: Clock) -> None:
        self.name, self.max_series, self.status, self.clock = name, max_series, status, clock
        self.config, self.parser = config, RowParser(config, source)
        # Time of the newest row of each series.
        self.newest: dict[str, int] = {}

    def restore(self, newest: dict[str, int]) -> None:
        """Take over the time of the newest row of each series."""
        self.newest = newest
        if newest:
            self.status.newest = max(newest.values()) / 1e9

    def accept(self, batch: Batch) -> Iterator[AcceptedRows]:
        """Yield the rows of records."""
        for error in batch.refused:
            self.refuse(error)
        for panel in self.parser.parse(batch, self.refuse):
            ids = [panel.ids[place] for place in panel.series.tolist()]
            times, accepted = self._check(panel, ids)
            series = [name for name, good in zip(ids, accepted.tolist(), strict=True) if good]
            self.status.rows += len(series)
            yield AcceptedRows(series, times[accepted], panel.values[accepted])

    def _check(self, panel: Panel, ids: Sequence[str]) -> tuple[Int64Array, BoolArray]:
        """Return the times of rows, and whether each row is accepted; count and log the others."""
        times, is_accepted = panel.times, np.ones(len(ids), bool)
        latest = int((self.clock.time() + AHEAD) * 1e9)
        for name, rows in rows_by_series(ids).items():
            newest = self.newest.get(name)
            if newest is None and len(self.newest) >= self.max_series:
                is_accepted[rows] = False
                text = f"the series {format_heading(name)} exceeds max_series = {self.max_series}. Increase it"
                for _ in rows:
                    self._count("series", text)
                continue
            series_times = times[rows]
            is_future = series_times > latest
            earliest = _EARLIEST if newest is None else newest
            previous = np.maximum.accumulate(
                np.concatenate([[earliest], np.where(is_future, _EARLIEST, series_times)])
            )[:-1]
            is_late = ~is_future & (series_times < previous)
            is_duplicate = ~is_future & (series_times == previous)
            for reason, is_refused, rule in (
                ("future", is_future, "is more than a day ahead of the clock. Set the clocks"),
                ("late", is_late, "is earlier than the newest row. Send rows in the order of time"),
                ("duplicate", is_duplicate, "has the same time as the newest row. Send one row per time"),
            ):
                for row in rows[is_refused].tolist():
                    self._count(
                        reason,
                        f"{self.parser.name}, line {panel.lines[row]}: the row{f' of {name!r}' if name else ''} at "
                        f"{format_utc(times[row : row + 1])[0]} {rule}",
                    )
            is_valid = ~(is_future | is_late | is_duplicate)
            is_accepted[rows] = is_valid
            if is_valid.any():
                self.newest[name] = int(series_times[is_valid][-1])
        if is_accepted.any():
            self.status.newest = max(self.status.newest or 0.0, float(times[is_accepted].max()) / 1e9)
        return times, is_accepted

    def refuse(self, error: DataError) -> None:
        """Count and log the error of a record."""
        self._count(reason_of(error), str(error))

    def refuse_accepted(self, error: DataError) -> None:
        """Refuse a row that does not fit the sampling interval."""
        self.status.rows -= 1
        self.refuse(error)

    def _count(self, reason: str, text: str) -> None:
        self.status.refused[reason] += 1
        number = self.status.refused[reason]
        if number <= MAX_LOGGED or not number & (number - 1):  # a power of two
            LOG.warning("%s: row refused (%s, number %d): %s", self.name, reason, number, text)
