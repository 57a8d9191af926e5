"""The report's model selection: K-fold to drop weak settings, K-fold again on the rest, and a test of the winner.

The report shuffled its windows before splitting them. Here the folds are blocks of days before the test split, without
one window length of days on either side of the validation block (Bergmeir and Benitez 2012, "On the use of
cross-validation for time series predictor evaluation"). No fold contains a test day.
"""

import itertools
import math
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.backtest.folds import FoldData, FoldJob, FoldTask, train_parts
from lstm_ae.backtest.plans import read_fold_prices
from lstm_ae.config import Snp
from lstm_ae.config.space import Axis
from lstm_ae.data.panel import Panel
from lstm_ae.data.prices import prepare_prices
from lstm_ae.data.split import VALIDATION_END, SplitRule, split_by_day
from lstm_ae.data.windows import Data, hash_panel
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.experiment import resume, train
from lstm_ae.json_types import JsonObject
from lstm_ae.parallel import THIS_PROCESS, Engine
from lstm_ae.run import Run, describe_other_versions, installed_versions
from lstm_ae.search.plan import require_single_network
from lstm_ae.training.observer import NO_FOLD_OBSERVER, FoldObserver, ProgressObserver
from lstm_ae.workdir import Workdir

if TYPE_CHECKING:
    import keras

    from lstm_ae.training.loop import TrainingResult


class KfoldDirectory(Workdir):
    """Directory of a K-fold selection."""

    ABOUT = "kfold.json"


class KfoldSetting(NamedTuple):
    """Setting with its validation losses.

    Args:
        values: values of the searched options.
        rounds: best validation loss of each fold, per round; infinite if training diverged.
    """

    values: JsonObject
    rounds: list[list[float]]


class KfoldResult(NamedTuple):
    """Result of K-fold selection.

    Args:
        settings: all settings, the best first.
        winner: run of the best setting, evaluated on the test split.
        notes: notes on the trainings, such as different versions.
    """

    settings: list[KfoldSetting]
    winner: Run
    notes: list[str] = []


def kfold(
    config: Snp,
    axes: Sequence[Axis],
    folds: int,
    out: Path,
    *,
    keep: float = 0.5,
    command: str = "",
    observer: FoldObserver = NO_FOLD_OBSERVER,
    engine: Engine = THIS_PROCESS,
) -> KfoldResult:
    """Select the best of all combinations of listed option values.

    Args:
        config: config of a price forecaster.
        axes: options with lists of values.
        folds: number of folds.
        out: a new folder, or that of the same command to resume; completed trainings are not repeated.
        keep: share of the settings that reach the second round; at least one setting does.
        command: command to record in the winner's run.
        observer: receives the data and the progress of the trainings.
        engine: where the settings are trained; by default one after another in this process.

    Raises:
        ConfigError: no list of values, a range, an invalid combination of values, or a folder of another command.
        DataError: too few days for the folds.
    """
    panel, every = plan_kfold(config, axes)
    about = {
        "config": config.to_dict(),
        "data": hash_panel(panel),
        "axes": [axis.to_dict() for axis in axes],
        "folds": folds,
        "keep": keep,
    }
    settings, parts = [KfoldSetting(values, []) for values in every], list[JsonObject]()
    folder, remaining = KfoldDirectory(out), list(range(len(every)))
    task = FoldTask(folder, ("val_loss", "data", "versions"), _validation_loss)
    with folder.claim(about):
        for turn in (0, 1):
            window = max(every[number].get("window", config.window) for number in remaining)
            jobs = list[FoldJob]()
            for fold, rule in enumerate(kfold_blocks(panel, folds, window, turn), 1):
                data = _PriceFold(panel, rule)
                for place, number in enumerate(remaining, 1):
                    tried = config.with_values(every[number])
                    name = f"round-{turn + 1}-setting-{number + 1}-fold-{fold}"
                    title = f"round {turn + 1}, fold {fold} of {folds}, setting {place} of {len(remaining)}"
                    # Settings are compared by the loss of an epoch, before a network is shrunk.
                    shares = [1.0] * tried.networks
                    jobs.append(FoldJob(len(jobs), name, title, partial(data.load, tried), shares))
            losses: dict[int, list[float]] = {number: [] for number in remaining}
            for place, part in enumerate(train_parts(task, jobs, engine, observer)):
                parts.append(part)
                loss = math.inf if part["val_loss"] is None else float(part["val_loss"])
                losses[remaining[place % len(remaining)]].append(loss)
            for number in remaining:
                settings[number].rounds.append(losses[number])
            remaining.sort(key=lambda number: fmean(losses[number]))
            remaining = sorted(remaining[: second_round_settings(len(every), keep)])
        settings.sort(key=lambda setting: (-len(setting.rounds), fmean(setting.rounds[-1])))
        winner = _winner(config.with_values(settings[0].values), panel, out, command, observer)
        versions = [each.get("versions") or {} for each in (*parts, winner.about())]
        note = describe_other_versions(versions, "trainings")
        return KfoldResult(settings, winner, [note] if note else [])


class _PriceFold:
    """Data of the settings of a fold, which is kept for the next setting with the same options of the data."""

    def __init__(self, panel: Panel, rule: SplitRule) -> None:
        self.panel, self.rule = panel, rule
        self.loaded: dict[str, Data] = {}

    def load(self, config: Snp) -> FoldData:
        """Return the data of a setting."""
        if config.data_key not in self.loaded:
            self.loaded = {config.data_key: prepare_prices(config, self.panel, self.rule)}
        return FoldData(config, self.loaded[config.data_key])


def plan_kfold(config: Snp, axes: Sequence[Axis]) -> tuple[Panel, list[JsonObject]]:
    """Read the prices and return them with every valid combination of listed values.

    Raises:
        ConfigError: no list of values, a range, or an invalid combination of values.
    """
    if not axes or not all(axis.values for axis in axes):
        raise ConfigError(
            "kfold needs lists of values, such as --units 8,16 --learning-rate 0.01,0.003, not ranges",
            code=Code.SEARCH_SPACE,
        )
    require_single_network(config)
    names = [axis.name for axis in axes]
    every = [dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]
    for values in every:
        config.with_values(values)
    return read_fold_prices(config, "kfold"), every


def second_round_settings(settings: int, keep: float) -> int:
    """Return the number of settings in the second round.

    >>> second_round_settings(5, 0.5)
    3
    """
    return max(1, math.ceil(keep * settings))


def _winner(config: Snp, panel: Panel, out: Path, command: str, observer: FoldObserver) -> Run:
    run = Run(out / "winner")
    if run.finished:
        observer.prepared(run.about()["data"])
        return run
    title, data = "winner", prepare_prices(config, panel)
    observer.prepared(data.source._asdict())
    resumed = run.begun and run.about().get("versions") == installed_versions()
    if run.begun and not resumed:
        # Restart, since a training with two versions would not be reproducible.
        title = "winner, restarted with other versions"
        shutil.rmtree(run.directory)
    progress = ProgressObserver(partial(observer.progress, title))
    if resumed:
        return resume(run, config, data, observer=progress)
    return train(config, data, out=run.directory, command=command, observer=progress)


def _validation_loss(number: int, fold_data: FoldData, model: "keras.Model", result: "TrainingResult") -> JsonObject:
    return {"val_loss": result.best.get("val_loss")}


def kfold_blocks(panel: Panel, folds: int, window: int, turn: int) -> Iterator[SplitRule]:
    """Yield the splits of the folds: each block of days before the test split is the validation split once.

    In the second round (`turn` 1) the boundaries are shifted by half a block.

    Raises:
        DataError: too few days.
    """
    days = np.unique(panel.days)
    count = len(days) * VALIDATION_END // 100
    if count // folds <= window:
        raise DataError(
            f"{panel.name} has {count} days before the test split, too few for {folds} folds of more than "
            f"{window} days. Reduce --folds or --window",
            code=Code.TOO_FEW_ROWS,
        )
    shift = turn * count // (2 * folds)
    block = (np.arange(count) - shift) % count * folds // count
    for number in range(folds):
        inside = block == number
        near = np.convolve(inside, np.ones(2 * window + 1), "same") > 0
        part_of = np.full(len(days), 2, np.int8)
        part_of[:count] = np.where(inside, 1, np.where(near, -1, 0))
        # No gap is needed before the test split, since windows do not cross split boundaries.
        yield split_by_day(days, part_of)
