"""How numbers are written in a table: the marks of decimals and of thousands, and units beside the numbers."""

import calendar
import collections
import functools
import itertools
import math
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.errors import DataError
from lstm_ae.formatting import quote

MISSING_WORDS = frozenset({"", "na", "n/a", "null", "none", "nan", "-"})

INFINITE_WORDS = frozenset({"inf", "infinity"})

BOOLEAN_WORDS = frozenset({"true", "false"})

# Cells that `float` reads as we do; it takes `1_000`, `inf`, blanks and other scripts' digits as well.
NON_NUMERIC_CHARACTER = re.compile(r"[^0-9.eE+\-]")

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# The characters of each mark, by the names that options have for them.
NUMBER_MARKS = {"point": ".", "comma": ",", "space": " \xa0\u2009\u202f", "apostrophe": "'\u2019"}

DECIMAL_MARKS = ("point", "comma")

CURRENCY = (
    r"(?:(?:US|CA?|AU?|NZ|HK|S|R)?\$|[¢£¤¥\u20a0-\u20bf]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK)"
)

# What may stand in a unit behind a blank: letters or a sign, with exponents, as in kWh, °C, %, m/s, m3, W/m², kg·m⁻³.
UNIT_WORD = (
    r"(?![\u00bc-\u00be\u00b2\u00b3\u00b9\u2070-\u209f\u2150-\u218b])(?:[^\W\d_]|[%\u2030\u2031°$¢£¤¥\u20a0-\u20bf])"
    r"(?:[^\W\d_]|[%°/·*\u207b]|(?<=[^\W\d_])(?:[23]|-[1-3]|\^-?[1-3])){0,14}"
)

_PREFIXED = (
    r"(?:(?:[kmµ\u03bcunpfcdh]|da)?(?:[gsmlLNJWVAFHTSBbKC\u03a9\u2126]|mol|cd|Hz|Pa|Wh|VA|var|Ah|eV|cal|bar|bit|bps|Bq|Gy|Sv|"
    r"Ohm|ohm|Wb|lm|lx|Nm|kat|dB|t)|[MGTP](?:[WJBbNVt\u03a9\u2126]|Hz|Pa|Wh|VA|var|eV|cal|bit|bps|Bq|Ohm|ohm)|[KMGT]iB)"
)

_UNIT_PART = (
    rf"(?:{_PREFIXED}|[%\u2030\u2031]|°[CFKR]?|deg[CF]?|µm?|ppm|ppb|ppt|pH|dBA?m?|rpm|RPM|bpm|fps|mph|kph|kn|kts?|knots|"
    r"mmHg|inHg|mWS|atm|psi|PSI|torr|lbs?|oz|ft|in|yd|mi|nmi|gal|acre|ha|sec|min|hrs?|days?|weeks?|months?|years?|yr|"
    r"pcs|Stk|Stück|kcal|kJ|PS|hp|MVAr|kVAr|U|h|d|rad|NTU|PSU|FTU|VDC|VAC|Vpp|Vrms|Mbps|Kbps|Gbps|kB|KB|MB|GB|TB)"
)

_UNIT_EXPONENT = r"(?:[23\u00b2\u00b3]|\^?-[1-3]|\^[1-3]|\u207b[\u00b9\u00b2\u00b3])?"

# Units that may follow a number without a blank. A lone letter is not among them: 12A is a seat or a room as well.
KNOWN_UNIT = (
    rf"(?![A-Za-z](?![^\W_]|[/·*^\-\u00b2\u00b3\u207b])|[A-Za-ln-z][23])"
    rf"{_UNIT_PART}{_UNIT_EXPONENT}(?:[/·*]{_UNIT_PART}{_UNIT_EXPONENT}){{0,3}}|{CURRENCY}(?:/{_UNIT_PART}{_UNIT_EXPONENT})?"
)

SIGN = r"[+\-\u2212]?"

NUMBER_CELL_PATTERN = re.compile(
    rf"(?P<sign>{SIGN})\s*(?P<before>{CURRENCY})?\s*(?P<inner>{SIGN})"
    r"(?P<number>(?:[0-9](?:[0-9.,'\u2019 \xa0\u2009\u202f]*[0-9.,])?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?)"
    rf"(?:\s+(?P<word>{UNIT_WORD})|(?P<known>{KNOWN_UNIT}))?"
)

# Digits with letters that are no unit.
CODE_PATTERN = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[^\W\d_]{1,14}")

# Letters behind a number that are no unit.
NON_UNITS = frozenset(
    name.lower() for name in ("st", "nd", "rd", "th", "am", "pm", *calendar.month_name, *calendar.month_abbr)
)

# 1,234 may be a number with decimals as well as one of thousands; a group of three is not the first with a zero.
AMBIGUOUS_NUMBER = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}", re.ASCII)

# Longer cells are not taken apart.
MAX_CELL_LENGTH = 60


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
        thousands: the mark between groups of three digits, of `NUMBER_MARKS`; None where there is none.
        units: beside the numbers, by column; columns without one are not in it.
        marks: `decimal` and `thousands` of the columns that have others than the table.
    """

    decimal: str = "point"
    thousands: str | None = None
    units: Mapping[str, str] = types.MappingProxyType({})
    marks: Mapping[str, tuple[str, str | None]] = types.MappingProxyType({})

    def of_column(self, column: str) -> "NumberNotation":
        """Return the notation of a column's numbers."""
        decimal, thousands = self.marks.get(column, (self.decimal, self.thousands))
        return NumberNotation(decimal, thousands)


PLAIN_NOTATION = NumberNotation()

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
def _number_pattern(decimal: str, thousands: str | None, unit: str = "") -> re.Pattern[str]:
    """Return the numbers of a notation, with a unit before or behind them; a group of three is not the first with a
    zero, so that 0.123 has none."""
    point, whole = re.escape(NUMBER_MARKS[decimal]), "[0-9]+"
    if thousands:
        whole = rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[{NUMBER_MARKS[thousands]}][0-9]{{3}})+)"
    body = rf"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    if not unit:
        return re.compile(rf"\s*({SIGN})({body})\s*")
    unit = re.escape(unit)
    before = rf"(?:({SIGN}){unit}\s*|{unit}\s*({SIGN}))({body})"
    return re.compile(rf"\s*(?:{before}|({SIGN})({body})\s*{unit})\s*")


def _list_notations() -> Iterable[tuple[str, str | None]]:
    return (
        (decimal, mark) for decimal, mark in itertools.product(DECIMAL_MARKS, (None, *NUMBER_MARKS)) if mark != decimal
    )


def split_unit(cell: str, told: str = "") -> NumberCell | None:
    """Return the number and the unit of a cell, blanks stripped, in whatever notation; None where it holds no number.

    A unit matches `KNOWN_UNIT`, was named, or stands behind a blank; other letters make a code, as in 101a.

    >>> split_unit("-$10,050.29"), split_unit("10,1 °C"), split_unit("3rd")
    (NumberCell(number='-10,050.29', unit='$'), NumberCell(number='10,1', unit='°C'), None)
    """
    if NUMBER.fullmatch(cell):
        return NumberCell(cell, "")
    if told and cell.endswith(told) and not (number := cell.removesuffix(told).rstrip()).endswith(told):
        plain = split_unit(number)
        return NumberCell(plain.number, told) if plain and not plain.unit else None
    found = NUMBER_CELL_PATTERN.fullmatch(cell) if len(cell) <= MAX_CELL_LENGTH else None
    after = found and (found["word"] or found["known"])
    if not found or (found["before"] and after) or (found["sign"] and found["inner"]):
        return None
    unit = found["before"] or after or ""
    number = (found["sign"] or found["inner"]).replace("\u2212", "-") + found["number"]
    if unit.lower() in NON_UNITS - {""} or not any(
        _number_pattern(*each).fullmatch(number) for each in _list_notations()
    ):
        return None
    return NumberCell(number, unit)


def is_number(cell: str) -> bool:
    """Return whether a cell is meant as a number, even if it is written so that it will be refused."""
    return split_unit(cell) is not None or cell.lower().lstrip("+-") in INFINITE_WORDS


def infer_unit(cells: Sequence[str], told: str = "") -> str | None:
    """Return the unit beside the numbers of a column, "" where they have none; None where the column is of text.

    It is of numbers where more than half of the cells are, and all but a few of these have the same unit.

    Args:
        cells: of its first rows, blanks stripped and missing ones left out.
        told: the unit that was told, which need be no common one.
    """
    plain = sum(1 for cell in cells if NUMBER.fullmatch(cell))
    if 2 * plain > len(cells):
        return ""
    written = [number for cell in cells if (number := split_unit(cell, told))]
    numbers = len(written) + sum(cell.lower().lstrip("+-") in INFINITE_WORDS for cell in cells)
    if 2 * numbers <= len(cells):
        return None
    units = collections.Counter(each.unit for each in written) or {"": numbers}
    unit, times = max(units.items(), key=lambda item: item[1])
    return unit if (not unit and 2 * times > len(cells)) or times > 0.9 * len(written) else None


def describe_text_column(cells: Sequence[str]) -> str:
    """Return why a column is of text, as a predicate; the cells as of `infer_unit`."""
    written = list(map(split_unit, cells))
    share = sum(each is not None for each in written) / len(cells)
    if all(cell.lower() in BOOLEAN_WORDS for cell in cells):
        return "holds true and false instead of 1 and 0"
    if share > 0.5:
        units = collections.Counter(each.unit for each in written if each)
        return f"holds numbers in different units ({', '.join(quote(unit)[:20] for unit, _ in units.most_common(3))})"
    if 2 * sum(map(_is_in_parentheses, cells)) > len(cells):
        return "holds numbers in parentheses instead of negative ones"
    if 2 * sum(CODE_PATTERN.fullmatch(cell) is not None for cell in cells) > len(cells):
        word = next(filter(CODE_PATTERN.fullmatch, cells))
        return (
            f"holds codes of digits and letters, such as {quote(word)[:40]}, instead of numbers (tell letters that are "
            "a unit with --column-units)"
        )
    if share:
        word = next(cell for cell, each in zip(cells, written, strict=True) if each is None)
        return f"holds more words, such as {quote(word)[:40]}, than numbers"
    return "holds no numbers"


def _is_in_parentheses(cell: str) -> bool:
    return cell.startswith("(") and cell.endswith(")") and split_unit(cell[1:-1].strip()) is not None


def infer_notation(
    columns: Mapping[str, Sequence[str]], config: Reading, where: str, *, of_run: bool = False, dotted: bool = False
) -> NumberNotation:
    """Return how a table's numbers are written, as told, or as the first rows of each column show.

    Args:
        columns: the cells of the columns of numbers, by name, blanks stripped and missing ones left out.
        where: the file and the line, for errors.
        of_run: the config is that of a run on another table. Its decimal comma may have been inferred, and does not
            tell whether a point parts thousands.
        dotted: the parts of its dates are parted by points, as where points part thousands.

    Raises:
        DataError: a comma or a point can part decimals as well as thousands.
    """
    told, units = config.units_by_column, {}  # type: Mapping[str, str], dict[str, str]
    numbers: dict[str, list[str]] = {}
    for name, cells in columns.items():
        numbers[name] = list(cells)
        if NON_NUMERIC_CHARACTER.search("".join(cells)):
            unit = told.get(name, "")
            numbers[name] = [written.number for cell in cells if (written := split_unit(cell, unit))]
            units[name] = infer_unit(cells, unit) or ""
        elif not cells:  # none of the first rows has a value
            units[name] = told.get(name, "")
    groups = {name: _group_numbers(held) for name, held in numbers.items()}
    decimal = config.decimal or (_other_mark(config.thousands) if config.thousands in DECIMAL_MARKS else None)
    shown = {name: _infer_decimal(group) for name, group in groups.items()} if decimal is None else {}
    agreed = set(filter(None, shown.values()))
    table = decimal or _single_mark(agreed) or "point"
    decimals = {}
    for name, group in groups.items():
        if decimal is None and shown[name] is None:
            _require_decimals(group, name, where, agreed, dotted=dotted)
        decimals[name] = shown.get(name) or table
    if (
        of_run
        and decimal == "comma"
        and config.thousands is None
        and not any(group.decimals["comma"] for group in groups.values())
    ):
        for name, group in groups.items():
            if group.either["comma"] and _has_only_short_integers(group, "comma"):
                raise _ambiguous_mark_error(
                    group.either["comma"][0], name, where, "--thousands point, or --decimal point"
                )
    # A point between thousands in one column is one in another, whose cells alone do not tell.
    certain = (decimal == "comma" and not of_run) or any(
        decimals[name] == "comma"
        and any(_number_pattern("comma", "point").fullmatch(number) for number in group.grouped)
        for name, group in groups.items()
    )
    marks = {
        name: (decimals[name], config.thousands or _infer_thousands(group, decimals[name], certain))
        for name, group in groups.items()
    }
    return NumberNotation(
        table,
        config.thousands,
        {name: unit for name, unit in units.items() if unit},
        {name: found for name, found in marks.items() if found != (table, config.thousands)},
    )


class _NumberGroups(NamedTuple):
    """The numbers of a column, by how they can be read.

    Args:
        decimals: those whose decimals are parted by the key and by nothing else.
        grouped: those that have a mark between thousands, whichever mark parts decimals.
        either: those whose mark, the key, can part decimals as well as thousands.
        digits: the lengths of those of digits alone.
    """

    decimals: Mapping[str, list[str]]
    grouped: list[str]
    either: Mapping[str, list[str]]
    digits: frozenset[int]


def _group_numbers(numbers: Iterable[str]) -> _NumberGroups:
    """Group the numbers of a column, all of which are in some notation."""
    decimals: dict[str, list[str]] = {mark: [] for mark in DECIMAL_MARKS}
    either: dict[str, list[str]] = {mark: [] for mark in DECIMAL_MARKS}
    grouped, digits = [], set()
    for signed in numbers:
        number = signed.lstrip("+-")
        if number.isdigit():
            digits.add(len(number))
        elif AMBIGUOUS_NUMBER.fullmatch(number):
            either["comma" if "," in number else "point"].append(number)
        elif _number_pattern("point", None).fullmatch(number):  # as almost all are
            if "." in number:
                decimals["point"].append(number)
        else:
            read = {decimal for decimal, mark in _list_notations() if _number_pattern(decimal, mark).fullmatch(number)}
            if len(read) == 1:
                decimals[next(iter(read))].append(number)
            grouped += [number] * (bool(read) and not _number_pattern("comma", None).fullmatch(number))
    return _NumberGroups(decimals, grouped, either, frozenset(digits))


def _other_mark(decimal: str) -> str:
    return "comma" if decimal == "point" else "point"


def _single_mark(decimals: Collection[str]) -> str | None:
    return next(iter(decimals)) if len(decimals) == 1 else None


def _infer_decimal(group: _NumberGroups) -> str | None:
    """Return the mark of decimals that most numbers of a column show; None where none does."""
    points, commas = (len(group.decimals[mark]) for mark in DECIMAL_MARKS)
    return None if not points + commas else "comma" if commas > points else "point"


def _require_decimals(group: _NumberGroups, column: str, where: str, agreed: Collection[str], *, dotted: bool) -> None:
    """Raise `DataError` where the numbers of a column have decimals or thousands, and nothing tells which.

    Args:
        group: shows no mark of decimals.
        agreed: the marks that the other columns show.
        dotted: as of `infer_notation`.
    """
    options = "--decimal comma, or --decimal point"
    if group.either["comma"] and _single_mark(agreed) is None:
        raise _ambiguous_mark_error(group.either["comma"][0], column, where, options)
    likely = _single_mark(agreed) != "comma" and _has_only_short_integers(group, "point")
    if group.either["point"] and (likely or len(agreed) == 2 or (dotted and not agreed)):
        raise _ambiguous_mark_error(group.either["point"][0], column, where, options)


def _ambiguous_mark_error(number: str, column: str, where: str, options: str) -> DataError:
    mark = "comma" if "," in number else "point"
    return DataError(
        f"{where}, column {column!r}: the {mark} in {quote(number)} can part decimals or thousands, and the first rows "
        f"do not tell. Add {options}"
    )


def _has_only_short_integers(group: _NumberGroups, mark: str) -> bool:
    """Return whether numbers of three digits, and none of more, stand beside ones with a mark, as in 999 and 1.000."""
    return bool(group.digits) and max(group.digits) == 3 and not group.decimals[mark]


def _infer_thousands(group: _NumberGroups, decimal: str, certain: bool) -> str | None:
    """Return the mark between thousands that a column shows; None where it shows none, or it may be of decimals.

    Args:
        certain: whether another column, or the reader of the table, tells that points part thousands where commas part
            decimals.
    """
    for mark in NUMBER_MARKS:
        if mark != decimal and any(_number_pattern(decimal, mark).fullmatch(number) for number in group.grouped):
            return mark
    other = _other_mark(decimal)
    # In a column of 0.247 and the like, 1,000 is 1.0 written otherwise, or 1,000.000 cut off.
    if not group.either[other] or group.decimals[decimal] or group.either[decimal]:
        return None
    longest = max(map(len, group.either[other])) - 1
    sure = (
        decimal == "point"
        or _has_only_short_integers(group, "point")
        or (certain and max(group.digits, default=0) < longest)
    )
    return other if sure else None


def parse_number(cell: str, notation: NumberNotation = PLAIN_NOTATION, unit: str = "") -> float | None:
    """Return the number of a cell, NaN where it is missing; None where it is not read as one.

    A cell that shows both of its marks, or that of thousands twice, is read in a column without thousands as well.
    """
    thousands = notation.thousands
    found = _number_pattern(notation.decimal, thousands, unit).fullmatch(cell)
    if not found and thousands is None:
        thousands = _other_mark(notation.decimal)
        found = _number_pattern(notation.decimal, thousands, unit).fullmatch(cell)
        if found and NUMBER_MARKS[notation.decimal] not in cell and cell.count(NUMBER_MARKS[thousands]) < 2:
            return None
    if not found:
        return math.nan if cell.strip().lower() in MISSING_WORDS else None
    number = "".join(filter(None, found.groups()))
    for mark in NUMBER_MARKS[thousands] if thousands else "":
        number = number.replace(mark, "")
    value = float(number.replace(NUMBER_MARKS[notation.decimal], ".").replace("\u2212", "-"))
    return value if math.isfinite(value) else None


def find_cell_problem(word: str, notation: NumberNotation = PLAIN_NOTATION, unit: str = "") -> CellProblem:
    """Return why a cell, blanks stripped, has no `parse_number`."""
    if word.lower().lstrip("+-") in INFINITE_WORDS:
        return CellProblem("is infinite", "Leave the cell empty if the value is unknown", word=True)
    if word.lower() in BOOLEAN_WORDS:
        return CellProblem("is true or false, not a number", "Write 1 or 0 if that is meant")
    written = split_unit(word, unit)
    if written is None and CODE_PATTERN.fullmatch(word):
        return CellProblem(
            "is a number with letters that are no common unit",
            "Write a blank before a unit, add it to --column-units",
            word=True,
        )
    if written is None:
        if _is_in_parentheses(word):
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
    for mark in NUMBER_MARKS:
        if mark != decimal and _number_pattern(decimal, mark).fullmatch(written.number):
            if notation.thousands in (None, mark):
                break
            return CellProblem(f"has a {mark} between thousands, and others a {notation.thousands}", "Write one")
    else:
        if decimal == "comma":
            text = "has a point in a file with decimal commas"
            return CellProblem(text, "Write a comma", {"decimal": "point"})
        return CellProblem("has a decimal comma", "Write a point")
    if _number_pattern(decimal, notation.thousands).fullmatch(written.number):
        return CellProblem("is too large", "Correct it")
    if AMBIGUOUS_NUMBER.fullmatch(written.number.lstrip("+-")):
        text = f"has a {mark} that can part thousands or decimals"
        advice = f"Write the number without it, add --decimal {mark} if it parts decimals"
        return CellProblem(text, advice, {"thousands": mark})
    return CellProblem("has thousands separators", "Remove them", {"thousands": mark})


def parse_numbers(
    cells: Sequence[str], notation: NumberNotation = PLAIN_NOTATION, unit: str = "", refuse: Refuse = raise_bad_number
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
    if plain and not NON_NUMERIC_CHARACTER.search(joined):
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
