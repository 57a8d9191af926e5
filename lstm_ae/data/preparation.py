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
from lstm_ae.data.class_labels import MIN_WHOLE_SERIES, find_series_labels
from lstm_ae.data.grid import (
    common_gaps,
    common_step,
    find_duplicate_times,
    grid_positions,
    grid_slots,
    map_to_grid_rows,
    merge_duplicates,
    regularize,
)
from lstm_ae.data.panel import Panel, run_starts
from lstm_ae.data.scaling import Scale, find_scale_lines, fit_scale
from lstm_ae.data.season import DefaultSteps, choose_default_steps
from lstm_ae.data.split import SPLITS, TEST, SplitRule, assign_splits, required_splits, suggest_division
from lstm_ae.data.windows import Data, Source, Split, cut_panel, hash_arrays, hash_panel, require_samples
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count
from lstm_ae.json_types import JsonObject

# Smallest default window of a detector; it holds whole seasons. Chosen on the development series of TSB-AD.
MIN_DETECTION_WINDOW = 60

# Smallest default windows that a series must hold to be divided in time, if there are many series of equal length.
MIN_WINDOWS_IN_TIME = 4


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

    def split_runs(self) -> "SplitRuns":
        """Return the runs of rows of one split within a segment."""
        segment = self.grid.segment
        begins = np.flatnonzero(run_starts(segment, self.split))
        whole = run_starts(segment)
        before = begins - np.flatnonzero(whole)[np.cumsum(whole)[begins] - 1]
        return SplitRuns(self.split[begins], begins, np.append(begins[1:], len(segment)), before, self.required)


class SplitRuns(NamedTuple):
    """Runs of rows of one split within a segment, `(runs,)` each.

    Args:
        split: split of each run, an index of `SPLITS`.
        begins, ends: first row of each run, and the row after its last one.
        before: number of rows before each run in its segment.
        required: indices of the splits that must hold windows.
    """

    split: NDArray[np.int8]
    begins: Int64Array
    ends: Int64Array
    before: Int64Array
    required: range

    def longest(self, before: int = 0) -> list[int]:
        """Return the length of the longest run of each required split, with up to `before` of the rows before it."""
        rows = self.ends - self.begins + np.minimum(self.before, before)
        return [int(rows[self.split == place].max(initial=0)) for place in self.required]


class WindowLengths(NamedTuple):
    """Lengths of the window and the horizon, in steps.

    Args:
        window, horizon: the lengths; a horizon of 0 means no forecast.
        reasons: reason for each length that was not given, by field of the configuration.
        unit: steps of which a default window is a multiple; 1 for any number of steps.
    """

    window: int
    horizon: int
    reasons: Mapping[str, str]
    unit: int = 1

    def fit(self, runs: SplitRuns) -> "WindowLengths":
        """Return lengths whose defaults fit the splits.

        A default horizon is at most a third of the longest run of rows that validation and test have, since forecasts
        overlap. A default window, with the horizon, is at most half the longest run. The first window of validation and
        test may read the rows before these splits if there is a horizon.
        """
        fitted = self
        if "horizon" in self.reasons:
            why = "a third of the longest run of rows that validation and test have"
            fitted = fitted._limit("horizon", (min(runs.longest()[1:]) + 1) // 3, why)
        if "window" not in self.reasons:
            return fitted
        most, why = min(runs.longest()) // 2, "half the longest run of rows that every split has"
        if horizon := fitted.horizon:
            futures = 3 * horizon - 1 if "horizon" in self.reasons else horizon
            most = min(runs.longest()[0] // 2 - horizon, min(runs.longest(self.window)[1:]) - futures)
            why = "what the horizon leaves of half the longest run of rows"
        if self.window > most >= self.unit > 1:
            most -= most % self.unit
            why = f"{_count_seasons(most, self.unit)}: more are not in {why}"
        return fitted._limit("window", max(most, 2), why)

    def _limit(self, name: str, most: int, why: str) -> "WindowLengths":
        """Return the lengths with the one of this name reduced to at least 1 and at most `most` steps."""
        return self.set(name, max(most, 1), why) if getattr(self, name) > max(most, 1) else self

    def set(self, name: str, steps: int, why: str) -> "WindowLengths":
        """Return the lengths with another default of this name."""
        changed = self._replace(window=steps) if name == "window" else self._replace(horizon=steps)
        return changed._replace(reasons={**self.reasons, name: f"{format_count(steps, 'step')}, {why}"})


def _count_seasons(window: int, season: int) -> str:
    return f"{format_count(window // season, 'season')} of {season} steps"


def prepare_table(
    config: Reading,
    table: Panel,
    rule: SplitRule | None = None,
    anomalies: Callable[[Panel], BoolArray] | None = None,
    min_window: int = 0,
) -> PreparedTable:
    """Put a table on its grid, divide it, and infer the settings that the configuration leaves open.

    The settings are decided in this order, each from the ones before: the step, the season of the training rows, the
    window and the horizon, the longest gap, and last shorter lengths if the splits are too short.

    Args:
        rule: function that divides the rows; None to divide them as configured.
        anomalies: function that masks the rows to move to the test split.
        min_window: smallest default window, which holds whole seasons.

    Raises:
        ConfigError: if `normal` or `freq` does not fit the table.
        DataError: if rows coincide or the grid is far too fine, see `regularize`.
    """
    table, plan = split_plan(table)
    inferred = dict(table.layout.inferred)
    step = choose_step(config, table)
    require_calendar(config, table, step)
    if config.step is None and table.layout.time is not None:
        inferred["freq"] = f"{step}, " + ("the most common step" if step != TimeStep() else "as no two times differ")

    def divide(max_gap: int) -> PreparedTable:
        grid = regularize(table, step, max_gap, config)
        split = rule(grid) if rule else assign_splits(config, grid)
        if anomalies is not None:
            split = np.where(anomalies(grid), np.int8(TEST), split)
        return PreparedTable(table, grid, split, required_splits(config), step, max_gap, plan=plan)

    defaults = None
    if config.window is None or (config.forecasts and config.horizon is None):
        # The season is found before gaps are filled, because the default longest gap depends on it.
        defaults = _choose_season(config, divide(1 if config.max_gap is None else config.max_gap))
    lengths, max_gap = _default_lengths(config, defaults, min_window), config.max_gap
    if max_gap is None:
        max_gap = _default_max_gap(table, step, lengths)
        if table.layout.time is not None or not table.held.all():
            inferred["max_gap"] = format_count(max_gap, "step")
    prepared = divide(max_gap)
    lengths = lengths.fit(prepared.split_runs())
    return prepared._replace(
        window=lengths.window,
        horizon=lengths.horizon,
        inferred={**inferred, **lengths.reasons},
    )


def split_plan(table: Panel) -> tuple[Panel, Panel | None]:
    """Return the rows up to the last one of each series with an observed value, and the later ones.

    Later rows hold only values that are known in advance, such as a plan. All rows are of the first kind if no row
    holds an observed value.

    Returns:
        Two panels with the same series; None for the second one if it would be empty.
    """
    observed = np.flatnonzero(table.held)
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
    grid, plan, layout = prepared.grid, prepared.plan, prepared.table.layout
    found = np.full((len(last), steps, len(columns)), np.nan, np.float32)
    present = np.zeros((len(last), steps), bool)
    if plan is None:
        return KnownFuture(found, present)
    place = np.full(len(plan.ids), -1)
    place[grid.series[last]] = np.arange(len(last))
    plan = plan.take(place[plan.series] >= 0)
    own = place[plan.series]
    if prepared.step == TimeStep():
        position = grid_slots(plan, prepared.step) + 1
    else:
        position = grid_positions(plan.times, grid.times[last][own], prepared.step, plan.zone)
    clash = find_duplicate_times(plan, position)
    if clash and duplicates == "error":
        raise DataError(
            f"{plan.where(clash.second)} belongs to the same step as {plan.place} {plan.lines[clash.first]}. Remove "
            "one of them, or add --duplicates mean (or first, last)",
            code=Code.TIME_ORDER,
        )
    kept, values, _ = merge_duplicates(
        plan.series, plan.values[:, [layout.values.index(name) for name in columns]], None, position, duplicates
    )
    own, position = own[kept], position[kept]
    inside = (position >= 1) & (position <= steps)
    found[own[inside], position[inside] - 1] = values[inside]
    present[own[inside], position[inside] - 1] = True
    return KnownFuture(found, present)


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


def _choose_season(config: Reading, prepared: PreparedTable) -> DefaultSteps:
    """Return the given season, or the default one of the training rows."""
    if season := getattr(config, "season", None):
        return DefaultSteps(season, season, "the given season", periodic=True)
    table, step = prepared.table, prepared.step
    return choose_default_steps(table, step, (prepared.split == 0)[map_to_grid_rows(table, prepared.grid, step)])


def _default_lengths(config: Reading, defaults: DefaultSteps | None, min_window: int) -> WindowLengths:
    """Return the configured lengths, with defaults for those that are open; None for `defaults` if none is."""
    lengths = WindowLengths(config.window or 0, config.horizon or 0, {})
    if defaults is None:
        return lengths
    season, why = defaults.season, defaults.reason
    if config.forecasts and config.horizon is None:
        lengths = lengths.set("horizon", season, why)
    if config.window is not None:
        return lengths
    if lengths.horizon:
        if lengths.horizon > defaults.strongest + season:
            return lengths.set("window", lengths.horizon, "as many as the horizon")
        several = f"the seasons of {season} and {defaults.strongest} together"
        why = several if defaults.strongest > season else f"twice {season}, {why}"
        return lengths.set("window", defaults.strongest + season, why)
    if season >= min_window or not defaults.periodic:
        return lengths.set("window", max(season, min_window), why)
    window = -(-min_window // season) * season
    return lengths._replace(unit=season).set("window", window, f"{_count_seasons(window, season)} ({why})")


def _default_max_gap(table: Panel, step: TimeStep, lengths: WindowLengths) -> int:
    """Return the default longest gap.

    It is a tenth of the season, or of the window if it is not a multiple of one. A longer gap that recurs, such as a
    night or a weekend, counts if it is at most a third of a window with its horizon.
    """
    usual = max(1, (lengths.unit if lengths.unit > 1 else lengths.window) // 10)
    most = (lengths.window + lengths.horizon) // 3
    return max([usual, *(gap for gap in common_gaps(table, grid_slots(table, step), usual) if gap <= most)])


def prepare_test_table(config: Reading, table: Panel) -> PreparedTable:
    """Prepare a table of which all rows are the test split.

    Args:
        config: complete configuration of the training table.

    Raises:
        DataError: as in `prepare_table`.
    """
    prepared = prepare_table(config, table, lambda grid: np.full(len(grid.series), TEST, np.int8))
    return prepared._replace(required=range(TEST, TEST + 1))


def cut_windows(prepared: PreparedTable, config: Reading) -> tuple[Split, Split, Split]:
    """Return the training, validation, and test splits, of which some may be empty.

    The test split is empty if no rows are reserved for it.
    """
    symbols = scale_line_names(config, prepared)
    train, validation, test = (_cut_split(prepared, config, place, symbols) for place in range(len(SPLITS)))
    return train, validation, test


def load_series(
    config: Reading, prepared: PreparedTable, *, folds: bool = False, test_table: PreparedTable | None = None
) -> Data:
    """Return the data to train on.

    Args:
        folds: whether the rows are divided by folds instead of `--split`.
        test_table: table of the test split, see `prepare_test_table`; None if the split consists of rows of `prepared`.

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
    source = Source(
        text,
        digest,
        table.licence,
        (*table.notes, *(f"{name}: {words}" for name, words in prepared.inferred.items())),
    )
    scale = _fit_scale(config, train, prepared, len(symbols))
    layout = prepared.grid.layout
    data = Data(
        train,
        validation,
        test,
        scale,
        source,
        symbols,
        feature_names=layout.values,
        covariates=layout.covariates,
        clock=table.clock,
    )
    return require_samples(data, _advise_more_windows(config, prepared, folds=folds), tests=config.tests)


def _advise_more_windows(config: Reading, prepared: PreparedTable, *, folds: bool) -> str:
    """Return the options with which a split without windows may hold some."""
    series = len(prepared.table.ids)
    ways = ["a shorter --window or --horizon" if prepared.horizon else "a shorter --window"]
    if run_starts(prepared.grid.segment).sum() > series:
        ways = [f"a longer --max-gap (now {prepared.max_gap})", "--freq rows", *ways]
    ways.append("fewer --folds" if folds else "another --split")
    if not folds and (division := suggest_division(config, series)):
        ways.append(f"--split-by {division}")
    known = prepared.inferred.get("label_col")
    return f"{f'{known}. ' if known else ''}Pass {', '.join([*ways, 'or more rows'])}"


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
    scale = fit_scale(config.scale, train.series, line=train.line, lines=lines, fewest=prepared.window)
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
    most = np.max([np.bincount(series, column, len(ids)) for column in present.T], axis=0)
    return ("", *(name for name, values in zip(ids, most, strict=True) if values >= prepared.window))


def take_split(prepared: PreparedTable, place: int) -> Panel:
    """Return the rows of the grid that the windows of a split are cut from, divided at the borders of the split.

    The first forecasts of validation and test read the window of rows before the split; all rows that they forecast are
    in the split.
    """
    runs = prepared.split_runs()
    begins = runs.begins
    if prepared.horizon and place:
        begins = begins - np.minimum(runs.before, prepared.window)
    chosen = np.flatnonzero(runs.split == place)
    rows = [np.arange(begins[run], runs.ends[run]) for run in chosen]
    numbers = np.repeat(chosen, (runs.ends - begins)[chosen]).astype(np.int32)
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


def prepare_for_detection(config: Reading, table: Panel) -> PreparedTable:
    """Prepare a table for a model of normal behavior: rows labeled as anomalies are in the test split only.

    The default window of a detector has at least `MIN_DETECTION_WINDOW` rows, as scores of short windows vary more.

    Raises:
        ConfigError: if labels are not 0 and 1, or as in `prepare_table`.
        DataError: as in `prepare_table`.
    """
    min_window = 0 if getattr(config, "task", "") == "reconstruct" else MIN_DETECTION_WINDOW
    prepared = prepare_table(config, encode_anomaly_labels(table), anomalies=known_anomalies, min_window=min_window)
    count = int(known_anomalies(prepared.grid).sum())
    if not count:
        return prepared
    known = f"{format_count(count, 'row')} known to be anomalies, in the test split only"
    return prepared._replace(inferred={**prepared.inferred, "label_col": known})


def choose_whole_series(config: Reading, table: Panel) -> tuple[JsonObject, dict[str, str]]:
    """Return settings with which a window of a detector is a whole series, and their descriptions.

    They are empty unless many series of equal length are too short to be divided in time. Labels must mark whole series
    as anomalies, as the rows of the others would be no whole windows.

    Raises:
        ConfigError: if labels are not 0 and 1, or `freq` does not fit the table.
    """
    chosen = config.split_by or config.window or config.normal or config.forecasts
    if chosen or config.scale in ("series", "window") or len(table.ids) < MIN_WHOLE_SERIES:
        return {}, {}
    own = None if table.labels is None else find_series_labels(encode_anomaly_labels(table))
    normal = len(table.ids) if table.labels is None else 0 if own is None else int((own != 1).sum())
    last = np.append(run_starts(table.series)[1:], True)
    rows, *others = np.unique(grid_slots(table, choose_step(config, table))[last] + 1).tolist()
    if others or normal < MIN_WHOLE_SERIES or not 2 <= rows < MIN_WINDOWS_IN_TIME * MIN_DETECTION_WINDOW:
        return {}, {}
    return {"split_by": "series", "window": rows}, {
        "split_by": f"series, as each of {len(table.ids):,} has {rows} steps, too few to divide them in time",
        "window": f"{rows} steps, a whole series",
    }


def prepare_for_any_task(config: Reading, table: Panel) -> PreparedTable:
    """Prepare a table as training would, inferring the task from the configuration and the labels.

    Rows labeled as anomalies are moved to the test split if the labels are 0 and 1 and nothing is forecast.
    """
    normal = not config.forecasts and are_anomaly_labels(table.classes)
    return prepare_for_detection(config, table) if normal else prepare_table(config, table)
