"""How cells are moments: ISO 8601 and its relatives, dates with the day or month first, numbers since 1970.

What could be read in two ways is refused with the option that tells it.
"""

import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.config.reading import UNITS
from lstm_ae.errors import DataError

# Times that are numbers are taken for seconds where those lead into these years, else for ms, us or ns.
FIRST, LAST = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds

DATE = re.compile(
    r"(?:(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?:(?P=s)(?P<d>\d{1,2}))?"
    r"|(?P<a>\d{1,2})(?P<t>[-/.])(?P<b>\d{1,2})(?P=t)(?P<z>\d{4})|(?P<c>\d{8}))"
    r"(?:(?:[Tt]|,?\s+)(?P<h>\d{1,2}):?(?P<n>\d{2})(?::?(?P<sec>\d{2})(?:[.,](?P<f>\d{1,9}))?)?\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?",
    re.ASCII,
)
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE]\+?\d+)?", re.ASCII)
# A month that is a number as well. One digit may be October, of which a program has cut the 0.
MONTH = re.compile(r"(1[89]|2[01])\d{2}\.(0[1-9]|1[0-2])", re.ASCII)
# YYYYMMDDHH, YYYYMMDDHHMM or YYYYMMDDHHMMSS. Before 1900 these were seconds of today.
STAMP = re.compile(
    r"(?P<day>(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))(?P<clock>([01]\d|2[0-3])([0-5]\d([0-5]\d)?)?)", re.ASCII
)
NAMES = re.compile(r"time|date|datum|epoch|unix|stamp|zeit|^ts$|^t$", re.IGNORECASE)
MONTHS = re.compile(r"month|monat", re.IGNORECASE)


class Form(NamedTuple):
    """How a column's cells are to be read.

    Args:
        unit: of cells that are numbers; "" where they are dates.
        order: of dates that do not begin with the year: "dmy" or "mdy"; "" where none of the first rows has such.
        aware: whether each cell has an offset of its own, or needs none.
        compact: whether they are dates of digits alone, with the hour, as in 2024013123.
    """

    unit: str
    order: str
    aware: bool
    compact: bool = False


def date_of(cell: str) -> re.Match[str] | None:
    """The parts of a date; None where the cell is none, as 1013.25 is none, which may be a month only by its form."""
    found = DATE.fullmatch(cell)
    return None if found and not found["c"] and NUMBER.fullmatch(cell) else found


def form_of(cells: Sequence[str], column: str, *, order: str | None = None, unit: str | None = None) -> Form | None:
    """How the first cells of a column are to be read as moments; None where most of them are none.

    Args:
        cells: blanks stripped, none of them missing.
        order, unit: what the reader of the file was told.

    Raises:
        DataError: the day and the month cannot be told apart, or the unit cannot.
    """
    if unit is None and are_stamps(cells, named=True):
        return Form("", "", aware=False, compact=True)
    months = all(MONTH.fullmatch(cell) for cell in cells)
    found = [DATE.fullmatch(cell) if months else date_of(cell) for cell in cells]
    dates = [match for match in found if match and not (match["c"] and match["h"] is None and unit)]
    if 2 * len(dates) > len(cells) and (unit is None or not all(NUMBER.fullmatch(cell) for cell in cells)):
        loose = [(int(match["a"]), int(match["b"]), match["t"]) for match in dates if match["a"]]
        aware = 2 * sum(match["zone"] is not None for match in dates) > len(dates)
        return Form("", order or _order(loose, len(dates), column), aware)
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    if not numbers or 2 * len(numbers) <= len(cells):
        return None
    return Form(unit or _unit(float(np.median(numbers)), column, numbers), "", aware=True)


def looks_like_times(cells: Sequence[str], column: str) -> bool:
    """Whether a column that nobody named holds moments; numbers do only where the heading and their size say so."""
    named = bool(NAMES.search(column))
    if are_stamps(cells, named=named):
        return True
    dates = [cell for cell in cells if date_of(cell)]
    if 2 * len(dates) > len(cells):
        return named or not all(map(str.isdigit, dates))
    if (named or MONTHS.search(column)) and all(MONTH.fullmatch(cell) for cell in cells):
        return True
    return named and counts_from_1970(cells)


def are_stamps(cells: Sequence[str], *, named: bool) -> bool:
    """Whether cells are dates of digits alone, with the hour.

    Args:
        named: the column is known for times, or its heading says so. In another one ten digits may be any number.
    """
    found = [cell for cell in cells if STAMP.fullmatch(cell)]
    if cells and len(found) == len(cells):
        return named or min(map(len, cells)) > 10
    # Among times since 1970 there may be some that look so.
    return named and 2 * len(found) > len(cells) and min(map(len, found)) > 10


def spread(cell: str) -> str:
    """2024013123 as 20240131T2300; what is not written so remains as it is."""
    found = STAMP.fullmatch(cell)
    return f"{found['day']}T{found['clock'].ljust(4, '0')}" if found else cell


def counts_from_1970(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers and lead from 1970, in some unit, to the years around today."""
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    return 2 * len(numbers) > len(cells) and any(
        FIRST <= float(np.median(numbers)) * UNITS[unit] / UNITS["s"] <= LAST for unit in ("s", "ms", "us", "ns")
    )


def _order(loose: list[tuple[int, int, str]], dates: int, column: str) -> str:
    if 2 * len(loose) <= dates:
        return ""
    first, second = max(a for a, _, _ in loose), max(b for _, b, _ in loose)
    if first > 12 >= second:
        return "dmy"
    if second > 12 >= first:
        return "mdy"
    a, b, mark = loose[0]
    # Dots are written with the day first; where both are past 12 some cell is wrong, and will be named.
    if mark == "." or first > 12:
        return "dmy"
    raise DataError(
        f"column {column!r}: {a}{mark}{b} can be {_month(b, a)} or {_month(a, b)}, and the first rows do not tell. Add "
        "--date-order dmy (day first) or --date-order mdy (month first)"
    )


def _month(month: int, day: int) -> str:
    try:
        return f"{day} {datetime.date(2000, month, 1):%B}"
    except ValueError:
        return f"day {day} of month {month}"


def _unit(middle: float, column: str, numbers: Sequence[float]) -> str:
    for unit in ("s", "ms", "us", "ns"):
        if FIRST <= middle * UNITS[unit] / UNITS["s"] <= LAST:
            return unit
    raise DataError(
        f"column {column!r}: numbers like {numbers[0]:.12g} are times since 1970 in no usual unit. Tell the unit with "
        "--time-unit s, ms, us or ns, as s for elapsed seconds; or leave --time-col out and name the columns to model "
        "with --value-cols, and rows are counted"
    )
