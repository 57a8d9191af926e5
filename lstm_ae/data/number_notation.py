"""How numbers are written in a table: the marks of decimals and of thousands, and units beside the numbers."""

import calendar
import collections
import functools
import itertools
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.errors import DataError
from lstm_ae.formatting import quote

MISSING = frozenset({"", "na", "n/a", "null", "none", "nan", "-"})

INFINITE = frozenset({"inf", "infinity"})

BOOLEAN = frozenset({"true", "false"})

# Cells that `float` reads as we do; it takes `1_000`, `inf`, blanks and other scripts' digits as well.
UNPLAIN = re.compile(r"[^0-9.eE+\-]")

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# The characters of each mark, by the names that options have for them.
MARKS = {"point": ".", "comma": ",", "space": " \xa0\u2009\u202f", "apostrophe": "'\u2019"}

DECIMALS = ("point", "comma")

CURRENCY = (
    r"(?:(?:US|CA?|AU?|NZ|HK|S|R)?\$|[¢£¤¥\u20a0-\u20bf]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK)"
)

# Letters or a sign, with exponents: kWh, °C, %, m/s, m3, W/m², kg·m⁻³.
UNIT = (
    r"(?![\u00bc-\u00be\u00b2\u00b3\u00b9\u2070-\u209f\u2150-\u218b])(?:[^\W\d_]|[%\u2030\u2031°$¢£¤¥\u20a0-\u20bf])"
    r"(?:[^\W\d_]|[%°/·*\u207b]|(?<=[^\W\d_])(?:[23]|-[1-3]|\^-?[1-3])){0,14}"
)

SIGN = r"[+\-\u2212]?"

CELL = re.compile(
    rf"(?P<sign>{SIGN})\s*(?P<before>{CURRENCY})?\s*(?P<inner>{SIGN})"
    r"(?P<number>(?:[0-9](?:[0-9.,'\u2019 \xa0\u2009\u202f]*[0-9.,])?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?)"
    rf"\s*(?P<after>{UNIT})?"
)

# Letters behind a number that are no unit.
ORDINALS = frozenset(
    name.lower() for name in ("st", "nd", "rd", "th", "am", "pm", *calendar.month_name, *calendar.month_abbr)
)

# Longer cells are not taken apart.
LONGEST = 60


class NumberCell(NamedTuple):
    """A cell with a number: the number with its sign, as it is written, and the unit beside it or ""."""

    number: str
    unit: str


class CellProblem(NamedTuple):
    """Why a cell is not read as a number.

    Args:
        text: what is wrong, as a predicate.
        advice: what to do about the cell.
        option: a choice that would read it, by field of the config; empty where none does.
        word: whether it may be a word for a missing value.
    """

    text: str
    advice: str
    option: Mapping[str, str] = types.MappingProxyType({})
    word: bool = False


class NumberNotation(NamedTuple):
    """How the numbers of one table are written.

    Args:
        decimal: the mark of decimals, "point" or "comma".
        thousands: the mark between groups of three digits, of `MARKS`; None where there is none.
        units: beside the numbers, by column; columns without one are not in it.
    """

    decimal: str = "point"
    thousands: str | None = None
    units: Mapping[str, str] = types.MappingProxyType({})


PLAIN = NumberNotation()

Refuse = Callable[[int, CellProblem], Any]


class BadNumber(Exception):
    """A cell that is not read as a number: its place among those given, and why."""

    def __init__(self, place: int, problem: CellProblem) -> None:
        super().__init__(problem.text)
        self.place, self.problem = place, problem


def raise_bad_number(place: int, problem: CellProblem) -> NoReturn:
    """Refuse a cell by raising `BadNumber`."""
    raise BadNumber(place, problem)


@functools.cache
def _form(decimal: str, thousands: str | None, unit: str = "") -> re.Pattern[str]:
    """Return the numbers of a notation, with a unit before or behind them; a group of three is not the first with a
    zero, so that 0.123 has none."""
    point, whole = re.escape(MARKS[decimal]), "[0-9]+"
    if thousands:
        whole = rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[{MARKS[thousands]}][0-9]{{3}})+)"
    body = rf"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    if not unit:
        return re.compile(rf"\s*({SIGN})({body})\s*")
    unit = re.escape(unit)
    before = rf"(?:({SIGN}){unit}\s*|{unit}\s*({SIGN}))({body})"
    return re.compile(rf"\s*(?:{before}|({SIGN})({body})\s*{unit})\s*")


def _notations() -> Iterable[tuple[str, str | None]]:
    return ((decimal, mark) for decimal, mark in itertools.product(DECIMALS, (None, *MARKS)) if mark != decimal)


def split_unit(cell: str) -> NumberCell | None:
    """Return the number and the unit of a cell, blanks stripped, in whatever notation; None where it holds no number.

    >>> split_unit("-$10,050.29"), split_unit("10,1 °C"), split_unit("3rd")
    (NumberCell(number='-10,050.29', unit='$'), NumberCell(number='10,1', unit='°C'), None)
    """
    if NUMBER.fullmatch(cell):
        return NumberCell(cell, "")
    found = CELL.fullmatch(cell) if len(cell) <= LONGEST else None
    if not found or (found["before"] and found["after"]) or (found["sign"] and found["inner"]):
        return None
    unit = found["before"] or found["after"] or ""
    number = (found["sign"] or found["inner"]).replace("\u2212", "-") + found["number"]
    if unit.lower() in ORDINALS - {""} or not any(_form(*each).fullmatch(number) for each in _notations()):
        return None
    return NumberCell(number, unit)


def is_number(cell: str) -> bool:
    """Return whether a cell is meant as a number, even if it is written so that it will be refused."""
    return split_unit(cell) is not None or cell.lower().lstrip("+-") in INFINITE


def infer_unit(cells: Sequence[str]) -> str | None:
    """Return the unit beside the numbers of a column, "" where they have none; None where the column is of text.

    It is of numbers where more than half of the cells are, and all but a few of these have the same unit.

    Args:
        cells: of its first rows, blanks stripped and missing ones left out.
    """
    plain = sum(1 for cell in cells if NUMBER.fullmatch(cell))
    if 2 * plain > len(cells):
        return ""
    written = list(filter(None, map(split_unit, cells)))
    numbers = len(written) + sum(cell.lower().lstrip("+-") in INFINITE for cell in cells)
    if 2 * numbers <= len(cells):
        return None
    units = collections.Counter(each.unit for each in written) or {"": numbers}
    unit, times = max(units.items(), key=lambda item: item[1])
    return unit if (not unit and 2 * times > len(cells)) or times > 0.9 * len(written) else None


def describe_text_column(cells: Sequence[str]) -> str:
    """Return why a column is of text, as a predicate; the cells as of `infer_unit`."""
    written = list(map(split_unit, cells))
    share = sum(each is not None for each in written) / len(cells)
    if all(cell.lower() in BOOLEAN for cell in cells):
        return "holds true and false instead of 1 and 0"
    if share > 0.5:
        units = collections.Counter(each.unit for each in written if each)
        return f"holds numbers in different units ({', '.join(quote(unit)[:20] for unit, _ in units.most_common(3))})"
    if 2 * sum(map(_in_parentheses, cells)) > len(cells):
        return "holds numbers in parentheses instead of negative ones"
    if share:
        word = next(cell for cell, each in zip(cells, written, strict=True) if each is None)
        return f"holds more words, such as {quote(word)[:40]}, than numbers"
    return "holds no numbers"


def _in_parentheses(cell: str) -> bool:
    return cell.startswith("(") and cell.endswith(")") and split_unit(cell[1:-1].strip()) is not None


def infer_notation(columns: Mapping[str, Sequence[str]], config: Reading, where: str) -> NumberNotation:
    """Return how a table's numbers are written, as told, or as its first rows show.

    Args:
        columns: the cells of the columns of numbers, by name, blanks stripped and missing ones left out.
        where: the file and the line, for errors.

    Raises:
        DataError: a comma can be the mark of decimals as well as one between thousands.
    """
    told, units, marked = config.units_by_column, {}, {}  # type: Mapping[str, str], dict[str, str], dict[str, list[str]]
    for name, cells in columns.items():
        numbers: Iterable[str] = cells
        if UNPLAIN.search("".join(cells)):
            numbers = (written.number for written in map(split_unit, cells) if written)
            units[name] = infer_unit(cells) or ""
        elif not cells:  # none of the first rows has a value
            units[name] = told.get(name, "")
        marked[name] = [number.lstrip("+-") for number in numbers if not number.isdigit()]
    decimal = config.decimal or {"comma": "point", "point": "comma"}.get(config.thousands or "")
    decimal = decimal or _decimal(marked, where)
    thousands = config.thousands
    if thousands is None:
        found = filter(None, (_thousands(numbers, decimal) for numbers in marked.values()))
        thousands = next(found, None)
    return NumberNotation(decimal, thousands, {name: unit for name, unit in units.items() if unit})


def _decimal(marked: Mapping[str, Sequence[str]], where: str) -> str:
    """Return the mark of decimals that numbers show which are more than digits, by column."""
    # 1,234 may be either; what is read in one way alone tells.
    sure, either = set(), {}  # type: set[str], dict[str, tuple[str, str]]
    for name, numbers in marked.items():
        for number in numbers:
            if "point" in sure and "," not in number and number.count(".") < 2:
                continue  # as almost all are
            used = [mark for mark in DECIMALS if MARKS[mark] in number]
            read = {decimal for decimal, mark in _notations() if _form(decimal, mark).fullmatch(number)} if used else ()
            if len(read) == 1:
                sure |= set(read)
            elif used:
                either.setdefault(used[0], (number, name))
    if "comma" in sure or "comma" not in either:
        return "comma" if "comma" in sure else "point"
    if "point" in sure:
        return "point"
    number, name = either["comma"]
    raise DataError(
        f"{where}, column {name!r}: the comma in {quote(number)} can part decimals or thousands, and the first rows do "
        "not tell. Add --decimal comma, or --decimal point"
    )


def _thousands(numbers: Sequence[str], decimal: str) -> str | None:
    """Return the mark between thousands that a column shows; None where it shows none, or it may be of decimals."""
    plain, point = _form(decimal, None), MARKS[decimal]
    grouped = [number for number in numbers if not plain.fullmatch(number)]
    for mark in MARKS if grouped else ():
        found = [number for number in grouped if mark != decimal and _form(decimal, mark).fullmatch(number)]
        # In a column of 0.247 and the like, 1,000 is 1.0 written otherwise, or 1,000.000 cut off.
        sure = mark not in DECIMALS or not any(point in number for number in numbers)
        if found and (sure or any(point in number or number.count(MARKS[mark]) > 1 for number in found)):
            return mark
    return None


def parse_number(cell: str, notation: NumberNotation = PLAIN, unit: str = "") -> float | None:
    """Return the number of a cell, NaN where it is missing; None where it is not read as one."""
    found = _form(notation.decimal, notation.thousands, unit).fullmatch(cell)
    if not found:
        return math.nan if cell.strip().lower() in MISSING else None
    number = "".join(filter(None, found.groups()))
    for mark in MARKS[notation.thousands] if notation.thousands else "":
        number = number.replace(mark, "")
    value = float(number.replace(MARKS[notation.decimal], ".").replace("\u2212", "-"))
    return value if math.isfinite(value) else None


def find_cell_problem(word: str, notation: NumberNotation = PLAIN, unit: str = "") -> CellProblem:
    """Return why a cell, blanks stripped, has no `parse_number`."""
    if word.lower().lstrip("+-") in INFINITE:
        return CellProblem("is infinite", "Leave the cell empty if the value is unknown", word=True)
    if word.lower() in BOOLEAN:
        return CellProblem("is true or false, not a number", "Write 1 or 0 if that is meant")
    written = split_unit(word)
    if written is None:
        if _in_parentheses(word):
            return CellProblem("is in parentheses, as negative amounts are", "Write a minus sign")
        return CellProblem("is not a number", "Correct it or leave the cell empty", word=True)
    if written.unit != unit:
        if not unit:
            text = f"has the unit {quote(written.unit)}, and other cells of the column have none"
        elif not written.unit:
            text = f"lacks the unit {quote(unit)} that other cells of the column have"
        else:
            text = f"has the unit {quote(written.unit)}, and other cells of the column {quote(unit)}"
        return CellProblem(text, "Write all cells of the column in one way")
    decimal = notation.decimal
    for mark in MARKS:
        if mark != decimal and _form(decimal, mark).fullmatch(written.number):
            if notation.thousands in (None, mark):
                break
            return CellProblem(f"has a {mark} between thousands, and others a {notation.thousands}", "Write one")
    else:
        if decimal == "comma":
            text = "has a point in a file with decimal commas"
            return CellProblem(text, "Write a comma", {"decimal": "point"})
        return CellProblem("has a decimal comma", "Write a point")
    if _form(decimal, notation.thousands).fullmatch(written.number):
        return CellProblem("is too large", "Correct it")
    if decimal == "point" and _form("comma", None).fullmatch(written.number):
        text = "has a comma that can part thousands or decimals"
        return CellProblem(text, "Write the number without it", {"thousands": mark})
    return CellProblem("has thousands separators", "Remove them", {"thousands": mark})


def parse_numbers(
    cells: Sequence[str], notation: NumberNotation = PLAIN, unit: str = "", refuse: Refuse = raise_bad_number
) -> NDArray[np.float64]:
    """Return a column's cells as numbers, NaN where they are missing or refused.

    Args:
        refuse: is told of each cell that is not read as a number; raises it where not given.
    """
    joined, held, plain = "".join(cells), cells, not unit
    if notation.decimal == "comma":
        plain = plain and "." not in joined
        if plain and "," in joined:
            joined, held = joined.replace(",", "."), [cell.replace(",", ".") for cell in cells]
    if plain and not UNPLAIN.search(joined):
        held = [cell or "nan" for cell in held] if "" in held else held
        try:
            values = np.fromiter(map(float, held), np.float64, len(cells))
        except ValueError:
            pass
        else:
            if not np.isinf(values).any():
                return values
    values = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        value = parse_number(cell, notation, unit)
        if value is None:
            refuse(place, find_cell_problem(cell.strip(), notation, unit))
        else:
            values[place] = value
    return values
