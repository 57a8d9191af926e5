"""Plans of backtests: rolling origins of prices and of tables.

The second half of the days, or of the rows in time, is tested in blocks of equal size. A block starts and ends at the
same time in all series, so that no model is trained on later rows of another series.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.backtest.folds import UNTESTED_SHARE, VALIDATION_SHARE, BacktestPlan, FoldData
from lstm_ae.config import Series, Snp
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import prepare_table, take_split
from lstm_ae.data.prices import read_prices, select_prices
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.windows import hash_panel
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.studies.networks import choose_networks
from lstm_ae.studies.series.defaults import complete_config, require_regular
from lstm_ae.studies.snp import load


def plan_backtest(config: Series | Snp, folds: int, reading: Progress | None = None) -> BacktestPlan:
    """Read the table and plan the folds: each block of the second half of the rows is tested after all earlier rows.

    Blocks start at the same time in all series, or without times at the same relative position. Omitted options are
    inferred from the first fold's rows, except the seasons of the baseline: each fold chooses them on its own
    validation split, as a training does. The first forecasts of a block read the last window before it.

    Args:
        config: config of a forecaster.
        folds: number of folds.
        reading: called while the table is read.

    Raises:
        ConfigError: incompatible options.
        DataError: too few rows.
    """
    _require_own_splits(config)
    if isinstance(config, Snp):
        table = select_prices(config, read_prices(config))
        split: Callable[..., FoldData] = split_prices
    else:
        table, split = read_panel(config, reading), split_fold
        require_regular(config, table)
    first = split(config, table, 1, folds)
    # Each fold has a season of its own.
    completed = first.config.with_values({"season": config.season} if isinstance(config, Series) else {})
    source = first.data.source
    leaky = [f"LEAKY: {source.leaky}"] if source.leaky else []
    return BacktestPlan(
        {"config": completed.to_dict(), "data": hash_panel(table), "folds": folds},
        table,
        partial(split, completed, table, folds=folds),
        getattr(completed, "horizon", 1),
        (
            f"data of fold 1: {source.text} (license: {source.license})",
            "inferred from the rows of fold 1, used for all folds:",
            *(f"  {note}" for note in (*source.notes, *leaky)),
        ),
    )


def _require_own_splits(config: Series | Snp) -> None:
    """Raise `ConfigError` unless a config is that of a forecaster and leaves its splits to the backtest."""
    if isinstance(config, Snp):
        fits = config.goal == "predict" and config.split == "time" and config.scaling != "report"
        which, options = "forecasters", "--goal, --split, and --scale report"
    else:
        fits = config.task == "forecast" and config.split_by != "series"
        fits &= config.split == Series.split and not config.test
        which, options = "--task forecast", "--split and --test"
    if not fits:
        raise ConfigError(
            f"backtest is for {which} and defines its own splits. Omit {options}", code=Code.OPTION_NOT_APPLICABLE
        )


def split_prices(config: Snp, table: Panel, number: int, folds: int) -> FoldData:
    """Return the data of a fold of prices; the window before its block is input only, not training data.

    Args:
        config: config of a forecaster of prices.
        table: the selected prices.
        number: number of the fold, from 1.
        folds: number of folds.

    Raises:
        ConfigError: incompatible options.
        DataError: too few days.
    """
    days = np.unique(table.times)
    low, high = fold_edges(table.name, days, folds)[number - 1 : number + 1]
    known = max(int(np.searchsorted(days, low)) - config.window, 0)
    ends = days[[int(known * (1 - VALIDATION_SHARE)), known]]

    def splits(panel: Panel) -> NDArray[np.int8]:
        split = np.searchsorted(ends, panel.times, side="right")
        return np.where(panel.times < high, split, -1).astype(np.int8)

    completed, data = choose_networks(config, load(config, table, splits))
    return FoldData(completed, data, data.test.times([config.window - 1])[:, 0].astype(np.int64))


def split_fold(config: Series, table: Panel, number: int, folds: int) -> FoldData:
    """Return the rows up to the end of a fold's test block, split into training, validation, and test.

    Args:
        config: config of a forecaster of tables.
        table: the whole table.
        number: number of the fold, from 1.
        folds: number of folds.

    Raises:
        ConfigError: incompatible options.
        DataError: too few rows.
    """
    low, high = fold_edges(table.name, _order(table, table), folds)[number - 1 : number + 1]

    def splits(grid: Panel) -> NDArray[np.int8]:
        order = _order(table, grid)
        known = order < low
        split = np.full(len(order), 2, np.int8)
        if known.any():
            ordered = np.sort(order[known])
            split[known] = order[known] >= ordered[int(len(ordered) * (1 - VALIDATION_SHARE))]
        return split

    prepared = prepare_table(config, rows_until(table, high), splits)
    completed, data = complete_config(config, prepared)
    rows = take_split(prepared, 2)
    return FoldData(completed, data, rows.times[data.test.starts + prepared.window - 1])


def fold_edges(name: str, order: Array, folds: int) -> Array:
    """Return the start of each test block and the end of the last one, `(folds + 1,)` in the units of the order.

    Args:
        name: name of the table.
        order: positions of the rows in time, see `_order`.
        folds: number of folds.

    Raises:
        DataError: a block without rows.
    """
    order = np.sort(order)
    begins = order[np.linspace(len(order) * UNTESTED_SHARE, len(order), folds + 1)[:-1].astype(int)]
    edges: Array = np.append(begins, order[-1] + 1)
    if (np.diff(edges) <= 0).any():
        raise DataError(f"{name} has too few times for {folds} folds. Reduce --folds", code=Code.TOO_FEW_ROWS)
    return edges


def _order(table: Panel, rows: Panel) -> Array:
    """Return the times of rows; without times, their relative position in their series, from 0 to 1."""
    if table.layout.time is not None:
        return rows.times
    positions: Array = rows.times / np.bincount(table.series, minlength=len(table.ids))[rows.series]
    return positions


def rows_until(table: Panel, end: float) -> Panel:
    """Return the rows before an edge of `fold_edges`."""
    return table.take(_order(table, table) < end)
