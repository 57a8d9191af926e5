"""Cells that are moments: ISO 8601 and its relatives, dates with the day or month first, numbers since 1970.

All become nanoseconds since 1970 in UTC. What could be read in two ways is refused with the option that tells it.
"""

import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import UNITS
from lstm_ae.data.lines import shown
from lstm_ae.errors import DataError

Times = NDArray[np.int64]

EPOCH = datetime.datetime(1970, 1, 1)
# Times that are numbers are taken for seconds where those lead into these years, else for ms, us or ns.
FIRST, LAST = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds
# Years that 64 bits of nanoseconds reach.
YEARS = range(1678, 2262)

DATE = re.compile(
    r"(?:(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?:(?P=s)(?P<d>\d{1,2}))?"
    r"|(?P<a>\d{1,2})(?P<t>[-/.])(?P<b>\d{1,2})(?P=t)(?P<z>\d{4})|(?P<c>\d{8}))"
    r"(?:(?:[Tt]|,?\s+)(?P<h>\d{1,2}):?(?P<n>\d{2})(?::?(?P<sec>\d{2})(?:[.,](?P<f>\d{1,9}))?)?\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?",
    re.ASCII,
)
OFFSET = re.compile(r"(?<=\d)\s*(Z|[+-]\d{2}:?\d{2})$", re.ASCII)
# Characters of a time to the microsecond, and to the nanosecond.
LENGTHS = (26, 29)
UNPLAIN = re.compile(r"[^0-9:T. \-]")
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE]\+?\d+)?", re.ASCII)
NAMES = re.compile(r"time|date|datum|epoch|unix|stamp|zeit|^ts$|^t$", re.IGNORECASE)


class BadCell(Exception):
    """A cell that is no moment: its place among those given, and what is wrong."""

    def __init__(self, place: int, problem: str) -> None:
        super().__init__(problem)
        self.place, self.problem = place, problem


class Form(NamedTuple):
    """How a column's cells are to be read.

    Args:
        unit: of cells that are numbers; "" where they are dates.
        order: of dates that do not begin with the year: "dmy" or "mdy"; "" where none of the first rows has such.
        aware: whether each cell has an offset of its own, or needs none.
    """

    unit: str
    order: str
    aware: bool


def form_of(cells: Sequence[str], column: str, *, order: str | None = None, unit: str | None = None) -> Form | None:
    """How the first cells of a column are to be read as moments; None where most of them are none.

    Args:
        cells: blanks stripped, none of them missing.
        order, unit: what the reader of the file was told.

    Raises:
        DataError: the day and the month cannot be told apart, or the unit cannot.
    """
    found = [DATE.fullmatch(cell) for cell in cells]
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
    if 2 * sum(DATE.fullmatch(cell) is not None for cell in cells) > len(cells):
        return not all(cell.isdigit() for cell in cells) or bool(NAMES.search(column))
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    return (
        bool(NAMES.search(column))
        and 2 * len(numbers) > len(cells)
        and any(
            FIRST <= float(np.median(numbers)) * UNITS[unit] / UNITS["s"] <= LAST for unit in ("s", "ms", "us", "ns")
        )
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
        "--date-order dmy (day first) or --date-order mdy (month first) to series check or train"
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
        "--time-unit s, ms, us or ns; or leave --time-col out, and rows are counted"
    )


def read_moments(cells: Sequence[str], form: Form) -> Times:
    """The cells, blanks stripped, as nanoseconds: in UTC where the form is aware, else as a local clock shows them.

    Raises:
        BadCell: with the place of the first cell that is none.
    """
    if form.unit:
        return _numbers(cells, UNITS[form.unit])
    offset, plain = None if form.aware else 0, cells
    if form.aware and (end := OFFSET.search(cells[0])):
        # One offset for all is the usual case; what is left is plain.
        suffix = end[0]
        if all(cell.endswith(suffix) for cell in cells):
            plain, offset = [cell[: -len(suffix)] for cell in cells], _minutes(end[1])
    plain = _year_first(plain, form.order)
    joined = "".join(plain)
    if (
        offset is not None
        and not UNPLAIN.search(joined)
        and joined.count("-") == 2 * len(plain)
        and min(map(len, plain)) >= 10
        and max(map(len, plain)) <= LENGTHS[1]
    ):
        try:
            times = np.array(plain, "datetime64[us]").astype(np.int64)
        except ValueError:
            pass
        else:
            low, high = (np.datetime64(f"{year}-01-01", "us").astype(np.int64) for year in (YEARS.start, YEARS.stop))
            if ((times >= low) & (times < high)).all():
                # To microseconds first, which hold every year: nanoseconds beyond 2262 would wrap around.
                if max(map(len, plain)) > LENGTHS[0]:
                    exact = np.array(plain, "datetime64[ns]").astype(np.int64)
                else:
                    exact = times * 1000
                return exact - offset * UNITS["min"]
    return np.array([_moment(cell, form, place) for place, cell in enumerate(cells)], np.int64)


def _year_first(cells: Sequence[str], order: str) -> Sequence[str]:
    """Dates like 31.12.2024 in the order of ISO 8601, if all have this width; else as they are."""
    if not order or not all(cell[2:3] in ("/", ".", "-") and cell[2:3] == cell[5:6] for cell in cells):
        return cells
    if order == "dmy":
        return [f"{cell[6:10]}-{cell[3:5]}-{cell[:2]}{cell[10:]}" for cell in cells]
    return [f"{cell[6:10]}-{cell[:5].replace(cell[2], '-')}{cell[10:]}" for cell in cells]


def _numbers(cells: Sequence[str], size: int) -> Times:
    limit = 9e18 / size
    try:
        values = np.array(list(map(int, cells)), np.int64)
        if (abs(values) < limit).all():
            return values * size
    except (ValueError, OverflowError):
        pass
    for place, cell in enumerate(cells):
        if not NUMBER.fullmatch(cell) or not abs(float(cell)) < limit:
            raise BadCell(place, f"{shown(cell)} is not a time. Correct it, or remove the row")
    # To the microsecond, which is what a double holds of today's seconds.
    if size < 1000:
        return np.rint(np.array(cells, np.float64) * size).astype(np.int64)
    return np.rint(np.array(cells, np.float64) * (size // 1000)).astype(np.int64) * 1000


def _moment(cell: str, form: Form, place: int) -> int:
    if not cell:
        raise BadCell(place, "the time is missing. Write it, or remove the row")
    found = DATE.fullmatch(cell)
    if not found:
        raise BadCell(place, f"{shown(cell)} is not a time. Write it as YYYY-MM-DD HH:MM:SS, or remove the row")
    if found["c"]:
        year, month, day = cell[:4], cell[4:6], cell[6:8]
    elif found["y"]:
        year, month, day = found["y"], found["m"], found["d"] or "1"
    elif not form.order:
        raise BadCell(place, f"{shown(cell)} does not begin with the year, unlike the first rows. Write all in one way")
    else:
        pair = (found["a"], found["b"])
        year, (day, month) = found["z"], pair if form.order == "dmy" else pair[::-1]
    hour = int(found["h"] or 0)
    if found["half"]:
        hour = hour % 12 + 12 * (found["half"].lower() == "pm") if 1 <= hour <= 12 else 99
    try:
        moment = datetime.datetime(int(year), int(month), int(day), hour, int(found["n"] or 0), int(found["sec"] or 0))
    except ValueError as error:
        hint = "" if found["y"] or found["c"] else f" with --date-order {form.order}"
        raise BadCell(
            place, f"{shown(cell)} is not a moment of the calendar{hint} ({error}). Correct it, or remove the row"
        ) from None
    if moment.year not in YEARS:
        raise BadCell(place, f"{shown(cell)} is outside the years {YEARS.start} to {YEARS.stop - 1}. Correct it")
    if form.aware != (found["zone"] is not None):
        has = "no offset from UTC, unlike" if form.aware else "an offset from UTC, unlike"
        raise BadCell(place, f"{shown(cell)} has {has} the first rows. Write all times in one way")
    nanoseconds = (moment - EPOCH) // datetime.timedelta(microseconds=1) * 1000 + int((found["f"] or "0").ljust(9, "0"))
    return nanoseconds - _minutes(found["zone"] or "Z") * UNITS["min"]


def _minutes(offset: str) -> int:
    """An offset in minutes; `+0200` and `+02:00` are 120."""
    if offset[0] not in "+-":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (-1 if offset[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:]))
