"""A forecaster of anyone's own table trained and tested several times, each time on what came later.

One split says how a model did in one stretch of time. A rolling origin (Tashman 2000, "Out-of-sample tests of
forecasting accuracy") says whether that holds in others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.about import of_other_versions, versions
from lstm_ae.config import Series
from lstm_ae.data.measurements import Progress
from lstm_ae.data.telling import told
from lstm_ae.data.windows import fingerprint
from lstm_ae.errors import DataError, Diverged
from lstm_ae.evaluation import Evaluation, Verdict, skill
from lstm_ae.experiment import identity_in, learn
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.origins import Divided, begun, divided
from lstm_ae.seasonal import LINEAR, fit
from lstm_ae.tasks.series import outcomes
from lstm_ae.verdicts import against_each


class Fold(NamedTuple):
    """One training and its test.

    Args:
        number: from 1.
        first, last: times of the first and the last window's end, by the table's clocks, or their rows within a series.
        windows: windows that were forecast from.
        epochs: the epoch whose weights were tested.
        evaluation: as it stands in `metrics.json`, of the part "test".
        baseline: the naive one, which skill is counted against.
        moments: when forecasts were made, to the step: nanoseconds since 1970, or rows of the table without times.
        errors: by predictor ("model", "baseline", "linear" for the linear regression, others by their names) the mean
            squared scaled error of each.
        counts: of how many forecasts each of the `moments` is the mean.
        left_out: names of the series of which nothing was forecast that is known.
        versions: those it was trained and tested with; {} in folds of older versions.
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
    left_out: list[str]
    versions: dict[str, str] = {}


class Rolling(NamedTuple):
    """All folds, and what they say together.

    Args:
        folds: in their order.
        verdicts: by baseline, as `Fold.errors` names it, on all forecasts: the baseline with the smallest error first,
            which is the one to beat.
        notes: what is unusual.
    """

    folds: list[Fold]
    verdicts: dict[str, Verdict]
    notes: list[str] = []


def roll(
    config: Series,
    folds: int,
    out: Path,
    *,
    reading: Progress | None = None,
    begins: Callable[[tuple[str, ...]], None] | None = None,
    notify: Callable[[int, Any], None] | None = None,
    finished: Callable[[Fold], None] | None = None,
) -> Rolling:
    """Train and test `folds` times: the second half of the rows in so many pieces, each after all before it.

    Pieces begin at one time in all series, or without times after one share of each. What is left open is found in the
    first fold's rows. The first forecasts of a piece read the last window before it.

    Args:
        out: a folder, new or that of the same backtest; folds that are there are not done again, and one that was
            begun is gone on with.
        reading: called while the table is read.
        begins: called before the first fold with what was found in its rows, in words.
        notify: called with the fold and a `lstm_ae.training.Progress`.
        finished: called with each fold when it is done, also with those that were there.

    Raises:
        ConfigError: the folder holds something else; or options that do not go with it.
        DataError: too few rows.
        Diverged: a fold without a good epoch.
    """
    config, table, notes = begun(config, folds, reading)
    values = fingerprint(table.series, table.times, table.values)
    claim(out, "backtest.json", {"config": config.to_dict(), "data": values, "folds": folds})
    if begins:
        begins(notes)
    done = []
    for number in range(1, folds + 1):
        path, state = out / f"fold-{number}.json", out / f"state-{number}.npz"
        if path.exists():
            fold = Fold(**read_part(path, Fold._fields, ("versions",)))
        else:
            rows = divided(config, table, number, folds)
            fold = tested(rows, *_trained(rows, number, state, notify), number)._replace(versions=versions())
            write(path, as_json(fold._asdict()))
            state.unlink(missing_ok=True)
        done.append(fold)
        if finished:
            finished(fold)
    moments = np.concatenate([fold.moments for fold in done])
    # Seasons, and so the names of baselines, may differ from fold to fold.
    common = [name for name in done[0].errors if all(name in fold.errors for fold in done)]
    errors = {name: np.concatenate([fold.errors[name] for fold in done]) for name in common}
    names = {fold.baseline for fold in done}
    called = {"baseline": names.pop() if len(names) == 1 else "the naive baselines", "linear": LINEAR}
    assert config.horizon is not None
    counts = np.concatenate([fold.counts for fold in done])
    verdicts = against_each(errors.pop("model"), errors, moments, steps=config.horizon, counts=counts)
    verdicts = {name: judged._replace(baseline=called.get(name, name)) for name, judged in verdicts.items()}
    note = of_other_versions([fold.versions for fold in done], "folds")
    return Rolling(done, verdicts, [note] if note else [])


def _trained(rows: Divided, number: int, state: Path, notify: Callable[[int, Any], None] | None) -> tuple[Any, int]:
    """A fold's model, and the epoch whose weights it has."""

    def tell(progress: Any) -> None:
        if notify:
            notify(number, progress)

    config, data = rows.config, rows.data
    model, fitted = learn(config, data, state=state, identity=identity_in(state, config, data), notify=tell)
    if not fitted.epochs:
        raise Diverged(f"Fold {number}: {fitted.stopped}; no epoch was good (try a lower --learning-rate, or --clip 1)")
    return model, fitted.best_epoch


def tested(rows: Divided, model: Any, epoch: int, number: int) -> Fold:
    """Test a model on a fold; `epoch` is the one whose weights it has."""
    data = rows.data
    fitted = fit(data, outcomes.steps_of(model))
    found = outcomes.outcome(model, data, data.test, fitted, outcomes.spread_of(model, data, fitted))
    columns = outcomes.by_column(found, data.feature_names, fitted.seasons)
    judged = outcomes.judge(found, data.feature_names)
    evaluation = Evaluation({"test": outcomes.measures(found)}, {"test": judged}, columns={"test": columns}).as_json()
    there = ~np.isnan(found.squared[""])
    if not there.any():
        raise DataError(f"Fold {number}: nothing is known of what followed its windows; lower --folds")
    made, time = data.test.starts + outcomes.steps_of(model) - 1, data.test.time
    ends = rows.times[made]
    first, last = (
        str(end) if time is None and rows.zone is None else told(int(end), rows.zone)
        for end in (ends.min(), ends.max())
    )
    moments = rows.places[made] if time is None else found.moments
    forecast = set(rows.series[made[there]].tolist())
    left_out = [name for place, name in enumerate(rows.ids) if place not in forecast]
    keys = {"": "model", found.naive: "baseline", LINEAR: "linear"}
    when, which = np.unique(moments[there], return_inverse=True)
    count = np.bincount(which)
    errors = {
        keys.get(name, name): (np.bincount(which, of[there]) / count).tolist() for name, of in found.squared.items()
    }
    return Fold(
        number,
        first,
        last,
        data.test.samples,
        epoch,
        evaluation,
        found.naive,
        when.tolist(),
        errors,
        count.tolist(),
        left_out,
    )


def skills(fold: Fold) -> tuple[float, float]:
    """Over the naive baseline, of the model and of the linear regression."""
    ours, naive, linear = (
        float(np.average(fold.errors[name], weights=fold.counts)) for name in ("model", "baseline", "linear")
    )
    return skill(ours, naive), skill(linear, naive)
