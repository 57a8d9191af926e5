"""Read cells as numbers: separators of decimals and thousands, missing values, and the problem of any other cell."""

import collections
import dataclasses
import functools
import math
import re
import types
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import BoolArray, Float32Array, Float64Array
from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.data.text_columns import TextColumn, cast_numbers, contains, drop_words, to_cells
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote

MISSING_WORDS = frozenset({"", "na", "n/a", "null", "none", "nan", "-"})

INFINITE_WORDS = frozenset({"inf", "infinity"})

BOOLEAN_WORDS = frozenset({"true", "false"})

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# Characters of each separator, by its name in options.
NUMBER_MARKS = {"point": ".", "comma": ",", "space": " "}

OTHER_DECIMAL = {"point": "comma", "comma": "point"}

NOTATIONS = (
    *(("point", None), ("comma", None), ("point", "comma"), ("comma", "point")),
    *(("point", "space"), ("comma", "space")),
)

SIGN = r"[+\-\u2212]?"

# Number with a unit, a currency, parentheses, or another separator of thousands. A single letter after a number makes
# a code, as in 101a, and so do other letters before it, as in ABC123.
_CURRENCY = r"(?:[A-Z]{0,3}[$\u00a2-\u00a5\u20a0-\u20bf]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK)"
_DIGITS = r"(?:[0-9](?:[0-9.,'\u2019 \xa0\u2009\u202f]*[0-9.,])?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?"
_UNIT = r"(?:\s+[^\W\d_]|[^\W\d_](?=[^\W\d_])|\s*[%\u2030\u00b0$\u00a2-\u00a5\u20a0-\u20bf])\S{0,14}"
DECORATED_NUMBER = re.compile(
    rf"\(?{SIGN}\s*(?:(?P<before>{_CURRENCY})\s*{SIGN})?(?P<number>{_DIGITS})(?P<after>{_UNIT})?\)?"
)
OTHER_MARK = re.compile("['\u2019\xa0\u2009\u202f]")

# 1,234 may have decimals or a thousands separator; a thousands group does not begin with 0.
AMBIGUOUS_NUMBER = re.compile(rf"{SIGN}[1-9][0-9]{{0,2}}[.,][0-9]{{3}}")

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_OVERFLOW_TEXT = f"beyond {FLOAT32_MAX:.2g}, the largest number of 32 bits"

# Largest number of distinct values to count per column and problem.
MAX_BAD_WORDS = 1_000


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
        doubtful: columns that show only integers, the longest of three digits, in a table that shows no decimals, so
            that a later 1.234 may be 1,234.
    """

    decimal: str = "point"
    thousands: str | None = None
    doubtful: frozenset[str] = frozenset()


PLAIN_NOTATION = NumberNotation()


@functools.cache
def _number_pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    """Return a pattern of the numbers in a notation.

    The first thousands group does not begin with 0, so that 0.123 has decimals, and no number with an exponent has one.
    """
    point, grouped = re.escape(NUMBER_MARKS[decimal]), ""
    if thousands:
        grouped = rf"|[1-9][0-9]{{0,2}}(?:[{NUMBER_MARKS[thousands]}][0-9]{{3}})+(?:{point}[0-9]*)?"
    plain = rf"(?:[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    return re.compile(rf"\s*({SIGN}(?:{plain}{grouped}))\s*")


def _fitting_notations(cell: str) -> list[tuple[str, str | None]]:
    return [each for each in NOTATIONS if _number_pattern(*each).fullmatch(cell)]


def is_plain_number(cell: str) -> bool:
    """Return whether a cell is a number in one of `NOTATIONS`.

    >>> is_plain_number("1.234,5"), is_plain_number("5 kWh")
    (True, False)
    """
    return bool(NUMBER.fullmatch(cell) or _fitting_notations(cell))


def _match_decorated(cell: str) -> re.Match[str] | None:
    found = DECORATED_NUMBER.fullmatch(cell)
    counts = found and (found["after"] or "").strip().lower() not in ("st", "nd", "rd", "th", "am", "pm")
    return found if found and counts and _fitting_notations(OTHER_MARK.sub(" ", found["number"])) else None


def is_number(cell: str) -> bool:
    """Return whether a cell is meant as a number, even if it would be refused.

    >>> is_number("1.5 kWh"), is_number("-inf"), is_number("101a")
    (True, True, False)
    """
    return is_plain_number(cell) or cell.lower().lstrip("+-") in INFINITE_WORDS or _match_decorated(cell) is not None


def are_numbers(cells: Sequence[str]) -> bool:
    """Return whether most cells are meant as numbers, those beside text with the same text.

    Different texts make names, as in "5 Elm" and "6 Oak".

    Args:
        cells: cells of the first rows, without surrounding blanks and without missing values.

    >>> are_numbers(["3 kW", "4 kW"]), are_numbers(["3", "4"]), are_numbers(["on", "off"])
    (True, True, False)
    """
    beside = collections.Counter(_text_beside(cell) for cell in cells if is_number(cell))
    plain = beside.pop("", 0)
    return 2 * (plain + max(beside.values(), default=0)) > len(cells)


def _text_beside(cell: str) -> str:
    """Return the unit or the currency beside a number, or ""."""
    found = None if is_plain_number(cell) else _match_decorated(cell)
    return (found["before"] or found["after"] or "").strip() if found else ""


def missing_words(config: Reading) -> frozenset[str]:
    """Return the lowercase words that represent a missing value."""
    return MISSING_WORDS | {word.lower() for word in config.missing}


def missing_numbers(config: Reading, notation: NumberNotation = PLAIN_NOTATION) -> tuple[float, ...]:
    """Return the configured missing values that are numbers, so that -999 matches -999.0 too."""
    numbers = [parse_number(word, notation) for word in config.missing]
    return tuple(number for number in numbers if number is not None and not math.isnan(number))


def infer_notation(
    columns: Mapping[str, Sequence[str]], config: Reading, where: str, *, dotted: bool = False
) -> NumberNotation:
    """Return the notation of a table's numbers, as configured or as most numbers of the first rows show it.

    Args:
        columns: cells of each column of numbers, without surrounding blanks and without missing values.
        where: file and line, for errors.
        dotted: whether the table has dates with points, as notations with a thousands point do.

    Raises:
        DataError: if a comma or a point may separate decimals as well as thousands.
    """
    decimals, unsure, lengths = collections.Counter[str](), dict[str, tuple[str, str]](), dict[str, int]()
    for name, cells in columns.items():
        for cell in cells:
            digits = cell.lstrip("+-\u2212")
            if digits.isdigit():
                lengths[name] = max(lengths.get(name, 0), len(digits))
            elif AMBIGUOUS_NUMBER.fullmatch(cell):
                unsure.setdefault("," if "," in cell else ".", (name, cell))
            elif NUMBER.fullmatch(cell):
                decimals.update(["point"] if "." in cell else [])
            elif len(found := {decimal for decimal, _ in _fitting_notations(cell)}) == 1:
                decimals.update(found)
    decimal = config.decimal or OTHER_DECIMAL.get(config.thousands or "")
    short = frozenset(name for name, length in lengths.items() if length == 3)
    if decimal is None and not decimals:
        name, cell = unsure.get(",") or unsure.get(".") or ("", "")
        if "," in cell or (cell and (dotted or name in short)):
            mark = "comma" if "," in cell else "point"
            raise DataError(
                f"{where}, column {name!r}: the {mark} in {quote(cell)} can separate decimals or thousands, and the "
                f"first rows are ambiguous. Add --decimal {mark}, or --thousands {mark}",
                code=Code.CELL_VALUE,
            )
    doubtful = short if decimal is None and not decimals else frozenset[str]()
    decimal = decimal or ("comma" if decimals["comma"] > decimals["point"] else "point")
    return NumberNotation(decimal, config.thousands, doubtful)


def parse_number(cell: str, notation: NumberNotation = PLAIN_NOTATION) -> float | None:
    """Return the number of a cell, NaN if it is missing, or None if it is not a valid number.

    If the notation has no thousands separator, a cell may still have the other mark where only this one is possible.

    >>> parse_number("1,234.5"), parse_number("na"), parse_number("1,5")
    (1234.5, nan, None)
    """
    decimal, thousands = notation[:2]
    found = _number_pattern(decimal, thousands).fullmatch(cell)
    if not found and thousands is None and not AMBIGUOUS_NUMBER.fullmatch(cell.strip()):
        thousands = OTHER_DECIMAL[decimal]
        found = _number_pattern(decimal, thousands).fullmatch(cell)
    if not found:
        return math.nan if cell.strip().lower() in MISSING_WORDS else None
    number = found[1].replace("\u2212", "-")
    if thousands:
        number = number.replace(NUMBER_MARKS[thousands], "")
    value = float(number.replace(NUMBER_MARKS[decimal], "."))
    return value if math.isfinite(value) else None


def find_cell_problem(word: str, notation: NumberNotation = PLAIN_NOTATION) -> CellProblem:
    """Return the reason why `parse_number` does not accept a cell without surrounding blanks."""
    if word.lower().lstrip("+-") in INFINITE_WORDS:
        return CellProblem("is infinite", "Leave the cell empty if the value is unknown", word=True)
    if word.lower() in BOOLEAN_WORDS:
        return CellProblem("is true or false, not a number", "Write 1 or 0 if that is meant")
    fits = _fitting_notations(word)
    if notation[:2] in fits:
        return CellProblem("is too large", "Correct it")
    if AMBIGUOUS_NUMBER.fullmatch(word):
        return _ambiguous_cell_problem(word)
    marks = [mark for decimal, mark in fits if decimal == notation.decimal]
    if marks and notation.thousands:
        return CellProblem(f"has a {marks[0]} between thousands, and others a {notation.thousands}", "Write one")
    if marks and marks[0]:
        return CellProblem("has thousands separators", "Remove them", {"thousands": marks[0]})
    if fits:
        return CellProblem(f"has a decimal {fits[0][0]}, unlike other numbers", f"Write a {notation.decimal}")
    if found := _match_decorated(word):
        if word.startswith("("):
            return CellProblem("is in parentheses, as negative amounts are", "Write a minus sign")
        text = next(filter(None, (found["before"], found["after"], *OTHER_MARK.findall(word))), word).strip(" ")
        advice = f"Remove it from the column with pandas, frame[column].str.replace({quote(text)}, '')"
        return CellProblem(f"has {quote(text)} beside the digits", advice)
    return CellProblem("is not a number", "Correct it or leave the cell empty", word=True)


def _ambiguous_cell_problem(cell: str) -> CellProblem:
    mark = "comma" if "," in cell else "point"
    text = f"has a {mark} that can separate thousands or decimals"
    return CellProblem(
        text, f"Write the number without it, add --decimal {mark} if it separates decimals", {"thousands": mark}
    )


@dataclasses.dataclass
class BadCells:
    """Cells of a column that have the same problem.

    Args:
        column, problem: the column and the problem.
        error: error that training would raise for the first of them.
        row: line or row number of the first of them in the file.
        words: number of occurrences of each distinct value, for the first `MAX_BAD_WORDS` values.
    """

    column: str
    problem: CellProblem
    error: DataError
    row: int
    words: collections.Counter[str]


class CellReader:
    """Reader that converts the cells of a table's columns to float32 piece by piece.

    Args:
        name: the file as named in errors.
        place: "line" or "row", the unit of positions in errors.
        notation: notation of the numbers.
        of_run: whether the configuration is that of a run, whose columns cannot be chosen any more.
        lenient: whether to collect invalid cells in `bad` and treat them as missing; otherwise the first one is raised.
    """

    def __init__(
        self,
        config: Reading,
        name: str,
        place: str,
        notation: NumberNotation,
        *,
        of_run: bool = False,
        lenient: bool = False,
    ) -> None:
        self.name, self.place, self.notation, self.lenient = name, place, notation, lenient
        self.words = missing_words(config) if config.missing else None
        self.numbers = missing_numbers(config, notation)
        self.selects = config.selects_columns and not of_run
        self.doubtful = set(notation.doubtful)
        self.bad: dict[tuple[str, str], BadCells] = {}

    def read(self, cells: TextColumn, rows: Sequence[int] | NDArray[np.int32], column: str) -> Float32Array:
        """Return cells of a column as float32, NaN where they are missing.

        Args:
            rows: line or row number of each cell in the file.

        Raises:
            DataError: if a cell is not a valid number and the reader is not lenient.
        """
        if self.words:
            cells = drop_words(cells, self.words)
        if column in self.doubtful and contains(cells, "."):
            cells = to_cells(cells)
            pointed = [place for place, cell in enumerate(cells) if "." in cell]
            if not all(AMBIGUOUS_NUMBER.fullmatch(cells[place]) for place in pointed):
                self.doubtful.remove(column)
            elif pointed:  # `contains` also sees the cells beside a slice
                self._refuse(cells[pointed[0]], rows[pointed[0]], column, _ambiguous_cell_problem("."))
        values = None if isinstance(cells, Sequence) else cast_numbers(cells, self.notation.decimal, MISSING_WORDS)
        if values is None:
            cells, values = to_cells(cells), np.full(len(cells), np.nan)
            for place, cell in enumerate(cells):
                value = parse_number(cell, self.notation)
                if value is None:
                    self._refuse(cell, rows[place], column, find_cell_problem(cell, self.notation))
                else:
                    values[place] = value
        advice = "Correct it, or convert the column to another unit"
        return self.narrow(values, cells, rows, column, CellProblem(f"is {FLOAT32_OVERFLOW_TEXT}", advice))

    def narrow(
        self,
        values: Float64Array,
        cells: Sequence[object] | Float64Array,
        rows: Sequence[int] | NDArray[np.int32],
        column: str,
        problem: CellProblem,
    ) -> Float32Array:
        """Return numbers as float32, NaN where they represent a missing value.

        Args:
            values, cells, rows: `(rows,)` the numbers, their notation, and their position in the file. `values` is
                modified in place.
            problem: problem to report for a number that is too large.

        Raises:
            DataError: if a number is too large and the reader is not lenient.
        """
        if self.numbers:
            values[match_missing_numbers(values, self.numbers)] = np.nan
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)
        large = np.isinf(narrow)
        if large.any():
            for at in np.flatnonzero(large).tolist():
                self._refuse(cells[at], rows[at], column, problem)
            narrow[large] = np.nan
        return narrow

    def _describe(self, word: str, problem: CellProblem) -> str:
        """Return the problem of a cell and the ways to solve it, as the end of a sentence."""
        ways = [problem.advice, *(f"add {flag_name(name)} {value}" for name, value in problem.option.items())]
        if problem.word:
            ways.append(f"add --missing {word}" if re.fullmatch(r"\w[\w.-]{0,40}", word) else "add it to --missing")
        if self.selects:
            ways.append("name the columns to read with --value-cols")
        return f"{problem.text}. {', or '.join(ways)}"

    def _refuse(self, cell: object, row: int, column: str, problem: CellProblem) -> None:
        word, key = str(cell).strip(), (column, problem.text)
        if key not in self.bad:
            where = f"{self.name}, {self.place} {row}, column {column!r}"
            error = DataError(f"{where}: {quote(word)} {self._describe(word, problem)}", code=Code.CELL_VALUE)
            if not self.lenient:
                raise error
            self.bad[key] = BadCells(column, problem, error, int(row), collections.Counter())
        words = self.bad[key].words
        if word in words or len(words) < MAX_BAD_WORDS:
            words[word] += 1


def match_missing_numbers(values: Float64Array, numbers: Sequence[float]) -> BoolArray:
    """Return a mask of the values that equal one of the `missing_numbers`, at float32 precision."""
    single = np.array([number for number in numbers if abs(number) <= FLOAT32_MAX], np.float32)
    with np.errstate(over="ignore"):
        found: BoolArray = np.isin(values, numbers) | np.isin(values.astype(np.float32), single)
    return found
