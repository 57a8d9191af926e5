"""Backtests: train and test a forecaster on one fold after another.

A single split by date measures a model in one period only. A rolling origin (Tashman 2000, "Out-of-sample tests of
forecasting accuracy") shows whether the result holds in others. `lstm_ae.backtest.plans` plans the folds of prices and
of tables; this module runs a plan, resumes it, and compares the forecasts of all folds.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.arrays import Array, Int64Array
from lstm_ae.config import Series, Snp
from lstm_ae.data.panel import Panel
from lstm_ae.data.time_zones import format_time
from lstm_ae.data.windows import Data
from lstm_ae.errors import Code, DataError, DivergedError
from lstm_ae.evaluation import Verdict, skill
from lstm_ae.experiment import fit_model, identity_in, remove_states
from lstm_ae.forecasting.metrics import ForecastErrors
from lstm_ae.json_types import JsonObject
from lstm_ae.parallel import THIS_PROCESS, Engine, WorkersDiedError, run_jobs
from lstm_ae.run import describe_other_versions, installed_versions
from lstm_ae.significance import compare_with_each
from lstm_ae.startup import import_tensorflow
from lstm_ae.studies import load_study
from lstm_ae.training.observer import NO_FOLD_OBSERVER, FoldObserver, ProgressObserver
from lstm_ae.workdir import Workdir

if TYPE_CHECKING:
    import keras

    from lstm_ae.training.loop import TrainingResult

# Share of the rows before the first test, and share of the validation split among the rows before each test.
UNTESTED_SHARE, VALIDATION_SHARE = 0.5, 0.15

# Name of the naive baseline of each fold among the errors and the verdicts; it may differ between folds.
NAIVE = "baseline"


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
        left_out: names of the series whose forecasts have no actual values.
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
    """Config and data of a fold.

    Args:
        config: the config.
        data: the data.
        origins: `(samples,)` int64 time of the last row that each test window reads, or its number in its series.
    """

    config: Series | Snp
    data: Data
    origins: Int64Array


class BacktestPlan(NamedTuple):
    """Folds of a backtest.

    Args:
        about: entries that identify the backtest; a folder with other entries is refused.
        table: the table.
        load: function that returns the data of a fold by its number, from 1.
        steps: horizon of the forecasts.
        notes: lines on the options that were inferred for all folds.
    """

    about: JsonObject
    table: Panel
    load: Callable[[int], FoldData]
    steps: int
    notes: tuple[str, ...] = ()


class BacktestDirectory(Workdir):
    """Directory of a backtest."""

    ABOUT = "backtest.json"


class Backtest(NamedTuple):
    """Result of a backtest.

    Args:
        folds: the folds in order.
        verdicts: verdicts over all folds by baseline, that with the smallest error first.
        notes: notes on the folds, such as different versions.
    """

    folds: list[Fold]
    verdicts: dict[str, Verdict]
    notes: list[str] = []


def run_backtest(
    plan: BacktestPlan,
    folds: int,
    out: Path,
    observer: FoldObserver = NO_FOLD_OBSERVER,
    engine: Engine = THIS_PROCESS,
) -> Backtest:
    """Train and test on each fold.

    Args:
        plan: the folds.
        folds: number of folds.
        out: a new folder, or that of the same backtest to resume; completed folds are not repeated.
        observer: receives the progress and the folds.
        engine: where the folds are trained; by default one after another in this process.

    Raises:
        ConfigError: a folder of another command.
        DataError: no forecast of a fold has actual values.
        DivergedError: a fold without a completed epoch.
    """
    folder, done = BacktestDirectory(out), list[Fold]()
    with folder.claim(plan.about):
        task, jobs = FoldTask(folder, plan), [FoldJob(number, folds) for number in range(1, folds + 1)]
        waiting = [job for job in jobs if task.read(job) is None]
        if not engine.is_sequential(len(waiting)):
            run_jobs(task, waiting, len(waiting), _give_up, engine, observer)
        for job in jobs:
            done.append(Fold(**task.train(job, observer)))
            observer.finished(done[-1])
    note = describe_other_versions([fold.versions for fold in done], "folds")
    return Backtest(done, judge_folds(done, plan.steps), [note] if note else [])


class FoldJob(NamedTuple):
    """Job that trains and tests one fold.

    Args:
        number: number of the fold, from 1.
        folds: number of folds.
    """

    number: int
    folds: int

    @property
    def title(self) -> str:
        """Title of its progress."""
        return f"fold {self.number} of {self.folds}"

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"fold-{self.number}"


class FoldTask(NamedTuple):
    """Training of the folds of a plan, with the directory of the backtest."""

    folder: Workdir
    plan: BacktestPlan

    def prepare(self, threads: int) -> None:
        """Import TensorFlow in a new process."""
        import_tensorflow(threads)

    def load(self) -> Callable[[FoldJob], JsonObject]:
        """Return the function that trains a fold."""
        return self.train

    def read(self, job: FoldJob) -> JsonObject | None:
        """Return the content of the file of a fold; None if there is none."""
        return self.folder.read_part(f"{job.name}.json", Fold._fields)

    def train(self, job: FoldJob, observer: FoldObserver = NO_FOLD_OBSERVER) -> JsonObject:
        """Return the content of the file of a fold; train if there is none, resuming an interrupted training."""
        content = self.read(job)
        if content is not None:
            return content
        fold_data = self.plan.load(job.number)
        config, data, _ = fold_data
        state = self.folder.directory / f"{job.name}.npz"
        progress, identity = ProgressObserver(partial(observer.progress, job.title)), identity_in(state, config, data)
        model, result = fit_model(config, data, state=state, identity=identity, observer=progress)
        measured = measure_fold(job.number, self.plan.table, fold_data, model, result)
        content = measured | {"data": data.source._asdict(), "versions": installed_versions()}
        self.folder.write_part(f"{job.name}.json", content)
        remove_states(config, state)
        return content


def _give_up(job: FoldJob, reason: str) -> JsonObject:
    raise WorkersDiedError(f"{job.title}: {reason}. Pass fewer --jobs, or remove the cause")


def measure_fold(
    number: int, table: Panel, fold_data: FoldData, model: "keras.Model", result: "TrainingResult"
) -> JsonObject:
    """Return the fields of a `Fold` for a trained model, without its data and versions.

    Args:
        number: number of the fold, from 1.
        table: the table.
        fold_data: data of the fold.
        model: the trained model.
        result: result of its training.

    Raises:
        DataError: no forecast has actual values.
        DivergedError: no epoch was completed, or a forecast is not a number.
    """
    from lstm_ae.models.keras_network import KerasNetwork

    if not result.epochs:
        raise DivergedError(
            f"Fold {number}: {result.stopped} before the first epoch was complete. Try a lower --learning-rate or "
            "--clip 1"
        )
    config, data, origins = fold_data
    evaluation = load_study(config).evaluate(KerasNetwork(model), data)
    errors = evaluation.errors
    if not errors.known.any():
        raise DataError(
            f"Fold {number}: all values after its windows are missing. Reduce --folds", code=Code.TOO_FEW_ROWS
        )
    assert data.test.group is not None
    series, moments = data.test.group[data.test.starts].astype(np.int64), origins
    if table.layout.time is None:
        # Rows of the same number in different series are not at the same time.
        moments = (series << 32) + origins
    elif data.test.time is not None:
        moments = errors.moments
    averages = average_by_moment(errors, moments, {"": "model", errors.naive: NAIVE})
    known = set(series[errors.known].tolist())
    # The folds may differ in the naive baseline, so the error of persistence makes all of them comparable.
    averages["errors"].setdefault("persistence", averages["errors"][NAIVE])
    return {
        "number": number,
        "first": _describe_origin(table, origins.min()),
        "last": _describe_origin(table, origins.max()),
        "series": len(known),
        "windows": data.test.samples,
        "epochs": result.best_epoch,
        "evaluation": evaluation.select("test").as_json(),
        "baseline": errors.naive,
        "left_out": [name for place, name in enumerate(table.ids) if place not in known],
        **averages,
    }


def _describe_origin(table: Panel, time: int) -> str:
    """Return the time of a row as text, or its number in a table without times."""
    return str(time) if table.layout.time is None else format_time(int(time), table.zone)


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
    verdicts = compare_with_each(errors.pop("model"), errors, moments, steps=steps, counts=counts, rounding=rounding)
    names = {fold.baseline for fold in folds}
    naive = names.pop() if len(names) == 1 else "the naive baselines"
    verdicts.pop(naive, None)
    verdicts[NAIVE] = verdicts[NAIVE]._replace(baseline=naive)
    return verdicts
