"""Inputs of estimators: the series and the labels of each row, and the names of columns."""

# scikit-learn's name of the data is X.
# ruff: noqa: N803

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lstm_ae.arrays import Int64Array
from lstm_ae.data.columns import join_id_columns
from lstm_ae.data.frames import RowCodes
from lstm_ae.errors import Code, DataError

# Rows of a table as the estimators accept them.
TableLike: TypeAlias = "ArrayLike | pd.DataFrame | pd.Series[Any]"


def series_of_rows(X: TableLike) -> RowCodes | None:
    """Return the series of each row, all levels but the last of a `MultiIndex`; None for a single series.

    Raises:
        DataError: a row has no series.
    """
    if not isinstance(X, pd.DataFrame | pd.Series) or not isinstance(X.index, pd.MultiIndex):
        return None
    index: Any = X.index.droplevel(-1)
    missing = index.to_frame().isna().any(axis=1).to_numpy()
    if missing.any():
        raise DataError(
            f"X, row {int(missing.argmax())}: the series is missing. Set it in the index or remove the row.",
            code=Code.ARRAY_INPUT,
        )
    codes, names = index.factorize()
    cells = [list(map(str, names.get_level_values(level))) for level in range(index.nlevels)]
    columns: list[str] = []
    for name in index.names:
        columns.append(unused_name(str(name or "series"), [*column_names(X), *columns]))
    return RowCodes(tuple(columns), codes.astype(np.int32), tuple(join_id_columns(cells)))


def flatten_samples(X: Any) -> tuple[Any, RowCodes | None, int]:
    """Return the rows of an array of samples, the sample of each row, and the steps of a sample.

    Args:
        X: `(samples, steps, channels)`; any other X is returned with the series of its rows and 0 steps.
    """
    if getattr(X, "ndim", None) != 3:
        return X, series_of_rows(X), 0
    values = np.asarray(X)
    samples, steps, channels = values.shape
    places = np.repeat(np.arange(samples, dtype=np.int32), steps)
    return values.reshape(-1, channels), RowCodes(("series",), places, tuple(map(str, range(samples)))), steps


def series_by_scale(X: TableLike, scale: str) -> RowCodes | None:
    """Return the series of each row if each series has its own scale, else None.

    Raises:
        DataError: X has no index of several levels.
    """
    if scale != "series":
        return None
    series = series_of_rows(X)
    if series is None:
        raise DataError(
            'scale="series" needs an index of several levels: the series of each row and its time. Set such an index '
            "or pass another scale.",
            code=Code.ARRAY_INPUT,
        )
    return series


def last_index_level(X: TableLike) -> Any:
    """Return the index of the rows within their series; None if X has no index."""
    index = getattr(X, "index", None)
    return index.get_level_values(-1) if isinstance(index, pd.MultiIndex) else index


def time_index(times: Int64Array, index: "pd.Index[Any]") -> pd.DatetimeIndex:
    """Return times, in nanoseconds since 1970 in UTC, as an index in the time zone of another index."""
    zone, utc = getattr(index, "tz", None), pd.DatetimeIndex(times.view("datetime64[ns]"))
    return utc if zone is None else utc.tz_localize("UTC").tz_convert(zone)


def column_names(X: TableLike) -> list[str]:
    """Return the names of the columns of X and of its times; empty for an array."""
    if not isinstance(X, pd.DataFrame | pd.Series):
        return []
    columns, time = list(X.columns) if isinstance(X, pd.DataFrame) else [X.name], X.index.names[-1]
    if not all(isinstance(name, str) for name in columns):
        columns = list(default_column_names(len(columns)))
    return [*columns, time if isinstance(time, str) and time else "time"]


def unused_name(column: str, used: list[str]) -> str:
    """Return a column name, extended by underscores until it is not used.

    >>> unused_name("label", ["label", "label_"])
    'label__'
    """
    while column in used:
        column += "_"
    return column


def default_column_names(features: int) -> tuple[str, ...]:
    """Return scikit-learn's names of columns without names.

    >>> default_column_names(2)
    ('x0', 'x1')
    """
    return tuple(f"x{number}" for number in range(features))


def name_labels(
    X: TableLike, series: RowCodes | None, places: NDArray[np.signedinteger[Any]], names: Sequence[str]
) -> RowCodes:
    """Return the labels of rows, in a column whose name X does not use.

    Args:
        X: the rows.
        series: their series.
        places: `(rows,)` indices of `names`; -1 for a row without a label.
        names: names of the labels.
    """
    used = [*column_names(X), *(series.columns if series else ())]
    return RowCodes((unused_name("label", used),), places.astype(np.int32), tuple(names))
