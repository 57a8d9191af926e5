"""Read cells as numbers: decimal separators, missing values, and the problem of any other cell."""

import collections
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import BoolArray, Float32Array, Float64Array
from lstm_ae.config import Reading
from lstm_ae.config.reading import Use
from lstm_ae.data.text_columns import TextColumn, cast_numbers, may_contain, to_cells
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote

MISSING_WORDS = frozenset({"", "na", "n/a", "null", "none", "nan", "-"})

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# Decimal separators by their name in options.
DECIMAL_MARKS = {"point": ".", "comma": ","}

SIGN = r"[+\-\u2212]?"

_PLAIN = r"(?:[0-9]+(?:{0}[0-9]*)?|{0}[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED = r"[1-9][0-9]{0,2}(?:[.,'\u2019 \xa0\u2009\u202f][0-9]{3})+(?:[.,][0-9]*)?"
_ANY = rf"{_PLAIN.format('[.,]')}|{_GROUPED}"

PATTERNS = {
    name: re.compile(rf"\s*({SIGN}{_PLAIN.format(re.escape(mark))})\s*") for name, mark in DECIMAL_MARKS.items()
}

# Number that may have separators of thousands.
WRITTEN_NUMBER = re.compile(rf"{SIGN}(?:{_ANY})")

# Number with separators of thousands, and one such as 1,234, which may have decimals instead. The first group does not
# begin with 0.
GROUPED_NUMBER = re.compile(rf"{SIGN}{_GROUPED}")
AMBIGUOUS_NUMBER = re.compile(rf"{SIGN}[1-9][0-9]{{0,2}}[.,][0-9]{{3}}")

# Number with a unit, a currency, or parentheses. A single letter after a number makes it a code, as in 101a, and so do
# letters before it, as in ABC123; 3rd and 10 AM are not numbers.
_CURRENCY = r"(?:[A-Z]{0,3}[$\u00a2-\u00a5\u20a0-\u20bf]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK)"
_UNIT = r"(?:\s+[^\W\d_]|[^\W\d_](?=[^\W\d_])|\s*[%\u2030\u00b0$\u00a2-\u00a5\u20a0-\u20bf])\S{0,14}"
MEANT_NUMBER = re.compile(
    rf"\(?{SIGN}\s*(?:(?P<before>{_CURRENCY})\s*{SIGN})?(?:{_ANY}|(?i:inf(?:inity)?))"
    rf"(?P<after>(?!\s*(?i:st|nd|rd|th|am|pm)$){_UNIT})?\)?"
)

FLOAT32_MAX = float(np.finfo(np.float32).max)

# Largest number of distinct values to count per column and problem.
MAX_BAD_WORDS = 1_000


class CellProblem(NamedTuple):
    """Reason why a cell is not read as a number.

    Args:
        text: the problem, as a predicate.
        advice: how to correct the cell.
        word: whether the cell may represent a missing value.
    """

    text: str
    advice: str
    word: bool = False


TOO_LARGE = CellProblem(
    f"is infinite or beyond {FLOAT32_MAX:.2g}, the largest number of 32 bits",
    "Correct it, or convert the column to another unit, or leave the cell empty",
)


class NumberNotation(NamedTuple):
    """Notation of the numbers of a table.

    Args:
        decimal: decimal separator, "point" or "comma".
        doubtful: columns that show only integers, the longest of three digits, in a table that shows no decimals, so
            that a later 1.234 may be 1,234.
    """

    decimal: str = "point"
    doubtful: frozenset[str] = frozenset()


def is_plain_number(cell: str) -> bool:
    """Return whether a cell is a number, which may have separators of thousands.

    >>> is_plain_number("1.234,5"), is_plain_number("5 kWh")
    (True, False)
    """
    return WRITTEN_NUMBER.fullmatch(cell) is not None


def is_number(cell: str) -> bool:
    """Return whether a cell is meant as a number, even if it would be refused.

    >>> is_number("1.5 kWh"), is_number("-inf"), is_number("101a")
    (True, True, False)
    """
    return MEANT_NUMBER.fullmatch(cell) is not None


def are_numbers(cells: Sequence[str]) -> bool:
    """Return whether most cells are meant as numbers; numbers with text beside them count only if the text is the same.

    Cells with different texts are names, as in "5 Elm" and "6 Oak".

    Args:
        cells: cells of the first rows, without surrounding blanks and without missing values.

    >>> are_numbers(["3 kW", "4 kW"]), are_numbers(["3", "4"]), are_numbers(["on", "off"])
    (True, True, False)
    """
    matches = [match for match in map(MEANT_NUMBER.fullmatch, cells) if match]
    beside = collections.Counter((match["before"] or match["after"] or "").strip() for match in matches)
    plain = beside.pop("", 0)
    return 2 * (plain + max(beside.values(), default=0)) > len(cells)


def missing_words(config: Reading) -> frozenset[str]:
    """Return the lowercase words that represent a missing value."""
    return MISSING_WORDS | {word.lower() for word in config.missing}


def missing_numbers(config: Reading, decimal: str) -> tuple[float, ...]:
    """Return the configured missing values that are numbers, so that -999 matches -999.0 too."""
    numbers = [parse_number(word, decimal) for word in config.missing]
    return tuple(number for number in numbers if number is not None and not math.isnan(number))


def infer_notation(
    columns: Mapping[str, Sequence[str]], config: Reading, where: str, *, dotted: bool = False
) -> NumberNotation:
    """Return the notation of a table's numbers, as configured or as in most numbers of the first rows.

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
            else:
                decimals.update(
                    each for each, mark in DECIMAL_MARKS.items() if mark in cell and PATTERNS[each].fullmatch(cell)
                )
    short = frozenset(name for name, length in lengths.items() if length == 3)
    if config.decimal or decimals:
        return NumberNotation(config.decimal or ("comma" if decimals["comma"] > decimals["point"] else "point"))
    name, cell = unsure.get(",") or unsure.get(".") or ("", "")
    if "," in cell or (cell and (dotted or name in short)):
        problem = find_cell_problem(cell)
        raise DataError(
            f"{where}, column {name!r}: {quote(cell)} {problem.text}, and the first rows are ambiguous. "
            f"{problem.advice}",
            code=Code.CELL_VALUE,
        )
    return NumberNotation("point", short)


def parse_number(cell: str, decimal: str = "point") -> float | None:
    """Return the number of a cell, infinity if it is too large, NaN if it is missing, or None if it is not a number.

    >>> parse_number("1234.5"), parse_number("na"), parse_number("1,5")
    (1234.5, nan, None)
    """
    match = PATTERNS[decimal].fullmatch(cell)
    if not match:
        return math.nan if cell.strip().lower() in MISSING_WORDS else None
    return float(match[1].replace("\u2212", "-").replace(DECIMAL_MARKS[decimal], "."))


def find_cell_problem(word: str) -> CellProblem:
    """Return the reason why `parse_number` does not accept a cell without surrounding blanks."""
    if not GROUPED_NUMBER.fullmatch(word):
        match = MEANT_NUMBER.fullmatch(word)
        if any(pattern.fullmatch(word) for pattern in PATTERNS.values()):
            return CellProblem("has another decimal separator than other numbers", "Write the same one")
        if beside := (match["before"] or match["after"] or "").strip() if match else "":
            advice = f"Remove the text with pandas, frame[column].str.replace({beside!r}, '')"
            return CellProblem("is not a number alone", advice)
        truth = word.lower() in ("true", "false")
        return CellProblem("is not a number", "Correct it or leave the cell empty", word=not truth)
    mark = next(character for character in word if character not in "+-\u22120123456789")
    advice = f"Remove it from thousands with pandas, frame[column].str.replace({mark!r}, '')"
    if not AMBIGUOUS_NUMBER.fullmatch(word):
        return CellProblem(f"has {quote(mark)} between thousands", advice)
    name = "comma" if mark == "," else "point"
    text = f"has a {name} that can separate thousands or decimals"
    return CellProblem(text, f"Add --decimal {name} if it separates decimals. {advice}")


@dataclasses.dataclass
class BadCells:
    """Cells of a column that have the same problem.

    Args:
        column, problem: the column and the problem.
        error: error that training would raise for the first cell.
        row: line or row number of the first cell in the file.
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
        use: what the table is read for. A check collects invalid cells in `bad` and treats them as missing; otherwise
            the first one raises an error. Errors for a run do not advise to choose columns, which the run has fixed.
    """

    def __init__(self, config: Reading, name: str, place: str, notation: NumberNotation, use: Use) -> None:
        self.name, self.place, self.notation, self.use = name, place, notation, use
        self.words = missing_words(config)
        self.numbers = missing_numbers(config, notation.decimal)
        self.selects = config.selects_columns and use != "run"
        self.doubtful = set(notation.doubtful)
        self.bad: dict[tuple[str, str], BadCells] = {}

    def read(self, cells: TextColumn, rows: Sequence[int] | NDArray[np.int32], column: str) -> Float32Array:
        """Return cells of a column as float32, NaN where they are missing.

        Args:
            rows: line or row number of each cell in the file.

        Raises:
            DataError: if a cell is not a valid number, except for a check.
        """
        if column in self.doubtful and may_contain(cells, "."):
            words = enumerate(to_cells(cells))
            pointed = [(place, cell) for place, cell in words if "." in cell and cell.lower() not in self.words]
            if not all(AMBIGUOUS_NUMBER.fullmatch(cell) for _, cell in pointed):
                self.doubtful.remove(column)
            elif pointed:
                place, cell = pointed[0]
                self._refuse(cell, rows[place], column, find_cell_problem(cell))
        values = cast_numbers(cells, self.notation.decimal, self.words)
        if values is None:
            cells, values = to_cells(cells), np.full(len(cells), np.nan)
            for place, cell in enumerate(cells):
                if cell.lower() in self.words:
                    continue
                value = parse_number(cell, self.notation.decimal)
                if value is None:
                    self._refuse(cell, rows[place], column, find_cell_problem(cell))
                else:
                    values[place] = value
        return self.narrow(values, cells, rows, column)

    def narrow(
        self,
        values: Float64Array,
        cells: Sequence[object] | Float64Array,
        rows: Sequence[int] | NDArray[np.int32],
        column: str,
    ) -> Float32Array:
        """Return numbers as float32, NaN where they represent a missing value.

        Args:
            values, cells, rows: `(rows,)` the numbers, their notation, and their position in the file. `values` is
                modified in place.

        Raises:
            DataError: if a number is too large, except for a check.
        """
        if self.numbers:
            values[match_missing_numbers(values, self.numbers)] = np.nan
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)
        large = np.isinf(narrow)
        if large.any():
            for at in np.flatnonzero(large).tolist():
                self._refuse(cells[at], rows[at], column, TOO_LARGE)
            narrow[large] = np.nan
        return narrow

    def _describe(self, word: str, problem: CellProblem) -> str:
        """Return a description of the problem of a cell and of its remedies, as the end of a sentence."""
        ways = [problem.advice]
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
            if self.use != "check":
                raise error
            self.bad[key] = BadCells(column, problem, error, int(row), collections.Counter())
        words = self.bad[key].words
        if word in words or len(words) < MAX_BAD_WORDS:
            words[word] += 1


def match_missing_numbers(values: Float64Array, numbers: Sequence[float]) -> BoolArray:
    """Return a mask of the values that equal one of the `missing_numbers`, at float32 precision."""
    single = np.array([number for number in numbers if abs(number) <= FLOAT32_MAX], np.float32)
    with np.errstate(over="ignore"):
        matches: BoolArray = np.isin(values, numbers) | np.isin(values.astype(np.float32), single)
    return matches
