"""Convert arrays and data frames to panels, so that tables in memory and in files share one code path."""

import datetime
import zoneinfo
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array, Int64Array
from lstm_ae.data.columns import Layout, split_id_columns
from lstm_ae.data.grid import map_to_grid_rows
from lstm_ae.data.panel import Panel, sort_rows
from lstm_ae.data.panel_reader import read_stored_times
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.time_zones import format_times
from lstm_ae.data.timestamps import BadTime, looks_like_times
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import format_names, quote
from lstm_ae.table_files import TableColumns

if TYPE_CHECKING:
    import pandas as pd

# Number of rows of an index to examine for times as text.
MAX_CHECKED_TIMES = 100


class RowCodes(NamedTuple):
    """Series or class of each row, as an index of names.

    Args:
        columns: name of the column, or the names of the columns that together identify a series.
        places: `(rows,)` int32, indices of `names`; -1 for an unknown class.
        names: names of all series or classes.
    """

    columns: tuple[str, ...]
    places: NDArray[np.int32]
    names: tuple[str, ...]


def panel_from_rows(
    values: Array,
    names: Sequence[str],
    index: "pd.Index[Any] | None" = None,
    *,
    series: RowCodes | None = None,
    labels: RowCodes | None = None,
    past: Sequence[str] = (),
    known: Sequence[str] = (),
) -> Panel:
    """Return the rows of an array as a panel of one or more series.

    Args:
        values: `(rows, features)`, NaN where missing.
        names: `(features,)` column names.
        index: pandas index of length `rows`. A `DatetimeIndex` or `PeriodIndex`, in any order, gives the time of each
            row; with any other index the rows are consecutive as they are.
        series: series of each row; None for a single series.
        labels: class of each row.
        past, known: covariates of a forecast, as in `Layout`.

    Returns:
        The rows sorted by series and time; `lines` holds the original position of each row, from 0.

    Raises:
        DataError: if a time is missing or out of range, the index has the name of a column, or a covariate is not a
            column.
    """
    covariates = (*past, *known)
    if unknown := [column for column in covariates if column not in names]:
        raise DataError(
            f"X has no column {unknown[0]!r}. Its columns are {format_names(list(map(quote, names)))}",
            code=Code.UNKNOWN_NAME,
        )
    columns = (*(column for column in names if column not in covariates), *covariates)
    times = None if index is None else read_index_times(index)
    column = None
    if times is not None:
        assert index is not None
        column = index.name if isinstance(index.name, str) and index.name else "time"
        if column in names:
            raise DataError(
                f"X: the index of times and a column are both called {column!r}. Rename one of them",
                code=Code.ARRAY_INPUT,
            )
    layout = Layout(
        columns,
        time=column,
        ids=() if series is None else series.columns,
        label=None if labels is None else labels.columns[0],
        past=tuple(past),
        known=tuple(known),
    )
    ordered = np.asarray(values)[:, [list(names).index(column) for column in columns]]
    rows = np.arange(len(values), dtype=np.int32)
    places = np.zeros_like(rows) if series is None else series.places
    panel = Panel(
        name="X",
        place="row",
        layout=layout,
        ids=("",) if series is None else series.names,
        series=places,
        segment=places,
        times=rows.astype(np.int64) if times is None else times,
        values=ordered.astype(np.float32),  # a copy, so that the table never shares memory with X
        labels=None if labels is None else labels.places,
        classes=() if labels is None else labels.names,
        lines=rows,
        unsorted=0,
        zone=index_zone(index),
    )
    return sort_rows(panel)


def index_zone(index: "pd.Index[Any] | None") -> datetime.tzinfo | None:
    """Return the time zone of a pandas index; None if it has none."""
    zone = getattr(index, "tz", None)
    if zone is None or isinstance(zone, datetime.timezone):
        return zone
    # Time zones of pytz, which pandas also uses, have a different interface.
    try:
        return zoneinfo.ZoneInfo(str(zone))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def read_index_times(index: "pd.Index[Any]") -> Int64Array | None:
    """Return the times of a pandas index, or None if it holds no times.

    Times without a zone are assumed to be in UTC. A period has the time of its start.

    Returns:
        `(rows,)` int64 nanoseconds since 1970.

    Raises:
        DataError: if a time is missing or outside the range of nanoseconds.
    """
    import pandas as pd
    import pyarrow

    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pd.DatetimeIndex):
        return None
    if index.tz is not None:
        index = index.tz_convert("UTC")  # Arrow refuses an offset with seconds
    try:
        return read_stored_times(pyarrow.array(index))
    except BadTime as error:
        raise DataError(f"X, row {error.place} of the index: {error.problem}", code=Code.ARRAY_INPUT) from None


def describe_text_times(index: "pd.Index[Any]") -> str:
    """Return a warning if an index holds times as text, which are ignored; "" otherwise."""
    cells = [cell for cell in index[:MAX_CHECKED_TIMES] if isinstance(cell, str)]
    if not cells or not looks_like_times(cells, str(index.name or "time")):
        return ""
    return (
        f"The index of X holds times as text ({quote(cells[0])}), so its rows are read as consecutive. Convert it with "
        "pandas.to_datetime to use the times."
    )


def map_to_table_rows(prepared: PreparedTable, results: Array) -> Array:
    """Return results by grid row as results by table row, in the original order of the table.

    Args:
        results: `(grid rows, ...)`.

    Returns:
        `(rows, ...)`.
    """
    rows = map_to_grid_rows(prepared.table, prepared.grid, prepared.step)
    return results[rows[np.argsort(prepared.table.lines, kind="stable")]]


def row_id_columns(prepared: PreparedTable) -> TableColumns:
    """Return the columns that identify the rows (series and time), under the names that the table uses."""
    table, order = prepared.table, np.argsort(prepared.table.lines, kind="stable")
    columns: TableColumns = {}
    columns |= split_id_columns(table.layout.ids, [table.ids[place] for place in table.series[order]])
    if table.layout.time is not None:
        columns[table.layout.time] = format_times(table.times[order], table.zone)
    return columns
