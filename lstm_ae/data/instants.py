"""Cells that are moments, as nanoseconds since 1970, or the cell that is none."""

import datetime
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config.reading import STEPS, UNITS
from lstm_ae.data.forms import DATE, NUMBER, ORDERS, Form, full_year, spelled, spread
from lstm_ae.words import shown

Times = NDArray[np.int64]

EPOCH = datetime.datetime(1970, 1, 1)
# Years that 64 bits of nanoseconds reach.
YEARS = range(1678, 2262)

OFFSET = re.compile(r"(?<=\d)\s*(Z|[+-]\d{2}:?\d{2})$", re.ASCII)
# Characters of a time to the microsecond, and to the nanosecond.
LENGTHS = (26, 29)
UNPLAIN = re.compile(r"[^0-9:T. \-]")


class BadCell(Exception):
    """A cell that is no moment: its place among those given, and what is wrong."""

    def __init__(self, place: int, problem: str) -> None:
        super().__init__(problem)
        self.place, self.problem = place, problem


def read_moments(cells: Sequence[str], form: Form) -> Times:
    """The cells, blanks stripped, as nanoseconds: in UTC where the form is aware, else as a local clock shows them.

    Raises:
        BadCell: with the place of the first cell that is none.
    """
    if form.unit:
        return _numbers(cells, form)
    if form.worded:
        cells = [spelled(cell, form.order) for cell in cells]
    offset, plain = None if form.aware else 0, cells
    if form.aware and (end := OFFSET.search(cells[0])):
        # One offset for all is the usual case; what is left is plain.
        suffix = end[0]
        if all(cell.endswith(suffix) for cell in cells):
            plain, offset = [cell[: -len(suffix)] for cell in cells], _minutes(end[1])
    plain = _parted(plain) if form.compact else _year_first(plain, form.order)
    joined = "".join(plain)
    if (
        offset is not None
        and not UNPLAIN.search(joined)
        and joined.count("-") == 2 * len(plain)
        and min(map(len, plain)) >= 10
        and max(map(len, plain)) <= LENGTHS[1]
        # What follows a second blank numpy takes for an offset.
        and not any(" " in cell[11:] for cell in plain)
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


def _parted(cells: Sequence[str]) -> Sequence[str]:
    """Dates of digits alone in the marks of ISO 8601, if all are as long and no longer; else as they are."""
    length = len(cells[0])
    if length not in (10, 12, 14) or not all(len(cell) == length and cell.isdigit() for cell in cells):
        return cells
    rest = ["0000", "00", ""][length // 2 - 5]
    digits = [cell + rest for cell in cells]
    return [f"{d[:4]}-{d[4:6]}-{d[6:8]} {d[8:10]}:{d[10:12]}:{d[12:]}" for d in digits]


def _numbers(cells: Sequence[str], form: Form) -> Times:
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
            raise BadCell(place, f"{shown(cell)} is not a time. Correct it, or remove the row")
        if form.unit == STEPS and not float(cell).is_integer():
            raise BadCell(place, f"{shown(cell)} is between two steps. Correct it, or tell a --time-unit")
    # To the microsecond, which is what a double holds of today's seconds.
    if size < 1000:
        return np.rint(np.array(cells, np.float64) * size).astype(np.int64)
    return np.rint(np.array(cells, np.float64) * (size // 1000)).astype(np.int64) * 1000


def _moment(cell: str, form: Form, place: int) -> int:
    if not cell:
        raise BadCell(place, "the time is missing. Write it, or remove the row")
    found = DATE.fullmatch(spread(cell) if form.compact else spelled(cell, form.order))
    if not found:
        raise BadCell(place, f"{shown(cell)} is not a time. Write it as YYYY-MM-DD HH:MM:SS, or remove the row")
    if found["c"]:
        year, month, day = found["c"][:4], found["c"][4:6], found["c"][6:]
    elif found["y"]:
        year, month, day = found["y"], found["m"], found["d"] or "1"
    elif not form.order:
        raise BadCell(place, f"{shown(cell)} does not begin with the year, unlike the first rows. Write all in one way")
    else:
        written = (found["a"], found["b"], found["z"])
        day, month, year = (written[place] for place in ORDERS[form.order])
        year = full_year(year)
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
