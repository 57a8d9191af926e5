"""Hold the rows of series, sorted by series and time.

A table as read, its rows at a regular step, and daily prices have this form.
"""

import datetime
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, BoolArray, Float32Array, Int64Array
from lstm_ae.data.columns import Layout
from lstm_ae.data.numbers import BadCells
from lstm_ae.data.time_zones import Elapsed, Zone

# Classes of a table whose labels mark anomalies: 0 for a normal row and 1 for an anomaly.
ANOMALY_CLASSES = ("0", "1")


def run_starts(*keys: Array) -> BoolArray:
    """Return a mask of the rows at which a run begins, in which every key keeps its value.

    >>> run_starts(np.array([3, 3, 5, 3]), np.array([0, 1, 1, 1])).tolist()
    [True, True, True, True]
    """
    changes = [np.r_[True, key[1:] != key[:-1]] for key in keys]
    begins: BoolArray = np.logical_or.reduce(changes)[: len(keys[0])]
    return begins


def run_bounds(*keys: Array) -> list[tuple[int, int]]:
    """Return the first row and the end of each run, see `run_starts`.

    >>> run_bounds(np.array([3, 3, 5, 3]))
    [(0, 2), (2, 3), (3, 4)]
    """
    return list(itertools.pairwise([*np.flatnonzero(run_starts(*keys)).tolist(), len(keys[0])]))


def number_runs(*keys: Array) -> NDArray[np.int32]:
    """Return the number of the run of each row, `(rows,)` int32 from 0, see `run_starts`.

    >>> number_runs(np.array([3, 3, 5, 3])).tolist()
    [0, 0, 1, 2]
    """
    return np.cumsum(run_starts(*keys), dtype=np.int32) - 1


def first_rows(*keys: Array) -> Int64Array:
    """Return the first row of the run of each row, `(rows,)` int64, see `run_starts`.

    >>> first_rows(np.array([3, 3, 5, 3])).tolist()
    [0, 0, 2, 3]
    """
    return np.flatnonzero(run_starts(*keys))[number_runs(*keys)]


def number_names(parts: Sequence[tuple[Array, Sequence[str]]]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return the names of joined rows as indices of the distinct names, `(rows,)` int32, and these names.

    The distinct names are in the order of their first appearance.

    Args:
        parts: for each of the parts to join, the index of each row's name, and the names.

    >>> codes, names = number_names([(np.array([0, 1]), ["b", "a"]), (np.array([0]), ["a"])])
    >>> codes.tolist(), names
    ([0, 1, 1], ('b', 'a'))
    """
    index: dict[str, int] = {}
    codes = [
        np.array([index.setdefault(name, len(index)) for name in names], np.int32)[places] for places, names in parts
    ]
    return np.concatenate(codes), tuple(index)


def rows_with_values(values: Float32Array) -> BoolArray:
    """Return a mask of the rows that hold a value, `(rows,)`."""
    return np.asarray(~np.isnan(values).all(axis=1))


class Panel(NamedTuple):
    """Rows of one or more series, each row stored once, sorted by series and by time within a series.

    Args:
        name: the file as named in errors.
        place: "line" or "row", the unit of `lines`.
        layout: roles of the columns.
        ids: names of the series; `("",)` without an id column.
        series: `(rows,)` int32, indices of `ids`, ascending.
        segment: `(rows,)` int32, ascending; its rows belong to one series, and a window never joins rows of
            two segments. Each series is one segment until gaps divide it.
        times: `(rows,)` int64 nanoseconds since 1970 in UTC or since an unknown start, or counts of steps, ascending
            within a series; without a column of times, the number of the row within its series. A missing row
            has the time at which it was due.
        values: `(rows, features)` float32, NaN where missing.
        labels: `(rows,)` int32, indices of `classes`, -1 where missing; None without labels.
        classes: distinct labels in numerical order if all are numbers, else in alphabetical order.
        lines: `(rows,)` int32, position of each row in the file; -1 for a missing row, which the file does not hold.
        unsorted: number of rows that were earlier than the row before them in the file.
        zone: zone in which times are formatted; None if they were written without a time zone.
        bad: cells that are not numbers, which a check treats as missing.
        license: license of the data.
        notes: notes about the source of the data.
    """

    name: str
    place: str
    layout: Layout
    ids: tuple[str, ...]
    series: NDArray[np.int32]
    segment: NDArray[np.int32]
    times: Int64Array
    values: Float32Array
    labels: NDArray[np.int32] | None
    classes: tuple[str, ...]
    lines: NDArray[np.int32]
    unsorted: int
    zone: Zone = None
    bad: tuple[BadCells, ...] = ()
    license: str = "as given by the file's owner"
    notes: tuple[str, ...] = ()

    @property
    def days(self) -> NDArray[np.datetime64]:
        """Day of each row in UTC, `(rows,)` datetime64[D]."""
        return self.times.view("datetime64[ns]").astype("datetime64[D]")

    @property
    def known(self) -> BoolArray:
        """Mask of the rows that the file holds, `(rows,)`."""
        return self.lines >= 0

    @property
    def is_observed(self) -> BoolArray:
        """Mask of the rows that hold a value of a column that is not known in advance, `(rows,)`."""
        return rows_with_values(self.values[:, : self.layout.observed])

    @property
    def valued(self) -> BoolArray:
        """Mask of the rows whose segment has an observed row, `(rows,)`, see `is_observed`."""
        return np.isin(self.segment, self.segment[self.is_observed])

    @property
    def clock(self) -> datetime.tzinfo | None:
        """Time zone for times in plots.

        It is `zone`, or UTC for numbers since 1970; None for elapsed times and for times without a zone.
        """
        if isinstance(self.zone, Elapsed):
            return None
        return self.zone or (datetime.UTC if self.layout.aware else None)

    def axis(self, times: Int64Array) -> Array:
        """Return times for the axis of a plot: datetime64, float64 for elapsed times, or integers for counted rows."""
        if isinstance(self.zone, Elapsed):
            return self.zone.numbers(times).astype(np.float64)
        return times.view("datetime64[ns]") if self.layout.dated else times

    def columns(self, names: Sequence[str]) -> Float32Array:
        """Return the values of some columns, `(rows, columns)` float32, NaN where missing."""
        return np.take(self.values, [self.layout.values.index(name) for name in names], axis=1)

    def take(self, rows: BoolArray | Int64Array) -> "Panel":
        """Return the rows of a mask, or of indices that keep the rows of a series together."""
        return self._replace(
            series=self.series[rows],
            segment=self.segment[rows],
            times=self.times[rows],
            values=self.values[rows],
            labels=None if self.labels is None else self.labels[rows],
            lines=self.lines[rows],
        )

    def spread(self, source: Int64Array, known: BoolArray, times: Int64Array) -> "Panel":
        """Return the rows with missing rows among them.

        Args:
            source: `(rows,)` index of the row that each new row is, or whose segment it belongs to if it is missing.
            known: `(rows,)` False for a new row that is missing.
            times: `(rows,)` times of the new rows.
        """
        spread = self.take(source)
        spread.values[~known] = np.nan
        for numbers in (spread.lines, spread.labels):
            if numbers is not None:
                numbers[~known] = -1
        return spread._replace(times=times)

    def first_in_file(self, rows: BoolArray) -> int:
        """Return the index of the row of a mask that comes first in the file."""
        numbers = np.flatnonzero(rows)
        return int(numbers[self.lines[numbers].argmin()])

    def where(self, row: int) -> str:
        """Return the file and the position of a row in it, for errors."""
        return f"{self.name}, {self.place} {self.lines[row]}"


def sort_rows(panel: Panel) -> Panel:
    """Return the panel with its rows sorted by series and time; rows with equal times keep their order.

    Each series becomes one segment. Without a column of times, the rows of a series are numbered in their order.
    """
    rows, unsorted = np.argsort(panel.series, kind="stable"), 0
    if panel.layout.time is not None:
        unsorted = int(((np.diff(panel.times[rows]) < 0) & (np.diff(panel.series[rows]) == 0)).sum())
        rows = np.lexsort((panel.times, panel.series)) if unsorted else rows
    if (rows[1:] < rows[:-1]).any():
        panel = panel.take(rows)
    times = np.arange(len(rows)) - first_rows(panel.series) if panel.layout.time is None else panel.times
    return panel._replace(segment=panel.series, times=times, unsorted=unsorted)
