"""Which rows of anyone's own table a rolling origin trains, validates and tests with.

Of all rows the second half in time is tested, in pieces of equal size. A piece begins and ends at one time in all
series, so that no model has learned from what came later in another one.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.backtest import FIRST, VALIDATION
from lstm_ae.config import Series
from lstm_ae.data.grid import Grid
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.series import prepare, rows_of_part
from lstm_ae.data.telling import Zone
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.tasks.series.settling import require_even, settle_prepared

Numbers = NDArray[Any]


class Divided(NamedTuple):
    """A table up to the end of a fold's test.

    Args:
        config, data: as a training takes them.
        ids: names of the series.
        series: `(rows,)` that windows of the test part are cut from, places in `ids`.
        times: `(rows,)` of these, as in `Measurements`.
        places: `(rows,)` of these, where each row stands in the whole table; of use without times.
        zone: how times are told, as in `Measurements`.
    """

    config: Series
    data: Data
    ids: tuple[str, ...]
    series: NDArray[np.int32]
    times: Numbers
    places: Numbers
    zone: Zone


def begun(config: Series, folds: int, reading: Progress | None = None) -> tuple[Series, Measurements, tuple[str, ...]]:
    """The config with what it leaves open found in the first fold's rows, the table, and what was found, in words.

    Raises:
        ConfigError, DataError: as `roll` does.
    """
    if config.task != "forecast" or config.split_by == "series" or config.split != Series.split:
        raise ConfigError("backtest is for --task forecast and divides the rows itself. Leave out --split")
    table = read_measurements(config, reading)
    require_even(config, table)
    first = divided(config, table, 1, folds)
    source = first.data.source
    leaky = (f"LEAKY: {source.leaky}",) if source.leaky else ()
    return first.config, table, (*source.notes, *leaky)


def divided(config: Series, table: Measurements, number: int, folds: int) -> Divided:
    """The rows up to the end of a fold's test, divided so that the test holds its piece.

    Raises:
        ConfigError, DataError: as `roll` does.
    """
    low, high = edges(table, folds)[number - 1 : number + 1]

    def parts(grid: Grid) -> NDArray[np.int8]:
        order = _order(table, grid)
        known = order < low
        part = np.full(len(order), 2, np.int8)
        if known.any():
            ordered = np.sort(order[known])
            part[known] = order[known] >= ordered[int(len(ordered) * (1 - VALIDATION))]
        return part

    prepared = prepare(config, until(table, high), parts)
    settled = settle_prepared(config, prepared, folds=True)
    rows, _ = rows_of_part(prepared, 2)
    series, times = prepared.grid.series[rows], prepared.grid.times[rows]
    places = np.searchsorted(table.series, series) + times if table.layout.time is None else times
    return Divided(*settled, table.ids, series, times, places, table.zone)


def edges(table: Measurements, folds: int) -> Numbers:
    """Where each piece begins, and the end of the last, in the order that rows are divided by: `(folds + 1,)`.

    Raises:
        DataError: a piece without rows.
    """
    order = np.sort(_order(table, table))
    begins = order[np.linspace(len(order) * FIRST, len(order), folds + 1)[:-1].astype(int)]
    found: Numbers = np.append(begins, order[-1] + 1)
    if (np.diff(found) <= 0).any():
        raise DataError(f"{table.name} holds too few times for {folds} folds; lower --folds")
    return found


def _order(table: Measurements, rows: Measurements | Grid) -> Numbers:
    """The times of rows; without times how far each is in its series, from 0 to 1."""
    if table.layout.time is not None:
        return rows.times
    found: Numbers = rows.times / np.bincount(table.series, minlength=len(table.ids))[rows.series]
    return found


def until(table: Measurements, end: float) -> Measurements:
    """The rows before an edge."""
    kept = _order(table, table) < end
    labels = None if table.labels is None else table.labels[kept]
    return table._replace(
        series=table.series[kept],
        times=table.times[kept],
        values=table.values[kept],
        labels=labels,
        lines=table.lines[kept],
    )
