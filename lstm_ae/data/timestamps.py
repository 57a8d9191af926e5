"""Recognize the format of timestamps and parse them."""

import datetime
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.arrays import Int64Array
from lstm_ae.config.reading import STEPS, UNITS
from lstm_ae.data.text_columns import TextColumn, cast_dates, cast_integers, to_cells
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import format_heading, quote

if TYPE_CHECKING:
    import pyarrow

# Numeric times are seconds if their median is between these dates, else milliseconds, microseconds, or nanoseconds.
FIRST_SECOND, LAST_SECOND = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds since 1970

# Numbers with a given unit are elapsed times if the first one is within a year of 0.
MAX_ELAPSED_START = 366 * UNITS["d"]

DATE = re.compile(
    r"(?:(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?:(?P=s)(?P<d>\d{1,2}))?"
    r"|(?P<a>\d{1,2})(?P<t>[-/.])(?P<b>\d{1,2})(?P=t)(?P<z>\d{4})|(?P<c>\d{8}))"
    r"(?:(?:[Tt]|,?\s+)(?P<h>\d{1,2})(?::?(?P<n>\d{2})(?::?(?P<sec>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?",
    re.ASCII,
)

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE]\+?\d+)?", re.ASCII)

TIME_HEADING = re.compile(r"time|date|datum|epoch|unix|stamp|zeit|month|monat|yyyy[ _-]?mm|^ts$|^t$", re.IGNORECASE)

# Words that contain such a heading and mean something else: durations, and objects that were updated.
OTHER_HEADING = re.compile(
    r"(?:run|down|life|lead|cycle|response|wait|idle)(?:time(?!s?tamp)|[ _-]time(?=[ _-](?:[num]?s|sec|min|h)$))"
    r"|sentiment|candidate|validat|mandate"
    r"|consolidat|liquidat|(?<!last)(?<!last[ _-])(?<!^)updated$",
    re.IGNORECASE,
)

# Headings of dates. Numbers in such columns are not values to model.
DATE_HEADING = re.compile(r"(?<![^\W_])(date|datum)([ _-]?time)?(?![^\W_])", re.IGNORECASE)

# Headings of elapsed time and step counters. T is a temperature.
COUNTER_HEADING = re.compile(
    r"(?!T\b)(?i:(t|ts|time([ _-]?(stamp|step|index|idx))?|zeit|elapsed([ _-]?time)?|uptime|second|tick|step|"
    r"sample([ _-]?no)?)s?([ _-]*(s|sec|seconds|ms|us|min|h)|\s*[\[(].*[\])])?|year|jahr|week|woche|day|tag)"
)

# Formats of digits by their length. They are read with `--time-format` only, because such digits may be numbers.
DIGIT_FORMATS = {6: "%Y%m", 7: "%Y.%m", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}

DIGIT_STAMP = re.compile(r"(19|20)\d{2}\.?(0[1-9]|1[0-2])(\d{2}([01]\d|2[0-3])([0-5]\d){0,2})?", re.ASCII)

EXCEL_ADVICE = "pandas.to_datetime(frame[column], unit='D', origin='1899-12-30') converts the days of a spreadsheet"

# Elapsed times as pandas writes them.
DURATION = re.compile(r"-?\d+ days?\b", re.ASCII)

# Positions of the day and the month in each date order.
DATE_ORDERS = {"dmy": (0, 1), "mdy": (1, 0)}

# Names of months beside a number.
_MONTH = (
    r"(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    r"|dec(ember)?)"
)

# Times in words or with a year of two digits, forms that other cells seldom have.
SURE_TIME = re.compile(
    rf"(?i)(?:^|\d\W{{1,2}}|[^\W\d_]\W){_MONTH}\W{{1,2}}\d|\d\W{{1,2}}{_MONTH}$"
    r"|^\d{1,2}(?P<mark>[-/.])\d{1,2}(?P=mark)\d{2}\s+\d{1,2}:|^\d{1,2}/\d{1,2}/\d{2}$|^(19|20)\d{2}-?[qw]\d{1,2}$"
)

# Digits in a cell that is meant as a time: any number in a column with a heading of times; in the first column, numbers
# as in dates and clock times, or a year.
NAMED_TIME, LIKELY_TIME = re.compile(r"\d\d"), re.compile(r"\d[:/-]\d|^(19|20)\d{2}\D|\W(19|20)\d{2}$")

# Letters that a time may contain.
TIME_LETTERS = re.compile(r"[tzqwh]|kw|am|pm|utc|gmt", re.IGNORECASE)


class AmbiguousDates(DataError):
    """Error for dates that are all valid in each of `DATE_ORDERS`."""


class TimeForm(NamedTuple):
    """Format of the times of a column.

    Args:
        unit: unit of numeric times, `STEPS` for a counter; "" for dates.
        order: order of dates that do not begin with the year, "dmy" or "mdy"; "" if the first rows have none.
        aware: whether each cell has a UTC offset or needs none.
        elapsed: whether numbers count from a start whose date is unknown.
        pattern: the format given by the user, in the directives of strptime; "" for a format that was inferred.
    """

    unit: str
    order: str
    aware: bool
    elapsed: bool = False
    pattern: str = ""

    @property
    def size(self) -> int:
        """Nanoseconds per unit of numeric times, or 1 for a counter of steps."""
        return UNITS.get(self.unit, 1)


def parse_date_parts(cell: str) -> re.Match[str] | None:
    """Return the match of `DATE` on a cell, or None if it is not a date.

    A number such as 1013.25, which has the form of a month, is not a date.
    """
    match = DATE.fullmatch(cell)
    return None if match and not match["c"] and NUMBER.fullmatch(cell) else match


def is_date(cell: str) -> bool:
    """Return whether a cell is a date that can be read."""
    return parse_date_parts(cell) is not None


def infer_form(
    cells: Sequence[str],
    column: str,
    where: str,
    *,
    order: str | None = None,
    unit: str | None = None,
    counts: bool = True,
) -> TimeForm | None:
    """Return the format of a column's times, inferred from its first cells, or None if most are not times.

    Args:
        cells: cells without surrounding blanks and without missing values.
        column, where: the column and its file, for errors.
        order, unit: date order and unit given by the user.
        counts: whether errors may advise to pass the unit.

    Raises:
        DataError: if the day and the month, or the unit, are ambiguous.
    """
    numeric = "; for numbers, name it with --time-col and add --time-unit s, ms, us, ns or steps" if counts else ""
    if unit is None and (pattern := suggest_format(cells)):
        raise DataError(
            f"{where}: column {column!r}: {cells[0]} may be a time or a number. Add --time-col and --time-format "
            f"{pattern}{numeric}",
            code=Code.TIME_VALUE,
        )
    dates = [match for match in map(parse_date_parts, cells) if match]
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    if 2 * len(dates) > len(cells) and (unit is None or len(numbers) < len(cells)):
        loose = [match for match in dates if match["a"]]
        if not order and 2 * len(loose) > len(dates):
            order = _infer_date_order(loose, f"{where}: column {column!r}")
        return TimeForm("", order or "", aware=2 * sum(match["zone"] is not None for match in dates) > len(dates))
    if 2 * len(numbers) <= len(cells):
        return None
    if unit is not None:
        return TimeForm(
            unit, "", aware=True, elapsed=unit == STEPS or abs(numbers[0]) * UNITS[unit] < MAX_ELAPSED_START
        )
    unit = _unit_since_1970(numbers)
    if unit is None and (DATE_HEADING.search(column) or not all(number.is_integer() for number in numbers)):
        raise DataError(
            f"{where}: column {column!r}: numbers like {numbers[0]:.12g} are neither times since 1970 in a common unit "
            f"nor counts of steps. Write dates as YYYY-MM-DD{numeric}. {EXCEL_ADVICE}",
            code=Code.TIME_VALUE,
        )
    return TimeForm(unit or STEPS, "", aware=True, elapsed=unit is None)


def _infer_date_order(loose: Sequence[re.Match[str]], where: str) -> str:
    """Return the order of dates that do not begin with the year.

    Raises:
        AmbiguousDates: if all of them are valid in both orders.
    """
    parts = [(int(match["a"]), int(match["b"])) for match in loose]
    valid = {
        order: sum(1 <= date[day] <= 31 and 1 <= date[month] <= 12 for date in parts)
        for order, (day, month) in DATE_ORDERS.items()
    }
    possible = [order for order, dates in valid.items() if dates == len(parts)]
    if loose[0]["t"] == "." and "dmy" in possible:
        return "dmy"  # dates with dots begin with the day or the year
    if len(possible) < len(valid):
        # If no order is possible, some cell is wrong and is reported when it is parsed.
        return max(valid, key=valid.__getitem__)
    date = loose[0]["t"].join(loose[0][part] for part in "abz")
    raise AmbiguousDates(
        f"{where}: {date} can be read as {' or '.join(possible)} (d: day, m: month, y: year), and no row decides. Add "
        f"--date-order {' or --date-order '.join(possible)}",
        code=Code.TIME_VALUE,
    )


def is_time_heading(heading: str) -> bool:
    """Return whether a heading may belong to a column of times.

    >>> [is_time_heading(each) for each in ("eventTimeMillis", "last_updated", "bytes_updated", "runtime_ns")]
    [True, True, False, False]
    """
    return bool(TIME_HEADING.search(OTHER_HEADING.sub("", heading)))


def looks_like_times(cells: Sequence[str], column: str) -> bool:
    """Return whether a column holds times; numbers do only if both the heading and their size suggest it."""
    named = is_time_heading(column)
    dates = [cell for cell in cells if is_date(cell)]
    if 2 * len(dates) > len(cells):
        return named or not all(map(str.isdigit, dates))
    return named and counts_from_1970(cells)


def suggest_format(cells: Sequence[str]) -> str | None:
    """Return the format of `DIGIT_FORMATS` that all cells have; None if there is none.

    >>> suggest_format(["2024013123"])
    '%Y%m%d%H'
    """
    first = cells[:100]
    if not first or len(set(map(len, first))) > 1 or not all(map(DIGIT_STAMP.fullmatch, first)):
        return None
    pattern = DIGIT_FORMATS.get(len(first[0]))
    return pattern if pattern and all(_strptime(cell, pattern) for cell in first) else None


def is_rising(cells: Sequence[str], series: Sequence[str] | None, *, repeats: bool = True) -> bool:
    """Return whether a column holds numbers that rise, except where a series starts anew.

    Args:
        cells: cells of the first rows in their order.
        series: `(rows,)` series of each row; None if there is one or they are unknown.
        repeats: whether a number may equal the one before it.
    """
    order = range(len(cells)) if series is None else np.argsort(np.array(series), kind="stable").tolist()
    filled = [cells[row] for row in order if cells[row]]
    if len(filled) < 3 or not all(map(NUMBER.fullmatch, filled)):
        return False
    numbers = list(map(float, filled))
    falls = sum(after < before or (after == before and not repeats) for before, after in itertools.pairwise(numbers))
    rises = falls <= len(set(series or ())) or 3 * falls < len(numbers)
    return rises and min(numbers) < max(numbers)


def counts_steps(cells: Sequence[str], column: str, series: Sequence[str] | None) -> bool:
    """Return whether a column of integers counts steps or elapsed time, judged by its heading and rising values."""
    whole = all(NUMBER.fullmatch(cell) and float(cell).is_integer() for cell in cells)
    return whole and COUNTER_HEADING.fullmatch(column.strip()) is not None and is_rising(cells, series, repeats=False)


def find_time_problem(cells: Sequence[str], column: str, *, first: bool) -> str | None:
    """Return why cells that are meant as times are not read as times, as a predicate with advice; None for other cells.

    Args:
        cells: cells without surrounding blanks and without missing values.
        first: whether the column is the first one, where times usually are, so that the heading need not suggest it.
    """
    named, example = is_time_heading(column), quote("".join(cells[:1]))[:60]
    pattern = suggest_format(cells)
    if pattern and (named or len(cells[0]) > 10):
        return f"may hold times, such as {example}. Add --time-col {format_heading(column)} --time-format {pattern}"
    if all(map(NUMBER.fullmatch, cells)):
        dated = cells and DATE_HEADING.search(column)
        return (
            f"holds numbers that are no dates, such as {example}. Write YYYY-MM-DD; {EXCEL_ADVICE}" if dated else None
        )
    # Names of series have such digits and other words too, and repeat.
    distinct = 2 * len(set(cells)) > len(cells)
    meant = [
        cell
        for cell in cells
        if SURE_TIME.search(cell)
        or (named and NAMED_TIME.search(cell))
        or (first and LIKELY_TIME.search(cell) and (distinct or not re.search(r"[^\W\d_]", TIME_LETTERS.sub("", cell))))
    ]
    if 2 * len(meant) <= len(cells):
        return None
    advice = "Write YYYY-MM-DD HH:MM:SS, or add --time-col and --time-format, as in '%d-%b-%Y %H:%M' or '%d/%m/%y'"
    if DURATION.match(cells[0]):
        advice = (
            "Convert durations to seconds, pandas.to_timedelta(frame[column]).dt.total_seconds(), for --time-unit s"
        )
    return f"holds times in a format that is not read, such as {example}. {advice}"


def counts_from_1970(cells: Sequence[str]) -> bool:
    """Return whether most cells are numbers whose median, in some unit since 1970, is between 1990 and 2100."""
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    return 2 * len(numbers) > len(cells) and _unit_since_1970(numbers) is not None


def _unit_since_1970(numbers: Sequence[float]) -> str | None:
    median = float(np.median(numbers))
    fits = (
        unit for unit in ("s", "ms", "us", "ns") if FIRST_SECOND <= median * UNITS[unit] / UNITS["s"] <= LAST_SECOND
    )
    return next(fits, None)


EPOCH, MINUTE = datetime.datetime(1970, 1, 1), datetime.timedelta(minutes=1)

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
        times = cast_times(cells, form)
        if times is not None:
            return times
    times = np.empty(len(cells), np.int64)
    for place, cell in enumerate(to_cells(cells)):
        if not cell:
            raise BadTime(place, MISSING_TIME)
        try:
            times[place] = _parse_number(cell, form) if form.unit else _parse_date(cell, form)
        except ValueError as error:
            raise BadTime(place, f"{quote(cell)} {error}. Correct it, or remove the row") from None
    return times


def cast_times(column: "pyarrow.StringArray", form: TimeForm) -> Int64Array | None:
    """Return the times of a whole column, or None if they must be parsed one by one."""
    if form.unit:
        values = cast_integers(column)
        return None if values is None or (abs(values) >= MAX_TIME / form.size).any() else values * form.size
    times = _cast_pattern(column, form) if form.pattern else cast_dates(column, form.order, aware=form.aware)
    return None if times is None or times.min() < TIME_LIMITS[0] or times.max() >= TIME_LIMITS[1] else times


def _cast_pattern(column: "pyarrow.StringArray", form: TimeForm) -> Int64Array | None:
    """Return the times of a column in the format of the user; None if a cell has another one."""
    import pandas as pd

    cells = column.to_numpy(zero_copy_only=False)
    if {"now", "today"} & set(map(str.lower, cells)):
        return None  # pandas takes them for the current time
    try:
        times = pd.to_datetime(cells, format=form.pattern, utc=form.aware).as_unit("ns")
    except ValueError:
        return None
    return np.array(times.asi8, np.int64)


def _parse_number(cell: str, form: TimeForm) -> int:
    """Return a number as nanoseconds or steps; raise `ValueError` with the problem as a predicate."""
    size = form.size
    if not NUMBER.fullmatch(cell) or not abs(float(cell)) < MAX_TIME / size:
        raise ValueError("is not a time")
    if cell.lstrip("+-").isdigit():
        return int(cell) * size
    if form.unit == STEPS and not float(cell).is_integer():
        raise ValueError("is between two steps of a counter, whose unit is --time-unit")
    # Fractions are rounded to microseconds, the precision of a double for the seconds of today.
    unit = max(size // 1000, 1)
    return round(float(cell) * unit) * (size // unit)


def _strptime(cell: str, pattern: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(cell, pattern)
    except ValueError:
        return None


def _parse_date(cell: str, form: TimeForm) -> int:
    """Return a date as nanoseconds; raise `ValueError` with the problem as a predicate."""
    if form.pattern:
        moment, fraction = _strptime(cell, form.pattern), 0
        if moment is None:
            raise ValueError(f"is not a time in the format --time-format {form.pattern}")
    else:
        moment, fraction = _parse_digits(cell, form.order)
    if moment.year not in YEAR_RANGE:
        raise ValueError(f"is outside the years {YEAR_RANGE.start} to {YEAR_RANGE.stop - 1}")
    if form.aware != (moment.tzinfo is not None):
        raise ValueError(f"has {'no' if form.aware else 'an'} offset from UTC, unlike the first rows")
    time = moment.replace(tzinfo=None) - (moment.utcoffset() or datetime.timedelta()) - EPOCH
    return time // datetime.timedelta(microseconds=1) * 1000 + fraction


def _parse_digits(cell: str, order: str) -> tuple[datetime.datetime, int]:
    """Return a date in digits to the second, and its fraction of a second in nanoseconds."""
    match = parse_date_parts(cell)
    if not match:
        raise ValueError("is not a time as YYYY-MM-DD HH:MM:SS")
    if match["a"] and not order:
        raise ValueError("does not begin with the year, unlike the first rows")
    year, month, day = match["y"] or match["z"], match["m"], match["d"] or "1"
    if match["c"]:
        year, month, day = match["c"][:4], match["c"][4:6], match["c"][6:]
    elif match["a"]:
        day, month = ((match["a"], match["b"])[place] for place in DATE_ORDERS[order])
    hour = int(match["h"] or 0)
    if match["half"]:
        hour = hour % 12 + 12 * (match["half"].lower() == "pm") if 1 <= hour <= 12 else 99
    zone = match["zone"] or ""
    offset = zone if zone.startswith(("+", "-")) else ("Z" if zone else "")
    clock = f"{hour:02}:{match['n'] or '00'}:{match['sec'] or '00'}{offset}"
    try:
        moment = datetime.datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{clock}")
    except ValueError as error:
        hint = f" with --date-order {order}" if match["a"] else ""
        raise ValueError(f"is not a moment of the calendar{hint} ({error})") from None
    return moment, int((match["f"] or "0").ljust(9, "0"))
