"""What a backtest or a choice by folds takes: one training of it is timed, and all of them are counted."""

import time
from collections.abc import Sequence

from lstm_ae import backtest, kfold, origins, rolling
from lstm_ae.config import Config, Series, Snp
from lstm_ae.data.measurements import Progress
from lstm_ae.data.prices import prepare
from lstm_ae.data.windows import Data
from lstm_ae.estimate.durations import Duration, Estimate, Part
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.searches import SECONDS, corners, extremes
from lstm_ae.estimate.training import MEMORY, measure, of_patience, work_of
from lstm_ae.files import as_json
from lstm_ae.space import Axis
from lstm_ae.tasks import task
from lstm_ae.words import count

# Bytes of what is kept of a training in a choice by folds.
KEPT = 40


def of_backtest(config: Snp, folds: int, *, by: str = "time", refit: bool = True) -> Estimate:
    """What `lstm_ae.backtest.backtest` takes. The largest of its trainings is timed.

    Raises:
        ConfigError, DataError: as a backtest does.
    """
    quotes, every = backtest.planned(config, folds, by=by, refit=refit)
    began = time.monotonic()
    works, windows = [], []
    largest: Data | None = None
    for rows in every:
        data = prepare(config, quotes, rows, held_out=by == "company")
        works.append(work_of(config, data))
        windows.append(data.test.samples)
        if largest is None or data.train.samples > largest.train.samples:
            largest = data
    assert largest is not None
    prepared = time.monotonic() - began
    works = works if refit else works[:1]
    found = measure(config, largest, finish=False)
    model = task("snp").build(config, largest)
    began = time.monotonic()
    fold = backtest.tested((model, 1), largest, 1)
    # Each fold's model is traced anew, so that a test takes hardly less where there is less to test.
    tests = (time.monotonic() - began) * folds
    steps = [work.epochs * work.steps for work in works]
    of_steps = f"{min(steps):,} to {max(steps):,}" if len(set(steps)) > 1 else f"{steps[0]:,}"
    whole = sum((found.pace.of(work) for work in works), Duration(0, 0))
    parts = (
        Part("prepare", f"the windows of {count(folds, 'fold')}", Duration(prepared, prepared)),
        Part("train", f"{count(len(works), 'training')} of {of_steps} steps", whole),
        Part("test", f"{count(folds, 'test')} on {min(windows):,} to {max(windows):,} windows", Duration(tests, tests)),
    )
    disk = folds * len(as_json(fold._asdict()))
    return Estimate(parts, peak_memory(), disk, 2 * found.state, (*of_patience(config), MEMORY))


def of_rolling(config: Series, folds: int, reading: Progress | None = None) -> Estimate:
    """What `lstm_ae.rolling.roll` takes. The last of its trainings, the largest, is timed.

    Raises:
        ConfigError, DataError: as a backtest does.
    """
    config, table, _ = origins.begun(config, folds, reading)
    began = time.monotonic()
    every = [origins.divided(config, table, number, folds) for number in range(1, folds + 1)]
    prepared = time.monotonic() - began
    works = [work_of(config, one.data) for one in every]
    last = every[-1]
    found = measure(last.config, last.data, finish=False)
    model = task("series").build(last.config, last.data)
    began = time.monotonic()
    fold = rolling.tested(last, model, 1, folds)
    tests = (time.monotonic() - began) * folds
    whole = sum((found.pace.of(work) for work in works), Duration(0, 0))
    steps = [work.epochs * work.steps for work in works]
    parts = (
        Part("prepare", f"the windows of {count(folds, 'fold')}", Duration(prepared, prepared)),
        Part("train", f"{count(folds, 'training')} of {steps[0]:,} to {steps[-1]:,} steps", whole),
        Part("test", f"{count(folds, 'test')} on {last.data.test.samples:,} windows", Duration(tests, tests)),
    )
    disk = folds * len(as_json(fold._asdict()))
    return Estimate(parts, peak_memory(), disk, 2 * found.state, (*of_patience(config), MEMORY))


def of_kfold(config: Snp, axes: Sequence[Axis], folds: int, *, keep: float = 0.5) -> Estimate:
    """What `lstm_ae.kfold.kfold` takes. The smallest and the largest setting are timed.

    Raises:
        ConfigError, DataError: as a choice by folds does.
    """
    quotes, every = kfold.planned(config, axes)
    configs = [config.with_values(values) for values in every]
    widest = max(one.window for one in configs)
    first_block = next(kfold.blocks(quotes, folds, widest, 0))

    def load(one: Config) -> Data:
        assert isinstance(one, Snp)
        return prepare(one, quotes, first_block)

    small, large = extremes(corners(config, axes), load)
    last = measure(large, load(large), seconds=SECONDS)
    first = last if small == large else measure(small, load(small), seconds=SECONDS, finish=False)
    one, other = (found.pace.of(found.work) for found in (first, last))
    trainings = (len(every) + kfold.kept(len(every), keep)) * folds
    each = Duration((one.usual + other.usual) / 2, max(one.slowest, other.slowest))
    told = f"{count(trainings, 'training')} of {one.usual:.3g} to {other.usual:.3g} s, in two rounds"
    parts = (
        Part("train", told, each * trainings),
        Part("winner", "trained as usual, measured, drawn and saved", each + last.finish),
    )
    notes = ("all settings are taken as between the smallest and the largest", *of_patience(config), MEMORY)
    return Estimate(parts, peak_memory(), last.run + trainings * KEPT, 2 * last.state, notes)
