"""Check the columns of a table: one function per rule, which returns its findings with the options that fix them.

`lstmae series check` shows the findings of all rules; a training warns of those in `checks.TRAINING_RULES`.
"""

import collections
import functools
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Float32Array
from lstm_ae.config import Reading
from lstm_ae.data.anomaly_labels import are_anomaly_labels
from lstm_ae.data.findings import Finding, Fix
from lstm_ae.data.numbers import MISSING_WORDS
from lstm_ae.data.panel import Panel, run_starts
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.data.timestamps import is_time_heading
from lstm_ae.formatting import format_count, format_names, quote

# Numbers that data loggers commonly write for missing values.
COMMON_SENTINELS = (
    "-9999", "-999", "-99", "-99999", "9999", "99999", "999999", "65535", "32767", "-32768", "2147483647",
    "-2147483648", "4294967295", "1e20", "1e30", "-1e20", "-1e30",
)  # fmt: skip

# Smallest distance of a sentinel from the other values of the column, in terms of their spread: for a common sentinel,
# for any other number, and for one that occurs only once or twice.
COMMON_SENTINEL_DISTANCE, SENTINEL_DISTANCE, RARE_SENTINEL_DISTANCE = 3, 10, 1_000

# Headings of label columns with any content, and words in headings of columns of 0 and 1 that mark anomalies.
LABEL_HEADING = re.compile(r"(is_?)?(anomal(y|ous)|outlier|label|class|target)s?", re.IGNORECASE)

ANOMALY_HEADING = re.compile(
    r"(^|[\W_])(anomal(y|ous|ies)|outliers?|labels?|fail(s|ed|ures?)?|fault(s|y)?|defect(s|ive)?|broken|break(down|age)s?|"
    r"attack(s|ed)?|intrusions?|events?|alarms?|ground_?truth|machine_?status)($|[\W_\d])",
    re.IGNORECASE,
)

# A column of 0 and 1 is a label if at most this share of rows has a 1 and the runs of 1 have at least this mean length.
MAX_ANOMALY_SHARE, MIN_ANOMALY_RUN = 0.1, 3

# Smallest number of rows for a running total, and largest number of resets per series.
MIN_TOTAL_ROWS, MAX_TOTAL_RESETS = 30, 2

# Headings of counters, which rise in every row, though not necessarily by the same amount.
COUNTER_HEADING = re.compile(
    r"((row|line|record|sample|reading|scan|seq(uence)?|step|obs(ervation)?)?[ _-]*"
    r"(id|index|idx|no\.?|nr\.?|num(ber)?|#)|counter)"
    r"|(t|time([ _-]?step)?|elapsed([ _-]?time)?|uptime|seconds)([ _-]*(s|sec|seconds|ms|min|h)|\s*[\[(].*[\])])?",
    re.IGNORECASE,
)

# Smallest number of rows for a counter.
MIN_COUNTER_ROWS = 10

# Largest number of distinct words that may all represent missing values; more are probably text.
MAX_MISSING_WORDS = 20

# Smallest share of missing rows or values for a warning.
LARGE_MISSING_SHARE = 0.2


class ColumnSummary(NamedTuple):
    """Statistics of a modeled column over the rows of the table; `missing` is the share of missing values."""

    name: str
    minimum: float
    mean: float
    maximum: float
    missing: float


class CheckedTable:
    """Table with the facts that several rules need.

    Args:
        config: configuration with which the table was read.
        prepared: the table on its grid and divided.
    """

    def __init__(self, config: Reading, prepared: PreparedTable) -> None:
        self.config, self.prepared, self.table = config, prepared, prepared.table

    @functools.cached_property
    def summaries(self) -> tuple[ColumnSummary, ...]:
        """Statistics of each modeled column."""
        found = []
        for name, values in zip(self.table.layout.values, self.table.values.T, strict=True):
            missing, mean = float(np.isnan(values).mean()), float(np.nanmean(values, dtype=np.float64))
            found.append(ColumnSummary(name, float(np.nanmin(values)), mean, float(np.nanmax(values)), missing))
        return tuple(found)

    @functools.cached_property
    def counters(self) -> list[str]:
        """Modeled columns that rise in every row."""
        return find_counters(self.table)

    @functools.cached_property
    def labels(self) -> dict[str, str]:
        """Modeled columns that probably hold labels, with the reason for each."""
        return find_label_columns(self.config, self.table)

    def without(self, names: Sequence[str]) -> tuple[Fix, ...]:
        """Return the fix that models all columns but these; none if no column would be left."""
        left_out = set(names)
        rest = tuple(name for name in self.table.layout.targets if name not in left_out)
        return ({"value_cols": rest},) if rest else ()


def check_cells(table: Panel, config: Reading) -> list[Finding]:
    """Return a finding for each kind of cells that are not numbers, with the distinct values."""
    values, found = set(table.layout.values), []
    key = lambda cells: (cells.column not in values, cells.problem.text)  # noqa: E731
    for _, group in itertools.groupby(sorted(table.bad, key=key), key):
        columns = list(group)
        first, words = min(columns, key=lambda cells: cells.row), collections.Counter[str]()
        for cells in columns:
            words.update(cells.words)
        problem, names = first.problem, {cells.column for cells in columns}
        counted = [f"{quote(word)[:60]} ({format_count(times, 'cell')})" for word, times in words.most_common()]
        text = (
            f"{format_names(counted)} in {format_names([quote(cells.column)[:60] for cells in columns])}, the "
            f"first in {table.place} "
            f"{first.row}: such a cell {problem.text}"
        )
        fixes: list[Fix] = [{name: value} for name, value in problem.option.items()]
        if problem.word and len(words) <= MAX_MISSING_WORDS and names <= values:
            fixes.append({"missing": (*config.missing, *words)})
        if rest := tuple(name for name in table.layout.values if name not in names):
            fixes.append({"value_cols": rest})
        found.append(Finding(text if fixes else f"{text}. {problem.advice}", True, tuple(fixes)))
    return found


def check_constants(checked: CheckedTable) -> list[Finding]:
    """Return a finding if columns hold one value in all rows."""
    constant = [column for column in checked.summaries if column.minimum == column.maximum]
    if not constant:
        return []
    names = [column.name for column in constant]
    verbs = "is constant and carries" if len(names) == 1 else "are constant and carry"
    digits = " (to the seven digits of float32)" if any(abs(column.maximum) >= 1e5 for column in constant) else ""
    text = f"{format_names([quote(name) for name in names])} {verbs} no information{digits}"
    return [Finding(text, fixes=checked.without(names))]


def find_counters(table: Panel) -> list[str]:
    """Return the columns that rise in every row of each series.

    They rise evenly, in proportion to time, or have the heading of a counter.
    """
    found = []
    for k, name in enumerate(table.layout.values):
        held = np.flatnonzero(~np.isnan(table.values[:, k]))
        first = run_starts(table.series[held])[1:]
        values = table.values[held, k].astype(np.float64)
        rise, rows, durations = (np.diff(numbers)[~first] for numbers in (values, held, table.times[held]))
        if len(rise) < MIN_COUNTER_ROWS - 1:
            continue
        # The rounding error of float32 is tolerated.
        tolerance = 2 * float(np.finfo(np.float32).eps) * float(np.abs(values).max())
        if (rise > 0).all() and (
            COUNTER_HEADING.fullmatch(name.strip())
            or np.ptp(rise / rows) <= 0.01 * (rise / rows).mean() + tolerance
            or (
                (durations > 0).all()
                and (abs(rise - durations * (rise.sum() / durations.sum())) <= 0.01 * rise + tolerance).all()
            )
        ):
            found.append(name)
    return found


def check_counters(checked: CheckedTable) -> list[Finding]:
    """Return a finding if modeled columns are counters."""
    names = checked.counters
    if not names:
        return []
    verbs = "rises in every row like a counter or elapsed time, but is modeled as a value"
    if len(names) > 1:
        verbs = "rise in every row like counters or elapsed time, but are modeled as values"
    fixes = checked.without(names)
    if fixes and checked.table.layout.time is None and is_time_heading(names[0]):
        fixes += ({"time_col": names[0], "time_unit": "s"},)
    return [Finding(f"{format_names([quote(name) for name in names])} {verbs}", fixes=fixes)]


def check_missing_values(checked: CheckedTable) -> list[Finding]:
    """Return a finding if columns lack many values."""
    rare = [column for column in checked.summaries if column.missing > LARGE_MISSING_SHARE]
    if not rare:
        return []
    text = f"Values are missing in many rows of {format_names([f'{quote(c.name)} ({c.missing:.0%})' for c in rare])}"
    if len(rare) == 1:
        text = f"{quote(rare[0].name)} is missing in {rare[0].missing:.0%} of the rows"
    return [Finding(text, fixes=checked.without([column.name for column in rare]))]


def check_lost_precision(checked: CheckedTable) -> list[Finding]:
    """Return a finding if the variation of columns is too small for float32.

    float32 has about seven digits, so variation below 1e-5 of the values is largely lost.
    """
    lost, table = [], checked.table
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        held = column[~np.isnan(column)]
        if not len(held):
            continue
        lowest, highest = float(held.min()), float(held.max())
        span, size = highest - lowest, max(abs(lowest), abs(highest))
        if 0 < span < 1e-5 * size:
            lost.append(f"{quote(name)} varies by {span:.2g} around {size:.7g}")
    if not lost:
        return []
    return [Finding(f"{format_names(lost)}, for which float32 has too few digits; subtract a constant from the values")]


def find_totals(table: Panel) -> list[str]:
    """Return the columns of running totals: they rise in many rows and never fall except at resets."""
    found = []
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        held = np.flatnonzero(~np.isnan(column))
        if len(held) < MIN_TOTAL_ROWS:
            continue
        series = table.series[held]
        first = run_starts(series)
        change = np.diff(column[held].astype(np.float64))[~first[1:]]
        rises, falls = change[change > 0], change[change < 0]
        width = float(column[held].max()) - float(column[held].min())
        if (
            len(rises) >= max(10, len(change) / 10)
            and rises.max() < 0.5 * rises.sum()
            # A reset loses most of the accumulated total.
            and len(falls) <= MAX_TOTAL_RESETS * int(first.sum())
            and (falls < -0.5 * width / (1 + MAX_TOTAL_RESETS)).all()
        ):
            found.append(name)
    return found


def check_totals(checked: CheckedTable) -> list[Finding]:
    """Return a finding if modeled columns are running totals, except for counters."""
    names = [name for name in find_totals(checked.table) if name not in checked.counters]
    if not names:
        return []
    verbs = "never falls except at resets, like a running total, but is modeled as a value"
    if len(names) > 1:
        verbs = "never fall except at resets, like running totals, but are modeled as values"
    text = (
        f"{format_names([quote(name) for name in names])} {verbs}: later rows lie outside the training range. Pass the "
        "differences between rows, or leave it out with --value-cols"
    )
    return [Finding(text)]


def find_sentinels(table: Panel) -> dict[str, list[str]]:
    """Return by column the numbers, as text, that probably represent missing values.

    They are far from all other values, and occur repeatedly or are extremely far.
    """
    found = {}
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        if numbers := _find_column_sentinels(column[~np.isnan(column)]):
            found[name] = numbers
    return found


def _find_column_sentinels(values: Float32Array) -> list[str]:
    known = {float(np.float32(text)): text for text in COMMON_SENTINELS}
    found: list[str] = []
    while len(values):
        for extreme in (float(values.min()), float(values.max())):
            rest, text = values[values != extreme], known.get(extreme)
            times = len(values) - len(rest)
            # Zero often means off, and a frequent number or one of a few distinct numbers is a state.
            if extreme == 0 or len(rest) < MIN_TOTAL_ROWS or times > len(rest):
                continue
            away = max(float(rest.min()) - extreme, extreme - float(rest.max()))
            # A rare number may be a valid value unless it is so far away that the others seem equal.
            away /= (
                RARE_SENTINEL_DISTANCE
                if times < (2 if text else 3)
                else COMMON_SENTINEL_DISTANCE
                if text
                else SENTINEL_DISTANCE
            )
            if not 0 < float(rest.std(dtype=np.float64)) < away or np.ptp(np.quantile(rest, [0.25, 0.75])) >= away:
                continue
            if text is None and (5 * times > len(rest) or len(np.unique(rest)) < 10):
                continue
            found.append(text or np.format_float_positional(np.float32(extreme), trim="-"))
            values = rest
            break
        else:
            break
    return found


def check_sentinels(checked: CheckedTable) -> list[Finding]:
    """Return a finding if columns hold numbers that probably represent missing values."""
    table = checked.table
    found = find_sentinels(table)
    if not found:
        return []
    columns = []
    for name, numbers in list(found.items())[:10]:
        column = table.values[:, table.layout.values.index(name)]
        rows = [f"{text} ({format_count(int((column == np.float32(text)).sum()), 'row')})" for text in numbers]
        columns.append(f"{quote(name)} {', '.join(rows)}")
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    distinct = tuple(dict.fromkeys(text for numbers in found.values() for text in numbers))
    text = (
        f"Far from all other values: {'; '.join(columns)}{more}; if these stand for missing values, add "
        f"--missing={','.join(distinct)}"
    )
    return [Finding(text, fixes=({"missing": (*checked.config.missing, *distinct)},))]


def find_label_columns(config: Reading, table: Panel) -> dict[str, str]:
    """Return the modeled columns that probably hold labels, with the reason for each.

    Configured columns are among them only if they hold nothing but 0 and 1.
    """
    if len(table.layout.values) < 2:
        return {}
    found = {}
    for name, column in zip(table.layout.targets, table.values.T, strict=False):
        there = ~np.isnan(column)
        held = column[there]
        one = held == 1
        binary = bool(one.any() and not one.all() and (one | (held == 0)).all())
        if config.value_cols and not binary:
            continue
        # Rows of one time count once: series that are not told apart yet alternate.
        moments = np.flatnonzero(run_starts(table.series[there], table.times[there]))
        once = np.maximum.reduceat(one, moments) if binary else one
        runs = int(np.count_nonzero(np.diff(once.astype(np.int8), prepend=0) > 0))
        if (LABEL_HEADING.fullmatch(name.strip()) and not (config.forecasts and not binary)) or (
            binary and ANOMALY_HEADING.search(name.strip())
        ):
            found[name] = "its name suggests a label"
        elif binary and once.mean() <= MAX_ANOMALY_SHARE and once.sum() >= MIN_ANOMALY_RUN * runs:
            found[name] = "it holds only 0 and 1, with 1 rare and in runs, like labels"
    return found


def check_label_columns(checked: CheckedTable) -> list[Finding]:
    """Return a finding if modeled columns probably hold labels."""
    found, has_label = checked.labels, checked.table.layout.label is not None
    if not found:
        return []
    texts = [f"{quote(name)} is modeled as a value, but {why}" for name, why in list(found.items())[:3]]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    solved = "" if has_label else "name it with --label-col, or "
    fixes = checked.without(list(found))
    if not has_label:
        others_too = fixes[0] if fixes and len(found) > 1 else {}
        fixes = ({"label_col": next(iter(found)), **others_too}, *fixes)
    return [Finding(f"{'; '.join(texts)}{more}; {solved}leave it out with --value-cols", fixes=fixes)]


def check_training_constants(checked: CheckedTable) -> list[Finding]:
    """Return a finding if columns, except for labels, are constant in the training split only."""
    prepared = checked.prepared
    train = prepared.split == 0
    names = []
    # Calendar features are last.
    for name, column in zip(checked.table.layout.values, prepared.grid.values.T, strict=False):
        held, own = column[~np.isnan(column)], column[train & ~np.isnan(column)]
        if name not in checked.labels and len(own) and own.min() == own.max() and held.min() < held.max():
            names.append(name)
    if not names:
        return []
    text = (
        f"{format_names([quote(name) for name in names])} {'has' if len(names) == 1 else 'have'} one value in the "
        "training split and others later, so any change counts as an error; leave it out with --value-cols, or pass "
        "another --split"
    )
    return [Finding(text)]


def check_class_names(checked: CheckedTable) -> list[Finding]:
    """Return findings about classes that may represent a missing label, and about classes that are not anomalies."""
    table, found = checked.table, []
    if odd := [name for name in table.classes if name.lower() in MISSING_WORDS]:
        verbs = "is a class" if len(odd) == 1 else "are classes"
        text = (
            f"{format_names([quote(name) for name in odd])} {verbs}; if that stands for a missing label, "
            "add it to --missing"
        )
        found.append(Finding(text, fixes=({"missing": (*checked.config.missing, *odd)},)))
    if not (checked.config.forecasts or are_anomaly_labels(table.classes)):
        text = (
            f"{quote(table.layout.label)} holds classes for --task classify; to detect anomalies it must hold 0 and 1 "
            "(1 for an anomaly), or be left out"
        )
        found.append(Finding(text))
    return found


def check_excluded_columns(checked: CheckedTable) -> list[Finding]:
    """Return a finding with the columns that are left out because they are not numeric, and the reasons.

    There is none if the columns to model are configured.
    """
    layout = checked.table.layout
    roles = {layout.time, *layout.ids, layout.label, *layout.values}
    names: dict[str, list[str]] = {}
    for name, reason in {} if checked.config.value_cols else layout.texts.items():
        if name not in roles:
            names.setdefault(reason, []).append(quote(name))
    texts = [
        f"{format_names(columns)} {reason if len(columns) == 1 else reason.replace('holds', 'hold', 1)} and "
        f"{'is' if len(columns) == 1 else 'are'} left out"
        for reason, columns in names.items()
    ]
    more = f"; and others in {len(texts) - 10} more ways" if len(texts) > 10 else ""
    return [Finding("; ".join(texts[:10]) + more)] if texts else []


# Rules about the columns of a table, in the order of `lstmae series check`.
COLUMN_RULES = (
    check_constants,
    check_counters,
    check_missing_values,
    check_lost_precision,
    check_totals,
    check_sentinels,
    check_label_columns,
    check_training_constants,
    check_class_names,
    check_excluded_columns,
)
