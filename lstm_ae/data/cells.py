"""Convert the cells of a table's columns to float32; invalid cells raise an error or are collected for a check."""

import collections
import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ae.arrays import BoolArray, Float32Array, Float64Array
from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.data.columns import missing_numbers, missing_words
from lstm_ae.data.number_notation import (
    CellProblem,
    NumberNotation,
    ambiguous_cell_problem,
    find_ambiguous_cell,
    parse_numbers,
)
from lstm_ae.data.text_columns import TextColumn, contains, drop_words, to_cells
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_OVERFLOW_TEXT = f"beyond {FLOAT32_MAX:.2g}, the largest number of 32 bits"
# Largest number of distinct values to count per column and problem.
MAX_BAD_WORDS = 1_000


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
    """Reader that converts the cells of a table piece by piece.

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
            at = find_ambiguous_cell(cells)
            if at is None:
                self.doubtful.remove(column)
            else:
                self._refuse(cells[at], rows[at], column, ambiguous_cell_problem("point"))
        values = parse_numbers(
            cells,
            self.notation.of_column(column),
            lambda at, problem: self._refuse(cells[at], rows[at], column, problem),
        )
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
