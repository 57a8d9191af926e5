"""Assign the rows of a panel to training, validation, and test."""

import datetime
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import BoolArray, Float64Array
from lstm_ae.config import Reading
from lstm_ae.data.panel import Panel, first_rows
from lstm_ae.data.time_zones import Elapsed, local_to_utc
from lstm_ae.errors import Code, ConfigError

SPLITS = ("training", "validation", "test")
TEST = SPLITS.index("test")

# Function that returns the split of each row of a panel: an index of `SPLITS`, or -1 for a row in no split.
SplitRule = Callable[[Panel], NDArray[np.int8]]


def assign_splits(config: Reading, grid: Panel) -> NDArray[np.int8]:
    """Return the split of each row of the grid, `(rows,)` int8 indices of `SPLITS`."""
    normal = _find_normal_rows(config, grid)
    shares = np.array(config.shares)
    if not config.tests:
        shares[2] = 0
    if normal is None:
        divided = np.ones(len(grid.series), bool)
    else:
        # The normal rows are divided between training and validation; all other rows are the test.
        divided, shares = normal, np.r_[shares[:2] / shares[:2].sum(), 0]
    cuts = np.cumsum(shares)[:2] / shares.sum()
    if config.split_by == "series":
        placed = draw_series_order(grid)[grid.series]
    else:
        counted = np.cumsum(divided)
        before = (counted - divided)[first_rows(grid.series)]
        rows = np.bincount(grid.series, weights=divided, minlength=len(grid.ids))[grid.series]
        placed = (counted - before - 0.5) / np.maximum(rows, 1)
    split = np.searchsorted(cuts, placed, side="right").astype(np.int8)
    if normal is not None:
        split = np.minimum(split, 1)
        split[~divided] = 2
    return split


def draw_series_order(table: Panel) -> Float64Array:
    """Return the position of each series in the order in which whole series are divided.

    The order is always the same. If each series has one label, the classes are spread evenly: the series are sorted by
    class and placed at multiples of the golden ratio modulo 1, so that consecutive series lie far apart.

    Returns:
        `(series,)` float64 in the interval (0, 1).
    """
    count = len(table.ids)
    order = np.random.default_rng(0).permutation(count)
    labels = find_series_labels(table)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
        order = order[np.argsort((np.arange(count) * (5**0.5 - 1) / 2) % 1)]
    position = np.empty(count)
    position[order] = (np.arange(count) + 0.5) / count
    return position


def find_series_labels(table: Panel) -> NDArray[np.int32] | None:
    """Return the label of each series, or None if a series has several labels or the table has none.

    Returns:
        `(series,)` int32, -1 for a series without a label.
    """
    if table.labels is None:
        return None
    known = table.labels >= 0
    series, labels = table.series[known], table.labels[known]
    series_labels = np.full(len(table.ids), -1, np.int32)
    series_labels[series] = labels
    return series_labels if (series_labels[series] == labels).all() else None


def split_by_date(panel: Panel) -> NDArray[np.int8]:
    """Return the split of each row, `(rows,)`; the days of all series are divided at the same dates."""
    days, at = np.unique(panel.days, return_inverse=True)
    return np.searchsorted(split_ends(len(days)), at, side="right").astype(np.int8)


def split_ends(count: int) -> list[int]:
    """Return where the training and validation splits of prices end among `count` days or windows: at 70% and 85%."""
    return [count * percentage // 100 for percentage in (70, 85)]


def _find_normal_rows(config: Reading, grid: Panel) -> BoolArray | None:
    """Return a mask of the rows within the ranges given as normal, or None if no range is given.

    Raises:
        ConfigError: if a range is not valid or no row is in any of them.
    """
    if not config.normal:
        return None
    normal = np.zeros(len(grid.times), bool)
    for text in config.normal:
        start, _, end = (piece.strip() for piece in text.partition(".."))
        low = _parse_bound(start, text, config, grid) if start else np.iinfo(np.int64).min
        high = _parse_bound(end, text, config, grid) if end else np.iinfo(np.int64).max
        if low >= high:
            raise ConfigError(f"--normal {text} ends before it starts. Pass START..END with START first")
        normal |= (grid.times >= low) & (grid.times < high)
    if not normal.any():
        raise ConfigError(
            f"--normal {', '.join(config.normal)} holds no row of {grid.name}. Pass a range within its times",
            code=Code.UNKNOWN_NAME,
        )
    return normal


def _parse_bound(text: str, whole: str, config: Reading, grid: Panel) -> int:
    """Return a bound of `--normal`: an ISO time, an elapsed time, or the number of a row."""
    expected = "times, as in 2014-04-01..2014-04-10 12:00"
    try:
        if grid.layout.time is None:
            expected = "row numbers, as in 0..5000, as the table has no times"
            return int(text)
        if isinstance(grid.zone, Elapsed):
            expected = f"numbers, as in 0..5000, as {grid.layout.time!r} holds elapsed ones"
            number = float(text) * grid.zone.size
            return math.ceil(number) if grid.layout.counts else round(number)
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--normal must be {expected}. Received: {whole}") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        return int(np.datetime64(moment, "ns").astype(np.int64))
    local = np.array([moment], "datetime64[ns]").astype(np.int64)
    if config.zone is not None and config.time_zone is not None:
        local = local_to_utc(local, config.zone)
    return int(local[0])


def required_splits(config: Reading) -> range:
    """Return the indices of `SPLITS` that must hold windows: all, or all but test if no rows are reserved for it."""
    return range(len(SPLITS) if config.tests else 2)
