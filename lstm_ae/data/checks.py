"""Check a table for errors, with options that fix them, and for conditions that deserve a warning.

`inspect_table` applies all rules for `lstmae series check`. A training warns of the findings of `TRAINING_RULES`, and a
run that is applied to another table of those in `collect_new_table_warnings`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Int64Array
from lstm_ae.config import Reading, Series
from lstm_ae.config.reading import TimeStep
from lstm_ae.data.anomaly_labels import are_anomaly_labels
from lstm_ae.data.class_labels import choose_division
from lstm_ae.data.column_checks import (
    COLUMN_RULES,
    LARGE_MISSING_SHARE,
    CheckedTable,
    ColumnSummary,
    check_cells,
    check_counters,
    check_excluded_columns,
    check_label_columns,
    check_lost_precision,
    check_sentinels,
    check_totals,
    check_training_constants,
)
from lstm_ae.data.findings import ANY_ZONE, Finding, Fix, apply_fix, format_options
from lstm_ae.data.grid import (
    MAX_MISSING_SHARE,
    MAX_STRAY_SHARE,
    MIN_EVEN_SHARE,
    DuplicateTimes,
    Gaps,
    common_gaps,
    common_step,
    consecutive_share,
    describe_time,
    even_step,
    find_duplicate_times,
    find_gaps,
    grid_slots,
    missing_share,
    repeats_autumn_hour,
)
from lstm_ae.data.padding import original_rows, pad_segments
from lstm_ae.data.panel import Panel, run_starts
from lstm_ae.data.preparation import (
    PreparedTable,
    choose_whole_series,
    cut_windows,
    prepare_for_any_task,
    prepare_table,
    scale_line_names,
)
from lstm_ae.data.scaling import Scale, describe_unknown_series, find_scale_lines
from lstm_ae.data.season import MAX_DEFAULT_WINDOW, choose_coarser_step
from lstm_ae.data.split import SPLITS, required_splits, suggest_division
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.formatting import format_count, format_heading, format_names, quote
from lstm_ae.json_types import JsonObject

# Ratio between the spread of all series and that of one series beyond which its variation is hardly visible: if a scale
# per series is possible, and if it is not.
UNEQUAL_SCALE_RATIO, UNKNOWN_SERIES_SCALE_RATIO = 3, 10

# Largest number of candidates for `--id-col` to try: each reads the table once more.
MAX_TRIED_IDS = 3

# Smallest share of the rows that merging rows with the same time may leave.
MIN_MERGED_SHARE = 0.2


def check_duplicates(table: Panel, step: TimeStep, clash: DuplicateTimes | None, config: Reading) -> list[Finding]:
    """Return a finding if rows have the same time or share a grid position."""
    if clash is None:
        return []
    first, second = (f"{table.place} {table.lines[row]}" for row in (clash.first, clash.second))
    rows, when = format_count(clash.rows, "row"), describe_time(table, clash.second)
    if config.duplicates != "error":
        return [Finding(f"{rows} at the time step of another row merged (--duplicates {config.duplicates})")]
    fixes: list[Fix] = []
    places = grid_slots(table, step)
    autumn = clash.same_time and repeats_autumn_hour(table, places)
    if not autumn:
        fixes += _suggest_id_columns(table, clash, config)
    # Rows of different series must not be averaged.
    last: list[Fix] = [] if fixes and clash.rows > MAX_STRAY_SHARE * len(places) else [{"duplicates": "mean"}]
    few = clash.same_time and not fixes and run_starts(table.series, places).sum() < MIN_MERGED_SHARE * len(places)
    if few or (table.layout.counts and table.unsorted):
        last = []  # Merging would mix recordings, or leave too few rows to be the same data.
    if clash.same_time:
        text = f"{rows} with a duplicate timestamp: {first} and {second} are both at {when}"
        if autumn:
            # Two different hours must not be averaged, and only the user knows the time zone.
            fixes, last = [{"time_zone": ANY_ZONE}, *fixes], []
            other = f", though not in {config.time_zone}" if config.time_zone else ""
            text += (
                f", in an hour that daylight saving repeats{other}: pass --time-zone ZONE, the zone of these clocks, "
                "such as Europe/London or America/New_York"
            )
        if few:
            text += ". Name the column of the series with --id-col, or join the column of the time of day to the dates"
    else:
        text = f"{rows} too close for a step of {step}: {second} is only {step.resized(clash.distance)} after {first}"
        gap = np.diff(table.times)
        finer = step.resized(int(gap[(gap > 0) & ~run_starts(table.series)[1:]].min()))
        last = last if missing_share(table, places) <= MAX_MISSING_SHARE else []
        places = grid_slots(table, finer)
        if find_duplicate_times(table, places) is None and missing_share(table, places) <= MAX_MISSING_SHARE:
            fixes.append({"freq": str(finer)})
        elif even_step(table) != step:
            fixes += suggest_time_fixes(table, step, config)
        if clash.rows <= MAX_STRAY_SHARE * len(table.times):
            fixes, last = [*last, *fixes], []
    return [Finding(text, True, (*fixes, *last))]


def _suggest_id_columns(table: Panel, clash: DuplicateTimes, config: Reading) -> list[Fix]:
    """Return fixes with columns that identify series, if they leave nearly no duplicate in the whole table."""
    found: list[Fix] = []
    for ids in table.layout.id_candidates[:MAX_TRIED_IDS]:
        fix: Fix = {"id_col": ids}
        if found and set(ids).issuperset(found[0]["id_col"]):
            continue
        # The candidates come from the first rows, where a column may tell rows apart by chance.
        with suppress(ConfigError, DataError):
            changed = apply_fix(config, fix)
            other = read_panel(changed, lenient=True)
            places = grid_slots(other, config.step or common_step(other), follow=True)
            rest = find_duplicate_times(other, places)
            if rest is None or rest.rows <= MAX_STRAY_SHARE * clash.rows:
                found.append(fix)
    return found[:2]


def suggest_time_fixes(table: Panel, step: TimeStep, config: Reading) -> list[Fix]:
    """Return options that read a table whose rows do not fit the step, the best first."""
    even = even_step(table)
    return [
        *([{"freq": str(even), "duplicates": _merge_rule(config)}] if even not in (None, step) else []),
        {"freq": "rows"},
    ]


def check_windows(prepared: PreparedTable, windows: tuple[int, int, int], config: Reading) -> list[Finding]:
    """Return a finding if a required split holds no window."""
    required = [SPLITS[place] for place in required_splits(config)]
    empty = [name for name, problem in zip(required, windows, strict=False) if not problem]
    if not empty:
        return []
    rows = [
        f"{format_count(int((prepared.split == place).sum()), 'row')} for {name}" for place, name in enumerate(required)
    ]
    span = f"window of {prepared.window} steps" + (f" and {prepared.horizon} ahead" if prepared.horizon else "")
    problem = f"The {' and '.join(empty)} split{'s hold' if len(empty) > 1 else ' holds'} no {span}"
    runs = np.unique(prepared.grid.segment[prepared.grid.valued], return_counts=True)[1]
    text = (
        f"{problem if len(empty) < len(required) else f'No split holds a {span}'}: there are "
        f"{', '.join(rows)}, and at most {runs.max(initial=0):,} without a long gap"
    )
    if known := prepared.inferred.get("label_col"):
        text += f"; {known}, except with --task classify"
    fixes: list[Fix] = []
    tries: list[JsonObject] = [{}]
    if division := suggest_division(config, len(prepared.table.ids)):
        tries.insert(0, {"split_by": division})
    if len(runs) > len(prepared.table.ids):
        tries.append({"freq": "rows"})
    for fix in tries:
        for window in (config.window, None):
            changed = apply_fix(config, fix | {"window": window, "duplicates": _duplicate_rule(config)})
            found = prepare_for_any_task(changed, prepared.table)
            found = pad_segments(found, "segments") if changed.may_pad else found
            if all(cut_windows(found, changed)[place].samples for place in required_splits(config)):
                fixes.append(fix if window == config.window else fix | {"window": found.window})
                break
    return [Finding(text if fixes else f"{text}. More rows are needed, or another --split", True, tuple(fixes))]


def _duplicate_rule(config: Reading) -> str:
    return "first" if config.duplicates == "error" else config.duplicates


def check_times(checked: CheckedTable, step: TimeStep) -> list[Finding]:
    """Return findings about the order of rows: equal times, unsorted rows, or interleaved series."""
    found: list[Finding] = []
    config, table, layout = checked.config, checked.table, checked.table.layout
    if layout.time is not None and step == TimeStep() and config.step is None:
        fixes: list[Fix] = [{"id_col": ids} for ids in layout.id_candidates[:1]]
        of = " of a series" if len(table.ids) > 1 else ""
        text = f"All rows{of} have the same time; they are read in the order of the file, as with --freq rows"
        found.append(Finding(text, False, (*fixes, {"freq": "rows"})))
    found += check_interleaved_series(checked)
    if layout.counts and table.unsorted:
        text = (
            f"The counter {quote(layout.time or '')} falls in {format_count(table.unsorted, 'row')}. If it restarts, "
            "name a column of the recording with --id-col; else sort the rows"
        )
        found.append(Finding(text, True, tuple({"id_col": ids} for ids in layout.id_candidates[:1])))
    elif table.unsorted:
        found.append(
            Finding(
                f"{format_count(table.unsorted, 'row')} earlier than the row before; rows are sorted by time", False
            )
        )
    return found


def check_interleaved_series(checked: CheckedTable) -> list[Finding]:
    """Return a finding if columns probably identify interleaved series."""
    candidates = checked.table.layout.interleaved
    if not candidates:
        return []
    text = (
        f"Rows with the same {' and '.join(map(quote, candidates[0]))} have far more regular time steps than all rows, "
        "so the table probably mixes several series; name their column with --id-col"
    )
    return [Finding(text, fixes=tuple({"id_col": ids} for ids in candidates[:2]))]


def describe_missing_steps(share: float, step: TimeStep) -> str:
    """Return a description of the share of steps without a row."""
    return f"{'Over 99%' if share > 0.99 else f'{share:.0%}'} of the steps of {step} have no row"


def check_sparse_grid(table: Panel, step: TimeStep, places: Int64Array, config: Reading) -> list[Finding]:
    """Return a finding, with other steps as fixes, if most steps have no row."""
    share = missing_share(table, places)
    if share <= MAX_MISSING_SHARE:
        return []
    return [Finding(describe_missing_steps(share, step), True, tuple(suggest_time_fixes(table, step, config)))]


def check_gaps(table: Panel, step: TimeStep, gaps: Gaps, prepared: PreparedTable, config: Reading) -> list[Finding]:
    """Return findings about missing rows and about gaps that no window crosses."""
    found = []
    share = gaps.rows / max(gaps.rows + len(table.lines), 1)
    # Outages and nights do not mean that the step is wrong.
    irregular = share > LARGE_MISSING_SHARE and consecutive_share(table, grid_slots(table, step)) < MIN_EVEN_SHARE
    # Common gaps, such as weekends, may be short enough to be crossed.
    crossed = any(gap <= prepared.max_gap for gap in common_gaps(table, grid_slots(table, step), 1))
    if irregular or (crossed and share > LARGE_MISSING_SHARE):
        why = "; they count as missing" if crossed else "; rows seem to have no regular step"
        fixes = () if crossed else tuple(suggest_time_fixes(table, step, config))
        found.append(Finding(describe_missing_steps(share, step) + why, False, fixes))
    if (crossed or not irregular) and gaps.longest > prepared.max_gap:
        without = f", {format_count(gaps.empty, 'row')} without any value among them" if gaps.empty else ""
        text = (
            f"No window crosses {format_count(gaps.long, 'gap')} of more than "
            f"{format_count(prepared.max_gap, 'step')}{without}; the "
            f"longest has {format_count(gaps.longest, 'step')}, after {describe_time(table, gaps.before)}"
        )
        fill: tuple[Fix, ...] = ({"max_gap": gaps.longest},) if gaps.longest <= prepared.window else ()
        found.append(Finding(text, False, fill))
    return found


def check_season_length(checked: CheckedTable) -> list[Finding]:
    """Return a finding if a season is longer than the longest default window, with options for a window of a season."""
    config, prepared = checked.config, checked.prepared
    defaults, step = prepared.defaults, prepared.step
    if defaults is None or defaults.long is None:
        return []
    season, fixes = defaults.long, []
    if wider := choose_coarser_step(step, season):
        fix: JsonObject = {"freq": str(wider), "duplicates": _merge_rule(config)}
        steps = season * step.nanoseconds // wider.nanoseconds
        # Splits that hold only one season have a shorter default window, whatever the step.
        default = config.window is None and _window_after_fix(config, prepared.table, fix) >= steps
        fixes.append(fix if default else fix | {"window": steps})
    fixes = [fix for fix in (*fixes, {"window": season}) if _window_after_fix(config, prepared.table, fix)]
    rows = f" ({TimeStep(season * step.nanoseconds)})" if step.nanoseconds else ""
    text = (
        f"{defaults.column or 'The values'} repeat{'s' * bool(defaults.column)} after {season:,} steps{rows}, more "
        f"than the {MAX_DEFAULT_WINDOW} of a default window. "
    )
    if not fixes:
        text += "Not every split holds a window of one. Pass more rows, or another --split"
    else:
        text += f"Add {', or '.join(map(format_options, fixes))}"
    return [Finding(text, False, tuple(fixes[:1]))]


def _window_after_fix(config: Reading, table: Panel, fix: Fix) -> int:
    """Return the window length with a fix, or 0 if a required split would hold no window."""
    changed = apply_fix(config, {"duplicates": _duplicate_rule(config), **fix})
    found = prepare_for_any_task(changed, table)
    splits = cut_windows(found, changed)
    return found.window if all(splits[place].samples for place in required_splits(changed)) else 0


def _merge_rule(config: Reading) -> str:
    """Return the rule of `--duplicates` for rows that share a position at a coarser step."""
    return "mean" if config.duplicates == "error" else config.duplicates


def check_missing_rows(prepared: PreparedTable) -> list[Finding]:
    """Return findings if many rows are missing, or gaps cost many windows."""
    grid, span = prepared.grid, prepared.window + prepared.horizon
    own = original_rows(grid)
    found, share = [], 1 - float(grid.known[own].mean())
    if share > LARGE_MISSING_SHARE:
        found.append(Finding(f"{share:.1%} of the steps of {prepared.step} have no row; they count as missing"))
    there = grid.valued & own
    runs, wholes = (np.unique(numbers[there], return_counts=True)[1] for numbers in (grid.segment, grid.series))
    windows, most = (int(np.maximum(lengths - span + 1, 0).sum()) for lengths in (runs, wholes))
    if most and (lost := 1 - windows / most) > LARGE_MISSING_SHARE:
        gaps = f"{format_count(len(runs) - len(wholes), 'gap')} of more than {format_count(prepared.max_gap, 'step')}"
        found.append(Finding(f"no window crosses {gaps}, which costs {lost:.1%} of the windows"))
    return found


def check_scales(checked: CheckedTable) -> list[Finding]:
    """Return a finding if series are too small for their common scale, or lack a scale of their own."""
    config, prepared = checked.config, checked.prepared
    if unknown := describe_unknown_series(scale_line_names(config, prepared), prepared.table.ids):
        return [Finding(unknown)]
    text = _describe_unequal_scales(config, prepared)
    fixes: tuple[Fix, ...] = ({"scale": "series"},) if allows_scale_by_series(config, prepared.table) else ()
    if fixes and not np.isnan(prepared.grid.values).any():
        fixes += ({"scale": "window"},)
    return [Finding(text, fixes=fixes)] if text else []


def _describe_unequal_scales(config: Reading, prepared: PreparedTable) -> str:
    """Return a warning if some series vary far less than all together but share their scale; "" otherwise."""
    grid, ids = prepared.grid, prepared.table.ids
    if len(ids) < 2 or config.scale not in ("standard", "minmax"):
        return ""
    rows = prepared.split == 0
    series = grid.series[rows]
    small: set[int] = set()
    ratio = UNEQUAL_SCALE_RATIO if allows_scale_by_series(config, prepared.table) else UNKNOWN_SERIES_SCALE_RATIO
    worst, example = float(ratio), ""
    for name, values in zip(grid.layout.targets, grid.values[rows].T.astype(np.float64), strict=False):
        held = ~np.isnan(values)
        if not held.any():
            continue
        values, series_of = values[held] - values[held].mean(), series[held]
        counts = np.maximum(np.bincount(series_of, minlength=len(ids)), 1)
        centre = np.bincount(series_of, values, len(ids)) / counts
        own = np.sqrt(np.bincount(series_of, np.square(values - centre[series_of]), len(ids)) / counts)
        common = float(values.std())
        # A constant series is not visible at any scale.
        times = np.divide(common, own, out=np.zeros(len(ids)), where=own > 1e-9 * common)
        small |= set(np.flatnonzero(times > ratio).tolist())
        if times.max() > worst:
            worst, which = float(times.max()), int(times.argmax())
            example = (
                f"{format_heading(ids[which])} varies by {own[which]:.3g} in {format_heading(name)}, "
                f"all together by {common:.3g}"
            )
    if not small:
        return ""
    return (
        f"{len(small):,} of {len(ids):,} series vary far less than the others and share one scale with them, so their "
        f"errors hardly count ({example}); "
        + (
            "train with --scale series"
            if allows_scale_by_series(config, prepared.table)
            else "train series of similar size together, or with --scale window"
        )
    )


def allows_scale_by_series(config: Reading, table: Panel) -> bool:
    """Return whether each series may have a scale of its own.

    It may not if whole series are held out, as for classification and a split by series.
    """
    classified = getattr(config, "task", "") == "classify" or not (
        config.forecasts or are_anomaly_labels(table.classes)
    )
    return config.split_by != "series" and not classified


# Rules of a training, by the topic with which its note begins.
TRAINING_RULES: Mapping[str, Callable[[CheckedTable], list[Finding]]] = {
    "missing rows": lambda checked: check_missing_rows(checked.prepared),
    "season": check_season_length,
    "scale": check_scales,
    "counters": check_counters,
    "digits": check_lost_precision,
    "totals": check_totals,
    "far values": check_sentinels,
    "labels": check_label_columns,
    "constants": check_training_constants,
    "series": check_interleaved_series,
    "columns": check_excluded_columns,
}


def collect_table_warnings(config: Reading, prepared: PreparedTable) -> dict[str, str]:
    """Return the warnings about a table to train on, by topic."""
    checked = CheckedTable(config, prepared)
    found = {topic: rule(checked) for topic, rule in TRAINING_RULES.items()}
    return {topic: "; ".join(finding.text for finding in findings) for topic, findings in found.items() if findings}


def describe_lookahead(data: Data, window: int, *, test_table: bool = False) -> str:
    """Return a warning if training rows are later than forecasts of the test split; "" otherwise.

    This happens if each series is divided within its own time range.

    Args:
        window: input steps before a forecast.
        test_table: whether the test split is a table of its own.
    """
    train, test = data.train, data.test
    if train.time is None or test.time is None:
        return ""
    known = train.time[train.starts + train.span - 1].max()
    early = int((test.time[test.starts + window] < known).sum())
    if not early:
        return ""
    verb = "forecasts" if early == 1 else "forecast"
    text = f"{early:,} of {format_count(test.samples, 'test window')} {verb} rows that are earlier than training rows"
    if test_table:
        return f"{text}; pass a table of later rows to --test"
    return f"{text} of other series; series backtest divides all series at the same times"


def collect_new_table_warnings(
    prepared: PreparedTable, scale: Scale | None = None, symbols: Sequence[str] = ()
) -> list[str]:
    """Return the warnings about a table to which a trained model is applied.

    Args:
        scale: scale of the run; None to omit warnings about values.
        symbols: names of the lines of its scale per series.
    """
    words = [
        describe_step_change(prepared),
        "; ".join(finding.text for finding in check_missing_rows(prepared)),
        describe_unknown_series(symbols, prepared.table.ids),
    ]
    if scale is not None and scale.ranged:
        words.append(describe_range_change(prepared, scale, symbols))
    return [text for text in words if text]


def describe_step_change(prepared: PreparedTable) -> str:
    """Return a warning if rows are commonly further apart than the step of the run; "" otherwise."""
    step, own = prepared.step, common_step(prepared.table)
    if not step.size or own.size < 1.5 * step.size:
        return ""
    return (
        f"The rows of {prepared.table.name} are {own} apart, and the run was trained on a row every {step}. Pass rows "
        f"every {step}, or a run trained with --freq {own}"
    )


def describe_range_change(prepared: PreparedTable, scale: Scale, symbols: Sequence[str] = ()) -> str:
    """Return a description of the columns that are mostly far outside the training range; "" if there are none."""
    far, grid = [], prepared.grid
    values = scale.to_common(grid.values, find_scale_lines(symbols, grid.ids)[grid.series])
    for name, column, beyond in zip(grid.layout.values, values.T, scale.far(values).T, strict=True):
        held = ~np.isnan(column)
        if held.any() and (share := float(beyond[held].mean())) > LARGE_MISSING_SHARE:
            far.append(f"{quote(name)} in {share:.0%} of the rows")
    if not far:
        return ""
    return (
        f"Far outside the training range: {format_names(far)}; scores mainly reflect this drift. Train again on rows "
        "like these, or on the differences of values that keep rising"
    )


class TableInspection(NamedTuple):
    """Content of a table and the findings about it.

    Args:
        table: the table as read.
        step, gaps, clash: time step, gaps, and duplicate times.
        features: statistics of the columns to model.
        others: kind of each of the other columns.
        prepared: the table on its grid and divided.
        windows: number of windows in each of `SPLITS`.
        horizon: default horizon of a forecast; 0 if nothing is to be forecast, or the rows are too few.
        findings: findings: problems first, then notes with a fix, then other notes.
    """

    table: Panel
    step: TimeStep
    gaps: Gaps
    clash: DuplicateTimes | None
    features: tuple[ColumnSummary, ...]
    others: Mapping[str, str]
    prepared: PreparedTable
    windows: tuple[int, int, int]
    horizon: int
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """True if a model can be trained on the table as it is."""
        return not any(finding.fatal for finding in self.findings)


def holds_classes(config: Reading, table: Panel) -> bool:
    """Return whether the labels of a table are classes, and not marks of anomalies."""
    return not config.forecasts and len(table.classes) > 1 and not are_anomaly_labels(table.classes)


def inspect_table(config: Reading, progress: Progress | None = None) -> TableInspection:
    """Read a table and return its content and all findings.

    Raises:
        ConfigError, DataError: if the table cannot be inspected, as in `read_panel` and `prepare_table`.
    """
    table = read_panel(config, progress, lenient=True)
    step = config.step or common_step(table)
    places = grid_slots(table, step, follow=config.duplicates == "error")
    clash = find_duplicate_times(table, places)
    # The inspection continues in spite of duplicates, to report other problems as well.
    given = config if clash is None or config.duplicates != "error" else apply_fix(config, {"duplicates": "first"})
    settings: JsonObject = {}
    inferred: dict[str, str] = {}
    known = table
    if classes := holds_classes(config, table):
        settings, known, inferred, _ = choose_division(given, table)
    elif are_anomaly_labels(table.classes):
        settings, inferred = choose_whole_series(given, table)
    config, lenient = (dataclasses.replace(each, **settings) for each in (config, given))
    prepared = prepare_table(lenient, known) if classes else prepare_for_any_task(lenient, table)
    prepared = prepared._replace(inferred={**prepared.inferred, **inferred})
    filled = pad_segments(prepared, "series" if classes else "segments") if config.may_pad else prepared
    train, validation, test = cut_windows(filled, config)
    windows = (train.samples, validation.samples, test.samples)
    checked = CheckedTable(config, prepared)
    gaps = find_gaps(table, places, prepared.max_gap)
    layout = table.layout
    roles = {layout.time, *layout.ids, layout.label, *layout.values}
    others = {name: layout.kinds[name] for name in layout.names if name not in roles}
    # If another step is advised, gaps and windows at this step are not informative.
    near = clash is not None and not clash.same_time and config.duplicates == "error"
    uneven = check_sparse_grid(table, step, places, config)
    findings = [
        *check_cells(table, config),
        *check_duplicates(table, step, clash, config),
        *(uneven if not near else []),
        *([] if uneven else check_windows(prepared, windows, config)),
        *check_times(checked, step),
        *([] if near or uneven else check_gaps(table, step, gaps, prepared, config)),
        *check_season_length(checked),
        *(finding for rule in COLUMN_RULES for finding in rule(checked)),
        *check_scales(checked),
    ]
    findings.sort(key=lambda finding: (not finding.fatal, not finding.fixes))
    horizon = choose_horizon(given, table) if given.window is None and not given.forecasts else 0
    return TableInspection(
        table, step, gaps, clash, checked.summaries, others, prepared, windows, horizon, tuple(findings)
    )


def choose_horizon(config: Reading, table: Panel) -> int:
    """Return the horizon that a training chooses for a forecast of the table; 0 if a split would hold no window."""
    forecast = Series.merge(config.to_dict(), {"task": "forecast"})
    prepared = prepare_table(forecast, table)
    splits = cut_windows(prepared, forecast)
    return prepared.horizon if all(splits[place].samples for place in prepared.required) else 0
