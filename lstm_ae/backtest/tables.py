"""Which rows of anyone's own table a rolling origin trains, validates and tests with.

Of all rows the second half in time is tested, in pieces of equal size. A piece begins and ends at one time in all
series, so that no model has learned from what came later in another one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.backtest.prices import FIRST, VALIDATION
from lstm_ae.config import Series
from lstm_ae.data.grid import Grid
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.preparation import prepare_table, window_rows_of_part
from lstm_ae.data.time_zones import Zone, format_time
from lstm_ae.data.windows import Data, fingerprint
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.evaluation import Evaluation, Verdict, skill
from lstm_ae.experiment import fit_model, identity_in
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.forecasting import table_metrics
from lstm_ae.forecasting.table_baselines import LINEAR, fit_table_baselines
from lstm_ae.run import describe_other_versions, installed_versions
from lstm_ae.significance import against_each
from lstm_ae.studies.series.defaults import complete_config, require_even

Numbers = NDArray[Any]


class FoldData(NamedTuple):
    """A table up to the end of a fold's test.

    Args:
        config, data: as a training takes them.
        ids: names of the series.
        series: `(rows,)` that windows of the test part are cut from, places in `ids`.
        times: `(rows,)` of these, as in `Measurements`.
        places: `(rows,)` of these, where each row stands in the whole table; of use without times.
        zone: how times are told, as in `Measurements`.
    """

    config: Series
    data: Data
    ids: tuple[str, ...]
    series: NDArray[np.int32]
    times: Numbers
    places: Numbers
    zone: Zone


def start_backtest(
    config: Series, folds: int, reading: Progress | None = None
) -> tuple[Series, Measurements, tuple[str, ...]]:
    """The config with what it leaves open found in the first fold's rows, the table, and what was found, in words.

    Raises:
        ConfigError, DataError: as `backtest_table` does.
    """
    if config.task != "forecast" or config.split_by == "series" or config.split != Series.split:
        raise ConfigError("backtest is for --task forecast and divides the rows itself. Leave out --split")
    table = read_measurements(config, reading)
    require_even(config, table)
    first = split_fold(config, table, 1, folds)
    source = first.data.source
    leaky = (f"LEAKY: {source.leaky}",) if source.leaky else ()
    return first.config, table, (*source.notes, *leaky)


def split_fold(config: Series, table: Measurements, number: int, folds: int) -> FoldData:
    """The rows up to the end of a fold's test, divided so that the test holds its piece.

    Raises:
        ConfigError, DataError: as `backtest_table` does.
    """
    low, high = fold_edges(table, folds)[number - 1 : number + 1]

    def parts(grid: Grid) -> NDArray[np.int8]:
        order = _order(table, grid)
        known = order < low
        part = np.full(len(order), 2, np.int8)
        if known.any():
            ordered = np.sort(order[known])
            part[known] = order[known] >= ordered[int(len(ordered) * (1 - VALIDATION))]
        return part

    prepared = prepare_table(config, rows_until(table, high), parts)
    settled = complete_config(config, prepared, folds=True)
    rows, _ = window_rows_of_part(prepared, 2)
    series, times = prepared.grid.series[rows], prepared.grid.times[rows]
    places = np.searchsorted(table.series, series) + times if table.layout.time is None else times
    return FoldData(*settled, table.ids, series, times, places, table.zone)


def fold_edges(table: Measurements, folds: int) -> Numbers:
    """Where each piece begins, and the end of the last, in the order that rows are divided by: `(folds + 1,)`.

    Raises:
        DataError: a piece without rows.
    """
    order = np.sort(_order(table, table))
    begins = order[np.linspace(len(order) * FIRST, len(order), folds + 1)[:-1].astype(int)]
    found: Numbers = np.append(begins, order[-1] + 1)
    if (np.diff(found) <= 0).any():
        raise DataError(f"{table.name} holds too few times for {folds} folds; lower --folds")
    return found


def _order(table: Measurements, rows: Measurements | Grid) -> Numbers:
    """The times of rows; without times how far each is in its series, from 0 to 1."""
    if table.layout.time is not None:
        return rows.times
    found: Numbers = rows.times / np.bincount(table.series, minlength=len(table.ids))[rows.series]
    return found


def rows_until(table: Measurements, end: float) -> Measurements:
    """The rows before an edge."""
    kept = _order(table, table) < end
    labels = None if table.labels is None else table.labels[kept]
    return table._replace(
        series=table.series[kept],
        times=table.times[kept],
        values=table.values[kept],
        labels=labels,
        lines=table.lines[kept],
    )


class TableFold(NamedTuple):
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
        rounding: how far the model's error of each of the `moments` may be off by rounding.
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
    rounding: list[float]
    left_out: list[str]
    versions: dict[str, str] = {}


class TableBacktest(NamedTuple):
    """All folds, and what they say together.

    Args:
        folds: in their order.
        verdicts: by baseline, as `Fold.errors` names it, on all forecasts: the baseline with the smallest error first,
            which is the one to beat.
        notes: what is unusual.
    """

    folds: list[TableFold]
    verdicts: dict[str, Verdict]
    notes: list[str] = []


def backtest_table(
    config: Series,
    folds: int,
    out: Path,
    *,
    reading: Progress | None = None,
    begins: Callable[[tuple[str, ...]], None] | None = None,
    notify: Callable[[int, Any], None] | None = None,
    finished: Callable[[TableFold], None] | None = None,
) -> TableBacktest:
    """Train and test `folds` times: the second half of the rows in so many pieces, each after all before it.

    Pieces begin at one time in all series, or without times after one share of each. What is left open is found in the
    first fold's rows. The first forecasts of a piece read the last window before it.

    Args:
        out: a folder, new or that of the same backtest; folds that are there are not done again, and one that was
            begun is gone on with.
        reading: called while the table is read.
        begins: called before the first fold with what was found in its rows, in words.
        notify: called with the fold and a `lstm_ae.training.loop.Progress`.
        finished: called with each fold when it is done, also with those that were there.

    Raises:
        ConfigError: the folder holds something else; or options that do not go with it.
        DataError: too few rows.
        Diverged: a fold without a good epoch.
    """
    config, table, notes = start_backtest(config, folds, reading)
    values = fingerprint(table.series, table.times, table.values)
    claim(out, "backtest.json", {"config": config.to_dict(), "data": values, "folds": folds})
    if begins:
        begins(notes)
    done = []
    for number in range(1, folds + 1):
        path, state = out / f"fold-{number}.json", out / f"state-{number}.npz"
        if path.exists():
            fold = TableFold(**read_part(path, TableFold._fields, ("versions",)))
        else:
            rows = split_fold(config, table, number, folds)
            fold = test_table_fold(rows, *_trained(rows, number, state, notify), number)._replace(
                versions=installed_versions()
            )
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
    rounding = np.concatenate([fold.rounding for fold in done])
    verdicts = against_each(
        errors.pop("model"), errors, moments, steps=config.horizon, counts=counts, rounding=rounding
    )
    verdicts = {name: judged._replace(baseline=called.get(name, name)) for name, judged in verdicts.items()}
    note = describe_other_versions([fold.versions for fold in done], "folds")
    return TableBacktest(done, verdicts, [note] if note else [])


def _trained(rows: FoldData, number: int, state: Path, notify: Callable[[int, Any], None] | None) -> tuple[Any, int]:
    """A fold's model, and the epoch whose weights it has."""

    def tell(progress: Any) -> None:
        if notify:
            notify(number, progress)

    config, data = rows.config, rows.data
    model, fitted = fit_model(config, data, state=state, identity=identity_in(state, config, data), notify=tell)
    if not fitted.epochs:
        raise DivergedError(
            f"Fold {number}: {fitted.stopped}; no epoch was good (try a lower --learning-rate, or --clip 1)"
        )
    return model, fitted.best_epoch


def test_table_fold(rows: FoldData, model: Any, epoch: int, number: int) -> TableFold:
    """Test a model on a fold; `epoch` is the one whose weights it has."""
    data = rows.data
    fitted = fit_table_baselines(data, table_metrics.past_steps(model))
    found = table_metrics.table_errors(
        model, data, data.test, fitted, table_metrics.error_quantiles(model, data, fitted)
    )
    columns = table_metrics.skill_by_column(found, data.feature_names, fitted.seasons)
    judged = table_metrics.judge_table(found, data.feature_names)
    evaluation = Evaluation(
        {"test": table_metrics.table_metrics(found)}, {"test": judged}, columns={"test": columns}
    ).as_json()
    there = ~np.isnan(found.squared[""])
    if not there.any():
        raise DataError(f"Fold {number}: nothing is known of what followed its windows; lower --folds")
    made, time = data.test.starts + table_metrics.past_steps(model) - 1, data.test.time
    ends = rows.times[made]
    first, last = (
        str(end) if time is None and rows.zone is None else format_time(int(end), rows.zone)
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
    return TableFold(
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
        (np.bincount(which, found.rounding[there]) / count).tolist(),
        left_out,
    )


def fold_skills(fold: TableFold) -> tuple[float, float]:
    """Over the naive baseline, of the model and of the linear regression."""
    ours, naive, linear = (
        float(np.average(fold.errors[name], weights=fold.counts)) for name in ("model", "baseline", "linear")
    )
    return skill(ours, naive), skill(linear, naive)
