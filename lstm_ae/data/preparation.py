"""Prepare a table as training, validation, and test windows: grid, split, scale, and cut."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import BoolArray, Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import COVARIATES, TimeStep
from lstm_ae.data.anomaly_labels import are_anomaly_labels, encode_anomaly_labels, known_anomalies
from lstm_ae.data.calendar import calendar_columns, require_calendar
from lstm_ae.data.grid import (
    common_step,
    grid_positions,
    grid_slots,
    merge_duplicates,
    refuse_duplicates,
    regularize,
)
from lstm_ae.data.panel import Panel, run_starts
from lstm_ae.data.scaling import Scale, find_scale_lines, fit_scale
from lstm_ae.data.season import DefaultSteps, choose_default_steps
from lstm_ae.data.split import SPLITS, TEST, SplitRule, assign_splits, required_splits
from lstm_ae.data.windows import Data, Source, Split, cut_panel, hash_arrays, hash_panel, require_samples
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count

# Smallest default window of a detector, before it is rounded up to whole seasons. Chosen on the development series of
# TSB-AD.
MIN_DETECTION_WINDOW = 60

# Smallest default number of missing steps that a window may cross; the weekend of daily rows has two.
MIN_MAX_GAP = 2


class PreparedTable(NamedTuple):
    """Table that is ready to be cut into windows.

    Args:
        table: the table as read.
        grid: its rows at a regular time step.
        split: `(rows,)` int8, split of each row of the grid, an index of `SPLITS`.
        required: indices of the splits that must hold windows.
        step: step of the grid; `TimeStep()` if rows are consecutive regardless of time.
        max_gap: longest run of missing rows that is filled.
        window: input steps of the model; 0 until they are chosen.
        horizon: steps to forecast; 0 for none.
        inferred: description of each inferred setting, by field of the configuration.
        plan: rows of the file after `table`, see `split_plan`; None if there are none.
    """

    table: Panel
    grid: Panel
    split: NDArray[np.int8]
    required: range
    step: TimeStep
    max_gap: int
    window: int = 0
    horizon: int = 0
    inferred: Mapping[str, str] = {}
    plan: Panel | None = None

    def split_runs(self, before: int) -> "SplitRuns":
        """Return the runs of rows of one split within a segment, with up to `before` rows of the segment before."""
        segment = self.grid.segment
        begins = np.flatnonzero(run_starts(segment, self.split))
        starts = np.maximum(begins - before, np.searchsorted(segment, segment[begins]))
        return SplitRuns(self.split[begins], starts, np.append(begins[1:], len(segment)))

    def longest_runs(self, before: int = 0) -> list[int]:
        """Return the number of rows in the longest run of each required split, see `split_runs`."""
        runs = self.split_runs(before)
        rows = runs.ends - runs.begins
        return [int(rows[runs.split == place].max(initial=0)) for place in self.required]


class SplitRuns(NamedTuple):
    """Runs of rows, `(runs,)` each: the split, the first row, and the row after the last one."""

    split: NDArray[np.int8]
    begins: Int64Array
    ends: Int64Array


def detects_anomalies(config: Reading, table: Panel) -> bool:
    """Return whether a model of normal behavior is trained, given by the task, or without one by the table's labels."""
    task = getattr(config, "task", None)
    return task in ("anomaly", "reconstruct") or (
        task is None and not config.forecasts and are_anomaly_labels(table.classes)
    )


def prepare_table(config: Reading, table: Panel, rule: SplitRule | None = None) -> PreparedTable:
    """Put a table on its grid, divide it, and choose the settings that the configuration leaves open.

    Each setting has one rule, which depends on the settings before it:

    - the step is the most common one;
    - the season is that of the training rows, see `choose_default_steps`;
    - the horizon is the season, at most a third of the validation rows;
    - the window of a forecaster is two seasons, and that of a detector is the smallest number of seasons with at least
      `MIN_DETECTION_WINDOW` steps; both are at most half the longest run of rows;
    - the longest gap that windows cross is a tenth of the window, or of the season of a detector, and at least
      `MIN_MAX_GAP` steps.

    Rows labeled as anomalies are in the test split of a model of normal behavior.

    Args:
        rule: function that assigns the rows to splits; None to assign them as configured.

    Raises:
        ConfigError: if `normal`, `freq`, or the labels do not fit the table.
        DataError: if rows coincide or the grid is far too fine, see `regularize`.
    """
    normal = detects_anomalies(config, table)
    table, plan = split_plan(encode_anomaly_labels(table) if normal else table)
    step = choose_step(config, table)
    require_calendar(config, table, step)
    inferred = dict(table.layout.inferred)
    if config.step is None and table.layout.time is not None:
        inferred["freq"] = f"{step}, " + ("the most common step" if step != TimeStep() else "as no two times differ")

    def divide(panel: Panel) -> NDArray[np.int8]:
        split = rule(panel) if rule else assign_splits(config, panel)
        return np.where(known_anomalies(panel), np.int8(TEST), split) if normal else split

    detects = normal and getattr(config, "task", None) != "reconstruct"
    lengths = _choose_lengths(config, table, step, lambda: divide(table) == 0, MIN_DETECTION_WINDOW if detects else 0)
    max_gap = config.max_gap
    if max_gap is None:
        max_gap = max((lengths.season or lengths.window) // 10, MIN_MAX_GAP)
        if table.layout.time is not None or not table.is_observed.all():
            inferred["max_gap"] = f"{format_count(max_gap, 'step')}"
    grid = regularize(table, step, max_gap, config)
    prepared = PreparedTable(table, grid, divide(grid), required_splits(config), step, max_gap, plan=plan)
    window, horizon = _limit_lengths(config, lengths, prepared)
    for name, length, default in (("horizon", horizon, lengths.horizon), ("window", window, lengths.window)):
        if length and getattr(config, name) is None:
            why = lengths.reason if length == default else "as many as the rows of each split allow"
            inferred[name] = f"{format_count(length, 'step')}, {why}"
    if normal and (count := int(known_anomalies(grid).sum())):
        inferred["label_col"] = f"{format_count(count, 'row')} known to be anomalies, in the test split only"
    return prepared._replace(window=window, horizon=horizon, inferred=inferred)


class WindowLengths(NamedTuple):
    """Lengths of the window and the horizon in steps.

    Args:
        window, horizon: the lengths; a horizon of 0 means no forecast.
        season: steps of which the default window of a detector is a multiple; 0 for any number of steps.
        reason: reason for the default lengths.
    """

    window: int
    horizon: int
    season: int = 0
    reason: str = ""


def _choose_lengths(
    config: Reading, table: Panel, step: TimeStep, find_training: Callable[[], BoolArray], min_window: int
) -> WindowLengths:
    """Return the configured lengths, with defaults from the season for those that are not configured.

    Args:
        find_training: function that returns the `(rows,)` mask of the training rows.
        min_window: smallest default window if nothing is forecast.
    """
    window, horizon = config.window or 0, config.horizon or 0
    if window and (horizon or not config.forecasts):
        return WindowLengths(window, horizon)
    configured = getattr(config, "season", None)
    season, strongest, reason, periodic = (
        DefaultSteps(configured, configured, "from the given season")
        if configured
        else choose_default_steps(table, step, find_training())
    )
    if config.forecasts:
        horizon = horizon or season
        return WindowLengths(window or max(season + strongest, horizon), horizon, reason=reason)
    if periodic:
        return WindowLengths(max(-(-min_window // season), 1) * season, 0, season, reason)
    return WindowLengths(max(season, min_window), 0, reason=reason)


def _limit_lengths(config: Reading, lengths: WindowLengths, prepared: PreparedTable) -> tuple[int, int]:
    """Return the window and the horizon, with defaults shortened to fit the splits."""
    window, horizon = lengths.window, lengths.horizon
    if horizon and config.horizon is None:
        # A third of the longest run of rows that validation and test have.
        horizon = min(horizon, max((min(prepared.longest_runs()[1:]) + 1) // 3, 1))
    if config.window is None:
        training, *others = prepared.longest_runs(window if horizon else 0)
        max_window = training // 2 - horizon if horizon else min(training, *others) // 2
        max_window = max(min(max_window, *(rows - horizon for rows in others)), 2)
        if window > max_window:
            window = max_window - max_window % lengths.season if 0 < lengths.season <= max_window else max_window
    return window, horizon


def split_plan(table: Panel) -> tuple[Panel, Panel | None]:
    """Return the rows up to the last one of each series with an observed value, and the later ones.

    The later rows hold only values that are known in advance, such as a plan. If no row holds an observed value, all
    rows are in the first panel.

    Returns:
        Two panels with the same series; None for the second one if it would be empty.
    """
    observed = np.flatnonzero(table.is_observed)
    if not table.layout.known or not len(observed):
        return table, None
    last = np.full(len(table.ids), -1, np.int64)
    last[table.series[observed]] = observed
    later = np.arange(len(table.series)) > last[table.series]
    return (table.take(~later), table.take(later)) if later.any() else (table, None)


class KnownFuture(NamedTuple):
    """Values of known covariates after some rows.

    Args:
        values: `(rows, steps, known)`, NaN where missing.
        present: `(rows, steps)` whether the file has a row for the step.
    """

    values: Float32Array
    present: BoolArray


def read_known_future(
    prepared: PreparedTable, columns: Sequence[str], last: Int64Array, steps: int, duplicates: str
) -> KnownFuture:
    """Return the known covariates of the steps after the last rows of series, from the plan of a table.

    Args:
        prepared: the table.
        columns: the columns of the plan.
        last: `(rows,)` grid rows, at most one of each series.
        steps: number of steps.
        duplicates: how rows of one step are merged, as in `merge_duplicates`.

    Raises:
        DataError: if two rows belong to one step and `duplicates` is "error".
    """
    grid, plan = prepared.grid, prepared.plan
    values = np.full((len(last), steps, len(columns)), np.nan, np.float32)
    present = np.zeros((len(last), steps), bool)
    if plan is None:
        return KnownFuture(values, present)
    place = np.full(len(plan.ids), -1)
    place[grid.series[last]] = np.arange(len(last))
    plan = plan.take(place[plan.series] >= 0)
    index = place[plan.series]
    if prepared.step == TimeStep():
        position = grid_slots(plan, prepared.step) + 1
    else:
        position = grid_positions(plan.times, grid.times[last][index], prepared.step, plan.zone)
    if duplicates == "error":
        refuse_duplicates(plan, prepared.step, position)
    plan, position = merge_duplicates(plan, position, duplicates)
    index = place[plan.series]
    within = (position >= 1) & (position <= steps)
    values[index[within], position[within] - 1] = plan.columns(columns)[within]
    present[index[within], position[within] - 1] = True
    return KnownFuture(values, present)


def choose_step(config: Reading, table: Panel) -> TimeStep:
    """Return the time step given by `freq`, or the most common one of the table.

    Raises:
        ConfigError: if `freq` does not fit the table.
    """
    step = config.step
    if step is None:
        return common_step(table)
    if step != TimeStep() and table.layout.time is None:
        raise ConfigError(
            "--freq needs a column of times; name it with --time-col, or leave --freq out",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    if step != TimeStep() and bool(step.steps) != table.layout.counts:
        unit = "a number of steps, as in 1step" if table.layout.counts else "a time, as in 1h"
        kind = "counts" if table.layout.counts else "times"
        raise ConfigError(f"--freq must be {unit}: {table.layout.time!r} holds {kind}. Received: {config.freq}")
    return step


def cut_windows(prepared: PreparedTable, config: Reading) -> tuple[Split, Split, Split]:
    """Return the training, validation, and test splits, some of which may be empty.

    The test split is empty if no rows are reserved for it.
    """
    symbols = scale_line_names(config, prepared)
    train, validation, test = (_cut_split(prepared, config, place, symbols) for place in range(len(SPLITS)))
    return train, validation, test


def load_series(config: Reading, prepared: PreparedTable, test_table: PreparedTable | None = None) -> Data:
    """Return the data to train on.

    Args:
        test_table: table of the test split; None if the split consists of rows of `prepared`.

    Raises:
        DataError: if a split has no window, or a column has no value in the training split.
    """
    train, validation, test = cut_windows(prepared, config)
    table = prepared.table
    symbols = scale_line_names(config, prepared)
    text, digest = _describe_rows(table), hash_panel(table)
    if test_table is not None:
        test = _cut_split(test_table, config, TEST, symbols)
        if not test.samples:
            raise DataError(
                f"{test_table.table.name}, the table of --test, holds no window of {test.span} rows without a gap of "
                f"more than {format_count(prepared.max_gap, 'step')}. Pass a longer table, or a shorter --window",
                code=Code.TOO_FEW_ROWS,
            )
        text += f"; test split: {_describe_rows(test_table.table)}"
        digest = hash_arrays(np.frombuffer(f"{digest}{hash_panel(test_table.table)}".encode(), np.uint8))
    notes = (*table.notes, *(f"{name}: {words}" for name, words in prepared.inferred.items()))
    source = Source(text, digest, table.license, notes)
    scale, layout = _fit_scale(config, train, prepared, len(symbols)), prepared.grid.layout
    data = Data(train, validation, test, scale, source, symbols, layout.values, layout.covariates, clock=table.clock)
    known = f"{inferred}. " if (inferred := prepared.inferred.get("label_col")) else ""
    hint = (
        f"{known}Pass a shorter --window or --horizon, a longer --max-gap (now {prepared.max_gap}), another --split, "
        "fewer --folds, or more rows"
    )
    return require_samples(data, hint, tests=config.tests)


def _describe_rows(table: Panel) -> str:
    """Return the name of a table with its number of rows and series."""
    of = f" of {len(table.ids):,} series" if len(table.ids) > 1 else ""
    return f"{table.name}: {format_count(len(table.lines), 'row')}{of}"


def _fit_scale(config: Reading, train: Split, prepared: PreparedTable, lines: int) -> Scale:
    """Return the scale fitted on the training rows.

    Raises:
        DataError: if a column has no value in them.
    """
    table = prepared.table
    for column, values in zip(prepared.grid.layout.values, train.series.T, strict=True):
        if config.scale not in ("none", "window") and np.isnan(values).all():
            option = next((each for each in COVARIATES if column in getattr(config, each)), "value_cols")
            raise DataError(
                f"{table.name}: the column {column[:80]!r} has no value in the training split. Leave it out with "
                f"{flag_name(option)}, or pass another --split",
                code=Code.EMPTY_COLUMN,
            )
    scale = fit_scale(config.scale, train.series, line=train.line, lines=lines, min_count=prepared.window)
    if config.scale == "none":
        return scale
    for column in config.static_cols:
        # A series has one value, which its own scale would remove.
        place = prepared.grid.layout.values.index(column)
        scale.offset[:, place], scale.range[:, place] = scale.offset[0, place], scale.range[0, place]
    if config.calendar:
        # Calendar features are between -1 and 1, also in a series that is shorter than their period.
        first = train.features - len(calendar_columns(config.calendar))
        scale.offset[:, first:], scale.range[:, first:] = 0, 1
    return scale


def scale_line_names(config: Reading, prepared: PreparedTable) -> tuple[str, ...]:
    """Return the names of the lines of a scale per series, the first "" (unknown); empty for other scales.

    A series has a line if one of its columns holds at least as many training values as a window has steps.
    """
    if config.scale != "series":
        return ()
    grid, ids = prepared.grid, prepared.table.ids
    train = prepared.split == 0
    series, present = grid.series[train], ~np.isnan(grid.values[train, : grid.layout.observed])
    counts = np.max([np.bincount(series, column, len(ids)) for column in present.T], axis=0)
    return ("", *(name for name, count in zip(ids, counts, strict=True) if count >= prepared.window))


def take_split(prepared: PreparedTable, place: int) -> Panel:
    """Return the rows of the grid that the windows of a split are cut from, divided at the borders of the split.

    The first forecasts of validation and test read the window of rows before the split; all rows that they forecast are
    in the split.
    """
    runs = prepared.split_runs(prepared.window if prepared.horizon and place else 0)
    chosen = np.flatnonzero(runs.split == place)
    rows = [np.arange(runs.begins[run], runs.ends[run]) for run in chosen]
    numbers = np.repeat(chosen, (runs.ends - runs.begins)[chosen]).astype(np.int32)
    return prepared.grid.take(np.concatenate(rows) if rows else np.zeros(0, np.int64))._replace(segment=numbers)


def _cut_split(prepared: PreparedTable, config: Reading, place: int, symbols: Sequence[str]) -> Split:
    """Return the windows of a split, which is empty if no rows are reserved for it.

    Args:
        symbols: names of the lines of the scale, see `scale_line_names`.
    """
    grid, normal = prepared.grid, getattr(config, "task", "") in ("anomaly", "reconstruct")
    if normal and grid.labels is not None:
        prepared = prepared._replace(grid=grid._replace(labels=known_anomalies(grid).astype(np.int32)))
    panel = take_split(prepared, place)
    split = cut_panel(panel, prepared.window + prepared.horizon, config.stride if place == 0 else 1)
    if place not in prepared.required:
        split = split._replace(starts=split.starts[:0])
    labels = None
    if panel.labels is not None:
        labels = panel.labels[split.starts + prepared.window - 1]
        if normal:
            marked = np.r_[0, np.cumsum(panel.labels)]
            labels = (marked[split.starts + split.span] > marked[split.starts]).astype(np.int32)
    lines = find_scale_lines(symbols, panel.ids)[panel.series] if symbols else None
    return split._replace(line=lines, label=labels)
