"""Estimates of backtests and of k-fold selections, from one or two timed trainings."""

import time
from collections.abc import Iterable, Sequence

from lstm_ae.backtest import kfold, prices, tables
from lstm_ae.backtest.folds import BacktestPlan, FoldData
from lstm_ae.config import Config, Series, Snp
from lstm_ae.config.space import Axis
from lstm_ae.data.prices import prepare_prices
from lstm_ae.data.table_reader import Progress
from lstm_ae.data.windows import Data
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.searches import corner_settings, extreme_settings, measure_extremes
from lstm_ae.estimate.training import MEMORY, describe_patience, measure_training, training_work
from lstm_ae.files import as_json
from lstm_ae.formatting import format_count
from lstm_ae.studies import load_study

# Bytes of the result of a training in a k-fold selection.
RESULT_BYTES = 40


def estimate_backtest(config: Snp, folds: int, *, by: str = "time", refit: bool = True) -> CommandEstimate:
    """Estimate the cost of `lstm_ae.backtest.prices.backtest_prices` by timing its largest training.

    Args:
        config: the config.
        folds: number of folds.
        by: split by "time" or by "company".
        refit: whether each fold has its own training.

    Raises:
        ConfigError: the options are not valid for a backtest.
        DataError: the data is not sufficient.
    """
    return _estimate_plan("snp", prices.plan_backtest(config, folds, by=by, refit=refit), folds)


def estimate_table_backtest(config: Series, folds: int, progress: Progress | None = None) -> CommandEstimate:
    """Estimate the cost of `lstm_ae.backtest.tables.backtest_table` by timing its largest training.

    Args:
        config: the config.
        folds: number of folds.
        progress: reports the progress of reading the table.

    Raises:
        ConfigError: the options are not valid for a backtest.
        DataError: the data is not sufficient.
    """
    plan, _ = tables.plan_table_backtest(config, folds, progress)
    return _estimate_plan("series", plan, folds)


def _estimate_plan(study: str, plan: BacktestPlan, folds: int) -> CommandEstimate:
    """Estimate the cost of a backtest by timing its largest training and its test."""
    from lstm_ae.models.keras_network import KerasNetwork

    start = time.monotonic()
    works, windows = [], []
    largest: FoldData | None = None
    for number in range(1, folds + 1):
        rows = plan.load(number)
        works.append(training_work(rows.config, rows.data))
        windows.append(rows.data.test.samples)
        if largest is None or rows.data.train.samples > largest.data.train.samples:
            largest = rows
    assert largest is not None
    prepare_seconds = time.monotonic() - start
    works = works if plan.refit else works[:1]
    measured = measure_training(largest.config, largest.data, finish=False)
    model = KerasNetwork(load_study(study).build(largest.config, largest.data))
    start = time.monotonic()
    fold = plan.test((model, 1), largest, 1)
    # The model of each fold is traced again, which takes most of the time of a test, so all tests take about as long.
    tests = (time.monotonic() - start) * folds
    total = sum((measured.pace.of(work) for work in works), Duration(0, 0))
    steps = _format_range(work.networks * work.epochs * work.steps for work in works)
    parts = (
        EstimatePart(
            "prepare", f"the windows of {format_count(folds, 'fold')}", Duration(prepare_seconds, prepare_seconds)
        ),
        EstimatePart("train", f"{format_count(len(works), 'training')} of {steps} steps", total),
        EstimatePart(
            "test", f"{format_count(folds, 'test')} on {_format_range(windows)} windows", Duration(tests, tests)
        ),
    )
    disk = folds * len(as_json(fold._asdict()))
    notes = (*describe_patience(largest.config), MEMORY)
    return CommandEstimate(parts, peak_memory(), disk, measured.states, notes)


def _format_range(numbers: Iterable[int]) -> str:
    found = list(numbers)
    low, high = min(found), max(found)
    return f"{low:,} to {high:,}" if low < high else f"{low:,}"


def estimate_kfold(config: Snp, axes: Sequence[Axis], folds: int, *, keep: float = 0.5) -> CommandEstimate:
    """Estimate the cost of `lstm_ae.backtest.kfold.kfold` by timing its smallest and its largest setting.

    Args:
        config: values of the options that are not searched.
        axes: the searched options.
        folds: number of folds.
        keep: share of the settings in the second round.

    Raises:
        ConfigError: the options are not valid for a k-fold selection.
        DataError: the data is not sufficient.
    """
    panel, settings = kfold.plan_kfold(config, axes)
    configs = [config.with_values(values) for values in settings]
    widest = max(one.window for one in configs)
    first_block = next(kfold.kfold_blocks(panel, folds, widest, 0))

    def load(one: Config) -> Data:
        assert isinstance(one, Snp)
        return prepare_prices(one, panel, first_block)

    small, large = extreme_settings(corner_settings(config, axes), load)
    largest, smallest = measure_extremes(small, large, load)
    low, high = (measured.pace.of(measured.work) for measured in (smallest, largest))
    trainings = (len(settings) + kfold.second_round_settings(len(settings), keep)) * folds
    each = Duration((low.usual + high.usual) / 2, max(low.slowest, high.slowest))
    how = f"{format_count(trainings, 'training')} of {low.usual:.3g} to {high.usual:.3g} s, in two rounds"
    parts = (
        EstimatePart("train", how, each * trainings),
        EstimatePart("winner", "train, evaluate, draw, and save it", each + largest.finish),
    )
    notes = ("settings are assumed to lie between the smallest and the largest", *describe_patience(config), MEMORY)
    return CommandEstimate(parts, peak_memory(), largest.run + trainings * RESULT_BYTES, 2 * largest.state, notes)
