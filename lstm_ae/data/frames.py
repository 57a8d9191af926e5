"""Arrays and data frames as measurements, so that what holds a table in memory goes the way of a file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.data.columns import Layout, split_id_columns
from lstm_ae.data.grid import map_to_grid_rows
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.time_zones import format_times
from lstm_ae.data.timestamps import Times
from lstm_ae.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class RowCodes(NamedTuple):
    """A number for each row: of its series, or of its class.

    Args:
        columns: what a table would call the column, or those that together name a series.
        places: `(rows,)` int32, places in `names`; -1 where a class is not known.
        names: of all series, or classes.
    """

    columns: tuple[str, ...]
    places: NDArray[np.int32]
    names: tuple[str, ...]


def measurements_from_rows(
    values: NDArray[Any],
    names: Sequence[str],
    index: "pd.Index[Any] | None" = None,
    name: str = "X",
    *,
    series: RowCodes | None = None,
    labels: RowCodes | None = None,
) -> Measurements:
    """The rows of an array, of one series or several.

    Args:
        values: `(rows, features)`, NaN where missing.
        names: `(features,)` of the columns.
        index: `(rows,)` of pandas; times in it, in any order, tell when each row was. With any other the rows follow
            one another as they stand.
        name: what errors call the table.
        series: which series each row is of; of one where None.
        labels: the class of each row.

    Returns:
        The rows by series and in the order of time; `lines` holds where each stands in the array, from 0.

    Raises:
        DataError: a time is missing, or the index has the name of a column.
    """
    times = None if index is None else read_index_times(index, name)
    column, unsorted = None, 0
    place = np.zeros(len(values), np.int32) if series is None else series.places
    order = np.argsort(place, kind="stable").astype(np.int32)
    if times is not None:
        assert index is not None
        column = index.name if isinstance(index.name, str) and index.name else "time"
        if column in names:
            raise DataError(f"{name}: the index of times and a column are both called {column!r}. Rename one of them")
        unsorted = int(((np.diff(times[order]) < 0) & (np.diff(place[order]) == 0)).sum())
        if unsorted:
            order = np.lexsort((times, place)).astype(np.int32)
    marks = [column for mark in (series, labels) if mark is not None for column in mark.columns]
    first = np.searchsorted(place[order], place[order])  # the first row of the same series
    layout = Layout(
        names=(*marks, *([column] if column else []), *names),
        kinds={
            **dict.fromkeys(marks, "text"),
            **({column: "time"} if column else {}),
            **dict.fromkeys(names, "number"),
        },
        time=column,
        form=None,
        aware=True,
        values=tuple(names),
        ids=() if series is None else series.columns,
        label=None if labels is None else labels.columns[0],
        apart=(),
        inferred={},
    )
    return Measurements(
        name,
        "row",
        layout,
        ("",) if series is None else series.names,
        place[order],
        np.arange(len(values)) - first if times is None else times[order],
        np.asarray(values, np.float32)[order],
        None if labels is None else labels.places[order],
        () if labels is None else labels.names,
        order,
        unsorted,
    )


def read_index_times(index: "pd.Index[Any]", name: str = "X") -> Times | None:
    """The times of an index in nanoseconds since 1970, `(rows,)`; None where it holds none.

    Times without a zone are taken for UTC, and a period for the moment when it begins.
    """
    import pandas as pd

    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pd.DatetimeIndex):
        return None
    if index.hasnans:
        raise DataError(f"{name}, row {int(index.isna().argmax())}: the index lacks a time. Remove the row, or tell it")
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    try:
        return index.as_unit("ns").to_numpy().astype(np.int64)
    except pd.errors.OutOfBoundsDatetime:
        raise DataError(
            f"{name}: the index holds times that nanoseconds do not reach, before 1678 or after 2262. Remove these rows"
        ) from None


def map_to_table_rows(prepared: PreparedTable, found: NDArray[Any]) -> NDArray[Any]:
    """What was found for each row of the grid, `(grid's rows, ...)`, for each row of the table as they stood there:
    `(rows, ...)`."""
    rows = map_to_grid_rows(prepared.table, prepared.grid)
    return found[rows[np.argsort(prepared.table.lines, kind="stable")]]


def row_id_columns(prepared: PreparedTable) -> dict[str, Any]:
    """What tells the rows apart, under the names that the table has for it."""
    table, order = prepared.table, np.argsort(prepared.table.lines, kind="stable")
    columns: dict[str, Any] = {}
    columns |= split_id_columns(table.layout.ids, [table.ids[place] for place in table.series[order]])
    if table.layout.time is not None:
        columns[table.layout.time] = format_times(table.times[order], table.zone)
    return columns
