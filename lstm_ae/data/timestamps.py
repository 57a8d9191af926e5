"""Timestamps: recognize their form and read them."""

import datetime
import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import STEPS, UNITS
from lstm_ae.errors import DataError
from lstm_ae.formatting import quote

# Times that are numbers are taken for seconds where those lead into these years, else for ms, us or ns.
FIRST_SECOND, LAST_SECOND = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds

# Numbers of a unit that was told are elapsed time where they begin within a year of 0.
MAX_ELAPSED_START = 366 * UNITS["d"]

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
YEAR_MONTH_NUMBER = re.compile(r"(1[89]|2[01])\d{2}\.(0[1-9]|1[0-2])", re.ASCII)

# YYYYMMDDHH, YYYYMMDDHHMM or YYYYMMDDHHMMSS. Before 1900 these were seconds of today.
DIGIT_STAMP = re.compile(
    r"(?P<day>(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))(?P<clock>([01]\d|2[0-3])([0-5]\d([0-5]\d)?)?)", re.ASCII
)

TIME_HEADING = re.compile(r"time|date|datum|epoch|unix|stamp|zeit|^ts$|^t$", re.IGNORECASE)

MONTH_HEADING = re.compile(r"month|monat|yyyy[ _-]?mm|period", re.IGNORECASE)

# Headings of dates alone. Numbers below them are no values.
DATE_HEADING = re.compile(r"(?<![^\W_])(date|datum)([ _-]?time)?(?![^\W_])", re.IGNORECASE)

# Days since the end of 1899, as spreadsheets count dates, from 1954 to 2064.
EXCEL_SERIALS = range(20_000, 60_001)

# Headings of elapsed time and of counters of steps, and of those that never begin anew.
ELAPSED_HEADING = re.compile(
    r"(t|ts|time([ _-]?(stamp|step|index|idx))?|zeit|elapsed([ _-]?time)?|uptime|second|tick|step|sample([ _-]?no)?)s?"
    r"([ _-]*(s|sec|seconds|ms|us|min|h)|\s*[\[(].*[\])])?",
    re.IGNORECASE,
)

CALENDAR_HEADING = re.compile(r"year|jahr|week|woche|day|tag", re.IGNORECASE)

# Headings of temperatures.
TEMPERATURE_HEADING = re.compile(r"T(\s*[\[(].*[\])])?")

# Digits that are a year and a month, which no counter of steps has in most of its rows; .0 where some were missing.
YEAR_MONTH = re.compile(r"(?P<y>(19|20)\d{2})(?P<m>0[1-9]|1[0-2])(\.0)?", re.ASCII)

# Those that are a day with a year of two digits as well.
AMBIGUOUS_SHORT_DAY = re.compile(r"(19|20)(0[1-9]|1[0-2])(0[1-9]|1[0-2])", re.ASCII)

QUARTER = re.compile(r"(?P<y1>\d{4})[-/\s]?Q(?P<q1>[1-4])|Q(?P<q2>[1-4])[-/\s]?(?P<y2>\d{4})", re.ASCII | re.IGNORECASE)

MONTH_WORDS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

GERMAN_MONTHS = {"jän": "jan", "mär": "mar", "mae": "mar", "mrz": "mar", "mai": "may", "okt": "oct", "dez": "dec"}

_MONTH_WORD = (
    r"(?:jan(?:uary|uar)?|jän(?:ner)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz?|maerz|mrz|apr(?:il)?|may|mai|june?|juni|july?|juli|"
    r"aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\.?"
)

_WEEKDAY = (
    r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?|(?:mon|diens|donners|frei|sams|sonn)tag|"
    r"mittwoch|mo|di|mi|do|fr|sa|so)\.?,?\s+"
)

_DATE_SEPARATOR = r"[-/\s,.]"

# 2 Jan 2024, Jan 2 2024, 2024-Jan-2, Jan 2024, 2024 Jan, and Jan 2 10:00:00 2024 as `date` writes it.
WORDED_DATE = re.compile(
    rf"(?:{_WEEKDAY})?(?:"
    rf"(?P<d1>[0-9]{{1,2}})(?:st|nd|rd|th)?{_DATE_SEPARATOR}*(?P<m1>{_MONTH_WORD}){_DATE_SEPARATOR}*(?P<y1>[0-9]{{4}}|[0-9]{{2}}(?![0-9:]))"
    rf"|(?P<m2>{_MONTH_WORD}){_DATE_SEPARATOR}*(?P<d2>[0-9]{{1,2}})(?:st|nd|rd|th)?{_DATE_SEPARATOR}+(?P<y2>[0-9]{{4}})"
    rf"|(?P<y3>[0-9]{{4}}){_DATE_SEPARATOR}*(?P<m3>{_MONTH_WORD}){_DATE_SEPARATOR}*(?P<d3>[0-9]{{1,2}})"
    rf"|(?P<m4>{_MONTH_WORD}){_DATE_SEPARATOR}*(?P<y4>[0-9]{{4}})|(?P<y5>[0-9]{{4}}){_DATE_SEPARATOR}*(?P<m5>{_MONTH_WORD})"
    rf"|(?P<m6>{_MONTH_WORD})\s+(?P<d6>[0-9]{{1,2}})\s+(?P<clock>[0-9]{{1,2}}:[0-9]{{2}}(?::[0-9]{{2}})?)\s+"
    r"(?:(?P<zone>UTC|GMT)\s+)?(?P<y6>[0-9]{4})"
    r")(?P<rest>[T\s,:].*)?",
    re.IGNORECASE,
)

WEEKDAY_DATE = re.compile(rf"(?:{_WEEKDAY})(?=[0-9])", re.IGNORECASE)

# Years of two digits up to this one are of this century.
LAST_SHORT_YEAR = 68

# Where the day, the month and the year stand.
DATE_ORDERS = {"dmy": (0, 1, 2), "mdy": (1, 0, 2), "ymd": (2, 1, 0)}

# What a cell holds that is meant as a time, and letters that may stand in one.
_TIME_LIKE = re.compile(
    rf"(?<!\d)(19|20)\d{{2}}(?!\d)|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2,4}}|\d{{1,2}}:\d{{2}}|{_MONTH_WORD}\W*\d|\d\W*{_MONTH_WORD}",
    re.IGNORECASE,
)

_TIME_LETTERS = re.compile(rf"{_MONTH_WORD}|{_WEEKDAY}|am|pm|utc|gmt|kw|st|nd|rd|th|[tzqwh]", re.IGNORECASE)


class TimeForm(NamedTuple):
    """How a column's cells are to be read.

    Args:
        unit: of cells that are numbers, `STEPS` for a counter; "" where they are dates.
        order: of dates that do not begin with a year of four digits: "dmy", "mdy" or "ymd"; "" where none of the first
            rows has such.
        aware: whether each cell has an offset of its own, or needs none.
        compact: whether they are dates of digits alone, with the hour, as in 2024013123, or months, as in 202401.
        worded: whether months or weekdays have names, or they are quarters.
        elapsed: whether numbers count from a start that nobody dated.
    """

    unit: str
    order: str
    aware: bool
    compact: bool = False
    worded: bool = False
    elapsed: bool = False


def parse_date_parts(cell: str) -> re.Match[str] | None:
    """The parts of a date; None where the cell is none, as 1013.25 is none, which may be a month only by its form."""
    found = DATE.fullmatch(month_name_to_digits(cell))
    return None if found and not found["c"] and NUMBER.fullmatch(cell) else found


def month_name_to_digits(cell: str, order: str = "") -> str:
    """A date with the name of its month as digits, the year first, and without a weekday; any other cell as it is.

    A quarter is its first month.

    A year of two digits remains, as in 02-Jan-24, where `order` does not tell it from the day.
    """
    if quarter := QUARTER.fullmatch(cell):
        first = 3 * int(quarter["q1"] or quarter["q2"]) - 2
        return f"{quarter['y1'] or quarter['y2']}-{first:02}"
    found = WORDED_DATE.fullmatch(cell)
    if not found:
        return WEEKDAY_DATE.sub("", cell, count=1) if cell[:1].isalpha() else cell
    number, form = next((found[f"m{form}"], form) for form in range(1, 7) if found[f"m{form}"])
    word = number[:3].lower()
    month = MONTH_WORDS.index(GERMAN_MONTHS.get(word, word)) + 1
    year, day = found[f"y{form}"], "" if form in (4, 5) else found[f"d{form}"]
    clock = found["rest"] or ""
    if form == 6:
        clock = f" {found['clock']}{found['zone'] or ''}"
    clock = f" {clock.lstrip('Tt ,:')}" if clock.strip("Tt ,:") else ""
    if len(year) == 2:
        if not order:
            return f"{day}/{month}/{year}{clock}"
        day, year = (day, year) if order != "ymd" else (year, day)
        year = expand_year(year)
    return f"{year}-{month:02}" + (f"-{day:0>2}" if day else "") + clock


def expand_year(year: str) -> str:
    """A year of two digits in four, 1969 to 2068."""
    return year if len(year) > 2 else f"{20 if int(year) <= LAST_SHORT_YEAR else 19}{year:0>2}"


def infer_form(
    cells: Sequence[str], column: str, *, order: str | None = None, unit: str | None = None
) -> TimeForm | None:
    """How the first cells of a column are to be read as moments; None where most of them are none.

    Args:
        cells: blanks stripped, none of them missing.
        order, unit: what the reader of the file was told.

    Raises:
        DataError: the day and the month cannot be told apart, or the unit cannot.
    """
    if unit is None and are_digit_stamps(cells, named=True):
        return TimeForm("", "", aware=False, compact=True)
    if unit is None and are_year_months(cells):
        _require_months(cells, column)
        return TimeForm("", "", aware=False, compact=True)
    months = all(YEAR_MONTH_NUMBER.fullmatch(cell) for cell in cells)
    found = [DATE.fullmatch(cell) if months else parse_date_parts(cell) for cell in cells]
    dates = [match for match in found if match and not (match["c"] and match["h"] is None and unit)]
    if 2 * len(dates) > len(cells) and (unit is None or not all(NUMBER.fullmatch(cell) for cell in cells)):
        worded = any(month_name_to_digits(cell) != cell for cell in cells)
        loose = [match for match in dates if match["a"]]
        aware = 2 * sum(match["zone"] is not None for match in dates) > len(dates)
        if not order and 2 * len(loose) > len(dates):
            order = _infer_date_order(loose, column, named=any(WORDED_DATE.fullmatch(cell) for cell in cells))
        return TimeForm("", order or "", aware, worded=worded)
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    if not numbers or 2 * len(numbers) <= len(cells):
        return None
    elapsed = unit == STEPS or (unit is not None and abs(numbers[0]) * UNITS[unit] < MAX_ELAPSED_START)
    if unit is None:
        unit = _infer_unit(numbers, column)
        elapsed = unit == STEPS
    return TimeForm(unit, "", aware=True, elapsed=elapsed)


def looks_like_times(cells: Sequence[str], column: str) -> bool:
    """Whether a column that nobody named holds moments; numbers do only where the heading and their size say so."""
    named = bool(TIME_HEADING.search(column))
    if are_digit_stamps(cells, named=named):
        return True
    dates = {cell: found for cell in cells if (found := parse_date_parts(cell))}
    if 2 * sum(cell in dates for cell in cells) > len(cells):
        # Three pairs of digits may be anything.
        short = [found for found in dates.values() if found["a"] and len(found["z"]) == 2]
        sure = named or any(found["t"] != "-" or found["h"] for found in short)
        if 2 * len(short) > len(dates) and not (sure and _possible_orders(short, DATE_ORDERS)):
            return False
        return named or not all(map(str.isdigit, dates))
    if (named or MONTH_HEADING.search(column)) and (
        all(YEAR_MONTH_NUMBER.fullmatch(cell) for cell in cells) or are_year_months(cells)
    ):
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
    if are_year_months(cells) or TEMPERATURE_HEADING.fullmatch(column.strip()):
        return False
    order = range(len(cells)) if series is None else np.argsort(np.array(series), kind="stable").tolist()
    numbers = [float(cells[row]) for row in order]
    # Where series follow one another each begins anew.
    falls = sum(after <= before for before, after in itertools.pairwise(numbers))
    if ELAPSED_HEADING.fullmatch(column.strip()):
        return falls <= len(set(series or ())) or 3 * falls < len(cells)
    return bool(CALENDAR_HEADING.fullmatch(column.strip())) and not falls


def resembles_times(cells: Sequence[str], column: str, *, first: bool) -> bool:
    """Whether most cells are meant as times, though they cannot be read as such.

    Args:
        first: the column stands at the left, where times do, so that its heading need not say so.
    """
    if not (first or TIME_HEADING.search(column)):
        return False
    meant = [cell for cell in cells if _TIME_LIKE.search(cell)]
    if not TIME_HEADING.search(column):
        meant = [cell for cell in meant if not any(map(str.isalpha, _TIME_LETTERS.sub("", cell)))]
    return 2 * len(meant) > len(cells)


def are_digit_stamps(cells: Sequence[str], *, named: bool) -> bool:
    """Whether cells are dates of digits alone, with the hour.

    Args:
        named: the column is known for times, or its heading says so. In another one ten digits may be any number.
    """
    found = [cell for cell in cells if DIGIT_STAMP.fullmatch(cell)]
    if cells and len(found) == len(cells):
        return named or min(map(len, cells)) > 10
    # Among times since 1970 there may be some that look so.
    return named and 2 * len(found) > len(cells) and min(map(len, found)) > 10


def are_year_months(cells: Sequence[str]) -> bool:
    """Return whether most cells are a year and a month in digits alone, as in 202401."""
    return 2 * sum(YEAR_MONTH.fullmatch(cell) is not None for cell in cells) > len(cells)


def _require_months(cells: Sequence[str], column: str) -> None:
    """Raise `DataError` where digits that are a year and a month can be a day with a short year in all cells."""
    found = [match for match in map(YEAR_MONTH.fullmatch, cells) if match]
    if len({match["y"] for match in found}) > 1 or not all(AMBIGUOUS_SHORT_DAY.match(match[0]) for match in found):
        return
    (year, month), cell = found[0].group("y", "m"), found[0][0]
    raise DataError(
        f"column {column!r}: {cell} can be {year}-{month} or 20{year[:2]}-{year[2:]}-{month}, and the first rows "
        "do not tell. Write months as YYYY-MM or days as YYYY-MM-DD; or add --time-unit steps to count them"
    )


def find_date_number(cells: Sequence[str], column: str) -> str | None:
    """Return what the numbers of a column are whose heading says dates, as a predicate; None where it says none."""
    if not cells or not DATE_HEADING.search(column):
        return None
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    if numbers and EXCEL_SERIALS.start <= float(np.median(numbers)) < EXCEL_SERIALS.stop:
        day = np.datetime64("1899-12-30") + np.timedelta64(int(numbers[0]), "D")
        return f"seems to hold the day numbers of a spreadsheet ({numbers[0]:.12g} is {day})"
    return f"holds numbers that are no dates, such as {quote(cells[0])}"


def expand_stamp(cell: str) -> str:
    """2024013123 as 20240131T2300 and 202401 as 2024-01; what is not written so remains as it is."""
    if month := YEAR_MONTH.fullmatch(cell):
        return f"{month['y']}-{month['m']}"
    found = DIGIT_STAMP.fullmatch(cell)
    return f"{found['day']}T{found['clock'].ljust(4, '0')}" if found else cell


def counts_from_1970(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers and lead from 1970, in some unit, to the years around today."""
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    return 2 * len(numbers) > len(cells) and any(
        FIRST_SECOND <= float(np.median(numbers)) * UNITS[unit] / UNITS["s"] <= LAST_SECOND
        for unit in ("s", "ms", "us", "ns")
    )


def _infer_date_order(loose: Sequence[re.Match[str]], column: str, *, named: bool) -> str:
    """The order of dates that do not begin with a year of four digits.

    Args:
        named: months have names and were put between the other two numbers.
    """
    if named or 2 * sum(len(found["z"]) == 2 for found in loose) > len(loose):
        # Dots are written with the day first, or the year.
        return _infer_short_date_order(
            loose, column, ["dmy", "ymd"] if named or loose[0]["t"] == "." else list(DATE_ORDERS)
        )
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
        f"column {column!r}: {a}{mark}{b} can be {_format_month_day(b, a)} or {_format_month_day(a, b)}, "
        "and the first rows do not tell. Add "
        "--date-order dmy (day first) or --date-order mdy (month first)"
    )


def _possible_orders(loose: Sequence[re.Match[str]], orders: Iterable[str]) -> list[str]:
    """The orders in which all of these are days of a month."""
    parts = [tuple(int(found[part]) for part in "abz") for found in loose]
    return [
        name
        for name in orders
        if all(1 <= date[DATE_ORDERS[name][0]] <= 31 and 1 <= date[DATE_ORDERS[name][1]] <= 12 for date in parts)
    ]


def _infer_short_date_order(loose: Sequence[re.Match[str]], column: str, orders: Sequence[str]) -> str:
    """Return the order of dates with years of two digits: days change most often from row to row, and years least.

    Raises:
        DataError: more than one order fits the dates.
    """
    possible = _possible_orders(loose, orders)
    if len(possible) == 1:
        return possible[0]
    # Where none is possible some cell is wrong, and will be named.
    likely = ["dmy"] if not possible or "mdy" not in orders else []
    if possible:
        parts = np.array([[int(found[part]) for part in "abz"] for found in loose])
        changes = (np.diff(parts, axis=0) != 0).sum(axis=0)
        counts = {name: changes[list(DATE_ORDERS[name])] for name in possible}
        likely = [name for name, (day, month, year) in counts.items() if day >= month >= year and day > year] or likely
    if len(likely) == 1 and not (possible and _is_ambiguous_order(parts, likely[0], possible)):
        return likely[0]
    date = loose[0]["t"].join(loose[0][part] for part in "abz")
    raise DataError(
        f"column {column!r}: {date} can be read as "
        f"{' or '.join(possible)} (d: day, m: month, y: year), and the first rows do not tell. Add --date-order "
        f"{' or --date-order '.join(possible)}"
    )


def _is_ambiguous_order(parts: NDArray[np.int64], order: str, possible: Sequence[str]) -> bool:
    """Return whether what changes as days do can be the months of a year, or the years of one day.

    Args:
        parts: `(rows, 3)` the numbers of the dates as they are written.
    """
    if order == "dmy" and "mdy" not in possible:
        return False
    day, month, year = (parts[:, place] for place in DATE_ORDERS[order])
    constant = sum(int(part.min() == part.max()) for part in (month, year))
    return (constant > 0 and int(day.max()) <= 12) or (order == "ymd" and constant == 2)


def _format_month_day(month: int, day: int) -> str:
    try:
        return f"{day} {datetime.date(2000, month, 1):%B}"
    except ValueError:
        return f"day {day} of month {month}"


def _infer_unit(numbers: Sequence[float], column: str) -> str:
    for unit in ("s", "ms", "us", "ns"):
        if FIRST_SECOND <= float(np.median(numbers)) * UNITS[unit] / UNITS["s"] <= LAST_SECOND:
            return unit
    example = f"column {column!r}: numbers like {numbers[0]:.12g}"
    if DATE_HEADING.search(column) and EXCEL_SERIALS.start <= float(np.median(numbers)) < EXCEL_SERIALS.stop:
        raise DataError(
            f"{example} seem to be the day numbers of a spreadsheet. Write dates as YYYY-MM-DD, or add --time-unit "
            "steps to count whole ones"
        )
    if all(number.is_integer() for number in numbers):
        return STEPS
    raise DataError(
        f"{example} are times since 1970 in no usual unit, nor do they count steps. Tell the unit of elapsed time with "
        "--time-unit s, ms, us or ns; or leave --time-col out and name the columns to model with --value-cols, and "
        "rows are counted"
    )


Times = NDArray[np.int64]

EPOCH = datetime.datetime(1970, 1, 1)

# Years that 64 bits of nanoseconds reach.
YEAR_RANGE = range(1678, 2262)

UTC_OFFSET = re.compile(r"(?<=\d)\s*(Z|[+-]\d{2}:?\d{2})$", re.ASCII)

# Characters of a time to the microsecond, and to the nanosecond.
ISO_LENGTHS = (26, 29)

NON_ISO_CHARACTER = re.compile(r"[^0-9:T. \-]")


class BadTime(Exception):
    """A cell that is no moment: its place among those given, and what is wrong."""

    def __init__(self, place: int, problem: str) -> None:
        super().__init__(problem)
        self.place, self.problem = place, problem


def parse_times(cells: Sequence[str], form: TimeForm) -> Times:
    """The cells, blanks stripped, as nanoseconds: in UTC where the form is aware, else as a local clock shows them.

    Raises:
        BadCell: with the place of the first cell that is none.
    """
    if form.unit:
        return _parse_numeric_times(cells, form)
    if form.worded:
        cells = [month_name_to_digits(cell, form.order) for cell in cells]
    offset, plain = None if form.aware else 0, cells
    if form.aware and (end := UTC_OFFSET.search(cells[0])):
        # One offset for all is the usual case; what is left is plain.
        suffix = end[0]
        if all(cell.endswith(suffix) for cell in cells):
            plain, offset = [cell[: -len(suffix)] for cell in cells], _parse_offset(end[1])
    plain = _separate_digits(plain) if form.compact else _reorder_dates(plain, form.order)
    joined = "".join(plain)
    if (
        offset is not None
        and not NON_ISO_CHARACTER.search(joined)
        and joined.count("-") == 2 * len(plain)
        and min(map(len, plain)) >= 10
        and max(map(len, plain)) <= ISO_LENGTHS[1]
        # What follows a second blank numpy takes for an offset.
        and not any(" " in cell[11:] for cell in plain)
    ):
        try:
            times = np.array(plain, "datetime64[us]").astype(np.int64)
        except ValueError:
            pass
        else:
            low, high = (
                np.datetime64(f"{year}-01-01", "us").astype(np.int64) for year in (YEAR_RANGE.start, YEAR_RANGE.stop)
            )
            if ((times >= low) & (times < high)).all():
                # To microseconds first, which hold every year: nanoseconds beyond 2262 would wrap around.
                if max(map(len, plain)) > ISO_LENGTHS[0]:
                    exact = np.array(plain, "datetime64[ns]").astype(np.int64)
                else:
                    exact = times * 1000
                return exact - offset * UNITS["min"]
    return np.array([_parse_moment(cell, form, place) for place, cell in enumerate(cells)], np.int64)


def _reorder_dates(cells: Sequence[str], order: str) -> Sequence[str]:
    """Dates like 31.12.2024 in the order of ISO 8601, if all have this width; else as they are."""
    if not order or not all(cell[2:3] in ("/", ".", "-") and cell[2:3] == cell[5:6] for cell in cells):
        return cells
    if order == "dmy":
        return [f"{cell[6:10]}-{cell[3:5]}-{cell[:2]}{cell[10:]}" for cell in cells]
    return [f"{cell[6:10]}-{cell[:5].replace(cell[2], '-')}{cell[10:]}" for cell in cells]


def _separate_digits(cells: Sequence[str]) -> Sequence[str]:
    """Dates of digits alone in the marks of ISO 8601, if all are as long and no longer; else as they are."""
    length = len(cells[0])
    if length not in (10, 12, 14) or not all(len(cell) == length and cell.isdigit() for cell in cells):
        return cells
    rest = ["0000", "00", ""][length // 2 - 5]
    digits = [cell + rest for cell in cells]
    return [f"{d[:4]}-{d[4:6]}-{d[6:8]} {d[8:10]}:{d[10:12]}:{d[12:]}" for d in digits]


def _parse_numeric_times(cells: Sequence[str], form: TimeForm) -> Times:
    size = 1 if form.unit == STEPS else UNITS[form.unit]
    limit = 9e18 / size
    try:
        values = np.array(list(map(int, cells)), np.int64)
        if (abs(values) < limit).all():
            return values * size
    except (ValueError, OverflowError):
        pass
    for place, cell in enumerate(cells):
        if not NUMBER.fullmatch(cell) or not abs(float(cell)) < limit:
            raise BadTime(place, f"{quote(cell)} is not a time. Correct it, or remove the row")
        if form.unit == STEPS and not float(cell).is_integer():
            raise BadTime(place, f"{quote(cell)} is between two steps. Correct it, or tell a --time-unit")
    # To the microsecond, which is what a double holds of today's seconds.
    if size < 1000:
        return np.rint(np.array(cells, np.float64) * size).astype(np.int64)
    return np.rint(np.array(cells, np.float64) * (size // 1000)).astype(np.int64) * 1000


def _parse_moment(cell: str, form: TimeForm, place: int) -> int:
    if not cell:
        raise BadTime(place, "the time is missing. Write it, or remove the row")
    found = DATE.fullmatch(expand_stamp(cell) if form.compact else month_name_to_digits(cell, form.order))
    if not found:
        raise BadTime(place, f"{quote(cell)} is not a time. Write it as YYYY-MM-DD HH:MM:SS, or remove the row")
    if found["c"]:
        year, month, day = found["c"][:4], found["c"][4:6], found["c"][6:]
    elif found["y"]:
        year, month, day = found["y"], found["m"], found["d"] or "1"
    elif not form.order:
        raise BadTime(place, f"{quote(cell)} does not begin with the year, unlike the first rows. Write all in one way")
    else:
        written = (found["a"], found["b"], found["z"])
        day, month, year = (written[place] for place in DATE_ORDERS[form.order])
        year = expand_year(year)
    hour = int(found["h"] or 0)
    if found["half"]:
        hour = hour % 12 + 12 * (found["half"].lower() == "pm") if 1 <= hour <= 12 else 99
    try:
        moment = datetime.datetime(int(year), int(month), int(day), hour, int(found["n"] or 0), int(found["sec"] or 0))
    except ValueError as error:
        hint = "" if found["y"] or found["c"] else f" with --date-order {form.order}"
        raise BadTime(
            place, f"{quote(cell)} is not a moment of the calendar{hint} ({error}). Correct it, or remove the row"
        ) from None
    if moment.year not in YEAR_RANGE:
        raise BadTime(
            place, f"{quote(cell)} is outside the years {YEAR_RANGE.start} to {YEAR_RANGE.stop - 1}. Correct it"
        )
    if form.aware != (found["zone"] is not None):
        has = "no offset from UTC, unlike" if form.aware else "an offset from UTC, unlike"
        raise BadTime(place, f"{quote(cell)} has {has} the first rows. Write all times in one way")
    nanoseconds = (moment - EPOCH) // datetime.timedelta(microseconds=1) * 1000 + int((found["f"] or "0").ljust(9, "0"))
    return nanoseconds - _parse_offset(found["zone"] or "Z") * UNITS["min"]


def _parse_offset(offset: str) -> int:
    """An offset in minutes; `+0200` and `+02:00` are 120."""
    if offset[0] not in "+-":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (-1 if offset[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:]))


CLOCK_TIME = re.compile(
    r"([01]?\d|2[0-3])(:[0-5]\d(:[0-5]\d([.,]\d{1,9})?)?|\.[0-5]\d\.[0-5]\d)\s*([AaPp][Mm])?"
    r"\s*(Z|z|UTC|GMT|[+-]\d{2}(:?\d{2})?)?",
    re.ASCII,
)

DOTTED_CLOCK = re.compile(r"^(\d{1,2})\.(\d{2})\.(\d{2})", re.ASCII)

# Not any heading with a time in it: a day has a sunrise time as well.
CLOCK_HEADING = re.compile(
    r"((local|utc|gmt|obs(ervation)?|sampl(e|ing)|log|record(ed|ing)?|measur(ed|ing|ement))[ _-]*)?"
    r"(time|clock|hour|hh:?mm(:?ss)?|uhrzeit|zeit|heure|hora|ora|tijd)([ _-]*(of[ _-]day|utc|gmt|local))?"
    r"(\s*[\[(].*[\])])?",
    re.IGNORECASE,
)


def are_clock_times(cells: Sequence[str], words: Collection[str]) -> bool:
    """Whether most cells are times of a day; `words` stand for a missing one."""
    held = [cell for cell in cells if cell.lower() not in words]
    return 2 * sum(CLOCK_TIME.fullmatch(cell) is not None for cell in held) > len(held)


def are_dates(cells: Sequence[str], words: Collection[str]) -> bool:
    """Whether most cells are dates with the day and without the time of it."""
    held = [cell for cell in cells if cell.lower() not in words]
    days = [found for found in map(parse_date_parts, held) if found and (found["d"] or found["b"] or found["c"])]
    return 2 * sum(found["h"] is None for found in days) > len(held)


def choose_clock_column(columns: Sequence[str], days: Sequence[str], ids: Sequence[str] | None) -> str | None:
    """The one of these columns of clock times that is the dates' own: by its heading, where dates repeat.

    Args:
        days, ids: `(rows,)` the dates, and the names of the series.
    """
    if len(set(days if ids is None else zip(ids, days, strict=True))) == len(days):
        return None
    return next((name for name in columns if CLOCK_HEADING.fullmatch(name.strip())), None)


def join_date_and_clock(days: Sequence[str], clocks: Sequence[str], words: Collection[str]) -> list[str]:
    """Dates and times of the day as one, `(rows,)`; empty where one of the two is missing."""
    # Some loggers write 18.00.00, which is no time elsewhere.
    marked = [DOTTED_CLOCK.sub(r"\1:\2:\3", clock) for clock in clocks]
    return [
        "" if day.lower() in words or clock.lower() in words else f"{day} {clock}"
        for day, clock in zip(days, marked, strict=True)
    ]
