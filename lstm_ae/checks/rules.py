"""Rules that find errors in a table, with options to try, and conditions that deserve a warning."""

import collections
import dataclasses
import functools
import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.classification.padding import pad_segments
from lstm_ae.config import Reading
from lstm_ae.config.options import option_words
from lstm_ae.config.reading import UNITS, TimeStep
from lstm_ae.data.anomaly_labels import are_anomaly_labels
from lstm_ae.data.grid import (
    DATES_ADVICE,
    MAX_DUPLICATE_SHARE,
    MAX_MISSING_SHARE,
    DuplicateTimes,
    Gaps,
    common_step,
    consecutive_share,
    describe_duplicates,
    find_duplicate_times,
    find_gaps,
    grid_slots,
    mean_drift,
    missing_share,
)
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable, cut_windows, scale_line_names
from lstm_ae.data.scaling import describe_unknown_series
from lstm_ae.data.split import SPLITS
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import AUTUMN_ADVICE, DAY
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.formatting import format_count, format_names, quote
from lstm_ae.json_types import JsonMapping

# Headings of columns that hold labels, and the largest number of different ones.
LABEL_HEADING = re.compile(r"(?<![a-z])(label|anomal|class|target|fail|fault)", re.IGNORECASE)
MAX_LABELS = 20

# Numbers that data loggers commonly write for missing values, the furthest from 0 first.
SENTINELS = (-9999, 9999, -999)

# Smallest share of missing rows or windows for a warning.
LARGE_MISSING_SHARE = 0.2

# Largest share of rows too close to another row that are exceptions.
MAX_STRAY_SHARE = 0.02

# Largest mean drift of the positions of rows from their times, in steps.
MAX_DRIFT = 0.1

# Smallest share of steps without a gap in a table with a regular step.
MIN_EVEN_SHARE = 0.9

# Headings of identifiers, such as pump_id, machineId, and Station No. NO is a gas.
IDENTIFIER_HEADING = re.compile(r"(?!NO$)(.*[\W_])?(?i:id|nr|no|code)|.*[a-z](Id|ID|No|Nr)")

# Time of day before which clocks are put back.
NIGHT = 4 * UNITS["h"]

# Largest number of candidates for `--id-col` to try: each reads the table once more.
MAX_TRIED_IDS = 4

# Largest number of distinct words that may all represent missing values; more are probably text.
MAX_MISSING_WORDS = 20

# Values to try, by field of the configuration.
Fix = JsonMapping


class Finding(NamedTuple):
    """Result of a check that the user should know.

    Args:
        text: one sentence.
        fatal: whether it must be fixed before training.
        fixes: options to try; the best first.
        topic: name of the rule.
    """

    text: str
    fatal: bool = False
    fixes: tuple[Fix, ...] = ()
    topic: str = ""


def format_options(values: Fix) -> str:
    """Return the command-line options that set fields of the configuration, quoted for a shell."""
    return shlex.join(option_words(Reading, values))


class ColumnSummary(NamedTuple):
    """Statistics of a modeled column over the rows of the table; `missing` is the share of missing values."""

    name: str
    minimum: float
    mean: float
    maximum: float
    missing: float


@dataclasses.dataclass
class CheckedTable:
    """Table with the facts that several rules need.

    Args:
        config: configuration with which the table was read.
        table: the table as read.
        prepared: the table on its grid and divided.
        findings: findings about the table, once it is checked.
    """

    config: Reading
    table: Panel
    prepared: PreparedTable
    findings: tuple[Finding, ...] = ()

    @functools.cached_property
    def places(self) -> Int64Array:
        """Grid position of each row, `(rows,)`."""
        return grid_slots(self.table, self.prepared.step, merge=self.config.duplicates != "error")

    @functools.cached_property
    def clash(self) -> DuplicateTimes | None:
        """Rows that share a grid position."""
        return find_duplicate_times(self.table, self.places)

    @functools.cached_property
    def gaps(self) -> Gaps:
        """Gaps within series."""
        return find_gaps(self.table, self.places, self.prepared.max_gap)

    @functools.cached_property
    def windows(self) -> tuple[int, int, int]:
        """Number of windows in each of `SPLITS`, with short series of a classifier padded."""
        config, prepared = self.config, self.prepared
        if config.split_by == "series" and holds_classes(config, prepared.table):
            prepared = pad_segments(prepared)
        train, validation, test = cut_windows(prepared, config)
        return train.samples, validation.samples, test.samples

    @functools.cached_property
    def columns(self) -> dict[str, Float32Array]:
        """Values of each modeled column that are not missing, in rows with an observed value."""
        panel = self.prepared.table
        columns = zip(panel.layout.values, panel.values.T, strict=True)
        return {name: values for name, column in columns if len(values := column[~np.isnan(column)])}

    @functools.cached_property
    def summaries(self) -> tuple[ColumnSummary, ...]:
        """Statistics of each modeled column."""
        summaries, rows = [], len(self.prepared.table.values)
        for name, values in self.columns.items():
            low, mean, high = float(values.min()), float(values.mean(dtype=np.float64)), float(values.max())
            summaries.append(ColumnSummary(name, low, mean, high, 1 - len(values) / rows))
        return tuple(summaries)

    @functools.cached_property
    def labels(self) -> list[str]:
        """Modeled columns that probably hold labels, by their heading and few whole numbers; none if all would be."""
        targets = self.prepared.table.layout.targets
        labels = [
            name
            for name, values in self.columns.items()
            if name in targets
            and LABEL_HEADING.search(name)
            and 1 < len(np.unique(values)) <= MAX_LABELS
            and (values == np.rint(values)).all()
        ]
        return labels if len(self.columns) > 1 and not self.config.value_cols else []

    @property
    def usable(self) -> bool:
        """True if a model can be trained on the table as it is."""
        return not any(finding.fatal for finding in self.findings)

    def without(self, names: Sequence[str]) -> tuple[Fix, ...]:
        """Return the option that models all columns but these; none if no column or only labels would remain."""
        others = tuple(name for name in self.table.layout.targets if name not in names)
        return ({"value_cols": others},) if set(others) - set(self.labels) else ()


def holds_classes(config: Reading, table: Panel) -> bool:
    """Return whether the labels of a table are classes, and not marks of anomalies."""
    if getattr(config, "task", "") == "classify":
        return True
    return not config.forecasts and len(table.classes) > 1 and not are_anomaly_labels(table.classes)


def _name_columns(names: Sequence[str]) -> str:
    return format_names([quote(name)[:60] for name in names])


def check_cells(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding for each problem of cells that are not numbers, with the distinct values."""
    table, values = checked.table, set(checked.table.layout.values)
    key = lambda cells: (cells.column not in values, cells.problem.text)  # noqa: E731
    for (_, problem), group in itertools.groupby(sorted(table.bad, key=key), key):
        columns = list(group)
        first, names = min(columns, key=lambda cells: cells.row), [cells.column for cells in columns]
        words = sum((cells.words for cells in columns), collections.Counter[str]())
        counted = [f"{quote(word)[:60]} ({format_count(times, 'cell')})" for word, times in words.most_common()]
        text = (
            f"{format_names(counted)} in {_name_columns(names)}, the first in {table.place} {first.row}: such a cell "
            f"{problem}. {first.problem.advice}"
        )
        fixes: list[Fix] = []
        if first.problem.word and len(words) <= MAX_MISSING_WORDS and values.issuperset(names):
            fixes.append({"missing": (*checked.config.missing, *words)})
        yield Finding(text, True, (*fixes, *checked.without(names)))


def check_times(config: Reading, table: Panel, step: TimeStep) -> Iterator[Finding]:
    """Yield a finding if rows are too close for the step of the grid or off it, or most of its steps have no row."""
    strict = config.duplicates == "error"
    places = grid_slots(table, step, merge=not strict)
    clash = find_duplicate_times(table, places)
    fix: Fix = {"freq": "rows"}
    if strict and clash:
        text = describe_duplicates(table, step, clash)
        if ids := find_id_columns(config, table, clash):
            # Rows of different series must not be merged.
            fix = {"id_col": ids}
        elif clash.rows < (MAX_DUPLICATE_SHARE if clash.same_time else MAX_STRAY_SHARE) * len(table.times):
            fix = {"duplicates": "first"}
            if clash.same_time and not table.layout.aware and table.times[clash.second] % DAY < NIGHT:
                text += f". Daylight saving time may repeat the hour. {AUTUMN_ADVICE}"
        elif clash.same_time:
            text += f". {DATES_ADVICE}"
            fix = {}
        yield Finding(text, True, (fix,) if fix else ())
    elif strict and config.freq and mean_drift(table, step) > MAX_DRIFT:
        fix = {"freq": str(common_step(table))}
        yield Finding(f"The times of the rows do not follow a step of {step.text}", True, (fix,))
    elif (share := missing_share(table, places)) > MAX_MISSING_SHARE:
        yield Finding(_describe_missing_steps(share, step), True, (fix,))


def find_id_columns(config: Reading, table: Panel, clash: DuplicateTimes) -> tuple[str, ...]:
    """Return the first candidate columns of series names that leave nearly no duplicate; () if none do.

    The candidates come from the first rows, where a column may distinguish rows by chance.
    """
    for ids in table.layout.id_candidates[:MAX_TRIED_IDS]:
        with suppress(ConfigError, DataError):
            again = read_panel(dataclasses.replace(config, id_col=ids), use="check")
            remaining = find_duplicate_times(again, grid_slots(again, config.step or common_step(again)))
            if remaining is None or remaining.rows <= MAX_STRAY_SHARE * clash.rows:
                return ids
    return ()


def _describe_missing_steps(share: float, step: TimeStep) -> str:
    return f"{'Over 99%' if share > 0.99 else f'{share:.1%}'} of the steps of {step.text} have no row"


def check_windows(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if a required split holds no window."""
    config, prepared = checked.config, checked.prepared
    longest = prepared.longest_runs()
    empty = [
        f"{SPLITS[place]} split ({format_count(rows, 'row')} without a long gap)"
        for place, rows in zip(prepared.required, longest, strict=True)
        if not checked.windows[place]
    ]
    if not empty:
        return
    text = f"No window of {prepared.window + prepared.horizon} rows in the {', '.join(empty)}"
    if known := prepared.inferred.get("label_col"):
        text += f"; {known}, except with --task classify"
    fixes: list[Fix] = []
    several = config.split_by != "series" and config.scale != "series" and len(prepared.table.ids) >= len(SPLITS)
    if several and np.bincount(prepared.grid.series).max() >= prepared.window + prepared.horizon:
        fixes.append({"split_by": "series"})
    if (window := (min(longest) - prepared.horizon) // 2) > 1:
        fixes.append({"window": window})
    yield Finding(text if fixes else f"{text}. More rows are needed, or another --split", True, tuple(fixes))


def check_missing_rows(checked: CheckedTable) -> Iterator[Finding]:
    """Yield findings if many rows are missing, or gaps cost many windows."""
    prepared = checked.prepared
    grid, span = prepared.grid, prepared.window + prepared.horizon
    if (share := 1 - float(grid.known.mean())) > LARGE_MISSING_SHARE:
        # Common gaps, such as nights and weekends, do not mean that the step is wrong.
        regular = consecutive_share(checked.table, checked.places) >= MIN_EVEN_SHARE
        fixes: tuple[Fix, ...] = () if regular else ({"freq": "rows"},)
        yield Finding(f"{_describe_missing_steps(share, prepared.step)}; they count as missing", fixes=fixes)
    runs, wholes = (np.unique(numbers[grid.valued], return_counts=True)[1] for numbers in (grid.segment, grid.series))
    windows, possible = (int(np.maximum(lengths - span + 1, 0).sum()) for lengths in (runs, wholes))
    if possible and (lost := 1 - windows / possible) > LARGE_MISSING_SHARE:
        gaps = checked.gaps
        text = (
            f"No window crosses {format_count(gaps.long, 'gap')} of more than "
            f"{format_count(prepared.max_gap, 'step')}, which costs {lost:.1%} of the windows; the longest has "
            f"{format_count(gaps.longest, 'step')}"
        )
        yield Finding(text, fixes=({"max_gap": gaps.longest},) if gaps.longest <= prepared.window else ())


def check_constants(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding for columns that hold one value in all rows."""
    constant = [name for name, values in checked.columns.items() if values.min() == values.max()]
    if constant:
        text = f"One value in all rows, to the seven digits of float32: {_name_columns(constant)}"
        yield Finding(text, fixes=checked.without(constant))


def check_identifiers(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if modeled columns of numbers that repeat have headings of identifiers."""
    names = [
        name
        for name, values in checked.columns.items()
        if IDENTIFIER_HEADING.fullmatch(name.strip()) and 2 * len(np.unique(values)) <= len(values)
    ]
    if names and not checked.config.value_cols:
        text = f"Modeled as values, with headings of identifiers: {_name_columns(names)}"
        yield Finding(text, fixes=({"id_col": (names[0],)}, *checked.without(names)))


def find_sentinels(values: Float32Array) -> list[int]:
    """Return the `SENTINELS` that occur at least twice and lie further from the other values than their range."""
    sentinels = []
    for number in SENTINELS:
        others = values[values != number]
        if 0 < len(others) <= len(values) - 2:
            low, high = float(others.min()), float(others.max())
            if max(low - number, number - high) > high - low > 0:
                sentinels.append(number)
                values = others
    return sentinels


def check_sentinels(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if columns hold numbers that probably represent missing values."""
    sentinels = {name: numbers for name, values in checked.columns.items() if (numbers := find_sentinels(values))}
    if sentinels:
        words = tuple(str(number) for number in SENTINELS if number in {*itertools.chain(*sentinels.values())})
        text = (
            f"Far from all other values of {_name_columns(list(sentinels))}: {', '.join(words)}; if these stand for "
            f"missing values, add --missing={','.join(words)}"
        )
        yield Finding(text, fixes=({"missing": (*checked.config.missing, *words)},))


def check_label_columns(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if modeled columns probably hold labels."""
    labels = checked.labels
    if not labels:
        return
    fixes, solved = checked.without(labels), ""
    if checked.table.layout.label is None:
        others = fixes[0] if fixes and len(labels) > 1 else {}
        fixes, solved = ({"label_col": labels[0], **others}, *fixes), "name it with --label-col, or "
    text = f"Modeled as values, but like labels by name or content: {_name_columns(labels)}"
    yield Finding(f"{text}; {solved}leave it out with --value-cols", fixes=fixes)


def check_excluded_columns(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding with the columns that are left out because most of their cells are not numbers."""
    texts = [name for name, kind in checked.table.layout.others.items() if kind == "text"]
    if texts and not checked.config.value_cols:
        yield Finding(
            f"Columns left out, as most cells are not numbers: {_name_columns(texts)}; if one names the series, add "
            f"--id-col with it"
        )


def check_scales(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if series have too few rows for a scale of their own."""
    names = scale_line_names(checked.config, checked.prepared)
    if unknown := describe_unknown_series(names, checked.prepared.table.ids):
        yield Finding(unknown)


Rule = Callable[[CheckedTable], Iterator[Finding]]

# Rules by topic, in the order of `lstmae series check`.
RULES: Mapping[str, Rule] = {
    "cells": check_cells,
    "times": lambda checked: check_times(checked.config, checked.table, checked.prepared.step),
    "windows": check_windows,
    "missing rows": check_missing_rows,
    "source": lambda checked: map(Finding, checked.table.notes),
    "constants": check_constants,
    "identifiers": check_identifiers,
    "far values": check_sentinels,
    "labels": check_label_columns,
    "columns": check_excluded_columns,
    "scale": check_scales,
}
