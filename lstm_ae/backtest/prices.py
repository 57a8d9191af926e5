"""Folds of price forecasters: rolling origins, or held-out companies."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lstm_ae.backtest.folds import (
    FIRST,
    VALIDATION,
    BacktestPlan,
    Fold,
    FoldData,
    TrainedModel,
    average_by_moment,
)
from lstm_ae.config import Snp
from lstm_ae.data.panel import Panel
from lstm_ae.data.prices import prepare_prices, read_prices, select_prices
from lstm_ae.data.split import SplitRule, split_by_date, split_by_day
from lstm_ae.data.windows import Data, hash_panel
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.evaluation import Evaluation
from lstm_ae.forecasting.baselines import fit_price_baselines
from lstm_ae.forecasting.intervals import calibrate_price_intervals
from lstm_ae.forecasting.metrics import (
    judge_forecasts,
    mean_absolute_change,
    price_errors,
    price_metrics,
)
from lstm_ae.search.plan import require_no_refit
from lstm_ae.studies.networks import SHORT_TRAINING_NOTE, choose_networks
from lstm_ae.studies.snp.forecasting import forecast_one_day


def plan_price_backtest(config: Snp, folds: int, *, by: str = "time") -> BacktestPlan:
    """Read the prices and plan the folds.

    Args:
        config: config of a price forecaster.
        folds: number of folds.
        by: "time" for rolling origins, "company" to hold out companies.

    Raises:
        ConfigError: incompatible options.
        DataError: too few days or companies.
    """
    if by == "company" and config.scaling == "company":
        raise ConfigError(
            "--scale company has no scale for held-out companies. Use another --scale or --split-by time",
            code=Code.CONFLICTING_OPTIONS,
        )
    require_no_refit(config)
    panel = read_fold_prices(config, "backtest")
    rules = list(_companies(panel, folds, config.seed) if by == "company" else _origins(panel, folds, config))

    notes: tuple[str, ...] = ()

    def prepare(number: int) -> Data:
        data = prepare_prices(config, panel, rules[number - 1], held_out=by == "company")
        return data._replace(source=data.source._replace(notes=(*data.source.notes, *notes)))

    if config.seeds is None:
        # All folds have the number of networks of the first.
        config, _ = choose_networks(config, prepare(1))
        notes = (SHORT_TRAINING_NOTE,) if config.networks > 1 else ()
    return BacktestPlan(
        {
            "config": config.to_dict(),
            "data": hash_panel(panel),
            "folds": folds,
            "by": by,
        },
        lambda number: FoldData(config, prepare(number)),
        test_price_fold,
        naive="persistence",
        steps=1,
    )


def read_fold_prices(config: Snp, command: str) -> Panel:
    """Return the selected prices of a command that defines its own splits.

    Raises:
        ConfigError: the config defines splits as well, or its scale is fitted on the days of all splits.
        DataError: as in `read_prices`.
    """
    if config.goal != "predict" or config.split != "time":
        raise ConfigError(
            f"{command} is for forecasters and defines its own splits. Omit --goal and --split",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    if config.scaling == "report":
        raise ConfigError(
            "--scale report is fitted on the days of all splits, which leaks. Use another --scale",
            code=Code.CONFLICTING_OPTIONS,
        )
    return select_prices(config, read_prices(config))


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


def _companies(panel: Panel, folds: int, seed: int) -> Iterator[SplitRule]:
    """Yield splits by date whose test days belong to companies without training days."""
    order = np.random.default_rng(seed).permutation(np.unique(panel.series))
    if folds > len(order):
        raise DataError(
            f"{panel.name} has {len(order)} selected companies, too few for {folds} folds. Reduce --folds",
            code=Code.TOO_FEW_ROWS,
        )
    for group in np.array_split(order, folds):
        names = {panel.ids[number] for number in group}

        def rule(rows: Panel, names: set[str] = names) -> NDArray[np.int8]:
            held_out = np.array([symbol in names for symbol in rows.ids])[rows.series]
            split = split_by_date(rows)
            return np.where((split == 2) == held_out, split, -1).astype(np.int8)

        yield rule


def test_price_fold(trained: TrainedModel, fold_data: FoldData, number: int) -> Fold:
    """Test a model on a fold.

    Args:
        trained: a trained model.
        fold_data: data of the fold.
        number: number of the fold, from 1.
    """
    (model, epochs), data = trained, fold_data.data
    method = forecast_one_day(model, data.test.span - 1)
    fitted = fit_price_baselines(data, method.given, 1, with_open=method.with_open)
    found = price_errors(method, data, data.test, fitted, calibrate_price_intervals(method, data))
    errors, days = found.at(1), found.moments.astype("datetime64[D]")
    evaluation = Evaluation(
        {"test": price_metrics(found, mean_absolute_change(data))}, {"test": judge_forecasts(errors)}
    ).as_json()
    return Fold(
        number,
        str(days.min()),
        str(days.max()),
        len(np.unique(found.lines)),
        data.test.samples,
        epochs,
        evaluation,
        "persistence",
        **average_by_moment(errors, errors.moments, {"": "model"}),
    )
