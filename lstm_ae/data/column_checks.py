"""Check the columns of a table: one function per rule, which yields its findings with the options that fix them."""

import collections
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_ae.arrays import Float32Array
from lstm_ae.data.checked_table import CheckedTable
from lstm_ae.data.findings import Finding, Fix
from lstm_ae.data.panel import run_starts
from lstm_ae.formatting import format_count, format_names, quote

# Numbers that data loggers commonly write for missing values, the largest first.
COMMON_SENTINELS = (
    *("1e30", "-1e30", "1e20", "-1e20", "4294967295", "-2147483648", "2147483647", "999999", "99999", "-99999"),
    *("65535", "-32768", "32767", "9999", "-9999", "-999", "-99"),
)

# Smallest distance of a sentinel from the other values of the column, in terms of their spread.
SENTINEL_DISTANCE = 3

# Smallest number of rows for a running total, or beside a sentinel, and largest number of resets per series.
MIN_ROWS, MAX_TOTAL_RESETS = 30, 2

# Largest number of distinct words that may all represent missing values; more are probably text.
MAX_MISSING_WORDS = 20


# Headings of identifiers, such as pump_id, machineId, and Station No. NO is a gas.
IDENTIFIER_HEADING = re.compile(r"(?!NO$)(.*[\W_])?(?i:id|nr|no|code)|.*[a-z](Id|ID|No|Nr)")


def _name_columns(names: Sequence[str]) -> str:
    return format_names([quote(name) for name in names])


def check_cells(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding for each kind of cells that are not numbers, with the distinct values."""
    table, values = checked.table, set(checked.table.layout.values)
    # In a column with decimal points and commas, neither separates thousands.
    mixed = {cells.column for cells in table.bad if cells.problem.text.startswith("has a decimal")}
    key = lambda cells: (cells.column not in values, cells.problem.text)  # noqa: E731
    for _, group in itertools.groupby(sorted(table.bad, key=key), key):
        columns = list(group)
        first, names = min(columns, key=lambda cells: cells.row), [cells.column for cells in columns]
        words = sum((cells.words for cells in columns), collections.Counter[str]())
        problem = first.problem
        counted = [f"{quote(word)[:60]} ({format_count(times, 'cell')})" for word, times in words.most_common()]
        text = (
            f"{format_names(counted)} in {format_names([quote(name)[:60] for name in names])}, the first in "
            f"{table.place} {first.row}: such a cell {problem.text}"
        )
        fixes: list[Fix] = (
            [] if mixed.intersection(names) else [{name: value} for name, value in problem.option.items()]
        )
        if problem.word and len(words) <= MAX_MISSING_WORDS and values.issuperset(names):
            fixes.append({"missing": (*checked.config.missing, *words)})
        fixes.extend(checked.without(names))
        yield Finding(text if fixes else f"{text}. {problem.advice}", True, tuple(fixes))


def check_identifiers(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding for modeled columns with the heading of an identifier, and few distinct numbers."""
    names = [
        name
        for name, values in checked.columns.items()
        if IDENTIFIER_HEADING.fullmatch(name.strip()) and 2 * len(np.unique(values)) <= len(values)
    ]
    if names and not checked.config.value_cols:
        text = (
            f"Modeled as values, with headings of identifiers: {_name_columns(names)}; name it with --id-col, or leave "
            "it out with --value-cols"
        )
        yield Finding(text, fixes=({"id_col": (names[0],)}, *checked.without(names)))


def check_constants(checked: CheckedTable) -> Iterator[Finding]:
    """Yield findings for columns that hold one value, in all rows or in the training split only."""
    prepared = checked.prepared
    constant = [name for name, values in checked.columns.items() if values.min() == values.max()]
    training = prepared.grid.values[prepared.split == 0]
    # Calendar features are last.
    bounds = (reduce(training, initial=np.nan) for reduce in (np.fmin.reduce, np.fmax.reduce))
    early = [
        name
        for name, lowest, highest in zip(checked.table.layout.values, *bounds, strict=False)
        if lowest == highest and name not in (*constant, *checked.labels)
    ]
    if constant:
        text = f"One value in all rows, to the seven digits of float32: {_name_columns(constant)}"
        yield Finding(text, fixes=checked.without(constant))
    if early:
        text = (
            f"One value in the training split and others later: {_name_columns(early)}; any change counts as an error. "
            "Leave it out with --value-cols, or pass another --split"
        )
        yield Finding(text)


def check_totals(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if modeled columns are counters, elapsed time, or running totals.

    These rise in many rows and never fall except at resets.
    """
    table, found = checked.prepared.table, []
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        present = np.flatnonzero(~np.isnan(column))
        first = run_starts(table.series[present])
        change = np.diff(column[present].astype(np.float64))[~first[1:]]
        rises, falls = change[change > 0], change[change < 0]
        many = len(present) >= MIN_ROWS and len(rises) >= max(10, len(change) / 10)
        if not many or len(falls) > MAX_TOTAL_RESETS * first.sum():
            continue
        # A reset loses most of the accumulated total.
        reset = -0.5 * float(np.ptp(column[present])) / (1 + MAX_TOTAL_RESETS)
        if falls.max(initial=-np.inf) < reset and rises.max() < 0.5 * rises.sum():
            found.append(name)
    if found:
        yield Finding(
            "Modeled as values, but never falling except at resets, like a counter, elapsed time, or a running total: "
            f"{_name_columns(found)}; later rows lie outside the training range. Pass the differences between rows, or "
            "leave it out with --value-cols"
        )


def find_sentinels(values: Float32Array) -> list[str]:
    """Return the numbers of a column, as text, that probably represent missing values.

    They are `COMMON_SENTINELS` that repeat and are far from all other values.
    """
    found = []
    for text in COMMON_SENTINELS:
        number = np.float32(text)
        rest = values[values != number]
        if len(rest) >= MIN_ROWS and len(rest) <= len(values) - 2:
            away = max(float(rest.min()) - number, number - float(rest.max()))
            if away > SENTINEL_DISTANCE * float(rest.std(dtype=np.float64)) > 0:
                found.append(text)
                values = rest
    return found


def check_sentinels(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if columns hold numbers that probably represent missing values."""
    found = {name: numbers for name, values in checked.columns.items() if (numbers := find_sentinels(values))}
    if found:
        columns = [f"{quote(name)} ({', '.join(numbers)})" for name, numbers in found.items()]
        words = tuple(dict.fromkeys(itertools.chain(*found.values())))
        text = (
            f"Far from all other values: {format_names(columns)}; if these stand for missing values, add "
            f"--missing={','.join(words)}"
        )
        yield Finding(text, fixes=({"missing": (*checked.config.missing, *words)},))


def check_label_columns(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if modeled columns probably hold labels."""
    found = checked.labels
    if not found:
        return
    fixes, solved = checked.without(found), ""
    if checked.table.layout.label is None:
        others = fixes[0] if fixes and len(found) > 1 else {}
        fixes, solved = ({"label_col": found[0], **others}, *fixes), "name it with --label-col, or "
    text = f"Modeled as values, but like labels by name or content: {_name_columns(found)}"
    yield Finding(f"{text}; {solved}leave it out with --value-cols", fixes=fixes)


def check_excluded_columns(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding with the columns that are left out because most of their cells are not numbers.

    There is none if the columns to model are configured.
    """
    texts = [name for name, kind in checked.others.items() if kind == "text"]
    if texts and not checked.config.value_cols:
        yield Finding(
            f"Columns left out, as most cells are not numbers: {_name_columns(texts)}; if one names the series, add "
            f"--id-col with it"
        )
