"""Backtests: train and test a forecaster on one fold after another.

A single split by date measures a model in one period only. A rolling origin (Tashman 2000, "Out-of-sample tests of
forecasting accuracy") shows whether the result holds in others. `lstm_ae.backtest.plans` plans the folds of prices and
of tables; this module runs a plan, resumes it, and compares the forecasts of all folds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.config import Config
from lstm_ae.data.panel import Panel
from lstm_ae.data.windows import Data
from lstm_ae.errors import DivergedError
from lstm_ae.evaluation import Verdict, skill
from lstm_ae.experiment import fit_model, identity_in, remove_states
from lstm_ae.forecasting.metrics import ForecastErrors
from lstm_ae.json_types import JsonObject
from lstm_ae.models.network import Network
from lstm_ae.run import describe_other_versions, installed_versions
from lstm_ae.significance import against_each
from lstm_ae.training.observer import Progress, ProgressObserver
from lstm_ae.workdir import Workdir

# Share of the rows that is never tested, and share of the rows before a test that is the validation split.
FIRST, VALIDATION = 0.5, 0.15

TrainedModel = tuple[Network, int]
"""A model and the epoch of its weights."""


class Fold(NamedTuple):
    """Result of a fold; its fields are the content of the fold's file.

    Args:
        number: number of the fold, from 1.
        first: time or day of the first forecast as text, or the row of its origin in a table without times.
        last: that of the last forecast.
        series: number of forecast series.
        windows: number of test windows.
        epochs: epoch whose weights were tested.
        evaluation: content of `metrics.json` for the split "test".
        baseline: name of the naive baseline of the skill.
        moments: moments of the forecasts in ascending order: nanoseconds since 1970, or rows of a table without times.
        errors: mean squared scaled error per moment by predictor ("model", LINEAR_NAME, other names).
        counts: number of forecasts per moment.
        rounding: maximum rounding error of the model's error, per moment.
        left_out: names of the series without any forecast that has actual values.
        data: entries of a `lstm_ae.data.windows.Source`.
        versions: package versions.
    """

    number: int
    first: str
    last: str
    series: int
    windows: int
    epochs: int
    evaluation: JsonObject
    baseline: str
    moments: list[int]
    errors: dict[str, list[float]]
    counts: list[int]
    rounding: list[float]
    left_out: list[str] = []
    data: JsonObject = {}
    versions: dict[str, str] = {}

    def skill(self, predictor: str, naive: str) -> float:
        """Return the skill of a predictor over a naive one, both named as in `errors`, over all forecasts."""
        ours, theirs = (float(np.average(self.errors[name], weights=self.counts)) for name in (predictor, naive))
        return skill(ours, theirs)


class FoldData(NamedTuple):
    """Config and data of a fold; `rows` are those that the test windows of a table are cut from, None for prices."""

    config: Config
    data: Data
    rows: Panel | None = None


class BacktestPlan(NamedTuple):
    """Folds of a backtest.

    Args:
        about: entries that identify the backtest; its folder is not used for another one.
        load: function that returns the data of a fold by its number, from 1.
        test: function of a trained model, the data of a fold, and its number that returns the result.
        naive: name of the naive baseline in the errors of the results.
        steps: horizon of the forecasts.
        notes: lines on the options that were inferred for all folds.
    """

    about: JsonObject
    load: Callable[[int], FoldData]
    test: Callable[[TrainedModel, FoldData, int], Fold]
    naive: str
    steps: int
    notes: tuple[str, ...] = ()

    def largest_training(self, folds: int) -> tuple[Any, Data, int]:
        """Return the config and the data of the last fold, which has the most training windows, and the trainings."""
        rows = self.load(folds)
        return rows.config, rows.data, folds


class BacktestDirectory(Workdir):
    """Directory of a backtest."""

    ABOUT = "backtest.json"


class Backtest(NamedTuple):
    """Result of a backtest.

    Args:
        folds: the folds in order.
        verdicts: verdicts over all folds by baseline, that with the smallest error first.
        naive: name of the naive baseline among the verdicts.
        notes: notes on the folds, such as different versions.
    """

    folds: list[Fold]
    verdicts: dict[str, Verdict]
    naive: str
    notes: list[str] = []


def run_backtest(
    plan: BacktestPlan,
    folds: int,
    out: Path,
    *,
    prepared: Callable[[JsonObject], None] | None = None,
    notify: Callable[[int, Progress], None] | None = None,
    finished: Callable[[Fold], None] | None = None,
) -> Backtest:
    """Train and test on each fold.

    Args:
        plan: the folds.
        folds: number of folds.
        out: a new folder, or that of the same backtest to resume; completed folds are not repeated.
        prepared: called before each fold with the entries of its `lstm_ae.data.windows.Source`.
        notify: called with the number of the fold and a `lstm_ae.training.observer.Progress`.
        finished: called with each completed fold, including those completed earlier.

    Raises:
        ConfigError: a folder of another command.
        DivergedError: a fold without a completed epoch.
    """
    folder, done = BacktestDirectory(out), list[Fold]()
    with folder.claim(plan.about):
        for number in range(1, folds + 1):
            name, state = f"fold-{number}.json", out / f"state-{number}.npz"
            if (part := folder.read_part(name, Fold._fields)) is not None:
                fold = Fold(**part)
                if prepared:
                    prepared(fold.data)
            else:
                fold_data = plan.load(number)
                source = fold_data.data.source._asdict()
                if prepared:
                    prepared(source)
                trained = train_fold(fold_data, number, state, notify)
                fold = plan.test(trained, fold_data, number)._replace(data=source, versions=installed_versions())
                folder.write_part(name, fold._asdict())
                remove_states(fold_data.config, state)
            done.append(fold)
            if finished:
                finished(fold)
    note = describe_other_versions([fold.versions for fold in done], "folds")
    return Backtest(done, judge_folds(done, plan.steps), plan.naive, [note] if note else [])


def train_fold(
    fold_data: FoldData, number: int, state: Path, notify: Callable[[int, Progress], None] | None = None
) -> TrainedModel:
    """Train on a fold.

    Args:
        fold_data: config and data.
        number: number of the fold, from 1.
        state: file of the training's state, from which it is resumed.
        notify: see `run_backtest`.

    Raises:
        DivergedError: no epoch was completed.
    """

    def report(progress: Progress) -> None:
        if notify:
            notify(number, progress)

    config, data = fold_data.config, fold_data.data
    model, fitted = fit_model(
        config, data, state=state, identity=identity_in(state, config, data), observer=ProgressObserver(report)
    )
    if not fitted.epochs:
        raise DivergedError(
            f"Fold {number}: {fitted.stopped} before the first epoch was complete. Try a lower --learning-rate or "
            "--clip 1"
        )
    from lstm_ae.models.keras_network import KerasNetwork

    return KerasNetwork(model), fitted.best_epoch


def average_by_moment(errors: ForecastErrors, moments: Array, names: Mapping[str, str]) -> JsonObject:
    """Return the mean errors of the forecasts of each moment; forecasts without a true value are omitted.

    Args:
        errors: errors of a fold.
        moments: `(samples,)` moment of each forecast.
        names: names of predictors in the result, where they differ.

    Returns:
        The fields `moments`, `errors`, `counts`, and `rounding` of a `Fold`.

    Raises:
        DivergedError: If the model forecasts a value that is not a number.
    """
    known = errors.known
    if np.isnan(errors.squared[""][known]).any():
        raise DivergedError("Some forecasts are not numbers. Try a lower --learning-rate or --clip 1")
    when, which = np.unique(moments[known], return_inverse=True)
    count = np.bincount(which)

    def average(values: Array) -> list[float]:
        means: list[float] = (np.bincount(which, values[known]) / count).tolist()
        return means

    means = {names.get(name, name): average(squared) for name, squared in errors.squared.items()}
    if when.dtype.kind == "M":
        when = when.astype("datetime64[ns]").astype(np.int64)
    return {"moments": when.tolist(), "errors": means, "counts": count.tolist(), "rounding": average(errors.rounding)}


def judge_folds(folds: Sequence[Fold], steps: int) -> dict[str, Verdict]:
    """Compare the forecasts of all folds with every baseline that all folds have, the best baseline first.

    Seasons, and thus the names of the naive baselines of tables, may differ between folds.
    """
    common = [name for name in folds[0].errors if all(name in fold.errors for fold in folds)]
    errors = {name: np.concatenate([fold.errors[name] for fold in folds]) for name in common}
    moments, counts, rounding = (
        np.concatenate([getattr(fold, name) for fold in folds]) for name in ("moments", "counts", "rounding")
    )
    verdicts = against_each(errors.pop("model"), errors, moments, steps=steps, counts=counts, rounding=rounding)
    if "baseline" in verdicts:
        names = {fold.baseline for fold in folds}
        naive = names.pop() if len(names) == 1 else "the naive baselines"
        verdicts.pop(naive, None)
        verdicts["baseline"] = verdicts["baseline"]._replace(baseline=naive)
    return verdicts
