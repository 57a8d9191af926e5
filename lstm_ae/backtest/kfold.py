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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.backtest.folds import FoldData, train_part
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
    folder = KfoldDirectory(out)
    with folder.claim(about):
        remaining = list(range(len(every)))
        rounds: dict[int, list[list[float]]] = {number: [] for number in remaining}
        versions: list[dict[str, str]] = []
        for turn in (0, 1):
            settings_left = [every[number] for number in remaining]
            results, theirs = _round(config, panel, settings_left, remaining, folds, turn, folder, observer)
            versions += theirs
            for number, losses in zip(remaining, results, strict=True):
                rounds[number].append(losses)
            remaining.sort(key=lambda number: float(np.mean(rounds[number][-1])))
            if turn == 0:
                remaining = sorted(remaining[: second_round_settings(len(every), keep)])
        order = sorted(rounds, key=lambda number: (-len(rounds[number]), float(np.mean(rounds[number][-1]))))
        settings = [KfoldSetting(every[number], rounds[number]) for number in order]
        winner = _winner(config.with_values(settings[0].values), panel, out, command, observer)
        note = describe_other_versions([*versions, winner.about().get("versions") or {}], "trainings")
        return KfoldResult(settings, winner, [note] if note else [])


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


def _round(
    config: Snp,
    panel: Panel,
    settings: Sequence[JsonObject],
    numbers: Sequence[int],
    folds: int,
    turn: int,
    folder: KfoldDirectory,
    observer: FoldObserver,
) -> tuple[list[list[float]], list[dict[str, str]]]:
    """Return the best validation losses, `(settings, folds)`, and the versions of each training."""
    losses: list[list[float]] = [[] for _ in settings]
    versions = []
    window = max(values.get("window", config.window) for values in settings)
    for fold, rule in enumerate(kfold_blocks(panel, folds, window, turn)):
        loaded: dict[str, Data] = {}

        def load(tried: Snp, rule: SplitRule = rule, loaded: dict[str, Data] = loaded) -> FoldData:
            if tried.data_key not in loaded:
                loaded.clear()
                loaded[tried.data_key] = prepare_prices(tried, panel, rule)
            return FoldData(tried, loaded[tried.data_key])

        for index, (number, values) in enumerate(zip(numbers, settings, strict=True)):
            tried = config.with_values(values)
            part = train_part(
                folder,
                f"round-{turn + 1}-setting-{number + 1}-fold-{fold + 1}",
                ("val_loss", "data", "versions"),
                f"round {turn + 1}, fold {fold + 1} of {folds}, setting {index + 1} of {len(settings)}",
                partial(load, tried),
                _validation_loss,
                observer,
                # Settings are compared by the loss of an epoch, before a network is shrunk.
                shares=[1.0] * tried.networks,
            )
            versions.append(part["versions"])
            losses[index].append(math.inf if part["val_loss"] is None else float(part["val_loss"]))
    return losses, versions


def _validation_loss(fold_data: FoldData, model: "keras.Model", result: "TrainingResult") -> JsonObject:
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
