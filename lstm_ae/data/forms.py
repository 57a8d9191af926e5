"""How cells are moments: ISO 8601 and its relatives, dates with the day or month first or a month's name, numbers.

Numbers count from 1970, or from a start that nobody dated: elapsed time, or the steps of a counter. What could be read
in two ways is refused with the option that tells it.
"""

import datetime
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.config.reading import STEPS, UNITS
from lstm_ae.errors import DataError

# Times that are numbers are taken for seconds where those lead into these years, else for ms, us or ns.
FIRST, LAST = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds
# Numbers of a unit that was told are elapsed time where they begin within a year of 0.
NEAR_START = 366 * UNITS["d"]

DATE = re.compile(
    r"(?:(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?:(?P=s)(?P<d>\d{1,2}))?"
    r"|(?P<a>\d{1,2})(?P<t>[-/.])(?P<b>\d{1,2})(?P=t)(?P<z>\d{4}|\d{2})|(?P<c>\d{8}))"
    r"(?:(?:[Tt]|,?\s+)(?P<h>\d{1,2})(?::?(?P<n>\d{2})(?::?(?P<sec>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"\s*(?P<half>[AaPp][Mm])?"
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
# Headings of elapsed time and of counters of steps, and of those that never begin anew.
ELAPSED = re.compile(
    r"(t|ts|time([ _-]?(stamp|step|index|idx))?|zeit|elapsed([ _-]?time)?|uptime|second|tick|step|sample([ _-]?no)?)s?"
    r"([ _-]*(s|sec|seconds|ms|us|min|h)|\s*[\[(].*[\])])?",
    re.IGNORECASE,
)
CALENDAR = re.compile(r"year|jahr|week|woche|day|tag", re.IGNORECASE)
# Digits that are a year and a month, which no counter of steps has in all of its rows.
YEAR_MONTH = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])", re.ASCII)

WORDS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
GERMAN = {"jän": "jan", "mär": "mar", "mae": "mar", "mrz": "mar", "mai": "may", "okt": "oct", "dez": "dec"}
_WORD = (
    r"(?:jan(?:uary|uar)?|jänner|feb(?:ruary|ruar)?|mar(?:ch)?|märz?|maerz|mrz|apr(?:il)?|may|mai|june?|juni|july?|juli|"
    r"aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\.?"
)
_WEEKDAY = (
    r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?|(?:mon|diens|donners|frei|sams|sonn)tag|"
    r"mittwoch|mo|di|mi|do|fr|sa|so)\.?,?\s+"
)
_GAP = r"[-/\s,.]"
# 2 Jan 2024, Jan 2 2024, 2024-Jan-2, Jan 2024, 2024 Jan, and Jan 2 10:00:00 2024 as `date` writes it.
WORDED = re.compile(
    rf"(?:{_WEEKDAY})?(?:"
    rf"(?P<d1>[0-9]{{1,2}})(?:st|nd|rd|th)?{_GAP}*(?P<m1>{_WORD}){_GAP}*(?P<y1>[0-9]{{4}}|[0-9]{{2}}(?![0-9:]))"
    rf"|(?P<m2>{_WORD}){_GAP}*(?P<d2>[0-9]{{1,2}})(?:st|nd|rd|th)?{_GAP}+(?P<y2>[0-9]{{4}})"
    rf"|(?P<y3>[0-9]{{4}}){_GAP}*(?P<m3>{_WORD}){_GAP}*(?P<d3>[0-9]{{1,2}})"
    rf"|(?P<m4>{_WORD}){_GAP}*(?P<y4>[0-9]{{4}})|(?P<y5>[0-9]{{4}}){_GAP}*(?P<m5>{_WORD})"
    rf"|(?P<m6>{_WORD})\s+(?P<d6>[0-9]{{1,2}})\s+(?P<clock>[0-9]{{1,2}}:[0-9]{{2}}(?::[0-9]{{2}})?)\s+"
    r"(?:(?P<zone>UTC|GMT)\s+)?(?P<y6>[0-9]{4})"
    r")(?P<rest>[T\s,:].*)?",
    re.IGNORECASE,
)
DATED = re.compile(rf"(?:{_WEEKDAY})(?=[0-9])", re.IGNORECASE)
# Years of two digits up to this one are of this century.
CENTURY = 68
# Where the day, the month and the year stand.
ORDERS = {"dmy": (0, 1, 2), "mdy": (1, 0, 2), "ymd": (2, 1, 0)}

# What a cell holds that is meant as a time, and letters that may stand in one.
_MEANT = re.compile(
    rf"(?<!\d)(19|20)\d{{2}}(?!\d)|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2,4}}|\d{{1,2}}:\d{{2}}|{_WORD}\W*\d|\d\W*{_WORD}",
    re.IGNORECASE,
)
_LETTERS = re.compile(rf"{_WORD}|{_WEEKDAY}|am|pm|utc|gmt|kw|st|nd|rd|th|[tzqwh]", re.IGNORECASE)


class Form(NamedTuple):
    """How a column's cells are to be read.

    Args:
        unit: of cells that are numbers, `STEPS` for a counter; "" where they are dates.
        order: of dates that do not begin with a year of four digits: "dmy", "mdy" or "ymd"; "" where none of the first
            rows has such.
        aware: whether each cell has an offset of its own, or needs none.
        compact: whether they are dates of digits alone, with the hour, as in 2024013123.
        worded: whether months or weekdays have names.
        elapsed: whether numbers count from a start that nobody dated.
    """

    unit: str
    order: str
    aware: bool
    compact: bool = False
    worded: bool = False
    elapsed: bool = False


def date_of(cell: str) -> re.Match[str] | None:
    """The parts of a date; None where the cell is none, as 1013.25 is none, which may be a month only by its form."""
    found = DATE.fullmatch(spelled(cell))
    return None if found and not found["c"] and NUMBER.fullmatch(cell) else found


def spelled(cell: str, order: str = "") -> str:
    """A date with the name of its month as digits, the year first, and without a weekday; any other cell as it is.

    A year of two digits remains, as in 02-Jan-24, where `order` does not tell it from the day.
    """
    found = WORDED.fullmatch(cell)
    if not found:
        return DATED.sub("", cell, count=1) if cell[:1].isalpha() else cell
    number, form = next((found[f"m{form}"], form) for form in range(1, 7) if found[f"m{form}"])
    word = number[:3].lower()
    month = WORDS.index(GERMAN.get(word, word)) + 1
    year, day = found[f"y{form}"], "" if form in (4, 5) else found[f"d{form}"]
    clock = found["rest"] or ""
    if form == 6:
        clock = f" {found['clock']}{found['zone'] or ''}"
    clock = f" {clock.lstrip('Tt ,:')}" if clock.strip("Tt ,:") else ""
    if len(year) == 2:
        if not order:
            return f"{day}/{month}/{year}{clock}"
        day, year = (day, year) if order != "ymd" else (year, day)
        year = full_year(year)
    return f"{year}-{month:02}" + (f"-{day:0>2}" if day else "") + clock


def full_year(year: str) -> str:
    """A year of two digits in four, 1969 to 2068."""
    return year if len(year) > 2 else f"{20 if int(year) <= CENTURY else 19}{year:0>2}"


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
        worded = any(spelled(cell) != cell for cell in cells)
        loose = [match for match in dates if match["a"]]
        aware = 2 * sum(match["zone"] is not None for match in dates) > len(dates)
        if not order and 2 * len(loose) > len(dates):
            order = _order(loose, column, named=any(WORDED.fullmatch(cell) for cell in cells))
        return Form("", order or "", aware, worded=worded)
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    if not numbers or 2 * len(numbers) <= len(cells):
        return None
    elapsed = unit == STEPS or (unit is not None and abs(numbers[0]) * UNITS[unit] < NEAR_START)
    if unit is None:
        unit = _unit(numbers, column)
        elapsed = unit == STEPS
    return Form(unit, "", aware=True, elapsed=elapsed)


def looks_like_times(cells: Sequence[str], column: str) -> bool:
    """Whether a column that nobody named holds moments; numbers do only where the heading and their size say so."""
    named = bool(NAMES.search(column))
    if are_stamps(cells, named=named):
        return True
    dates = {cell: found for cell in cells if (found := date_of(cell))}
    if 2 * sum(cell in dates for cell in cells) > len(cells):
        # Three pairs of digits may be anything.
        short = [found for found in dates.values() if found["a"] and len(found["z"]) == 2]
        sure = named or any(found["t"] != "-" or found["h"] for found in short)
        if 2 * len(short) > len(dates) and not (sure and _possible(short, ORDERS)):
            return False
        return named or not all(map(str.isdigit, dates))
    if (named or MONTHS.search(column)) and all(MONTH.fullmatch(cell) for cell in cells):
        return True
    return named and counts_from_1970(cells)


def counts_steps(cells: Sequence[str], column: str, series: Sequence[str] | None = None) -> bool:
    """Whether a column of numbers that nobody named counts the steps of its rows: by its heading, where they rise.

    Args:
        cells: of the first rows, in their order.
        series: `(rows,)` which series each is of; None where there is one, or nobody has told them apart.
    """
    if not all(NUMBER.fullmatch(cell) and float(cell).is_integer() for cell in cells) or len(cells) < 3:
        return False
    if all(YEAR_MONTH.fullmatch(cell) for cell in cells):
        return False
    order = range(len(cells)) if series is None else np.argsort(np.array(series), kind="stable").tolist()
    numbers = [float(cells[row]) for row in order]
    # Where series follow one another each begins anew.
    falls = sum(after <= before for before, after in itertools.pairwise(numbers))
    if ELAPSED.fullmatch(column.strip()):
        return falls <= len(set(series or ())) or 3 * falls < len(cells)
    return bool(CALENDAR.fullmatch(column.strip())) and not falls


def seem_times(cells: Sequence[str], column: str, *, first: bool) -> bool:
    """Whether most cells are meant as times, though they cannot be read as such.

    Args:
        first: the column stands at the left, where times do, so that its heading need not say so.
    """
    if not (first or NAMES.search(column)):
        return False
    meant = [cell for cell in cells if _MEANT.search(cell)]
    if not NAMES.search(column):
        meant = [cell for cell in meant if not any(map(str.isalpha, _LETTERS.sub("", cell)))]
    return 2 * len(meant) > len(cells)


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


def _order(loose: Sequence[re.Match[str]], column: str, *, named: bool) -> str:
    """The order of dates that do not begin with a year of four digits.

    Args:
        named: months have names and were put between the other two numbers.
    """
    if named or 2 * sum(len(found["z"]) == 2 for found in loose) > len(loose):
        return _short_order(loose, column, [name for name in ORDERS if not (named and name == "mdy")])
    first, second = (max(int(found[part]) for found in loose) for part in "ab")
    if first > 12 >= second:
        return "dmy"
    if second > 12 >= first:
        return "mdy"
    a, b, mark = int(loose[0]["a"]), int(loose[0]["b"]), loose[0]["t"]
    # Dots are written with the day first; where both are past 12 some cell is wrong, and will be named.
    if mark == "." or first > 12:
        return "dmy"
    raise DataError(
        f"column {column!r}: {a}{mark}{b} can be {_month(b, a)} or {_month(a, b)}, and the first rows do not tell. Add "
        "--date-order dmy (day first) or --date-order mdy (month first)"
    )


def _possible(loose: Sequence[re.Match[str]], orders: Iterable[str]) -> list[str]:
    """The orders in which all of these are days of a month."""
    parts = [tuple(int(found[part]) for part in "abz") for found in loose]
    return [
        name
        for name in orders
        if all(1 <= date[ORDERS[name][0]] <= 31 and 1 <= date[ORDERS[name][1]] <= 12 for date in parts)
    ]


def _short_order(loose: Sequence[re.Match[str]], column: str, orders: Sequence[str]) -> str:
    """The order of dates with years of two digits: days change most often from row to row, and years least."""
    possible = _possible(loose, orders)
    if len(possible) > 1:
        parts = np.array([[int(found[part]) for part in "abz"] for found in loose])
        changes = (np.diff(parts, axis=0) != 0).sum(axis=0)
        counts = {name: changes[list(ORDERS[name])] for name in possible}
        likely = [name for name, (day, month, year) in counts.items() if day >= month >= year and day > year]
        possible = likely if len(likely) == 1 else possible
    if len(possible) == 1:
        return possible[0]
    # Where none is possible some cell is wrong, and will be named.
    if not possible or "mdy" not in orders or loose[0]["t"] == ".":
        return "dmy"
    date = loose[0]["t"].join(loose[0][part] for part in "abz")
    raise DataError(
        f"column {column!r}: {date} can be read as "
        f"{' or '.join(possible)} (d: day, m: month, y: year), and the first rows do not tell. Add --date-order "
        f"{' or --date-order '.join(possible)}"
    )


def _month(month: int, day: int) -> str:
    try:
        return f"{day} {datetime.date(2000, month, 1):%B}"
    except ValueError:
        return f"day {day} of month {month}"


def _unit(numbers: Sequence[float], column: str) -> str:
    for unit in ("s", "ms", "us", "ns"):
        if FIRST <= float(np.median(numbers)) * UNITS[unit] / UNITS["s"] <= LAST:
            return unit
    example = f"column {column!r}: numbers like {numbers[0]:.12g}"
    if all(YEAR_MONTH.fullmatch(f"{number:.12g}") for number in numbers):
        raise DataError(f"{example} seem to be months. Write them as YYYY-MM, or add --time-unit steps to count them")
    if all(number.is_integer() for number in numbers):
        return STEPS
    raise DataError(
        f"{example} are times since 1970 in no usual unit, nor do they count steps. Tell the unit of elapsed time with "
        "--time-unit s, ms, us or ns; or leave --time-col out and name the columns to model with --value-cols, and "
        "rows are counted"
    )
