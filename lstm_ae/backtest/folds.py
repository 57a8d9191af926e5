"""Backtests: train and test a forecaster on one fold after another.

A single split by date measures a model in one period only. A rolling origin (Tashman 2000, "Out-of-sample tests of
forecasting accuracy") shows whether the result holds in others. `lstm_ae.backtest.prices` and `lstm_ae.backtest.tables`
plan the folds of their data; this module runs a plan, resumes it, and compares the forecasts of all folds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.data.windows import Data
from lstm_ae.errors import DivergedError
from lstm_ae.evaluation import Verdict
from lstm_ae.experiment import fit_model, identity_in
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.forecasting.metrics import ForecastErrors
from lstm_ae.run import describe_other_versions, installed_versions
from lstm_ae.significance import against_each

# Share of the rows that is never tested, and share of the rows before a test that is the validation split.
FIRST, VALIDATION = 0.5, 0.15

TrainedModel = tuple[Any, int]
"""A model and the epoch of its weights."""


class PriceFold(NamedTuple):
    """Result of a fold of prices; its fields are the content of the fold's file.

    Args:
        number: number of the fold, from 1.
        first: first forecast day.
        last: last forecast day.
        tested: number of forecast companies.
        epochs: epoch whose weights were tested.
        evaluation: content of `metrics.json` for the split "test".
        daily: `days`, and the mean squared scaled error per day by predictor ("model", "persistence", "linear", ...).
        counts: number of forecasts per day.
        data: entries of a `lstm_ae.data.windows.Source`; {} in folds of older versions.
        versions: package versions; {} in folds of older versions.
    """

    number: int
    first: str
    last: str
    tested: int
    epochs: int
    evaluation: dict[str, Any]
    daily: dict[str, list[Any]]
    counts: list[int]
    data: dict[str, Any] = {}
    versions: dict[str, str] = {}

    @property
    def moments(self) -> NDArray[np.datetime64]:
        """Forecast days."""
        return np.array(self.daily["days"], "datetime64[D]")

    @property
    def errors(self) -> dict[str, list[float]]:
        """Mean squared scaled error per day by predictor."""
        return {name: values for name, values in self.daily.items() if name != "days"}

    @property
    def rounding(self) -> Sequence[float]:
        """Rounding errors, which are not measured for prices."""
        return [0.0] * len(self.counts)


class TableFold(NamedTuple):
    """Result of a fold of a table; its fields are the content of the fold's file.

    Args:
        number: number of the fold, from 1.
        first: time of the first window's end in the table's time zone, or its row in its series.
        last: time of the last window's end.
        windows: number of test windows.
        epochs: epoch whose weights were tested.
        evaluation: content of `metrics.json` for the split "test".
        baseline: name of the naive baseline of the skill.
        moments: forecast origins: nanoseconds since 1970, or rows of a table without times.
        errors: mean squared scaled error per moment by predictor ("model", "baseline", "linear", other names).
        counts: number of forecasts per moment.
        rounding: maximum rounding error of the model's error, per moment.
        left_out: names of the series without any forecast that has actual values.
        versions: package versions; {} in folds of older versions.
    """

    number: int
    first: str
    last: str
    windows: int
    epochs: int
    evaluation: dict[str, Any]
    baseline: str
    moments: list[int]
    errors: dict[str, list[float]]
    counts: list[int]
    rounding: list[float]
    left_out: list[str]
    versions: dict[str, str] = {}


F = TypeVar("F", PriceFold, TableFold)


class FoldData(NamedTuple):
    """Config and data of the training and test of a fold; `rows` describes the rows that test windows are cut from."""

    config: Any
    data: Data
    rows: Any = None


class BacktestPlan(NamedTuple, Generic[F]):
    """Folds of a backtest.

    Args:
        about: entries that identify the backtest; its folder is not used for another one.
        load: function that returns the data of a fold by its number, from 1.
        test: function of a trained model, the data of a fold, and its number that returns the result.
        record: class of the results.
        added_fields: names of the fields that files of older versions lack.
        steps: horizon of the forecasts.
        refit: train on each fold; otherwise train on the first fold only.
    """

    about: dict[str, Any]
    load: Callable[[int], FoldData]
    test: Callable[[TrainedModel, FoldData, int], F]
    record: type[F]
    added_fields: tuple[str, ...]
    steps: int
    refit: bool = True


class Backtest(NamedTuple, Generic[F]):
    """Result of a backtest.

    Args:
        folds: the folds in order.
        verdicts: verdicts over all folds by baseline, that with the smallest error first.
        notes: notes on the folds, such as different versions.
    """

    folds: list[F]
    verdicts: dict[str, Verdict]
    notes: list[str] = []


def run_backtest(
    plan: BacktestPlan[F],
    folds: int,
    out: Path,
    *,
    prepared: Callable[[dict[str, Any]], None] | None = None,
    notify: Callable[[int, Any], None] | None = None,
    finished: Callable[[F], None] | None = None,
) -> Backtest[F]:
    """Train and test on each fold.

    Args:
        plan: the folds.
        folds: number of folds.
        out: a new folder, or that of the same backtest to resume; completed folds are not repeated.
        prepared: called before each fold with the entries of its `lstm_ae.data.windows.Source`.
        notify: called with the number of the fold and a `lstm_ae.training.loop.Progress`.
        finished: called with each completed fold, including those completed earlier.

    Raises:
        ConfigError: a folder of another command.
        DivergedError: a fold without a completed epoch.
    """
    claim(out, "backtest.json", plan.about)
    done: list[F] = []
    trained = None
    for number in range(1, folds + 1):
        path, state = out / f"fold-{number}.json", out / f"state-{number if plan.refit else 1}.npz"
        if path.exists():
            fold = plan.record(**read_part(path, plan.record._fields, plan.added_fields))
            source = fold._asdict().get("data")
            if prepared and source:
                prepared(source)
        else:
            fold_data = plan.load(number)
            if prepared:
                prepared(fold_data.data.source._asdict())
            if trained is None or plan.refit:
                first = fold_data if plan.refit or number == 1 else plan.load(1)
                trained = train_fold(first, number, state, notify)
            fold = plan.test(trained, fold_data, number)
            fold = plan.record(**fold._asdict() | {"versions": installed_versions()})
            write(path, as_json(fold._asdict()))
            if plan.refit or number == folds:
                state.unlink(missing_ok=True)
        done.append(fold)
        if finished:
            finished(fold)
    note = describe_other_versions([fold.versions for fold in done], "folds")
    return Backtest(done, judge_folds(done, plan.steps), [note] if note else [])


def train_fold(
    fold_data: FoldData, number: int, state: Path, notify: Callable[[int, Any], None] | None = None
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

    def report(progress: Any) -> None:
        if notify:
            notify(number, progress)

    config, data = fold_data.config, fold_data.data
    model, fitted = fit_model(config, data, state=state, identity=identity_in(state, config, data), notify=report)
    if not fitted.epochs:
        raise DivergedError(
            f"Fold {number}: {fitted.stopped} before the first epoch was complete. Try a lower --learning-rate or "
            "--clip 1"
        )
    return model, fitted.best_epoch


def average_by_moment(
    errors: ForecastErrors, moments: Array, names: Mapping[str, str]
) -> tuple[Array, dict[str, list[float]], list[int], list[float]]:
    """Return the mean errors of the forecasts of each moment; forecasts without a true value are omitted.

    Args:
        errors: errors of a fold.
        moments: `(samples,)` moment of each forecast.
        names: names of predictors in the result, where they differ.

    Returns:
        The moments in ascending order, and for each moment the mean squared scaled error by predictor, the number of
        forecasts, and the mean rounding error of the model's error.

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
    return when, means, count.tolist(), average(errors.rounding)


def judge_folds(folds: Sequence[F], steps: int) -> dict[str, Verdict]:
    """Compare the forecasts of all folds with every baseline that all folds have, the best baseline first.

    Seasons, and thus the names of baselines, may differ between folds, and folds of older versions may lack baselines.
    """
    common = [name for name in folds[0].errors if all(name in fold.errors for fold in folds)]
    errors = {name: np.concatenate([fold.errors[name] for fold in folds]) for name in common}
    moments, counts, rounding = (
        np.concatenate([getattr(fold, name) for fold in folds]) for name in ("moments", "counts", "rounding")
    )
    return against_each(errors.pop("model"), errors, moments, steps=steps, counts=counts, rounding=rounding)
