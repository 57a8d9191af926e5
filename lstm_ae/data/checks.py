"""Check a table for errors, with options that fix them, and for conditions that deserve a warning.

`inspect_table` applies all `RULES` for `lstmae series check`. A training warns of the findings of `TRAINING_TOPICS`,
and a run that is applied to another table of those in `collect_new_table_warnings`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from lstm_ae.arrays import Array, Float64Array
from lstm_ae.config import Reading
from lstm_ae.config.reading import TimeStep
from lstm_ae.data.anomaly_labels import are_anomaly_labels
from lstm_ae.data.checked_table import (
    LARGE_MISSING_SHARE,
    CheckedTable,
    count_windows,
    holds_classes,
)
from lstm_ae.data.class_labels import choose_division
from lstm_ae.data.column_checks import (
    check_cells,
    check_constants,
    check_excluded_columns,
    check_identifiers,
    check_label_columns,
    check_sentinels,
    check_totals,
)
from lstm_ae.data.findings import ANY_ZONE, Finding, Fix, apply_fix
from lstm_ae.data.grid import (
    MAX_MISSING_SHARE,
    MAX_STRAY_SHARE,
    MIN_EVEN_SHARE,
    DuplicateTimes,
    common_gaps,
    common_step,
    consecutive_share,
    describe_time,
    even_step,
    find_duplicate_times,
    grid_slots,
    missing_share,
    repeats_autumn_hour,
)
from lstm_ae.data.padding import original_rows
from lstm_ae.data.panel import run_starts
from lstm_ae.data.preparation import (
    PreparedTable,
    choose_whole_series,
    prepare_for_any_task,
    scale_line_names,
)
from lstm_ae.data.scaling import Scale, SeriesScales, describe_unknown_series
from lstm_ae.data.split import SPLITS, required_splits, suggest_division
from lstm_ae.data.table_reader import Progress, read_panel
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.formatting import format_count, format_heading, format_names, quote
from lstm_ae.json_types import JsonObject

# Ratio between the spread of all series and that of one series beyond which its variation is hardly visible.
UNEQUAL_SCALE_RATIO = 3

# Largest number of candidates for `--id-col` to try: each reads the table once more.
MAX_TRIED_IDS = 3

# Smallest share of the rows that merging rows with the same time may leave.
MIN_MERGED_SHARE = 0.2


def check_duplicates(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if rows have the same time."""
    config, table, clash = checked.config, checked.table, checked.clash
    if clash is None or not clash.same_time or config.duplicates != "error":
        return
    first, second = (f"{table.place} {table.lines[row]}" for row in (clash.first, clash.second))
    text = (
        f"{format_count(clash.rows, 'row')} with a duplicate timestamp: {first} and {second} are both at "
        f"{describe_time(table, clash.second)}"
    )
    fixes: list[Fix] = []
    if repeats_autumn_hour(table, checked.places):
        # Two different hours must not be averaged, and only the user knows the time zone.
        fixes.append({"time_zone": ANY_ZONE})
        other = f", though not in {config.time_zone}" if config.time_zone else ""
        text += (
            f", in an hour that daylight saving repeats{other}: pass --time-zone ZONE, the zone of these clocks, such "
            "as Europe/London or America/New_York"
        )
    elif ids := find_id_columns(checked, clash):
        fixes.append({"id_col": ids})
    elif run_starts(table.series, checked.places).mean() < MIN_MERGED_SHARE:
        text += ". Name the column of the series with --id-col, or join the column of the time of day to the dates"
    elif not (table.layout.counts and table.unsorted):  # merging would mix recordings
        fixes.append({"duplicates": "mean"})
    yield Finding(text, True, tuple(fixes))


def find_id_columns(checked: CheckedTable, clash: DuplicateTimes) -> tuple[str, ...]:
    """Return the first candidates that, as names of series, leave nearly no duplicate; () if none do.

    The candidates come from the first rows, where a column may tell rows apart by chance.
    """
    for ids in checked.table.layout.id_candidates[:MAX_TRIED_IDS]:
        with suppress(ConfigError, DataError):
            table = read_panel(apply_fix(checked.config, {"id_col": ids}), lenient=True)
            step = checked.config.step or common_step(table)
            rest = find_duplicate_times(table, grid_slots(table, step, follow=True))
            if rest is None or rest.rows <= MAX_STRAY_SHARE * clash.rows:
                return ids
    return ()


def check_step(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if rows are too close for the step of the grid, or most of its steps have no row."""
    table, step, clash = checked.table, checked.step, checked.clash
    share = missing_share(table, checked.places)
    if clash is None or clash.same_time or checked.config.duplicates != "error":
        if share > MAX_MISSING_SHARE:
            text = _describe_missing_steps(share, step)
            yield Finding(text, True, tuple(suggest_time_fixes(checked)))
        return
    first, second = (f"{table.place} {table.lines[row]}" for row in (clash.first, clash.second))
    text = (
        f"{format_count(clash.rows, 'row')} too close for a step of {step.text}: {second} is only "
        f"{step.resized(clash.distance).text} after {first}"
    )
    if ids := find_id_columns(checked, clash):
        yield Finding(text, True, ({"id_col": ids},))
        return
    fixes = suggest_time_fixes(checked)
    if share <= MAX_MISSING_SHARE:
        # The mean of a few stray rows changes the table least.
        fixes.insert(0 if clash.rows <= MAX_STRAY_SHARE * len(table.times) else 1, {"duplicates": "mean"})
    yield Finding(text, True, tuple(fixes[:2]))


def suggest_time_fixes(checked: CheckedTable) -> list[Fix]:
    """Return options that read a table whose rows do not fit the step, the best first."""
    table, even = checked.table, even_step(checked.table)
    if even in (None, checked.step):
        return [{"freq": "rows"}]
    merge = find_duplicate_times(table, grid_slots(table, even)) is not None
    return [{"freq": str(even), **({"duplicates": _merge_rule(checked)} if merge else {})}, {"freq": "rows"}]


def _merge_rule(checked: CheckedTable) -> str:
    """Return the rule of `--duplicates` for rows that share a position at a coarser step."""
    return "mean" if checked.config.duplicates == "error" else checked.config.duplicates


def _describe_missing_steps(share: float, step: TimeStep) -> str:
    return f"{'Over 99%' if share > 0.99 else f'{share:.1%}'} of the steps of {step.text} have no row"


def check_windows(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if a required split holds no window."""
    config, prepared = checked.config, checked.prepared
    longest = {
        SPLITS[place]: rows
        for place, rows in zip(prepared.required, prepared.split_runs().longest(), strict=True)
        if not checked.windows[place]
    }
    if not longest:
        return
    empty = [f"{name} split ({format_count(rows, 'row')} without a long gap)" for name, rows in longest.items()]
    text = f"No window of {prepared.window + prepared.horizon} rows in the {', '.join(empty)}"
    if known := prepared.inferred.get("label_col"):
        text += f"; {known}, except with --task classify"
    division = suggest_division(config, len(prepared.table.ids))
    tries: list[JsonObject] = [{"split_by": division}] if division else []
    tries += [{"window": None}, {"freq": "rows"}]
    fixes: list[Fix] = []
    for fix in tries:
        if found := prepare_with_fix(checked, fix):
            fixes.append({**fix, "window": found.window} if "window" in fix else fix)
    advice = "" if fixes else ". More rows are needed, or another --split"
    yield Finding(text + advice, True, tuple(fixes[:2]))


def prepare_with_fix(checked: CheckedTable, fix: Fix) -> PreparedTable | None:
    """Return the table prepared with a fix, or None if a required split would hold no window."""
    rule = "first" if checked.config.duplicates == "error" else checked.config.duplicates
    config = apply_fix(checked.config, {"duplicates": rule, **fix})
    prepared = prepare_for_any_task(config, checked.prepared.table)
    windows = count_windows(config, prepared)
    return prepared if all(windows[place] for place in required_splits(config)) else None


def check_order(checked: CheckedTable) -> Iterator[Finding]:
    """Yield findings about the order of rows: equal times, or unsorted rows."""
    table, layout = checked.table, checked.table.layout
    ids: tuple[Fix, ...] = tuple({"id_col": ids} for ids in layout.id_candidates[:1])
    if layout.time is not None and checked.step == TimeStep() and checked.config.step is None:
        text = "All rows of a series have the same time; they are read in the order of the file, as with --freq rows"
        yield Finding(text, fixes=(*ids, {"freq": "rows"}))
    if layout.counts and table.unsorted:
        text = (
            f"The counter {quote(layout.time or '')} falls in {format_count(table.unsorted, 'row')}. If it restarts, "
            "name a column of the recording with --id-col; else sort the rows"
        )
        yield Finding(text, True, ids)
    elif table.unsorted:
        yield Finding(f"{format_count(table.unsorted, 'row')} earlier than the row before; rows are sorted by time")


def check_missing_rows(checked: CheckedTable) -> Iterator[Finding]:
    """Yield findings if many rows are missing, or gaps cost many windows."""
    prepared = checked.prepared
    grid, span = prepared.grid, prepared.window + prepared.horizon
    own = original_rows(grid)
    if (share := 1 - float(grid.known[own].mean())) > LARGE_MISSING_SHARE:
        # Common gaps, such as nights and weekends, do not mean that the step is wrong.
        regular = consecutive_share(checked.table, checked.places) >= MIN_EVEN_SHARE
        regular = regular or bool(common_gaps(checked.table, checked.places, 1))
        fixes = () if regular else tuple(suggest_time_fixes(checked))
        yield Finding(f"{_describe_missing_steps(share, checked.step)}; they count as missing", fixes=fixes)
    observed = grid.valued & own
    runs, wholes = (np.unique(numbers[observed], return_counts=True)[1] for numbers in (grid.segment, grid.series))
    windows, most = (int(np.maximum(lengths - span + 1, 0).sum()) for lengths in (runs, wholes))
    if most and (lost := 1 - windows / most) > LARGE_MISSING_SHARE:
        gaps = checked.gaps
        text = (
            f"No window crosses {format_count(gaps.long, 'gap')} of more than "
            f"{format_count(prepared.max_gap, 'step')}, which costs {lost:.1%} of the windows; the longest has "
            f"{format_count(gaps.longest, 'step')}, after {describe_time(checked.table, gaps.before)}"
        )
        yield Finding(text, fixes=({"max_gap": gaps.longest},) if gaps.longest <= prepared.window else ())


def check_scales(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if series are too small for their common scale, or lack a scale of their own."""
    config, prepared = checked.config, checked.prepared
    ids = prepared.table.ids
    if unknown := describe_unknown_series(scale_line_names(config, prepared), ids):
        yield Finding(unknown)
        return
    rows = prepared.split == 0
    # Whole series that are held out, as for classification and a split by series, have no scale of their own.
    held_out = config.split_by == "series" or holds_classes(config, prepared.table)
    if held_out or len(ids) < 2 or config.scale not in ("standard", "minmax") or not rows.any():
        return
    first = np.flatnonzero(run_starts(prepared.grid.series[rows]))
    values = prepared.grid.values[rows, : len(prepared.grid.layout.targets)].astype(np.float64)
    own, common = _spreads(values, first), _spreads(values, np.zeros(1, np.int64))
    # A constant series is not visible at any scale.
    ratio = np.divide(common, own, out=np.zeros(own.shape), where=own > 1e-9 * common)
    small = int((ratio > UNEQUAL_SCALE_RATIO).any(axis=1).sum())
    if small:
        row, column = np.unravel_index(ratio.argmax(), ratio.shape)
        worst = format_heading(ids[prepared.grid.series[rows][first[row]]])
        name = format_heading(prepared.grid.layout.targets[column])
        text = (
            f"{small:,} of {len(ids):,} series vary far less than the others and share one scale with them, so their "
            f"errors hardly count ({worst} varies by {own[row, column]:.3g} in {name}, all together by "
            f"{common[0, column]:.3g}); train with --scale series"
        )
        yield Finding(text, fixes=({"scale": "series"},))


def _spreads(values: Float64Array, first: Array) -> Float64Array:
    """Return the standard deviation of each column from each of the first rows to the next, `(runs, columns)`."""
    present = ~np.isnan(values)
    counts = np.maximum(np.add.reduceat(present, first, axis=0, dtype=np.int64), 1)
    means = np.add.reduceat(np.where(present, values, 0), first, axis=0) / counts
    away = values - np.repeat(means, np.diff(np.r_[first, len(values)]), axis=0)
    found: Float64Array = np.sqrt(np.add.reduceat(np.where(present, away**2, 0), first, axis=0) / counts)
    return found


Rule = Callable[[CheckedTable], Iterator[Finding]]

# Rules by topic, in the order of `lstmae series check`.
RULES: Mapping[str, Rule] = {
    "cells": check_cells,
    "duplicates": check_duplicates,
    "step": check_step,
    "windows": check_windows,
    "order": check_order,
    "missing rows": check_missing_rows,
    "source": lambda checked: map(Finding, checked.table.notes),
    "identifiers": check_identifiers,
    "constants": check_constants,
    "counters": check_totals,
    "far values": check_sentinels,
    "labels": check_label_columns,
    "columns": check_excluded_columns,
    "scale": check_scales,
}

# Topics of which a training warns, in notes that begin with them.
TRAINING_TOPICS = (
    *("missing rows", "scale", "counters", "far values", "labels", "constants", "columns", "identifiers"),
)


def collect_table_warnings(config: Reading, prepared: PreparedTable) -> dict[str, str]:
    """Return the warnings about a table to train on, by topic."""
    checked = CheckedTable(config, prepared.table, prepared)
    found = {topic: "; ".join(finding.text for finding in RULES[topic](checked)) for topic in TRAINING_TOPICS}
    return {topic: text for topic, text in found.items() if text}


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
    text = f"{early:,} of {format_count(test.samples, 'test window')} forecast rows that are earlier than training rows"
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
    checked = CheckedTable(Reading(), prepared.table, prepared)
    words = [
        describe_step_change(prepared),
        "; ".join(finding.text for finding in check_missing_rows(checked)),
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
        f"The rows of {prepared.table.name} are {own.text} apart, and the run was trained on a row every {step.text}. "
        f"Pass rows every {step.text}, or a run trained with --freq {own}"
    )


def describe_range_change(prepared: PreparedTable, scale: Scale, symbols: Sequence[str] = ()) -> str:
    """Return a description of the columns that are mostly far outside the training range; "" if there are none."""
    far, grid = [], prepared.grid
    values = SeriesScales(scale, symbols).to_common(grid).values
    for name, column, beyond in zip(grid.layout.values, values.T, scale.far(values).T, strict=True):
        present = ~np.isnan(column)
        if present.any() and (share := float(beyond[present].mean())) > LARGE_MISSING_SHARE:
            far.append(f"{quote(name)} in {share:.0%} of the rows")
    if not far:
        return ""
    return (
        f"Far outside the training range: {format_names(far)}; scores mainly reflect this drift. Train again on rows "
        "like these, or on the differences of values that keep rising"
    )


def inspect_table(config: Reading, progress: Progress | None = None) -> CheckedTable:
    """Read a table and return it with all findings: problems first, then notes with a fix, then other notes.

    Raises:
        ConfigError, DataError: if the table cannot be inspected, as in `read_panel` and `prepare_table`.
    """
    table = read_panel(config, progress, lenient=True)
    checked = CheckedTable(config, table)
    given, known = config, table
    if checked.clash is not None and config.duplicates == "error":
        # The inspection continues in spite of duplicates, to report other problems as well.
        given = dataclasses.replace(config, duplicates="first")
    if holds_classes(config, table):
        settings, known, inferred, _ = choose_division(given, table)
    else:
        settings, inferred = choose_whole_series(given, table) if are_anomaly_labels(table.classes) else ({}, {})
    prepared = prepare_for_any_task(dataclasses.replace(given, **settings), known)
    prepared = prepared._replace(inferred={**prepared.inferred, **inferred})
    checked.config, checked.prepared = dataclasses.replace(config, **settings), prepared
    findings: list[Finding] = []
    for topic, rule in RULES.items():
        # If another step is advised, windows and missing rows at this step are not informative.
        if topic not in ("windows", "missing rows") or not any(finding.topic == "step" for finding in findings):
            findings += [finding._replace(topic=topic) for finding in rule(checked)]
    checked.findings = tuple(sorted(findings, key=lambda finding: (not finding.fatal, not finding.fixes)))
    return checked
