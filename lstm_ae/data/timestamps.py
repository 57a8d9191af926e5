"""Recognize the format of timestamps and parse them."""

import datetime
import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lstm_ae.arrays import Int64Array
from lstm_ae.config.reading import STEPS, UNITS
from lstm_ae.data.text_columns import TextColumn, cast_integers, cast_times, to_cells
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote

if TYPE_CHECKING:
    import pyarrow

# Numeric times are seconds if their median is between these dates, else milliseconds, microseconds, or nanoseconds.
FIRST_SECOND, LAST_SECOND = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds since 1970

# Numbers with a given unit are elapsed times if the first one is within a year of 0.
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

# Month that is also a number, which is refused as a time.
YEAR_MONTH_NUMBER = re.compile(r"(1[89]|2[01])\d{2}\.(0[1-9]|1[0-2])", re.ASCII)

# YYYYMMDDHH, YYYYMMDDHHMM, or YYYYMMDDHHMMSS. Years before 1900 are excluded: such numbers are seconds since 1970.
DIGIT_STAMP = re.compile(
    r"(?P<day>(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))(?P<clock>([01]\d|2[0-3])([0-5]\d([0-5]\d)?)?)", re.ASCII
)

TIME_HEADING = re.compile(r"time|date|datum|epoch|unix|stamp|zeit|^ts$|^t$", re.IGNORECASE)

# Words in headings that contain one of these and mean something else: durations, and what was updated.
OTHER_HEADING = re.compile(
    r"(?:run|down|life|lead|cycle|response|wait|idle)(?:time(?!s?tamp)|[ _-]time(?=[ _-](?:[num]?s|sec|min|h)$))"
    r"|sentiment|candidate|validat|mandate"
    r"|consolidat|liquidat|(?<!last)(?<!last[ _-])(?<!^)updated$",
    re.IGNORECASE,
)

MONTH_HEADING = re.compile(r"month|monat|yyyy[ _-]?mm|period", re.IGNORECASE)

# Headings of dates only. Numbers in such columns are not values to model.
DATE_HEADING = re.compile(r"(?<![^\W_])(date|datum)([ _-]?time)?(?![^\W_])", re.IGNORECASE)

# Spreadsheet dates, counted in days since 1899-12-30, from 1954 to 2064.
EXCEL_SERIALS = range(20_000, 60_001)

EXCEL_ADVICE = "Convert the column: pandas.to_datetime(frame[column], unit='D', origin='1899-12-30')"

# Headings of elapsed time and step counters, which may restart, and of calendar counters, which must not.
ELAPSED_HEADING = re.compile(
    r"(t|ts|time([ _-]?(stamp|step|index|idx))?|zeit|elapsed([ _-]?time)?|uptime|second|tick|step|sample([ _-]?no)?)s?"
    r"([ _-]*(s|sec|seconds|ms|us|min|h)|\s*[\[(].*[\])])?",
    re.IGNORECASE,
)

CALENDAR_HEADING = re.compile(r"year|jahr|week|woche|day|tag", re.IGNORECASE)

# Headings that may be a temperature or a time.
TEMPERATURE_HEADING = re.compile(r"T(\s*[\[(].*[\])])?")

# Year and month in digits, a form that most values of a step counter do not have. Programs add .0 if values are
# missing.
YEAR_MONTH = re.compile(r"(?P<y>(19|20)\d{2})(?P<m>0[1-9]|1[0-2])(\.0)?", re.ASCII)

# Year and month that is also a valid day with a year of two digits.
AMBIGUOUS_SHORT_DAY = re.compile(r"(19|20)(0[1-9]|1[0-2])(0[1-9]|1[0-2])", re.ASCII)

MONTH_WORDS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)

_MONTH_WORD = rf"{_MONTH}\.?"

_DAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?)"

_WEEKDAY = rf"{_DAY}\.?,?\s+"

# Quarters, and dates with a German month or weekday, which are refused.
_QUARTER = r"[0-9]{4}[-/\s]?Q[1-4]|Q[1-4][-/\s]?[0-9]{4}"

_GERMAN_WORD = (
    r"(?<![^\W\d_])(?:januar|jän(?:ner)?|februar|märz?|maerz|mrz|mai|juni|juli|okt(?:ober)?|dez(?:ember)?|"
    r"(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch|mo|di|mi|do|fr|sa|so)(?![^\W\d_])"
)

_ANY_WORD = rf"(?:{_GERMAN_WORD}|{_MONTH})"

_REST_OF_DATE = rf"(?:[-0-9/\s,.:+]|{_ANY_WORD}|{_DAY}|st|nd|rd|th|[tz]|am|pm|utc|gmt)*"

REFUSED_DATE = re.compile(
    rf"(?P<quarter>{_QUARTER})|(?!.{{81}})(?=.*[0-9]{{4}}|.*[0-9][^0-9]+[0-9])"
    rf"{_REST_OF_DATE}(?P<word>{_GERMAN_WORD}){_REST_OF_DATE}",
    re.IGNORECASE,
)

_DATE_SEPARATOR = r"[-/\s,.]"

# 2 Jan 2024, Jan 2 2024, 2024-Jan-2, Jan 2024, 2024 Jan, and Jan 2 10:00:00 2024 as written by `date`.
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

# Last two-digit year of this century; later ones are of the previous century.
LAST_SHORT_YEAR = 68

# Positions of the day, the month, and the year in each date order.
DATE_ORDERS = {"dmy": (0, 1, 2), "mdy": (1, 0, 2), "ymd": (2, 1, 0)}

# Content of a cell that is meant as a time, and the letters that a time may contain.
_TIME_LIKE = re.compile(
    rf"(?<!\d)(19|20)\d{{2}}(?!\d)|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2,4}}|\d{{1,2}}:\d{{2}}|{_ANY_WORD}\W*\d|\d\W*{_ANY_WORD}"
    # A date and an hour in digits with a separator that is not parsed, as in 20180221-20.
    r"|(?<!\d)(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])[-_:/ ]([01]\d|2[0-3])([0-5]\d){0,2}(?!\d)",
    re.IGNORECASE,
)

_TIME_LETTERS = re.compile(rf"{_ANY_WORD}|{_WEEKDAY}|am|pm|utc|gmt|kw|st|nd|rd|th|[tzqwh]", re.IGNORECASE)


class AmbiguousDates(DataError):
    """Error for dates that all have several possible orders of day, month, and year."""


class TimeForm(NamedTuple):
    """Format of the times of a column.

    Args:
        unit: unit of numeric times, `STEPS` for a counter; "" for dates.
        order: order of dates that do not begin with a four-digit year: "dmy", "mdy", or "ymd"; "" if the first rows
            have no such dates.
        aware: whether each cell has a UTC offset or needs none.
        compact: whether the cells are digits only, with a date and an hour as in 2024013123, or a month as in 202401.
        worded: whether months or weekdays are words.
        elapsed: whether numbers count from a start whose date is unknown.
        pattern: the format given by the user, in the directives of strptime; "" for a format that was inferred.
    """

    unit: str
    order: str
    aware: bool
    compact: bool = False
    worded: bool = False
    elapsed: bool = False
    pattern: str = ""


def parse_date_parts(cell: str) -> re.Match[str] | None:
    """Return the match of `DATE` on a cell, or None if it is not a date.

    A number such as 1013.25, which has the form of a month, is not a date.
    """
    found = DATE.fullmatch(month_name_to_digits(cell))
    return None if found and not found["c"] and NUMBER.fullmatch(cell) else found


def is_date(cell: str) -> bool:
    """Return whether a cell is meant as a date, even if it is refused."""
    return bool(parse_date_parts(cell) or REFUSED_DATE.fullmatch(cell))


def month_name_to_digits(cell: str, order: str = "") -> str:
    """Return a date with its month as a number, the year first, and without a weekday.

    Other cells are returned unchanged. A two-digit year stays at the end, as in 02/1/24, if no `order` tells it apart
    from the day.

    >>> month_name_to_digits("2 Jan 2024"), month_name_to_digits("02-Jan-24")
    ('2024-01-02', '02/1/24')
    """
    found = WORDED_DATE.fullmatch(cell)
    if not found:
        return WEEKDAY_DATE.sub("", cell, count=1) if cell[:1].isalpha() else cell
    number, form = next((found[f"m{form}"], form) for form in range(1, 7) if found[f"m{form}"])
    month = MONTH_WORDS.index(number[:3].lower()) + 1
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
    """Return a year with four digits; years of two digits become 1969 to 2068.

    >>> expand_year("68"), expand_year("69"), expand_year("2024")
    ('2068', '1969', '2024')
    """
    return year if len(year) > 2 else f"{20 if int(year) <= LAST_SHORT_YEAR else 19}{year:0>2}"


def infer_form(
    cells: Sequence[str], column: str, *, order: str | None = None, unit: str | None = None, counts: bool = True
) -> TimeForm | None:
    """Return the format of a column's times, inferred from its first cells, or None if most are not times.

    Args:
        cells: cells without surrounding blanks and without missing values.
        column: the column as named in errors.
        order, unit: date order and unit given by the user.
        counts: whether the table may count steps or elapsed time; otherwise, errors advise no option for it.

    Raises:
        DataError: if the day and the month, or the unit, are ambiguous.
    """
    if unit is None and are_digit_stamps(cells, named=True):
        return TimeForm("", "", aware=False, compact=True)
    if unit is None and are_year_months(cells):
        _require_months(cells, column, counts)
        return TimeForm("", "", aware=False, compact=True)
    if (unit is None and all(map(YEAR_MONTH_NUMBER.fullmatch, cells))) or _are_refused(cells):
        return TimeForm("", "", aware=False)  # `parse_times` refuses the first cell.
    found = [parse_date_parts(cell) for cell in cells]
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
        unit = _infer_unit(numbers, column, counts)
        elapsed = unit == STEPS
    return TimeForm(unit, "", aware=True, elapsed=elapsed)


def is_time_heading(heading: str) -> bool:
    """Return whether a heading may be that of times.

    >>> [is_time_heading(each) for each in ("eventTimeMillis", "last_updated", "bytes_updated", "runtime_ns")]
    [True, True, False, False]
    """
    return bool(TIME_HEADING.search(OTHER_HEADING.sub("", heading)))


def looks_like_times(cells: Sequence[str], column: str) -> bool:
    """Return whether a column holds times; numbers do only if both the heading and their size suggest it."""
    named = is_time_heading(column)
    if are_digit_stamps(cells, named=named) or _are_refused(cells):
        return True
    dates = {cell: found for cell in cells if (found := parse_date_parts(cell))}
    if 2 * sum(cell in dates for cell in cells) > len(cells):
        # Three pairs of digits may have other meanings, so more evidence is needed.
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


def _are_refused(cells: Sequence[str]) -> bool:
    return 2 * sum(REFUSED_DATE.fullmatch(cell) is not None for cell in cells) > len(cells)


def counts_steps(cells: Sequence[str], column: str, series: Sequence[str] | None = None) -> bool:
    """Return whether a column of integers counts steps or elapsed time, judged by its heading and rising values.

    Args:
        cells: cells of the first rows in their order.
        series: `(rows,)` series of each row; None if there is one or they are unknown.
    """
    if not all(NUMBER.fullmatch(cell) and float(cell).is_integer() for cell in cells) or len(cells) < 3:
        return False
    if are_year_months(cells):
        return False
    order = range(len(cells)) if series is None else np.argsort(np.array(series), kind="stable").tolist()
    numbers = [float(cells[row]) for row in order]
    # Each series starts the count anew.
    falls = sum(after <= before for before, after in itertools.pairwise(numbers))
    if ELAPSED_HEADING.fullmatch(column.strip()):
        return falls <= len(set(series or ())) or 3 * falls < len(cells)
    return bool(CALENDAR_HEADING.fullmatch(column.strip())) and not falls


def resembles_times(cells: Sequence[str], column: str, *, first: bool) -> bool:
    """Return whether most cells are meant as times, although they may not be parseable.

    Args:
        first: whether the column is the first one, where times usually are, so that the heading need not suggest it.
    """
    if not (first or is_time_heading(column)):
        return False
    meant = [cell for cell in cells if _TIME_LIKE.search(cell)]
    if not is_time_heading(column):
        meant = [cell for cell in meant if not any(map(str.isalpha, _TIME_LETTERS.sub("", cell)))]
    return 2 * len(meant) > len(cells)


def are_digit_stamps(cells: Sequence[str], *, named: bool) -> bool:
    """Return whether cells are dates with an hour, written with digits only.

    Args:
        named: whether the column is known to hold times, or its heading suggests it. In other columns, ten digits may
            be any number.
    """
    found = [cell for cell in cells if DIGIT_STAMP.fullmatch(cell)]
    if cells and len(found) == len(cells):
        return named or min(map(len, cells)) > 10
    # Some times since 1970 have this form by chance, so the length is required too.
    return named and 2 * len(found) > len(cells) and min(map(len, found)) > 10


def are_year_months(cells: Sequence[str]) -> bool:
    """Return whether most cells are a year and a month in digits only, as in 202401.

    >>> are_year_months(["202401", "202402"]), are_year_months(["202413", "202414"])
    (True, False)
    """
    return 2 * sum(YEAR_MONTH.fullmatch(cell) is not None for cell in cells) > len(cells)


def _require_months(cells: Sequence[str], column: str, counts: bool) -> None:
    """Raise `DataError` if cells with a year and a month, all of one year, may also be days with a two-digit year."""
    found = [match for match in map(YEAR_MONTH.fullmatch, cells) if match]
    if len({match["y"] for match in found}) > 1 or not all(AMBIGUOUS_SHORT_DAY.match(match[0]) for match in found):
        return
    (year, month), cell = found[0].group("y", "m"), found[0][0]
    raise DataError(
        f"column {column!r}: {cell} can be {year}-{month} or 20{year[:2]}-{year[2:]}-{month}, and the first rows "
        "are ambiguous. Write months as YYYY-MM or days as YYYY-MM-DD"
        + ("; or add --time-unit steps to count them" if counts else ""),
        code=Code.TIME_VALUE,
    )


def are_excel_serials(numbers: ArrayLike) -> bool:
    """Return whether most numbers may be the day numbers of a spreadsheet."""
    values = np.asarray(numbers, np.float64)
    return bool(len(values) and EXCEL_SERIALS.start <= np.median(values) < EXCEL_SERIALS.stop)


def find_date_number(cells: Sequence[str], column: str) -> str | None:
    """Return a description of the numbers in a column whose heading says dates, as a predicate; None for others."""
    if not cells or not DATE_HEADING.search(column):
        return None
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    if are_excel_serials(numbers):
        day = np.datetime64("1899-12-30") + np.timedelta64(int(numbers[0]), "D")
        return f"seems to hold the day numbers of a spreadsheet ({numbers[0]:.12g} is {day}). {EXCEL_ADVICE}"
    return f"holds numbers that are no dates, such as {quote(cells[0])}. Write YYYY-MM-DD"


def expand_stamp(cell: str) -> str:
    """Return a date written with digits only in the format of ISO 8601; other cells are returned unchanged.

    >>> expand_stamp("2024013123"), expand_stamp("202401"), expand_stamp("x")
    ('20240131T2300', '2024-01', 'x')
    """
    if month := YEAR_MONTH.fullmatch(cell):
        return f"{month['y']}-{month['m']}"
    found = DIGIT_STAMP.fullmatch(cell)
    return f"{found['day']}T{found['clock'].ljust(4, '0')}" if found else cell


def counts_from_1970(cells: Sequence[str]) -> bool:
    """Return whether most cells are numbers whose median, in some unit since 1970, is between 1990 and 2100."""
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    return 2 * len(numbers) > len(cells) and any(
        FIRST_SECOND <= float(np.median(numbers)) * UNITS[unit] / UNITS["s"] <= LAST_SECOND
        for unit in ("s", "ms", "us", "ns")
    )


def _infer_date_order(loose: Sequence[re.Match[str]], column: str, *, named: bool) -> str:
    """Return the order of dates that do not begin with a four-digit year.

    Args:
        loose: matches of `DATE` on these dates.
        named: whether months are words, which `month_name_to_digits` puts between the other two numbers.

    Raises:
        AmbiguousDates: if more than one order is possible.
    """
    if named or 2 * sum(len(found["z"]) == 2 for found in loose) > len(loose):
        # Dates with dots begin with the day or the year.
        return _infer_short_date_order(
            loose, column, ["dmy", "ymd"] if named or loose[0]["t"] == "." else list(DATE_ORDERS)
        )
    first, second = (max(int(found[part]) for found in loose) for part in "ab")
    if first > 12 >= second:
        return "dmy"
    if second > 12 >= first:
        return "mdy"
    a, b, mark = int(loose[0]["a"]), int(loose[0]["b"]), loose[0]["t"]
    # Dates with dots begin with the day. If both numbers exceed 12, some cell is wrong and is reported when it is
    # parsed.
    if mark == "." or first > 12:
        return "dmy"
    raise AmbiguousDates(
        f"column {column!r}: {a}{mark}{b} can be {_format_month_day(b, a)} or {_format_month_day(a, b)}, "
        "and no row decides. Add "
        "--date-order dmy (day first) or --date-order mdy (month first)",
        code=Code.TIME_VALUE,
    )


def _possible_orders(loose: Sequence[re.Match[str]], orders: Iterable[str]) -> list[str]:
    """Return the orders in which all of these dates have a valid day and month."""
    parts = [tuple(int(found[part]) for part in "abz") for found in loose]
    return [
        name
        for name in orders
        if all(1 <= date[DATE_ORDERS[name][0]] <= 31 and 1 <= date[DATE_ORDERS[name][1]] <= 12 for date in parts)
    ]


def _infer_short_date_order(loose: Sequence[re.Match[str]], column: str, orders: Sequence[str]) -> str:
    """Return the order of dates with two-digit years.

    Raises:
        AmbiguousDates: if more than one order fits the dates.
    """
    possible = _possible_orders(loose, orders)
    if len(possible) < 2:
        # If no order is possible, some cell is wrong and is reported when it is parsed.
        return next(iter(possible), "dmy")
    date = loose[0]["t"].join(loose[0][part] for part in "abz")
    raise AmbiguousDates(
        f"column {column!r}: {date} can be read as "
        f"{' or '.join(possible)} (d: day, m: month, y: year), and no row decides. Add --date-order "
        f"{' or --date-order '.join(possible)}",
        code=Code.TIME_VALUE,
    )


def _format_month_day(month: int, day: int) -> str:
    try:
        return f"{day} {datetime.date(2000, month, 1):%B}"
    except ValueError:
        return f"day {day} of month {month}"


def _infer_unit(numbers: Sequence[float], column: str, counts: bool) -> str:
    for unit in ("s", "ms", "us", "ns"):
        if FIRST_SECOND <= float(np.median(numbers)) * UNITS[unit] / UNITS["s"] <= LAST_SECOND:
            return unit
    example = f"column {column!r}: numbers like {numbers[0]:.12g}"
    if DATE_HEADING.search(column) and are_excel_serials(numbers):
        raise DataError(
            f"{example} seem to be the day numbers of a spreadsheet. {EXCEL_ADVICE}"
            + (", or add --time-unit steps to count whole ones" if counts else ""),
            code=Code.TIME_VALUE,
        )
    if all(number.is_integer() for number in numbers):
        return STEPS
    raise DataError(
        f"{example} are neither times since 1970 in a common unit nor counts of steps. "
        + (
            "Name the unit of elapsed time with --time-unit s, ms, us or ns; or, to count rows, leave --time-col out "
            "and name the columns to model with --value-cols"
            if counts
            else "Write dates as YYYY-MM-DD"
        ),
        code=Code.TIME_VALUE,
    )


EPOCH = datetime.datetime(1970, 1, 1)

# Years within the range of int64 nanoseconds.
YEAR_RANGE = range(1678, 2262)
TIME_LIMITS = np.array([f"{YEAR_RANGE.start}-01-01", f"{YEAR_RANGE.stop}-01-01"], "datetime64[ns]").astype(np.int64)

MISSING_TIME = "the time is missing. Write it, or remove the row"

# Largest time in nanoseconds or steps.
MAX_TIME = 9e18


class BadTime(Exception):
    """Error for a cell that is not a valid time, with its index among the given cells and the problem."""

    def __init__(self, place: int, problem: str) -> None:
        super().__init__(problem)
        self.place, self.problem = place, problem


def parse_times(cells: TextColumn, form: TimeForm) -> Int64Array:
    """Return cells as nanoseconds, `(rows,)` int64.

    Times are in UTC if the form is aware, else in local time. Elapsed times count from their own zero, and counters are
    returned as counts.

    Raises:
        BadTime: for the first cell that is not a valid time.
    """
    if not isinstance(cells, Sequence):
        times = _cast_times(cells, form)
        if times is not None:
            return times
    cells = to_cells(cells)
    if form.unit:
        return _parse_numeric_times(cells, form)
    if form.pattern:
        return np.array([_parse_pattern(cell, form.pattern, place) for place, cell in enumerate(cells)], np.int64)
    return np.array([_parse_moment(cell, form, place) for place, cell in enumerate(cells)], np.int64)


def _cast_times(column: "pyarrow.StringArray", form: TimeForm) -> Int64Array | None:
    """Return the times of a whole column, or None if they must be parsed one by one."""
    if form.unit:
        size = 1 if form.unit == STEPS else UNITS[form.unit]
        values = cast_integers(column)
        return None if values is None or (abs(values) >= MAX_TIME / size).any() else values * size
    if form.pattern or form.worded:
        return None
    times = cast_times(column, form.order, aware=form.aware, compact=form.compact)
    return None if times is None or times.min() < TIME_LIMITS[0] or times.max() >= TIME_LIMITS[1] else times


def _parse_numeric_times(cells: Sequence[str], form: TimeForm) -> Int64Array:
    size = 1 if form.unit == STEPS else UNITS[form.unit]
    limit = MAX_TIME / size
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
            raise BadTime(place, f"{quote(cell)} is between two steps. Correct it, or add --time-unit")
    # The result is rounded to microseconds, the precision of a double for the seconds of today.
    if size < 1000:
        return np.rint(np.array(cells, np.float64) * size).astype(np.int64)
    return np.rint(np.array(cells, np.float64) * (size // 1000)).astype(np.int64) * 1000


def matches_pattern(cells: Sequence[str], pattern: str) -> bool:
    """Return whether most cells are times in a format of strptime.

    >>> matches_pattern(["20180221-20", "20180221-21", "?"], "%Y%m%d-%H")
    True
    """
    return 2 * sum(_strptime(cell, pattern) is not None for cell in cells) > len(cells)


def _strptime(cell: str, pattern: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(cell, pattern)
    except ValueError:
        return None


def _parse_pattern(cell: str, pattern: str, place: int) -> int:
    if not cell:
        raise BadTime(place, MISSING_TIME)
    moment = _strptime(cell, pattern)
    if moment is None:
        raise BadTime(
            place, f"{quote(cell)} is not a time in the format --time-format {pattern}. Correct it, or remove the row"
        )
    local = moment.replace(tzinfo=None)
    _require_year(local, cell, place)
    time = local - (moment.utcoffset() or datetime.timedelta()) - EPOCH
    return time // datetime.timedelta(microseconds=1) * 1000


def _require_year(moment: datetime.datetime, cell: str, place: int) -> None:
    if moment.year not in YEAR_RANGE:
        raise BadTime(
            place, f"{quote(cell)} is outside the years {YEAR_RANGE.start} to {YEAR_RANGE.stop - 1}. Correct it"
        )


def _parse_moment(cell: str, form: TimeForm, place: int) -> int:
    if not cell:
        raise BadTime(place, MISSING_TIME)
    if refused := REFUSED_DATE.fullmatch(cell):
        raise BadTime(place, _describe_refused_date(cell, refused))
    found = DATE.fullmatch(expand_stamp(cell) if form.compact else month_name_to_digits(cell, form.order))
    if found and found["s"] == "." and found["d"] is None:
        raise BadTime(place, f"{quote(cell)} can be a month or a number. Add --time-format %Y.%m if it is a month")
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
    _require_year(moment, cell, place)
    if form.aware != (found["zone"] is not None):
        has = "no offset from UTC, unlike" if form.aware else "an offset from UTC, unlike"
        raise BadTime(place, f"{quote(cell)} has {has} the first rows. Write all times in one way")
    nanoseconds = (moment - EPOCH) // datetime.timedelta(microseconds=1) * 1000 + int((found["f"] or "0").ljust(9, "0"))
    return nanoseconds - _parse_offset(found["zone"] or "Z") * UNITS["min"]


def _describe_refused_date(cell: str, found: re.Match[str]) -> str:
    if found["quarter"]:
        advice = "Convert the column: pandas.PeriodIndex(frame[column], freq='Q').to_timestamp()"
        return f"{quote(cell)} is a quarter. {advice}"
    return (
        f"{quote(cell)} has a word that is not English. Translate or remove it in the column, as in "
        f"frame[column].str.replace({quote(found['word'])}, 'Mar'), or write YYYY-MM-DD HH:MM:SS"
    )


def _parse_offset(offset: str) -> int:
    """Return a UTC offset in minutes.

    >>> _parse_offset("+0200"), _parse_offset("-01:30"), _parse_offset("Z")
    (120, -90, 0)
    """
    if offset[0] not in "+-":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (-1 if offset[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:]))


CLOCK_TIME = re.compile(
    r"([01]?\d|2[0-3])(:[0-5]\d(:[0-5]\d([.,]\d{1,9})?)?|\.[0-5]\d\.[0-5]\d)\s*([AaPp][Mm])?"
    r"\s*(Z|z|UTC|GMT|[+-]\d{2}(:?\d{2})?)?",
    re.ASCII,
)

# Only these headings are accepted, because a column of a daily event, such as the sunrise time, also holds times of
# day.
CLOCK_HEADING = re.compile(
    r"((local|utc|gmt|obs(ervation)?|sampl(e|ing)|log|record(ed|ing)?|measur(ed|ing|ement))[ _-]*)?"
    r"(time|clock|hour|hh:?mm(:?ss)?|uhrzeit|zeit|heure|hora|ora|tijd)([ _-]*(of[ _-]day|utc|gmt|local))?"
    r"(\s*[\[(].*[\])])?",
    re.IGNORECASE,
)


def are_clock_times(cells: Sequence[str], words: Collection[str]) -> bool:
    """Return whether most cells are times of day; `words` are the lowercase words for missing values."""
    held = [cell for cell in cells if cell.lower() not in words]
    return 2 * sum(CLOCK_TIME.fullmatch(cell) is not None for cell in held) > len(held)


def are_dates(cells: Sequence[str], words: Collection[str]) -> bool:
    """Return whether most cells are dates with a day and without a time of day."""
    held = [cell for cell in cells if cell.lower() not in words]
    days = [found for found in map(parse_date_parts, held) if found and (found["d"] or found["b"] or found["c"])]
    return 2 * sum(found["h"] is None for found in days) > len(held)


def choose_clock_column(columns: Sequence[str], days: Sequence[str], ids: Sequence[str] | None) -> str | None:
    """Return the column of clock times that completes repeated dates, chosen by its heading.

    Args:
        columns: names of the columns of clock times.
        days, ids: `(rows,)` dates and series names.

    Returns:
        None if no date repeats within a series, or no heading fits.
    """
    if len(set(days if ids is None else zip(ids, days, strict=True))) == len(days):
        return None
    return next((name for name in columns if CLOCK_HEADING.fullmatch(name.strip())), None)
