"""Folds of forecasters of tables: rolling origins.

The second half of the rows in time is tested in blocks of equal size. A block starts and ends at the same time in all
series, so that no model is trained on later rows of another series.
"""

import dataclasses
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.backtest.folds import (
    FIRST,
    VALIDATION,
    BacktestPlan,
    Fold,
    FoldData,
    TrainedModel,
    average_by_moment,
)
from lstm_ae.config import Series
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import prepare_table, take_split
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.time_zones import format_time
from lstm_ae.data.windows import hash_panel
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.evaluation import Evaluation
from lstm_ae.forecasting import metrics
from lstm_ae.forecasting.baselines import fit_table_baselines
from lstm_ae.search.plan import require_no_refit
from lstm_ae.studies.series.defaults import complete_config, require_regular


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
    completed = complete_config(config, prepared, folds=True)
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


def plan_table_backtest(config: Series, folds: int, reading: Progress | None = None) -> BacktestPlan:
    """Read the table and plan the folds: each block of the second half of the rows is tested after all earlier rows.

    Blocks start at the same time in all series, or without times at the same relative position. Omitted options are
    inferred from the first fold's rows. The first forecasts of a block read the last window before it.

    Args:
        config: config of a forecaster of tables.
        folds: number of folds.
        reading: called while the table is read.

    Raises:
        ConfigError: incompatible options.
        DataError: too few rows.
    """
    require_no_refit(config)
    config, table, notes = start_backtest(config, folds, reading)
    assert config.horizon is not None
    return BacktestPlan(
        {"config": config.to_dict(), "data": hash_panel(table), "folds": folds},
        lambda number: split_fold(config, table, number, folds),
        partial(test_table_fold, table),
        naive="baseline",
        steps=config.horizon,
        notes=("found in the rows of fold 1, and so for all folds:", *(f"  {note}" for note in notes)),
    )


def test_table_fold(table: Panel, trained: TrainedModel, fold_data: FoldData, number: int) -> Fold:
    """Test a model on a fold.

    Args:
        table: the whole table.
        trained: a trained model.
        fold_data: data of the fold.
        number: number of the fold, from 1.

    Raises:
        DataError: no forecast has actual values.
    """
    (model, epoch), data, rows = trained, fold_data.data, fold_data.rows
    assert rows is not None
    steps = metrics.past_steps(model)
    fitted = fit_table_baselines(data, steps)
    quantiles = metrics.calibrate_table_intervals(model, data, fitted)
    errors = metrics.table_errors(model, data, data.test, fitted, quantiles)
    if not errors.known.any():
        raise DataError(
            f"Fold {number}: all values after its windows are missing. Reduce --folds", code=Code.TOO_FEW_ROWS
        )
    columns = metrics.skill_by_column(errors, data.feature_names, fitted.seasons)
    verdict = metrics.judge_forecasts(errors, data.feature_names)
    evaluation = Evaluation(
        {"test": metrics.table_metrics(errors)}, {"test": verdict}, columns={"test": columns}
    ).as_json()
    made, time = data.test.starts + steps - 1, data.test.time
    ends = rows.times[made]
    first, last = (
        str(end) if time is None and rows.zone is None else format_time(int(end), rows.zone)
        for end in (ends.min(), ends.max())
    )
    names = {"": "model", errors.naive: "baseline"}
    moments = errors.moments if time is not None else ends
    if table.layout.time is None:
        # The number of the row in the table, since other series have rows of the same numbers.
        moments = np.searchsorted(table.series, rows.series[made]) + ends
    forecast = set(rows.series[made[errors.known]].tolist())
    averages = average_by_moment(errors, moments, names)
    # The folds may differ in the naive baseline, so the error of persistence makes all of them comparable.
    averages["errors"].setdefault("persistence", averages["errors"]["baseline"])
    return Fold(
        number,
        first,
        last,
        len(forecast),
        data.test.samples,
        epoch,
        evaluation,
        errors.naive,
        **averages,
        left_out=[name for line, name in enumerate(rows.ids) if line not in forecast],
    )
