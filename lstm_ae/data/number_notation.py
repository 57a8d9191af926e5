"""Parse numbers in a table: decimal and thousands separators; units next to the numbers are refused."""

import calendar
import collections
import functools
import itertools
import math
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.arrays import Float64Array
from lstm_ae.config import Reading
from lstm_ae.data.text_columns import TextColumn, cast_numbers, to_cells
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote

MISSING_WORDS = frozenset({"", "na", "n/a", "null", "none", "nan", "-"})

INFINITE_WORDS = frozenset({"inf", "infinity"})

BOOLEAN_WORDS = frozenset({"true", "false"})

# `float` parses cells without these characters as this module does; it also accepts `1_000`, `inf`, blanks, and digits
# of other scripts.
NON_NUMERIC_CHARACTER = re.compile(r"[^0-9.eE+\-]")

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# Characters of each separator, by its name in options.
NUMBER_MARKS = {"point": ".", "comma": ",", "space": " "}

# Separators of thousands that are not read.
OTHER_MARK = re.compile("['\u2019\xa0\u2009\u202f]")

DECIMAL_MARKS = ("point", "comma")

CURRENCY = (
    r"(?:(?:US|CA?|AU?|NZ|HK|S|R)?\$|[¢£¤¥\u20a0-\u20bf]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK)"
)

# Unit after a number. A single letter directly after it makes a code, as in 101a.
UNIT = (
    r"(?:\s+|(?=[^\w\s]|[^\W\d_][^\s_]))"
    r"(?:[^\W\d_]|[%\u2030\u2031°$¢£¤¥\u20a0-\u20bf])"
    r"(?:[^\W\d_]|[%°/·*\u207b\u00b2\u00b3\u00b9]|(?<=[^\W\d_])(?:[23]|-[1-3]|\^-?[1-3])){0,14}"
)

SIGN = r"[+\-\u2212]?"

NUMBER_CELL_PATTERN = re.compile(
    rf"(?P<sign>{SIGN})\s*(?:(?P<before>{CURRENCY})\s*(?P<inner>{SIGN}))?"
    r"(?P<number>(?:[0-9](?:[0-9.,'\u2019 \xa0\u2009\u202f]*[0-9.,])?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?)"
    rf"(?P<after>{UNIT})?"
)

# Digits followed by letters, which are a code unless the letters are a unit.
CODE_PATTERN = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[^\W\d_]{1,14}")

# Letters after a number that are not a unit.
NON_UNITS = frozenset(
    name.lower() for name in ("st", "nd", "rd", "th", "am", "pm", *calendar.month_name, *calendar.month_abbr)
)

# 1,234 may have decimals or a thousands separator; a thousands group does not begin with 0.
AMBIGUOUS_NUMBER = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}", re.ASCII)

# Cells longer than this are not numbers with a unit.
MAX_CELL_LENGTH = 60


class NumberCell(NamedTuple):
    """Number of a cell as written, with its sign, and the unit next to it or ""."""

    number: str
    unit: str


class CellProblem(NamedTuple):
    """Reason why a cell is not read as a number.

    Args:
        text: the problem, as a predicate.
        advice: how to correct the cell.
        option: configuration that would make the cell readable, by field; empty if there is none.
        word: whether the cell may represent a missing value.
    """

    text: str
    advice: str
    option: Mapping[str, str] = types.MappingProxyType({})
    word: bool = False


class NumberNotation(NamedTuple):
    """Notation of the numbers of a table.

    Args:
        decimal: decimal separator, "point" or "comma".
        thousands: thousands separator, a key of `NUMBER_MARKS`; None if there is none.
        marks: `decimal` and `thousands` of the columns that differ from the table.
        doubtful: columns that show only integers, the longest of three digits, so that a later 1.234 may be 1,234.
    """

    decimal: str = "point"
    thousands: str | None = None
    marks: Mapping[str, tuple[str, str | None]] = types.MappingProxyType({})
    doubtful: frozenset[str] = frozenset()

    def of_column(self, column: str) -> "NumberNotation":
        """Return the notation of a column's numbers."""
        decimal, thousands = self.marks.get(column, (self.decimal, self.thousands))
        return NumberNotation(decimal, thousands)


PLAIN_NOTATION = NumberNotation()

Refuse = Callable[[int, CellProblem], None]


@functools.cache
def _number_pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    """Return a pattern of the numbers in a notation.

    The first thousands group does not begin with 0, so that 0.123 has decimals.
    """
    point, whole = re.escape(NUMBER_MARKS[decimal]), "[0-9]+"
    if thousands:
        whole = rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[{NUMBER_MARKS[thousands]}][0-9]{{3}})+)"
    return re.compile(rf"\s*({SIGN})((?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")


def _list_notations() -> Iterable[tuple[str, str | None]]:
    return (
        (decimal, mark) for decimal, mark in itertools.product(DECIMAL_MARKS, (None, *NUMBER_MARKS)) if mark != decimal
    )


def split_unit(cell: str) -> NumberCell | None:
    """Return the number and the unit of a cell in any notation, or None if it holds no number.

    Args:
        cell: cell without surrounding blanks.

    >>> split_unit("-$10,050.29"), split_unit("10,1 °C"), split_unit("3rd")
    (NumberCell(number='-10,050.29', unit='$'), NumberCell(number='10,1', unit='°C'), None)
    """
    if NUMBER.fullmatch(cell):
        return NumberCell(cell, "")
    found = NUMBER_CELL_PATTERN.fullmatch(cell) if len(cell) <= MAX_CELL_LENGTH else None
    if not found:
        return None
    unit = found["before"] or (found["after"] or "").strip()
    number = (found["sign"] or found["inner"] or "").replace("\u2212", "-") + found["number"]
    plain = OTHER_MARK.sub(" ", number)
    if unit.lower() in NON_UNITS - {""} or not any(
        _number_pattern(*each).fullmatch(plain) for each in _list_notations()
    ):
        return None
    return NumberCell(number, unit)


def is_number(cell: str) -> bool:
    """Return whether a cell is meant as a number, even if it would be refused.

    >>> is_number("1.5 kWh"), is_number("-inf"), is_number("pump")
    (True, True, False)
    """
    return split_unit(cell) is not None or cell.lower().lstrip("+-") in INFINITE_WORDS


def are_numbers(cells: Sequence[str]) -> bool:
    """Return whether a column holds numbers, even with a unit, which is refused when they are read.

    It does if more than half of its cells are numbers without a unit, or if more than half are numbers and over 90% of
    these have the same unit.

    Args:
        cells: cells of the first rows, without surrounding blanks and without missing values.

    >>> are_numbers(["3 kW", "4 kW"]), are_numbers(["3", "4"]), are_numbers(["on", "off"])
    (True, True, False)
    """
    plain = sum(1 for cell in cells if NUMBER.fullmatch(cell))
    if 2 * plain > len(cells):
        return True
    written = [number for cell in cells if (number := split_unit(cell))]
    numbers = len(written) + sum(cell.lower().lstrip("+-") in INFINITE_WORDS for cell in cells)
    if 2 * numbers <= len(cells):
        return False
    units = collections.Counter(each.unit for each in written) or {"": numbers}
    unit, times = max(units.items(), key=lambda item: item[1])
    return (not unit and 2 * times > len(cells)) or times > 0.9 * len(written)


def describe_text_column(cells: Sequence[str]) -> str:
    """Return the reason why a column holds text, as a predicate; `cells` as in `are_numbers`."""
    written = list(map(split_unit, cells))
    share = sum(each is not None for each in written) / len(cells)
    if all(cell.lower() in BOOLEAN_WORDS for cell in cells):
        return "holds true and false instead of 1 and 0"
    if share > 0.5:
        return "holds numbers in different units"
    if 2 * sum(map(_is_in_parentheses, cells)) > len(cells):
        return "holds numbers in parentheses instead of negative ones"
    if 2 * sum(CODE_PATTERN.fullmatch(cell) is not None for cell in cells) > len(cells):
        word = next(filter(CODE_PATTERN.fullmatch, cells))
        return f"holds codes of digits and letters, such as {quote(word)[:40]}, instead of numbers"
    if share:
        word = next(cell for cell, each in zip(cells, written, strict=True) if each is None)
        return f"holds more words, such as {quote(word)[:40]}, than numbers"
    return "holds no numbers"


def _is_in_parentheses(cell: str) -> bool:
    return cell.startswith("(") and cell.endswith(")") and split_unit(cell[1:-1].strip()) is not None


def infer_notation(
    columns: Mapping[str, Sequence[str]], config: Reading, where: str, *, of_run: bool = False, dotted: bool = False
) -> NumberNotation:
    """Return the notation of a table's numbers, as configured or as inferred from the first rows of each column.

    Args:
        columns: cells of each column of numbers, without surrounding blanks and without missing values.
        where: file and line, for errors.
        of_run: whether the configuration is that of a run on another table. Its decimal comma may have been inferred,
            so it does not imply that a point separates thousands.
        dotted: whether the table has dates with points, as notations with a thousands point do.

    Raises:
        DataError: if a comma or a point may separate decimals as well as thousands.
    """
    groups = {name: _group_numbers(_drop_units(cells)) for name, cells in columns.items()}
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
    # A thousands point in one column implies one in other columns that are ambiguous by themselves.
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
        {name: found for name, found in marks.items() if found != (table, config.thousands)},
        frozenset(
            name
            for name, group in groups.items()
            if decimal is None
            and shown[name] is None
            and decimals[name] == "point"
            and _has_only_short_integers(group, "point")
        ),
    )


def _drop_units(cells: Sequence[str]) -> Sequence[str]:
    """Return the numbers of a column without a unit."""
    if NON_NUMERIC_CHARACTER.search("".join(cells)):
        return [written.number for cell in cells if (written := split_unit(cell))]
    return cells


class _NumberGroups(NamedTuple):
    """Numbers of a column, grouped by the notations in which they are valid.

    Args:
        decimals: by decimal separator, the numbers that are valid with this separator only.
        grouped: numbers that have a thousands separator in every valid notation.
        either: by separator, the numbers in which it may separate decimals or thousands.
        digits: lengths of the numbers that consist of digits only.
    """

    decimals: Mapping[str, list[str]]
    grouped: list[str]
    either: Mapping[str, list[str]]
    digits: frozenset[int]


def _group_numbers(numbers: Iterable[str]) -> _NumberGroups:
    """Group the numbers of a column, each of which is valid in some notation."""
    decimals: dict[str, list[str]] = {mark: [] for mark in DECIMAL_MARKS}
    either: dict[str, list[str]] = {mark: [] for mark in DECIMAL_MARKS}
    grouped, digits = [], set()
    for signed in numbers:
        number = signed.lstrip("+-")
        if number.isdigit():
            digits.add(len(number))
        elif AMBIGUOUS_NUMBER.fullmatch(number):
            either["comma" if "," in number else "point"].append(number)
        elif _number_pattern("point", None).fullmatch(number):  # This is by far the most common case.
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
    """Return the decimal separator of most numbers of a column, or None if none shows one."""
    points, commas = (len(group.decimals[mark]) for mark in DECIMAL_MARKS)
    return None if not points + commas else "comma" if commas > points else "point"


def _require_decimals(group: _NumberGroups, column: str, where: str, agreed: Collection[str], *, dotted: bool) -> None:
    """Raise `DataError` if the numbers of a column are ambiguous between decimals and thousands.

    Args:
        group: numbers of a column without a certain decimal separator.
        column, where: the column and its place, for the error.
        agreed: decimal separators that the other columns show.
        dotted: as in `infer_notation`.
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
        f"{where}, column {column!r}: the {mark} in {quote(number)} can separate decimals or thousands, and the "
        f"first rows are ambiguous. Add {options}",
        code=Code.CELL_VALUE,
    )


def _has_only_short_integers(group: _NumberGroups, mark: str) -> bool:
    """Return whether the column has integers of three digits, none longer, and no decimals with the separator.

    The separator then probably marks thousands, as in a column with 999 and 1.000.
    """
    return bool(group.digits) and max(group.digits) == 3 and not group.decimals[mark]


def _infer_thousands(group: _NumberGroups, decimal: str, certain: bool) -> str | None:
    """Return the thousands separator that a column shows, or None if there is none or it may mark decimals.

    Args:
        certain: whether another column or an option shows that points separate thousands if commas separate decimals.
    """
    for mark in NUMBER_MARKS:
        if mark != decimal and any(_number_pattern(decimal, mark).fullmatch(number) for number in group.grouped):
            return mark
    other = _other_mark(decimal)
    # In a column of values like 0.247, 1,000 may be 1.0 in another notation or a truncated 1,000.000.
    if not group.either[other] or group.decimals[decimal] or group.either[decimal]:
        return None
    longest = max(map(len, group.either[other])) - 1
    sure = (
        decimal == "point"
        or _has_only_short_integers(group, "point")
        or (certain and max(group.digits, default=0) < longest)
    )
    return other if sure else None


def parse_number(cell: str, notation: NumberNotation = PLAIN_NOTATION) -> float | None:
    """Return the number of a cell, NaN if it is missing, or None if it is not a valid number.

    If the notation has no thousands separator, a cell is still accepted if it has both separators or the thousands
    separator twice.

    >>> parse_number("1,234.5"), parse_number("na"), parse_number("1,5")
    (1234.5, nan, None)
    """
    thousands = notation.thousands
    found = _number_pattern(notation.decimal, thousands).fullmatch(cell)
    if not found and thousands is None:
        thousands = _other_mark(notation.decimal)
        found = _number_pattern(notation.decimal, thousands).fullmatch(cell)
        if found and NUMBER_MARKS[notation.decimal] not in cell and cell.count(NUMBER_MARKS[thousands]) < 2:
            return None
    if not found:
        return math.nan if cell.strip().lower() in MISSING_WORDS else None
    number = "".join(filter(None, found.groups()))
    if thousands:
        number = number.replace(NUMBER_MARKS[thousands], "")
    value = float(number.replace(NUMBER_MARKS[notation.decimal], ".").replace("\u2212", "-"))
    return value if math.isfinite(value) else None


def find_cell_problem(word: str, notation: NumberNotation = PLAIN_NOTATION) -> CellProblem:
    """Return the reason why `parse_number` does not accept a cell without surrounding blanks."""
    if word.lower().lstrip("+-") in INFINITE_WORDS:
        return CellProblem("is infinite", "Leave the cell empty if the value is unknown", word=True)
    if word.lower() in BOOLEAN_WORDS:
        return CellProblem("is true or false, not a number", "Write 1 or 0 if that is meant")
    written = split_unit(word)
    if written is None:
        if _is_in_parentheses(word):
            return CellProblem("is in parentheses, as negative amounts are", "Write a minus sign")
        return CellProblem("is not a number", "Correct it or leave the cell empty", word=True)
    if written.unit:
        return CellProblem(f"has the unit {quote(written.unit)}", _advise_removal(written.unit))
    if other := OTHER_MARK.search(written.number):
        return CellProblem(f"has {quote(other[0])} between thousands", _advise_removal(other[0]))
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
        return ambiguous_cell_problem(mark)
    return CellProblem("has thousands separators", "Remove them", {"thousands": mark})


def _advise_removal(text: str) -> str:
    return f"Remove it from the column with pandas, frame[column].str.replace({quote(text)}, '')"


def ambiguous_cell_problem(mark: str) -> CellProblem:
    """Return the problem of a cell whose comma or point may separate thousands or decimals."""
    text = f"has a {mark} that can separate thousands or decimals"
    advice = f"Write the number without it, add --decimal {mark} if it separates decimals"
    return CellProblem(text, advice, {"thousands": mark})


def find_ambiguous_cell(cells: Sequence[str]) -> int | None:
    """Return the first cell with a point that may separate thousands, unless another one of these shows decimals.

    >>> find_ambiguous_cell(["7", "1.234 kW"]), find_ambiguous_cell(["7.5", "1.234"])
    (1, None)
    """
    written = [(place, split_unit(cell.strip())) for place, cell in enumerate(cells) if "." in cell]
    pointed = [(place, each.number.lstrip("+-")) for place, each in written if each]
    ambiguous = [place for place, number in pointed if AMBIGUOUS_NUMBER.fullmatch(number)]
    return ambiguous[0] if ambiguous and len(ambiguous) == len(pointed) else None


def parse_numbers(cells: TextColumn, notation: NumberNotation, refuse: Refuse) -> Float64Array:
    """Return a column's cells as float64, NaN where they are missing or refused.

    Args:
        refuse: function called with the index and the problem of each cell that is not a number.
    """
    if not isinstance(cells, Sequence):
        numbers = cast_numbers(cells, notation.decimal, MISSING_WORDS)
        if numbers is not None:
            return numbers
        cells = to_cells(cells)
    values = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        value = parse_number(cell, notation)
        if value is None:
            refuse(place, find_cell_problem(cell.strip(), notation))
        else:
            values[place] = value
    return values
