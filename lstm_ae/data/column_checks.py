"""Check the columns of a table: one function per rule, which yields its findings with the options that fix them."""

import collections
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_ae.arrays import Float32Array
from lstm_ae.data.checked_table import LARGE_MISSING_SHARE, CheckedTable
from lstm_ae.data.findings import Finding, Fix
from lstm_ae.data.panel import Panel, run_starts
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


def check_missing_values(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if columns lack many values."""
    rare = {column.name: column.missing for column in checked.summaries if column.missing > LARGE_MISSING_SHARE}
    if rare:
        shares = format_names([f"{quote(name)} ({share:.0%} of the rows)" for name, share in rare.items()])
        yield Finding(f"Values are missing in {shares}", fixes=checked.without(list(rare)))


def check_lost_precision(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if the variation of columns is below 1e-5 of the values: float32 has about seven digits."""
    lost = [
        f"{quote(name)} varies by {high - low:.2g} around {max(abs(low), abs(high)):.7g}"
        for name, low, _, high, _ in checked.summaries
        if 0 < high - low < 1e-5 * max(abs(low), abs(high))
    ]
    if lost:
        yield Finding(
            f"{format_names(lost)}, for which float32 has too few digits; subtract a constant from the values"
        )


def find_totals(table: Panel) -> dict[str, bool]:
    """Return the columns that rise in many rows and never fall except at resets, and whether each rises in every row.

    Those are counters, the others running totals.
    """
    found = {}
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        held = np.flatnonzero(~np.isnan(column))
        first = run_starts(table.series[held])
        change = np.diff(column[held].astype(np.float64))[~first[1:]]
        rises, falls = change[change > 0], change[change < 0]
        many = len(held) >= MIN_ROWS and len(rises) >= max(10, len(change) / 10)
        if not many or len(falls) > MAX_TOTAL_RESETS * first.sum():
            continue
        # A reset loses most of the accumulated total.
        reset = -0.5 * float(np.ptp(column[held])) / (1 + MAX_TOTAL_RESETS)
        if falls.max(initial=-np.inf) < reset and rises.max() < 0.5 * rises.sum():
            found[name] = bool((change > 0).all())
    return found


def check_totals(checked: CheckedTable) -> Iterator[Finding]:
    """Yield a finding if modeled columns are counters, elapsed time, or running totals."""
    found = find_totals(checked.prepared.table)
    if not found:
        return
    # The differences of a counter say nothing, those of a running total do.
    counters = [name for name, counts in found.items() if counts]
    fixes = checked.without(counters) if counters else ()
    if fixes and checked.table.layout.time is None and is_time_heading(counters[0]):
        fixes += ({"time_col": counters[0], "time_unit": "s"},)
    text = (
        "Modeled as values, but never falling except at resets, like a counter, elapsed time, or a running total: "
        f"{_name_columns(list(found))}; later rows lie outside the training range. Pass the differences between rows, "
        "or leave it out with --value-cols"
    )
    yield Finding(text, fixes=fixes)


def find_sentinels(values: Float32Array) -> list[str]:
    """Return the numbers of a column, as text, that probably represent missing values.

    They are far from all other values, and occur repeatedly or are extremely far.
    """
    known = {float(np.float32(text)): text for text in COMMON_SENTINELS}
    found: list[str] = []
    while True:
        bounds = (float(values.min()), float(values.max()))
        sentinel = next((bound for bound in bounds if _is_sentinel(values, bound, common=bound in known)), None)
        if sentinel is None:
            return found
        found.append(known.get(sentinel) or np.format_float_positional(np.float32(sentinel), trim="-"))
        values = values[values != sentinel]


def _is_sentinel(values: Float32Array, bound: float, *, common: bool) -> bool:
    """Return whether the lowest or the highest value of a column is a sentinel."""
    rest = values[values != bound]
    times = len(values) - len(rest)
    # Zero often means off, and a frequent number is a state.
    if bound == 0 or len(rest) < MIN_ROWS or times > len(rest) * (1 if common else 0.2):
        return False
    distance = COMMON_SENTINEL_DISTANCE if common else SENTINEL_DISTANCE
    if times < (2 if common else 3):
        # A rare number may be a valid value unless it is so far away that the others seem equal.
        distance = RARE_SENTINEL_DISTANCE
    away = max(float(rest.min()) - bound, bound - float(rest.max())) / distance
    # One of a few distinct numbers is a state too.
    return 0 < float(rest.std(dtype=np.float64)) < away and (common or len(np.unique(rest)) >= 10)


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
    """Yield a finding with the columns that are left out because they are not numeric, and the reasons.

    There is none if the columns to model are configured.
    """
    texts = [f"{quote(name)} {why}" for name, why in checked.table.layout.texts.items() if name in checked.others]
    if texts and not checked.config.value_cols:
        yield Finding(f"Columns left out: {format_names(texts)}")
