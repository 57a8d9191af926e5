"""Columns whose numbers are not what they seem: words for a missing value, labels, totals, constants."""

import re
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.data.cadence import starts_of
from lstm_ae.data.measurements import Measurements
from lstm_ae.data.series import Prepared
from lstm_ae.words import count, listed, shown

# Numbers that loggers commonly write where there is no value.
KNOWN = (
    "-9999", "-999", "-99", "-99999", "9999", "99999", "999999", "65535", "32767", "-32768", "2147483647",
    "-2147483648", "4294967295", "1e20", "1e30", "-1e20", "-1e30",
)  # fmt: skip
# How many times its usual spread a number lies beyond a column's others: one of those, any other, and one that comes
# only once or twice.
BEYOND_KNOWN, BEYOND, BEYOND_ALL = 3, 10, 1_000
# Headings of labels, whatever they hold, and words in those of columns of 0 and 1 that mark what is not normal.
LABELS = re.compile(r"(is_?)?(anomal(y|ous)|outlier|label|class|target)s?", re.IGNORECASE)
MARKS = re.compile(
    r"(^|[\W_])(anomal(y|ous|ies)|outliers?|labels?|fail(s|ed|ures?)?|fault(s|y)?|defect(s|ive)?|broken|break(down|age)s?|"
    r"attack(s|ed)?|intrusions?|events?|alarms?|ground_?truth|machine_?status)($|[\W_\d])",
    re.IGNORECASE,
)
# A column of 0 and 1 marks something where so few rows at most have a 1, so many in a row.
RARE, STRETCH = 0.1, 3
# Rows that tell a total from values that rise by chance, and how often it may begin anew.
ENOUGH, RESETS = 30, 2


def sentinels(table: Measurements) -> dict[str, list[str]]:
    """By column the numbers, as text, that stand far from all others, again and again or so far that these are one."""
    found = {}
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        if numbers := _sentinels(column[~np.isnan(column)]):
            found[name] = numbers
    return found


def _sentinels(values: NDArray[np.float32]) -> list[str]:
    known = {float(np.float32(text)): text for text in KNOWN}
    found: list[str] = []
    while len(values):
        for extreme in (float(values.min()), float(values.max())):
            rest, text = values[values != extreme], known.get(extreme)
            times = len(values) - len(rest)
            # Zero is off, and what is common or one of a few numbers is a state.
            if extreme == 0 or len(rest) < ENOUGH or times > len(rest):
                continue
            away = max(float(rest.min()) - extreme, extreme - float(rest.max()))
            # One that comes seldom may be a value, but not beside which all others would be one.
            away /= BEYOND_ALL if times < (2 if text else 3) else BEYOND_KNOWN if text else BEYOND
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


def of_sentinels(table: Measurements) -> str:
    """Which columns hold numbers that seem to stand for a missing value; "" where none does."""
    found = sentinels(table)
    if not found:
        return ""
    told = []
    for name, numbers in list(found.items())[:10]:
        column = table.values[:, table.layout.values.index(name)]
        rows = [f"{text} ({count(int((column == np.float32(text)).sum()), 'row')})" for text in numbers]
        told.append(f"{shown(name)} {', '.join(rows)}")
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return (
        f"Far from all other values are of {'; of '.join(told)}{more}; where that stands for a missing value, name it "
        f"with --missing={','.join(missing_of(found))}"
    )


def missing_of(found: dict[str, list[str]]) -> list[str]:
    """All the different numbers of `sentinels`."""
    return list(dict.fromkeys(text for numbers in found.values() for text in numbers))


def marks(config: Reading, table: Measurements) -> dict[str, str]:
    """By column why it seems to hold labels, though it is modelled; none where values were named."""
    names = table.layout.values
    if config.value_cols or len(names) < 2:
        return {}
    found = {}
    for name, column in zip(names, table.values.T, strict=True):
        held = column[~np.isnan(column)]
        one = held == 1
        binary = bool(one.any() and not one.all() and (one | (held == 0)).all())
        runs = int(np.count_nonzero(np.diff(one.astype(np.int8), prepend=0) > 0))
        if (LABELS.fullmatch(name.strip()) and not (config.forecasts and not binary)) or (
            binary and MARKS.search(name.strip())
        ):
            found[name] = "its name says that it is a label"
        elif binary and one.mean() <= RARE and one.sum() >= STRETCH * runs:
            found[name] = "it holds 0 and 1 alone, and 1 rarely and in stretches, as labels do"
    return found


def of_marks(config: Reading, table: Measurements) -> str:
    """Which columns are modelled and seem to be labels; "" where none is."""
    found = marks(config, table)
    told = [f"{shown(name)} is modelled as a value, though {why}" for name, why in list(found.items())[:3]]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    solved = "name it with --label-col, or " if table.layout.label is None else ""
    return f"{'; '.join(told)}{more}; {solved}leave it out with --value-cols" if told else ""


def totals(table: Measurements) -> list[str]:
    """The columns that never fall, but where they begin anew, while they rise in many rows."""
    found = []
    for name, column in zip(table.layout.values, table.values.T, strict=True):
        held = np.flatnonzero(~np.isnan(column))
        if len(held) < ENOUGH:
            continue
        series = table.series[held]
        first = starts_of(series)
        change = np.diff(column[held].astype(np.float64))[~first[1:]]
        rises, falls = change[change > 0], change[change < 0]
        width = float(column[held].max()) - float(column[held].min())
        if (
            len(rises) >= max(10, len(change) / 10)
            and rises.max() < 0.5 * rises.sum()
            # It is what has come together since that is lost, most of it.
            and len(falls) <= RESETS * int(first.sum())
            and (falls < -0.5 * width / (1 + RESETS)).all()
        ):
            found.append(name)
    return found


def of_totals(table: Measurements, counters: list[str]) -> str:
    """Which columns but counters only rise, and are modelled as values; "" where none does."""
    names = [name for name in totals(table) if name not in counters]
    if not names:
        return ""
    verbs = "never falls" if len(names) == 1 else "never fall"
    whose = "is modelled as a value" if len(names) == 1 else "are modelled as values"
    return (
        f"{listed([shown(name) for name in names])} {verbs}, unless to begin anew, as running totals do, and {whose}: "
        "later rows lie beyond all that a training sees; give the differences from row to row, or leave it out with "
        "--value-cols"
    )


def of_constants(prepared: Prepared, besides: Collection[str] = ()) -> str:
    """Which columns have one value in the training part and others elsewhere; "" where none does.

    Args:
        besides: columns of which something else is told.
    """
    values = prepared.grid.values
    train = prepared.part == 0
    names = []
    for name, column in zip(prepared.table.layout.values, values.T, strict=True):
        held, own = column[~np.isnan(column)], column[train & ~np.isnan(column)]
        if name not in besides and len(own) and own.min() == own.max() and held.min() < held.max():
            names.append(name)
    if not names:
        return ""
    return (
        f"{listed([shown(name) for name in names])} {'has' if len(names) == 1 else 'have'} one value in the training "
        "part and others later: any change counts, the more the smaller its unit; leave it out with --value-cols, or "
        "give another --split"
    )
