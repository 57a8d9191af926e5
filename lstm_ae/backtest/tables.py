"""Backtests of forecasters of tables with rolling origins.

The second half of the rows in time is tested in blocks of equal size. A block starts and ends at the same time in all
series, so that no model is trained on later rows of another series.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import Array
from lstm_ae.backtest.prices import FIRST, VALIDATION
from lstm_ae.config import Series
from lstm_ae.data.grid import Grid
from lstm_ae.data.measurements import Measurements, Progress, read_measurements
from lstm_ae.data.preparation import find_part_rows, prepare_table
from lstm_ae.data.time_zones import Zone, format_time
from lstm_ae.data.windows import Data, hash_arrays
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.evaluation import Evaluation, Verdict, skill
from lstm_ae.experiment import fit_model, identity_in
from lstm_ae.files import as_json, claim, read_part, write
from lstm_ae.forecasting import metrics
from lstm_ae.forecasting.baselines import LINEAR_NAME, fit_table_baselines
from lstm_ae.run import describe_other_versions, installed_versions
from lstm_ae.significance import against_each
from lstm_ae.studies.series.defaults import complete_config, require_even


class FoldData(NamedTuple):
    """Table up to the end of a fold's test block.

    Args:
        config: complete config of the training.
        data: data of the training.
        ids: names of the series.
        series: `(rows,)` series of the rows that test windows are cut from, as indices into `ids`.
        times: `(rows,)` their times, as in `Measurements`.
        places: `(rows,)` their row numbers in the table; used without times.
        zone: time zone of the output, as in `Measurements`.
    """

    config: Series
    data: Data
    ids: tuple[str, ...]
    series: NDArray[np.int32]
    times: Array
    places: Array
    zone: Zone


def start_backtest(
    config: Series, folds: int, reading: Progress | None = None
) -> tuple[Series, Measurements, tuple[str, ...]]:
    """Read the table and infer omitted options from the first fold's rows.

    Args:
        config: config of a forecaster of tables.
        folds: number of folds.
        reading: called while the table is read.

    Returns:
        The complete config, the table, and notes on the inferred options.

    Raises:
        ConfigError: incompatible options.
        DataError: too few rows.
    """
    if config.task != "forecast" or config.split_by == "series" or config.split != Series.split:
        raise ConfigError("backtest is for --task forecast and defines its own splits. Omit --split")
    table = read_measurements(config, reading)
    require_even(config, table)
    first = split_fold(config, table, 1, folds)
    source = first.data.source
    leaky = (f"LEAKY: {source.leaky}",) if source.leaky else ()
    return first.config, table, (*source.notes, *leaky)


def split_fold(config: Series, table: Measurements, number: int, folds: int) -> FoldData:
    """Return the rows up to the end of a fold's test block, split into training, validation, and test.

    Args:
        config: config of a forecaster of tables.
        table: the whole table.
        number: number of the fold, from 1.
        folds: number of folds.

    Raises:
        ConfigError: incompatible options.
        DataError: too few rows.
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
    completed = complete_config(config, prepared, folds=True)
    rows, _ = find_part_rows(prepared, 2)
    series, times = prepared.grid.series[rows], prepared.grid.times[rows]
    places = np.searchsorted(table.series, series) + times if table.layout.time is None else times
    return FoldData(*completed, table.ids, series, times, places, table.zone)


def fold_edges(table: Measurements, folds: int) -> Array:
    """Return the start of each test block and the end of the last one, `(folds + 1,)` in the units of `_order`.

    Raises:
        DataError: a block without rows.
    """
    order = np.sort(_order(table, table))
    begins = order[np.linspace(len(order) * FIRST, len(order), folds + 1)[:-1].astype(int)]
    edges: Array = np.append(begins, order[-1] + 1)
    if (np.diff(edges) <= 0).any():
        raise DataError(f"{table.name} has too few times for {folds} folds. Reduce --folds")
    return edges


def _order(table: Measurements, rows: Measurements | Grid) -> Array:
    """Return the times of rows; without times, their relative position in their series, from 0 to 1."""
    if table.layout.time is not None:
        return rows.times
    positions: Array = rows.times / np.bincount(table.series, minlength=len(table.ids))[rows.series]
    return positions


def rows_until(table: Measurements, end: float) -> Measurements:
    """Return the rows before an edge of `fold_edges`."""
    before = _order(table, table) < end
    labels = None if table.labels is None else table.labels[before]
    return table._replace(
        series=table.series[before],
        times=table.times[before],
        values=table.values[before],
        labels=labels,
        lines=table.lines[before],
    )


class TableFold(NamedTuple):
    """Result of one training and its test.

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


class TableBacktest(NamedTuple):
    """Result of a backtest.

    Args:
        folds: the folds in order.
        verdicts: verdicts over all folds by baseline as in `TableFold.errors`, that with the smallest error first.
        notes: notes on the folds, such as different versions.
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
    """Train and test a forecaster on each fold: on each block of the second half of the rows after all earlier rows.

    Blocks start at the same time in all series, or without times at the same relative position. Omitted options are
    inferred from the first fold's rows. The first forecasts of a block read the last window before it.

    Args:
        config: config of a forecaster of tables.
        folds: number of folds.
        out: a new folder, or that of the same backtest to resume; completed folds are not repeated.
        reading: called while the table is read.
        begins: called before the first fold with notes on the inferred options.
        notify: called with the number of the fold and a `lstm_ae.training.loop.Progress`.
        finished: called with each completed fold, including those completed earlier.

    Raises:
        ConfigError: a folder of another command, or incompatible options.
        DataError: too few rows.
        DivergedError: a fold without a completed epoch.
    """
    config, table, notes = start_backtest(config, folds, reading)
    values = hash_arrays(table.series, table.times, table.values)
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
            fold = test_table_fold(rows, *_train_fold(rows, number, state, notify), number)._replace(
                versions=installed_versions()
            )
            write(path, as_json(fold._asdict()))
            state.unlink(missing_ok=True)
        done.append(fold)
        if finished:
            finished(fold)
    moments = np.concatenate([fold.moments for fold in done])
    # Seasons, and thus the names of baselines, may differ between folds.
    common = [name for name in done[0].errors if all(name in fold.errors for fold in done)]
    errors = {name: np.concatenate([fold.errors[name] for fold in done]) for name in common}
    names = {fold.baseline for fold in done}
    called = {"baseline": names.pop() if len(names) == 1 else "the naive baselines", "linear": LINEAR_NAME}
    assert config.horizon is not None
    counts = np.concatenate([fold.counts for fold in done])
    rounding = np.concatenate([fold.rounding for fold in done])
    verdicts = against_each(
        errors.pop("model"), errors, moments, steps=config.horizon, counts=counts, rounding=rounding
    )
    verdicts = {name: verdict._replace(baseline=called.get(name, name)) for name, verdict in verdicts.items()}
    note = describe_other_versions([fold.versions for fold in done], "folds")
    return TableBacktest(done, verdicts, [note] if note else [])


def _train_fold(rows: FoldData, number: int, state: Path, notify: Callable[[int, Any], None] | None) -> tuple[Any, int]:
    """Return a fold's model and the epoch of its weights."""

    def report(progress: Any) -> None:
        if notify:
            notify(number, progress)

    config, data = rows.config, rows.data
    model, fitted = fit_model(config, data, state=state, identity=identity_in(state, config, data), notify=report)
    if not fitted.epochs:
        raise DivergedError(
            f"Fold {number}: {fitted.stopped} before the first epoch was complete. Try a lower --learning-rate or "
            "--clip 1"
        )
    return model, fitted.best_epoch


def test_table_fold(rows: FoldData, model: Any, epoch: int, number: int) -> TableFold:
    """Test a model on a fold.

    Args:
        rows: data of the fold.
        model: the trained model.
        epoch: epoch of its weights.
        number: number of the fold, from 1.

    Raises:
        DataError: no forecast has actual values.
    """
    data = rows.data
    fitted = fit_table_baselines(data, metrics.past_steps(model))
    forecast_errors = metrics.table_errors(
        model, data, data.test, fitted, metrics.calibrate_table_intervals(model, data, fitted)
    )
    columns = metrics.skill_by_column(forecast_errors, data.feature_names, fitted.seasons)
    verdict = metrics.judge_forecasts(forecast_errors, data.feature_names)
    evaluation = Evaluation(
        {"test": metrics.table_metrics(forecast_errors)}, {"test": verdict}, columns={"test": columns}
    ).as_json()
    known = ~np.isnan(forecast_errors.squared[""])
    if not known.any():
        raise DataError(f"Fold {number}: all values after its windows are missing. Reduce --folds")
    made, time = data.test.starts + metrics.past_steps(model) - 1, data.test.time
    ends = rows.times[made]
    first, last = (
        str(end) if time is None and rows.zone is None else format_time(int(end), rows.zone)
        for end in (ends.min(), ends.max())
    )
    moments = rows.places[made] if time is None else forecast_errors.moments
    forecast = set(rows.series[made[known]].tolist())
    left_out = [name for number, name in enumerate(rows.ids) if number not in forecast]
    keys = {"": "model", forecast_errors.naive: "baseline", LINEAR_NAME: "linear"}
    when, which = np.unique(moments[known], return_inverse=True)
    count = np.bincount(which)
    errors = {
        keys.get(name, name): (np.bincount(which, squared[known]) / count).tolist()
        for name, squared in forecast_errors.squared.items()
    }
    return TableFold(
        number,
        first,
        last,
        data.test.samples,
        epoch,
        evaluation,
        forecast_errors.naive,
        when.tolist(),
        errors,
        count.tolist(),
        (np.bincount(which, forecast_errors.rounding[known]) / count).tolist(),
        left_out,
    )


def fold_skills(fold: TableFold) -> tuple[float, float]:
    """Return the skills of the model and of the linear regression over the naive baseline."""
    ours, naive, linear = (
        float(np.average(fold.errors[name], weights=fold.counts)) for name in ("model", "baseline", "linear")
    )
    return skill(ours, naive), skill(linear, naive)
