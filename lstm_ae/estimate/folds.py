"""What a backtest or a choice by folds takes: one training of it is timed, and all of them are counted."""

import time
from collections.abc import Sequence

from lstm_ae.backtest import kfold, prices, tables
from lstm_ae.config import Config, Series, Snp
from lstm_ae.config.space import Axis
from lstm_ae.data.measurements import Progress
from lstm_ae.data.prices import prepare_prices
from lstm_ae.data.windows import Data
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.searches import SECONDS, corner_settings, extreme_settings
from lstm_ae.estimate.training import MEMORY, describe_patience, measure_training, training_work
from lstm_ae.files import as_json
from lstm_ae.formatting import format_count
from lstm_ae.studies import load_study

# Bytes of what is kept of a training in a choice by folds.
KEPT = 40


def estimate_backtest(config: Snp, folds: int, *, by: str = "time", refit: bool = True) -> CommandEstimate:
    """What `lstm_ae.backtest.prices.backtest_prices` takes. The largest of its trainings is timed.

    Raises:
        ConfigError, DataError: as a backtest does.
    """
    quotes, every = prices.plan_backtest(config, folds, by=by, refit=refit)
    began = time.monotonic()
    works, windows = [], []
    largest: Data | None = None
    for rows in every:
        data = prepare_prices(config, quotes, rows, held_out=by == "company")
        works.append(training_work(config, data))
        windows.append(data.test.samples)
        if largest is None or data.train.samples > largest.train.samples:
            largest = data
    assert largest is not None
    prepared = time.monotonic() - began
    works = works if refit else works[:1]
    found = measure_training(config, largest, finish=False)
    model = load_study("snp").build(config, largest)
    began = time.monotonic()
    fold = prices.test_price_fold((model, 1), largest, 1)
    # Each fold's model is traced anew, so that a test takes hardly less where there is less to test.
    tests = (time.monotonic() - began) * folds
    steps = [work.epochs * work.steps for work in works]
    of_steps = f"{min(steps):,} to {max(steps):,}" if len(set(steps)) > 1 else f"{steps[0]:,}"
    whole = sum((found.pace.of(work) for work in works), Duration(0, 0))
    parts = (
        EstimatePart("prepare", f"the windows of {format_count(folds, 'fold')}", Duration(prepared, prepared)),
        EstimatePart("train", f"{format_count(len(works), 'training')} of {of_steps} steps", whole),
        EstimatePart(
            "test",
            f"{format_count(folds, 'test')} on {min(windows):,} to {max(windows):,} windows",
            Duration(tests, tests),
        ),
    )
    disk = folds * len(as_json(fold._asdict()))
    return CommandEstimate(parts, peak_memory(), disk, 2 * found.state, (*describe_patience(config), MEMORY))


def estimate_table_backtest(config: Series, folds: int, reading: Progress | None = None) -> CommandEstimate:
    """What `lstm_ae.backtest.tables.backtest_table` takes. The last of its trainings, the largest, is timed.

    Raises:
        ConfigError, DataError: as a backtest does.
    """
    config, table, _ = tables.start_backtest(config, folds, reading)
    began = time.monotonic()
    every = [tables.split_fold(config, table, number, folds) for number in range(1, folds + 1)]
    prepared = time.monotonic() - began
    works = [training_work(config, one.data) for one in every]
    last = every[-1]
    found = measure_training(last.config, last.data, finish=False)
    model = load_study("series").build(last.config, last.data)
    began = time.monotonic()
    fold = tables.test_table_fold(last, model, 1, folds)
    tests = (time.monotonic() - began) * folds
    whole = sum((found.pace.of(work) for work in works), Duration(0, 0))
    steps = [work.epochs * work.steps for work in works]
    parts = (
        EstimatePart("prepare", f"the windows of {format_count(folds, 'fold')}", Duration(prepared, prepared)),
        EstimatePart("train", f"{format_count(folds, 'training')} of {steps[0]:,} to {steps[-1]:,} steps", whole),
        EstimatePart(
            "test", f"{format_count(folds, 'test')} on {last.data.test.samples:,} windows", Duration(tests, tests)
        ),
    )
    disk = folds * len(as_json(fold._asdict()))
    return CommandEstimate(parts, peak_memory(), disk, 2 * found.state, (*describe_patience(config), MEMORY))


def estimate_kfold(config: Snp, axes: Sequence[Axis], folds: int, *, keep: float = 0.5) -> CommandEstimate:
    """What `lstm_ae.backtest.kfold.kfold` takes. The smallest and the largest setting are timed.

    Raises:
        ConfigError, DataError: as a choice by folds does.
    """
    quotes, every = kfold.plan_kfold(config, axes)
    configs = [config.with_values(values) for values in every]
    widest = max(one.window for one in configs)
    first_block = next(kfold.kfold_blocks(quotes, folds, widest, 0))

    def load(one: Config) -> Data:
        assert isinstance(one, Snp)
        return prepare_prices(one, quotes, first_block)

    small, large = extreme_settings(corner_settings(config, axes), load)
    last = measure_training(large, load(large), seconds=SECONDS)
    first = last if small == large else measure_training(small, load(small), seconds=SECONDS, finish=False)
    one, other = (found.pace.of(found.work) for found in (first, last))
    trainings = (len(every) + kfold.second_round_settings(len(every), keep)) * folds
    each = Duration((one.usual + other.usual) / 2, max(one.slowest, other.slowest))
    told = f"{format_count(trainings, 'training')} of {one.usual:.3g} to {other.usual:.3g} s, in two rounds"
    parts = (
        EstimatePart("train", told, each * trainings),
        EstimatePart("winner", "trained as usual, measured, drawn and saved", each + last.finish),
    )
    notes = ("all settings are taken as between the smallest and the largest", *describe_patience(config), MEMORY)
    return CommandEstimate(parts, peak_memory(), last.run + trainings * KEPT, 2 * last.state, notes)
