"""The scale of a table's training rows: one for all series, or one for each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.scaling import Scale, fixed, per_series, per_window, usable
from lstm_ae.data.windows import Split
from lstm_ae.errors import DataError


def scale_of_training(config: Reading, train: Split, table: Measurements, window: int, lines: int) -> Scale:
    """The scale of the training rows, NaN aside.

    Args:
        window: values that a column of a series must have for a scale of its own.
        lines: of a scale by series.

    Raises:
        DataError: a column without a value.
    """
    if config.scale == "none":
        return fixed()
    if config.scale == "window":
        return per_window(train.features)
    values = train.series
    for k, column in enumerate(table.layout.values):
        if np.isnan(values[:, k]).all():
            raise DataError(
                f"{table.name}: the column {column[:80]!r} has no value in the training part. Leave it out with "
                "--value-cols, or give another --split"
            )
    low: NDArray[Any]
    if config.scale == "minmax":
        low, width = np.nanmin(values, axis=0), np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    else:
        low = np.asarray(np.nanmean(values, axis=0, dtype=np.float64))
        width = np.asarray(np.nanstd(values, axis=0, dtype=np.float64))
    together = Scale("fixed", low[None].astype(np.float32), usable(width[None].astype(np.float32)))
    if train.company is None:
        return together
    return per_series(values, train.company, lines, together, window)


def lines_of(names: Sequence[str], ids: Sequence[str]) -> NDArray[np.int32]:
    """The place in `names` of each series, `(ids,)`; 0 where it has none."""
    places = {name: line for line, name in enumerate(names) if line}
    return np.array([places.get(name, 0) for name in ids], np.int32)
