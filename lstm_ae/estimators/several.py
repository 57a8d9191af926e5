"""Several series in one frame: which row is of which, and what their column may be called."""

# X is what scikit-learn calls the rows.
# ruff: noqa: N803

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length

from lstm_ae.data.columns import names_of_series
from lstm_ae.data.frames import RowCodes
from lstm_ae.errors import DataError


def series_of(X: Any, groups: Any = None) -> RowCodes | None:
    """The series of each row; None where there is one.

    Args:
        groups: `(rows,)` names of the series; None takes all levels but the last of a `MultiIndex`.
    """
    own = groups is None
    if own and isinstance(X, pd.DataFrame | pd.Series) and isinstance(X.index, pd.MultiIndex):
        groups = X.index.droplevel(-1)
    if groups is None:
        return None
    check_consistent_length(X, groups)
    index: Any = groups if isinstance(groups, pd.Index) else pd.Index(groups)
    missing = index.isna() if index.nlevels == 1 else index.to_frame().isna().any(axis=1).to_numpy()
    if missing.any():
        raise DataError(f"X, row {int(missing.argmax())}: the series is missing. Name it in groups, or remove the row")
    places, names = index.factorize()
    cells = [list(map(str, names.get_level_values(level))) for level in range(index.nlevels)]
    columns: list[str] = []
    for name in index.names if own else [None] * index.nlevels:
        columns.append(unused_name(str(name or "series"), [*column_names(X), *columns]))
    return RowCodes(tuple(columns), places.astype(np.int32), tuple(names_of_series(cells)))


def series_by_scale(X: Any, scale: Any) -> RowCodes | None:
    """The series of each row where each has a scale of its own, else None.

    Raises `DataError` where X does not tell them.
    """
    if scale != "series":
        return None
    found = series_of(X)
    if found is None:
        raise DataError(
            'scale="series" needs an index of several levels, the series of each row and then its time. Give X such a '
            "one, or another scale"
        )
    return found


def last_index_level(X: Any) -> Any:
    """The index of the rows within their series; None where X has none."""
    index = getattr(X, "index", None)
    return index.get_level_values(-1) if isinstance(index, pd.MultiIndex) else index


def column_names(X: Any) -> list[str]:
    """What the columns of X and its times are called."""
    if not isinstance(X, pd.DataFrame | pd.Series):
        return []
    columns, time = list(X.columns) if isinstance(X, pd.DataFrame) else [X.name], X.index.names[-1]
    if not all(isinstance(name, str) for name in columns):
        columns = list(default_column_names(len(columns)))
    return [*columns, time if isinstance(time, str) and time else "time"]


def unused_name(column: str, taken: list[str]) -> str:
    """A name that neither a column of X nor its times have."""
    while column in taken:
        column += "_"
    return column


def default_column_names(features: int) -> tuple[str, ...]:
    """What columns without names are called, as scikit-learn does."""
    return tuple(f"x{place}" for place in range(features))
