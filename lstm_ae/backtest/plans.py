"""Plans of backtests: rolling origins of prices and of tables.

The second half of the days, or of the rows in time, is tested in blocks of equal size. A block starts and ends at the
same time in all series, so that no model is trained on later rows of another series.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.backtest.folds import FIRST, VALIDATION, BacktestPlan, FoldData, FoldForecasts
from lstm_ae.config import Config, Series, Snp
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import prepare_table, take_split
from lstm_ae.data.prices import prepare_prices, read_prices, select_prices
from lstm_ae.data.split import SplitRule, split_by_day
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.time_zones import format_time
from lstm_ae.data.windows import hash_panel
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.forecasting.metrics import ForecastErrors
from lstm_ae.json_types import JsonObject
from lstm_ae.studies.networks import SHORT_TRAINING_NOTE, choose_networks
from lstm_ae.studies.series.defaults import complete_config, require_regular


def plan_backtest(config: Series | Snp, folds: int, reading: Progress | None = None) -> BacktestPlan:
    """Read the table and plan the folds: each block of the second half of the rows is tested after all earlier rows.

    Blocks start at the same time in all series, or without times at the same relative position. Omitted options are
    inferred from the first fold's rows. The first forecasts of a block read the last window before it.

    Args:
        config: config of a forecaster.
        folds: number of folds.
        reading: called while the table is read.

    Raises:
        ConfigError: incompatible options.
        DataError: too few rows.
    """
    if isinstance(config, Snp):
        config, table, load = _start_price_backtest(config, folds)
        return BacktestPlan(_identify(config, table, folds), load, describe_price_forecasts, steps=1)
    config, table, notes = start_backtest(config, folds, reading)
    assert config.horizon is not None
    return BacktestPlan(
        _identify(config, table, folds),
        partial(split_fold, config, table, folds=folds),
        partial(describe_table_forecasts, table),
        steps=config.horizon,
        notes=("found in the rows of fold 1, and so for all folds:", *(f"  {note}" for note in notes)),
    )


def _identify(config: Config, table: Panel, folds: int) -> JsonObject:
    return {"config": config.to_dict(), "data": hash_panel(table), "folds": folds}


def _start_price_backtest(config: Snp, folds: int) -> tuple[Snp, Panel, Callable[[int], FoldData]]:
    """Read the prices; return the complete config, the prices, and the function that returns the data of a fold.

    Raises:
        ConfigError: incompatible options.
        DataError: too few days.
    """
    if config.goal != "predict" or config.split != "time":
        raise ConfigError(
            "backtest is for forecasters and defines its own splits. Omit --goal and --split",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    if config.scaling == "report":
        raise ConfigError(
            "--scale report is fitted on the days of all splits, which leaks. Use another --scale",
            code=Code.CONFLICTING_OPTIONS,
        )
    panel = select_prices(config, read_prices(config))
    rules = list(_origins(panel, folds, config))
    notes: tuple[str, ...] = ()
    if config.seeds is None:
        # All folds have the number of networks of the first.
        config, _ = choose_networks(config, prepare_prices(config, panel, rules[0]))
        notes = (SHORT_TRAINING_NOTE,) if config.networks > 1 else ()
    complete = config

    def load(number: int) -> FoldData:
        data = prepare_prices(complete, panel, rules[number - 1])
        return FoldData(complete, data._replace(source=data.source._replace(notes=(*data.source.notes, *notes))))

    return complete, panel, load


def _origins(panel: Panel, folds: int, config: Snp) -> Iterator[SplitRule]:
    """Yield the splits of consecutive test blocks; the window before each block is input only, not training data."""
    days = np.unique(panel.days)
    edges = np.linspace(len(days) * FIRST, len(days), folds + 1).astype(int)
    if (np.diff(edges) < 1).any():
        raise DataError(
            f"{panel.name} has {len(days)} days, too few for {folds} folds. Reduce --folds",
            code=Code.TOO_FEW_ROWS,
        )
    for first, last in itertools.pairwise(edges):
        known = max(first - config.window, 0)
        validation = int(known * (1 - VALIDATION))
        part_of = np.full(len(days), -1, np.int8)
        part_of[:known], part_of[:validation] = 1, 0
        part_of[max(first - config.window, 0) : last] = 2
        yield split_by_day(days, part_of)


def describe_price_forecasts(fold_data: FoldData, errors: ForecastErrors) -> FoldForecasts:
    """Return the days and the number of companies of the forecasts of a fold."""
    test = fold_data.data.test
    assert test.time is not None
    assert test.line is not None
    last = test.starts + test.span - 1
    days = test.time[last]
    return FoldForecasts(str(days.min()), str(days.max()), len(np.unique(test.line[last])), days)


def start_backtest(
    config: Series, folds: int, reading: Progress | None = None
) -> tuple[Series, Panel, tuple[str, ...]]:
    """Read the table and infer omitted options from the first fold's rows, except the seasons of the baseline.

    Each fold chooses the seasons on its own validation split, as a training does.

    Args:
        config: config of a forecaster of tables.
        folds: number of folds.
        reading: called while the table is read.

    Returns:
        The complete config, the table, and notes on the inferred options.

    Raises:
        ConfigError: incompatible options.
        DataError: too few rows.
    """
    if config.task != "forecast" or config.split_by == "series" or config.split != Series.split or config.test:
        raise ConfigError(
            "backtest is for --task forecast and defines its own splits. Omit --split and --test",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    table = read_panel(config, reading)
    require_regular(config, table)
    first = split_fold(config, table, 1, folds)
    assert isinstance(first.config, Series)
    source = first.data.source
    leaky = (f"LEAKY: {source.leaky}",) if source.leaky else ()
    completed = dataclasses.replace(first.config, season=config.season)
    return completed, table, (*source.notes, *leaky)


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
    low, high = fold_edges(table, folds)[number - 1 : number + 1]

    def splits(grid: Panel) -> NDArray[np.int8]:
        order = _order(table, grid)
        known = order < low
        split = np.full(len(order), 2, np.int8)
        if known.any():
            ordered = np.sort(order[known])
            split[known] = order[known] >= ordered[int(len(ordered) * (1 - VALIDATION))]
        return split

    prepared = prepare_table(config, rows_until(table, high), splits)
    completed = complete_config(config, prepared)
    return FoldData(*completed, take_split(prepared, 2))


def fold_edges(table: Panel, folds: int) -> Array:
    """Return the start of each test block and the end of the last one, `(folds + 1,)` in the units of `_order`.

    Raises:
        DataError: a block without rows.
    """
    order = np.sort(_order(table, table))
    begins = order[np.linspace(len(order) * FIRST, len(order), folds + 1)[:-1].astype(int)]
    edges: Array = np.append(begins, order[-1] + 1)
    if (np.diff(edges) <= 0).any():
        raise DataError(f"{table.name} has too few times for {folds} folds. Reduce --folds", code=Code.TOO_FEW_ROWS)
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


def describe_table_forecasts(table: Panel, fold_data: FoldData, errors: ForecastErrors) -> FoldForecasts:
    """Return the times, or without times the rows, of the forecasts of a fold, and its series.

    Args:
        table: the whole table.
        fold_data: data of the fold.
        errors: errors of its forecasts.
    """
    config, data, rows = fold_data
    assert isinstance(config, Series)
    assert config.window is not None
    assert rows is not None
    made, time = data.test.starts + config.window - 1, data.test.time
    ends = rows.times[made]
    first, last = (
        str(end) if time is None and rows.zone is None else format_time(int(end), rows.zone)
        for end in (ends.min(), ends.max())
    )
    moments = errors.moments if time is not None else ends
    if table.layout.time is None:
        # The number of the row in the table, since other series have rows of the same numbers.
        moments = np.searchsorted(table.series, rows.series[made]) + ends
    forecast = set(rows.series[made[errors.known]].tolist())
    left_out = [name for line, name in enumerate(rows.ids) if line not in forecast]
    return FoldForecasts(first, last, len(forecast), moments, left_out)
