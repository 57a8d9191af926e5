"""The two halves of a trained autoencoder, row by row: the code of every row, and every row given back.

The code of a row is that of the window that ends with it: nothing later takes part, so that it can be had at once as
rows come in. A row given back is the mean over all windows in which it stands, as its score is.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ae.anomaly.normal import BATCH, Adding, blocks, score_rows, stretches
from lstm_ae.anomaly.scores import averages
from lstm_ae.data.grid import Grid
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.halves import Halves, empty

Numbers = NDArray[Any]
Floats = NDArray[np.float32]


def encoded(halves: Halves, grid: Grid) -> Floats:
    """The code of the window that ends with each row, `(rows, code)`; NaN where a window would begin before its
    segment, or holds no value."""
    found, window = np.full((len(grid.values), halves.code), np.nan, np.float32), halves.window
    for first, end in stretches(grid.segment, window):
        for place in blocks(first, end, window):
            rows = grid.values[place]
            nothing = empty(rows, window)[:, None]
            found[place.start + window - 1 : place.stop] = np.where(nothing, np.float32(np.nan), halves.encode(rows))
    return found


def decoded(halves: Halves, codes: Numbers, segment: Numbers) -> Floats:
    """Rows given back from codes as `encoded` lays them out: `(rows, code)` to `(rows, features)`.

    Raises:
        ConfigError: the model scales each window by its own range.
    """
    decode = halves.decode
    if decode is None:
        raise ConfigError(
            "Codes of a model with --scale window do not tell the size of what they stand for; reconstruct the rows "
            "themselves, or train with --scale standard"
        )
    found = np.full((len(codes), halves.features), np.nan, np.float32)
    for first, end in stretches(segment, halves.window):
        ends = range(first + halves.window - 1, end, BATCH)
        found[first:end] = averages(decode(codes[start : min(start + BATCH, end)]) for start in ends)
    return found


def reconstructed(halves: Halves, grid: Grid) -> Floats:
    """Every row given back, `(rows, features)`, missing values too; NaN where a row stands in no window."""
    rows = score_rows(halves.rebuild, grid.values, grid.segment, halves.window, smooth=1)
    return rows.astype(np.float32)


def mean_squared_error(errors: Adding, grid: Grid, window: int) -> float:
    """The mean squared error of all windows, in scaled values, as a run tells it of its test part.

    Args:
        errors: of the windows at every row of some rows, of a model or of its baseline.

    Raises:
        DataError: no window holds a value.
    """
    total = count = 0.0
    for first, end in stretches(grid.segment, window):
        for place in blocks(first, end, window):
            added = errors(grid.values[place])
            total, count = total + added.sums.sum(), count + added.counts.sum()
    if not count:
        raise DataError(f"No window of {window} rows holds a value, so there is no error to tell; give other rows")
    return float(total / count)
