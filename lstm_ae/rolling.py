"""A forecaster of anyone's own table trained and tested several times, each time on what came later.

One split says how a model did in one stretch of time. A rolling origin (Tashman 2000, "Out-of-sample tests of
forecasting accuracy") says whether that holds in others.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.backtest import FIRST, VALIDATION
from lstm_ae.config import Series
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.telling import told
from lstm_ae.data.windows import fingerprint
from lstm_ae.errors import ConfigError, DataError, Diverged
from lstm_ae.evaluation import Evaluation, Verdict, skill, verdict
from lstm_ae.experiment import identity, learn
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.seasonal import fit
from lstm_ae.tasks.series import outcomes
from lstm_ae.tasks.series.settling import Settled, settle_table


class Fold(NamedTuple):
    """One training and its test.

    Args:
        number: from 1.
        first, last: times of the first and the last window's end, in UTC, or rows.
        windows: windows that were forecast from.
        epochs: the epoch whose weights were tested.
        evaluation: as it stands in `metrics.json`, of the part "test".
        baseline: the one to beat.
        moments: when forecasts were made, to the step: nanoseconds since 1970, or rows without times.
        errors: by predictor ("model", "baseline", "linear") the mean squared scaled error of each.
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


class Rolling(NamedTuple):
    """All folds, and what they say together against the baselines to beat and against the linear regressions."""

    folds: list[Fold]
    baseline: Verdict
    linear: Verdict


def roll(
    config: Series,
    folds: int,
    out: Path,
    *,
    reading: Progress | None = None,
    notify: Callable[[int, Any], None] | None = None,
    finished: Callable[[Fold], None] | None = None,
) -> Rolling:
    """Train and test `folds` times: the second half of every series in so many pieces, each after all before it.

    What is left open is found in the first fold's rows. The last rows before a piece are read by its first forecasts
    and train nothing.

    Args:
        out: a folder, new or that of the same backtest; folds that are there are not done again, and one that was
            begun is gone on with.
        reading: called while the table is read.
        notify: called with the fold and a `lstm_ae.training.Progress`.
        finished: called with each fold when it is done, also with those that were there.

    Raises:
        ConfigError: the folder holds something else; or options that do not go with it.
        DataError: too few rows.
        Diverged: a fold without a good epoch.
    """
    config, table = begun(config, folds, reading)
    values = fingerprint(table.series, table.times, table.values)
    claim(out, "backtest.json", {"config": config.to_dict(), "data": values, "folds": folds})
    done = []
    for number in range(1, folds + 1):
        path, state = out / f"fold-{number}.json", out / f"state-{number}.npz"
        if path.exists():
            fold = Fold(**read_part(path, Fold._fields))
        else:
            settled = divided(config, table, number, folds)
            fold = tested(settled, *_trained(settled, number, state, notify), number)
            write(path, as_json(fold._asdict()))
            state.unlink(missing_ok=True)
        done.append(fold)
        if finished:
            finished(fold)
    moments = np.concatenate([fold.moments for fold in done])
    errors = {name: np.concatenate([fold.errors[name] for fold in done]) for name in done[0].errors}
    names = {fold.baseline for fold in done}
    against = {"baseline": names.pop() if len(names) == 1 else "the baselines", "linear": "linear regression"}
    assert config.horizon is not None
    steps = config.horizon
    judged = [verdict(errors["model"], errors[key], moments, name=name, steps=steps) for key, name in against.items()]
    return Rolling(done, *judged)


def begun(config: Series, folds: int, reading: Progress | None = None) -> tuple[Series, Measurements]:
    """The config with what it leaves open found in the first fold's rows, and the table.

    Raises:
        ConfigError, DataError: as `roll` does.
    """
    if config.task != "forecast" or config.split_by == "series" or config.split != Series.split:
        raise ConfigError("backtest is for --task forecast and divides the rows itself. Leave out --split")
    table = read_measurements(config, reading)
    found = divided(config, table, 1, folds).config
    return dataclasses.replace(found, split=Series.split), table


def divided(config: Series, table: Measurements, number: int, folds: int) -> Settled:
    """The rows up to the end of a fold's test, divided so that the test holds its piece and a window before it."""
    piece = (1 - FIRST) / folds
    end = FIRST + number * piece
    test = piece / end
    if config.window is not None:
        rows = end * len(table.lines) / len(table.ids)
        test = min(test + config.window / rows, 0.9)
    validation = VALIDATION * (1 - test)
    train = round(1 - test - validation, 6)
    split = f"{train:.6f},{validation:.6f},{1 - train - round(validation, 6):.6f}"
    return settle_table(dataclasses.replace(config, split=split), until(table, end))


def until(table: Measurements, share: float) -> Measurements:
    """The first rows of every series, such a share of them."""
    rows = np.bincount(table.series, minlength=len(table.ids))
    first = np.searchsorted(table.series, np.arange(len(table.ids)))
    kept = np.arange(len(table.series)) - first[table.series] < np.ceil(share * rows)[table.series]
    labels = None if table.labels is None else table.labels[kept]
    return table._replace(
        series=table.series[kept],
        times=table.times[kept],
        values=table.values[kept],
        labels=labels,
        lines=table.lines[kept],
    )


def _trained(settled: Settled, number: int, state: Path, notify: Callable[[int, Any], None] | None) -> tuple[Any, int]:
    """A fold's model, and the epoch whose weights it has."""

    def tell(progress: Any) -> None:
        if notify:
            notify(number, progress)

    config, data = settled
    model, fitted = learn(config, data, state=state, identity=identity(config, data), notify=tell)
    if not fitted.best_epoch:
        raise Diverged(f"Fold {number}: {fitted.stopped}; no epoch was good (try a lower --learning-rate, or --clip 1)")
    return model, fitted.best_epoch


def tested(settled: Settled, model: Any, epoch: int, number: int) -> Fold:
    """Test a model on a fold; `epoch` is the one whose weights it has."""
    data = settled.data
    fitted = fit(data, outcomes.steps_of(model))
    found = outcomes.outcome(model, data, data.test, fitted, outcomes.spread_of(model, data))
    columns = outcomes.by_column(found, data.feature_names, fitted.seasons)
    judged = outcomes.judge(found, columns)
    evaluation = Evaluation({"test": outcomes.measures(found)}, {"test": judged}, columns={"test": columns}).as_json()
    there = ~np.isnan(found.squared[""])
    if not there.any():
        raise DataError(f"Fold {number}: nothing is known of what followed its windows; lower --folds")
    made, time = data.test.starts + outcomes.steps_of(model) - 1, data.test.time
    ends = made if time is None else time[made].astype(np.int64)
    told_of = [str(end) if time is None else told(int(end)) for end in (ends.min(), ends.max())]
    names = {"model": "", "baseline": found.baseline, "linear": "linear regression"}
    when, which = np.unique(found.moments[there], return_inverse=True)
    count = np.bincount(which)
    errors = {key: (np.bincount(which, found.squared[name][there]) / count).tolist() for key, name in names.items()}
    first, last = told_of
    return Fold(number, first, last, data.test.samples, epoch, evaluation, found.baseline, when.tolist(), errors)


def skills(fold: Fold) -> tuple[float, float]:
    """Over the baseline to beat, of the model and of the linear regression."""
    ours, naive, linear = (float(np.mean(fold.errors[name])) for name in ("model", "baseline", "linear"))
    return skill(ours, naive), skill(linear, naive)
